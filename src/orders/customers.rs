//! Corrections of the customer's data: who bought, and where it goes.

use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::settlement::{flag_outside_zone, has_address};
use super::store::Customer;
use super::{Order, Zone, store};
use crate::error::{Code, Error, FieldError, Result};
use crate::mail;
use crate::review_items;
use crate::types::address::Address;

/// Corrections of a customer's data. What is not given stays as it is; an empty text removes it.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerCorrection {
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub customer_name: Option<String>,
    #[schema(max_length = 254, pattern = r"^([^\x00]*@[^\x00]*|\s*)$")]
    pub email: Option<String>,
    #[schema(max_length = 50, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub phone: Option<String>,
    /// Recipient of the shipment.
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub shipping_name: Option<String>,
    /// The whole address: at least street and country. Without any part, it is removed.
    pub shipping_address: Option<Address>,
    /// Sends the confirmation again, with the corrected data.
    #[serde(default)]
    #[schema(required = false)]
    pub send_confirmation: bool,
}

/// Longest part of an address.
const LONGEST: usize = 200;

impl CustomerCorrection {
    /// Checks that it names nothing that is known only from a payment.
    ///
    /// # Errors
    /// Field errors.
    pub fn check_before_payment(&self) -> Result<()> {
        let early = [
            ("phone", self.phone.is_some()),
            ("shipping_name", self.shipping_name.is_some()),
            ("shipping_address", self.shipping_address.is_some()),
        ];
        let early = early.into_iter().filter(|(_, is_given)| *is_given);
        let message = "is asked for when it is paid";
        let field_errors: Vec<FieldError> = early
            .map(|(name, _)| FieldError::new(name, message))
            .collect();
        match field_errors.is_empty() {
            true => Ok(()),
            false => Err(Error::Invalid(field_errors)),
        }
    }

    /// Checks all fields, and returns them without surrounding spaces.
    ///
    /// # Errors
    /// Field errors.
    pub fn check(&self) -> Result<CustomerCorrection> {
        let mut field_errors = Vec::new();
        let mut line = |name: &str, text: Option<&str>, most: usize| {
            let text = text?.trim().to_owned();
            if text.chars().count() > most || text.contains(char::is_control) {
                let message = format!("must have at most {most} characters, on one line");
                field_errors.push(FieldError::new(name, message));
            }
            Some(text)
        };
        let customer_name = line("customer_name", self.customer_name.as_deref(), 200);
        let email = line("email", self.email.as_deref(), 254);
        let phone = line("phone", self.phone.as_deref(), 50);
        let shipping_name = line("shipping_name", self.shipping_name.as_deref(), 200);
        let address = self.shipping_address.as_ref().map(|address| {
            let mut part = |name: &str, part: &Option<String>| {
                let part = line(
                    &format!("shipping_address.{name}"),
                    part.as_deref(),
                    LONGEST,
                );
                part.filter(|part| !part.is_empty())
            };
            Address {
                line1: part("line1", &address.line1),
                line2: part("line2", &address.line2),
                city: part("city", &address.city),
                state: part("state", &address.state),
                postal_code: part("postal_code", &address.postal_code),
                country: part("country", &address.country).map(|code| code.to_ascii_uppercase()),
            }
        });
        if let Some(address) = address.as_ref().filter(|some| **some != Address::default()) {
            if address.line1.is_none() {
                let message = "is needed in an address";
                field_errors.push(FieldError::new("shipping_address.line1", message));
            }
            let country = address.country.as_deref().unwrap_or_default();
            if Zone::of_country(country).is_none() {
                let message = "must be the two letters of a country, such as US";
                field_errors.push(FieldError::new("shipping_address.country", message));
            }
        }
        if let Some(email) = email.as_deref().filter(|email| !email.is_empty())
            && mail::parse_address(email).is_none()
        {
            field_errors.push(FieldError::new("email", "is no email address"));
        }
        match field_errors.is_empty() {
            true => Ok(CustomerCorrection {
                customer_name,
                email,
                phone,
                shipping_name,
                shipping_address: address,
                send_confirmation: self.send_confirmation,
            }),
            false => Err(Error::Invalid(field_errors)),
        }
    }

    /// The customer of the order as it should have been recorded, and the names of the columns that differ.
    fn applied_to(self, order: &Order) -> (Customer, Vec<&'static str>) {
        let mut changed = Vec::new();
        let mut text = |name: &'static str, new: Option<String>, old: &Option<String>| {
            let new = match new {
                Some(new) => Some(new).filter(|new| !new.is_empty()),
                None => old.clone(),
            };
            if new != *old {
                changed.push(name);
            }
            new
        };
        let mut customer = Customer {
            customer_name: text("customer_name", self.customer_name, &order.customer_name),
            email: text("email", self.email, &order.email),
            phone: text("phone", self.phone, &order.phone),
            shipping_name: text("shipping_name", self.shipping_name, &order.shipping_name),
            shipping_address: order.shipping_address.clone(),
        };
        if let Some(address) = self.shipping_address
            && address != order.address().unwrap_or_default()
        {
            customer.shipping_address = (address != Address::default())
                .then(|| serde_json::to_value(address).expect("texts are JSON"));
            changed.push("shipping_address");
        }
        (customer, changed)
    }
}

/// Kind of the timeline entry of corrected data.
const CORRECTED: &str = "customer";

/// An order after the correction of its customer's data.
pub struct CorrectedCustomer {
    pub order: Order,
    /// Names of the fields that differ.
    pub changed: Vec<&'static str>,
    /// Number of all corrections, this one included.
    pub corrections: i64,
}

/// Corrects the customer's data of a locked order that is paid or being paid. No amount changes. Review items about its
/// address follow. The caller writes the audit entry and queues the email.
///
/// Safe to repeat: data that is right already stays as it is.
///
/// # Errors
/// Field errors; 409 `not_paid`.
pub async fn correct_customer(
    conn: &mut PgConnection,
    order: &Order,
    correction: &CustomerCorrection,
    actor: &str,
) -> Result<CorrectedCustomer> {
    if order.paid_at.is_none() && !order.is_processing() {
        let why = format!("{} is not paid.", order.display_number());
        return Err(Error::Conflict(Code::NotPaid, why));
    }
    let (customer, changed) = correction.check()?.applied_to(order);
    let mut after = order.clone();
    if !changed.is_empty() {
        after = store::set_customer(conn, order.id, &customer, &changed).await?;
        let note = in_words(&changed);
        store::add_timeline_entry(conn, order.id, CORRECTED, actor, &note).await?;
    }
    let corrections = store::count_timeline_entries(conn, order.id, CORRECTED).await?;
    if changed.contains(&"shipping_address") {
        after = check_address(conn, &after, actor, corrections).await?;
    }
    Ok(CorrectedCustomer {
        order: after,
        changed,
        corrections,
    })
}

/// Settles or raises the review items about a corrected address.
async fn check_address(
    conn: &mut PgConnection,
    order: &Order,
    actor: &str,
    corrections: i64,
) -> Result<Order> {
    let country = order.address().and_then(|address| address.country);
    let zone = country.as_deref().and_then(Zone::of_country);
    let outside_zone =
        matches!((order.shipping_zone, zone), (Some(paid), Some(now)) if paid != now);
    let (id, result) = (order.id, "the address is corrected");
    match outside_zone {
        true if !order.outside_zone => {
            let cause = format!("outside_zone:{id}:{corrections}");
            flag_outside_zone(conn, id, actor, cause).await?;
        }
        true => {}
        false => review_items::settle(conn, &format!("outside_zone:{id}"), actor, result).await?,
    }
    if has_address(order) {
        review_items::settle(conn, &format!("address_missing:{id}"), actor, result).await?;
    }
    store::set_outside_zone(conn, id, outside_zone).await
}

/// Names of fields for people.
pub fn in_words(changed: &[&str]) -> String {
    let words = changed.iter().map(|name| match *name {
        "customer_name" => "name",
        "shipping_name" => "recipient",
        "shipping_address" => "shipping address",
        other => other,
    });
    words.collect::<Vec<_>>().join(", ")
}
