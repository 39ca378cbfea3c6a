//! Payment links. Each visit to a link's page opens a Checkout Session; a limit bounds how many of those complete. The
//! first payment to lock the link takes the last place.

use serde_json::{Value, json};

use super::{checkout, line_items};
use crate::error::{ApiError, ApiResult};
use crate::store::{Transaction, add_nulls, id, merge_metadata, metadata, value_or};

/// `POST /v1/payment_links`.
pub async fn create(tx: &mut Transaction<'_>, params: &Value) -> ApiResult<Value> {
    let lines = line_items::create(tx, params).await?;
    if lines.len() > 20 {
        return Err(ApiError::invalid(
            "Array line_items exceeded maximum 20 allowed elements.",
            "line_items",
        ));
    }
    // Only for its checks: each session of the link is added up again.
    checkout::total(tx, params, &lines).await?;
    let id = id("plink_", 24);
    let mut link = json!({
        "id": id, "object": "payment_link", "active": true,
        "after_completion": after_completion(&params["after_completion"])?,
        "allow_promotion_codes": params["allow_promotion_codes"] == true,
        "automatic_tax": {"enabled": false, "liability": null},
        "billing_address_collection": value_or(&params["billing_address_collection"], json!("auto")),
        "currency": lines[0]["currency"], "custom_fields": [],
        "custom_text": {"after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null},
        "customer_creation": value_or(&params["customer_creation"], json!("if_required")),
        "inactive_message": params["inactive_message"], "invoice_creation": {"enabled": false, "invoice_data": null},
        "livemode": false, "metadata": metadata(&params["metadata"]),
        "payment_intent_data": params["payment_intent_data"], "payment_method_collection": "always",
        "phone_number_collection": value_or(&params["phone_number_collection"], json!({"enabled": false})),
        "restrictions": restrictions(&params["restrictions"], &Value::Null)?,
        "shipping_address_collection": params["shipping_address_collection"], "shipping_options": [],
        "submit_type": value_or(&params["submit_type"], json!("auto")),
        "tax_id_collection": {"enabled": false, "required": "never"},
        "url": format!("{}/link/{id}", tx.settings.pages_url),
    });
    add_nulls(
        &mut link,
        &[
            "application",
            "application_fee_amount",
            "application_fee_percent",
            "consent_collection",
            "name_collection",
            "on_behalf_of",
            "optional_items",
            "payment_method_types",
            "subscription_data",
            "transfer_data",
        ],
    );
    tx.insert_with(&link, json!({ "lines": lines })).await?;
    Ok(link)
}

/// `POST /v1/payment_links/{id}`. Sessions that are open stay open.
pub async fn update(tx: &mut Transaction<'_>, id: &str, params: &Value) -> ApiResult<Value> {
    let mut link = lock(tx, id).await?;
    for (key, value) in params.as_object().into_iter().flatten() {
        match key.as_str() {
            "expand" => {}
            "metadata" => merge_metadata(&mut link, value)?,
            "after_completion" => link[key] = after_completion(value)?,
            "restrictions" => link[key] = restrictions(value, &link[key])?,
            "line_items" => {
                let message = "The sandbox's payment links keep the lines they were made with.";
                return Err(ApiError::invalid(message, key));
            }
            _ => link[key] = value.clone(),
        }
    }
    tx.save(&link).await?;
    Ok(link)
}

/// Opens a session for a visitor of the link's page. A closed link refuses with its own message.
pub async fn open(tx: &mut Transaction<'_>, id: &str) -> ApiResult<Value> {
    let link = lock(tx, id).await?;
    if link["active"] == false || is_used_up(&link) {
        let message = link["inactive_message"].as_str();
        return Err(ApiError::refused(
            message.unwrap_or("This link is no longer active."),
        ));
    }
    let mut private = tx.private(&link).await?;
    let mut lines = match private["lines"].take() {
        Value::Array(lines) => lines,
        _ => Vec::new(),
    };
    for line in &mut lines {
        line["id"] = json!(line_items::new_id());
    }
    // A link's other fields have the names of a session's parameters.
    let mut params = link.clone();
    params["payment_link"] = link["id"].clone();
    params["success_url"] = link["after_completion"]["redirect"]["url"].clone();
    checkout::open(tx, &params, lines).await
}

/// Locks the payment link that a session came by, so that no other session of it completes until the transaction ends.
/// None for a session without a link, or with one that has no limit.
pub async fn reserve(tx: &mut Transaction<'_>, session: &Value) -> ApiResult<Option<Value>> {
    let Some(id) = session["payment_link"].as_str() else {
        return Ok(None);
    };
    let link = lock(tx, id).await?;
    if is_used_up(&link) {
        return Err(ApiError::refused(
            "Another payment was made by the same payment link, which takes no more of them.",
        ));
    }
    Ok(Some(link).filter(|link| link["restrictions"].is_object()))
}

/// Counts a completed session of a reserved link. The last one allowed closes the link.
pub async fn count(tx: &mut Transaction<'_>, mut link: Value) -> ApiResult<()> {
    let completed = &mut link["restrictions"]["completed_sessions"];
    completed["count"] = json!(completed["count"].as_i64().unwrap_or(0) + 1);
    if is_used_up(&link) {
        link["active"] = json!(false);
    }
    tx.save(&link).await
}

/// Returns true if as many sessions are complete as the link's limit allows.
pub fn is_used_up(link: &Value) -> bool {
    let completed = &link["restrictions"]["completed_sessions"];
    match (completed["count"].as_i64(), completed["limit"].as_i64()) {
        (Some(count), Some(limit)) => count >= limit,
        _ => false,
    }
}

/// Locks a link until the transaction ends; 404 without it.
async fn lock(tx: &mut Transaction<'_>, id: &str) -> ApiResult<Value> {
    tx.lock("payment_link", id)
        .await?
        .ok_or_else(|| ApiError::missing(404, "payment_link", id, "payment_link"))
}

/// Completes the setting for the page after payment: a message of Stripe's, or an address to return to.
fn after_completion(given: &Value) -> ApiResult<Value> {
    if given["type"] != "redirect" {
        let message = &given["hosted_confirmation"]["custom_message"];
        return Ok(
            json!({"hosted_confirmation": {"custom_message": message}, "type": "hosted_confirmation"}),
        );
    }
    let (url, name) = (&given["redirect"]["url"], "after_completion[redirect][url]");
    if url.is_null() {
        return Err(ApiError::absent(name));
    }
    checkout::check_return_url(url, name)?;
    Ok(json!({"redirect": {"url": url}, "type": "redirect"}))
}

/// A new limit, if any, beside the count so far.
fn restrictions(given: &Value, old: &Value) -> ApiResult<Value> {
    let Some(limit) = given["completed_sessions"]["limit"].as_i64() else {
        return Ok(Value::Null);
    };
    if limit < 1 {
        let problem = ApiError::invalid(
            "This value must be greater than or equal to 1.",
            "restrictions[completed_sessions][limit]",
        );
        return Err(problem.code("parameter_invalid_integer"));
    }
    let count = old["completed_sessions"]["count"].as_i64().unwrap_or(0);
    Ok(json!({"completed_sessions": {"count": count, "limit": limit}}))
}
