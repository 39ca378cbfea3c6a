//! Amounts of money as people read and type them.

/// Writes an amount with its currency: `$1,234.50`, `1,234.50 EUR`, `5,300 JPY`. The code may be in any case.
pub fn format(amount: i64, currency: &str) -> String {
    let code = currency.to_ascii_uppercase();
    let decimals = Decimals::of(&code);
    let magnitude = amount.unsigned_abs();
    let unit = 10_u64.pow(decimals.counted);
    let (whole, part) = (magnitude / unit, magnitude % unit);
    let mut number = whole.to_string();
    for at in (1..number.len()).rev() {
        if (number.len() - at) % 4 == 3 {
            number.insert(at, ',');
        }
    }
    // A currency without fractions may still have one here by mistake. Hiding it would hide money.
    if decimals.shown > 0 || part > 0 {
        let width = decimals.counted as usize;
        number = format!("{number}.{part:0width$}");
    }
    let sign = if amount < 0 { "-" } else { "" };
    match code.as_str() {
        "USD" => format!("{sign}${number}"),
        _ => format!("{sign}{number} {code}"),
    }
}

/// Reads an amount that somebody typed: `10`, `10.5`, `$10.50`. None for anything else, or for more decimals than the
/// currency has.
pub fn parse(typed: &str, currency: &str) -> Option<i64> {
    let decimals = Decimals::of(&currency.to_ascii_uppercase());
    let typed = typed.trim().trim_start_matches('$');
    let (whole, part) = typed.split_once('.').unwrap_or((typed, ""));
    let width = decimals.counted as usize;
    let digits = format!("{whole}{part:0<width$}");
    // Digit by digit, for `parse` alone would take a sign, and a float would round.
    let is_amount = !whole.is_empty()
        && part.len() <= decimals.shown as usize
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_amount.then(|| digits.parse().ok()).flatten()
}

/// Digits after the decimal point.
struct Decimals {
    /// In the API's amounts: 500 is 5.00 with two of them.
    counted: u32,
    /// In print.
    shown: u32,
}

impl Decimals {
    /// Source: <https://docs.stripe.com/currencies#zero-decimal>
    fn of(code: &str) -> Decimals {
        let (counted, shown) = match code {
            "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF"
            | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => (0, 0),
            // These have no fractions, but Stripe counts them in hundredths all the same: 5 UGX is 500.
            "ISK" | "UGX" => (2, 0),
            "BHD" | "JOD" | "KWD" | "OMR" | "TND" => (3, 3),
            _ => (2, 2),
        };
        Decimals { counted, shown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_with_their_currency() {
        for (amount, currency, written) in [
            (0, "usd", "$0.00"),
            (5, "usd", "$0.05"),
            (99_999, "USD", "$999.99"),
            (123_456_789_012, "usd", "$1,234,567,890.12"),
            (-500, "usd", "-$5.00"),
            (123_450, "eur", "1,234.50 EUR"),
            (5_300, "jpy", "5,300 JPY"),
            (1_234_567, "kwd", "1,234.567 KWD"),
            (530_000, "ugx", "5,300 UGX"),
            (550, "isk", "5.50 ISK"),
            (i64::MIN, "usd", "-$92,233,720,368,547,758.08"),
        ] {
            assert_eq!(format(amount, currency), written);
        }
    }

    #[test]
    fn a_typed_amount_is_exact_or_nothing() {
        for (typed, currency, amount) in [
            ("10", "usd", 1_000),
            ("10.5", "usd", 1_050),
            (" $10.05 ", "usd", 1_005),
            ("0.5", "usd", 50),
            ("5300", "jpy", 5_300),
            ("5", "ugx", 500),
            ("1.23", "kwd", 1_230),
        ] {
            assert_eq!(parse(typed, currency), Some(amount), "{typed} {currency}");
        }
        for typed in [
            "",
            "x",
            ".5",
            "-1",
            "1.234",
            "1,5",
            "+1",
            "1.-2",
            "99999999999999999999",
        ] {
            assert_eq!(parse(typed, "usd"), None, "{typed}");
        }
        assert_eq!(parse("5.5", "jpy"), None);
    }
}
