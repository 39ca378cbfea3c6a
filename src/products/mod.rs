//! Products: catalog, prices, stock, and the sync to Stripe.
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

use crate::images::Image;
use crate::types::ids::ProductId;
use crate::types::money::Cents;

/// A row of the table `products`, with category name and images.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Product {
    pub id: ProductId,
    pub name: String,
    pub slug: String,
    /// 1 for Classic, 2 for Mini.
    pub lighter_type: i16,
    pub price: Cents,
    pub currency: String,
    pub category_id: Option<i64>,
    pub category_name: Option<String>,
    pub description: String,
    pub primary_image: Option<String>,
    pub secondary_image: Option<String>,
    /// Images stored by this shop, in order. The two addresses above are those of the first two images, unless they are
    /// on another host.
    #[sqlx(json)]
    pub images: Vec<Image>,
    /// Sold out by the owner's choice. A product without available stock counts as sold out, too.
    pub is_sold_out: bool,
    pub is_active: bool,
    pub on_hand: i32,
    pub reserved: i32,
    /// With two decimals, such as `2.00`.
    pub weight_ounces: String,
    /// Incremented by edits, but not by sales.
    pub version: i64,
    pub stripe_product_id: Option<String>,
    pub stripe_price_id: Option<String>,
    pub stripe_status: SyncStatus,
    pub stripe_error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// State of the sync of a product to Stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum SyncStatus {
    /// A change has not been sent yet.
    Pending,
    /// Stripe has the current version.
    Synced,
    /// Stripe refused the change. The next change, or a manual sync, tries again.
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
    /// Reports whether Stripe has the current version.
    pub fn is_synced(&self) -> bool {
        self.stripe_status == SyncStatus::Synced
    }

    /// Reports whether Stripe refused the last change.
    pub fn is_refused_by_stripe(&self) -> bool {
        self.stripe_status == SyncStatus::Error
    }

    /// Returns the pieces that are neither sold nor held.
    pub fn available(&self) -> i32 {
        self.on_hand - self.reserved
    }

    /// Reports whether a change since `before` must be synced to Stripe. While a sync is pending, every change counts:
    /// a sync that has already read the row must find a newer version at its end and leave the product to the next
    /// sync.
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

/// Pieces that the current shopper holds in an unpaid order. For that shopper, they are still available.
#[derive(Clone, Debug, Default)]
pub struct OwnHold(pub Arc<BTreeMap<ProductId, i32>>);

impl OwnHold {
    fn of(&self, product: &ProductId) -> i32 {
        self.0.get(product).copied().unwrap_or(0)
    }
}
