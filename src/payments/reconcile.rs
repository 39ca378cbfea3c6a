//! Scheduled work that settles unfinished payments: the sweep releases and settles expired orders, and reconciliation
//! fetches events that did not arrive. A shop without webhooks for a day ends in the same state as one with them.

use std::fmt;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tracing::warn;

use super::{ASKING_LIMIT, checkout_end, events, refunds, store};
use crate::app::App;
use crate::error::{Code, DatabaseFailure, Error, Result};
use crate::http::idempotency;
use crate::jobs::{self, Job};
use crate::products;
use crate::stripe::EventPage;
use crate::types::ids::OrderId;

/// Range of the first reconciliation: Stripe keeps events this long.
///
/// Source: <https://docs.stripe.com/api/events>
const FIRST_LOOK: Duration = Duration::from_secs(30 * 24 * 3600);

/// Overlap with the previous reconciliation, for events that Stripe listed late.
const OVERLAP: Duration = Duration::from_secs(3600);

/// Time in which one sweep begins new work. The next sweep starts every minute.
const SWEEP_LIMIT: Duration = Duration::from_secs(45);

/// Result of a sweep.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CheckoutSweep {
    /// Orders that were stuck and are settled now.
    pub settled: u32,
    /// Orders that are still stuck, mostly because Stripe was unavailable.
    pub waiting: u32,
}

/// Settles checkouts without an answer and orders whose hold expired, sends stuck refunds again, and deletes old
/// idempotency keys. Safe to repeat, and to run concurrently.
///
/// # Errors
/// Database errors only. An order waits for the next sweep while Stripe is unavailable.
pub async fn sweep(app: &App) -> Result<CheckoutSweep> {
    let mut swept = CheckoutSweep::default();
    let mut conn = app.db.acquire().await?;
    idempotency::purge(&mut conn).await?;
    store::forget_clients(&mut conn).await?;
    let unheard = store::list_unheard(&mut conn, Utc::now() - ASKING_LIMIT).await?;
    let overdue = store::list_overdue(&mut conn).await?;
    for refund in refunds::list_unsent(&mut conn).await? {
        jobs::enqueue(&mut conn, &Job::SendRefund { refund }).await?;
    }
    drop(conn);
    let deadline = Instant::now() + SWEEP_LIMIT;
    for order in unheard {
        if Instant::now() < deadline {
            let result = checkout_end::settle_unheard(app, order).await;
            swept.count(app, order, result).await?;
        }
    }
    for (order, session) in overdue {
        if Instant::now() < deadline {
            let result = checkout_end::settle_by_asking(app, order, &session, true).await;
            swept.count(app, order, result).await?;
        }
    }
    Ok(swept)
}

impl CheckoutSweep {
    /// Counts the result of one order. An order that cannot be settled does not stop the others, and comes last in the
    /// next sweep.
    async fn count(&mut self, app: &App, order: OrderId, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => self.settled += 1,
            Err(error) => {
                warn!(%order, %error, "not settled; trying again later");
                self.waiting += 1;
                let mut conn = app.db.acquire().await?;
                store::postpone(&mut conn, order, &error.to_string()).await?;
            }
        }
        Ok(())
    }
}

/// Result of a reconciliation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Events that could not even be stored, by Stripe's id; the next reconciliation fetches them again.
    pub unstored: Vec<String>,
    /// Events that Stripe listed.
    pub listed: u32,
    /// Events that had not arrived and are processed now.
    pub processed: u32,
    /// Stored events that could not be processed, now or before; they are retried.
    pub failed: u32,
    /// Pending orders whose session had ended.
    pub settled: u32,
    /// Pending orders about which Stripe could not be asked.
    pub waiting: u32,
}

impl fmt::Display for Reconciled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events listed, {} processed, {} failed; {} orders settled, {} waiting",
            self.listed, self.processed, self.failed, self.settled, self.waiting
        )?;
        if !self.unstored.is_empty() {
            write!(
                f,
                "; {} events could not be stored: {}",
                self.unstored.len(),
                self.unstored.join(", ")
            )?;
        }
        Ok(())
    }
}

async fn list(app: &App, since: DateTime<Utc>, after: Option<&str>) -> Result<EventPage> {
    app.stripe
        .list_events(&events::HANDLED, since, after)
        .await
        .map_err(|error| Error::Unavailable(Code::PaymentUnavailable, error.into()))
}

fn id_of(event: &Value) -> Option<&str> {
    event["id"].as_str()
}

/// Events of a page that are missing or unprocessed here.
async fn missed(app: &App, page: EventPage) -> Result<Vec<Value>> {
    let ids: Vec<&str> = page.events.iter().filter_map(id_of).collect();
    let mut conn = app.db.acquire().await?;
    let finished = store::list_finished(&mut conn, &ids).await?;
    let mut events = page.events;
    events.retain(|event| id_of(event).is_some_and(|id| !finished.iter().any(|known| known == id)));
    Ok(events)
}

/// Processes one event. A failure does not affect the others: a stored event is shown, counted and retried, an unstored
/// one is reported by id.
///
/// # Errors
/// Only when the database is lost, and every other event would fail as well.
async fn process(app: &App, event: &Value, done: &mut Reconciled) -> Result<()> {
    let payload = event.to_string();
    let received = match events::Event::read(&payload) {
        Ok(event) => events::receive(app, &event, "reconcile").await,
        Err(error) => Err(error),
    };
    match received {
        Ok(_) => done.processed += 1,
        Err(Error::Unavailable(Code::EventNotProcessed, _)) => {}
        Err(error)
            if error
                .database_failure()
                .is_some_and(DatabaseFailure::taints_connections) =>
        {
            return Err(error);
        }
        Err(error) => {
            let id = id_of(event).unwrap_or("an event without an id");
            warn!(event = id, %error, "an event of Stripe's could not be stored");
            done.unstored.push(id.to_owned());
        }
    }
    Ok(())
}

/// Fetches the events since the last run, processes those that did not arrive, oldest first, retries failed ones,
/// settles pending orders whose session ended, and queues stalled product syncs. Safe to repeat, and to run
/// concurrently. `progress` is called for each event with the number done and the total.
///
/// # Errors
/// 503 while Stripe is unavailable; events processed until then stay so.
pub async fn reconcile(app: &App, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Reconciled> {
    let mut done = Reconciled::default();
    let started = Utc::now();
    let mut conn = app.db.acquire().await?;
    let since = match store::find_cursor(&mut conn).await? {
        Some(cursor) => cursor - OVERLAP,
        None => started - FIRST_LOOK,
    };
    drop(conn);

    // Stripe lists the newest events first, but the oldest must be processed first. Of older pages, which may be many
    // after days of silence, only the starting points are kept in memory.
    let mut newest = Vec::new();
    let mut older = Vec::new();
    let mut all = 0;
    let mut after: Option<String> = None;
    loop {
        // No connection is held while Stripe lists.
        let page = list(app, since, after.as_deref()).await?;
        done.listed += u32::try_from(page.events.len()).unwrap_or(u32::MAX);
        let last = page.events.last().and_then(id_of).map(str::to_owned);
        let has_more = page.has_more && last.is_some();
        let missed = missed(app, page).await?;
        all += missed.len() as u64;
        match after {
            None => newest = missed,
            Some(after) if !missed.is_empty() => older.push(after),
            Some(_) => {}
        }
        if !has_more {
            break;
        }
        after = last;
    }
    let mut at = 0;
    for after in older.into_iter().rev().map(Some).chain([None]) {
        let events = match after {
            Some(after) => missed(app, list(app, since, Some(&after)).await?).await?,
            None => std::mem::take(&mut newest),
        };
        for event in events.iter().rev() {
            process(app, event, &mut done).await?;
            at += 1;
            progress(at, all);
        }
    }

    let mut conn = app.db.acquire().await?;
    // Otherwise the next run lists the same events again. Those that are stored are skipped or retried from there.
    if done.unstored.is_empty() {
        store::move_cursor(&mut conn, started).await?;
    }
    let failed = store::list_failed_events(&mut conn).await?;
    let ended = store::list_ended(&mut conn).await?;
    drop(conn);
    for id in failed {
        match events::process_stored(app, &id).await {
            Ok(_) => done.processed += 1,
            Err(error) => warn!(event = id, %error, "an event still fails"),
        }
    }
    let mut swept = CheckoutSweep::default();
    for (order, session) in ended {
        let result = checkout_end::settle_by_asking(app, order, &session, false).await;
        swept.count(app, order, result).await?;
    }
    done.settled = swept.settled;
    done.waiting = swept.waiting;
    let mut conn = app.db.acquire().await?;
    done.failed = u32::try_from(store::count_failed_events(&mut conn).await?).unwrap_or(u32::MAX);
    let stalled = products::stalled_syncs(&mut conn).await?;
    jobs::enqueue_syncs(&mut conn, &stalled).await?;
    Ok(done)
}
