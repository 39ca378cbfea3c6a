//! The state of the catalog after an import.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::rows::{CategoryRow, ProductRow, note_repeat};
use super::store::ExistingProduct;
use crate::error::FieldError;
use crate::images::Image;
use crate::products::categories::{Category, name_key};
use crate::products::fields::CategoryKey;
use crate::products::slugs::free_slug;
use crate::products::{Product, SyncStatus};
use crate::types::ids::{ImageId, ProductId};

/// The state of a product after the import.
pub struct PlannedProduct {
    pub product: Product,
    pub delta: i32,
    pub is_new: bool,
    pub is_changed: bool,
    /// Set if the product must be synced to Stripe.
    pub for_stripe: bool,
}

/// Computes the state of the categories after the import.
pub fn merge_categories(
    rows: Vec<CategoryRow>,
    known: &[Category],
    field_errors: &mut Vec<FieldError>,
) -> Vec<Category> {
    let before: HashMap<i64, &Category> = known.iter().map(|c| (c.id, c)).collect();
    let named: HashSet<i64> = rows.iter().map(|(_, (id, _))| *id).collect();
    let others = known
        .iter()
        .filter(|category| !named.contains(&category.id));
    let mut slugs: HashMap<String, String> = others
        .map(|category| (category.slug.clone(), format!("Category {}", category.id)))
        .collect();
    note_repeated_names(&rows, known, field_errors);
    let mut categories = Vec::with_capacity(rows.len());
    for (prefix, (id, row)) in rows {
        let kept = before.get(&id).map(|category| category.position);
        let position = row.position.or(kept).unwrap_or_default();
        let kept = before.get(&id).map(|category| category.slug.clone());
        let slug = row.slug.or(kept).unwrap_or_default();
        if !slug.is_empty() {
            note_repeat(&mut slugs, slug.clone(), &prefix, "slug", field_errors);
        }
        categories.push(Category {
            id,
            name: row.name.unwrap_or_default(),
            slug,
            description: row.description.unwrap_or_default(),
            position,
        });
    }
    for category in categories
        .iter_mut()
        .filter(|category| category.slug.is_empty())
    {
        category.slug = free_slug(&category.name, "category", |slug| slugs.contains_key(slug));
        slugs.insert(category.slug.clone(), String::new());
    }
    categories
}

/// State of the database that product rows are merged with. Its products and images are locked.
pub struct ExistingCatalog {
    /// The products that the file names.
    pub products: HashMap<ProductId, ExistingProduct>,
    /// Slugs of the other products.
    pub other_slugs: Vec<String>,
    /// Ids of all categories, with those that the file adds.
    pub categories: HashSet<i64>,
    pub images: BTreeMap<ImageId, Image>,
}

/// Computes the state of the products after the import, in id order.
pub fn merge_products(
    rows: Vec<ProductRow>,
    mut existing: ExistingCatalog,
    field_errors: &mut Vec<FieldError>,
) -> Vec<PlannedProduct> {
    let mut slugs: HashMap<String, String> = existing
        .other_slugs
        .drain(..)
        .map(|slug| (slug, "Another product".to_owned()))
        .collect();
    let mut planned: Vec<PlannedProduct> = rows
        .into_iter()
        .filter_map(|row| merge_product(row, &mut existing, &mut slugs, field_errors))
        .collect();
    for one in planned.iter_mut().filter(|one| one.product.slug.is_empty()) {
        one.product.slug = free_slug(&one.product.name, "product", |slug| {
            slugs.contains_key(slug)
        });
        slugs.insert(one.product.slug.clone(), String::new());
    }
    planned.sort_by(|a, b| a.product.id.cmp(&b.product.id));
    planned
}

/// Computes the state of one product. An empty slug is still to be made from the name.
fn merge_product(
    (prefix, row): ProductRow,
    existing: &mut ExistingCatalog,
    slugs: &mut HashMap<String, String>,
    field_errors: &mut Vec<FieldError>,
) -> Option<PlannedProduct> {
    let id = row.input.id.clone()?;
    let before = existing.products.remove(&id);
    let is_new = before.is_none();
    let revives = before.as_ref().is_some_and(|known| known.is_deleted);
    let is_verified = before.as_ref().is_some_and(|known| known.is_verified);
    let before = before.map_or_else(|| Product::blank(id), |known| known.product);
    let mut product = before.clone();

    let category_id = row.input.category.clone().map(|key| match key {
        Some(CategoryKey::Id(id)) => Some(id),
        _ => None,
    });
    if category_id
        .flatten()
        .is_some_and(|id| !existing.categories.contains(&id))
    {
        field_errors.push(FieldError::new(
            format!("{prefix}category_id"),
            "There is no such category.",
        ));
    }
    let count = row.input.inventory_count;
    // A deleted product does not keep its slug: another one has it by now.
    if revives && row.input.slug.is_none() && slugs.contains_key(&product.slug) {
        product.slug = String::new();
    }
    row.input
        .apply(Some(category_id.flatten()), &existing.images, &mut product);
    if !product.slug.is_empty() {
        note_repeat(slugs, product.slug.clone(), &prefix, "slug", field_errors);
    }
    // Ids that Stripe has confirmed win over the file's.
    if !is_verified {
        product.stripe_product_id = row.stripe_product_id.or(product.stripe_product_id);
        product.stripe_price_id = row.stripe_price_id.or(product.stripe_price_id);
    }
    product.created_at = row.created_at.unwrap_or(product.created_at);

    let is_changed = is_new || revives || product != before;
    let for_stripe = is_changed && (revives || product.concerns_stripe(&before));
    if for_stripe {
        product.stripe_status = SyncStatus::Pending;
        product.stripe_error = None;
    }
    Some(PlannedProduct {
        delta: count.map_or(0, |count| count - before.available()),
        is_new,
        is_changed,
        for_stripe,
        product,
    })
}

/// Reports categories whose name another category has. A category may keep its current name.
fn note_repeated_names(
    rows: &[CategoryRow],
    known: &[Category],
    field_errors: &mut Vec<FieldError>,
) {
    let named: HashSet<i64> = rows.iter().map(|(_, (id, _))| *id).collect();
    let mut names: HashMap<String, String> = known
        .iter()
        .filter(|category| !named.contains(&category.id))
        .map(|category| {
            (
                name_key(&category.name),
                format!("Category {}", category.id),
            )
        })
        .collect();
    let has_new_name = |id: i64, name: &str| {
        !known
            .iter()
            .any(|category| category.id == id && category.name == name)
    };
    let (new, kept): (Vec<_>, Vec<_>) = rows
        .iter()
        .filter_map(|(prefix, (id, row))| Some((prefix, *id, row.name.as_deref()?)))
        .partition(|(_, id, name)| has_new_name(*id, name));
    for (prefix, _, name) in kept {
        names.insert(name_key(name), prefix.clone());
    }
    for (prefix, _, name) in new {
        note_repeat(&mut names, name_key(name), prefix, "name", field_errors);
    }
}
