//! Shipping labels: the orders that wait to be packed, as CSV for the sites where labels are bought.

use anyhow::Context;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Order;
use super::export::{BYTE_ORDER_MARK, cell, csv};
use super::store::{self, LabelOrder};
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::Query;
use crate::types::address::Address;

/// Orders in one file: what the sites take at once.
const MOST: i64 = 1000;

/// Ounces in a pound.
const OUNCES: i64 = 16;

/// Site that reads the file.
#[derive(Clone, Copy)]
enum Site {
    PirateShip,
    ClickNShip,
}

/// Headings of Pirate Ship, which recognizes them by name.
const PIRATE_SHIP: [&str; 14] = [
    "Order ID",
    "Name",
    "Address 1",
    "Address 2",
    "City",
    "State",
    "Zipcode",
    "Country",
    "Email",
    "Phone",
    "Order Items",
    "Pounds",
    "Ounces",
    "Order Value",
];

/// Headings of the file that Click-N-Ship takes. It reads them by place, so the ones that the shop cannot fill are there,
/// too: who sends, and how large the package is.
const CLICK_N_SHIP: [&str; 59] = [
    "Reference ID",
    "Reference ID 2",
    "Shipping Date",
    "Item Description",
    "Item Quantity",
    "Item Weight (lb)",
    "Item Weight (oz)",
    "Item Value",
    "HS Tariff #",
    "Country of Origin",
    "Sender First Name",
    "Sender Middle Initial",
    "Sender Last Name",
    "Sender Company/Org Name",
    "Sender Address Line 1",
    "Sender Address Line 2",
    "Sender Address Line 3",
    "Sender Address Town/City",
    "Sender State",
    "Sender Country",
    "Sender ZIP Code",
    "Sender Urbanization Code",
    "Ship From Another ZIP Code",
    "Sender Email",
    "Sender Cell Phone",
    "Recipient Country",
    "Recipient First Name",
    "Recipient Middle Initial",
    "Recipient Last Name",
    "Recipient Company/Org Name",
    "Recipient Address Line 1",
    "Recipient Address Line 2",
    "Recipient Address Line 3",
    "Recipient Address Town/City",
    "Recipient Province",
    "Recipient State",
    "Recipient ZIP Code",
    "Recipient Urbanization Code",
    "Recipient Phone",
    "Recipient Email",
    "Service Type",
    "Package Type",
    "Package Weight (lb)",
    "Package Weight (oz)",
    "Length",
    "Width",
    "Height",
    "Girth",
    "Insured Value",
    "Contents",
    "Contents Description",
    "Package Comments",
    "Customs Form Reference #",
    "License #",
    "Certificate #",
    "Invoice #",
    "Customs Form Reference # Type",
    "HAZMAT Type",
    "Live Animals and Perishable Goods Indicator",
];

/// What a label needs of an order.
struct Label<'a> {
    order: &'a Order,
    name: String,
    address: Address,
    pieces: &'a str,
    quantity: i64,
    pounds: i64,
    /// Ounces beyond the pounds, in hundredths.
    ounces: i64,
    phone: String,
}

/// Answers with the orders to be packed as CSV. Query: `site`, `pirate-ship` unless given, or `click-n-ship`.
///
/// # Errors
/// 400 for another site.
pub async fn labels(app: App, query: &Query) -> Result<Response> {
    let (site, name) = match query.get("site").unwrap_or("pirate-ship") {
        "pirate-ship" => (Site::PirateShip, "pirate-ship"),
        "click-n-ship" => (Site::ClickNShip, "click-n-ship"),
        _ => {
            return Err(Error::invalid(
                "site",
                "Must be pirate-ship or click-n-ship.",
            ));
        }
    };
    let orders = store::list_for_labels(&mut *app.db.acquire().await?, MOST).await?;
    let mut rows = vec![match site {
        Site::PirateShip => PIRATE_SHIP.map(str::to_owned).to_vec(),
        Site::ClickNShip => CLICK_N_SHIP.map(str::to_owned).to_vec(),
    }];
    let labels = orders.iter().filter_map(Label::of);
    rows.extend(labels.map(|label| match site {
        Site::PirateShip => label.for_pirate_ship(),
        Site::ClickNShip => label.for_click_n_ship(),
    }));
    let mark = match site {
        Site::PirateShip => BYTE_ORDER_MARK,
        // It would take the mark for a part of the first heading.
        Site::ClickNShip => "",
    };
    let text = csv(mark, &rows).context("writing labels")?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"labels-{name}.csv\""),
        ),
    ];
    Ok((headers, text).into_response())
}

impl<'a> Label<'a> {
    /// Returns `None` for an order without an address: it is handed over.
    fn of(found: &'a LabelOrder) -> Option<Label<'a>> {
        let order = &found.order;
        let address = order.address()?;
        let name = order.shipping_name.clone().or(order.customer_name.clone());
        // Rounded up to hundredths: a package that is too light by the label comes back.
        let hundredths = found.weight_hundredths;
        Some(Label {
            order,
            name: name.unwrap_or_default(),
            address,
            pieces: &found.pieces,
            quantity: found.quantity,
            pounds: hundredths / (100 * OUNCES),
            ounces: hundredths % (100 * OUNCES),
            phone: digits(order.phone.as_deref().unwrap_or_default()),
        })
    }

    fn ounces(&self) -> String {
        format!("{}.{:02}", self.ounces / 100, self.ounces % 100)
    }

    /// Value of the pieces, in the currency's unit.
    fn value(&self) -> String {
        self.order.subtotal.plain(&self.order.currency)
    }

    fn for_pirate_ship(&self) -> Vec<String> {
        let address = &self.address;
        let cells: [&str; PIRATE_SHIP.len()] = [
            &self.order.display_number(),
            &self.name,
            text(&address.line1),
            text(&address.line2),
            text(&address.city),
            text(&address.state),
            text(&address.postal_code),
            text(&address.country),
            text(&self.order.email),
            &self.phone,
            self.pieces,
            &self.pounds.to_string(),
            &self.ounces(),
            &self.value(),
        ];
        cells.map(cell).to_vec()
    }

    fn for_click_n_ship(&self) -> Vec<String> {
        let address = &self.address;
        let is_domestic = address.country.as_deref() == Some("US");
        let (first, last) = self.name.rsplit_once(' ').unwrap_or(("", &self.name));
        let (state, province) = match is_domestic {
            true => (text(&address.state), ""),
            false => ("", text(&address.state)),
        };
        let service = match is_domestic {
            true => "USPS Ground Advantage",
            false => "First-Class Package International Service",
        };
        let (pounds, ounces) = (self.pounds.to_string(), self.ounces());
        let (value, quantity) = (self.value(), self.quantity.to_string());
        let number = self.order.display_number();
        let filled: [(&str, &str); 21] = [
            ("Reference ID", &number),
            ("Item Description", self.pieces),
            ("Item Quantity", &quantity),
            ("Item Weight (lb)", &pounds),
            ("Item Weight (oz)", &ounces),
            ("Item Value", &value),
            ("Recipient Country", text(&address.country)),
            ("Recipient First Name", first),
            ("Recipient Last Name", last),
            ("Recipient Address Line 1", text(&address.line1)),
            ("Recipient Address Line 2", text(&address.line2)),
            ("Recipient Address Town/City", text(&address.city)),
            ("Recipient Province", province),
            ("Recipient State", state),
            ("Recipient ZIP Code", text(&address.postal_code)),
            ("Recipient Phone", &self.phone),
            ("Recipient Email", text(&self.order.email)),
            ("Service Type", service),
            ("Package Type", "Package"),
            ("Package Weight (lb)", &pounds),
            ("Package Weight (oz)", &ounces),
        ];
        let of = |heading: &str| {
            let found = filled.iter().find(|(name, _)| *name == heading);
            found.map_or("", |(_, text)| text)
        };
        CLICK_N_SHIP.map(|heading| cell(of(heading))).to_vec()
    }
}

fn text(part: &Option<String>) -> &str {
    part.as_deref().unwrap_or_default()
}

/// The digits of a phone number, those of the USA without their country code: the sites take no other form, and a plus
/// sign would begin a formula.
fn digits(phone: &str) -> String {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    match digits.strip_prefix('1') {
        Some(national) if national.len() == 10 => national.to_owned(),
        _ => digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_number_is_its_digits() {
        for (phone, kept) in [
            ("+1 (503) 555-0100", "5035550100"),
            ("503-555-0100", "5035550100"),
            ("+44 20 7946 0000", "442079460000"),
            ("=1+1", "11"),
            ("", ""),
        ] {
            assert_eq!(digits(phone), kept);
        }
    }
}
