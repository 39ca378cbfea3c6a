//! Money coming in: checkout sessions, Stripe's events, refunds, and the clock's work that settles what hangs.
//!
//! Locks are taken in one sequence everywhere: event, payment, request, order, products in id order.
mod checkout;
mod events;
mod facts;
mod letters;
mod lost;
mod reconcile;
mod refunds;
mod routes;
mod store;
mod sync;

pub use checkout::{Cancelled, release_hold, settle_unheard};
pub use events::{process_stored, run_again};
pub use facts::{PaymentFacts, RefundFacts, of_order};
pub use reconcile::{Reconciled, Swept, reconcile, sweep};
pub use refunds::{NewRefund, refund, refundable, send_refund};
pub use routes::{own_hold, router};
pub use store::{EventRow, count_events, count_failed_events, find_event, list_events};
pub use sync::sync_product;

use std::time::Duration;

/// How long a shopper may take to pay. Stripe asks for at least 30 minutes from when it gets the request; the minute
/// more is for clocks that differ and calls that are repeated.
const SESSION_LIFETIME: Duration = Duration::from_secs(31 * 60);

/// How long the hold outlives the session: a session that can still be paid always has its stock.
const HOLD_MARGIN: Duration = Duration::from_secs(10 * 60);

/// How long a checkout may be in the asking before the sweeper asks in its place: far beyond any call's time-out.
const ASKING_LIMIT: Duration = Duration::from_secs(120);
