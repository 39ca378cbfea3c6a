//! The outbox: what can wait is a [`Job`], queued by the change that causes it, inside that change's transaction.
//!
//! The queue is graphile_worker's, in its own schema; `worker.rs` says what each job does.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;

use crate::error::{Error, Result};
use crate::ids::{EmailId, ImageId, OrderId, ProductId, QuoteId, RefundId};

/// Jobs that compete with one another alone. Each lane has runners of its own, so that a flood in one, or an outside
/// service that does not answer, keeps no job of another waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Refunds, payment links, checkouts and events that wait to be settled.
    Money,
    /// Work of the clock. Each job has a named queue as well, so none is done twice at once.
    Clock,
    Email,
    /// Products on their way to Stripe.
    Sync,
    Image,
    /// Queued under the only name that earlier versions knew; [`sort_legacy`] finds the lane. Only what cannot be read
    /// is left for this one.
    Legacy,
}

impl Lane {
    pub const ALL: [Lane; 6] = [
        Lane::Money,
        Lane::Clock,
        Lane::Email,
        Lane::Sync,
        Lane::Image,
        Lane::Legacy,
    ];

    /// The name under which the queue keeps the lane's jobs; the payload says which job it is.
    pub const fn identifier(self) -> &'static str {
        match self {
            Lane::Money => "money",
            Lane::Clock => "clock",
            Lane::Email => "email",
            Lane::Sync => "sync",
            Lane::Image => "image",
            Lane::Legacy => "spirit_beads",
        }
    }

    /// The number of jobs that one process runs at once.
    pub fn concurrency(self) -> usize {
        match self {
            Lane::Money => 4,
            // The sweep, the reconciliation, and the sweep of images: a slow one stops no other.
            Lane::Clock => 3,
            // Cheap mail servers let one sender have few connections.
            Lane::Email => 3,
            // Stripe takes 25 calls a second in test mode.
            Lane::Sync => 4,
            // Each rendition fills a core, and shoppers need one.
            Lane::Image => {
                std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
            }
            Lane::Legacy => 1,
        }
    }
}

/// Something to be done soon, at least once. Whoever carries it out looks before acting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Job {
    /// Bring Stripe's product and price in line with our row.
    SyncProduct { product: ProductId },
    /// Process a stored Stripe event that failed before.
    ProcessEvent { event: String },
    /// Find out what became of a Checkout Session that we asked for without hearing the answer, and end it.
    SettleCheckout { order: OrderId },
    /// Ask Stripe for a refund that was decided on.
    SendRefund { refund: RefundId },
    /// Read at Stripe which refunds a payment has.
    ReadRefunds { payment: String },
    /// Ask Stripe for the payment link of an approved quote.
    MakeLink { quote: QuoteId },
    /// Close the payment link of a quote, then do with its request what was planned.
    CloseLink { quote: QuoteId },
    /// Send a queued email.
    SendEmail { email: EmailId },
    /// Make an image's renditions.
    RenderImage { image: ImageId },
    /// Remove the objects of an image that is gone.
    RemoveImage { storage_key: String },
    /// The clock's: let go of images that nobody uses.
    SweepImages,
    /// The clock's: release what has run out, settle what hangs.
    Sweep,
    /// The clock's: fetch the Stripe events that did not reach us.
    Reconcile,
}

impl Job {
    /// What it does, as the payload says it: `send_email`.
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
            Job::SweepImages => "sweep_images",
            Job::Sweep => "sweep",
            Job::Reconcile => "reconcile",
        }
    }

    /// Jobs with one key are one job: a later one replaces an earlier one that has not begun.
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
            Job::SweepImages | Job::Sweep | Job::Reconcile => name.to_owned(),
        }
    }

    /// The lane in which it waits.
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
        }
    }

    /// The smaller, the sooner. It orders the jobs of one lane; between lanes it makes finding the next job cheap,
    /// because the queue looks through its jobs in this order.
    pub fn priority(&self) -> i16 {
        match self.lane() {
            Lane::Money => 10,
            Lane::Clock => 20,
            Lane::Email => 30,
            Lane::Sync => 40,
            Lane::Image | Lane::Legacy => match self {
                Job::RemoveImage { .. } => 60,
                _ => 50,
            },
        }
    }

    /// The clock's jobs of one kind are done one after the other: each looks at everything.
    fn queue(&self) -> Option<&'static str> {
        (self.lane() == Lane::Clock).then_some(self.name())
    }

    /// The payload as the queue keeps it.
    pub fn payload(&self) -> Value {
        serde_json::to_value(self).expect("a job is plain data")
    }
}

/// Queues a job; it becomes visible to workers when the caller's transaction commits. Safe to repeat.
pub async fn enqueue(conn: &mut PgConnection, job: &Job) -> Result<()> {
    enqueue_in(conn, job, Duration::ZERO).await
}

/// Queues a job for later; it replaces one with its key that has not begun. Safe to repeat.
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

/// Moves jobs that an earlier version queued to the lanes where they belong, so that thousands of its renditions keep no
/// refund waiting. Safe to repeat, and while the earlier version still runs.
pub async fn sort_legacy(conn: &mut PgConnection) -> Result<()> {
    let kinds: Vec<Value> = sqlx::query_scalar(
        "select distinct on (payload ->> 'job') payload::jsonb
         from graphile_worker._private_jobs jobs
         join graphile_worker._private_tasks tasks on tasks.id = jobs.task_id
         where tasks.identifier = $1
           and jobs.locked_at is null",
    )
    .bind(Lane::Legacy.identifier())
    .fetch_all(&mut *conn)
    .await?;
    // One that this version cannot read stays, fails, and shows in the admin.
    let kinds = kinds
        .into_iter()
        .filter_map(|payload| serde_json::from_value::<Job>(payload).ok());
    for kind in kinds {
        sqlx::query(
            "update graphile_worker._private_jobs jobs
             set task_id = lane.id, priority = $4, job_queue_id = null
             from graphile_worker._private_tasks lane, graphile_worker._private_tasks legacy
             where legacy.identifier = $1
               and lane.identifier = $2
               and jobs.task_id = legacy.id
               and jobs.payload ->> 'job' = $3
               and jobs.locked_at is null",
        )
        .bind(Lane::Legacy.identifier())
        .bind(kind.lane().identifier())
        .bind(kind.name())
        .bind(kind.priority())
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// The lanes in which a job waits whose time has come.
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

/// How many jobs failed and wait to be tried again, or were given up.
pub async fn count_failed(conn: &mut PgConnection) -> Result<i64> {
    let count = sqlx::query_scalar(
        "select count(*) from graphile_worker.jobs where last_error is not null",
    )
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// A job that waits, is being done, or failed.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct QueuedJob {
    pub id: i64,
    pub payload: Value,
    pub run_at: DateTime<Utc>,
    pub attempts: i16,
    pub max_attempts: i16,
    pub last_error: Option<String>,
    pub created_at: DateTime<Utc>,
    /// Since when a worker is at it.
    pub locked_at: Option<DateTime<Utc>>,
}

impl QueuedJob {
    /// What it does, as `send_email`.
    pub fn name(&self) -> &str {
        self.payload["job"].as_str().unwrap_or("unknown")
    }

    /// What it does that to, as an order's id.
    pub fn object(&self) -> Option<String> {
        let fields = self.payload.as_object()?;
        let (_, value) = fields.iter().find(|(name, _)| *name != "job")?;
        value.as_str().map(str::to_owned)
    }

    /// No worker tries it any more.
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

macro_rules! wanted {
    () => {
        "where (not $1 or last_error is not null)
           and ($2::text is null
                or strpos(lower(concat_ws(' ', payload, replace(payload::text, '_', ' '), last_error)), lower($2)) > 0) "
    };
}

/// Jobs of the queue, those that failed first, then the longest waiting. `failed` leaves out the others. A search finds
/// a part of what a job does (`send email`), of what it does that to, or of its last error.
pub async fn list(
    conn: &mut PgConnection,
    failed: bool,
    search: Option<&str>,
    limit: i64,
    offset: i64,
) -> Result<Vec<QueuedJob>> {
    let jobs = sqlx::query_as(concat!(
        queued!(),
        wanted!(),
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

/// How many jobs [`list`] finds in all.
pub async fn count_found(
    conn: &mut PgConnection,
    failed: bool,
    search: Option<&str>,
) -> Result<i64> {
    let count = sqlx::query_scalar(concat!(
        "select count(*) from graphile_worker._private_jobs ",
        wanted!()
    ))
    .bind(failed)
    .bind(search)
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// How many jobs wait, or are being done.
pub async fn count(conn: &mut PgConnection) -> Result<i64> {
    let count = sqlx::query_scalar("select count(*) from graphile_worker._private_jobs")
        .fetch_one(conn)
        .await?;
    Ok(count)
}

/// One job of the queue.
///
/// # Errors
/// 404 for one that is not there any more.
pub async fn find(conn: &mut PgConnection, id: i64) -> Result<QueuedJob> {
    let job = sqlx::query_as(concat!(queued!(), "where id = $1"))
        .bind(id)
        .fetch_optional(conn)
        .await?;
    job.ok_or(Error::NotFound("Job"))
}

/// Lets a job be tried at once, and as often as a new one. Returns it as it was.
///
/// # Errors
/// 404 for one that is not there any more; 409 `job_is_running` while a worker is at it.
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

/// Takes a job out of the queue: it is not done. Returns it as it was.
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

/// Lets go of jobs that were replaced by a later one with their key while a worker was at them, and that failed or lost
/// their worker since. The later one does their work, so the queue never tries them again: they would stand there as
/// given up for ever. Safe to repeat.
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
        "job_is_running",
        "A worker is at this job right now. Look again in a moment.".to_owned(),
    )
}

/// The most jobs with keys that one call queues. The queue takes a lock for each key until the transaction ends, and
/// PostgreSQL has room for a few thousand locks in all.
const MAX_KEYS: usize = 1000;

/// Queues the sync of many products in one round trip. Safe to repeat: of more than a thousand one may be synced twice.
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
