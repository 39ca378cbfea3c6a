//! The outbox: what can wait is a [`Job`], queued by the change that causes it, inside that change's transaction.
//!
//! The queue is graphile_worker's, in its own schema; `worker.rs` says what each job does.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;

use crate::error::Result;
use crate::ids::{LetterId, OrderId, PictureId, ProductId, QuoteId, RefundId};

/// The name under which every job is queued; the payload says which it is.
pub const IDENTIFIER: &str = "spirit_beads";

/// Something to be done soon, at least once. Whoever carries it out looks before acting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Job {
    /// Bring Stripe's product and price in line with our row.
    SyncProduct { product: ProductId },
    /// Obey a stored Stripe event that failed before.
    ProcessEvent { event: String },
    /// Find out what became of a Checkout Session that we asked for without hearing the answer, and end it.
    SettleCheckout { order: OrderId },
    /// Ask Stripe for a refund that was decided on.
    SendRefund { refund: RefundId },
    /// Ask Stripe for the payment link of an approved quote.
    MakeLink { quote: QuoteId },
    /// Close the payment link of a quote, then do with its request what was planned.
    CloseLink { quote: QuoteId },
    /// Send a queued letter.
    SendLetter { letter: LetterId },
    /// Make a picture's renditions.
    RenderPicture { picture: PictureId },
    /// Remove the objects of a picture that is gone.
    RemovePicture { storage_key: String },
    /// The clock's: let go of pictures that nobody uses.
    SweepPictures,
    /// The clock's: release what has run out, settle what hangs.
    Sweep,
    /// The clock's: fetch the Stripe events that did not reach us.
    Reconcile,
}

impl Job {
    /// Jobs with one key are one job: a later one replaces an earlier one that has not begun.
    fn key(&self) -> String {
        match self {
            Job::SyncProduct { product } => format!("sync_product:{product}"),
            Job::ProcessEvent { event } => format!("process_event:{event}"),
            Job::SettleCheckout { order } => format!("settle_checkout:{order}"),
            Job::SendRefund { refund } => format!("send_refund:{refund}"),
            Job::MakeLink { quote } => format!("make_link:{quote}"),
            Job::CloseLink { quote } => format!("close_link:{quote}"),
            Job::SendLetter { letter } => format!("send_letter:{letter}"),
            Job::RenderPicture { picture } => format!("render_picture:{picture}"),
            Job::RemovePicture { storage_key } => format!("remove_picture:{storage_key}"),
            Job::SweepPictures => "sweep_pictures".to_owned(),
            Job::Sweep => "sweep".to_owned(),
            Job::Reconcile => "reconcile".to_owned(),
        }
    }

    /// Jobs of one queue are done one after the other: a mail server that does not answer keeps one worker's hand busy,
    /// not all of them.
    fn queue(&self) -> Option<&'static str> {
        match self {
            Job::SendLetter { .. } => Some("letters"),
            _ => None,
        }
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
             $1, $2::json, queue_name := $3, job_key := $4, run_at := now() + make_interval(secs => $5))",
    )
    .bind(IDENTIFIER)
    .bind(job.payload())
    .bind(job.queue())
    .bind(job.key())
    .bind(delay.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(())
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

/// The most jobs with keys that one call queues. The queue takes a lock for each key until the transaction ends, and
/// PostgreSQL has room for a few thousand locks in all.
const MAX_KEYS: usize = 1000;

/// Queues the sync of many products in one round trip. Safe to repeat: of more than a thousand one may be synced twice.
pub async fn enqueue_syncs(conn: &mut PgConnection, products: &[ProductId]) -> Result<()> {
    if products.is_empty() {
        return Ok(());
    }
    let jobs = products.iter().map(|product| Job::SyncProduct {
        product: product.clone(),
    });
    let (payloads, keys): (Vec<Value>, Vec<Option<String>>) = jobs
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
                 ($1, wanted.payload, null, null, null, wanted.key, null, null)::graphile_worker.job_spec)
             from unnest($2::json[], $3::text[]) as wanted (payload, key)))",
    )
    .bind(IDENTIFIER)
    .bind(payloads)
    .bind(keys)
    .execute(conn)
    .await?;
    Ok(())
}
