//! Export of paid orders as CSV for bookkeeping, streamed row by row from the database.

use anyhow::Context;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use futures_util::stream;

use super::store::{self, ExportedLine, ExportedOrder};
use super::{Order, PaymentMethod};
use crate::app::App;
use crate::error::{Error, FieldError, Result};
use crate::http::Query;
use crate::settings;
use crate::types::calendar;
use crate::types::ids::OrderId;
use crate::types::money::Cents;

/// Rows read per query.
const ROWS: i64 = 500;

/// Marks the file as UTF-8 for Excel, which otherwise opens a double-clicked file in the machine's code page.
///
/// Source:
/// <https://support.microsoft.com/en-us/office/opening-csv-utf-8-files-correctly-in-excel-8a935af5-3416-4edd-ba7e-3dfd2bc4a032>
pub(super) const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Headings before and after those of the pieces. [`row`] has as many cells of each kind, or does not compile.
const OF_ORDER: [&str; 6] = [
    "number",
    "paid",
    "status",
    "channel",
    "payment method",
    "currency",
];
const SUMS: [&str; 6] = [
    "subtotal", "discount", "shipping", "tax", "total", "refunded",
];
const TEXTS: [&str; 11] = [
    "email",
    "name",
    "recipient",
    "address line 1",
    "address line 2",
    "city",
    "state",
    "postal code",
    "country",
    "carrier",
    "tracking",
];

/// Granularity of the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    Orders,
    /// One row per order line. Only the first row of an order has its totals, so that a column can be summed.
    Lines,
}

impl Rows {
    const ALL: [Rows; 2] = [Rows::Orders, Rows::Lines];

    fn as_str(self) -> &'static str {
        match self {
            Rows::Orders => "orders",
            Rows::Lines => "lines",
        }
    }

    fn head(self) -> Vec<String> {
        let pieces: &[&str] = match self {
            Rows::Orders => &["pieces"],
            Rows::Lines => &[
                "product",
                "piece",
                "quantity",
                "unit price",
                "back in stock",
            ],
        };
        let names = OF_ORDER.iter().chain(pieces).chain(&SUMS).chain(&TEXTS);
        names.map(|name| (*name).to_owned()).collect()
    }
}

/// Default date range: the last thirty days.
pub fn usual_days(zone: Tz) -> (NaiveDate, NaiveDate) {
    let today = Utc::now().with_timezone(&zone).date_naive();
    (today - Days::new(29), today)
}

/// Reads `from` and `to` as days in the shop's time zone. A malformed day adds a field error for its parameter.
pub(super) fn read_days(
    query: &Query,
    field_errors: &mut Vec<FieldError>,
) -> (Option<NaiveDate>, Option<NaiveDate>) {
    let mut day = |name: &str| {
        let text = query
            .get(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())?;
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
        let day = day.filter(|day| text.len() == 10 && day.year() >= 1970);
        if day.is_none() {
            field_errors.push(FieldError::new(name, "must be a day such as 2026-11-24"));
        }
        day
    };
    let (from, to) = (day("from"), day("to"));
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        field_errors.push(FieldError::new("to", "must not be before the first day"));
    }
    (from, to)
}

/// Exports the orders paid from `from` to `to`, both days included, as CSV. The default is the last thirty days. With
/// `rows=lines`, each order line has a row.
///
/// # Errors
/// Field errors of `from`, `to` and `rows`; database errors.
pub async fn export(app: App, query: &Query) -> Result<Response> {
    let zone = settings::time_zone(&mut *app.db.acquire().await?, &app.config).await?;
    let (first, last) = usual_days(zone);
    let mut field_errors = Vec::new();
    let (from, to) = read_days(query, &mut field_errors);
    let rows = query.one_of("rows", &Rows::ALL, Rows::as_str, &mut field_errors);
    let kind = rows.unwrap_or(Rows::Orders);
    let (from, to) = (from.unwrap_or(first), to.unwrap_or(last));
    if field_errors.is_empty() && from > to {
        field_errors.push(FieldError::new("to", "must not be before the first day"));
    }
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let (begin, end) = (
        calendar::start_of(from, zone),
        calendar::start_of(to + Days::new(1), zone),
    );
    let after: Option<(DateTime<Utc>, OrderId)> = None;
    let rows = stream::try_unfold(Some(after), move |after| {
        let app = app.clone();
        async move {
            let Some(after) = after else {
                return Ok::<_, Error>(None);
            };
            // A connection for each part, so that a slow download does not hold one to its end.
            let mut conn = app.db.acquire().await?;
            let entries = store::list_paid(&mut conn, begin, end, after, ROWS).await?;
            let lines = match kind {
                Rows::Orders => Vec::new(),
                Rows::Lines => store::list_lines(&mut conn, &entries).await?,
            };
            let mut rows = Vec::new();
            rows.extend(after.is_none().then(|| kind.head()));
            for entry in &entries {
                match kind {
                    Rows::Orders => {
                        rows.push(row(entry, zone, vec![text_cell(&entry.pieces)], true))
                    }
                    Rows::Lines => rows.extend(rows_of_lines(entry, zone, &lines)),
                }
            }
            let mark = if after.is_none() { BYTE_ORDER_MARK } else { "" };
            let text = csv(mark, &rows)?;
            let full = i64::try_from(entries.len()).is_ok_and(|rows| rows == ROWS);
            // The next part begins after the last order of this one, whatever was paid in the meantime.
            let last = entries.last().filter(|_| full);
            let next = last.and_then(|last| Some((last.order.paid_at?, last.order.id)));
            Ok(Some((text, next.map(Some))))
        }
    });
    let name = format!("attachment; filename=\"orders-{from}-to-{to}.csv\"");
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, Body::from_stream(rows)).into_response())
}

/// Writes rows as CSV (RFC 4180).
pub(super) fn csv(mark: &str, rows: &[Vec<String>]) -> Result<Vec<u8>> {
    let mut csv = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(mark.as_bytes().to_vec());
    for row in rows {
        csv.write_record(row).context("writing CSV")?;
    }
    Ok(csv.into_inner().context("writing CSV")?)
}

/// One row per line of the order.
fn rows_of_lines(entry: &ExportedOrder, zone: Tz, lines: &[ExportedLine]) -> Vec<Vec<String>> {
    let lines = lines.iter().filter(|line| line.order_id == entry.order.id);
    let rows = lines.enumerate().map(|(at, line)| {
        let product = line.product_id.as_ref();
        let pieces = vec![
            text_cell(product.map_or("", |id| &id.0)),
            text_cell(&line.name),
            cell(&line.quantity.to_string()),
            cell(&line.unit_price.plain(&entry.order.currency)),
            cell(&line.back_in_stock.to_string()),
        ];
        row(entry, zone, pieces, at == 0)
    });
    rows.collect()
}

/// Returns one row with the given piece columns.
fn row(entry: &ExportedOrder, zone: Tz, pieces: Vec<String>, with_sums: bool) -> Vec<String> {
    let order: &Order = &entry.order;
    let money = |cents: Cents| match with_sums {
        true => cell(&cents.plain(&order.currency)),
        false => String::new(),
    };
    let address = order.address().unwrap_or_default();
    let name = order.customer_name.clone().or(order.shipping_name.clone());
    let paid = order.paid_at.map(|at| {
        let local = at.with_timezone(&zone);
        local.format("%Y-%m-%d %H:%M").to_string()
    });
    let of_order: [String; OF_ORDER.len()] = [
        text_cell(&order.display_number()),
        cell(&paid.unwrap_or_default()),
        cell(order.status.as_str()),
        cell(order.channel.as_str()),
        cell(order.payment_method.map_or("", PaymentMethod::as_str)),
        cell(&order.currency.to_uppercase()),
    ];
    let sums: [Cents; SUMS.len()] = [
        order.subtotal,
        order.discount,
        order.shipping,
        order.tax,
        order.total,
        order.refunded,
    ];
    let texts: [Option<String>; TEXTS.len()] = [
        order.email.clone(),
        name,
        order.shipping_name.clone(),
        address.line1,
        address.line2,
        address.city,
        address.state,
        address.postal_code,
        address.country,
        entry.carrier.clone(),
        entry.tracking_number.clone(),
    ];
    let texts = texts.map(|text| text_cell(&text.unwrap_or_default()));
    of_order
        .into_iter()
        .chain(pieces)
        .chain(sums.map(money))
        .chain(texts)
        .collect()
}

/// Writes a text so that a spreadsheet shows it unchanged: `01234` would lose its zero, a long tracking number its last
/// digits, and `3-4` would become a date.
///
/// Such a text becomes a formula with one constant, `="01234"`. CSV has no other way to mark a cell as text.
fn text_cell(text: &str) -> String {
    match is_converted(text) {
        true => format!("=\"{text}\""),
        false => cell(text),
    }
}

/// The longest text constant in a formula, in characters.
///
/// Source: <https://support.microsoft.com/en-us/office/excel-specifications-and-limits-1672b34d-7043-467e-8e27-269d656771c3>
const LONGEST_CONSTANT: usize = 255;

/// Words that may be part of a date, a time or a number in a spreadsheet, besides month names.
const OF_NUMBERS: [&str; 4] = ["e", "am", "pm", "t"];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Returns true for a text that a spreadsheet may convert to a number or a date and show differently. Such a text never
/// contains a character that could end a constant in a formula.
fn is_converted(text: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_digit();
    if !text.contains(is_digit) || text.chars().count() > LONGEST_CONSTANT {
        return false;
    }
    // Excel shows longer numbers in scientific notation.
    if text.chars().all(is_digit) {
        return text.len() > 11 || (text.len() > 1 && text.starts_with('0'));
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || " -/.,:%$()'".contains(c);
    let mut words = text
        .split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase);
    // `cell` guards a leading minus sign.
    !text.starts_with('-')
        && text.chars().all(is_part)
        && words.all(|word| {
            let is_month = word.len() >= 3 && MONTHS.iter().any(|month| month.starts_with(&word));
            is_month || OF_NUMBERS.contains(&word.as_str())
        })
}

/// Guards a cell against being read as a formula.
///
/// Source: <https://owasp.org/www-community/attacks/CSV_Injection>
pub(super) fn cell(text: &str) -> String {
    // A customer's text must not become a formula in a spreadsheet. East Asian versions of Excel also accept the
    // full-width characters as the start of a formula.
    let starts = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    match text.starts_with(starts) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_number_keeps_its_digits() {
        for kept in [
            "01234",
            "00",
            "9400111899223345678901",
            "123456789012",
            "1E5",
            "12e4567",
            "1.50",
            "3-4",
            "12/24",
            "2-1234",
            "mar-1",
            "5 Dec",
            "1 January 2026",
            "10:30",
            "8:15 pm",
            "50%",
            "$5",
            "(5)",
            "1,000",
            "02134-1234",
        ] {
            assert_eq!(text_cell(kept), format!("=\"{kept}\""), "{kept}");
        }
        for plain in [
            "",
            "0",
            "97205",
            "12345678901",
            "1 Main St",
            "SB-1001",
            "1 × Owl; 2 × Sunrise",
            "SW1A 1AA",
            "1Z999AA10123456784",
            "RR123456785US",
            "May",
            "Mary 1",
            "١٢",
        ] {
            assert_eq!(text_cell(plain), plain);
        }
        // Nothing ends the constant: what could is no number any more.
        for (text, written) in [
            ("0\"&A1&\"", "0\"&A1&\""),
            ("=1", "'=1"),
            ("-2", "'-2"),
            ("+01", "'+01"),
            ("0\n1", "0\n1"),
        ] {
            assert_eq!(text_cell(text), written);
        }
        let long = "7".repeat(256);
        assert_eq!(text_cell(&long), long);
    }

    #[test]
    fn a_cell_is_text_to_a_spreadsheet() {
        for (text, written) in [
            ("Sunrise", "Sunrise"),
            ("", ""),
            ("Ann \"A\" Lee, Jr", "Ann \"A\" Lee, Jr"),
            ("=HYPERLINK(\"x\")", "'=HYPERLINK(\"x\")"),
            ("+1", "'+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-2", "'-2"),
            ("＝1", "'＝1"),
            ("a\nb", "a\nb"),
        ] {
            assert_eq!(cell(text), written);
        }
        let row = ["=\"01\"", "a, b", "c\nd", ""].map(str::to_owned).to_vec();
        let file = csv("\u{feff}", &[row]).expect("a file");
        assert_eq!(
            String::from_utf8(file).expect("UTF-8"),
            "\u{feff}\"=\"\"01\"\"\",\"a, b\",\"c\nd\",\r\n"
        );
    }
}
