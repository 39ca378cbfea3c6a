//! Payment links: what we ask for, and what we read of one.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::session::text;
use crate::ids::{CustomOrderId, QuoteId};
use crate::money::Cents;

/// What a closed link says instead of taking a payment.
pub(super) const INACTIVE_MESSAGE: &str = "This link takes no more payments: the piece is paid for, or the quote no \
     longer stands. If you meant to pay here, please answer our email, and we will help.";

/// The longest description that we send, in characters. Stripe takes eight times as much, which nobody reads while
/// paying.
const DESCRIPTION_CHARS: usize = 5_000;

/// A payment link that we mean to ask for, good for one payment. It is stored before we ask, so that asking again is
/// the same call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewPaymentLink {
    pub quote: QuoteId,
    pub custom_order: CustomOrderId,
    /// Told to Stripe in the metadata: by it we know our own link, even when we have lost the quote. None in calls stored
    /// by earlier versions.
    #[serde(default)]
    pub signature: Option<String>,
    /// Three lower-case letters (ISO 4217).
    pub currency: String,
    /// What the line of the piece is called.
    pub name: String,
    /// What the price covers. Only the first 5,000 characters are sent.
    pub description: Option<String>,
    pub amount: Cents,
    /// What the line of the shipping is called.
    pub shipping_name: String,
    /// Where it is nothing, shipping has no line.
    pub shipping: Cents,
    /// Where the shipment may go (ISO 3166). Empty in calls stored by earlier versions: to every country that we send to.
    #[serde(default)]
    pub countries: Vec<String>,
    /// Where the shopper goes after paying.
    pub return_url: String,
    /// The idempotency key, at most 255 characters.
    pub key: String,
}

impl NewPaymentLink {
    /// The description as Stripe takes it: no empty one, and none too long.
    pub(super) fn description_sent(&self) -> Option<String> {
        let text = self.description.as_deref()?.trim();
        (!text.is_empty()).then(|| text.chars().take(DESCRIPTION_CHARS).collect())
    }
}

/// What Stripe says of a payment link; only what we act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentLink {
    pub id: String,
    /// Where the shopper pays; its page says so once the link is closed.
    pub url: String,
    /// False once it is paid, or closed by us. A session opened before can be paid all the same.
    pub active: bool,
}

impl PaymentLink {
    /// Reads a payment link. None where it has no id or no address: then it is none.
    pub fn read(json: &Value) -> Option<PaymentLink> {
        Some(PaymentLink {
            id: text(&json["id"])?,
            url: text(&json["url"])?,
            active: json["active"].as_bool().unwrap_or(false),
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
                signature: None,
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
