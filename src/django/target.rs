//! The rows that the import wants the new shop to have, as its tables name their columns.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::auth::Role;
use crate::custom_orders;
use crate::orders::{Channel, Status, Zone};
use crate::types::ids::ImageId;

/// Everything that the old shop's rows are made into.
#[derive(Default)]
pub struct Target {
    pub categories: Vec<NewCategory>,
    pub users: Vec<NewUser>,
    pub products: Vec<NewProduct>,
    /// In the order of their numbers; those made for custom orders come last.
    pub orders: Vec<NewOrder>,
    pub custom_orders: Vec<NewCustomOrder>,
}

#[derive(Clone, Debug, Serialize)]
pub struct NewCategory {
    pub id: i64,
    pub name: String,
    /// None exempts a name that another category has but for case and accents.
    pub name_key: Option<String>,
    pub slug: String,
    pub description: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug, Serialize)]
pub struct NewUser {
    pub id: Uuid,
    /// The old shop's id.
    pub old_id: i64,
    pub email: String,
    pub role: Role,
    pub is_disabled: bool,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Debug, Serialize)]
pub struct NewProduct {
    pub id: String,
    pub name: String,
    pub slug: String,
    pub lighter_type: i16,
    pub price: i64,
    pub currency: String,
    pub category_id: Option<i64>,
    pub description: String,
    pub primary_image: Option<String>,
    pub secondary_image: Option<String>,
    pub images: Vec<ImageId>,
    /// A decimal number.
    pub weight_ounces: String,
    pub is_sold_out: bool,
    pub is_active: bool,
    pub stripe_product_id: Option<String>,
    pub stripe_price_id: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Pieces in the old shop. The ledger follows them by their difference.
    #[serde(skip)]
    pub stock: i32,
}

#[derive(Clone, Debug, Serialize)]
pub struct NewOrder {
    pub id: Uuid,
    pub status: Status,
    pub channel: Channel,
    pub is_custom_order: bool,
    pub currency: String,
    pub subtotal: i64,
    pub shipping: i64,
    pub total: i64,
    pub refunded: i64,
    pub email: Option<String>,
    pub customer_name: Option<String>,
    pub shipping_name: Option<String>,
    pub shipping_address: Option<Value>,
    pub shipping_zone: Option<Zone>,
    pub outside_zone: bool,
    pub created_at: DateTime<Utc>,
    pub paid_at: Option<DateTime<Utc>>,
    pub payment_unrecorded: bool,
    pub lines: Vec<NewLine>,
    /// The lines are those of an earlier import, and the old shop's come to more since.
    #[serde(skip)]
    pub keeps_lines: bool,
    pub payment: Option<NewPayment>,
    pub checkout: Option<NewCheckout>,
    pub shipment: Option<NewShipment>,
    pub notes: Vec<String>,
    /// Its way from the cart on.
    #[serde(skip)]
    pub moves: Vec<Move>,
    #[serde(skip)]
    pub reviews: Vec<Review>,
}

/// Returns true when an order of this status has taken money.
pub fn is_settled(status: Status) -> bool {
    use Status::{Delivered, Paid, Refunded, Shipped};
    matches!(status, Paid | Shipped | Delivered | Refunded)
}

/// A line of an order.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct NewLine {
    pub product_id: Option<String>,
    pub name: String,
    pub image: Option<String>,
    pub unit_price: i64,
    pub quantity: i32,
}

#[derive(Clone, Debug, Serialize)]
pub struct NewPayment {
    pub id: String,
    pub session_id: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct NewCheckout {
    pub session_id: String,
    /// `complete`, `open` or `expired`.
    pub state: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub struct NewShipment {
    pub carrier: String,
    pub tracking_number: Option<String>,
    pub tracking_url: Option<String>,
    pub shipped_at: DateTime<Utc>,
    pub images: Vec<ImageId>,
}

/// A change of status on a timeline. Without a former status, it is the first entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub from: Option<&'static str>,
    pub to: &'static str,
    pub at: DateTime<Utc>,
    pub note: String,
}

/// Something that a person must look at.
#[derive(Clone, Debug)]
pub struct Review {
    /// Names the cause within its row: `total`, `payment`.
    pub what: &'static str,
    pub text: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct NewCustomOrder {
    pub id: Uuid,
    pub status: custom_orders::Status,
    pub name: String,
    pub email: String,
    pub description: String,
    pub colors: Option<String>,
    pub order_id: Option<Uuid>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub images: Vec<ImageId>,
    pub quote: Option<NewQuote>,
    pub notes: Vec<String>,
    #[serde(skip)]
    pub moves: Vec<Move>,
    #[serde(skip)]
    pub reviews: Vec<Review>,
}

#[derive(Clone, Debug, Serialize)]
pub struct NewQuote {
    pub id: Uuid,
    /// `draft`, `live`, `closed` or `paid`.
    pub state: &'static str,
    pub currency: String,
    pub amount: i64,
    pub link_url: Option<String>,
}
