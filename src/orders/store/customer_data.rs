//! SQL of notes about customers, and of the deletion of their data.

use sqlx::PgConnection;

use super::columns;
use crate::error::Result;
use crate::orders::Order;
use crate::types::ids::OrderId;

/// Returns the owner's note about the customer with this email address.
///
/// # Errors
/// Database errors only.
pub async fn customer_note(conn: &mut PgConnection, email: &str) -> Result<Option<String>> {
    let sql = "select text from customer_notes where email = lower($1)";
    let note = sqlx::query_scalar(sql).bind(email);
    Ok(note.fetch_optional(conn).await?)
}

/// Replaces the note about a customer. An empty one is deleted.
pub async fn set_customer_note(conn: &mut PgConnection, email: &str, text: &str) -> Result<()> {
    let sql = match text {
        "" => "delete from customer_notes where email = lower($1) and $2 = ''",
        _ => {
            "insert into customer_notes (email, text)
             values (lower($1), $2)
             on conflict (email) do update set text = excluded.text, updated_at = now()"
        }
    };
    sqlx::query(sql)
        .bind(email)
        .bind(text)
        .execute(conn)
        .await?;
    Ok(())
}

/// Locks the orders under an email address, and these, in id order.
///
/// # Errors
/// Database errors only.
pub async fn lock_of_customer(
    conn: &mut PgConnection,
    email: &str,
    others: &[OrderId],
) -> Result<Vec<Order>> {
    let orders = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from orders
         where lower(email) = lower($1)
            or id = any($2)
         order by id
         for update"
    ))
    .bind(email)
    .bind(others)
    .fetch_all(conn)
    .await?;
    Ok(orders)
}

/// Deletes the customer's data of locked orders: name, addresses, phone, tracking, images of shipments and of pieces made
/// to order, and words about them. Amounts, pieces and dates stay, and of the address the state and the country. What Stripe
/// reports later does not bring anything back, except for an order that was never paid: a late payment is another purchase.
/// Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn erase_customer(conn: &mut PgConnection, ids: &[OrderId]) -> Result<()> {
    for sql in [
        "update orders
         set email = null, customer_name = null, phone = null, shipping_name = null,
             shipping_address = nullif(jsonb_strip_nulls(jsonb_build_object(
                 'state', shipping_address -> 'state', 'country', shipping_address -> 'country')), '{}'),
             corrected = case when paid_at is null then corrected
                              else '{email,customer_name,phone,shipping_name,shipping_address}' end,
             erased_at = case when paid_at is not null then coalesce(erased_at, now()) end,
             updated_at = now()
         where id = any($1)",
        // A piece made to order has the image that the customer sent.
        "update order_lines set image = null where order_id = any($1) and product_id is null",
        "delete from shipment_images where order_id = any($1)",
        "update shipments set tracking_number = null, tracking_url = null where order_id = any($1)",
        // Stripe's ids and amounts stay; other words may be about the customer or the shipment.
        "update order_events
         set note = ''
         where order_id = any($1)
           and (kind not in ('status', 'payment', 'dispute') or 'shipped' in (from_status, to_status))",
        "update restocks set reason = '' where order_id = any($1)",
    ] {
        sqlx::query(sql).bind(ids).execute(&mut *conn).await?;
    }
    Ok(())
}
