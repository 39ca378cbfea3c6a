//! Notes, review items and audit entries of orders. Lock order: the order's row, then its products in id order.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Order, store};
use crate::audit::{self, Actor};
use crate::error::{Error, Result};
use crate::types::ids::OrderId;

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
/// A field error of `text`; 404 when there is no such order; 409 `customer_erased`.
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
    order.check_customer_known()?;
    store::add_timeline_entry(conn, id, "note", &actor.name, trimmed).await?;
    let more = json!({"note": text});
    record(conn, actor, "order.note", (&order, &order), more).await?;
    Ok(order)
}
