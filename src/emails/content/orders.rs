//! Emails about orders.

use super::blocks::{
    BANKS, address, admin_button, answers_go_to, greeting, lines, order_button, order_facts,
    order_link, shipment_blocks, sum,
};
use super::{Block, EmailContent, ImageUrls, YOU_SOLD};
use crate::emails::message::{OrderEmailData, ShipmentEmailData};
use crate::mail::{Branding, one_line};
use crate::types::money::Cents;

/// To the customer: the order is paid.
pub fn order_confirmation(
    order: &OrderEmailData,
    branding: &Branding,
    shown: &ImageUrls,
) -> EmailContent {
    let shop = &branding.name;
    let total = order.total.in_currency(&order.currency);
    let mut details = order_facts(order, branding.zone);
    let estimated = order.estimated_delivery.clone();
    details.extend(estimated.map(|days| ("Estimated delivery", days)));
    let mut blocks = vec![
        greeting(branding, order.customer_name.as_deref()),
        Block::Text(
            "Thank you: your order is paid, and we are getting it ready to ship. You will hear from us again as soon as \
             it is on its way."
                .to_owned(),
        ),
        Block::Details(details),
        Block::Lines(lines(order, shown)),
        sum(order),
    ];
    blocks.extend(address(order));
    blocks.extend(order_button(order));
    EmailContent {
        subject: format!("Order Confirmation - {shop}"),
        preview: format!("Order {}, {total}", order.number),
        heading: "Thank you for your order".to_owned(),
        blocks,
        inside: false,
    }
}

/// To the customer of a sale in person: the receipt.
pub fn receipt(
    order: &OrderEmailData,
    paid_with: Option<&str>,
    is_to_ship: bool,
    branding: &Branding,
    shown: &ImageUrls,
) -> EmailContent {
    let shop = &branding.name;
    let thanks = match is_to_ship {
        true => {
            "Thank you for your purchase: here is your receipt. You will hear from us again as soon as it is on its way."
        }
        false => "Thank you for your purchase: here is your receipt. We hope that you enjoy it.",
    };
    let mut details = order_facts(order, branding.zone);
    details.extend(paid_with.map(|method| ("Paid with", method.to_owned())));
    let mut blocks = vec![
        greeting(branding, order.customer_name.as_deref()),
        Block::Text(thanks.to_owned()),
        Block::Details(details),
        Block::Lines(lines(order, shown)),
        sum(order),
    ];
    blocks.extend(order_button(order));
    EmailContent {
        subject: format!("Your Receipt - {shop}"),
        preview: format!(
            "{}, {}",
            order.number,
            order.total.in_currency(&order.currency)
        ),
        heading: "Your receipt".to_owned(),
        blocks,
        inside: false,
    }
}

/// To the shop: an order is paid, or the quote of a custom order. A reply goes to the customer.
pub fn you_sold(
    order: &OrderEmailData,
    custom_order: Option<&str>,
    email: Option<&str>,
    branding: &Branding,
    shown: &ImageUrls,
) -> EmailContent {
    let total = order.total.in_currency(&order.currency);
    let customer = one_line(order.customer_name.as_deref().unwrap_or_default(), 100);
    let customer = match customer.as_str() {
        "" => "The customer",
        name => name,
    };
    let next = match custom_order {
        Some(number) => format!("{customer} paid {total} for {number}: you can begin."),
        None => format!("{customer} paid {total}."),
    };
    let mut details = order_facts(order, branding.zone);
    details.extend(email.map(|email| ("Email", one_line(email, 254))));
    let mut blocks = vec![
        Block::Text(next),
        Block::Lines(lines(order, shown)),
        sum(order),
        Block::Details(details),
    ];
    blocks.extend(address(order));
    let page = match custom_order {
        Some(number) => format!("/admin/custom-orders/{number}"),
        None => format!("/admin/orders/{}", order.number),
    };
    blocks.extend(admin_button(branding, &page));
    blocks.extend(email.map(|_| answers_go_to(customer)));
    let sold = sold(order);
    EmailContent {
        subject: format!("{YOU_SOLD}{sold} - {}", order.number),
        preview: format!("{total}, {customer}"),
        heading: format!("You sold {sold}"),
        blocks,
        inside: true,
    }
}

/// The first piece of an order by name, and the number of the others.
fn sold(order: &OrderEmailData) -> String {
    let pieces: i32 = order.lines.iter().map(|line| line.quantity).sum();
    let first = order.lines.first().map_or("", |line| line.name.as_str());
    match pieces {
        1 => one_line(first, 100),
        pieces => format!("{} and {} more", one_line(first, 100), pieces - 1),
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
        greeting(branding, order.customer_name.as_deref()),
        Block::Text(format!(
            "Good news: your order {} has left our workshop and is on its way to you.",
            order.number
        )),
    ];
    blocks.extend(shipment_blocks(shipment, branding.zone, shown));
    blocks.push(Block::Lines(lines(order, shown)));
    blocks.extend(address(order));
    blocks.extend(order_link(order));
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
    branding: &Branding,
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
    let mut blocks = vec![
        greeting(branding, order.customer_name.as_deref()),
        Block::Text(format!(
            "We have given you back {} of your order {}. {how}",
            money(amount),
            order.number
        )),
        Block::Sum(sums),
        Block::Remark(BANKS.to_owned()),
    ];
    blocks.extend(order_button(order));
    EmailContent {
        subject: format!("Your Refund - {}", branding.name),
        preview: format!("{} of order {}", money(amount), order.number),
        heading: "Your refund".to_owned(),
        blocks,
        inside: false,
    }
}
