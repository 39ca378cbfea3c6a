//! Customer data: who is told of it, for how long, and by which line.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::support::{Answer, Client, Leftover, Shop, card, session_of};

/// Texts that the answers must not contain: who bought, and where they live.
const PERSONAL: [&str; 6] = [
    "jane@example.com",
    "Jane Shopper",
    "123 Main Street",
    "97205",
    "rings twice",
    "1Z999",
];

/// An order that Jane paid, and its number.
async fn paid(shop: &Shop, piece: &str) -> String {
    let session = session_of(&shop.shopper().check_out(&[(piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let of = format!("/api/orders/by-session/{session}/");
    let order = shop.client.get(&of).await.json;
    order["number"].as_str().expect("a number").to_owned()
}

async fn act(client: &Client, path: &str, body: Option<Value>) -> Answer {
    match body {
        Some(body) => client.post(path, &body).await,
        None => client.send(Method::POST, path, &[], None::<String>).await,
    }
}

#[tokio::test]
async fn a_token_that_changes_orders_is_told_nothing_that_only_readers_may_know() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 9).await;
    let (number, held) = (paid(&shop, &piece).await, paid(&shop, &piece).await);
    shop.run_jobs().await;
    let reader = shop.admin(&[Scope::OrdersRead]).await;
    let emails = reader.get("/api/admin/emails/").await.json;
    let email = emails["results"][0]["id"].as_str().expect("an email");
    let scopes = [Scope::OrdersWrite, Scope::Refunds, Scope::System];
    let writer = shop.admin(&scopes).await;
    let of = |number: &str, what: &str| format!("/api/admin/orders/{number}/{what}/");
    let sale = json!({
        "lines": [{"product_id": piece, "quantity": 1}],
        "email": "jane@example.com", "customer_name": "Jane Shopper", "note": "she rings twice",
    });
    let shipment = json!({"carrier": "UPS", "tracking_number": "1Z999"});
    let sold = act(&writer, "/api/admin/orders/", Some(sale)).await;
    assert_eq!(sold.status, 201, "{}", sold.text);
    let sold_number = sold.json["number"].as_str().expect("a number").to_owned();
    let note = json!({"text": "Jane Shopper rings twice"});
    let answers = [
        sold,
        act(&writer, &of(&number, "notes"), Some(note)).await,
        act(&writer, &of(&number, "resolve"), None).await,
        act(&writer, &of(&number, "ship"), Some(shipment)).await,
        act(&writer, &of(&number, "deliver"), None).await,
        act(&writer, &of(&sold_number, "undo"), None).await,
        act(&writer, &of(&held, "refund"), Some(json!({"amount": 100}))).await,
        act(&writer, &format!("/api/admin/emails/{email}/resend/"), None).await,
    ];
    for answer in &answers {
        assert!((200..300).contains(&answer.status), "{}", answer.text);
        for personal in PERSONAL {
            assert!(
                !answer.text.contains(personal),
                "{personal}: {}",
                answer.text
            );
        }
    }
    assert_eq!(answers[4].json["status"], "delivered");
    // Who may read is told all of it, by the same addresses.
    let both = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let told = act(&both, &of(&number, "deliver"), None).await;
    assert_eq!(told.json["email"], "jane@example.com");
    for personal in ["Jane Shopper", "rings twice", "1Z999"] {
        assert!(told.text.contains(personal), "{personal}: {}", told.text);
    }
    shop.run_jobs().await;
}

#[tokio::test]
async fn a_reader_of_holds_does_not_see_whose_they_are() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 9).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    // A payment on its way has left its customer with us already.
    sqlx::query("update orders set email = 'jane@example.com', customer_name = 'Jane Shopper'")
        .execute(&shop.db)
        .await
        .expect("a customer");
    let system = shop.admin(&[Scope::System]).await;
    let holds = system.get("/api/admin/holds/").await;
    assert_eq!(holds.json["count"], 1, "{}", holds.text);
    let of = format!("/api/orders/by-session/{session}/");
    let number = shop.client.get(&of).await.json["number"].clone();
    let number = number.as_str().expect("a number");
    let released = format!("/api/admin/holds/{number}/release/");
    let released = act(&system, &released, None).await;
    assert_eq!(released.status, 200, "{}", released.text);
    for answer in [holds, released] {
        for personal in PERSONAL {
            assert!(!answer.text.contains(personal), "{}", answer.text);
        }
    }
}

/// Stored events of Stripe: id, state, and payload.
async fn events(shop: &Shop) -> Vec<(String, String, String)> {
    sqlx::query_as("select id, status, payload from stripe_events order by id")
        .fetch_all(&shop.db)
        .await
        .expect("the events")
}

#[tokio::test]
async fn old_events_lose_what_they_say_of_people_and_stay_known() {
    let shop = Shop::open_with(&[("STRIPE_EVENT_RETENTION_DAYS", "30")]).await;
    let piece = shop.stocks("Sunrise", 9).await;
    paid(&shop, &piece).await;
    shop.run_jobs().await;
    let before = events(&shop).await;
    let says_who = |payload: &str| payload.contains("jane@example.com");
    assert!(before.iter().any(|(_, _, payload)| says_who(payload)));
    let waits: String = sqlx::query_scalar(
        "insert into stripe_events (id, type, status, source, payload, received_at)
         values ('evt_waits', 'x', 'failed', 'webhook', '{\"email\": \"jane@example.com\"}',
                 now() - interval '1 year')
         returning payload",
    )
    .fetch_one(&shop.db)
    .await
    .expect("an event");
    let age = async |days: i32| {
        sqlx::query(
            "update stripe_events set received_at = now() - make_interval(days => $1)
             where id <> 'evt_waits'",
        )
        .bind(days)
        .execute(&shop.db)
        .await
        .expect("some time");
        spirit_beads::payments::redact_events(&shop.app)
            .await
            .expect("a sweep")
    };
    assert_eq!(age(29).await, 0);
    let count = before.len() as u64;
    assert_eq!((age(31).await, age(31).await), (count, 0));
    let after = events(&shop).await;
    assert_eq!(after.len(), before.len() + 1);
    for (id, status, payload) in &after {
        if id == "evt_waits" {
            assert_eq!(*payload, waits, "what is not settled yet is needed");
            continue;
        }
        for personal in PERSONAL {
            assert!(!payload.contains(personal), "{payload}");
        }
        let payload: Value = serde_json::from_str(payload).expect("JSON");
        assert_eq!(payload["id"].as_str(), Some(id.as_str()));
        let known = before.iter().find(|(known, ..)| known == id);
        assert_eq!(*status, known.expect("known").1, "{id}");
        assert!(payload["data"]["object"]["id"].is_string(), "{payload}");
    }
    // Stripe sends one again: it is known, and takes no effect.
    let (id, _, payload) = before
        .iter()
        .find(|(_, _, payload)| says_who(payload))
        .expect("one");
    let again: Value = serde_json::from_str(payload).expect("JSON");
    assert_eq!(shop.webhook(&again).await.status, 200);
    assert_eq!(events(&shop).await, after);
    let system = shop.admin(&[Scope::System]).await;
    let shown = system.get(&format!("/api/admin/events/{id}/")).await;
    assert!(shown.json["redacted_at"].is_string(), "{}", shown.text);
    shop.run_jobs().await;
    sqlx::query("delete from stripe_events where id = 'evt_waits'")
        .execute(&shop.db)
        .await
        .expect("a clean end");
}

#[tokio::test]
async fn events_of_the_other_mode_lose_it_as_well() {
    let shop = Shop::open_with(&[("STRIPE_EVENT_RETENTION_DAYS", "30")]).await;
    shop.leaves(Leftover::UnsettledMoney);
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let mut event = shop.event("checkout.session.completed").await;
    event["livemode"] = json!(true);
    assert_eq!(shop.webhook(&event).await.status, 200);
    let id = event["id"].as_str().expect("an id");
    let stands = async || {
        let events = events(&shop).await;
        let (_, status, payload) = events
            .into_iter()
            .find(|(known, ..)| known == id)
            .expect("known");
        (status, payload)
    };
    let (status, payload) = stands().await;
    assert_eq!(status, "wrong_mode");
    assert!(payload.contains("@"), "{payload}");
    let sweep = async || {
        spirit_beads::payments::redact_events(&shop.app)
            .await
            .expect("a sweep")
    };
    assert_eq!(sweep().await, 0);
    sqlx::query("update stripe_events set received_at = now() - interval '31 days'")
        .execute(&shop.db)
        .await
        .expect("some time");
    assert_eq!((sweep().await, sweep().await), (1, 0));
    let (status, payload) = stands().await;
    assert_eq!(status, "wrong_mode");
    assert!(!payload.contains("@"), "{payload}");
    // Nothing is left that could be applied.
    let system = shop.admin(&[Scope::System]).await;
    let again = system
        .post(&format!("/api/admin/events/{id}/run/"), &json!({}))
        .await;
    assert_eq!(
        (again.status, &again.json["code"]),
        (409, &json!("event_already_processed")),
        "{}",
        again.text
    );
    shop.run_jobs().await;
}

#[tokio::test]
async fn over_tls_every_answer_keeps_browsers_there() {
    let shop = Shop::open_with(&[
        ("PUBLIC_URL", "https://shop.example"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
    ])
    .await;
    shop.stocks("Sunrise", 1).await;
    let image = shop.keeps(&crate::support::images::jpeg(40, 30)).await;
    shop.run_jobs().await;
    for (method, path, status) in [
        (Method::GET, "/api/products/".to_owned(), 200),
        (Method::GET, "/api/products/none/".to_owned(), 404),
        (Method::GET, "/nowhere".to_owned(), 404),
        (Method::DELETE, "/api/orders/by-session/x/".to_owned(), 405),
        (Method::GET, "/api/admin/orders/".to_owned(), 401),
        (Method::POST, "/api/payments/webhook/".to_owned(), 400),
        (Method::GET, format!("/media/images/{image}/320.jpg"), 200),
        (Method::GET, "/media/none.jpg".to_owned(), 404),
        (Method::GET, "/admin/sign-in".to_owned(), 200),
        (Method::GET, "/admin/nowhere".to_owned(), 404),
        (Method::GET, "/api/docs/".to_owned(), 200),
        (Method::GET, "/api/openapi.json".to_owned(), 200),
        (Method::GET, "/healthz".to_owned(), 200),
    ] {
        for (scheme, told) in [
            (None, "max-age=31536000"),
            (Some("https"), "max-age=31536000"),
            (Some("http"), ""),
        ] {
            let headers: Vec<(&str, &str)> = scheme
                .into_iter()
                .map(|scheme| ("x-forwarded-proto", scheme))
                .collect();
            let answer = shop
                .client
                .send(method.clone(), &path, &headers, None::<String>)
                .await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text);
            let header = answer.header("strict-transport-security");
            assert_eq!(header, told, "{path} {scheme:?}");
        }
    }
    // Where nobody comes by TLS, or one who is not trusted says so, it would shut the shop.
    let plain = Shop::open_with(&[("TRUSTED_PROXIES", "192.0.2.1")]).await;
    let claims = [("x-forwarded-proto", "https")];
    let answer = plain
        .client
        .send(Method::GET, "/healthz", &claims, None::<String>)
        .await;
    assert_eq!(answer.header("strict-transport-security"), "");
}
