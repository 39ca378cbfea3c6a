//! Payments: checkout sessions, Stripe's events, refunds, and scheduled work that settles unfinished payments.
//!
//! Lock order: event, payment, custom order, order, products in id order.
mod admin_views;
mod checkout;
mod checkout_end;
mod copied;
mod countries;
mod delayed;
mod disputes;
mod effect;
mod emails;
mod events;
mod navigation;
mod reconcile;
mod recovery;
mod redaction;
mod refund_routes;
mod refunds;
mod routes;
mod sessions;
mod states;
mod store;
mod takeover;

pub use admin_views::{PaymentView, RefundView, of_subject};
pub use checkout_end::{Cancelled, release_hold, settle_unheard};
pub use copied::{AskedSessions, ask_copied_sessions, read_copied_refunds};
pub use countries::country_warning;
pub use events::{process_stored, run_again};
pub use reconcile::{CheckoutSweep, Reconciled, reconcile, sweep};
pub use redaction::{erase_customer, redact_events};
pub use refunds::{
    NewRefund, RefundSubject, RefundSum, find_subject, read_refunds, refund, refundable,
    refunded_lately, retry as retry_refund, send_refund,
};
pub use routes::{CHECKOUT_COOKIE, own_hold, router};
pub use states::{EventStatus, PaymentOutcome, RefundState};
pub use store::{
    EventRow, count_events, count_failed_events, count_wrong_mode_events, find_event, list_events,
};
pub use takeover::{Takeover, begin_takeover, finish_takeover};

use std::time::Duration;

/// Minimum lifetime of a session at Stripe, from the receipt of the request by Stripe's clock.
///
/// Source: <https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-expires_at>
const LEAST_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Tolerated difference between our clock and Stripe's, including the duration of a call with its retries. If our clock
/// were further behind, every checkout would be refused.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// Time for a shopper to pay.
const SESSION_LIFETIME: Duration = LEAST_LIFETIME.saturating_add(CLOCK_SKEW);

/// Time by which a hold outlives its session: more than [`CLOCK_SKEW`], so that a session that is payable by Stripe's
/// clock always has its stock.
const HOLD_MARGIN: Duration = Duration::from_secs(10 * 60);

/// Time after which the sweeper takes over a checkout without an answer: far beyond any call's time-out.
const ASKING_LIMIT: Duration = Duration::from_secs(120);

const _: () = assert!(
    HOLD_MARGIN.as_secs() > CLOCK_SKEW.as_secs(),
    "a session outlives its hold where Stripe's clock is behind ours"
);
