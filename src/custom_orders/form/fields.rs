//! Fields of a visitor's custom order, as sent, and their rules.

use crate::custom_orders::NewCustomOrder;
use crate::error::{Code, Error, Result};
use crate::images::ReceivedFile;
use crate::mail;
use crate::types::unicode;

/// Length limits in UTF-16 units, as the storefront's form counts.
const NAME: usize = 100;
const EMAIL: usize = 255;
const DESCRIPTION: std::ops::RangeInclusive<usize> = 10..=1000;
const COLORS: usize = 200;

/// Size limit of any inspected text field, in bytes.
pub const LONGEST: usize = 64 * 1024;

/// The files of a request up to the allowed number, and the number of files beyond it.
#[derive(Default)]
pub struct Files {
    pub taken: Vec<ReceivedFile>,
    pub surplus: usize,
    /// The JSON field is not a list.
    pub are_no_list: bool,
}

/// The value of a text field.
#[derive(Debug)]
pub enum TextField {
    Given(String),
    /// Exceeds every field's limit; the text is discarded.
    TooLong,
    /// Null, which counts as absent.
    Missing,
    /// Another JSON type; the value is discarded.
    Other,
}

/// The text fields of a request, as sent.
#[derive(Debug, Default)]
pub struct Fields {
    name: Option<TextField>,
    email: Option<TextField>,
    description: Option<TextField>,
    colors: Option<TextField>,
}

impl Fields {
    /// Collects form fields. The last of several fields with one name wins.
    pub fn of_form(pairs: Vec<(String, String)>) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.set(&name, TextField::Given(value));
        }
        fields
    }

    /// Sets a field, over an earlier one of the same name. Other names are ignored.
    pub fn set(&mut self, name: &str, value: TextField) {
        match name {
            "name" => self.name = Some(value),
            "email" => self.email = Some(value),
            "description" => self.description = Some(value),
            "colors" => self.colors = Some(value),
            _ => {}
        }
    }

    /// Checks all fields.
    ///
    /// # Errors
    /// 400 with the code of the first faulty field: `missing_field`, `invalid_email`, `description_too_short`,
    /// `too_long` and others.
    pub fn check(self) -> Result<NewCustomOrder> {
        let name = required("name", self.name)?;
        let email = required("email", self.email)?;
        let description = required("description", self.description)?;
        let colors = text("colors", self.colors)?.filter(|text| !text.is_empty());
        if !is_email(&email) {
            return Err(Error::refused(Code::InvalidEmail, "Invalid email address"));
        }
        if length(&description) < *DESCRIPTION.start() {
            return Err(Error::refused(
                Code::DescriptionTooShort,
                format!(
                    "Description must be at least {} characters",
                    DESCRIPTION.start()
                ),
            ));
        }
        for (field, value, most) in [
            ("Name", &name, NAME),
            ("Email", &email, EMAIL),
            ("Description", &description, *DESCRIPTION.end()),
            ("Colors", colors.as_ref().unwrap_or(&String::new()), COLORS),
        ] {
            if length(value) > most {
                return Err(Error::refused(
                    Code::TooLong,
                    format!("{field} must be at most {most} characters"),
                ));
            }
        }
        if name.chars().any(char::is_control) {
            return Err(Error::refused(
                Code::InvalidName,
                "Name must be on one line",
            ));
        }
        // The length is checked on the text as sent; the stored composed form may be longer.
        let composed = |text: String| unicode::nfc(&text).into_owned();
        Ok(NewCustomOrder {
            name: composed(name),
            email,
            description: composed(description),
            colors: colors.map(composed),
            images: Vec::new(),
        })
    }
}

/// Requires a text.
fn required(field: &str, value: Option<TextField>) -> Result<String> {
    let missing = || {
        Error::refused(
            Code::MissingField,
            format!("Missing required field: {field}"),
        )
    };
    text(field, value)?
        .filter(|text| !text.is_empty())
        .ok_or_else(missing)
}

/// Trims a text. CR LF, the line end of forms, counts and is stored as one character.
fn text(field: &str, value: Option<TextField>) -> Result<Option<String>> {
    let text = match value {
        None | Some(TextField::Missing) => return Ok(None),
        Some(TextField::TooLong) => return Err(too_long(field)),
        Some(TextField::Given(text)) if text.len() > LONGEST => return Err(too_long(field)),
        Some(TextField::Given(text)) => text.replace("\r\n", "\n").replace('\r', "\n"),
        Some(TextField::Other) => {
            return Err(Error::refused(
                Code::InvalidField,
                format!("Field {field} must be a text"),
            ));
        }
    };
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(is_odd) {
        return Err(Error::refused(
            Code::InvalidField,
            format!("Field {field} contains control characters"),
        ));
    }
    Ok(Some(text.trim().to_owned()))
}

fn too_long(field: &str) -> Error {
    Error::refused(Code::TooLong, format!("Field {field} is too long"))
}

fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Checks for a deliverable address with a dot in its domain, as the old service requires.
fn is_email(text: &str) -> bool {
    let Some((_, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let has_dot = domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.');
    has_dot && mail::parse_address(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &str)]) -> std::result::Result<NewCustomOrder, String> {
        let mut all = vec![
            ("name", "Ann"),
            ("email", "ann@example.com"),
            ("description", "Blue and gold, please"),
        ];
        all.extend(pairs);
        let pairs = all.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
        Fields::of_form(pairs.collect()).check().map_err(|error| {
            error.body()["error"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
    }

    #[test]
    fn texts_are_counted_as_the_form_counts_them() {
        let thousand = format!("{}\r\n{}", "a".repeat(499), "b".repeat(500));
        let taken = check(&[("description", &thousand)]).expect("1000 characters in the form");
        assert_eq!(taken.description.len(), 1000);
        assert_eq!(
            check(&[("description", &format!("{thousand}c"))]),
            Err("Description must be at most 1000 characters".to_owned())
        );
        // An emoji counts as two UTF-16 units, as in JavaScript.
        assert!(check(&[("name", &"😀".repeat(50))]).is_ok());
        assert!(check(&[("name", &"😀".repeat(51))]).is_err());
        assert!(check(&[("description", "  short   ")]).is_err());
    }

    #[test]
    fn the_first_thing_wrong_is_told_in_the_old_service_s_words() {
        for (pairs, sentence) in [
            (vec![("name", " ")], "Missing required field: name"),
            (vec![("email", "")], "Missing required field: email"),
            (
                vec![("description", "")],
                "Missing required field: description",
            ),
            (
                vec![("email", "@."), ("description", "x")],
                "Invalid email address",
            ),
            (vec![("email", "ann@example")], "Invalid email address"),
            (
                vec![("email", "a\r\nbcc: x@y.z@example.com")],
                "Invalid email address",
            ),
            (
                vec![("description", "x")],
                "Description must be at least 10 characters",
            ),
            (vec![("name", "Ann\r\nBcc: x")], "Name must be on one line"),
            (
                vec![("name", "Ann\0")],
                "Field name contains control characters",
            ),
        ] {
            assert_eq!(check(&pairs), Err(sentence.to_owned()), "{pairs:?}");
        }
        let taken = check(&[("colors", " red "), ("other", "x")]).expect("fine");
        assert_eq!(taken.colors.as_deref(), Some("red"));
    }
}
