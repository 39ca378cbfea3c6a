//! Currencies that Stripe charges, with their units and limits.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::Cents;

/// Largest charge that Stripe accepts, in the smallest unit: eight digits.
const MOST: i64 = 99_999_999;

/// Smallest charge for currencies without a documented minimum, in the smallest unit. The real minimum depends on the
/// account's payout currency.
const USUAL_LEAST: i64 = 50;

/// A currency that Stripe charges.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency {
    code: &'static str,
}

/// Units and decimals of a currency.
///
/// Source: <https://docs.stripe.com/currencies>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AmountFormat {
    /// Decimals of the amounts that Stripe accepts: with two of them, 500 is 5.00.
    pub digits: u32,
    /// Decimals that people write.
    pub shown: u32,
    /// Every amount is a multiple of this.
    pub step: i64,
}

impl AmountFormat {
    /// The form of a currency by its code, in any case. Codes that Stripe does not charge get two decimals.
    pub fn of(code: &str) -> AmountFormat {
        let (digits, shown, step) = match code.to_ascii_uppercase().as_str() {
            "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF"
            | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => (0, 0, 1),
            // No fractions, but Stripe requires two decimals: 5 UGX is 500.
            "ISK" | "UGX" => (2, 0, 100),
            // Stripe's partners require the last digit to be 0.
            "BHD" | "JOD" | "KWD" | "OMR" | "TND" => (3, 3, 10),
            _ => (2, 2, 1),
        };
        AmountFormat {
            digits,
            shown,
            step,
        }
    }
}

impl Currency {
    /// The US dollar.
    pub const USD: Currency = Currency { code: "usd" };

    /// Three lower-case letters (ISO 4217), as in Stripe and the database.
    pub fn code(self) -> &'static str {
        self.code
    }

    /// The range of charges, in the smallest unit.
    ///
    /// Source: <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>
    pub fn charges(self) -> RangeInclusive<i64> {
        let least = match self.code {
            "aed" | "myr" | "pln" | "ron" => 200,
            "bgn" => 100,
            "czk" => 1_500,
            "dkk" => 250,
            "gbp" => 30,
            "hkd" => 400,
            "huf" => 17_500,
            "mxn" | "thb" => 1_000,
            "nok" | "sek" => 300,
            _ => USUAL_LEAST,
        };
        let step = self.step();
        (least + step - 1) / step * step..=MOST / step * step
    }

    /// Name of the currency in a sentence: `dollars`, `EUR`.
    pub fn in_words(self) -> String {
        match self {
            Currency::USD => "dollars".to_owned(),
            other => other.to_string(),
        }
    }

    /// Every amount is a multiple of this, in the smallest unit.
    pub fn step(self) -> i64 {
        AmountFormat::of(self.code).step
    }

    /// Returns the problem with a charge of this amount, as the end of a sentence about its field.
    pub fn check_charge(self, amount: Cents) -> Result<(), String> {
        self.check(amount, self.charges())
    }

    /// Like [`check_charge`](Self::check_charge), but allows zero: for the price of shipping, or of a piece given away.
    pub fn check_part(self, amount: Cents) -> Result<(), String> {
        self.check(amount, 0..=*self.charges().end())
    }

    fn check(self, amount: Cents, range: RangeInclusive<i64>) -> Result<(), String> {
        if !range.contains(&amount.0) {
            let (least, most) = (range.start(), range.end());
            return Err(format!("must be from {least} to {most}"));
        }
        self.check_step(amount)
    }

    /// Returns the problem with an amount that the currency cannot represent.
    pub fn check_step(self, amount: Cents) -> Result<(), String> {
        match self.step() {
            step if amount.0 % step != 0 => Err(format!("must be a multiple of {step}")),
            _ => Ok(()),
        }
    }

    /// A sample amount for input hints: `47.50`, `4750`, `4.750`.
    pub fn example(self) -> String {
        Cents(if self.step() == 100 { 475_000 } else { 4_750 }).plain(self.code)
    }

    /// The range of charges in people's notation: `$0.50 to $999,999.99`.
    pub fn charges_in_words(self) -> String {
        let charges = self.charges();
        let [least, most] =
            [*charges.start(), *charges.end()].map(|end| Cents(end).in_currency(self.code));
        format!("{least} to {most}")
    }
}

/// Reads a code in any case.
impl FromStr for Currency {
    type Err = ();

    fn from_str(text: &str) -> Result<Currency, ()> {
        let code = text.to_ascii_lowercase();
        CODES
            .iter()
            .find(|known| **known == code)
            .map(|code| Currency { code })
            .ok_or(())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code.to_ascii_uppercase())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

/// Currencies that Stripe charges.
///
/// Source: <https://docs.stripe.com/currencies#presentment-currencies>
#[rustfmt::skip]
const CODES: [&str; 141] = [
    "aed", "afn", "all", "amd", "ang", "aoa", "ars", "aud", "awg", "azn", "bam", "bbd", "bdt", "bgn", "bhd", "bif",
    "bmd", "bnd", "bob", "brl", "bsd", "bwp", "byn", "bzd", "cad", "cdf", "chf", "clp", "cny", "cop", "crc", "cve",
    "czk", "djf", "dkk", "dop", "dzd", "egp", "etb", "eur", "fjd", "fkp", "gbp", "gel", "gip", "gmd", "gnf", "gtq",
    "gyd", "hkd", "hnl", "htg", "huf", "idr", "ils", "inr", "isk", "jmd", "jod", "jpy", "kes", "kgs", "khr", "kmf",
    "krw", "kwd", "kyd", "kzt", "lak", "lbp", "lkr", "lrd", "lsl", "mad", "mdl", "mga", "mkd", "mmk", "mnt", "mop",
    "mur", "mvr", "mwk", "mxn", "myr", "mzn", "nad", "ngn", "nio", "nok", "npr", "nzd", "omr", "pab", "pen", "pgk",
    "php", "pkr", "pln", "pyg", "qar", "ron", "rsd", "rub", "rwf", "sar", "sbd", "scr", "sek", "sgd", "shp", "sle",
    "sll", "sos", "srd", "std", "svc", "szl", "thb", "tjs", "tnd", "top", "try", "ttd", "twd", "tzs", "uah", "ugx",
    "usd", "uyu", "uzs", "vnd", "vuv", "wst", "xaf", "xcd", "xof", "xpf", "yer", "zar", "zmw",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().expect("a currency")
    }

    #[test]
    fn a_code_is_read_in_any_case_and_others_are_not() {
        assert_eq!(currency("EUR").code(), "eur");
        assert_eq!(currency("usd"), Currency::USD);
        for bad in ["", "us", "usdd", "xyz", "€", "btc"] {
            assert_eq!(bad.parse::<Currency>(), Err(()), "{bad}");
        }
        let mut codes = CODES.to_vec();
        codes.dedup();
        assert!(codes.is_sorted() && codes.len() == CODES.len());
    }

    #[test]
    fn what_can_be_charged_depends_on_the_currency() {
        for (code, good, bad) in [
            (
                "usd",
                &[50, 4_701, 99_999_999][..],
                &[49, 0, -50, 100_000_000][..],
            ),
            ("jpy", &[50, 4_701], &[49]),
            ("czk", &[1_500], &[1_499]),
            ("kwd", &[50, 4_700, 99_999_990], &[4_701, 40, 99_999_999]),
            ("ugx", &[100, 470_000, 99_999_900], &[50, 470_050]),
            ("isk", &[100, 470_000], &[470_001]),
        ] {
            for amount in good {
                assert_eq!(
                    currency(code).check_charge(Cents(*amount)),
                    Ok(()),
                    "{code} {amount}"
                );
            }
            for amount in bad {
                assert!(
                    currency(code).check_charge(Cents(*amount)).is_err(),
                    "{code} {amount}"
                );
            }
        }
        assert_eq!(currency("jpy").check_part(Cents(0)), Ok(()));
        assert!(currency("kwd").check_part(Cents(5)).is_err());
    }

    #[test]
    fn an_example_can_be_typed() {
        for (code, example) in [
            ("usd", "47.50"),
            ("jpy", "4750"),
            ("kwd", "4.750"),
            ("ugx", "4750"),
        ] {
            let currency = currency(code);
            assert_eq!(currency.example(), example);
            let amount = Cents::parse(example, code).expect("an amount");
            assert_eq!(currency.check_charge(amount), Ok(()));
        }
        assert_eq!(Currency::USD.charges_in_words(), "$0.50 to $999,999.99");
    }
}
