//! SQL of the deletion of customers' data.

use sqlx::PgConnection;

use super::columns;
use crate::custom_orders::CustomOrder;
use crate::error::Result;
use crate::types::ids::CustomOrderId;

/// Locks the custom orders under an email address, and those whose order was paid under it, in id order.
///
/// # Errors
/// Database errors only.
pub async fn lock_of_customer(conn: &mut PgConnection, email: &str) -> Result<Vec<CustomOrder>> {
    let custom_orders = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from custom_orders
         where lower(email) = lower($1)
            or order_id in (select o.id from orders o where lower(o.email) = lower($1))
         order by id
         for update"
    ))
    .bind(email)
    .fetch_all(conn)
    .await?;
    Ok(custom_orders)
}

/// Deletes the customer's data of locked custom orders: name, email, the request with its images, quotes' words, and all that
/// was written. Amounts and dates stay. Returns false, and changes nothing, while a payment link is made or open. Safe to
/// repeat.
///
/// # Errors
/// Database errors only.
pub async fn erase_customer(conn: &mut PgConnection, ids: &[CustomOrderId]) -> Result<bool> {
    let has_link: bool = sqlx::query_scalar(
        "select exists (select
                        from custom_order_quotes
                        where custom_order_id = any($1)
                          and state in ('asking', 'live', 'closing'))",
    )
    .bind(ids)
    .fetch_one(&mut *conn)
    .await?;
    if has_link {
        return Ok(false);
    }
    for sql in [
        "update custom_orders
         set name = 'Deleted', email = '', description = '', colors = null, erased_at = coalesce(erased_at, now()),
             updated_at = now()
         where id = any($1)",
        "delete from custom_order_images where custom_order_id = any($1)",
        "delete from custom_order_quotes where custom_order_id = any($1) and state = 'draft'",
        "update custom_order_quotes
         set description = '', stripe_request = '{}', pending_action = null, last_error = null
         where custom_order_id = any($1)",
        "update custom_order_events set note = '' where custom_order_id = any($1)",
    ] {
        sqlx::query(sql).bind(ids).execute(&mut *conn).await?;
    }
    Ok(true)
}
