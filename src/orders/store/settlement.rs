//! SQL of payments of orders: the price that was paid, the customer that the payment names, the move to `paid`.

use sqlx::PgConnection;

use super::{columns, legal};
use crate::error::Result;
use crate::orders::shipping::Zone;
use crate::orders::{Order, Receipt, Status};
use crate::types::ids::OrderId;
use crate::types::money::Cents;

/// Prices a locked, unpaid order with the shipping rate that its shopper chose.
pub async fn choose_shipping(
    conn: &mut PgConnection,
    order: &Order,
    zone: Zone,
    shipping: Cents,
) -> Result<Order> {
    let order = sqlx::query_as(concat!(
        "update orders
         set shipping_zone = $2, shipping = $3, total = subtotal - discount + $3, updated_at = now()
         where id = $1
         returning ",
        columns!(),
    ))
    .bind(order.id)
    .bind(zone)
    .bind(shipping)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// The price of an order as its payment tells it.
pub struct PaidPrice {
    pub subtotal: Cents,
    pub shipping: Cents,
    pub tax: Cents,
    /// For an order whose zone nobody knew.
    pub zone: Option<Zone>,
}

/// Prices a locked order as its payment says.
pub async fn set_price(conn: &mut PgConnection, id: OrderId, price: &PaidPrice) -> Result<Order> {
    let order = sqlx::query_as(concat!(
        "update orders
         set subtotal = $2, shipping = $3, tax = $4, total = $2 - discount + $3 + $4, shipping_zone = coalesce(shipping_zone, $5),
             updated_at = now()
         where id = $1
         returning ",
        columns!(),
    ))
    .bind(id)
    .bind(price.subtotal)
    .bind(price.shipping)
    .bind(price.tax)
    .bind(price.zone)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// Stores that the payment of a locked order is known, and the customer whom it names, where nobody knew them.
pub async fn adopt_payment(
    conn: &mut PgConnection,
    id: OrderId,
    receipt: &Receipt,
) -> Result<Order> {
    sqlx::query("update orders set payment_unrecorded = false where id = $1")
        .bind(id)
        .execute(&mut *conn)
        .await?;
    set_processing(conn, id, receipt, false).await
}

/// Moves a locked order to `paid` and stores the payment data. What somebody corrected stays.
pub async fn set_paid(
    conn: &mut PgConnection,
    order: &Order,
    receipt: &Receipt,
    outside_zone: bool,
) -> Result<Order> {
    legal(order, Status::Paid)?;
    let order = sqlx::query_as(concat!(
        "with event as (
             insert into order_events (order_id, kind, from_status, to_status, actor, note)
             values ($1, 'status', $2, 'paid', 'stripe', $11)
         )
         update orders
         set status = 'paid', paid_at = now(), processing_since = null, updated_at = now(),
             tax = $3, total = $4, outside_zone = $10,
             email = case when 'email' = any(corrected) then email else $5 end,
             customer_name = case when 'customer_name' = any(corrected) then customer_name else $6 end,
             phone = case when 'phone' = any(corrected) then phone else $7 end,
             shipping_name = case when 'shipping_name' = any(corrected) then shipping_name else $8 end,
             shipping_address = case when 'shipping_address' = any(corrected) then shipping_address else $9 end
         where id = $1
           and status = $2
         returning ",
        columns!(),
    ))
    .bind(order.id)
    .bind(order.status)
    .bind(receipt.tax)
    .bind(receipt.total)
    .bind(&receipt.email)
    .bind(&receipt.customer_name)
    .bind(&receipt.phone)
    .bind(&receipt.shipping_name)
    .bind(&receipt.shipping_address)
    .bind(outside_zone)
    .bind(&receipt.note)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// Stores the customer of a locked order that is not yet paid; values already stored are kept. `is_processing`: a
/// delayed payment is in progress.
pub async fn set_processing(
    conn: &mut PgConnection,
    id: OrderId,
    customer: &Receipt,
    is_processing: bool,
) -> Result<Order> {
    let order = sqlx::query_as(concat!(
        "update orders
         set processing_since = case when $7 then coalesce(processing_since, now()) end, updated_at = now(),
             email = case when 'email' = any(corrected) then email else coalesce(email, $2) end,
             customer_name = case when 'customer_name' = any(corrected) then customer_name
                                  else coalesce(customer_name, $3) end,
             phone = case when 'phone' = any(corrected) then phone else coalesce(phone, $4) end,
             shipping_name = case when 'shipping_name' = any(corrected) then shipping_name
                                  else coalesce(shipping_name, $5) end,
             shipping_address = case when 'shipping_address' = any(corrected) then shipping_address
                                     else coalesce(shipping_address, $6) end
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
    .bind(is_processing)
    .fetch_one(conn)
    .await?;
    Ok(order)
}
