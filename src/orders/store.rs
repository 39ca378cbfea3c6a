//! SQL of orders.

mod customer_data;
mod lines;
mod lists;
mod settlement;

pub use customer_data::{customer_note, erase_customer, lock_of_customer, set_customer_note};
pub use lines::{
    Restock, count_shipments, count_since_shipped, delete_shipment, find_restock, find_shipment,
    held_lines, insert_restock, insert_shipment, last_carrier, lines, not_returned, order_lines,
    price_only_line, quantities, replace_shipment, sum_of_lines,
};
pub(super) use lists::matches;
pub use lists::{
    ExportedLine, ExportedOrder, FoundCustomer, LabelOrder, OrderFilter, SearchTerms, add_lines,
    list, list_by_email, list_for_labels, list_lines, list_paid, search_customers,
};
pub use settlement::{
    PaidPrice, adopt_payment, choose_shipping, set_paid, set_price, set_processing,
};

use serde_json::Value;
use sqlx::PgConnection;

use super::disputes::DisputeState;
use super::shipping::Zone;
use super::{Channel, Line, Order, PaymentMethod, Status, TimelineEntry};
use crate::error::Result;
use crate::types::ids::{OrderId, OrderKey};
use crate::types::money::Cents;

/// All columns of an order.
macro_rules! columns {
    () => {
        concat!(
            "id, number, status, channel, is_custom_order, currency, subtotal, discount, shipping, tax, total, refunded,
             payment_method, email, customer_name, phone, shipping_name, shipping_address, shipping_zone, outside_zone,
             dispute, created_at, paid_at, processing_since, refund_failed_at, erased_at, corrected,
             payment_unrecorded, ",
            crate::review_items::open_column!("r.order_id = orders.id")
        )
    };
}
pub(super) use columns;

/// Condition on a row of `orders`: a full refund is made or planned. Counts the refunds reported by Stripe and those
/// not yet sent to it.
macro_rules! refunded_in_full {
    () => {
        "(orders.total > 0 and orders.total <= (
             select orders.refunded + coalesce(sum(r.amount) filter (where r.state = 'planned'), 0)
             from payments p
             join refunds r on r.payment_id = p.id
             where p.order_id = orders.id
               and p.outcome = 'settled'))"
    };
}
pub(super) use refunded_in_full;

/// Condition on a row of `orders`: it waits to be packed. Custom orders are shipped from their own page.
macro_rules! to_pack {
    () => {
        concat!(
            "(orders.status = 'paid'
              and orders.channel <> 'custom_order'
              and exists (select from order_lines l
                          where l.order_id = orders.id and l.quantity > l.restocked + l.shipped)
              and not ",
            refunded_in_full!(),
            ")"
        )
    };
}
pub(super) use to_pack;

/// A line of a new order, with its Stripe price if it has one.
#[derive(Clone, Debug)]
pub struct PlacedLine {
    pub line: Line,
    pub stripe_price: Option<String>,
}

/// An order to insert. `actor` and `note` go into its first timeline entry.
pub struct NewOrder<'a> {
    pub id: OrderId,
    pub status: Status,
    pub channel: Channel,
    pub currency: &'a str,
    pub subtotal: Cents,
    pub discount: Cents,
    pub shipping: Cents,
    pub total: Cents,
    pub payment_method: Option<PaymentMethod>,
    pub zone: Option<Zone>,
    pub email: Option<&'a str>,
    pub customer_name: Option<&'a str>,
    pub actor: &'a str,
    pub note: &'a str,
}

/// A customer as an order stores them.
pub struct Customer {
    pub customer_name: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub shipping_name: Option<String>,
    pub shipping_address: Option<Value>,
}

/// Serializes the creation of orders with this id. Callers choose the id, so two may create it at once.
pub async fn lock_new(conn: &mut PgConnection, id: OrderId) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('order ' || $1::text, 0))")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Inserts an order with its lines and its first timeline entry in one round trip.
pub async fn insert<'a>(
    conn: &mut PgConnection,
    new: &NewOrder<'_>,
    lines: impl Iterator<Item = &'a Line>,
) -> Result<Order> {
    let (mut ids, mut names, mut images, mut prices, mut quantities) =
        (vec![], vec![], vec![], vec![], vec![]);
    for line in lines {
        ids.push(&line.product_id);
        names.push(line.name.as_str());
        images.push(line.image.as_deref());
        prices.push(line.unit_price);
        quantities.push(line.quantity);
    }
    // A delivered order is a sale by hand: its lines are shipped from the start, so nothing of it waits to be packed.
    let order = sqlx::query_as(
        concat!(
            "with placed as (
             insert into orders (id, status, channel, is_custom_order, currency, subtotal, shipping, total, shipping_zone,
                                 email, customer_name, discount, payment_method, paid_at)
             values ($1, $2, $3, $3 = 'custom_order', $4, $5, $6, $7, $8, $9, $10, $18, $19,
                     case when $2 in ('paid', 'delivered') then now() end)
             returning *
         ),
         line as (
             insert into order_lines (order_id, position, product_id, name, image, unit_price, quantity, shipped)
             select $1, line.position, line.id, line.name, line.image, line.price, line.quantity,
                    case when $2 = 'delivered' then line.quantity else 0 end
             from unnest($11::text[], $12::text[], $13::text[], $14::bigint[], $15::integer[])
                  with ordinality as line (id, name, image, price, quantity, position)
         ),
         event as (
             insert into order_events (order_id, kind, to_status, actor, note)
             values ($1, 'placed', $2, $16, $17)
         )
         select ",
            columns!(),
            "
         from placed as orders"
        ),
    )
    .bind(new.id)
    .bind(new.status)
    .bind(new.channel)
    .bind(new.currency)
    .bind(new.subtotal)
    .bind(new.shipping)
    .bind(new.total)
    .bind(new.zone)
    .bind(new.email)
    .bind(new.customer_name)
    .bind(ids)
    .bind(names)
    .bind(images)
    .bind(prices)
    .bind(quantities)
    .bind(new.actor)
    .bind(new.note)
    .bind(new.discount)
    .bind(new.payment_method)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// Payment method of the latest order that notes one.
pub async fn last_payment_method(conn: &mut PgConnection) -> Result<Option<PaymentMethod>> {
    let method = sqlx::query_scalar(
        "select payment_method
         from orders
         where payment_method is not null
         order by created_at desc
         limit 1",
    )
    .fetch_optional(conn)
    .await?;
    Ok(method)
}

/// Locks an order until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: OrderId) -> Result<Option<Order>> {
    let order = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from orders
         where id = $1
         for update"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(order)
}

/// Reads an order without a lock. A change needs [`lock`].
pub async fn find(conn: &mut PgConnection, id: OrderId) -> Result<Option<Order>> {
    let order = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from orders
         where id = $1"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(order)
}

/// Finds an order's id from an id or a number such as `SB-1042`. An id is not looked up.
pub async fn find_id(conn: &mut PgConnection, text: &str) -> Result<Option<OrderId>> {
    let number = match OrderKey::parse(text) {
        None => return Ok(None),
        Some(OrderKey::Id(id)) => return Ok(Some(id)),
        Some(OrderKey::Number(number)) => number,
    };
    let id = sqlx::query_scalar("select id from orders where number = $1")
        .bind(number)
        .fetch_optional(conn)
        .await?;
    Ok(id)
}

/// Returns true when a full refund of the order is made or planned.
pub async fn is_refunded_in_full(conn: &mut PgConnection, id: OrderId) -> Result<bool> {
    let is_refunded = sqlx::query_scalar(concat!(
        "select ",
        refunded_in_full!(),
        " from orders where id = $1"
    ))
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(is_refunded)
}

/// Timeline of an order, oldest first; empty if it does not exist.
pub async fn timeline(conn: &mut PgConnection, id: OrderId) -> Result<Vec<TimelineEntry>> {
    let entries = sqlx::query_as(
        "select kind, from_status, to_status, actor, note, created_at
         from order_events
         where order_id = $1
         order by id",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(entries)
}

/// Moves a locked order to another status, and writes the move to its timeline. An illegal move is a bug.
pub async fn set_status(
    conn: &mut PgConnection,
    order: &Order,
    next: Status,
    actor: &str,
    note: &str,
) -> Result<Order> {
    legal(order, next)?;
    let order = sqlx::query_as(concat!(
        "with event as (
             insert into order_events (order_id, kind, from_status, to_status, actor, note)
             values ($1, 'status', $2, $3, $4, $5)
         )
         update orders
         set status = $3, updated_at = now()
         where id = $1
           and status = $2
         returning ",
        columns!(),
    ))
    .bind(order.id)
    .bind(order.status)
    .bind(next)
    .bind(actor)
    .bind(note)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// Stores the corrected customer of a locked order, and which columns were corrected.
pub async fn set_customer(
    conn: &mut PgConnection,
    id: OrderId,
    customer: &Customer,
    changed: &[&str],
) -> Result<Order> {
    let order = sqlx::query_as(concat!(
        "update orders
         set email = $2, customer_name = $3, phone = $4, shipping_name = $5, shipping_address = $6,
             corrected = array(select unnest(corrected) union select unnest($7::text[])),
             updated_at = now()
         where id = $1
         returning ",
        columns!(),
    ))
    .bind(id)
    .bind(&customer.email)
    .bind(&customer.customer_name)
    .bind(&customer.phone)
    .bind(&customer.shipping_name)
    .bind(&customer.shipping_address)
    .bind(changed)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// Stores whether the address of a locked order is outside the zone that was paid.
pub async fn set_outside_zone(
    conn: &mut PgConnection,
    id: OrderId,
    outside_zone: bool,
) -> Result<Order> {
    let order = sqlx::query_as(concat!(
        "update orders set outside_zone = $2, updated_at = now() where id = $1 returning ",
        columns!(),
    ))
    .bind(id)
    .bind(outside_zone)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

fn legal(order: &Order, next: Status) -> Result<()> {
    if order.status.may_become(next) {
        return Ok(());
    }
    let (from, to) = (order.status.as_str(), next.as_str());
    Err(anyhow::anyhow!("order {} may not go from {from} to {to}", order.id).into())
}

/// Sets the sum of the order's refunds, in its currency. The status does not change.
pub async fn set_refunded(
    conn: &mut PgConnection,
    order: &Order,
    refunded: Cents,
) -> Result<Order> {
    let order = sqlx::query_as(concat!(
        "update orders
         set refunded = $2, updated_at = now()
         where id = $1
         returning ",
        columns!(),
    ))
    .bind(order.id)
    .bind(refunded)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// Keeps that a locked order is to be shipped after all, because the refund of all of its money failed.
pub async fn set_refund_failed(conn: &mut PgConnection, id: OrderId) -> Result<Order> {
    let order = sqlx::query_as(concat!(
        "update orders
         set refund_failed_at = now(), updated_at = now()
         where id = $1
         returning ",
        columns!(),
    ))
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// Status of a refunded order before its refund.
pub async fn status_before_refund(conn: &mut PgConnection, id: OrderId) -> Result<Status> {
    let status = sqlx::query_scalar(
        "select from_status
         from order_events
         where order_id = $1
           and to_status = 'refunded'
         order by id desc
         limit 1",
    )
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(status)
}

pub async fn set_dispute(
    conn: &mut PgConnection,
    id: OrderId,
    state: Option<&DisputeState>,
) -> Result<()> {
    sqlx::query("update orders set dispute = $2, updated_at = now() where id = $1")
        .bind(id)
        .bind(state.map(DisputeState::as_str))
        .execute(conn)
        .await?;
    Ok(())
}

/// Adds a timeline entry that changes no status.
pub async fn add_timeline_entry(
    conn: &mut PgConnection,
    id: OrderId,
    kind: &str,
    actor: &str,
    note: &str,
) -> Result<()> {
    sqlx::query("insert into order_events (order_id, kind, actor, note) values ($1, $2, $3, $4)")
        .bind(id)
        .bind(kind)
        .bind(actor)
        .bind(note)
        .execute(conn)
        .await?;
    Ok(())
}

/// Counts the timeline entries of a kind.
pub async fn count_timeline_entries(
    conn: &mut PgConnection,
    id: OrderId,
    kind: &str,
) -> Result<i64> {
    let count =
        sqlx::query_scalar("select count(*) from order_events where order_id = $1 and kind = $2")
            .bind(id)
            .bind(kind)
            .fetch_one(conn)
            .await?;
    Ok(count)
}

/// Restores an order's former number, unless another order has it by now. New orders get higher numbers.
pub async fn renumber(conn: &mut PgConnection, id: OrderId, number: i64) -> Result<Order> {
    // Moves the sequence only forward: other transactions may take numbers at the same time.
    sqlx::query("select setval('order_number', $1) from order_number where last_value < $1")
        .bind(number)
        .execute(&mut *conn)
        .await?;
    let order = sqlx::query_as(concat!(
        "update orders
         set number = case when exists (select from orders where number = $2) then number else $2 end
         where id = $1
         returning ",
        columns!()
    ))
    .bind(id)
    .bind(number)
    .fetch_one(conn)
    .await?;
    Ok(order)
}
