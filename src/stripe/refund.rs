//! Refunds at Stripe.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use stripe_core::refund::{CreateRefund, ListRefund};
use stripe_types::{RangeBoundsTs, RangeQueryTs};

use super::client::{PAGE, Result, Stripe, unreadable};
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

/// A refund to request.
#[derive(Clone, Debug)]
pub struct RefundRequest<'a> {
    /// Our id, stored in the refund's metadata.
    pub id: RefundId,
    /// The idempotency key.
    pub key: String,
    pub payment_intent: &'a str,
    pub amount: Cents,
    /// For Stripe's dashboard; may be empty.
    pub reason: &'a str,
}

impl Stripe {
    /// Makes a refund. `key` is the idempotency key: a repeat with the same key and amount returns the same refund.
    ///
    /// # Errors
    /// See [`StripeError`](super::StripeError); `charge_already_refunded` is a refusal.
    pub async fn refund(&self, new: &RefundRequest<'_>) -> Result<Refund> {
        let mut metadata = HashMap::from([("refund_id".to_owned(), new.id.to_string())]);
        if !new.reason.is_empty() {
            metadata.insert("reason".to_owned(), new.reason.to_owned());
        }
        let request = CreateRefund::new()
            .payment_intent(new.payment_intent)
            .amount(new.amount.0)
            .metadata(metadata);
        read_refund(&self.call(&request, Some(new.key.clone())).await?)
    }

    /// All refunds of a payment, newest first: ours and the dashboard's, failed ones included.
    ///
    /// # Errors
    /// See [`StripeError`](super::StripeError).
    pub async fn list_refunds(&self, payment_intent: &str) -> Result<Vec<Refund>> {
        let mut refunds: Vec<Refund> = Vec::new();
        loop {
            let mut request = ListRefund::new().payment_intent(payment_intent).limit(PAGE);
            if let Some(last) = refunds.last() {
                request = request.starting_after(&last.id);
            }
            let page = self.page(&request, "refund list").await?;
            for refund in &page.entries {
                refunds.push(read_refund(refund)?);
            }
            if !page.has_more || page.entries.is_empty() {
                return Ok(refunds);
            }
        }
    }
}

impl Stripe {
    /// All refunds made since a moment, newest first.
    ///
    /// # Errors
    /// See [`StripeError`](super::StripeError).
    pub async fn list_refunds_since(&self, since: DateTime<Utc>) -> Result<Vec<Refund>> {
        let bounds = RangeBoundsTs {
            gte: Some(since.timestamp()),
            ..RangeBoundsTs::default()
        };
        let mut refunds: Vec<Refund> = Vec::new();
        loop {
            let mut request = ListRefund::new()
                .created(RangeQueryTs::Bounds(bounds))
                .limit(PAGE);
            if let Some(last) = refunds.last() {
                request = request.starting_after(&last.id);
            }
            let page = self.page(&request, "refund list").await?;
            for refund in &page.entries {
                refunds.push(read_refund(refund)?);
            }
            if !page.has_more || page.entries.is_empty() {
                return Ok(refunds);
            }
        }
    }
}

fn read_refund(answer: &Value) -> Result<Refund> {
    Refund::read(answer).ok_or_else(|| unreadable("refund"))
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
