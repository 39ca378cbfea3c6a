//! Keeping things alive: what is told to Prometheus, and what happens when more is asked than can be answered.

use std::time::{Duration, Instant};

use serde_json::json;
use spirit_beads::jobs::Job;
use spirit_beads::{server, worker};
use tokio::net::TcpListener;

use crate::support::{Client, Leftover, Shop, card, session_of};

/// Time limit for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Address of the shop's metrics, while the test lives.
async fn metrics_of(shop: &Shop) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let router = server::metrics_router(shop.app.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Client::to(&address)
}

/// Value under this name and these labels; none where it is not told.
async fn metric(metrics: &Client, series: &str) -> Option<f64> {
    let answer = metrics.get("/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let line = answer
        .text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

/// Waits until a figure is this.
async fn until(metrics: &Client, series: &str, value: f64) {
    let began = Instant::now();
    while metric(metrics, series).await != Some(value) {
        assert!(began.elapsed() < PATIENCE, "never: {series} {value}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn metrics_count_orders_jobs_and_requests() {
    let shop = Shop::open().await;
    let metrics = metrics_of(&shop).await;
    let text = metrics.get("/metrics").await;
    assert_eq!(
        text.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    for (series, value) in [
        ("shop_database_up", 1.0),
        ("shop_holds", 0.0),
        ("shop_workers_alive", 0.0),
        ("shop_emails{state=\"failed\"}", 0.0),
        ("shop_stripe_events_unprocessed{state=\"failed\"}", 0.0),
        ("shop_refunds{state=\"failed\"}", 0.0),
        ("shop_jobs{state=\"given_up\"}", 0.0),
        ("shop_build_info{version=\"0.1.0\"}", 1.0),
    ] {
        assert_eq!(metric(&metrics, series).await, Some(value), "{series}");
    }
    assert!(metric(&metrics, "process_resident_memory_bytes").await > Some(1e6));
    assert_eq!(metric(&metrics, "shop_database_pool_max").await, Some(9.0));

    // A checkout, the same again from somebody for whom nothing is left, and a payment.
    let piece = shop.stocks("Sunrise", 1).await;
    assert_eq!(
        metric(&metrics, "shop_jobs{state=\"waiting\"}").await,
        Some(1.0)
    );
    assert_eq!(
        metric(&metrics, "shop_product_syncs{state=\"pending\"}").await,
        Some(1.0)
    );
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    let refused = shop.shopper().check_out(&[(&piece, 2)]).await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        metric(&metrics, "shop_checkouts_total{outcome=\"opened\"}").await,
        Some(1.0)
    );
    assert_eq!(
        metric(
            &metrics,
            "shop_checkouts_total{outcome=\"cart_not_available\"}"
        )
        .await,
        Some(1.0)
    );
    assert_eq!(metric(&metrics, "shop_holds").await, Some(1.0));
    assert!(metric(&metrics, "shop_hold_oldest_seconds").await > Some(0.0));
    let oversold = "shop_cart_lines_refused_total{reason=\"product_sold_out\"}";
    assert_eq!(metric(&metrics, oversold).await, Some(1.0));
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(metric(&metrics, "shop_holds").await, Some(0.0));
    assert_eq!(
        metric(&metrics, "shop_orders_paid_last_day").await,
        Some(1.0)
    );
    let processed = "shop_stripe_events_received_total{source=\"webhook\",effect=\"processed\"}";
    assert_eq!(metric(&metrics, processed).await, Some(1.0));
    assert!(metric(&metrics, "shop_emails{state=\"queued\"}").await >= Some(1.0));
    shop.run_jobs().await;
    assert_eq!(
        metric(&metrics, "shop_emails{state=\"queued\"}").await,
        Some(0.0)
    );
    let sent = "shop_job_duration_seconds_count{job=\"send_email\",outcome=\"done\"}";
    assert!(metric(&metrics, sent).await >= Some(1.0));

    // Routes are told by their templates, wherever they lie, and failures by their words.
    for path in [
        "/api/products/sunrise/",
        "/api/products/turtle/",
        "/admin/orders/x/",
        "/nowhere/1/",
        "/nowhere/2/",
    ] {
        shop.client.get(path).await;
    }
    let count = |method: &str, route: &str, status: &str| {
        format!(
            "shop_http_request_duration_seconds_count{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"
        )
    };
    for (series, value) in [
        (count("GET", "/api/products/{id}", "2xx"), 1.0),
        (count("GET", "/api/products/{id}", "4xx"), 1.0),
        (count("GET", "/admin/orders/{id}", "3xx"), 1.0),
        (count("GET", "-", "4xx"), 2.0),
        (
            count("POST", "/api/payments/create-checkout-session", "2xx"),
            1.0,
        ),
        (
            "shop_http_errors_total{status=\"400\",code=\"cart_not_available\"}".to_owned(),
            1.0,
        ),
        ("shop_http_requests_in_flight".to_owned(), 0.0),
    ] {
        let text = metrics.get("/metrics").await.text;
        assert_eq!(
            metric(&metrics, &series).await,
            Some(value),
            "{series}: {text}"
        );
    }
    let text = metrics.get("/metrics").await.text;
    for private in ["sunrise", "turtle", session.as_str(), "example.com"] {
        assert!(!text.contains(private), "{private}");
    }
    assert!(text.lines().count() < 1000);

    // Without a database the rest is told all the same.
    shop.app.pools.close().await;
    assert_eq!(metric(&metrics, "shop_database_up").await, Some(0.0));
    assert_eq!(metric(&metrics, processed).await, Some(1.0));
    assert_eq!(metric(&metrics, "shop_holds").await, None);
}

#[tokio::test]
async fn a_figure_of_every_trouble_is_told() {
    let shop = Shop::open().await;
    shop.leaves(Leftover::FailedJobs);
    let metrics = metrics_of(&shop).await;
    let piece = shop.stocks("Sunrise", 2).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    sqlx::raw_sql(
        "update checkouts set hold_until = now() - interval '1 hour';
         update products set stripe_status = 'error';
         update graphile_worker._private_jobs set attempts = max_attempts, last_error = 'x';
         insert into stripe_events (id, type, status, source, payload, received_at)
         values ('evt_1', 'x', 'failed', 'webhook', '{}', now() - interval '1 hour');
         insert into emails (id, dedup_key, kind, recipient, contents, state, created_at) values
             (gen_random_uuid(), 'a', 'x', 'shop', '{}', 'failed', now()),
             (gen_random_uuid(), 'b', 'x', 'shop', '{}', 'queued', now() - interval '1 hour');
         insert into payments (id, order_id, outcome) select 'pi_1', id, 'refused' from orders;
         insert into refunds (id, payment_id, wanted_amount, amount, reason, actor, state, created_at) values
             (gen_random_uuid(), 'pi_1', 5, 5, 'x', 'test', 'failed', now()),
             (gen_random_uuid(), 'pi_1', 5, 5, 'x', 'test', 'planned', now() - interval '1 hour');
         insert into review_items (order_id, kind, cause, text) select id, 'other', 'test', 'x' from orders;",
    )
    .execute(&shop.db)
    .await
    .expect("trouble");
    for (series, least) in [
        ("shop_holds_overdue", 1.0),
        ("shop_product_syncs{state=\"error\"}", 1.0),
        ("shop_jobs{state=\"given_up\"}", 1.0),
        ("shop_stripe_events_unprocessed{state=\"failed\"}", 1.0),
        ("shop_stripe_event_oldest_seconds", 3600.0),
        ("shop_emails{state=\"failed\"}", 1.0),
        ("shop_email_oldest_seconds", 3600.0),
        ("shop_payments_refused", 1.0),
        ("shop_refunds{state=\"failed\"}", 1.0),
        ("shop_refunds{state=\"planned\"}", 1.0),
        ("shop_refund_oldest_seconds", 3600.0),
        ("shop_orders_to_review", 1.0),
    ] {
        assert!(metric(&metrics, series).await >= Some(least), "{series}");
    }
    assert!(!session.is_empty());
}

#[tokio::test]
async fn a_request_while_all_places_are_taken_is_told_to_come_back() {
    let shop = Shop::open_with(&[("MAX_REQUESTS_IN_FLIGHT", "1")]).await;
    let metrics = metrics_of(&shop).await;
    let mut blocking = shop.db.begin().await.expect("a transaction");
    sqlx::query("lock table categories in access exclusive mode")
        .execute(&mut *blocking)
        .await
        .expect("a lock");
    let client = shop.client.clone();
    let slow = tokio::spawn(async move { client.get("/api/categories/").await });
    until(&metrics, "shop_http_requests_in_flight", 1.0).await;

    for path in [
        "/api/categories/",
        "/api/products/",
        "/admin/",
        "/media/a.png",
    ] {
        let began = Instant::now();
        let answer = shop.client.get(path).await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, "5"),
            "{path}"
        );
        assert_eq!(answer.json["code"], "overloaded");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(began.elapsed() < Duration::from_secs(2), "{path}");
    }
    let storefront = ("origin", "http://localhost:8080");
    let answer = shop
        .shopper()
        .check_out_with(&[("sunrise", 1)], &[storefront])
        .await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (503, storefront.1)
    );
    // Nor does the question before it fail.
    let asks = [
        storefront,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let answer = shop
        .client
        .send(
            reqwest::Method::OPTIONS,
            "/api/payments/create-checkout-session/",
            &asks,
            None::<String>,
        )
        .await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (200, storefront.1)
    );
    // Money and health come first.
    let event = json!({"id": "evt_1", "type": "price.created", "data": {"object": {}}});
    assert_eq!(shop.webhook(&event).await.status, 200);
    assert_eq!(shop.client.get("/healthz").await.status, 200);
    assert_eq!(shop.client.get("/readyz").await.json["database"], true);
    assert_eq!(
        metric(&metrics, "shop_http_requests_shed_total").await,
        Some(5.0)
    );

    blocking.rollback().await.expect("the end");
    assert_eq!(slow.await.expect("an answer").status, 200);
    until(&metrics, "shop_http_requests_in_flight", 0.0).await;
    assert_eq!(shop.client.get("/api/products/").await.status, 200);
}

#[tokio::test]
async fn a_request_that_waits_too_long_for_the_database_is_told_to_come_back() {
    let shop = Shop::open().await;
    let requests = &shop.app.pools.requests;
    let mut taken = Vec::new();
    for _ in 0..requests.options().get_max_connections() {
        taken.push(requests.acquire().await.expect("a connection"));
    }
    let event = json!({"id": "evt_1", "type": "price.created", "data": {"object": {}}});
    let (list, checkout, page, ready, webhook) = tokio::join!(
        shop.client.get("/api/products/"),
        shop.client.check_out(&[("sunrise", 1)]),
        shop.client.get("/admin/"),
        shop.client.get("/readyz"),
        shop.webhook(&event),
    );
    for answer in [list, checkout] {
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, "5"),
            "{}",
            answer.text
        );
        assert_eq!(answer.json["code"], "database_unavailable");
    }
    // Nobody is signed in: no question.
    assert_eq!(page.status, 303);
    // Health, money and the worker have connections of their own.
    assert_eq!(ready.json["database"], true, "{}", ready.text);
    assert_eq!(webhook.status, 200, "{}", webhook.text);
    let done = worker::perform(&shop.app.for_worker(), Job::Sweep).await;
    done.expect("a sweep");
    drop(taken);
    assert_eq!(shop.client.get("/api/products/").await.status, 200);
}

#[tokio::test]
async fn a_rush_of_searches_leaves_checkouts_webhooks_and_health_alone() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 9).await;
    assert_eq!(
        shop.client.get("/api/products/?search=sunrse").await.json["count"],
        1
    );
    // Searches that take as long as they may: each waits for what it reads.
    let mut blocking = shop.db.begin().await.expect("a transaction");
    sqlx::query("lock table products in access exclusive mode")
        .execute(&mut *blocking)
        .await
        .expect("a lock");
    let began = Instant::now();
    let search = shop.client.get("/api/products/?search=sunrse").await;
    assert_eq!(
        (search.status, &search.json["code"]),
        (503, &json!("search_busy")),
        "{}",
        search.text
    );
    assert!(!search.header("retry-after").is_empty());
    assert!(
        began.elapsed() < 3 * Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    blocking.rollback().await.expect("the end");

    // All turns are taken, and 150 wait.
    let turns = u32::try_from(shop.app.searches.available_permits()).expect("few");
    let taken = shop
        .app
        .searches
        .acquire_many(turns)
        .await
        .expect("the turns");
    let searches: Vec<_> = (0..150)
        .map(|n| {
            let client = shop.client.clone();
            tokio::spawn(async move {
                client
                    .get(&format!("/api/products/?search=sunrse{n}"))
                    .await
            })
        })
        .collect();
    for n in 0..5 {
        let began = Instant::now();
        session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        let event =
            json!({"id": format!("evt_{n}"), "type": "price.created", "data": {"object": {}}});
        assert_eq!(shop.webhook(&event).await.status, 200);
        assert_eq!(shop.client.get("/readyz").await.json["database"], true);
        assert_eq!(shop.client.get("/api/products/").await.status, 200);
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{:?}",
            began.elapsed()
        );
    }
    for search in searches {
        let answer = search.await.expect("an answer");
        assert_eq!(
            (answer.status, &answer.json["code"]),
            (503, &json!("search_busy")),
            "{}",
            answer.text
        );
    }
    drop(taken);
    assert_eq!(
        shop.client.get("/api/products/?search=sunrse").await.json["count"],
        1
    );
}
