//! The operations of Stripe's API.

use serde_json::Value;

use super::parameters::{self, Operation};
use crate::error::{ApiError, ApiResult};
use crate::objects::{accounts, catalog, checkout, payment_links, refunds};
use crate::store::Transaction;

/// Performs an operation. A new one is a line here and one in `parameters.json`.
pub async fn perform(
    tx: &mut Transaction<'_>,
    operation: &Operation,
    path: &str,
    params: &[(String, String)],
) -> ApiResult<Value> {
    let params = &parameters::check(operation.schema, parameters::tree(params)?, "")?;
    let id = operation.id.as_str();
    // Reads share their code below; a write has rules of its own.
    let mut answer = match operation.template {
        "POST /v1/products" => catalog::create_product(tx, params).await?,
        "POST /v1/products/{id}" => catalog::update_product(tx, id, params).await?,
        "POST /v1/prices" => catalog::create_price(tx, params).await?,
        "POST /v1/prices/{id}" => catalog::update_price(tx, id, params).await?,
        "POST /v1/checkout/sessions" => checkout::create(tx, params).await?,
        "POST /v1/checkout/sessions/{id}/expire" => checkout::expire(tx, id).await?,
        "GET /v1/checkout/sessions/{id}/line_items" => checkout::line_items(tx, id).await?,
        "POST /v1/payment_links" => payment_links::create(tx, params).await?,
        "POST /v1/payment_links/{id}" => payment_links::update(tx, id, params).await?,
        "POST /v1/refunds" => refunds::create(tx, params).await?,
        "GET /v1/account" => accounts::current(tx).await?,
        template => read(tx, template, id, path, params).await?,
    };
    let expand = params["expand"].as_array().into_iter().flatten();
    for property in expand.filter_map(Value::as_str) {
        tx.expand(&mut answer, property).await?;
    }
    Ok(answer)
}

/// Finds one object or lists a page of them: the operations that differ by the kind of object alone.
async fn read(
    tx: &mut Transaction<'_>,
    template: &str,
    id: &str,
    path: &str,
    params: &Value,
) -> ApiResult<Value> {
    let plural = template
        .trim_start_matches("GET /v1/")
        .trim_end_matches("/{id}");
    let (kind, param) = match plural {
        "products" => ("product", "id"),
        "prices" => ("price", "price"),
        "checkout/sessions" => ("checkout.session", "session"),
        "payment_links" => ("payment_link", "payment_link"),
        "payment_intents" => ("payment_intent", "intent"),
        "charges" => ("charge", "charge"),
        "refunds" => ("refund", "refund"),
        _ => ("event", "id"),
    };
    if !template.ends_with("{id}") {
        return tx.list(kind, path, params).await;
    }
    tx.find(kind, id)
        .await?
        .ok_or_else(|| ApiError::missing(404, kind, id, param))
}
