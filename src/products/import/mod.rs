//! Import and export of the catalog as one file: `{"categories": […], "products": […]}`.
//!
//! An import is an upsert by id. It applies all rows or none, and reports every invalid row. A row is a whole product:
//! missing fields take their defaults, except for the slug, the stock, Stripe's ids and the creation time, which stay.
//! `import(export())` changes nothing.

pub mod demo;
mod file_images;
mod rows;

pub use file_images::{TakenImages, named_id, named_images};

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::{FromRow, PgConnection};

use super::categories::{Category, CategoryInput, name_key};
use super::fields::{CategoryKey, Parsed};
use super::slugs::free_slug;
use super::store::{images_column, product_columns};
use super::views::serialize_time;
use super::{Product, Reason, SyncStatus, stock};
use crate::error::{Error, FieldError, Result};
use crate::images::{self, CARD_WIDTH, Image};
use crate::jobs;
use crate::types::ids::{ImageId, ProductId};
use crate::types::money::Currency;
use crate::types::unicode;
use file_images::name_of;
use rows::FileProduct;

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

/// An existing product that the file names.
#[derive(FromRow)]
struct Known {
    #[sqlx(flatten)]
    product: Product,
    is_deleted: bool,
    /// Set if Stripe has confirmed the price. Then the ids in the database are right, and the file's may be outdated.
    is_verified: bool,
}

/// The state of a product after the import.
struct Wanted {
    product: Product,
    delta: i32,
    is_new: bool,
    is_changed: bool,
    /// Set if the product must be synced to Stripe.
    for_stripe: bool,
}

/// Imports a catalog file; the caller commits. With `images`, every image in the file that this shop would host must be
/// among them or, by its id, already in this shop. Without `images`, paths are left unchanged.
///
/// # Errors
/// An error for each invalid field, with the index of its row: `products[3].price`.
pub async fn import(
    conn: &mut PgConnection,
    text: &str,
    images: Option<&TakenImages>,
    currency: Currency,
    actor: &str,
) -> Result<ImportSummary> {
    let mut field_errors = Vec::new();
    let (categories, products) = parse(text, images, currency, &mut field_errors)?;
    let mut summary = ImportSummary::default();

    // Every transaction locks products before categories, and products in id order.
    let known = lock_products(conn, &categories, &products).await?;
    let known_categories = lock_categories(conn).await?;
    let categories = merge_categories(categories, &known_categories, &mut field_errors);
    let category_ids: HashSet<i64> = categories
        .iter()
        .chain(&known_categories)
        .map(|category| category.id)
        .collect();
    let taken = other_slugs(conn, &products).await?;
    let images = hold_images(conn, &products, &mut field_errors).await?;
    let wanted = merge_products(
        products,
        known,
        &category_ids,
        &taken,
        &images,
        &mut field_errors,
    );
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }

    let before: HashMap<i64, &Category> = known_categories.iter().map(|c| (c.id, c)).collect();
    let mut changed = Vec::new();
    for category in &categories {
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
    if !changed.is_empty() {
        write_categories(conn, &changed).await?;
    }

    for one in &wanted {
        match (one.is_new, one.is_changed || one.delta != 0) {
            (true, _) => summary.products_created += 1,
            (false, true) => summary.products_updated += 1,
            (false, false) => summary.unchanged += 1,
        }
    }
    let changed: Vec<&Product> = wanted
        .iter()
        .filter(|one| one.is_changed)
        .map(|one| &one.product)
        .collect();
    if !changed.is_empty() {
        write_products(conn, &changed).await?;
    }
    let deltas: Vec<(ProductId, i32)> = wanted
        .iter()
        .filter(|one| one.delta != 0)
        .map(|one| (one.product.id.clone(), one.delta))
        .collect();
    if !deltas.is_empty() {
        stock::adjust_many(conn, &deltas, Reason::Import, actor).await?;
    }
    let syncs: Vec<ProductId> = wanted
        .iter()
        .filter(|one| one.for_stripe)
        .map(|one| one.product.id.clone())
        .collect();
    if !syncs.is_empty() {
        jobs::enqueue_syncs(conn, &syncs).await?;
    }
    Ok(summary)
}

/// Exports the catalog, without deleted products, in the format of [`import`].
pub async fn export(conn: &mut PgConnection) -> Result<Value> {
    let categories: Vec<Category> =
        sqlx::query_as("select id, name, slug, description, position from categories order by id")
            .fetch_all(&mut *conn)
            .await?;
    let products: Vec<Product> = sqlx::query_as(concat!(
        "select ",
        product_columns!(),
        "
         from products p
         left join categories c on c.id = p.category_id
         where p.deleted_at is null
         order by p.created_at, p.id"
    ))
    .fetch_all(conn)
    .await?;
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
        "inventory_count": product.available(),
        "weight_ounces": product.weight_ounces,
        "stripe_product_id": product.stripe_product_id,
        "stripe_price_id": product.stripe_price_id,
        "created_at": created_at.expect("a time is a text"),
    })
}

/// The valid rows of the file, each with the prefix of its field errors: `products[3].`
type FileRows = (Vec<Row<(i64, CategoryInput)>>, Vec<Row<FileProduct>>);
type Row<T> = (String, T);

/// Parses the rows and collects their errors. Fails if the text is not a catalog file at all.
fn parse(
    text: &str,
    images: Option<&TakenImages>,
    currency: Currency,
    field_errors: &mut Vec<FieldError>,
) -> Result<FileRows> {
    let text = unicode::nfc_json(text.trim_start_matches('\u{feff}'));
    let file: Value = serde_json::from_str(&text)
        .map_err(|error| Error::invalid("file", format!("This is not JSON: {error}.")))?;
    let Value::Object(mut file) = file else {
        return Err(Error::invalid(
            "file",
            "Must be an object with categories and products.",
        ));
    };
    let mut rows = |name: &str| -> Vec<(String, Map<String, Value>)> {
        let items = match file.remove(name) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                field_errors.push(FieldError::new(name, "Must be a list."));
                Vec::new()
            }
        };
        let mut objects = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::Object(object) => objects.push((format!("{name}[{index}]."), object)),
                _ => field_errors.push(FieldError::new(
                    format!("{name}[{index}]"),
                    "Must be an object.",
                )),
            }
        }
        objects
    };
    let (categories, products) = (rows("categories"), rows("products"));
    for unknown in file.keys() {
        field_errors.push(FieldError::new(unknown, "There is no such field."));
    }

    let mut seen = HashMap::new();
    let categories = keep(
        categories,
        field_errors,
        rows::file_category,
        |prefix, (id, _): &mut (i64, CategoryInput), field_errors| {
            // Zero is an id that could not be read.
            if *id != 0 {
                note_repeat(&mut seen, *id, prefix, "id", field_errors);
            }
        },
    );
    let mut seen = HashMap::new();
    let products = keep(
        products,
        field_errors,
        |row, prefix| rows::file_product(row, prefix, currency),
        |prefix, row: &mut FileProduct, field_errors| {
            if let Some(id) = &row.input.id {
                note_repeat(&mut seen, id.clone(), prefix, "id", field_errors);
            }
            resolve_images(row, images, prefix, field_errors);
        },
    );
    Ok((categories, products))
}

/// Replaces the image names of a row by image ids.
fn resolve_images(
    row: &mut FileProduct,
    images: Option<&TakenImages>,
    prefix: &str,
    field_errors: &mut Vec<FieldError>,
) {
    let mut resolve = |field: String, name: &str| -> Option<ImageId> {
        let name = name_of(name);
        match (images.and_then(|images| images.get(name)), named_id(name)) {
            (Some(Ok(id)), _) => return Some(id.clone()),
            (Some(Err(sentence)), _) => {
                field_errors.push(FieldError::new(field, format!("{name}: {sentence}")))
            }
            // The shop may have it already.
            (None, Some(id)) => return Some(id),
            (None, None) if images.is_some() => field_errors.push(FieldError::new(
                field,
                format!("There is no file {name} in the media folder."),
            )),
            (None, None) => {
                field_errors.push(FieldError::new(field, "Must be the id of an image."))
            }
        }
        None
    };
    if let Some(names) = row.images.take() {
        let ids: Vec<Option<ImageId>> = names
            .iter()
            .enumerate()
            .map(|(index, name)| resolve(format!("{prefix}images[{index}]"), name))
            .collect();
        // Drop the whole list if an image is missing: the remaining ones would shift, and later messages would name
        // wrong images.
        row.input.images = ids.into_iter().collect();
    }
    let places = [
        ("primary_image", &mut row.input.primary_image),
        ("secondary_image", &mut row.input.secondary_image),
    ];
    for (index, (field, place)) in places.into_iter().enumerate() {
        let Some(Some(path)) = place else { continue };
        let is_kept = images::id_of(path).is_some();
        // The list has an image at this position, or is complete: the address only repeats it.
        let is_told = match &row.input.images {
            Some(images) => images.len() > index || (is_kept && !images.is_empty()),
            None => false,
        };
        if is_told || !path.starts_with("/media/") || (images.is_none() && !is_kept) {
            continue;
        }
        if let Some(id) = resolve(format!("{prefix}{field}"), path) {
            *path = images::url(&id, CARD_WIDTH);
            if let Some(images) = &mut row.input.images
                && !images.contains(&id)
            {
                images.push(id);
            }
        }
    }
}

/// Locks the images that the rows name, against deletion. Missing images are field errors.
async fn hold_images(
    conn: &mut PgConnection,
    products: &[Row<FileProduct>],
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

/// Parses and checks each row. Invalid rows are dropped, because the import fails anyway.
fn keep<T>(
    rows: Vec<(String, Map<String, Value>)>,
    field_errors: &mut Vec<FieldError>,
    read: impl Fn(Map<String, Value>, String) -> Parsed<T>,
    mut check: impl FnMut(&str, &mut T, &mut Vec<FieldError>),
) -> Vec<Row<T>> {
    let mut kept = Vec::with_capacity(rows.len());
    for (prefix, row) in rows {
        let mut parsed = read(row, prefix.clone());
        check(&prefix, &mut parsed.value, field_errors);
        if parsed.field_errors.is_empty() {
            kept.push((prefix, parsed.value));
        } else {
            field_errors.extend(parsed.field_errors);
        }
    }
    kept
}

/// Reports a value that an earlier row already has.
fn note_repeat<T: Eq + std::hash::Hash>(
    seen: &mut HashMap<T, String>,
    value: T,
    prefix: &str,
    field: &str,
    field_errors: &mut Vec<FieldError>,
) {
    if let Some(first) = seen.get(&value) {
        let message = format!("{} has the same.", first.trim_end_matches('.'));
        field_errors.push(FieldError::new(format!("{prefix}{field}"), message));
    } else {
        seen.insert(value, prefix.to_owned());
    }
}

/// Reports categories whose name another category has. A category may keep its current name.
fn note_repeated_names(
    rows: &[Row<(i64, CategoryInput)>],
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

/// Computes the state of the categories after the import.
fn merge_categories(
    rows: Vec<Row<(i64, CategoryInput)>>,
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

/// Computes the state of the products after the import, in id order.
fn merge_products(
    rows: Vec<Row<FileProduct>>,
    mut known: HashMap<ProductId, Known>,
    categories: &HashSet<i64>,
    taken: &[String],
    images: &BTreeMap<ImageId, Image>,
    field_errors: &mut Vec<FieldError>,
) -> Vec<Wanted> {
    let mut slugs: HashMap<String, String> = taken
        .iter()
        .map(|slug| (slug.clone(), "Another product".to_owned()))
        .collect();
    let mut wanted = Vec::with_capacity(rows.len());
    for (prefix, row) in rows {
        let Some(id) = row.input.id.clone() else {
            continue;
        };
        let before = known.remove(&id);
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
            .is_some_and(|id| !categories.contains(&id))
        {
            field_errors.push(FieldError::new(
                format!("{prefix}category_id"),
                "There is no such category.",
            ));
        }
        let count = row.input.inventory_count;
        if revives && row.input.slug.is_none() && slugs.contains_key(&product.slug) {
            product.slug = String::new();
        }
        row.input
            .apply(Some(category_id.flatten()), images, &mut product);
        if !product.slug.is_empty() {
            note_repeat(
                &mut slugs,
                product.slug.clone(),
                &prefix,
                "slug",
                field_errors,
            );
        }
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
        wanted.push(Wanted {
            delta: count.map_or(0, |count| count - before.available()),
            is_new,
            is_changed,
            for_stripe,
            product,
        });
    }
    for one in wanted.iter_mut().filter(|one| one.product.slug.is_empty()) {
        one.product.slug = free_slug(&one.product.name, "product", |slug| {
            slugs.contains_key(slug)
        });
        slugs.insert(one.product.slug.clone(), String::new());
    }
    wanted.sort_by(|a, b| a.product.id.cmp(&b.product.id));
    wanted
}

async fn lock_products(
    conn: &mut PgConnection,
    categories: &[Row<(i64, CategoryInput)>],
    products: &[Row<FileProduct>],
) -> Result<HashMap<ProductId, Known>> {
    let ids: Vec<&ProductId> = products
        .iter()
        .filter_map(|(_, row)| row.input.id.as_ref())
        .collect();
    let categories: Vec<i64> = categories.iter().map(|(_, (id, _))| *id).collect();
    let rows: Vec<Known> = sqlx::query_as(concat!(
        "select ",
        product_columns!(),
        ",
                p.deleted_at is not null as is_deleted,
                p.stripe_price_amount is not null as is_verified
         from products p
         left join categories c on c.id = p.category_id
         where p.id = any($1)
            or p.category_id = any($2)
         order by p.id
         for update of p"
    ))
    .bind(ids)
    .bind(categories)
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.product.id.clone(), row))
        .collect())
}

async fn lock_categories(conn: &mut PgConnection) -> Result<Vec<Category>> {
    let categories = sqlx::query_as(
        "select id, name, slug, description, position
         from categories
         order by id
         for update",
    )
    .fetch_all(conn)
    .await?;
    Ok(categories)
}

/// Returns the slugs of products that the file does not name.
async fn other_slugs(
    conn: &mut PgConnection,
    products: &[Row<FileProduct>],
) -> Result<Vec<String>> {
    let ids: Vec<&ProductId> = products
        .iter()
        .filter_map(|(_, row)| row.input.id.as_ref())
        .collect();
    let slugs = sqlx::query_scalar(
        "select p.slug
         from products p
         left join unnest($1::text[]) as named (id) on named.id = p.id
         where named.id is null
           and p.deleted_at is null",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(slugs)
}

async fn write_categories(conn: &mut PgConnection, categories: &[&Category]) -> Result<()> {
    let ids: Vec<i64> = categories.iter().map(|c| c.id).collect();
    let names: Vec<&str> = categories.iter().map(|c| c.name.as_str()).collect();
    let name_keys: Vec<String> = categories.iter().map(|c| name_key(&c.name)).collect();
    let slugs: Vec<&str> = categories.iter().map(|c| c.slug.as_str()).collect();
    let descriptions: Vec<&str> = categories.iter().map(|c| c.description.as_str()).collect();
    let positions: Vec<i32> = categories.iter().map(|c| c.position).collect();
    // Slugs are unique at every moment, but rows may swap them, so park them under temporary ones. No valid slug has a
    // tilde.
    sqlx::query(
        "update categories
         set slug = '~' || categories.id,
             name_key = case when categories.name = row.name then name_key end
         from unnest($1::bigint[], $2::text[]) as row (id, name)
         where categories.id = row.id",
    )
    .bind(&ids)
    .bind(&names)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into categories (id, name, slug, description, position, name_key)
         select id, name, slug, description, position, name_key
         from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::text[])
              as row (id, name, slug, description, position, name_key)
         on conflict (id) do update
         set name = excluded.name,
             name_key = case when categories.name = excluded.name then categories.name_key else excluded.name_key end,
             slug = excluded.slug, description = excluded.description,
             position = excluded.position, updated_at = now()",
    )
    .bind(ids)
    .bind(names)
    .bind(slugs)
    .bind(descriptions)
    .bind(positions)
    .bind(name_keys)
    .execute(&mut *conn)
    .await?;
    // Raise the sequence, so that the next new category does not collide with an imported id.
    sqlx::query(
        "select setval(
             pg_get_serial_sequence('categories', 'id'),
             greatest((select max(id) from categories), nextval(pg_get_serial_sequence('categories', 'id')) - 1))",
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn write_products(conn: &mut PgConnection, products: &[&Product]) -> Result<()> {
    fn column<'a, T>(products: &[&'a Product], value: impl Fn(&'a Product) -> T) -> Vec<T> {
        products.iter().map(|product| value(product)).collect()
    }
    let ids = column(products, |p| &p.id);
    let slugs = column(products, |p| p.slug.as_str());
    // Rows may swap their slugs, as with categories.
    sqlx::query(
        "update products
         set slug = '~' || products.id
         from unnest($1::text[], $2::text[]) as row (id, slug)
         where products.id = row.id
           and products.slug <> row.slug
           and products.deleted_at is null",
    )
    .bind(&ids)
    .bind(&slugs)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into products (id, name, slug, lighter_type, price, currency, category_id, description,
                primary_image, secondary_image, is_sold_out, is_active, weight_ounces,
                stripe_product_id, stripe_price_id, stripe_status, stripe_error, created_at)
         select id, name, slug, lighter_type, price, currency, category_id, description,
                primary_image, secondary_image, is_sold_out, is_active, weight_ounces::numeric,
                stripe_product_id, stripe_price_id, stripe_status, stripe_error, created_at
         from unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::bigint[], $6::text[],
                     $7::bigint[], $8::text[], $9::text[], $10::text[], $11::boolean[],
                     $12::boolean[], $13::text[], $14::text[], $15::text[], $16::text[],
                     $17::text[], $18::timestamptz[])
              as row (id, name, slug, lighter_type, price, currency, category_id, description,
                      primary_image, secondary_image, is_sold_out, is_active, weight_ounces,
                      stripe_product_id, stripe_price_id, stripe_status, stripe_error, created_at)
         on conflict (id) do update
         set name = excluded.name, slug = excluded.slug, lighter_type = excluded.lighter_type,
             price = excluded.price, currency = excluded.currency,
             category_id = excluded.category_id, description = excluded.description,
             primary_image = excluded.primary_image, secondary_image = excluded.secondary_image,
             is_sold_out = excluded.is_sold_out, is_active = excluded.is_active,
             weight_ounces = excluded.weight_ounces, created_at = excluded.created_at,
             stripe_product_id = excluded.stripe_product_id,
             stripe_price_id = excluded.stripe_price_id,
             stripe_status = excluded.stripe_status, stripe_error = excluded.stripe_error,
             -- A price that Stripe has not confirmed may be charged by nobody.
             stripe_price_amount = case
                 when products.stripe_price_id = excluded.stripe_price_id
                 then products.stripe_price_amount end,
             stripe_price_currency = case
                 when products.stripe_price_id = excluded.stripe_price_id
                 then products.stripe_price_currency end,
             stripe_retired_prices = case
                 when products.stripe_price_id <> excluded.stripe_price_id
                 then array_append(products.stripe_retired_prices, products.stripe_price_id)
                 else products.stripe_retired_prices end,
             version = products.version + 1,
             price_version = products.price_version + case
                 when (products.price, products.currency) = (excluded.price, excluded.currency)
                 then 0 else 1 end,
             deleted_at = null,
             updated_at = now()",
    )
    .bind(ids)
    .bind(column(products, |p| p.name.as_str()))
    .bind(slugs)
    .bind(column(products, |p| p.lighter_type))
    .bind(column(products, |p| p.price))
    .bind(column(products, |p| p.currency.as_str()))
    .bind(column(products, |p| p.category_id))
    .bind(column(products, |p| p.description.as_str()))
    .bind(column(products, |p| p.primary_image.as_deref()))
    .bind(column(products, |p| p.secondary_image.as_deref()))
    .bind(column(products, |p| p.is_sold_out))
    .bind(column(products, |p| p.is_active))
    .bind(column(products, |p| p.weight_ounces.as_str()))
    .bind(column(products, |p| p.stripe_product_id.as_deref()))
    .bind(column(products, |p| p.stripe_price_id.as_deref()))
    .bind(column(products, |p| p.stripe_status.as_str()))
    .bind(column(products, |p| p.stripe_error.as_deref()))
    .bind(column(products, |p| p.created_at))
    .execute(&mut *conn)
    .await?;
    write_images(conn, products).await
}

async fn write_images(conn: &mut PgConnection, products: &[&Product]) -> Result<()> {
    let ids: Vec<&ProductId> = products.iter().map(|product| &product.id).collect();
    sqlx::query("delete from product_images where product_id = any($1)")
        .bind(ids)
        .execute(&mut *conn)
        .await?;
    let (mut owners, mut positions, mut images) = (Vec::new(), Vec::new(), Vec::new());
    for product in products {
        for (position, image) in product.images.iter().enumerate() {
            owners.push(&product.id);
            positions.push(position as i16);
            images.push(&image.id);
        }
    }
    sqlx::query(
        "insert into product_images (product_id, position, image_id)
         select product_id, position, image_id
         from unnest($1::text[], $2::smallint[], $3::text[])
              as row (product_id, position, image_id)",
    )
    .bind(owners)
    .bind(positions)
    .bind(images)
    .execute(conn)
    .await?;
    Ok(())
}
