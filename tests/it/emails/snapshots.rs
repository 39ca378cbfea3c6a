//! Emails as their readers have them: subject, plain text and HTML.

use spirit_beads::emails::{
    self, Email, Holds, ImageRef, Images, PaymentRefusal, RefusalEmailData,
};
use spirit_beads::mail::ImageFile;
use spirit_beads::types::money::Cents;

use super::contents::{arrived_with, branding};
use super::sample;
use crate::support::images::jpeg;
use crate::support::{Mail, Snapshots};

/// Every image is this one.
struct EveryImage(Vec<u8>);

impl Images for EveryImage {
    async fn read(&self, _: ImageRef<'_>, _: u32) -> anyhow::Result<Option<ImageFile>> {
        Ok(Some(ImageFile {
            bytes: self.0.clone(),
            mime: "image/jpeg".to_owned(),
        }))
    }
}

/// The text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let found = text.split_once(before);
    let found = found.and_then(|(_, rest)| Some(rest.split_once(after)?.0));
    found.unwrap_or_else(|| panic!("no {before}: {text}"))
}

/// The parts of an email's HTML: what all emails begin with, and what is its own.
fn split(mail: &Mail) -> (String, &str, &str) {
    let (frame, content) = mail.html.split_once("<h1 ").expect("a heading");
    let title = between(frame, "<title>", "</title>");
    let preview = between(frame, "opacity:0\">", "</div>");
    let frame = frame.replacen(title, "[subject]", 1);
    (frame.replacen(preview, "[preview]", 1), preview, content)
}

/// Lines other than links fit into a window of 80 columns.
fn assert_narrow(text: &str) {
    let mut lines = text.lines();
    let wide = lines.find(|line| line.chars().count() > 78 && !line.starts_with("http"));
    assert_eq!(wide, None, "{text}");
}

#[tokio::test]
async fn every_email_reads_as_it_was_reviewed() {
    let mut snapshots = Snapshots::of("emails");
    let (branding, images) = (branding(&[]), EveryImage(jpeg(90, 60)));
    let mut frames = Vec::new();
    for (name, email) in emails::samples() {
        let mail = arrived_with(&email, &branding, &images).await;
        assert_narrow(&mail.text);
        let (frame, preview, content) = split(&mail);
        let attached: Vec<&str> = mail.attached.iter().map(|file| file.0.as_str()).collect();
        let text = format!(
            "Subject: {}\nFrom: {}\nPreview: {preview}\nShown: {:?}\nAttached: {attached:?}\n\n--- text ---\n{}\n\n\
             --- HTML, from the heading on ---\n<h1 {content}",
            mail.subject, mail.from, mail.inside, mail.text,
        );
        snapshots.text(name, &text);
        frames.push(frame);
    }
    frames.dedup();
    assert_eq!(frames.len(), 1, "all emails begin alike");
    snapshots.text("html_of_all", &frames[0]);

    let mut texts = String::new();
    for (case, email) in cases() {
        let mail = arrived_with(&email, &branding, &images).await;
        assert_narrow(&mail.text);
        texts += &format!("=== {case}\nSubject: {}\n\n{}\n\n", mail.subject, mail.text);
    }
    snapshots.text("texts_of_other_cases", &texts);
}

/// Emails whose words differ from those of the sample of their kind.
fn cases() -> Vec<(String, Email)> {
    let mut cases = Vec::new();
    let Email::CouldNotFulfill { refusal } = sample("could_not_fulfill") else {
        panic!("a refusal");
    };
    let refusals = [
        (PaymentRefusal::SoldMeanwhile, 21_500, 0, false),
        (PaymentRefusal::SoldMeanwhile, 0, 0, false),
        (PaymentRefusal::PaidTwice, 21_500, 21_500, true),
        (PaymentRefusal::AmountDiffers, 21_500, 21_500, true),
        (PaymentRefusal::QuoteClosed, 21_500, 21_500, true),
    ];
    for (why, amount, due, is_customer_told) in refusals {
        let refusal = RefusalEmailData {
            why,
            amount: Cents(amount),
            due: Cents(due),
            is_customer_told,
            ..refusal.clone()
        };
        let case = format!("{why:?} over {amount}, {due} due, customer told: {is_customer_told}");
        let notice = Email::CouldNotFulfillNotice {
            refusal: refusal.clone(),
        };
        cases.push((format!("{case}, to the shop"), notice));
        // Nobody is told of a payment of nothing.
        if amount > 0 {
            cases.push((case, Email::CouldNotFulfill { refusal }));
        }
    }

    let Email::PaymentFailed { mut payment } = sample("payment_failed") else {
        panic!("a payment");
    };
    payment.holds = Holds::NoPieces;
    payment.customer_name = None;
    let case = "Failed, nothing held, no name".to_owned();
    cases.push((case, Email::PaymentFailed { payment }));

    let Email::OrderShipped {
        order,
        mut shipment,
    } = sample("order_shipped")
    else {
        panic!("a shipment");
    };
    for (case, amount, refunded) in [
        ("Refunded in full", 21_500, 21_500),
        ("Refunded again", 500, 1700),
    ] {
        let email = Email::OrderRefunded {
            order: order.clone(),
            amount: Cents(amount),
            refunded: Cents(refunded),
        };
        cases.push((case.to_owned(), email));
    }
    (shipment.carrier, shipment.tracking_number) = (None, None);
    shipment.tracking_url = None;
    let case = "Shipped without a tracking number".to_owned();
    cases.push((case, Email::OrderShipped { order, shipment }));

    let Email::CustomOrderApproved {
        mut custom_order,
        mut quote,
    } = sample("custom_order_approved")
    else {
        panic!("a quote");
    };
    (quote.shipping, quote.total) = (Cents::ZERO, quote.amount);
    quote.description = String::new();
    custom_order.status_url = None;
    let withdrawn = Email::QuoteWithdrawn {
        custom_order: custom_order.clone(),
        reason: String::new(),
    };
    let rejected = Email::CustomOrderRejected {
        custom_order: custom_order.clone(),
        reason: String::new(),
    };
    let approved = Email::CustomOrderApproved {
        custom_order,
        quote,
    };
    for (case, email) in [
        ("Quoted without shipping and description", approved),
        ("Withdrawn without a reason", withdrawn),
        ("Rejected without a reason", rejected),
    ] {
        cases.push((case.to_owned(), email));
    }

    let Email::ReviewItem { mut item } = sample("review_item") else {
        panic!("a review item");
    };
    (item.about, item.deadline) = (None, None);
    let case = "To review, about no order, without a deadline".to_owned();
    cases.push((case, Email::ReviewItem { item }));
    cases
}
