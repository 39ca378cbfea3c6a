//! SQL of the deletion of customers' data.

use sqlx::PgConnection;

use super::columns;
use crate::custom_orders::CustomOrder;
use crate::error::Result;
use crate::types::ids::CustomOrderId;

/// Locks the custom orders under an email address, in id order.
pub async fn lock_of_customer(conn: &mut PgConnection, email: &str) -> Result<Vec<CustomOrder>> {
    let custom_orders = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from custom_orders
         where lower(email) = lower($1)
         order by id
         for update"
    ))
    .bind(email)
    .fetch_all(conn)
    .await?;
    Ok(custom_orders)
}

/// Deletes the customer's data of locked custom orders.
pub async fn erase_customer(conn: &mut PgConnection, ids: &[CustomOrderId]) -> Result<()> {
    for sql in [
        "update custom_orders
         set name = 'Deleted', email = '', description = '', colors = null, erased_at = coalesce(erased_at, now()),
             updated_at = now()
         where id = any($1)",
        "delete from custom_order_images where custom_order_id = any($1)",
        "update custom_order_events set note = '' where custom_order_id = any($1)",
        "update review_items
         set text = 'Deleted with the data of the customer.', resolution = null
         where custom_order_id = any($1)",
    ] {
        sqlx::query(sql).bind(ids).execute(&mut *conn).await?;
    }
    Ok(())
}
