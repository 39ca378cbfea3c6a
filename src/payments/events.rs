//! Stripe's events: stored before they are processed, processed once (P3), in any order.
//!
//! Storing and processing share one transaction. When processing fails, only that part is rolled back: the event stays
//! stored, marked as failed, and a job retries it.

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};
use tracing::{info, warn};

use super::recovery::{self, Found};
use super::states::{CheckoutState, EventStatus, PaymentOutcome};
use super::store::Cause;
use super::{delayed, disputes, emails, redaction, refunds, store};
use crate::app::App;
use crate::custom_orders::{self, Paid};
use crate::emails::{About, Refusal};
use crate::error::{Code, Error, Result};
use crate::jobs::{self, Job};
use crate::orders::{self, CustomOrderPurchase, Line, Outcome, Receipt, Status, Zone};
use crate::review_items;
use crate::review_items::{Kind, NewItem, Subject};
use crate::stripe::{self, Session, SessionStatus};
use crate::types::ids::{OrderId, QuoteId};
use crate::types::money::Cents;

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

/// Outcome of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Processed,
    /// Not relevant: another type, or another shop's session.
    Ignored,
    /// Already processed.
    Repeated,
}

impl Effect {
    fn as_str(self) -> &'static str {
        match self {
            Effect::Processed => "processed",
            Effect::Ignored => "ignored",
            Effect::Repeated => "repeated",
        }
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
            keep(
                app,
                &id,
                redaction::UNREADABLE_TYPE,
                payload,
                "webhook",
                &error,
            )
            .await?;
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
            keep(
                app,
                &event.id,
                &event.kind,
                &event.json.to_string(),
                source,
                &error,
            )
            .await?;
            Err(Error::Unavailable(Code::EventNotProcessed, error.into()))
        }
    }
}

/// Stores an event as failed after storing and processing it together failed. Its payload is escaped to ASCII, which a
/// database of any encoding accepts and which means the same.
async fn keep(
    app: &App,
    id: &str,
    kind: &str,
    payload: &str,
    source: &'static str,
    why: &Error,
) -> Result<()> {
    let mut tx = app.db.begin().await.map_err(lost_event)?;
    let payload = ascii(payload);
    let why = ascii(&why.to_string());
    let keeping = async {
        if store::insert_event(&mut tx, id, kind, None, source, &payload).await? {
            store::finish_event(&mut tx, id, EventStatus::Failed, Some(&why)).await?;
        }
        Ok(())
    };
    keeping
        .await
        .map_err(|error: Error| Error::Internal(error.into()))?;
    tx.commit().await.map_err(lost_event)?;
    app.metrics.event(source, "failed");
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
    store::insert_event(
        &mut tx,
        &event.id,
        &event.kind,
        event.created,
        source,
        event.payload,
    )
    .await?;
    let attempt = process_once(&mut tx, app, &event.id).await?;
    if let Attempt::Failed(_) = attempt {
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
enum Attempt {
    Ended(Effect),
    /// Recorded with the event, which is to be retried.
    Failed(anyhow::Error),
}

impl Attempt {
    /// Name for the metrics.
    fn as_str(&self) -> &'static str {
        match self {
            Attempt::Ended(effect) => effect.as_str(),
            Attempt::Failed(_) => "failed",
        }
    }

    fn into_result(self) -> Result<Effect> {
        match self {
            Attempt::Ended(effect) => Ok(effect),
            Attempt::Failed(error) => Err(Error::Unavailable(Code::EventNotProcessed, error)),
        }
    }
}

/// Processes a stored event under its lock, inside a savepoint.
///
/// # Errors
/// Errors of the database only.
async fn process_once(conn: &mut PgConnection, app: &App, id: &str) -> Result<Attempt> {
    let Some(stored) = store::lock_event(conn, id).await? else {
        return Ok(Attempt::Ended(Effect::Ignored));
    };
    if stored.is_finished() {
        return Ok(Attempt::Ended(Effect::Repeated));
    }
    let event = match Event::read(&stored.payload) {
        Ok(event) => event,
        Err(error) => {
            store::finish_event(conn, id, EventStatus::Failed, Some(&error.to_string())).await?;
            return Ok(Attempt::Failed(error.into()));
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
        return Ok(Attempt::Ended(Effect::Ignored));
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
            Ok(Attempt::Ended(effect))
        }
        Err(error) => {
            attempt.rollback().await?;
            warn!(event = id, kind = event.kind, %error, "event failed; it will be retried");
            store::finish_event(conn, id, EventStatus::Failed, Some(&error.to_string())).await?;
            Ok(Attempt::Failed(error.into()))
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
            session_ended(conn, app, object, SessionStatus::Complete).await
        }
        "checkout.session.expired" => {
            session_ended(conn, app, object, SessionStatus::Expired).await
        }
        "checkout.session.async_payment_failed" => delayed_payment_failed(conn, app, object).await,
        "charge.refunded" => refunds::charge_refunded(conn, object, event.created).await,
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
            refunds::refund_changed(conn, object, event.created).await
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

/// Purpose of a session.
enum Purpose {
    Order(OrderId),
    Quote(QuoteId),
}

/// Finds the purpose of a session, if it is one of ours.
async fn purpose_of(conn: &mut PgConnection, session: &Session) -> Result<Option<Purpose>> {
    if let Some(order) = store::find_order_by_session(conn, &session.id).await? {
        return Ok(Some(Purpose::Order(order)));
    }
    if let Some(quote) = quote_of(conn, session).await? {
        return Ok(Some(Purpose::Quote(quote)));
    }
    // The answer with the session's id may never have arrived; then the reference in our request identifies the order.
    let reference = session
        .client_reference_id
        .as_deref()
        .and_then(|text| text.parse().ok())
        .map(OrderId);
    match reference {
        Some(order) => Ok(store::find_checkout(conn, order)
            .await?
            .map(|checkout| Purpose::Order(checkout.order_id))),
        None => Ok(None),
    }
}

/// Finds the quote of a payment link's session: by the link, or by the reference in our request while the answer with
/// the link has not arrived (yet).
async fn quote_of(conn: &mut PgConnection, session: &Session) -> Result<Option<QuoteId>> {
    if let Some(link) = &session.payment_link
        && let Some(quote) = custom_orders::find_quote_of_link(conn, link).await?
    {
        return Ok(Some(quote));
    }
    let reference = session
        .quote_reference
        .as_deref()
        .and_then(|text| text.parse().ok())
        .map(QuoteId);
    match reference {
        Some(quote) => Ok(custom_orders::find_custom_order_of_quote(conn, quote)
            .await?
            .map(|_| quote)),
        None => Ok(None),
    }
}

async fn session_ended(
    conn: &mut PgConnection,
    app: &App,
    object: &Value,
    status: SessionStatus,
) -> Result<Effect> {
    let Some(mut session) = Session::read(object) else {
        return Ok(Effect::Ignored);
    };
    session.status = status;
    match purpose_of(conn, &session).await? {
        Some(Purpose::Order(order)) => settle(conn, app, order, &session).await?,
        Some(Purpose::Quote(quote)) => settle_quote(conn, app, quote, &session).await?,
        None if session.is_paid() => return settle_lost(conn, app, &session).await,
        None => return Ok(Effect::Ignored),
    }
    Ok(Effect::Processed)
}

/// Handles a payment with an unknown purpose: ours, lost by a restore, or someone else's.
async fn settle_lost(conn: &mut PgConnection, app: &App, session: &Session) -> Result<Effect> {
    match recovery::find(conn, app, session).await? {
        Found::Order(order) => settle(conn, app, order, session).await?,
        Found::Unknown(order) => {
            let payment = store::lock_payment(conn, payment_id(session)).await?;
            let cause = Cause {
                order: Some(order.id),
                ..Cause::default()
            };
            let name = order.display_number();
            refused(conn, &payment, cause, name, session, Refusal::SoldMeanwhile).await?;
        }
        Found::CustomOrder(zone) => settle_lost_custom_order(conn, zone, session).await?,
        Found::Nothing => {
            if let Some(custom_order) = &session.custom_order_reference {
                // A link of the old service: its money is in the account, but its custom order is not in this database.
                warn!(session = session.id, %custom_order, "a payment for an unknown custom order");
            }
            return Ok(Effect::Ignored);
        }
    }
    Ok(Effect::Processed)
}

/// Places an order for the payment of a lost custom order; the owner must investigate.
async fn settle_lost_custom_order(
    conn: &mut PgConnection,
    zone: Zone,
    session: &Session,
) -> Result<()> {
    let payment = store::lock_payment(conn, payment_id(session)).await?;
    if payment.outcome.is_some() {
        return Ok(());
    }
    let receipt = receipt(session)?;
    let custom_order = CustomOrderPurchase {
        line: Line {
            product_id: None,
            name: "Custom piece".to_owned(),
            image: None,
            unit_price: Cents(receipt.total.0 - receipt.tax.0),
            quantity: 1,
        },
        currency: &session.currency,
        shipping: Cents::ZERO,
        zone,
    };
    let order = orders::place_custom_order(conn, &custom_order, &receipt).await?;
    let cause = Cause {
        order: Some(order.id),
        ..Cause::default()
    };
    settled(conn, cause, session).await?;
    let why = "paid for a custom piece whose request is not in this database: ask the customer, or give it back";
    let cause = format!("custom_order_missing:{}", order.id);
    let item = NewItem::new(Kind::CustomOrderMissing, cause, why);
    refunds::flag(conn, Some(order.id), None, &item).await
}

async fn delayed_payment_failed(
    conn: &mut PgConnection,
    app: &App,
    object: &Value,
) -> Result<Effect> {
    let Some(session) = Session::read(object) else {
        return Ok(Effect::Ignored);
    };
    match purpose_of(conn, &session).await? {
        Some(Purpose::Order(order)) => delayed::failed(conn, order, &session).await?,
        Some(Purpose::Quote(quote)) => {
            custom_orders::delayed_payment_failed(conn, app, quote).await?
        }
        None => return Ok(Effect::Ignored),
    }
    Ok(Effect::Processed)
}

/// Updates an order from the state of its session. Events, sweeps and reconciliation all come through here. Safe to
/// repeat.
///
/// # Errors
/// Database errors only.
pub async fn settle(
    conn: &mut PgConnection,
    app: &App,
    order: OrderId,
    session: &Session,
) -> Result<()> {
    if session.is_paid() {
        return settle_payment(conn, order, session).await;
    }
    match session.status {
        // Delayed payment: the hold stays until Stripe reports success or failure.
        SessionStatus::Complete => delayed::began(conn, app, order, session).await?,
        SessionStatus::Expired => {
            let order_now = orders::release(
                conn,
                order,
                Status::Expired,
                "stripe",
                "the session expired",
            )
            .await?;
            if order_now.status.is_released() {
                store::set_checkout_state(conn, order, CheckoutState::Expired, None).await?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Settles a payment, which ends as a paid order or as a full refund (P2).
async fn settle_payment(conn: &mut PgConnection, order: OrderId, session: &Session) -> Result<()> {
    let payment_id = payment_id(session);
    let payment = store::lock_payment(conn, payment_id).await?;
    if payment.outcome.is_some() {
        return store::set_checkout_state(conn, order, CheckoutState::Complete, None).await;
    }
    let mut receipt = receipt(session)?;
    receipt.chosen_shipping = chosen_shipping(conn, order, session).await?;
    let (order_now, refusal) = match orders::pay(conn, order, &receipt).await? {
        Outcome::Paid(order) => (order, None),
        Outcome::OutOfStock(order) => (order, Some(Refusal::SoldMeanwhile)),
        Outcome::AlreadyPaid(order) => (order, Some(Refusal::PaidTwice)),
        Outcome::Mismatch(order) => (order, Some(Refusal::AmountDiffers)),
    };
    let cause = Cause {
        order: Some(order),
        ..Cause::default()
    };
    store::set_checkout_state(conn, order, CheckoutState::Complete, None).await?;
    let Some(why) = refusal else {
        store::record_session(conn, order, &session.id, None).await?;
        emails::confirm(conn, &order_now).await?;
        return settled(conn, cause, session).await;
    };
    let name = order_now.display_number();
    // The money has arrived, and is refunded.
    orders::end_processing(conn, order, &Receipt::default()).await?;
    refused(conn, &payment, cause, name, session, why).await
}

/// Updates a quote from the state of a session of its payment link. Safe to repeat.
async fn settle_quote(
    conn: &mut PgConnection,
    app: &App,
    quote: QuoteId,
    session: &Session,
) -> Result<()> {
    if !session.is_paid() {
        if session.status == SessionStatus::Complete {
            custom_orders::delayed_payment_began(conn, app, quote).await?;
        }
        return Ok(());
    }
    let payment = store::lock_payment(conn, payment_id(session)).await?;
    if payment.outcome.is_some() {
        return Ok(());
    }
    let receipt = receipt(session)?;
    match custom_orders::pay(conn, app, quote, &receipt).await? {
        Paid::Settled(order) => {
            let cause = Cause {
                order: Some(order.id),
                ..Cause::default()
            };
            settled(conn, cause, session).await
        }
        Paid::Refused(custom_order, why) => {
            let cause = Cause {
                custom_order: Some(custom_order.id),
                ..Cause::default()
            };
            let name = custom_order.display_number();
            refused(conn, &payment, cause, name, session, why).await
        }
    }
}

/// Id of a session's payment; the session's own id when nothing was due.
fn payment_id(session: &Session) -> &str {
    session.payment_intent.as_deref().unwrap_or(&session.id)
}

/// The zone and price of the rate chosen on the payment page. `None` when it is the order's own rate, or none of those
/// offered.
async fn chosen_shipping(
    conn: &mut PgConnection,
    order: OrderId,
    session: &Session,
) -> Result<Option<(Zone, Cents)>> {
    let Some(checkout) = store::find_checkout(conn, order).await? else {
        return Ok(None);
    };
    let asked = checkout.request.0;
    let paid = session.amount_shipping;
    let offered: Vec<Zone> = asked
        .other_shipping
        .iter()
        .filter(|option| option.price == paid)
        .filter_map(|option| Zone::of_code(&option.zone))
        .collect();
    let country = session
        .shipping_address
        .as_ref()
        .and_then(|address| address.country.as_deref());
    let lives_in = country.and_then(Zone::of_country);
    // When two zones cost the same, the right one was chosen.
    let chosen = match lives_in.filter(|zone| offered.contains(zone)) {
        Some(zone) => Some(zone),
        None if paid == asked.shipping_price => None,
        None => offered.first().copied(),
    };
    Ok(chosen.map(|zone| (zone, paid)))
}

fn receipt(session: &Session) -> Result<Receipt> {
    let address = session.shipping_address.clone();
    Ok(Receipt {
        total: session
            .amount_total
            .context("a paid session without an amount")?,
        tax: session.amount_tax,
        currency: session.currency.clone(),
        email: session.email.clone(),
        customer_name: session.customer_name.clone(),
        phone: session.phone.clone(),
        shipping_name: session.shipping_name.clone(),
        shipping_country: address.as_ref().and_then(|address| address.country.clone()),
        shipping_address: address
            .map(|address| serde_json::to_value(address).expect("an address is plain data")),
        note: format!("payment {}, session {}", payment_id(session), session.id),
        chosen_shipping: None,
    })
}

/// Records that a locked, new payment has settled its order. It may already be refunded or disputed.
async fn settled(conn: &mut PgConnection, cause: Cause, session: &Session) -> Result<()> {
    let id = payment_id(session);
    store::record_payment(conn, id, cause, session, PaymentOutcome::Settled).await?;
    refunds::apply(conn, id).await?;
    disputes::payment_known(conn, id).await
}

/// Records that a locked, new payment could not settle its purpose, and plans its full refund. `name` is the displayed
/// number of its order or custom order.
async fn refused(
    conn: &mut PgConnection,
    payment: &store::Payment,
    cause: Cause,
    name: String,
    session: &Session,
    why: Refusal,
) -> Result<()> {
    let id = payment_id(session);
    let amount = session.amount_total.unwrap_or_default();
    store::record_payment(conn, id, cause, session, PaymentOutcome::Refused).await?;
    let reason = match why {
        Refusal::SoldMeanwhile => "paid too late: the pieces were sold in the meantime",
        Refusal::PaidTwice => "paid twice",
        Refusal::AmountDiffers => "the paid amount differs from the requested one",
        Refusal::QuoteClosed => "the quote was closed",
    };
    let refunded = refunds::refunded(conn, id, payment).await?;
    let due = Cents(amount.0 - refunded.0);
    if due > Cents::ZERO {
        session
            .payment_intent
            .as_deref()
            .context("a paid session without a payment intent")?;
        refunds::plan(conn, id, due, reason).await?;
    }
    let about = About {
        order: cause.order,
        custom_order: cause.custom_order,
    };
    emails::refuse(conn, name, about, session, why, due).await?;
    let paid = amount.in_currency(&session.currency);
    let told = match due > Cents::ZERO {
        _ if amount == Cents::ZERO => {
            format!("Nothing was paid, so nothing is given back: {reason}.")
        }
        true => format!("A payment of {paid} is being given back in full: {reason}."),
        false => format!("A payment of {paid} had been given back in full already: {reason}."),
    };
    let item = NewItem::new(Kind::PaymentRefused, format!("payment_refused:{id}"), told);
    refunds::flag(conn, cause.order, cause.custom_order, &item).await?;
    refunds::apply(conn, id).await?;
    disputes::payment_known(conn, id).await
}

/// An id or another word of Stripe's. Stripe sends a referenced object as its id or in full.
pub(super) fn reference(json: &Value) -> Option<String> {
    let id = json.as_str().or_else(|| json["id"].as_str())?;
    (!id.is_empty() && id.len() <= 255 && !id.contains('\0')).then(|| id.to_owned())
}

/// A time; `None` for negative or impossible ones.
pub(super) fn time(json: &Value) -> Option<DateTime<Utc>> {
    let seconds = json.as_i64().filter(|seconds| *seconds >= 0)?;
    DateTime::from_timestamp(seconds, 0)
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
