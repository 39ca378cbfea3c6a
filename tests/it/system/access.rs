//! P7: the public reads what is for sale and writes checkouts and custom orders, nothing else; all other routes need the owner. And
//! what every answer says to browsers.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::audit::Actor;
use spirit_beads::auth::{self, Role, Scope};

use crate::support::{Answer, Client, Shop};

/// Every route that needs a token, the scope it asks for, and a body that would have an effect.
pub fn routes() -> Vec<(Method, &'static str, Scope, Value)> {
    let product = json!({"id": "new", "name": "New", "lighter_type": 1, "price": 4700});
    let replaced = json!({"name": "Other", "lighter_type": 2, "price": 9900});
    let sale = json!({"lines": [{"product_id": "sunrise", "quantity": 1}]});
    let category = json!({"name": "Other"});
    vec![
        (Method::POST, "/api/products", Scope::Catalog, product),
        (Method::PUT, "/api/products/{id}", Scope::Catalog, replaced),
        (
            Method::PATCH,
            "/api/products/{id}",
            Scope::Catalog,
            json!({"price": 100}),
        ),
        (
            Method::DELETE,
            "/api/products/{id}",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::POST,
            "/api/products/{id}/archive",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::POST,
            "/api/products/{id}/restore",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::POST,
            "/api/products/{id}/sync",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::GET,
            "/api/products/{id}/stock",
            Scope::Stock,
            Value::Null,
        ),
        (
            Method::POST,
            "/api/products/{id}/stock",
            Scope::Stock,
            json!({"delta": 1, "reason": "made"}),
        ),
        (
            Method::GET,
            "/api/admin/products",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::GET,
            "/api/admin/products/{id}",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::POST,
            "/api/categories",
            Scope::Catalog,
            json!({"name": "Another"}),
        ),
        (
            Method::PUT,
            "/api/categories/{id}",
            Scope::Catalog,
            category.clone(),
        ),
        (
            Method::PATCH,
            "/api/categories/{id}",
            Scope::Catalog,
            category,
        ),
        (
            Method::DELETE,
            "/api/categories/{id}",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::GET,
            "/api/admin/orders",
            Scope::OrdersRead,
            Value::Null,
        ),
        (
            Method::GET,
            "/api/admin/orders/{id}",
            Scope::OrdersRead,
            Value::Null,
        ),
        (Method::POST, "/api/admin/orders", Scope::OrdersWrite, sale),
        (
            Method::GET,
            "/api/admin/emails",
            Scope::OrdersRead,
            Value::Null,
        ),
        (
            Method::GET,
            "/api/admin/emails/{id}",
            Scope::OrdersRead,
            Value::Null,
        ),
        (
            Method::POST,
            "/api/admin/emails/{id}/resend",
            Scope::OrdersWrite,
            Value::Null,
        ),
    ]
    .into_iter()
    .chain(later_routes())
    .chain(twins())
    .collect()
}

/// What is done with orders and requests once they are there.
fn later_routes() -> Vec<(Method, &'static str, Scope, Value)> {
    let (get, post) = (Method::GET, Method::POST);
    let write = Scope::OrdersWrite;
    let custom = Scope::CustomOrders;
    let shipment = json!({"carrier": "USPS"});
    let quote = json!({"amount": 9000, "description": "A case"});
    let reason = json!({"reason": "No beads"});
    vec![
        (
            post.clone(),
            "/api/admin/orders/{id}/ship",
            write,
            shipment.clone(),
        ),
        (
            post.clone(),
            "/api/admin/orders/{id}/deliver",
            write,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/orders/{id}/notes",
            write,
            json!({"text": "Seen"}),
        ),
        (
            post.clone(),
            "/api/admin/orders/{id}/refund",
            Scope::Refunds,
            json!({"reason": "Broken"}),
        ),
        (
            post.clone(),
            "/api/admin/refunds/{id}/retry",
            Scope::Refunds,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/orders/{id}/restock",
            write,
            json!({"restock": [{"product_id": "sunrise", "quantity": 1}]}),
        ),
        (
            post.clone(),
            "/api/admin/orders/{id}/undo",
            write,
            Value::Null,
        ),
        (get.clone(), "/api/admin/custom-orders", custom, Value::Null),
        (
            get.clone(),
            "/api/admin/custom-orders/board",
            custom,
            Value::Null,
        ),
        (
            get.clone(),
            "/api/admin/custom-orders/{id}",
            custom,
            Value::Null,
        ),
        (
            get.clone(),
            "/api/admin/custom-orders/{id}/payments",
            custom,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/refund",
            Scope::Refunds,
            json!({"reason": "Broken"}),
        ),
        (
            Method::PUT,
            "/api/admin/custom-orders/{id}/quote",
            custom,
            quote.clone(),
        ),
        (
            get.clone(),
            "/api/admin/custom-orders/{id}/email",
            custom,
            Value::Null,
        ),
        (
            Method::DELETE,
            "/api/admin/custom-orders/{id}/quote",
            custom,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/notes",
            custom,
            json!({"text": "Seen"}),
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/resolve",
            custom,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/orders/{id}/resolve",
            write,
            Value::Null,
        ),
        (
            get.clone(),
            "/api/admin/review-items",
            Scope::OrdersRead,
            Value::Null,
        ),
        (
            get.clone(),
            "/api/admin/review-items/{id}",
            Scope::OrdersRead,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/review-items/{id}/resolve",
            write,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/requote",
            custom,
            quote,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/approve",
            custom,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/withdraw",
            custom,
            reason.clone(),
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/reject",
            custom,
            reason,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/start",
            custom,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/ship",
            custom,
            shipment,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/complete",
            custom,
            Value::Null,
        ),
    ]
}

/// What the admin does besides.
#[rustfmt::skip]
fn twins() -> Vec<(Method, &'static str, Scope, Value)> {
    let (get, post) = (|| Method::GET, || Method::POST);
    let nothing = Value::Null;
    let images = json!({"images": [IMAGE]});
    vec![
        (get(), "/api/admin/dashboard", Scope::OrdersRead, nothing.clone()),
        (get(), "/api/admin/orders.csv", Scope::OrdersRead, nothing.clone()),
        (get(), "/api/admin/orders/{id}/packing-slip", Scope::OrdersRead, nothing.clone()),
        (get(), "/api/admin/orders/{id}/payments", Scope::OrdersRead, nothing.clone()),
        (post(), "/api/admin/orders/ship", Scope::OrdersWrite,
            json!({"shipments": [{"order": "SB-1001", "carrier": "USPS"}]})),
        (Method::PATCH, "/api/admin/products", Scope::Catalog, json!({"action": "archive", "ids": ["sunrise"]})),
        (post(), "/api/admin/products/{id}/duplicate", Scope::Catalog, nothing.clone()),
        (post(), "/api/admin/products/{id}/images", Scope::Catalog, images.clone()),
        (Method::PUT, "/api/admin/products/{id}/images", Scope::Catalog, images),
        (post(), "/api/admin/products/{id}/images/{image}/up", Scope::Catalog, nothing.clone()),
        (post(), "/api/admin/products/{id}/images/{image}/down", Scope::Catalog, nothing.clone()),
        (Method::DELETE, "/api/admin/products/{id}/images/{image}", Scope::Catalog, nothing.clone()),
        (get(), "/api/admin/categories", Scope::Catalog, nothing.clone()),
        (Method::PUT, "/api/admin/categories", Scope::Catalog, json!({"ids": [2, 1]})),
        (post(), "/api/admin/categories/{id}/up", Scope::Catalog, nothing.clone()),
        (post(), "/api/admin/categories/{id}/down", Scope::Catalog, nothing.clone()),
        (get(), "/api/admin/users", Scope::Users, nothing.clone()),
        (get(), "/api/admin/users/{id}", Scope::Users, nothing.clone()),
        (post(), "/api/admin/users", Scope::Users, json!({"email": "new@example.com", "role": "staff"})),
        (post(), "/api/admin/users/{id}/role", Scope::Users, json!({"role": "staff"})),
        (post(), "/api/admin/users/{id}/disable", Scope::Users, nothing.clone()),
        (post(), "/api/admin/users/{id}/enable", Scope::Users, nothing.clone()),
        (post(), "/api/admin/users/{id}/password", Scope::Users, nothing.clone()),
        (post(), "/api/admin/users/{id}/second-factor/turn-off", Scope::Users, nothing.clone()),
        (post(), "/api/admin/users/{id}/sessions/end", Scope::Users, nothing.clone()),
        (get(), "/api/admin/tokens", Scope::Tokens, nothing.clone()),
        (post(), "/api/admin/tokens", Scope::Tokens, json!({"name": "heir", "scopes": ["tokens"]})),
        (post(), "/api/admin/tokens/{id}/revoke", Scope::Tokens, nothing.clone()),
        (get(), "/api/admin/audit", Scope::Audit, nothing.clone()),
        (get(), "/api/admin/health", Scope::System, nothing.clone()),
        (get(), "/api/admin/events", Scope::System, nothing.clone()),
        (get(), "/api/admin/events/{id}", Scope::System, nothing.clone()),
        (post(), "/api/admin/events/{id}/run", Scope::System, nothing.clone()),
        (get(), "/api/admin/jobs", Scope::System, nothing.clone()),
        (get(), "/api/admin/jobs/{id}", Scope::System, nothing.clone()),
        (post(), "/api/admin/jobs/{id}/retry", Scope::System, nothing.clone()),
        (Method::DELETE, "/api/admin/jobs/{id}", Scope::System, nothing.clone()),
        (get(), "/api/admin/holds", Scope::System, nothing.clone()),
        (post(), "/api/admin/holds/{id}/release", Scope::System, nothing.clone()),
        (get(), "/api/admin/settings", Scope::Settings, nothing),
        (Method::PUT, "/api/admin/settings", Scope::Settings, json!({"chosen": {"shop_name": "Other"}})),
    ]
}

/// What opens the routes of a scope: the scope itself; for users, all that the one they are about may do.
fn enough(scope: Scope) -> Vec<Scope> {
    match scope {
        Scope::Users => Role::Staff
            .scopes()
            .iter()
            .copied()
            .chain([Scope::Users])
            .collect(),
        scope => vec![scope],
    }
}

const USER: &str = "0193a000-0000-7000-8000-000000000002";
const IMAGE: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const EMAIL: &str = "0193a000-0000-7000-8000-000000000001";
const REFUND: &str = "0193a000-0000-7000-8000-000000000003";

/// A shop with one of everything.
async fn furnished() -> Shop {
    let shop = Shop::open().await;
    let admin = shop.admin(&Scope::ALL).await;
    assert_eq!(
        admin
            .post("/api/categories/", &json!({"name": "Suns"}))
            .await
            .status,
        201
    );
    shop.stocks_with("Sunrise", 3, json!({"category": "suns"}))
        .await;
    let sale = json!({"lines": [{"product_id": "sunrise", "quantity": 1}]});
    assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
    shop.asks_for_a_piece("ann@example.com").await;
    sqlx::query(
        "insert into emails (id, dedup_key, kind, recipient, contents, state)
         values ($1::uuid, 'test', 'order_confirmation', 'nowhere', '{}', 'failed')",
    )
    .bind(EMAIL)
    .execute(&shop.db)
    .await
    .expect("an email");
    shop.run_jobs().await;
    shop.shopper().check_out(&[("sunrise", 1)]).await;
    for sql in [
        "insert into images (id, storage_key, format, size_bytes, width, height, thumbhash) values (repeat('0', 64), 'none', 'png', 1, 1, 1, '')",
        "insert into product_images (product_id, position, image_id) values ('sunrise', 0, repeat('0', 64))",
        "insert into categories (name, slug) values ('Moons', 'moons')",
        "insert into users (id, email, role, password_hash) values ('0193a000-0000-7000-8000-000000000002', 'ben@example.com', 'staff', '')",
        "insert into api_tokens (id, name, hash, scopes) overriding system value values (900, 'old', '', '{tokens}')",
        "insert into review_items (id, order_id, kind, cause, text)
         select '0193a000-0000-7000-8000-000000000001', id, 'other', 'test', 'Look' from orders where number = 1001",
        "insert into payments (id, order_id, outcome, amount) select 'pi_1', id, 'refused', 5200 from orders where number = 1001",
        "insert into refunds (id, payment_id, wanted_amount, amount, reason, actor, state)
         values ('0193a000-0000-7000-8000-000000000003', 'pi_1', 100, 100, '', 'test', 'planned')",
        "insert into stripe_events (id, type, status, source, payload) values ('evt_1', 'x', 'failed', 'webhook', '{}')",
        "alter table graphile_worker._private_jobs alter column id restart with 900",
        "select id from graphile_worker.add_job('spirit_beads', '{\"job\": \"sweep\"}'::json)",
    ] {
        sqlx::query(sql).execute(&shop.db).await.expect(sql);
    }
    shop
}

fn path_of(route: &str) -> String {
    let id = match route {
        "/api/categories/{id}" => "1",
        route if route.starts_with("/api/admin/orders/") => "SB-1001",
        route if route.starts_with("/api/admin/custom-orders/") => "CO-1001",
        "/api/admin/emails/{id}" | "/api/admin/emails/{id}/resend" => EMAIL,
        route if route.starts_with("/api/admin/review-items/") => EMAIL,
        route if route.starts_with("/api/admin/categories/") => "1",
        route if route.starts_with("/api/admin/users/") => USER,
        route if route.starts_with("/api/admin/tokens/") => "900",
        route if route.starts_with("/api/admin/jobs/") => "900",
        route if route.starts_with("/api/admin/events/") => "evt_1",
        route if route.starts_with("/api/admin/holds/") => "SB-1002",
        route if route.starts_with("/api/admin/refunds/") => REFUND,
        _ => "sunrise",
    };
    route.replace("{id}", id).replace("{image}", IMAGE) + "/"
}

async fn knock(
    client: &Client,
    route: &(Method, &str, Scope, Value),
    headers: &[(&str, &str)],
) -> Answer {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    let body = (!route.3.is_null()).then(|| route.3.to_string());
    client
        .send(route.0.clone(), &path_of(route.1), &all, body)
        .await
}

/// All that a route could change.
async fn state(shop: &Shop) -> Value {
    sqlx::query_scalar(
        "select jsonb_build_array(
             (select jsonb_agg(to_jsonb(p) order by id) from products p),
             (select jsonb_agg(to_jsonb(c) order by id) from categories c),
             (select jsonb_agg(to_jsonb(o) order by id) from orders o),
             (select jsonb_agg(to_jsonb(r) order by id) from custom_orders r),
             (select jsonb_agg(to_jsonb(q) order by id) from custom_order_quotes q),
             (select count(*) from order_events),
             (select count(*) from custom_order_events),
             (select jsonb_agg(to_jsonb(l) order by id) from emails l),
             (select jsonb_agg(to_jsonb(u) order by id) from users u),
             (select jsonb_agg(to_jsonb(t) - 'last_used_at' order by id) from api_tokens t where name not in ('test', 'spent')),
             (select jsonb_agg(to_jsonb(p)) from product_images p),
             (select jsonb_agg(to_jsonb(e)) from stripe_events e),
             (select to_jsonb(s) from settings s),
             (select count(*) from audit_log where actor like 'token:%'),
             (select count(*) from stock_movements),
             (select count(*) from graphile_worker._private_jobs))",
    )
    .fetch_one(&shop.db)
    .await
    .expect("the state")
}

#[tokio::test]
async fn every_route_but_the_shoppers_needs_a_token() {
    let shop = Shop::open().await;
    let document = shop.client.get("/api/openapi.json").await.json;
    let mut open = BTreeSet::new();
    let mut locked = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let route = format!("{} {path}", method.to_uppercase());
            if operation["security"].is_array() {
                locked.insert(route);
            } else {
                open.insert(route);
            }
        }
    }
    let routes: BTreeSet<String> = routes()
        .iter()
        .map(|route| format!("{} {}", route.0, route.1))
        .collect();
    // Two scopes open this one, and it takes forms: `media.rs` knocks there.
    assert!(locked.remove("POST /api/admin/images"));
    assert_eq!(locked, routes);
    assert_eq!(
        open.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            "GET /api/categories",
            "GET /api/categories/{id}",
            "GET /api/custom-orders/{id}/status",
            "GET /api/orders/by-session/{session}",
            "GET /api/payments/cancel/{token}",
            "GET /api/products",
            "GET /api/products/batch",
            "GET /api/products/{id}",
            "GET /api/products/{id}/check_availability",
            "POST /api/custom-orders",
            "POST /api/payments/cancel/{token}",
            "POST /api/payments/create-checkout-session",
            "POST /api/payments/webhook",
        ]
    );
}

#[tokio::test]
async fn without_a_token_it_is_401_and_nothing_happens() {
    let shop = furnished().await;
    let before = state(&shop).await;
    let spent = shop.admin(&Scope::ALL).await;
    let last = "update api_tokens set name = 'spent'
                where id = (select id from api_tokens order by created_at desc limit 1)";
    sqlx::query(last)
        .execute(&shop.db)
        .await
        .expect("the tokens");
    let mut conn = shop.db.acquire().await.expect("a connection");
    let tokens = auth::list_tokens(&mut conn).await.expect("the tokens");
    let id = tokens
        .iter()
        .find(|token| token.name == "spent")
        .expect("the token")
        .id;
    assert_eq!(spent.get("/api/admin/orders/").await.status, 200);
    assert!(
        auth::revoke_token(&mut conn, &Actor::console(), id)
            .await
            .expect("revoked")
    );
    let never = "sbt_00000000000000000000000000000000";
    for route in routes() {
        for (client, headers) in [
            (&shop.client, vec![]),
            (&shop.client, vec![("authorization", "")]),
            (&shop.client, vec![("authorization", "Bearer")]),
            (&shop.client, vec![("authorization", "Bearer ")]),
            (&shop.client, vec![("authorization", "Basic c2hvcDpzaG9w")]),
            (&shop.client, vec![("authorization", "Token x")]),
            (&shop.client, vec![("cookie", "sb_checkout=x; session=y")]),
            (&shop.client.with_token(never), vec![]),
            (&spent, vec![]),
        ] {
            let answer = knock(client, &route, &headers).await;
            let what = format!("{} {} {headers:?}: {}", route.0, route.1, answer.text);
            assert_eq!(answer.status, 401, "{what}");
            assert_eq!(answer.json["code"], "not_authenticated", "{what}");
            assert_eq!(
                answer.json["detail"], "Authentication credentials were not provided.",
                "{what}"
            );
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{what}");
        }
    }
    assert_eq!(state(&shop).await, before);
}

#[tokio::test]
async fn with_too_little_a_token_it_is_403_and_nothing_happens() {
    let shop = furnished().await;
    let before = state(&shop).await;
    for scope in Scope::ALL {
        let others: Vec<Scope> = Scope::ALL
            .into_iter()
            .filter(|other| *other != scope)
            .collect();
        let admin = shop.admin(&others).await;
        for route in routes().iter().filter(|route| route.2 == scope) {
            let answer = knock(&admin, route, &[]).await;
            let what = format!("{} {}: {}", route.0, route.1, answer.text);
            assert_eq!(
                (answer.status, &answer.json["code"]),
                (403, &json!("permission_denied")),
                "{what}"
            );
            assert!(
                answer.json["detail"]
                    .as_str()
                    .expect("a sentence")
                    .contains(scope.as_str()),
                "{what}"
            );
        }
    }
    assert_eq!(state(&shop).await, before);
    // The scope asked for is enough by itself, or the routes would be shut for another reason.
    for scope in Scope::ALL {
        let admin = shop.admin(&enough(scope)).await;
        for route in routes()
            .iter()
            .filter(|route| route.2 == scope && route.0 != Method::DELETE)
        {
            let answer = knock(&admin, route, &[]).await;
            assert!(
                // A state that does not allow it is told behind the route only.
                answer.status < 400
                    || answer.status == 409
                    || answer.status == 400 && route.1 == "/api/products/{id}",
                "{} {}: {}",
                route.0,
                route.1,
                answer.text
            );
        }
    }
}

#[tokio::test]
async fn public_reads_ignore_credentials_they_do_not_need() {
    let shop = furnished().await;
    for path in [
        "/api/products/",
        "/api/products/sunrise/",
        "/api/products/batch/?ids=sunrise",
        "/api/products/sunrise/check_availability/",
        "/api/categories/",
        "/api/categories/1/",
        "/healthz",
    ] {
        let plain = shop.client.get(path).await;
        assert_eq!(plain.status, 200, "{path}");
        for value in ["Basic d3Jvbmc6d3Jvbmc=", "Bearer wrong", "junk", ""] {
            let answer = shop
                .client
                .send(
                    Method::GET,
                    path,
                    &[("authorization", value)],
                    None::<String>,
                )
                .await;
            assert_eq!(
                (answer.status, &answer.json),
                (200, &plain.json),
                "{path} {value:?}"
            );
        }
    }
}

#[tokio::test]
async fn allowed_origins_may_read_and_others_are_told_nothing() {
    let shop = Shop::open_with(&[("CORS_ALLOWED_ORIGINS", "https://shop.example")]).await;
    for origin in [
        "http://localhost:8080",
        "https://shop.example",
        &shop.address,
    ] {
        for path in ["/api/products/", "/api/nothing/", "/api/admin/orders/"] {
            let answer = shop
                .client
                .send(Method::GET, path, &[("origin", origin)], None::<String>)
                .await;
            assert_eq!(
                answer.header("access-control-allow-origin"),
                origin,
                "{path}"
            );
            assert_eq!(
                answer.header("access-control-allow-credentials"),
                "true",
                "{path}"
            );
            let vary = answer.headers.get_all("vary").iter();
            assert!(vary.into_iter().any(|value| value == "origin"), "{path}");
        }
        let asking = [
            ("origin", origin),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "content-type"),
        ];
        let answer = shop
            .client
            .send(Method::OPTIONS, "/api/products/", &asking, None::<String>)
            .await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""));
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        assert_eq!(answer.header("access-control-max-age"), "86400");
        let listed = |name: &str| -> BTreeSet<String> {
            let list = answer.header(name).to_ascii_lowercase();
            list.split(',').map(|item| item.trim().to_owned()).collect()
        };
        let methods = ["delete", "get", "options", "patch", "post", "put"].map(str::to_owned);
        assert_eq!(
            listed("access-control-allow-methods"),
            BTreeSet::from(methods)
        );
        for header in [
            "accept",
            "authorization",
            "content-type",
            "user-agent",
            "x-csrftoken",
            "x-requested-with",
        ] {
            assert!(
                listed("access-control-allow-headers").contains(header),
                "{header}"
            );
        }
    }
    for origin in [
        "https://evil.example",
        "http://shop.example",
        "https://shop.example.evil.example",
        "https://shop.example:8443",
        "https://sub.shop.example",
        "http://localhost:8081",
        "null",
        "",
    ] {
        let asking = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
        ];
        for (method, headers) in [(Method::GET, &asking[..1]), (Method::OPTIONS, &asking[..])] {
            let answer = shop
                .client
                .send(method, "/api/products/", headers, None::<String>)
                .await;
            assert_eq!(answer.status, 200, "{origin}");
            let told: Vec<&str> = answer
                .headers
                .keys()
                .map(|name| name.as_str())
                .filter(|name| name.starts_with("access-control-"))
                .collect();
            assert!(told.is_empty(), "{origin}: {told:?}");
        }
    }
}

#[tokio::test]
async fn every_answer_has_the_security_headers_and_a_request_id() {
    let shop = furnished().await;
    for path in [
        "/api/products/",
        "/api/nothing/",
        "/api/admin/orders/",
        "/healthz",
        "/media/nothing.png",
        "/api/openapi.json",
        "/api/docs/",
        "/sandbox/",
    ] {
        let answer = shop.client.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path} {name}");
        }
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
    }
    let ids: BTreeSet<String> = [
        shop.client.get("/healthz").await,
        shop.client.get("/healthz").await,
    ]
    .iter()
    .map(|answer| answer.header("x-request-id").to_owned())
    .collect();
    assert_eq!(ids.len(), 2, "each request has its own");
    let answer = shop
        .client
        .send(
            Method::GET,
            "/healthz",
            &[("x-request-id", "from-the-proxy")],
            None::<String>,
        )
        .await;
    assert_eq!(answer.header("x-request-id"), "from-the-proxy");
    for odd in ["two words", &"x".repeat(65)] {
        let odd = [("x-request-id", odd)];
        let answer = shop
            .client
            .send(Method::GET, "/healthz", &odd, None::<String>)
            .await;
        assert_eq!(answer.header("x-request-id").len(), 36, "ours, not {odd:?}");
    }
}

#[tokio::test]
async fn stock_is_not_changed_by_a_token_for_the_catalog_alone() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let change = json!({"name": "Dawn", "inventory_count": 9, "expected_inventory_count": 3});
    for answer in [
        admin
            .send_json(Method::PATCH, "/api/products/sunrise/", &change)
            .await,
        admin
            .post(
                "/api/products/",
                &json!({"name": "Otter", "lighter_type": 1, "price": 4700, "inventory_count": 1}),
            )
            .await,
        admin
            .post(
                "/api/products/sunrise/stock/",
                &json!({"delta": 1, "reason": "received"}),
            )
            .await,
    ] {
        assert_eq!(answer.status, 403, "{}", answer.text);
    }
    assert_eq!(shop.stock(&piece).await, (3, 0));
    let names = shop
        .client
        .get("/api/products/")
        .await
        .each("results", "name");
    assert_eq!(names, ["Sunrise"]);
}

#[tokio::test]
async fn no_route_tells_of_customers_but_those_that_are_for_it() {
    let shop = furnished().await;
    for sql in [
        "update orders set email = 'jane@private.example', customer_name = 'Jane Private', phone = '1 private',
             shipping_name = 'Jane Private', shipping_address = '{\"line1\": \"1 Private Rd\"}'
         where not is_custom_order",
        "update review_items set text = 'Jane Private wrote'",
        "update order_events set note = 'Jane Private wrote'",
        "update emails set recipient = 'jane@private.example', last_error = 'jane@private.example is unknown'",
    ] {
        sqlx::query(sql).execute(&shop.db).await.expect(sql);
    }
    // The log of all that happens is what `audit` is for, and the requests what `custom_orders` is for.
    let tells = [Scope::OrdersRead, Scope::CustomOrders, Scope::Audit];
    let mut asked = 0;
    for scope in Scope::ALL
        .into_iter()
        .filter(|scope| !tells.contains(scope))
    {
        let admin = shop.admin(&[scope]).await;
        for route in routes().iter().filter(|route| route.2 == scope) {
            let answer = knock(&admin, route, &[]).await;
            let text = answer.text.to_lowercase();
            assert!(!text.contains("private"), "{} {}: {text}", route.0, route.1);
            asked += 1;
        }
    }
    assert!(asked > 50, "{asked}");
    // Who may read them is told.
    let reader = shop.admin(&[Scope::OrdersRead]).await;
    let order = reader.get("/api/admin/orders/SB-1001/").await;
    assert!(order.text.contains("Jane Private"), "{}", order.text);
}
