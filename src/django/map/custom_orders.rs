//! Custom orders with their quotes, and the orders that are made for those paid outside Stripe.

use std::collections::HashMap;

use uuid::Uuid;

use super::Input;
use super::links::Links;
use super::orders::{CUSTOM_PIECE, USUAL_CARRIER, plain_line};
use super::timeline::{self, Times};
use super::users::derived_id;
use crate::custom_orders::Status;
use crate::django::findings::{Findings, add};
use crate::django::images;
use crate::django::media::shown;
use crate::django::old::OldRequest;
use crate::django::target::{NewCustomOrder, NewOrder, NewQuote, NewShipment, Review};
use crate::orders::{self, Channel};
use crate::types::ids::ImageId;
use crate::types::money::Cents;

/// Amounts that a quote may have, in cents.
const AMOUNTS: std::ops::RangeInclusive<i64> = 50..=99_999_999;

/// Maps the requests. Returns the orders that are made for them, too.
pub(super) fn custom_orders(
    input: &Input<'_>,
    links: &Links<'_>,
    orders: &[NewOrder],
    findings: &mut Findings,
) -> (Vec<NewCustomOrder>, Vec<NewOrder>) {
    let orders: HashMap<Uuid, &NewOrder> = orders.iter().map(|order| (order.id, order)).collect();
    let (mut mapped, mut made) = (Vec::new(), Vec::new());
    for old in &input.shop.requests {
        let order = links.order_of(old).and_then(|id| orders.get(&id)).copied();
        let mut request = Request::new(old, order);
        request.read_images(input, findings);
        let (custom_order, order) = request.finish();
        let row = format!("custom order {}", old.id);
        for review in &custom_order.reviews {
            add(&mut findings.to_review, &row, &review.text);
        }
        mapped.push(custom_order);
        made.extend(order);
    }
    (mapped, made)
}

/// A request on its way to a custom order.
struct Request<'a> {
    old: &'a OldRequest,
    /// Its settled order.
    order: Option<&'a NewOrder>,
    status: Status,
    images: Vec<ImageId>,
    /// Of the finished piece.
    completion: Vec<ImageId>,
    notes: Vec<String>,
    reviews: Vec<Review>,
}

impl<'a> Request<'a> {
    fn new(old: &'a OldRequest, order: Option<&'a NewOrder>) -> Request<'a> {
        let mut request = Request {
            old,
            order,
            status: Status::Pending,
            images: Vec::new(),
            completion: Vec::new(),
            notes: Vec::new(),
            reviews: Vec::new(),
        };
        request.status = request.read_status();
        request
    }

    fn review(&mut self, what: &'static str, text: impl Into<String>) {
        let text = text.into();
        self.reviews.push(Review { what, text });
    }

    fn read_status(&mut self) -> Status {
        let word = self.old.status.trim().to_lowercase();
        let status = match word.as_str() {
            "pending" | "quoted" => Status::Pending,
            "approved" => Status::Approved,
            "rejected" | "cancelled" | "canceled" | "declined" => Status::Rejected,
            "paid" => Status::Paid,
            "in_production" => Status::InProduction,
            "shipped" => Status::Shipped,
            "completed" => Status::Completed,
            _ => {
                let shown = self.old.status.trim();
                let text = format!(
                    "The old shop's status of it was \"{shown}\", which means nothing here. Check it."
                );
                self.review("status", text);
                Status::Pending
            }
        };
        if status.as_str() != self.old.status {
            let shown = self.old.status.trim();
            self.notes
                .push(format!("The old shop's status was \"{shown}\"."));
        }
        match self.order {
            Some(order) => self.with_order(status, order),
            None => self.without_order(status),
        }
    }

    /// With a settled order, it is at least paid, and shipped if its order is.
    fn with_order(&mut self, status: Status, order: &NewOrder) -> Status {
        if matches!(
            status,
            Status::Pending | Status::Approved | Status::Rejected
        ) {
            let text = format!(
                "It was paid in the old shop, where its status was \"{}\". Check what was agreed.",
                status.as_str()
            );
            self.review("paid", text);
        }
        let is_shipped = matches!(
            order.status,
            orders::Status::Shipped | orders::Status::Delivered
        );
        if order.status == orders::Status::Refunded
            && !matches!(status, Status::Shipped | Status::Completed)
        {
            let text = "Its order was refunded in the old shop. Stop working on the piece.";
            self.review("refunded", text);
        }
        match status {
            Status::Completed => Status::Completed,
            _ if is_shipped => Status::Shipped,
            Status::InProduction | Status::Shipped => status,
            _ => Status::Paid,
        }
    }

    fn without_order(&mut self, status: Status) -> Status {
        match status {
            Status::Approved if self.old.link.is_none() || self.amount().is_none() => {
                let text = "It was approved in the old shop without a payment link or a price. Send a quote.";
                self.review("link", text);
                Status::Pending
            }
            Status::Paid | Status::InProduction | Status::Shipped | Status::Completed => {
                let text = format!(
                    "The old shop calls it \"{}\", and has no payment for it. Note how it was paid.",
                    status.as_str()
                );
                self.review("payment", text);
                status
            }
            status => status,
        }
    }

    /// The quoted price, if a quote may have it.
    fn amount(&self) -> Option<i64> {
        self.old
            .quoted_price
            .filter(|price| AMOUNTS.contains(price))
    }

    fn read_images(&mut self, input: &Input<'_>, findings: &mut Findings) {
        let row = format!("custom order {}", self.old.id);
        let mut take = |list: &serde_json::Value, notes: &mut Vec<String>| {
            let names = images::names(list);
            let (taken, missing) = input.images.of(&row, names.iter().map(String::as_str));
            notes.extend(missing.iter().map(|image| {
                let (name, why) = (&image.name, &image.why);
                format!("The image {name} did not come in from the old shop: {why}.")
            }));
            findings.images.extend(missing);
            taken
        };
        self.images = take(&self.old.images, &mut self.notes);
        // Those of a settled order are read with the order.
        if self.order.is_none() {
            self.completion = take(&self.old.completion_images, &mut self.notes);
        }
        let names = images::names(&self.old.completion_images);
        let has_shipment = match self.order {
            Some(order) => order.shipment.is_some(),
            None => self.makes_shipment(),
        };
        if !has_shipment && !names.is_empty() {
            let names: Vec<String> = names.iter().map(|name| shown(name)).collect();
            let text = format!(
                "The old shop has images of the finished piece: {}",
                names.join(", ")
            );
            self.notes.push(text);
        }
    }

    fn makes_shipment(&self) -> bool {
        self.order.is_none() && matches!(self.status, Status::Shipped | Status::Completed)
    }

    fn finish(mut self) -> (NewCustomOrder, Option<NewOrder>) {
        let old = self.old;
        let quote = self.quote();
        if let Some(price) = old.quoted_price.filter(|price| !AMOUNTS.contains(price)) {
            let price = Cents(price).in_currency("usd");
            self.notes.push(format!(
                "The old shop's price {price} is none that a quote may have."
            ));
        }
        let mut moves = timeline::of_custom_order(
            self.status,
            old.created_at,
            self.order.map_or(old.updated_at, |order| order.created_at),
            old.updated_at,
        );
        if !old.admin_notes.trim().is_empty() {
            // Whole: it was the price and the time, or the reason of a rejection.
            match moves.last_mut().filter(|last| last.to == "rejected") {
                Some(rejection) => rejection.note.clone_from(&old.admin_notes),
                None => self.notes.push(old.admin_notes.clone()),
            }
        }
        let is_paid = matches!(
            self.status,
            Status::Paid | Status::InProduction | Status::Shipped | Status::Completed
        );
        let made = (self.order.is_none() && is_paid).then(|| self.made_order());
        let order_id = self.order.map(|order| order.id);
        let custom_order = NewCustomOrder {
            id: old.id,
            status: self.status,
            name: old.name.clone(),
            email: old.email.clone(),
            description: old.description.clone(),
            colors: old.colors.clone(),
            order_id: order_id.or(made.as_ref().map(|order| order.id)),
            created_at: old.created_at,
            updated_at: old.updated_at,
            images: self.images,
            quote,
            notes: self.notes,
            moves,
            reviews: self.reviews,
        };
        (custom_order, made)
    }

    fn quote(&self) -> Option<NewQuote> {
        let state = match self.status {
            Status::Pending => "draft",
            Status::Approved => "live",
            Status::Rejected => "closed",
            _ => "paid",
        };
        if state == "closed" && self.old.link.is_none() {
            return None;
        }
        // What was taken counts, unless nobody recorded it.
        let taken = self.order.map(|order| order.total);
        let taken = taken.filter(|total| AMOUNTS.contains(total));
        let link_url = self.old.link.clone().filter(|_| state != "draft");
        Some(NewQuote {
            id: derived_id("quote", &format!("{} {state}", self.old.id)),
            state,
            currency: self
                .order
                .map_or("usd".to_owned(), |order| order.currency.clone()),
            amount: taken.or(self.amount())?,
            link_url,
        })
    }

    /// The order of a piece whose payment nobody recorded.
    fn made_order(&self) -> NewOrder {
        let old = self.old;
        let status = match self.status {
            Status::Shipped => orders::Status::Shipped,
            Status::Completed => orders::Status::Delivered,
            _ => orders::Status::Paid,
        };
        let times = Times {
            created: old.created_at,
            ended: old.created_at,
            shipped: old.updated_at,
            delivered: old.updated_at,
        };
        NewOrder {
            id: derived_id("order of", &old.id.to_string()),
            status,
            channel: Channel::CustomOrder,
            is_custom_order: true,
            currency: "usd".to_owned(),
            subtotal: 0,
            shipping: 0,
            total: 0,
            refunded: 0,
            email: Some(old.email.clone()).filter(|email| !email.is_empty()),
            customer_name: Some(old.name.clone()).filter(|name| !name.is_empty()),
            shipping_name: None,
            shipping_address: None,
            shipping_zone: None,
            outside_zone: false,
            created_at: old.created_at,
            paid_at: Some(old.created_at),
            payment_unrecorded: true,
            lines: vec![plain_line(CUSTOM_PIECE, 0)],
            keeps_lines: false,
            payment: None,
            checkout: None,
            shipment: self.made_shipment(),
            notes: vec!["Made by the import: the old shop has no order for this piece.".to_owned()],
            moves: timeline::of_order(status, true, &times),
            reviews: Vec::new(),
        }
    }

    fn made_shipment(&self) -> Option<NewShipment> {
        self.makes_shipment().then(|| NewShipment {
            carrier: USUAL_CARRIER.to_owned(),
            tracking_number: None,
            tracking_url: None,
            shipped_at: self.old.updated_at,
            images: self.completion.clone(),
        })
    }
}
