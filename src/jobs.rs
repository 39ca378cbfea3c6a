//! The outbox: deferred work is a [`Job`], queued in the transaction of the change that causes it.
//!
//! The queue is graphile_worker, in its own schema. `worker.rs` implements the jobs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;

use crate::error::{Code, Error, Result};
use crate::types::ids::{
    EmailId, ImageId, IntakeId, OrderId, PhotoId, ProductId, QuoteId, RefundId,
};

/// A group of jobs that compete only with one another. Each lane has its own runners, so a flood in one lane, or an
/// external service that does not respond, does not delay the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Refunds, payment links, checkouts, and events to be settled.
    Money,
    /// Scheduled jobs. Each also has a named queue, so that none runs twice at once.
    Clock,
    Email,
    /// Products to be synced to Stripe.
    Sync,
    Image,
    /// Photographs of a table, each of which takes a core and much memory for a second or more.
    Intake,
}

impl Lane {
    /// All lanes.
    pub const ALL: [Lane; 6] = [
        Lane::Money,
        Lane::Clock,
        Lane::Email,
        Lane::Sync,
        Lane::Image,
        Lane::Intake,
    ];

    /// Task identifier of the lane in the queue. The payload names the job.
    pub const fn identifier(self) -> &'static str {
        match self {
            Lane::Money => "money",
            Lane::Clock => "clock",
            Lane::Email => "email",
            Lane::Sync => "sync",
            Lane::Image => "image",
            Lane::Intake => "intake",
        }
    }

    /// Returns the number of jobs that one process runs concurrently.
    pub fn concurrency(self) -> usize {
        match self {
            Lane::Money => 4,
            // The sweep, the reconciliation and the image sweep: a slow one must not block the others.
            Lane::Clock => 3,
            // Cheap mail servers allow few connections per sender.
            Lane::Email => 3,
            // Stripe allows 25 calls a second in test mode.
            Lane::Sync => 4,
            // Each rendition occupies a core, and shoppers need one.
            Lane::Image => {
                std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
            }
            Lane::Intake => 1,
        }
    }
}

/// Deferred work that runs at least once. Its implementation must check the current state before it acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Job {
    /// Updates the product and the price at Stripe.
    SyncProduct { product: ProductId },
    /// Processes a stored Stripe event that failed before.
    ProcessEvent { event: String },
    /// Finds out whether a Checkout Session request without a response created a session, and expires it.
    SettleCheckout { order: OrderId },
    /// Requests a planned refund from Stripe.
    SendRefund { refund: RefundId },
    /// Reads the refunds of a payment from Stripe.
    ReadRefunds { payment: String },
    /// Creates the payment link of an approved quote at Stripe.
    MakeLink { quote: QuoteId },
    /// Deactivates the payment link of a quote, then makes the planned change to its custom order.
    CloseLink { quote: QuoteId },
    /// Sends a queued email.
    SendEmail { email: EmailId },
    /// Creates an image's renditions.
    RenderImage { image: ImageId },
    /// Deletes the stored files of a deleted image.
    RemoveImage { storage_key: String },
    /// Finds the pieces in a photograph of a table.
    FindPieces { photo: PhotoId },
    /// Pairs the fronts of an intake with its backs, and proposes names and prices.
    PairPieces { intake: IntakeId },
    /// Stages the pieces of a photograph that have no image yet.
    StagePieces { photo: PhotoId },
    /// Deletes unreferenced images. Scheduled.
    SweepImages,
    /// Releases expired holds and settles unfinished work. Scheduled.
    Sweep,
    /// Fetches Stripe events that were not delivered. Scheduled.
    Reconcile,
}

impl Job {
    /// Name of the job, as in its payload: `send_email`.
    pub fn name(&self) -> &'static str {
        match self {
            Job::SyncProduct { .. } => "sync_product",
            Job::ProcessEvent { .. } => "process_event",
            Job::SettleCheckout { .. } => "settle_checkout",
            Job::SendRefund { .. } => "send_refund",
            Job::ReadRefunds { .. } => "read_refunds",
            Job::MakeLink { .. } => "make_link",
            Job::CloseLink { .. } => "close_link",
            Job::SendEmail { .. } => "send_email",
            Job::RenderImage { .. } => "render_image",
            Job::RemoveImage { .. } => "remove_image",
            Job::FindPieces { .. } => "find_pieces",
            Job::PairPieces { .. } => "pair_pieces",
            Job::StagePieces { .. } => "stage_pieces",
            Job::SweepImages => "sweep_images",
            Job::Sweep => "sweep",
            Job::Reconcile => "reconcile",
        }
    }

    /// Identifies duplicates: a job replaces a queued one with the same key that has not started.
    fn key(&self) -> String {
        let name = self.name();
        match self {
            Job::SyncProduct { product } => format!("{name}:{product}"),
            Job::ProcessEvent { event } => format!("{name}:{event}"),
            Job::SettleCheckout { order } => format!("{name}:{order}"),
            Job::SendRefund { refund } => format!("{name}:{refund}"),
            Job::ReadRefunds { payment } => format!("{name}:{payment}"),
            Job::MakeLink { quote } | Job::CloseLink { quote } => format!("{name}:{quote}"),
            Job::SendEmail { email } => format!("{name}:{email}"),
            Job::RenderImage { image } => format!("{name}:{image}"),
            Job::RemoveImage { storage_key } => format!("{name}:{storage_key}"),
            Job::FindPieces { photo } | Job::StagePieces { photo } => format!("{name}:{photo}"),
            Job::PairPieces { intake } => format!("{name}:{intake}"),
            Job::SweepImages | Job::Sweep | Job::Reconcile => name.to_owned(),
        }
    }

    /// Returns the job's lane.
    pub fn lane(&self) -> Lane {
        match self {
            Job::ProcessEvent { .. }
            | Job::SettleCheckout { .. }
            | Job::SendRefund { .. }
            | Job::ReadRefunds { .. }
            | Job::MakeLink { .. }
            | Job::CloseLink { .. } => Lane::Money,
            Job::Sweep | Job::Reconcile | Job::SweepImages => Lane::Clock,
            Job::SendEmail { .. } => Lane::Email,
            Job::SyncProduct { .. } => Lane::Sync,
            Job::RenderImage { .. } | Job::RemoveImage { .. } => Lane::Image,
            Job::FindPieces { .. } | Job::PairPieces { .. } | Job::StagePieces { .. } => {
                Lane::Intake
            }
        }
    }

    /// Returns the priority; smaller is sooner. It orders the jobs of one lane. Across lanes, it makes finding the next
    /// job cheap, because the queue scans its jobs in this order.
    pub fn priority(&self) -> i16 {
        match self.lane() {
            Lane::Money => 10,
            Lane::Clock => 20,
            Lane::Email => 30,
            Lane::Sync => 40,
            Lane::Image => match self {
                Job::RemoveImage { .. } => 60,
                _ => 50,
            },
            // All pieces of a batch are known before they are paired, and their sizes before they are staged.
            Lane::Intake => match self {
                Job::FindPieces { .. } => 70,
                Job::PairPieces { .. } => 80,
                _ => 90,
            },
        }
    }

    /// Returns the named queue of scheduled jobs: those of one kind run one after the other, because each covers all
    /// rows.
    fn queue(&self) -> Option<&'static str> {
        (self.lane() == Lane::Clock).then_some(self.name())
    }

    /// Returns the payload as stored in the queue.
    pub fn payload(&self) -> Value {
        serde_json::to_value(self).expect("a job is plain data")
    }
}

/// Queues a job. Workers see it when the caller's transaction commits. Safe to repeat.
pub async fn enqueue(conn: &mut PgConnection, job: &Job) -> Result<()> {
    enqueue_in(conn, job, Duration::ZERO).await
}

/// Queues a job for later. It replaces a job with the same key that has not started. Safe to repeat.
pub async fn enqueue_in(conn: &mut PgConnection, job: &Job, delay: Duration) -> Result<()> {
    sqlx::query(
        "select id
         from graphile_worker.add_job(
             $1, $2::json, queue_name := $3, job_key := $4, run_at := now() + make_interval(secs => $5),
             priority := $6)",
    )
    .bind(job.lane().identifier())
    .bind(job.payload())
    .bind(job.queue())
    .bind(job.key())
    .bind(delay.as_secs_f64())
    .bind(i32::from(job.priority()))
    .execute(conn)
    .await?;
    Ok(())
}

/// A job of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct SavedJob {
    payload: Value,
    run_at: DateTime<Utc>,
}

/// Lists the jobs for a backup: waiting, running and failed ones.
pub async fn saved(conn: &mut PgConnection) -> Result<Vec<SavedJob>> {
    let jobs = sqlx::query_as(
        "select payload::jsonb as payload, run_at
         from graphile_worker._private_jobs
         order by run_at, id",
    )
    .fetch_all(conn)
    .await?;
    Ok(jobs)
}

/// Queues the jobs of a backup, each with all its attempts. Those on the files of images are left out: a restore queues
/// new ones.
pub async fn restore(conn: &mut PgConnection, saved: &[SavedJob]) -> Result<()> {
    let mut jobs = Vec::new();
    for SavedJob { payload, run_at } in saved {
        match serde_json::from_value::<Job>(payload.clone()) {
            Ok(job) if job.lane() == Lane::Image => {}
            Ok(job) => jobs.push((job, *run_at)),
            Err(error) => tracing::warn!(%error, %payload, "a job of the backup is unknown"),
        }
    }
    enqueue_many(conn, &jobs).await
}

/// Queues many jobs, each for its time. Above a thousand, they have no keys, as in [`enqueue_syncs`].
pub async fn enqueue_many(conn: &mut PgConnection, jobs: &[(Job, DateTime<Utc>)]) -> Result<()> {
    let is_keyed = jobs.len() <= MAX_KEYS;
    for part in jobs.chunks(MAX_KEYS) {
        let of = |text: &dyn Fn(&Job) -> Option<String>| -> Vec<Option<String>> {
            part.iter().map(|(job, _)| text(job)).collect()
        };
        let payloads: Vec<Value> = part.iter().map(|(job, _)| job.payload()).collect();
        let times: Vec<DateTime<Utc>> = part.iter().map(|(_, at)| *at).collect();
        let priorities: Vec<i32> = part
            .iter()
            .map(|(job, _)| i32::from(job.priority()))
            .collect();
        sqlx::query(
            "select id
             from graphile_worker.add_jobs((
                 select array_agg(
                     (job.lane, job.payload, job.queue, job.run_at, null, job.key, job.priority, null)
                         ::graphile_worker.job_spec)
                 from unnest($1::text[], $2::json[], $3::text[], $4::timestamptz[], $5::text[], $6::integer[])
                     as job (lane, payload, queue, run_at, key, priority)))",
        )
        .bind(of(&|job| Some(job.lane().identifier().to_owned())))
        .bind(payloads)
        .bind(of(&|job| job.queue().map(str::to_owned)))
        .bind(times)
        .bind(of(&|job| is_keyed.then(|| job.key())))
        .bind(priorities)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Returns the lanes that have a due job.
pub async fn due_lanes(conn: &mut PgConnection) -> Result<Vec<Lane>> {
    let due: Vec<String> = sqlx::query_scalar(
        "select identifier
         from graphile_worker._private_tasks
         where id in (select task_id from graphile_worker._private_jobs
                      where is_available and run_at <= now())",
    )
    .fetch_all(conn)
    .await?;
    let lanes = Lane::ALL.into_iter();
    Ok(lanes
        .filter(|lane| due.iter().any(|due| due == lane.identifier()))
        .collect())
}

/// Counts jobs that failed: those to be retried, and those given up.
pub async fn count_failed(conn: &mut PgConnection) -> Result<i64> {
    let count = sqlx::query_scalar(
        "select count(*) from graphile_worker.jobs where last_error is not null",
    )
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// A job that is waiting, running or failed.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct QueuedJob {
    pub id: i64,
    pub payload: Value,
    pub run_at: DateTime<Utc>,
    pub attempts: i16,
    pub max_attempts: i16,
    pub last_error: Option<String>,
    pub created_at: DateTime<Utc>,
    /// Start time of the current run, if a worker is running the job.
    pub locked_at: Option<DateTime<Utc>>,
}

impl QueuedJob {
    /// Name of the job, such as `send_email`.
    pub fn name(&self) -> &str {
        self.payload["job"].as_str().unwrap_or("unknown")
    }

    /// Object of the job, such as an order's id.
    pub fn object(&self) -> Option<String> {
        let fields = self.payload.as_object()?;
        let (_, value) = fields.iter().find(|(name, _)| *name != "job")?;
        value.as_str().map(str::to_owned)
    }

    /// Reports whether the queue has stopped retrying the job.
    pub fn is_given_up(&self) -> bool {
        self.attempts >= self.max_attempts
    }
}

macro_rules! queued {
    () => {
        "select id, payload::jsonb as payload, run_at, attempts::smallint as attempts,
                max_attempts::smallint as max_attempts, last_error, created_at, locked_at
         from graphile_worker._private_jobs "
    };
}

macro_rules! filter_condition {
    () => {
        "where (not $1 or last_error is not null)
           and ($2::text is null
                or strpos(lower(concat_ws(' ', payload, replace(payload::text, '_', ' '), last_error)), lower($2)) > 0) "
    };
}

/// Lists jobs of the queue: failed ones first, then the longest waiting. `failed` selects failed ones only. The search
/// matches a part of the job's name (`send email`), its object or its last error.
pub async fn list(
    conn: &mut PgConnection,
    failed: bool,
    search: Option<&str>,
    limit: i64,
    offset: i64,
) -> Result<Vec<QueuedJob>> {
    let jobs = sqlx::query_as(concat!(
        queued!(),
        filter_condition!(),
        "order by last_error is null, run_at, id
         limit $3
         offset $4"
    ))
    .bind(failed)
    .bind(search)
    .bind(limit)
    .bind(offset)
    .fetch_all(conn)
    .await?;
    Ok(jobs)
}

/// Returns the total number of jobs that [`list`] finds.
pub async fn count_found(
    conn: &mut PgConnection,
    failed: bool,
    search: Option<&str>,
) -> Result<i64> {
    let count = sqlx::query_scalar(concat!(
        "select count(*) from graphile_worker._private_jobs ",
        filter_condition!()
    ))
    .bind(failed)
    .bind(search)
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// Counts waiting and running jobs.
pub async fn count(conn: &mut PgConnection) -> Result<i64> {
    let count = sqlx::query_scalar("select count(*) from graphile_worker._private_jobs")
        .fetch_one(conn)
        .await?;
    Ok(count)
}

/// Finds a job of the queue.
///
/// # Errors
/// 404 if the job is not in the queue any more.
pub async fn find(conn: &mut PgConnection, id: i64) -> Result<QueuedJob> {
    let job = sqlx::query_as(concat!(queued!(), "where id = $1"))
        .bind(id)
        .fetch_optional(conn)
        .await?;
    job.ok_or(Error::NotFound("Job"))
}

/// Makes a job due now and resets its attempts. Returns its previous state.
///
/// # Errors
/// 404 if the job is not in the queue any more; 409 `job_is_running` while a worker is running it.
pub async fn retry(conn: &mut PgConnection, id: i64) -> Result<QueuedJob> {
    let job = find(conn, id).await?;
    let done = sqlx::query(
        "select id
         from graphile_worker.reschedule_jobs(array[$1::bigint], run_at := now(), attempts := 0)",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    done.map(|_| job).ok_or_else(is_running)
}

/// Removes a job from the queue without running it. Returns its previous state.
///
/// # Errors
/// As [`retry`].
pub async fn delete(conn: &mut PgConnection, id: i64) -> Result<QueuedJob> {
    let job = find(conn, id).await?;
    let done = sqlx::query("select id from graphile_worker.complete_jobs(array[$1::bigint])")
        .bind(id)
        .fetch_optional(conn)
        .await?;
    done.map(|_| job).ok_or_else(is_running)
}

/// Deletes jobs that were replaced under their key while running, and that have since failed or lost their worker. The
/// replacement does their work, so the queue never retries them, and they would count as given up forever. Safe to
/// repeat.
pub async fn forget_replaced(conn: &mut PgConnection) -> Result<()> {
    sqlx::query(
        "delete from graphile_worker._private_jobs jobs
         using graphile_worker._private_job_retirements replaced
         where replaced.id = jobs.id
           and jobs.locked_at is null",
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn is_running() -> Error {
    Error::Conflict(
        Code::JobIsRunning,
        "A worker is running this job. Try again in a moment.".to_owned(),
    )
}

/// Maximum number of keyed jobs in one call. The queue takes a lock for each key until the transaction ends, and
/// PostgreSQL has room for a few thousand locks in total.
const MAX_KEYS: usize = 1000;

/// Queues the sync of many products in one round trip. Safe to repeat. Above a thousand products, a product may be
/// synced twice, because the jobs have no keys.
pub async fn enqueue_syncs(conn: &mut PgConnection, products: &[ProductId]) -> Result<()> {
    let jobs = || {
        products.iter().map(|product| Job::SyncProduct {
            product: product.clone(),
        })
    };
    let Some((lane, priority)) = jobs().next().map(|job| (job.lane(), job.priority())) else {
        return Ok(());
    };
    let (payloads, keys): (Vec<Value>, Vec<Option<String>>) = jobs()
        .map(|job| {
            (
                job.payload(),
                (products.len() <= MAX_KEYS).then(|| job.key()),
            )
        })
        .unzip();
    sqlx::query(
        "select id
         from graphile_worker.add_jobs((
             select array_agg(
                 ($1, wanted.payload, null, null, null, wanted.key, $4, null)::graphile_worker.job_spec)
             from unnest($2::json[], $3::text[]) as wanted (payload, key)))",
    )
    .bind(lane.identifier())
    .bind(payloads)
    .bind(keys)
    .bind(i32::from(priority))
    .execute(conn)
    .await?;
    Ok(())
}
