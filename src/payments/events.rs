//! Stripe's events: stored before they are processed, processed once (P3), in any order.
//!
//! Storing and processing share one transaction. When processing fails, only that part is rolled back: the event stays
//! stored, marked as failed, and a job retries it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};
use tracing::{info, warn};

use super::effect::{Effect, time};
use super::states::EventStatus;
use super::store::NewEvent;
use super::{disputes, redaction, refunds, sessions, store};
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::jobs::{self, Job};
use crate::review_items::{self, Kind, NewItem, Subject};
use crate::stripe::{self, SessionStatus};

/// Event types that are processed; all others are only stored.
pub const HANDLED: [&str; 18] = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "radar.early_fraud_warning.created",
    "radar.early_fraud_warning.updated",
    "review.opened",
    "review.closed",
];

/// An event with a readable envelope.
pub struct Event<'a> {
    pub id: String,
    pub kind: String,
    pub created: Option<DateTime<Utc>>,
    pub json: Value,
    pub payload: &'a str,
}

impl<'a> Event<'a> {
    /// Reads the envelope, which needs an id and a type. Everything else is read when needed.
    ///
    /// # Errors
    /// 400 naming the missing part; `parse_error` for a payload that is not JSON even when read leniently.
    pub fn read(payload: &'a str) -> Result<Event<'a>> {
        let json = stripe::read_json(payload.as_bytes()).map_err(|error| {
            Error::refused(Code::ParseError, format!("JSON parse error - {error}"))
        })?;
        let text = |name: &str| {
            json[name]
                .as_str()
                .filter(|text| !text.is_empty() && text.len() <= 255 && !text.contains('\0'))
                .map(str::to_owned)
                .ok_or_else(|| Error::invalid(name, "is missing: this is not a Stripe event"))
        };
        Ok(Event {
            id: text("id")?,
            kind: text("type")?,
            created: time(&json["created"]),
            json,
            payload,
        })
    }
}

/// Reads, stores and processes a signed payload. Safe to repeat, and to run concurrently.
///
/// # Errors
/// As [`receive`]. 400 for JSON that is not an event. A payload that is not JSON is stored under an id derived from it and
/// answered with 503: Stripe signed it, and after a 4xx it would count as delivered.
pub async fn receive_signed(app: &App, payload: &str) -> Result<Effect> {
    match Event::read(payload) {
        Ok(event) => receive(app, &event, "webhook").await,
        Err(error @ Error::Refused(_, Code::ParseError, _)) => {
            let hash = Sha256::digest(payload);
            let id = format!("unreadable_{}", hex::encode(&hash[..16]));
            warn!(event = id, %error, "a signed webhook could not be read; it is kept");
            let event = NewEvent {
                id: &id,
                kind: redaction::UNREADABLE_TYPE,
                created: None,
                source: "webhook",
                payload,
            };
            keep(app, event, &error).await?;
            Err(Error::Unavailable(Code::EventNotProcessed, error.into()))
        }
        Err(error) => Err(error),
    }
}

/// Stores and processes an event. Safe to repeat, and to run concurrently.
///
/// # Errors
/// 503 when it could not be processed now. Unless the database was lost, it is stored and will be retried.
pub async fn receive(app: &App, event: &Event<'_>, source: &'static str) -> Result<Effect> {
    match store_and_process(app, event, source).await {
        Ok(effect) => Ok(effect),
        Err(error @ Error::Unavailable(..)) => Err(error),
        Err(error) => {
            // Whatever the event contains, the bug is ours: a 4xx would make Stripe stop retrying.
            warn!(event = event.id, kind = event.kind, %error, "event could not be stored as it came");
            let event = NewEvent {
                id: &event.id,
                kind: &event.kind,
                created: None,
                source,
                payload: &event.json.to_string(),
            };
            keep(app, event, &error).await?;
            Err(Error::Unavailable(Code::EventNotProcessed, error.into()))
        }
    }
}

/// Stores an event as failed after storing and processing it together failed. Its payload is escaped to ASCII, which a
/// database of any encoding accepts and which means the same.
async fn keep(app: &App, event: NewEvent<'_>, why: &Error) -> Result<()> {
    let mut tx = app.db.begin().await.map_err(lost_event)?;
    let payload = &ascii(event.payload);
    let event = NewEvent { payload, ..event };
    let why = ascii(&why.to_string());
    let keeping = async {
        if store::insert_event(&mut tx, event).await? {
            store::finish_event(&mut tx, event.id, EventStatus::Failed, Some(&why)).await?;
        }
        Ok(())
    };
    keeping
        .await
        .map_err(|error: Error| Error::Internal(error.into()))?;
    tx.commit().await.map_err(lost_event)?;
    app.metrics.event(event.source, "failed");
    Ok(())
}

fn lost_event(error: sqlx::Error) -> Error {
    Error::Unavailable(Code::DatabaseUnavailable, error.into())
}

/// Escapes NUL and all non-ASCII characters for JSON.
fn ascii(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut units = [0; 2];
    for character in text.chars() {
        if character.is_ascii() && character != '\0' {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

async fn store_and_process(app: &App, event: &Event<'_>, source: &'static str) -> Result<Effect> {
    let mut tx = app.db.begin().await?;
    let new = NewEvent {
        id: &event.id,
        kind: &event.kind,
        created: event.created,
        source,
        payload: event.payload,
    };
    store::insert_event(&mut tx, new).await?;
    let attempt = process_once(&mut tx, app, &event.id).await?;
    if let EventAttempt::Failed(_) = attempt {
        let again = Job::ProcessEvent {
            event: event.id.clone(),
        };
        jobs::enqueue(&mut tx, &again).await?;
    }
    tx.commit().await?;
    app.metrics.event(source, attempt.as_str());
    attempt.into_result()
}

/// Processes a stored event that failed before. Safe to repeat. Queues no job, because its callers retry.
///
/// # Errors
/// 503 when it failed again.
pub async fn process_stored(app: &App, id: &str) -> Result<Effect> {
    let mut tx = app.db.begin().await?;
    let attempt = process_once(&mut tx, app, id).await?;
    tx.commit().await?;
    attempt.into_result()
}

/// Queues an unprocessed event for an immediate retry. Returns its previous status.
///
/// # Errors
/// 404; 409 `event_already_processed` when nothing is left to do.
pub async fn run_again(conn: &mut PgConnection, id: &str) -> Result<EventStatus> {
    let stored = store::lock_event(conn, id)
        .await?
        .ok_or(Error::NotFound("Event"))?;
    if stored.is_finished() {
        return Err(Error::Conflict(
            Code::EventAlreadyProcessed,
            "There is nothing more to do about this event: an event takes effect once.".to_owned(),
        ));
    }
    let again = Job::ProcessEvent {
        event: id.to_owned(),
    };
    jobs::enqueue(conn, &again).await?;
    Ok(stored.status)
}

/// End of one attempt of an event.
enum EventAttempt {
    Ended(Effect),
    /// Recorded with the event, which is to be retried.
    Failed(anyhow::Error),
}

impl EventAttempt {
    /// Name for the metrics.
    fn as_str(&self) -> &'static str {
        match self {
            EventAttempt::Ended(effect) => effect.as_str(),
            EventAttempt::Failed(_) => "failed",
        }
    }

    fn into_result(self) -> Result<Effect> {
        match self {
            EventAttempt::Ended(effect) => Ok(effect),
            EventAttempt::Failed(error) => Err(Error::Unavailable(Code::EventNotProcessed, error)),
        }
    }
}

/// Processes a stored event under its lock, inside a savepoint.
///
/// # Errors
/// Errors of the database only.
async fn process_once(conn: &mut PgConnection, app: &App, id: &str) -> Result<EventAttempt> {
    let Some(stored) = store::lock_event(conn, id).await? else {
        return Ok(EventAttempt::Ended(Effect::Ignored));
    };
    if stored.is_finished() {
        return Ok(EventAttempt::Ended(Effect::Repeated));
    }
    let event = match Event::read(&stored.payload) {
        Ok(event) => event,
        Err(error) => {
            store::finish_event(conn, id, EventStatus::Failed, Some(&error.to_string())).await?;
            return Ok(EventAttempt::Failed(error.into()));
        }
    };
    if let Some(why) = wrong_mode(app, &event) {
        store::finish_event(conn, id, EventStatus::WrongMode, Some(why)).await?;
        warn!(
            event = id,
            kind = event.kind,
            why,
            "event kept, not applied"
        );
        // One item a day is enough.
        let cause = format!("wrong_mode:{}", Utc::now().date_naive());
        let item = NewItem::new(Kind::WrongMode, cause, why);
        review_items::flag(conn, Subject::default(), "stripe", &item).await?;
        return Ok(EventAttempt::Ended(Effect::Ignored));
    }
    let mut attempt = conn.begin().await?;
    match process(&mut attempt, app, &event).await {
        Ok(effect) => {
            attempt.commit().await?;
            let status = match effect {
                Effect::Ignored => EventStatus::Ignored,
                Effect::Processed | Effect::Repeated => EventStatus::Processed,
            };
            store::finish_event(conn, id, status, None).await?;
            info!(
                event = id,
                kind = event.kind,
                status = status.as_str(),
                "event"
            );
            Ok(EventAttempt::Ended(effect))
        }
        Err(error) => {
            attempt.rollback().await?;
            warn!(event = id, kind = event.kind, %error, "event failed; it will be retried");
            store::finish_event(conn, id, EventStatus::Failed, Some(&error.to_string())).await?;
            Ok(EventAttempt::Failed(error.into()))
        }
    }
}

/// The reason not to apply an event of Stripe's other mode: a test payment is not money.
fn wrong_mode(app: &App, event: &Event<'_>) -> Option<&'static str> {
    let is_live = event.json["livemode"].as_bool()?;
    let is_wrong =
        app.config.stripe.is_live()? != is_live && HANDLED.contains(&event.kind.as_str());
    is_wrong.then_some(match is_live {
        true => "Stripe sent an event of live mode, but the shop's key is of test mode: it was not applied",
        false => "Stripe sent an event of test mode, but the shop's key is of live mode: it was not applied",
    })
}

async fn process(conn: &mut PgConnection, app: &App, event: &Event<'_>) -> Result<Effect> {
    let object = &event.json["data"]["object"];
    match event.kind.as_str() {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
            sessions::session_ended(conn, app, object, SessionStatus::Complete).await
        }
        "checkout.session.expired" => {
            sessions::session_ended(conn, app, object, SessionStatus::Expired).await
        }
        "checkout.session.async_payment_failed" => {
            sessions::delayed_payment_failed(conn, app, object).await
        }
        "charge.refunded" => refunds::charge_refunded(conn, app, object, event.created).await,
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
            refunds::refund_changed(conn, app, object, event.created).await
        }
        "charge.dispute.created"
        | "charge.dispute.updated"
        | "charge.dispute.closed"
        | "charge.dispute.funds_withdrawn"
        | "charge.dispute.funds_reinstated" => {
            disputes::dispute_reported(conn, &event.kind, object, event.created).await
        }
        "radar.early_fraud_warning.created" | "radar.early_fraud_warning.updated" => {
            disputes::fraud_warned(conn, object).await
        }
        "review.opened" => disputes::review_changed(conn, object, true).await,
        "review.closed" => disputes::review_changed(conn, object, false).await,
        _ => Ok(Effect::Ignored),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_in_ascii_says_the_same() {
        let json = serde_json::json!({"name": "山田 🐦 é \"\\\u{1}", "é": 1});
        let payload = ascii(&json.to_string());
        assert!(payload.is_ascii());
        assert_eq!(serde_json::from_str::<Value>(&payload).ok(), Some(json));
    }
}
