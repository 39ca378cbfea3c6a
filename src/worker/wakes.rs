//! Waking the lanes of the queue: when something was queued, when a job ended, and each second for what was put off.
//!
//! The queue's own way costs a connection to the database for each lane, and a look through the whole queue for each
//! job that a lane may run at once, every second and whenever anything is queued. Here one task listens and asks once.

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

/// The channel on which the queue tells that something was queued.
const CHANNEL: &str = "jobs:insert";

/// How long a job may wait whose notification was lost, or whose time has come without one.
const TICK: Duration = Duration::from_secs(1);

/// The shortest pause between two looks at the queue: in a rush one look serves many notifications.
const PAUSE: Duration = Duration::from_millis(10);

/// The bell of each lane. A ring is remembered until the lane hears it; several are one.
#[derive(Default)]
pub struct Wakes([Arc<Notify>; Lane::ALL.len()]);

impl Wakes {
    /// The bell of one lane.
    pub fn of(&self, lane: Lane) -> &Arc<Notify> {
        &self.0[lane as usize]
    }

    /// Wakes each lane that has something to do, for ever.
    pub async fn keep_waking(&self, app: &App) {
        let mut listener = app.pools.listener(CHANNEL);
        loop {
            let began = Instant::now();
            if let Err(error) = self.wake_due(app).await {
                warn!(%error, "the queue cannot be looked at");
                app.note_failure(&error);
            }
            // A long queue takes a while to look through; most of the time goes to the jobs in it.
            sleep(PAUSE.max(4 * began.elapsed())).await;
            // Without a listener, or with one whose line has died unnoticed, the tick finds what is due.
            let _ = timeout(TICK, listener.hear()).await;
        }
    }

    async fn wake_due(&self, app: &App) -> Result<()> {
        let mut conn = app.db.acquire().await?;
        let mut due = jobs::due_lanes(&mut conn).await?;
        if due.contains(&Lane::Legacy) {
            jobs::sort_legacy(&mut conn).await?;
            due = jobs::due_lanes(&mut conn).await?;
        }
        for lane in due {
            self.of(lane).notify_one();
        }
        Ok(())
    }
}

/// The database of the job queue.
pub fn queue(app: &App) -> Database {
    app.pools.queue()
}

/// The queue's database as one lane sees it: what it would listen to is the lane's bell.
#[derive(Debug)]
pub struct LaneDatabase {
    queue: Database,
    wake: Arc<Notify>,
}

impl LaneDatabase {
    pub fn new(queue: Database, wake: &Arc<Notify>) -> LaneDatabase {
        LaneDatabase {
            queue,
            wake: Arc::clone(wake),
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
        DbExecutor::fetch_all(&self.queue, sql, params)
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
