//! Reads settings by name.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use crate::error::FieldError;

/// Reads settings by name and collects the errors. An empty value counts as missing, except for lists whose default is not
/// empty.
pub struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    pub field_errors: Vec<FieldError>,
    pub names: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    /// Creates a reader of any source.
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Reader<'a> {
        Reader {
            lookup,
            field_errors: Vec::new(),
            names: BTreeSet::new(),
        }
    }

    /// Reads and trims a text. `None` if it is missing or empty.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.names.insert(name);
        let value = (self.lookup)(name)?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    }

    /// Returns true for a setting that is there, also with an empty value.
    pub fn is_named(&self, name: &str) -> bool {
        (self.lookup)(name).is_some()
    }

    /// Notes an error when production requires a setting that is missing.
    pub fn required(&mut self, name: &'static str, production: bool) {
        if production && self.text(name).is_none() {
            self.field_error(name, "is required in production");
        }
    }

    /// Notes an error of a setting. All errors are reported together, so that one start shows every mistake.
    pub fn field_error(&mut self, name: &'static str, message: &str) {
        self.field_errors.push(FieldError::new(name, message));
    }

    /// Reads a comma list, without empty parts.
    pub fn list(&mut self, name: &'static str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Reads a value of any type; a malformed one is a field error with this hint.
    pub fn parsed<T: FromStr>(&mut self, name: &'static str, default: T, hint: &str) -> T {
        match self.text(name).map(|text| text.parse()) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                self.field_error(name, hint);
                default
            }
        }
    }

    /// Reads an address and a port.
    pub fn address(&mut self, name: &'static str) -> Option<SocketAddr> {
        let address = self.text(name)?.parse().ok();
        if address.is_none() {
            self.field_error(name, "must be an address and a port, as 127.0.0.1:9090");
        }
        address
    }

    /// Reads a duration of 1 to 60 seconds.
    pub fn seconds(&mut self, name: &'static str, default: u64) -> Duration {
        let seconds = self.parsed(name, default, "must be a whole number of seconds");
        if seconds == 0 {
            self.field_error(name, "must be at least 1 second");
        }
        if seconds > 60 {
            self.field_error(name, "must be at most 60 seconds");
        }
        Duration::from_secs(seconds)
    }

    /// Reads a number from one to `most`.
    pub fn counted(&mut self, name: &'static str, default: u64, most: u64) -> u64 {
        let number = self.parsed(name, default, "must be a whole number");
        if !(1..=most).contains(&number) {
            self.field_error(name, &format!("must be from 1 to {most}"));
            return default;
        }
        number
    }

    /// Reads an http or https address, without a trailing slash.
    pub fn url(&mut self, name: &'static str) -> Option<String> {
        let url = self.text(name)?.trim_end_matches('/').to_owned();
        if origin_of(&url).is_none() {
            self.field_error(name, "must be an http or https address");
        }
        Some(url)
    }
}

/// Origin (`scheme://host[:port]`) of an `http` or `https` address.
pub fn origin_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if scheme != "http" && scheme != "https" {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let plain = !authority.is_empty()
        && authority
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    plain.then(|| format!("{scheme}://{}", authority.to_ascii_lowercase()))
}
