//! Input of stock changes.

use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::StockReason;
use crate::products::fields::{FieldReader, Parsed, text, whole};
use crate::products::input::MAX_STOCK;

/// A change of stock.
#[derive(Clone, Debug, Default, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StockInput {
    /// Pieces added (positive) or removed (negative), never zero.
    #[schema(minimum = -1_000_000, maximum = 1_000_000)]
    pub delta: i32,
    /// `received`, `made`, `returned`, `correction`, `damaged` or `lost`.
    #[schema(value_type = String, pattern = "^(received|made|returned|correction|damaged|lost)$")]
    pub reason: Option<StockReason>,
    /// Up to 500 characters.
    #[schema(required = false, max_length = 500, pattern = r"^[^\x00]*$")]
    pub note: String,
    /// The available pieces that the caller last saw. If given, the change is refused when the count differs.
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    pub expected_inventory_count: Option<i32>,
}

impl StockInput {
    /// Parses a stock change.
    pub fn parse(body: Map<String, Value>) -> Parsed<StockInput> {
        let mut fields = FieldReader::new("", body);
        fields.require(&["delta", "reason"]);
        let input = StockInput {
            delta: fields
                .read("delta", |value| whole(value, -MAX_STOCK..=MAX_STOCK))
                .unwrap_or_default() as i32,
            reason: fields.read("reason", |value| match value.as_str() {
                Some("received") => Ok(StockReason::Received),
                Some("made") => Ok(StockReason::Made),
                Some("returned") => Ok(StockReason::Returned),
                Some("correction") => Ok(StockReason::Correction),
                Some("damaged") => Ok(StockReason::Damaged),
                Some("lost") => Ok(StockReason::Lost),
                _ => {
                    Err("Must be received, made, returned, correction, damaged or lost.".to_owned())
                }
            }),
            note: fields
                .read("note", |value| text(value, 0..=500))
                .unwrap_or_default(),
            expected_inventory_count: fields
                .read("expected_inventory_count", |value| {
                    whole(value, 0..=MAX_STOCK)
                })
                .map(|count| count as i32),
        };
        if fields.is_sound() {
            match (input.reason, input.delta) {
                (_, 0) => fields.field_error("delta", "Must not be zero."),
                (Some(StockReason::Received | StockReason::Made | StockReason::Returned), ..0) => {
                    fields.field_error("delta", "Must be positive for this reason.");
                }
                (Some(StockReason::Damaged | StockReason::Lost), 1..) => {
                    fields.field_error("delta", "Must be negative for this reason.");
                }
                _ => {}
            }
        }
        Parsed {
            value: input,
            field_errors: fields.finish(&[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reason_and_sign_of_a_change_must_agree() {
        let stock = |body: Value| match body {
            Value::Object(body) => StockInput::parse(body).field_errors.len(),
            _ => 0,
        };
        assert_eq!(stock(json!({"delta": -1, "reason": "lost"})), 0);
        assert_eq!(stock(json!({"delta": 1, "reason": "lost"})), 1);
        assert_eq!(stock(json!({"delta": 0, "reason": "correction"})), 1);
        assert_eq!(stock(json!({"delta": 1.5, "reason": "sale"})), 2);
    }
}
