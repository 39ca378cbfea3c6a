//! The API's own description, and its pages.

mod conformance;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use reqwest::Method;
use serde_json::{Map, Value};

use crate::support::Shop;

/// Every route with its methods. What is added to the shop is added here.
const ROUTES: [(&str, &[&str]); 112] = [
    ("/api/admin/audit", &["get"]),
    ("/api/admin/categories", &["get", "put"]),
    ("/api/admin/categories/{id}/down", &["post"]),
    ("/api/admin/categories/{id}/up", &["post"]),
    ("/api/admin/custom-orders", &["get"]),
    ("/api/admin/custom-orders/board", &["get"]),
    ("/api/admin/custom-orders/{id}", &["get"]),
    ("/api/admin/custom-orders/{id}/approve", &["post"]),
    ("/api/admin/custom-orders/{id}/complete", &["post"]),
    ("/api/admin/custom-orders/{id}/customer", &["patch"]),
    ("/api/admin/custom-orders/{id}/email", &["get"]),
    ("/api/admin/custom-orders/{id}/messages", &["post"]),
    ("/api/admin/custom-orders/{id}/notes", &["post"]),
    ("/api/admin/custom-orders/{id}/payments", &["get"]),
    ("/api/admin/custom-orders/{id}/quote", &["delete", "put"]),
    ("/api/admin/custom-orders/{id}/refund", &["post"]),
    ("/api/admin/custom-orders/{id}/reject", &["post"]),
    ("/api/admin/custom-orders/{id}/requote", &["post"]),
    ("/api/admin/custom-orders/{id}/resolve", &["post"]),
    ("/api/admin/custom-orders/{id}/ship", &["post"]),
    ("/api/admin/custom-orders/{id}/shipment", &["patch"]),
    ("/api/admin/custom-orders/{id}/start", &["post"]),
    ("/api/admin/custom-orders/{id}/unship", &["post"]),
    ("/api/admin/custom-orders/{id}/withdraw", &["post"]),
    ("/api/admin/events", &["get"]),
    ("/api/admin/events/{id}", &["get"]),
    ("/api/admin/events/{id}/run", &["post"]),
    ("/api/admin/health", &["get"]),
    ("/api/admin/backup", &["get"]),
    ("/api/admin/holds", &["get"]),
    ("/api/admin/holds/{id}/release", &["post"]),
    ("/api/admin/jobs", &["get"]),
    ("/api/admin/jobs/{id}", &["delete", "get"]),
    ("/api/admin/jobs/{id}/retry", &["post"]),
    ("/api/admin/emails", &["get"]),
    ("/api/admin/emails/{id}", &["get"]),
    ("/api/admin/emails/{id}/resend", &["post"]),
    ("/api/admin/email-samples", &["get"]),
    ("/api/admin/email-samples/{name}", &["get"]),
    ("/api/admin/orders", &["get", "post"]),
    ("/api/admin/orders.csv", &["get"]),
    ("/api/admin/orders/labels.csv", &["get"]),
    ("/api/admin/orders/ship", &["post"]),
    ("/api/admin/orders/{id}", &["get"]),
    ("/api/admin/orders/{id}/customer", &["patch"]),
    ("/api/admin/orders/{id}/deliver", &["post"]),
    ("/api/admin/orders/{id}/notes", &["post"]),
    ("/api/admin/orders/{id}/packing-slip", &["get"]),
    ("/api/admin/orders/{id}/payments", &["get"]),
    ("/api/admin/orders/{id}/refund", &["post"]),
    ("/api/admin/orders/{id}/resolve", &["post"]),
    ("/api/admin/orders/{id}/restock", &["post"]),
    ("/api/admin/orders/{id}/ship", &["post"]),
    ("/api/admin/orders/{id}/shipment", &["patch"]),
    ("/api/admin/orders/{id}/undo", &["post"]),
    ("/api/admin/orders/{id}/unship", &["post"]),
    ("/api/admin/images", &["post"]),
    ("/api/admin/intakes", &["get", "post"]),
    ("/api/admin/intakes/{id}", &["delete", "get"]),
    ("/api/admin/intakes/{id}/create", &["post"]),
    ("/api/admin/intakes/{id}/items/{front}", &["patch"]),
    ("/api/admin/intakes/{id}/pairs", &["put"]),
    ("/api/admin/intakes/{id}/photos", &["post"]),
    (
        "/api/admin/intakes/{id}/photos/{photo}",
        &["delete", "patch"],
    ),
    ("/api/admin/intakes/{id}/pieces", &["post"]),
    ("/api/admin/intakes/{id}/pieces/{piece}", &["patch"]),
    ("/api/admin/intakes/{id}/pieces/{piece}/cut", &["post"]),
    ("/api/admin/intakes/{id}/take-back", &["post"]),
    ("/api/admin/lighters", &["post"]),
    ("/api/admin/products", &["get", "patch"]),
    ("/api/admin/products/{id}", &["get"]),
    ("/api/admin/products/{id}/duplicate", &["post"]),
    ("/api/admin/products/{id}/images", &["post", "put"]),
    ("/api/admin/products/{id}/images/{image}", &["delete"]),
    ("/api/admin/products/{id}/images/{image}/down", &["post"]),
    ("/api/admin/products/{id}/images/{image}/up", &["post"]),
    ("/api/admin/refunds/{id}/retry", &["post"]),
    ("/api/admin/review-items", &["get"]),
    ("/api/admin/review-items/{id}", &["get"]),
    ("/api/admin/review-items/{id}/resolve", &["post"]),
    ("/api/admin/settings", &["get", "put"]),
    ("/api/admin/customers", &["get"]),
    ("/api/admin/customers/{id}", &["delete", "get"]),
    ("/api/admin/customers/{id}/note", &["put"]),
    ("/api/admin/dashboard", &["get"]),
    ("/api/admin/tokens", &["get", "post"]),
    ("/api/admin/tokens/{id}/revoke", &["post"]),
    ("/api/admin/users", &["get", "post"]),
    ("/api/admin/users/{id}", &["get"]),
    ("/api/admin/users/{id}/disable", &["post"]),
    ("/api/admin/users/{id}/enable", &["post"]),
    ("/api/admin/users/{id}/password", &["post"]),
    ("/api/admin/users/{id}/role", &["post"]),
    ("/api/admin/users/{id}/second-factor/turn-off", &["post"]),
    ("/api/admin/users/{id}/sessions/end", &["post"]),
    ("/api/categories", &["get", "post"]),
    ("/api/categories/{id}", &["delete", "get", "patch", "put"]),
    ("/api/custom-orders", &["post"]),
    ("/api/custom-orders/{id}/status", &["get"]),
    ("/api/orders/{id}/status", &["get"]),
    ("/api/orders/by-session/{session}", &["get"]),
    ("/api/payments/cancel/{token}", &["get", "post"]),
    ("/api/payments/create-checkout-session", &["post"]),
    ("/api/payments/webhook", &["post"]),
    ("/api/products", &["get", "post"]),
    ("/api/products/batch", &["get"]),
    ("/api/products/{id}", &["delete", "get", "patch", "put"]),
    ("/api/products/{id}/archive", &["post"]),
    ("/api/products/{id}/check_availability", &["get"]),
    ("/api/products/{id}/restore", &["post"]),
    ("/api/products/{id}/stock", &["get", "post"]),
    ("/api/products/{id}/sync", &["post"]),
];

/// The writes that anybody may send.
const OPEN_WRITES: [&str; 4] = [
    "/api/custom-orders",
    "/api/payments/cancel/{token}",
    "/api/payments/create-checkout-session",
    "/api/payments/webhook",
];

/// The ends of those writes that need no body.
const BODILESS: [&str; 24] = [
    "/take-back",
    "/cancel/{token}",
    "/approve",
    "/archive",
    "/complete",
    "/deliver",
    "/disable",
    "/down",
    "/duplicate",
    "/enable",
    "/end",
    "/password",
    "/release",
    "/resend",
    "/resolve",
    "/restore",
    "/retry",
    "/revoke",
    "/run",
    "/start",
    "/sync",
    "/turn-off",
    "/undo",
    "/up",
];

async fn document(shop: &Shop) -> Value {
    let answer = shop.client.get("/api/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json
}

fn object(value: &Value) -> &Map<String, Value> {
    value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"))
}

/// Path, method and description of every operation.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = object(&document["paths"]).iter();
    paths
        .flat_map(|(path, item)| {
            let methods = object(item).iter();
            methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .filter(|(_, method, _)| {
            ["get", "put", "post", "delete", "patch", "head", "options"].contains(method)
        })
        .collect()
}

/// Every `$ref` within the value.
fn references<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value.as_str() {
                    Some(target) if key == "$ref" => into.push(target),
                    _ => references(value, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_names_every_route_with_its_methods() {
    let shop = Shop::open().await;
    let document = document(&shop).await;
    let version = document["openapi"].as_str().expect("a version");
    assert!(version.starts_with("3.1."), "{version}");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());

    let mut described: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, method, _) in operations(&document) {
        described.entry(path).or_default().insert(method);
    }
    let expected: BTreeMap<&str, BTreeSet<&str>> = ROUTES
        .iter()
        .map(|(path, methods)| (*path, methods.iter().copied().collect()))
        .collect();
    assert_eq!(described, expected);
}

#[tokio::test]
async fn every_described_route_is_served_and_no_other() {
    let shop = Shop::open().await;
    for (path, methods) in ROUTES {
        let path = path
            .replace("{id}", "7")
            .replace("{session}", "cs_x")
            .replace("{token}", "x")
            .replace("{image}", "x");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let method: Method = method.parse().expect("a method");
            let answer = shop
                .client
                .send(method.clone(), &format!("{path}/"), &[], None::<String>)
                .await;
            let described = methods.contains(&method.as_str().to_lowercase().as_str());
            assert_eq!(
                answer.status != 405,
                described,
                "{method} {path}: {}",
                answer.text
            );
            assert!(answer.status < 500, "{method} {path}: {}", answer.text);
            if answer.status == 404 {
                assert_ne!(answer.json["detail"], "", "{path}");
            }
        }
    }
}

#[tokio::test]
async fn every_operation_is_described_whole() {
    let shop = Shop::open().await;
    let document = document(&shop).await;
    let mut ids = HashSet::new();
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let id = operation["operationId"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} has no id"));
        assert!(ids.insert(id), "{name}: there are two operations {id}");
        assert!(
            operation["summary"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{name} has no summary"
        );
        assert!(
            operation["tags"]
                .as_array()
                .is_some_and(|tags| tags.len() == 1),
            "{name} has no tag"
        );

        // Each part of the path is a parameter, and each such parameter a part of the path.
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let named: BTreeSet<String> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| {
                assert_eq!(parameter["required"], true, "{name}: {parameter}");
                format!("{{{}}}", parameter["name"].as_str().expect("a name"))
            })
            .collect();
        let parts: BTreeSet<String> = path
            .split('/')
            .filter(|part| part.starts_with('{'))
            .map(str::to_owned)
            .collect();
        assert_eq!(named, parts, "{name}");
        for parameter in &parameters {
            assert!(parameter["schema"].is_object(), "{name}: {parameter}");
        }

        let responses = object(&operation["responses"]);
        let success: Vec<&String> = responses
            .keys()
            .filter(|code| code.starts_with(['2', '3']))
            .collect();
        assert!(!success.is_empty(), "{name} has no success");
        assert!(
            responses.keys().any(|code| code.starts_with('4')),
            "{name} has no failure"
        );
        for (code, response) in responses {
            assert!(response["description"].is_string(), "{name} {code}");
            // Some answers are empty; a failure never is.
            let schema = &response["content"]["application/json"]["schema"];
            let is_empty = ["204", "303", "304"].contains(&code.as_str())
                || (path, code.as_str()) == ("/api/payments/webhook", "200");
            let is_other = ["text/csv", "text/html", "application/x-tar"]
                .iter()
                .any(|kind| response["content"][kind]["schema"].is_object());
            assert!(
                schema.is_object() || is_empty || is_other,
                "{name} {code} has no schema"
            );
        }
        if ["post", "put", "patch"].contains(&method)
            && !BODILESS.iter().any(|end| path.ends_with(end))
        {
            let content = &operation["requestBody"]["content"];
            let is_described = ["application/json", "multipart/form-data"]
                .iter()
                .any(|kind| content[kind]["schema"].is_object());
            assert!(is_described, "{name} has no body");
        }
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let shop = Shop::open().await;
    let document = document(&shop).await;
    let mut targets = Vec::new();
    references(&document, &mut targets);
    assert!(targets.len() > 50);
    for target in targets {
        let pointer = target
            .strip_prefix('#')
            .unwrap_or_else(|| panic!("{target} is elsewhere"));
        assert!(document.pointer(pointer).is_some(), "{target} is not there");
    }
}

/// Of two types of one name the document would keep one, for both.
#[test]
fn no_two_schemas_have_one_name() {
    fn sources(folder: &std::path::Path, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, into);
            } else if path.extension().is_some_and(|end| end == "rs") {
                into.push(std::fs::read_to_string(&path).expect("a source"));
            }
        }
    }
    let mut all = Vec::new();
    sources(
        &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut all,
    );
    let mut names = BTreeSet::new();
    for source in &all {
        for after in source.split("ToSchema").skip(1) {
            // The rest of a derive, other attributes, and then what is derived for.
            let Some((attributes, rest)) = after
                .split_once("struct ")
                .filter(|(before, _)| !before.contains("enum "))
                .or_else(|| after.split_once("enum "))
            else {
                continue;
            };
            if !attributes.contains(")]") || attributes.contains(';') {
                continue;
            }
            let name = match attributes.split_once("schema(as = ") {
                Some((_, given)) => given.split(')').next(),
                None => rest.split(|c: char| !c.is_alphanumeric()).next(),
            };
            let name = name.expect("a name");
            assert!(
                names.insert(name.to_owned()),
                "two schemas are called {name}"
            );
        }
    }
    assert!(names.len() > 50, "{names:?}");
}

#[tokio::test]
async fn routes_that_need_a_token_say_so() {
    let shop = Shop::open().await;
    let document = document(&shop).await;
    let scheme = &document["components"]["securitySchemes"]["bearer"];
    assert_eq!(
        (&scheme["type"], &scheme["scheme"]),
        (&"http".into(), &"bearer".into())
    );
    for (path, method, operation) in operations(&document) {
        let is_described = operation["security"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["bearer"].is_array()));
        // The shop itself is asked.
        let real = path
            .replace("{id}", "7")
            .replace("{session}", "cs_x")
            .replace("{token}", "x")
            .replace("{image}", "x");
        let is_write = method != "get";
        let method = method.to_uppercase().parse().expect("a method");
        let answer = shop.client.send(method, &real, &[], None::<String>).await;
        assert_eq!(
            answer.status == 401,
            is_described,
            "{path}: {}",
            answer.text
        );
        assert!(
            is_described || !is_write || OPEN_WRITES.contains(&path),
            "{path}"
        );
        for code in ["401", "403"] {
            assert_eq!(
                operation["responses"][code].is_object(),
                is_described,
                "{path} {code}"
            );
        }
    }
}
