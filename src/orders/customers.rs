//! Corrections of the customer's data: who bought, and where it goes.

use serde::Deserialize;
use serde_json::Value;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::settlement::{has_address, review_zone};
use super::store::Customer;
use super::{Order, Zone, store};
use crate::error::{Code, Error, FieldError, Result};
use crate::http::nulls;
use crate::mail;
use crate::review_items::{self, Kind, NewItem};
use crate::types::address::{self, Address};

/// Corrections of a customer's data. What is not given stays as it is; null or an empty text removes it.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerCorrection {
    #[serde(default, deserialize_with = "nulls::null_as_empty")]
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub customer_name: Option<String>,
    #[serde(default, deserialize_with = "nulls::null_as_empty")]
    #[schema(max_length = 254, pattern = r"^([^\x00]*@[^\x00]*|\s*)$")]
    pub email: Option<String>,
    #[serde(default, deserialize_with = "nulls::null_as_empty")]
    #[schema(max_length = 50, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub phone: Option<String>,
    /// Recipient of the shipment.
    #[serde(default, deserialize_with = "nulls::null_as_empty")]
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub shipping_name: Option<String>,
    /// The whole address: parts that are not given are removed. Null removes it.
    #[serde(default, deserialize_with = "nulls::given")]
    #[schema(value_type = Option<CorrectedAddress>)]
    pub shipping_address: Option<Option<CorrectedAddress>>,
    /// Sends the confirmation again, with the corrected data.
    #[serde(default)]
    #[schema(required = false)]
    pub send_confirmation: bool,
}

/// A corrected postal address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CorrectedAddress {
    #[schema(
        required = true,
        nullable = false,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub line1: Option<String>,
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub line2: Option<String>,
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub city: Option<String>,
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub state: Option<String>,
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub postal_code: Option<String>,
    /// ISO 3166, two letters, of a country that the shop ships to.
    #[schema(required = true, nullable = false, pattern = r"^\s*[A-Za-z]{2}\s*$")]
    pub country: Option<String>,
}

/// Limit of characters in a name or a part of an address.
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

    /// Corrects a name and an email address. Only what differs is checked, because what is known may be against the rules:
    /// Stripe has its own.
    ///
    /// # Errors
    /// Field errors.
    pub fn applied_to_name(
        &self,
        name: Option<&str>,
        email: Option<&str>,
    ) -> Result<CorrectedContact> {
        let mut check = Check::default();
        let name = check.line(
            "customer_name",
            self.customer_name.as_deref(),
            name,
            LONGEST,
        );
        let email = check.email(self.email.as_deref(), email);
        let changed = check.finish()?;
        Ok(CorrectedContact {
            name,
            email,
            changed,
        })
    }

    /// The customer of the order as it should have been recorded, and the names of the columns that differ. Only those are
    /// checked.
    fn applied_to(&self, order: &Order) -> Result<(Customer, Vec<&'static str>)> {
        let mut check = Check::default();
        let mut line = |name, given: &Option<String>, known: &Option<String>, most| {
            check.line(name, given.as_deref(), known.as_deref(), most)
        };
        let mut customer = Customer {
            customer_name: line(
                "customer_name",
                &self.customer_name,
                &order.customer_name,
                LONGEST,
            ),
            phone: line("phone", &self.phone, &order.phone, 50),
            shipping_name: line(
                "shipping_name",
                &self.shipping_name,
                &order.shipping_name,
                LONGEST,
            ),
            email: check.email(self.email.as_deref(), order.email.as_deref()),
            shipping_address: order.shipping_address.clone(),
        };
        if let Some(given) = &self.shipping_address {
            check.address(
                given.as_ref(),
                &mut customer.shipping_address,
                order.address(),
            );
        }
        Ok((customer, check.finish()?))
    }
}

/// A name and an email address after a correction.
pub struct CorrectedContact {
    pub name: Option<String>,
    pub email: Option<String>,
    /// Names of the fields that differ.
    pub changed: Vec<&'static str>,
}

/// Checks the given fields that differ from the known ones.
#[derive(Default)]
struct Check {
    field_errors: Vec<FieldError>,
    changed: Vec<&'static str>,
}

impl Check {
    /// Returns the text to store: the known one, unless another is given.
    fn line(
        &mut self,
        name: &'static str,
        given: Option<&str>,
        known: Option<&str>,
        most: usize,
    ) -> Option<String> {
        let known = known.map(str::to_owned);
        let Some(given) = given.map(trim) else {
            return known;
        };
        if given == known.as_deref().and_then(trim) {
            return known;
        }
        self.changed.push(name);
        self.length(name, given.as_deref(), most);
        given
    }

    fn length(&mut self, name: &str, text: Option<&str>, most: usize) {
        let text = text.unwrap_or_default();
        if text.chars().count() > most || text.contains(char::is_control) {
            let message = format!("must have at most {most} characters, on one line");
            self.field_errors.push(FieldError::new(name, message));
        }
    }

    fn email(&mut self, given: Option<&str>, known: Option<&str>) -> Option<String> {
        let email = self.line("email", given, known, 254);
        let is_wrong = |email: &str| mail::parse_address(email).is_none();
        if self.changed.contains(&"email") && email.as_deref().is_some_and(is_wrong) {
            let message = "is no email address";
            self.field_errors.push(FieldError::new("email", message));
        }
        email
    }

    /// Replaces the stored address if another is given.
    fn address(
        &mut self,
        given: Option<&CorrectedAddress>,
        stored: &mut Option<Value>,
        known: Option<Address>,
    ) {
        let known = known.unwrap_or_default().trimmed();
        let address = given.map(CorrectedAddress::address).unwrap_or_default();
        if address == known {
            return;
        }
        self.changed.push("shipping_address");
        if given.is_none() {
            *stored = None;
            return;
        }
        for ((name, part), (_, known)) in address.parts().into_iter().zip(known.parts()) {
            if part != known {
                self.length(&format!("shipping_address.{name}"), part, LONGEST);
            }
        }
        let mut wrong = |name: &str, message: &str| {
            let name = format!("shipping_address.{name}");
            self.field_errors.push(FieldError::new(name, message));
        };
        if address.line1.is_none() {
            wrong("line1", "is needed in an address");
        }
        let country = address.country.as_deref().unwrap_or_default();
        if address.country != known.country && address::country_name(country).is_none()
            || address.country.is_none()
        {
            wrong(
                "country",
                "must be the two letters of a country that the shop ships to, such as US",
            );
        }
        *stored = Some(serde_json::to_value(address).expect("texts are JSON"));
    }

    fn finish(self) -> Result<Vec<&'static str>> {
        match self.field_errors.is_empty() {
            true => Ok(self.changed),
            false => Err(Error::Invalid(self.field_errors)),
        }
    }
}

impl CorrectedAddress {
    fn address(&self) -> Address {
        let CorrectedAddress {
            line1,
            line2,
            city,
            state,
            postal_code,
            country,
        } = self.clone();
        let address = Address {
            line1,
            line2,
            city,
            state,
            postal_code,
            country,
        };
        address.trimmed()
    }
}

/// Removes surrounding spaces. None where nothing is left.
fn trim(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
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
    let (customer, changed) = correction.applied_to(order)?;
    let mut after = order.clone();
    if !changed.is_empty() {
        after = store::set_customer(conn, order.id, &customer, &changed).await?;
        let note = in_words(&changed);
        store::add_timeline_entry(conn, order.id, CORRECTED, actor, &note).await?;
    }
    let corrections = store::count_timeline_entries(conn, order.id, CORRECTED).await?;
    if changed.contains(&"shipping_address") {
        let states = (has_address(order), &after);
        after = check_address(conn, states, actor, corrections).await?;
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
    (had_address, order): (bool, &Order),
    actor: &str,
    corrections: i64,
) -> Result<Order> {
    let country = order.address().and_then(|address| address.country);
    let zone = country.as_deref().and_then(Zone::of_country);
    let outside_zone =
        matches!((order.shipping_zone, zone), (Some(paid), Some(now)) if paid != now);
    let (id, result) = (order.id, "the address is corrected");
    let cause = format!("outside_zone:{id}:{corrections}");
    review_zone(conn, order, outside_zone, actor, cause, result).await?;
    if has_address(order) {
        review_items::settle(conn, &format!("address_missing:{id}"), actor, result).await?;
    } else if had_address && order.paid_at.is_some() && !order.was_handed_over() {
        let cause = format!("address_missing:{id}:{corrections}");
        let text = "its address was removed, and nobody said where to ship it";
        let item = NewItem::new(Kind::AddressMissing, cause, text);
        review_items::flag(conn, id, actor, &item).await?;
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
