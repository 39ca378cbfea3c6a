//! The webhook's route: whom it believes, what it keeps, what it answers.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, FORMER_WEBHOOK_SECRET, Leftover, Shop, WEBHOOK_SECRET, card, session_of, sign,
};

const WEBHOOK: &str = "/api/payments/webhook/";

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

fn event(id: &str) -> String {
    json!({"id": id, "object": "event", "type": "customer.created", "data": {"object": {}}})
        .to_string()
}

async fn post(shop: &Shop, signature: &str, body: impl Into<reqwest::Body>) -> Answer {
    let headers = [("stripe-signature", signature)];
    shop.client
        .send(Method::POST, WEBHOOK, &headers, Some(body))
        .await
}

/// Every event kept: id, status and payload.
async fn inbox(shop: &Shop) -> Vec<(String, String, String)> {
    sqlx::query_as("select id, status, payload from stripe_events order by id")
        .fetch_all(&shop.db)
        .await
        .expect("the inbox")
}

#[tokio::test]
async fn only_what_stripe_signed_is_believed() {
    let shop = Shop::open().await;
    let body = event("evt_1");
    let good = sign(WEBHOOK_SECRET, now(), body.as_bytes());
    let (time, signature) = good.split_once(',').expect("two parts");
    let bare = shop
        .client
        .send(Method::POST, WEBHOOK, &[], Some(body.clone()))
        .await;
    assert_eq!(
        (bare.status, &bare.json["code"]),
        (400, &json!("invalid_signature"))
    );
    for (header, why) in [
        (String::new(), "empty"),
        ("junk".to_owned(), "junk"),
        (time.to_owned(), "no signature"),
        (signature.to_owned(), "no time"),
        (format!("{time},v1="), "an empty signature"),
        (format!("{time},v1=zz"), "not hexadecimal"),
        (good[..good.len() - 2].to_owned(), "cut short"),
        (format!("{good}00"), "too long"),
        (good.replace("v1=", "v0="), "another scheme"),
        (format!("t=0,{signature}"), "another time"),
        (format!("{time},v1={}", "0".repeat(64)), "zeros"),
        (
            sign("whsec_of_somebody_else", now(), body.as_bytes()),
            "another secret",
        ),
        (sign("", now(), body.as_bytes()), "no secret"),
        (
            sign(WEBHOOK_SECRET, now(), event("evt_2").as_bytes()),
            "another body",
        ),
        (
            sign(WEBHOOK_SECRET, now() - 301, body.as_bytes()),
            "too old",
        ),
        (sign(WEBHOOK_SECRET, 0, body.as_bytes()), "ancient"),
    ] {
        let answer = post(&shop, &header, body.clone()).await;
        assert_eq!(answer.status, 400, "{why}: {}", answer.text);
        assert_eq!(answer.json["code"], "invalid_signature", "{why}");
    }
    // One byte more, and the signature is another body's.
    assert_eq!(post(&shop, &good, format!("{body} ")).await.status, 400);
    assert!(inbox(&shop).await.is_empty());
    assert_eq!(post(&shop, &good, body).await.status, 200);
}

#[tokio::test]
async fn every_signature_and_every_secret_of_a_rotation_counts() {
    let shop = Shop::open().await;
    let part = |header: String| header.split_once(',').expect("two parts").1.to_owned();
    let zeros = format!("v1={}", "0".repeat(64));
    let signed = |secret: &str, time: i64, id: &str| sign(secret, time, event(id).as_bytes());
    let time = now();
    for (id, header) in [
        ("evt_current", signed(WEBHOOK_SECRET, time, "evt_current")),
        (
            "evt_former",
            signed(FORMER_WEBHOOK_SECRET, time, "evt_former"),
        ),
        (
            "evt_future",
            signed(WEBHOOK_SECRET, time + 86_400, "evt_future"),
        ),
        ("evt_slow", signed(WEBHOOK_SECRET, time - 290, "evt_slow")),
        (
            "evt_several",
            format!(
                "t={time},{zeros},v0=x,{}",
                part(signed(WEBHOOK_SECRET, time, "evt_several"))
            ),
        ),
        (
            "evt_both",
            format!(
                "t={time},{},{}",
                part(signed("whsec_next", time, "evt_both")),
                part(signed(FORMER_WEBHOOK_SECRET, time, "evt_both"))
            ),
        ),
    ] {
        let answer = post(&shop, &header, event(id)).await;
        assert_eq!(answer.status, 200, "{id}: {}", answer.text);
    }
    assert_eq!(inbox(&shop).await.len(), 6);
}

#[tokio::test]
async fn a_signed_payload_that_is_no_event_is_400() {
    let shop = Shop::open().await;
    for (body, code) in [
        (b"[]".as_slice(), "invalid"),
        (b"[{\"id\":\"evt_1\",\"type\":\"a\"}]", "invalid"),
        (b"{}", "invalid"),
        (b"null", "invalid"),
        (b"7", "invalid"),
    ] {
        let answer = post(&shop, &sign(WEBHOOK_SECRET, now(), body), body.to_vec()).await;
        let shown = String::from_utf8_lossy(body);
        assert_eq!(
            (answer.status, &answer.json["code"]),
            (400, &json!(code)),
            "{shown}"
        );
    }
    assert!(inbox(&shop).await.is_empty());
}

/// Stripe signed it, so it may be a payment: after a 4xx it would count as delivered.
#[tokio::test]
async fn a_signed_payload_that_cannot_be_read_is_kept_as_it_came() {
    let shop = Shop::open().await;
    for body in [b"hello".as_slice(), b"{\"id\":\"evt_1\"", b"\xff\xfe {\0"] {
        // Unsigned it is nobody's.
        assert_eq!(post(&shop, "", body.to_vec()).await.status, 400);
        for _ in 0..2 {
            let answer = post(&shop, &sign(WEBHOOK_SECRET, now(), body), body.to_vec()).await;
            assert_eq!(
                (answer.status, &answer.json["code"]),
                (503, &json!("event_not_processed")),
                "{}",
                answer.text
            );
        }
    }
    let kept = async || -> Vec<(String, String, String)> {
        sqlx::query_as("select type, status, payload from stripe_events order by received_at")
            .fetch_all(&shop.db)
            .await
            .expect("the inbox")
    };
    let row = |payload: &str, status: &str| {
        (
            "unreadable".to_owned(),
            status.to_owned(),
            payload.to_owned(),
        )
    };
    let payloads = ["hello", "{\"id\":\"evt_1\"", "\\ufffd\\ufffd {\\u0000"];
    assert_eq!(kept().await, payloads.map(|payload| row(payload, "failed")));
    let done = shop.reconcile().await;
    assert_eq!((done.processed, done.failed), (0, 3));
    // What it says of people is forgotten like any other event's.
    sqlx::query("update stripe_events set received_at = received_at - interval '1 year'")
        .execute(&shop.db)
        .await
        .expect("some time");
    assert_eq!(
        spirit_beads::payments::redact_events(&shop.app)
            .await
            .expect("a sweep"),
        3
    );
    assert_eq!(
        kept().await,
        [(); 3].map(|()| row("{\"data\":{\"object\":{}}}", "ignored"))
    );
    assert_eq!(shop.reconcile().await.failed, 0);
}

/// A payment whose customer's name, or metadata, no strict reader of JSON takes.
#[tokio::test]
async fn a_payment_with_odd_text_in_it_is_taken() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 5).await;
    for odd in [
        b"\\ud800".to_vec(),
        b"\\udc00 \\ud83d\\ude00".to_vec(),
        b"\xff\xfe".to_vec(),
        b"a\x01b".to_vec(),
        [
            b"\", \"deep\": ".to_vec(),
            b"[".repeat(3_000),
            b"]".repeat(3_000),
            b", \"x\": \"".to_vec(),
        ]
        .concat(),
    ] {
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        let event = shop.event("checkout.session.completed").await;
        let body = odd_event(&event, &odd);
        let answer = post(&shop, &sign(WEBHOOK_SECRET, now(), &body), body.clone()).await;
        assert_eq!(
            answer.status,
            200,
            "{}: {}",
            String::from_utf8_lossy(&odd),
            answer.text
        );
        assert_eq!(
            shop.status_of(&session).await,
            "paid",
            "{}",
            String::from_utf8_lossy(&odd)
        );
        let (kept, payload): (i64, String) =
            sqlx::query_as("select count(*), max(payload) from stripe_events where id = $1 and status = 'processed'")
                .bind(event["id"].as_str())
                .fetch_one(&shop.db)
                .await
                .expect("the inbox");
        assert_eq!(
            (kept, payload),
            (1, String::from_utf8_lossy(&body).into_owned())
        );
    }
    shop.deliver().await;
    shop.run_jobs().await;
    shop.audit().await;
}

/// An event with these bytes in its customer's name.
pub fn odd_event(event: &Value, odd: &[u8]) -> Vec<u8> {
    let mut event = event.clone();
    event["data"]["object"]["customer_details"]["name"] = json!("@odd@");
    let text = event.to_string();
    let (before, after) = text.split_once("@odd@").expect("a name");
    [before.as_bytes(), odd, after.as_bytes()].concat()
}

#[tokio::test]
async fn a_body_over_two_and_a_half_megabytes_is_400() {
    let shop = Shop::open().await;
    let sized = |size: usize| {
        let mut body = event("evt_large");
        body.push_str(&" ".repeat(size - body.len()));
        body
    };
    let large = sized(2_621_441);
    let answer = post(&shop, &sign(WEBHOOK_SECRET, now(), large.as_bytes()), large).await;
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (400, &json!("payload_too_large"))
    );
    assert!(inbox(&shop).await.is_empty());
    let fitting = sized(2_621_440);
    let answer = post(
        &shop,
        &sign(WEBHOOK_SECRET, now(), fitting.as_bytes()),
        fitting,
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn any_content_type_is_taken_and_get_is_405() {
    let shop = Shop::open().await;
    for (at, kind) in [
        "application/json; charset=utf-8",
        "text/plain",
        "application/x-www-form-urlencoded",
        "x",
        "",
    ]
    .iter()
    .enumerate()
    {
        let body = event(&format!("evt_{at}"));
        let signature = sign(WEBHOOK_SECRET, now(), body.as_bytes());
        let headers = [
            ("stripe-signature", signature.as_str()),
            ("content-type", kind),
        ];
        let answer = shop
            .client
            .send(Method::POST, WEBHOOK, &headers, Some(body))
            .await;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text);
    }
    // Without its last slash, too, and not by a redirect that would lose the body.
    let body = event("evt_bare");
    let signature = sign(WEBHOOK_SECRET, now(), body.as_bytes());
    let headers = [("stripe-signature", signature.as_str())];
    let answer = shop
        .client
        .send(
            Method::POST,
            WEBHOOK.trim_end_matches('/'),
            &headers,
            Some(body),
        )
        .await;
    assert_eq!(answer.status, 200);
    let answer = shop.client.get(WEBHOOK).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    assert_eq!(answer.json["detail"], "Method \"GET\" not allowed.");
}

#[tokio::test]
async fn the_event_is_kept_as_it_was_sent() {
    let shop = Shop::open().await;
    // Order, spaces, escapes and numbers that a JSON type would not give back.
    let body = "{ \"type\":\"a.b\",\t\"id\":\"evt_1\", \"n\":1.0e2, \"n\":1, \"s\":\"\\u0000\\u00e9\" ,\"created\":1700000000}\n";
    let answer = post(&shop, &sign(WEBHOOK_SECRET, now(), body.as_bytes()), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let kept = inbox(&shop).await;
    assert_eq!(
        kept,
        [("evt_1".to_owned(), "ignored".to_owned(), body.to_owned())]
    );
    // A second delivery is one row.
    assert_eq!(
        post(&shop, &sign(WEBHOOK_SECRET, now(), body.as_bytes()), body)
            .await
            .status,
        200
    );
    assert_eq!(inbox(&shop).await.len(), 1);
}

#[tokio::test]
async fn sessions_of_other_shops_are_acknowledged() {
    let shop = Shop::open().await;
    shop.leaves(Leftover::UnsettledMoney);
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let events = shop.stripe.events().await.expect("the events");
    let completed = events
        .iter()
        .find(|event| event["type"] == "checkout.session.completed")
        .expect("a completed session");
    for (at, reference) in [
        json!(null),
        json!("order-1"),
        json!("018f3c2e-0000-7000-8000-000000000000"),
        json!("\u{0}"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut foreign = completed.clone();
        foreign["id"] = json!(format!("evt_foreign_{at}"));
        let object: &mut Value = &mut foreign["data"]["object"];
        object["id"] = json!(format!("cs_foreign_{at}"));
        object["client_reference_id"] = reference;
        object["metadata"] = json!(null);
        let answer = shop.webhook(&foreign).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert!(
        inbox(&shop)
            .await
            .iter()
            .all(|(_, status, _)| status == "ignored")
    );
    assert_eq!(shop.stock(&piece).await, (1, 1));
    assert_eq!(shop.status_of(&session).await, "pending");
}

/// A database that refuses texts which match a pattern, as one of another encoding does.
async fn refuse_payloads(shop: &Shop, pattern: &str) {
    let sql = format!(
        "create or replace function refuse() returns trigger language plpgsql as $$
         begin
             if new.payload ~ '{pattern}' then
                 raise exception 'character has no equivalent' using errcode = '22P05';
             end if;
             return new;
         end $$;
         create or replace trigger refuse before insert on stripe_events for each row execute function refuse()"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&shop.db)
        .await
        .expect("a trigger");
}

#[tokio::test]
async fn a_value_that_the_database_cannot_hold_is_our_fault_and_the_event_is_kept() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let mut event = shop.event("checkout.session.completed").await;
    event["data"]["object"]["customer_details"]["name"] = json!("山田太郎 🐦");
    refuse_payloads(&shop, "[^ -~]").await;
    for _ in 0..2 {
        let answer = shop.webhook(&event).await;
        assert_eq!(
            (answer.status, &answer.json["code"]),
            (503, &json!("event_not_processed")),
            "{}",
            answer.text
        );
    }
    let kept = inbox(&shop).await;
    let [(id, status, payload)] = &kept[..] else {
        panic!("{kept:?}");
    };
    assert_eq!(
        (id.as_str(), status.as_str()),
        (event["id"].as_str().expect("an id"), "failed")
    );
    let kept: Value = serde_json::from_str(payload).expect("JSON");
    assert_eq!(kept, event, "it says the same");
    // What is kept is processed once it can be.
    shop.reconcile().await;
    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(shop.order(&session).await["customer_name"], "山田太郎 🐦");
    shop.audit().await;
}

#[tokio::test]
async fn bytes_that_are_no_utf8_do_not_lose_a_verified_event() {
    let shop = Shop::open().await;
    let body = b"{\"id\":\"evt_1\",\"type\":\"customer.created\",\"data\":{\"object\":{\"name\":\"Ren\xe9\"}}}";
    let answer = post(&shop, &sign(WEBHOOK_SECRET, now(), body), body.to_vec()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let [(id, _, payload)] = &inbox(&shop).await[..] else {
        panic!("one event");
    };
    assert_eq!(id, "evt_1");
    assert!(payload.contains("Ren\u{fffd}"), "{payload}");
}

#[tokio::test]
async fn reconciliation_goes_on_past_an_event_that_cannot_be_stored_and_names_it() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        sessions.push(session);
    }
    // Nothing of it can be stored, however it is written.
    refuse_payloads(
        &shop,
        &format!(
            "checkout.session.completed.*{0}|{0}.*checkout.session.completed",
            sessions[1]
        ),
    )
    .await;
    let done = shop.reconcile().await;
    assert_eq!(done.unstored.len(), 1, "{done}");
    assert!(done.to_string().contains(&done.unstored[0]), "{done}");
    for (session, status) in sessions.iter().zip(["paid", "pending", "paid"]) {
        assert_eq!(shop.status_of(session).await, status);
    }
    // It is fetched again, until it can be.
    assert_eq!(shop.reconcile().await.unstored, done.unstored);
    sqlx::query("drop trigger refuse on stripe_events")
        .execute(&shop.db)
        .await
        .expect("no trigger");
    assert!(shop.reconcile().await.unstored.is_empty());
    assert_eq!(shop.status_of(&sessions[1]).await, "paid");
    shop.audit().await;
}
