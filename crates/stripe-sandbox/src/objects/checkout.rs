//! Checkout Sessions: opened by the merchant, then completed by the customer or expired. The first to lock the session
//! decides which.

use serde_json::{Value, json};

use super::catalog::{MAX_AMOUNT, check_url};
use super::{line_items, shipping};
use crate::error::{ApiError, ApiResult};
use crate::store::{Transaction, add_nulls, id, metadata, now, value_or};

/// The longest time that a session stays open, in seconds.
const LIFETIME: i64 = 86_400;

/// The smallest total, in the smallest unit of any currency.
const MIN_TOTAL: i64 = 50;

/// `POST /v1/checkout/sessions`.
pub async fn create(tx: &mut Transaction<'_>, params: &Value) -> ApiResult<Value> {
    match params["mode"].as_str() {
        Some("payment") => {}
        None => return Err(ApiError::absent("mode")),
        Some(other) => {
            let message = format!("The sandbox has no sessions of mode {other}.");
            return Err(ApiError::invalid(message, "mode"));
        }
    }
    let ui_mode = params["ui_mode"].as_str();
    if ui_mode.is_some_and(|mode| mode != "hosted_page") {
        return Err(ApiError::invalid(
            "The sandbox has only hosted pages.",
            "ui_mode",
        ));
    }
    if params["success_url"].is_null() {
        return Err(ApiError::absent("success_url"));
    }
    for name in ["success_url", "cancel_url"] {
        if !params[name].is_null() {
            check_return_url(&params[name], name)?;
        }
    }
    let reference = params["client_reference_id"].as_str();
    if reference.is_some_and(|reference| reference.chars().count() > 200) {
        return Err(ApiError::invalid(
            "Invalid string: must be at most 200 characters",
            "client_reference_id",
        ));
    }
    check_expires_at(&params["expires_at"])?;
    let lines = line_items::create(tx, params).await?;
    open(tx, params, lines).await
}

/// Rejects an end that is too soon or too late. Without one, a session ends after a day.
fn check_expires_at(given: &Value) -> ApiResult<()> {
    let time = now();
    let message = match given.as_i64() {
        Some(expires_at) if expires_at < time + 1_800 => {
            "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation."
        }
        Some(expires_at) if expires_at > time + LIFETIME => {
            "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation."
        }
        _ => return Ok(()),
    };
    Err(ApiError::invalid(message, "expires_at"))
}

/// Opens a session over these lines, by the parameters of a request or the fields of a payment link.
pub async fn open(tx: &mut Transaction<'_>, params: &Value, lines: Vec<Value>) -> ApiResult<Value> {
    let total = total(tx, params, &lines).await?;
    let countries = &params["shipping_address_collection"]["allowed_countries"];
    if countries.as_array().is_some_and(Vec::is_empty) {
        return Err(ApiError::absent(
            "shipping_address_collection[allowed_countries]",
        ));
    }
    let session = new_session(params, total, &tx.settings.pages_url);
    let private = json!({"lines": lines, "payment_intent_data": params["payment_intent_data"]});
    tx.insert_with(&session, private).await?;
    Ok(session)
}

/// A session object with all of its fields.
fn new_session(params: &Value, total: Total, pages_url: &str) -> Value {
    let Total {
        currency,
        subtotal,
        shipping_options,
    } = total;
    // The first option is chosen until the customer chooses another.
    let shipping_cost = shipping_options.first().map_or(Value::Null, shipping::cost);
    let shipping = shipping_cost["amount_total"].as_i64().unwrap_or(0);
    let time = now();
    let id = id("cs_test_", 58);
    let phone = params["phone_number_collection"]["enabled"] == true;
    let mut session = json!({
        "id": id, "object": "checkout.session", "adaptive_pricing": {"enabled": false},
        "allow_promotion_codes": params["allow_promotion_codes"], "amount_subtotal": subtotal,
        "amount_total": subtotal + shipping,
        "automatic_tax": {"enabled": false, "liability": null, "provider": null, "status": null},
        "billing_address_collection": params["billing_address_collection"], "cancel_url": params["cancel_url"],
        "client_reference_id": params["client_reference_id"], "created": time, "currency": currency, "custom_fields": [],
        "custom_text": {"after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null},
        "customer_creation": value_or(&params["customer_creation"], json!("if_required")),
        "customer_email": params["customer_email"], "discounts": [],
        "expires_at": params["expires_at"].as_i64().unwrap_or(time + LIFETIME), "livemode": false,
        "locale": params["locale"], "metadata": metadata(&params["metadata"]), "mode": "payment",
        "payment_method_collection": "if_required", "payment_method_options": {}, "payment_link": params["payment_link"],
        "payment_method_types": ["card"], "payment_status": "unpaid", "phone_number_collection": {"enabled": phone},
        "shipping_address_collection": params["shipping_address_collection"], "shipping_cost": shipping_cost,
        "shipping_options": shipping_options, "status": "open", "submit_type": params["submit_type"],
        "success_url": params["success_url"],
        "total_details": {"amount_discount": 0, "amount_shipping": shipping, "amount_tax": 0}, "ui_mode": "hosted_page",
        "url": format!("{pages_url}/pay/{id}"),
    });
    add_nulls(
        &mut session,
        &[
            "after_expiration",
            "client_secret",
            "collected_information",
            "consent",
            "consent_collection",
            "currency_conversion",
            "customer",
            "customer_account",
            "customer_details",
            "invoice",
            "invoice_creation",
            "origin_context",
            "payment_intent",
            "payment_method_configuration_details",
            "permissions",
            "recovered_from",
            "saved_payment_method_options",
            "setup_intent",
            "subscription",
            "wallet_options",
        ],
    );
    session
}

/// Sum of line items, and the shipping that is added to it.
pub struct Total {
    currency: String,
    subtotal: i64,
    shipping_options: Vec<Value>,
}

/// Adds up the lines, makes the shipping options, and rejects a total that Stripe does not charge.
pub async fn total(tx: &mut Transaction<'_>, params: &Value, lines: &[Value]) -> ApiResult<Total> {
    let currency = lines
        .first()
        .and_then(|line| line["currency"].as_str())
        .unwrap_or_default()
        .to_owned();
    let subtotal: i64 = lines
        .iter()
        .filter_map(|line| line["amount_total"].as_i64())
        .sum();
    let shipping_options = shipping::create_options(tx, params, &currency).await?;
    let shipping = shipping_options
        .first()
        .and_then(|option| option["shipping_amount"].as_i64());
    let total = subtotal + shipping.unwrap_or(0);
    if total < MIN_TOTAL {
        let message = "The Checkout Session's total amount due must add up to at least $0.50 usd";
        return Err(ApiError::invalid(message, "line_items").code("amount_too_small"));
    }
    if total > MAX_AMOUNT {
        let message = "The Checkout Session's total amount due must be no more than $999,999.99.";
        return Err(ApiError::invalid(message, "line_items").code("amount_too_large"));
    }
    Ok(Total {
        currency,
        subtotal,
        shipping_options,
    })
}

/// Rejects an address that customers could not return to. It may have a placeholder for the session's id.
pub fn check_return_url(given: &Value, name: &str) -> ApiResult<()> {
    let address = given.as_str().unwrap_or_default();
    let address = address.replace("{CHECKOUT_SESSION_ID}", "cs");
    check_url(&json!(address), name)
}

/// Locks a session until the transaction ends; 404 without it.
pub async fn lock(tx: &mut Transaction<'_>, id: &str) -> ApiResult<Value> {
    tx.lock("checkout.session", id)
        .await?
        .ok_or_else(|| missing(id))
}

/// `POST /v1/checkout/sessions/{id}/expire`, and the end of a session's time.
pub async fn expire(tx: &mut Transaction<'_>, id: &str) -> ApiResult<Value> {
    let mut session = lock(tx, id).await?;
    if session["status"] != "open" {
        let status = session["status"].as_str().unwrap_or_default();
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of `{status}`."
        );
        return Err(ApiError::refused(message));
    }
    session["status"] = json!("expired");
    session["url"] = Value::Null;
    tx.save(&session).await?;
    // A declined card has left an intent behind.
    if let Some(intent) = session["payment_intent"].as_str()
        && let Some(mut intent) = tx.lock("payment_intent", intent).await?
    {
        intent["status"] = json!("canceled");
        intent["canceled_at"] = json!(now());
        tx.save(&intent).await?;
        tx.emit("payment_intent.canceled", &intent).await?;
    }
    tx.emit("checkout.session.expired", &session).await?;
    Ok(session)
}

/// `GET /v1/checkout/sessions/{id}/line_items`: all of them on one page, whatever the limit.
pub async fn line_items(tx: &mut Transaction<'_>, id: &str) -> ApiResult<Value> {
    let mut session = tx
        .find("checkout.session", id)
        .await?
        .ok_or_else(|| missing(id))?;
    tx.expand(&mut session, "line_items").await?;
    Ok(session["line_items"].take())
}

fn missing(id: &str) -> ApiError {
    ApiError::missing(404, "checkout.session", id, "session")
}
