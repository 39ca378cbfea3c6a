//! Input of products, categories and stock changes. All fields are checked, and all errors are reported together.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Product;
use super::fields::{
    CategoryKey, FieldReader, Parsed, Write, category_key, flag, image, image_id, instant, line,
    or_null, price, product_id, slug, text, weight, whole, whole_schema,
};
use crate::error::FieldError;
use crate::images::{self, CARD_WIDTH, Image};
use crate::types::ids::{ImageId, ProductId};
use crate::types::money::{Cents, Currency};

/// The fields of a product. PATCH changes the given fields. POST and PUT require name, lighter_type and price; other
/// missing fields take their defaults.
#[derive(Clone, Debug, Default, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProductInput {
    /// POST only: 1 to 100 characters; a new UUID when absent. No slashes or commas, and not `batch`.
    #[schema(value_type = String, required = false, max_length = 100,
        pattern = r"^[^\s,/\\\x00-\x1f\x7f-\x9f]([^,/\\\\\x00-\x1f\x7f-\x9f]*[^\s,/\\\x00-\x1f\x7f-\x9f])?$")]
    pub id: Option<ProductId>,
    /// 1 to 255 characters.
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
    )]
    pub name: Option<String>,
    /// Lowercase letters, digits and single hyphens. Made from the name when absent; PUT keeps the current slug.
    #[schema(
        nullable = false,
        max_length = 200,
        pattern = "^[a-z0-9]+(-[a-z0-9]+)*$"
    )]
    pub slug: Option<String>,
    /// 1 Classic BIC, 2 Mini BIC.
    #[schema(nullable = false, minimum = 1, maximum = 2)]
    pub lighter_type: Option<i16>,
    /// In the currency's smallest unit, within Stripe's limits: for US dollars, 50 to 99999999.
    #[schema(value_type = i64, required = false, minimum = 50, maximum = 99_999_999)]
    pub price: Option<Cents>,
    /// The shop's currency, which is also the default. No other currency is accepted.
    #[schema(nullable = false, pattern = "^[a-z]{3}$")]
    pub currency: Option<String>,
    /// A category's id or slug, or null.
    #[schema(value_type = Option<CategoryName>)]
    pub category: Option<Option<CategoryKey>>,
    /// Up to 10,000 characters.
    #[schema(nullable = false, max_length = 10_000, pattern = r"^[^\x00]*$")]
    pub description: Option<String>,
    /// Up to ten ids of uploaded images, in order: the first is the primary image, the second the secondary one. Image
    /// objects from responses are accepted, too.
    #[schema(value_type = Vec<ImageId>, required = false, max_items = 10)]
    pub images: Option<Vec<ImageId>>,
    /// `/media/…`, an http(s) URL, or null. The URL of an uploaded image puts that image first.
    #[schema(value_type = Option<ImageAddress>)]
    pub primary_image: Option<Option<String>>,
    #[schema(value_type = Option<ImageAddress>)]
    pub secondary_image: Option<Option<String>>,
    /// Sold out by the owner's choice.
    #[schema(nullable = false)]
    pub is_sold_out: Option<bool>,
    #[schema(nullable = false)]
    pub is_active: Option<bool>,
    /// Not shown to shoppers yet. PUT keeps the current value when absent.
    #[schema(nullable = false)]
    pub is_draft: Option<bool>,
    /// The time from which a draft is on sale, in the future; makes the product a draft until then. Null removes it.
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub on_sale_at: Option<Option<DateTime<Utc>>>,
    /// A string or a number with up to two decimals; `"2.00"` when absent.
    #[schema(value_type = Weight, required = false)]
    pub weight_ounces: Option<String>,
    /// Pieces available. PATCH requires `expected_inventory_count` with it. In PUT without it, the value must be the
    /// current count.
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    pub inventory_count: Option<i32>,
    /// The available pieces that the caller last saw.
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    pub expected_inventory_count: Option<i32>,
    /// The version that the caller last saw. The change is refused if the product has a newer one.
    #[schema(nullable = false, minimum = 1)]
    pub version: Option<i64>,
    /// Set for POST, PUT and file rows: missing fields take their defaults.
    #[schema(ignore)]
    pub is_whole: bool,
}

whole_schema!(
    "Schema of a product for POST and PUT.",
    WholeProduct,
    ProductInput,
    ["name", "lighter_type", "price"]
);

/// A category's id or slug.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "read by the API document alone")]
enum CategoryName {
    Id(i64),
    Slug(String),
}

/// Up to two decimals.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "read by the API document alone")]
enum Weight {
    Text(WeightText),
    Number(WeightNumber),
}

#[derive(ToSchema)]
#[schema(pattern = r"^[0-9]{1,5}(\.[0-9]{0,2}0*)?$")]
#[allow(dead_code, reason = "read by the API document alone")]
struct WeightText(String);

#[derive(ToSchema)]
#[schema(minimum = 0, maximum = 99_999.99)]
#[allow(dead_code, reason = "read by the API document alone")]
struct WeightNumber(f64);

/// `/media/…` or an http(s) URL; empty means null.
#[derive(ToSchema)]
#[schema(
    max_length = 500,
    pattern = r"^(/media/[^\\\x00-\x1f\x7f-\x9f]+|https?://[A-Za-z0-9\[][^\\\x00-\x1f\x7f-\x9f]*)?$"
)]
#[allow(dead_code, reason = "read by the API document alone")]
struct ImageAddress(String);

/// FieldReader of responses that clients may send back. They are ignored.
pub(super) const READ_ONLY: [&str; 9] = [
    "id",
    "lighter_type_display",
    "category_name",
    "is_in_stock",
    "created_at",
    "updated_at",
    "on_hand",
    "reserved",
    "stripe",
];

/// Sentence for a product that is archived and has a time at which it goes on sale.
pub(super) const NOT_ARCHIVED: &str = "An archived product is not put on sale.";

/// Maximum number of images of one product.
pub const MAX_IMAGES: usize = 10;

/// Maximum number of products in one request.
pub(super) const MAX_BATCH: usize = 100;

/// Maximum length of a name in characters, as in the previous service.
pub(super) const NAME_CHARS: usize = 255;

/// Maximum stock; more is assumed to be a typing error.
pub(super) const MAX_STOCK: i64 = 1_000_000;

impl ProductInput {
    /// Parses a product. `bases` are this shop's own base URLs: images may be given as absolute URLs.
    pub fn parse(
        body: Map<String, Value>,
        write: Write,
        bases: &[&str],
        currency: Currency,
    ) -> Parsed<ProductInput> {
        let mut fields = FieldReader::new("", body);
        let mut input = product_fields(&mut fields, write, currency, |value| {
            image(value, bases, false)
        });
        input.images = read_images(&mut fields, |value| {
            let id = image_id(value, bases).ok_or("Must be the id of an uploaded image.")?;
            Ok(id)
        });
        input.category = fields.read("category", or_null(category_key));
        if write == Write::Create {
            input.id = fields.read("id", product_id);
        }
        if write == Write::Patch
            && fields.has("inventory_count")
            && !fields.has("expected_inventory_count")
        {
            fields.field_error(
                "expected_inventory_count",
                "Send the inventory_count that you saw, or change stock through its own endpoint.",
            );
        }
        read_stock(&mut fields, &mut input);
        if write == Write::Replace {
            // A client may send back a whole product: the count alone is then the one it saw.
            input.expected_inventory_count =
                input.expected_inventory_count.or(input.inventory_count);
        }
        input.version = fields.read("version", |value| whole(value, 1..=i64::MAX));
        if write != Write::Patch {
            input.category.get_or_insert_default();
        }
        Parsed {
            value: input,
            field_errors: fields.finish(&READ_ONLY),
        }
    }

    /// Returns the ids of the uploaded images that the input refers to.
    pub fn image_ids(&self) -> Vec<ImageId> {
        self.images().map(|(_, id)| id).collect()
    }

    /// Returns a field error for each image that is not in `known`.
    pub fn unknown_images(&self, known: &BTreeMap<ImageId, Image>) -> Vec<FieldError> {
        self.images()
            .filter(|(_, id)| !known.contains_key(id))
            .map(|(field, _)| FieldError::new(field, "There is no such image."))
            .collect()
    }

    fn images(&self) -> impl Iterator<Item = (String, ImageId)> {
        let images = self.images.iter().flatten().enumerate();
        let images = images.map(|(index, id)| (format!("images[{index}]"), id.clone()));
        let places = [
            ("primary_image", &self.primary_image),
            ("secondary_image", &self.secondary_image),
        ];
        let places = places.into_iter().filter_map(|(field, image)| {
            let id = images::id_of(image.as_ref()?.as_deref()?)?;
            Some((field.to_owned(), id))
        });
        // A client may send back a whole product: with a list, the two addresses only repeat it.
        let places = places.filter(|_| self.images.is_none());
        images.chain(places)
    }

    /// Applies the given fields to `product`. The caller handles the slug of a new product, the stock and the version.
    pub fn apply(
        mut self,
        category_id: Option<Option<i64>>,
        known: &BTreeMap<ImageId, Image>,
        product: &mut Product,
    ) {
        self.apply_images(known, product);
        fn put<T>(value: Option<T>, into: &mut T) {
            if let Some(value) = value {
                *into = value;
            }
        }
        put(self.name, &mut product.name);
        put(self.slug, &mut product.slug);
        put(self.lighter_type, &mut product.lighter_type);
        put(self.price, &mut product.price);
        put(self.currency, &mut product.currency);
        put(category_id, &mut product.category_id);
        put(self.description, &mut product.description);
        put(self.is_sold_out, &mut product.is_sold_out);
        put(self.is_active, &mut product.is_active);
        put(self.weight_ounces, &mut product.weight_ounces);
        put(self.on_sale_at, &mut product.on_sale_at);
        let is_scheduled = self.on_sale_at.flatten().is_some();
        put(
            self.is_draft.or(is_scheduled.then_some(true)),
            &mut product.is_draft,
        );
        // A time that has come is over for a product that is made a draft again.
        let is_past = product.on_sale_at.is_some_and(|at| at <= Utc::now());
        let is_redrafted = self.is_draft == Some(true) && self.on_sale_at.is_none() && is_past;
        // So is that of a product that is archived, or put on sale now.
        if !product.is_active || !product.is_draft || is_redrafted {
            product.on_sale_at = None;
        }
    }

    /// Sets the images. If there is a list, it determines the two addresses; otherwise the addresses determine the
    /// list.
    fn apply_images(&mut self, known: &BTreeMap<ImageId, Image>, product: &mut Product) {
        let given = [self.primary_image.take(), self.secondary_image.take()];
        let places = [&mut product.primary_image, &mut product.secondary_image];
        let ids: Vec<ImageId> = match self.images.take() {
            Some(images) => {
                for (index, (place, given)) in places.into_iter().zip(given).enumerate() {
                    let former = place.take().filter(|_| images.is_empty());
                    *place = match images.get(index) {
                        Some(id) => Some(images::url(id, CARD_WIDTH)),
                        // Without an image in the list at this position, the address may be on another host.
                        None => given
                            .unwrap_or(former)
                            .filter(|at| images::id_of(at).is_none()),
                    };
                }
                images
            }
            None if given.iter().all(Option::is_none) => return,
            None => {
                let (mut ids, mut former) = (Vec::new(), Vec::new());
                for (place, given) in places.into_iter().zip(given) {
                    former.extend(place.as_deref().and_then(images::id_of));
                    if let Some(given) = given {
                        *place = given;
                    }
                    if let Some(id) = place.as_deref().and_then(images::id_of) {
                        *place = Some(images::url(&id, CARD_WIDTH));
                        ids.push(id);
                    }
                }
                if !self.is_whole {
                    let images = product.images.iter().map(|image| &image.id);
                    ids.extend(images.filter(|id| !former.contains(id)).cloned());
                }
                ids
            }
        };
        let mut images: Vec<Image> = Vec::with_capacity(ids.len());
        for id in &ids {
            let had = product.images.iter().find(|image| image.id == *id);
            let image = known.get(id).or(had);
            images.extend(
                image
                    .filter(|_| images.iter().all(|one| one.id != *id))
                    .cloned(),
            );
        }
        product.images = images;
    }
}

/// Parses the fields common to all ways of writing a product, with defaults unless it is a patch.
pub(super) fn product_fields(
    fields: &mut FieldReader,
    write: Write,
    currency: Currency,
    image: impl Fn(Value) -> Result<Option<String>, String>,
) -> ProductInput {
    let mut input = ProductInput::default();
    if write != Write::Patch {
        fields.require(&["name", "lighter_type", "price"]);
        input.currency = Some(currency.code().to_owned());
        input.description = Some(String::new());
        input.primary_image = Some(None);
        input.secondary_image = Some(None);
        input.is_whole = true;
        input.is_sold_out = Some(false);
        input.is_active = Some(true);
        input.weight_ounces = Some("2.00".to_owned());
    }
    input.name = fields.read("name", |value| line(value, 1..=NAME_CHARS));
    input.slug = fields.read("slug", |value| slug(value, "batch"));
    input.lighter_type = fields.read("lighter_type", |value| match value.as_i64() {
        Some(1) => Ok(1),
        Some(2) => Ok(2),
        _ => Err("Must be 1 (Classic BIC) or 2 (Mini BIC).".to_owned()),
    });
    input.price = fields.read("price", |value| price(value, currency));
    let code = fields.read("currency", |value| match value.as_str() {
        Some(code) if code == currency.code() => Ok(code.to_owned()),
        _ => Err(format!(
            "Must be \"{}\", the currency of this shop.",
            currency.code()
        )),
    });
    input.currency = code.or(input.currency);
    let description = fields.read("description", |value| text(value, 0..=10_000));
    input.description = description.or(input.description);
    let primary_image = fields.read("primary_image", &image);
    input.primary_image = primary_image.or(input.primary_image);
    let secondary_image = fields.read("secondary_image", &image);
    input.secondary_image = secondary_image.or(input.secondary_image);
    input.is_sold_out = fields.read("is_sold_out", flag).or(input.is_sold_out);
    input.is_active = fields.read("is_active", flag).or(input.is_active);
    input.weight_ounces = fields.read("weight_ounces", weight).or(input.weight_ounces);
    input.is_draft = fields.read("is_draft", flag);
    input.on_sale_at = fields.read("on_sale_at", or_null(instant));
    if input.on_sale_at.flatten().is_some() {
        if input.is_draft == Some(false) {
            fields.field_error("on_sale_at", "Only a draft is put on sale later.");
        }
        if input.is_active == Some(false) {
            fields.field_error("on_sale_at", NOT_ARCHIVED);
        }
    }
    input
}

/// Parses a product's images: up to ten, without duplicates.
pub(super) fn read_images<T: PartialEq>(
    fields: &mut FieldReader,
    parse: impl Fn(Value) -> Result<T, String>,
) -> Option<Vec<T>> {
    let items = fields.read("images", |value| match value {
        Value::Array(items) if items.len() <= MAX_IMAGES => Ok(items),
        _ => Err(format!("Must be a list of up to {MAX_IMAGES} images.")),
    })?;
    let mut images = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let parsed = parse(item);
        match parsed {
            Ok(image) if images.contains(&image) => {
                fields.field_error(
                    &format!("images[{index}]"),
                    "This image is already in the list.",
                );
            }
            Ok(image) => images.push(image),
            Err(message) => fields.field_error(&format!("images[{index}]"), message),
        }
    }
    Some(images)
}

pub(super) fn read_stock(fields: &mut FieldReader, input: &mut ProductInput) {
    let mut count = |field| {
        let count = fields.read(field, |value| whole(value, 0..=MAX_STOCK));
        count.map(|count| count as i32)
    };
    input.inventory_count = count("inventory_count");
    input.expected_inventory_count = count("expected_inventory_count");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value, write: Write) -> Parsed<ProductInput> {
        let Value::Object(body) = body else {
            panic!("an object")
        };
        ProductInput::parse(body, write, &["http://shop"], Currency::USD)
    }

    fn faulty(body: Value, write: Write) -> Vec<String> {
        let mut fields: Vec<String> = read(body, write)
            .field_errors
            .into_iter()
            .map(|field_error| field_error.field)
            .collect();
        fields.sort();
        fields
    }

    #[test]
    fn all_field_errors_are_reported_at_once() {
        let body = json!({
            "id": "a/b", "name": " ", "slug": "A b", "lighter_type": 3, "price": 49, "currency": "USD",
            "category": "Ünknown", "description": "a\0b", "primary_image": "/media/../etc/passwd",
            "secondary_image": 7, "is_sold_out": "true", "is_active": null, "weight_ounces": -1,
            "inventory_count": -1, "version": 0, "colour": "red",
        });
        assert_eq!(
            faulty(body, Write::Create),
            [
                "category",
                "colour",
                "currency",
                "description",
                "id",
                "inventory_count",
                "is_active",
                "is_sold_out",
                "lighter_type",
                "name",
                "price",
                "primary_image",
                "secondary_image",
                "slug",
                "version",
                "weight_ounces",
            ]
        );
        assert_eq!(
            faulty(json!({}), Write::Create),
            ["lighter_type", "name", "price"]
        );
        assert!(faulty(json!({}), Write::Patch).is_empty());
    }

    #[test]
    fn null_and_missing_differ_where_null_is_a_value() {
        let patch = read(json!({"category": null, "primary_image": ""}), Write::Patch);
        assert!(patch.field_errors.is_empty());
        assert_eq!(patch.value.category, Some(None));
        assert_eq!(patch.value.primary_image, Some(None));
        assert_eq!(patch.value.secondary_image, None);
    }

    #[test]
    fn stock_is_not_overwritten_blindly() {
        let fields = faulty(json!({"inventory_count": 3}), Write::Patch);
        assert_eq!(fields, ["expected_inventory_count"]);
        let seen = json!({"inventory_count": 3, "expected_inventory_count": 1});
        assert!(faulty(seen, Write::Patch).is_empty());
    }

    #[test]
    fn what_was_got_may_be_sent_back() {
        let got = json!({"id": "x", "stripe": {}, "on_hand": 1, "created_at": "", "name": "N",
            "primary_image": "http://shop/media/a.png"});
        let patch = read(got, Write::Patch);
        assert!(patch.field_errors.is_empty());
        assert_eq!(
            patch.value.primary_image,
            Some(Some("/media/a.png".to_owned()))
        );
        assert_eq!(patch.value.id, None);
    }

    #[test]
    fn weights_have_two_decimals() {
        for (given, kept) in [
            (json!("2"), "2.00"),
            (json!(2.5), "2.50"),
            (json!("2.500"), "2.50"),
            (json!(0), "0.00"),
            (json!("99999.99"), "99999.99"),
            (json!("007.1"), "7.10"),
        ] {
            assert_eq!(weight(given).as_deref(), Ok(kept));
        }
        for bad in [
            json!("2.005"),
            json!("1e3"),
            json!(100_000),
            json!(""),
            json!("."),
            json!(null),
        ] {
            assert!(weight(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn images_are_ours_or_have_an_address() {
        let stored = |text: &str, relative| image(json!(text), &[], relative).ok().flatten();
        assert_eq!(
            stored("demo/x.png", true).as_deref(),
            Some("/media/demo/x.png")
        );
        assert_eq!(
            stored("/media/x.png", true).as_deref(),
            Some("/media/x.png")
        );
        assert_eq!(
            stored("https://cdn/x.png", false).as_deref(),
            Some("https://cdn/x.png")
        );
        for bad in [
            "x.png",
            "//evil/x.png",
            "/etc/passwd",
            "javascript:x",
            "/media/",
            "http:///x",
        ] {
            assert_eq!(stored(bad, false), None, "{bad}");
        }
        assert_eq!(stored("javascript:x", true), None);
    }
}
