//! From an intake to products, and back.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::service::{changed, object, open};
use super::{Intake, IntakeDetails, IntakeStatus, Item, Piece, store};
use crate::audit::{self, Actor};
use crate::error::{Code, Error, FieldError, Result};
use crate::products::categories::name_key;
use crate::products::fields::{CategoryKey, Parsed};
use crate::products::input::ProductInput;
use crate::products::{Product, service};
use crate::types::ids::{ImageId, IntakeId};
use crate::types::money::Currency;

/// Result of taking products back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenBack {
    /// Number of products that are gone.
    pub removed: usize,
    /// Names of the products that stay, each with the reason: `was edited`.
    pub kept: Vec<(String, &'static str)>,
}

/// Creates the products of an intake, all or none, with their initial stock.
///
/// # Errors
/// Field errors by the piece's number, as `items[4].price`; 404; 409 `intake_is_closed`, or `intake_is_busy` while jobs
/// work on it.
pub async fn create_products(
    conn: &mut PgConnection,
    actor: &Actor,
    id: IntakeId,
    currency: Currency,
    is_draft: bool,
) -> Result<Vec<Product>> {
    let details = open(conn, id, None).await?;
    if details.is_working() {
        return Err(Error::Conflict(
            Code::IntakeIsBusy,
            "The photographs are still being worked on. Try again in a moment.".to_owned(),
        ));
    }
    let inputs = inputs(&details, currency, is_draft)?;
    let mut products = Vec::with_capacity(inputs.len());
    for (front, input) in inputs {
        let made = service::create(conn, actor, Parsed::from(input)).await;
        let product = made.map_err(|error| in_row(front, error))?;
        store::set_product(conn, front.id, Some((&product.id, product.version))).await?;
        products.push(product);
    }
    let done = Intake {
        status: IntakeStatus::Done,
        ..details.intake.clone()
    };
    changed(conn, &done, &[]).await?;
    let ids: Vec<_> = products.iter().map(|product| &product.id).collect();
    let after = json!({"products": ids, "is_draft": is_draft});
    let object = object(&details.intake);
    audit::record(
        conn,
        actor,
        "intake.create_products",
        &object,
        Value::Null,
        after,
    )
    .await?;
    Ok(products)
}

/// The products that are to be made, each with its front.
fn inputs(
    details: &IntakeDetails,
    currency: Currency,
    is_draft: bool,
) -> Result<Vec<(&Piece, ProductInput)>> {
    let mut field_errors = Vec::new();
    let mut names: BTreeMap<String, i32> = BTreeMap::new();
    let mut inputs = Vec::new();
    let to_make = details
        .fronts()
        .filter(|(_, item)| item.product_id.is_none());
    for (front, item) in to_make {
        let mut fault = |field: &str, sentence: String| {
            let field = format!("items[{}].{field}", front.number);
            field_errors.push(FieldError::new(field, sentence));
        };
        if item.name.is_empty() {
            fault("name", "This field is required.".to_owned());
        } else if let Some(other) = names.insert(name_key(&item.name), front.number) {
            fault("name", format!("Is the name of number {other}, too."));
        }
        if item.price.is_none() {
            fault("price", "This field is required.".to_owned());
        }
        if front.lighter_type.is_none() {
            fault("lighter_type", "This field is required.".to_owned());
        }
        let back = item.back_id.and_then(|back| details.piece(back));
        for piece in [Some(front), back].into_iter().flatten() {
            if piece.image_id.is_none() {
                let why = piece.problem.as_deref().unwrap_or("It has no image yet.");
                fault("images", format!("Number {}: {why}", piece.number));
            }
        }
        inputs.push((
            front,
            input(details, front, item, back, (currency, is_draft)),
        ));
    }
    if inputs.is_empty() {
        return Err(Error::invalid(
            "items",
            "There is no front to make a product of.",
        ));
    }
    match field_errors.is_empty() {
        true => Ok(inputs),
        false => Err(Error::Invalid(field_errors)),
    }
}

fn input(
    details: &IntakeDetails,
    front: &Piece,
    item: &Item,
    back: Option<&Piece>,
    (currency, is_draft): (Currency, bool),
) -> ProductInput {
    let images = [Some(front), back].into_iter().flatten();
    let images: Vec<ImageId> = images.filter_map(|piece| piece.image_id.clone()).collect();
    ProductInput {
        name: Some(item.name.clone()),
        lighter_type: front.lighter_type,
        price: item.price,
        currency: Some(currency.code().to_owned()),
        category: Some(item.category_id.map(CategoryKey::Id)),
        images: Some(images),
        is_active: Some(true),
        is_draft: Some(is_draft),
        weight_ounces: Some(details.intake.weight_ounces.clone()),
        inventory_count: Some(details.intake.pieces_each),
        is_whole: true,
        ..ProductInput::default()
    }
}

/// Names the front in the field errors of its product.
fn in_row(front: &Piece, error: Error) -> Error {
    match error {
        Error::Invalid(mut field_errors) => {
            for field_error in &mut field_errors {
                field_error.field = format!("items[{}].{}", front.number, field_error.field);
            }
            Error::Invalid(field_errors)
        }
        other => other,
    }
}

/// Deletes the products of an intake that nobody ordered, holds or edited since, and opens the intake again. Safe to
/// repeat.
///
/// # Errors
/// 404; 409 `nothing_to_take_back` if it has no products.
pub async fn take_back(conn: &mut PgConnection, actor: &Actor, id: IntakeId) -> Result<TakenBack> {
    let intake = store::lock(conn, id).await?;
    let details = store::contents(conn, intake).await?;
    let mut made: Vec<&Item> = details
        .items
        .iter()
        .filter(|item| item.product_id.is_some())
        .collect();
    if made.is_empty() {
        return Err(Error::Conflict(
            Code::NothingToTakeBack,
            format!("No product is made of batch {}.", details.intake.number),
        ));
    }
    // In id order, as everywhere, so that concurrent changes wait for each other instead of deadlocking.
    made.sort_by(|a, b| a.product_id.cmp(&b.product_id));
    let mut taken = TakenBack::default();
    for item in made {
        let Some(product_id) = &item.product_id else {
            continue;
        };
        let product = match service::locked(conn, &product_id.0, None).await {
            // Somebody deleted it.
            Err(Error::NotFound(_)) => {
                store::set_product(conn, item.piece_id, None).await?;
                taken.removed += 1;
                continue;
            }
            found => found?,
        };
        match reason_to_stay(conn, &details.intake, item, &product).await? {
            Some(why) => taken.kept.push((product.name, why)),
            None => {
                service::delete(conn, actor, &product_id.0, None).await?;
                store::set_product(conn, item.piece_id, None).await?;
                taken.removed += 1;
            }
        }
    }
    if taken.removed == 0 {
        return Ok(taken);
    }
    let reopened = Intake {
        status: IntakeStatus::Open,
        ..details.intake.clone()
    };
    changed(conn, &reopened, &[]).await?;
    let kept: Vec<&String> = taken.kept.iter().map(|(name, _)| name).collect();
    let after = json!({"removed": taken.removed, "kept": kept});
    let object = object(&details.intake);
    audit::record(conn, actor, "intake.take_back", &object, Value::Null, after).await?;
    Ok(taken)
}

/// Reason not to delete a locked product.
async fn reason_to_stay(
    conn: &mut PgConnection,
    intake: &Intake,
    item: &Item,
    product: &Product,
) -> Result<Option<&'static str>> {
    Ok(if store::was_ordered(conn, &product.id).await? {
        Some("was ordered")
    } else if product.reserved > 0 {
        Some("is held by a shopper")
    } else if product.on_hand != intake.pieces_each {
        Some("has other stock")
    } else if item.product_version != Some(product.version) {
        Some("was edited")
    } else {
        None
    })
}
