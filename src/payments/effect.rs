//! Outcome of an event, and the words of Stripe that every kind of event has.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// Outcome of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Processed,
    /// Not relevant: another type, or another shop's session.
    Ignored,
    /// Already processed.
    Repeated,
}

impl Effect {
    /// Name for the metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Effect::Processed => "processed",
            Effect::Ignored => "ignored",
            Effect::Repeated => "repeated",
        }
    }
}

/// An id or another word of Stripe's. Stripe sends a referenced object as its id or in full.
pub(super) fn reference(json: &Value) -> Option<String> {
    let id = json.as_str().or_else(|| json["id"].as_str())?;
    (!id.is_empty() && id.len() <= 255 && !id.contains('\0')).then(|| id.to_owned())
}

/// A time; `None` for negative or impossible ones.
pub(super) fn time(json: &Value) -> Option<DateTime<Utc>> {
    let seconds = json.as_i64().filter(|seconds| *seconds >= 0)?;
    DateTime::from_timestamp(seconds, 0)
}
