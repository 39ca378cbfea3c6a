//! Events, jobs, holds, health and emails by the API.

use serde_json::json;
use spirit_beads::auth::Scope;
use stripe_sandbox::Fault;

use super::{act, delete, forget_log, logged, ok};
use crate::support::{Shop, card, session_of, zone_at_noon};

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
    for days in ["0", "366", "x"] {
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
