//! Wakes the lanes of the queue: when a job is queued or ends, and every second for delayed jobs.
//!
//! graphile_worker itself would need a database connection for each lane. It would also scan the whole queue for each
//! concurrent job of a lane, every second and after each insert. Here, one task listens and queries once for all lanes.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream;
use graphile_worker::{
    BoxFuture, Database, DatabaseDriver, DbError, DbExecutor, DbParams, DbRow, DbTransaction,
    Notification, NotificationStream,
};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::app::App;
use crate::error::Result;
use crate::jobs::{self, Lane};

use super::progress::Progress;

/// Channel on which the queue announces new jobs.
const CHANNEL: &str = "jobs:insert";

/// Maximum delay of a job whose notification was lost, or that became due without one.
const TICK: Duration = Duration::from_secs(1);

/// Minimum pause between two queries: in a rush, one query serves many notifications.
const PAUSE: Duration = Duration::from_millis(10);

/// A notifier for each lane. A wake-up is remembered until the lane handles it; several merge into one.
#[derive(Default)]
pub struct Wakes([Arc<Notify>; Lane::ALL.len()]);

impl Wakes {
    /// Returns the notifier of a lane.
    pub fn of(&self, lane: Lane) -> &Arc<Notify> {
        &self.0[lane as usize]
    }

    /// Wakes each lane that has due jobs, until the task is dropped.
    pub async fn keep_waking(&self, app: &App) {
        let mut listener = app.pools.listener(CHANNEL);
        loop {
            let began = Instant::now();
            if let Err(error) = self.wake_due(app).await {
                warn!(%error, "cannot read the job queue");
                app.note_failure(&error);
            }
            // Querying a long queue takes a while; leave most of the time to its jobs.
            sleep(PAUSE.max(4 * began.elapsed())).await;
            // The tick finds due jobs when there is no listener, or when its connection has died unnoticed.
            let _ = timeout(TICK, listener.hear()).await;
        }
    }

    async fn wake_due(&self, app: &App) -> Result<()> {
        let mut conn = app.db.acquire().await?;
        for lane in jobs::due_lanes(&mut conn).await? {
            self.of(lane).notify_one();
        }
        Ok(())
    }
}

/// Returns the database of the job queue.
pub fn queue(app: &App) -> Database {
    app.pools.queue()
}

/// The queue's database for one lane. Listening is replaced by the lane's notifier.
#[derive(Debug)]
pub struct LaneDatabase {
    queue: Database,
    wake: Arc<Notify>,
    watched: Option<(Progress, Lane)>,
}

impl LaneDatabase {
    /// Wraps the queue's database for one lane.
    pub fn new(queue: Database, wake: &Arc<Notify>) -> LaneDatabase {
        LaneDatabase {
            queue,
            wake: Arc::clone(wake),
            watched: None,
        }
    }

    /// Records what succeeds as the lane's progress.
    pub fn watched(self, progress: &Progress, lane: Lane) -> LaneDatabase {
        LaneDatabase {
            watched: Some((progress.clone(), lane)),
            ..self
        }
    }
}

impl DbExecutor for LaneDatabase {
    fn execute<'a>(
        &'a self,
        sql: &'a str,
        params: DbParams,
    ) -> BoxFuture<'a, Result<u64, DbError>> {
        DbExecutor::execute(&self.queue, sql, params)
    }

    fn fetch_all<'a>(
        &'a self,
        sql: &'a str,
        params: DbParams,
    ) -> BoxFuture<'a, Result<Vec<DbRow>, DbError>> {
        Box::pin(async move {
            let rows = DbExecutor::fetch_all(&self.queue, sql, params).await?;
            if let Some((progress, lane)) = &self.watched {
                progress.succeeded(*lane);
            }
            Ok(rows)
        })
    }
}

impl DatabaseDriver for LaneDatabase {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn begin<'a>(&'a self) -> BoxFuture<'a, Result<DbTransaction, DbError>> {
        Box::pin(self.queue.begin())
    }

    fn listen<'a>(
        &'a self,
        channel: &'a str,
    ) -> BoxFuture<'a, Result<Option<NotificationStream>, DbError>> {
        let rings = stream::unfold(
            (Arc::clone(&self.wake), channel.to_owned()),
            |(wake, channel)| async {
                wake.notified().await;
                let ring = Notification {
                    channel: channel.clone(),
                    payload: String::new(),
                };
                Some((Ok(ring), (wake, channel)))
            },
        );
        Box::pin(async { Ok(Some(Box::pin(rings) as NotificationStream)) })
    }
}
