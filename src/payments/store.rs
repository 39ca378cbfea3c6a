//! SQL of checkouts, events and payments. Refunds have their own.

mod checkouts;
mod events;
mod payments;

pub use checkouts::*;
pub use events::*;
pub use payments::*;
