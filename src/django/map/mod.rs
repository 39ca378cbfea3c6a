//! The mapping: what each of the old shop's rows becomes. It reads neither database.

mod address;
mod catalog;
mod custom_orders;
mod holds;
mod links;
mod money;
mod orders;
mod timeline;
mod users;

use chrono::{DateTime, Utc};

use super::findings::Findings;
use super::images::Images;
use super::known::Known;
use super::old::OldShop;
use super::target::Target;

pub use orders::{UNEXPLAINED, page_ends};

/// All that the mapping reads.
pub struct Input<'a> {
    pub shop: &'a OldShop,
    pub images: &'a Images,
    pub known: &'a Known,
    /// Code of the new shop's currency.
    pub currency: &'a str,
    /// Time of the snapshot.
    pub read_at: DateTime<Utc>,
}

/// Maps the whole shop, and adds what a person should know to the findings.
pub fn map(input: &Input<'_>, findings: &mut Findings) -> Target {
    let categories = catalog::categories(input, findings);
    let products = catalog::products(input, &categories, findings);
    let links = links::Links::of(input.shop);
    let held = holds::held(input, &links);
    let mut orders = orders::orders(input, &products, &links, &held, findings);
    let (custom_orders, made) = custom_orders::custom_orders(input, &links, &orders, findings);
    orders.extend(made);
    for stray in &input.shop.stray_items {
        let text = "its order is not in the old shop's database";
        super::findings::add(&mut findings.left_out, stray, text);
    }
    Target {
        users: users::users(input.shop, findings),
        categories,
        products,
        orders,
        custom_orders,
    }
}
