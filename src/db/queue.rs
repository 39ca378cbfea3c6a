//! The database of the job queue: with time-outs, and with a listener that bypasses poolers and reconnects.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use graphile_worker::{
    BoxFuture, Database, DatabaseDriver, DbError, DbExecutor, DbParams, DbRow, DbTransaction,
    NotificationStream,
};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::timeout;
use tracing::warn;

use super::liveness::Liveness;
use super::pools::Pools;

/// Time-out of the queue's statements, longer than any of them may take: beyond it the server is gone.
const STATEMENT_LIMIT: Duration = Duration::from_secs(25);

/// Ping interval of the listener's connection, which may be idle for days and would be dropped by firewalls.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Time-out of the listener's pings: shorter than callers wait for the listener.
const LISTENER_LIMIT: Duration = Duration::from_millis(900);

impl Pools {
    /// The database of the job queue.
    pub fn queue(&self) -> Database {
        Database::new(Queue {
            inner: self.worker.clone().into(),
            liveness: self.liveness.clone(),
        })
    }

    /// Creates a listener on a channel.
    pub fn listener(&self, channel: &'static str) -> Listener {
        Listener {
            direct: self.direct.clone(),
            channel,
            line: None,
            heard: Instant::now(),
        }
    }
}

struct Queue {
    inner: Database,
    liveness: Arc<Liveness>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

impl Queue {
    async fn within<T>(
        &self,
        statement: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, DbError> {
        let began = Instant::now();
        timeout(STATEMENT_LIMIT, statement)
            .await
            .unwrap_or_else(|_| {
                self.liveness.suspect(began);
                Err(DbError::new("PostgreSQL does not answer"))
            })
    }
}

impl DbExecutor for Queue {
    fn execute<'a>(
        &'a self,
        sql: &'a str,
        params: DbParams,
    ) -> BoxFuture<'a, Result<u64, DbError>> {
        Box::pin(self.within(self.inner.execute(sql, params)))
    }

    fn fetch_all<'a>(
        &'a self,
        sql: &'a str,
        params: DbParams,
    ) -> BoxFuture<'a, Result<Vec<DbRow>, DbError>> {
        Box::pin(self.within(self.inner.fetch_all(sql, params)))
    }
}

impl DatabaseDriver for Queue {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn begin<'a>(&'a self) -> BoxFuture<'a, Result<DbTransaction, DbError>> {
        Box::pin(self.within(self.inner.begin()))
    }

    fn listen<'a>(
        &'a self,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<NotificationStream>, DbError>> {
        // One listener serves all lanes.
        Box::pin(async { Ok(None) })
    }
}

/// Listens for new jobs on a connection of its own that bypasses poolers.
pub struct Listener {
    direct: PgConnectOptions,
    channel: &'static str,
    line: Option<PgListener>,
    /// Time at which the connection was last known to be alive.
    heard: Instant,
}

impl Listener {
    /// Waits until a job may have been queued. Callers poll on their own after a time-out, or when notifications may
    /// have been lost.
    pub async fn hear(&mut self) {
        if self.heard.elapsed() > KEEP_ALIVE {
            self.ping().await;
        }
        let Some(line) = &mut self.line else {
            match self.connect().await {
                Ok(line) => self.line = Some(line),
                Err(error) => {
                    warn!(%error, "cannot listen for new jobs; polling each second instead");
                    std::future::pending::<()>().await;
                }
            }
            // Jobs queued while nobody listened must be polled.
            self.heard = Instant::now();
            return;
        };
        match line.try_recv().await {
            Ok(Some(_)) => {
                self.heard = Instant::now();
                while line.next_buffered().is_some() {}
            }
            Ok(None) | Err(_) => self.line = None,
        }
    }

    /// Pings the connection, and drops it when there is no answer.
    async fn ping(&mut self) {
        let Some(mut line) = self.line.take() else {
            return;
        };
        let ping = sqlx::query("select 1").execute(&mut line);
        if matches!(timeout(LISTENER_LIMIT, ping).await, Ok(Ok(_))) {
            self.heard = Instant::now();
            self.line = Some(line);
        }
    }

    async fn connect(&self) -> Result<PgListener, sqlx::Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_lazy_with(self.direct.clone());
        let connecting = async {
            let mut line = PgListener::connect_with(&pool).await?;
            line.eager_reconnect(false);
            line.listen(self.channel).await?;
            Ok(line)
        };
        let connected = timeout(LISTENER_LIMIT, connecting).await;
        connected.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }
}
