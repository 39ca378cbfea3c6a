//! Emails about custom orders.

use super::blocks::{
    address, admin_button, answers_go_to, button, greeting, order_facts, request_details,
    shipment_blocks, status_link, sum,
};
use super::{Block, EmailContent, ImageUrls, NEW_REQUEST};
use crate::emails::message::{
    CustomOrderEmailData, OrderEmailData, QuoteEmailData, ShipmentEmailData,
};
use crate::mail::{Branding, one_line};
use crate::types::calendar;
use crate::types::money::Cents;

/// To the shop: a request has come in. A reply goes to the customer.
pub fn new_custom_order(
    custom_order: &CustomOrderEmailData,
    email: &str,
    branding: &Branding,
    shown: &ImageUrls,
) -> EmailContent {
    let name = one_line(&custom_order.customer_name, 100);
    let mut details = vec![("From", name.clone()), ("Email", one_line(email, 254))];
    details.extend(
        custom_order
            .colors
            .as_deref()
            .map(|colors| ("Colors", one_line(colors, 500))),
    );
    details.push(("Request", custom_order.number.clone()));
    let mut blocks = vec![
        Block::Text(format!("{name} would like a piece made.")),
        Block::Details(details),
        Block::Quote {
            title: "What they would like",
            text: custom_order.description.clone(),
        },
    ];
    let images = |count: usize| match count {
        1 => "1 photo".to_owned(),
        count => format!("{count} photos"),
    };
    if shown.attached > 0 {
        blocks.push(Block::Remark(format!(
            "Attached: {}.",
            images(shown.attached)
        )));
    }
    if shown.left_out > 0 {
        blocks.push(Block::Remark(format!(
            "Not attached, because they are too large or could not be read: {}. All are kept with the request.",
            images(shown.left_out)
        )));
    }
    let page = format!("/admin/custom-orders/{}", custom_order.number);
    blocks.extend(admin_button(branding, &page));
    blocks.push(answers_go_to(&name));
    EmailContent {
        subject: format!("{NEW_REQUEST}{name}"),
        preview: one_line(&custom_order.description, 100),
        heading: "A new request".to_owned(),
        blocks,
        inside: true,
    }
}

/// To the customer: the request has come in.
pub fn custom_order_received(
    custom_order: &CustomOrderEmailData,
    branding: &Branding,
) -> EmailContent {
    // Repeats nothing of the request, not even the name: the address may belong to someone else, because a visitor can
    // type any.
    let mut blocks = vec![
        greeting(branding, None),
        Block::Text(format!(
            "Your request for a piece made by hand has reached {}. We read every one ourselves, and answer within a few \
             days.",
            branding.name
        )),
        Block::Details(vec![("Request", custom_order.number.clone())]),
    ];
    blocks.extend(status_link(custom_order));
    blocks.push(Block::Remark(
        "You did not ask us for anything? Then somebody mistyped their address, and you need not do anything.".to_owned(),
    ));
    EmailContent {
        subject: "We Have Your Custom Order Request".to_owned(),
        preview: format!("Request {}: we will answer soon", custom_order.number),
        heading: "We have your request".to_owned(),
        blocks,
        inside: false,
    }
}

/// To the customer: the quote, with the button to pay it.
pub fn custom_order_approved(
    custom_order: &CustomOrderEmailData,
    quote: &QuoteEmailData,
    branding: &Branding,
) -> EmailContent {
    let until = calendar::date(quote.valid_until, branding.zone);
    let money = |amount: Cents| amount.in_currency(&quote.currency);
    let mut sums = vec![("Your piece", money(quote.amount))];
    if quote.shipping > Cents::ZERO {
        sums.push(("Shipping", money(quote.shipping)));
    }
    sums.push(("Total", money(quote.total)));
    let mut blocks = vec![
        greeting(branding, Some(&custom_order.customer_name)),
        Block::Text(
            "We would love to make the piece that you described. This is what it will cost; as soon as it is paid, we \
             begin."
                .to_owned(),
        ),
    ];
    if !quote.description.trim().is_empty() {
        blocks.push(Block::Quote {
            title: "What the price covers",
            text: quote.description.clone(),
        });
    }
    blocks.push(Block::Sum(sums));
    blocks.extend(button(
        format!("Pay {}", money(quote.total)),
        Some(&quote.payment_url),
    ));
    blocks.push(Block::Remark(format!(
        "The offer is open until {until}. The link can be paid once."
    )));
    blocks.extend(request_details(custom_order));
    EmailContent {
        subject: "Your Custom Order Request Has Been Approved!".to_owned(),
        preview: format!("{}, open until {until}", money(quote.total)),
        heading: "We would love to make it".to_owned(),
        blocks,
        inside: false,
    }
}

/// To the customer: the quote is paid, and the order that came of it.
pub fn payment_received(
    custom_order: &CustomOrderEmailData,
    order: &OrderEmailData,
    branding: &Branding,
) -> EmailContent {
    let mut blocks = vec![
        greeting(branding, Some(&custom_order.customer_name)),
        Block::Text(
            "Thank you: your payment has arrived, and your piece is in production. We will send you photos of it \
             when it is on its way."
                .to_owned(),
        ),
        Block::Details(order_facts(order, branding.zone)),
        sum(order),
    ];
    blocks.extend(address(order));
    blocks.extend(request_details(custom_order));
    EmailContent {
        subject: "Payment Received - Your Custom Order is in Production!".to_owned(),
        preview: format!(
            "Order {}, {}",
            order.number,
            order.total.in_currency(&order.currency)
        ),
        heading: "Your piece is in production".to_owned(),
        blocks,
        inside: false,
    }
}

/// To the customer: the quote can no longer be paid, with the owner's reason.
pub fn quote_withdrawn(
    custom_order: &CustomOrderEmailData,
    reason: &str,
    branding: &Branding,
) -> EmailContent {
    let mut blocks = vec![
        greeting(branding, Some(&custom_order.customer_name)),
        Block::Text(
            "We have taken back the quote that we sent you for your piece. Its payment link does not work any more; if \
             you have not paid, there is nothing that you need to do."
                .to_owned(),
        ),
    ];
    if !reason.trim().is_empty() {
        blocks.push(Block::Quote {
            title: "Why",
            text: reason.to_owned(),
        });
    }
    blocks.push(Block::Text(
        "Your request is still with us, and you will hear from us again. If you have a question, answer this email."
            .to_owned(),
    ));
    blocks.extend(request_details(custom_order));
    EmailContent {
        subject: "Your Custom Order Quote Has Changed".to_owned(),
        preview: "We have taken back the quote that we sent you".to_owned(),
        heading: "We have taken back our quote".to_owned(),
        blocks,
        inside: false,
    }
}

/// To the customer: the owner's own words. A reply goes to the shop.
pub fn custom_order_message(
    custom_order: &CustomOrderEmailData,
    text: &str,
    branding: &Branding,
) -> EmailContent {
    let mut blocks = vec![greeting(branding, Some(&custom_order.customer_name))];
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    blocks.extend(lines.map(|line| Block::Text(line.to_owned())));
    blocks.push(Block::Details(vec![(
        "Request",
        custom_order.number.clone(),
    )]));
    blocks.extend(request_details(custom_order));
    EmailContent {
        subject: format!("About Your Custom Order - {}", branding.name),
        preview: one_line(text, 100),
        heading: "About your custom order".to_owned(),
        blocks,
        inside: false,
    }
}

/// To the customer: the request is declined, with the owner's reason.
pub fn custom_order_rejected(
    custom_order: &CustomOrderEmailData,
    reason: &str,
    branding: &Branding,
) -> EmailContent {
    let mut blocks = vec![
        greeting(branding, Some(&custom_order.customer_name)),
        Block::Text(
            "Thank you for telling us of the piece that you would like. We are sorry that we cannot make this one."
                .to_owned(),
        ),
    ];
    if !reason.trim().is_empty() {
        blocks.push(Block::Quote {
            title: "Why",
            text: reason.to_owned(),
        });
    }
    blocks.push(Block::Text(
        "If you have another idea, answer this email: we are glad to hear of it.".to_owned(),
    ));
    blocks.extend(request_details(custom_order));
    EmailContent {
        subject: "Update on Your Custom Order Request".to_owned(),
        preview: "We are sorry that we cannot make this one".to_owned(),
        heading: "About your request".to_owned(),
        blocks,
        inside: false,
    }
}

/// To the customer: the piece is on its way, with its images.
pub fn custom_order_shipped(
    custom_order: &CustomOrderEmailData,
    order: &OrderEmailData,
    shipment: &ShipmentEmailData,
    branding: &Branding,
    shown: &ImageUrls,
) -> EmailContent {
    let shop = &branding.name;
    let mut blocks = vec![
        greeting(branding, Some(&custom_order.customer_name)),
        Block::Text("Your piece is finished, and on its way to you.".to_owned()),
    ];
    blocks.extend(shipment_blocks(shipment, branding.zone, shown));
    blocks.extend(address(order));
    blocks.extend(request_details(custom_order));
    EmailContent {
        subject: format!("Your Custom Order Has Shipped! - {shop}"),
        preview: format!("Order {} is on its way", order.number),
        heading: "Your piece is on its way".to_owned(),
        blocks,
        inside: false,
    }
}
