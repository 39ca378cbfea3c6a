//! The form of the hosted payment page: what a customer types, and what is wrong with it.

use serde::Deserialize;
use serde_json::Value;

use crate::types::{Address, Buyer, Payment};

/// The form's values. The default is the form as first shown.
#[derive(Deserialize)]
#[serde(default)]
pub struct PaymentForm {
    pub email: String,
    name: String,
    line1: String,
    line2: String,
    city: String,
    state: String,
    postal_code: String,
    pub country: String,
    pub shipping_option: usize,
    how: String,
}

/// An input of the form.
pub struct Field {
    pub name: &'static str,
    pub label: &'static str,
    /// HTML input type.
    pub kind: &'static str,
    pub autocomplete: &'static str,
    /// True for half of the form's width.
    pub half: bool,
    pub value: String,
    pub error: Option<&'static str>,
}

/// Messages by the field they belong to.
#[derive(Default)]
pub struct FieldErrors(Vec<(&'static str, &'static str)>);

impl FieldErrors {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The message of a field.
    pub fn get(&self, field: &str) -> Option<&'static str> {
        let error = self.0.iter().find(|(name, _)| *name == field);
        error.map(|(_, message)| *message)
    }

    /// Adds a message unless the field is valid.
    fn require(&mut self, is_valid: bool, field: &'static str, message: &'static str) {
        if !is_valid {
            self.0.push((field, message));
        }
    }
}

impl Default for PaymentForm {
    fn default() -> PaymentForm {
        let Buyer {
            email,
            name,
            address,
            shipping_option,
            ..
        } = Buyer::default();
        PaymentForm {
            email,
            name,
            line1: address.line1,
            line2: address.line2.unwrap_or_default(),
            city: address.city,
            state: address.state.unwrap_or_default(),
            postal_code: address.postal_code,
            country: address.country,
            shipping_option,
            how: String::new(),
        }
    }
}

impl PaymentForm {
    /// Checks the values against what a session collects.
    pub fn errors(&self, session: &Value) -> FieldErrors {
        let mut errors = FieldErrors::default();
        let email = self.email.trim();
        let is_address = email
            .split_once('@')
            .is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
            && !email.contains(char::is_whitespace);
        errors.require(
            is_address,
            "email",
            "Enter an email address, such as jane@example.com.",
        );
        let is_given = |text: &str| !text.trim().is_empty();
        errors.require(is_given(&self.name), "name", "Enter your full name.");
        let Some(countries) =
            session["shipping_address_collection"]["allowed_countries"].as_array()
        else {
            return errors;
        };
        errors.require(
            is_given(&self.line1),
            "line1",
            "Enter the street and number.",
        );
        errors.require(is_given(&self.city), "city", "Enter the city.");
        let needs_state = ["US", "CA", "AU"].contains(&self.country.as_str());
        errors.require(
            !needs_state || is_given(&self.state),
            "state",
            "Enter the state or province.",
        );
        errors.require(
            is_given(&self.postal_code),
            "postal_code",
            "Enter the ZIP or postal code.",
        );
        errors.require(
            countries.iter().any(|code| *code == self.country),
            "country",
            "Choose a country from the list.",
        );
        errors
    }

    /// The form's inputs, save the country; those of an address only if one is collected.
    pub fn fields(&self, has_address: bool, errors: &FieldErrors) -> Vec<Field> {
        // Name, label, type, autocomplete, half of the width, value.
        let contact = [
            ("email", "Email", "email", "email", false, &self.email),
            ("name", "Full name", "text", "name", false, &self.name),
        ];
        #[rustfmt::skip]
        let address = [
            ("line1", "Address line 1", "text", "address-line1", false, &self.line1),
            ("line2", "Address line 2 (optional)", "text", "address-line2", false, &self.line2),
            ("city", "City", "text", "address-level2", true, &self.city),
            ("state", "State", "text", "address-level1", true, &self.state),
            ("postal_code", "ZIP", "text", "postal-code", true, &self.postal_code),
        ];
        contact
            .into_iter()
            .chain(address.into_iter().filter(|_| has_address))
            .map(|(name, label, kind, autocomplete, half, value)| Field {
                name,
                label,
                kind,
                autocomplete,
                half,
                value: value.clone(),
                error: errors.get(name),
            })
            .collect()
    }

    /// The payment that the pressed button makes.
    pub fn payment(&self) -> Payment {
        // PostgreSQL takes no NUL in a text.
        let clean = |text: &str| text.trim().replace('\0', "");
        let optional = |text: &str| Some(clean(text)).filter(|text| !text.is_empty());
        let buyer = Buyer {
            email: clean(&self.email),
            name: clean(&self.name),
            phone: None,
            address: Address {
                line1: clean(&self.line1),
                line2: optional(&self.line2),
                city: clean(&self.city),
                state: optional(&self.state),
                postal_code: clean(&self.postal_code),
                country: clean(&self.country),
            },
            shipping_option: self.shipping_option,
        };
        match self.how.as_str() {
            "delayed" => Payment::Delayed(buyer),
            "declined" => Payment::Declined(buyer),
            _ => Payment::Card(buyer),
        }
    }
}
