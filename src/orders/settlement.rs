//! Effects of payments, refunds and disputes on their order, as `payments` learns of them.

use sqlx::PgConnection;

use super::copied;
use super::disputes::DisputeState;
use super::lines::{lock_lines, sum, too_much};
use super::shipping::Zone;
use super::{Channel, Line, Order, Receipt, Status, store};
use crate::error::{Error, Result};
use crate::products;
use crate::review_items::{self, Kind, NewItem};
use crate::types::ids::OrderId;
use crate::types::money::Cents;

/// Effect of a payment on its order.
#[derive(Debug)]
pub enum Settlement {
    /// The order is paid and its stock is taken.
    Paid(Order),
    /// The pieces were sold to someone else in the meantime: the payment must be refunded.
    OutOfStock(Order),
    /// The order was already paid: this second payment must be refunded.
    AlreadyPaid(Order),
    /// The amount or currency differs from the order's: the payment must be refunded.
    Mismatch(Order),
    /// The order had been marked as paid by hand before it was copied from another shop: this is its payment.
    Adopted(Order),
}

/// Settles an order: takes the stock, stores the payment data, and moves it to `paid`. An order whose hold was released
/// gets its pieces back if they are still in stock. The caller must make sure that this payment was not applied before.
///
/// # Errors
/// 404 when there is no such order.
pub async fn pay(conn: &mut PgConnection, id: OrderId, receipt: &Receipt) -> Result<Settlement> {
    let order = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    if order.status != Status::Pending && !order.status.is_released() {
        return adopt_payment(conn, id, receipt).await;
    }
    // After the order (lock order), and held until the stock is taken, so that no other cart gets these pieces in
    // between.
    let (lines, locks) = lock_lines(conn, id).await?;
    let (order, is_expected) = price(conn, order, receipt).await?;
    if !is_expected {
        let order = if order.status == Status::Pending {
            products::release(conn, &lines).await?;
            store::set_status(
                conn,
                &order,
                Status::Failed,
                "stripe",
                "paid amount differs",
            )
            .await?
        } else {
            order
        };
        return Ok(Settlement::Mismatch(order));
    }
    if order.status == Status::Pending {
        products::take_held(conn, id, &lines, "stripe").await?;
    } else {
        // Late money: the hold is gone, and other shoppers may hold the pieces by now.
        let there = lines.iter().all(|(product, quantity)| {
            locks
                .get(product)
                .is_some_and(|lock| !lock.is_deleted && lock.available() >= *quantity)
        });
        if !there {
            return Ok(Settlement::OutOfStock(order));
        }
        products::take(conn, id, &lines, "stripe").await?;
    }
    // Somebody may have corrected the address while a delayed payment was on its way.
    let corrected = order.address().and_then(|address| address.country);
    let country = match order.is_corrected("shipping_address") {
        true => corrected.as_deref(),
        false => receipt.shipping_country.as_deref(),
    };
    let paid_zone = country.and_then(Zone::of_country);
    let outside_zone =
        matches!((order.shipping_zone, paid_zone), (Some(zone), Some(paid)) if zone != paid);
    let unpaid = order;
    let order = store::set_paid(conn, &unpaid, receipt, outside_zone).await?;
    if receipt.decided_shipping.is_some() {
        copied::review_total(conn, &order).await?;
    }
    // Flagged, not refused: the owner can still ask for the difference, or refund.
    let cause = format!("outside_zone:{id}");
    let result = "shipping to the address was paid";
    review_zone(conn, &unpaid, outside_zone, "stripe", cause, result).await?;
    if !has_address(&order) {
        let text = "it is paid, and nobody said where to ship it";
        let cause = format!("address_missing:{id}");
        let item = NewItem::new(Kind::AddressMissing, cause, text);
        review_items::flag(conn, id, "stripe", &item).await?;
    }
    Ok(Settlement::Paid(order))
}

/// Records the payment of an order that was marked as paid by hand in the shop that this one replaced. The order becomes
/// worth what was paid, gains the customer that Stripe knows, and keeps its status. The caller must make sure that this
/// payment was not applied before.
///
/// # Errors
/// 404 when there is no such order.
pub async fn adopt_payment(
    conn: &mut PgConnection,
    id: OrderId,
    receipt: &Receipt,
) -> Result<Settlement> {
    let order = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    if !order.payment_unrecorded {
        return Ok(Settlement::AlreadyPaid(order));
    }
    if receipt.currency != order.currency {
        return Ok(Settlement::Mismatch(order));
    }
    // Less than was refunded already can be no price: then the order stays as it was copied.
    let priced = match receipt.total >= order.refunded {
        true => {
            copied::price(
                conn,
                &order,
                receipt,
                receipt.decided_shipping.unwrap_or_default(),
            )
            .await?
        }
        false => order,
    };
    if priced.channel == Channel::CustomOrder {
        // Nobody had recorded the price of its one piece.
        store::price_only_line(conn, id, priced.subtotal).await?;
    }
    let adopted = store::adopt_payment(conn, id, receipt).await?;
    let note = format!(
        "the payment of this order, which had been marked as paid by hand: {}",
        receipt.note
    );
    store::add_timeline_entry(conn, id, "payment", "stripe", &note).await?;
    let source = format!("takeover:order:{id}:payment");
    review_items::settle(conn, &source, "stripe", "its payment is known").await?;
    copied::review_total(conn, &adopted).await?;
    Ok(Settlement::Adopted(adopted))
}

/// Prices an order as its shopper chose on the payment page. Returns false when the payment is not over that price.
async fn price(conn: &mut PgConnection, order: Order, receipt: &Receipt) -> Result<(Order, bool)> {
    if let (Some(shipping), true) = (receipt.decided_shipping, receipt.currency == order.currency) {
        return Ok((copied::price(conn, &order, receipt, shipping).await?, true));
    }
    // Before the amounts are compared: the shopper may have chosen another zone's rate on the payment page.
    let order = match receipt.chosen_shipping {
        Some((zone, price)) => store::choose_shipping(conn, &order, zone, price).await?,
        None => order,
    };
    // Stripe adds the tax on its page, so the order's own total has none.
    let is_expected = order.total.plus(receipt.tax) == Some(receipt.total)
        && receipt.currency == order.currency
        && receipt.decided_shipping.is_none();
    Ok((order, is_expected))
}

/// Flags an order whose address is outside the zone that was paid, or settles the items that said so. Does nothing where
/// that was known before.
pub(super) async fn review_zone(
    conn: &mut PgConnection,
    order: &Order,
    is_outside: bool,
    actor: &str,
    cause: String,
    result: &str,
) -> Result<()> {
    let id = order.id;
    match (order.outside_zone, is_outside) {
        (false, true) => {
            let text = "the address lies outside the shipping zone that was paid";
            let item = NewItem::new(Kind::OutsideZone, cause, text);
            review_items::flag(conn, id, actor, &item).await?;
        }
        (true, false) => {
            review_items::settle(conn, &format!("outside_zone:{id}"), actor, result).await?;
        }
        _ => {}
    }
    Ok(())
}

/// Checks for a shippable address. Some wallets send a country alone, which is not enough.
pub(super) fn has_address(order: &Order) -> bool {
    order
        .address()
        .and_then(|address| address.line1)
        .is_some_and(|line| !line.trim().is_empty())
}

/// Stores the customer of a pending order whose delayed payment began. Returns `None` when the payment is already
/// recorded or the order is not pending.
///
/// # Errors
/// 404 when there is no such order.
pub async fn begin_processing(
    conn: &mut PgConnection,
    id: OrderId,
    customer: &Receipt,
) -> Result<Option<Order>> {
    let order = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    if order.status != Status::Pending || order.processing_since.is_some() {
        return Ok(None);
    }
    store::add_timeline_entry(conn, id, "payment", "stripe", &customer.note).await?;
    store::set_processing(conn, id, customer, true)
        .await
        .map(Some)
}

/// Stores the customer of a locked order whose delayed payment failed.
///
/// # Errors
/// Database errors only.
pub async fn end_processing(
    conn: &mut PgConnection,
    id: OrderId,
    customer: &Receipt,
) -> Result<Order> {
    store::set_processing(conn, id, customer, false).await
}

/// A custom order, in the form that its order needs.
pub struct CustomOrderPurchase<'a> {
    pub line: Line,
    pub currency: &'a str,
    pub shipping: Cents,
    pub zone: Zone,
}

/// Places the order of a newly paid custom order; it takes no stock. The caller has compared the amounts and made sure
/// that this payment was not applied before.
///
/// # Errors
/// 400 when the sum exceeds the largest amount. A receipt over another amount is a bug.
pub async fn place_custom_order(
    conn: &mut PgConnection,
    custom_order: &CustomOrderPurchase<'_>,
    receipt: &Receipt,
) -> Result<Order> {
    let subtotal = sum(std::iter::once(&custom_order.line))?;
    let new = store::NewOrder {
        id: OrderId::new(),
        status: Status::Pending,
        channel: Channel::CustomOrder,
        currency: custom_order.currency,
        subtotal,
        discount: Cents::ZERO,
        payment_method: None,
        shipping: custom_order.shipping,
        total: subtotal.plus(custom_order.shipping).ok_or_else(too_much)?,
        zone: Some(custom_order.zone),
        email: None,
        customer_name: None,
        actor: "stripe",
        note: "",
    };
    let order = store::insert(conn, &new, std::iter::once(&custom_order.line)).await?;
    match pay(conn, order.id, receipt).await? {
        Settlement::Paid(order) => Ok(order),
        other => Err(anyhow::anyhow!("a custom order's order was not paid: {other:?}").into()),
    }
}

/// Records the total refunded. Moves the order to `refunded` when the whole amount is refunded, and back to its former
/// status when a bank reverses a refund. Safe to repeat. The caller writes the timeline entries of the single refunds.
///
/// # Errors
/// 404 when there is no such order.
pub async fn record_refund(conn: &mut PgConnection, id: OrderId, refunded: Cents) -> Result<Order> {
    let order = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    let refunded = refunded.min(order.total);
    if refunded == order.refunded {
        return Ok(order);
    }
    let was_in_full = store::is_refunded_in_full(conn, id).await?;
    let order = store::set_refunded(conn, &order, refunded).await?;
    let is_all = refunded == order.total;
    if is_all && order.status.may_become(Status::Refunded) {
        return store::set_status(conn, &order, Status::Refunded, "stripe", "").await;
    }
    if is_all || order.status != Status::Refunded {
        return full_refund_failed(conn, order, was_in_full).await;
    }
    let before = store::status_before_refund(conn, id).await?;
    let note = "a refund failed: the money is with the shop again";
    let order = store::set_status(conn, &order, before, "stripe", note).await?;
    full_refund_failed(conn, order, true).await
}

/// Has the shipping of a locked order ask for confirmation where a refund of all of its money came to nothing: until then
/// nobody was to ship it, and its pieces may have been sold again. `was_in_full`: before, all of the money was refunded or
/// about to be.
///
/// # Errors
/// Only the database's.
pub async fn full_refund_failed(
    conn: &mut PgConnection,
    order: Order,
    was_in_full: bool,
) -> Result<Order> {
    let is_to_ship = was_in_full
        && order.status == Status::Paid
        && !store::is_refunded_in_full(conn, order.id).await?;
    match is_to_ship {
        true => store::set_refund_failed(conn, order.id).await,
        false => Ok(order),
    }
}

/// Records the most urgent state of an order's disputes. Safe to repeat.
///
/// # Errors
/// 404 when there is no such order.
pub async fn record_dispute(
    conn: &mut PgConnection,
    id: OrderId,
    state: Option<&DisputeState>,
) -> Result<()> {
    let order = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    if order.dispute.as_ref() == state {
        return Ok(());
    }
    store::set_dispute(conn, id, state).await
}
