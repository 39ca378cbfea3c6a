//! States of checkouts, events, payments and refunds, and their legal transitions (docs/guarantees.md).

use serde::Serialize;
use utoipa::ToSchema;

use crate::stripe::RefundStatus;

/// State of an order's checkout at Stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum CheckoutState {
    /// Stripe is asked for a session; no answer yet.
    Asking,
    Open,
    /// The answer was lost and the order is released; a session may exist.
    Unknown,
    /// Stripe refused the request.
    Refused,
    /// The session is complete, and its delayed payment is on its way.
    Processing,
    /// The session was paid, or its delayed payment failed.
    Complete,
    /// The session can no longer be paid.
    Expired,
}

impl CheckoutState {
    /// All states, in the order of a checkout.
    pub const ALL: [CheckoutState; 7] = [
        CheckoutState::Asking,
        CheckoutState::Open,
        CheckoutState::Unknown,
        CheckoutState::Refused,
        CheckoutState::Processing,
        CheckoutState::Complete,
        CheckoutState::Expired,
    ];

    /// Legal transitions. Whatever ended a checkout, money may still arrive for it. An answer that comes after the shop
    /// gave up makes it unknown, until its session is found and ended.
    pub fn may_become(self, next: CheckoutState) -> bool {
        use CheckoutState::*;
        matches!(
            (self, next),
            (
                Asking,
                Open | Unknown | Refused | Processing | Complete | Expired
            ) | (Open, Unknown | Refused | Processing | Complete | Expired)
                | (Unknown, Refused | Complete | Expired)
                | (Refused, Unknown | Complete | Expired)
                | (Processing, Complete | Expired)
                | (Expired, Unknown | Complete)
        )
    }

    /// Name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckoutState::Asking => "asking",
            CheckoutState::Open => "open",
            CheckoutState::Unknown => "unknown",
            CheckoutState::Refused => "refused",
            CheckoutState::Processing => "processing",
            CheckoutState::Complete => "complete",
            CheckoutState::Expired => "expired",
        }
    }

    /// Returns true while nobody knows whether a session exists.
    pub fn is_unheard(self) -> bool {
        matches!(self, CheckoutState::Asking | CheckoutState::Unknown)
    }
}

/// Status of a stored event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum EventStatus {
    /// Stored, and not processed yet.
    Received,
    Processed,
    /// Not relevant: another type, or another shop's session.
    Ignored,
    /// Processing failed; it is retried.
    Failed,
    /// Of Stripe's other mode (test or live) than the key's: stored without effect.
    WrongMode,
}

impl EventStatus {
    /// All statuses, the most urgent first.
    pub const ALL: [EventStatus; 5] = [
        EventStatus::Failed,
        EventStatus::Received,
        EventStatus::Processed,
        EventStatus::Ignored,
        EventStatus::WrongMode,
    ];

    /// Legal transitions (P3). Each further attempt may fail again, or find the key of the wrong mode still. An event that was
    /// ignored begins anew when the row that it names is copied from another shop.
    pub fn may_become(self, next: EventStatus) -> bool {
        use EventStatus::*;
        matches!(
            (self, next),
            (
                Received | Failed | WrongMode,
                Processed | Ignored | Failed | WrongMode
            ) | (Ignored, Received)
        )
    }

    /// Name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            EventStatus::Received => "received",
            EventStatus::Processed => "processed",
            EventStatus::Ignored => "ignored",
            EventStatus::Failed => "failed",
            EventStatus::WrongMode => "wrong_mode",
        }
    }

    /// Status of a name; `None` for any other text.
    pub fn parse(text: &str) -> Option<EventStatus> {
        let mut all = EventStatus::ALL.into_iter();
        all.find(|status| status.as_str() == text)
    }

    /// Returns true when the event has taken effect, or has none.
    pub fn is_over(self) -> bool {
        matches!(self, EventStatus::Processed | EventStatus::Ignored)
    }
}

/// Outcome of a payment, which is final. A payment of which only refunds or disputes are known has none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum PaymentOutcome {
    /// It paid its order.
    Settled,
    /// It could not pay for anything, and is refunded.
    Refused,
}

/// State of a refund: the shop's own, or Stripe's report of one, which is never planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum RefundState {
    /// Decided. Requested from Stripe until accepted.
    Planned,
    /// Accepted by Stripe, in progress at the bank.
    Pending,
    Succeeded,
    /// Rejected by Stripe, or returned by the bank.
    Failed,
}

impl RefundState {
    /// All states.
    pub const ALL: [RefundState; 4] = [
        RefundState::Planned,
        RefundState::Pending,
        RefundState::Succeeded,
        RefundState::Failed,
    ];

    /// Legal transitions. The bank may return the money of a successful refund weeks later.
    pub fn may_become(self, next: RefundState) -> bool {
        use RefundState::*;
        matches!(
            (self, next),
            (Planned, Pending | Succeeded | Failed)
                | (Pending, Succeeded | Failed)
                | (Succeeded, Failed)
        )
    }

    /// Name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            RefundState::Planned => "planned",
            RefundState::Pending => "pending",
            RefundState::Succeeded => "succeeded",
            RefundState::Failed => "failed",
        }
    }

    /// The state after a report of `next`: reports come in any order, so one of an earlier state changes nothing.
    pub fn after(self, next: RefundState) -> RefundState {
        match self.may_become(next) {
            true => next,
            false => self,
        }
    }
}

impl From<RefundStatus> for RefundState {
    fn from(status: RefundStatus) -> RefundState {
        match status {
            RefundStatus::Pending => RefundState::Pending,
            RefundStatus::Succeeded => RefundState::Succeeded,
            RefundStatus::Failed => RefundState::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arrows as text: `planned→pending …`.
    fn arrows<T: Copy>(
        all: &[T],
        may_become: fn(T, T) -> bool,
        name: fn(T) -> &'static str,
    ) -> String {
        let pairs = all
            .iter()
            .flat_map(|from| all.iter().map(move |to| (*from, *to)));
        let legal: Vec<String> = pairs
            .filter(|(from, to)| may_become(*from, *to))
            .map(|(from, to)| format!("{}→{}", name(from), name(to)))
            .collect();
        legal.join(" ")
    }

    #[test]
    fn a_checkout_moves_along_the_drawn_arrows_only() {
        let legal = arrows(
            &CheckoutState::ALL,
            CheckoutState::may_become,
            CheckoutState::as_str,
        );
        assert_eq!(
            legal,
            "asking→open asking→unknown asking→refused asking→processing asking→complete asking→expired \
             open→unknown open→refused open→processing open→complete open→expired \
             unknown→refused unknown→complete unknown→expired \
             refused→unknown refused→complete refused→expired \
             processing→complete processing→expired \
             expired→unknown expired→complete"
        );
    }

    #[test]
    fn an_event_moves_along_the_drawn_arrows_only() {
        let legal = arrows(
            &EventStatus::ALL,
            EventStatus::may_become,
            EventStatus::as_str,
        );
        assert_eq!(
            legal,
            "failed→failed failed→processed failed→ignored failed→wrong_mode \
             received→failed received→processed received→ignored received→wrong_mode \
             ignored→received \
             wrong_mode→failed wrong_mode→processed wrong_mode→ignored wrong_mode→wrong_mode"
        );
        for status in EventStatus::ALL {
            assert_eq!(EventStatus::parse(status.as_str()), Some(status));
            let moves = EventStatus::ALL
                .into_iter()
                .any(|next| next != EventStatus::Received && status.may_become(next));
            assert_eq!(status.is_over(), !moves, "{status:?}");
        }
    }

    #[test]
    fn a_refund_moves_along_the_drawn_arrows_only() {
        let legal = arrows(
            &RefundState::ALL,
            RefundState::may_become,
            RefundState::as_str,
        );
        assert_eq!(
            legal,
            "planned→pending planned→succeeded planned→failed pending→succeeded pending→failed succeeded→failed"
        );
    }
}
