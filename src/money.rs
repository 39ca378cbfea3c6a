//! Amounts of money: whole numbers of a currency's smallest unit, added and multiplied checked.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An amount in the smallest unit of its row's currency: 500 is $5.00.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    sqlx::Type,
    ToSchema,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Cents(pub i64);

impl Cents {
    pub const ZERO: Cents = Cents(0);

    /// The sum, or nothing where it would not fit.
    pub fn plus(self, other: Cents) -> Option<Cents> {
        self.0.checked_add(other.0).map(Cents)
    }

    /// The price of `quantity` pieces, or nothing where it would not fit.
    pub fn times(self, quantity: i32) -> Option<Cents> {
        self.0.checked_mul(i64::from(quantity)).map(Cents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_do_not_fit_are_nothing() {
        assert_eq!(Cents(2).plus(Cents(3)), Some(Cents(5)));
        assert_eq!(Cents(i64::MAX).plus(Cents(1)), None);
        assert_eq!(Cents(4700).times(3), Some(Cents(14_100)));
        assert_eq!(Cents(i64::MAX).times(2), None);
    }
}
