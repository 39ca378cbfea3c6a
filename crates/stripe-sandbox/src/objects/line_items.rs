//! Line items of Checkout Sessions and payment links.

use serde_json::{Value, json};

use super::catalog::{create_product, currency, new_price};
use crate::error::{ApiError, ApiResult};
use crate::store::{Transaction, id, metadata};

/// Makes the line items that a request asks for. All of them have one currency.
pub async fn create(tx: &mut Transaction<'_>, params: &Value) -> ApiResult<Vec<Value>> {
    let given = params["line_items"]
        .as_array()
        .filter(|lines| !lines.is_empty())
        .ok_or_else(|| ApiError::absent("line_items"))?;
    if given.len() > 100 {
        return Err(ApiError::invalid(
            "Array line_items exceeded maximum 100 allowed elements.",
            "line_items",
        ));
    }
    let mut session_currency = params["currency"]
        .is_string()
        .then(|| currency(&params["currency"], "currency"))
        .transpose()?;
    let mut lines = Vec::new();
    for (index, line) in given.iter().enumerate() {
        let name = format!("line_items[{index}]");
        let price = price(tx, line, &name).await?;
        let quantity = quantity(line, &name)?;
        let currency = price["currency"].as_str().unwrap_or_default();
        if session_currency.get_or_insert_with(|| currency.to_owned()) != currency {
            let message = "You cannot combine currencies on a single Checkout Session: all prices must have the same currency.";
            return Err(ApiError::invalid(message, &name));
        }
        let product = tx
            .find("product", price["product"].as_str().unwrap_or_default())
            .await?
            .unwrap_or_default();
        let amount = price["unit_amount"].as_i64().unwrap_or(0) * quantity;
        lines.push(json!({
            "id": new_id(), "object": "item", "adjustable_quantity": null, "amount_discount": 0, "amount_subtotal": amount,
            "amount_tax": 0, "amount_total": amount, "currency": currency, "description": product["name"],
            "metadata": metadata(&line["metadata"]), "price": price, "quantity": quantity,
        }));
    }
    Ok(lines)
}

/// An id for a line item.
pub fn new_id() -> String {
    id("li_", 24)
}

/// The line's price: a listed one by its id, or one made for this session alone.
async fn price(tx: &mut Transaction<'_>, line: &Value, name: &str) -> ApiResult<Value> {
    match (line["price"].as_str(), &line["price_data"]) {
        (Some(price), Value::Null) => listed_price(tx, price, &format!("{name}[price]")).await,
        (None, data @ Value::Object(_)) => {
            inline_price(tx, data, &format!("{name}[price_data]")).await
        }
        (Some(_), _) => {
            let message = format!(
                "You may only specify one of these parameters: {name}[price], {name}[price_data]."
            );
            Err(ApiError::invalid(message, name))
        }
        _ => Err(ApiError::absent(&format!("{name}[price_data]"))),
    }
}

/// Finds a price that is on sale.
async fn listed_price(tx: &mut Transaction<'_>, id: &str, name: &str) -> ApiResult<Value> {
    let price = tx
        .find("price", id)
        .await?
        .ok_or_else(|| ApiError::missing(400, "price", id, name))?;
    if price["active"] == false {
        let message = "The price specified is inactive. This field only accepts active prices.";
        return Err(ApiError::refused(message).param(name));
    }
    check_product(tx, price["product"].as_str().unwrap_or_default(), name).await?;
    Ok(price)
}

/// Makes a price for one session. Neither it nor its product is active, so neither can be sold again by its id.
async fn inline_price(tx: &mut Transaction<'_>, data: &Value, name: &str) -> ApiResult<Value> {
    let product_data = &data["product_data"];
    let product = match (data["product"].as_str(), product_data.is_object()) {
        (Some(product), false) => {
            check_product(tx, product, &format!("{name}[product]")).await?;
            json!(product)
        }
        (None, true) => {
            let mut params = product_data.clone();
            params["active"] = json!(false);
            create_product(tx, &params).await?["id"].clone()
        }
        _ => return Err(ApiError::absent(&format!("{name}[product_data]"))),
    };
    let mut price = new_price(data, &product, name)?;
    price["active"] = json!(false);
    tx.insert(&price).await?;
    Ok(price)
}

/// Rejects a product that is unknown or off sale.
async fn check_product(tx: &mut Transaction<'_>, id: &str, name: &str) -> ApiResult<()> {
    let product = tx
        .find("product", id)
        .await?
        .ok_or_else(|| ApiError::missing(400, "product", id, name))?;
    if product["active"] == false {
        let message = format!(
            "The product {id} is marked as inactive, and thus cannot be used in a Checkout Session."
        );
        return Err(ApiError::refused(message).param(name));
    }
    Ok(())
}

/// Reads how many a line has; Stripe has no default for it.
fn quantity(line: &Value, name: &str) -> ApiResult<i64> {
    let param = format!("{name}[quantity]");
    let Some(quantity) = line["quantity"].as_i64() else {
        let message = format!("Quantity is required. Add `quantity` to `{name}`");
        return Err(ApiError::invalid(message, &param).code("parameter_missing"));
    };
    if !(1..=999_999).contains(&quantity) {
        let message = "This value must be greater than or equal to 1.";
        return Err(ApiError::invalid(message, &param).code("parameter_invalid_integer"));
    }
    Ok(quantity)
}
