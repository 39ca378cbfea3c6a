//! Checkout Sessions: what we ask for, and what we read of one.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::address::Address;
use crate::ids::{OrderId, ProductId};
use crate::money::Cents;
use crate::unicode;

/// The countries that we send shipments to (ISO 3166).
pub const COUNTRIES: [&str; 60] = [
    "US", "CA", "MX", "GB", "IE", "FR", "DE", "AT", "CH", "NL", "BE", "LU", "DK", "SE", "NO", "FI",
    "IS", "ES", "PT", "IT", "GR", "MT", "CY", "PL", "CZ", "SK", "HU", "SI", "HR", "RO", "BG", "EE",
    "LV", "LT", "LI", "MC", "AU", "NZ", "JP", "KR", "SG", "HK", "TW", "TH", "MY", "PH", "ID", "IN",
    "AE", "IL", "TR", "ZA", "BR", "AR", "CL", "CO", "PE", "UY", "CR", "PA",
];

/// The most lines that are told in the metadata, which has room for 50 entries.
const MOST_PIECES: usize = 40;

/// What the names of these entries begin with; their values are quantity, price of one, product.
const PIECE: &str = "piece_";

/// A thousand times what Stripe takes at once in any currency, in its smallest unit.
///
/// Source: <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>
const MOST_MONEY: i64 = 1_000_000_000_000_000;

/// A session that we mean to ask for. It is stored before we ask, so that asking again is the same call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewSession {
    pub order: OrderId,
    pub order_number: String,
    /// Three lower-case letters (ISO 4217).
    pub currency: String,
    pub lines: Vec<SessionLine>,
    pub shipping_name: String,
    pub shipping_price: Cents,
    /// The least and the most business days on the way.
    pub shipping_days: (u32, u32),
    /// What the shopper may choose instead. Only where nobody names their country: Stripe ties no rate to a country.
    #[serde(default)]
    pub other_shipping: Vec<ShippingOption>,
    /// Where the shipment may go (ISO 3166). Empty in calls stored by earlier versions: to every country that we send to.
    #[serde(default)]
    pub countries: Vec<String>,
    pub success_url: String,
    pub cancel_url: String,
    pub expires_at: DateTime<Utc>,
}

/// A rate that the shopper may choose on the payment page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShippingOption {
    /// The zone that it is for, as whoever asked for the session calls it.
    pub zone: String,
    pub name: String,
    pub price: Cents,
    /// The least and the most business days on the way.
    pub days: (u32, u32),
}

impl NewSession {
    /// What the session's metadata says: the order, and if there is room the pieces.
    pub(super) fn metadata(&self) -> HashMap<String, String> {
        let mut metadata = HashMap::from([
            ("order_id".to_owned(), self.order.to_string()),
            ("order_number".to_owned(), self.order_number.clone()),
        ]);
        if self.lines.len() <= MOST_PIECES {
            for (at, line) in self.lines.iter().enumerate() {
                let Some(product) = &line.product else {
                    continue;
                };
                let piece = format!("{} {} {product}", line.quantity, line.unit_amount.0);
                metadata.insert(format!("{PIECE}{at}"), piece);
            }
        }
        metadata
    }

    /// Whether any line is charged by a price that Stripe has, instead of by its amount.
    pub fn names_prices(&self) -> bool {
        self.lines.iter().any(|line| line.price.is_some())
    }
}

/// One line: a price that Stripe has, or name and amount where it has none (yet).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionLine {
    /// Told to Stripe in the metadata: from there an order can be made anew. None in calls stored by earlier versions.
    #[serde(default)]
    pub product: Option<ProductId>,
    pub price: Option<String>,
    pub name: String,
    pub image: Option<String>,
    pub unit_amount: Cents,
    pub quantity: i32,
}

/// What was bought, as the metadata of a session tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub product: ProductId,
    pub quantity: i32,
    pub unit_price: Cents,
}

impl Piece {
    fn read(text: &str) -> Option<Piece> {
        let mut words = text.splitn(3, ' ');
        Some(Piece {
            quantity: words
                .next()?
                .parse()
                .ok()
                .filter(|quantity| *quantity > 0)?,
            unit_price: Cents(words.next()?.parse().ok().filter(|price| *price >= 0)?),
            product: ProductId(words.next()?.to_owned()),
        })
    }
}

/// What Stripe says of a session; only what we act on.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub id: String,
    /// Where the shopper pays; absent once the session is over.
    pub url: Option<String>,
    /// `open`, `complete` or `expired`.
    pub status: String,
    /// `paid`, `unpaid` or `no_payment_required`.
    pub payment_status: String,
    /// The id of our order, if the session is ours.
    pub client_reference_id: Option<String>,
    pub payment_intent: Option<String>,
    /// The payment link that the session was opened by.
    pub payment_link: Option<String>,
    /// The custom order that is paid for, as the metadata names it: our id, or the old service's.
    pub request_reference: Option<String>,
    /// The quote that is paid for, as the metadata names it.
    pub quote_reference: Option<String>,
    /// Our signature under the quote's id, as the metadata has it.
    pub quote_signature: Option<String>,
    /// The order's number, as people say it.
    pub order_number: Option<String>,
    /// What was bought; nothing where the metadata does not tell.
    pub pieces: Vec<Piece>,
    /// The way back that we gave it, which has our signature.
    pub cancel_url: Option<String>,
    pub amount_total: Option<Cents>,
    pub amount_tax: Cents,
    pub amount_shipping: Cents,
    pub currency: String,
    pub email: Option<String>,
    pub customer_name: Option<String>,
    pub phone: Option<String>,
    pub shipping_name: Option<String>,
    pub shipping_address: Option<Address>,
}

impl Session {
    /// Reads a session of any version of Stripe's API. None where it has no id: then it is no session.
    pub fn read(json: &Value) -> Option<Session> {
        let details = &json["customer_details"];
        // Where the address stands depends on the version. Source:
        // https://docs.stripe.com/changelog/basil/2025-03-31/checkout-collected-information
        let shipping = [
            &json["collected_information"]["shipping_details"],
            &json["shipping_details"],
            &json["shipping"],
        ]
        .into_iter()
        .find(|place| place["address"].is_object());
        // A text, or the object itself where it was asked for.
        let id_of = |name: &str| text(&json[name]).or_else(|| text(&json[name]["id"]));
        let address = shipping.map(|place| {
            let part = |name: &str| written(&place["address"][name]);
            Address {
                line1: part("line1"),
                line2: part("line2"),
                city: part("city"),
                state: part("state"),
                postal_code: part("postal_code"),
                country: part("country"),
            }
        });
        Some(Session {
            id: text(&json["id"])?,
            url: text(&json["url"]),
            status: text(&json["status"]).unwrap_or_default(),
            payment_status: text(&json["payment_status"]).unwrap_or_default(),
            client_reference_id: text(&json["client_reference_id"]),
            payment_intent: id_of("payment_intent"),
            payment_link: id_of("payment_link"),
            request_reference: text(&json["metadata"]["custom_request_id"]),
            quote_reference: text(&json["metadata"]["quote_id"]),
            quote_signature: text(&json["metadata"]["quote_signature"]),
            order_number: text(&json["metadata"]["order_number"]),
            pieces: (0..MOST_PIECES)
                .map_while(|at| text(&json["metadata"][format!("{PIECE}{at}")]))
                .map_while(|piece| Piece::read(&piece))
                .collect(),
            cancel_url: text(&json["cancel_url"]),
            amount_total: amount(&json["amount_total"]),
            amount_tax: amount(&json["total_details"]["amount_tax"]).unwrap_or_default(),
            amount_shipping: amount(&json["total_details"]["amount_shipping"]).unwrap_or_default(),
            currency: text(&json["currency"])
                .unwrap_or_default()
                .to_ascii_lowercase(),
            email: text(&details["email"]).or_else(|| text(&json["customer_email"])),
            customer_name: written(&details["name"]),
            phone: text(&details["phone"]),
            shipping_name: shipping.and_then(|place| written(&place["name"])),
            shipping_address: address,
        })
    }

    /// True when the money has come in (or none was due).
    pub fn is_paid(&self) -> bool {
        self.status == "complete"
            && matches!(self.payment_status.as_str(), "paid" | "no_payment_required")
    }
}

/// An amount of money; nothing where it is none: below zero, or so large that sums of such amounts would not fit.
pub fn amount(json: &Value) -> Option<Cents> {
    let amount = json.as_i64()?;
    (0..=MOST_MONEY).contains(&amount).then_some(Cents(amount))
}

/// A text that somebody wrote, in the composed form.
fn written(json: &Value) -> Option<String> {
    text(json).map(|text| unicode::nfc(&text).into_owned())
}

/// A text without the NUL characters that JSON allows and PostgreSQL does not; nothing where it is empty.
pub(super) fn text(json: &Value) -> Option<String> {
    let text = json.as_str()?.replace('\0', "");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_country_that_we_ship_to_has_a_name() {
        for code in COUNTRIES {
            assert!(crate::address::country_name(code).is_some(), "{code}");
        }
    }

    #[test]
    fn the_address_is_found_in_every_version() {
        let place = json!({"name": "Ann", "address": {"line1": "1 Main St", "country": "US"}});
        for session in [
            json!({"id": "cs_1", "collected_information": {"shipping_details": place}}),
            json!({"id": "cs_1", "shipping_details": place, "collected_information": null}),
            json!({"id": "cs_1", "shipping": place}),
        ] {
            let session = Session::read(&session).expect("a session");
            assert_eq!(session.shipping_name.as_deref(), Some("Ann"));
            assert_eq!(
                session.shipping_address.and_then(|a| a.country).as_deref(),
                Some("US")
            );
        }
    }

    #[test]
    fn a_session_of_a_payment_link_names_what_is_paid_for() {
        for link in [json!("plink_1"), json!({"id": "plink_1", "active": false})] {
            let session = Session::read(&json!({
                "id": "cs_1",
                "payment_link": link,
                "metadata": {"custom_request_id": "17", "quote_id": "q"},
            }))
            .expect("a session");
            assert_eq!(session.payment_link.as_deref(), Some("plink_1"));
            assert_eq!(session.request_reference.as_deref(), Some("17"));
            assert_eq!(session.quote_reference.as_deref(), Some("q"));
        }
        let other = Session::read(&json!({"id": "cs_1", "payment_link": null, "metadata": null}))
            .expect("a session");
        assert_eq!(other.payment_link, None);
        assert_eq!(
            (other.request_reference, other.quote_reference),
            (None, None)
        );
    }

    #[test]
    fn odd_sessions_are_read_as_far_as_they_go() {
        assert_eq!(Session::read(&json!({})), None);
        assert_eq!(Session::read(&json!("cs_1")), None);
        let session = Session::read(
            &json!({"id": "cs_1\u{0}", "payment_intent": {"id": "pi_1"}, "amount_total": "5"}),
        )
        .expect("a session");
        assert_eq!(session.id, "cs_1");
        assert_eq!(session.payment_intent.as_deref(), Some("pi_1"));
        assert_eq!(session.amount_total, None);
        assert!(!session.is_paid());
    }
}
