//! Parts that several emails share.

use chrono_tz::Tz;

use super::{Block, ImageUrls, PicturedLine};
use crate::emails::message::{
    CustomOrderEmailData, LineEmailData, OrderEmailData, ShipmentEmailData,
};
use crate::mail::{Branding, one_line};
use crate::types::calendar;
use crate::types::money::Cents;

/// Sentence of every email about a refund that the customer can expect to see.
pub const BANKS: &str =
    "The money goes back the way it came. Banks take five to ten business days to show it.";

/// The owner's greeting, by name where there is one.
pub fn greeting(branding: &Branding, name: Option<&str>) -> Block {
    Block::Text(branding.voice.greet(name.unwrap_or_default()))
}

/// Number and, once paid, payment date of an order.
pub fn order_facts(order: &OrderEmailData, zone: Tz) -> Vec<(&'static str, String)> {
    let mut details = vec![("Order", order.number.clone())];
    details.extend(order.paid_at.map(|at| ("Paid", calendar::date(at, zone))));
    details
}

/// Lines of an order with their images, where there are any, and their sums in the order's currency.
pub fn lines(order: &OrderEmailData, shown: &ImageUrls) -> Vec<PicturedLine> {
    let line = |(at, line): (usize, &LineEmailData)| PicturedLine {
        image: shown.lines.get(at).cloned().flatten(),
        name: line.name.clone(),
        detail: line.detail.clone(),
        quantity: line.quantity,
        unit_price: line.unit_price.in_currency(&order.currency),
        // A sum that overflows was never paid.
        amount: line
            .unit_price
            .times(line.quantity)
            .unwrap_or(line.unit_price)
            .in_currency(&order.currency),
    };
    order.lines.iter().enumerate().map(line).collect()
}

/// Subtotal and total of an order, with what is between them. A sale in person has no shipping.
pub fn sum(order: &OrderEmailData) -> Block {
    let money = |amount: Cents| amount.in_currency(&order.currency);
    let mut sums = vec![("Subtotal", money(order.subtotal))];
    if order.discount != Cents::ZERO {
        sums.push(("Discount", format!("−{}", money(order.discount))));
    }
    if order.shipping != Cents::ZERO || order.shipping_address.is_some() {
        sums.push(("Shipping", money(order.shipping)));
    }
    if order.tax != Cents::ZERO {
        sums.push(("Tax", money(order.tax)));
    }
    sums.push(("Total", money(order.total)));
    Block::Sum(sums)
}

/// Shipping address under the recipient's name. `None` if neither is known.
pub fn address(order: &OrderEmailData) -> Option<Block> {
    let address = order.shipping_address.as_ref()?.lines();
    let name = one_line(order.shipping_name.as_deref().unwrap_or_default(), 200);
    let mut lines: Vec<String> = (!name.is_empty()).then_some(name).into_iter().collect();
    lines.extend(address);
    (!lines.is_empty()).then_some(Block::Address {
        title: "Ships to",
        lines,
    })
}

/// Images, date, carrier and tracking link of a shipment.
pub fn shipment_blocks(shipment: &ShipmentEmailData, zone: Tz, shown: &ImageUrls) -> Vec<Block> {
    let mut details = vec![("Shipped", calendar::date(shipment.shipped_at, zone))];
    details.extend(shipment.carrier.clone().map(|carrier| ("Carrier", carrier)));
    details.extend(
        shipment
            .tracking_number
            .clone()
            .map(|number| ("Tracking number", number)),
    );
    let mut blocks = Vec::new();
    if !shown.images.is_empty() {
        blocks.push(Block::Images(shown.images.clone()));
    }
    blocks.push(Block::Details(details));
    blocks.extend(button(
        "Follow the shipment".to_owned(),
        shipment.tracking_url.as_deref(),
    ));
    blocks
}

/// The customer's own description, and the link to the status page.
pub fn request_details(custom_order: &CustomOrderEmailData) -> Vec<Block> {
    let mut blocks = vec![Block::Quote {
        title: "Your request",
        text: custom_order.description.clone(),
    }];
    blocks.extend(status_link(custom_order));
    blocks
}

/// Link to the status page of a custom order. `None` if its address is no web page.
pub fn status_link(custom_order: &CustomOrderEmailData) -> Option<Block> {
    page_at(custom_order.status_url.as_deref()).map(|url| Block::Link {
        label: "See where your request stands",
        url,
    })
}

/// Button that leads to the customer's page of an order.
pub fn order_button(order: &OrderEmailData) -> Option<Block> {
    button("View your order".to_owned(), order.page_url.as_deref())
}

/// Link to the customer's page of an order, for emails whose button leads elsewhere.
pub fn order_link(order: &OrderEmailData) -> Option<Block> {
    page_at(order.page_url.as_deref()).map(|url| Block::Link {
        label: "View your order",
        url,
    })
}

/// Button that leads to a web page. `None` if the address is missing or no web page.
pub fn button(label: String, url: Option<&str>) -> Option<Block> {
    page_at(url).map(|url| Block::Button { label, url })
}

/// Button that leads the owner to a page of the admin.
pub fn admin_button(branding: &Branding, page: &str) -> Option<Block> {
    let page = format!("{}{page}", branding.admin_url);
    button("Open it in the admin".to_owned(), Some(&page))
}

/// Sentence of the shop's own emails whose replies go to the customer.
pub fn answers_go_to(name: &str) -> Block {
    Block::Remark(format!("Answer this email to write to {name}."))
}

/// Parses the address of a web page.
pub fn page_at(url: Option<&str>) -> Option<String> {
    let url = url::Url::parse(url?).ok()?;
    // No other schemes, because a click must not trigger anything else.
    matches!(url.scheme(), "https" | "http").then(|| url.into())
}
