//! Payment links: each look at a link's page opens a Checkout Session, and of those only so many can complete.
//! Whoever locks the link first takes the place.
use serde_json::{Value, json};

use super::catalog::or;
use super::checkout;
use super::store::{Problem, Result, Work, id as new_id, merge_metadata, metadata, nulls};

/// `POST /v1/payment_links`.
pub async fn create(work: &mut Work<'_>, p: &Value) -> Result<Value> {
    let lines = checkout::lines(work, p).await?;
    if lines.len() > 20 {
        return Err(Problem::invalid(
            "Array line_items exceeded maximum 20 allowed elements.".into(),
            "line_items",
        ));
    }
    checkout::sum(work, p, &lines).await?;
    let id = new_id("plink_", 24);
    let mut link = json!({
        "id": id, "object": "payment_link", "active": true, "after_completion": after_completion(&p["after_completion"])?,
        "allow_promotion_codes": p["allow_promotion_codes"].as_bool().unwrap_or(false),
        "automatic_tax": {"enabled": false, "liability": null},
        "billing_address_collection": or(&p["billing_address_collection"], json!("auto")), "currency": lines[0]["currency"],
        "custom_fields": [], "custom_text": {"after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null},
        "customer_creation": or(&p["customer_creation"], json!("if_required")), "inactive_message": p["inactive_message"],
        "invoice_creation": {"enabled": false, "invoice_data": null}, "livemode": false, "metadata": metadata(&p["metadata"]),
        "payment_intent_data": p["payment_intent_data"], "payment_method_collection": "always",
        "phone_number_collection": or(&p["phone_number_collection"], json!({"enabled": false})),
        "restrictions": restrictions(&p["restrictions"], &Value::Null)?,
        "shipping_address_collection": p["shipping_address_collection"], "shipping_options": [],
        "submit_type": or(&p["submit_type"], json!("auto")), "tax_id_collection": {"enabled": false, "required": "never"},
        "url": format!("{}/link/{id}", work.pages_url),
    });
    nulls(
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
    work.insert(&link, json!({ "lines": lines })).await?;
    Ok(link)
}

/// `POST /v1/payment_links/{id}`. The sessions that are open stay so, whatever becomes of the link.
pub async fn update(work: &mut Work<'_>, id: &str, p: &Value) -> Result<Value> {
    let mut link = lock(work, id).await?;
    for (key, value) in p.as_object().into_iter().flatten() {
        match key.as_str() {
            "expand" => {}
            "metadata" => merge_metadata(&mut link, value)?,
            "after_completion" => link[key] = after_completion(value)?,
            "restrictions" => link[key] = restrictions(value, &link[key])?,
            "line_items" => {
                let message = "The sandbox's payment links keep the lines they were made with.";
                return Err(Problem::invalid(message.into(), key));
            }
            _ => link[key] = value.clone(),
        }
    }
    work.save(&link).await?;
    Ok(link)
}

/// What a look at the link's page does: a new session, or a refusal in the link's own words.
pub async fn open(work: &mut Work<'_>, id: &str) -> Result<Value> {
    let link = lock(work, id).await?;
    if link["active"] == false || is_used_up(&link) {
        let message = link["inactive_message"]
            .as_str()
            .unwrap_or("This link is no longer active.");
        return Err(Problem::refused(message));
    }
    let private = work
        .private(link["id"].as_str().unwrap_or_default())
        .await?;
    let lines = private["lines"].as_array().into_iter().flatten();
    let lines = lines.map(|line| {
        let mut line = line.clone();
        line["id"] = json!(new_id("li_", 24));
        line
    });
    // A link's fields have the names of a session's parameters.
    let mut p = link.clone();
    p["payment_link"] = link["id"].clone();
    p["success_url"] = link["after_completion"]["redirect"]["url"].clone();
    checkout::open(work, &p, lines.collect()).await
}

/// The link by which a session came, which nobody else completes a session of until the transaction ends. None for
/// a session without a link, or whose link has no limit.
pub async fn hold_place(work: &mut Work<'_>, session: &Value) -> Result<Option<Value>> {
    let Some(id) = session["payment_link"].as_str() else {
        return Ok(None);
    };
    let link = lock(work, id).await?;
    if is_used_up(&link) {
        let message =
            "Another payment was made by the same payment link, which takes no more of them.";
        return Err(Problem::refused(message));
    }
    Ok(Some(link).filter(|link| link["restrictions"].is_object()))
}

/// Counts one more completed session; the last that there may be closes the link.
pub async fn take_place(work: &mut Work<'_>, mut link: Value) -> Result<()> {
    let completed = &mut link["restrictions"]["completed_sessions"];
    completed["count"] = json!(completed["count"].as_i64().unwrap_or(0) + 1);
    if is_used_up(&link) {
        link["active"] = json!(false);
    }
    work.save(&link).await
}

/// Whether as many sessions are complete as there may be.
pub fn is_used_up(link: &Value) -> bool {
    let completed = &link["restrictions"]["completed_sessions"];
    match (completed["count"].as_i64(), completed["limit"].as_i64()) {
        (Some(count), Some(limit)) => count >= limit,
        _ => false,
    }
}

async fn lock(work: &mut Work<'_>, id: &str) -> Result<Value> {
    work.lock("payment_link", id)
        .await?
        .ok_or_else(|| Problem::missing(404, "payment_link", id, "payment_link"))
}

fn after_completion(given: &Value) -> Result<Value> {
    if given["type"] != "redirect" {
        let message = &given["hosted_confirmation"]["custom_message"];
        return Ok(
            json!({"hosted_confirmation": {"custom_message": message}, "type": "hosted_confirmation"}),
        );
    }
    let (url, name) = (&given["redirect"]["url"], "after_completion[redirect][url]");
    if url.is_null() {
        return Err(Problem::absent(name));
    }
    checkout::return_url(url, name)?;
    Ok(json!({"redirect": {"url": url}, "type": "redirect"}))
}

/// A new limit, if any, beside the count so far.
fn restrictions(given: &Value, old: &Value) -> Result<Value> {
    let Some(limit) = given["completed_sessions"]["limit"].as_i64() else {
        return Ok(Value::Null);
    };
    if limit < 1 {
        let problem = Problem::invalid(
            "This value must be greater than or equal to 1.".into(),
            "restrictions[completed_sessions][limit]",
        );
        return Err(problem.code("parameter_invalid_integer"));
    }
    let count = old["completed_sessions"]["count"].as_i64().unwrap_or(0);
    Ok(json!({"completed_sessions": {"count": count, "limit": limit}}))
}
