//! Disputes by Stripe's id: what a customer's bank asks back, until when it can be answered, and how it ended.
//!
//! A payment may have several disputes, and an inquiry may become one; each row follows its own id alone. `payments` reads
//! Stripe's events into them, and orders and custom orders show them.

mod reasons;
mod store;

pub use reasons::in_words;
pub use store::{
    Report, Stored, forget_earlier, list_of_custom_order, list_of_order, list_of_payment, lock,
    most_pressing, record_funds, save,
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::money::Cents;

/// The state of a dispute.
///
/// Source: <https://docs.stripe.com/api/disputes/object#dispute_object-status>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The bank asks; no money is taken yet.
    WarningNeedsResponse,
    WarningUnderReview,
    WarningClosed,
    NeedsResponse,
    UnderReview,
    Won,
    Lost,
    Prevented,
    /// A word that this version does not know.
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

    /// Reads Stripe's word.
    pub fn read(word: &str) -> State {
        let known = State::KNOWN.into_iter().find(|(_, name)| *name == word);
        known.map_or(State::Unknown, |(state, _)| state)
    }

    /// Whether the bank has not decided. An unknown word is no decision.
    pub fn is_open(self) -> bool {
        !matches!(
            self,
            State::WarningClosed | State::Won | State::Lost | State::Prevented
        )
    }

    /// Whether the bank only asks, and has taken no money.
    pub fn is_inquiry(self) -> bool {
        matches!(
            self,
            State::WarningNeedsResponse | State::WarningUnderReview | State::WarningClosed
        )
    }

    /// The place in the course of a dispute. Of two reports of one second, which is as exact as Stripe's times are, the
    /// later place is the later report: an inquiry may become a dispute, and a decision comes last.
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

    /// Whether a report of this state, made at a moment, is later than what is known.
    pub fn is_newer(self, at: DateTime<Utc>, known: State, known_at: DateTime<Utc>) -> bool {
        (at, self.place()) > (known_at, known.place())
    }

    /// The state as people say it.
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
    /// Stripe's id, `dp_…`; `earlier:pi_…` for a state that an earlier version kept without it.
    pub id: String,
    pub payment_id: String,
    /// In the currency's smallest unit.
    pub amount: Cents,
    pub currency: String,
    /// Stripe's word for what the bank says, as `fraudulent`.
    pub reason: String,
    /// Stripe's word, as `needs_response`.
    pub state: String,
    /// The last moment at which an answer counts.
    pub evidence_due_by: Option<DateTime<Utc>>,
    /// `withdrawn` while the bank has the money, `reinstated` once it gave it back.
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

    /// The bank's reason in words.
    pub fn reason_in_words(&self) -> &'static str {
        in_words(&self.reason)
    }

    /// What the bank asks back, as people write it.
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
