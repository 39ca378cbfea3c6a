//! Value types: ids, money, postal addresses, calendar days, normalized text.

pub mod address;
pub mod calendar;
pub mod ids;
pub mod money;
pub mod unicode;
