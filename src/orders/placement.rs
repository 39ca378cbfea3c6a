//! Placing an order with a hold on its pieces, releasing it, and recreating a lost one.

use sqlx::PgConnection;

use super::cart::Cart;
use super::lines::{lock_lines, sum, too_much};
use super::shipping::Zone;
use super::{Channel, Line, Order, Status, store};
use crate::error::{Error, LineError, Result};
use crate::products;
use crate::types::ids::{OrderId, ProductId};
use crate::types::money::{Cents, Currency};

/// A newly placed order with the line data that Stripe needs.
pub struct PlacedOrder {
    pub order: Order,
    pub lines: Vec<store::PlacedLine>,
}

/// Outcome of placing an order.
pub enum Placement {
    Placed(Box<PlacedOrder>),
    /// No order is placed: these lines cannot be bought.
    Unavailable(Vec<LineError>),
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
    let ids: Vec<ProductId> = cart.quantities().into_keys().collect();
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
/// The replaced order is released even when the cart cannot be bought. The caller commits either way.
///
/// # Errors
/// 400 when the sum exceeds the largest amount.
pub async fn place(
    conn: &mut PgConnection,
    cart: &Cart,
    terms: CheckoutTerms,
    replaces: Option<OrderId>,
) -> Result<Placement> {
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
    let wanted = cart.quantities();
    let mut ids: Vec<ProductId> = wanted.keys().cloned().collect();
    // One lock for the old and the new pieces: in two steps, two carts could take them in opposite orders and deadlock.
    ids.extend(freed.iter().map(|(id, _)| id.clone()));
    let mut locks = products::lock(conn, &ids).await?;
    // Released even if the new cart cannot be bought.
    if let Some(order) = &replaced {
        products::release(conn, &freed).await?;
        let note = "replaced by a new checkout";
        store::set_status(conn, order, Status::Cancelled, "shopper", note).await?;
        // The products were read before the release.
        for (id, quantity) in &freed {
            if let Some(lock) = locks.get_mut(id) {
                lock.reserved -= quantity;
            }
        }
    }

    let line_errors = cart.check(&locks, terms.currency);
    if !line_errors.is_empty() {
        return Ok(Placement::Unavailable(line_errors));
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
        discount: Cents::ZERO,
        payment_method: None,
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
    let placed = PlacedOrder { order, lines };
    Ok(Placement::Placed(Box::new(placed)))
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

/// Recreates a lost order as a released order; [`pay`](super::pay) then checks whether its pieces are still in stock. Returns
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
        discount: Cents::ZERO,
        payment_method: None,
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
