//! Products: catalog, prices, stock, and the sync to Stripe.

mod admin_routes;
pub mod categories;
mod changes;
mod drafts;
mod extract;
mod fields;
mod filter;
mod import;
mod input;
pub mod intakes;
mod inventory;
pub mod lighters;
mod listing;
mod paging;
mod product_images;
mod restock;
mod routes;
mod service;
mod slugs;
mod store;
mod stripe_sync;
mod views;

pub use changes::{Catalog, Shown, record_change_of_everything, trim_changes};
pub use drafts::{end_due_drafts, schedule};
pub use extract::{base_url, names_tag};
pub use fields::{Parsed, Write};
pub use import::{FileImages, ImportSummary, demo, export, import, named_id, named_images};
pub use input::{MAX_IMAGES, ProductInput};
pub use inventory::{
    Discrepancy, LockedProduct, OnHand, RunningOut, StockCause, StockInput, StockReason, adjust,
    check_ledger, latest_movements, lock, on_hand, release, reserve, running_out, take, take_held,
};
pub use listing::{ProductQuery, ProductSort, ProductTab, browse};
pub use product_images::{ImageMove, add_images, move_images};
pub use restock::restock;
pub use routes::router;
pub use service::{
    BulkAction, change, change_many, change_stock, create, delete, duplicate, resync, set_active,
};
pub use store::{details, find, foreign_prices, is_empty};
pub use stripe_sync::{
    SyncRow, check_stripe_account, claim_account, doubt_prices, find_for_sync, pending_syncs,
    record_price, record_stripe_product, record_sync_error, record_synced, release_copied,
    stalled_syncs, sync_product,
};
pub use views::{MovementView, StockView, lighter_type_display};

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
    /// Not on sale yet; [`Product::is_on_sale`] has the whole rule.
    pub is_draft: bool,
    /// The time from which a draft is on sale. `None` if none is set.
    pub on_sale_at: Option<DateTime<Utc>>,
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
    /// All states.
    pub const ALL: [SyncStatus; 3] = [SyncStatus::Pending, SyncStatus::Synced, SyncStatus::Error];

    /// Returns the state as the API and the database name it.
    pub fn as_str(self) -> &'static str {
        match self {
            SyncStatus::Pending => "pending",
            SyncStatus::Synced => "synced",
            SyncStatus::Error => "error",
        }
    }

    /// Parses the name of a state.
    pub fn parse(text: &str) -> Option<SyncStatus> {
        SyncStatus::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

impl Product {
    /// Creates a product with nothing but its id. The database sets the times.
    pub(super) fn blank(id: ProductId) -> Product {
        let now = Utc::now();
        Product {
            id,
            name: String::new(),
            slug: String::new(),
            lighter_type: 1,
            price: Cents::ZERO,
            currency: String::new(),
            category_id: None,
            category_name: None,
            description: String::new(),
            primary_image: None,
            secondary_image: None,
            images: Vec::new(),
            is_sold_out: false,
            is_active: true,
            is_draft: false,
            on_sale_at: None,
            on_hand: 0,
            reserved: 0,
            weight_ounces: "2.00".to_owned(),
            version: 1,
            stripe_product_id: None,
            stripe_price_id: None,
            stripe_status: SyncStatus::Pending,
            stripe_error: None,
            created_at: now,
            updated_at: now,
        }
    }

    /// Reports whether shoppers see the product: it is neither archived nor a draft before its time.
    pub fn is_on_sale(&self) -> bool {
        self.is_active && (!self.is_draft || self.on_sale_at.is_some_and(|at| at <= Utc::now()))
    }

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
        fn synced_fields(product: &Product) -> impl PartialEq {
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
        before.stripe_status == SyncStatus::Pending || synced_fields(self) != synced_fields(before)
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
