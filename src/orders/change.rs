//! One change of one order by the owner or an API token, from its beginning to its audit entry.

use serde_json::{Value, json};
use sqlx::{PgPool, Postgres, Transaction};

use super::routes::{OrderView, resolve, view};
use super::{Order, store};
use crate::audit::{self, Actor};
use crate::error::{Error, Result};

/// A change in progress. Dropping it without [`Change::end`] rolls it back.
pub struct Change {
    /// The transaction of the change.
    pub tx: Transaction<'static, Postgres>,
    /// The user or token that makes the change.
    pub actor: Actor,
    /// The order before the change. It is not locked, because some changes lock its payment first.
    pub before: Order,
}

impl Change {
    /// Begins a change of the order with this id or number.
    ///
    /// # Errors
    /// 404 when there is no such order.
    pub async fn begin(db: &PgPool, actor: Actor, id: &str) -> Result<Change> {
        let mut tx = db.begin().await?;
        let id = resolve(&mut tx, id).await?;
        let before = store::find(&mut tx, id)
            .await?
            .ok_or(Error::NotFound("Order"))?;
        Ok(Change { tx, actor, before })
    }

    /// Writes the audit entry, unless nothing changed, and commits. `more` holds facts that the order itself does not
    /// show.
    ///
    /// # Errors
    /// Database errors only; nothing is changed then.
    pub async fn end(mut self, action: &'static str, more: Value) -> Result<OrderView> {
        let view = view(&mut self.tx, self.before.id).await?;
        let mut after = audit_snapshot(&view.order);
        // Changes that others committed since `begin` do not belong in this entry.
        let before = match store::is_changed_here(&mut self.tx, self.before.id).await? {
            true => audit_snapshot(&self.before),
            false => after.clone(),
        };
        if before != after || !more.is_null() {
            if let (Value::Object(snapshot), Value::Object(more)) = (&mut after, more) {
                snapshot.extend(more);
            }
            let object = format!("order:{}", self.before.display_number());
            audit::record(&mut self.tx, &self.actor, action, &object, before, after).await?;
        }
        self.tx.commit().await?;
        Ok(view)
    }
}

fn audit_snapshot(order: &Order) -> Value {
    json!({
        "status": order.status,
        "refunded": order.refunded,
    })
}
