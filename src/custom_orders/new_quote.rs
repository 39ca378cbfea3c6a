//! Input of the owner: the terms of a quote, and texts of several lines.

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::error::{Error, FieldError, Result};
use crate::http::texts::Prose;
use crate::orders::Zone;
use crate::settings::Settings;
use crate::types::money::Cents;

/// A quote for a piece.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewQuote {
    /// Price of the piece, in the smallest unit of the shop's currency. Together with shipping it must be an amount
    /// that Stripe charges: in US dollars, 50 to 99999999.
    #[schema(minimum = 50, maximum = 99_999_999)]
    pub amount: i64,
    /// Description of the quoted piece, shown to the customer.
    #[schema(value_type = Prose)]
    pub description: String,
    /// Destination zone; `us` unless given.
    pub shipping_zone: Option<Zone>,
    /// Price of shipping, in the same unit; the zone's price unless given.
    #[schema(minimum = 0, maximum = 99_999_999)]
    pub shipping: Option<i64>,
    /// Validity in days from approval; the default is a setting.
    #[schema(minimum = 1, maximum = 365)]
    pub valid_days: Option<i32>,
}

impl NewQuote {
    /// Validates the terms and fills in defaults from the settings.
    ///
    /// # Errors
    /// Field errors of its fields.
    pub fn check(self, settings: &Settings) -> Result<Terms> {
        let mut field_errors = Vec::new();
        let zone = self.shipping_zone.unwrap_or(Zone::Us);
        let shipping = self.shipping.unwrap_or_else(|| zone.rate(settings).price.0);
        let currency = settings.currency;
        let most = *currency.charges().end();
        if let Err(wrong) = currency.check_charge(Cents(self.amount)) {
            field_errors.push(FieldError::new("amount", wrong));
        }
        if currency.check_part(Cents(shipping)).is_err()
            || self.amount.saturating_add(shipping) > most
        {
            field_errors.push(FieldError::new(
                "shipping",
                format!(
                    "must not be negative, a multiple of {}, and at most {most} together with the amount",
                    currency.step()
                ),
            ));
        }
        let valid_days = self.valid_days.unwrap_or(settings.quote_valid_days);
        if !(1..=365).contains(&valid_days) {
            field_errors.push(FieldError::new("valid_days", "must be from 1 to 365 days"));
        }
        let description = prose("description", &self.description, 1, &mut field_errors);
        if !field_errors.is_empty() {
            return Err(Error::Invalid(field_errors));
        }
        Ok(Terms {
            currency: currency.code().to_owned(),
            amount: Cents(self.amount),
            shipping: Cents(shipping),
            shipping_zone: zone,
            description,
            valid_days,
        })
    }
}

/// Terms of a quote, as set by the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub currency: String,
    pub amount: Cents,
    pub shipping: Cents,
    pub shipping_zone: Zone,
    pub description: String,
    pub valid_days: i32,
}

impl Terms {
    /// Facts for the audit log that the state of a quote does not show.
    pub fn audit_facts(&self) -> Value {
        json!({"description": self.description, "valid_days": self.valid_days})
    }
}

/// Validates and trims a text of several lines.
fn prose(field: &str, text: &str, least: usize, field_errors: &mut Vec<FieldError>) -> String {
    let text = text.replace("\r\n", "\n").trim().to_owned();
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !(least..=2000).contains(&text.chars().count()) || text.contains(is_odd) {
        field_errors.push(FieldError::new(
            field,
            format!("must have {least} to 2000 characters"),
        ));
    }
    text
}

/// Validates and trims a text of several lines.
///
/// # Errors
/// A field error for fewer characters than `least`, more than 2000, or control characters.
pub fn check_prose(field: &str, text: &str, least: usize) -> Result<String> {
    let mut field_errors = Vec::new();
    let text = prose(field, text, least, &mut field_errors);
    if field_errors.is_empty() {
        Ok(text)
    } else {
        Err(Error::Invalid(field_errors))
    }
}
