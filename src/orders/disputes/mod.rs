//! Disputes by Stripe id: amount, deadline for evidence, and outcome.
//!
//! A payment may have several disputes, and an inquiry may become one; each row follows only its own id. `payments`
//! updates them from Stripe's events; orders and custom orders show them.

mod reasons;
mod store;

pub use reasons::in_words;
pub use store::{
    Report, Stored, list_of_custom_order, list_of_order, list_of_payment, lock, most_pressing,
    record_funds, save,
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::types::money::Cents;

/// State of a dispute.
///
/// Source: <https://docs.stripe.com/api/disputes/object#dispute_object-status>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The bank inquires; no money is withdrawn yet.
    WarningNeedsResponse,
    WarningUnderReview,
    WarningClosed,
    NeedsResponse,
    UnderReview,
    Won,
    Lost,
    Prevented,
    /// A state that this version does not know.
    Unknown,
}

impl State {
    const KNOWN: [(State, &'static str); 8] = [
        (State::WarningNeedsResponse, "warning_needs_response"),
        (State::WarningUnderReview, "warning_under_review"),
        (State::WarningClosed, "warning_closed"),
        (State::NeedsResponse, "needs_response"),
        (State::UnderReview, "under_review"),
        (State::Won, "won"),
        (State::Lost, "lost"),
        (State::Prevented, "prevented"),
    ];

    /// Reads Stripe's name of a state.
    pub fn read(word: &str) -> State {
        let known = State::KNOWN.into_iter().find(|(_, name)| *name == word);
        known.map_or(State::Unknown, |(state, _)| state)
    }

    /// Returns true while the bank has not decided. An unknown state counts as undecided.
    pub fn is_open(self) -> bool {
        !matches!(
            self,
            State::WarningClosed | State::Won | State::Lost | State::Prevented
        )
    }

    /// Returns true for an inquiry, where no money was withdrawn.
    pub fn is_inquiry(self) -> bool {
        matches!(
            self,
            State::WarningNeedsResponse | State::WarningUnderReview | State::WarningClosed
        )
    }

    /// Rank of a state in the course of a dispute, for two reports in one second (the precision of Stripe's times): an
    /// inquiry may become a dispute, and a decision comes last.
    fn place(self) -> u8 {
        match self {
            State::Unknown => 0,
            State::WarningNeedsResponse => 1,
            State::WarningUnderReview => 2,
            State::NeedsResponse => 3,
            State::UnderReview => 4,
            State::WarningClosed => 5,
            State::Prevented | State::Won | State::Lost => 6,
        }
    }

    /// Returns true when a report of this state at `at` is later than the known one.
    pub fn is_newer(self, at: DateTime<Utc>, known: State, known_at: DateTime<Utc>) -> bool {
        (at, self.place()) > (known_at, known.place())
    }

    /// The state for the admin pages.
    pub fn in_words(self) -> &'static str {
        match self {
            State::WarningNeedsResponse => "inquiry: answer it",
            State::WarningUnderReview => "inquiry: answered, the bank is looking at it",
            State::WarningClosed => "inquiry closed",
            State::NeedsResponse => "open: answer it",
            State::UnderReview => "open: answered, the bank decides",
            State::Won => "won",
            State::Lost => "lost",
            State::Prevented => "prevented",
            State::Unknown => "open",
        }
    }
}

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
    pub state: String,
    /// Deadline for evidence.
    pub evidence_due_by: Option<DateTime<Utc>>,
    /// `withdrawn` while the bank has the money, `reinstated` after its return.
    pub funds: Option<String>,
    pub opened_at: DateTime<Utc>,
}

impl Dispute {
    pub fn known_state(&self) -> State {
        State::read(&self.state)
    }

    pub fn is_open(&self) -> bool {
        self.known_state().is_open()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    #[test]
    fn a_later_report_stands_and_of_one_second_the_later_place() {
        use State::*;
        for (state, time, known, known_time, is_newer) in [
            (Lost, 2, NeedsResponse, 1, true),
            (NeedsResponse, 1, Lost, 2, false),
            (NeedsResponse, 1, Lost, 1, false),
            (Lost, 1, NeedsResponse, 1, true),
            (NeedsResponse, 1, WarningUnderReview, 1, true),
            (NeedsResponse, 2, WarningClosed, 1, true),
            (Won, 1, Won, 1, false),
        ] {
            let found = state.is_newer(at(time), known, at(known_time));
            assert_eq!(
                found, is_newer,
                "{state:?} at {time} after {known:?} at {known_time}"
            );
        }
    }

    #[test]
    fn every_word_of_stripes_is_read_and_another_is_open() {
        for (state, word) in State::KNOWN {
            assert_eq!(State::read(word), state);
        }
        assert!(State::read("something_new").is_open());
    }
}
