//! JSON: the shopper's cart, and everything that programs write with a token.

use proptest::prelude::*;
use proptest::sample::select;
use reqwest::Method;
use serde_json::{Map, Value, json};
use spirit_beads::auth::Scope;

use super::shop::Stage;
use super::{Request, any_json, api_answer, changed, filled, spliced, text, try_inputs};
use crate::support::{PATIENT, Shop};
use crate::system::access;

const CHECKOUT: &str = "/api/payments/create-checkout-session/";

#[test]
fn no_json_as_a_cart_is_a_server_error() {
    try_inputs(
        200,
        async || {
            let shop = Shop::open_with(&[PATIENT]).await;
            shop.stocks("Sunrise", 1000).await;
            shop
        },
        |_| {
            let words = [
                "sunrise",
                "SUNRISE",
                "sun\u{0}rise",
                "items",
                "product_id",
                "quantity",
            ];
            let words = words.map(str::to_owned).to_vec();
            let line = json!({"product_id": "sunrise", "quantity": 1});
            let carts = (1..5).map(|lines| json!({"items": vec![line.clone(); lines]}));
            prop_oneof![any_json(words.clone()), changed(carts.collect(), words)].boxed()
        },
        async |shop, cart: Value| {
            let request = Request::new(Method::POST, CHECKOUT);
            let request = request.body("application/json", cart.to_string());
            api_answer(&request.send(&shop.client).await?)
        },
        async |shop| shop.audit().await,
    );
}

#[test]
fn no_json_to_a_route_of_the_api_is_a_server_error() {
    try_inputs(
        600,
        Stage::open_with_document,
        |(stage, document)| requests(stage, document),
        async |(stage, _), request: Request| {
            let mut answer = request.send(&stage.admin).await?;
            if answer.status == 401 {
                // It has revoked itself; the next has a token of its own.
                let admin = stage.shop.admin(&Scope::ALL).await;
                answer = request.send(&admin).await?;
                prop_assert_ne!(answer.status, 401);
            }
            api_answer(&answer)
        },
        async |(stage, _)| stage.settles().await,
    );
}

/// Every write of the document, with a body as described, parts of it changed, or no JSON at all.
fn requests(stage: &Stage, document: &Value) -> BoxedStrategy<Request> {
    let mut words = stage.names.clone();
    let routes = access::routes();
    let mut writes = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            if path == "/api/payments/webhook" || method == "get" {
                continue;
            }
            let method: Method = method.to_uppercase().parse().expect("a method");
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let described = example(document, schema, 0);
            // What would have an effect, and with all that may be said besides.
            let route = routes
                .iter()
                .find(|route| route.0 == method && route.1 == path);
            let effective = route.map_or(Value::Null, |route| route.3.clone());
            let mut full = described.clone();
            if let (Some(full), Some(part)) = (full.as_object_mut(), effective.as_object()) {
                full.extend(part.clone());
            }
            let path = format!("{path}/");
            let names = stage.names_for(&path);
            writes.push((
                method,
                path,
                names,
                [effective.clone(), effective, full, described],
            ));
        }
    }
    assert!(writes.len() > 50, "{}", writes.len());
    collect_keys(&document["components"]["schemas"], &mut words);
    select(writes)
        .prop_flat_map(move |(method, path, names, examples)| {
            let [example, ..] = &examples;
            let bytes = Just(example.to_string().into_bytes());
            let body = prop_oneof![
                8 => changed(examples.to_vec(), words.clone()).prop_map(|value| value.to_string().into_bytes()),
                1 => any_json(words.clone()).prop_map(|value| value.to_string().into_bytes()),
                1 => spliced(bytes),
            ];
            let place = prop_oneof![8 => select(names), 1 => text(words.clone())];
            (place, body).prop_map(move |(place, body)| {
                let request = Request::new(method.clone(), filled(&path, &place));
                match body == b"null" {
                    true => request,
                    false => request.body("application/json", body),
                }
            })
        })
        .boxed()
}

/// A value as a schema describes it: every property, one of each list.
fn example(document: &Value, schema: &Value, depth: usize) -> Value {
    if let Some(target) = schema["$ref"].as_str() {
        let target = document.pointer(target.trim_start_matches('#'));
        return match depth < 8 {
            true => example(document, target.expect("a target"), depth + 1),
            false => Value::Null,
        };
    }
    if let Some(words) = schema["enum"].as_array() {
        return words[0].clone();
    }
    for kind in ["oneOf", "anyOf", "allOf"] {
        let options = schema[kind].as_array().into_iter().flatten();
        let mut options = options.filter(|option| option["type"] != "null");
        if let Some(option) = options.next() {
            return example(document, option, depth + 1);
        }
    }
    let kind = match &schema["type"] {
        Value::String(kind) => kind.as_str(),
        Value::Array(kinds) => kinds[0].as_str().unwrap_or_default(),
        _ => "",
    };
    match kind {
        "object" => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let members =
                properties.map(|(key, schema)| (key.clone(), example(document, schema, depth + 1)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        "array" => json!([example(document, &schema["items"], depth + 1)]),
        "integer" | "number" => json!(2),
        "boolean" => json!(true),
        "string" => json!("sunrise"),
        _ => Value::Null,
    }
}

/// The names of all properties.
fn collect_keys(schema: &Value, into: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            let properties = object.get("properties").and_then(Value::as_object);
            into.extend(properties.into_iter().flatten().map(|(key, _)| key.clone()));
            object.values().for_each(|value| collect_keys(value, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_keys(item, into)),
        _ => {}
    }
}
