//! Every request that we can make to Stripe is one that Stripe takes: no unknown parameter, no missing one, right types.
//!
//! The requests are those of real flows, as the sandbox's log has them; the schemas, of Stripe's own description, are in
//! `tests/data/stripe_schemas.json`.

mod checker;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::audit::Actor;
use spirit_beads::auth::Scope;
use spirit_beads::products;
use spirit_beads::types::ids::QuoteId;
use spirit_beads::types::money::Currency;
use stripe_sandbox::Request;

use crate::custom_orders::payment_links;
use crate::support::{Shop, card, session_of};

static SCHEMAS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../data/stripe_schemas.json"))
        .expect("the file is JSON")
});

#[tokio::test]
async fn every_request_we_make_is_one_that_stripe_takes() {
    let shop = Shop::open().await;
    let admin = shop.admin(&Scope::ALL).await;
    let pictured =
        json!({"primary_image": "/media/products/sunrise.png", "description": "Glass beads."});
    let piece = shop.stocks_with("Sunrise", 4, pictured).await;
    let other = shop.stocks("Turtle", 2).await;

    // Sold before its sync: the price goes along. Then synced, sold by its price, and the first session is expired.
    let shopper = shop.shopper();
    session_of(&shopper.check_out(&[(&piece, 1), (&other, 1)]).await);
    shop.run_jobs().await;
    let paid = session_of(&shopper.check_out(&[(&piece, 2)]).await);
    shop.stripe.pay(&paid, card()).await.expect("a payment");

    // Going back after paying: the session is not open any more, so it is asked for.
    let back = shopper.follow(&cancel_path(&shop, &paid).await).await;
    assert_eq!(back.header("location"), "http://localhost:8080/success");
    assert_eq!(shop.status_of(&paid).await, "paid");

    // Another name and price, and no image any more.
    let change = json!({"name": "Sunset", "price": 5200, "primary_image": null});
    let changed = admin
        .send_json(Method::PATCH, "/api/products/sunrise/", &change)
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    shop.run_jobs().await;
    let known = at_stripe(
        &shop,
        &admin.get("/api/admin/products/sunrise/").await.json["stripe"]["product_id"],
    )
    .await;
    assert_eq!(
        (&known["name"], &known["images"]),
        (&json!("Sunset"), &json!([]))
    );

    // Paid too late: the session expired for us, and the pieces went to another.
    let late = session_of(&shop.shopper().check_out(&[(&other, 2)]).await);
    let expired = json!({
        "id": "evt_early", "type": "checkout.session.expired", "created": chrono::Utc::now().timestamp(),
        "data": {"object": {"id": late, "status": "expired"}},
    });
    assert_eq!(shop.webhook(&expired).await.status, 200);
    let sale = json!({"lines": [{"product_id": other, "quantity": 1}]});
    assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
    shop.stripe.pay(&late, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;

    // A catalog of the old service names a price of which we do not know the amount.
    let stripe = admin.get("/api/admin/products/sunrise/").await.json["stripe"].clone();
    let file = json!({"products": [{
        "id": "imported", "name": "Imported", "lighter_type": 1, "price": 5200,
        "stripe_product_id": stripe["product_id"], "stripe_price_id": stripe["price_id"],
    }]});
    let mut tx = shop.db.begin().await.expect("a transaction");
    let actor = Actor::system("test");
    products::import(&mut tx, &actor, &file.to_string(), None, Currency::USD)
        .await
        .expect("an import");
    tx.commit().await.expect("an import");
    shop.run_jobs().await;

    // Taken off sale.
    assert_eq!(
        admin
            .post("/api/products/turtle/archive/", &json!({}))
            .await
            .status,
        200
    );
    shop.run_jobs().await;
    let known = at_stripe(
        &shop,
        &admin.get("/api/admin/products/turtle/").await.json["stripe"]["product_id"],
    )
    .await;
    assert_eq!(known["active"], false);

    // More events than a page holds.
    sqlx::query(
        "insert into stripe_sandbox.objects (id, object, created, data)
         select 'evt_copy_' || n, object, created, jsonb_set(data, '{id}', to_jsonb('evt_copy_' || n))
         from stripe_sandbox.objects, generate_series(1, 120) as n
         where object = 'event' and data ->> 'type' = 'checkout.session.expired'",
    )
    .execute(&shop.db)
    .await
    .expect("more events");
    assert!(shop.reconcile().await.listed > 100);
    shop.run_jobs().await;
    shop.audit().await;

    // A piece made to order: its link, with more links and sessions than a page holds, and the link closed again.
    let link = payment_links::asks_for_a_link(&shop).await;
    payment_links::fill_the_lists(&shop, &link).await;
    let stripe = &shop.app.stripe;
    let none = stripe.find_payment_link(QuoteId::new()).await;
    assert_eq!(none.expect("an answer"), None);
    let sessions = stripe.list_link_sessions(&link.id).await;
    assert_eq!(sessions.expect("the sessions").len(), 121);
    let closed = stripe.deactivate_payment_link(&link.id).await;
    closed.expect("a closed link");

    let requests = shop.stripe.requests();
    assert_taken(&requests);
    let seen: BTreeSet<&str> = requests
        .iter()
        .map(|request| request.operation.as_str())
        .collect();
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        [
            "GET /v1/account",
            "GET /v1/checkout/sessions",
            "GET /v1/checkout/sessions/{id}",
            "GET /v1/events",
            "GET /v1/payment_links",
            "GET /v1/prices/{id}",
            "POST /v1/checkout/sessions",
            "POST /v1/checkout/sessions/{id}/expire",
            "POST /v1/payment_links",
            "POST /v1/payment_links/{id}",
            "POST /v1/prices",
            "POST /v1/prices/{id}",
            "POST /v1/products",
            "POST /v1/products/{id}",
            "POST /v1/refunds",
        ]
    );
    let sent = |operation: &str, name: &str| {
        requests.iter().any(|request| {
            request.operation == operation && request.params.iter().any(|(param, _)| param == name)
        })
    };
    for (operation, name) in [
        ("POST /v1/checkout/sessions", "line_items[0][price]"),
        (
            "POST /v1/checkout/sessions",
            "line_items[1][price_data][product_data][name]",
        ),
        ("POST /v1/products/{id}", "default_price"),
        ("GET /v1/checkout/sessions", "starting_after"),
        ("GET /v1/events", "starting_after"),
        ("GET /v1/payment_links", "starting_after"),
        (
            "POST /v1/payment_links",
            "line_items[0][price_data][product_data][description]",
        ),
        (
            "POST /v1/payment_links",
            "line_items[1][price_data][unit_amount]",
        ),
    ] {
        assert!(sent(operation, name), "{operation} never had {name}");
    }

    // What makes something carries a key, another for each thing; so a retry is the same call (P4).
    let mut keys = BTreeSet::new();
    for request in &requests {
        let makes = matches!(
            request.operation.as_str(),
            "POST /v1/checkout/sessions"
                | "POST /v1/payment_links"
                | "POST /v1/prices"
                | "POST /v1/products"
                | "POST /v1/refunds"
        );
        match &request.idempotency_key {
            Some(key) => assert!(makes && keys.insert(key), "{request:#?}"),
            None => assert!(!makes, "{request:#?}"),
        }
    }
}

/// The path of a session's way back.
async fn cancel_path(shop: &Shop, session: &str) -> String {
    let url: String = sqlx::query_scalar(
        "select data ->> 'cancel_url' from stripe_sandbox.objects where id = $1",
    )
    .bind(session)
    .fetch_one(&shop.db)
    .await
    .expect("the session");
    url.trim_start_matches(&shop.address).to_owned()
}

/// An object as the sandbox has it.
async fn at_stripe(shop: &Shop, id: &Value) -> Value {
    sqlx::query_scalar("select data from stripe_sandbox.objects where id = $1")
        .bind(id.as_str())
        .fetch_one(&shop.db)
        .await
        .expect("an object")
}

/// Fails unless Stripe would take each of these requests.
pub fn assert_taken(requests: &[Request]) {
    for request in requests {
        assert_eq!(faults_of(request), [""; 0], "{request:#?}");
    }
}

/// Errors that Stripe would find in a request.
fn faults_of(request: &Request) -> Vec<String> {
    let Some(version) = &request.stripe_version else {
        return vec!["no Stripe-Version".to_owned()];
    };
    errors(&request.operation, version, &request.params)
}

fn errors(operation: &str, version: &str, params: &[(String, String)]) -> Vec<String> {
    // Dates compare as texts; the name behind them counts for nothing.
    let date = |text: &str| text.chars().take(10).collect::<String>();
    let versions = SCHEMAS["operations"][operation].as_array();
    let schema = versions.into_iter().flatten().find(|entry| {
        entry["until"]
            .as_str()
            .is_some_and(|until| date(until) >= date(version))
    });
    let Some(schema) = schema else {
        return vec![format!("{operation} is none of version {version}")];
    };
    let mut errors = Vec::new();
    let tree = tree(params, &mut errors);
    check(&schema["schema"], &tree, "", &mut errors);
    errors
}

/// `a[b][0]=c` as `{"a": {"b": {"0": "c"}}}`.
fn tree(params: &[(String, String)], errors: &mut Vec<String>) -> Value {
    let mut root = json!({});
    for (name, text) in params {
        let parts: Vec<&str> = name
            .split('[')
            .map(|part| part.trim_end_matches(']'))
            .collect();
        if !plant(&mut root, &parts, text) {
            errors.push(format!("{name}: given twice"));
        }
    }
    root
}

/// False: something stands there already.
fn plant(node: &mut Value, parts: &[&str], text: &str) -> bool {
    let Some(object) = node.as_object_mut() else {
        return false;
    };
    let Some((part, rest)) = parts.split_first() else {
        let is_free = object.is_empty();
        *node = json!(text);
        return is_free;
    };
    let key = if part.is_empty() {
        object.len().to_string()
    } else {
        (*part).to_owned()
    };
    plant(object.entry(key).or_insert_with(|| json!({})), rest, text)
}

fn check(schema: &Value, value: &Value, name: &str, errors: &mut Vec<String>) {
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = choices.iter().any(|choice| {
            let mut wrong = Vec::new();
            check(choice, value, name, &mut wrong);
            wrong.is_empty()
        });
        if !fits {
            errors.push(format!("{name}: fits none of its types"));
        }
        return;
    }
    let kind = schema["type"].as_str().unwrap_or_default();
    let inside = |key: &str| {
        if name.is_empty() {
            key.to_owned()
        } else {
            format!("{name}[{key}]")
        }
    };
    match (kind, value) {
        (_, Value::String(text)) if text.is_empty() => {
            if schema["empty"] != true {
                errors.push(format!("{name}: empty"));
            }
        }
        ("object", Value::Object(given)) => {
            for (key, value) in given {
                match schema["properties"].get(key) {
                    Some(schema) => check(schema, value, &inside(key), errors),
                    None => errors.push(format!("{}: unknown", inside(key))),
                }
            }
            for key in schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                if !given.contains_key(key) {
                    errors.push(format!("{}: missing", inside(key)));
                }
            }
        }
        ("map", Value::Object(given)) => {
            for (key, value) in given {
                check(&schema["values"], value, &inside(key), errors);
                let text = value.as_str().unwrap_or_default();
                if key.chars().count() > 40 || text.chars().count() > 500 {
                    errors.push(format!("{}: too long for metadata", inside(key)));
                }
            }
            if given.len() > 50 {
                errors.push(format!("{name}: too many keys"));
            }
        }
        ("array", Value::Object(given)) => {
            for index in 0..given.len() {
                match given.get(&index.to_string()) {
                    Some(value) => {
                        check(&schema["items"], value, &inside(&index.to_string()), errors)
                    }
                    None => errors.push(format!("{}: missing", inside(&index.to_string()))),
                }
            }
        }
        (_, Value::String(text)) => {
            if let Some(why) = scalar_fault(schema, kind, text) {
                errors.push(format!("{name}: {why}"));
            }
        }
        _ => errors.push(format!("{name}: not of type {kind}")),
    }
}

fn scalar_fault(schema: &Value, kind: &str, text: &str) -> Option<String> {
    let allowed = match &schema["enum"] {
        Value::Number(place) => {
            let place = usize::try_from(place.as_u64().expect("an index")).expect("a small one");
            SCHEMAS["enums"][place].as_array()
        }
        other => other.as_array(),
    };
    let of_kind = match kind {
        "string" => true,
        "integer" => text.parse::<i64>().is_ok(),
        "number" | "decimal" => text.parse::<f64>().is_ok_and(f64::is_finite),
        "boolean" => matches!(text, "true" | "false"),
        _ => false,
    };
    if !of_kind {
        return Some(format!("not of type {kind}"));
    }
    if allowed.is_some_and(|words| !words.iter().any(|word| word == text)) {
        return Some(format!("{text} is not one of its words"));
    }
    let most = schema["maxLength"].as_u64()?;
    (text.chars().count() as u64 > most).then(|| "too long".to_owned())
}
