//! Shipping addresses, which were Stripe's, the bill's, or any JSON that somebody typed.

use serde_json::{Map, Value};

use crate::orders::Zone;
use crate::types::address::{Address, countries};

/// An address as read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ReadAddress {
    pub name: Option<String>,
    pub address: Option<Address>,
    /// What has no place in an address.
    pub note: Option<String>,
}

impl ReadAddress {
    pub fn read(value: &Value) -> ReadAddress {
        match value {
            Value::Null => ReadAddress::default(),
            Value::Object(fields) => read_object(fields),
            Value::String(text) => match text.replace('\0', "").trim() {
                "" => ReadAddress::default(),
                text => ReadAddress {
                    address: Some(Address {
                        line1: Some(text.to_owned()),
                        ..Address::default()
                    }),
                    ..ReadAddress::default()
                },
            },
            other => ReadAddress {
                note: Some(format!("The old shop's address: {}", plain(other))),
                ..ReadAddress::default()
            },
        }
    }

    pub fn zone(&self) -> Option<Zone> {
        let country = self.address.as_ref()?.country.as_deref()?;
        zone(country)
    }
}

fn read_object(fields: &Map<String, Value>) -> ReadAddress {
    let mut rest = fields.clone();
    // Stripe's shipping details have the address inside.
    if let Some(Value::Object(inner)) = rest.get("address").cloned() {
        rest.remove("address");
        for (name, value) in inner {
            rest.entry(name).or_insert(value);
        }
    }
    let mut take = |name: &str| match rest.remove(name) {
        Some(Value::String(text)) => Some(text.replace('\0', "")).filter(|text| !text.is_empty()),
        Some(number @ Value::Number(_)) => Some(number.to_string()),
        Some(Value::Null) | None => None,
        Some(other) => {
            rest.insert(name.to_owned(), other);
            None
        }
    };
    let name = take("name");
    let address = Address {
        line1: take("line1"),
        line2: take("line2"),
        city: take("city"),
        state: take("state"),
        postal_code: take("postal_code"),
        country: take("country"),
    };
    rest.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    let note = (!rest.is_empty()).then(|| {
        format!(
            "More of the old shop's address: {}",
            plain(&Value::Object(rest))
        )
    });
    ReadAddress {
        name,
        address: (address != Address::default()).then_some(address),
        note,
    }
}

/// JSON without NUL characters, which PostgreSQL does not take.
fn plain(value: &Value) -> String {
    value.to_string().replace("\\u0000", "")
}

/// The zone of a country, by its code or its English name.
fn zone(country: &str) -> Option<Zone> {
    let country = country.trim();
    let plain = country.replace('.', "");
    let code = match plain.to_ascii_uppercase().as_str() {
        "USA" | "UNITED STATES OF AMERICA" => "US",
        "UK" | "GREAT BRITAIN" | "ENGLAND" | "SCOTLAND" | "WALES" => "GB",
        name => countries()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map_or(country, |(code, _)| code),
    };
    Zone::of_country(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_six_fields_are_the_address_and_the_rest_is_a_note() {
        let read = ReadAddress::read(&json!({
            "name": "Kit", "line1": "1 Kiln St", "line2": null, "city": "", "postal_code": 97000, "country": "US",
            "phone": "1", "door": null,
        }));
        let address = read.address.as_ref().expect("an address");
        assert_eq!(address.line1.as_deref(), Some("1 Kiln St"));
        assert_eq!((&address.line2, &address.city), (&None, &None));
        assert_eq!(address.postal_code.as_deref(), Some("97000"));
        assert_eq!(read.name.as_deref(), Some("Kit"));
        assert_eq!(
            read.note.as_deref(),
            Some(r#"More of the old shop's address: {"phone":"1"}"#)
        );
        assert_eq!(read.zone(), Some(Zone::Us));
    }

    #[test]
    fn any_json_is_read_as_far_as_it_goes() {
        for nothing in [json!(null), json!({}), json!(""), json!({"line1": null})] {
            assert_eq!(
                ReadAddress::read(&nothing),
                ReadAddress::default(),
                "{nothing}"
            );
        }
        let text = ReadAddress::read(&json!("12 Main St, Ashton"));
        let line = text.address.expect("an address").line1;
        assert_eq!(line.as_deref(), Some("12 Main St, Ashton"));
        let list = ReadAddress::read(&json!(["12 Main St"]));
        assert_eq!(list.address, None);
        assert!(list.note.is_some_and(|note| note.contains("12 Main St")));
        let inside = ReadAddress::read(&json!({"name": "Kit", "address": {"city": "Ashton"}}));
        assert_eq!(inside.name.as_deref(), Some("Kit"));
        assert!(inside.address.is_some() && inside.note.is_none());
    }

    #[test]
    fn a_country_may_be_written_out() {
        for (country, expected) in [
            ("us", Some(Zone::Us)),
            ("U.S.A.", Some(Zone::Us)),
            ("United States", Some(Zone::Us)),
            ("canada", Some(Zone::NorthAmerica)),
            ("Germany", Some(Zone::International)),
            ("UK", Some(Zone::International)),
            ("Atlantis", None),
        ] {
            assert_eq!(zone(country), expected, "{country}");
        }
    }
}
