//! The form that corrects the customer's data of an order or a custom order.

use super::form::Form;
use crate::error::Error;
use crate::orders::{CorrectedAddress, CustomerCorrection, Order};
use crate::types::address;

/// The form that corrects the customer's data, as it first appears: with the data of an order, if there is one.
pub fn customer_form(name: Option<&str>, email: Option<&str>, order: Option<&Order>) -> Form {
    let mut form = Form::default();
    form.set("customer_name", name.unwrap_or_default());
    form.set("email", email.unwrap_or_default());
    if let Some(order) = order {
        let address = order.address().unwrap_or_default();
        for (name, value) in [
            ("phone", order.phone.clone()),
            ("shipping_name", order.shipping_name.clone()),
            ("line1", address.line1),
            ("line2", address.line2),
            ("city", address.city),
            ("state", address.state),
            ("postal_code", address.postal_code),
            ("country", address.country),
        ] {
            form.set(name, value.unwrap_or_default());
        }
    }
    form
}

/// The countries to choose from: code, name, and whether it is chosen.
pub fn countries(form: &Form) -> Vec<(String, &'static str, bool)> {
    let chosen = form.get("country").to_ascii_uppercase();
    let mut countries: Vec<_> = address::countries()
        .map(|(code, name)| (code.to_owned(), name, code == chosen))
        .collect();
    if !chosen.is_empty() && countries.iter().all(|(.., is_chosen)| !is_chosen) {
        countries.push((chosen, "", true));
    }
    countries
}

/// The correction that a form asks for. A form without an address belongs to a custom order that is not paid.
pub fn customer(form: &Form) -> CustomerCorrection {
    let has_address = form.all("line1").len() == 1;
    let of_order = |name: &str| has_address.then(|| form.get(name));
    CustomerCorrection {
        customer_name: Some(form.get("customer_name")),
        email: Some(form.get("email")),
        phone: of_order("phone"),
        shipping_name: of_order("shipping_name"),
        shipping_address: has_address.then(|| {
            let part = |name: &str| Some(form.get(name)).filter(|part| !part.is_empty());
            let address = CorrectedAddress {
                line1: part("line1"),
                line2: part("line2"),
                city: part("city"),
                state: part("state"),
                postal_code: part("postal_code"),
                country: part("country"),
            };
            // A form without any part removes it.
            Some(address).filter(|address| *address != CorrectedAddress::default())
        }),
        send_confirmation: form.get("send_confirmation") == "true",
    }
}

/// Moves errors of `shipping_address.line1` and the like to the fields of the form.
pub fn by_part(error: Error) -> Error {
    match error {
        Error::Invalid(mut field_errors) => {
            for field_error in &mut field_errors {
                if let Some(part) = field_error.field.strip_prefix("shipping_address.") {
                    field_error.field = part.to_owned();
                }
            }
            Error::Invalid(field_errors)
        }
        other => other,
    }
}
