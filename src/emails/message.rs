//! Emails as data. The change that causes an email stores its data, so an email sent an hour later still states what
//! was true then. [`render`](super::render()) renders it as HTML and plain text.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::types::address::Address;
use crate::types::ids::{CustomOrderId, ImageId, OrderId};
use crate::types::money::Cents;

/// The kind and data of an email.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Email {
    /// To the shopper: the order is paid.
    OrderConfirmation { order: OrderEmailData },
    /// To the customer of a sale in person.
    Receipt {
        order: OrderEmailData,
        /// Method of payment, such as `Cash`, if noted.
        paid_with: Option<String>,
        /// The pieces were not handed over: they are shipped.
        is_to_ship: bool,
    },
    /// To the shop: an order or a custom order is paid.
    YouSold {
        order: OrderEmailData,
        /// Displayed number of the custom order, such as `CO-1042`.
        custom_order: Option<String>,
        /// The customer's address, for replies.
        email: Option<String>,
    },
    /// To the shopper: the order was shipped.
    OrderShipped {
        order: OrderEmailData,
        shipment: ShipmentEmailData,
    },
    /// To the shopper: a partial or full refund.
    OrderRefunded {
        order: OrderEmailData,
        /// Amount of this refund.
        amount: Cents,
        /// Total refunded.
        refunded: Cents,
    },
    /// To the shopper: a payment could not be accepted and is refunded in full.
    CouldNotFulfill { refusal: RefusalEmailData },
    /// To the shop: the same, as a notice.
    CouldNotFulfillNotice { refusal: RefusalEmailData },
    /// To the customer: a delayed payment is in progress and takes days.
    PaymentProcessing { payment: DelayedPaymentEmailData },
    /// To the customer: the delayed payment failed, and nothing was charged.
    PaymentFailed { payment: DelayedPaymentEmailData },
    /// To the shop: a new custom order, with its images attached.
    NewCustomOrder {
        custom_order: CustomOrderEmailData,
        email: String,
    },
    /// To the customer: the shop received the custom order. It repeats nothing of the request, because the address may
    /// belong to someone else.
    CustomOrderReceived { custom_order: CustomOrderEmailData },
    /// To the customer: the quote and its payment link.
    CustomOrderApproved {
        custom_order: CustomOrderEmailData,
        quote: QuoteEmailData,
    },
    /// To the customer: the quote is paid.
    PaymentReceived {
        custom_order: CustomOrderEmailData,
        order: OrderEmailData,
    },
    /// To the customer: the quote is withdrawn and its link closed, with an optional reason.
    QuoteWithdrawn {
        custom_order: CustomOrderEmailData,
        reason: String,
    },
    /// To the customer: the owner's own words.
    CustomOrderMessage {
        custom_order: CustomOrderEmailData,
        text: String,
    },
    /// To the customer: the custom order is rejected, with the reason.
    CustomOrderRejected {
        custom_order: CustomOrderEmailData,
        reason: String,
    },
    /// To the customer: the finished piece was shipped, with its images.
    CustomOrderShipped {
        custom_order: CustomOrderEmailData,
        order: OrderEmailData,
        shipment: ShipmentEmailData,
    },
    /// To the shopper: the tracking that the last email had is corrected.
    ShipmentCorrected {
        order: OrderEmailData,
        shipment: ShipmentEmailData,
    },
    /// To the customer: the tracking that the last email had is corrected.
    CustomOrderShipmentCorrected {
        custom_order: CustomOrderEmailData,
        order: OrderEmailData,
        shipment: ShipmentEmailData,
    },
    /// To the shopper: the order is not shipped yet, although an email said so.
    NotShippedYet { order: OrderEmailData },
    /// To the customer: the finished piece is not shipped yet, although an email said so.
    CustomOrderNotShippedYet { custom_order: CustomOrderEmailData },
    /// To the shop: a review item.
    ReviewItem { item: ReviewItemEmailData },
}

impl Email {
    /// Kinds of the emails to a customer that their order is not shipped, although one said so.
    pub const NOT_SHIPPED: [&str; 2] = ["not_shipped_yet", "custom_order_not_shipped_yet"];

    /// Kinds of the emails to a customer about their shipment.
    pub const ABOUT_SHIPMENT: [&str; 4] = [
        "order_shipped",
        "shipment_corrected",
        "custom_order_shipped",
        "custom_order_shipment_corrected",
    ];

    /// Stable name of the kind, used in the database and in causes.
    pub fn kind(&self) -> &'static str {
        match self {
            Email::OrderConfirmation { .. } => "order_confirmation",
            Email::Receipt { .. } => "receipt",
            Email::YouSold { .. } => "you_sold",
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
            Email::CustomOrderMessage { .. } => "custom_order_message",
            Email::CustomOrderRejected { .. } => "custom_order_rejected",
            Email::CustomOrderShipped { .. } => "custom_order_shipped",
            Email::ShipmentCorrected { .. } => "shipment_corrected",
            Email::CustomOrderShipmentCorrected { .. } => "custom_order_shipment_corrected",
            Email::NotShippedYet { .. } => "not_shipped_yet",
            Email::CustomOrderNotShippedYet { .. } => "custom_order_not_shipped_yet",
            Email::ReviewItem { .. } => "review_item",
        }
    }

    /// Image of each order line that is shown with images: `/media/…`, or an address elsewhere.
    pub fn line_images(&self) -> impl Iterator<Item = Option<&str>> {
        let lines = match self {
            Email::OrderConfirmation { order }
            | Email::Receipt { order, .. }
            | Email::YouSold { order, .. }
            | Email::OrderShipped { order, .. }
            | Email::ShipmentCorrected { order, .. } => order.lines.as_slice(),
            _ => &[],
        };
        lines.iter().map(|line| line.image.as_deref())
    }

    /// Images of the finished piece, embedded in the email.
    pub fn finished_images(&self) -> &[ImageId] {
        match self {
            Email::OrderShipped { shipment, .. }
            | Email::CustomOrderShipped { shipment, .. }
            | Email::ShipmentCorrected { shipment, .. }
            | Email::CustomOrderShipmentCorrected { shipment, .. } => &shipment.images,
            _ => &[],
        }
    }

    /// Images attached as files.
    pub fn attached_images(&self) -> &[ImageId] {
        match self {
            Email::NewCustomOrder { custom_order, .. } => &custom_order.images,
            _ => &[],
        }
    }

    /// The reader holds the pieces, or will soon.
    pub fn brings_pieces(&self) -> bool {
        match self {
            Email::Receipt { is_to_ship, .. } => !is_to_ship,
            Email::OrderShipped { .. } | Email::CustomOrderShipped { .. } => true,
            _ => false,
        }
    }

    /// The address for replies, if it is not the shop's.
    pub fn answers_to(&self) -> Option<&str> {
        match self {
            Email::NewCustomOrder { email, .. } => Some(email),
            Email::YouSold { email, .. } => email.as_deref(),
            _ => None,
        }
    }
}

/// Email data of an order. Amounts are in the currency's smallest unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderEmailData {
    /// Displayed number, such as `SB-1042`.
    pub number: String,
    pub paid_at: Option<DateTime<Utc>>,
    /// Three lower-case letters (ISO 4217).
    pub currency: String,
    pub lines: Vec<LineEmailData>,
    pub subtotal: Cents,
    /// Taken off the subtotal. Emails of earlier versions have none.
    #[serde(default)]
    pub discount: Cents,
    pub shipping: Cents,
    pub tax: Cents,
    pub total: Cents,
    pub customer_name: Option<String>,
    /// Recipient of the shipment.
    pub shipping_name: Option<String>,
    pub shipping_address: Option<Address>,
    /// Days between which it arrives: `December 3 to December 8, 2026`. Emails of earlier versions have none, nor the
    /// address below.
    #[serde(default)]
    pub estimated_delivery: Option<String>,
    /// The customer's page of the order, signed. `None` for the order of a custom order.
    #[serde(default)]
    pub page_url: Option<String>,
}

/// Email data of an order line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LineEmailData {
    pub name: String,
    /// Collection and size, such as `Infinite Path · Classic BIC`.
    pub detail: Option<String>,
    pub quantity: i32,
    pub unit_price: Cents,
    /// `/media/…`, or an address elsewhere.
    pub image: Option<String>,
}

/// Email data of a shipment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShipmentEmailData {
    pub carrier: Option<String>,
    pub tracking_number: Option<String>,
    pub tracking_url: Option<String>,
    pub shipped_at: DateTime<Utc>,
    pub images: Vec<ImageId>,
}

/// A payment that could not be accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalEmailData {
    /// The intended order, such as `SB-1042`, or a custom order's id.
    pub about: String,
    pub customer_name: Option<String>,
    pub amount: Cents,
    pub currency: String,
    /// Planned refund: less than the amount when part of it was refunded before.
    pub due: Cents,
    pub why: PaymentRefusal,
    /// The customer gets an email, too.
    pub is_customer_told: bool,
}

/// Reason for refunding a payment in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentRefusal {
    /// The hold had expired and someone else bought the piece.
    SoldMeanwhile,
    /// The order or quote was already paid.
    PaidTwice,
    /// The amount or currency differs from the request.
    AmountDiffers,
    /// The quote was withdrawn, replaced, or had lapsed.
    QuoteClosed,
}

/// Email data of a delayed payment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DelayedPaymentEmailData {
    /// The order or custom order, such as `SB-1042`.
    pub about: String,
    pub customer_name: Option<String>,
    pub amount: Cents,
    pub currency: String,
    pub holds: Holds,
    /// The customer's status page, if any.
    pub status_url: Option<String>,
}

/// Stock held until a delayed payment is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// The pieces of its order are held.
    Pieces,
    /// The pieces of its order are for sale in the meantime.
    NoPieces,
    /// The piece is made after payment.
    Nothing,
}

/// Email data of a custom order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomOrderEmailData {
    pub id: CustomOrderId,
    /// Displayed number, such as `CO-1042`.
    pub number: String,
    pub customer_name: String,
    pub description: String,
    pub colors: Option<String>,
    pub images: Vec<ImageId>,
    /// The customer's status page, signed. `None` in emails that go to the shop alone.
    pub status_url: Option<String>,
}

/// Email data of a quote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuoteEmailData {
    pub amount: Cents,
    pub shipping: Cents,
    pub total: Cents,
    pub currency: String,
    /// Description of the quoted piece, by the owner.
    pub description: String,
    pub valid_until: DateTime<Utc>,
    pub payment_url: String,
}

/// Email data of a review item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReviewItemEmailData {
    /// End of the subject: the problem in a few words, with the number of the order or custom order.
    pub headline: String,
    /// The order or custom order, such as `SB-1042`.
    pub about: Option<String>,
    pub text: String,
    /// Time after which it is too late.
    pub deadline: Option<DateTime<Utc>>,
    /// Suggested resolution.
    pub advice: String,
    /// Path of its admin page.
    pub page: String,
}

/// The subject of an email; a failed delivery is reported there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub order: Option<OrderId>,
    pub custom_order: Option<CustomOrderId>,
}

impl About {
    /// An email about an order.
    pub fn order(id: OrderId) -> About {
        About {
            order: Some(id),
            custom_order: None,
        }
    }
}
