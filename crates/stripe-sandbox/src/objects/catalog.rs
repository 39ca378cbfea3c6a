//! Products and prices.

use serde_json::{Value, json};

use crate::error::{ApiError, ApiResult};
use crate::store::{Transaction, id, merge_metadata, metadata, now, value_or};

/// The largest amount that Stripe charges, in the smallest unit of any currency.
pub const MAX_AMOUNT: i64 = 99_999_999;

/// `POST /v1/products`.
pub async fn create_product(tx: &mut Transaction<'_>, params: &Value) -> ApiResult<Value> {
    if params["id"].as_str().is_some_and(|id| id.len() > 255) {
        return Err(ApiError::invalid(
            "Invalid id: must be at most 255 characters",
            "id",
        ));
    }
    let time = now();
    let mut product = json!({
        "id": params["id"].as_str().map_or_else(|| id("prod_", 14), str::to_owned), "object": "product",
        "active": params["active"].as_bool().unwrap_or(true), "attributes": [], "created": time, "default_price": null,
        "description": params["description"], "images": images(&params["images"])?, "livemode": false,
        "marketing_features": value_or(&params["marketing_features"], json!([])),
        "metadata": metadata(&params["metadata"]), "name": params["name"],
        "package_dimensions": params["package_dimensions"], "shippable": params["shippable"],
        "statement_descriptor": params["statement_descriptor"], "tax_code": params["tax_code"],
        "tax_details": params["tax_details"], "type": value_or(&params["type"], json!("service")),
        "unit_label": params["unit_label"], "updated": time, "url": params["url"],
    });
    if !tx.insert(&product).await? {
        return Err(ApiError::refused("Product already exists.")
            .code("resource_already_exists")
            .param("id"));
    }
    let default_price = &params["default_price_data"];
    if default_price.is_object() {
        let price = new_price(default_price, &product["id"], "default_price_data")?;
        tx.insert(&price).await?;
        product["default_price"] = price["id"].clone();
        tx.save(&product).await?;
    }
    Ok(product)
}

/// `POST /v1/products/{id}`.
pub async fn update_product(
    tx: &mut Transaction<'_>,
    id: &str,
    params: &Value,
) -> ApiResult<Value> {
    let mut product = tx
        .lock("product", id)
        .await?
        .ok_or_else(|| ApiError::missing(404, "product", id, "id"))?;
    if let Some(default) = params["default_price"].as_str() {
        let price = tx.lock("price", default).await?;
        let price = price
            .filter(|price| price["product"] == id)
            .ok_or_else(|| ApiError::missing(400, "price", default, "default_price"))?;
        if price["active"] == false {
            let message = format!(
                "The price `{default}` is inactive and cannot be set as the default price of a product."
            );
            return Err(ApiError::refused(message).param("default_price"));
        }
    }
    for (key, value) in params.as_object().into_iter().flatten() {
        match key.as_str() {
            "expand" => {}
            "metadata" => merge_metadata(&mut product, value)?,
            "images" => product["images"] = images(value)?,
            "marketing_features" => product[key] = value_or(value, json!([])),
            _ => product[key] = value.clone(),
        }
    }
    product["updated"] = json!(now());
    tx.save(&product).await?;
    Ok(product)
}

/// `POST /v1/prices`.
pub async fn create_price(tx: &mut Transaction<'_>, params: &Value) -> ApiResult<Value> {
    let product_data = &params["product_data"];
    let product = match (params["product"].as_str(), product_data.is_object()) {
        (Some(product), false) => tx
            .find("product", product)
            .await?
            .ok_or_else(|| ApiError::missing(400, "product", product, "product"))?["id"]
            .clone(),
        (None, true) => create_product(tx, product_data).await?["id"].clone(),
        _ => {
            let message =
                "You must specify either `product` or `product_data` when creating a price.";
            return Err(ApiError::invalid(message, "product"));
        }
    };
    let price = new_price(params, &product, "")?;
    tx.insert(&price).await?;
    Ok(price)
}

/// `POST /v1/prices/{id}`.
pub async fn update_price(tx: &mut Transaction<'_>, id: &str, params: &Value) -> ApiResult<Value> {
    // The product is locked first, as in `update_product`.
    let found = tx
        .find("price", id)
        .await?
        .ok_or_else(|| ApiError::missing(404, "price", id, "price"))?;
    let product = tx
        .lock("product", found["product"].as_str().unwrap_or_default())
        .await?;
    let mut price = tx.lock("price", id).await?.unwrap_or(found);
    if params["active"] == false && product.is_some_and(|product| product["default_price"] == id) {
        return Err(ApiError::refused(
            "This price cannot be archived because it is the default price of its product.",
        ));
    }
    for (key, value) in params.as_object().into_iter().flatten() {
        match key.as_str() {
            "expand" | "transfer_lookup_key" => {}
            "metadata" => merge_metadata(&mut price, value)?,
            _ => price[key] = value.clone(),
        }
    }
    tx.save(&price).await?;
    Ok(price)
}

/// Makes a price object; `name` is the parameter that holds its data, empty for the request itself.
pub fn new_price(params: &Value, product: &Value, name: &str) -> ApiResult<Value> {
    let at = |key: &str| match name {
        "" => key.to_owned(),
        name => format!("{name}[{key}]"),
    };
    let amount = unit_amount(params, at)?;
    if params["recurring"].is_object() {
        return Err(ApiError::invalid(
            "The sandbox sells things once: it has no recurring prices.",
            &at("recurring"),
        ));
    }
    Ok(json!({
        "id": id("price_", 24), "object": "price", "active": params["active"].as_bool().unwrap_or(true),
        "billing_scheme": "per_unit", "created": now(), "currency": currency(&params["currency"], &at("currency"))?,
        "custom_unit_amount": null, "livemode": false, "lookup_key": params["lookup_key"],
        "metadata": metadata(&params["metadata"]), "nickname": params["nickname"], "product": product, "recurring": null,
        "tax_behavior": value_or(&params["tax_behavior"], json!("unspecified")), "tiers_mode": null,
        "transform_quantity": null, "type": "one_time", "unit_amount": amount, "unit_amount_decimal": amount.to_string(),
    }))
}

/// Reads a price's amount: a whole number, though one of its two parameters could have decimals.
fn unit_amount(params: &Value, at: impl Fn(&str) -> String) -> ApiResult<i64> {
    let amount = params["unit_amount"]
        .as_i64()
        .or_else(|| params["unit_amount_decimal"].as_str()?.parse().ok());
    let Some(amount) = amount else {
        let message = format!(
            "You must specify either `{}` or `{}`.",
            at("unit_amount"),
            at("unit_amount_decimal")
        );
        return Err(ApiError::invalid(message, &at("unit_amount")).code("parameter_missing"));
    };
    let (message, code) = match amount {
        ..0 => ("Invalid non-negative integer", "parameter_invalid_integer"),
        0..=MAX_AMOUNT => return Ok(amount),
        _ => (
            "Invalid value: must be at most 99999999.",
            "amount_too_large",
        ),
    };
    Err(ApiError::invalid(message, &at("unit_amount")).code(code))
}

/// Reads a currency's code, in any case, as lower case.
pub fn currency(given: &Value, name: &str) -> ApiResult<String> {
    let code = given.as_str().unwrap_or_default().to_ascii_lowercase();
    if code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Ok(code);
    }
    let message = format!(
        "Invalid currency: {code}. Stripe currently supports these currencies: usd, eur, gbp, cad, …"
    );
    Err(ApiError::invalid(message, name))
}

/// Reads up to eight addresses of images.
fn images(given: &Value) -> ApiResult<Value> {
    let images = value_or(given, json!([]));
    let all = images.as_array().map_or(&[][..], Vec::as_slice);
    if all.len() > 8 {
        return Err(ApiError::invalid(
            "Array images exceeded maximum 8 allowed elements.",
            "images",
        ));
    }
    for (index, image) in all.iter().enumerate() {
        check_url(image, &format!("images[{index}]"))?;
    }
    Ok(images)
}

/// Rejects all but addresses on the web.
pub fn check_url(given: &Value, name: &str) -> ApiResult<()> {
    let address = given.as_str().unwrap_or_default();
    let is_web = url::Url::parse(address)
        .is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    if is_web && address.len() <= 5000 {
        return Ok(());
    }
    Err(ApiError::invalid("Not a valid URL", name).code("url_invalid"))
}
