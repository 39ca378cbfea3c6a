//! Review items (P10): a row for each thing that a person must look at. The change that finds a problem raises its
//! item, once per cause, and the owner gets an email. Each item is resolved separately, by a person or because its
//! cause is gone.

mod routes;
mod service;
mod store;

pub use routes::{Several, router};
pub use service::{flag, resolve, resolve_only, settle};
pub use store::{
    ReviewItemFilter, assign, close, count_by_subject, count_open, erase_texts, find, list,
    list_open, move_deadline, pass, raise,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::emails::About;
use crate::types::ids::{CustomOrderId, OrderId, ReviewItemId};

/// Kind of a review item.
///
/// A name that this version does not know is read as [`Kind::Other`], because two versions serve at once during a
/// deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", from = "String")]
pub enum Kind {
    /// An email could not be delivered.
    EmailUndelivered,
    /// An email to the shop itself could not be delivered, so no email can report it.
    ShopEmailUndelivered,
    /// The address is outside the zone whose shipping was paid.
    OutsideZone,
    /// A payment could not be accepted and is refunded in full.
    PaymentRefused,
    /// A refund could not be made.
    RefundFailed,
    /// Stripe has not accepted a refund for a long time. It is still retried.
    RefundDelayed,
    /// The custom order of a payment is not in this database.
    CustomOrderMissing,
    /// The payment of a custom order was refunded in full.
    CustomOrderRefunded,
    /// Stripe refused to make the payment link of a quote.
    PaymentLinkRefused,
    /// Stripe refused to close the payment link of a quote.
    PaymentLinkNotClosed,
    /// A payment for a quote arrived, or is in progress, while it was being closed.
    PaidWhileClosing,
    /// A delayed payment failed.
    DelayedPaymentFailed,
    /// The amount paid for a quote differs from it.
    AmountDiffers,
    /// The customer's bank disputes a payment.
    Dispute,
    /// The bank decided a dispute for the customer.
    DisputeLost,
    /// The customer's bank inquires about a payment, but has not withdrawn money.
    Inquiry,
    /// The card's issuer warns that a payment is probably fraud.
    FraudWarning,
    /// Stripe asks the shop to review a payment.
    PaymentReview,
    /// An order to be shipped was paid without an address.
    AddressMissing,
    /// Stripe sent events of its other mode, test or live.
    WrongMode,
    /// A page of the shop that this one replaced was paid, and the amount is not the sum of the order's lines.
    TotalDiffers,
    /// Something that was copied from the shop that this one replaced needs a look.
    Takeover,
    /// A kind of a newer version.
    Other,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 23] = [
        Kind::EmailUndelivered,
        Kind::ShopEmailUndelivered,
        Kind::OutsideZone,
        Kind::PaymentRefused,
        Kind::RefundFailed,
        Kind::RefundDelayed,
        Kind::CustomOrderMissing,
        Kind::CustomOrderRefunded,
        Kind::PaymentLinkRefused,
        Kind::PaymentLinkNotClosed,
        Kind::PaidWhileClosing,
        Kind::DelayedPaymentFailed,
        Kind::AmountDiffers,
        Kind::Dispute,
        Kind::DisputeLost,
        Kind::Inquiry,
        Kind::FraudWarning,
        Kind::PaymentReview,
        Kind::AddressMissing,
        Kind::WrongMode,
        Kind::TotalDiffers,
        Kind::Takeover,
        Kind::Other,
    ];

    /// Returns the name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::EmailUndelivered => "email_undelivered",
            Kind::ShopEmailUndelivered => "shop_email_undelivered",
            Kind::OutsideZone => "outside_zone",
            Kind::PaymentRefused => "payment_refused",
            Kind::RefundFailed => "refund_failed",
            Kind::RefundDelayed => "refund_delayed",
            Kind::CustomOrderMissing => "custom_order_missing",
            Kind::CustomOrderRefunded => "custom_order_refunded",
            Kind::PaymentLinkRefused => "payment_link_refused",
            Kind::PaymentLinkNotClosed => "payment_link_not_closed",
            Kind::PaidWhileClosing => "paid_while_closing",
            Kind::DelayedPaymentFailed => "delayed_payment_failed",
            Kind::AmountDiffers => "amount_differs",
            Kind::Dispute => "dispute",
            Kind::DisputeLost => "dispute_lost",
            Kind::Inquiry => "inquiry",
            Kind::FraudWarning => "fraud_warning",
            Kind::PaymentReview => "payment_review",
            Kind::AddressMissing => "address_missing",
            Kind::WrongMode => "wrong_mode",
            Kind::TotalDiffers => "total_differs",
            Kind::Takeover => "takeover",
            Kind::Other => "other",
        }
    }

    /// The problem in a few words, for pages and subjects.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Other => "Something needs attention",
            Kind::EmailUndelivered => "An email was not delivered",
            Kind::ShopEmailUndelivered => "An email to the shop was not delivered",
            Kind::OutsideZone => "The address is outside the shipping zone that was paid",
            Kind::PaymentRefused => "A payment was not accepted",
            Kind::RefundFailed => "A refund failed",
            Kind::RefundDelayed => "A refund does not go through yet",
            Kind::CustomOrderMissing => "A custom order was paid that is not in the database",
            Kind::CustomOrderRefunded => "A custom order was refunded in full",
            Kind::PaymentLinkRefused => "Stripe refused to make a payment link",
            Kind::PaymentLinkNotClosed => "Stripe refused to close a payment link",
            Kind::PaidWhileClosing => "A quote that was being closed is paid",
            Kind::DelayedPaymentFailed => "A delayed payment failed",
            Kind::AmountDiffers => "Another amount was paid than was quoted",
            Kind::Dispute => "The customer's bank disputes a payment",
            Kind::DisputeLost => "A dispute was lost: the money is with the customer",
            Kind::Inquiry => "The customer's bank asks about a payment",
            Kind::FraudWarning => "A payment is probably fraud",
            Kind::PaymentReview => "Stripe asks you to review a payment",
            Kind::AddressMissing => "A paid order has no address",
            Kind::WrongMode => "Stripe sends events of its other mode",
            Kind::TotalDiffers => "Another amount was paid than the pieces cost",
            Kind::Takeover => "Something from the old shop needs a look",
        }
    }

    /// Suggested resolution, in a sentence or two.
    pub fn advice(self) -> &'static str {
        match self {
            Kind::Other => "Look at it, do what it asks for, and mark it resolved.",
            Kind::EmailUndelivered => {
                "Check the address, reach the customer another way, or send the email again from the order's page."
            }
            Kind::ShopEmailUndelivered => "Check the shop's own email address and its mailbox.",
            Kind::OutsideZone => {
                "Ask the customer for the difference, ship anyway, or refund the order."
            }
            Kind::PaymentRefused => {
                "There is nothing to ship for it. Its page shows what is refunded."
            }
            Kind::RefundDelayed => {
                "It is retried automatically. Look at Stripe's dashboard for what is in the way, such as a low balance."
            }
            Kind::RefundFailed => {
                "The money is with the shop. Refund it again from its page, or another way, and note it on the order."
            }
            Kind::CustomOrderMissing => "Ask the customer what was agreed, or refund the payment.",
            Kind::CustomOrderRefunded => "Stop working on the piece.",
            Kind::PaymentLinkRefused => "Change the quote and approve it again.",
            Kind::PaymentLinkNotClosed => "Deactivate the link in Stripe's dashboard.",
            Kind::PaidWhileClosing => {
                "The quote stays. If you cannot make the piece, refund the payment."
            }
            Kind::DelayedPaymentFailed => {
                "Nothing was taken. If the customer still wants the piece, a custom order needs a new quote."
            }
            Kind::AmountDiffers => "The payment is refunded. Send a new quote.",
            Kind::Dispute => {
                "Don't ship. Answer in Stripe's dashboard before the deadline, with all that shows that the order was theirs."
            }
            Kind::DisputeLost => {
                "The bank does not return the money. If the order was not shipped, don't ship it: put its pieces back into stock."
            }
            Kind::Inquiry => {
                "Don't ship. Answer in Stripe's dashboard before the deadline, or refund the payment: then no dispute follows."
            }
            Kind::FraudWarning => {
                "Don't ship yet. If you do not know the customer, refund the payment in full: that keeps a dispute and its fee away."
            }
            Kind::PaymentReview => {
                "Don't ship yet. Look at the payment in Stripe's dashboard under Radar, and approve or refund it."
            }
            Kind::AddressMissing => {
                "Ask the customer where to ship it, and note the address on the order."
            }
            Kind::WrongMode => {
                "They are kept and change nothing here. Check which mode the webhook and STRIPE_SECRET_KEY belong to."
            }
            Kind::TotalDiffers => {
                "The order is paid. Compare it with the payment at Stripe, then ship it, ask the customer for the difference, or refund it."
            }
            Kind::Takeover => "Compare it with what the old shop shows, then mark it resolved.",
        }
    }

    /// Returns true for kinds that block shipping while open.
    pub fn holds_shipping(self) -> bool {
        matches!(
            self,
            Kind::Dispute
                | Kind::DisputeLost
                | Kind::Inquiry
                | Kind::FraudWarning
                | Kind::PaymentReview
        )
    }

    /// Returns false when an email about it cannot arrive, or another email has already informed the owner.
    fn is_emailed(self) -> bool {
        !matches!(
            self,
            Kind::ShopEmailUndelivered | Kind::PaymentRefused | Kind::Takeover
        )
    }
}

impl From<String> for Kind {
    fn from(text: String) -> Kind {
        let known = Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.unwrap_or(Kind::Other)
    }
}

/// The order or custom order of an item. Neither: the item concerns the shop as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    pub order: Option<OrderId>,
    pub custom_order: Option<CustomOrderId>,
}

impl From<OrderId> for Subject {
    fn from(order: OrderId) -> Subject {
        Subject {
            order: Some(order),
            custom_order: None,
        }
    }
}

impl From<CustomOrderId> for Subject {
    fn from(custom_order: CustomOrderId) -> Subject {
        Subject {
            order: None,
            custom_order: Some(custom_order),
        }
    }
}

impl From<About> for Subject {
    fn from(about: About) -> Subject {
        Subject {
            order: about.order,
            custom_order: about.custom_order,
        }
    }
}

/// A newly found problem.
#[derive(Clone, Debug)]
pub struct NewItem {
    pub kind: Kind,
    /// Stable name of the cause, such as `refund:re_1`. One cause raises one item, ever. For a cause that can recur,
    /// the name is numbered (`email:ID:2`), and [`settle`] takes its prefix (`email:ID`).
    pub cause: String,
    /// A sentence or two for the owner.
    pub text: String,
    /// Time after which it is too late, if any.
    pub deadline: Option<DateTime<Utc>>,
}

impl NewItem {
    /// Creates an item for a cause, with its text for the owner.
    pub fn new(kind: Kind, cause: impl Into<String>, text: impl Into<String>) -> NewItem {
        NewItem {
            kind,
            cause: cause.into(),
            text: text.into(),
            deadline: None,
        }
    }

    /// The same item with a deadline.
    pub fn by(self, deadline: Option<DateTime<Utc>>) -> NewItem {
        NewItem { deadline, ..self }
    }
}

/// A stored review item.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct ReviewItem {
    pub id: ReviewItemId,
    pub order_id: Option<OrderId>,
    /// The order's number, such as `SB-1042`.
    pub order_number: Option<String>,
    pub custom_order_id: Option<CustomOrderId>,
    /// The custom order's number, such as `CO-1042`.
    pub custom_order_number: Option<String>,
    #[sqlx(try_from = "String")]
    pub kind: Kind,
    pub text: String,
    /// Time after which it is too late, if any.
    pub deadline: Option<DateTime<Utc>>,
    pub raised_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    /// `user:ann@example.com`, `token:laptop`, or the source of the report that the cause is gone, such as `stripe`.
    pub resolved_by: Option<String>,
    /// Outcome, when the cause is gone: `the dispute was won`.
    pub resolution: Option<String>,
}

impl ReviewItem {
    /// Number of its order or custom order.
    pub fn about(&self) -> Option<&str> {
        let number = self.order_number.as_deref();
        number.or(self.custom_order_number.as_deref())
    }

    /// Returns true for an item of a custom order that does not concern an order.
    pub fn is_of_custom_order_alone(&self) -> bool {
        self.order_id.is_none() && self.custom_order_id.is_some()
    }

    /// Path of the admin page that shows it.
    pub fn page(&self) -> String {
        match (&self.order_number, &self.custom_order_number) {
            (Some(number), _) => format!("/admin/orders/{number}"),
            (None, Some(number)) => format!("/admin/custom-orders/{number}"),
            (None, None) => "/admin/review-items".to_owned(),
        }
    }

    /// Its object in the audit log.
    pub fn object(&self) -> String {
        match (&self.order_number, &self.custom_order_number) {
            (Some(number), _) => format!("order:{number}"),
            (None, Some(number)) => format!("custom_order:{number}"),
            (None, None) => "shop".to_owned(),
        }
    }
}

/// An open item, as listed with its order or custom order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OpenItem {
    pub id: ReviewItemId,
    pub kind: Kind,
    pub text: String,
    /// Time after which it is too late, if any.
    pub deadline: Option<DateTime<Utc>>,
    pub raised_at: DateTime<Utc>,
}

/// Column `review_items` of a query over orders or custom orders: all open items. Items with a deadline come first,
/// soonest at the top; then the newest.
macro_rules! open_column {
    ($is_its:literal) => {
        concat!(
            "(select coalesce(jsonb_agg(jsonb_build_object(
                         'id', r.id, 'kind', r.kind, 'text', r.text, 'deadline', r.deadline, 'raised_at', r.raised_at)
                         order by r.deadline, r.raised_at desc, r.id desc), '[]')
              from review_items r
              where r.resolved_at is null
                and (",
            $is_its,
            ")) as review_items"
        )
    };
}
pub(crate) use open_column;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from(kind.as_str().to_owned()), kind);
            let json = serde_json::to_value(kind).expect("plain data");
            assert_eq!(json, kind.as_str());
            assert_eq!(serde_json::from_value::<Kind>(json).expect("a kind"), kind);
        }
        assert_eq!(Kind::from("of_the_next_version".to_owned()), Kind::Other);
    }
}
