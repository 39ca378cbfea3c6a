//! The form of a batch of table photographs: pairs and cells, read and saved.

use sqlx::PgConnection;

use super::form::{Form, stale_form};
use crate::audit::Actor;
use crate::error::{Error, FieldError, Result};
use crate::products::intakes::{self, IntakeDetails, ItemChange, PairChoice};
use crate::types::ids::PieceId;
use crate::types::money::Currency;

/// Moves errors of `items[4].price` to the cell that shows them.
pub(super) fn by_cell(details: &IntakeDetails, error: Error) -> Error {
    let Error::Invalid(field_errors) = error else {
        return error;
    };
    let cell = |field: &str| {
        let (number, field) = field.strip_prefix("items[")?.split_once("].")?;
        let number: i32 = number.parse().ok()?;
        let piece = details.pieces.iter().find(|piece| piece.number == number)?;
        let field = match field {
            "lighter_type" => "size",
            other => other,
        };
        Some(format!("{field}.{}", piece.id))
    };
    let moved = field_errors.into_iter().map(|error| FieldError {
        field: cell(&error.field).unwrap_or(error.field),
        ..error
    });
    Error::Invalid(moved.collect())
}

/// Saves the pairs and the cells that differ from what they were.
pub(super) async fn save(
    conn: &mut PgConnection,
    actor: &Actor,
    details: &IntakeDetails,
    form: &Form,
    currency: Currency,
) -> Result<()> {
    let version = form.get("version").parse().map_err(|_| stale_form())?;
    let mut field_errors = Vec::new();
    let pairs = pairs(details, form, &mut field_errors);
    let changes = item_changes(details, form, currency, &mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    // Both check the version, which the first one increments.
    let mut version = Some(version);
    if !pairs.is_empty() {
        intakes::set_pairs(conn, actor, details.intake.id, version, &pairs).await?;
        version = None;
    }
    intakes::change_items(conn, actor, details.intake.id, version, &changes).await
}

/// The pairs that were chosen anew. A front whose back was chosen for another one gets that one's former back.
fn pairs(
    details: &IntakeDetails,
    form: &Form,
    field_errors: &mut Vec<FieldError>,
) -> Vec<PairChoice> {
    let mut pairs: Vec<PairChoice> = Vec::new();
    let mut former = Vec::new();
    for (front, item) in details.fronts() {
        let name = format!("back.{}", front.id);
        if form.all(&name).is_empty() {
            continue;
        }
        let back: Option<PieceId> = form.get(&name).parse().map(PieceId).ok();
        let was = form.get(&format!("was-back.{}", front.id));
        let was: Option<PieceId> = was.parse().map(PieceId).ok();
        if back == was || back == item.back_id {
            continue;
        }
        if back.is_some() && pairs.iter().any(|pair| pair.back == back) {
            let why = "Is chosen for another front, too.";
            field_errors.push(FieldError::new(name, why));
        }
        former.push(item.back_id);
        pairs.push(PairChoice {
            front: front.id,
            back,
        });
    }
    let chosen = pairs.clone();
    for (front, item) in details.fronts() {
        let is_chosen = chosen.iter().any(|pair| pair.front == front.id);
        let taken_by = chosen
            .iter()
            .position(|pair| pair.back.is_some() && pair.back == item.back_id);
        if let (false, Some(at)) = (is_chosen, taken_by) {
            // Its former back may be chosen for a third one.
            let free = former[at].filter(|back| chosen.iter().all(|pair| pair.back != Some(*back)));
            pairs.push(PairChoice {
                front: front.id,
                back: free,
            });
        }
    }
    pairs
}

fn item_changes(
    details: &IntakeDetails,
    form: &Form,
    currency: Currency,
    field_errors: &mut Vec<FieldError>,
) -> Vec<(PieceId, ItemChange)> {
    let mut changes = Vec::new();
    for (front, _) in details.fronts() {
        let name = |field: &str| format!("{field}.{}", front.id);
        if form.all(&name("name")).is_empty() {
            continue;
        }
        let cells = ["name", "category", "price", "size"].map(|field| form.get(&name(field)));
        match ItemChange::typed(&cells, currency) {
            Ok(change) => changes.push((front.id, change)),
            Err(errors) => field_errors.extend(errors.into_iter().map(|error| {
                let field = match error.field.as_str() {
                    "lighter_type" => "size",
                    other => other,
                };
                FieldError::new(name(field), error.message)
            })),
        }
    }
    changes
}
