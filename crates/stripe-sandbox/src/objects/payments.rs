//! Payments of Checkout Sessions: payment intents and their charges.

use serde_json::{Value, json};

use super::{checkout, payment_links, shipping};
use crate::error::{ApiError, ApiResult};
use crate::store::{Transaction, add_nulls, id, metadata, now, value_or};
use crate::types::{Buyer, Payment};

/// Pays a session as the hosted page's buttons do.
pub async fn pay(tx: &mut Transaction<'_>, id: &str, payment: &Payment) -> ApiResult<Value> {
    let mut session = checkout::lock(tx, id).await?;
    let buyer = payment.buyer();
    check_payable(&session, buyer)?;
    choose_shipping(&mut session, buyer)?;
    let link = payment_links::reserve(tx, &session).await?;
    let mut intent = intent(tx, &session, buyer).await?;
    session["payment_intent"] = intent["id"].clone();
    // A declined card changes nothing of the session, and gets no event of it: the intent has its own.
    if let Payment::Declined(_) = payment {
        decline(&mut intent, "Your card was declined.");
        tx.save(&intent).await?;
        tx.save(&session).await?;
        tx.emit("payment_intent.payment_failed", &intent).await?;
        return Ok(session);
    }

    if let Some(link) = link {
        payment_links::count(tx, link).await?;
    }
    record_buyer(&mut session, buyer);
    session["status"] = json!("complete");
    session["url"] = Value::Null;
    if let Payment::Card(_) = payment {
        session["payment_status"] = json!("paid");
        succeed(tx, &mut intent, &session).await?;
    } else {
        intent["status"] = json!("processing");
        intent["payment_method_types"] = json!(["us_bank_account"]);
        session["payment_method_types"] = json!(["us_bank_account"]);
        tx.save(&intent).await?;
        tx.emit("payment_intent.processing", &intent).await?;
    }
    tx.save(&session).await?;
    tx.emit("checkout.session.completed", &session).await?;
    Ok(session)
}

/// Ends the wait for a delayed payment.
pub async fn settle(tx: &mut Transaction<'_>, id: &str, succeeds: bool) -> ApiResult<()> {
    let mut session = checkout::lock(tx, id).await?;
    let intent = session["payment_intent"].as_str().unwrap_or_default();
    let mut intent = tx
        .lock("payment_intent", intent)
        .await?
        .filter(|intent| intent["status"] == "processing")
        .ok_or_else(|| ApiError::refused("This Checkout Session waits for no delayed payment."))?;
    let outcome = if succeeds {
        session["payment_status"] = json!("paid");
        succeed(tx, &mut intent, &session).await?;
        tx.save(&session).await?;
        "checkout.session.async_payment_succeeded"
    } else {
        decline(&mut intent, "The bank returned the payment.");
        tx.save(&intent).await?;
        tx.emit("payment_intent.payment_failed", &intent).await?;
        "checkout.session.async_payment_failed"
    };
    tx.emit(outcome, &session).await
}

/// Finds the id of the charge by which an intent succeeded.
pub async fn find_charge_id(tx: &mut Transaction<'_>, intent: &str) -> ApiResult<String> {
    let found = tx
        .find("payment_intent", intent)
        .await?
        .ok_or_else(|| ApiError::missing(400, "payment_intent", intent, "payment_intent"))?;
    match found["latest_charge"].as_str() {
        Some(charge) => Ok(charge.to_owned()),
        None => {
            let message = format!(
                "This PaymentIntent ({intent}) does not have a successful charge to refund."
            );
            Err(ApiError::refused(message)
                .code("payment_intent_unexpected_state")
                .param("payment_intent"))
        }
    }
}

/// Rejects a payment of a session that is closed, or does not ship to the buyer's country.
fn check_payable(session: &Value, buyer: &Buyer) -> ApiResult<()> {
    let expires_at = session["expires_at"].as_i64();
    let is_overdue = expires_at.is_some_and(|time| time <= now());
    if session["status"] != "open" || is_overdue {
        return Err(ApiError::refused("This Checkout Session is not open."));
    }
    let country = &buyer.address.country;
    let countries = session["shipping_address_collection"]["allowed_countries"].as_array();
    if countries.is_some_and(|countries| !countries.contains(&json!(country))) {
        return Err(ApiError::refused(format!("We do not ship to {country}.")));
    }
    Ok(())
}

/// Replaces the shipping cost of the first option, which a new session has, by that of the chosen one.
fn choose_shipping(session: &mut Value, buyer: &Buyer) -> ApiResult<()> {
    let options = session["shipping_options"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if options.is_empty() {
        return Ok(());
    }
    let option = options
        .get(buyer.shipping_option)
        .ok_or_else(|| ApiError::refused("There is no such shipping option."))?;
    let amount = option["shipping_amount"].as_i64().unwrap_or(0);
    session["shipping_cost"] = shipping::cost(option);
    session["total_details"]["amount_shipping"] = json!(amount);
    session["amount_total"] = json!(session["amount_subtotal"].as_i64().unwrap_or(0) + amount);
    Ok(())
}

/// Stores what the payment page has collected of the customer.
fn record_buyer(session: &mut Value, buyer: &Buyer) {
    let address = json!(buyer.address);
    session["customer_details"] = json!({
        "address": address, "business_name": null, "email": buyer.email, "individual_name": null, "name": buyer.name,
        "phone": buyer.phone, "tax_exempt": "none", "tax_ids": [],
    });
    if session["shipping_address_collection"].is_object() {
        session["collected_information"] = json!({
            "business_name": null, "individual_name": null, "shipping_details": {"name": buyer.name, "address": address},
        });
    }
}

/// Locks the session's payment intent, which the first attempt to pay makes.
async fn intent(tx: &mut Transaction<'_>, session: &Value, buyer: &Buyer) -> ApiResult<Value> {
    let shipping = if session["shipping_address_collection"].is_object() {
        json!({"address": buyer.address, "carrier": null, "name": buyer.name, "phone": buyer.phone, "tracking_number": null})
    } else {
        Value::Null
    };
    if let Some(id) = session["payment_intent"].as_str()
        && let Some(mut intent) = tx.lock("payment_intent", id).await?
    {
        intent["amount"] = session["amount_total"].clone();
        intent["shipping"] = shipping;
        return Ok(intent);
    }
    let data = tx.private(session).await?["payment_intent_data"].take();
    let intent = new_intent(session, &data, shipping);
    tx.insert(&intent).await?;
    Ok(intent)
}

/// A payment intent before its first attempt; `data` is the session's `payment_intent_data`.
fn new_intent(session: &Value, data: &Value, shipping: Value) -> Value {
    let id = id("pi_", 24);
    let mut intent = json!({
        "id": id, "object": "payment_intent", "amount": session["amount_total"], "amount_capturable": 0,
        "amount_details": {"tip": {}}, "amount_received": 0, "capture_method": "automatic_async",
        "client_secret": format!("{id}_secret_sandbox"), "confirmation_method": "automatic", "created": now(),
        "currency": session["currency"], "description": data["description"], "livemode": false,
        "metadata": metadata(&data["metadata"]), "payment_method_options": {}, "payment_method_types": ["card"],
        "receipt_email": data["receipt_email"], "shipping": value_or(&data["shipping"], shipping),
        "statement_descriptor": data["statement_descriptor"],
        "statement_descriptor_suffix": data["statement_descriptor_suffix"], "status": "requires_payment_method",
    });
    add_nulls(
        &mut intent,
        &[
            "application",
            "application_fee_amount",
            "automatic_payment_methods",
            "canceled_at",
            "cancellation_reason",
            "customer",
            "last_payment_error",
            "latest_charge",
            "next_action",
            "on_behalf_of",
            "payment_method",
            "payment_method_configuration_details",
            "processing",
            "review",
            "setup_future_usage",
            "transfer_data",
            "transfer_group",
        ],
    );
    intent
}

/// Records a refusal. The intent waits for another attempt, as at Stripe.
fn decline(intent: &mut Value, message: &str) {
    intent["status"] = json!("requires_payment_method");
    intent["last_payment_error"] = json!({
        "type": "card_error", "code": "card_declined", "decline_code": "generic_decline", "message": message,
    });
}

/// Charges the customer and completes the intent.
async fn succeed(tx: &mut Transaction<'_>, intent: &mut Value, session: &Value) -> ApiResult<()> {
    let charge = new_charge(intent, session, &tx.settings.business_name);
    intent["status"] = json!("succeeded");
    intent["amount_received"] = intent["amount"].clone();
    intent["last_payment_error"] = Value::Null;
    intent["latest_charge"] = charge["id"].clone();
    intent["payment_method"] = charge["payment_method"].clone();
    tx.insert(&charge).await?;
    tx.save(intent).await?;
    tx.emit("charge.succeeded", &charge).await?;
    tx.emit("payment_intent.succeeded", intent).await
}

/// A charge of the whole amount, by a test card or a test bank account.
fn new_charge(intent: &Value, session: &Value, business_name: &str) -> Value {
    let customer = &session["customer_details"];
    let method = intent["payment_method_types"][0].as_str();
    let details = match method.unwrap_or("card") {
        "card" => json!({"type": "card", "card": {
            "brand": "visa", "checks": null, "country": "US", "exp_month": 12, "exp_year": 2034, "funding": "credit", "last4": "4242",
        }}),
        method => {
            json!({"type": method, method: {"bank_name": "STRIPE TEST BANK", "last4": "6789"}})
        }
    };
    // A statement has room for 22 characters.
    let descriptor: String = business_name.to_uppercase().chars().take(22).collect();
    let mut charge = json!({
        "id": id("ch_", 24), "object": "charge", "amount": intent["amount"], "amount_captured": intent["amount"],
        "amount_refunded": 0, "billing_details": {
            "address": customer["address"], "email": customer["email"], "name": customer["name"],
            "phone": customer["phone"], "tax_id": null,
        },
        "calculated_statement_descriptor": descriptor, "captured": true, "created": now(),
        "currency": intent["currency"], "description": intent["description"], "disputed": false, "fraud_details": {},
        "livemode": false, "metadata": intent["metadata"], "outcome": {
            "network_status": "approved_by_network", "reason": null, "risk_level": "normal",
            "seller_message": "Payment complete.", "type": "authorized",
        },
        "paid": true, "payment_intent": intent["id"], "payment_method": id("pm_", 24),
        "payment_method_details": details, "receipt_email": intent["receipt_email"], "refunded": false,
        "shipping": intent["shipping"], "status": "succeeded",
    });
    add_nulls(
        &mut charge,
        &[
            "application",
            "application_fee",
            "application_fee_amount",
            "balance_transaction",
            "customer",
            "failure_balance_transaction",
            "failure_code",
            "failure_message",
            "on_behalf_of",
            "receipt_number",
            "receipt_url",
            "review",
            "source_transfer",
            "statement_descriptor",
            "statement_descriptor_suffix",
            "transfer_data",
            "transfer_group",
        ],
    );
    charge
}
