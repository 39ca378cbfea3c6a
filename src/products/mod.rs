//! Products: what is for sale, at what price, how many are left.
mod catalog_file;
mod categories;
pub mod demo;
mod fields;
mod images;
mod input;
pub mod keeping;
mod listing;
mod routes;
mod service;
mod slugs;
mod stock;
mod store;
mod sync;
mod views;

pub use catalog_file::{ImportSummary, export, import};
pub use categories::Category;
pub use images::{TakenImages, named_id, named_images};
pub use listing::{Page, PageRequest, links};
pub use routes::{base_url, router};
pub use service::put_back;
pub use stock::{
    Lock, OnHand, Reason, RunningOut, adjust, lock, on_hand, release, reserve, running_out, take,
    take_held,
};
pub use store::{Discrepancy, check_ledger, details, foreign_prices, is_empty};
pub use sync::{
    SyncRow, doubt_prices, find_for_sync, pending_syncs, record_price, record_retired,
    record_stripe_product, record_sync_error, record_synced, stalled_syncs,
};
pub use views::{MovementView, lighter_type_display, serialize_time};

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::ids::ProductId;
use crate::media::Image;
use crate::money::Cents;

/// A product as the database has it.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
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
    /// Images that we keep, in order. The two addresses above are of the first two, unless they lead elsewhere.
    #[sqlx(json)]
    pub images: Vec<Image>,
    /// The owner's switch; stock has the other word in it.
    pub is_sold_out: bool,
    pub is_active: bool,
    pub on_hand: i32,
    pub reserved: i32,
    /// Two decimals, as `2.00`.
    pub weight_ounces: String,
    /// Counts the owner's edits; sales do not touch it.
    pub version: i64,
    pub stripe_product_id: Option<String>,
    pub stripe_price_id: Option<String>,
    pub stripe_status: SyncStatus,
    pub stripe_error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What Stripe has of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum SyncStatus {
    /// A change is still to be sent.
    Pending,
    /// Stripe has it as it is here.
    Synced,
    /// Stripe refused it; a change or a person's word tries again.
    Error,
}

impl SyncStatus {
    pub const ALL: [SyncStatus; 3] = [SyncStatus::Pending, SyncStatus::Synced, SyncStatus::Error];

    pub fn as_str(self) -> &'static str {
        match self {
            SyncStatus::Pending => "pending",
            SyncStatus::Synced => "synced",
            SyncStatus::Error => "error",
        }
    }

    pub fn parse(text: &str) -> Option<SyncStatus> {
        SyncStatus::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

impl Product {
    /// Stripe has it as it is here.
    pub fn is_synced(&self) -> bool {
        self.stripe_status == SyncStatus::Synced
    }

    /// Stripe refused the last change.
    pub fn is_refused_by_stripe(&self) -> bool {
        self.stripe_status == SyncStatus::Error
    }

    /// What is neither sold nor held.
    pub fn available(&self) -> i32 {
        self.on_hand - self.reserved
    }

    /// Whether Stripe has to hear what is new since `before`. While it is pending all is: a sync that has read the row
    /// by now finds a later version in the end, and leaves it to the next.
    fn concerns_stripe(&self, before: &Product) -> bool {
        fn told(product: &Product) -> impl PartialEq {
            (
                &product.name,
                product.price,
                &product.currency,
                &product.primary_image,
                product.is_active,
                &product.stripe_product_id,
                &product.stripe_price_id,
            )
        }
        before.stripe_status == SyncStatus::Pending || told(self) != told(before)
    }
}

/// What the shopper who asks holds already, in an order not yet paid: for them, it is still available.
#[derive(Clone, Debug, Default)]
pub struct OwnHold(pub Arc<BTreeMap<ProductId, i32>>);

impl OwnHold {
    fn of(&self, product: &ProductId) -> i32 {
        self.0.get(product).copied().unwrap_or(0)
    }
}
