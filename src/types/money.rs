//! Amounts of money: integers in a currency's smallest unit, with checked arithmetic, formatting and parsing.

mod currency;

pub use currency::Currency;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use currency::AmountFormat;

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
    /// No money.
    pub const ZERO: Cents = Cents(0);

    /// The sum, or `None` on overflow.
    pub fn plus(self, other: Cents) -> Option<Cents> {
        self.0.checked_add(other.0).map(Cents)
    }

    /// The price of `quantity` pieces, or `None` on overflow.
    pub fn times(self, quantity: i32) -> Option<Cents> {
        self.0.checked_mul(i64::from(quantity)).map(Cents)
    }

    /// The percentage of an amount that is not negative, rounded to what can be charged in the currency. `None` above 100
    /// percent, or on overflow.
    pub fn percent(self, percent: u8, currency: &str) -> Option<Cents> {
        let step = AmountFormat::of(currency).step;
        let part = self.0.checked_mul(i64::from(percent))?;
        let steps = part.checked_add(50 * step)? / (100 * step);
        (percent <= 100).then_some(Cents(steps * step))
    }

    /// Formats the amount with its currency: `$1,234.50`, `1,234.50 EUR`, `5,300 JPY`. The currency may be in any case.
    pub fn in_currency(self, currency: &str) -> String {
        let code = currency.to_ascii_uppercase();
        let plain = self.magnitude(&AmountFormat::of(&code));
        let (whole, part) = plain.split_once('.').unwrap_or((&plain, ""));
        let mut number = whole.to_owned();
        for at in (1..number.len()).rev() {
            if (number.len() - at) % 4 == 3 {
                number.insert(at, ',');
            }
        }
        if !part.is_empty() {
            number = format!("{number}.{part}");
        }
        let sign = if self.0 < 0 { "-" } else { "" };
        match code.as_str() {
            "USD" => format!("{sign}${number}"),
            _ => format!("{sign}{number} {code}"),
        }
    }

    /// Formats the amount without its currency, for a form field: `1234.50`.
    pub fn plain(self, currency: &str) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        format!("{sign}{}", self.magnitude(&AmountFormat::of(currency)))
    }

    /// Digits of the absolute amount. A fraction is shown even where the currency has none, so that no money is hidden.
    fn magnitude(self, form: &AmountFormat) -> String {
        let amount = self.0.unsigned_abs();
        let unit = 10_u64.pow(form.digits);
        let (whole, part) = (amount / unit, amount % unit);
        let width = match form.shown {
            0 if part == 0 => return whole.to_string(),
            0 => form.digits as usize,
            shown => shown as usize,
        };
        format!("{whole}.{part:0width$}")
    }

    /// Parses a typed amount: `47`, `47.5`, `$1,234.50`. Returns `None` for anything else, or for an amount finer than
    /// the currency allows. Works digit by digit, because an amount must never be a float.
    pub fn parse(text: &str, currency: &str) -> Option<Cents> {
        let form = AmountFormat::of(currency);
        let text = text.trim();
        let text = match currency.eq_ignore_ascii_case("usd") {
            true => text.strip_prefix('$').unwrap_or(text).trim_start(),
            false => text,
        };
        let (whole, part) = match text.split_once('.') {
            Some((whole, part)) if !part.is_empty() && part.len() <= form.shown as usize => {
                (whole, part)
            }
            Some(_) => return None,
            None => (text, ""),
        };
        let whole = match whole.split_once(',') {
            None => whole.to_owned(),
            Some((first, groups)) => {
                let first_is_right = (1..=3).contains(&first.len());
                if !first_is_right || groups.split(',').any(|group| group.len() != 3) {
                    return None;
                }
                whole.replace(',', "")
            }
        };
        let width = form.digits as usize;
        let digits = format!("{whole}{part:0<width$}");
        let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits {
            return None;
        }
        let amount: i64 = digits.parse().ok()?;
        (amount % form.step == 0).then_some(Cents(amount))
    }

    /// Returns true for an amount that can be charged or refunded in a currency.
    pub fn fits(self, currency: &str) -> bool {
        self.0 % AmountFormat::of(currency).step == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_rounded_to_what_can_be_charged() {
        for (amount, percent, currency, part) in [
            (12_700, 10, "usd", Some(1270)),
            (4995, 10, "usd", Some(500)),
            (4994, 10, "usd", Some(499)),
            (4700, 0, "usd", Some(0)),
            (4700, 100, "usd", Some(4700)),
            (4700, 101, "usd", None),
            (5300, 15, "ugx", Some(800)),
            (i64::MAX, 50, "usd", None),
        ] {
            assert_eq!(
                Cents(amount).percent(percent, currency).map(|part| part.0),
                part
            );
        }
    }

    #[test]
    fn sums_that_do_not_fit_are_nothing() {
        assert_eq!(Cents(2).plus(Cents(3)), Some(Cents(5)));
        assert_eq!(Cents(i64::MAX).plus(Cents(1)), None);
        assert_eq!(Cents(4700).times(3), Some(Cents(14_100)));
        assert_eq!(Cents(i64::MAX).times(2), None);
    }

    #[test]
    fn amounts_are_read_as_they_were_typed() {
        for (typed, currency, amount) in [
            ("47", "usd", Some(4_700)),
            (" $47.50 ", "usd", Some(4_750)),
            ("47.5", "usd", Some(4_750)),
            ("0.29", "usd", Some(29)),
            ("1,234.50", "usd", Some(123_450)),
            ("1234567.89", "usd", Some(123_456_789)),
            ("5300", "jpy", Some(5_300)),
            ("5300.0", "jpy", None),
            ("1.230", "kwd", Some(1_230)),
            ("1.23", "KWD", Some(1_230)),
            // Finer than Stripe charges.
            ("1.234", "kwd", None),
            ("5", "ugx", Some(500)),
            ("1,500", "isk", Some(150_000)),
            ("5.00", "ugx", None),
            ("$5", "eur", None),
            ("47.505", "usd", None),
            ("47,50", "usd", None),
            ("1,23", "usd", None),
            ("12,3456", "usd", None),
            ("47.", "usd", None),
            (".50", "usd", None),
            ("-1", "usd", None),
            ("+1", "usd", None),
            ("1e3", "usd", None),
            ("4 7", "usd", None),
            ("٤٧", "usd", None),
            ("", "usd", None),
            ("99999999999999999999", "usd", None),
        ] {
            assert_eq!(Cents::parse(typed, currency), amount.map(Cents), "{typed}");
        }
        assert_eq!(Cents(4_705).plain("usd"), "47.05");
        assert_eq!(Cents(5_300).plain("jpy"), "5300");
        assert_eq!(Cents(530_000).plain("ugx"), "5300");
    }

    #[test]
    fn amounts_read_as_people_write_them() {
        for (amount, currency, written) in [
            (0, "usd", "$0.00"),
            (5, "usd", "$0.05"),
            (5_305, "usd", "$53.05"),
            (99_999, "USD", "$999.99"),
            (123_450, "usd", "$1,234.50"),
            (123_456_789_012, "usd", "$1,234,567,890.12"),
            (-500, "usd", "-$5.00"),
            (123_450, "eur", "1,234.50 EUR"),
            (5_300, "jpy", "5,300 JPY"),
            (530, "krw", "530 KRW"),
            (1_234_567, "kwd", "1,234.567 KWD"),
            (530_000, "ugx", "5,300 UGX"),
            (500, "isk", "5 ISK"),
            (550, "isk", "5.50 ISK"),
            (-530, "jpy", "-530 JPY"),
            (i64::MIN, "usd", "-$92,233,720,368,547,758.08"),
        ] {
            assert_eq!(Cents(amount).in_currency(currency), written);
        }
    }
}
