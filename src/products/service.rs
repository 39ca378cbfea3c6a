//! Changes of products and the rules that allow them. Each is written to the audit log.

use std::collections::{BTreeMap, HashSet};

use chrono::Utc;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::fields::{CategoryKey, Parsed};
use super::input::{NAME_CHARS, NOT_ARCHIVED, ProductInput};
use super::inventory::{self, StockCause, StockInput, StockReason};
use super::slugs::{self, free_slug};
use super::views::{StockView, lighter_type_display};
use super::{Product, categories, store, stripe_sync};
use crate::audit::{self, Actor};
use crate::error::{Code, Error, FieldError, Result};
use crate::images::{self, Image};
use crate::jobs::{self, Job};
use crate::types::ids::{ImageId, ProductId};

/// Creates a product with its initial stock and schedules its sync to Stripe.
///
/// # Errors
/// Field errors; 409 `id_taken` (also by a deleted product) or `slug_taken`.
pub async fn create(
    conn: &mut PgConnection,
    actor: &Actor,
    parsed: Parsed<ProductInput>,
) -> Result<Product> {
    let product = insert(conn, actor, parsed).await?;
    let after = Value::Object(audit_snapshot(&product));
    let object = object(&product);
    audit::record(conn, actor, "product.create", &object, Value::Null, after).await?;
    Ok(product)
}

/// Changes a product's fields, and its stock if the caller sent the expected count. An empty slug is made from the name
/// again.
///
/// # Errors
/// Field errors; 404; 409 `version_conflict`, `inventory_changed`, `stock_is_held` or `slug_taken`.
pub async fn change(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    version: Option<i64>,
    parsed: Parsed<ProductInput>,
) -> Result<Product> {
    let before = locked(conn, id, version).await?;
    let after = apply(conn, actor, &before, parsed).await?;
    record_change(conn, actor, "product.change", &before, &after).await?;
    if after.on_hand != before.on_hand {
        let (was, is) = (
            json!({"on_hand": before.on_hand}),
            json!({"on_hand": after.on_hand, "reason": "correction"}),
        );
        audit::record(conn, actor, "product.stock", &object(&after), was, is).await?;
    }
    Ok(after)
}

/// Puts a product on sale or archives it. Safe to repeat: a second call changes nothing.
///
/// # Errors
/// 404; 409 `version_conflict` if `version` is outdated.
pub async fn set_active(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    is_active: bool,
    version: Option<i64>,
) -> Result<Product> {
    let before = locked(conn, id, version).await?;
    // A draft that is put on sale is none any more; the time of one that is archived is void.
    let after = Product {
        is_active,
        is_draft: before.is_draft && !is_active,
        on_sale_at: None,
        ..before.clone()
    };
    let after = save(conn, &before, &after).await?;
    let action = if is_active {
        "product.restore"
    } else {
        "product.archive"
    };
    record_change(conn, actor, action, &before, &after).await?;
    Ok(after)
}

/// Deletes a product permanently and frees its slug. The row stays, because orders and the ledger refer to it. Returns
/// the deleted product.
///
/// # Errors
/// 404; 409 `version_conflict` if `version` is outdated.
pub async fn delete(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    version: Option<i64>,
) -> Result<Product> {
    let product = locked(conn, id, version).await?;
    store::set_deleted(conn, &product.id).await?;
    schedule_sync(conn, &product.id).await?;
    let before = Value::Object(audit_snapshot(&product));
    let object = object(&product);
    audit::record(conn, actor, "product.delete", &object, before, Value::Null).await?;
    Ok(product)
}

/// Schedules another sync of the product to Stripe. Safe to repeat.
///
/// # Errors
/// 404.
pub async fn resync(conn: &mut PgConnection, actor: &Actor, id: &str) -> Result<Product> {
    let before = locked(conn, id, None).await?;
    // A sync alone would trust the price that Stripe once confirmed.
    stripe_sync::doubt_prices(conn, std::slice::from_ref(&before.id)).await?;
    schedule_sync(conn, &before.id).await?;
    let after = store::find(conn, id).await?;
    let state = |product: &Product| json!({"stripe": product.stripe_status});
    let (was, is) = (state(&before), state(&after));
    audit::record(conn, actor, "product.sync", &object(&after), was, is).await?;
    Ok(after)
}

/// A change of several products at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkAction {
    Archive,
    Restore,
    Sync,
}

impl BulkAction {
    /// All actions.
    pub const ALL: [BulkAction; 3] = [BulkAction::Archive, BulkAction::Restore, BulkAction::Sync];

    /// Returns the action as the API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            BulkAction::Archive => "archive",
            BulkAction::Restore => "restore",
            BulkAction::Sync => "sync",
        }
    }

    /// Parses the name of an action.
    pub fn parse(text: &str) -> Option<BulkAction> {
        BulkAction::ALL
            .into_iter()
            .find(|action| action.as_str() == text)
    }
}

/// Changes all of these products, given by id or slug, or none of them. Safe to repeat.
///
/// # Errors
/// 404 if one of them does not exist.
pub async fn change_many(
    conn: &mut PgConnection,
    actor: &Actor,
    action: BulkAction,
    ids: &[&str],
) -> Result<Vec<Product>> {
    let mut named = Vec::with_capacity(ids.len());
    for id in ids {
        named.push(store::find(conn, id).await?.id);
    }
    // In id order, as everywhere, so that concurrent changes wait for each other instead of deadlocking.
    named.sort_unstable();
    named.dedup();
    let mut changed = Vec::with_capacity(named.len());
    for ProductId(id) in &named {
        changed.push(match action {
            BulkAction::Archive => set_active(conn, actor, id, false, None).await?,
            BulkAction::Restore => set_active(conn, actor, id, true, None).await?,
            BulkAction::Sync => resync(conn, actor, id).await?,
        });
    }
    Ok(changed)
}

/// Copies a product. The copy is a draft and has no stock.
///
/// # Errors
/// 404.
pub async fn duplicate(conn: &mut PgConnection, actor: &Actor, id: &str) -> Result<Product> {
    const ENDING: &str = " (copy)";
    let original = store::find(conn, id).await?;
    let room = NAME_CHARS - ENDING.len();
    let name: String = original.name.chars().take(room).collect();
    let input = ProductInput {
        name: Some(name.trim_end().to_owned() + ENDING),
        lighter_type: Some(original.lighter_type),
        price: Some(original.price),
        currency: Some(original.currency),
        category: Some(original.category_id.map(CategoryKey::Id)),
        description: Some(original.description),
        images: Some(original.images.into_iter().map(|image| image.id).collect()),
        primary_image: Some(original.primary_image),
        secondary_image: Some(original.secondary_image),
        is_active: Some(true),
        is_draft: Some(true),
        weight_ounces: Some(original.weight_ounces),
        is_whole: true,
        ..ProductInput::default()
    };
    let copy = insert(conn, actor, Parsed::from(input)).await?;
    let after = Value::Object(audit_snapshot(&copy));
    let before = json!({"copy_of": original.id});
    audit::record(
        conn,
        actor,
        "product.duplicate",
        &object(&copy),
        before,
        after,
    )
    .await?;
    Ok(copy)
}

/// Changes a product's stock, with a reason that the ledger records.
///
/// # Errors
/// Field errors; 404; 409 `inventory_changed` or `stock_is_held`.
pub async fn change_stock(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    parsed: Parsed<StockInput>,
) -> Result<StockView> {
    let product = locked(conn, id, None).await?;
    let StockInput {
        delta,
        reason,
        note,
        expected_inventory_count,
    } = parsed.whole()?;
    if let Some(seen) = expected_inventory_count {
        check_available(&product, seen)?;
    }
    let reason = reason.unwrap_or(StockReason::Correction);
    let cause = StockCause {
        note: &note,
        ..StockCause::new(reason, &actor.name)
    };
    let (on_hand, reserved) = inventory::adjust(conn, &product.id, delta, cause).await?;
    let was = json!({"on_hand": product.on_hand});
    let is = json!({"on_hand": on_hand, "delta": delta, "reason": reason, "note": note});
    audit::record(conn, actor, "product.stock", &object(&product), was, is).await?;
    Ok(StockView {
        product_id: product.id,
        on_hand,
        reserved,
        inventory_count: on_hand - reserved,
    })
}

/// Inserts a product with its initial stock and schedules its sync.
async fn insert(
    conn: &mut PgConnection,
    actor: &Actor,
    mut parsed: Parsed<ProductInput>,
) -> Result<Product> {
    let category_id = resolve_category(conn, &mut parsed).await?;
    let images = hold_images(conn, &mut parsed).await?;
    let input = parsed.whole()?;
    let id = input
        .id
        .clone()
        .unwrap_or_else(|| ProductId(Uuid::new_v4().to_string()));
    let count = input.inventory_count.unwrap_or(0);
    let slug_is_given = input.slug.is_some();
    let mut product = Product::blank(id);
    check_schedule(&input, &product)?;
    input.apply(category_id, &images, &mut product);

    loop {
        if !slug_is_given {
            product.slug = new_slug(conn, &product.name).await?;
        }
        if store::insert(conn, &product).await? {
            break;
        }
        if store::is_id_taken(conn, &product.id).await? {
            let sentence = format!("There is or was a product with the id {}.", product.id);
            return Err(Error::Conflict(Code::IdTaken, sentence));
        }
        if slug_is_given {
            return Err(slug_taken(&product.slug));
        }
        // Another transaction took the slug between the two statements; the next round sees it.
    }
    set_images(conn, &product).await?;
    if count > 0 {
        let cause = StockCause::new(StockReason::Initial, &actor.name);
        inventory::adjust(conn, &product.id, count, cause).await?;
    }
    schedule_sync(conn, &product.id).await?;
    store::find(conn, &product.id.0).await
}

/// Applies the given fields to a locked product.
pub(super) async fn apply(
    conn: &mut PgConnection,
    actor: &Actor,
    before: &Product,
    mut parsed: Parsed<ProductInput>,
) -> Result<Product> {
    let category_id = resolve_category(conn, &mut parsed).await?;
    let images = hold_images(conn, &mut parsed).await?;
    let mut input = parsed.whole()?;
    check_version(before, input.version)?;
    if let (Some(wanted), Some(seen)) = (input.inventory_count, input.expected_inventory_count) {
        check_available(before, seen)?;
        let delta = wanted - before.available();
        if delta != 0 {
            let cause = StockCause::new(StockReason::Correction, &actor.name);
            inventory::adjust(conn, &before.id, delta, cause).await?;
        }
    }
    if input.slug.as_deref() == Some("") {
        let name = input.name.as_ref().unwrap_or(&before.name);
        input.slug = Some(other_slug(conn, name, &before.slug).await?);
    }
    check_schedule(&input, before)?;
    let mut after = before.clone();
    input.apply(category_id, &images, &mut after);
    save(conn, before, &after).await
}

pub(super) async fn save(
    conn: &mut PgConnection,
    before: &Product,
    after: &Product,
) -> Result<Product> {
    if after == before {
        // Without changed fields there is no new version, but the stock may have changed.
        return store::find(conn, &after.id.0).await;
    }
    let for_stripe = after.concerns_stripe(before);
    match store::update(conn, after, for_stripe).await {
        Err(sqlx::Error::Database(e)) if e.constraint() == Some("products_slug_key") => {
            return Err(slug_taken(&after.slug));
        }
        done => done?,
    }
    if after.images != before.images {
        set_images(conn, after).await?;
    }
    if for_stripe {
        schedule_sync(conn, &after.id).await?;
    }
    store::find(conn, &after.id.0).await
}

/// Makes an unused slug from a name.
pub(super) async fn new_slug(conn: &mut PgConnection, name: &str) -> Result<String> {
    other_slug(conn, name, "").await
}

/// Makes a slug from a name: an unused one, or `own`, the product's current one.
async fn other_slug(conn: &mut PgConnection, name: &str, own: &str) -> Result<String> {
    let stem = slugs::stem(name, "product");
    let taken: HashSet<String> = store::slugs_like(conn, &stem).await?.into_iter().collect();
    Ok(free_slug(name, "product", |slug| {
        slug != own && taken.contains(slug)
    }))
}

/// Queues the sync of a product to Stripe.
pub(super) async fn schedule_sync(conn: &mut PgConnection, id: &ProductId) -> Result<()> {
    let product = id.clone();
    jobs::enqueue(conn, &Job::SyncProduct { product }).await
}

/// Locks a product until the transaction ends, and checks its version if one is expected.
pub(super) async fn locked(
    conn: &mut PgConnection,
    id: &str,
    version: Option<i64>,
) -> Result<Product> {
    let product = store::lock(conn, id).await?;
    check_version(&product, version)?;
    Ok(product)
}

/// Finds the id of the given category. A category that does not exist is a field error.
async fn resolve_category(
    conn: &mut PgConnection,
    parsed: &mut Parsed<ProductInput>,
) -> Result<Option<Option<i64>>> {
    let key: &CategoryKey = match &parsed.value.category {
        None => return Ok(None),
        Some(None) => return Ok(Some(None)),
        Some(Some(key)) => key,
    };
    let id = categories::hold(conn, key).await?;
    if id.is_none() {
        parsed
            .field_errors
            .push(FieldError::new("category", "There is no such category."));
    }
    Ok(Some(id))
}

/// Locks the given images until the transaction ends. Images that do not exist are field errors.
async fn hold_images(
    conn: &mut PgConnection,
    parsed: &mut Parsed<ProductInput>,
) -> Result<BTreeMap<ImageId, Image>> {
    let ids = parsed.value.image_ids();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let held = images::hold(conn, &ids).await?;
    parsed
        .field_errors
        .extend(parsed.value.unknown_images(&held));
    Ok(held)
}

async fn set_images(conn: &mut PgConnection, product: &Product) -> Result<()> {
    let ids: Vec<ImageId> = product
        .images
        .iter()
        .map(|image| image.id.clone())
        .collect();
    store::set_images(conn, &product.id, &ids).await
}

fn check_version(product: &Product, seen: Option<i64>) -> Result<()> {
    match seen {
        Some(seen) if seen != product.version => Err(Error::Conflict(
            Code::VersionConflict,
            format!(
                "The product has changed in the meantime: its version is now {}, not {seen}.",
                product.version
            ),
        )),
        _ => Ok(()),
    }
}

/// Refuses a time for an archived product, and a new time that is past. The product's own time may be past: the job has
/// not run yet.
fn check_schedule(input: &ProductInput, before: &Product) -> Result<()> {
    let Some(at) = input.on_sale_at.flatten() else {
        return Ok(());
    };
    let sentence = if !input.is_active.unwrap_or(before.is_active) {
        NOT_ARCHIVED
    } else if before.on_sale_at != Some(at) && at <= Utc::now() {
        "Must be in the future."
    } else {
        return Ok(());
    };
    Err(Error::invalid("on_sale_at", sentence))
}

fn check_available(product: &Product, seen: i32) -> Result<()> {
    if seen == product.available() {
        return Ok(());
    }
    Err(Error::Conflict(
        Code::InventoryChanged,
        format!(
            "The stock changed meanwhile: {} are available now, not {seen}.",
            product.available()
        ),
    ))
}

fn slug_taken(slug: &str) -> Error {
    Error::Conflict(
        Code::SlugTaken,
        format!("Another product has the slug {slug}."),
    )
}

/// Returns the name of a product in the audit log.
fn object(product: &Product) -> String {
    format!("product:{}", product.id)
}

/// Returns the fields of a product for the audit log.
fn audit_snapshot(product: &Product) -> Map<String, Value> {
    let images: Vec<&ImageId> = product.images.iter().map(|image| &image.id).collect();
    let snapshot = json!({
        "name": product.name,
        "slug": product.slug,
        "size": lighter_type_display(product.lighter_type),
        "price": product.price.in_currency(&product.currency),
        "category": product.category_name,
        "weight_ounces": product.weight_ounces,
        "description": product.description,
        "is_sold_out": product.is_sold_out,
        "is_active": product.is_active,
        "is_draft": product.is_draft,
        "on_sale_at": product.on_sale_at,
        "images": images,
    });
    match snapshot {
        Value::Object(snapshot) => snapshot,
        _ => Map::new(),
    }
}

/// Writes the fields that differ to the audit log. Writes nothing if none differ.
pub(super) async fn record_change(
    conn: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    before: &Product,
    after: &Product,
) -> Result<()> {
    let (was, is) = (audit_snapshot(before), audit_snapshot(after));
    let differ =
        |this: &Map<String, Value>, other: &Map<String, Value>| -> BTreeMap<String, Value> {
            let fields = this
                .iter()
                .filter(|(name, value)| other.get(*name) != Some(value));
            fields
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
    let (old, new) = (differ(&was, &is), differ(&is, &was));
    if new.is_empty() {
        return Ok(());
    }
    let object = object(after);
    audit::record(conn, actor, action, &object, json!(old), json!(new)).await
}
