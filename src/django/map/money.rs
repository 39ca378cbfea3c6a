//! Shipping and totals. The old shop kept what Stripe took, and nowhere how much of it was shipping.

use crate::orders::Zone;

/// The old shop's shipping rates, in cents.
fn old_rate(zone: Zone) -> i64 {
    match zone {
        Zone::Us => 500,
        Zone::NorthAmerica => 1500,
        Zone::International => 2000,
    }
}

/// The zone of a rate of the old shop.
fn zone_of_rate(rate: i64) -> Option<Zone> {
    Zone::ALL.into_iter().find(|zone| old_rate(*zone) == rate)
}

/// How a total splits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    pub shipping: i64,
    /// Price of what is in none of the lines.
    pub rest: i64,
    /// The zone whose rate was paid, where the total tells.
    pub paid_zone: Option<Zone>,
    /// The lines do not explain the total.
    pub is_odd: bool,
}

/// Facts about an order's money.
#[derive(Clone, Copy)]
pub(super) struct Money {
    pub total: i64,
    /// Sum of the lines; none without lines.
    pub lines: Option<i64>,
    pub is_settled: bool,
    pub zone: Option<Zone>,
}

impl Money {
    /// Splits the total. What was taken is the truth.
    pub fn split(self) -> Split {
        let difference = self.total - self.lines.unwrap_or(0);
        if !self.is_settled {
            return Split {
                shipping: difference.max(0),
                ..Split::default()
            };
        }
        let paid_zone = zone_of_rate(difference);
        if self.lines.is_some() && (difference == 0 || paid_zone.is_some()) {
            return Split {
                shipping: difference,
                paid_zone,
                ..Split::default()
            };
        }
        let rate = self.zone.map_or(0, old_rate);
        let covering = if difference > 0 {
            difference
        } else {
            self.total
        };
        let shipping = if rate <= covering { rate } else { 0 };
        Split {
            shipping,
            rest: (difference - shipping).max(0),
            paid_zone: None,
            is_odd: difference != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(total: i64, lines: Option<i64>, zone: Option<Zone>) -> (i64, i64, bool) {
        let money = Money {
            total,
            lines,
            is_settled: true,
            zone,
        };
        let split = money.split();
        (split.shipping, split.rest, split.is_odd)
    }

    #[test]
    fn shipping_is_what_the_lines_leave_if_it_was_a_rate() {
        for rate in [0, 500, 1500, 2000] {
            let zone = Some(Zone::International);
            assert_eq!(split(4500 + rate, Some(4500), zone), (rate, 0, false));
        }
    }

    #[test]
    fn money_that_no_line_explains_becomes_a_line() {
        let (us, canada) = (Some(Zone::Us), Some(Zone::NorthAmerica));
        assert_eq!(split(5000, None, us), (500, 4500, true));
        assert_eq!(split(500, None, us), (500, 0, true));
        assert_eq!(split(9000, Some(4500), canada), (1500, 3000, true));
        assert_eq!(split(4800, Some(4500), us), (0, 300, true));
        assert_eq!(split(4900, None, None), (0, 4900, true));
        assert_eq!(split(0, None, us), (0, 0, false));
    }

    #[test]
    fn less_money_than_the_lines_keeps_the_lines() {
        let us = Some(Zone::Us);
        assert_eq!(split(4000, Some(4500), us), (500, 0, true));
        assert_eq!(split(400, Some(4500), us), (0, 0, true));
    }

    #[test]
    fn an_unpaid_cart_has_no_odd_money() {
        let money = |total, lines| Money {
            total,
            lines,
            is_settled: false,
            zone: None,
        };
        assert_eq!(money(4500, Some(4500)).split().shipping, 0);
        assert_eq!(money(4500, None).split().shipping, 4500);
        assert_eq!(money(4000, Some(4500)).split(), Split::default());
    }
}
