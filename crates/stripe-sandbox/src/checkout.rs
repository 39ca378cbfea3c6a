//! Checkout Sessions: made by the shop, paid by the shopper, or expired. Whoever locks the session first decides.
use serde_json::{Value, json};

use super::catalog::{create_product, currency, new_price, or, url};
use super::store::{Problem, Result, Work, id, metadata, now, nulls};

/// The longest that a session stays open, in seconds.
const LIFETIME: i64 = 86_400;

/// `POST /v1/checkout/sessions`.
pub async fn create(work: &mut Work<'_>, p: &Value) -> Result<Value> {
    let time = now();
    match p["mode"].as_str() {
        Some("payment") => {}
        None => return Err(Problem::absent("mode")),
        Some(other) => {
            return Err(Problem::invalid(
                format!("The sandbox has no sessions of mode {other}."),
                "mode",
            ));
        }
    }
    if p["ui_mode"]
        .as_str()
        .is_some_and(|mode| mode != "hosted_page")
    {
        return Err(Problem::invalid(
            "The sandbox has only hosted pages.".into(),
            "ui_mode",
        ));
    }
    if p["success_url"].is_null() {
        return Err(Problem::absent("success_url"));
    }
    for name in ["success_url", "cancel_url"] {
        if !p[name].is_null() {
            return_url(&p[name], name)?;
        }
    }
    if p["client_reference_id"]
        .as_str()
        .is_some_and(|reference| reference.chars().count() > 200)
    {
        return Err(Problem::invalid(
            "Invalid string: must be at most 200 characters".into(),
            "client_reference_id",
        ));
    }
    let expires_at = p["expires_at"].as_i64().unwrap_or(time + LIFETIME);
    if expires_at < time + 1_800 {
        let message = "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.";
        return Err(Problem::invalid(message.into(), "expires_at"));
    }
    if expires_at > time + LIFETIME {
        let message =
            "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.";
        return Err(Problem::invalid(message.into(), "expires_at"));
    }

    let lines = lines(work, p).await?;
    open(work, p, lines).await
}

/// A new open session over these lines, by the parameters of the request, or of the link that it is opened by.
pub async fn open(work: &mut Work<'_>, p: &Value, lines: Vec<Value>) -> Result<Value> {
    let time = now();
    let expires_at = p["expires_at"].as_i64().unwrap_or(time + LIFETIME);
    let Sum {
        currency,
        subtotal,
        shipping_options,
        shipping_cost,
    } = sum(work, p, &lines).await?;
    let shipping = shipping_cost["amount_total"].as_i64().unwrap_or(0);
    let id = id("cs_test_", 58);
    let countries = &p["shipping_address_collection"]["allowed_countries"];
    if countries.as_array().is_some_and(Vec::is_empty) {
        return Err(Problem::absent(
            "shipping_address_collection[allowed_countries]",
        ));
    }
    let phone = p["phone_number_collection"]["enabled"]
        .as_bool()
        .unwrap_or(false);
    let mut session = json!({
        "id": id, "object": "checkout.session", "adaptive_pricing": {"enabled": false},
        "allow_promotion_codes": p["allow_promotion_codes"], "amount_subtotal": subtotal, "amount_total": subtotal + shipping,
        "automatic_tax": {"enabled": false, "liability": null, "provider": null, "status": null},
        "billing_address_collection": p["billing_address_collection"], "cancel_url": p["cancel_url"],
        "client_reference_id": p["client_reference_id"], "created": time, "currency": currency, "custom_fields": [],
        "custom_text": {"after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null},
        "customer_creation": or(&p["customer_creation"], json!("if_required")), "customer_email": p["customer_email"], "discounts": [],
        "expires_at": expires_at, "livemode": false, "locale": p["locale"], "metadata": metadata(&p["metadata"]), "mode": "payment",
        "payment_method_collection": "if_required", "payment_method_options": {}, "payment_link": p["payment_link"], "payment_method_types": ["card"],
        "payment_status": "unpaid", "phone_number_collection": {"enabled": phone},
        "shipping_address_collection": p["shipping_address_collection"], "shipping_cost": shipping_cost,
        "shipping_options": shipping_options, "status": "open", "submit_type": p["submit_type"], "success_url": p["success_url"],
        "total_details": {"amount_discount": 0, "amount_shipping": shipping, "amount_tax": 0}, "ui_mode": "hosted_page",
        "url": format!("{}/pay/{id}", work.pages_url),
    });
    nulls(
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
    work.insert(
        &session,
        json!({"lines": lines, "payment_intent_data": p["payment_intent_data"]}),
    )
    .await?;
    Ok(session)
}

/// What the lines and the shipping come to.
pub struct Sum {
    currency: String,
    subtotal: i64,
    shipping_options: Value,
    shipping_cost: Value,
}

/// Adds up what is asked for, if it is neither too little nor too much for a payment.
pub async fn sum(work: &mut Work<'_>, p: &Value, lines: &[Value]) -> Result<Sum> {
    let currency = lines
        .first()
        .and_then(|line| line["currency"].as_str())
        .unwrap_or_default()
        .to_owned();
    let subtotal: i64 = lines
        .iter()
        .filter_map(|line| line["amount_total"].as_i64())
        .sum();
    let (shipping_options, shipping_cost) = shipping(work, p, &currency).await?;
    let total = subtotal + shipping_cost["amount_total"].as_i64().unwrap_or(0);
    if total < 50 {
        let message = "The Checkout Session's total amount due must add up to at least $0.50 usd";
        return Err(Problem::invalid(message.into(), "line_items").code("amount_too_small"));
    }
    if total > 99_999_999 {
        let message = "The Checkout Session's total amount due must be no more than $999,999.99.";
        return Err(Problem::invalid(message.into(), "line_items").code("amount_too_large"));
    }
    Ok(Sum {
        currency,
        subtotal,
        shipping_options,
        shipping_cost,
    })
}

/// Refuses what is no address to come back to; it may have a place for the session's id.
pub fn return_url(given: &Value, name: &str) -> Result<()> {
    let address = given.as_str().unwrap_or_default();
    url(&json!(address.replace("{CHECKOUT_SESSION_ID}", "cs")), name)
}

/// The line items; all have one currency.
pub async fn lines(work: &mut Work<'_>, p: &Value) -> Result<Vec<Value>> {
    let given = p["line_items"]
        .as_array()
        .filter(|lines| !lines.is_empty())
        .ok_or_else(|| Problem::absent("line_items"))?;
    if given.len() > 100 {
        return Err(Problem::invalid(
            "Array line_items exceeded maximum 100 allowed elements.".into(),
            "line_items",
        ));
    }
    let mut lines = Vec::new();
    let mut money = p["currency"]
        .is_string()
        .then(|| currency(&p["currency"], "currency"))
        .transpose()?;
    for (index, line) in given.iter().enumerate() {
        let name = format!("line_items[{index}]");
        let price = match (line["price"].as_str(), &line["price_data"]) {
            (Some(price), Value::Null) => listed(work, price, &format!("{name}[price]")).await?,
            (None, data @ Value::Object(_)) => {
                inline(work, data, &format!("{name}[price_data]")).await?
            }
            (Some(_), _) => {
                return Err(Problem::invalid(
                    format!(
                        "You may only specify one of these parameters: {name}[price], {name}[price_data]."
                    ),
                    &name,
                ));
            }
            _ => return Err(Problem::absent(&format!("{name}[price_data]"))),
        };
        let quantity = line["quantity"].as_i64().ok_or_else(|| {
            Problem::invalid(
                format!("Quantity is required. Add `quantity` to `{name}`"),
                &format!("{name}[quantity]"),
            )
            .code("parameter_missing")
        })?;
        if !(1..=999_999).contains(&quantity) {
            let problem = Problem::invalid(
                "This value must be greater than or equal to 1.".into(),
                &format!("{name}[quantity]"),
            );
            return Err(problem.code("parameter_invalid_integer"));
        }
        let currency = price["currency"].as_str().unwrap_or_default();
        if money.get_or_insert_with(|| currency.to_owned()) != currency {
            let message = "You cannot combine currencies on a single Checkout Session: all prices must have the same currency.";
            return Err(Problem::invalid(message.into(), &name));
        }
        let product = work
            .find("product", price["product"].as_str().unwrap_or_default())
            .await?
            .unwrap_or_default();
        let amount = price["unit_amount"].as_i64().unwrap_or(0) * quantity;
        lines.push(json!({
            "id": id("li_", 24), "object": "item", "adjustable_quantity": null, "amount_discount": 0, "amount_subtotal": amount,
            "amount_tax": 0, "amount_total": amount, "currency": currency, "description": product["name"],
            "metadata": metadata(&line["metadata"]), "price": price, "quantity": quantity,
        }));
    }
    Ok(lines)
}

/// A price on the shop's list, if it may be sold.
async fn listed(work: &mut Work<'_>, id: &str, name: &str) -> Result<Value> {
    let price = work
        .find("price", id)
        .await?
        .ok_or_else(|| Problem::missing(400, "price", id, name))?;
    if price["active"] == false {
        return Err(Problem::refused(
            "The price specified is inactive. This field only accepts active prices.",
        )
        .param(name));
    }
    sold(work, price["product"].as_str().unwrap_or_default(), name).await?;
    Ok(price)
}

/// A price made for this session alone: it and its product are never on the list.
async fn inline(work: &mut Work<'_>, data: &Value, name: &str) -> Result<Value> {
    let product = match (data["product"].as_str(), data["product_data"].is_object()) {
        (Some(product), false) => {
            sold(work, product, &format!("{name}[product]")).await?;
            json!(product)
        }
        (None, true) => {
            let mut data = data["product_data"].clone();
            data["active"] = json!(false);
            create_product(work, &data).await?["id"].clone()
        }
        _ => return Err(Problem::absent(&format!("{name}[product_data]"))),
    };
    let mut price = new_price(data, &product, name)?;
    price["active"] = json!(false);
    work.insert(&price, json!({})).await?;
    Ok(price)
}

async fn sold(work: &mut Work<'_>, product: &str, name: &str) -> Result<()> {
    let found = work
        .find("product", product)
        .await?
        .ok_or_else(|| Problem::missing(400, "product", product, name))?;
    if found["active"] == false {
        let message = format!(
            "The product {product} is marked as inactive, and thus cannot be used in a Checkout Session."
        );
        return Err(Problem::refused(message).param(name));
    }
    Ok(())
}

/// The shipping options, and the cost of the first, which is chosen until the shopper says otherwise.
async fn shipping(work: &mut Work<'_>, p: &Value, money: &str) -> Result<(Value, Value)> {
    let given = p["shipping_options"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if given.len() > 5 {
        return Err(Problem::invalid(
            "Array shipping_options exceeded maximum 5 allowed elements.".into(),
            "shipping_options",
        ));
    }
    let mut options = Vec::new();
    for (index, option) in given.iter().enumerate() {
        let name = format!("shipping_options[{index}][shipping_rate_data]");
        let data = &option["shipping_rate_data"];
        if let Some(rate) = option["shipping_rate"].as_str() {
            return Err(Problem::missing(
                400,
                "shipping rate",
                rate,
                &format!("shipping_options[{index}][shipping_rate]"),
            ));
        }
        let Some(amount) = data["fixed_amount"]["amount"].as_i64() else {
            return Err(Problem::absent(&format!("{name}[fixed_amount]")));
        };
        if !(0..=99_999_999).contains(&amount) {
            return Err(Problem::invalid(
                "Invalid non-negative integer".into(),
                &format!("{name}[fixed_amount][amount]"),
            )
            .code("parameter_invalid_integer"));
        }
        if currency(
            &data["fixed_amount"]["currency"],
            &format!("{name}[fixed_amount][currency]"),
        )? != money
        {
            let message = format!(
                "The shipping rate's currency must match the Checkout Session's currency, {money}."
            );
            return Err(Problem::invalid(
                message,
                &format!("{name}[fixed_amount][currency]"),
            ));
        }
        let rate = json!({
            "id": id("shr_", 24), "object": "shipping_rate", "active": true, "created": now(), "delivery_estimate": data["delivery_estimate"],
            "display_name": data["display_name"], "fixed_amount": {"amount": amount, "currency": money}, "livemode": false,
            "metadata": metadata(&data["metadata"]), "tax_behavior": or(&data["tax_behavior"], json!("unspecified")),
            "tax_code": data["tax_code"], "type": "fixed_amount",
        });
        work.insert(&rate, json!({})).await?;
        options.push(json!({"shipping_amount": amount, "shipping_rate": rate["id"]}));
    }
    let cost = options.first().map_or(Value::Null, cost);
    Ok((Value::Array(options), cost))
}

/// What a chosen shipping option costs, as a session says it.
pub fn cost(option: &Value) -> Value {
    let amount = &option["shipping_amount"];
    json!({"amount_subtotal": amount, "amount_tax": 0, "amount_total": amount, "shipping_rate": option["shipping_rate"]})
}

/// A session that nobody else changes until the transaction ends; 404 without it.
pub async fn lock(work: &mut Work<'_>, id: &str) -> Result<Value> {
    work.lock("checkout.session", id)
        .await?
        .ok_or_else(|| Problem::missing(404, "checkout.session", id, "session"))
}

/// `POST /v1/checkout/sessions/{id}/expire`, and what happens to a session whose time has come.
pub async fn expire(work: &mut Work<'_>, id: &str) -> Result<Value> {
    let mut session = lock(work, id).await?;
    if session["status"] != "open" {
        let status = session["status"].as_str().unwrap_or_default();
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of `{status}`."
        );
        return Err(Problem::refused(message));
    }
    session["status"] = json!("expired");
    session["url"] = Value::Null;
    work.save(&session).await?;
    if let Some(intent) = session["payment_intent"].as_str()
        && let Some(mut intent) = work.lock("payment_intent", intent).await?
    {
        intent["status"] = json!("canceled");
        intent["canceled_at"] = json!(now());
        work.save(&intent).await?;
        work.emit("payment_intent.canceled", &intent).await?;
    }
    work.emit("checkout.session.expired", &session).await?;
    Ok(session)
}

/// `GET /v1/checkout/sessions/{id}/line_items`, a single page of it.
pub async fn line_items(work: &mut Work<'_>, id: &str) -> Result<Value> {
    let mut session = work.find("checkout.session", id).await?;
    let session = session
        .as_mut()
        .ok_or_else(|| Problem::missing(404, "checkout.session", id, "session"))?;
    work.expand(session, "line_items").await?;
    Ok(session["line_items"].take())
}
