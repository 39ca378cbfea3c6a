//! Sales made elsewhere, such as at a market stall: recorded by hand, and undone.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::email_data::email_data;
use super::lines::{lock_lines, sum};
use super::service::record;
use super::{Channel, Line, Order, PaymentMethod, Status, restocks, store};
use crate::app::App;
use crate::audit::{self, Actor};
use crate::emails::{self, About, Email};
use crate::error::{Code, Error, Result};
use crate::products;
use crate::review_items::{self, Kind, NewItem};
use crate::types::ids::{OrderId, ProductId};
use crate::types::money::{Cents, Currency};

/// A sale made elsewhere, such as at a market stall.
pub struct Sale {
    /// The order's id, for callers that may repeat a sale.
    pub id: Option<OrderId>,
    /// Product, quantity, and the unit price where it differs from the product's.
    pub lines: Vec<(ProductId, i32, Option<Cents>)>,
    /// Taken off the sum of the lines.
    pub discount: Cents,
    pub payment_method: Option<PaymentMethod>,
    /// The pieces were not handed over: they are shipped later.
    pub is_to_ship: bool,
    pub email: Option<String>,
    /// The customer gets a receipt by email.
    pub wants_receipt: bool,
    pub customer_name: Option<String>,
    pub note: String,
}

impl Sale {
    /// Checks that an order by hand is this sale.
    fn is(&self, order: &Order, lines: &[Line]) -> bool {
        let of_order = (order.discount, order.payment_method);
        let mut pairs = self.lines.iter().zip(lines);
        of_order == (self.discount, self.payment_method)
            && (&self.email, &self.customer_name) == (&order.email, &order.customer_name)
            && self.lines.len() == lines.len()
            && pairs.all(|((id, quantity, price), line)| {
                line.product_id.as_ref() == Some(id)
                    && line.quantity == *quantity
                    && price.is_none_or(|price| price == line.unit_price)
            })
    }
}

/// Records a sale made elsewhere: a paid order without Stripe, whose stock is taken under the same lock. The order is
/// delivered at once, unless its pieces are to be shipped. Archived and sold-out products can be sold by hand; pieces
/// held by shoppers cannot. A repeated sale with the same id returns the existing order.
///
/// # Errors
/// 400 naming the line for a product that does not exist or has another currency, or naming the discount that is larger
/// than the sum of the lines; 409 `insufficient_inventory`, or `sale_differs` when the id belongs to a different sale.
pub async fn sell(conn: &mut PgConnection, app: &App, sale: &Sale, actor: &Actor) -> Result<Order> {
    let currency = app.config.shop.currency;
    if let Some(id) = sale.id {
        store::lock_new(conn, id).await?;
    }
    let mut wanted: BTreeMap<ProductId, i32> = BTreeMap::new();
    for (id, quantity, _) in &sale.lines {
        *wanted.entry(id.clone()).or_insert(0) += quantity;
    }
    let ids: Vec<ProductId> = wanted.keys().cloned().collect();
    let locks = products::lock(conn, &ids).await?;
    if let Some(order) = find_repeated(conn, sale).await? {
        return Ok(order);
    }
    let lines = lines_of(sale, &wanted, &locks, currency)?;
    let subtotal = sum(lines.iter())?;
    let discount = sale.discount;
    currency
        .check_part(discount)
        .map_err(|wrong| Error::invalid("discount", wrong))?;
    if discount > subtotal {
        return Err(Error::invalid("discount", "is more than the pieces cost"));
    }
    let new = store::NewOrder {
        id: sale.id.unwrap_or_else(OrderId::new),
        status: match sale.is_to_ship {
            true => Status::Paid,
            false => Status::Delivered,
        },
        channel: Channel::Manual,
        currency: currency.code(),
        subtotal,
        discount,
        shipping: Cents::ZERO,
        total: Cents(subtotal.0 - discount.0),
        payment_method: sale.payment_method,
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
    let after = json!({
        "pieces": pieces,
        "discount": order.discount,
        "total": order.total,
        "payment_method": order.payment_method,
    });
    audit::record(conn, actor, "order.sell", &object, Value::Null, after).await?;
    if sale.is_to_ship {
        let cause = format!("address_missing:{}", order.id);
        let item = NewItem::new(
            Kind::AddressMissing,
            cause,
            "nobody said yet where to ship it",
        );
        review_items::flag(conn, order.id, &actor.name, &item).await?;
    }
    send_receipt(conn, app, sale, &order).await?;
    Ok(order)
}

/// Payment method of the latest sale by hand that notes one; cash before the first.
///
/// # Errors
/// Database errors only.
pub async fn last_payment_method(conn: &mut PgConnection) -> Result<PaymentMethod> {
    let method = store::last_payment_method(conn).await?;
    Ok(method.unwrap_or(PaymentMethod::Cash))
}

/// Queues the receipt of a sale, if the customer wants one.
async fn send_receipt(
    conn: &mut PgConnection,
    app: &App,
    sale: &Sale,
    order: &Order,
) -> Result<()> {
    let Some(customer) = sale.email.as_deref().filter(|_| sale.wants_receipt) else {
        return Ok(());
    };
    let email = Email::Receipt {
        order: email_data(conn, app, order).await?,
        paid_with: sale.payment_method.map(|method| method.title().to_owned()),
        is_to_ship: sale.is_to_ship,
    };
    let about = About::order(order.id);
    emails::queue(conn, &email, &order.id.to_string(), customer, about).await?;
    Ok(())
}

/// Finds the order of a sale that was recorded before. The second of two concurrent sales with one id waits for the lock
/// of the id, and finds the order of the first here.
///
/// # Errors
/// 409 `sale_differs` when the id belongs to a different sale.
async fn find_repeated(conn: &mut PgConnection, sale: &Sale) -> Result<Option<Order>> {
    let Some(id) = sale.id else {
        return Ok(None);
    };
    let Some(order) = store::find(conn, id).await? else {
        return Ok(None);
    };
    let known = store::lines(conn, id).await?;
    match order.is_manual() && sale.is(&order, &known) {
        true => Ok(Some(order)),
        false => Err(Error::Conflict(
            Code::SaleDiffers,
            "This sale was already recorded with different contents. Load the page again."
                .to_owned(),
        )),
    }
}

/// The lines of a sale, with the names and prices of their locked products. `wanted` has the pieces of each product over
/// all lines.
fn lines_of(
    sale: &Sale,
    wanted: &BTreeMap<ProductId, i32>,
    locks: &BTreeMap<ProductId, products::LockedProduct>,
    currency: Currency,
) -> Result<Vec<Line>> {
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
    Ok(lines)
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
                "{} was paid through Stripe: refund it instead.",
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
        restocks::restock_locked(conn, actor, id, &pieces).await?;
    }
    let undone = store::set_refunded(conn, &order, order.total).await?;
    let note = "the sale was undone";
    let undone = store::set_status(conn, &undone, Status::Refunded, &actor.name, note).await?;
    let source = format!("address_missing:{id}");
    review_items::settle(conn, &source, &actor.name, note).await?;
    record(conn, actor, "order.undo", (&order, &undone), Value::Null).await?;
    Ok(undone)
}
