//! SQL of the deletion of a customer's emails.

use sqlx::PgConnection;

use crate::error::Result;
use crate::types::ids::{CustomOrderId, OrderId};

/// Empties the emails about these orders and custom orders and those to this address, and deletes those that nobody got.
/// Returns false, and changes nothing, while one is being sent. Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn erase(
    conn: &mut PgConnection,
    email: &str,
    orders: &[OrderId],
    custom_orders: &[CustomOrderId],
) -> Result<bool> {
    // Locked first: a worker may be taking one of them from the queue.
    let states: Vec<String> = sqlx::query_scalar(
        "select state
         from emails
         where order_id = any($1)
            or custom_order_id = any($2)
            or lower(recipient) = lower($3)
         order by id
         for update",
    )
    .bind(orders)
    .bind(custom_orders)
    .bind(email)
    .fetch_all(&mut *conn)
    .await?;
    if states.iter().any(|state| state == "sending") {
        return Ok(false);
    }
    for sql in [
        "delete from emails
         where (order_id = any($1) or custom_order_id = any($2) or lower(recipient) = lower($3))
           and sent_at is null",
        "update emails
         set state = 'sent', contents = '{}', last_error = null, withdrawn_at = coalesce(withdrawn_at, now()),
             recipient = case when recipient = 'shop' then recipient else '' end
         where order_id = any($1) or custom_order_id = any($2) or lower(recipient) = lower($3)",
    ] {
        sqlx::query(sql)
            .bind(orders)
            .bind(custom_orders)
            .bind(email)
            .execute(&mut *conn)
            .await?;
    }
    Ok(true)
}
