//! Open carts. The old shop holds nothing; what the new shop would still hold is held, as far as the pieces are there.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use uuid::Uuid;

use super::Input;
use super::links::Links;
use crate::django::hashes::RowKind;
use crate::django::old::OldOrder;
use crate::orders::{Channel, Status};

/// Age until which a cart is held.
const YOUNG: TimeDelta = TimeDelta::minutes(31);

/// Returns the pending orders whose pieces are held, the oldest first served.
pub(super) fn held(input: &Input<'_>, links: &Links<'_>) -> HashSet<Uuid> {
    let mut free = free_pieces(input, links);
    let mut held = HashSet::new();
    for order in &input.shop.orders {
        let is_young = input.read_at - order.created_at < YOUNG;
        if !is_young || !may_be_held(input, links, order) {
            continue;
        }
        let wanted = wanted(order);
        let is_there = |(product, quantity): (&&str, &i64)| {
            free.get(*product).is_some_and(|free| free >= quantity)
        };
        if !wanted.is_empty() && wanted.iter().all(is_there) {
            for (product, quantity) in wanted {
                *free.entry(product.to_owned()).or_default() -= quantity;
            }
            held.insert(order.id);
        }
    }
    held
}

/// A cart that can still be paid, and that the new shop has not released.
fn may_be_held(input: &Input<'_>, links: &Links<'_>, order: &OldOrder) -> bool {
    let ours = input.known.orders.get(&order.id);
    links.status(order).status == Status::Pending
        && links.channel(order) == Channel::Storefront
        && links.has_session(order)
        && ours.is_none_or(|ours| ours.status == Status::Pending)
}

/// Pieces of each product in a cart.
fn wanted(order: &OldOrder) -> HashMap<&str, i64> {
    let mut wanted = HashMap::new();
    for item in order.items.iter().filter(|item| item.quantity > 0) {
        *wanted.entry(item.product_id.as_str()).or_default() += i64::from(item.quantity);
    }
    wanted
}

/// Pieces of each product that no order of the new shop holds, but for the carts that are judged again.
fn free_pieces(input: &Input<'_>, links: &Links<'_>) -> HashMap<String, i64> {
    let mut free = HashMap::new();
    for product in &input.shop.products {
        let count = i64::from(product.inventory_count.max(0));
        let ours = input.known.products.get(&product.id);
        let before = input.known.row(RowKind::Product, &product.id);
        let before = before.and_then(|row| row.stock);
        let pieces = match (ours, before) {
            (Some(ours), Some(before)) => {
                i64::from(ours.on_hand) - i64::from(ours.reserved) + count - i64::from(before)
            }
            // The new shop's own product, whose stock the import leaves alone.
            (Some(ours), None) => i64::from(ours.on_hand) - i64::from(ours.reserved),
            (None, _) => count,
        };
        free.insert(product.id.clone(), pieces);
    }
    for order in &input.shop.orders {
        let ours = input.known.orders.get(&order.id);
        let is_held = ours.is_some_and(|ours| ours.status == Status::Pending);
        if is_held && links.channel(order) == Channel::Storefront {
            for (product, quantity) in wanted(order) {
                *free.entry(product.to_owned()).or_default() += quantity;
            }
        }
    }
    free
}
