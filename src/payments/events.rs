//! Stripe's events: stored before they are obeyed, obeyed once (P3), whatever their order.
//!
//! Storing and obeying is one transaction. When obeying fails, only that part is rolled back: the event stays, shown as
//! failed, and a job tries again.

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{Connection, PgConnection, PgPool};
use tracing::{info, warn};

use super::{letters, refunds, store};
use crate::error::{Error, Result};
use crate::ids::{OrderId, RefundId};
use crate::jobs::{self, Job};
use crate::money::Cents;
use crate::orders::{self, Outcome, Receipt, Status};
use crate::stripe::Session;

/// The events that we act on; all others are stored and left.
pub const HANDLED: [&str; 9] = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "charge.refunded",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.closed",
];

/// An event whose envelope could be read.
pub struct Event<'a> {
    pub id: String,
    pub kind: String,
    pub created: Option<DateTime<Utc>>,
    pub json: Value,
    pub payload: &'a str,
}

impl<'a> Event<'a> {
    /// Reads the envelope. It needs an id and a type; all else is read when it is needed.
    ///
    /// # Errors
    /// 400 naming what is missing.
    pub fn read(payload: &'a str) -> Result<Event<'a>> {
        let json: Value = serde_json::from_str(payload).map_err(|error| {
            Error::bad_request("parse_error", format!("JSON parse error - {error}"))
        })?;
        let text = |name: &str| {
            json[name]
                .as_str()
                .filter(|text| !text.is_empty() && text.len() <= 255 && !text.contains('\0'))
                .map(str::to_owned)
                .ok_or_else(|| Error::invalid(name, "is missing: this is no event of Stripe's"))
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

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Processed,
    /// Not for us: another type, or another shop's session.
    Ignored,
    /// It was obeyed before.
    Repeated,
}

/// Stores an event and obeys it. Safe to repeat, and to run many times at once.
///
/// # Errors
/// 503 when it could not be obeyed now. Unless the database was lost, it is stored and will be tried again.
pub async fn receive(db: &PgPool, event: &Event<'_>, source: &str) -> Result<Effect> {
    let mut tx = db.begin().await?;
    store::insert_event(
        &mut tx,
        &event.id,
        &event.kind,
        event.created,
        source,
        event.payload,
    )
    .await?;
    let result = obey_once(&mut tx, &event.id).await?;
    if result.is_err() {
        let again = Job::ProcessEvent {
            event: event.id.clone(),
        };
        jobs::enqueue(&mut tx, &again).await?;
    }
    tx.commit().await?;
    result.map_err(|error| Error::Unavailable("event_not_processed", error))
}

/// Obeys a stored event that failed before. Safe to repeat. Queues nothing: its callers come again by themselves.
///
/// # Errors
/// 503 when it could not be obeyed this time either.
pub async fn process_stored(db: &PgPool, id: &str) -> Result<Effect> {
    let mut tx = db.begin().await?;
    let result = obey_once(&mut tx, id).await?;
    tx.commit().await?;
    result.map_err(|error| Error::Unavailable("event_not_processed", error))
}

/// Obeys a stored event under its lock, inside a savepoint. The inner error is the event's, the outer the database's.
async fn obey_once(
    conn: &mut PgConnection,
    id: &str,
) -> Result<std::result::Result<Effect, anyhow::Error>> {
    let Some(stored) = store::lock_event(conn, id).await? else {
        return Ok(Ok(Effect::Ignored));
    };
    if matches!(stored.status.as_str(), "processed" | "ignored") {
        return Ok(Ok(Effect::Repeated));
    }
    let event = Event::read(&stored.payload)?;
    let mut attempt = conn.begin().await?;
    match obey(&mut attempt, &event).await {
        Ok(effect) => {
            attempt.commit().await?;
            let status = if effect == Effect::Ignored {
                "ignored"
            } else {
                "processed"
            };
            store::finish_event(conn, id, status, None).await?;
            info!(event = id, kind = event.kind, status, "event");
            Ok(Ok(effect))
        }
        Err(error) => {
            attempt.rollback().await?;
            warn!(event = id, kind = event.kind, %error, "event failed; it will be tried again");
            store::finish_event(conn, id, "failed", Some(&error.to_string())).await?;
            Ok(Err(error.into()))
        }
    }
}

async fn obey(conn: &mut PgConnection, event: &Event<'_>) -> Result<Effect> {
    let object = &event.json["data"]["object"];
    match event.kind.as_str() {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
            session_ended(conn, object, "complete").await
        }
        "checkout.session.expired" => session_ended(conn, object, "expired").await,
        "checkout.session.async_payment_failed" => delayed_payment_failed(conn, object).await,
        "charge.refunded" => charge_refunded(conn, object, event.created).await,
        "refund.updated" | "refund.failed" => refund_changed(conn, object, event.created).await,
        "charge.dispute.created" | "charge.dispute.closed" => disputed(conn, object).await,
        _ => Ok(Effect::Ignored),
    }
}

/// The order that a session is for, if it is one of ours.
async fn order_of(conn: &mut PgConnection, session: &Session) -> Result<Option<OrderId>> {
    if let Some(order) = store::find_order_by_session(conn, &session.id).await? {
        return Ok(Some(order));
    }
    // Its answer may never have reached us; then the reference that we gave it tells.
    let reference = session
        .client_reference_id
        .as_deref()
        .and_then(|text| text.parse().ok())
        .map(OrderId);
    match reference {
        Some(order) => Ok(store::find_checkout(conn, order)
            .await?
            .map(|checkout| checkout.order_id)),
        None => Ok(None),
    }
}

async fn session_ended(conn: &mut PgConnection, object: &Value, status: &str) -> Result<Effect> {
    let Some(mut session) = Session::read(object) else {
        return Ok(Effect::Ignored);
    };
    let Some(order) = order_of(conn, &session).await? else {
        return Ok(Effect::Ignored);
    };
    status.clone_into(&mut session.status);
    settle(conn, order, &session).await?;
    Ok(Effect::Processed)
}

async fn delayed_payment_failed(conn: &mut PgConnection, object: &Value) -> Result<Effect> {
    let Some(session) = Session::read(object) else {
        return Ok(Effect::Ignored);
    };
    let Some(order) = order_of(conn, &session).await? else {
        return Ok(Effect::Ignored);
    };
    orders::release(
        conn,
        order,
        Status::Failed,
        "stripe",
        "the delayed payment failed",
    )
    .await?;
    store::set_checkout_state(conn, order, "complete", Some("the delayed payment failed")).await?;
    Ok(Effect::Processed)
}

/// Brings an order in line with what its session came to. The one way in for events, sweeper and reconciliation. Safe
/// to repeat.
///
/// # Errors
/// Only the database's.
pub async fn settle(conn: &mut PgConnection, order: OrderId, session: &Session) -> Result<()> {
    if session.is_paid() {
        return settle_payment(conn, order, session).await;
    }
    match session.status.as_str() {
        "complete" => {
            // A delayed method: the money is on its way, and the hold stays until Stripe says paid or failed.
            let order_now = orders::lock(conn, order)
                .await?
                .ok_or(Error::NotFound("Order"))?;
            if order_now.status == Status::Pending {
                store::record_session(conn, order, &session.id, None).await?;
                store::set_checkout_state(conn, order, "processing", None).await?;
            }
        }
        "expired" => {
            let order_now = orders::release(
                conn,
                order,
                Status::Expired,
                "stripe",
                "the session expired",
            )
            .await?;
            if order_now.status.is_released() {
                store::set_checkout_state(conn, order, "expired", None).await?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// A payment ends as a paid order or as a refund in full (P2).
async fn settle_payment(conn: &mut PgConnection, order: OrderId, session: &Session) -> Result<()> {
    let payment_id = session.payment_intent.as_deref().unwrap_or(&session.id);
    let payment = store::lock_payment(conn, payment_id).await?;
    if payment.outcome.is_some() {
        return store::set_checkout_state(conn, order, "complete", None).await;
    }
    let amount = session
        .amount_total
        .context("a paid session without an amount")?;
    let address = session.shipping_address.clone();
    let receipt = Receipt {
        total: amount,
        tax: session.amount_tax,
        currency: session.currency.clone(),
        email: session.email.clone(),
        customer_name: session.customer_name.clone(),
        phone: session.phone.clone(),
        shipping_name: session.shipping_name.clone(),
        shipping_country: address.as_ref().and_then(|address| address.country.clone()),
        shipping_address: address
            .map(|address| serde_json::to_value(address).expect("an address is plain data")),
        note: format!("payment {payment_id}, session {}", session.id),
    };
    let outcome = orders::pay(conn, order, &receipt).await?;
    letters::tell(conn, &outcome, session).await?;
    let (outcome, why) = match outcome {
        Outcome::Paid(_) => ("settled", ""),
        Outcome::OutOfStock(_) => ("refused", "paid too late: the pieces were sold meanwhile"),
        Outcome::AlreadyPaid(_) => ("refused", "paid twice"),
        Outcome::Mismatch(_) => ("refused", "the paid amount is not the order's"),
    };
    store::record_payment(
        conn,
        payment_id,
        order,
        &session.id,
        outcome,
        amount,
        &session.currency,
    )
    .await?;
    store::set_checkout_state(conn, order, "complete", None).await?;
    if outcome == "settled" {
        store::record_session(conn, order, &session.id, None).await?;
        if payment.refunded > Cents::ZERO {
            apply_refunds(conn, payment_id).await?;
        }
        if let Some(state) = &payment.dispute {
            orders::record_dispute(conn, order, state, "disputed before it was settled").await?;
        }
        return Ok(());
    }
    let due = Cents(amount.0 - payment.refunded.0);
    if due > Cents::ZERO {
        session
            .payment_intent
            .as_deref()
            .context("a paid session without a payment intent")?;
        refunds::plan(conn, payment_id, due, why).await?;
    }
    orders::flag(
        conn,
        order,
        &format!("payment {payment_id} is given back in full: {why}"),
    )
    .await
}

async fn charge_refunded(
    conn: &mut PgConnection,
    charge: &Value,
    created: Option<DateTime<Utc>>,
) -> Result<Effect> {
    let (Some(payment_id), Some(refunded)) = (
        reference(&charge["payment_intent"]),
        charge["amount_refunded"].as_i64(),
    ) else {
        return Ok(Effect::Ignored);
    };
    let as_of = created.unwrap_or_else(Utc::now);
    let payment = store::lock_payment(conn, &payment_id).await?;
    let newer = match payment.refunded_as_of {
        None => true,
        // Within a second the larger sum is the later one: refunds add up.
        Some(known) => as_of > known || (as_of == known && Cents(refunded) > payment.refunded),
    };
    if newer {
        store::record_refunded(conn, &payment_id, Cents(refunded), as_of).await?;
        apply_refunds(conn, &payment_id).await?;
    }
    Ok(Effect::Processed)
}

async fn refund_changed(
    conn: &mut PgConnection,
    refund: &Value,
    created: Option<DateTime<Utc>>,
) -> Result<Effect> {
    let (Some(id), Some(payment_id), Some(status)) = (
        reference(&refund["id"]),
        reference(&refund["payment_intent"]),
        refund["status"].as_str(),
    ) else {
        return Ok(Effect::Ignored);
    };
    let id = id.as_str();
    let failed = matches!(status, "failed" | "canceled");
    let payment = store::lock_payment(conn, &payment_id).await?;
    if failed {
        let amount = Cents(refund["amount"].as_i64().unwrap_or(0));
        let at = created.unwrap_or_else(Utc::now);
        store::record_refund_failure(conn, id, &payment_id, amount, at).await?;
        apply_refunds(conn, &payment_id).await?;
    }
    // Its own id of Stripe's may reach us before the answer to the call that made it.
    let ours = match store::find_refund_by_stripe_id(conn, id).await? {
        Some(ours) => Some(ours),
        None => match refund["metadata"]["refund_id"]
            .as_str()
            .and_then(|id| id.parse().ok())
        {
            Some(ours) => store::find_refund(conn, RefundId(ours))
                .await?
                .filter(|refund| refund.payment_id == payment_id)
                .map(|_| RefundId(ours)),
            None => None,
        },
    };
    if let Some(ours) = ours {
        let state = match status {
            "succeeded" => "succeeded",
            _ if failed => "failed",
            _ => "pending",
        };
        let error = failed.then_some("Stripe could not give the money back");
        store::record_refund(conn, ours, state, Some(id), error).await?;
    }
    if let (true, Some(order)) = (failed, payment.order_id) {
        orders::flag(
            conn,
            order,
            &format!("refund {id} failed: the money is with us and must be given back by hand"),
        )
        .await?;
    }
    Ok(Effect::Processed)
}

/// Tells the order of a settled payment how much of it is given back: what the charge said last, less what failed since.
async fn apply_refunds(conn: &mut PgConnection, payment_id: &str) -> Result<()> {
    let payment = store::lock_payment(conn, payment_id).await?;
    let (Some(order), Some(as_of)) = (payment.order_id, payment.refunded_as_of) else {
        return Ok(());
    };
    if payment.outcome.as_deref() != Some("settled") {
        return Ok(());
    }
    let failed = store::failed_since(conn, payment_id, as_of).await?;
    orders::record_refund(conn, order, Cents((payment.refunded.0 - failed.0).max(0))).await?;
    Ok(())
}

async fn disputed(conn: &mut PgConnection, dispute: &Value) -> Result<Effect> {
    let (Some(payment_id), Some(state)) = (
        reference(&dispute["payment_intent"]),
        reference(&dispute["status"]),
    ) else {
        return Ok(Effect::Ignored);
    };
    let state = state.as_str();
    let payment = store::lock_payment(conn, &payment_id).await?;
    let decided = matches!(
        payment.dispute.as_deref(),
        Some("won" | "lost" | "warning_closed")
    );
    if !decided {
        store::record_dispute(conn, &payment_id, state).await?;
    }
    if let (Some(order), Some("settled")) = (payment.order_id, payment.outcome.as_deref()) {
        let reason = dispute["reason"]
            .as_str()
            .unwrap_or("unknown")
            .replace('\0', "");
        orders::record_dispute(
            conn,
            order,
            state,
            &format!("dispute {state}, reason {reason}"),
        )
        .await?;
    }
    Ok(Effect::Processed)
}

/// An id or another word of Stripe's. Another object's it gives as text or as the object itself.
fn reference(json: &Value) -> Option<String> {
    let id = json.as_str().or_else(|| json["id"].as_str())?;
    (!id.is_empty() && id.len() <= 255 && !id.contains('\0')).then(|| id.to_owned())
}

fn time(json: &Value) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(json.as_i64()?, 0)
}
