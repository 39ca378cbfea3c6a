//! Refunds.

use serde_json::{Value, json};

use super::{disputes, payments};
use crate::error::{ApiError, ApiResult};
use crate::money;
use crate::store::{Transaction, id, metadata, now};

/// `POST /v1/refunds`: refunds all that is left of a charge, or a part of it.
pub async fn create(tx: &mut Transaction<'_>, params: &Value) -> ApiResult<Value> {
    let mut charge = lock_charge(tx, params).await?;
    let amount = amount(tx, &charge, &params["amount"]).await?;
    let refund = json!({
        "id": id("re_", 24), "object": "refund", "amount": amount, "balance_transaction": null, "charge": charge["id"],
        "created": now(), "currency": charge["currency"],
        "destination_details": {"type": charge["payment_method_details"]["type"]}, "failure_balance_transaction": null,
        "failure_reason": null, "metadata": metadata(&params["metadata"]), "payment_intent": charge["payment_intent"],
        "pending_reason": null, "reason": params["reason"], "receipt_number": null, "source_transfer_reversal": null,
        "status": "succeeded", "transfer_reversal": null,
    });
    // Stripe refunds at once and fails later, if at all. So does this: see `fail`.
    let total = refunded(&charge) + amount;
    set_refunded(&mut charge, total);
    tx.insert(&refund).await?;
    tx.save(&charge).await?;
    tx.emit("refund.created", &refund).await?;
    tx.emit("charge.refunded", &charge).await?;
    Ok(refund)
}

/// Fails a refund that the customer's bank sent back: the money is the merchant's again.
pub async fn fail(tx: &mut Transaction<'_>, id: &str) -> ApiResult<()> {
    let missing = || ApiError::missing(404, "refund", id, "refund");
    let found = tx.find("refund", id).await?.ok_or_else(missing)?;
    let charge = found["charge"].as_str().unwrap_or_default();
    let mut charge = tx.lock("charge", charge).await?.ok_or_else(missing)?;
    let mut refund = tx.lock("refund", id).await?.ok_or_else(missing)?;
    if refund["status"] == "failed" {
        return Err(ApiError::refused("This refund has failed already."));
    }
    refund["status"] = json!("failed");
    refund["failure_reason"] = json!("expired_or_canceled_card");
    let total = refunded(&charge) - refund["amount"].as_i64().unwrap_or(0);
    set_refunded(&mut charge, total);
    tx.save(&charge).await?;
    tx.save(&refund).await?;
    tx.emit("refund.updated", &refund).await?;
    tx.emit("refund.failed", &refund).await?;
    // Accounts on older versions of the API get only this one; newer ones get all three.
    tx.emit("charge.refund.updated", &refund).await
}

/// Locks the charge that a request names, by its own id or its payment intent's.
async fn lock_charge(tx: &mut Transaction<'_>, params: &Value) -> ApiResult<Value> {
    let id = match (params["charge"].as_str(), params["payment_intent"].as_str()) {
        (Some(charge), _) => charge.to_owned(),
        (None, Some(intent)) => payments::find_charge_id(tx, intent).await?,
        (None, None) => {
            let message = "One of the following params should be provided for this request: payment_intent or charge.";
            return Err(ApiError::invalid(message, "payment_intent").code("parameter_missing"));
        }
    };
    let charge = tx
        .lock("charge", &id)
        .await?
        .ok_or_else(|| ApiError::missing(400, "charge", &id, "charge"))?;
    let intent = &params["payment_intent"];
    if intent.is_string() && *intent != charge["payment_intent"] {
        let message = format!("Charge {id} does not belong to that PaymentIntent.");
        return Err(ApiError::refused(message).param("charge"));
    }
    Ok(charge)
}

/// The amount to refund, checked against the amount that is left.
async fn amount(tx: &mut Transaction<'_>, charge: &Value, given: &Value) -> ApiResult<i64> {
    let id = charge["id"].as_str().unwrap_or_default();
    let left = charge["amount"].as_i64().unwrap_or(0) - refunded(charge);
    if left == 0 {
        let message = format!("Charge {id} has already been refunded.");
        return Err(ApiError::refused(message).code("charge_already_refunded"));
    }
    if disputes::is_charged_back(tx, id).await? {
        let message = format!("Charge {id} has been charged back; cannot issue a refund.");
        return Err(ApiError::refused(message).code("charge_disputed"));
    }
    let amount = given.as_i64().unwrap_or(left);
    if amount < 1 {
        let problem = ApiError::invalid("Invalid positive integer", "amount");
        return Err(problem.code("parameter_invalid_integer"));
    }
    if amount > left {
        let currency = charge["currency"].as_str().unwrap_or_default();
        let message = format!(
            "Refund amount ({}) is greater than unrefunded amount on charge ({})",
            money::format(amount, currency),
            money::format(left, currency)
        );
        return Err(ApiError::refused(message).param("amount"));
    }
    Ok(amount)
}

/// The amount of a charge that is refunded so far. Failed refunds do not count.
fn refunded(charge: &Value) -> i64 {
    charge["amount_refunded"].as_i64().unwrap_or(0)
}

fn set_refunded(charge: &mut Value, amount: i64) {
    charge["amount_refunded"] = json!(amount);
    charge["refunded"] = json!(charge["amount"] == amount);
}
