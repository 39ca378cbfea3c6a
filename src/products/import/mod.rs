//! Import and export of the catalog as one file: `{"categories": […], "products": […]}`.
//!
//! An import is an upsert by id. It applies all rows or none, and reports every invalid row. A row is a whole product:
//! missing fields take their defaults, except for the slug, the stock, Stripe's ids and the creation time, which stay.
//! `import(export())` changes nothing.

pub mod demo;
mod file_images;
mod merge;
mod parse;
mod rows;
mod store;

pub use file_images::{FileImages, named_id, named_images};

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::Product;
use super::categories::Category;
use super::inventory::{self, StockCause, StockReason};
use super::views::serialize_time;
use crate::audit::Actor;
use crate::error::{Error, FieldError, Result};
use crate::images::{self, Image};
use crate::jobs;
use crate::types::ids::{ImageId, ProductId};
use crate::types::money::Currency;
use merge::{ExistingCatalog, PlannedProduct, merge_categories, merge_products};
use parse::parse;
use rows::ProductRow;

/// Counts of the rows that an import created, updated or left unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportSummary {
    pub categories_created: usize,
    pub categories_updated: usize,
    pub products_created: usize,
    pub products_updated: usize,
    /// Rows, of both kinds, that matched the database.
    pub unchanged: usize,
}

/// Imports a catalog file; the caller commits. With `images`, every image in the file that this shop would host must be
/// among them or, by its id, already in this shop. Without `images`, paths are left unchanged.
///
/// # Errors
/// An error for each invalid field, with the index of its row: `products[3].price`.
pub async fn import(
    conn: &mut PgConnection,
    actor: &Actor,
    text: &str,
    images: Option<&FileImages>,
    currency: Currency,
) -> Result<ImportSummary> {
    let mut field_errors = Vec::new();
    let (categories, products) = parse(text, images, currency, &mut field_errors)?;

    // Every transaction locks products before categories, and products in id order.
    let existing = store::lock_products(conn, &categories, &products).await?;
    let existing_categories = store::lock_categories(conn).await?;
    let categories = merge_categories(categories, &existing_categories, &mut field_errors);
    let existing = ExistingCatalog {
        products: existing,
        other_slugs: store::other_slugs(conn, &products).await?,
        categories: categories
            .iter()
            .chain(&existing_categories)
            .map(|category| category.id)
            .collect(),
        images: hold_images(conn, &products, &mut field_errors).await?,
    };
    let planned = merge_products(products, existing, &mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let mut summary = ImportSummary::default();
    write_categories(conn, &categories, &existing_categories, &mut summary).await?;
    write_products(conn, actor, &planned, &mut summary).await?;
    Ok(summary)
}

/// Writes the categories that differ.
async fn write_categories(
    conn: &mut PgConnection,
    categories: &[Category],
    existing: &[Category],
    summary: &mut ImportSummary,
) -> Result<()> {
    let before: HashMap<i64, &Category> = existing.iter().map(|c| (c.id, c)).collect();
    let mut changed = Vec::new();
    for category in categories {
        match before.get(&category.id) {
            Some(same) if *same == category => {
                summary.unchanged += 1;
                continue;
            }
            Some(_) => summary.categories_updated += 1,
            None => summary.categories_created += 1,
        }
        changed.push(category);
    }
    if changed.is_empty() {
        return Ok(());
    }
    store::write_categories(conn, &changed).await
}

/// Writes the products that differ, with their stock, and schedules their sync to Stripe.
async fn write_products(
    conn: &mut PgConnection,
    actor: &Actor,
    planned: &[PlannedProduct],
    summary: &mut ImportSummary,
) -> Result<()> {
    for one in planned {
        match (one.is_new, one.is_changed || one.delta != 0) {
            (true, _) => summary.products_created += 1,
            (false, true) => summary.products_updated += 1,
            (false, false) => summary.unchanged += 1,
        }
    }
    let changed: Vec<&Product> = planned
        .iter()
        .filter(|one| one.is_changed)
        .map(|one| &one.product)
        .collect();
    if !changed.is_empty() {
        store::write_products(conn, &changed).await?;
    }
    let deltas: Vec<(ProductId, i32)> = planned
        .iter()
        .filter(|one| one.delta != 0)
        .map(|one| (one.product.id.clone(), one.delta))
        .collect();
    if !deltas.is_empty() {
        let cause = StockCause::new(StockReason::Import, &actor.name);
        inventory::adjust_many(conn, &deltas, cause).await?;
    }
    let syncs: Vec<ProductId> = planned
        .iter()
        .filter(|one| one.for_stripe)
        .map(|one| one.product.id.clone())
        .collect();
    if !syncs.is_empty() {
        jobs::enqueue_syncs(conn, &syncs).await?;
    }
    Ok(())
}

/// Locks the images that the rows name, against deletion. Missing images are field errors.
async fn hold_images(
    conn: &mut PgConnection,
    products: &[ProductRow],
    field_errors: &mut Vec<FieldError>,
) -> Result<BTreeMap<ImageId, Image>> {
    let ids: Vec<ImageId> = products
        .iter()
        .flat_map(|(_, row)| row.input.image_ids())
        .collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let held = images::hold(conn, &ids).await?;
    for (prefix, row) in products {
        for field_error in row.input.unknown_images(&held) {
            field_errors.push(FieldError::new(
                format!("{prefix}{}", field_error.field),
                field_error.message,
            ));
        }
    }
    Ok(held)
}

/// Exports the catalog, without deleted products, in the format of [`import`].
pub async fn export(conn: &mut PgConnection) -> Result<Value> {
    let (categories, products) = store::select_all(conn).await?;
    let products: Vec<Value> = products.iter().map(exported).collect();
    Ok(json!({"categories": categories, "products": products}))
}

fn exported(product: &Product) -> Value {
    let image = |path: &Option<String>| {
        path.as_ref()
            .map(|path| path.strip_prefix("/media/").unwrap_or(path).to_owned())
    };
    let created_at = serialize_time(&product.created_at, serde_json::value::Serializer);
    json!({
        "id": product.id,
        "name": product.name,
        "slug": product.slug,
        "lighter_type": product.lighter_type,
        "price": product.price,
        "currency": product.currency,
        "category_id": product.category_id,
        "description": product.description,
        "primary_image": image(&product.primary_image),
        "secondary_image": image(&product.secondary_image),
        "images": product.images.iter().map(|image| &image.id).collect::<Vec<_>>(),
        "is_sold_out": product.is_sold_out,
        "is_active": product.is_active,
        "is_draft": product.is_draft,
        "on_sale_at": product.on_sale_at,
        "inventory_count": product.available(),
        "weight_ounces": product.weight_ounces,
        "stripe_product_id": product.stripe_product_id,
        "stripe_price_id": product.stripe_price_id,
        "created_at": created_at.expect("a time is a text"),
    })
}
