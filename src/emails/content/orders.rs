//! Emails about orders.

use super::blocks::{BANKS, address, greeting, lines, order_facts, shipment_blocks, sum};
use super::{Block, EmailContent, ImageUrls};
use crate::emails::message::{OrderEmailData, ShipmentEmailData};
use crate::mail::Branding;
use crate::types::money::Cents;

/// To the customer: the order is paid.
pub fn order_confirmation(
    order: &OrderEmailData,
    branding: &Branding,
    shown: &ImageUrls,
) -> EmailContent {
    let shop = &branding.name;
    let total = order.total.in_currency(&order.currency);
    let mut blocks = vec![
        greeting(order.customer_name.as_deref()),
        Block::Text(
            "Thank you: your order is paid, and we are getting it ready to ship. You will hear from us again as soon as \
             it is on its way."
                .to_owned(),
        ),
        Block::Details(order_facts(order, branding.zone)),
        Block::Lines(lines(order, shown)),
        sum(order),
    ];
    blocks.extend(address(order));
    EmailContent {
        subject: format!("Order Confirmation - {shop}"),
        preview: format!("Order {}, {total}", order.number),
        heading: "Thank you for your order".to_owned(),
        blocks,
        inside: false,
    }
}

/// To the customer: the order is on its way.
pub fn order_shipped(
    order: &OrderEmailData,
    shipment: &ShipmentEmailData,
    branding: &Branding,
    shown: &ImageUrls,
) -> EmailContent {
    let shop = &branding.name;
    let mut blocks = vec![
        greeting(order.customer_name.as_deref()),
        Block::Text(format!(
            "Good news: your order {} has left our workshop and is on its way to you.",
            order.number
        )),
    ];
    blocks.extend(shipment_blocks(shipment, branding.zone, shown));
    blocks.push(Block::Lines(lines(order, shown)));
    blocks.extend(address(order));
    EmailContent {
        subject: format!("Your Order Has Shipped! - {shop}"),
        preview: format!("Order {} is on its way", order.number),
        heading: "Your order is on its way".to_owned(),
        blocks,
        inside: false,
    }
}

/// To the customer: `amount` was refunded just now, and `refunded` of the order in all.
pub fn order_refunded(
    order: &OrderEmailData,
    amount: Cents,
    refunded: Cents,
    shop: &str,
) -> EmailContent {
    let money = |amount: Cents| amount.in_currency(&order.currency);
    let how = if refunded >= order.total {
        "That is all that you had paid."
    } else {
        "The rest of your order stands."
    };
    let mut sums = vec![("Order total", money(order.total))];
    if refunded != amount {
        sums.push(("Refunded before", money(Cents(refunded.0 - amount.0))));
    }
    sums.push(("Refunded now", money(amount)));
    EmailContent {
        subject: format!("Your Refund - {shop}"),
        preview: format!("{} of order {}", money(amount), order.number),
        heading: "Your refund".to_owned(),
        blocks: vec![
            greeting(order.customer_name.as_deref()),
            Block::Text(format!(
                "We have given you back {} of your order {}. {how}",
                money(amount),
                order.number
            )),
            Block::Sum(sums),
            Block::Remark(BANKS.to_owned()),
        ],
        inside: false,
    }
}
