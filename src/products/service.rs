//! Product changes and their rules.

use std::collections::{BTreeMap, HashSet};

use chrono::Utc;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::fields::CategoryKey;
use super::input::{Parsed, ProductInput, StockInput};
use super::slugs::{self, free_slug};
use super::views::StockView;
use super::{Product, Reason, SyncStatus, stock, store, sync};
use crate::error::{Error, FieldError, Result};
use crate::images::{self, Image};
use crate::jobs::{self, Job};
use crate::types::ids::{ImageId, OrderId, ProductId};
use crate::types::money::Cents;

/// Creates a product with its initial stock and schedules its sync to Stripe.
///
/// # Errors
/// Field errors; 409 `id_taken` (also by a deleted product) or `slug_taken`.
pub async fn create(
    conn: &mut PgConnection,
    mut parsed: Parsed<ProductInput>,
    actor: &str,
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
    input.apply(category_id, &images, &mut product);

    loop {
        if !slug_is_given {
            let stem = slugs::stem(&product.name, "product");
            let taken: HashSet<String> =
                store::slugs_like(conn, &stem).await?.into_iter().collect();
            product.slug = free_slug(&product.name, "product", |slug| taken.contains(slug));
        }
        if store::insert(conn, &product).await? {
            break;
        }
        if store::is_id_taken(conn, &product.id).await? {
            let sentence = format!("There is or was a product with the id {}.", product.id);
            return Err(Error::Conflict("id_taken", sentence));
        }
        if slug_is_given {
            return Err(slug_taken(&product.slug));
        }
        // Another transaction took the slug between the two statements; the next round sees it.
    }
    set_images(conn, &product).await?;
    if count > 0 {
        stock::adjust(conn, &product.id, count, Reason::Initial, "", actor).await?;
    }
    announce(conn, &product.id).await?;
    refreshed(conn, &product.id).await
}

/// Changes a product's fields, and its stock if the caller sent the expected count.
///
/// # Errors
/// Field errors; 404; 409 `version_conflict`, `inventory_changed`, `stock_is_held` or `slug_taken`.
pub async fn change(
    conn: &mut PgConnection,
    id: &str,
    mut parsed: Parsed<ProductInput>,
    expected_version: Option<i64>,
    actor: &str,
) -> Result<Product> {
    let before = locked(conn, id, expected_version).await?;
    let category_id = resolve_category(conn, &mut parsed).await?;
    let images = hold_images(conn, &mut parsed).await?;
    let input = parsed.whole()?;
    check_version(&before, input.version)?;
    if let (Some(wanted), Some(seen)) = (input.inventory_count, input.expected_inventory_count) {
        check_available(&before, seen)?;
        let delta = wanted - before.available();
        if delta != 0 {
            stock::adjust(conn, &before.id, delta, Reason::Correction, "", actor).await?;
        }
    }
    let mut after = before.clone();
    input.apply(category_id, &images, &mut after);
    save(conn, &before, &after).await
}

/// Puts a product on sale or archives it. Safe to repeat: a second call changes nothing.
pub async fn set_active(
    conn: &mut PgConnection,
    id: &str,
    is_active: bool,
    expected_version: Option<i64>,
) -> Result<Product> {
    let before = locked(conn, id, expected_version).await?;
    let after = Product {
        is_active,
        ..before.clone()
    };
    save(conn, &before, &after).await
}

/// Deletes a product permanently and frees its slug. The row stays, because orders and the ledger refer to it.
pub async fn delete(
    conn: &mut PgConnection,
    id: &str,
    expected_version: Option<i64>,
) -> Result<()> {
    let product = locked(conn, id, expected_version).await?;
    store::set_deleted(conn, &product.id).await?;
    announce(conn, &product.id).await
}

/// Restocks pieces of an order. The caller has locked the rows and checked that so many were sold and not returned. A
/// deleted product is restored as archived, because its stock would be unreachable otherwise. Returns the names of the
/// restored products.
pub async fn put_back(
    conn: &mut PgConnection,
    order: OrderId,
    pieces: &[(ProductId, i32)],
    actor: &str,
) -> Result<Vec<String>> {
    stock::put_back(conn, order, pieces, actor).await?;
    let ids: Vec<&ProductId> = pieces.iter().map(|(id, _)| id).collect();
    let deleted = store::list_deleted(conn, &ids).await?;
    let mut names = Vec::new();
    for (id, name, slug) in deleted {
        bring_back(conn, &id, &name, &slug).await?;
        announce(conn, &id).await?;
        names.push(name);
    }
    Ok(names)
}

/// Restores a deleted product as archived. It gets another slug if its own is in use.
async fn bring_back(conn: &mut PgConnection, id: &ProductId, name: &str, slug: &str) -> Result<()> {
    let mut slug = slug.to_owned();
    loop {
        let mut attempt = conn.begin().await?;
        match store::set_undeleted(&mut attempt, id, &slug).await {
            Err(sqlx::Error::Database(e)) if e.constraint() == Some("products_slug_key") => {
                attempt.rollback().await?;
            }
            done => {
                done?;
                attempt.commit().await?;
                return Ok(());
            }
        }
        let stem = slugs::stem(name, "product");
        let taken: HashSet<String> = store::slugs_like(conn, &stem).await?.into_iter().collect();
        slug = free_slug(name, "product", |slug| taken.contains(slug));
    }
}

/// Schedules another sync of the product to Stripe. Safe to repeat.
pub async fn resync(conn: &mut PgConnection, id: &str) -> Result<Product> {
    let product = locked(conn, id, None).await?;
    sync::doubt_prices(conn, std::slice::from_ref(&product.id)).await?;
    announce(conn, &product.id).await?;
    refreshed(conn, &product.id).await
}

/// Changes a product's stock, with a reason that the ledger records.
///
/// # Errors
/// Field errors; 404; 409 `inventory_changed` or `stock_is_held`.
pub async fn change_stock(
    conn: &mut PgConnection,
    id: &str,
    parsed: Parsed<StockInput>,
    actor: &str,
) -> Result<StockView> {
    let product = locked(conn, id, None).await?;
    let input = parsed.whole()?;
    if let Some(seen) = input.expected_inventory_count {
        check_available(&product, seen)?;
    }
    let reason = input.reason.unwrap_or(Reason::Correction);
    let (on_hand, reserved) =
        stock::adjust(conn, &product.id, input.delta, reason, &input.note, actor).await?;
    Ok(StockView {
        product_id: product.id,
        on_hand,
        reserved,
        inventory_count: on_hand - reserved,
    })
}

impl Product {
    /// Creates a product with nothing but its id. The database sets the times.
    pub(super) fn blank(id: ProductId) -> Product {
        let now = Utc::now();
        Product {
            id,
            name: String::new(),
            slug: String::new(),
            lighter_type: 1,
            price: Cents::ZERO,
            currency: String::new(),
            category_id: None,
            category_name: None,
            description: String::new(),
            primary_image: None,
            secondary_image: None,
            images: Vec::new(),
            is_sold_out: false,
            is_active: true,
            on_hand: 0,
            reserved: 0,
            weight_ounces: "2.00".to_owned(),
            version: 1,
            stripe_product_id: None,
            stripe_price_id: None,
            stripe_status: SyncStatus::Pending,
            stripe_error: None,
            created_at: now,
            updated_at: now,
        }
    }
}

async fn save(conn: &mut PgConnection, before: &Product, after: &Product) -> Result<Product> {
    if after == before {
        // Without changed fields there is no new version, but the stock may have changed.
        return refreshed(conn, &after.id).await;
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
        announce(conn, &after.id).await?;
    }
    refreshed(conn, &after.id).await
}

async fn announce(conn: &mut PgConnection, id: &ProductId) -> Result<()> {
    jobs::enqueue(
        conn,
        &Job::SyncProduct {
            product: id.clone(),
        },
    )
    .await
}

async fn locked(
    conn: &mut PgConnection,
    id: &str,
    expected_version: Option<i64>,
) -> Result<Product> {
    let product = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Product"))?;
    check_version(&product, expected_version)?;
    Ok(product)
}

async fn refreshed(conn: &mut PgConnection, id: &ProductId) -> Result<Product> {
    let product = store::lock(conn, &id.0).await?;
    product.ok_or_else(|| anyhow::anyhow!("product {id} is gone").into())
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
    let id = store::category_id(conn, key).await?;
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
            "version_conflict",
            format!(
                "The product has changed in the meantime: its version is now {}, not {seen}.",
                product.version
            ),
        )),
        _ => Ok(()),
    }
}

fn check_available(product: &Product, seen: i32) -> Result<()> {
    if seen == product.available() {
        return Ok(());
    }
    Err(Error::Conflict(
        "inventory_changed",
        format!(
            "The stock changed meanwhile: {} are available now, not {seen}.",
            product.available()
        ),
    ))
}

fn slug_taken(slug: &str) -> Error {
    Error::Conflict(
        "slug_taken",
        format!("Another product has the slug {slug}."),
    )
}
