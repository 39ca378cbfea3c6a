//! Orders with their lines, payments, checkouts, shipments and timelines.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::Input;
use super::address::ReadAddress;
use super::catalog::currency;
use super::links::{Links, ReadStatus};
use super::money::{Money, Split};
use super::timeline::{self, Times};
use crate::django::findings::{Findings, ImageFinding, add};
use crate::django::hashes::RowKind;
use crate::django::images;
use crate::django::media::shown;
use crate::django::old::OldOrder;
use crate::django::target::{
    Move, NewCheckout, NewLine, NewOrder, NewPayment, NewProduct, NewShipment, Review, is_settled,
};
use crate::orders::{self, Channel, Status, Zone};
use crate::types::money::Cents;

/// Name of the line of a custom order.
pub(super) const CUSTOM_PIECE: &str = "Custom piece";

/// Name of the line for money that no line of the old shop explains.
pub const UNEXPLAINED: &str = "Not in the old shop's lines";

/// Name of a line whose product nothing names.
const NAMELESS: &str = "A product that the old shop has no more";

/// Carrier of the old shop.
pub(super) const USUAL_CARRIER: &str = "USPS";

/// Time for which a page of the old shop could be paid.
const PAGE_LIFE: TimeDelta = TimeDelta::hours(24);

pub(super) fn orders(
    input: &Input<'_>,
    products: &[NewProduct],
    links: &Links<'_>,
    held: &HashSet<Uuid>,
    findings: &mut Findings,
) -> Vec<NewOrder> {
    let products = products
        .iter()
        .map(|product| (product.id.as_str(), product));
    let mapper = Mapper {
        input,
        links,
        held,
        products: products.collect(),
    };
    let mut mapped = Vec::new();
    for old in &input.shop.orders {
        let order = mapper.order(old, findings);
        let row = format!("order {}", old.id);
        for review in &order.reviews {
            add(&mut findings.to_review, &row, &review.text);
        }
        mapped.push(order);
    }
    mapped
}

struct Mapper<'a> {
    input: &'a Input<'a>,
    links: &'a Links<'a>,
    held: &'a HashSet<Uuid>,
    products: HashMap<&'a str, &'a NewProduct>,
}

/// Notes and review items of one order.
#[derive(Default)]
struct Remarks {
    notes: Vec<String>,
    reviews: Vec<Review>,
}

impl Remarks {
    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    fn review(&mut self, what: &'static str, text: impl Into<String>) {
        let text = text.into();
        self.reviews.push(Review { what, text });
    }
}

impl Mapper<'_> {
    fn order(&self, old: &OldOrder, findings: &mut Findings) -> NewOrder {
        let mut remarks = Remarks::default();
        let status = self.status(old, &mut remarks);
        let settled = is_settled(status);
        let channel = self.links.channel(old);
        let address = ReadAddress::read(&old.address);
        remarks.notes.extend(address.note.clone());
        let code = currency(&old.currency).unwrap_or_else(|| {
            let row = format!("order {}", old.id);
            add(&mut findings.mended, row, "its currency is none: usd");
            "usd".to_owned()
        });
        if old.amount_total < 0 {
            let text = "The old shop has an amount below zero for it. It is imported as zero.";
            remarks.review("total", text);
        }
        let total = old.amount_total.max(0);
        let (mut lines, keeps_lines) = self.lines(old, total);
        if keeps_lines {
            let text = "its lines changed in the old shop: those that came in first stay";
            add(&mut findings.noted, format!("order {}", old.id), text);
        }
        let split = split(old, total, &lines, status, address.zone());
        if split.rest > 0 {
            lines.push(plain_line(UNEXPLAINED, split.rest));
        }
        if split.is_odd {
            remarks.note(odd_money(total, &lines, split, &code));
        }
        let shipment = self.shipment(old, status, &mut remarks, findings);
        let outside_zone = split.paid_zone.is_some()
            && split.paid_zone != address.zone()
            && address.zone().is_some();
        if outside_zone && status == Status::Paid && channel == Channel::Storefront {
            let text = "The address is outside the zone whose shipping was paid in the old shop.";
            remarks.review("zone", text);
        }
        let payment = self.payment(old, settled, &mut remarks);
        let checkout = self.checkout(old, status, channel, &mut remarks);
        let payment_unrecorded = is_unrecorded(old, status, channel, checkout.is_some());
        if settled && old.payment.is_none() {
            remarks.note("The old shop has no payment of it: it was marked as paid by hand.");
        }
        NewOrder {
            id: old.id,
            moves: self.moves(old, status),
            status,
            channel,
            is_custom_order: old.is_custom_order,
            currency: code,
            subtotal: total - split.shipping,
            shipping: split.shipping,
            total,
            refunded: if status == Status::Refunded { total } else { 0 },
            email: old.email.clone(),
            customer_name: address.name.clone(),
            shipping_name: address.name.clone(),
            shipping_zone: address.zone(),
            shipping_address: address.address.map(|address| serde_json::json!(address)),
            outside_zone,
            created_at: old.created_at,
            paid_at: settled.then_some(old.created_at),
            payment_unrecorded,
            lines,
            keeps_lines,
            payment,
            checkout,
            shipment,
            notes: remarks.notes,
            reviews: remarks.reviews,
        }
    }

    fn status(&self, old: &OldOrder, remarks: &mut Remarks) -> Status {
        let ReadStatus { status, is_unclear } = self.links.status(old);
        let word = old.status.trim();
        if is_unclear {
            let text = format!(
                "The old shop's status of it was \"{word}\", which means nothing here. Check it."
            );
            remarks.review("status", text);
        }
        if !["pending", "paid", "shipped", "failed"].contains(&old.status.as_str()) {
            remarks.note(format!("The old shop's status was \"{word}\"."));
        }
        match status {
            Status::Pending if self.held.contains(&old.id) => Status::Pending,
            Status::Pending => Status::Expired,
            status => status,
        }
    }

    /// The lines as they came in, because there they vanish with their product. The old shop writes an order before its
    /// lines, so an import may have come between. Returns true, too, where theirs came to more since.
    fn lines(&self, old: &OldOrder, total: i64) -> (Vec<NewLine>, bool) {
        let theirs = self.old_lines(old, total);
        let known = self.input.known;
        let is_known = known.row(RowKind::Order, &old.id.to_string()).is_some();
        let Some(ours) = known.orders.get(&old.id).filter(|_| is_known) else {
            return (theirs, false);
        };
        // The total may be another one now, and what no line explains with it.
        let mut lines = ours.lines.clone();
        lines.retain(|line| line.product_id.is_some() || line.name != UNEXPLAINED);
        if !is_settled(ours.status) && have_grown(&lines, &theirs) {
            return (theirs, false);
        }
        let have_changed = sum(&theirs) > sum(&lines);
        (lines, have_changed)
    }

    /// The lines as the old shop has them.
    fn old_lines(&self, old: &OldOrder, total: i64) -> Vec<NewLine> {
        let mut lines: Vec<NewLine> = Vec::new();
        for item in old.items.iter().filter(|item| item.quantity > 0) {
            let unit_price = item.unit_price.max(0);
            let product = self.products.get(item.product_id.as_str());
            let twin = lines.iter_mut().find(|line| {
                product.is_some() && line.product_id.as_ref() == Some(&item.product_id)
            });
            let has_twin = twin.is_some();
            match twin {
                Some(twin) if twin.unit_price == unit_price => {
                    twin.quantity = twin.quantity.saturating_add(item.quantity);
                    continue;
                }
                _ => {}
            }
            let name = product.map(|product| product.name.clone());
            let id = Some(&item.product_id).filter(|id| !id.is_empty());
            lines.push(NewLine {
                product_id: product
                    .filter(|_| !has_twin)
                    .map(|product| product.id.clone()),
                name: name
                    .or_else(|| item.product_name.clone())
                    .or_else(|| id.cloned())
                    .unwrap_or_else(|| NAMELESS.to_owned()),
                image: product.and_then(|product| product.primary_image.clone()),
                unit_price,
                quantity: item.quantity,
            });
        }
        if old.is_custom_order && lines.is_empty() {
            lines.push(plain_line(CUSTOM_PIECE, total));
        }
        lines
    }

    fn payment(&self, old: &OldOrder, settled: bool, remarks: &mut Remarks) -> Option<NewPayment> {
        let id = old.payment.clone().filter(|_| settled)?;
        if !self.links.has_payment(old) {
            let text = format!("The old shop has its payment {id} for another order, too.");
            remarks.review("payment_twice", text);
            return None;
        }
        let session_id = old.session.clone();
        Some(NewPayment { id, session_id })
    }

    fn checkout(
        &self,
        old: &OldOrder,
        status: Status,
        channel: Channel,
        remarks: &mut Remarks,
    ) -> Option<NewCheckout> {
        let session_id = old.session.clone()?;
        if channel != Channel::Storefront {
            return None;
        }
        if !self.links.has_session(old) {
            let text =
                format!("The old shop has its payment page {session_id} for another order, too.");
            remarks.review("session_twice", text);
            return None;
        }
        let state = match status {
            Status::Pending => "open",
            status if is_settled(status) => "complete",
            _ => "expired",
        };
        Some(NewCheckout { session_id, state })
    }

    fn shipment(
        &self,
        old: &OldOrder,
        status: Status,
        remarks: &mut Remarks,
        findings: &mut Findings,
    ) -> Option<NewShipment> {
        let carrier = old
            .carrier
            .clone()
            .unwrap_or_else(|| USUAL_CARRIER.to_owned());
        let was_shipped = match status {
            Status::Shipped | Status::Delivered => true,
            Status::Refunded => old.shipped_at.is_some(),
            _ => false,
        };
        if !was_shipped {
            if let Some(number) = &old.tracking_number {
                remarks.note(format!(
                    "The old shop has the tracking number {number} ({carrier}), though it was not shipped."
                ));
            }
            if let Some(image) = &old.image {
                remarks.note(format!(
                    "The old shop has an image of the finished piece: {}",
                    shown(image)
                ));
            }
            return None;
        }
        let row = format!("order {}", old.id);
        let completion = self.links.request(old.id);
        let completion = completion.map(|request| images::names(&request.completion_images));
        let names = old
            .image
            .iter()
            .cloned()
            .chain(completion.unwrap_or_default());
        let names: Vec<String> = names.collect();
        let (images, missing) = self.input.images.of(&row, names.iter().map(String::as_str));
        note_missing(&missing, remarks);
        findings.images.extend(missing);
        if old.shipped_at.is_none() {
            remarks.note("The old shop did not record when it was shipped.");
        }
        Some(NewShipment {
            tracking_url: orders::usual_tracking_page(&carrier, old.tracking_number.as_deref()),
            carrier,
            tracking_number: old.tracking_number.clone(),
            shipped_at: old.shipped_at.unwrap_or(old.created_at),
            images,
        })
    }

    fn moves(&self, old: &OldOrder, status: Status) -> Vec<Move> {
        let ended = (old.created_at + PAGE_LIFE).min(self.input.read_at.max(old.created_at));
        let shipped = old.shipped_at.unwrap_or(old.created_at);
        let delivered = self.links.request(old.id).map(|request| request.updated_at);
        let times = Times {
            created: old.created_at,
            ended,
            shipped,
            delivered: delivered.unwrap_or(shipped),
        };
        timeline::of_order(status, old.shipped_at.is_some(), &times)
    }
}

/// Returns true when all of our lines are among theirs, and theirs have more pieces.
fn have_grown(ours: &[NewLine], theirs: &[NewLine]) -> bool {
    let covers = |ours: &NewLine| {
        theirs.iter().any(|theirs| {
            theirs.product_id == ours.product_id
                && theirs.unit_price == ours.unit_price
                && theirs.quantity >= ours.quantity
        })
    };
    let pieces = |lines: &[NewLine]| -> i64 {
        let lines = lines.iter();
        lines.map(|line| i64::from(line.quantity)).sum()
    };
    ours.iter().all(covers) && pieces(theirs) > pieces(ours)
}

/// A settled order of which no payment is known, though one may yet be reported.
fn is_unrecorded(old: &OldOrder, status: Status, channel: Channel, has_checkout: bool) -> bool {
    let may_be_reported = match channel {
        Channel::CustomOrder => true,
        _ => {
            has_checkout
                && old
                    .session
                    .as_deref()
                    .is_some_and(|id| id.starts_with("cs_"))
        }
    };
    is_settled(status) && status != Status::Refunded && old.payment.is_none() && may_be_reported
}

fn split(
    old: &OldOrder,
    total: i64,
    lines: &[NewLine],
    status: Status,
    zone: Option<Zone>,
) -> Split {
    // The price of a piece made on request is whatever was taken.
    if old.is_custom_order {
        return Split::default();
    }
    let money = Money {
        total,
        lines: (!lines.is_empty()).then(|| sum(lines)),
        is_settled: is_settled(status),
        zone,
    };
    let split = money.split();
    Split {
        shipping: split.shipping.min(total),
        ..split
    }
}

fn sum(lines: &[NewLine]) -> i64 {
    let prices = lines.iter();
    prices
        .map(|line| line.unit_price * i64::from(line.quantity))
        .sum()
}

/// A line of no product.
pub(super) fn plain_line(name: &str, unit_price: i64) -> NewLine {
    NewLine {
        product_id: None,
        name: name.to_owned(),
        image: None,
        unit_price,
        quantity: 1,
    }
}

fn odd_money(total: i64, lines: &[NewLine], split: Split, code: &str) -> String {
    let lines = sum(lines) - split.rest;
    let [total, lines, shipping] =
        [total, lines, split.shipping].map(|amount| Cents(amount).in_currency(code));
    format!(
        "The old shop took {total}, and its lines come to {lines}. Of that, {shipping} is taken to be shipping."
    )
}

fn note_missing(missing: &[ImageFinding], remarks: &mut Remarks) {
    for image in missing {
        remarks.note(format!(
            "The image {} did not come in from the old shop: {}.",
            image.name, image.why
        ));
    }
}

/// Latest time at which a page of the old shop can be paid.
pub fn page_ends(created_at: DateTime<Utc>) -> DateTime<Utc> {
    created_at + PAGE_LIFE
}
