//! Changes of orders and their rules. Lock order: the order's row, then its products in id order.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::cart::Cart;
use super::shipping::Zone;
use super::{Channel, Line, Order, Status, store};
use crate::audit::{self, Actor};
use crate::emails::{LineEmailData, OrderEmailData};
use crate::error::{Code, Error, FieldError, LineError, Result};
use crate::products;
use crate::review_items::{self, Kind, NewItem};
use crate::types::address::Address;
use crate::types::ids::{OrderId, ProductId};
use crate::types::money::{Cents, Currency};

/// A newly placed order with the line data that Stripe needs.
pub struct Placed {
    pub order: Order,
    pub lines: Vec<store::PlacedLine>,
}

/// Terms shared by all lines of a checkout.
#[derive(Clone, Copy, Debug)]
pub struct CheckoutTerms {
    pub currency: Currency,
    pub zone: Zone,
    pub shipping: Cents,
}

/// Checks a cart without changing anything and returns the lines that cannot be bought. Pieces held by the order that
/// it would replace count as available.
pub async fn check(
    conn: &mut PgConnection,
    cart: &Cart,
    currency: Currency,
    replaces: Option<OrderId>,
) -> Result<Vec<LineError>> {
    let replaced = match replaces {
        Some(id) => store::lock(conn, id)
            .await?
            .filter(|order| order.status == Status::Pending),
        None => None,
    };
    let ids: Vec<ProductId> = cart.wanted().into_keys().collect();
    let mut locks = products::lock(conn, &ids).await?;
    if let Some(order) = replaced {
        for (id, quantity) in store::quantities(conn, order.id).await? {
            if let Some(lock) = locks.get_mut(&id) {
                lock.reserved -= quantity;
            }
        }
    }
    Ok(cart.check(&locks, currency))
}

/// Places a pending order and holds its pieces, after releasing the pieces of the order that it replaces, if that order
/// is still pending. Concurrent carts with the same pieces wait for each other; the second sees the remaining stock.
///
/// Returns the wrong lines when the cart cannot be bought. No order is placed then, but the replaced order is released
/// all the same. The caller commits either way.
///
/// # Errors
/// 400 when the sum exceeds the largest amount.
pub async fn place(
    conn: &mut PgConnection,
    cart: &Cart,
    terms: CheckoutTerms,
    replaces: Option<OrderId>,
) -> Result<std::result::Result<Placed, Vec<LineError>>> {
    let replaced = match replaces {
        Some(id) => store::lock(conn, id)
            .await?
            .filter(|order| order.status == Status::Pending),
        None => None,
    };
    let freed = match &replaced {
        Some(order) => store::quantities(conn, order.id).await?,
        None => Vec::new(),
    };
    let wanted = cart.wanted();
    let mut ids: Vec<ProductId> = wanted.keys().cloned().collect();
    ids.extend(freed.iter().map(|(id, _)| id.clone()));
    let mut locks = products::lock(conn, &ids).await?;
    // Released even if the new cart cannot be bought.
    if let Some(order) = &replaced {
        products::release(conn, &freed).await?;
        let note = "replaced by a new checkout";
        store::set_status(conn, order, Status::Cancelled, "shopper", note).await?;
        for (id, quantity) in &freed {
            if let Some(lock) = locks.get_mut(id) {
                lock.reserved -= quantity;
            }
        }
    }

    let field_errors = cart.check(&locks, terms.currency);
    if !field_errors.is_empty() {
        return Ok(Err(field_errors));
    }
    let lines: Vec<store::PlacedLine> = wanted
        .iter()
        .map(|(id, &quantity)| {
            let lock = &locks[id];
            store::PlacedLine {
                line: Line {
                    product_id: Some(id.clone()),
                    name: lock.name.clone(),
                    image: lock.primary_image.clone(),
                    unit_price: lock.price,
                    quantity,
                },
                stripe_price: lock.current_stripe_price.clone(),
            }
        })
        .collect();
    let subtotal = sum(lines.iter().map(|line| &line.line))?;
    let new = store::NewOrder {
        id: OrderId::new(),
        status: Status::Pending,
        channel: Channel::Storefront,
        currency: terms.currency.code(),
        subtotal,
        shipping: terms.shipping,
        total: subtotal.plus(terms.shipping).ok_or_else(too_much)?,
        zone: Some(terms.zone),
        email: None,
        customer_name: None,
        actor: "shopper",
        note: "",
    };
    let order = store::insert(conn, &new, lines.iter().map(|line| &line.line)).await?;
    let held: Vec<(ProductId, i32)> = wanted.into_iter().collect();
    products::reserve(conn, &held).await?;
    Ok(Ok(Placed { order, lines }))
}

/// Releases the pieces of a pending order and closes it. Safe to repeat: an order that is no longer pending is returned
/// unchanged.
///
/// # Errors
/// 404 when there is no such order.
pub async fn release(
    conn: &mut PgConnection,
    id: OrderId,
    into: Status,
    actor: &str,
    note: &str,
) -> Result<Order> {
    let order = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    if order.status != Status::Pending {
        return Ok(order);
    }
    let (lines, _) = lock_lines(conn, id).await?;
    products::release(conn, &lines).await?;
    store::set_status(conn, &order, into, actor, note).await
}

/// An order missing from the database, as described by its payment.
pub struct Lost<'a> {
    pub id: OrderId,
    /// The number known to the shopper.
    pub number: Option<i64>,
    pub currency: &'a str,
    pub shipping: Cents,
    pub zone: Option<Zone>,
    /// Product, quantity and unit price.
    pub pieces: Vec<(ProductId, i32, Cents)>,
}

/// Recreates a lost order as a released order; [`pay`] then checks whether its pieces are still in stock. Returns
/// `None`, and writes nothing, when one of its products is unknown.
///
/// # Errors
/// 400 when the sum exceeds the largest amount.
pub async fn rebuild(conn: &mut PgConnection, lost: &Lost<'_>) -> Result<Option<Order>> {
    let ids: Vec<ProductId> = lost.pieces.iter().map(|(id, ..)| id.clone()).collect();
    let locks = products::lock(conn, &ids).await?;
    let mut lines = Vec::new();
    for (id, quantity, unit_price) in &lost.pieces {
        let Some(product) = locks.get(id) else {
            return Ok(None);
        };
        lines.push(Line {
            product_id: Some(id.clone()),
            name: product.name.clone(),
            image: product.primary_image.clone(),
            unit_price: *unit_price,
            quantity: *quantity,
        });
    }
    if lines.is_empty() {
        return Ok(None);
    }
    insert_lost(conn, lost, &lines).await.map(Some)
}

/// Recreates a lost order from the paid amount alone; its line names no product.
///
/// # Errors
/// As [`rebuild`].
pub async fn rebuild_unknown(
    conn: &mut PgConnection,
    lost: &Lost<'_>,
    amount: Cents,
) -> Result<Order> {
    let line = Line {
        product_id: None,
        name: "Pieces that are not known any more".to_owned(),
        image: None,
        unit_price: amount,
        quantity: 1,
    };
    insert_lost(conn, lost, &[line]).await
}

async fn insert_lost(conn: &mut PgConnection, lost: &Lost<'_>, lines: &[Line]) -> Result<Order> {
    let subtotal = sum(lines.iter())?;
    let new = store::NewOrder {
        id: lost.id,
        status: Status::Expired,
        channel: Channel::Storefront,
        currency: lost.currency,
        subtotal,
        shipping: lost.shipping,
        total: subtotal.plus(lost.shipping).ok_or_else(too_much)?,
        zone: lost.zone,
        email: None,
        customer_name: None,
        actor: "stripe",
        note: "recreated from Stripe's data: this database is older than the order",
    };
    let order = store::insert(conn, &new, lines.iter()).await?;
    match lost.number {
        Some(number) => store::renumber(conn, order.id, number).await,
        None => Ok(order),
    }
}

/// Payment data for an order.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    pub total: Cents,
    pub tax: Cents,
    pub currency: String,
    pub email: Option<String>,
    pub customer_name: Option<String>,
    pub phone: Option<String>,
    pub shipping_name: Option<String>,
    pub shipping_address: Option<Value>,
    /// ISO 3166, two letters.
    pub shipping_country: Option<String>,
    /// Note for the timeline that identifies the payment.
    pub note: String,
    /// The zone and price of another shipping rate, when the shopper chose one.
    pub chosen_shipping: Option<(Zone, Cents)>,
}

/// Effect of a payment on its order.
#[derive(Debug)]
pub enum Outcome {
    /// The order is paid and its stock is taken.
    Paid(Order),
    /// The pieces were sold to someone else in the meantime: the payment must be refunded.
    OutOfStock(Order),
    /// The order was already paid: this second payment must be refunded.
    AlreadyPaid(Order),
    /// The amount or currency differs from the order's: the payment must be refunded.
    Mismatch(Order),
}

/// Settles an order: takes the stock, stores the payment data, and moves it to `paid`. An order whose hold was released
/// gets its pieces back if they are still in stock. The caller must make sure that this payment was not applied before.
///
/// # Errors
/// 404 when there is no such order.
pub async fn pay(conn: &mut PgConnection, id: OrderId, receipt: &Receipt) -> Result<Outcome> {
    let order = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    if order.status != Status::Pending && !order.status.is_released() {
        return Ok(Outcome::AlreadyPaid(order));
    }
    let (lines, locks) = lock_lines(conn, id).await?;
    let order = match receipt.chosen_shipping {
        Some((zone, price)) => store::choose_shipping(conn, &order, zone, price).await?,
        None => order,
    };
    let expected = order.total.plus(receipt.tax);
    if expected != Some(receipt.total) || receipt.currency != order.currency {
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
        return Ok(Outcome::Mismatch(order));
    }
    if order.status == Status::Pending {
        products::take_held(conn, id, &lines, "stripe").await?;
    } else {
        let there = lines.iter().all(|(product, quantity)| {
            locks
                .get(product)
                .is_some_and(|lock| !lock.is_deleted && lock.available() >= *quantity)
        });
        if !there {
            return Ok(Outcome::OutOfStock(order));
        }
        products::take(conn, id, &lines, "stripe").await?;
    }
    let paid_zone = receipt
        .shipping_country
        .as_deref()
        .and_then(Zone::of_country);
    let outside_zone =
        matches!((order.shipping_zone, paid_zone), (Some(zone), Some(paid)) if zone != paid);
    let order = store::set_paid(conn, &order, receipt, outside_zone).await?;
    if outside_zone {
        let text = "the address lies outside the shipping zone that was paid";
        let cause = format!("outside_zone:{id}");
        flag(conn, id, &NewItem::new(Kind::OutsideZone, cause, text)).await?;
    }
    if !has_address(&order) {
        let text = "it is paid, and nobody said where to ship it";
        let cause = format!("address_missing:{id}");
        flag(conn, id, &NewItem::new(Kind::AddressMissing, cause, text)).await?;
    }
    Ok(Outcome::Paid(order))
}

/// Checks for a shippable address. Some wallets send a country alone, which is not enough.
fn has_address(order: &Order) -> bool {
    let address = order.shipping_address.clone();
    let address: Option<Address> = address.and_then(|kept| serde_json::from_value(kept).ok());
    address
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
    store::add_event(conn, id, "payment", "stripe", &customer.note).await?;
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
        Outcome::Paid(order) => Ok(order),
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

/// Records the most urgent state of an order's disputes, in Stripe's terms. Safe to repeat.
///
/// # Errors
/// 404 when there is no such order.
pub async fn record_dispute(
    conn: &mut PgConnection,
    id: OrderId,
    state: Option<&str>,
) -> Result<()> {
    let order = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    if order.dispute.as_deref() == state {
        return Ok(());
    }
    store::set_dispute(conn, id, state).await
}

/// Flags an order for review because of a Stripe event, and adds the reason to its timeline. Safe to repeat: the same
/// cause raises one item.
pub async fn flag(conn: &mut PgConnection, id: OrderId, item: &NewItem) -> Result<()> {
    match review_items::raise(conn, id.into(), item).await? {
        Some(_) => store::add_event(conn, id, "note", "stripe", &item.text).await,
        None => Ok(()),
    }
}

/// Data of an order for its emails: a snapshot, because an email is composed when its cause happens.
pub async fn email_data(conn: &mut PgConnection, order: &Order) -> Result<OrderEmailData> {
    let lines = store::lines(conn, order.id).await?;
    facts_of(conn, order, lines).await
}

/// Like [`email_data`], with the shipped pieces only.
pub async fn shipped_email_data(conn: &mut PgConnection, order: &Order) -> Result<OrderEmailData> {
    let lines = store::order_lines(conn, order.id).await?;
    let shipped = lines.into_iter().filter(|line| line.shipped > 0);
    let shipped = shipped.map(|line| Line {
        quantity: line.shipped,
        ..line.sold
    });
    facts_of(conn, order, shipped.collect()).await
}

async fn facts_of(
    conn: &mut PgConnection,
    order: &Order,
    lines: Vec<Line>,
) -> Result<OrderEmailData> {
    let ids: Vec<&ProductId> = lines.iter().flat_map(|line| &line.product_id).collect();
    let mut details = products::details(conn, &ids).await?;
    let lines = lines.into_iter().map(|line| LineEmailData {
        detail: line.product_id.and_then(|id| details.remove(&id)),
        name: line.name,
        quantity: line.quantity,
        unit_price: line.unit_price,
        image: line.image.filter(|image| !image.is_empty()),
    });
    Ok(OrderEmailData {
        number: order.display_number(),
        paid_at: order.paid_at,
        currency: order.currency.clone(),
        lines: lines.collect(),
        subtotal: order.subtotal,
        shipping: order.shipping,
        tax: order.tax,
        total: order.total,
        customer_name: order.customer_name.clone(),
        shipping_name: order.shipping_name.clone(),
        shipping_address: order
            .shipping_address
            .clone()
            .and_then(|address| serde_json::from_value(address).ok()),
    })
}

/// Adds an entry to the timeline.
pub async fn note(
    conn: &mut PgConnection,
    id: OrderId,
    kind: &str,
    actor: &str,
    text: &str,
) -> Result<()> {
    store::add_event(conn, id, kind, actor, text).await
}

/// Writes the audit entry of a change that leaves the order as `after`. `more` holds facts that the order itself does
/// not show.
///
/// # Errors
/// As [`audit::record`].
pub async fn record(
    conn: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    (before, after): (&Order, &Order),
    more: Value,
) -> Result<()> {
    let snapshot = |order: &Order| json!({"status": order.status, "refunded": order.refunded});
    let (was, mut is) = (snapshot(before), snapshot(after));
    if let (Value::Object(is), Value::Object(more)) = (&mut is, more) {
        is.extend(more);
    }
    let object = format!("order:{}", after.display_number());
    audit::record(conn, actor, action, &object, was, is).await
}

/// Adds the owner's note to the timeline.
///
/// # Errors
/// A field error of `text`; 404 when there is no such order.
pub async fn write_note(
    conn: &mut PgConnection,
    actor: &Actor,
    id: OrderId,
    text: &str,
) -> Result<Order> {
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed.chars().count() > 2000 || trimmed.contains('\0') {
        return Err(Error::invalid("text", "must have 1 to 2000 characters"));
    }
    let order = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    store::add_event(conn, id, "note", &actor.name, trimmed).await?;
    let more = json!({"note": text});
    record(conn, actor, "order.note", (&order, &order), more).await?;
    Ok(order)
}

/// Returns pieces of a locked order to stock, at most as many as were sold and not yet returned. A trigger
/// records them on the order lines, so that they no longer need shipping.
///
/// # Errors
/// 400 naming the line of `restock` that asks for too many, or for a product that is not in the order.
pub async fn take_back(
    conn: &mut PgConnection,
    order: OrderId,
    pieces: &[(ProductId, i32)],
    actor: &str,
) -> Result<()> {
    if pieces.is_empty() {
        return Ok(());
    }
    lock_lines(conn, order).await?;
    let sold = store::quantities(conn, order).await?;
    let returnable = store::not_returned(conn, order).await?;
    let mut field_errors = Vec::new();
    for (at, (id, quantity)) in pieces.iter().enumerate() {
        let left = returnable.iter().find(|(known, _)| known == id);
        let left = left.map_or(0, |(_, left)| *left);
        let problem = if sold.iter().all(|(known, _)| known != id) {
            "is not a product of this order".to_owned()
        } else if pieces[..at].iter().any(|(earlier, _)| earlier == id) {
            "is named twice".to_owned()
        } else if *quantity > left {
            format!("must be at most {left}: that many were sold and not returned")
        } else if *quantity < 1 {
            "must be at least 1".to_owned()
        } else {
            continue;
        };
        field_errors.push(FieldError::new(format!("restock[{at}]"), problem));
    }
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    put_back(conn, order, pieces, actor).await
}

/// Returns pieces of an order to stock, and notes on the timeline which products return to the catalog.
async fn put_back(
    conn: &mut PgConnection,
    order: OrderId,
    pieces: &[(ProductId, i32)],
    actor: &str,
) -> Result<()> {
    for name in products::restock(conn, order, pieces, actor).await? {
        let note = format!(
            "{name} had been deleted. It is in the catalog again, archived, because a piece of it is in stock."
        );
        store::add_event(conn, order, "note", actor, &note).await?;
    }
    Ok(())
}

/// Undoes a sale recorded by hand: marks it refunded, because the money was returned in person, and returns its pieces
/// to stock. Safe to repeat: an undone sale is returned unchanged.
///
/// # Errors
/// 404; 409 `not_by_hand` for an order that was paid through Stripe.
pub async fn undo_sale(conn: &mut PgConnection, actor: &Actor, id: OrderId) -> Result<Order> {
    let order = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    if !order.is_manual() {
        return Err(Error::Conflict(
            Code::NotByHand,
            format!(
                "{} was paid through Stripe: its money is given back as a refund.",
                order.display_number()
            ),
        ));
    }
    if order.status == Status::Refunded {
        return Ok(order);
    }
    lock_lines(conn, id).await?;
    let pieces = store::not_returned(conn, id).await?;
    if !pieces.is_empty() {
        put_back(conn, id, &pieces, &actor.name).await?;
    }
    let undone = store::set_refunded(conn, &order, order.total).await?;
    let note = "the sale was undone";
    let undone = store::set_status(conn, &undone, Status::Refunded, &actor.name, note).await?;
    record(conn, actor, "order.undo", (&order, &undone), Value::Null).await?;
    Ok(undone)
}

/// A sale made elsewhere, such as at a market stall.
pub struct Sale {
    /// The order's id, for callers that may repeat a sale.
    pub id: Option<OrderId>,
    /// Product, quantity, and the unit price where it differs from the product's.
    pub lines: Vec<(ProductId, i32, Option<Cents>)>,
    pub email: Option<String>,
    pub customer_name: Option<String>,
    pub note: String,
}

impl Sale {
    /// Checks that the order's lines match this sale.
    pub fn is_of(&self, lines: &[Line]) -> bool {
        let mut pairs = self.lines.iter().zip(lines);
        self.lines.len() == lines.len()
            && pairs.all(|((id, quantity, price), line)| {
                line.product_id.as_ref() == Some(id)
                    && line.quantity == *quantity
                    && price.is_none_or(|price| price == line.unit_price)
            })
    }
}

/// Records a sale made elsewhere: a paid order without Stripe, whose stock is taken under the same lock. The pieces
/// were handed over, so the order is delivered at once. Archived and sold-out products can be sold by hand; pieces held
/// by shoppers cannot. A repeated sale with the same id returns the existing order.
///
/// # Errors
/// 400 naming the line for a product that does not exist or has another currency; 409 `insufficient_inventory`, or
/// `sale_differs` when the id belongs to a different sale.
pub async fn sell(
    conn: &mut PgConnection,
    sale: &Sale,
    currency: Currency,
    actor: &Actor,
) -> Result<Order> {
    if let Some(id) = sale.id {
        store::lock_new(conn, id).await?;
    }
    let mut wanted: BTreeMap<ProductId, i32> = BTreeMap::new();
    for (id, quantity, _) in &sale.lines {
        *wanted.entry(id.clone()).or_insert(0) += quantity;
    }
    let ids: Vec<ProductId> = wanted.keys().cloned().collect();
    let locks = products::lock(conn, &ids).await?;
    // The second of two concurrent sales with one id waits for the first above, and finds its order here.
    if let Some(id) = sale.id
        && let Some(order) = store::find(conn, id).await?
    {
        let known = store::lines(conn, id).await?;
        let is_same = order.is_manual()
            && sale.is_of(&known)
            && (&sale.email, &sale.customer_name) == (&order.email, &order.customer_name);
        return match is_same {
            true => Ok(order),
            false => Err(Error::Conflict(
                Code::SaleDiffers,
                "This sale was already recorded with different contents. Load the page again."
                    .to_owned(),
            )),
        };
    }
    let mut lines: Vec<Line> = Vec::new();
    for (at, (id, quantity, price)) in sale.lines.iter().enumerate() {
        let field = format!("lines[{at}].product_id");
        let lock = locks
            .get(id)
            .filter(|lock| !lock.is_deleted)
            .ok_or_else(|| Error::invalid(field.as_str(), "there is no such product"))?;
        if lock.currency != currency.code() {
            return Err(Error::invalid(
                field,
                format!("is priced in another currency than the shop's, {currency}"),
            ));
        }
        if let Some(price) = price {
            let wrong = |wrong| Error::invalid(format!("lines[{at}].unit_price"), wrong);
            currency.check_part(*price).map_err(wrong)?;
        }
        if lock.available() < wanted[id] {
            return Err(Error::Conflict(
                Code::InsufficientInventory,
                format!(
                    "Only {} of {} available, but {} were to be sold.",
                    lock.available(),
                    lock.name,
                    wanted[id]
                ),
            ));
        }
        if lines
            .iter()
            .any(|line| line.product_id.as_ref() == Some(id))
        {
            return Err(Error::invalid(field, "is named twice"));
        }
        lines.push(Line {
            product_id: Some(id.clone()),
            name: lock.name.clone(),
            image: lock.primary_image.clone(),
            unit_price: price.unwrap_or(lock.price),
            quantity: *quantity,
        });
    }
    let subtotal = sum(lines.iter())?;
    let new = store::NewOrder {
        id: sale.id.unwrap_or_else(OrderId::new),
        status: Status::Delivered,
        channel: Channel::Manual,
        currency: currency.code(),
        subtotal,
        shipping: Cents::ZERO,
        total: subtotal,
        zone: None,
        email: sale.email.as_deref(),
        customer_name: sale.customer_name.as_deref(),
        actor: &actor.name,
        note: &sale.note,
    };
    let order = store::insert(conn, &new, lines.iter()).await?;
    let taken: Vec<(ProductId, i32)> = wanted.into_iter().collect();
    products::take(conn, order.id, &taken, &actor.name).await?;
    let pieces: Vec<Value> = taken
        .iter()
        .map(|(id, quantity)| json!({"product": id, "quantity": quantity}))
        .collect();
    let object = format!("order:{}", order.display_number());
    let after = json!({"pieces": pieces, "total": order.total});
    audit::record(conn, actor, "order.sell", &object, Value::Null, after).await?;
    Ok(order)
}

/// Locks the products of an order in id order.
async fn lock_lines(
    conn: &mut PgConnection,
    id: OrderId,
) -> Result<(
    Vec<(ProductId, i32)>,
    BTreeMap<ProductId, products::LockedProduct>,
)> {
    let lines = store::quantities(conn, id).await?;
    let ids: Vec<ProductId> = lines.iter().map(|(id, _)| id.clone()).collect();
    let locks = products::lock(conn, &ids).await?;
    Ok((lines, locks))
}

fn sum<'a>(lines: impl Iterator<Item = &'a Line>) -> Result<Cents> {
    lines
        .map(|line| line.unit_price.times(line.quantity))
        .try_fold(Cents::ZERO, |sum, line| sum.plus(line?))
        .filter(|sum| sum.0 <= 99_999_999)
        .ok_or_else(too_much)
}

/// Source: the largest amount Stripe charges, <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>
fn too_much() -> Error {
    Error::refused(
        Code::AmountTooLarge,
        "The sum is more than can be paid at once.",
    )
}
