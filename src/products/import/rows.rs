//! Rows of the catalog file, each parsed by itself.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::products::categories::{self, CategoryInput};
use crate::products::fields::{
    CategoryKey, FieldReader, Parsed, Write, image, or_null, product_id, stripe_id, text, whole,
};
use crate::products::input::{ProductInput, READ_ONLY, product_fields, read_images, read_stock};
use crate::products::slugs::{is_copied_slug, is_slug};
use crate::types::money::Currency;

/// A valid row with the prefix of its field errors: `products[3].`
pub type FileRow<T> = (String, T);

/// A row of a category: id and fields.
pub type CategoryRow = FileRow<(i64, CategoryInput)>;

/// A row of a product.
pub type ProductRow = FileRow<FileProduct>;

/// A row of the catalog file.
#[derive(Clone, Debug, Default)]
pub struct FileProduct {
    pub input: ProductInput,
    /// Ids of images, or paths below the media folder.
    pub images: Option<Vec<String>>,
    pub stripe_product_id: Option<String>,
    pub stripe_price_id: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
}

/// Parses a product of the catalog file. Image paths are relative to the media folder.
pub fn file_product(
    mut row: Map<String, Value>,
    prefix: String,
    currency: Currency,
) -> Parsed<FileProduct> {
    let copied_slug = take_copied_slug(&mut row);
    let mut fields = FieldReader::new(prefix, row);
    fields.require(&["id"]);
    let mut input = product_fields(&mut fields, Write::Replace, currency, |value| {
        image(value, &[], true)
    });
    input.slug = input.slug.or(copied_slug);
    input.id = fields.read("id", product_id);
    let key = if fields.has("category_id") {
        "category_id"
    } else {
        "category"
    };
    input.category = fields
        .read(key, or_null(|value| whole(value, 1..=i64::MAX)))
        .map(|id| id.map(CategoryKey::Id));
    read_stock(&mut fields, &mut input);
    let images = read_images(&mut fields, |value| text(value, 1..=500));
    let row = FileProduct {
        input,
        images,
        stripe_product_id: fields
            .read("stripe_product_id", or_null(stripe_id))
            .flatten(),
        stripe_price_id: fields.read("stripe_price_id", or_null(stripe_id)).flatten(),
        created_at: fields.read("created_at", |value| {
            let parsed = value
                .as_str()
                .and_then(|text| DateTime::parse_from_rfc3339(text).ok());
            let time = parsed.ok_or("Must be a time like 2026-01-03T21:49:29Z.")?;
            Ok(time.to_utc())
        }),
    };
    Parsed {
        value: row,
        field_errors: fields.finish(&READ_ONLY),
    }
}

/// Parses a category of the catalog file.
pub fn file_category(mut row: Map<String, Value>, prefix: String) -> Parsed<(i64, CategoryInput)> {
    let copied_slug = take_copied_slug(&mut row);
    let mut fields = FieldReader::new(prefix, row);
    fields.require(&["id"]);
    // The largest integer that JavaScript clients can represent.
    let id = fields.read("id", |value| whole(value, 1..=(1 << 53) - 1));
    let mut input = categories::input_fields(&mut fields, Write::Replace);
    input.slug = input.slug.or(copied_slug);
    let position = fields.read("position", |value| whole(value, 0..=i32::MAX.into()));
    input.position = position.map(|position| position as i32);
    Parsed {
        value: (id.unwrap_or_default(), input),
        field_errors: fields.finish(&[]),
    }
}

/// Takes a slug of another shop, which the rules for new ones would refuse.
fn take_copied_slug(row: &mut Map<String, Value>) -> Option<String> {
    let slug = row.get("slug")?.as_str()?;
    if is_slug(slug) || !is_copied_slug(slug) {
        return None;
    }
    let slug = slug.to_owned();
    row.remove("slug");
    Some(slug)
}

/// Reports a value that an earlier row already has.
pub fn note_repeat<T: Eq + std::hash::Hash>(
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
