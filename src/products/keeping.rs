//! Product and category changes made by staff, in the admin and over HTTP. Each change is written to the audit log.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::categories::{self, Category};
use super::fields::CategoryKey;
use super::input::{
    self, CategoryInput, MAX_IMAGES, NAME_CHARS, Parsed, ProductInput, StockInput, Write,
};
use super::listing::{Categories, Filter, PageRequest, search};
use super::views::{MovementView, StockView, lighter_type_display};
use super::{Product, SyncStatus, service, slugs, store};
use crate::audit::{self, Actor};
use crate::error::{Error, FieldError, Result};
use crate::types::ids::{ImageId, ProductId};
use crate::types::money::Currency;

/// Tabs of the admin's product list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductTab {
    Active,
    Archived,
    SoldOut,
    /// Few pieces are left of a product that once had more.
    RunningOut,
    /// Stripe refused the product.
    Failed,
    All,
}

impl ProductTab {
    pub const ALL: [ProductTab; 6] = [
        ProductTab::Active,
        ProductTab::RunningOut,
        ProductTab::SoldOut,
        ProductTab::Archived,
        ProductTab::Failed,
        ProductTab::All,
    ];
}

/// Sort orders of the admin's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductSort {
    Name,
    Newest,
    Cheapest,
    Dearest,
    /// Fewest available first.
    Stock,
}

impl ProductSort {
    pub const ALL: [ProductSort; 5] = [
        ProductSort::Name,
        ProductSort::Newest,
        ProductSort::Cheapest,
        ProductSort::Dearest,
        ProductSort::Stock,
    ];
}

/// Filters and page of the admin's list.
#[derive(Clone, Debug)]
pub struct ProductQuery {
    pub kind: ProductTab,
    pub sort: Option<ProductSort>,
    pub search: String,
    pub category: Option<i64>,
    pub lighter_type: Option<i16>,
    /// At most this many pieces count as few.
    pub low_stock: i32,
    /// Page number, starting at 1.
    pub page: i64,
    pub page_size: i64,
}

/// Returns a page of products and the total number on all pages.
pub async fn browse(conn: &mut PgConnection, wanted: &ProductQuery) -> Result<(i64, Vec<Product>)> {
    let mut filter = Filter {
        with_inactive: true,
        lighter_type: wanted.lighter_type,
        category: wanted.category.map(|id| Categories {
            ids: vec![id],
            slugs: Vec::new(),
            count: 1,
        }),
        search: search(&wanted.search),
        ordering: match wanted.sort {
            None => Vec::new(),
            Some(ProductSort::Name) => vec!["p.name", "p.id"],
            Some(ProductSort::Newest) => vec!["p.created_at desc", "p.id desc"],
            Some(ProductSort::Cheapest) => vec!["p.price", "p.id"],
            Some(ProductSort::Dearest) => vec!["p.price desc", "p.id desc"],
            Some(ProductSort::Stock) => vec!["p.on_hand - p.reserved", "p.name", "p.id"],
        },
        ..Filter::default()
    };
    match wanted.kind {
        ProductTab::Active => filter.is_active = Some(true),
        ProductTab::Archived => filter.is_active = Some(false),
        ProductTab::SoldOut => (filter.is_active, filter.is_sold_out) = (Some(true), Some(true)),
        ProductTab::RunningOut => filter.running_out = Some(wanted.low_stock),
        ProductTab::Failed => filter.stripe_status = Some(SyncStatus::Error),
        ProductTab::All => {}
    }
    let page = PageRequest::at(wanted.page, wanted.page_size);
    let found = store::list_whole(conn, &filter, page).await?;
    Ok((found.total, found.rows))
}

/// Finds a product by id or slug, on sale or not.
///
/// # Errors
/// 404.
pub async fn find(conn: &mut PgConnection, id: &str) -> Result<Product> {
    let product = store::find(conn, known(id)?, true).await?;
    product.ok_or(Error::NotFound("Product"))
}

/// Returns up to `limit` of a product's latest stock movements, and their total number.
///
/// # Errors
/// 404.
pub async fn movements(
    conn: &mut PgConnection,
    id: &ProductId,
    limit: i64,
) -> Result<(i64, Vec<MovementView>)> {
    let found = store::movements(conn, &id.0, PageRequest::at(1, limit)).await?;
    found.ok_or(Error::NotFound("Product"))
}

/// Creates a product from the API's fields.
///
/// # Errors
/// Field errors.
pub async fn create(
    conn: &mut PgConnection,
    actor: &Actor,
    fields: Map<String, Value>,
    currency: Currency,
) -> Result<Product> {
    let parsed = input::product(fields, Write::Create, &[], currency);
    create_parsed(conn, actor, parsed)
        .await
        .map_err(slug_as_field_error)
}

/// Creates a product.
///
/// # Errors
/// Field errors; 409 `id_taken` or `slug_taken`.
pub(super) async fn create_parsed(
    conn: &mut PgConnection,
    actor: &Actor,
    parsed: Parsed<ProductInput>,
) -> Result<Product> {
    let product = service::create(conn, parsed, &actor.name).await?;
    let after = Value::Object(audit_snapshot(&product));
    written(
        conn,
        actor,
        "product.create",
        &product.id,
        Value::Null,
        after,
    )
    .await?;
    Ok(product)
}

/// Changes the given fields, which are the API's. An empty `slug` is made from the name again.
///
/// # Errors
/// Field errors; 404; 409 `version_conflict` if `version` is outdated.
pub async fn change(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    version: i64,
    mut fields: Map<String, Value>,
    currency: Currency,
) -> Result<Product> {
    let before = locked(conn, id).await?;
    if fields.get("slug").and_then(Value::as_str) == Some("") {
        let name = fields.get("name").and_then(Value::as_str);
        let name = name.unwrap_or(&before.name).to_owned();
        let stem = slugs::stem(&name, "product");
        let mut taken: HashSet<String> =
            store::slugs_like(conn, &stem).await?.into_iter().collect();
        taken.remove(&before.slug);
        let slug = slugs::free_slug(&name, "product", |slug| taken.contains(slug));
        fields.insert("slug".to_owned(), slug.into());
    }
    let parsed = input::product(fields, Write::Patch, &[], currency);
    change_parsed(conn, actor, &before.id.0, parsed, Some(version))
        .await
        .map_err(slug_as_field_error)
}

/// Changes a product, and its stock if the caller sent the expected count.
///
/// # Errors
/// Field errors; 404; 409 `version_conflict`, `inventory_changed`, `stock_is_held` or `slug_taken`.
pub(super) async fn change_parsed(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    parsed: Parsed<ProductInput>,
    version: Option<i64>,
) -> Result<Product> {
    let before = locked(conn, id).await?;
    let after = service::change(conn, &before.id.0, parsed, version, &actor.name).await?;
    written_change(conn, actor, "product.change", &before, &after).await?;
    if after.on_hand != before.on_hand {
        let (was, is) = (
            json!({"on_hand": before.on_hand}),
            json!({"on_hand": after.on_hand, "reason": "correction"}),
        );
        written(conn, actor, "product.stock", &after.id, was, is).await?;
    }
    Ok(after)
}

/// Deletes a product permanently. Orders keep their lines. Returns the deleted product.
///
/// # Errors
/// 404; 409 `version_conflict` if `version` is outdated.
pub async fn delete(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    version: Option<i64>,
) -> Result<Product> {
    let product = locked(conn, id).await?;
    service::delete(conn, &product.id.0, version).await?;
    let before = Value::Object(audit_snapshot(&product));
    written(
        conn,
        actor,
        "product.delete",
        &product.id,
        before,
        Value::Null,
    )
    .await?;
    Ok(product)
}

/// Puts a product on sale or archives it. Safe to repeat.
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
    let before = locked(conn, id).await?;
    let after = service::set_active(conn, &before.id.0, is_active, version).await?;
    let action = if is_active {
        "product.restore"
    } else {
        "product.archive"
    };
    written_change(conn, actor, action, &before, &after).await?;
    Ok(after)
}

/// Schedules another sync of the product to Stripe. Safe to repeat.
///
/// # Errors
/// 404.
pub async fn resync(conn: &mut PgConnection, actor: &Actor, id: &str) -> Result<Product> {
    let before = locked(conn, id).await?;
    let after = service::resync(conn, &before.id.0).await?;
    let state = |product: &Product| json!({"stripe": product.stripe_status});
    written(
        conn,
        actor,
        "product.sync",
        &after.id,
        state(&before),
        state(&after),
    )
    .await?;
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
    pub const ALL: [BulkAction; 3] = [BulkAction::Archive, BulkAction::Restore, BulkAction::Sync];

    pub fn as_str(self) -> &'static str {
        match self {
            BulkAction::Archive => "archive",
            BulkAction::Restore => "restore",
            BulkAction::Sync => "sync",
        }
    }

    pub fn parse(text: &str) -> Option<BulkAction> {
        BulkAction::ALL
            .into_iter()
            .find(|many| many.as_str() == text)
    }
}

/// Changes all of these products, given by id or slug, or none of them. Safe to repeat.
///
/// # Errors
/// 404 if one of them does not exist.
pub async fn change_many(
    conn: &mut PgConnection,
    actor: &Actor,
    what: BulkAction,
    ids: &[&str],
) -> Result<Vec<Product>> {
    let mut named = Vec::with_capacity(ids.len());
    for id in ids {
        named.push(find(conn, id).await?.id);
    }
    // In id order, as everywhere, so that concurrent changes wait for each other instead of deadlocking.
    named.sort_unstable();
    named.dedup();
    let mut changed = Vec::with_capacity(named.len());
    for ProductId(id) in &named {
        changed.push(match what {
            BulkAction::Archive => set_active(conn, actor, id, false, None).await?,
            BulkAction::Restore => set_active(conn, actor, id, true, None).await?,
            BulkAction::Sync => resync(conn, actor, id).await?,
        });
    }
    Ok(changed)
}

/// Copies a product. The copy is archived and has no stock.
///
/// # Errors
/// 404.
pub async fn duplicate(conn: &mut PgConnection, actor: &Actor, id: &str) -> Result<Product> {
    const ENDING: &str = " (copy)";
    let original = find(conn, id).await?;
    let room = NAME_CHARS - ENDING.len();
    let name: String = original.name.chars().take(room).collect();
    let value = ProductInput {
        name: Some(name.trim_end().to_owned() + ENDING),
        lighter_type: Some(original.lighter_type),
        price: Some(original.price),
        currency: Some(original.currency),
        category: Some(original.category_id.map(CategoryKey::Id)),
        description: Some(original.description),
        images: Some(original.images.into_iter().map(|image| image.id).collect()),
        primary_image: Some(original.primary_image),
        secondary_image: Some(original.secondary_image),
        is_active: Some(false),
        weight_ounces: Some(original.weight_ounces),
        is_whole: true,
        ..ProductInput::default()
    };
    let field_errors = Vec::new();
    let copy = service::create(
        conn,
        Parsed {
            value,
            field_errors,
        },
        &actor.name,
    )
    .await?;
    let after = Value::Object(audit_snapshot(&copy));
    let before = json!({"copy_of": original.id});
    written(conn, actor, "product.duplicate", &copy.id, before, after).await?;
    Ok(copy)
}

/// Appends images to a product. Images that it already has are skipped.
///
/// # Errors
/// A field error of `image` if the product would have too many; 404.
pub async fn add_images(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    added: &[ImageId],
) -> Result<Product> {
    let before = locked(conn, id).await?;
    let mut ids: Vec<ImageId> = before.images.iter().map(|image| image.id.clone()).collect();
    for image in added {
        if !ids.contains(image) {
            ids.push(image.clone());
        }
    }
    if ids.len() > MAX_IMAGES {
        let sentence = format!("A product has up to {MAX_IMAGES} images. Remove some first.");
        return Err(Error::invalid("image", sentence));
    }
    arrange(conn, actor, before, ids).await
}

/// A change to the images of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageMove {
    Up(ImageId),
    Down(ImageId),
    Remove(ImageId),
    /// The named images come first, in this order.
    Order(Vec<ImageId>),
}

/// Moves or removes an image of a product. Images that the product does not have are ignored.
///
/// # Errors
/// 404.
pub async fn move_images(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    asked: &ImageMove,
) -> Result<Product> {
    let before = locked(conn, id).await?;
    let mut ids: Vec<ImageId> = before.images.iter().map(|image| image.id.clone()).collect();
    let place = |id: &ImageId| ids.iter().position(|other| other == id);
    match asked {
        ImageMove::Up(id) => {
            if let Some(at) = place(id).filter(|at| *at > 0) {
                ids.swap(at - 1, at);
            }
        }
        ImageMove::Down(id) => {
            if let Some(at) = place(id).filter(|at| at + 1 < ids.len()) {
                ids.swap(at, at + 1);
            }
        }
        ImageMove::Remove(id) => ids.retain(|other| other != id),
        ImageMove::Order(order) => {
            let last = order.len();
            ids.sort_by_key(|id| order.iter().position(|other| other == id).unwrap_or(last));
        }
    }
    arrange(conn, actor, before, ids).await
}

async fn arrange(
    conn: &mut PgConnection,
    actor: &Actor,
    before: Product,
    ids: Vec<ImageId>,
) -> Result<Product> {
    let value = ProductInput {
        images: Some(ids),
        ..ProductInput::default()
    };
    let field_errors = Vec::new();
    let parsed = Parsed {
        value,
        field_errors,
    };
    let after = service::change(conn, &before.id.0, parsed, None, &actor.name).await?;
    written_change(conn, actor, "product.images", &before, &after).await?;
    Ok(after)
}

/// Changes a product's stock. The fields are the API's `delta`, `reason` and `note`. Returns the available pieces
/// afterwards.
///
/// # Errors
/// Field errors; 404; 409 `stock_is_held`.
pub async fn change_stock(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    fields: Map<String, Value>,
) -> Result<i32> {
    let stock = change_stock_parsed(conn, actor, id, input::stock(fields)).await?;
    Ok(stock.inventory_count)
}

/// Changes a product's stock, with a reason.
///
/// # Errors
/// Field errors; 404; 409 `inventory_changed` or `stock_is_held`.
pub(super) async fn change_stock_parsed(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    parsed: Parsed<StockInput>,
) -> Result<StockView> {
    let before = locked(conn, id).await?;
    let (delta, note) = (parsed.value.delta, parsed.value.note.clone());
    let reason = parsed.value.reason.map(super::Reason::as_str);
    let stock = service::change_stock(conn, &before.id.0, parsed, &actor.name).await?;
    written(
        conn,
        actor,
        "product.stock",
        &before.id,
        json!({"on_hand": before.on_hand}),
        json!({"on_hand": stock.on_hand, "delta": delta, "reason": reason, "note": note}),
    )
    .await?;
    Ok(stock)
}

/// A category with the number of products in it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct CountedCategory {
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub category: Category,
    /// Products on sale.
    #[serde(rename = "active_products")]
    pub active: i64,
    #[serde(rename = "archived_products")]
    pub archived: i64,
}

/// Returns all categories, in the owner's order.
pub async fn list_categories(conn: &mut PgConnection) -> Result<Vec<CountedCategory>> {
    categories::select_counted(conn).await
}

/// Creates a category from the API's fields.
///
/// # Errors
/// Field errors.
pub async fn create_category(
    conn: &mut PgConnection,
    actor: &Actor,
    fields: Map<String, Value>,
) -> Result<Category> {
    let input = input::category(fields, Write::Create).whole()?;
    let category = categories::insert(conn, input).await?;
    let object = format!("category:{}", category.id);
    let after = category_facts(&category);
    audit::record(conn, actor, "category.create", &object, Value::Null, after).await?;
    Ok(category)
}

/// Changes a category from the API's fields.
///
/// # Errors
/// Field errors; 404; 409 `slug_taken`.
pub async fn change_category(
    conn: &mut PgConnection,
    actor: &Actor,
    id: i64,
    fields: Map<String, Value>,
) -> Result<Category> {
    change_category_parsed(conn, actor, id, input::category(fields, Write::Patch)).await
}

pub(super) async fn change_category_parsed(
    conn: &mut PgConnection,
    actor: &Actor,
    id: i64,
    parsed: Parsed<CategoryInput>,
) -> Result<Category> {
    let input = parsed.whole()?;
    let before = categories::find(conn, &CategoryKey::Id(id)).await?;
    let before = before.ok_or(Error::NotFound("Category"))?;
    let after = categories::update(conn, id, input).await?;
    if after != before {
        let object = format!("category:{id}");
        let (before, after) = (category_facts(&before), category_facts(&after));
        audit::record(conn, actor, "category.change", &object, before, after).await?;
    }
    Ok(after)
}

/// Deletes a category. Its products stay, without a category. Returns the deleted category.
///
/// # Errors
/// 404.
pub async fn delete_category(conn: &mut PgConnection, actor: &Actor, id: i64) -> Result<Category> {
    let category = categories::find(conn, &CategoryKey::Id(id)).await?;
    let category = category.ok_or(Error::NotFound("Category"))?;
    categories::remove(conn, id).await?;
    let object = format!("category:{id}");
    let before = category_facts(&category);
    audit::record(conn, actor, "category.delete", &object, before, Value::Null).await?;
    Ok(category)
}

/// Puts the given categories first, in this order. The others follow in their current order. Safe to repeat.
///
/// # Errors
/// A field error of `ids` for a category that does not exist or is named twice.
pub async fn order_categories(conn: &mut PgConnection, actor: &Actor, ids: &[i64]) -> Result<()> {
    let before = categories::lock_all(conn).await?;
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
    arrange_categories(conn, actor, &before, &after).await
}

/// Moves a category up or down one place, unless it is at the end already.
///
/// # Errors
/// 404.
pub async fn move_category(
    conn: &mut PgConnection,
    actor: &Actor,
    id: i64,
    up: bool,
) -> Result<Category> {
    let before = categories::lock_all(conn).await?;
    let place = before.iter().position(|other| *other == id);
    let place = place.ok_or(Error::NotFound("Category"))?;
    let mut after = before.clone();
    match up {
        true if place > 0 => after.swap(place - 1, place),
        false if place + 1 < after.len() => after.swap(place, place + 1),
        _ => {}
    }
    arrange_categories(conn, actor, &before, &after).await?;
    let category = categories::find(conn, &CategoryKey::Id(id)).await?;
    category.ok_or(Error::NotFound("Category"))
}

async fn arrange_categories(
    conn: &mut PgConnection,
    actor: &Actor,
    before: &[i64],
    after: &[i64],
) -> Result<()> {
    if before == after {
        return Ok(());
    }
    categories::set_order(conn, after).await?;
    let (before, after) = (json!({"ids": before}), json!({"ids": after}));
    audit::record(conn, actor, "category.order", "categories", before, after).await
}

fn category_facts(one: &Category) -> Value {
    json!({"name": one.name, "slug": one.slug, "description": one.description})
}

async fn locked(conn: &mut PgConnection, id: &str) -> Result<Product> {
    let product = store::lock(conn, known(id)?).await?;
    product.ok_or(Error::NotFound("Product"))
}

/// Rejects text that is neither a valid id nor a valid slug.
fn known(id: &str) -> Result<&str> {
    match ProductId::parse(id) {
        Some(_) => Ok(id),
        None if slugs::is_slug(id) => Ok(id),
        None => Err(Error::NotFound("Product")),
    }
}

/// Shows a slug that is in use as an error beside the field, for the admin.
fn slug_as_field_error(error: Error) -> Error {
    match error {
        Error::Conflict("slug_taken", sentence) => {
            Error::Invalid(vec![FieldError::new("slug", sentence)])
        }
        other => other,
    }
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
        "images": images,
    });
    match snapshot {
        Value::Object(snapshot) => snapshot,
        _ => Map::new(),
    }
}

/// Writes the fields that differ to the audit log. Writes nothing if none differ.
async fn written_change(
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
    written(conn, actor, action, &after.id, json!(old), json!(new)).await
}

async fn written(
    conn: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    id: &ProductId,
    before: Value,
    after: Value,
) -> Result<()> {
    audit::record(conn, actor, action, &format!("product:{id}"), before, after).await
}
