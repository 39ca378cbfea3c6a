//! The catalog file's text, parsed to rows.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::file_images::{FileImage, FileImages, name_of, named_id};
use super::rows::{self, CategoryRow, FileProduct, FileRow, ProductRow, note_repeat};
use crate::error::{Error, FieldError, Result};
use crate::images::{self, CARD_WIDTH};
use crate::products::categories::CategoryInput;
use crate::products::fields::Parsed;
use crate::types::ids::ImageId;
use crate::types::money::Currency;
use crate::types::unicode;

/// Parses the rows and collects their errors. Fails if the text is not a catalog file at all.
pub fn parse(
    text: &str,
    images: Option<&FileImages>,
    currency: Currency,
    field_errors: &mut Vec<FieldError>,
) -> Result<(Vec<CategoryRow>, Vec<ProductRow>)> {
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
    images: Option<&FileImages>,
    prefix: &str,
    field_errors: &mut Vec<FieldError>,
) {
    let mut resolve = |field: String, name: &str| -> Option<ImageId> {
        let name = name_of(name);
        match (images.and_then(|images| images.get(name)), named_id(name)) {
            (Some(FileImage::Kept(kept)), _) => return Some(kept.id.clone()),
            (Some(FileImage::Refused(sentence)), _) => {
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

/// Parses and checks each row. Invalid rows are dropped, because the import fails anyway.
fn keep<T>(
    rows: Vec<(String, Map<String, Value>)>,
    field_errors: &mut Vec<FieldError>,
    read: impl Fn(Map<String, Value>, String) -> Parsed<T>,
    mut check: impl FnMut(&str, &mut T, &mut Vec<FieldError>),
) -> Vec<FileRow<T>> {
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
