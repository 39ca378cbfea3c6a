//! Checkout Sessions: request and response.

use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::types::address::Address;
use crate::types::ids::{OrderId, ProductId};
use crate::types::money::Cents;
use crate::types::unicode;

/// Countries that the shop ships to (ISO 3166).
pub const COUNTRIES: [&str; 60] = [
    "US", "CA", "MX", "GB", "IE", "FR", "DE", "AT", "CH", "NL", "BE", "LU", "DK", "SE", "NO", "FI",
    "IS", "ES", "PT", "IT", "GR", "MT", "CY", "PL", "CZ", "SK", "HU", "SI", "HR", "RO", "BG", "EE",
    "LV", "LT", "LI", "MC", "AU", "NZ", "JP", "KR", "SG", "HK", "TW", "TH", "MY", "PH", "ID", "IN",
    "AE", "IL", "TR", "ZA", "BR", "AR", "CL", "CO", "PE", "UY", "CR", "PA",
];

/// Limit of lines in the metadata, which has room for 50 entries.
const MOST_PIECES: usize = 40;

/// Prefix of these metadata keys. The values are quantity, unit price and product.
const PIECE: &str = "piece_";

/// A thousand times Stripe's largest charge in any currency, in the smallest unit.
///
/// Source: <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>
const MOST_MONEY: i64 = 1_000_000_000_000_000;

/// Request for a session. It is stored before the call, so that a retry sends the same request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewSession {
    pub order: OrderId,
    pub order_number: String,
    /// Three lower-case letters (ISO 4217).
    pub currency: String,
    pub lines: Vec<SessionLine>,
    pub shipping_name: String,
    pub shipping_price: Cents,
    /// Minimum and maximum delivery time in business days.
    pub shipping_days: (u32, u32),
    /// Other rates for the shopper to choose. Used only when the country is unknown, because Stripe cannot tie a rate
    /// to a country.
    pub other_shipping: Vec<ShippingOption>,
    /// Destination countries (ISO 3166).
    pub countries: Vec<String>,
    pub success_url: String,
    pub cancel_url: String,
    pub expires_at: DateTime<Utc>,
}

/// A shipping rate for the shopper to choose on the payment page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShippingOption {
    /// Its zone, in the caller's terms.
    pub zone: String,
    pub name: String,
    pub price: Cents,
    /// Minimum and maximum delivery time in business days.
    pub days: (u32, u32),
}

impl NewSession {
    /// Metadata of the session: the order and, space permitting, the pieces.
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

    /// Returns true when a line is charged by a Stripe price instead of its amount.
    pub fn names_prices(&self) -> bool {
        self.lines.iter().any(|line| line.price.is_some())
    }
}

/// One line: a Stripe price, or name and amount when there is none (yet).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionLine {
    /// Stored in the metadata, from which a lost order can be recreated.
    pub product: Option<ProductId>,
    pub price: Option<String>,
    pub name: String,
    pub image: Option<String>,
    pub unit_amount: Cents,
    pub quantity: i32,
}

/// A purchased product, from a session's metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionPiece {
    pub product: ProductId,
    pub quantity: i32,
    pub unit_price: Cents,
}

impl SessionPiece {
    fn read(text: &str) -> Option<SessionPiece> {
        let mut words = text.splitn(3, ' ');
        Some(SessionPiece {
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

/// Status of a session at Stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionStatus {
    Open,
    Complete,
    Expired,
    /// A word that this version does not know; empty where there is none.
    Other(String),
}

impl SessionStatus {
    fn read(json: &Value) -> SessionStatus {
        let word = text(json).unwrap_or_default();
        match word.as_str() {
            "open" => SessionStatus::Open,
            "complete" => SessionStatus::Complete,
            "expired" => SessionStatus::Expired,
            _ => SessionStatus::Other(word),
        }
    }
}

impl fmt::Display for SessionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SessionStatus::Open => "open",
            SessionStatus::Complete => "complete",
            SessionStatus::Expired => "expired",
            SessionStatus::Other(word) => word,
        })
    }
}

/// Status of a session's payment at Stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentStatus {
    Paid,
    /// Nothing was due.
    NoPaymentRequired,
    /// `unpaid`, or a word that this version does not know.
    Unpaid,
}

impl PaymentStatus {
    fn read(json: &Value) -> PaymentStatus {
        match text(json).as_deref() {
            Some("paid") => PaymentStatus::Paid,
            Some("no_payment_required") => PaymentStatus::NoPaymentRequired,
            _ => PaymentStatus::Unpaid,
        }
    }
}

/// A session at Stripe; only the fields that the shop uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub id: String,
    /// The payment page; absent once the session is complete or expired.
    pub url: Option<String>,
    pub status: SessionStatus,
    pub payment_status: PaymentStatus,
    /// Our order's id, if the session is ours.
    pub client_reference_id: Option<String>,
    pub payment_intent: Option<String>,
    /// The payment link that opened the session.
    pub payment_link: Option<String>,
    /// The custom order being paid, from the metadata: our id, or the old service's.
    pub custom_order_reference: Option<String>,
    /// The quote being paid, from the metadata.
    pub quote_reference: Option<String>,
    /// Our signature of the quote's id, from the metadata.
    pub quote_signature: Option<String>,
    /// The displayed order number.
    pub order_number: Option<String>,
    /// The purchased products; empty when the metadata has none.
    pub pieces: Vec<SessionPiece>,
    /// The cancel address that we set, which has our signature.
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
    /// Reads a session of any version of Stripe's API. Returns `None` without an id.
    pub fn read(json: &Value) -> Option<Session> {
        let details = &json["customer_details"];
        // The field with the address depends on the API version. Source:
        // https://docs.stripe.com/changelog/basil/2025-03-31/checkout-collected-information
        let shipping = [
            &json["collected_information"]["shipping_details"],
            &json["shipping_details"],
            &json["shipping"],
        ]
        .into_iter()
        .find(|place| place["address"].is_object());
        // An id, or the object itself where it was expanded.
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
            status: SessionStatus::read(&json["status"]),
            payment_status: PaymentStatus::read(&json["payment_status"]),
            client_reference_id: text(&json["client_reference_id"]),
            payment_intent: id_of("payment_intent"),
            payment_link: id_of("payment_link"),
            custom_order_reference: text(&json["metadata"]["custom_request_id"]),
            quote_reference: text(&json["metadata"]["quote_id"]),
            quote_signature: text(&json["metadata"]["quote_signature"]),
            order_number: text(&json["metadata"]["order_number"]),
            pieces: (0..MOST_PIECES)
                .map_while(|at| text(&json["metadata"][format!("{PIECE}{at}")]))
                .map_while(|piece| SessionPiece::read(&piece))
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

    /// Returns true when the money has arrived (or none was due).
    pub fn is_paid(&self) -> bool {
        self.status == SessionStatus::Complete
            && matches!(
                self.payment_status,
                PaymentStatus::Paid | PaymentStatus::NoPaymentRequired
            )
    }
}

/// An amount of money. `None` for negative amounts, and for amounts so large that sums could overflow.
pub fn amount(json: &Value) -> Option<Cents> {
    let amount = json.as_i64()?;
    (0..=MOST_MONEY).contains(&amount).then_some(Cents(amount))
}

/// A text typed by a person, in the composed form.
fn written(json: &Value) -> Option<String> {
    text(json).map(|text| unicode::nfc(&text).into_owned())
}

/// A text without NUL characters, which JSON allows and PostgreSQL does not; `None` when it is empty.
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
            assert!(
                crate::types::address::country_name(code).is_some(),
                "{code}"
            );
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
            assert_eq!(session.custom_order_reference.as_deref(), Some("17"));
            assert_eq!(session.quote_reference.as_deref(), Some("q"));
        }
        let other = Session::read(&json!({"id": "cs_1", "payment_link": null, "metadata": null}))
            .expect("a session");
        assert_eq!(other.payment_link, None);
        assert_eq!(
            (other.custom_order_reference, other.quote_reference),
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
