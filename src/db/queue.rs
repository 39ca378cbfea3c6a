//! The database as the job queue uses it: with deadlines, and with a listener that goes past poolers and comes back.

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

/// Longer than any statement of the queue may take: whoever has not answered by then is not there.
const STATEMENT_LIMIT: Duration = Duration::from_secs(25);

/// How often the listener's line is used. It carries nothing else for days, and firewalls forget such lines.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How long the listener's server may take to answer: less than the listener is waited for.
const LISTENER_LIMIT: Duration = Duration::from_millis(900);

impl Pools {
    /// The database of the job queue.
    pub fn queue(&self) -> Database {
        Database::new(Queue {
            inner: self.worker.clone().into(),
            liveness: self.liveness.clone(),
        })
    }

    /// Hears of what is told on a channel.
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

/// Hears of new jobs, on a connection of its own that goes past poolers.
pub struct Listener {
    direct: PgConnectOptions,
    channel: &'static str,
    line: Option<PgListener>,
    /// When the line was last known to be alive.
    heard: Instant,
}

impl Listener {
    /// Waits until something may have been queued. Whoever stops waiting, or may be deaf, looks by themselves.
    pub async fn hear(&mut self) {
        if self.heard.elapsed() > KEEP_ALIVE {
            self.ping().await;
        }
        let Some(line) = &mut self.line else {
            match self.connect().await {
                Ok(line) => self.line = Some(line),
                Err(error) => {
                    warn!(%error, "nothing is heard of new jobs; they are looked for each second");
                    std::future::pending::<()>().await;
                }
            }
            // What came while nobody listened is to be looked for.
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

    /// Uses the line, and gives it up where nobody answers.
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
