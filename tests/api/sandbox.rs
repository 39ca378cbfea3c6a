//! Stripe's stand-in keeps Stripe's rules, or tests against it would prove nothing.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use stripe_sandbox::{Fault, Payment};

use crate::support::{Answer, Client, STRIPE_KEY, Shop, card, delayed, form_of, session_of};

const SESSIONS: &str = "/v1/checkout/sessions";

/// A caller of the stand-in's own API.
struct Caller(Client);

impl Caller {
    fn of(shop: &Shop) -> Caller {
        let address = shop.app.config.stripe_api_url.as_deref().expect("set");
        Caller(Client::to(address).with_token(STRIPE_KEY))
    }

    async fn post(&self, path: &str, form: &[(&str, &str)], key: Option<&str>) -> Answer {
        self.try_post(path, form, key, Duration::from_secs(60))
            .await
            .expect("an answer")
    }

    async fn try_post(
        &self,
        path: &str,
        form: &[(&str, &str)],
        key: Option<&str>,
        wait: Duration,
    ) -> Option<Answer> {
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let sending = self.0.try_send(Method::POST, path, &headers, Some(body));
        tokio::time::timeout(wait, sending).await.ok()?.ok()
    }

    async fn session(&self) -> String {
        let answer = self.post(SESSIONS, &basic(), None).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json["id"].as_str().expect("an id").to_owned()
    }

    async fn count(&self) -> usize {
        let list = self.0.get("/v1/checkout/sessions?limit=100").await.json;
        list["data"].as_array().expect("a list").len()
    }
}

fn basic() -> Vec<(&'static str, &'static str)> {
    vec![
        ("mode", "payment"),
        ("success_url", "http://shop.test/thanks"),
        ("line_items[0][quantity]", "1"),
        ("line_items[0][price_data][currency]", "usd"),
        ("line_items[0][price_data][unit_amount]", "4800"),
        ("line_items[0][price_data][product_data][name]", "Sun"),
    ]
}

fn with(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut form = basic();
    for (name, value) in changes {
        form.retain(|(known, _)| known != name);
        if *value != "-" {
            form.push((name, value));
        }
    }
    form
}

/// The types of all events, oldest first.
async fn types(shop: &Shop) -> Vec<String> {
    let events = shop.stripe.events().await.expect("the events");
    events
        .iter()
        .map(|event| event["type"].as_str().expect("a type").to_owned())
        .collect()
}

#[tokio::test]
async fn a_key_gives_the_same_answer_and_no_other_request_may_use_it() {
    let shop = Shop::open().await;
    let stripe = Caller::of(&shop);
    let first = stripe.post(SESSIONS, &basic(), Some("k1")).await;
    let again = stripe.post(SESSIONS, &basic(), Some("k1")).await;
    assert_eq!((again.status, &again.json["id"]), (200, &first.json["id"]));
    assert_eq!(again.header("idempotent-replayed"), "true");
    for (path, form) in [
        (SESSIONS, with(&[("client_reference_id", "x")])),
        ("/v1/products", vec![("name", "x")]),
    ] {
        let other = stripe.post(path, &form, Some("k1")).await;
        assert_eq!(
            (other.status, &other.json["error"]["type"]),
            (400, &json!("idempotency_error"))
        );
    }
    // A parameter refused is not kept under the key; a 500 is.
    assert_eq!(
        stripe
            .post(SESSIONS, &with(&[("mode", "-")]), Some("k2"))
            .await
            .status,
        400
    );
    assert_eq!(
        stripe.post(SESSIONS, &basic(), Some("k2")).await.status,
        200
    );
    shop.stripe
        .fail_next("POST /v1/checkout/sessions", Fault::ServerError, 1);
    for replayed in ["", "true"] {
        let failed = stripe.post(SESSIONS, &basic(), Some("k3")).await;
        assert_eq!(
            (failed.status, failed.header("idempotent-replayed")),
            (500, replayed)
        );
    }
    shop.stripe.fail_next("*", Fault::RateLimited, 1);
    assert_eq!(
        stripe.post(SESSIONS, &basic(), Some("k4")).await.status,
        429
    );
    assert_eq!(
        stripe.post(SESSIONS, &basic(), Some("k4")).await.status,
        200
    );
    assert_eq!(stripe.count().await, 3);
}

#[tokio::test]
async fn a_fault_does_what_its_name_says_and_the_key_tells_afterwards() {
    let shop = Shop::open().await;
    let stripe = Caller::of(&shop);
    for (fault, status, kind) in [
        (Fault::CardError402, 402, json!("card_error")),
        (Fault::Unauthorized, 401, json!("invalid_request_error")),
        (Fault::BadGateway, 502, Value::Null),
        (
            Fault::Refused {
                code: "x".into(),
                message: "No.".into(),
                param: None,
            },
            400,
            json!("invalid_request_error"),
        ),
    ] {
        shop.stripe.fail_next("*", fault, 1);
        let answer = stripe.post(SESSIONS, &basic(), None).await;
        assert_eq!(
            (answer.status, &answer.json["error"]["type"]),
            (status, &kind)
        );
    }
    assert_eq!(stripe.count().await, 0);

    // Done, though the caller was told otherwise; or not done, and nobody knows.
    for (key, fault, made) in [
        ("told", Fault::ActThenServerError, 1),
        ("drop", Fault::Drop, 0),
        ("act, drop", Fault::ActThenDrop, 1),
        ("hang", Fault::Hang, 0),
        ("act, hang", Fault::ActThenHang, 1),
    ] {
        let before = stripe.count().await;
        shop.stripe
            .fail_next("POST /v1/checkout/sessions", fault, 1);
        let wait = Duration::from_millis(300);
        let answer = stripe.try_post(SESSIONS, &basic(), Some(key), wait).await;
        assert!(answer.is_none_or(|answer| answer.status == 500), "{key}");
        assert_eq!(stripe.count().await, before + made, "{key}");
        let answer = stripe.post(SESSIONS, &basic(), Some(key)).await;
        assert_eq!(
            (answer.status, stripe.count().await),
            (200, before + 1),
            "{key}"
        );
    }

    // While the first is at work, a second under its key is turned away.
    shop.stripe
        .fail_next("*", Fault::Slow(Duration::from_millis(300)), 1);
    let form = basic();
    let (slow, busy) = tokio::join!(stripe.post(SESSIONS, &form, Some("slow")), async {
        let noted = || {
            shop.stripe
                .requests()
                .iter()
                .any(|request| request.idempotency_key.as_deref() == Some("slow"))
        };
        while !noted() {
            tokio::task::yield_now().await;
        }
        stripe.post(SESSIONS, &form, Some("slow")).await
    });
    let (slow, busy) = if slow.status == 200 {
        (slow, busy)
    } else {
        (busy, slow)
    };
    assert_eq!((slow.status, busy.status), (200, 409));
    assert_eq!(busy.json["error"]["code"], "idempotency_key_in_use");
}

#[tokio::test]
async fn parameters_are_refused_as_stripe_refuses_them() {
    let shop = Shop::open().await;
    let stripe = Caller::of(&shop);
    for (change, code, param) in [
        (("shop", "1"), json!("parameter_unknown"), "shop"),
        (("mode", "-"), json!("parameter_missing"), "mode"),
        (
            ("success_url", "-"),
            json!("parameter_missing"),
            "success_url",
        ),
        (
            ("success_url", "javascript:alert(1)"),
            json!("url_invalid"),
            "success_url",
        ),
        (("expires_at", "1"), Value::Null, "expires_at"),
        (
            ("expires_at", "x"),
            json!("parameter_invalid_integer"),
            "expires_at",
        ),
        (
            ("line_items[0][quantity]", "0"),
            json!("parameter_invalid_integer"),
            "line_items[0][quantity]",
        ),
        (
            ("line_items[0][price_data][unit_amount]", "40"),
            json!("amount_too_small"),
            "line_items",
        ),
        (
            ("line_items[1][price]", "price_no"),
            json!("resource_missing"),
            "line_items[1][price]",
        ),
    ] {
        let answer = stripe
            .post(
                SESSIONS,
                &with(&[
                    change,
                    (
                        "line_items[1][quantity]",
                        if change.1 == "price_no" { "1" } else { "-" },
                    ),
                ]),
                None,
            )
            .await;
        let error = &answer.json["error"];
        assert_eq!(
            (answer.status, &error["code"], &error["param"]),
            (400, &code, &json!(param)),
            "{error}"
        );
    }
    assert_eq!(stripe.0.get("/v1/products/prod_no").await.status, 404);
    assert_eq!(stripe.0.get("/v1/nothing").await.status, 404);
    assert_eq!(
        stripe
            .0
            .with_token("sk_other")
            .get("/v1/events")
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_default_price_is_not_archived_and_an_archived_one_not_sold() {
    let shop = Shop::open().await;
    let stripe = Caller::of(&shop);
    let product = stripe
        .post("/v1/products", &[("name", "Sun")], None)
        .await
        .json;
    let id = product["id"].as_str().expect("an id");
    let mut prices = Vec::new();
    for amount in ["900", "800"] {
        let form = [
            ("product", id),
            ("currency", "usd"),
            ("unit_amount", amount),
        ];
        let price = stripe.post("/v1/prices", &form, None).await.json;
        prices.push(price["id"].as_str().expect("an id").to_owned());
    }
    let path = format!("/v1/prices/{}", prices[0]);
    let product = format!("/v1/products/{id}");
    let sell = async |price: &str| {
        let form = [
            ("mode", "payment"),
            ("success_url", "http://shop.test/"),
            ("line_items[0][price]", price),
            ("line_items[0][quantity]", "1"),
        ];
        stripe.post(SESSIONS, &form, None).await.status
    };
    stripe
        .post(&product, &[("default_price", &prices[0])], None)
        .await;
    assert_eq!(sell(&prices[0]).await, 200);
    assert_eq!(
        stripe
            .post(&path, &[("active", "false")], None)
            .await
            .status,
        400
    );
    let change = stripe.post(&path, &[("unit_amount", "5")], None).await;
    assert_eq!(change.json["error"]["code"], "parameter_unknown");
    stripe
        .post(&product, &[("default_price", &prices[1])], None)
        .await;
    assert_eq!(
        stripe
            .post(&path, &[("active", "false")], None)
            .await
            .status,
        200
    );
    assert_eq!((sell(&prices[0]).await, sell(&prices[1]).await), (400, 200));
    stripe.post(&product, &[("active", "false")], None).await;
    assert_eq!(sell(&prices[1]).await, 400);
}

#[tokio::test]
async fn paying_and_expiring_at_once_has_one_winner() {
    let shop = Shop::open().await;
    let stripe = Caller::of(&shop);
    for round in 0..12 {
        let session = stripe.session().await;
        let path = format!("{SESSIONS}/{session}/expire");
        let expiring = async {
            // Each has its chance to be first.
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            stripe.post(&path, &[], None).await
        };
        let (paid, expired) = tokio::join!(shop.stripe.pay(&session, card()), expiring);
        assert!(
            paid.is_ok() != (expired.status == 200),
            "{paid:?} {expired:?}"
        );
        let now = stripe.0.get(&format!("{SESSIONS}/{session}")).await.json;
        assert_eq!(
            now["status"],
            if paid.is_ok() { "complete" } else { "expired" }
        );
    }
    let ends = types(&shop).await;
    assert_eq!(
        ends.iter()
            .filter(|kind| kind.starts_with("checkout.session."))
            .count(),
        12
    );
}

#[tokio::test]
async fn money_goes_back_and_forth() {
    let shop = Shop::open().await;
    let stripe = Caller::of(&shop);
    let session = stripe.session().await;
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let look = async |session: &str| stripe.0.get(&format!("{SESSIONS}/{session}")).await.json;
    let intent = look(&session).await["payment_intent"]
        .as_str()
        .expect("an intent")
        .to_owned();
    let refund = async |amount: &str| {
        stripe
            .post(
                "/v1/refunds",
                &[("payment_intent", &intent), ("amount", amount)],
                None,
            )
            .await
    };
    let part = shop
        .stripe
        .refund(&intent, Some(300))
        .await
        .expect("a refund");
    assert_eq!(refund("4501").await.status, 400, "more than is left");
    assert_eq!(refund("4500").await.status, 200);
    assert_eq!(
        refund("1").await.json["error"]["code"],
        "charge_already_refunded"
    );
    shop.stripe
        .fail_refund(&part)
        .await
        .expect("the bank says no");
    assert!(shop.stripe.fail_refund(&part).await.is_err());
    shop.stripe.dispute(&intent).await.expect("a dispute");
    assert_eq!(refund("300").await.json["error"]["code"], "charge_disputed");
    shop.stripe.close_dispute(&intent, true).await.expect("won");
    assert_eq!(refund("300").await.status, 200);
    assert_eq!(
        types(&shop).await,
        [
            "charge.succeeded",
            "payment_intent.succeeded",
            "checkout.session.completed",
            "refund.created",
            "charge.refunded",
            "refund.created",
            "charge.refunded",
            "refund.updated",
            "refund.failed",
            "charge.refund.updated",
            "charge.dispute.created",
            "charge.dispute.funds_withdrawn",
            "charge.dispute.closed",
            "charge.dispute.funds_reinstated",
            "refund.created",
            "charge.refunded",
        ]
    );

    let session = stripe.session().await;
    let Payment::Card(buyer) = card() else {
        unreachable!("a card is one")
    };
    shop.stripe
        .pay(&session, Payment::Declined(buyer))
        .await
        .expect("an attempt");
    assert_eq!(look(&session).await["status"], "open");
    shop.stripe
        .pay(&session, delayed())
        .await
        .expect("a payment");
    let waiting = look(&session).await;
    assert_eq!(
        (&waiting["status"], &waiting["payment_status"]),
        (&json!("complete"), &json!("unpaid"))
    );
    shop.stripe
        .settle_delayed(&session, true)
        .await
        .expect("paid");
    assert!(shop.stripe.settle_delayed(&session, false).await.is_err());
    assert_eq!(look(&session).await["payment_status"], "paid");
}

#[tokio::test]
async fn the_hosted_page_works_without_a_script() {
    let shop = Shop::open().await;
    let piece = shop.stocks("<b>Sunrise", 3).await;
    let shopper = shop.shopper();
    let session = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    let path = format!("/sandbox/pay/{session}");
    let page = shopper.get(&path).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("total $52.00") && page.text.contains("width=device-width"));
    assert!(!page.text.contains("<b>Sun") && !page.text.contains("<script"));
    let (action, fields) = form_of(&page.text);
    assert_eq!(action, path);
    let submit = async |changes: &[(&str, &str)]| {
        let mut fields = fields.clone();
        for (name, value) in changes {
            fields.retain(|(known, _)| known != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        shopper.submit(&action, &fields).await
    };
    let wrong = submit(&[
        ("how", "card"),
        ("email", "\"><script>"),
        ("name", ""),
        ("country", "XX"),
    ])
    .await;
    assert_eq!(wrong.status, 422);
    for field in ["email-error", "name-error", "country-error"] {
        assert!(wrong.text.contains(field), "{field}");
    }
    assert!(!wrong.text.contains("<script>"));
    assert_eq!(submit(&[("how", "declined")]).await.status, 402);
    // A second click follows the first.
    for _ in 0..2 {
        let paid = submit(&[("how", "card"), ("city", "Salem")]).await;
        assert_eq!(paid.status, 303);
        let target = format!("http://localhost:8080/success?session_id={session}");
        assert_eq!(paid.header("location"), target);
    }
    assert!(shopper.get(&path).await.text.contains("All done"));
    shop.deliver().await;
    assert_eq!(shop.status_of(&session).await, "paid");
    let city: Value = sqlx::query_scalar("select shipping_address -> 'city' from orders")
        .fetch_one(&shop.db)
        .await
        .expect("the order");
    assert_eq!(city, "Salem");

    for odd in ["cs_nothing", "%00"] {
        assert_eq!(
            shopper.get(&format!("/sandbox/pay/{odd}")).await.status,
            404,
            "{odd}"
        );
    }
    let board = shopper.get("/sandbox/").await;
    assert!(board.text.contains(&session) && board.text.contains("checkout.session.completed"));
}

#[tokio::test]
async fn a_webhook_is_delivered_until_it_is_taken_and_by_one_of_two() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    // The shop cannot do its part now, and says so.
    sqlx::query("alter table payments rename to payments_away")
        .execute(&shop.db)
        .await
        .expect("away");
    let taken = shop.deliver().await;
    assert_eq!(
        (taken, shop.status_of(&session).await.as_str()),
        (2, "pending")
    );
    assert_eq!(shop.deliver().await, 0, "not due yet");
    sqlx::query("alter table payments_away rename to payments")
        .execute(&shop.db)
        .await
        .expect("back");
    sqlx::query("update stripe_sandbox.deliveries set due = now()")
        .execute(&shop.db)
        .await
        .expect("due");
    let (one, two) = tokio::join!(shop.deliver(), shop.deliver());
    assert_eq!(one + two, 1);
    assert_eq!(shop.status_of(&session).await, "paid");
    let events = shop.stripe.events().await.expect("the events");
    assert!(events.iter().all(|event| event["pending_webhooks"] == 0));
    shop.run_jobs().await;
    shop.audit().await;
}
