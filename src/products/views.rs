//! JSON views of products and categories for shoppers and owners. docs/compatibility.md defines the order of the keys.

use chrono::{DateTime, Timelike, Utc};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::{OwnHold, Product, SyncStatus};
use crate::images::{Image, ImageView};
use crate::types::ids::{OrderId, ProductId};
use crate::types::money::Cents;

/// A product in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProductEntry {
    pub id: ProductId,
    pub name: String,
    pub slug: String,
    /// 1 or 2.
    pub lighter_type: i16,
    /// `Classic BIC` or `Mini BIC`.
    pub lighter_type_display: &'static str,
    /// In the currency's smallest unit.
    pub price: Cents,
    /// The category's id.
    pub category: Option<i64>,
    pub category_name: Option<String>,
    /// Sold out by the owner's choice, or because no pieces are available.
    pub is_sold_out: bool,
    /// Pieces available: on hand minus those held for other shoppers.
    pub inventory_count: i32,
    /// Relative URL: `/media/…`.
    pub primary_image: Option<String>,
    pub secondary_image: Option<String>,
    pub is_in_stock: bool,
    /// All images, with relative URLs.
    pub images: Vec<ImageView>,
    /// The shop's currency, three lowercase letters.
    pub currency: String,
}

/// A row of the public list.
#[derive(Debug, sqlx::FromRow)]
pub struct ListedProduct {
    id: ProductId,
    name: String,
    slug: String,
    lighter_type: i16,
    price: Cents,
    category_id: Option<i64>,
    category_name: Option<String>,
    is_sold_out: bool,
    on_hand: i32,
    reserved: i32,
    primary_image: Option<String>,
    secondary_image: Option<String>,
    currency: String,
    #[sqlx(json)]
    images: Vec<Image>,
}

impl ListedProduct {
    /// Builds the entry of the public list. `own` counts as available.
    pub fn shown(self, own: &OwnHold) -> ProductEntry {
        let stock = Availability::new(
            self.is_sold_out,
            self.on_hand - self.reserved + own.of(&self.id),
        );
        ProductEntry {
            id: self.id,
            name: self.name,
            slug: self.slug,
            lighter_type: self.lighter_type,
            lighter_type_display: lighter_type_display(self.lighter_type),
            price: self.price,
            category: self.category_id,
            category_name: self.category_name,
            is_sold_out: stock.is_sold_out,
            inventory_count: stock.inventory_count,
            primary_image: self.primary_image.filter(|path| !path.is_empty()),
            secondary_image: self.secondary_image.filter(|path| !path.is_empty()),
            is_in_stock: stock.is_in_stock,
            images: self.images.iter().map(|image| image.view("")).collect(),
            currency: self.currency,
        }
    }
}

/// Availability of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Availability {
    pub is_in_stock: bool,
    pub inventory_count: i32,
    pub is_sold_out: bool,
}

impl Availability {
    /// Combines the owner's choice with the pieces available to the caller.
    pub fn new(switched_off: bool, available: i32) -> Availability {
        let is_sold_out = switched_off || available <= 0;
        Availability {
            is_in_stock: !is_sold_out,
            inventory_count: available.max(0),
            is_sold_out,
        }
    }
}

/// A product with all public fields.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProductDetail {
    pub id: ProductId,
    pub name: String,
    pub slug: String,
    /// 1 or 2.
    pub lighter_type: i16,
    /// `Classic BIC` or `Mini BIC`.
    pub lighter_type_display: &'static str,
    /// In the currency's smallest unit.
    pub price: Cents,
    /// The category's id.
    pub category: Option<i64>,
    pub category_name: Option<String>,
    pub description: String,
    /// Absolute URL.
    pub primary_image: Option<String>,
    pub secondary_image: Option<String>,
    /// For shoppers: sold out by the owner's choice, or because no pieces are available. For owners: the owner's choice
    /// only.
    pub is_sold_out: bool,
    pub is_active: bool,
    /// Pieces available: on hand minus those held for other shoppers.
    pub inventory_count: i32,
    /// With two decimals, such as `"2.00"`.
    pub weight_ounces: String,
    pub is_in_stock: bool,
    #[serde(serialize_with = "serialize_time")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "serialize_time")]
    pub updated_at: DateTime<Utc>,
    /// All images, with absolute URLs.
    pub images: Vec<ImageView>,
    /// The shop's currency, three lowercase letters.
    pub currency: String,
}

impl ProductDetail {
    /// Builds the view for shoppers. `base` begins the image URLs, and `own` counts as available.
    pub fn new(product: Product, base: &str, own: &OwnHold) -> ProductDetail {
        let available = product.available() + own.of(&product.id);
        let stock = Availability::new(product.is_sold_out, available);
        ProductDetail {
            id: product.id,
            name: product.name,
            slug: product.slug,
            lighter_type: product.lighter_type,
            lighter_type_display: lighter_type_display(product.lighter_type),
            price: product.price,
            category: product.category_id,
            category_name: product.category_name,
            description: product.description,
            primary_image: absolute(product.primary_image, base),
            secondary_image: absolute(product.secondary_image, base),
            is_sold_out: stock.is_sold_out,
            is_active: product.is_active,
            inventory_count: stock.inventory_count,
            weight_ounces: product.weight_ounces,
            is_in_stock: stock.is_in_stock,
            created_at: product.created_at,
            updated_at: product.updated_at,
            images: product
                .images
                .iter()
                .map(|image| image.view(base))
                .collect(),
            currency: product.currency,
        }
    }
}

/// A product with all fields for owners.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminView {
    #[serde(flatten)]
    pub detail: ProductDetail,
    pub on_hand: i32,
    /// Pieces held for unpaid orders.
    pub reserved: i32,
    /// Not shown to shoppers, unless `on_sale_at` is past.
    pub is_draft: bool,
    /// The time from which a draft is on sale; null if none is set.
    #[serde(serialize_with = "serialize_optional_time")]
    pub on_sale_at: Option<DateTime<Utc>>,
    /// Version to send with a change, as `version` or as `If-Match: "N"`.
    pub version: i64,
    pub stripe: StripeView,
}

/// State of the product at Stripe.
#[derive(Debug, Serialize, ToSchema)]
pub struct StripeView {
    pub status: SyncStatus,
    pub error: Option<String>,
    pub product_id: Option<String>,
    pub price_id: Option<String>,
}

impl AdminView {
    /// Builds the view for owners.
    pub fn new(mut product: Product, base: &str) -> AdminView {
        let is_sold_out = product.is_sold_out;
        let stripe = StripeView {
            status: product.stripe_status,
            error: product.stripe_error.take(),
            product_id: product.stripe_product_id.take(),
            price_id: product.stripe_price_id.take(),
        };
        let (on_hand, reserved, version) = (product.on_hand, product.reserved, product.version);
        let (is_draft, on_sale_at) = (product.is_draft, product.on_sale_at);
        let mut detail = ProductDetail::new(product, base, &OwnHold::default());
        detail.is_sold_out = is_sold_out;
        AdminView {
            detail,
            on_hand,
            reserved,
            is_draft,
            on_sale_at,
            version,
            stripe,
        }
    }
}

/// Response to a batch request.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchView {
    /// Sorted by name, regardless of the requested order.
    pub products: Vec<ProductEntry>,
    pub count: usize,
    pub requested_ids: Vec<String>,
    pub found_ids: Vec<ProductId>,
}

/// Stock of a product after a change.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockView {
    pub product_id: ProductId,
    pub on_hand: i32,
    pub reserved: i32,
    /// On hand minus reserved.
    pub inventory_count: i32,
}

/// An entry of the stock ledger.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct MovementView {
    pub id: i64,
    pub delta: i32,
    pub reason: String,
    pub order_id: Option<OrderId>,
    pub note: String,
    /// Author of the change, such as `token:NAME` or `system`.
    pub actor: String,
    #[serde(serialize_with = "serialize_time")]
    pub created_at: DateTime<Utc>,
}

/// Formats a time like the previous service: with microseconds, unless they are zero.
pub fn serialize_time<S: Serializer>(time: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    let form = if time.nanosecond() / 1000 == 0 {
        "%Y-%m-%dT%H:%M:%SZ"
    } else {
        "%Y-%m-%dT%H:%M:%S%.6fZ"
    };
    to.collect_str(&time.format(form))
}

fn serialize_optional_time<S: Serializer>(
    time: &Option<DateTime<Utc>>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serialize_time(time, to),
        None => to.serialize_none(),
    }
}

/// Returns the name of a lighter type; empty if there is none.
pub fn lighter_type_display(lighter_type: i16) -> &'static str {
    match lighter_type {
        1 => "Classic BIC",
        2 => "Mini BIC",
        _ => "",
    }
}

fn absolute(image: Option<String>, base: &str) -> Option<String> {
    let image = image.filter(|path| !path.is_empty())?;
    Some(if image.starts_with('/') {
        format!("{base}{image}")
    } else {
        image
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_microseconds_or_none_at_all() {
        #[derive(Serialize)]
        struct At(#[serde(serialize_with = "serialize_time")] DateTime<Utc>);
        let written = |text: &str| serde_json::to_string(&At(text.parse().unwrap())).unwrap();
        assert_eq!(
            written("2026-01-03T21:49:29.931Z"),
            "\"2026-01-03T21:49:29.931000Z\""
        );
        assert_eq!(written("2026-01-03T21:49:29Z"), "\"2026-01-03T21:49:29Z\"");
    }

    #[test]
    fn nothing_left_is_sold_out_whatever_the_switch_says() {
        assert!(Availability::new(false, 0).is_sold_out);
        assert!(Availability::new(true, 3).is_sold_out);
        assert!(Availability::new(false, 1).is_in_stock);
    }
}
