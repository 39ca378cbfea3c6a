//! Products: what is for sale, at what price, how many are left.
mod stock;

pub use stock::{Lock, adjust, lock, release, reserve, take, take_held};

use chrono::{DateTime, Utc};

use crate::ids::ProductId;
use crate::money::Cents;

/// A product as the database has it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Product {
    pub id: ProductId,
    pub name: String,
    pub slug: String,
    /// 1 Classic, 2 Mini.
    pub lighter_type: i16,
    pub price: Cents,
    pub currency: String,
    pub category_id: Option<i64>,
    pub category_name: Option<String>,
    pub description: String,
    pub primary_image: Option<String>,
    pub secondary_image: Option<String>,
    /// The shopkeeper's switch; stock has the other word in it.
    pub is_sold_out: bool,
    pub is_active: bool,
    pub on_hand: i32,
    pub reserved: i32,
    /// Two decimals, as `2.00`.
    pub weight_ounces: String,
    /// Counts the shopkeeper's edits; sales do not touch it.
    pub version: i64,
    pub stripe_product_id: Option<String>,
    pub stripe_price_id: Option<String>,
    pub stripe_status: String,
    pub stripe_error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}
