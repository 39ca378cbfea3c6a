//! Payments and refunds: events, settlement, disputes, reconciliation, and Stripe misbehaving.

mod delayed;
mod disputes;
mod events;
mod faults;
mod reconcile;
mod refund_reversals;
mod refunds;
mod settlement;
pub mod stripe_requests;
mod takeover;
mod webhook;
