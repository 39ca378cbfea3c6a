//! What the admin does, for programs: each of its routes has a twin below `/api/`, with the same effect.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::admin;
use spirit_beads::auth::Scope;
use stripe_sandbox::Fault;

use crate::support::images::jpeg;
use crate::support::{Answer, Client, Shop, card, session_of, zone_at_noon};

/// Each route of the admin, and the calls that do the same; or why there is none.
const TWINS: &[(&str, Result<&str, &str>)] = &[
    ("GET /admin", Ok("GET /api/admin/dashboard")),
    ("GET /admin/orders", Ok("GET /api/admin/orders")),
    ("GET /admin/orders.csv", Ok("GET /api/admin/orders.csv")),
    ("GET /admin/orders/ship", Err(FORM)),
    ("POST /admin/orders/ship", Ok("POST /api/admin/orders/ship")),
    (
        "GET /admin/orders/{id}",
        Ok("GET /api/admin/orders/{id}, GET /api/admin/orders/{id}/payments"),
    ),
    (
        "GET /admin/orders/{id}/packing-slip",
        Ok("GET /api/admin/orders/{id}/packing-slip"),
    ),
    (
        "POST /admin/orders/{id}/ship",
        Ok("POST /api/admin/orders/{id}/ship"),
    ),
    (
        "POST /admin/orders/{id}/deliver",
        Ok("POST /api/admin/orders/{id}/deliver"),
    ),
    (
        "POST /admin/orders/{id}/note",
        Ok("POST /api/admin/orders/{id}/notes"),
    ),
    (
        "POST /admin/orders/{id}/resend",
        Ok("POST /api/admin/emails/{id}/resend"),
    ),
    (
        "POST /admin/orders/{id}/undo",
        Ok("POST /api/admin/orders/{id}/undo"),
    ),
    (
        "POST /admin/orders/{id}/refund",
        Ok("POST /api/admin/orders/{id}/refund"),
    ),
    (
        "POST /admin/orders/{id}/restock",
        Ok("POST /api/admin/orders/{id}/restock"),
    ),
    (
        "POST /admin/refunds/{id}/retry",
        Ok("POST /api/admin/refunds/{id}/retry"),
    ),
    (
        "POST /admin/custom-orders/{id}/refund",
        Ok("POST /api/admin/custom-orders/{id}/refund"),
    ),
    ("GET /admin/sell", Ok("GET /api/admin/products")),
    ("POST /admin/sell", Ok("POST /api/admin/orders")),
    ("GET /admin/products", Ok("GET /api/admin/products")),
    ("POST /admin/products", Ok("PATCH /api/admin/products")),
    ("GET /admin/new-product", Err(FORM)),
    ("POST /admin/new-product", Ok("POST /api/products")),
    (
        "GET /admin/products/{id}",
        Ok("GET /api/admin/products/{id}, GET /api/products/{id}/stock"),
    ),
    (
        "POST /admin/products/{id}",
        Ok("PATCH /api/products/{id}, PUT /api/products/{id}"),
    ),
    (
        "POST /admin/products/{id}/active",
        Ok("POST /api/products/{id}/archive, POST /api/products/{id}/restore"),
    ),
    (
        "POST /admin/products/{id}/delete",
        Ok("DELETE /api/products/{id}"),
    ),
    (
        "POST /admin/products/{id}/sync",
        Ok("POST /api/products/{id}/sync"),
    ),
    (
        "POST /admin/products/{id}/duplicate",
        Ok("POST /api/admin/products/{id}/duplicate"),
    ),
    (
        "POST /admin/products/{id}/stock",
        Ok("POST /api/products/{id}/stock"),
    ),
    (
        "POST /admin/products/{id}/images",
        Ok("POST /api/admin/images, POST /api/admin/products/{id}/images"),
    ),
    (
        "POST /admin/products/{id}/images/arrange",
        Ok(
            "PUT /api/admin/products/{id}/images, DELETE /api/admin/products/{id}/images/{image}, \
            POST /api/admin/products/{id}/images/{image}/up, POST /api/admin/products/{id}/images/{image}/down",
        ),
    ),
    ("GET /admin/categories", Ok("GET /api/admin/categories")),
    ("POST /admin/categories", Ok("POST /api/categories")),
    (
        "POST /admin/categories/{id}",
        Ok("PATCH /api/categories/{id}"),
    ),
    (
        "POST /admin/categories/{id}/up",
        Ok("POST /api/admin/categories/{id}/up, PUT /api/admin/categories"),
    ),
    (
        "POST /admin/categories/{id}/down",
        Ok("POST /api/admin/categories/{id}/down"),
    ),
    (
        "POST /admin/categories/{id}/delete",
        Ok("DELETE /api/categories/{id}"),
    ),
    (
        "GET /admin/custom-orders",
        Ok("GET /api/admin/custom-orders, GET /api/admin/custom-orders/board"),
    ),
    (
        "GET /admin/custom-orders/{id}",
        Ok("GET /api/admin/custom-orders/{id}"),
    ),
    (
        "POST /admin/custom-orders/{id}/quote",
        Ok("PUT /api/admin/custom-orders/{id}/quote"),
    ),
    (
        "POST /admin/custom-orders/{id}/quote/discard",
        Ok("DELETE /api/admin/custom-orders/{id}/quote"),
    ),
    (
        "GET /admin/custom-orders/{id}/approve",
        Ok("GET /api/admin/custom-orders/{id}/email"),
    ),
    (
        "POST /admin/custom-orders/{id}/approve",
        Ok(
            "POST /api/admin/custom-orders/{id}/approve, POST /api/admin/custom-orders/{id}/requote",
        ),
    ),
    (
        "GET /admin/custom-orders/{id}/email",
        Ok("GET /api/admin/custom-orders/{id}/email"),
    ),
    (
        "POST /admin/custom-orders/{id}/withdraw",
        Ok("POST /api/admin/custom-orders/{id}/withdraw"),
    ),
    (
        "POST /admin/custom-orders/{id}/reject",
        Ok("POST /api/admin/custom-orders/{id}/reject"),
    ),
    (
        "POST /admin/custom-orders/{id}/start",
        Ok("POST /api/admin/custom-orders/{id}/start"),
    ),
    (
        "POST /admin/custom-orders/{id}/ship",
        Ok("POST /api/admin/custom-orders/{id}/ship"),
    ),
    (
        "POST /admin/custom-orders/{id}/complete",
        Ok("POST /api/admin/custom-orders/{id}/complete"),
    ),
    (
        "GET /admin/review-items",
        Ok("GET /api/admin/review-items, GET /api/admin/review-items/{id}"),
    ),
    (
        "POST /admin/review-items/{id}/resolve",
        Ok(
            "POST /api/admin/review-items/{id}/resolve, POST /api/admin/orders/{id}/resolve, POST /api/admin/custom-orders/{id}/resolve",
        ),
    ),
    (
        "POST /admin/custom-orders/{id}/note",
        Ok("POST /api/admin/custom-orders/{id}/notes"),
    ),
    ("GET /admin/users", Ok("GET /api/admin/users")),
    ("POST /admin/users", Ok("POST /api/admin/users")),
    ("GET /admin/users/{id}", Ok("GET /api/admin/users/{id}")),
    (
        "POST /admin/users/{id}/role",
        Ok("POST /api/admin/users/{id}/role"),
    ),
    (
        "POST /admin/users/{id}/disable",
        Ok("POST /api/admin/users/{id}/disable"),
    ),
    (
        "POST /admin/users/{id}/enable",
        Ok("POST /api/admin/users/{id}/enable"),
    ),
    (
        "POST /admin/users/{id}/password",
        Ok("POST /api/admin/users/{id}/password"),
    ),
    (
        "POST /admin/users/{id}/second-factor/turn-off",
        Ok("POST /api/admin/users/{id}/second-factor/turn-off"),
    ),
    ("GET /admin/settings", Ok("GET /api/admin/settings")),
    ("POST /admin/settings", Ok("PUT /api/admin/settings")),
    ("GET /admin/tokens", Ok("GET /api/admin/tokens")),
    ("POST /admin/tokens", Ok("POST /api/admin/tokens")),
    (
        "POST /admin/tokens/{id}/revoke",
        Ok("POST /api/admin/tokens/{id}/revoke"),
    ),
    ("GET /admin/audit", Ok("GET /api/admin/audit")),
    ("GET /admin/system", Ok("GET /api/admin/health")),
    ("GET /admin/system/events", Ok("GET /api/admin/events")),
    (
        "GET /admin/system/events/{id}",
        Ok("GET /api/admin/events/{id}"),
    ),
    (
        "POST /admin/system/events/{id}/run",
        Ok("POST /api/admin/events/{id}/run"),
    ),
    (
        "GET /admin/system/jobs",
        Ok("GET /api/admin/jobs, GET /api/admin/jobs/{id}"),
    ),
    (
        "POST /admin/system/jobs/{id}/retry",
        Ok("POST /api/admin/jobs/{id}/retry"),
    ),
    (
        "POST /admin/system/jobs/{id}/delete",
        Ok("DELETE /api/admin/jobs/{id}"),
    ),
    ("GET /admin/system/emails", Ok("GET /api/admin/emails")),
    (
        "GET /admin/system/emails/{id}",
        Ok("GET /api/admin/emails/{id}"),
    ),
    (
        "GET /admin/system/emails/{id}/page",
        Ok("GET /api/admin/emails/{id}"),
    ),
    (
        "POST /admin/system/emails/{id}/resend",
        Ok("POST /api/admin/emails/{id}/resend"),
    ),
    ("GET /admin/system/holds", Ok("GET /api/admin/holds")),
    (
        "POST /admin/system/holds/{id}/release",
        Ok("POST /api/admin/holds/{id}/release"),
    ),
];

const FORM: &str = "an empty form";

/// Whoever signs in looks after their own account; a program has a token instead.
fn is_personal(path: &str) -> bool {
    [
        "/admin/account",
        "/admin/sign-",
        "/admin/second-factor",
        "/admin/assets/",
    ]
    .iter()
    .any(|start| path.starts_with(start))
}

#[tokio::test]
async fn every_admin_page_has_a_call_of_the_api() {
    let shop = Shop::open().await;
    let document = shop.client.get("/api/openapi.json").await.json;
    let twins: BTreeMap<&str, Result<&str, &str>> = TWINS.iter().copied().collect();
    for route in admin::routes() {
        let name = format!("{} {}", route.method, route.path);
        if is_personal(route.path) {
            continue;
        }
        let twin = twins.get(name.as_str());
        let twin = twin.unwrap_or_else(|| panic!("{name} has no twin"));
        for call in twin.iter().flat_map(|calls| calls.split(", ")) {
            let (method, path) = call.trim().split_once(' ').expect("method and path");
            let described = &document["paths"][path][method.to_lowercase()];
            assert!(
                described["security"].is_array(),
                "{name}: there is no {call}"
            );
        }
    }
    assert_eq!(
        TWINS.len(),
        admin::routes()
            .iter()
            .filter(|route| !is_personal(route.path))
            .count(),
        "a twin of a door that is gone"
    );
}

/// What the log says that tokens did, oldest first; not of what set the stage.
async fn logged(shop: &Shop) -> Vec<(String, String)> {
    sqlx::query_as(
        "select action, object from audit_log where actor like 'token:%' and request_id is not null order by id",
    )
    .fetch_all(&shop.db)
    .await
    .expect("the log")
}

async fn forget_log(shop: &Shop) -> usize {
    logged(shop).await.len()
}

async fn ok(answer: Answer) -> Value {
    assert!(answer.status < 300, "{} {}", answer.status, answer.text);
    answer.json
}

async fn delete(admin: &Client, path: &str) -> Answer {
    admin.send(Method::DELETE, path, &[], None::<String>).await
}

async fn put(admin: &Client, path: &str, body: &Value) -> Answer {
    admin.send_json(Method::PUT, path, body).await
}

async fn act(admin: &Client, path: &str) -> Answer {
    admin.send(Method::POST, path, &[], None::<String>).await
}

#[tokio::test]
async fn a_failed_event_is_found_and_run_again() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::System]).await;
    for (id, status, payload) in [
        (
            "evt_odd/1",
            "failed",
            r#"{"id": "evt_odd/1", "type": "invoice.paid", "data": {"object": {"id": "in"}}}"#,
        ),
        ("evt_2", "processed", "no json"),
    ] {
        sqlx::query("insert into stripe_events (id, type, status, source, payload) values ($1, 'invoice.paid', $2, 'webhook', $3)")
            .bind(id)
            .bind(status)
            .bind(payload)
            .execute(&shop.db)
            .await
            .expect("an event");
    }
    for (query, ids) in [
        ("", vec!["evt_2", "evt_odd/1"]),
        ("?state=failed", vec!["evt_odd/1"]),
        ("?search=ODD", vec!["evt_odd/1"]),
        ("?search=INVOICE&page_size=1&page=2", vec!["evt_odd/1"]),
        ("?search=nothing", vec![]),
    ] {
        let list = admin.get(&format!("/api/admin/events/{query}")).await;
        assert_eq!(list.ids(), ids, "{query}");
    }
    let list = admin.get("/api/admin/events/?page_size=1").await.json;
    assert_eq!((&list["count"], &list["page_size"]), (&json!(2), &json!(1)));
    for (query, field) in [
        ("state=odd", "state"),
        ("page=0", "page"),
        ("page_size=101", "page_size"),
        ("search=%00", "search"),
    ] {
        let refused = admin.get(&format!("/api/admin/events/?{query}")).await;
        assert_eq!(refused.field_errors(), [field], "{query}");
    }
    let path = "/api/admin/events/evt_odd%2F1/";
    let event = admin.get(path).await.json;
    assert_eq!(
        (&event["type"], &event["payload"]["data"]["object"]["id"]),
        (&json!("invoice.paid"), &json!("in"))
    );
    assert_eq!(
        admin.get("/api/admin/events/evt_2/").await.json["payload"],
        "no json"
    );
    for path in ["/api/admin/events/none/", "/api/admin/events/%00/"] {
        assert_eq!(admin.get(path).await.status, 404);
        assert_eq!(act(&admin, &format!("{path}run/")).await.status, 404);
    }
    let before = forget_log(&shop).await;
    assert_eq!(act(&admin, &format!("{path}run/")).await.status, 202);
    shop.run_jobs().await;
    assert_eq!(admin.get(path).await.json["status"], "ignored");
    let again = act(&admin, &format!("{path}run/")).await;
    assert_eq!(
        (again.status, &again.json["code"]),
        (409, &json!("event_already_processed"))
    );
    assert_eq!(
        logged(&shop).await[before..],
        [("event.run".to_owned(), "event:evt_odd/1".to_owned())]
    );
}

#[tokio::test]
async fn a_failed_job_is_found_retried_and_deleted() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::System]).await;
    let piece = shop.stocks("Sunrise", 1).await;
    shop.stripe
        .fail_next("POST /v1/products", Fault::RateLimited, 9);
    shop.stripe
        .fail_next("POST /v1/products/{id}", Fault::RateLimited, 9);
    assert_eq!(shop.run_failing_jobs().await.len(), 1);
    shop.asks_for_a_piece("ann@example.com").await;
    let before = forget_log(&shop).await;
    let jobs = admin.get("/api/admin/jobs/").await.json;
    assert_eq!(jobs["count"], 3, "{jobs}");
    for (query, count) in [
        ("state=failed", 1),
        ("search=sunrise", 1),
        ("search=Send+Email", 2),
        ("search=send_email&state=failed", 0),
        ("search=100%25", 0),
    ] {
        let found = admin.get(&format!("/api/admin/jobs/?{query}")).await.json;
        assert_eq!(found["count"], count, "{query}: {found}");
        assert_eq!(
            found["results"].as_array().map(Vec::len),
            Some(count),
            "{query}"
        );
    }
    assert_eq!(
        admin.get("/api/admin/jobs/?state=odd").await.field_errors(),
        ["state"]
    );
    let failed = &admin.get("/api/admin/jobs/?state=failed").await.json["results"][0];
    assert_eq!(
        (&failed["state"], &failed["payload"]["product"]),
        (&json!("failed"), &json!(piece))
    );
    assert!(failed["last_error"].is_string());
    let path = format!("/api/admin/jobs/{}/", failed["id"]);
    shop.stripe.clear_faults();
    let retried = act(&admin, &format!("{path}retry/")).await;
    assert_eq!(
        (retried.status, &retried.json["attempts"]),
        (202, &json!(0))
    );
    shop.run_jobs().await;
    for answer in [
        admin.get(&path).await,
        act(&admin, &format!("{path}retry/")).await,
        delete(&admin, &path).await,
    ] {
        assert_eq!(answer.status, 404, "{}", answer.text);
    }

    shop.asks_for_a_piece("ben@example.com").await;
    let id = &admin.get("/api/admin/jobs/?search=send").await.json["results"][0]["id"];
    let path = format!("/api/admin/jobs/{id}/");
    let lock = "update graphile_worker._private_jobs set locked_at = now(), locked_by = 'somebody'";
    sqlx::query(lock).execute(&shop.db).await.expect("a lock");
    assert_eq!(admin.get(&path).await.json["state"], "running");
    for answer in [
        act(&admin, &format!("{path}retry/")).await,
        delete(&admin, &path).await,
    ] {
        assert_eq!(
            (answer.status, &answer.json["code"]),
            (409, &json!("job_is_running"))
        );
    }
    let free = "update graphile_worker._private_jobs set locked_at = null, locked_by = null";
    sqlx::query(free).execute(&shop.db).await.expect("free");
    assert_eq!(delete(&admin, &path).await.status, 204);
    shop.run_jobs().await;
    assert_eq!(shop.mail().len(), 3, "one email was not sent");
    let log: Vec<String> = logged(&shop)
        .await
        .drain(before..)
        .map(|entry| entry.0)
        .collect();
    assert_eq!(log, ["job.retry", "job.delete"]);
}

#[tokio::test]
async fn a_hold_is_released_and_its_payment_page_ended() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::System]).await;
    let piece = shop.stocks("Sunrise", 2).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    let holds = admin.get("/api/admin/holds/?search=SB-1001").await.json;
    assert_eq!(
        (
            &holds["count"],
            &holds["results"][0]["lines"][0]["product_id"]
        ),
        (&json!(1), &json!("sunrise"))
    );
    let path = "/api/admin/holds/SB-1001/release/";
    shop.stripe.fail_next(
        "POST /v1/checkout/sessions/{id}/expire",
        Fault::RateLimited,
        9,
    );
    assert_eq!(act(&admin, path).await.status, 503);
    assert_eq!(shop.stock(&piece).await, (2, 1));
    shop.stripe.clear_faults();
    assert_eq!(ok(act(&admin, path).await).await["status"], "cancelled");
    assert_eq!(shop.stock(&piece).await, (2, 0));
    assert_eq!(shop.session(&session).await["status"], "expired");
    let again = act(&admin, path).await;
    assert_eq!(
        (again.status, &again.json["code"]),
        (409, &json!("not_held"))
    );
    assert_eq!(
        act(&admin, "/api/admin/holds/SB-1/release/").await.status,
        404
    );

    // The shopper was faster.
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let late = act(&admin, "/api/admin/holds/SB-1002/release/").await;
    assert_eq!(
        (late.status, &late.json["code"]),
        (409, &json!("order_is_paid"))
    );
    assert_eq!(shop.statuses().await, ["cancelled", "paid"]);
    assert_eq!(admin.get("/api/admin/holds/").await.json["count"], 0);
    shop.deliver().await;
    shop.audit().await;
}

#[tokio::test]
async fn health_and_the_audit_log_are_read() {
    let shop = Shop::open().await;
    let admin = shop
        .admin(&[Scope::System, Scope::Audit, Scope::Catalog])
        .await;
    let health = admin.get("/api/admin/health/").await.json;
    assert_eq!(
        (&health["is_good"], &health["version"], &health["workers"]),
        (&json!(false), &json!(env!("CARGO_PKG_VERSION")), &json!([]))
    );
    sqlx::query("insert into worker_heartbeats (worker) values (gen_random_uuid())")
        .execute(&shop.db)
        .await
        .expect("a heartbeat");
    assert_eq!(admin.get("/api/admin/health/").await.json["is_good"], true);

    for name in ["Suns", "Moons", "Stars"] {
        ok(admin.post("/api/categories/", &json!({"name": name})).await).await;
    }
    let log = admin
        .get("/api/admin/audit/?search=CATEGORY.create&page_size=2")
        .await
        .json;
    assert_eq!(log["count"], 3, "{log}");
    let first = &log["results"][0];
    assert_eq!(
        (&first["actor"], &first["action"], &first["after"]["name"]),
        (
            &json!("token:test"),
            &json!("category.create"),
            &json!("Stars")
        )
    );
    assert!(first["request_id"].is_string());
    let before = log["results"][1]["id"].as_i64().expect("an id");
    let older = admin
        .get(&format!(
            "/api/admin/audit/?search=category&before={before}"
        ))
        .await
        .json;
    assert_eq!(
        (&older["count"], &older["results"][0]["after"]["name"]),
        (&json!(1), &json!("Suns"))
    );
    assert_eq!(
        admin.get("/api/admin/audit/?before=x").await.field_errors(),
        ["before"]
    );
}

#[tokio::test]
async fn today_says_what_waits_and_what_came_in() {
    let shop = Shop::open_with(&[("SHOP_TIME_ZONE", &zone_at_noon())]).await;
    let piece = shop.stocks("Sunrise", 3).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.asks_for_a_piece("ann@example.com").await;
    let plain = shop.admin(&[Scope::OrdersRead]).await;
    let today = plain.get("/api/admin/dashboard/").await.json;
    assert_eq!(
        today["to_do"],
        json!({"orders_to_pack": 1, "orders_to_look_at": 0, "custom_orders_to_answer": 1, "custom_orders_to_make": 0,
               "custom_orders_to_look_at": 0, "review_items": 0, "system": null})
    );
    // A piece of $47 and its shipping.
    for period in today["takings"].as_array().expect("periods") {
        assert_eq!(
            period["takings"],
            json!([{"currency": "usd", "orders": 1, "amount": 5200}]),
            "{period}"
        );
    }
    assert_eq!(today["sales"][0]["day"], today["today"]);
    assert_eq!(
        (
            &today["best_sellers"][0]["product_id"],
            &today["best_sellers"][0]["pieces"]
        ),
        (&json!("sunrise"), &json!(1))
    );
    assert_eq!(today["running_out"][0]["available"], 2);
    for days in ["0", "91", "x"] {
        assert_eq!(
            plain
                .get(&format!("/api/admin/dashboard/?days={days}"))
                .await
                .field_errors(),
            ["days"]
        );
    }
    let whole = shop.admin(&[Scope::OrdersRead, Scope::System]).await;
    let system = &whole.get("/api/admin/dashboard/?days=1").await.json["to_do"]["system"];
    assert_eq!(system, &json!({"events": 0, "jobs": 0, "emails": 0}));
}

#[tokio::test]
async fn orders_are_found_by_day_exported_and_shipped_many_at_once() {
    let shop = Shop::open_with(&[("SHOP_TIME_ZONE", "America/Los_Angeles")]).await;
    let admin = shop
        .admin(&[Scope::OrdersRead, Scope::OrdersWrite, Scope::Refunds])
        .await;
    let piece = shop.stocks("Sunrise", 9).await;
    for name in ["Ann", "=Ben", "Cy"] {
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
        sqlx::query(
            "update orders set customer_name = $1 where number = (select max(number) from orders)",
        )
        .bind(name)
        .execute(&shop.db)
        .await
        .expect("a name");
    }
    // The last of June in Los Angeles, and the first of July.
    for (number, paid) in [
        (1001, "2026-07-01T06:59:59Z"),
        (1002, "2026-07-01T07:00:00Z"),
    ] {
        sqlx::query(
            "with old as (update orders set paid_at = $2::timestamptz where number = $1 returning id)
             insert into review_items (order_id, kind, cause, text) select id, 'other', 'test:' || id, 'look' from old",
        )
        .bind(number)
        .bind(paid)
        .execute(&shop.db)
        .await
        .expect("an order");
    }
    let numbers = async |query: &str| {
        admin
            .get(&format!("/api/admin/orders/?{query}"))
            .await
            .each("results", "number")
    };
    assert_eq!(numbers("from=2026-06-30&to=2026-06-30").await, ["SB-1001"]);
    assert_eq!(numbers("to=2026-07-01").await, ["SB-1002", "SB-1001"]);
    assert_eq!(numbers("from=2026-07-02").await, ["SB-1003"]);
    assert_eq!(numbers("to_review=true&search=ben").await, ["SB-1002"]);
    assert_eq!(numbers("to_review=false").await, ["SB-1003"]);
    for (query, fields) in [
        ("from=1.7.2026", vec!["from"]),
        ("from=2026-07-02&to=2026-07-01", vec!["to"]),
        ("to_review=perhaps&to=x", vec!["to", "to_review"]),
    ] {
        assert_eq!(
            admin
                .get(&format!("/api/admin/orders/?{query}"))
                .await
                .field_errors(),
            fields,
            "{query}"
        );
    }
    let table = admin
        .get("/api/admin/orders.csv?from=2026-07-01&to=2026-07-01")
        .await;
    assert_eq!(table.header("content-type"), "text/csv; charset=utf-8");
    let rows: Vec<&str> = table.text.lines().collect();
    assert_eq!(rows.len(), 2, "{}", table.text);
    assert!(
        rows[1].starts_with("SB-1002,2026-07-01 00:00,paid,storefront,USD,1 × Sunrise,47.00")
            && rows[1].contains("\"'=Ben\"")
    );
    assert_eq!(
        admin.get("/api/admin/orders.csv?to=x").await.field_errors(),
        ["to"]
    );

    let slip = admin
        .get("/api/admin/orders/SB-1001/packing-slip/")
        .await
        .json;
    assert_eq!(slip["lines"], json!([{"name": "Sunrise", "quantity": 1}]));
    assert_eq!(
        (&slip["number"], &slip["address"][0]),
        (&json!("SB-1001"), &json!("Jane Shopper"))
    );

    let ship = "/api/admin/orders/ship/";
    let many = json!({"shipments": [
        {"order": "SB-1001", "carrier": "USPS", "tracking_number": "9400 1"},
        {"order": "SB-1002", "carrier": "", "tracking_number": "?"},
        {"order": "SB-9999", "carrier": "USPS"},
        {"order": "SB-1003", "carrier": "UPS", "tracking_number": "1Z"},
    ]});
    let before = forget_log(&shop).await;
    let shipped = ok(admin.post(ship, &many).await).await;
    assert_eq!(shipped["shipped"], 2, "{shipped}");
    let codes: Vec<&Value> = shipped["results"]
        .as_array()
        .expect("four")
        .iter()
        .map(|one| &one["code"])
        .collect();
    assert_eq!(
        codes,
        [
            &Value::Null,
            &json!("invalid"),
            &json!("not_found"),
            &Value::Null
        ]
    );
    assert_eq!(
        shipped["results"][1]["details"].as_array().map(Vec::len),
        Some(2),
        "{shipped}"
    );
    assert_eq!(shop.statuses().await, ["shipped", "paid", "shipped"]);
    shop.run_jobs().await;
    assert_eq!(shop.emails_of("order_shipped").await, 2);
    assert_eq!(numbers("search=9400").await, ["SB-1001"]);
    // Once more: nothing is shipped twice.
    let again = ok(admin.post(ship, &many).await).await;
    assert_eq!(
        (&again["shipped"], &again["results"][0]["code"]),
        (&json!(0), &json!("not_shippable"))
    );
    let log = logged(&shop).await.split_off(before);
    assert_eq!(
        log,
        [
            ("order.ship".to_owned(), "order:SB-1001".to_owned()),
            ("order.ship".to_owned(), "order:SB-1003".to_owned())
        ]
    );
    let twice = json!({"shipments": [{"order": "SB-1002", "carrier": "UPS"}, {"order": "SB-1002", "carrier": "UPS"}]});
    for (body, fields) in [
        (json!({"shipments": []}), vec!["shipments"]),
        (twice, vec!["shipments[1].order"]),
        (
            json!({"shipments": [{"order": "SB-1002"}]}),
            vec!["shipments[0]"],
        ),
        (
            json!({"shipments": [{"order": "SB-1002", "carrier": "UPS", "odd": 1}]}),
            vec!["shipments[0].odd"],
        ),
    ] {
        assert_eq!(
            admin.post(ship, &body).await.field_errors(),
            fields,
            "{body}"
        );
    }
}

#[tokio::test]
async fn what_an_orders_money_did_is_told() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::Refunds]).await;
    let piece = shop.stocks("Sunrise", 3).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 2)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let path = "/api/admin/orders/SB-1001/payments/";
    let money = admin.get(path).await.json;
    assert_eq!(
        (&money["refundable"], &money["payments"][0]["outcome"]),
        (&json!(9900), &json!("settled"))
    );
    assert_eq!(
        money["returnable"],
        json!([{"product_id": "sunrise", "quantity": 2}])
    );
    let back = json!({"amount": 4700, "reason": "Broken", "restock": [{"product_id": "sunrise", "quantity": 1}]});
    let before = forget_log(&shop).await;
    assert_eq!(
        admin
            .post("/api/admin/orders/SB-1001/refund/", &back)
            .await
            .status,
        202
    );
    let money = admin.get(path).await.json;
    assert_eq!(
        (&money["refundable"], &money["refunds"][0]["state"]),
        (&json!(5200), &json!("planned"))
    );
    assert_eq!(money["returnable"][0]["quantity"], 1);
    assert_eq!(
        logged(&shop).await[before..],
        [("order.refund".to_owned(), "order:SB-1001".to_owned())]
    );
    for id in ["SB-9999", "00000000-0000-0000-0000-000000000000", "x"] {
        assert_eq!(
            admin
                .get(&format!("/api/admin/orders/{id}/payments/"))
                .await
                .status,
            404
        );
    }
}

#[tokio::test]
async fn a_product_and_a_change_of_stock_that_come_twice_under_one_key_are_one() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog, Scope::Stock]).await;
    let headers = [
        ("idempotency-key", "one"),
        ("content-type", "application/json"),
    ];
    let post = async |path: &str, body: &Value| {
        admin
            .send(Method::POST, path, &headers, Some(body.to_string()))
            .await
    };
    let product =
        json!({"name": "Sunrise", "lighter_type": 1, "price": 4700, "inventory_count": 2});
    let first = post("/api/products/", &product).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let again = post("/api/products/", &product).await;
    assert_eq!((again.status, &again.json), (201, &first.json));
    let mut other = product.clone();
    other["price"] = json!(4800);
    assert_eq!(post("/api/products/", &other).await.status, 422);

    let id = first.json["id"].as_str().expect("an id");
    let path = format!("/api/products/{id}/stock/");
    let change = json!({"delta": 3, "reason": "made"});
    let first = post(&path, &change).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let again = post(&path, &change).await;
    assert_eq!((again.status, &again.json), (200, &first.json));
    assert_eq!(shop.stock(id).await, (5, 0));
    let other = json!({"delta": 4, "reason": "made"});
    assert_eq!(post(&path, &other).await.status, 422);
    let bare = admin.post(&path, &change).await;
    assert_eq!(bare.status, 200, "{}", bare.text);
    assert_eq!(shop.stock(id).await, (8, 0));
}

#[tokio::test]
async fn products_are_copied_changed_by_many_and_their_images_moved() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    shop.stocks_with("Sunrise", 3, json!({"description": "Red"}))
        .await;
    shop.stocks("Turtle", 9).await;
    let copy = |key: &'static str| {
        let headers = [("idempotency-key", key)];
        let admin = admin.clone();
        async move {
            admin
                .send(
                    Method::POST,
                    "/api/admin/products/sunrise/duplicate/",
                    &headers,
                    None::<String>,
                )
                .await
        }
    };
    let first = copy("one").await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_eq!(
        (
            &first.json["name"],
            &first.json["is_active"],
            &first.json["on_hand"],
            &first.json["description"]
        ),
        (
            &json!("Sunrise (copy)"),
            &json!(false),
            &json!(0),
            &json!("Red")
        )
    );
    assert_eq!(
        copy("one").await.json["id"],
        first.json["id"],
        "the same copy"
    );
    assert_ne!(copy("two").await.json["id"], first.json["id"]);
    let path = "/api/admin/products/sunrise/duplicate/";
    let key = [("idempotency-key", "one")];
    let another = shop.admin(&[Scope::Catalog]).await;
    rename_newest_token(&shop).await;
    let theirs = another.send(Method::POST, path, &key, None::<String>).await;
    assert_eq!(theirs.status, 201, "{}", theirs.text);
    assert_ne!(
        theirs.json["id"], first.json["id"],
        "another's key is another"
    );
    let other = admin
        .send(
            Method::POST,
            "/api/admin/products/turtle/duplicate/",
            &[("idempotency-key", "one")],
            None::<String>,
        )
        .await;
    assert_eq!(other.status, 422, "{}", other.text);
    assert_eq!(
        act(&admin, "/api/admin/products/none/duplicate/")
            .await
            .status,
        404
    );

    // All or none.
    let many = |action: &str, ids: &[&str]| {
        let (admin, body) = (admin.clone(), json!({"action": action, "ids": ids}));
        async move {
            admin
                .send_json(Method::PATCH, "/api/admin/products/", &body)
                .await
        }
    };
    assert_eq!(many("archive", &["sunrise", "none"]).await.status, 404);
    assert_eq!(shop.client.get("/api/products/sunrise/").await.status, 200);
    let archived = ok(many("archive", &["turtle", "sunrise", "turtle"]).await).await;
    assert_eq!(
        (&archived["count"], &archived["results"][0]["is_active"]),
        (&json!(2), &json!(false))
    );
    assert_eq!(shop.client.get("/api/products/").await.json["count"], 0);
    ok(many("restore", &["turtle", "sunrise"]).await).await;
    shop.run_jobs().await;
    assert_eq!(
        ok(many("sync", &["turtle"]).await).await["results"][0]["stripe"]["status"],
        "pending"
    );
    assert_eq!(many("sell", &[]).await.field_errors(), ["action", "ids"]);

    assert_eq!(
        admin.get("/api/admin/products/?running_out=3").await.ids(),
        [] as [Value; 0]
    );
    let stock = shop.admin(&[Scope::Stock]).await;
    let lost = json!({"delta": -2, "reason": "lost"});
    ok(stock.post("/api/products/sunrise/stock/", &lost).await).await;
    assert_eq!(
        admin.get("/api/admin/products/?running_out=2").await.ids(),
        ["sunrise"]
    );
    assert_eq!(
        admin
            .get("/api/admin/products/?is_active=true&ordering=-available")
            .await
            .ids(),
        ["turtle", "sunrise"]
    );
    assert_eq!(
        admin.get("/api/admin/products/?running_out=x").await.json["code"],
        "invalid_filter"
    );

    let (a, b) = (
        shop.keeps(&jpeg(40, 30)).await,
        shop.keeps(&jpeg(30, 40)).await,
    );
    let path = "/api/admin/products/sunrise/images/";
    let images = |answer: Value| -> Vec<Value> {
        answer["images"]
            .as_array()
            .expect("images")
            .iter()
            .map(|image| image["url"].clone())
            .collect()
    };
    let before = forget_log(&shop).await;
    for _ in 0..2 {
        let added = ok(admin.post(path, &json!({"images": [a, b]})).await).await;
        assert_eq!(images(added).len(), 2);
    }
    let order = images(ok(admin.get("/api/admin/products/sunrise/").await).await);
    let turned: Vec<Value> = order.iter().rev().cloned().collect();
    assert_eq!(
        images(ok(put(&admin, path, &json!({"images": [b]})).await).await),
        turned
    );
    assert_eq!(
        images(ok(act(&admin, &format!("{path}{a}/up/")).await).await),
        order
    );
    assert_eq!(
        images(ok(act(&admin, &format!("{path}{a}/up/")).await).await),
        order,
        "the first stays"
    );
    assert_eq!(
        images(ok(act(&admin, &format!("{path}{a}/down/")).await).await),
        turned
    );
    assert_eq!(
        images(ok(delete(&admin, &format!("{path}{a}/")).await).await).len(),
        1
    );
    assert_eq!(
        images(ok(delete(&admin, &format!("{path}{a}/")).await).await).len(),
        1,
        "safe to repeat"
    );
    let log: Vec<String> = logged(&shop)
        .await
        .drain(before..)
        .map(|entry| entry.0)
        .collect();
    assert_eq!(log, ["product.images"; 5]);
    for (body, fields) in [
        (json!({"images": []}), vec!["images"]),
        (json!({"images": ["x", "0".repeat(64)]}), vec!["images[0]"]),
        (json!({"images": ["0".repeat(64)]}), vec!["images"]),
    ] {
        assert_eq!(
            admin.post(path, &body).await.field_errors(),
            fields,
            "{body}"
        );
    }
    assert_eq!(
        put(&admin, path, &json!({"images": [b, a]}))
            .await
            .field_errors(),
        ["images[1]"]
    );
    assert_eq!(delete(&admin, &format!("{path}x/")).await.status, 404);
    assert_eq!(
        act(&admin, &format!("/api/admin/products/none/images/{a}/up/"))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn categories_have_an_order_and_shoppers_see_them_by_name() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let make = async |name: &str| {
        ok(admin.post("/api/categories/", &json!({"name": name})).await).await["id"].clone()
    };
    let (suns, moons, stars) = (make("Suns").await, make("Moons").await, make("Stars").await);
    shop.stocks_with("Sunrise", 3, json!({"category": suns}))
        .await;
    let names = async || {
        admin
            .get("/api/admin/categories/")
            .await
            .each("results", "name")
    };
    assert_eq!(
        names().await,
        ["Moons", "Stars", "Suns"],
        "by name, until somebody puts them in order"
    );
    let ordered = ok(put(
        &admin,
        "/api/admin/categories/",
        &json!({"ids": [suns, moons]}),
    )
    .await)
    .await;
    assert_eq!(ordered["results"][0]["name"], "Suns");
    assert_eq!(names().await, ["Suns", "Moons", "Stars"]);
    ok(act(&admin, &format!("/api/admin/categories/{stars}/up/")).await).await;
    ok(act(&admin, &format!("/api/admin/categories/{suns}/up/")).await).await;
    ok(act(&admin, &format!("/api/admin/categories/{suns}/down/")).await).await;
    assert_eq!(names().await, ["Stars", "Suns", "Moons"]);
    make("Ants").await;
    assert_eq!(
        names().await,
        ["Stars", "Suns", "Moons", "Ants"],
        "a new one comes last"
    );
    let list = admin.get("/api/admin/categories/").await.json;
    assert_eq!(
        (&list["count"], &list["results"][1]["active_products"]),
        (&json!(4), &json!(1))
    );
    let shown = shop.client.get("/api/categories/").await;
    assert_eq!(
        shown.each("results", "name"),
        ["Ants", "Moons", "Stars", "Suns"]
    );
    assert_eq!(shown.each("results", "position"), [4, 3, 1, 2]);
    // What was read comes back, and moves nothing.
    let one = shop
        .client
        .get(&format!("/api/categories/{suns}/"))
        .await
        .json;
    assert_eq!(
        put(&admin, &format!("/api/categories/{suns}/"), &one)
            .await
            .status,
        200
    );
    assert_eq!(names().await, ["Stars", "Suns", "Moons", "Ants"]);
    for (ids, fields) in [
        (json!([99]), vec!["ids[0]"]),
        (json!([suns, suns]), vec!["ids[1]"]),
        (json!(["x"]), vec!["ids[0]"]),
    ] {
        assert_eq!(
            put(&admin, "/api/admin/categories/", &json!({"ids": ids}))
                .await
                .field_errors(),
            fields
        );
    }
    assert_eq!(
        act(&admin, "/api/admin/categories/99/up/").await.status,
        404
    );
    // The order goes along with the file.
    let mut conn = shop.db.acquire().await.expect("a connection");
    let file = spirit_beads::products::export(&mut conn)
        .await
        .expect("a file");
    let other = Shop::open().await;
    other.imports(&file).await.expect("an import");
    let admin = other.admin(&[Scope::Catalog]).await;
    assert_eq!(
        admin
            .get("/api/admin/categories/")
            .await
            .each("results", "name"),
        ["Stars", "Suns", "Moons", "Ants"]
    );
}

#[tokio::test]
async fn custom_orders_have_a_board_and_a_draft_is_looked_at_and_thrown_away() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::CustomOrders]).await;
    shop.asks_for_a_piece("ann@example.com").await;
    shop.asks_for_a_piece("ben@example.com").await;
    let path = "/api/admin/custom-orders/CO-1001/";
    assert_eq!(admin.get(&format!("{path}email/")).await.status, 404);
    let quote = json!({"amount": 9000, "description": "A case with a raven"});
    ok(put(&admin, &format!("{path}quote/"), &quote).await).await;
    let email = admin.get(&format!("{path}email/")).await.json;
    assert_eq!(
        email["subject"],
        "Your Custom Order Request Has Been Approved!"
    );
    assert!(
        email["html"]
            .as_str()
            .expect("a page")
            .contains("A case with a raven")
    );
    let before = forget_log(&shop).await;
    for _ in 0..2 {
        let gone = ok(delete(&admin, &format!("{path}quote/")).await).await;
        assert_eq!(gone["quotes"], json!([]));
    }
    assert_eq!(
        logged(&shop).await[before..],
        [(
            "custom_order.discard_quote".to_owned(),
            "custom_order:CO-1001".to_owned()
        )]
    );
    let refused = act(&admin, &format!("{path}approve/")).await;
    assert_eq!(
        (refused.status, &refused.json["code"]),
        (409, &json!("no_quote"))
    );

    // A draft beside a quote that the customer has: only the draft goes, and not while it is to follow.
    assert_eq!(
        admin.post(&format!("{path}requote/"), &quote).await.status,
        202
    );
    shop.run_jobs().await;
    ok(put(
        &admin,
        &format!("{path}quote/"),
        &json!({"amount": 9500, "description": "More"}),
    )
    .await)
    .await;
    let left = ok(delete(&admin, &format!("{path}quote/")).await).await;
    assert_eq!(
        (
            left["quotes"].as_array().map(Vec::len),
            &left["quotes"][0]["state"]
        ),
        (Some(1), &json!("live"))
    );
    assert_eq!(
        admin.post(&format!("{path}requote/"), &quote).await.status,
        202
    );
    let closing = delete(&admin, &format!("{path}quote/")).await;
    assert_eq!(
        (closing.status, &closing.json["code"]),
        (409, &json!("quote_closing"))
    );
    shop.run_jobs().await;

    let board = admin.get("/api/admin/custom-orders/board/").await.json;
    let figures: Vec<(&str, i64)> = board["columns"]
        .as_array()
        .expect("columns")
        .iter()
        .map(|column| {
            (
                column["status"].as_str().expect("a state"),
                column["count"].as_i64().expect("a number"),
            )
        })
        .collect();
    assert_eq!(
        figures,
        [
            ("pending", 1),
            ("approved", 1),
            ("paid", 0),
            ("in_production", 0),
            ("shipped", 0)
        ]
    );
    assert_eq!(
        board["columns"][0]["results"][0]["email"],
        "ben@example.com"
    );
    assert_eq!(
        delete(&admin, "/api/admin/custom-orders/CO-9/quote/")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn emails_are_found_by_their_subject_and_resending_is_written_down() {
    let shop = Shop::open_with(&[("SHOP_NAME", "Raven Works")]).await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.asks_for_a_piece("cy@example.com").await;
    shop.run_jobs().await;
    for (search, kinds) in [
        ("order+CONFIRMATION+-+raven", vec!["order_confirmation"]),
        ("request+from+ann", vec!["new_custom_order"]),
        ("we+have+your", vec!["custom_order_received"]),
        ("cy%40example", vec!["custom_order_received"]),
        ("from+somebody+else", vec![]),
        ("%25", vec![]),
    ] {
        let found = admin
            .get(&format!("/api/admin/emails/?search={search}"))
            .await;
        assert_eq!(found.each("results", "kind"), kinds, "{search}");
    }
    let email =
        admin.get("/api/admin/emails/?search=we+have").await.json["results"][0]["id"].clone();
    let before = forget_log(&shop).await;
    let path = format!(
        "/api/admin/emails/{}/resend/",
        email.as_str().expect("an id")
    );
    assert_eq!(act(&admin, &path).await.status, 202);
    assert_eq!(act(&admin, &path).await.status, 409);
    assert_eq!(
        logged(&shop).await[before..]
            .iter()
            .map(|entry| entry.0.as_str())
            .collect::<Vec<_>>(),
        ["email.resend"]
    );
    shop.run_jobs().await;
}

#[tokio::test]
async fn what_a_token_changes_is_in_the_audit_log() {
    let shop = Shop::open().await;
    let admin = shop.admin(&Scope::ALL).await;
    let piece = shop.stocks("Sunrise", 5).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let before = forget_log(&shop).await;
    let sale = json!({"lines": [{"product_id": piece, "quantity": 1}], "email": "ann@example.com"});
    ok(admin.post("/api/admin/orders/", &sale).await).await;
    ok(admin
        .post("/api/admin/orders/SB-1001/notes/", &json!({"text": "Gift"}))
        .await)
    .await;
    ok(admin
        .post(
            "/api/admin/orders/SB-1001/ship/",
            &json!({"carrier": "USPS"}),
        )
        .await)
    .await;
    ok(act(&admin, "/api/admin/orders/SB-1001/deliver/").await).await;
    ok(act(&admin, "/api/admin/orders/SB-1001/deliver/").await).await;
    ok(act(&admin, "/api/admin/orders/SB-1002/undo/").await).await;
    shop.asks_for_a_piece("ann@example.com").await;
    let request = "/api/admin/custom-orders/CO-1001";
    ok(admin
        .post(&format!("{request}/notes/"), &json!({"text": "Nice"}))
        .await)
    .await;
    ok(admin
        .post(
            &format!("{request}/reject/"),
            &json!({"reason": "No beads"}),
        )
        .await)
    .await;
    ok(admin
        .send_json(
            Method::PATCH,
            "/api/products/sunrise/",
            &json!({"price": 4800}),
        )
        .await)
    .await;
    ok(admin
        .send_json(
            Method::PATCH,
            "/api/products/sunrise/",
            &json!({"price": 4800}),
        )
        .await)
    .await;
    let count = json!({"inventory_count": 7, "expected_inventory_count": 4});
    ok(admin
        .send_json(Method::PATCH, "/api/products/sunrise/", &count)
        .await)
    .await;
    ok(admin
        .post(
            "/api/products/sunrise/stock/",
            &json!({"delta": 1, "reason": "made"}),
        )
        .await)
    .await;
    ok(act(&admin, "/api/products/sunrise/archive/").await).await;
    ok(delete(&admin, "/api/products/sunrise/").await).await;
    let log: Vec<String> = logged(&shop)
        .await
        .drain(before..)
        .map(|entry| entry.0)
        .collect();
    assert_eq!(
        log,
        [
            "order.sell",
            "order.note",
            "order.ship",
            "order.deliver",
            "order.undo",
            "custom_order.note",
            "custom_order.reject",
            "product.change",
            "product.stock",
            "product.stock",
            "product.archive",
            "product.delete",
        ]
    );
    // A change that is refused leaves nothing there.
    assert_eq!(
        admin
            .post("/api/admin/orders/SB-1001/notes/", &json!({"text": " "}))
            .await
            .field_errors(),
        ["text"]
    );
    assert_eq!(logged(&shop).await.len(), before + log.len());
    shop.audit().await;
}

/// Tokens of the tests share a name. This one's is its own.
async fn rename_newest_token(shop: &Shop) {
    sqlx::query(
        "update api_tokens set name = 'another' where id = (select max(id) from api_tokens)",
    )
    .execute(&shop.db)
    .await
    .expect("the token");
}
