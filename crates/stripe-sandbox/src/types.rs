//! Inputs of the sandbox's methods, which its HTTP interface reads from JSON.

use serde::{Deserialize, Serialize};

/// The customer's choice on the hosted payment page.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Payment {
    /// Pays at once by card.
    Card(Buyer),
    /// Completes the session now. Whether it is paid, [`Sandbox::settle_delayed`](crate::Sandbox::settle_delayed)
    /// decides later.
    Delayed(Buyer),
    /// Tries a card that the bank declines. The session stays open.
    Declined(Buyer),
}

impl Payment {
    pub(crate) fn buyer(&self) -> &Buyer {
        match self {
            Payment::Card(buyer) | Payment::Delayed(buyer) | Payment::Declined(buyer) => buyer,
        }
    }
}

/// A dispute as the bank opens it. The default claims fraud and withdraws the money.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct NewDispute {
    /// True for an inquiry: the bank asks about the payment, and withdraws nothing yet.
    pub is_inquiry: bool,
    /// Stripe's reason, such as `product_not_received`.
    pub reason: String,
}

impl Default for NewDispute {
    fn default() -> NewDispute {
        NewDispute {
            is_inquiry: false,
            reason: "fraudulent".to_owned(),
        }
    }
}

/// The paying customer and their shipping address. The default lives in Oregon.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Buyer {
    /// Email address, not checked.
    pub email: String,
    /// Full name, for billing and shipping.
    pub name: String,
    /// Phone number, not checked.
    pub phone: Option<String>,
    /// Billing address, and the shipping address where the session collects one.
    pub address: Address,
    /// Index of the chosen shipping option in the session's list.
    pub shipping_option: usize,
}

impl Default for Buyer {
    fn default() -> Buyer {
        Buyer {
            email: "jane@example.com".into(),
            name: "Jane Shopper".into(),
            phone: None,
            address: Address::default(),
            shipping_option: 0,
        }
    }
}

/// A postal address in Stripe's fields.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct Address {
    /// Street and number.
    pub line1: String,
    /// Apartment or suite.
    pub line2: Option<String>,
    /// City or town.
    pub city: String,
    /// State or province.
    pub state: Option<String>,
    /// ZIP or postal code.
    pub postal_code: String,
    /// Two-letter country code (ISO 3166-1).
    pub country: String,
}

impl Default for Address {
    fn default() -> Address {
        Address {
            line1: "123 Main Street".into(),
            line2: None,
            city: "Portland".into(),
            state: Some("OR".into()),
            postal_code: "97205".into(),
            country: "US".into(),
        }
    }
}
