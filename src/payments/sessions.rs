//! Sessions that ended: each paid one becomes an order or a refund.

use anyhow::Context;
use serde_json::Value;
use sqlx::PgConnection;
use tracing::warn;

use super::effect::Effect;
use super::emails::{Payer, RefusedPayment};
use super::recovery::{self, Recovery};
use super::states::{CheckoutState, PaymentOutcome};
use super::store::Cause;
use super::{delayed, disputes, emails, refunds, store};
use crate::app::App;
use crate::custom_orders::{self, LinkPayment, QuotePayment};
use crate::emails::PaymentRefusal;
use crate::error::Result;
use crate::orders::{self, CustomOrderPurchase, Line, Receipt, Settlement, Status, Zone};
use crate::review_items::{self, Kind, NewItem};
use crate::stripe::{NewSession, Session, SessionStatus};
use crate::types::ids::{CustomOrderId, OrderId, QuoteId};
use crate::types::money::Cents;

/// Purpose of a session.
enum Purpose {
    Order(OrderId),
    Quote(QuoteId),
    /// A custom order, through a payment link of the shop that this one replaced.
    OldLink(CustomOrderId),
}

/// Finds the purpose of a session, if it is one of ours.
async fn purpose_of(conn: &mut PgConnection, session: &Session) -> Result<Option<Purpose>> {
    if let Some(order) = store::find_order_by_session(conn, &session.id).await? {
        return Ok(Some(Purpose::Order(order)));
    }
    if let Some(custom_order) = custom_order_of(conn, session).await? {
        return Ok(Some(Purpose::OldLink(custom_order)));
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

/// Finds the custom order of an old link's session. Ours name their quote, too.
async fn custom_order_of(
    conn: &mut PgConnection,
    session: &Session,
) -> Result<Option<CustomOrderId>> {
    let reference = session
        .custom_order_reference
        .as_deref()
        .filter(|_| session.quote_reference.is_none())
        .and_then(|text| text.parse().ok())
        .map(CustomOrderId);
    match reference {
        Some(id) => Ok(custom_orders::find(conn, id).await?.map(|found| found.id)),
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

/// Handles a session that is complete or expired. Safe to repeat.
///
/// # Errors
/// Errors of the database only.
pub async fn session_ended(
    conn: &mut PgConnection,
    app: &App,
    object: &Value,
    status: SessionStatus,
) -> Result<Effect> {
    let Some(mut session) = Session::read(object) else {
        return Ok(Effect::Ignored);
    };
    session.status = status;
    let mut purpose = purpose_of(conn, &session).await?;
    if purpose.is_none() {
        // Its row may be one of those that are being copied from another shop.
        store::wait_for_takeover(conn).await?;
        purpose = purpose_of(conn, &session).await?;
    }
    match purpose {
        Some(Purpose::Order(order)) => settle(conn, app, order, &session).await?,
        Some(Purpose::Quote(quote)) => settle_quote(conn, app, quote, &session).await?,
        Some(Purpose::OldLink(custom_order)) => {
            settle_old_link(conn, app, custom_order, &session).await?;
        }
        None if session.is_paid() => return settle_lost(conn, app, &session).await,
        None => return Ok(Effect::Ignored),
    }
    Ok(Effect::Processed)
}

/// Handles a payment with an unknown purpose: ours, lost by a restore, or someone else's.
async fn settle_lost(conn: &mut PgConnection, app: &App, session: &Session) -> Result<Effect> {
    match recovery::find(conn, app, session).await? {
        Recovery::Order(order) => settle(conn, app, order, session).await?,
        Recovery::Unknown(order) => {
            let payment = store::lock_payment(conn, payment_id(session)).await?;
            let cause = Cause::of_order(order.id);
            // Nothing is known that could be shipped, so the money goes back.
            let refused = RefusedPayment {
                cause,
                name: order.display_number(),
                why: PaymentRefusal::SoldMeanwhile,
                payer: Payer::of(session),
            };
            refuse(conn, app, &payment, session, refused).await?;
        }
        Recovery::CustomOrder(zone) => settle_lost_custom_order(conn, app, zone, session).await?,
        Recovery::Nothing => {
            flag_unknown_custom_order(conn, session).await?;
            return Ok(Effect::Ignored);
        }
    }
    Ok(Effect::Processed)
}

/// Flags a payment by a link of the shop that this one replaced, whose custom order is not in this database. The item is
/// settled when the custom order comes.
async fn flag_unknown_custom_order(conn: &mut PgConnection, session: &Session) -> Result<()> {
    let Some(custom_order) = &session.custom_order_reference else {
        return Ok(());
    };
    warn!(session = session.id, %custom_order, "a payment for an unknown custom order");
    let amount = session.amount_total.unwrap_or_default();
    let text = format!(
        "{} was paid by an old payment link for the custom order {custom_order}, which is not in this database (session {})",
        amount.in_currency(&session.currency),
        session.id,
    );
    let item = NewItem::new(Kind::CustomOrderMissing, unknown_cause(session), text);
    refunds::flag(conn, None, None, &item).await
}

fn unknown_cause(session: &Session) -> String {
    format!("custom_order_unknown:{}", session.id)
}

/// Places an order for the payment of a lost custom order; the owner must investigate.
async fn settle_lost_custom_order(
    conn: &mut PgConnection,
    app: &App,
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
    let cause = Cause::of_order(order.id);
    settled(conn, app, cause, session).await?;
    let why = "paid for a custom piece whose request is not in this database: ask the customer, or give it back";
    let cause = format!("custom_order_missing:{}", order.id);
    let item = NewItem::new(Kind::CustomOrderMissing, cause, why);
    refunds::flag(conn, Some(order.id), None, &item).await
}

/// Handles a session whose delayed payment failed: nothing was charged. Safe to repeat.
///
/// # Errors
/// Errors of the database only.
pub async fn delayed_payment_failed(
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
        Some(Purpose::OldLink(id)) => {
            let payment = LinkPayment::of(&session);
            if let Some(quote) = custom_orders::find_quote_paid_by(conn, id, &payment).await? {
                custom_orders::delayed_payment_failed(conn, app, quote).await?;
            }
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
        return settle_payment(conn, app, order, session).await;
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
async fn settle_payment(
    conn: &mut PgConnection,
    app: &App,
    order: OrderId,
    session: &Session,
) -> Result<()> {
    let payment_id = payment_id(session);
    // First of all (lock order). Two events about one payment are settled one after the other.
    let payment = store::lock_payment(conn, payment_id).await?;
    if payment.outcome.is_some() {
        return store::set_checkout_state(conn, order, CheckoutState::Complete, None).await;
    }
    let mut receipt = receipt(session)?;
    match store::find_checkout(conn, order)
        .await?
        .map(|checkout| checkout.request)
    {
        Some(Some(request)) => receipt.chosen_shipping = chosen_shipping(&request.0, session),
        // What the other shop asked for is known to Stripe alone.
        Some(None) => receipt.decided_shipping = Some(session.amount_shipping),
        None => {}
    }
    let (order_now, refusal) = match orders::pay(conn, order, &receipt).await? {
        Settlement::Paid(order) => (order, None),
        // The other shop has confirmed it.
        Settlement::Adopted(_) => return settled(conn, app, Cause::of_order(order), session).await,
        Settlement::OutOfStock(order) => (order, Some(PaymentRefusal::SoldMeanwhile)),
        Settlement::AlreadyPaid(order) => (order, Some(PaymentRefusal::PaidTwice)),
        Settlement::Mismatch(order) => (order, Some(PaymentRefusal::AmountDiffers)),
    };
    let cause = Cause::of_order(order);
    store::set_checkout_state(conn, order, CheckoutState::Complete, None).await?;
    let Some(why) = refusal else {
        store::record_session(conn, order, &session.id, None).await?;
        emails::confirm(conn, app, &order_now).await?;
        return settled(conn, app, cause, session).await;
    };
    let refused = RefusedPayment {
        cause,
        name: order_now.display_number(),
        why,
        payer: Payer::of_order(session, &order_now),
    };
    // The money has arrived, and is refunded.
    orders::end_processing(conn, order, &Receipt::default()).await?;
    refuse(conn, app, &payment, session, refused).await
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
    let outcome = custom_orders::pay(conn, app, quote, &receipt).await?;
    record(conn, app, &payment, session, outcome).await
}

/// Updates the open quote of a custom order from the state of a session of an old link. Safe to repeat.
async fn settle_old_link(
    conn: &mut PgConnection,
    app: &App,
    id: CustomOrderId,
    session: &Session,
) -> Result<()> {
    if !session.is_paid() {
        let paid = custom_orders::find_quote_paid_by(conn, id, &LinkPayment::of(session)).await?;
        if let (SessionStatus::Complete, Some(quote)) = (&session.status, paid) {
            custom_orders::delayed_payment_began(conn, app, quote).await?;
        }
        return Ok(());
    }
    let payment = store::lock_payment(conn, payment_id(session)).await?;
    if payment.outcome.is_some() {
        return Ok(());
    }
    let receipt = receipt(session)?;
    let link = session.payment_link.as_deref();
    let outcome = custom_orders::pay_by_old_link(conn, app, id, link, &receipt).await?;
    record(conn, app, &payment, session, outcome).await?;
    let why = "its custom order is in the database now";
    review_items::settle(conn, &unknown_cause(session), "stripe", why).await
}

/// Records what became of a locked, new payment for a custom order.
async fn record(
    conn: &mut PgConnection,
    app: &App,
    payment: &store::Payment,
    session: &Session,
    outcome: QuotePayment,
) -> Result<()> {
    match outcome {
        QuotePayment::Settled(order) | QuotePayment::Adopted(order) => {
            settled(conn, app, Cause::of_order(order.id), session).await
        }
        QuotePayment::Refused(custom_order, why) => {
            let cause = Cause {
                custom_order: Some(custom_order.id),
                ..Cause::default()
            };
            let refused = RefusedPayment {
                cause,
                name: custom_order.display_number(),
                why,
                payer: Payer::of_custom_order(session, &custom_order),
            };
            refuse(conn, app, payment, session, refused).await
        }
    }
}

/// Id of a session's payment; the session's own id when nothing was due.
fn payment_id(session: &Session) -> &str {
    session.payment_intent.as_deref().unwrap_or(&session.id)
}

/// The zone and price of the rate chosen on the payment page. `None` when it is the order's own rate, or none of those
/// offered.
fn chosen_shipping(asked: &NewSession, session: &Session) -> Option<(Zone, Cents)> {
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
    chosen.map(|zone| (zone, paid))
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
        decided_shipping: None,
    })
}

/// Records that a locked, new payment has settled its order. It may already be refunded or disputed.
async fn settled(
    conn: &mut PgConnection,
    app: &App,
    cause: Cause,
    session: &Session,
) -> Result<()> {
    let id = payment_id(session);
    store::record_payment(conn, id, cause, session, PaymentOutcome::Settled).await?;
    // Refunds and disputes may have been reported before their payment.
    refunds::apply(conn, app, id).await?;
    disputes::payment_known(conn, id).await
}

/// Records that a locked, new payment could not settle its purpose, and plans its full refund.
async fn refuse(
    conn: &mut PgConnection,
    app: &App,
    payment: &store::Payment,
    session: &Session,
    refused: RefusedPayment,
) -> Result<()> {
    let id = payment_id(session);
    let cause = refused.cause;
    let amount = session.amount_total.unwrap_or_default();
    store::record_payment(conn, id, cause, session, PaymentOutcome::Refused).await?;
    let reason = match refused.why {
        PaymentRefusal::SoldMeanwhile => "paid too late: the pieces were sold in the meantime",
        PaymentRefusal::PaidTwice => "paid twice",
        PaymentRefusal::AmountDiffers => "the paid amount differs from the requested one",
        PaymentRefusal::QuoteClosed => "the quote was closed",
    };
    // Part of it may have been refunded at Stripe's dashboard already.
    let refunded = refunds::refunded(conn, id, payment).await?;
    let due = Cents(amount.0 - refunded.0);
    if due > Cents::ZERO {
        session
            .payment_intent
            .as_deref()
            .context("a paid session without a payment intent")?;
        refunds::plan(conn, id, due, reason).await?;
    }
    emails::refuse(conn, refused, session, due).await?;
    let paid = amount.in_currency(&session.currency);
    let text = match due > Cents::ZERO {
        _ if amount == Cents::ZERO => {
            format!("Nothing was paid, so nothing is refunded: {reason}.")
        }
        true => format!("A payment of {paid} is being refunded in full: {reason}."),
        false => format!("A payment of {paid} had been refunded in full already: {reason}."),
    };
    let item = NewItem::new(Kind::PaymentRefused, format!("payment_refused:{id}"), text);
    refunds::flag(conn, cause.order, cause.custom_order, &item).await?;
    refunds::apply(conn, app, id).await?;
    disputes::payment_known(conn, id).await
}
