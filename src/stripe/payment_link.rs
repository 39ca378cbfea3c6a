//! Payment links: request and response.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::session::text;
use crate::types::ids::{CustomOrderId, QuoteId};
use crate::types::money::Cents;

/// Text on a closed link's page.
pub(super) const INACTIVE_MESSAGE: &str = "This link takes no more payments: the piece is paid for, or the quote no \
     longer stands. If you meant to pay here, please answer our email, and we will help.";

/// Limit of the description in characters. Stripe accepts eight times as much, which nobody reads while paying.
const DESCRIPTION_CHARS: usize = 5_000;

/// Request for a payment link for one payment. It is stored before the call, so that a retry sends the same request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewPaymentLink {
    pub quote: QuoteId,
    pub custom_order: CustomOrderId,
    /// Stored in the metadata; it proves that a link is ours even when the quote is lost.
    pub signature: String,
    /// Three lower-case letters (ISO 4217).
    pub currency: String,
    /// Name of the piece's line.
    pub name: String,
    /// Description of the quoted piece. Only the first 5,000 characters are sent.
    pub description: Option<String>,
    pub amount: Cents,
    /// Name of the shipping line.
    pub shipping_name: String,
    /// Without shipping costs, there is no shipping line.
    pub shipping: Cents,
    /// Destination countries (ISO 3166).
    pub countries: Vec<String>,
    /// Destination after payment.
    pub return_url: String,
    /// The idempotency key, at most 255 characters.
    pub key: String,
}

impl NewPaymentLink {
    /// The description within Stripe's limits: not empty, not too long.
    pub(super) fn description_sent(&self) -> Option<String> {
        let text = self.description.as_deref()?.trim();
        (!text.is_empty()).then(|| text.chars().take(DESCRIPTION_CHARS).collect())
    }
}

/// A payment link at Stripe; only the fields that the shop uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentLink {
    pub id: String,
    /// The payment page. After closing it shows a message.
    pub url: String,
    /// False once it is paid or closed. A session opened earlier can still be paid.
    pub active: bool,
}

impl PaymentLink {
    /// Reads a payment link. Returns `None` without id or address.
    pub fn read(json: &Value) -> Option<PaymentLink> {
        Some(PaymentLink {
            id: text(&json["id"])?,
            url: text(&json["url"])?,
            active: json["active"].as_bool().unwrap_or(false),
        })
    }
}

/// A payment link that the shop before this one made: it names no quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldPaymentLink {
    pub link: PaymentLink,
    /// The custom order that it names.
    pub custom_order: Option<CustomOrderId>,
}

impl OldPaymentLink {
    /// Reads a payment link. Returns `None` for one of ours, and without id or address.
    pub fn read(json: &Value) -> Option<OldPaymentLink> {
        let metadata = &json["metadata"];
        if !metadata["quote_id"].is_null() {
            return None;
        }
        let named = text(&metadata["custom_request_id"]).and_then(|id| id.parse().ok());
        Some(OldPaymentLink {
            link: PaymentLink::read(json)?,
            custom_order: named.map(CustomOrderId),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_link_without_its_address_is_none() {
        assert_eq!(PaymentLink::read(&json!({"id": "plink_1"})), None);
        let link = PaymentLink::read(&json!({"id": "plink_1", "url": "https://buy.stripe.com/1"}))
            .expect("a link");
        assert!(!link.active, "what Stripe does not say is not so");
    }

    #[test]
    fn a_description_is_cut_between_characters_and_never_empty() {
        let sent = |description: Option<&str>| {
            NewPaymentLink {
                quote: QuoteId::new(),
                custom_order: CustomOrderId::new(),
                signature: String::new(),
                currency: "usd".to_owned(),
                name: "Custom piece".to_owned(),
                description: description.map(str::to_owned),
                amount: Cents(9_000),
                shipping_name: "Shipping".to_owned(),
                shipping: Cents(0),
                countries: Vec::new(),
                return_url: "http://shop.test/".to_owned(),
                key: "quote-1".to_owned(),
            }
            .description_sent()
        };
        assert_eq!(sent(None), None);
        assert_eq!(sent(Some(" \n")), None);
        assert_eq!(sent(Some(" beads ")).as_deref(), Some("beads"));
        assert_eq!(
            sent(Some(&"é".repeat(6_000))),
            Some("é".repeat(DESCRIPTION_CHARS))
        );
    }
}
