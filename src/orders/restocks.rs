//! Pieces of an order that go back into stock by themselves, without money: it was refunded elsewhere, or the refund was
//! made without them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{service, store};
use crate::audit::Actor;
use crate::error::{Code, Error, Result};
use crate::types::ids::{OrderId, ProductId, RestockId};

/// Pieces of a product that go back into stock.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, sqlx::FromRow, ToSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Restocked {
    pub product_id: ProductId,
    #[schema(minimum = 1, maximum = 999)]
    pub quantity: i32,
}

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
    if let Some(known) = store::find_restock(conn, new.id).await? {
        return match known == row {
            true => Ok(false),
            false => Err(differs()),
        };
    }
    if new.pieces.is_empty() {
        return Err(Error::invalid("restock", "must name at least one piece"));
    }
    if row.reason.chars().count() > 200 || row.reason.chars().any(char::is_control) {
        return Err(Error::invalid(
            "reason",
            "must have at most 200 characters, on one line",
        ));
    }
    service::take_back(conn, id, &new.pieces, &actor.name).await?;
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
    let told = match row.reason.trim_end_matches('.') {
        "" => format!("{pieces}."),
        reason => format!("{pieces}: {reason}."),
    };
    store::add_event(conn, id, "restock", &actor.name, &told).await?;
    let more = new.audit_snapshot();
    service::record(conn, actor, "order.restock", (&order, &order), more).await?;
    Ok(true)
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
