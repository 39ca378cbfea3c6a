//! What a form holds: as it was sent, and what is wrong with it.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::config::Secret;
use crate::error::{Error, Fault};
use crate::unicode;

/// A form's fields. A page shows one again with its faults beside the fields, so that nothing typed is lost; the default
/// is an empty one.
#[derive(Clone, Debug, Default)]
pub struct Form {
    fields: Vec<(String, String)>,
    faults: Vec<Fault>,
    /// It may be sent again after this time.
    wait: Option<Duration>,
}

/// What came of a form that a page shows again.
#[derive(Clone, Copy)]
pub enum Verdict {
    Good,
    Faulty,
    /// It may be sent again after this time.
    TooSoon(Duration),
}

impl Form {
    pub fn read(encoded: &[u8]) -> Form {
        Form {
            fields: url::form_urlencoded::parse(encoded)
                .into_owned()
                .map(|(name, value)| composed(name, value))
                .collect(),
            ..Form::default()
        }
    }

    /// A form with these fields, as a page first shows it.
    pub fn of(fields: &[(&str, &str)]) -> Form {
        Form::of_pairs(
            fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    pub fn of_pairs(fields: impl Iterator<Item = (String, String)>) -> Form {
        Form {
            fields: fields.map(|(name, value)| composed(name, value)).collect(),
            ..Form::default()
        }
    }

    /// Sets a field, as for a form that begins with what is known.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.fields.push((name.to_owned(), value.into()));
    }

    /// Whether it was sent at all: an empty one is a page's first.
    pub fn is_sent(&self) -> bool {
        !self.fields.is_empty()
    }

    /// A field without blanks around it, and without what no text in PostgreSQL may hold; empty where it was not sent.
    pub fn get(&self, name: &str) -> String {
        self.raw(name).trim().replace('\0', "")
    }

    /// A password: not a blank of it is taken away.
    pub fn secret(&self, name: &str) -> Secret {
        Secret::new(self.raw(name))
    }

    /// Every value of a field that may come more than once, as checkboxes do.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter().filter(|(key, _)| key == name);
        fields.map(|(_, value)| value.as_str()).collect()
    }

    /// The fields whose name begins so, with the rest of their names: `restock.sunrise` as `sunrise`.
    pub fn starting_with<'a>(&'a self, start: &str) -> Vec<(&'a str, &'a str)> {
        let fields = self.fields.iter();
        let named = fields.filter_map(|(name, value)| Some((name.strip_prefix(start)?, value)));
        named.map(|(name, value)| (name, value.as_str())).collect()
    }

    /// Whether a field has this value: for what is checked or chosen.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.all(name).contains(&value)
    }

    /// What is wrong with a field.
    pub fn fault(&self, name: &str) -> Option<&str> {
        let fault = self.faults.iter().find(|fault| fault.field == name)?;
        Some(&fault.message)
    }

    pub fn is_faulty(&self) -> bool {
        !self.faults.is_empty()
    }

    pub fn verdict(&self) -> Verdict {
        match self.wait {
            Some(wait) => Verdict::TooSoon(wait),
            None if self.is_faulty() => Verdict::Faulty,
            None => Verdict::Good,
        }
    }

    /// The same form with what is wrong with it.
    ///
    /// # Errors
    /// Gives back what is no fault of a field.
    pub fn refused(mut self, error: Error) -> Result<Form, Error> {
        match error {
            Error::Invalid(faults) => {
                self.faults = faults;
                Ok(self)
            }
            Error::TooMany(Some(field), wait, sentence) => {
                self.faults = vec![Fault::new(field, sentence)];
                self.wait = Some(wait);
                Ok(self)
            }
            other => Err(other),
        }
    }

    fn raw(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

/// A field whose text is in the composed form.
fn composed(name: String, value: String) -> (String, String) {
    match unicode::is_text(&name) && !name.contains("password") {
        true => (name, unicode::nfc(&value).into_owned()),
        false => (name, value),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Form {
    type Rejection = std::convert::Infallible;

    /// The guard has read it, because the CSRF token is in it.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Form, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}
