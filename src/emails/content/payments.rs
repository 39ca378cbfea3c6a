//! Emails about payments that are delayed, failed or refused.

use super::blocks::{BANKS, greeting, page_at};
use super::{Block, EmailContent, NOTHING_PAID, REFUNDED};
use crate::emails::message::{DelayedPaymentEmailData, Holds, PaymentRefusal, RefusalEmailData};
use crate::mail::{Branding, one_line};
use crate::types::money::Cents;

/// To the customer: the payment could not become an order, and is refunded.
pub fn could_not_fulfill(refusal: &RefusalEmailData, branding: &Branding) -> EmailContent {
    let amount = refusal.amount.in_currency(&refusal.currency);
    let why = match refusal.why {
        PaymentRefusal::SoldMeanwhile => {
            "While your payment was on its way, the time for which we could hold your pieces ran out, and somebody else \
             bought them. Most of our pieces exist only once, so we cannot send you another."
        }
        PaymentRefusal::PaidTwice => {
            "This order had been paid already. Your first payment stands, and so does your order."
        }
        PaymentRefusal::AmountDiffers => {
            "The amount that reached us is not what the order comes to, so we could not accept the payment."
        }
        PaymentRefusal::QuoteClosed => {
            "The quote that you paid was no longer open. Please write to us if you would still like the piece: we will \
             gladly send you a new one."
        }
    };
    let is_back = refusal.due <= Cents::ZERO;
    let (heading, how) = match is_back {
        false => (
            "Your payment is on its way back",
            "You need not do anything: the whole amount is being refunded to you.",
        ),
        true => (
            "Your payment was refunded",
            "You need not do anything: the whole amount has been refunded to you already.",
        ),
    };
    EmailContent {
        subject: format!("About Your Payment - {}", branding.name),
        preview: format!("Your payment of {amount} is refunded in full"),
        heading: heading.to_owned(),
        blocks: vec![
            greeting(branding, refusal.customer_name.as_deref()),
            Block::Text(format!(
                "We received a payment of {amount} from you, and we are sorry that we cannot keep it. {why}"
            )),
            Block::Text(how.to_owned()),
            Block::Details(vec![("For", refusal.about.clone()), ("Refunded", amount)]),
            Block::Remark(BANKS.to_owned()),
        ],
        inside: false,
    }
}

/// To the shop: the same, with whether the customer gets an email.
pub fn could_not_fulfill_notice(refusal: &RefusalEmailData) -> EmailContent {
    let amount = refusal.amount.in_currency(&refusal.currency);
    let why = match refusal.why {
        PaymentRefusal::SoldMeanwhile => {
            "It came after the hold had run out, and the pieces are sold."
        }
        PaymentRefusal::PaidTwice => "It was paid already.",
        PaymentRefusal::AmountDiffers => "The amount or the currency is not what was asked for.",
        PaymentRefusal::QuoteClosed => "The quote had been withdrawn or replaced, or had lapsed.",
    };
    let mut details = vec![("For", refusal.about.clone())];
    details.extend(refusal.customer_name.clone().map(|name| ("From", name)));
    details.push(("Amount", amount.clone()));
    let is_back = refusal.due <= Cents::ZERO;
    let (subject, preview) = match refusal.amount == Cents::ZERO {
        true => (NOTHING_PAID, why.to_owned()),
        false => (REFUNDED, format!("{amount}. {why}")),
    };
    let (heading, what) = match is_back {
        _ if refusal.amount == Cents::ZERO => (
            "A checkout without a payment",
            "A checkout over nothing could not become an order. Nothing was paid, so nothing is refunded.",
        ),
        false => (
            "A payment is refunded",
            "A payment could not become an order and is refunded in full, automatically.",
        ),
        true => (
            "A payment was refunded",
            "A payment could not become an order. It had been refunded in full already.",
        ),
    };
    let to_customer = match refusal.is_customer_told {
        true => "The customer gets an email about it, too.",
        false => "The customer gets no email about it.",
    };
    let later = match is_back {
        false => " Should the refund fail, the order or the request will say so.",
        true => "",
    };
    EmailContent {
        subject: format!("{subject}{}", one_line(&refusal.about, 60)),
        preview,
        heading: heading.to_owned(),
        blocks: vec![
            Block::Text(format!("{what} {why}")),
            Block::Details(details),
            Block::Remark(format!("{to_customer}{later}")),
        ],
        inside: true,
    }
}

/// To the customer: a delayed payment has begun, and whether the pieces are held for it.
pub fn payment_processing(payment: &DelayedPaymentEmailData, branding: &Branding) -> EmailContent {
    let amount = payment.amount.in_currency(&payment.currency);
    let until_then = match payment.holds {
        Holds::Pieces => "We keep your pieces for you until then.",
        Holds::NoPieces => {
            "We cannot keep your pieces for you for so long. If they are still here when the payment arrives, they are \
             yours; if not, we give you all of it back."
        }
        Holds::Nothing => "We begin to make your piece as soon as it is here.",
    };
    let mut blocks = vec![
        greeting(branding, payment.customer_name.as_deref()),
        Block::Text(format!(
            "Thank you: your payment of {amount} is on its way. The way to pay that you chose takes some days, because your \
             bank has to be asked for the money. We write to you as soon as it has arrived."
        )),
        Block::Text(until_then.to_owned()),
        Block::Details(vec![
            ("For", payment.about.clone()),
            ("Amount", amount.clone()),
        ]),
    ];
    blocks.extend(their_page(payment));
    EmailContent {
        subject: format!("Your Payment Is on Its Way - {}", branding.name),
        preview: format!("{amount} for {}: this takes some days", payment.about),
        heading: "Your payment is on its way".to_owned(),
        blocks,
        inside: false,
    }
}

/// To the customer: a delayed payment has failed, and nothing was charged.
pub fn payment_failed(payment: &DelayedPaymentEmailData, branding: &Branding) -> EmailContent {
    let amount = payment.amount.in_currency(&payment.currency);
    let next = match payment.holds {
        Holds::Pieces | Holds::NoPieces => {
            "The pieces are for sale again. If you would still like them, please order them once more, perhaps with another \
             way to pay."
        }
        Holds::Nothing => {
            "The quote cannot be paid any more. Please answer this email if you would still like the piece: we will gladly \
             send you a new one."
        }
    };
    let mut blocks = vec![
        greeting(branding, payment.customer_name.as_deref()),
        Block::Text(format!(
            "We are sorry: your bank did not make the payment of {amount}. Nothing was taken from you."
        )),
        Block::Text(next.to_owned()),
        Block::Details(vec![
            ("For", payment.about.clone()),
            ("Amount", amount.clone()),
        ]),
    ];
    blocks.extend(their_page(payment));
    EmailContent {
        subject: format!("Your Payment Did Not Go Through - {}", branding.name),
        preview: format!("{amount} for {}: nothing was taken", payment.about),
        heading: "Your payment did not go through".to_owned(),
        blocks,
        inside: false,
    }
}

/// Link to the status page, for payments of a custom order only.
pub fn their_page(payment: &DelayedPaymentEmailData) -> Option<Block> {
    page_at(payment.status_url.as_deref()).map(|url| Block::Link {
        label: "See where your request stands",
        url,
    })
}
