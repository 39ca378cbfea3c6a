//! What each email says, as data: written down by the change that causes it, so that an email sent an hour later
//! still says what was true when it was caused. `email` turns it into HTML and text.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::ids::{CustomOrderId, ImageId, OrderId};
use crate::money::Cents;

/// An email's kind and contents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Email {
    /// To the shopper, copied to the shop: the order is paid.
    OrderConfirmation { order: OrderEmailData },
    /// To the shopper: the shipment is on its way.
    OrderShipped {
        order: OrderEmailData,
        shipment: ShipmentEmailData,
    },
    /// To the shopper: money was given back, in part or in full.
    OrderRefunded {
        order: OrderEmailData,
        /// Given back by this refund.
        amount: Cents,
        /// Given back in all.
        refunded: Cents,
    },
    /// To the shopper: a payment could not become an order and is given back in full.
    CouldNotFulfill { refusal: RefusalEmailData },
    /// To the shop: the same, so that somebody knows.
    CouldNotFulfillNotice { refusal: RefusalEmailData },
    /// To the customer: the bank was asked for the money, which takes days.
    PaymentProcessing { payment: DelayedPaymentEmailData },
    /// To the customer: the bank did not make the payment, and nothing was taken.
    PaymentFailed { payment: DelayedPaymentEmailData },
    /// To the shop: somebody asks for a piece; their images are attached.
    NewCustomOrder {
        custom_order: CustomOrderEmailData,
        email: String,
    },
    /// To the customer: their custom order has reached the shop. It repeats nothing of what they wrote: the address may be
    /// somebody else's.
    CustomOrderReceived { custom_order: CustomOrderEmailData },
    /// To the customer: the quote, and where to pay it.
    CustomOrderApproved {
        custom_order: CustomOrderEmailData,
        quote: QuoteEmailData,
    },
    /// To the customer, copied to the shop: the quote is paid.
    PaymentReceived {
        custom_order: CustomOrderEmailData,
        order: OrderEmailData,
    },
    /// To the customer: the quote is taken back, and its link cannot be paid any more; perhaps why.
    QuoteWithdrawn {
        custom_order: CustomOrderEmailData,
        reason: String,
    },
    /// To the customer: we cannot make it, and why.
    CustomOrderRejected {
        custom_order: CustomOrderEmailData,
        reason: String,
    },
    /// To the customer: the finished piece is on its way; its images are inside.
    CustomOrderShipped {
        custom_order: CustomOrderEmailData,
        order: OrderEmailData,
        shipment: ShipmentEmailData,
    },
    /// To the shop: something needs a person.
    ReviewItem { item: ReviewItemEmailData },
}

impl Email {
    /// The kind's stable name, as in the database and in causes.
    pub fn kind(&self) -> &'static str {
        match self {
            Email::OrderConfirmation { .. } => "order_confirmation",
            Email::OrderShipped { .. } => "order_shipped",
            Email::OrderRefunded { .. } => "order_refunded",
            Email::CouldNotFulfill { .. } => "could_not_fulfill",
            Email::CouldNotFulfillNotice { .. } => "could_not_fulfill_notice",
            Email::PaymentProcessing { .. } => "payment_processing",
            Email::PaymentFailed { .. } => "payment_failed",
            Email::NewCustomOrder { .. } => "new_custom_order",
            Email::CustomOrderReceived { .. } => "custom_order_received",
            Email::CustomOrderApproved { .. } => "custom_order_approved",
            Email::PaymentReceived { .. } => "payment_received",
            Email::QuoteWithdrawn { .. } => "quote_withdrawn",
            Email::CustomOrderRejected { .. } => "custom_order_rejected",
            Email::CustomOrderShipped { .. } => "custom_order_shipped",
            Email::ReviewItem { .. } => "review_item",
        }
    }

    /// The image of each line that is shown with images: `/media/…`, or another's address.
    pub fn line_images(&self) -> impl Iterator<Item = Option<&str>> {
        let lines = match self {
            Email::OrderConfirmation { order } | Email::OrderShipped { order, .. } => {
                order.lines.as_slice()
            }
            _ => &[],
        };
        lines.iter().map(|line| line.image.as_deref())
    }

    /// The images of the finished piece, shown inside.
    pub fn finished_images(&self) -> &[ImageId] {
        match self {
            Email::OrderShipped { shipment, .. } | Email::CustomOrderShipped { shipment, .. } => {
                &shipment.images
            }
            _ => &[],
        }
    }

    /// The images that are sent along as files.
    pub fn attached_images(&self) -> &[ImageId] {
        match self {
            Email::NewCustomOrder { custom_order, .. } => &custom_order.images,
            _ => &[],
        }
    }

    /// Who gets the answers to it, where that is not the shop.
    pub fn answers_to(&self) -> Option<&str> {
        match self {
            Email::NewCustomOrder { email, .. } => Some(email),
            _ => None,
        }
    }
}

/// An order as an email shows it. Amounts are in the currency's smallest unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderEmailData {
    /// As people say it: `SB-1042`.
    pub number: String,
    pub paid_at: Option<DateTime<Utc>>,
    /// Three lower-case letters (ISO 4217).
    pub currency: String,
    pub lines: Vec<LineEmailData>,
    pub subtotal: Cents,
    pub shipping: Cents,
    pub tax: Cents,
    pub total: Cents,
    pub customer_name: Option<String>,
    /// Who receives the shipment.
    pub shipping_name: Option<String>,
    pub shipping_address: Option<Address>,
}

/// A line of an order as an email shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LineEmailData {
    pub name: String,
    /// The collection and the size, as `Infinite Path · Classic BIC`.
    pub detail: Option<String>,
    pub quantity: i32,
    pub unit_price: Cents,
    /// `/media/…`, or another's address.
    pub image: Option<String>,
}

/// A shipment as an email shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShipmentEmailData {
    pub carrier: Option<String>,
    pub tracking_number: Option<String>,
    pub tracking_url: Option<String>,
    pub shipped_at: DateTime<Utc>,
    pub images: Vec<ImageId>,
}

/// A payment that could not become an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalEmailData {
    /// The order or the custom order that was meant, as `SB-1042` or a custom order's id.
    pub about: String,
    pub customer_name: Option<String>,
    pub amount: Cents,
    pub currency: String,
    /// What is planned to be refunded: less than the amount where some of it was refunded before. None in emails that were
    /// written down before this was.
    #[serde(default)]
    pub due: Option<Cents>,
    pub why: Refusal,
}

/// Why a payment is given back in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The hold had run out and somebody else has bought the piece.
    SoldMeanwhile,
    /// The order (or the quote) was paid already.
    PaidTwice,
    /// Another amount or currency than was asked for.
    AmountDiffers,
    /// The quote had been withdrawn, replaced, or had lapsed.
    QuoteClosed,
}

/// A payment that takes days, as an email shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DelayedPaymentEmailData {
    /// The order or the custom order that is paid for, as `SB-1042`.
    pub about: String,
    pub customer_name: Option<String>,
    pub amount: Cents,
    pub currency: String,
    pub holds: Holds,
    /// The customer's own page, where there is one.
    pub status_url: Option<String>,
}

/// What is kept for a payment until it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// The pieces of its order.
    Pieces,
    /// The pieces of its order are for sale meanwhile.
    NoPieces,
    /// It is made once it is paid.
    Nothing,
}

/// A custom order for a piece as an email shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomOrderEmailData {
    pub id: CustomOrderId,
    /// As people say it: `CO-1042`.
    pub number: String,
    pub customer_name: String,
    pub description: String,
    pub colors: Option<String>,
    pub images: Vec<ImageId>,
    /// The customer's own page, signed. Nothing in emails that go to the shop alone.
    pub status_url: Option<String>,
}

/// A quote as an email shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuoteEmailData {
    pub amount: Cents,
    pub shipping: Cents,
    pub total: Cents,
    pub currency: String,
    /// What the price covers, in the owner's words.
    pub description: String,
    pub valid_until: DateTime<Utc>,
    pub payment_url: String,
}

/// A review item as its email shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReviewItemEmailData {
    /// The trouble in a few words, with the number of what it belongs to: the end of the subject.
    pub headline: String,
    /// The order or custom order, as `SB-1042`.
    pub about: Option<String>,
    pub text: String,
    /// The moment after which it is too late.
    pub deadline: Option<DateTime<Utc>>,
    /// A way to settle it.
    pub advice: String,
    /// The path of the admin page that shows it.
    pub page: String,
}

/// What an email is about: where the owner is told when it cannot be delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub order: Option<OrderId>,
    pub custom_order: Option<CustomOrderId>,
}

impl About {
    pub fn order(id: OrderId) -> About {
        About {
            order: Some(id),
            custom_order: None,
        }
    }
}
