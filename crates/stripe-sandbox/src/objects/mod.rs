//! Stripe's objects and the rules by which they change.
//!
//! Each function serves one operation of the API or one action outside of it, inside the caller's transaction. Locks are
//! taken in one order, or two changes could wait for each other: product, price; and session, payment link, payment
//! intent, charge, then refund, dispute or review.

pub mod accounts;
pub mod catalog;
pub mod checkout;
pub mod disputes;
mod line_items;
pub mod payment_links;
pub mod payments;
pub mod refunds;
pub mod reviews;
mod shipping;
