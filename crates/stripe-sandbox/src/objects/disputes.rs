//! Disputes and inquiries of the customer's bank. A payment has at most one that is open.

use serde_json::{Value, json};

use super::payments;
use crate::error::{ApiError, ApiResult};
use crate::store::{Transaction, id, now};
use crate::types::NewDispute;

/// Seconds that the merchant has to answer.
const TIME_TO_ANSWER: i64 = 7 * 86_400;

/// Opens a dispute, which withdraws the money until it is decided, or an inquiry, which does not.
pub async fn open(tx: &mut Transaction<'_>, intent: &str, new: &NewDispute) -> ApiResult<Value> {
    let charge = payments::find_charge_id(tx, intent).await?;
    let mut charge = tx.lock("charge", &charge).await?.unwrap_or_default();
    if find_open(tx, &charge["id"]).await?.is_some() {
        return Err(ApiError::refused("This payment has an open dispute."));
    }
    let status = match new.is_inquiry {
        true => "warning_needs_response",
        false => "needs_response",
    };
    let time = now();
    let dispute = json!({
        "id": id("dp_", 24), "object": "dispute", "amount": charge["amount"], "balance_transactions": [], "charge": charge["id"],
        "created": time, "currency": charge["currency"], "enhanced_eligibility_types": [], "evidence": {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": time + TIME_TO_ANSWER, "enhanced_eligibility": {}, "has_evidence": false, "past_due": false,
            "submission_count": 0,
        },
        "is_charge_refundable": new.is_inquiry, "livemode": false, "metadata": {}, "payment_intent": intent,
        "reason": new.reason, "status": status,
    });
    charge["disputed"] = json!(true);
    tx.save(&charge).await?;
    tx.insert(&dispute).await?;
    tx.emit("charge.dispute.created", &dispute).await?;
    if !new.is_inquiry {
        tx.emit("charge.dispute.funds_withdrawn", &dispute).await?;
    }
    Ok(dispute)
}

/// Turns an inquiry into a dispute under the same id, which withdraws the money.
pub async fn escalate(tx: &mut Transaction<'_>, intent: &str) -> ApiResult<()> {
    let mut dispute = lock_open(tx, intent).await?;
    if !is_inquiry(&dispute) {
        return Err(ApiError::refused("This payment has no open inquiry."));
    }
    dispute["status"] = json!("needs_response");
    dispute["is_charge_refundable"] = json!(false);
    dispute["evidence_details"]["due_by"] = json!(now() + TIME_TO_ANSWER);
    tx.save(&dispute).await?;
    tx.emit("charge.dispute.updated", &dispute).await?;
    tx.emit("charge.dispute.funds_withdrawn", &dispute).await
}

/// Submits the merchant's evidence, which the bank then reviews.
pub async fn submit_evidence(tx: &mut Transaction<'_>, intent: &str) -> ApiResult<()> {
    let mut dispute = lock_open(tx, intent).await?;
    let details = &mut dispute["evidence_details"];
    let count = details["submission_count"].as_i64().unwrap_or(0);
    details["has_evidence"] = json!(true);
    details["submission_count"] = json!(count + 1);
    dispute["status"] = match is_inquiry(&dispute) {
        true => json!("warning_under_review"),
        false => json!("under_review"),
    };
    tx.save(&dispute).await?;
    tx.emit("charge.dispute.updated", &dispute).await
}

/// Decides a dispute. An inquiry is closed in either case.
pub async fn close(tx: &mut Transaction<'_>, intent: &str, won: bool) -> ApiResult<()> {
    let mut dispute = lock_open(tx, intent).await?;
    let was_inquiry = is_inquiry(&dispute);
    dispute["status"] = match (was_inquiry, won) {
        (true, _) => json!("warning_closed"),
        (false, true) => json!("won"),
        (false, false) => json!("lost"),
    };
    tx.save(&dispute).await?;
    tx.emit("charge.dispute.closed", &dispute).await?;
    if won && !was_inquiry {
        tx.emit("charge.dispute.funds_reinstated", &dispute).await?;
    }
    Ok(())
}

/// Returns true if the bank has withdrawn the money of a charge, for now or for good. An inquiry withdraws none.
pub async fn is_charged_back(tx: &mut Transaction<'_>, charge: &str) -> ApiResult<bool> {
    for status in ["needs_response", "under_review", "lost"] {
        let fields = json!({"charge": charge, "status": status});
        if tx.find_latest("dispute", fields).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns true for an inquiry: Stripe separates it from a dispute by the prefix of the status alone.
fn is_inquiry(dispute: &Value) -> bool {
    let status = dispute["status"].as_str().unwrap_or_default();
    status.starts_with("warning_")
}

/// Finds the undecided dispute of a charge.
async fn find_open(tx: &mut Transaction<'_>, charge: &Value) -> ApiResult<Option<Value>> {
    for status in [
        "needs_response",
        "under_review",
        "warning_needs_response",
        "warning_under_review",
    ] {
        let fields = json!({"charge": charge, "status": status});
        if let Some(dispute) = tx.find_latest("dispute", fields).await? {
            return Ok(Some(dispute));
        }
    }
    Ok(None)
}

/// Locks the payment's charge, which guards its disputes, and finds the open one.
async fn lock_open(tx: &mut Transaction<'_>, intent: &str) -> ApiResult<Value> {
    let charge = payments::find_charge_id(tx, intent).await?;
    tx.lock("charge", &charge).await?;
    find_open(tx, &json!(charge))
        .await?
        .ok_or_else(|| ApiError::refused("This payment has no open dispute."))
}
