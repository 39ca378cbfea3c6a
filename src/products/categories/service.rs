//! Changes of categories. Each is written to the audit log.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Category, CategoryInput, name_key, store};
use crate::audit::{self, Actor};
use crate::error::{Code, Error, FieldError, Result};
use crate::products::fields::{CategoryKey, Parsed};
use crate::products::slugs::free_slug;

/// Creates a category.
///
/// # Errors
/// Field errors; 409 `slug_taken`.
pub async fn create(
    conn: &mut PgConnection,
    actor: &Actor,
    input: Parsed<CategoryInput>,
) -> Result<Category> {
    let input = input.whole()?;
    let name = input.name.unwrap_or_default();
    check_name(conn, &name, None).await?;
    let description = input.description.unwrap_or_default();
    let category = loop {
        let slug = match &input.slug {
            Some(slug) => slug.clone(),
            None => {
                let taken = store::slugs(conn).await?;
                free_slug(&name, "category", |slug| taken.iter().any(|t| t == slug))
            }
        };
        match store::insert(conn, &name, &slug, &description).await {
            Ok(Some(category)) => break category,
            Ok(None) if input.slug.is_some() => return Err(slug_taken(&slug)),
            // Another transaction took the slug between the two statements; the next round sees it.
            Ok(None) => {}
            Err(error) => return Err(refusal(error, &name, &slug)),
        }
    };
    let object = format!("category:{}", category.id);
    let after = audit_snapshot(&category);
    audit::record(conn, actor, "category.create", &object, Value::Null, after).await?;
    Ok(category)
}

/// Changes a category.
///
/// # Errors
/// Field errors; 404; 409 `slug_taken`.
pub async fn change(
    conn: &mut PgConnection,
    actor: &Actor,
    id: i64,
    input: Parsed<CategoryInput>,
) -> Result<Category> {
    let input = input.whole()?;
    store::lock_products(conn, id).await?;
    let before = store::lock(conn, id).await?;
    // A category may keep its current name, even if an older version created another one with it.
    let new_name = input.name.as_ref().filter(|name| **name != before.name);
    if let Some(name) = new_name {
        check_name(conn, name, Some(id)).await?;
    }
    let key = new_name.map(|name| name_key(name));
    let after = store::update(conn, id, &input, key)
        .await
        .map_err(|error| {
            let (name, slug) = (input.name.as_deref(), input.slug.as_deref());
            refusal(error, name.unwrap_or_default(), slug.unwrap_or_default())
        })?;
    if after != before {
        let object = format!("category:{id}");
        let (before, after) = (audit_snapshot(&before), audit_snapshot(&after));
        audit::record(conn, actor, "category.change", &object, before, after).await?;
    }
    Ok(after)
}

/// Deletes a category. Its products stay, without a category. Returns the deleted category.
///
/// # Errors
/// 404.
pub async fn delete(conn: &mut PgConnection, actor: &Actor, id: i64) -> Result<Category> {
    store::lock_products(conn, id).await?;
    let category = store::lock(conn, id).await?;
    store::delete(conn, id).await?;
    let object = format!("category:{id}");
    let before = audit_snapshot(&category);
    audit::record(conn, actor, "category.delete", &object, before, Value::Null).await?;
    Ok(category)
}

/// Puts the given categories first, in this order. The others follow in their current order. Safe to repeat.
///
/// # Errors
/// A field error of `ids` for a category that does not exist or is named twice.
pub async fn order(conn: &mut PgConnection, actor: &Actor, ids: &[i64]) -> Result<()> {
    let before = store::lock_all(conn).await?;
    let mut field_errors = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        let problem = match before.contains(id) {
            false => "There is no such category.",
            true if ids[..at].contains(id) => "Is listed twice.",
            true => continue,
        };
        field_errors.push(FieldError::new(format!("ids[{at}]"), problem));
    }
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let mut after = before.clone();
    after.sort_by_key(|id| {
        ids.iter()
            .position(|named| named == id)
            .unwrap_or(ids.len())
    });
    arrange(conn, actor, &before, &after).await
}

/// Moves a category up or down one place, unless it is at the end already.
///
/// # Errors
/// 404.
pub async fn shift(conn: &mut PgConnection, actor: &Actor, id: i64, up: bool) -> Result<Category> {
    let before = store::lock_all(conn).await?;
    let place = before.iter().position(|other| *other == id);
    let place = place.ok_or(Error::NotFound("Category"))?;
    let mut after = before.clone();
    match up {
        true if place > 0 => after.swap(place - 1, place),
        false if place + 1 < after.len() => after.swap(place, place + 1),
        _ => {}
    }
    arrange(conn, actor, &before, &after).await?;
    let category = store::find(conn, &CategoryKey::Id(id)).await?;
    category.ok_or(Error::NotFound("Category"))
}

async fn arrange(
    conn: &mut PgConnection,
    actor: &Actor,
    before: &[i64],
    after: &[i64],
) -> Result<()> {
    if before == after {
        return Ok(());
    }
    store::set_order(conn, after).await?;
    let (before, after) = (json!({"ids": before}), json!({"ids": after}));
    audit::record(conn, actor, "category.order", "categories", before, after).await
}

fn audit_snapshot(one: &Category) -> Value {
    json!({"name": one.name, "slug": one.slug, "description": one.description})
}

/// Checks that no other category has this name.
async fn check_name(conn: &mut PgConnection, name: &str, id: Option<i64>) -> Result<()> {
    let others = store::other_names(conn, id).await?;
    let key = name_key(name);
    match others.iter().find(|other| name_key(other) == key) {
        Some(other) => Err(name_taken(other)),
        None => Ok(()),
    }
}

/// Names the field if a statement failed because another category has the name or the slug.
fn refusal(error: sqlx::Error, name: &str, slug: &str) -> Error {
    let constraint = error
        .as_database_error()
        .and_then(|error| error.constraint());
    match constraint {
        // Another transaction has just used the name.
        Some("categories_name_key_key") => name_taken(name),
        Some("categories_slug_key") => slug_taken(slug),
        _ => error.into(),
    }
}

fn name_taken(name: &str) -> Error {
    Error::invalid("name", format!("There is already a category “{name}”."))
}

fn slug_taken(slug: &str) -> Error {
    Error::Conflict(
        Code::SlugTaken,
        format!("Another category has the slug {slug}."),
    )
}
