//! SQL of an order's lines: sold, put back, and shipped.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::refunded_in_full;
use crate::error::Result;
use crate::orders::{Line, OrderLine, Restocked, Shipment};
use crate::types::ids::{OrderId, ProductId, RestockId};
use crate::types::money::Cents;

/// The lines of an order, in the order placed.
pub async fn lines(conn: &mut PgConnection, id: OrderId) -> Result<Vec<Line>> {
    let lines = sqlx::query_as(
        "select product_id, name, image, unit_price, quantity
         from order_lines
         where order_id = $1
         order by position",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(lines)
}

/// Price of all lines of an order.
pub async fn sum_of_lines(conn: &mut PgConnection, id: OrderId) -> Result<Cents> {
    let sum = sqlx::query_scalar(
        "select coalesce(sum(unit_price * quantity), 0)::bigint from order_lines where order_id = $1",
    )
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(sum)
}

/// Sets the price of an order's piece, if it is the only one.
pub async fn price_only_line(conn: &mut PgConnection, id: OrderId, price: Cents) -> Result<()> {
    sqlx::query(
        "update order_lines
         set unit_price = $2
         where order_id = $1
           and (select sum(quantity) from order_lines all_lines where all_lines.order_id = $1) = 1",
    )
    .bind(id)
    .bind(price)
    .execute(conn)
    .await?;
    Ok(())
}

/// The lines of an order with their fulfillment and stock counts, in the order placed.
pub async fn order_lines(conn: &mut PgConnection, id: OrderId) -> Result<Vec<OrderLine>> {
    let lines = sqlx::query_as(concat!(
        "select l.product_id, l.name, l.image, l.unit_price, l.quantity, l.restocked, l.shipped, l.returned,
                case when orders.status = 'paid' and not ",
        refunded_in_full!(),
        "
                     then l.quantity - l.restocked - l.shipped
                     else 0 end as to_ship
         from orders
         join order_lines l on l.order_id = orders.id
         where orders.id = $1
         order by l.position"
    ))
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(lines)
}

/// Pieces of each line that can still return to stock, in id order. Empty for an order that never took stock.
pub async fn not_returned(conn: &mut PgConnection, id: OrderId) -> Result<Vec<(ProductId, i32)>> {
    let lines = sqlx::query_as(
        "select l.product_id, l.quantity - l.restocked - l.returned
         from orders o
         join order_lines l on l.order_id = o.id
         where o.id = $1
           and o.paid_at is not null
           and l.product_id is not null
           and l.quantity > l.restocked + l.returned
         order by l.product_id",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(lines)
}

/// Product and quantity of each line that takes stock, in id order.
pub async fn quantities(conn: &mut PgConnection, id: OrderId) -> Result<Vec<(ProductId, i32)>> {
    let lines = sqlx::query_as(
        "select product_id, quantity
         from order_lines
         where order_id = $1
           and product_id is not null
         order by product_id",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(lines)
}

/// Pieces held by a pending order; empty when it is no longer pending.
pub async fn held_lines(conn: &mut PgConnection, id: OrderId) -> Result<Vec<(ProductId, i32)>> {
    let lines = sqlx::query_as(
        "select l.product_id, l.quantity
         from orders o
         join order_lines l on l.order_id = o.id
         where o.id = $1
           and o.status = 'pending'
           and l.product_id is not null",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(lines)
}

/// A return of pieces as it was asked for.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Restock {
    pub order_id: OrderId,
    #[sqlx(json)]
    pub pieces: Vec<Restocked>,
    pub reason: String,
}

/// The return of pieces with this id.
pub async fn find_restock(conn: &mut PgConnection, id: RestockId) -> Result<Option<Restock>> {
    let restock = sqlx::query_as("select order_id, pieces, reason from restocks where id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await?;
    Ok(restock)
}

/// Keeps a return of pieces. False where its id was used a moment ago.
pub async fn insert_restock(
    conn: &mut PgConnection,
    id: RestockId,
    restock: &Restock,
    actor: &str,
) -> Result<bool> {
    let done = sqlx::query(
        "insert into restocks (id, order_id, pieces, reason, actor)
         values ($1, $2, $3, $4, $5)
         on conflict (id) do nothing",
    )
    .bind(id)
    .bind(restock.order_id)
    .bind(Json(&restock.pieces))
    .bind(&restock.reason)
    .bind(actor)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Stores the shipment of an order with its images, and returns the time of shipping.
pub async fn insert_shipment(
    conn: &mut PgConnection,
    id: OrderId,
    shipment: &Shipment,
) -> Result<DateTime<Utc>> {
    let shipped_at = sqlx::query_scalar(
        "with image as (
             insert into shipment_images (order_id, position, image_id)
             select $1, image.position, image.id
             from unnest($5::text[]) with ordinality as image (id, position)
         )
         insert into shipments (order_id, carrier, tracking_number, tracking_url)
         values ($1, $2, $3, $4)
         returning shipped_at",
    )
    .bind(id)
    .bind(&shipment.carrier)
    .bind(&shipment.tracking_number)
    .bind(&shipment.tracking_url)
    .bind(&shipment.images)
    .fetch_one(conn)
    .await?;
    Ok(shipped_at)
}

/// Replaces what is stored of a shipment, but for its time.
pub async fn replace_shipment(
    conn: &mut PgConnection,
    id: OrderId,
    shipment: &Shipment,
) -> Result<()> {
    // By a statement of its own: the new images may take the positions of the old ones.
    sqlx::query("delete from shipment_images where order_id = $1")
        .bind(id)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "with image as (
             insert into shipment_images (order_id, position, image_id)
             select $1, image.position, image.id
             from unnest($5::text[]) with ordinality as image (id, position)
         )
         update shipments
         set carrier = $2, tracking_number = $3, tracking_url = $4
         where order_id = $1",
    )
    .bind(id)
    .bind(&shipment.carrier)
    .bind(&shipment.tracking_number)
    .bind(&shipment.tracking_url)
    .bind(&shipment.images)
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes the shipment of an order. A trigger counts its pieces as not shipped.
pub async fn delete_shipment(conn: &mut PgConnection, id: OrderId) -> Result<()> {
    sqlx::query("delete from shipments where order_id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Counts how often an order was shipped, mistakes included.
pub async fn count_shipments(conn: &mut PgConnection, id: OrderId) -> Result<i64> {
    let count = sqlx::query_scalar(
        "select count(*)
         from order_events
         where order_id = $1
           and from_status = 'paid'
           and to_status = 'shipped'",
    )
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// Counts the timeline entries of a kind since an order was shipped last.
pub async fn count_since_shipped(conn: &mut PgConnection, id: OrderId, kind: &str) -> Result<i64> {
    let count = sqlx::query_scalar(
        "select count(*)
         from order_events
         where order_id = $1
           and kind = $2
           and id > coalesce(
               (select max(id)
                from order_events
                where order_id = $1
                  and from_status = 'paid'
                  and to_status = 'shipped'), 0)",
    )
    .bind(id)
    .bind(kind)
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// The carrier of the last shipment of the shop, custom orders included.
pub async fn last_carrier(conn: &mut PgConnection) -> Result<Option<String>> {
    let carrier =
        sqlx::query_scalar("select carrier from shipments order by shipped_at desc limit 1")
            .fetch_optional(conn)
            .await?;
    Ok(carrier)
}

/// The shipment of an order, if shipped.
pub async fn find_shipment(conn: &mut PgConnection, id: OrderId) -> Result<Option<Shipment>> {
    let shipment = sqlx::query_as(
        "select carrier, tracking_number, tracking_url, shipped_at,
                array(select image_id from shipment_images where order_id = $1 order by position) as images
         from shipments
         where order_id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(shipment)
}
