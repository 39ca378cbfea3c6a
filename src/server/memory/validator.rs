//! Validations: what changed since the snapshot that everything in memory is at least as new as.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tracing::warn;

use super::entries::{Changes, Entries};
use crate::db::Pools;
use crate::products::Catalog;

/// Time limit of a validation. Reads that wait longer are answered by the database.
const PATIENCE: Duration = Duration::from_millis(500);

/// Time after a failure in which nothing is tried again.
const REST: Duration = Duration::from_millis(250);

/// Validates what is in memory, once for all reads that arrive before a validation begins. Cheap to clone.
#[derive(Clone)]
pub struct Validator(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    /// Wakes the task: somebody waits, or the server is gone.
    called: Arc<Notify>,
    pools: Pools,
    entries: Arc<Entries>,
}

#[derive(Default)]
struct Waiting {
    readers: Vec<oneshot::Sender<bool>>,
    /// The task that validates has begun.
    is_running: bool,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.called.notify_one();
    }
}

impl Validator {
    /// Creates a validator. Its task and its connection begin with the first read.
    pub fn new(pools: Pools, entries: Arc<Entries>) -> Validator {
        Validator(Arc::new(Shared {
            waiting: Mutex::default(),
            called: Arc::default(),
            pools,
            entries,
        }))
    }

    /// Waits for a validation that begins after this call. Returns false if there was none: then nothing in memory may be
    /// given.
    pub async fn validate(&self) -> bool {
        let (sender, receiver) = oneshot::channel();
        let begins = {
            let mut waiting = self.0.waiting();
            waiting.readers.push(sender);
            !std::mem::replace(&mut waiting.is_running, true)
        };
        if begins {
            let running = Running(Arc::downgrade(&self.0));
            tokio::spawn(run(running, self.0.called.clone()));
        }
        self.0.called.notify_one();
        receiver.await.unwrap_or(false)
    }
}

/// The task of a validator. If it ends, the next read begins another.
struct Running(Weak<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            // Those who wait are answered by the database.
            *shared.waiting() = Waiting::default();
        }
    }
}

/// Validates whenever somebody waits, until the server is gone.
async fn run(running: Running, called: Arc<Notify>) {
    let mut state: Option<(PgConnection, Catalog)> = None;
    let mut failed_at: Option<Instant> = None;
    while let Some(shared) = running.0.upgrade() {
        // Taken before the validation begins: who comes later waits for the next one.
        let readers = std::mem::take(&mut shared.waiting().readers);
        if readers.is_empty() {
            drop(shared);
            called.notified().await;
            continue;
        }
        let is_resting = failed_at.is_some_and(|at: Instant| at.elapsed() < REST);
        let is_valid = !is_resting
            && match timeout(PATIENCE, validate(&shared, &mut state)).await {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    warn!(%error, "reads of the catalog are answered by the database");
                    false
                }
                Err(_) => false,
            };
        if !is_valid && !is_resting {
            state = None;
            failed_at = Some(Instant::now());
            shared.entries.drop_changed(&Changes::All);
        }
        for reader in readers {
            let _ = reader.send(is_valid);
        }
    }
}

/// Drops from memory what changed since the last validation, or everything with the first on a connection.
async fn validate(
    shared: &Shared,
    state: &mut Option<(PgConnection, Catalog)>,
) -> anyhow::Result<()> {
    let Some((conn, catalog)) = state else {
        let mut conn = shared.pools.connect_validator().await?;
        let catalog = Catalog::now(&mut conn).await?;
        shared.entries.drop_changed(&Changes::All);
        *state = Some((conn, catalog));
        return Ok(());
    };
    let changes = match catalog.changes(conn).await? {
        None => Changes::All,
        Some(products) => Changes::Products(products),
    };
    shared.entries.drop_changed(&changes);
    Ok(())
}
