//! A person's choices for products: pairs, names, categories, prices and types.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use super::photos::has_a_product;
use super::service::{changed, object, open};
use super::{IntakeDetails, Item, Piece, store};
use crate::audit::{self, Actor};
use crate::error::{Error, FieldError, Result};
use crate::products::categories;
use crate::products::fields::{
    CategoryKey, FieldReader, Parsed, category_key, line, or_null, price, whole,
};
use crate::products::input::NAME_CHARS;
use crate::types::ids::{IntakeId, PieceId};
use crate::types::money::{Cents, Currency};

/// A front and its back, or the decision that it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairChoice {
    pub front: PieceId,
    pub back: Option<PieceId>,
}

/// A change of an item. What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemChange {
    /// May be empty until the product is made.
    pub name: Option<String>,
    pub category: Option<Option<CategoryKey>>,
    pub price: Option<Option<Cents>>,
    /// 1 Classic, 2 Mini; of both sides.
    pub lighter_type: Option<i16>,
}

impl ItemChange {
    /// Parses a change.
    pub(super) fn parse(body: Map<String, Value>, currency: Currency) -> Parsed<ItemChange> {
        let mut fields = FieldReader::new("", body);
        let value = ItemChange {
            name: fields.read("name", |value| line(value, 0..=NAME_CHARS)),
            category: fields.read("category", or_null(category_key)),
            price: fields.read("price", or_null(|value| price(value, currency))),
            lighter_type: fields
                .read("lighter_type", |value| whole(value, 1..=2))
                .map(|number| number as i16),
        };
        Parsed {
            value,
            field_errors: fields.finish(&[]),
        }
    }

    /// Reads what a person typed: name, id of the category, price and type. An empty type stays.
    ///
    /// # Errors
    /// Field errors of `name`, `category`, `price` or `lighter_type`.
    pub fn typed(
        [name, category, price, lighter_type]: &[String; 4],
        currency: Currency,
    ) -> Result<ItemChange, Vec<FieldError>> {
        let mut body = Map::new();
        body.insert("name".to_owned(), Value::from(name.as_str()));
        let category = category.parse::<i64>().map_or(Value::Null, Value::from);
        body.insert("category".to_owned(), category);
        let amount = Cents::parse(price, currency.code());
        body.insert(
            "price".to_owned(),
            amount.map_or(Value::Null, |amount| Value::from(amount.0)),
        );
        if let Ok(number) = lighter_type.parse::<i64>() {
            body.insert("lighter_type".to_owned(), Value::from(number));
        }
        let Parsed {
            value,
            mut field_errors,
        } = ItemChange::parse(body, currency);
        if amount.is_none() && !price.is_empty() {
            let why = format!("Must be an amount, like {}.", currency.example());
            field_errors.push(FieldError::new("price", why));
        }
        match field_errors.is_empty() {
            true => Ok(value),
            false => Err(field_errors),
        }
    }
}

/// Pairs fronts with backs. A back that another front had is taken away from it; the fronts that are not named keep
/// theirs. Safe to repeat.
///
/// # Errors
/// Field errors by the place in the list, as `pairs[2].back`; 404; 409 `intake_is_closed`, `version_conflict` or
/// `piece_has_a_product`.
pub async fn set_pairs(
    conn: &mut PgConnection,
    actor: &Actor,
    id: IntakeId,
    version: Option<i64>,
    pairs: &[PairChoice],
) -> Result<()> {
    let details = open(conn, id, version).await?;
    check_pairs(&details, pairs)?;
    let differ: Vec<&PairChoice> = pairs
        .iter()
        .filter(|pair| {
            let item = details.item(pair.front);
            item.is_some_and(|item| item.back_id != pair.back || !item.is_paired_by_hand)
        })
        .collect();
    let mut is_changed = false;
    let backs: Vec<PieceId> = differ.iter().filter_map(|pair| pair.back).collect();
    store::free_backs(conn, id, &backs).await?;
    for pair in &differ {
        // First nobody has a back, then each has its own.
        store::set_back(conn, pair.front, None, (false, true)).await?;
    }
    let mut anew = Vec::new();
    for pair in &differ {
        store::set_back(conn, pair.front, pair.back, (false, true)).await?;
        is_changed = true;
        let front = details.piece(pair.front);
        let back = pair.back.and_then(|back| details.piece(back));
        if let (Some(front), Some(back)) = (front, back)
            && let Some(photo) = alike(conn, front, back).await?
        {
            anew.push(photo);
        }
    }
    if !is_changed {
        return Ok(());
    }
    changed(conn, &details.intake, &anew).await?;
    let number = |id: PieceId| details.piece(id).map(|piece| piece.number);
    let list: Vec<Value> = differ
        .iter()
        .map(|pair| json!({"front": number(pair.front), "back": pair.back.and_then(number)}))
        .collect();
    let object = object(&details.intake);
    audit::record(
        conn,
        actor,
        "intake.pair",
        &object,
        Value::Null,
        json!(list),
    )
    .await
}

/// Gives a back the type of its front. Returns its photograph if it has to be staged again.
async fn alike(
    conn: &mut PgConnection,
    front: &Piece,
    back: &Piece,
) -> Result<Option<crate::types::ids::PhotoId>> {
    if front.lighter_type.is_none() || front.lighter_type == back.lighter_type {
        return Ok(None);
    }
    let back = Piece {
        lighter_type: front.lighter_type,
        ..back.clone()
    };
    store::save_piece(conn, &back, true).await?;
    Ok(Some(back.photo_id))
}

fn check_pairs(details: &IntakeDetails, pairs: &[PairChoice]) -> Result<()> {
    let mut field_errors = Vec::new();
    let (mut fronts, mut backs) = (BTreeSet::new(), BTreeSet::new());
    for (index, pair) in pairs.iter().enumerate() {
        let mut fault = |field: &str, sentence: &str| {
            field_errors.push(FieldError::new(format!("pairs[{index}].{field}"), sentence));
        };
        let front = details.fronts().find(|(piece, _)| piece.id == pair.front);
        match front {
            None => fault("front", "Is no front in use."),
            Some(_) if !fronts.insert(pair.front) => fault("front", "Is named twice."),
            Some((_, item)) if item.product_id.is_some() => return Err(has_a_product()),
            Some(_) => {}
        }
        if let Some(back) = pair.back {
            let of_product = details
                .items
                .iter()
                .any(|item| item.back_id == Some(back) && item.product_id.is_some());
            if details.backs().all(|piece| piece.id != back) {
                fault("back", "Is no back in use.");
            } else if !backs.insert(back) {
                fault("back", "Is the back of another front.");
            } else if of_product {
                return Err(has_a_product());
            }
        }
    }
    match field_errors.is_empty() {
        true => Ok(()),
        false => Err(Error::Invalid(field_errors)),
    }
}

/// Changes names, categories, prices and types. Safe to repeat.
///
/// # Errors
/// Field errors by the piece's number, as `items[4].category`; 404; 409 `intake_is_closed`, `version_conflict` or
/// `piece_has_a_product`.
pub async fn change_items(
    conn: &mut PgConnection,
    actor: &Actor,
    id: IntakeId,
    version: Option<i64>,
    changes: &[(PieceId, ItemChange)],
) -> Result<()> {
    let details = open(conn, id, version).await?;
    let mut field_errors = Vec::new();
    let (mut was, mut is, mut anew) = (Vec::new(), Vec::new(), Vec::new());
    for (front, change) in changes {
        let found = details.fronts().find(|(piece, _)| piece.id == *front);
        let (front, before) = found.ok_or(Error::NotFound("Front"))?;
        let mut after = before.clone();
        if let Some(name) = &change.name {
            after.name.clone_from(name);
        }
        if let Some(price) = change.price {
            after.price = price;
        }
        match &change.category {
            None => {}
            Some(None) => after.category_id = None,
            // Read without a lock if it stays, because a form sends all of them.
            Some(Some(CategoryKey::Id(id))) if before.category_id == Some(*id) => {}
            Some(Some(key)) => match categories::hold(conn, key).await? {
                Some(id) => after.category_id = Some(id),
                None => field_errors.push(FieldError::new(
                    format!("items[{}].category", front.number),
                    "There is no such category.",
                )),
            },
        }
        let type_changes = change
            .lighter_type
            .is_some_and(|wanted| front.lighter_type != Some(wanted));
        if !type_changes && snapshot(front, &after) == snapshot(front, before) {
            continue;
        }
        if before.product_id.is_some() {
            return Err(has_a_product());
        }
        store::save_item(conn, &after).await?;
        let mut typed = front.clone();
        if let Some(wanted) = change.lighter_type.filter(|_| type_changes) {
            typed.lighter_type = Some(wanted);
            let back = before.back_id.and_then(|back| details.piece(back));
            for piece in [Some(front), back].into_iter().flatten() {
                let piece = Piece {
                    lighter_type: Some(wanted),
                    ..piece.clone()
                };
                store::save_piece(conn, &piece, true).await?;
                anew.push(piece.photo_id);
            }
        }
        was.push(snapshot(front, before));
        is.push(snapshot(&typed, &after));
    }
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    if is.is_empty() {
        return Ok(());
    }
    changed(conn, &details.intake, &anew).await?;
    let object = object(&details.intake);
    audit::record(conn, actor, "intake.items", &object, json!(was), json!(is)).await
}

fn snapshot(front: &Piece, item: &Item) -> Value {
    json!({
        "piece": front.number,
        "name": item.name,
        "category_id": item.category_id,
        "price": item.price,
        "lighter_type": front.lighter_type,
    })
}
