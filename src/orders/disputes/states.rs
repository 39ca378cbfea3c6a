//! States of disputes and of the disputed money, and their legal transitions (docs/guarantees.md).

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::{PgTypeInfo, PgValueRef};
use sqlx::{Decode, Postgres, Type};

/// State of a dispute. Its name is Stripe's, here, in the database and in JSON.
///
/// Source: <https://docs.stripe.com/api/disputes/object#dispute_object-status>
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeState {
    /// The bank inquires; no money is withdrawn yet.
    WarningNeedsResponse,
    WarningUnderReview,
    WarningClosed,
    NeedsResponse,
    UnderReview,
    Won,
    Lost,
    Prevented,
    /// A state that this version does not know, by Stripe's name.
    #[serde(untagged)]
    Other(String),
}

impl DisputeState {
    /// The states that this version knows.
    pub const KNOWN: [DisputeState; 8] = [
        DisputeState::WarningNeedsResponse,
        DisputeState::WarningUnderReview,
        DisputeState::NeedsResponse,
        DisputeState::UnderReview,
        DisputeState::WarningClosed,
        DisputeState::Prevented,
        DisputeState::Won,
        DisputeState::Lost,
    ];

    /// Reads Stripe's name of a state.
    pub fn read(name: &str) -> DisputeState {
        DisputeState::KNOWN
            .into_iter()
            .find(|state| state.as_str() == name)
            .unwrap_or_else(|| DisputeState::Other(name.to_owned()))
    }

    /// Stripe's name of the state.
    pub fn as_str(&self) -> &str {
        match self {
            DisputeState::WarningNeedsResponse => "warning_needs_response",
            DisputeState::WarningUnderReview => "warning_under_review",
            DisputeState::WarningClosed => "warning_closed",
            DisputeState::NeedsResponse => "needs_response",
            DisputeState::UnderReview => "under_review",
            DisputeState::Won => "won",
            DisputeState::Lost => "lost",
            DisputeState::Prevented => "prevented",
            DisputeState::Other(name) => name,
        }
    }

    /// Legal transitions within one second, the precision of Stripe's times: to every state further on. An inquiry may
    /// become a dispute, and a decision comes last. In a later second, Stripe may report any state: it reopens disputes.
    pub fn may_become(&self, next: &DisputeState) -> bool {
        // A rank, so that the order in which two reports arrive makes no difference.
        let rank = |state: &DisputeState| match state {
            DisputeState::Other(_) => 0,
            DisputeState::WarningNeedsResponse => 1,
            DisputeState::WarningUnderReview => 2,
            DisputeState::NeedsResponse => 3,
            DisputeState::UnderReview => 4,
            DisputeState::WarningClosed => 5,
            DisputeState::Prevented | DisputeState::Won | DisputeState::Lost => 6,
        };
        rank(self) < rank(next)
    }

    /// Returns true when a report of this state at `at` is later than the known one.
    pub fn is_newer(
        &self,
        at: DateTime<Utc>,
        known: &DisputeState,
        known_at: DateTime<Utc>,
    ) -> bool {
        at > known_at || (at == known_at && known.may_become(self))
    }

    /// Returns true while the bank has not decided. An unknown state counts as undecided.
    pub fn is_open(&self) -> bool {
        use DisputeState::*;
        !matches!(self, WarningClosed | Won | Lost | Prevented)
    }

    /// Returns true for an inquiry, where no money was withdrawn.
    pub fn is_inquiry(&self) -> bool {
        use DisputeState::*;
        matches!(
            self,
            WarningNeedsResponse | WarningUnderReview | WarningClosed
        )
    }

    /// The state for the admin pages.
    pub fn in_words(&self) -> &'static str {
        match self {
            DisputeState::WarningNeedsResponse => "inquiry: answer it",
            DisputeState::WarningUnderReview => "inquiry: answered, the bank is looking at it",
            DisputeState::WarningClosed => "inquiry closed",
            DisputeState::NeedsResponse => "open: answer it",
            DisputeState::UnderReview => "open: answered, the bank decides",
            DisputeState::Won => "won",
            DisputeState::Lost => "lost",
            DisputeState::Prevented => "prevented",
            DisputeState::Other(_) => "open",
        }
    }
}

impl Type<Postgres> for DisputeState {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        <str as Type<Postgres>>::compatible(ty)
    }
}

impl<'r> Decode<'r, Postgres> for DisputeState {
    fn decode(value: PgValueRef<'r>) -> Result<DisputeState, sqlx::error::BoxDynError> {
        <&str as Decode<Postgres>>::decode(value).map(DisputeState::read)
    }
}

/// Location of disputed money that has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum DisputedFunds {
    /// The bank has the money.
    Withdrawn,
    /// The bank returned it.
    Reinstated,
}

impl DisputedFunds {
    pub const ALL: [DisputedFunds; 2] = [DisputedFunds::Withdrawn, DisputedFunds::Reinstated];

    /// Legal transitions within one second. In a later second, the bank may withdraw the money again.
    pub fn may_become(self, next: DisputedFunds) -> bool {
        (self, next) == (DisputedFunds::Withdrawn, DisputedFunds::Reinstated)
    }

    /// The location for the admin pages.
    pub fn in_words(self) -> &'static str {
        match self {
            DisputedFunds::Withdrawn => "the bank has the money",
            DisputedFunds::Reinstated => "the money came back",
        }
    }

    /// Returns true when a report at `at` changes what is known of the money.
    pub fn is_newer(
        self,
        at: DateTime<Utc>,
        known: DisputedFunds,
        known_at: DateTime<Utc>,
    ) -> bool {
        self != known && (at > known_at || (at == known_at && known.may_become(self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    #[test]
    fn a_dispute_moves_along_the_drawn_arrows_only() {
        let mut all = vec![DisputeState::Other("other".to_owned())];
        all.extend(DisputeState::KNOWN);
        let arrows = |from: &DisputeState| {
            let next = all.iter().filter(|next| from.may_become(next));
            let next: Vec<&str> = next.map(DisputeState::as_str).collect();
            format!("{} → {}", from.as_str(), next.join(" "))
        };
        let legal: Vec<String> = all.iter().map(arrows).collect();
        assert_eq!(
            legal,
            [
                "other → warning_needs_response warning_under_review needs_response under_review warning_closed prevented won lost",
                "warning_needs_response → warning_under_review needs_response under_review warning_closed prevented won lost",
                "warning_under_review → needs_response under_review warning_closed prevented won lost",
                "needs_response → under_review warning_closed prevented won lost",
                "under_review → warning_closed prevented won lost",
                "warning_closed → prevented won lost",
                "prevented → ",
                "won → ",
                "lost → ",
            ]
        );
    }

    #[test]
    fn disputed_money_moves_along_the_drawn_arrow_only() {
        let all = DisputedFunds::ALL.into_iter();
        let legal: Vec<String> = all
            .clone()
            .flat_map(|from| all.clone().map(move |to| (from, to)))
            .filter(|(from, to)| from.may_become(*to))
            .map(|(from, to)| format!("{from:?}→{to:?}"))
            .collect();
        assert_eq!(legal.join(" "), "Withdrawn→Reinstated");
        let [withdrawn, reinstated] = DisputedFunds::ALL;
        assert!(withdrawn.is_newer(at(2), reinstated, at(1)));
        assert!(!withdrawn.is_newer(at(1), reinstated, at(1)));
        assert!(!withdrawn.is_newer(at(2), withdrawn, at(1)));
        assert!(reinstated.is_newer(at(1), withdrawn, at(1)));
        assert!(!reinstated.is_newer(at(1), withdrawn, at(2)));
    }

    #[test]
    fn a_later_report_stands_and_of_one_second_the_one_further_on() {
        use DisputeState::*;
        for (state, time, known, known_time, is_newer) in [
            (Lost, 2, NeedsResponse, 1, true),
            (NeedsResponse, 1, Lost, 2, false),
            (NeedsResponse, 1, Lost, 1, false),
            (Lost, 1, NeedsResponse, 1, true),
            (NeedsResponse, 1, WarningUnderReview, 1, true),
            (NeedsResponse, 2, WarningClosed, 1, true),
            (Won, 1, Won, 1, false),
        ] {
            let found = state.is_newer(at(time), &known, at(known_time));
            assert_eq!(
                found, is_newer,
                "{state:?} at {time} after {known:?} at {known_time}"
            );
        }
    }

    #[test]
    fn a_state_is_written_as_stripe_names_it_and_an_unknown_one_is_open() {
        let other = DisputeState::Other("something_new".to_owned());
        assert!(other.is_open());
        for state in DisputeState::KNOWN.into_iter().chain([other]) {
            assert_eq!(DisputeState::read(state.as_str()), state);
            assert_eq!(serde_json::json!(state), state.as_str());
        }
    }
}
