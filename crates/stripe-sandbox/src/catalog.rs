//! Products and prices.
use serde_json::{Value, json};

use super::store::{Problem, Result, Work, id, merge_metadata, metadata, now};

pub async fn create_product(work: &mut Work<'_>, p: &Value) -> Result<Value> {
    if p["id"].as_str().is_some_and(|id| id.len() > 255) {
        return Err(Problem::invalid(
            "Invalid id: must be at most 255 characters".into(),
            "id",
        ));
    }
    let time = now();
    let mut product = json!({
        "id": p["id"].as_str().map_or_else(|| id("prod_", 14), str::to_owned), "object": "product",
        "active": p["active"].as_bool().unwrap_or(true), "attributes": [], "created": time, "default_price": null,
        "description": p["description"], "images": images(&p["images"])?, "livemode": false,
        "marketing_features": or(&p["marketing_features"], json!([])), "metadata": metadata(&p["metadata"]), "name": p["name"],
        "package_dimensions": p["package_dimensions"], "shippable": p["shippable"],
        "statement_descriptor": p["statement_descriptor"], "tax_code": p["tax_code"], "tax_details": p["tax_details"],
        "type": or(&p["type"], json!("service")), "unit_label": p["unit_label"], "updated": time, "url": p["url"],
    });
    if !work.insert(&product, json!({})).await? {
        return Err(Problem::refused("Product already exists.")
            .code("resource_already_exists")
            .param("id"));
    }
    if p["default_price_data"].is_object() {
        let price = new_price(
            &p["default_price_data"],
            &product["id"],
            "default_price_data",
        )?;
        work.insert(&price, json!({})).await?;
        product["default_price"] = price["id"].clone();
        work.save(&product).await?;
    }
    Ok(product)
}

pub async fn update_product(work: &mut Work<'_>, id: &str, p: &Value) -> Result<Value> {
    let mut product = work
        .lock("product", id)
        .await?
        .ok_or_else(|| Problem::missing(404, "product", id, "id"))?;
    if let Some(default) = p["default_price"].as_str() {
        let price = work.lock("price", default).await?;
        let price = price.filter(|price| price["product"] == id);
        let price =
            price.ok_or_else(|| Problem::missing(400, "price", default, "default_price"))?;
        if price["active"] == false {
            let message = format!(
                "The price `{default}` is inactive and cannot be set as the default price of a product."
            );
            return Err(Problem::refused(message).param("default_price"));
        }
    }
    for (key, value) in p
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != "expand")
    {
        match key.as_str() {
            "metadata" => merge_metadata(&mut product, value)?,
            "images" => product["images"] = images(value)?,
            "marketing_features" => product[key] = or(value, json!([])),
            _ => product[key] = value.clone(),
        }
    }
    product["updated"] = json!(now());
    work.save(&product).await?;
    Ok(product)
}

pub async fn create_price(work: &mut Work<'_>, p: &Value) -> Result<Value> {
    let product = match (p["product"].as_str(), p["product_data"].is_object()) {
        (Some(product), false) => work
            .find("product", product)
            .await?
            .ok_or_else(|| Problem::missing(400, "product", product, "product"))?["id"]
            .clone(),
        (None, true) => create_product(work, &p["product_data"]).await?["id"].clone(),
        _ => {
            return Err(Problem::invalid(
                "You must specify either `product` or `product_data` when creating a price.".into(),
                "product",
            ));
        }
    };
    let price = new_price(p, &product, "")?;
    work.insert(&price, json!({})).await?;
    Ok(price)
}

pub async fn update_price(work: &mut Work<'_>, id: &str, p: &Value) -> Result<Value> {
    // The product first, as in `update_product`, or the two could wait for each other.
    let found = work
        .find("price", id)
        .await?
        .ok_or_else(|| Problem::missing(404, "price", id, "price"))?;
    let product = work
        .lock("product", found["product"].as_str().unwrap_or_default())
        .await?;
    let mut price = work.lock("price", id).await?.unwrap_or(found);
    if p["active"] == false && product.is_some_and(|product| product["default_price"] == id) {
        return Err(Problem::refused(
            "This price cannot be archived because it is the default price of its product.",
        ));
    }
    for (key, value) in p.as_object().into_iter().flatten() {
        match key.as_str() {
            "expand" | "transfer_lookup_key" => {}
            "metadata" => merge_metadata(&mut price, value)?,
            _ => price[key] = value.clone(),
        }
    }
    work.save(&price).await?;
    Ok(price)
}

/// A price object from the parameters of a price; `name` is where they stand in the request.
pub fn new_price(p: &Value, product: &Value, name: &str) -> Result<Value> {
    let at = |key: &str| {
        if name.is_empty() {
            key.to_owned()
        } else {
            format!("{name}[{key}]")
        }
    };
    let amount = p["unit_amount"]
        .as_i64()
        .or_else(|| p["unit_amount_decimal"].as_str()?.parse().ok());
    let amount = amount.ok_or_else(|| {
        let message = format!(
            "You must specify either `{}` or `{}`.",
            at("unit_amount"),
            at("unit_amount_decimal")
        );
        Problem::invalid(message, &at("unit_amount")).code("parameter_missing")
    })?;
    if amount < 0 {
        let problem = Problem::invalid("Invalid non-negative integer".into(), &at("unit_amount"));
        return Err(problem.code("parameter_invalid_integer"));
    }
    if amount > 99_999_999 {
        return Err(Problem::invalid(
            "Invalid value: must be at most 99999999.".into(),
            &at("unit_amount"),
        )
        .code("amount_too_large"));
    }
    if p["recurring"].is_object() {
        return Err(Problem::invalid(
            "The sandbox sells things once: it has no recurring prices.".into(),
            &at("recurring"),
        ));
    }
    Ok(json!({
        "id": id("price_", 24), "object": "price", "active": p["active"].as_bool().unwrap_or(true), "billing_scheme": "per_unit",
        "created": now(), "currency": currency(&p["currency"], &at("currency"))?, "custom_unit_amount": null, "livemode": false,
        "lookup_key": p["lookup_key"], "metadata": metadata(&p["metadata"]), "nickname": p["nickname"], "product": product,
        "recurring": null, "tax_behavior": or(&p["tax_behavior"], json!("unspecified")), "tiers_mode": null,
        "transform_quantity": null, "type": "one_time", "unit_amount": amount, "unit_amount_decimal": amount.to_string(),
    }))
}

/// A currency's code in lower case.
pub fn currency(given: &Value, name: &str) -> Result<String> {
    let code = given.as_str().unwrap_or_default().to_ascii_lowercase();
    if code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Ok(code);
    }
    Err(Problem::invalid(
        format!(
            "Invalid currency: {code}. Stripe currently supports these currencies: usd, eur, gbp, cad, …"
        ),
        name,
    ))
}

/// At most eight addresses of pictures.
fn images(given: &Value) -> Result<Value> {
    let images = or(given, json!([]));
    let all = images.as_array().map_or(&[][..], Vec::as_slice);
    if all.len() > 8 {
        return Err(Problem::invalid(
            "Array images exceeded maximum 8 allowed elements.".into(),
            "images",
        ));
    }
    for (index, image) in all.iter().enumerate() {
        url(image, &format!("images[{index}]"))?;
    }
    Ok(images)
}

/// Refuses what is not an address on the web.
pub fn url(given: &Value, name: &str) -> Result<()> {
    let address = given.as_str().unwrap_or_default();
    let parsed = url::Url::parse(address)
        .is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    if parsed && address.len() <= 5000 {
        return Ok(());
    }
    Err(Problem::invalid("Not a valid URL".into(), name).code("url_invalid"))
}

pub fn or(value: &Value, default: Value) -> Value {
    if value.is_null() {
        default
    } else {
        value.clone()
    }
}
