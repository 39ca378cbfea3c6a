//! Refunds at Stripe.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::session::{amount, text};
use crate::types::ids::RefundId;
use crate::types::money::Cents;

/// Status of a refund at Stripe. A successful refund may fail weeks later, when the bank returns the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundStatus {
    /// `pending`, or `requires_action`.
    Pending,
    Succeeded,
    /// `failed`, or `canceled`: the money is back with the shop.
    Failed,
}

/// A refund at Stripe; only the fields that the shop uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Refund {
    pub id: String,
    pub payment_intent: Option<String>,
    pub amount: Option<Cents>,
    pub status: RefundStatus,
    /// `duplicate`, `fraudulent` or `requested_by_customer`, if one was chosen.
    pub reason: Option<String>,
    /// Our refund behind it, from its metadata.
    pub ours: Option<RefundId>,
    pub created: Option<DateTime<Utc>>,
}

impl Refund {
    /// Reads a refund of any version of Stripe's API. Returns `None` without id or status.
    pub fn read(json: &Value) -> Option<Refund> {
        let id_of = |json: &Value| text(json).or_else(|| text(&json["id"]));
        let seconds = json["created"].as_i64().filter(|seconds| *seconds >= 0);
        Some(Refund {
            id: text(&json["id"]).filter(|id| id.len() <= 255)?,
            payment_intent: id_of(&json["payment_intent"]).filter(|id| id.len() <= 255),
            amount: amount(&json["amount"]),
            status: match json["status"].as_str()? {
                "succeeded" => RefundStatus::Succeeded,
                "failed" | "canceled" => RefundStatus::Failed,
                _ => RefundStatus::Pending,
            },
            reason: text(&json["reason"]),
            ours: json["metadata"]["refund_id"]
                .as_str()
                .and_then(|id| id.parse().ok())
                .map(RefundId),
            created: seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refund_is_read_in_every_version() {
        let id = RefundId::new();
        for payment in [json!("pi_1"), json!({"id": "pi_1"})] {
            let refund = Refund::read(&json!({
                "id": "re_1", "payment_intent": payment, "amount": 500, "status": "succeeded", "created": 12,
                "metadata": {"refund_id": id.to_string()}, "reason": null,
            }))
            .expect("a refund");
            assert_eq!(refund.payment_intent.as_deref(), Some("pi_1"));
            assert_eq!(refund.amount, Some(Cents(500)));
            assert_eq!(refund.ours, Some(id));
            assert_eq!(refund.status, RefundStatus::Succeeded);
        }
        let status = |status: &str| {
            let refund = Refund::read(&json!({"id": "re_1", "status": status}));
            refund.expect("a refund").status
        };
        assert_eq!(status("canceled"), RefundStatus::Failed);
        assert_eq!(status("requires_action"), RefundStatus::Pending);
        assert_eq!(Refund::read(&json!({"id": "re_1"})), None);
        assert_eq!(Refund::read(&json!([])), None);
    }
}
