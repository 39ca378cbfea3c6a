//! Values of a row of the old shop, whatever type a database or a tool that copied it gave them.

use std::fmt::Display;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::source::Row;

/// A row with its name, for errors.
pub struct RowReader<'a> {
    table: &'static str,
    row: &'a Row,
}

impl<'a> RowReader<'a> {
    /// Creates a reader of a row of this table.
    pub fn new(table: &'static str, row: &'a Row) -> RowReader<'a> {
        RowReader { table, row }
    }

    /// Names the row: `orders_order 51bde378…`.
    pub fn name(&self) -> String {
        format!("{} {}", self.table, self.text("id"))
    }

    /// The value of a column; null where the table has no such column.
    pub fn value(&self, column: &str) -> &'a Value {
        self.row.get(column).unwrap_or(&Value::Null)
    }

    /// The text without NUL characters; empty for NULL.
    pub fn text(&self, column: &str) -> String {
        match self.value(column) {
            Value::Null => String::new(),
            Value::String(text) => text.replace('\0', ""),
            other => other.to_string(),
        }
    }

    /// Like [`text`](Self::text), but none when it is empty.
    pub fn optional_text(&self, column: &str) -> Option<String> {
        Some(self.text(column)).filter(|text| !text.is_empty())
    }

    /// A text that our table has a limit for. SQLite keeps longer ones than Django's forms let in.
    ///
    /// # Errors
    /// A sentence for a longer one.
    pub fn text_within(&self, column: &str, most_characters: usize) -> anyhow::Result<String> {
        let text = self.text(column);
        ensure!(
            text.chars().count() <= most_characters,
            self.unfit(column, format!("at most {most_characters} characters long"))
        );
        Ok(text)
    }

    /// A whole number, also where it is kept as a text or a number with a decimal point.
    ///
    /// # Errors
    /// A sentence for anything else.
    pub fn integer(&self, column: &str) -> anyhow::Result<i64> {
        whole(self.value(column)).with_context(|| self.unfit(column, "a whole number"))
    }

    /// A number of pieces.
    ///
    /// # Errors
    /// A sentence for what is no whole number, or larger than any stock.
    pub fn count(&self, column: &str) -> anyhow::Result<i32> {
        let number = self.integer(column)?;
        i32::try_from(number)
            .ok()
            .with_context(|| self.unfit(column, "a number of pieces"))
    }

    /// An amount in cents whose sums with others cannot overflow.
    ///
    /// # Errors
    /// A sentence for what is no whole number, or more money than there is.
    pub fn amount(&self, column: &str) -> anyhow::Result<i64> {
        let amount = self.integer(column)?;
        let amount = Some(amount).filter(|amount| amount.abs() < 1 << 40);
        amount.with_context(|| self.unfit(column, "an amount of money"))
    }

    /// A yes or no; `missing` for NULL and where there is no such column.
    ///
    /// # Errors
    /// A sentence for anything else.
    pub fn boolean(&self, column: &str, missing: bool) -> anyhow::Result<bool> {
        let word = self.text(column).to_lowercase();
        match word.as_str() {
            "" => Ok(missing),
            "true" | "t" | "1" | "1.0" | "yes" => Ok(true),
            "false" | "f" | "0" | "0.0" | "no" => Ok(false),
            _ => bail!(self.unfit(column, "true or false")),
        }
    }

    /// A time, UTC where it names no zone; none for NULL.
    ///
    /// # Errors
    /// A sentence for anything else.
    pub fn optional_time(&self, column: &str) -> anyhow::Result<Option<DateTime<Utc>>> {
        let Some(text) = self.optional_text(column) else {
            return Ok(None);
        };
        let time = time(&text).with_context(|| self.unfit(column, "a time"))?;
        Ok(Some(time))
    }

    /// A time that every row has.
    ///
    /// # Errors
    /// A sentence where it is missing, or no time.
    pub fn time(&self, column: &str) -> anyhow::Result<DateTime<Utc>> {
        let time = self.optional_time(column)?;
        time.with_context(|| self.unfit(column, "a time"))
    }

    /// A UUID, with or without dashes.
    ///
    /// # Errors
    /// A sentence where it is missing, or none.
    pub fn uuid(&self, column: &str) -> anyhow::Result<Uuid> {
        let id = self.optional_uuid(column)?;
        id.with_context(|| self.unfit(column, "a UUID"))
    }

    /// A UUID, or none for NULL.
    ///
    /// # Errors
    /// A sentence for anything else.
    pub fn optional_uuid(&self, column: &str) -> anyhow::Result<Option<Uuid>> {
        let Some(text) = self.optional_text(column) else {
            return Ok(None);
        };
        let id = Uuid::try_parse(text.trim()).ok();
        id.map(Some).with_context(|| self.unfit(column, "a UUID"))
    }

    /// An amount in dollars as cents, exactly: SQLite keeps it as a binary fraction. None for NULL.
    ///
    /// # Errors
    /// A sentence for what is no amount.
    pub fn dollars_in_cents(&self, column: &str) -> anyhow::Result<Option<i64>> {
        let Some(text) = self.optional_text(column) else {
            return Ok(None);
        };
        let cents = cents(&text).with_context(|| self.unfit(column, "an amount of money"))?;
        Ok(Some(cents))
    }

    /// A JSON value. A text that is a JSON object, list or text is read as such, however often it was quoted.
    pub fn json(&self, column: &str) -> Value {
        let mut value = self.value(column).clone();
        for _ in 0..4 {
            let Value::String(text) = &value else {
                break;
            };
            match serde_json::from_str(text) {
                Ok(
                    inner @ (Value::Object(_) | Value::Array(_) | Value::String(_) | Value::Null),
                ) => {
                    value = inner;
                }
                _ => break,
            }
        }
        value
    }

    /// A sentence about a value that does not fit. The value itself may be a customer's.
    pub fn unfit(&self, column: &str, wanted: impl Display) -> String {
        format!(
            "{}: {column} is not {wanted}, and no rule says what else it could mean: nothing was imported",
            self.name()
        )
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let fraction = number.as_f64()?;
            let is_whole = fraction.fract() == 0.0 && fraction.abs() < 9e15;
            is_whole.then_some(fraction as i64)
        }),
        Value::Bool(flag) => Some(i64::from(*flag)),
        Value::String(text) => {
            let text = text.trim();
            let digits = match text.split_once('.') {
                Some((whole, zeros)) if zeros.bytes().all(|b| b == b'0') => whole,
                _ => text,
            };
            digits.parse().ok()
        }
        _ => None,
    }
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    // PostgreSQL writes `+00`, SQLite a space, and copies leave out the zone or the time of day.
    let zoned = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"];
    if let Some(time) = zoned
        .iter()
        .find_map(|form| DateTime::parse_from_str(text, form).ok())
    {
        return Some(time.to_utc());
    }
    let bare = text.trim_end_matches('Z');
    let plain = [
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
    ];
    let mut plain = plain.iter();
    let time = plain.find_map(|form| NaiveDateTime::parse_from_str(bare, form).ok());
    let midnight = || Some(NaiveDate::parse_from_str(bare, "%Y-%m-%d").ok()?.into());
    time.or_else(midnight).map(|time| time.and_utc())
}

/// Reads a decimal text as hundredths. A third decimal and more, which only a binary fraction can bring, is rounded.
fn cents(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    if digits.contains(['e', 'E']) {
        let amount: f64 = digits.parse().ok()?;
        let amount = (amount * 100.0).round();
        return (amount.abs() < 9e15).then_some(sign * amount as i64);
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let padded = format!("{fraction:0<3}");
    let thousandths: i64 = padded[..3].parse().ok()?;
    let hundredths = (thousandths + 5) / 10;
    whole
        .checked_mul(100)?
        .checked_add(hundredths)
        .map(|amount| sign * amount)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, expected) in [
            ("19.99", Some(1999)),
            ("8.95", Some(895)),
            ("339.5", Some(33_950)),
            ("339.50", Some(33_950)),
            ("145.1", Some(14_510)),
            ("1.005", Some(101)),
            ("0.2899999999999999", Some(29)),
            ("100", Some(10_000)),
            ("-3.5", Some(-350)),
            ("1e2", Some(10_000)),
            ("1,200", None),
            ("nan", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(cents(text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_read_in_every_form_to_the_microsecond() {
        for text in [
            "2026-01-31T23:59:59.999999+00:00",
            "2026-01-31 23:59:59.999999",
            "2026-01-31 23:59:59.999999+00",
            "2026-01-31 18:59:59.999999-05",
            "2026-01-31T23:59:59.999999Z",
            "2026-01-31T23:59:59.999999",
        ] {
            let time = time(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(time.timestamp_micros(), 1_769_903_999_999_999, "{text}");
        }
        for text in ["2026-01-31", "2026-01-31 00:00", "2026-01-31T00:00:00Z"] {
            let time = time(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(time.timestamp(), 1_769_817_600, "{text}");
        }
        assert_eq!(time("yesterday"), None);
        assert_eq!(time("2026-02-30"), None);
    }

    #[test]
    fn a_value_is_the_same_in_another_type() {
        for value in [json!(4500), json!("4500"), json!(4500.0), json!("4500.00")] {
            assert_eq!(whole(&value), Some(4500), "{value}");
        }
        for value in [
            json!(45.5),
            json!("45.5"),
            json!(null),
            json!("x"),
            json!(1e300),
        ] {
            assert_eq!(whole(&value), None, "{value}");
        }
        let row =
            json!({"id": 1, "a": "\"{\\\"city\\\": \\\"X\\\"}\"", "b": "12 Main St", "c": "12"});
        let row = row.as_object().expect("an object");
        let reader = RowReader::new("t", row);
        assert_eq!(reader.json("a"), json!({"city": "X"}));
        assert_eq!(reader.json("b"), json!("12 Main St"));
        assert_eq!(reader.json("c"), json!("12"));
        assert_eq!(reader.json("missing"), json!(null));
        assert!(reader.boolean("id", false).expect("a flag"));
    }
}
