//! Radar: reviews of payments, and early fraud warnings.

use serde_json::{Value, json};

use super::payments;
use crate::error::{ApiError, ApiResult};
use crate::store::{Transaction, add_nulls, id, now};

/// Warns of a payment that the card's issuer takes for fraud.
pub async fn warn_of_fraud(tx: &mut Transaction<'_>, intent: &str) -> ApiResult<Value> {
    let charge = payments::find_charge_id(tx, intent).await?;
    let charge = tx.lock("charge", &charge).await?.unwrap_or_default();
    let warning = json!({
        "id": id("issfr_", 24), "object": "radar.early_fraud_warning",
        "actionable": charge["refunded"] != true && charge["disputed"] != true, "charge": charge["id"], "created": now(),
        "fraud_type": "unauthorized_use_of_card", "livemode": false, "payment_intent": intent,
    });
    tx.insert(&warning).await?;
    tx.emit("radar.early_fraud_warning.created", &warning)
        .await?;
    Ok(warning)
}

/// Opens a review, as a rule of Radar does.
pub async fn open(tx: &mut Transaction<'_>, intent: &str) -> ApiResult<Value> {
    let charge = payments::find_charge_id(tx, intent).await?;
    if lock_open(tx, &charge).await?.is_some() {
        return Err(ApiError::refused("This payment is under review already."));
    }
    let mut review = json!({
        "id": id("prv_", 24), "object": "review", "charge": charge, "created": now(), "livemode": false, "open": true,
        "opened_reason": "rule", "payment_intent": intent, "reason": "rule",
    });
    add_nulls(
        &mut review,
        &[
            "billing_zip",
            "closed_reason",
            "ip_address",
            "ip_address_location",
            "session",
        ],
    );
    tx.insert(&review).await?;
    tx.emit("review.opened", &review).await?;
    Ok(review)
}

/// Approves a payment under review.
pub async fn approve(tx: &mut Transaction<'_>, intent: &str) -> ApiResult<()> {
    let charge = payments::find_charge_id(tx, intent).await?;
    let mut review = lock_open(tx, &charge)
        .await?
        .ok_or_else(|| ApiError::refused("This payment is not under review."))?;
    review["open"] = json!(false);
    review["reason"] = json!("approved");
    review["closed_reason"] = json!("approved");
    tx.save(&review).await?;
    tx.emit("review.closed", &review).await
}

/// Locks a charge, which guards its reviews, and finds the open one.
async fn lock_open(tx: &mut Transaction<'_>, charge: &str) -> ApiResult<Option<Value>> {
    tx.lock("charge", charge).await?;
    tx.find_latest("review", json!({"charge": charge, "open": true}))
        .await
}
