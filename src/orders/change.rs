//! A change of one order by the owner or a program of theirs, from its beginning to its entry in the audit log.

use serde_json::{Value, json};
use sqlx::{PgPool, Postgres, Transaction};

use super::routes::{OrderView, resolve, view};
use super::{Order, store};
use crate::audit::{self, Actor};
use crate::error::{Error, Result};

/// A change under way. Dropped without [`Change::end`], nothing was done.
pub struct Change {
    /// What is done goes through it.
    pub tx: Transaction<'static, Postgres>,
    /// Who does it.
    pub actor: Actor,
    /// The order as it was found. It is not locked: some changes lock its payment first.
    pub before: Order,
}

impl Change {
    /// Begins a change of the order that an id or a number names.
    ///
    /// # Errors
    /// 404 for an order that is not there.
    pub async fn begin(db: &PgPool, actor: Actor, id: &str) -> Result<Change> {
        let mut tx = db.begin().await?;
        let id = resolve(&mut tx, id).await?;
        let before = store::find(&mut tx, id)
            .await?
            .ok_or(Error::NotFound("Order"))?;
        Ok(Change { tx, actor, before })
    }

    /// Writes down what was done, unless nothing was, and commits it. `more` is what the order itself does not show.
    ///
    /// # Errors
    /// Only the database's; then nothing was done.
    pub async fn end(mut self, action: &'static str, more: Value) -> Result<OrderView> {
        let view = view(&mut self.tx, self.before.id).await?;
        let mut after = audit_snapshot(&view.order);
        // What others did to it since it was found is theirs.
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
