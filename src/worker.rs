//! Every background job and what it does, on one screen; and the clock's.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use graphile_worker::{
    Cron, IntoTaskHandlerResult, TaskHandler, Worker, WorkerContext, WorkerOptions,
};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use uuid::Uuid;

use crate::app::App;
use crate::auth;
use crate::error::Error;
use crate::jobs::{self, Job};
use crate::{custom_orders, letters, limits, media, payments};

/// How often a worker says that it is alive; `/readyz` looks for a heartbeat of the last half minute.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// How long jobs under way may take once we are told to stop: as long as most calls to others. Then they are left, and
/// done again by the next worker.
const DRAIN: Duration = Duration::from_secs(15);

/// Carries out a job, and counts it. Every one is safe to repeat.
pub async fn perform(app: &App, job: Job) -> Result<(), Error> {
    let (name, began) = (job.name(), Instant::now());
    let result = carry_out(app, job).await;
    app.metrics.job(name, result.is_ok(), began.elapsed());
    result
}

async fn carry_out(app: &App, job: Job) -> Result<(), Error> {
    match job {
        Job::SyncProduct { product } => payments::sync_product(app, &product).await,
        Job::ProcessEvent { event } => payments::process_stored(app, &event).await.map(drop),
        Job::SettleCheckout { order } => payments::settle_unheard(app, order).await,
        Job::SendRefund { refund } => payments::send_refund(app, refund).await,
        Job::MakeLink { quote } => custom_orders::make_link(app, quote).await,
        Job::CloseLink { quote } => custom_orders::close_link(app, quote).await,
        Job::SendLetter { letter } => letters::send(app, letter).await,
        Job::Sweep => {
            payments::sweep(app).await?;
            custom_orders::sweep(app).await?;
            letters::sweep(app).await?;
            let mut conn = app.db.acquire().await?;
            limits::sweep(&mut conn).await?;
            jobs::forget_replaced(&mut conn).await?;
            auth::sweep(&mut conn).await
        }
        Job::RenderPicture { picture } => media::render(&app.media, &app.db, &picture).await,
        Job::RemovePicture { storage_key } => media::remove(&app.media, &storage_key).await,
        Job::SweepPictures => {
            let swept = media::sweep(&app.media, &app.db).await?;
            if swept != media::Swept::default() {
                info!(?swept, "let go of pictures");
            }
            Ok(())
        }
        Job::Reconcile => {
            let done = payments::reconcile(app, &|_, _| {}).await?;
            if done.obeyed + done.failed + done.settled > 0 {
                info!(%done, "reconciled");
            }
            Ok(())
        }
    }
}

/// The queue's name for [`Job`].
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Task(Job);

impl TaskHandler for Task {
    const IDENTIFIER: &'static str = jobs::IDENTIFIER;

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let Some(Context(app)) = context.get_ext::<Context>() else {
            return Err("the worker was built without an App".to_owned());
        };
        perform(app, self.0)
            .await
            .map_err(|error| error.to_string())
    }
}

/// What a job is given. The queue wants it printable; there is nothing of it to print.
#[derive(Clone)]
struct Context(App);

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context")
    }
}

/// A worker on the app's database. Any number may share one.
///
/// # Errors
/// When the queue's schema cannot be prepared.
pub async fn build(app: &App, clock: bool) -> anyhow::Result<Worker> {
    let mut options = WorkerOptions::default()
        .pg_pool(app.db.clone())
        .concurrency(4)
        .listen_os_shutdown_signals(false)
        .shutdown_grace_period(DRAIN)
        // A worker that was killed: its jobs are given to others after a minute.
        .heartbeat_interval(Duration::from_secs(15))
        .sweep_interval(Duration::from_secs(20))
        .sweep_threshold(Duration::from_secs(60))
        .add_extension(Context(app.clone()))
        .define_job::<Task>();
    if clock {
        // Each has a queue of its own: none is done twice at once, and a reconciliation after days of silence, which takes
        // minutes, holds up no sweep.
        options = options
            .with_cron(
                Cron::every_minute::<Task>()
                    .id("sweep")
                    .queue("sweep")
                    .job_key("sweep")
                    .payload(Task(Job::Sweep))?,
            )
            .with_cron(
                Cron::every_n_minutes::<Task>(5)?
                    .id("reconcile")
                    .queue("reconcile")
                    .job_key("reconcile")
                    .payload(Task(Job::Reconcile))?,
            )
            .with_cron(
                Cron::hourly_at::<Task>(17)?
                    .id("sweep_pictures")
                    .queue("sweep_pictures")
                    .job_key("sweep_pictures")
                    .payload(Task(Job::SweepPictures))?,
            );
    }
    Ok(options.init().await?)
}

/// Works until `shutdown`, then finishes what it began. A worker that loses the database begins anew.
pub async fn run(app: App, shutdown: impl Future<Output = ()> + Send + 'static) {
    let mut shutdown = std::pin::pin!(shutdown.fuse());
    let id = Uuid::new_v4();
    while let Err(error) = work(&app, id, &mut shutdown).await {
        if shutdown.is_terminated() {
            warn!(
                error = format!("{error:#}"),
                "the worker stopped with an error"
            );
            return;
        }
        warn!(
            error = format!("{error:#}"),
            "the worker stumbled; it begins anew"
        );
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = &mut shutdown => return,
        }
    }
}

async fn work(
    app: &App,
    id: Uuid,
    shutdown: &mut (impl Future<Output = ()> + Unpin),
) -> anyhow::Result<()> {
    let worker = build(app, true).await?;
    // What happened while nobody worked is not left to wait for the clock.
    let mut conn = app.db.acquire().await?;
    jobs::enqueue(&mut conn, &Job::Sweep).await?;
    jobs::enqueue(&mut conn, &Job::Reconcile).await?;
    drop(conn);
    let beat = async {
        loop {
            if let Err(error) = heartbeat(app, id).await {
                warn!(%error, "heartbeat");
            }
            tokio::time::sleep(HEARTBEAT).await;
        }
    };
    let mut working = std::pin::pin!(worker.run());
    tokio::select! {
        result = &mut working => {
            result?;
            anyhow::bail!("the queue stopped by itself");
        }
        () = beat => {}
        () = shutdown => {}
    }
    worker.request_shutdown();
    working.await?;
    sqlx::query("delete from worker_heartbeats where worker = $1")
        .bind(id)
        .execute(&app.db)
        .await?;
    Ok(())
}

/// Says that a worker is alive, and forgets those that have been silent for an hour.
async fn heartbeat(app: &App, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with gone as (
             delete from worker_heartbeats
             where seen_at < now() - interval '1 hour'
         )
         insert into worker_heartbeats (worker)
         values ($1)
         on conflict (worker) do update
         set seen_at = now()",
    )
    .bind(id)
    .execute(&app.db)
    .await?;
    Ok(())
}
