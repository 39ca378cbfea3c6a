//! Background jobs: their implementation, their schedule, and the worker.

mod emails;
mod progress;
mod wakes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use graphile_worker::{
    Cron, CronBuilder, Crontab, Database, IntoTaskHandlerResult, JobDefinition, TaskHandler,
    WorkerContext, WorkerOptions,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};
use uuid::Uuid;

use crate::app::App;
use crate::auth;
use crate::error::Error;
use crate::jobs::{self, Job, Lane};
use crate::products::intakes;
use crate::{audit::submissions, custom_orders, http::rate_limit, images, payments, products};
use progress::Progress;
use wakes::{LaneDatabase, Wakes};

/// Interval of a worker's heartbeats. `/readyz` looks for one within the last 30 seconds.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Delay after a failed heartbeat: soon after an outage, `/readyz` must not report it any more.
const HEARTBEAT_RETRY: Duration = Duration::from_secs(1);

/// Time for running jobs to finish during shutdown, as long as most external calls. Then they are abandoned, and the
/// next worker runs them again.
const DRAIN: Duration = Duration::from_secs(15);

/// Interval at which a lane polls by itself. [`Wakes`] wakes it sooner.
const POLL: Duration = Duration::from_secs(10);

/// Runs a job and records its outcome in the metrics. Every job is safe to repeat.
pub async fn perform(app: &App, job: Job) -> Result<(), Error> {
    let (name, began) = (job.name(), Instant::now());
    let result = carry_out(app, job).await;
    if let Err(error) = &result {
        app.note_failure(error);
    }
    app.metrics.job(name, result.is_ok(), began.elapsed());
    result
}

async fn carry_out(app: &App, job: Job) -> Result<(), Error> {
    match job {
        Job::SyncProduct { product } => products::sync_product(app, &product).await,
        Job::ProcessEvent { event } => payments::process_stored(app, &event).await.map(drop),
        Job::SettleCheckout { order } => payments::settle_unheard(app, order).await,
        Job::SendRefund { refund } => payments::send_refund(app, refund).await,
        Job::ReadRefunds { payment } => payments::read_refunds(app, &payment).await,
        Job::MakeLink { quote } => custom_orders::make_link(app, quote).await,
        Job::CloseLink { quote } => custom_orders::close_link(app, quote).await,
        Job::SendEmail { email } => emails::send(app, email).await,
        Job::Sweep => {
            payments::sweep(app).await?;
            payments::redact_events(app).await?;
            custom_orders::sweep(app).await?;
            products::end_due_drafts(&app.db).await?;
            products::trim_changes(&app.db).await?;
            let mut conn = app.db.acquire().await?;
            crate::emails::sweep(&mut conn).await?;
            rate_limit::sweep(&mut conn).await?;
            submissions::sweep(&mut conn).await?;
            jobs::forget_replaced(&mut conn).await?;
            auth::sweep(&mut conn).await
        }
        Job::RenderImage { image } => images::render(&app.storage, &app.db, &image).await,
        Job::RemoveImage { storage_key } => images::remove(&app.storage, &storage_key).await,
        Job::FindPieces { photo } => intakes::find_pieces(app, photo).await,
        Job::PairPieces { intake } => intakes::pair_pieces(app, intake).await,
        Job::StagePieces { photo } => intakes::stage_pieces(app, photo).await,
        Job::SweepImages => {
            intakes::let_go(&app.db).await?;
            let swept = images::sweep(&app.storage, &app.db).await?;
            if swept != images::ImageSweep::default() {
                info!(?swept, "let go of images");
            }
            Ok(())
        }
        Job::Reconcile => {
            let done = payments::reconcile(app, &|_, _| {}).await?;
            if done.processed + done.failed + done.settled > 0 || !done.unstored.is_empty() {
                info!(%done, "reconciled");
            }
            Ok(())
        }
    }
}

/// A job of one lane, under the lane's task identifier.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct LaneTask<const LANE: usize>(Job);

impl<const LANE: usize> TaskHandler for LaneTask<LANE> {
    const IDENTIFIER: &'static str = Lane::ALL[LANE].identifier();

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let Some(context) = context.get_ext::<Context>() else {
            return Err("the worker was built without an App".to_owned());
        };
        let result = perform(&context.app, self.0).await;
        // There may be another job in the lane, and the queue runs one job per wake-up.
        context.wake.notify_one();
        result.map_err(|error| error.to_string())
    }
}

fn definition(lane: Lane) -> JobDefinition {
    match lane {
        Lane::Money => LaneTask::<{ Lane::Money as usize }>::definition(),
        Lane::Clock => LaneTask::<{ Lane::Clock as usize }>::definition(),
        Lane::Email => LaneTask::<{ Lane::Email as usize }>::definition(),
        Lane::Sync => LaneTask::<{ Lane::Sync as usize }>::definition(),
        Lane::Image => LaneTask::<{ Lane::Image as usize }>::definition(),
        Lane::Intake => LaneTask::<{ Lane::Intake as usize }>::definition(),
    }
}

type ClockTask = LaneTask<{ Lane::Clock as usize }>;

/// Returns the schedule of the scheduled jobs.
fn crontabs() -> anyhow::Result<[Crontab; 3]> {
    Ok([
        entry(Cron::every_minute(), &Job::Sweep),
        entry(Cron::every_n_minutes(5)?, &Job::Reconcile),
        entry(Cron::hourly_at(17)?, &Job::SweepImages),
    ])
}

fn entry(times: CronBuilder<ClockTask>, job: &Job) -> Crontab {
    let name = job.name();
    // Each kind has its own named queue: none runs twice at once, and a long reconciliation after an outage does not
    // block the sweep.
    times
        .id(name)
        .queue(name)
        .job_key(name)
        .priority(job.priority())
        .payload_value(job.payload())
        .build()
}

/// Context of a job. The queue requires `Debug`, but there is nothing to print.
#[derive(Clone)]
struct Context {
    app: App,
    wake: Arc<Notify>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context")
    }
}

fn options(app: &App, database: LaneDatabase, lanes: &[Lane], wake: &Arc<Notify>) -> WorkerOptions {
    WorkerOptions::default()
        .database(Database::new(database))
        .listen_os_shutdown_signals(false)
        .shutdown_grace_period(DRAIN)
        .poll_interval(POLL)
        // The jobs of a killed worker go to others after a minute.
        .heartbeat_interval(Duration::from_secs(15))
        .sweep_interval(Duration::from_secs(20))
        .sweep_threshold(Duration::from_secs(60))
        .add_extension(Context {
            app: app.clone(),
            wake: Arc::clone(wake),
        })
        .define_jobs(lanes.iter().copied().map(definition))
}

/// Runs all due jobs, one by one, and returns.
///
/// # Errors
/// If the queue's schema cannot be prepared, or the database fails.
pub async fn run_once(app: &App) -> anyhow::Result<()> {
    let wake = Arc::default();
    let database = LaneDatabase::new(wakes::queue(app), &wake);
    let options = options(app, database, &Lane::ALL, &wake).concurrency(1);
    options.init().await?.run_once().await?;
    Ok(())
}

/// Runs jobs until `shutdown`, then finishes the running ones. Any number of workers may share a database.
pub async fn run(app: App, shutdown: impl Future<Output = ()> + Send + 'static) {
    let app = app.for_worker();
    let id = Uuid::new_v4();
    let (stop, stopped) = watch::channel(false);
    let wakes = Wakes::default();
    let progress = Progress::default();
    let mut lanes = JoinSet::new();
    for lane in Lane::ALL {
        let wake = Arc::clone(wakes.of(lane));
        lanes.spawn(run_lane(
            app.clone(),
            lane,
            wake,
            progress.clone(),
            stopped.clone(),
        ));
    }
    tokio::select! {
        () = beat(&app, id, &progress) => {}
        () = wakes.keep_waking(&app) => {}
        () = shutdown => {}
    }
    stop.send_replace(true);
    lanes.join_all().await;
    // Otherwise the health check would count this worker as alive until its heartbeat is too old.
    let gone = sqlx::query("delete from worker_heartbeats where worker = $1")
        .bind(id)
        .execute(&app.db)
        .await;
    if let Err(error) = gone {
        warn!(%error, "the worker stopped without the database");
    }
}

/// Runs the jobs of one lane until shutdown. After a lost database connection, the lane restarts; the others go on.
async fn run_lane(
    app: App,
    lane: Lane,
    wake: Arc<Notify>,
    progress: Progress,
    mut stopped: watch::Receiver<bool>,
) {
    while let Err(error) = work(&app, lane, &wake, &progress, &mut stopped).await {
        progress.stopped(lane);
        let error = format!("{error:#}");
        if *stopped.borrow() {
            warn!(?lane, error, "the worker stopped with an error");
            return;
        }
        warn!(?lane, error, "the worker failed and restarts");
        // The queue's errors don't distinguish a lost connection from other failures.
        app.pools.liveness.suspect(Instant::now());
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

/// Returns the number of jobs of a lane that run concurrently.
fn concurrency(app: &App, lane: Lane) -> usize {
    let most = lane.concurrency();
    match lane {
        // Each may hold a connection while it waits for a locked product row. Leave connections for refunds.
        Lane::Sync => most.min((app.db.options().get_max_connections() as usize / 2).max(1)),
        _ => most,
    }
}

async fn work(
    app: &App,
    lane: Lane,
    wake: &Arc<Notify>,
    progress: &Progress,
    stopped: &mut watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let database = LaneDatabase::new(wakes::queue(app), wake).watched(progress, lane);
    let mut options = options(app, database, &[lane], wake).concurrency(concurrency(app, lane));
    if lane == Lane::Clock {
        options = options.with_crons(crontabs()?);
        // Catch up with the time without a worker now, instead of waiting for the schedule.
        let mut conn = app.db.acquire().await?;
        jobs::enqueue(&mut conn, &Job::Sweep).await?;
        jobs::enqueue(&mut conn, &Job::Reconcile).await?;
    }
    let worker = options.init().await?;
    progress.prepared(lane);
    let mut working = std::pin::pin!(worker.run());
    tokio::select! {
        result = &mut working => {
            result?;
            anyhow::bail!("the queue stopped by itself");
        }
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    worker.request_shutdown();
    working.await?;
    Ok(())
}

/// Writes heartbeats while all lanes work, until the task is dropped.
async fn beat(app: &App, id: Uuid, progress: &Progress) {
    loop {
        progress.all_work().await;
        let pause = match heartbeat(app, id).await {
            Ok(()) => HEARTBEAT,
            Err(error) => {
                warn!(%error, "heartbeat");
                app.note_failure(&error);
                HEARTBEAT_RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Writes a heartbeat and deletes those of workers that have been silent for an hour.
async fn heartbeat(app: &App, id: Uuid) -> Result<(), Error> {
    sqlx::query(
        "with gone as (
             delete from worker_heartbeats
             where last_seen_at < now() - interval '1 hour'
         )
         insert into worker_heartbeats (worker)
         values ($1)
         on conflict (worker) do update
         set last_seen_at = now()",
    )
    .bind(id)
    .execute(&app.pools.health)
    .await?;
    Ok(())
}
