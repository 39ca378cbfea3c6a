//! The report of an import: numbers and findings, and no customer's data.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::apply::Count;
use super::findings::Findings;
use super::hashes::RowKind;
use super::old::OldShop;
use super::settle::StripeStep;
use super::verify::Check;

/// Numbers of the old shop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub categories: usize,
    pub products: usize,
    /// Pieces in stock.
    pub pieces: i64,
    pub orders: usize,
    /// Sum of all orders, paid or not, in cents.
    pub orders_total: i64,
    pub lines: usize,
    pub custom_orders: usize,
    pub users: usize,
}

/// Result of an import.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    #[serde(rename = "dry_run")]
    pub is_dry_run: bool,
    /// Time of the snapshot.
    pub read_at: DateTime<Utc>,
    /// Time of the oldest order.
    pub first_order: DateTime<Utc>,
    pub old: Totals,
    pub counts: BTreeMap<RowKind, Count>,
    /// Images that the imported rows use.
    pub images: usize,
    /// Files that no earlier import had decoded.
    pub images_decoded: usize,
    /// Comparisons that found no difference.
    pub checks: Vec<Check>,
    pub findings: Findings,
    /// Events of Stripe that came before their rows, and are processed now.
    pub events_taken_up: u64,
    /// What Stripe was asked and told after the final import.
    pub stripe: Vec<StripeStep>,
}

impl Report {
    /// Number of rows that were written.
    pub fn changed(&self) -> usize {
        let counts = self.counts.values();
        counts.map(|count| count.created + count.updated).sum()
    }
}

/// Counts the old shop's rows.
pub fn totals_of(shop: &OldShop) -> Totals {
    Totals {
        categories: shop.categories.len(),
        products: shop.products.len(),
        pieces: shop
            .products
            .iter()
            .map(|product| i64::from(product.inventory_count))
            .sum(),
        orders: shop.orders.len(),
        orders_total: shop.orders.iter().map(|order| order.amount_total).sum(),
        lines: shop.orders.iter().map(|order| order.items.len()).sum(),
        custom_orders: shop.requests.len(),
        users: shop.users.len(),
    }
}
