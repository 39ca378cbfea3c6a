//! Pieces of an order that go back into stock by themselves, without money: it was refunded elsewhere, or the refund was
//! made without them.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::lines::lock_lines;
use super::service::record;
use super::{Restocked, store};
use crate::audit::Actor;
use crate::error::{Code, Error, FieldError, Result};
use crate::products;
use crate::types::ids::{OrderId, ProductId, RestockId};

/// Pieces to be put back.
#[derive(Clone, Debug)]
pub struct NewRestock {
    /// The caller's: one that comes twice is one.
    pub id: RestockId,
    pub pieces: Vec<(ProductId, i32)>,
    /// For the timeline: up to 200 characters.
    pub reason: String,
}

impl NewRestock {
    /// Facts for the audit log.
    fn audit_snapshot(&self) -> Value {
        let restock: Vec<Value> = self
            .pieces
            .iter()
            .map(|(id, quantity)| json!({"product": id, "quantity": quantity}))
            .collect();
        json!({"reason": self.reason, "restock": restock})
    }

    fn row(&self, order: OrderId) -> store::Restock {
        let pieces = self.pieces.iter().map(|(product, quantity)| Restocked {
            product_id: product.clone(),
            quantity: *quantity,
        });
        let mut pieces: Vec<Restocked> = pieces.collect();
        pieces.sort();
        store::Restock {
            order_id: order,
            pieces,
            reason: self.reason.trim().to_owned(),
        }
    }
}

/// Puts pieces of an order back into stock. They are not to be shipped any more. Safe to repeat: what was put back under
/// this id stays as it is, and the answer is false.
///
/// # Errors
/// 404; field errors of `restock` and `reason`; 409 `restock_differs` where this id was used for something else.
pub async fn restock(
    conn: &mut PgConnection,
    actor: &Actor,
    id: OrderId,
    new: &NewRestock,
) -> Result<bool> {
    let order = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    let row = new.row(id);
    // Under the order's lock: a repeat that comes at the same moment finds what the first call stored.
    if let Some(known) = store::find_restock(conn, new.id).await? {
        return match known == row {
            true => Ok(false),
            false => Err(differs()),
        };
    }
    if new.pieces.is_empty() {
        return Err(Error::invalid("restock", "must name at least one piece"));
    }
    check_reason(&row.reason)?;
    restock_pieces(conn, actor, id, &new.pieces).await?;
    // The lock covers one order only: another order may have used this id since.
    if !store::insert_restock(conn, new.id, &row, &actor.name).await? {
        return Err(differs());
    }
    let names = store::lines(conn, id).await?;
    let named = |piece: &Restocked| {
        let line = names
            .iter()
            .find(|line| line.product_id.as_ref() == Some(&piece.product_id));
        let name = line.map_or(piece.product_id.0.as_str(), |line| line.name.as_str());
        format!("{} × {name}", piece.quantity)
    };
    let pieces: Vec<String> = row.pieces.iter().map(named).collect();
    let pieces = pieces.join(", ");
    let note = match row.reason.trim_end_matches('.') {
        "" => format!("{pieces}."),
        reason => format!("{pieces}: {reason}."),
    };
    store::add_timeline_entry(conn, id, "restock", &actor.name, &note).await?;
    let more = new.audit_snapshot();
    record(conn, actor, "order.restock", (&order, &order), more).await?;
    Ok(true)
}

/// Checks the trimmed reason of a restock or a refund.
///
/// # Errors
/// A field error of `reason`.
pub fn check_reason(reason: &str) -> Result<()> {
    if reason.chars().count() > 200 || reason.contains(char::is_control) {
        return Err(Error::invalid(
            "reason",
            "must have at most 200 characters, on one line",
        ));
    }
    Ok(())
}

/// Returns true if pieces were put back under this id.
///
/// # Errors
/// Only the database's.
pub async fn has_restock(conn: &mut PgConnection, id: RestockId) -> Result<bool> {
    Ok(store::find_restock(conn, id).await?.is_some())
}

fn differs() -> Error {
    Error::Conflict(
        Code::RestockDiffers,
        "Other pieces were put back under this id before. Load the page again.".to_owned(),
    )
}

/// Returns pieces of a locked order to stock, at most as many as were sold and not yet returned. A trigger
/// records them on the order lines, so that they no longer need shipping.
///
/// # Errors
/// 400 naming the line of `restock` that asks for too many, or for a product that is not in the order.
pub async fn restock_pieces(
    conn: &mut PgConnection,
    actor: &Actor,
    order: OrderId,
    pieces: &[(ProductId, i32)],
) -> Result<()> {
    if pieces.is_empty() {
        return Ok(());
    }
    lock_lines(conn, order).await?;
    let sold = store::quantities(conn, order).await?;
    let returnable = store::not_returned(conn, order).await?;
    let mut field_errors = Vec::new();
    for (at, (id, quantity)) in pieces.iter().enumerate() {
        let left = returnable.iter().find(|(known, _)| known == id);
        let left = left.map_or(0, |(_, left)| *left);
        let problem = if sold.iter().all(|(known, _)| known != id) {
            "is not a product of this order".to_owned()
        } else if pieces[..at].iter().any(|(earlier, _)| earlier == id) {
            "is named twice".to_owned()
        } else if *quantity > left {
            format!("must be at most {left}: that many were sold and not returned")
        } else if *quantity < 1 {
            "must be at least 1".to_owned()
        } else {
            continue;
        };
        field_errors.push(FieldError::new(format!("restock[{at}]"), problem));
    }
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    restock_locked(conn, actor, order, pieces).await
}

/// Returns pieces of an order to stock, whose products are locked, and notes on the timeline which products return to the catalog.
pub async fn restock_locked(
    conn: &mut PgConnection,
    actor: &Actor,
    order: OrderId,
    pieces: &[(ProductId, i32)],
) -> Result<()> {
    for name in products::restock(conn, actor, order, pieces).await? {
        let note = format!(
            "{name} had been deleted. It is in the catalog again, archived, because a piece of it is in stock."
        );
        store::add_timeline_entry(conn, order, "note", &actor.name, &note).await?;
    }
    Ok(())
}
