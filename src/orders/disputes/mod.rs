//! Disputes by Stripe id: amount, deadline for evidence, and outcome.
//!
//! A payment may have several disputes, and an inquiry may become one; each row follows only its own id. `payments`
//! updates them from Stripe's events; orders and custom orders show them.

mod reasons;
mod states;
mod store;

pub use reasons::in_words;
pub use states::{DisputeState, DisputedFunds};
pub use store::{
    Report, StoredDispute, list_of_custom_order, list_of_order, list_of_payment, lock,
    most_pressing, record_funds, save,
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::types::money::Cents;

/// A dispute of a payment.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Dispute {
    /// Stripe's id, `dp_…`.
    pub id: String,
    pub payment_id: String,
    /// In the currency's smallest unit.
    pub amount: Cents,
    pub currency: String,
    /// Stripe's name of the bank's reason, such as `fraudulent`.
    pub reason: String,
    /// Stripe's name of the state, such as `needs_response`.
    #[schema(value_type = String)]
    pub state: DisputeState,
    /// Deadline for evidence.
    pub evidence_due_by: Option<DateTime<Utc>>,
    /// `withdrawn` while the bank has the money, `reinstated` after its return.
    #[schema(value_type = Option<String>)]
    pub funds: Option<DisputedFunds>,
    pub opened_at: DateTime<Utc>,
}

impl Dispute {
    pub fn is_open(&self) -> bool {
        self.state.is_open()
    }

    /// The bank's reason as a phrase.
    pub fn reason_in_words(&self) -> &'static str {
        in_words(&self.reason)
    }

    /// The disputed amount with its currency.
    pub fn money(&self) -> String {
        self.amount.in_currency(&self.currency)
    }
}
