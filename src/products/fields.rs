//! Parsers for single fields of a JSON object that an owner sends; `input.rs` defines the objects. A parser's error is
//! the message of the field error, without the field's name.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, SubsecRound, Utc};
use serde_json::{Map, Value};

use super::slugs::is_slug;
use crate::error::{Error, FieldError, Result};
use crate::images;
use crate::stripe;
use crate::types::ids::{ImageId, ProductId};
use crate::types::money::{Cents, Currency};

/// A parsed object and its errors.
#[derive(Debug)]
pub struct Parsed<T> {
    pub value: T,
    pub field_errors: Vec<FieldError>,
}

impl<T> From<T> for Parsed<T> {
    fn from(value: T) -> Parsed<T> {
        Parsed {
            value,
            field_errors: Vec::new(),
        }
    }
}

impl<T> Parsed<T> {
    /// # Errors
    /// The field errors, if there are any.
    pub fn whole(self) -> Result<T> {
        if self.field_errors.is_empty() {
            Ok(self.value)
        } else {
            Err(Error::Invalid(self.field_errors))
        }
    }
}

/// The operation that an object is parsed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Create,
    Replace,
    Patch,
}

/// Defines the schema of an object for POST and PUT: the fields of a PATCH, some of them required.
macro_rules! whole_schema {
    ($doc:literal, $whole:ident, $input:ident, $required:expr) => {
        #[doc = $doc]
        pub struct $whole;

        impl utoipa::PartialSchema for $whole {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let required = $required.into_iter().fold(
                    utoipa::openapi::schema::ObjectBuilder::new()
                        .schema_type(utoipa::openapi::schema::Type::Object),
                    utoipa::openapi::schema::ObjectBuilder::required,
                );
                let input =
                    utoipa::openapi::Ref::from_schema_name(<$input as utoipa::ToSchema>::name());
                let both = utoipa::openapi::schema::AllOfBuilder::new()
                    .item(input)
                    .item(required);
                utoipa::openapi::RefOr::T(both.build().into())
            }
        }

        impl utoipa::ToSchema for $whole {
            fn schemas(
                schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>,
            ) {
                schemas.push((
                    <$input as utoipa::ToSchema>::name().into(),
                    <$input as utoipa::PartialSchema>::schema(),
                ));
                <$input as utoipa::ToSchema>::schemas(schemas);
            }
        }
    };
}
pub(super) use whole_schema;

/// A JSON object whose fields are removed as they are parsed.
pub(super) struct FieldReader {
    object: Map<String, Value>,
    prefix: String,
    field_errors: Vec<FieldError>,
}

impl FieldReader {
    /// Begins to read an object. `prefix` precedes the field names in errors.
    pub fn new(prefix: impl Into<String>, object: Map<String, Value>) -> FieldReader {
        FieldReader {
            object,
            prefix: prefix.into(),
            field_errors: Vec::new(),
        }
    }

    /// Reports whether there are no errors so far.
    pub fn is_sound(&self) -> bool {
        self.field_errors.is_empty()
    }

    /// Reports whether a field was sent, and has not been read yet.
    pub fn has(&self, field: &str) -> bool {
        self.object.contains_key(field)
    }

    /// Adds an error of a field.
    pub fn field_error(&mut self, field: &str, message: impl Into<String>) {
        self.field_errors
            .push(FieldError::new(format!("{}{field}", self.prefix), message));
    }

    /// Reports missing fields. Call it before the fields are read.
    pub fn require(&mut self, names: &[&str]) {
        for name in names {
            if !self.has(name) {
                self.field_error(name, "This field is required.");
            }
        }
    }

    /// Removes and parses a field. `None` if it is missing or invalid; an invalid one has been reported.
    pub fn read<T>(
        &mut self,
        field: &str,
        parse: impl FnOnce(Value) -> Result<T, String>,
    ) -> Option<T> {
        match parse(self.object.remove(field)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.field_error(field, message);
                None
            }
        }
    }

    /// Returns all field errors, including unknown fields.
    pub fn finish(mut self, ignored: &[&str]) -> Vec<FieldError> {
        let unknown: Vec<String> = self
            .object
            .keys()
            .filter(|key| !ignored.contains(&key.as_str()))
            .map(|key| key.chars().take(100).collect())
            .collect();
        for key in unknown {
            self.field_error(&key, "There is no such field.");
        }
        self.field_errors
    }
}

pub(super) fn or_null<T>(
    parse: impl FnOnce(Value) -> Result<T, String>,
) -> impl FnOnce(Value) -> Result<Option<T>, String> {
    move |value| match value {
        Value::Null => Ok(None),
        value => parse(value).map(Some),
    }
}

pub(super) fn flag(value: Value) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| "Must be true or false.".to_owned())
}

/// Parses an instant with an offset, to the microsecond as PostgreSQL stores it.
pub(super) fn instant(value: Value) -> Result<DateTime<Utc>, String> {
    let at = value
        .as_str()
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    at.map(|at| at.to_utc().trunc_subsecs(6))
        .filter(|at| (2000..10_000).contains(&at.year()))
        .ok_or_else(|| {
            "Must be a time with an offset, like \"2026-12-04T18:00:00-05:00\".".to_owned()
        })
}

pub(super) fn whole(value: Value, range: RangeInclusive<i64>) -> Result<i64, String> {
    let number = value.as_i64().filter(|number| range.contains(number));
    number.ok_or_else(|| match (*range.start(), *range.end()) {
        (least, i64::MAX) => format!("Must be a whole number from {least} on."),
        (least, most) => format!("Must be a whole number from {least} to {most}."),
    })
}

/// Parses a price that can be charged in `currency`.
pub(super) fn price(value: Value, currency: Currency) -> Result<Cents, String> {
    let price = Cents(whole(value, currency.charges())?);
    match price.fits(currency.code()) {
        true => Ok(price),
        false => Err(format!(
            "Must be a multiple of {} in {currency}.",
            currency.step()
        )),
    }
}

pub(super) fn text(value: Value, chars: RangeInclusive<usize>) -> Result<String, String> {
    let Value::String(text) = value else {
        return Err("Must be a string.".to_owned());
    };
    if text.contains('\0') {
        return Err("Must not contain NUL characters.".to_owned());
    }
    if !chars.contains(&text.chars().count()) {
        return Err(format!(
            "Must have {} to {} characters.",
            chars.start(),
            chars.end()
        ));
    }
    Ok(text)
}

/// Parses and trims a single-line text.
pub(super) fn line(value: Value, chars: RangeInclusive<usize>) -> Result<String, String> {
    let trimmed = match value {
        Value::String(text) => Value::from(text.trim()),
        other => other,
    };
    let line = text(trimmed, chars)?;
    if line.chars().any(char::is_control) {
        return Err("Must not contain line breaks or other control characters.".to_owned());
    }
    Ok(line)
}

pub(super) fn product_id(value: Value) -> Result<ProductId, String> {
    let id = line(value, 1..=ProductId::MAX_CHARS)?;
    // These characters would not survive in a path, or in the comma-separated list of a batch request.
    if id.contains(['/', '\\', ',']) || ["batch", ".", ".."].contains(&id.as_str()) {
        return Err("Must not contain slashes or commas, nor be \"batch\".".to_owned());
    }
    Ok(ProductId(id))
}

pub(super) fn stripe_id(value: Value) -> Result<String, String> {
    match value {
        Value::String(id) if stripe::is_id(&id) => Ok(id),
        _ => Err(
            "Must be an id at Stripe: up to 255 letters, digits, \"_\", \"-\" and \".\", and not begin with a dot."
                .to_owned(),
        ),
    }
}

pub(super) fn slug(value: Value, reserved: &str) -> Result<String, String> {
    match value {
        Value::String(slug) if is_slug(&slug) && slug != reserved => Ok(slug),
        Value::String(slug) if slug == reserved => Err("This slug is reserved.".to_owned()),
        _ => Err("Must be lower-case letters, digits and single hyphens, up to 200.".to_owned()),
    }
}

/// A category, named by id or slug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CategoryKey {
    Id(i64),
    Slug(String),
}

pub(super) fn category_key(value: Value) -> Result<CategoryKey, String> {
    match value {
        Value::String(text) if is_slug(&text) => Ok(match text.parse() {
            Ok(id) => CategoryKey::Id(id),
            Err(_) => CategoryKey::Slug(text),
        }),
        Value::Number(number) => match number.as_i64() {
            Some(id) => Ok(CategoryKey::Id(id)),
            None => Err("There is no such category.".to_owned()),
        },
        Value::String(_) => Err("There is no such category.".to_owned()),
        _ => Err("Must be the id or the slug of a category, or null.".to_owned()),
    }
}

/// Parses a weight and formats it with two decimals, like the database column.
pub(super) fn weight(value: Value) -> Result<String, String> {
    let text = match &value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let (units, decimals) = text.split_once('.').unwrap_or((&text, "0"));
    let digits = |part: &str, most| {
        (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
    };
    // Ignore trailing zeros, as in 2.500.
    let decimals = decimals.trim_end_matches('0');
    if digits(units, 5) && (decimals.is_empty() || digits(decimals, 2)) {
        let units: u32 = units.parse().map_err(|_| "Must be a number.".to_owned())?;
        return Ok(format!("{units}.{decimals:0<2}"));
    }
    Err("Must be a number from 0 to 99999.99 with up to two decimals.".to_owned())
}

/// Parses an image given by id, by URL, or as the object in API responses.
pub(super) fn image_id(value: Value, bases: &[&str]) -> Option<ImageId> {
    let text = match &value {
        Value::String(text) => text,
        Value::Object(image) => image.get("id").or(image.get("url"))?.as_str()?,
        _ => return None,
    };
    let own = bases.iter().find_map(|base| text.strip_prefix(base));
    ImageId::parse(text).or_else(|| images::id_of(own.unwrap_or(text)))
}

/// Parses an image address: the path of a stored image (`/media/…`) or a URL on another host. `None` for null and "".
pub(super) fn image(
    value: Value,
    bases: &[&str],
    relative: bool,
) -> Result<Option<String>, String> {
    let text = match value {
        Value::Null => return Ok(None),
        value => text(value, 0..=500)?,
    };
    if text.is_empty() {
        return Ok(None);
    }
    if text.contains("..") || text.contains('\\') || text.chars().any(char::is_control) {
        return Err("Must not contain \"..\", backslashes or control characters.".to_owned());
    }
    let own = bases
        .iter()
        .filter_map(|base| text.strip_prefix(base))
        .find(|path| path.starts_with("/media/"));
    let path = own.unwrap_or(&text);
    let elsewhere = ["http://", "https://"]
        .iter()
        .filter_map(|scheme| path.strip_prefix(scheme))
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['));
    let file = path.strip_prefix("/media/").unwrap_or(path);
    if !elsewhere
        && file.starts_with("images/")
        && images::id_of(&format!("/media/{file}")).is_none()
    {
        return Err("There is no such image.".to_owned());
    }
    if elsewhere
        || path
            .strip_prefix("/media/")
            .is_some_and(|rest| !rest.is_empty())
    {
        return Ok(Some(path.to_owned()));
    }
    if relative && !path.starts_with('/') && !path.contains(':') {
        return Ok(Some(format!("/media/{path}")));
    }
    Err(if relative {
        "Must be a path below the media folder, or an http(s) address.".to_owned()
    } else {
        "Must begin with /media/, http:// or https://.".to_owned()
    })
}
