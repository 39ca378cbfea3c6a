//! From an intake to products, and back.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::service::{changed, closed, object, open};
use super::{Intake, IntakeDetails, IntakeStatus, Item, Pairing, Piece, store};
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

/// What becomes of the fronts that are made into products.
#[derive(Clone, Copy, Debug)]
pub struct ProductChoice {
    pub currency: Currency,
    /// Drafts instead of products for sale.
    pub is_draft: bool,
}

/// A piece that nothing is made of without a person, with the reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsurePiece {
    /// 4 of “number 4”.
    pub number: i32,
    /// Sentences.
    pub reasons: Vec<String>,
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
    choice: ProductChoice,
) -> Result<Vec<Product>> {
    let details = open_idle(conn, id).await?;
    let fronts: Vec<(&Piece, &Item)> = to_make(&details).collect();
    let inputs = inputs(&details, &fronts, choice)?;
    make(conn, actor, &details, inputs, IntakeStatus::Done).await
}

/// Creates the products of which an intake leaves nothing to ask, and returns them with the pieces that are left. While
/// some are left, the intake stays open.
///
/// # Errors
/// As [`create_products`].
pub async fn create_sure_products(
    conn: &mut PgConnection,
    actor: &Actor,
    id: IntakeId,
    choice: ProductChoice,
) -> Result<(Vec<Product>, Vec<UnsurePiece>)> {
    let details = open_idle(conn, id).await?;
    let mut unsure = Vec::new();
    let mut fronts = Vec::new();
    for (front, item) in to_make(&details) {
        match questions(&details, front, item) {
            reasons if reasons.is_empty() => fronts.push((front, item)),
            reasons => unsure.push(UnsurePiece {
                number: front.number,
                reasons,
            }),
        }
    }
    let lone = details
        .backs()
        .filter(|back| details.front_of(back.id).is_none());
    unsure.extend(lone.map(|back| UnsurePiece {
        number: back.number,
        reasons: vec!["It has no front.".to_owned()],
    }));
    if fronts.is_empty() {
        return Ok((Vec::new(), unsure));
    }
    let inputs = inputs(&details, &fronts, choice)?;
    let status = match unsure.is_empty() {
        true => IntakeStatus::Done,
        false => IntakeStatus::Open,
    };
    let products = make(conn, actor, &details, inputs, status).await?;
    Ok((products, unsure))
}

/// Opens an intake for a change that nothing but its jobs may precede.
async fn open_idle(conn: &mut PgConnection, id: IntakeId) -> Result<IntakeDetails> {
    let details = open(conn, id, None).await?;
    match details.is_working() {
        false => Ok(details),
        true => Err(Error::Conflict(
            Code::IntakeIsBusy,
            "The photographs are still being worked on. Try again in a moment.".to_owned(),
        )),
    }
}

/// Fronts without a product.
fn to_make(details: &IntakeDetails) -> impl Iterator<Item = (&Piece, &Item)> {
    details
        .fronts()
        .filter(|(_, item)| item.product_id.is_none())
}

/// What a person has to decide or to add before a front becomes a product.
fn questions(details: &IntakeDetails, front: &Piece, item: &Item) -> Vec<String> {
    let back = item.back_id.and_then(|back| details.piece(back));
    let both = || [Some(front), back].into_iter().flatten();
    let mut questions = Vec::new();
    match item.pairing() {
        Pairing::Check => questions.push("Another back may be the right one.".to_owned()),
        Pairing::NoBack if details.backs().next().is_some() => {
            questions.push("It has no back.".to_owned());
        }
        Pairing::Sure | Pairing::NoBack | Pairing::ByHand => {}
    }
    if both().any(|piece| piece.is_head_doubtful) {
        questions.push("Which end is up is not sure.".to_owned());
    }
    for (is_missing, what) in [
        (item.name.is_empty(), "name"),
        (item.price.is_none(), "price"),
        (front.lighter_type.is_none(), "size"),
    ] {
        if is_missing {
            questions.push(format!("It has no {what}."));
        }
    }
    questions.extend(both().filter_map(without_image));
    questions
}

/// A sentence about a piece without a staged image.
fn without_image(piece: &Piece) -> Option<String> {
    let why = piece.problem.as_deref().unwrap_or("It has no image yet.");
    piece
        .image_id
        .is_none()
        .then(|| format!("Number {}: {why}", piece.number))
}

/// Creates the products, and records them with their fronts.
async fn make(
    conn: &mut PgConnection,
    actor: &Actor,
    details: &IntakeDetails,
    inputs: Vec<(&Piece, ProductInput)>,
    status: IntakeStatus,
) -> Result<Vec<Product>> {
    let mut products = Vec::with_capacity(inputs.len());
    let mut is_draft = false;
    for (front, input) in inputs {
        is_draft = input.is_draft == Some(true);
        let made = service::create(conn, actor, Parsed::from(input)).await;
        let product = made.map_err(|error| in_row(front, error))?;
        store::set_product(conn, front.id, Some((&product.id, product.version))).await?;
        products.push(product);
    }
    let after = Intake {
        status,
        ..details.intake.clone()
    };
    changed(conn, &after, &[]).await?;
    let ids: Vec<_> = products.iter().map(|product| &product.id).collect();
    let made = json!({"products": ids, "is_draft": is_draft});
    let (action, object) = ("intake.create_products", object(&details.intake));
    audit::record(conn, actor, action, &object, Value::Null, made).await?;
    Ok(products)
}

/// The products that are to be made of these fronts.
fn inputs<'a>(
    details: &'a IntakeDetails,
    fronts: &[(&'a Piece, &'a Item)],
    choice: ProductChoice,
) -> Result<Vec<(&'a Piece, ProductInput)>> {
    let mut field_errors = Vec::new();
    let mut names: BTreeMap<String, i32> = BTreeMap::new();
    let mut inputs = Vec::new();
    for &(front, item) in fronts {
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
            if let Some(sentence) = without_image(piece) {
                fault("images", sentence);
            }
        }
        inputs.push((front, input(details, front, item, back, choice)));
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
    choice: ProductChoice,
) -> ProductInput {
    let images = [Some(front), back].into_iter().flatten();
    let images: Vec<ImageId> = images.filter_map(|piece| piece.image_id.clone()).collect();
    ProductInput {
        name: Some(item.name.clone()),
        lighter_type: front.lighter_type,
        price: item.price,
        currency: Some(choice.currency.code().to_owned()),
        category: Some(item.category_id.map(CategoryKey::Id)),
        images: Some(images),
        is_active: Some(true),
        is_draft: Some(choice.is_draft),
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

/// Deletes the products of an intake that nobody ordered, holds or edited since, and opens the intake again. On an open
/// intake, which has products that stayed the last time, it tries those again.
///
/// # Errors
/// 404; 409 `nothing_to_take_back` if it has no products, `intake_is_closed` if it is discarded, or `photos_are_gone` if
/// its photographs were let go: what is deleted then could not be made again.
pub async fn take_back(conn: &mut PgConnection, actor: &Actor, id: IntakeId) -> Result<TakenBack> {
    let intake = store::lock(conn, id).await?;
    let details = store::contents(conn, intake).await?;
    check_take_back(&details)?;
    let mut made: Vec<&Item> = details
        .items
        .iter()
        .filter(|item| item.product_id.is_some())
        .collect();
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

fn check_take_back(details: &IntakeDetails) -> Result<()> {
    let intake = &details.intake;
    let stays_open = intake.is_open();
    if !stays_open && !intake.status.may_become(IntakeStatus::Open) {
        return Err(closed(intake));
    }
    if !details.has_products() {
        return Err(Error::Conflict(
            Code::NothingToTakeBack,
            format!("No product is made of batch {}.", intake.number),
        ));
    }
    match details.is_let_go() {
        false => Ok(()),
        true => Err(Error::Conflict(
            Code::PhotosAreGone,
            format!(
                "The photographs of batch {} are deleted, so it cannot be opened again. Delete its products one by one.",
                intake.number
            ),
        )),
    }
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
