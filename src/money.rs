//! Amounts of money: whole numbers of a currency's smallest unit, added and multiplied checked, and how people write
//! them.

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

    /// The amount as people write it: `$1,234.50`, `1,234.50 EUR`, `5,300 JPY`. The currency may be in any case.
    pub fn in_currency(self, currency: &str) -> String {
        let code = currency.to_ascii_uppercase();
        let decimals = decimals(&code);
        let unit = 10_u64.pow(decimals);
        let amount = self.0.unsigned_abs();
        let mut number = (amount / unit).to_string();
        for at in (1..number.len()).rev() {
            if (number.len() - at) % 4 == 3 {
                number.insert(at, ',');
            }
        }
        if decimals > 0 {
            let width = decimals as usize;
            number += &format!(".{:0width$}", amount % unit);
        }
        let sign = if self.0 < 0 { "-" } else { "" };
        match code.as_str() {
            "USD" => format!("{sign}${number}"),
            _ => format!("{sign}{number} {code}"),
        }
    }

    /// The amount without its currency, for a field of a form: `1234.50`.
    pub fn plain(self, currency: &str) -> String {
        let decimals = decimals(&currency.to_ascii_uppercase());
        let unit = 10_u64.pow(decimals);
        let amount = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        match decimals as usize {
            0 => format!("{sign}{amount}"),
            width => format!("{sign}{}.{:0width$}", amount / unit, amount % unit),
        }
    }

    /// The amount that somebody typed: `47`, `47.5`, `$1,234.50`. Nothing for what is none, or is finer than the
    /// currency's smallest unit. Digit by digit: no amount is ever a float.
    pub fn parse(text: &str, currency: &str) -> Option<Cents> {
        let decimals = decimals(&currency.to_ascii_uppercase()) as usize;
        let text = text.trim();
        let text = text.strip_prefix('$').unwrap_or(text).trim_start();
        let (whole, part) = match text.split_once('.') {
            Some((whole, part)) if !part.is_empty() && part.len() <= decimals => (whole, part),
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
        let digits = format!("{whole}{part:0<decimals$}");
        let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits {
            return None;
        }
        digits.parse().ok().map(Cents)
    }
}

/// How many decimals a currency's amounts have at Stripe.
///
/// Source: <https://docs.stripe.com/currencies#zero-decimal>, and "three-decimal currencies" below it
fn decimals(code: &str) -> u32 {
    match code {
        "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF" | "UGX"
        | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => 3,
        _ => 2,
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
            ("1.234", "kwd", Some(1_234)),
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
            (i64::MIN, "usd", "-$92,233,720,368,547,758.08"),
        ] {
            assert_eq!(Cents(amount).in_currency(currency), written);
        }
    }
}
