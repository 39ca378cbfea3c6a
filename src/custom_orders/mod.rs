//! Custom orders: pieces made on request, from the request through quote and payment to delivery. A quote is paid
//! through a payment link and `payments`; a paid custom order has an ordinary order.
mod admin_routes;
mod copied_links;
mod customer_data;
mod customer_emails;
mod form;
mod locks;
mod new_quote;
mod old_links;
mod payment_links;
mod quote_email;
mod quote_payments;
mod quotes;
mod review_items;
mod routes;
mod service;
mod status_page;
mod store;
mod view;

pub use copied_links::{MatchedLinks, match_copied_links};
pub use customer_emails::{send_confirmation_again, send_corrected_shipment, send_not_shipped_yet};
pub use locks::{lock_of, record};
pub use new_quote::{NewQuote, Terms};
pub use old_links::{LinkPayment, find_quote_paid_by, pay_by_old_link};
pub use payment_links::{close_link, make_link, sweep};
pub use quote_payments::{
    QuotePayment, delayed_payment_began, delayed_payment_failed, pay, refund_failed, set_refunded,
};
pub use quotes::{
    approve, approve_as_seen, discard_draft, fingerprint, preview, quote, reject, requote, withdraw,
};
pub use routes::router;
pub use service::{
    CorrectedName, OrderedPiece, add_timeline_entry, complete, complete_piece, correct_name,
    lock_piece, ship, ship_piece, start_production, unship_piece, write_message, write_note,
};
pub use store::{
    CustomOrderFilter, count_timeline_entries, count_to_do, erase_customer, find, find_by_order,
    find_custom_order_of_quote, find_quote_of_link, foreign_quotes, list, list_by_email, lock,
    lock_of_customer, search_customers,
};
pub use view::{Column, CustomOrderView, Moves, columns, resolve, view};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::orders::Zone;
use crate::review_items::OpenItem;
use crate::types::ids::{CustomOrderId, ImageId, OrderId, QuoteId};
use crate::types::money::Cents;

/// State of a custom order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = CustomOrderStatus)]
pub enum Status {
    /// Waits for the owner's answer.
    Pending,
    /// The customer has a payable quote.
    Approved,
    /// Rejected by the owner.
    Rejected,
    /// The quote lapsed unpaid; another one may follow.
    Expired,
    Paid,
    InProduction,
    Shipped,
    Completed,
    /// Fully refunded after payment. Final.
    Refunded,
}

impl Status {
    /// All statuses, in the order of a custom order's life.
    pub const ALL: [Status; 9] = [
        Status::Pending,
        Status::Approved,
        Status::Rejected,
        Status::Expired,
        Status::Paid,
        Status::InProduction,
        Status::Shipped,
        Status::Completed,
        Status::Refunded,
    ];

    /// Legal transitions (P6). A refunded custom order returns to its former state only when the refund fails. A shipped one
    /// is in production again only when it was marked as shipped by mistake.
    pub fn may_become(self, next: Status) -> bool {
        use Status::*;
        matches!(
            (self, next),
            (Pending, Approved | Rejected)
                | (Approved, Paid | Pending | Expired)
                | (Expired, Approved)
                | (Paid, InProduction | Refunded)
                | (InProduction, Shipped | Refunded)
                | (Shipped, Completed | Refunded | InProduction)
                | (Completed, Refunded)
                | (Refunded, Paid | InProduction | Shipped | Completed)
        )
    }

    /// Name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Approved => "approved",
            Status::Rejected => "rejected",
            Status::Expired => "expired",
            Status::Paid => "paid",
            Status::InProduction => "in_production",
            Status::Shipped => "shipped",
            Status::Completed => "completed",
            Status::Refunded => "refunded",
        }
    }
}

/// A custom order, as stored.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct CustomOrder {
    pub id: CustomOrderId,
    /// `1042` in the database, `CO-1042` in JSON.
    #[serde(serialize_with = "serialize_number")]
    #[schema(value_type = String)]
    pub number: i64,
    pub status: Status,
    pub name: String,
    pub email: String,
    pub description: String,
    pub colors: Option<String>,
    /// All open review items, its order's included, the most urgent first.
    #[sqlx(json)]
    pub review_items: Vec<OpenItem>,
    /// The order created by its payment.
    pub order_id: Option<OrderId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Deletion of the customer's data, on their request.
    pub erased_at: Option<DateTime<Utc>>,
}

impl CustomOrder {
    /// The number as people write it: `CO-1042`.
    pub fn display_number(&self) -> String {
        format!("CO-{}", self.number)
    }
}

fn serialize_number<S: Serializer>(number: &i64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("CO-{number}"))
}

/// State of a quote and its payment link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum QuoteState {
    /// Visible to the owner only.
    Draft,
    /// Approved; its link is being requested.
    Asking,
    /// Stripe refused the link.
    Refused,
    /// The customer has the link.
    Live,
    /// The link is being deactivated.
    Closing,
    /// No longer payable.
    Closed,
    Paid,
}

impl QuoteState {
    /// Returns true while a payment can still settle this quote.
    pub fn is_open(self) -> bool {
        matches!(
            self,
            QuoteState::Asking | QuoteState::Live | QuoteState::Closing
        )
    }
}

/// A price quoted for a custom order. Amounts are in the currency's smallest unit.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Quote {
    pub id: QuoteId,
    #[serde(skip)]
    pub custom_order_id: CustomOrderId,
    pub state: QuoteState,
    pub currency: String,
    pub amount: Cents,
    pub shipping: Cents,
    pub shipping_zone: Zone,
    /// Description of the quoted piece, by the owner.
    pub description: String,
    /// Validity in days from approval.
    pub valid_days: i32,
    pub valid_until: Option<DateTime<Utc>>,
    #[serde(rename = "payment_link_id")]
    pub link_id: Option<String>,
    #[serde(rename = "payment_url")]
    pub link_url: Option<String>,
    /// A delayed payment is in progress.
    pub payment_in_progress: bool,
    /// Last failure to create or close its link.
    pub last_error: Option<String>,
    pub created_at: DateTime<Utc>,
    /// Time at which the request for its link got its idempotency key.
    #[serde(skip)]
    pub asked_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    pub pending_action: Option<sqlx::types::Json<PendingAction>>,
    #[serde(skip)]
    pub attempts: i32,
    /// The shop that this one replaced made its link, which takes any number of payments.
    #[serde(skip)]
    pub is_copied: bool,
}

impl Quote {
    /// Terms of the quote, for another quote on the same terms.
    pub fn terms(&self) -> Terms {
        Terms {
            currency: self.currency.clone(),
            amount: self.amount,
            shipping: self.shipping,
            shipping_zone: self.shipping_zone,
            description: self.description.clone(),
            valid_days: self.valid_days,
        }
    }

    /// Returns true while another quote may replace this one, of a custom order with this status.
    pub fn is_replaceable(&self, status: Status) -> bool {
        status == Status::Approved && self.state == QuoteState::Live && !self.payment_in_progress
    }

    /// Price of the piece and its shipping.
    pub fn total(&self) -> Cents {
        self.amount
            .plus(self.shipping)
            .expect("the schema keeps the sum small")
    }
}

/// Action planned for the time when the quote's link is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "move", rename_all = "snake_case")]
pub enum PendingAction {
    /// Approve the draft in its place.
    Requote { actor: String },
    /// Withdraw the quote; another one may follow.
    Withdraw { actor: String, reason: String },
    /// Reject the custom order.
    Reject { actor: String, reason: String },
    /// Mark the quote as lapsed.
    Lapse,
}

/// An entry of a custom order's timeline.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct CustomOrderTimelineEntry {
    /// `submitted`, `status`, `quote`, `payment`, `shipment`, `customer` or `note`.
    pub kind: String,
    pub from_status: Option<Status>,
    pub to_status: Option<Status>,
    /// `customer`, `stripe`, `clock` or `token:NAME`.
    pub actor: String,
    pub note: String,
    pub created_at: DateTime<Utc>,
}

/// A visitor's validated request for a piece.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCustomOrder {
    pub name: String,
    pub email: String,
    pub description: String,
    pub colors: Option<String>,
    pub images: Vec<ImageId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_moves_along_the_drawn_arrows_only() {
        let legal: Vec<String> = Status::ALL
            .iter()
            .flat_map(|from| Status::ALL.iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.may_become(**to))
            .map(|(from, to)| format!("{}→{}", from.as_str(), to.as_str()))
            .collect();
        assert_eq!(
            legal.join(" "),
            "pending→approved pending→rejected approved→pending approved→expired approved→paid expired→approved \
             paid→in_production paid→refunded in_production→shipped in_production→refunded \
             shipped→in_production shipped→completed shipped→refunded completed→refunded refunded→paid \
             refunded→in_production refunded→shipped refunded→completed"
        );
    }
}
