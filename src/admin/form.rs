//! What a form holds: as it was sent, and what is wrong with it.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::config::Secret;
use crate::error::{Error, FieldError};
use crate::unicode;

/// A form's fields. A page shows one again with its field errors beside the fields, so that nothing typed is lost; the default
/// is an empty one.
#[derive(Clone, Debug, Default)]
pub struct Form {
    fields: Vec<(String, String)>,
    field_errors: Vec<FieldError>,
    /// It may be sent again after this time.
    wait: Option<Duration>,
}

/// What came of a form that a page shows again.
#[derive(Clone, Copy)]
pub enum Verdict {
    Good,
    Invalid,
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
    pub fn field_error(&self, name: &str) -> Option<&str> {
        let field_error = self
            .field_errors
            .iter()
            .find(|field_error| field_error.field == name)?;
        Some(&field_error.message)
    }

    pub fn has_errors(&self) -> bool {
        !self.field_errors.is_empty()
    }

    pub fn verdict(&self) -> Verdict {
        match self.wait {
            Some(wait) => Verdict::TooSoon(wait),
            None if self.has_errors() => Verdict::Invalid,
            None => Verdict::Good,
        }
    }

    /// The same form with what is wrong with it.
    ///
    /// # Errors
    /// Gives back what is no field error of a field.
    pub fn refused(mut self, error: Error) -> Result<Form, Error> {
        match error {
            Error::Invalid(field_errors) => {
                self.field_errors = field_errors;
                Ok(self)
            }
            Error::TooMany(Some(field), wait, sentence) => {
                self.field_errors = vec![FieldError::new(field, sentence)];
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
