//! Texts of all emails: a subject, a heading, and blocks that the templates render as HTML and plain text.

mod blocks;
mod custom_orders;
mod orders;
mod payments;

use blocks::{admin_button, greeting, order_link, status_link};

use super::message::{Email, ReviewItemEmailData};
use super::samples;
use crate::mail::{Branding, one_line};
use crate::types::calendar;

/// The content of an email.
pub struct EmailContent {
    pub subject: String,
    /// The preview text that mail programs list beside the subject.
    pub preview: String,
    pub heading: String,
    pub blocks: Vec<Block>,
    /// Sent to the shop itself, so the polite footer is left out.
    pub inside: bool,
}

/// A part of an email.
pub enum Block {
    Text(String),
    /// A person's own words, with their line breaks.
    Quote {
        title: &'static str,
        text: String,
    },
    /// Names and values.
    Details(Vec<(&'static str, String)>),
    Lines(Vec<PicturedLine>),
    /// Names and amounts; the last one is the total.
    Sum(Vec<(&'static str, String)>),
    Address {
        title: &'static str,
        lines: Vec<String>,
    },
    Button {
        label: String,
        url: String,
    },
    Link {
        label: &'static str,
        url: String,
    },
    /// Sources of images, shown in the email's full width.
    Images(Vec<String>),
    /// A remark in small print.
    Remark(String),
    /// The owner's closing words and signature.
    SignOff(Vec<String>),
}

/// A line of an order.
pub struct PicturedLine {
    /// Value of the image's `src`; `None` without an image.
    pub image: Option<String>,
    pub name: String,
    pub detail: Option<String>,
    pub quantity: i32,
    pub unit_price: String,
    pub amount: String,
}

/// Images that could be read, as values for `src`.
#[derive(Default)]
pub struct ImageUrls {
    /// One for each line of the order.
    pub lines: Vec<Option<String>>,
    /// Images of the finished piece.
    pub images: Vec<String>,
    pub attached: usize,
    /// Number of images that could not be sent.
    pub left_out: usize,
}

/// Beginnings of subjects that end in a customer's name or an order number.
const REFUNDED: &str = "Payment Refunded: ";
const NOTHING_PAID: &str = "Nothing Was Paid: ";
const NEW_REQUEST: &str = "New Custom Order Request from ";
const PLEASE_REVIEW: &str = "Please Look: ";
const YOU_SOLD: &str = "You Sold: ";

/// Subjects that contain a word, for the email search.
pub struct Subjects {
    /// Kinds whose fixed subject contains it.
    pub kinds: Vec<&'static str>,
    /// Beginnings of the other subjects: refunded payments, checkouts without a payment, new custom orders, review items,
    /// sales.
    pub refunded: &'static str,
    pub nothing_paid: &'static str,
    pub new_custom_order: &'static str,
    pub please_review: &'static str,
    pub you_sold: &'static str,
}

impl Subjects {
    /// Finds the current subjects that contain this word.
    pub fn with(word: &str, branding: &Branding) -> Subjects {
        let word = word.to_lowercase();
        let kinds = samples::emails()
            .into_iter()
            .filter(|(_, email)| {
                let subject = EmailContent::new(email, branding, &ImageUrls::default()).subject;
                let varies = matches!(
                    email,
                    Email::CouldNotFulfillNotice { .. }
                        | Email::NewCustomOrder { .. }
                        | Email::ReviewItem { .. }
                        | Email::YouSold { .. }
                );
                !varies && subject.to_lowercase().contains(&word)
            })
            .map(|(_, email)| email.kind())
            .collect();
        Subjects {
            kinds,
            refunded: REFUNDED,
            nothing_paid: NOTHING_PAID,
            new_custom_order: NEW_REQUEST,
            please_review: PLEASE_REVIEW,
            you_sold: YOU_SOLD,
        }
    }
}

impl EmailContent {
    /// Composes an email. Emails to customers end in the owner's words.
    pub fn new(email: &Email, branding: &Branding, shown: &ImageUrls) -> EmailContent {
        let mut content = EmailContent::compose(email, branding, shown);
        if content.inside {
            return content;
        }
        let voice = &branding.voice;
        if email.brings_pieces() && !voice.care.is_empty() {
            content.blocks.push(Block::Quote {
                title: "How to take care of it",
                text: voice.care.clone(),
            });
        }
        let words = voice.closing.lines().chain(voice.signature.lines());
        let words: Vec<String> = words.map(str::to_owned).collect();
        if !words.is_empty() {
            content.blocks.push(Block::SignOff(words));
        }
        content
    }

    fn compose(email: &Email, branding: &Branding, shown: &ImageUrls) -> EmailContent {
        match email {
            Email::OrderConfirmation { order } => {
                orders::order_confirmation(order, branding, shown)
            }
            Email::Receipt {
                order,
                paid_with,
                is_to_ship,
            } => orders::receipt(order, paid_with.as_deref(), *is_to_ship, branding, shown),
            Email::YouSold {
                order,
                custom_order,
                email,
            } => orders::you_sold(
                order,
                custom_order.as_deref(),
                email.as_deref(),
                branding,
                shown,
            ),
            Email::OrderShipped { order, shipment } => {
                orders::order_shipped(order, shipment, branding, shown)
            }
            Email::OrderRefunded {
                order,
                amount,
                refunded,
            } => orders::order_refunded(order, *amount, *refunded, branding),
            Email::CouldNotFulfill { refusal } => payments::could_not_fulfill(refusal, branding),
            Email::CouldNotFulfillNotice { refusal } => payments::could_not_fulfill_notice(refusal),
            Email::PaymentProcessing { payment } => payments::payment_processing(payment, branding),
            Email::PaymentFailed { payment } => payments::payment_failed(payment, branding),
            Email::NewCustomOrder {
                custom_order,
                email,
            } => custom_orders::new_custom_order(custom_order, email, branding, shown),
            Email::CustomOrderReceived { custom_order } => {
                custom_orders::custom_order_received(custom_order, branding)
            }
            Email::CustomOrderApproved {
                custom_order,
                quote,
            } => custom_orders::custom_order_approved(custom_order, quote, branding),
            Email::PaymentReceived {
                custom_order,
                order,
            } => custom_orders::payment_received(custom_order, order, branding),
            Email::QuoteWithdrawn {
                custom_order,
                reason,
            } => custom_orders::quote_withdrawn(custom_order, reason, branding),
            Email::CustomOrderMessage { custom_order, text } => {
                custom_orders::custom_order_message(custom_order, text, branding)
            }
            Email::CustomOrderRejected {
                custom_order,
                reason,
            } => custom_orders::custom_order_rejected(custom_order, reason, branding),
            Email::CustomOrderShipped {
                custom_order,
                order,
                shipment,
            } => {
                custom_orders::custom_order_shipped(custom_order, order, shipment, branding, shown)
            }
            Email::ShipmentCorrected { order, shipment } => {
                let shipped = orders::order_shipped(order, shipment, branding, shown);
                tracking_corrected(shipped, &order.number, branding)
            }
            Email::CustomOrderShipmentCorrected {
                custom_order,
                order,
                shipment,
            } => {
                let shipped = custom_orders::custom_order_shipped(
                    custom_order,
                    order,
                    shipment,
                    branding,
                    shown,
                );
                tracking_corrected(shipped, &order.number, branding)
            }
            Email::NotShippedYet { order } => {
                let name = order.customer_name.as_deref();
                let mut email = not_shipped_yet(name, &order.number, branding);
                email.blocks.extend(order_link(order));
                email
            }
            Email::CustomOrderNotShippedYet { custom_order } => {
                let name = Some(custom_order.customer_name.as_str());
                let mut email = not_shipped_yet(name, &custom_order.number, branding);
                email.blocks.extend(status_link(custom_order));
                email
            }
            Email::ReviewItem { item } => review_item(item, branding),
        }
    }
}

/// To the customer: an email said too early that the order is on its way.
fn not_shipped_yet(name: Option<&str>, number: &str, branding: &Branding) -> EmailContent {
    EmailContent {
        subject: format!("Your Order Has Not Shipped Yet - {}", branding.name),
        preview: format!("{number} is still with us"),
        heading: "Your order is still with us".to_owned(),
        blocks: vec![
            greeting(branding, name),
            Block::Text(format!(
                "We told you too early that {number} is on its way. We are sorry: it is still with us, and the tracking in \
                 that email does not belong to it."
            )),
            Block::Text("You will hear from us again as soon as it has shipped.".to_owned()),
        ],
        inside: false,
    }
}

/// Turns the email about a shipment into the one that corrects it.
fn tracking_corrected(
    mut shipped: EmailContent,
    number: &str,
    branding: &Branding,
) -> EmailContent {
    // After the greeting.
    shipped.blocks[1] = Block::Text(format!(
        "Our last email about your order {number} had the wrong shipping details. We are sorry: these are the right ones."
    ));
    EmailContent {
        subject: format!("Corrected Tracking for Your Order - {}", branding.name),
        preview: format!("The right tracking of order {number}"),
        heading: "Your corrected tracking".to_owned(),
        ..shipped
    }
}

fn review_item(item: &ReviewItemEmailData, branding: &Branding) -> EmailContent {
    let mut details = Vec::new();
    details.extend(item.about.clone().map(|about| ("For", about)));
    details.extend(
        item.deadline
            .map(|at| ("Deadline", calendar::date(at, branding.zone))),
    );
    let mut blocks = vec![Block::Text(one_line(&item.text, 1000))];
    if !details.is_empty() {
        blocks.push(Block::Details(details));
    }
    blocks.push(Block::Text(item.advice.clone()));
    blocks.extend(admin_button(branding, &item.page));
    EmailContent {
        subject: format!("{PLEASE_REVIEW}{}", one_line(&item.headline, 100)),
        preview: one_line(&item.text, 100),
        heading: "Something needs you".to_owned(),
        blocks,
        inside: true,
    }
}
