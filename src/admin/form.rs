//! A submitted form and its validation errors.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use crate::config::Secret;
use crate::error::{Code, Error, FieldError};
use crate::types::unicode;

/// The fields of a form. A refused form is shown again with its errors beside the fields, so nothing that was typed is
/// lost. The default is an empty form.
#[derive(Clone, Debug, Default)]
pub struct Form {
    fields: Vec<(String, String)>,
    field_errors: Vec<FieldError>,
    /// Time to wait before the form may be sent again.
    wait: Option<Duration>,
}

/// Outcome of a form that is shown again.
#[derive(Clone, Copy)]
pub enum Verdict {
    Good,
    Invalid,
    /// The form may be sent again after this time.
    TooSoon(Duration),
}

impl Form {
    /// Reads a form in the encoding of browsers.
    pub fn read(encoded: &[u8]) -> Form {
        Form {
            fields: url::form_urlencoded::parse(encoded)
                .into_owned()
                .map(|(name, value)| composed(name, value))
                .collect(),
            ..Form::default()
        }
    }

    /// Creates a form with the given fields, for the first display of a page.
    pub fn of(fields: &[(&str, &str)]) -> Form {
        Form::of_pairs(
            fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    /// Creates a form from names and values.
    pub fn of_pairs(fields: impl Iterator<Item = (String, String)>) -> Form {
        Form {
            fields: fields.map(|(name, value)| composed(name, value)).collect(),
            ..Form::default()
        }
    }

    /// Sets a field, to prefill a form.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.fields.push((name.to_owned(), value.into()));
    }

    /// Reports whether the form was submitted. An empty form is the first one of a page.
    pub fn is_sent(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Returns a field without surrounding whitespace and without NUL characters, which PostgreSQL text cannot contain.
    /// Missing fields are empty.
    pub fn get(&self, name: &str) -> String {
        self.raw(name).trim().replace('\0', "")
    }

    /// Returns a password exactly as typed: whitespace may be a part of it.
    pub fn secret(&self, name: &str) -> Secret {
        Secret::new(self.raw(name))
    }

    /// Returns every value of a field that may repeat, such as checkboxes.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter().filter(|(key, _)| key == name);
        fields.map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the fields whose names start with `start`, without that prefix: `restock.sunrise` becomes `sunrise`.
    pub fn starting_with<'a>(&'a self, start: &str) -> Vec<(&'a str, &'a str)> {
        let fields = self.fields.iter();
        let named = fields.filter_map(|(name, value)| Some((name.strip_prefix(start)?, value)));
        named.map(|(name, value)| (name, value.as_str())).collect()
    }

    /// Reports whether a field has this value, for checkboxes and selects.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.all(name).contains(&value)
    }

    /// Returns the error of a field.
    pub fn field_error(&self, name: &str) -> Option<&str> {
        let field_error = self
            .field_errors
            .iter()
            .find(|field_error| field_error.field == name)?;
        Some(&field_error.message)
    }

    /// Returns true if the form was refused: its page then shows the submitted values with the messages.
    pub fn has_errors(&self) -> bool {
        !self.field_errors.is_empty()
    }

    /// Returns the outcome of the checks so far.
    pub fn verdict(&self) -> Verdict {
        match self.wait {
            Some(wait) => Verdict::TooSoon(wait),
            None if self.has_errors() => Verdict::Invalid,
            None => Verdict::Good,
        }
    }

    /// Attaches the errors to the form, to show it again.
    ///
    /// # Errors
    /// Returns `error` itself if it does not belong to the form.
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

/// Shows a slug that another product or category uses as an error beside the field.
pub fn slug_as_field_error(error: Error) -> Error {
    match error {
        Error::Conflict(Code::SlugTaken, sentence) => Error::invalid("slug", sentence),
        other => other,
    }
}

/// Moves errors of `images[1]` and the like to the field `images`, which shows them.
pub fn by_field(error: Error) -> Error {
    match error {
        Error::Invalid(mut field_errors) => {
            for field_error in &mut field_errors {
                if let Some(end) = field_error.field.find('[') {
                    field_error.field.truncate(end);
                }
            }
            Error::Invalid(field_errors)
        }
        other => other,
    }
}

/// Normalizes a text field to NFC. Passwords stay as typed.
fn composed(name: String, value: String) -> (String, String) {
    match unicode::is_text(&name) && !name.contains("password") {
        true => (name, unicode::nfc(&value).into_owned()),
        false => (name, value),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Form {
    type Rejection = std::convert::Infallible;

    // The guard has parsed the form already, because it contains the CSRF token.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Form, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// The refusal of a form whose hidden fields are not those of a page of this version.
pub fn stale_form() -> Error {
    Error::Refused(
        StatusCode::BAD_REQUEST,
        Code::StaleForm,
        "This form is out of date. Load the page again.".to_owned(),
    )
}
