//! Locked custom orders: their state for the audit log, and refusals that name it. Lock order: the custom order's row,
//! which also guards its quotes, then its order.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{CustomOrder, Quote, store};
use crate::audit::{self, Actor};
use crate::error::{Code, Error, Result};
use crate::types::ids::{CustomOrderId, OrderId, QuoteId};

/// A custom order locked for a change by a user or token.
pub struct LockedCustomOrder {
    pub custom_order: CustomOrder,
    /// State before the change.
    before: Value,
}

impl LockedCustomOrder {
    /// Locks a custom order. The second of two concurrent changes waits here, and sees the result of the first.
    ///
    /// # Errors
    /// 404 when there is no such custom order; 409 `customer_erased`.
    pub async fn lock(conn: &mut PgConnection, id: CustomOrderId) -> Result<LockedCustomOrder> {
        let custom_order = locked(conn, id).await?;
        custom_order.check_customer_known()?;
        let before = audit_snapshot(&custom_order, &store::quotes(conn, id).await?);
        Ok(LockedCustomOrder {
            custom_order,
            before,
        })
    }

    /// Writes the audit entry of the change and returns the custom order after it. `more` holds facts that its state
    /// does not show.
    ///
    /// # Errors
    /// As [`audit::record`].
    pub async fn record(
        self,
        conn: &mut PgConnection,
        actor: &Actor,
        action: &'static str,
        more: Value,
    ) -> Result<CustomOrder> {
        let id = self.custom_order.id;
        let custom_order = store::find(conn, id)
            .await?
            .ok_or(Error::NotFound("CustomOrder"))?;
        let mut after = audit_snapshot(&custom_order, &store::quotes(conn, id).await?);
        if let (Value::Object(after), Value::Object(more)) = (&mut after, more) {
            after.extend(more);
        }
        let object = format!("custom_order:{}", custom_order.display_number());
        audit::record(conn, actor, action, &object, self.before, after).await?;
        Ok(custom_order)
    }
}

/// Writes the audit entry of a change that leaves the custom order as `after`, and its quotes alone. `more` holds facts
/// that it does not show.
///
/// # Errors
/// As [`audit::record`].
pub async fn record(
    conn: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    (before, after): (&CustomOrder, &CustomOrder),
    more: Value,
) -> Result<()> {
    let (was, mut is) = (
        json!({"status": before.status}),
        json!({"status": after.status}),
    );
    if let (Value::Object(is), Value::Object(more)) = (&mut is, more) {
        is.extend(more);
    }
    let object = format!("custom_order:{}", after.display_number());
    audit::record(conn, actor, action, &object, was, is).await
}

/// State of a custom order and its quotes for the audit log.
fn audit_snapshot(custom_order: &CustomOrder, quotes: &[Quote]) -> Value {
    let quotes: Vec<Value> = quotes
        .iter()
        .map(|quote| {
            let total = quote.total().in_currency(&quote.currency);
            json!({"total": total, "state": quote.state})
        })
        .collect();
    json!({
        "status": custom_order.status,
        "quotes": quotes,
    })
}

/// Locks a custom order.
///
/// # Errors
/// 404 when there is no such custom order.
pub async fn locked(conn: &mut PgConnection, id: CustomOrderId) -> Result<CustomOrder> {
    store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("CustomOrder"))
}

/// Locks the custom order of a quote.
///
/// # Errors
/// 404 when there is no such quote.
pub async fn custom_order_of(conn: &mut PgConnection, quote: QuoteId) -> Result<CustomOrder> {
    let id = store::find_custom_order_of_quote(conn, quote)
        .await?
        .ok_or(Error::NotFound("Quote"))?;
    locked(conn, id).await
}

/// Locks the custom order behind `order`, if any. Call it before locking the order (see lock order).
pub async fn lock_of(conn: &mut PgConnection, order: OrderId) -> Result<Option<CustomOrder>> {
    match store::find_id_by_order(conn, order).await? {
        Some(id) => store::lock(conn, id).await,
        None => Ok(None),
    }
}

/// Refusal of a change that the state of the custom order does not allow.
pub fn refused(code: Code, custom_order: &CustomOrder, what: &str) -> Error {
    Error::Conflict(
        code,
        format!(
            "{} is {} and {what}.",
            custom_order.display_number(),
            custom_order.status.as_str()
        ),
    )
}
