//! Shipping options of Checkout Sessions.

use serde_json::{Value, json};

use super::catalog::{MAX_AMOUNT, currency};
use crate::error::{ApiError, ApiResult};
use crate::store::{Transaction, id, metadata, now, value_or};

/// Makes the shipping options that a request asks for, each with a rate of its own.
pub async fn create_options(
    tx: &mut Transaction<'_>,
    params: &Value,
    session_currency: &str,
) -> ApiResult<Vec<Value>> {
    let given = params["shipping_options"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if given.len() > 5 {
        return Err(ApiError::invalid(
            "Array shipping_options exceeded maximum 5 allowed elements.",
            "shipping_options",
        ));
    }
    let mut options = Vec::new();
    for (index, option) in given.iter().enumerate() {
        let name = format!("shipping_options[{index}]");
        if let Some(rate) = option["shipping_rate"].as_str() {
            let name = format!("{name}[shipping_rate]");
            return Err(ApiError::missing(400, "shipping rate", rate, &name));
        }
        let name = format!("{name}[shipping_rate_data]");
        let rate = new_rate(&option["shipping_rate_data"], session_currency, &name)?;
        tx.insert(&rate).await?;
        let amount = &rate["fixed_amount"]["amount"];
        options.push(json!({"shipping_amount": amount, "shipping_rate": rate["id"]}));
    }
    Ok(options)
}

/// The cost of a chosen option, in the form of a session's `shipping_cost`.
pub fn cost(option: &Value) -> Value {
    let amount = &option["shipping_amount"];
    json!({"amount_subtotal": amount, "amount_tax": 0, "amount_total": amount, "shipping_rate": option["shipping_rate"]})
}

/// A shipping rate for one session. The sandbox has no rates of their own, so a session cannot name one.
fn new_rate(data: &Value, session_currency: &str, name: &str) -> ApiResult<Value> {
    let fixed = &data["fixed_amount"];
    let name = format!("{name}[fixed_amount]");
    let Some(amount) = fixed["amount"].as_i64() else {
        return Err(ApiError::absent(&name));
    };
    if !(0..=MAX_AMOUNT).contains(&amount) {
        let problem = ApiError::invalid("Invalid non-negative integer", &format!("{name}[amount]"));
        return Err(problem.code("parameter_invalid_integer"));
    }
    let param = format!("{name}[currency]");
    let currency = currency(&fixed["currency"], &param)?;
    if currency != session_currency {
        let message = format!(
            "The shipping rate's currency must match the Checkout Session's currency, {session_currency}."
        );
        return Err(ApiError::invalid(message, &param));
    }
    Ok(json!({
        "id": id("shr_", 24), "object": "shipping_rate", "active": true, "created": now(),
        "delivery_estimate": data["delivery_estimate"], "display_name": data["display_name"],
        "fixed_amount": {"amount": amount, "currency": currency}, "livemode": false,
        "metadata": metadata(&data["metadata"]), "tax_behavior": value_or(&data["tax_behavior"], json!("unspecified")),
        "tax_code": data["tax_code"], "type": "fixed_amount",
    }))
}
