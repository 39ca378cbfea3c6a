//! The catalog: read by shoppers, written by programs, carried as a file, followed by Stripe.

mod drafts;
mod file;
pub mod intakes;
mod memory;
mod reads;
mod search;
mod snapshots;
mod stripe_account;
mod stripe_sync;
mod writes;
