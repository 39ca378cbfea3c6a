//! Money coming in: checkout sessions, Stripe's events, refunds, and the clock's work that settles what hangs.
//!
//! Locks are taken in one sequence everywhere: event, payment, request, order, products in id order.
mod admin_views;
mod checkout;
mod delayed;
mod disputes;
mod emails;
mod events;
mod lost;
mod navigation;
mod reconcile;
mod redaction;
mod refunds;
mod routes;
mod store;
mod sync;

pub use admin_views::{PaymentView, RefundView, of_subject};
pub use checkout::{Cancelled, release_hold, settle_unheard};
pub use events::{process_stored, run_again};
pub use reconcile::{Reconciled, Swept, reconcile, sweep};
pub use redaction::redact_events;
pub use refunds::{
    NewRefund, RefundSubject, State as RefundState, find_subject, read_refunds, refund,
    refund_request, refundable, send_refund, try_again as retry_refund,
};
pub use routes::{own_hold, router};
pub use store::{
    EventRow, count_events, count_failed_events, count_wrong_mode_events, find_event, list_events,
};
pub use sync::sync_product;

use std::time::Duration;

/// The least time that Stripe lets a session live, counted from when it gets the request, by its clock.
/// Source: <https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-expires_at>
const LEAST_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// The most that our clock and Stripe's may differ, together with the time that a call takes with its repeats: were ours
/// behind by more, every checkout would be refused.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// The time that a shopper has to pay.
const SESSION_LIFETIME: Duration = LEAST_LIFETIME.saturating_add(CLOCK_SKEW);

/// The time by which a hold outlives its session: more than [`CLOCK_SKEW`], so that a session that can still be paid by
/// Stripe's clock always has its stock.
const HOLD_MARGIN: Duration = Duration::from_secs(10 * 60);

/// How long a checkout may be in the asking before the sweeper asks in its place: far beyond any call's time-out.
const ASKING_LIMIT: Duration = Duration::from_secs(120);

const _: () = assert!(
    HOLD_MARGIN.as_secs() > CLOCK_SKEW.as_secs(),
    "a session outlives its hold where Stripe's clock is behind ours"
);
