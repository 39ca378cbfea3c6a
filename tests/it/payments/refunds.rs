//! Refunds that we owe are made in the end (P2), are told once, and are what Stripe says they are, in whatever order it
//! says so.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use stripe_sandbox::Fault;

use crate::admin::{Browser, OWNER, STAFF, signed_in, staffed};
use crate::support::{Answer, Client, Shop, card, form_of, session_of};

const REFUND: &str = "POST /v1/refunds";
const HOUR: Duration = Duration::from_secs(3600);
const ORDER: &str = "/api/admin/orders/SB-1001/";

/// A shop whose first order, SB-1001 over $52.00, is paid; with its session and somebody who may refund it.
async fn one_sold() -> (Shop, String, Client) {
    let shop = Shop::open().await;
    let session = shop.sells_only("Sunrise").await;
    let admin = shop.refunder().await;
    (shop, session, admin)
}

fn refused(code: &str) -> Fault {
    Fault::Refused {
        code: code.to_owned(),
        message: "Not now.".to_owned(),
        param: None,
    }
}

impl Shop {
    async fn refunder(&self) -> Client {
        self.admin(&[
            Scope::OrdersRead,
            Scope::OrdersWrite,
            Scope::CustomOrders,
            Scope::Refunds,
        ])
        .await
    }

    /// Sells the only piece of this name; returns the session.
    async fn sells_only(&self, name: &str) -> String {
        let piece = self.stocks(name, 1).await;
        let session = session_of(&self.client.check_out(&[(&piece, 1)]).await);
        self.stripe.pay(&session, card()).await.expect("a payment");
        self.hears().await;
        assert_eq!(self.status_of(&session).await, "paid");
        session
    }

    /// Hears of all that Stripe has to tell, and does what follows.
    async fn hears(&self) {
        self.run_jobs().await;
        self.deliver().await;
        self.run_jobs().await;
    }

    async fn review_text(&self, session: &str) -> String {
        let order = self.order(session).await;
        order["review_items"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The idempotency keys of the requests for refunds, oldest first, each once.
    fn refund_keys(&self) -> Vec<String> {
        let requests = self.stripe.requests();
        let refunds = requests
            .iter()
            .filter(|request| request.operation == REFUND);
        let mut keys: Vec<String> = refunds
            .map(|request| request.idempotency_key.clone().expect("a key"))
            .collect();
        keys.dedup();
        keys
    }
}

async fn act(admin: &Client, path: &str) -> Answer {
    admin.send(Method::POST, path, &[], None::<String>).await
}

/// What the timeline says of refunds.
async fn told(admin: &Client, path: &str) -> Vec<(String, String)> {
    let view = admin.get(path).await.json;
    let entries = view["timeline"].as_array().expect("a timeline").iter();
    entries
        .filter(|entry| entry["kind"] == "refund")
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            (text("actor"), text("note"))
        })
        .collect()
}

async fn money(admin: &Client) -> Value {
    admin.get(&format!("{ORDER}payments/")).await.json
}

#[tokio::test]
async fn a_refund_that_stripe_does_not_take_now_stays_planned_until_it_does() {
    let (shop, session, admin) = one_sold().await;
    let faults = [
        (Fault::CardError402, "402"),
        (Fault::RateLimited, "429"),
        (refused(""), "Not now."),
        (refused("insufficient_funds"), "insufficient_funds"),
        (Fault::Unauthorized, "401"),
        (Fault::BadGateway, "unknown"),
        (Fault::Drop, "unknown"),
    ];
    for (made, (fault, why)) in faults.into_iter().enumerate() {
        shop.stripe.fail_next(REFUND, fault, 100);
        let body = json!({"amount": 500, "reason": format!("round {made}")});
        let asked = admin.post(&format!("{ORDER}refund/"), &body).await;
        assert_eq!(asked.status, 202, "{}", asked.text);
        for _ in 0..3 {
            let left = shop.run_failing_jobs().await;
            assert_eq!(left.len(), 1, "{left:?}");
            assert_eq!(left[0].0["job"], "send_refund");
            shop.hurry_jobs().await;
        }
        let refund = money(&admin).await["refunds"][made].clone();
        assert_eq!(refund["state"], "planned", "{why}: {refund}");
        assert_eq!(refund["attempts"], 3);
        assert!(refund["next_try_at"].is_string(), "{refund}");
        let error = refund["last_error"].as_str().expect("why");
        assert!(error.contains(why), "{error}");
        assert_eq!(
            shop.review_text(&session).await,
            "",
            "nobody has to do anything"
        );
        shop.stripe.clear_faults();
        shop.hears().await;
        let refund = money(&admin).await["refunds"][made].clone();
        assert_eq!(refund["state"], "succeeded", "{why}: {refund}");
        assert_eq!(refund["last_error"], Value::Null);
        assert_eq!(shop.at_stripe("refund").await.len(), made + 1, "{why}");
    }
    assert_eq!(shop.order(&session).await["refunded"], 3500);
    assert_eq!(told(&admin, ORDER).await.len(), 7);
    assert_eq!(shop.emails_of("order_refunded").await, 7);
    shop.audit().await;
}

#[tokio::test]
async fn a_failure_that_stripe_keeps_under_a_key_does_not_hold_a_refund_for_a_day() {
    let (shop, session, admin) = one_sold().await;
    let retry = async || {
        let id = money(&admin).await["refunds"][0]["id"].clone();
        let path = format!("/api/admin/refunds/{}/retry/", id.as_str().expect("an id"));
        assert_eq!(act(&admin, &path).await.status, 202);
    };
    // Nothing is done, and the answer is repeated under its key from now on; after it the line drops.
    shop.stripe.fail_next(REFUND, Fault::ServerError, 1);
    shop.stripe.fail_next(REFUND, Fault::Drop, 2);
    admin.post(&format!("{ORDER}refund/"), &json!({})).await;
    assert_eq!(shop.run_failing_jobs().await.len(), 1);
    // The line dropped last: Stripe may be at it, so the same key is asked again, and its failure is heard.
    retry().await;
    assert_eq!(shop.run_failing_jobs().await.len(), 1);
    assert_eq!(shop.refund_keys().len(), 1);
    retry().await;
    shop.hears().await;
    assert_eq!(shop.refund_keys().len(), 2);
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.status_of(&session).await, "refunded");
    shop.audit().await;
}

#[tokio::test]
async fn a_refund_that_was_made_although_stripe_failed_is_made_once() {
    for is_list_down in [false, true] {
        let (shop, session, admin) = one_sold().await;
        shop.stripe.fail_next(REFUND, Fault::ActThenServerError, 3);
        if is_list_down {
            shop.stripe
                .fail_next("GET /v1/refunds", Fault::ServerError, 3);
        }
        let body = json!({"amount": 2000});
        admin.post(&format!("{ORDER}refund/"), &body).await;
        let left = shop.run_failing_jobs().await;
        assert_eq!(left.len(), usize::from(is_list_down), "{left:?}");
        shop.hurry_jobs().await;
        shop.hears().await;
        assert_eq!(shop.at_stripe("refund").await.len(), 1);
        assert_eq!(shop.refund_keys().len(), 1);
        assert_eq!(shop.order(&session).await["refunded"], 2000);
        shop.audit().await;
    }
}

#[tokio::test]
async fn a_refund_without_an_answer_keeps_its_key() {
    let (shop, session, admin) = one_sold().await;
    admin.post(&format!("{ORDER}refund/"), &json!({})).await;
    for fault in [Fault::Drop, Fault::BadGateway, Fault::ActThenDrop] {
        shop.stripe.fail_next(REFUND, fault, 3);
        shop.run_failing_jobs().await;
        shop.stripe.clear_faults();
        shop.hurry_jobs().await;
    }
    shop.hears().await;
    assert_eq!(shop.refund_keys().len(), 1);
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.status_of(&session).await, "refunded");
    shop.audit().await;
}

#[tokio::test]
async fn the_same_refund_with_something_else_in_it_is_refused() {
    let (shop, _, admin) = one_sold().await;
    let id = "0193a000-0000-7000-8000-00000000000b";
    let path = format!("{ORDER}refund/");
    let asked = json!({"id": id, "amount": 2000, "reason": "Late"});
    for _ in 0..2 {
        assert_eq!(admin.post(&path, &asked).await.status, 202);
    }
    let restock = json!([{"product_id": "sunrise", "quantity": 1}]);
    for other in [
        json!({"id": id, "amount": 2000, "reason": "Late", "restock": restock}),
        json!({"id": id, "amount": 2000, "reason": "Broken"}),
        json!({"id": id, "amount": 2000}),
        json!({"id": id, "reason": "Late"}),
        json!({"id": id, "amount": 2001, "reason": "Late"}),
        json!({"id": id, "amount": 2000, "reason": "Late", "payment_id": "pi_other"}),
    ] {
        let answer = admin.post(&path, &other).await;
        assert_eq!(
            (answer.status, &answer.json["code"]),
            (409, &json!("refund_differs")),
            "{other}: {}",
            answer.text
        );
    }
    shop.hears().await;
    assert_eq!(admin.post(&path, &asked).await.status, 202);
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.stock("sunrise").await, (0, 0));

    // All that is left, and then the same by its amount.
    let id = "0193a000-0000-7000-8000-00000000000c";
    let all = json!({"id": id, "restock": restock});
    let named = json!({"id": id, "amount": 3200, "restock": restock});
    for body in [&all, &named, &all] {
        let answer = admin.post(&path, body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    shop.hears().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 2);
    assert_eq!(shop.stock("sunrise").await, (1, 0));
    shop.audit().await;
}

#[tokio::test]
async fn a_refund_that_fails_for_long_is_shown_once_and_tried_on() {
    let (shop, session, admin) = one_sold().await;
    shop.stripe.fail_next(REFUND, Fault::CardError402, 100);
    admin.post(&format!("{ORDER}refund/"), &json!({})).await;
    shop.run_failing_jobs().await;
    assert_eq!(shop.review_text(&session).await, "");
    shop.wait(2 * HOUR).await;
    for _ in 0..2 {
        shop.hurry_jobs().await;
        assert_eq!(shop.run_failing_jobs().await.len(), 1);
    }
    let why = shop.review_text(&session).await;
    assert!(
        why.contains("$52.00") && why.contains("does not go through"),
        "{why}"
    );
    let shown: i64 = sqlx::query_scalar(
        "select count(*) from order_events where note like '%does not go through%'",
    )
    .fetch_one(&shop.db)
    .await
    .expect("the timeline");
    assert_eq!(shown, 1);

    // The queue gives its job up after days: it comes again by the sweep.
    sqlx::query("update graphile_worker._private_jobs set attempts = max_attempts")
        .execute(&shop.db)
        .await
        .expect("a job given up");
    shop.sweep().await;
    assert_eq!(
        shop.run_failing_jobs().await.len(),
        1,
        "not before its time"
    );
    assert!(shop.at_stripe("refund").await.is_empty());
    shop.stripe.clear_faults();
    shop.wait(7 * HOUR).await;
    shop.sweep().await;
    let left = shop.run_failing_jobs().await;
    assert_eq!(left.len(), 1, "only the one that was given up: {left:?}");
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    sqlx::query("delete from graphile_worker._private_jobs where attempts >= max_attempts")
        .execute(&shop.db)
        .await
        .expect("somebody deletes it");
    shop.hears().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.status_of(&session).await, "refunded");
    shop.audit().await;
}

#[tokio::test]
async fn a_refusal_that_is_final_is_shown_and_can_be_tried_again_once() {
    for code in [
        "charge_disputed",
        "refund_disputed_payment",
        "charge_not_refundable",
        "charge_already_refunded",
        "resource_missing",
    ] {
        let (shop, session, admin) = one_sold().await;
        shop.stripe.fail_next(REFUND, refused(code), 1);
        admin
            .post(&format!("{ORDER}refund/"), &json!({"amount": 2000}))
            .await;
        shop.run_jobs().await;
        let refund = money(&admin).await["refunds"][0].clone();
        assert_eq!(
            (&refund["state"], &refund["is_retryable"]),
            (&json!("failed"), &json!(true))
        );
        let why = shop.review_text(&session).await;
        assert!(why.contains("$20.00") && why.contains(code), "{why}");
        assert_eq!(money(&admin).await["refundable"], 5200);

        let path = format!(
            "/api/admin/refunds/{}/retry/",
            refund["id"].as_str().expect("an id")
        );
        let again = act(&admin, &path).await;
        assert_eq!(again.status, 202, "{}", again.text);
        assert_ne!(again.json["id"], refund["id"]);
        assert_eq!(
            act(&admin, &path).await.json["id"],
            again.json["id"],
            "twice is once"
        );
        shop.hears().await;
        assert_eq!(act(&admin, &path).await.json["id"], again.json["id"]);
        assert_eq!(shop.at_stripe("refund").await.len(), 1);
        assert_eq!(shop.order(&session).await["refunded"], 2000);
        let id = again.json["id"].as_str().expect("an id");
        let made = act(&admin, &format!("/api/admin/refunds/{id}/retry/")).await;
        assert_eq!(
            (made.status, &made.json["code"]),
            (409, &json!("refund_is_made"))
        );
        assert_eq!(shop.refund_keys().len(), 2, "a key of its own");
        assert_eq!(shop.review_text(&session).await, "", "it was made again");
        shop.audit().await;
    }
    let (_shop, _, admin) = one_sold().await;
    let nobody = "/api/admin/refunds/0193a000-0000-7000-8000-00000000000b/retry/";
    assert_eq!(act(&admin, nobody).await.status, 404);
}

#[tokio::test]
async fn a_refund_that_waits_is_tried_at_once_on_demand() {
    let (shop, session, admin) = one_sold().await;
    shop.stripe.fail_next(REFUND, Fault::RateLimited, 3);
    admin.post(&format!("{ORDER}refund/"), &json!({})).await;
    assert_eq!(shop.run_failing_jobs().await.len(), 1);
    let id = money(&admin).await["refunds"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let asked = act(&admin, &format!("/api/admin/refunds/{id}/retry/")).await;
    assert_eq!(
        (asked.status, asked.json["id"].as_str()),
        (202, Some(id.as_str()))
    );
    shop.hears().await;
    assert_eq!(shop.status_of(&session).await, "refunded");
    assert_eq!(
        shop.refund_keys().len(),
        1,
        "the same request has the same key"
    );
}

#[tokio::test]
async fn what_is_due_is_counted_again_when_it_is_sent() {
    for (elsewhere, made, refunds) in [(Some(1200), Some(4000), 2), (None, None, 1)] {
        for is_down_first in [false, true] {
            let (shop, session, admin) = one_sold().await;
            let payment = shop.payment_of(&session).await;
            admin
                .post(
                    &format!("{ORDER}refund/"),
                    &json!({"reason": "Lost in the mail"}),
                )
                .await;
            if is_down_first {
                shop.stripe.fail_next(REFUND, Fault::RateLimited, 100);
                assert_eq!(shop.run_failing_jobs().await.len(), 1);
                shop.stripe.clear_faults();
                shop.hurry_jobs().await;
            }
            // At the dashboard, and nobody has told us.
            shop.stripe
                .refund(&payment, elsewhere)
                .await
                .expect("a refund");
            shop.run_jobs().await;
            let at_stripe = shop.at_stripe("refund").await;
            assert_eq!(at_stripe.len(), refunds);
            if let Some(amount) = made {
                assert_eq!(at_stripe[1]["amount"], amount);
                let keys = shop.refund_keys();
                assert_eq!(keys.len(), 2, "another amount has another key: {keys:?}");
            }
            shop.hears().await;
            let refund = money(&admin).await["refunds"][0].clone();
            assert_eq!(refund["state"], "succeeded");
            assert_eq!(shop.status_of(&session).await, "refunded");
            assert_eq!(shop.order(&session).await["refunded"], 5200);
            let told = told(&admin, ORDER).await;
            let lines: Vec<&str> = told.iter().map(|(_, line)| line.as_str()).collect();
            let expected: &[&str] = match made {
                Some(_) => &[
                    "Refunded $12.00 at Stripe.",
                    "Refunded $40.00: Lost in the mail.",
                ],
                None => &[
                    "Refunded $52.00 at Stripe.",
                    "Nothing was left to refund: $52.00 had been refunded at Stripe already.",
                ],
            };
            for line in expected {
                assert!(lines.contains(line), "{line}: {lines:?}");
            }
            assert_eq!(lines.len(), expected.len(), "{lines:?}");
            assert_eq!(shop.emails_of("order_refunded").await, refunds as i64);
            shop.audit().await;
        }
    }
}

#[tokio::test]
async fn a_refund_is_one_line_in_money_and_words() {
    let (shop, _, admin) = one_sold().await;
    let restock = json!([{"product_id": "sunrise", "quantity": 1}]);
    let body = json!({"amount": 2000, "reason": "a bead came loose", "restock": restock});
    assert_eq!(
        admin.post(&format!("{ORDER}refund/"), &body).await.status,
        202
    );
    assert!(
        told(&admin, ORDER).await.is_empty(),
        "nothing is refunded yet"
    );
    shop.hears().await;
    shop.reconcile().await;
    shop.hears().await;
    assert_eq!(
        told(&admin, ORDER).await,
        [(
            "token:test".to_owned(),
            "Refunded $20.00: a bead came loose. 1 piece back in stock.".to_owned()
        )]
    );
    let view = admin.get(ORDER).await.text;
    assert!(
        !view.contains("is being given back") && !view.contains("2000 given back"),
        "{view}"
    );
}

/// The events that Stripe has told of since so many.
async fn events_since(shop: &Shop, known: &mut usize) -> Vec<Value> {
    let mut events = shop.stripe.events().await.expect("the events");
    let news = events.split_off(*known);
    *known += news.len();
    news
}

#[tokio::test]
async fn a_failed_refund_and_a_newer_one_are_told_apart_in_any_order() {
    // All in one second, and by each kind of account: one that hears of refunds by each name that Stripe has for them,
    // and ones that hear of them by the charge alone and one of those.
    let accounts: [&[&str]; 3] = [
        &[
            "refund.created",
            "charge.refunded",
            "refund.updated",
            "refund.failed",
            "charge.refund.updated",
        ],
        &["charge.refunded", "charge.refund.updated"],
        &["charge.refunded", "refund.updated"],
    ];
    let shop = Shop::open().await;
    let admin = shop.refunder().await;
    let mut known = 0;
    let mut orders = 0;
    for account in accounts {
        for turn in 0..6 {
            orders += 1;
            let session = shop.sells_only(&format!("Piece {orders}")).await;
            let payment = shop.payment_of(&session).await;
            events_since(&shop, &mut known).await;
            let lost = shop.stripe.refund(&payment, None).await.expect("a refund");
            shop.stripe.fail_refund(&lost).await.expect("a failure");
            shop.stripe.refund(&payment, None).await.expect("a refund");
            let mut events = events_since(&shop, &mut known).await;
            events.retain(|event| account.iter().any(|kind| event["type"] == *kind));
            for event in &mut events {
                event["created"] = json!(1_800_000_000);
            }
            if turn % 2 == 1 {
                events.reverse();
            }
            let middle = turn / 2 % events.len();
            events.rotate_left(middle);
            for event in &events {
                assert_eq!(shop.webhook(event).await.status, 200);
                let order = shop.order(&session).await;
                let is_odd = order["status"] == "refunded" && order["refunded"] == 0;
                assert!(!is_odd, "{account:?} {turn}: {order}");
            }
            shop.run_jobs().await;
            let order = shop.order(&session).await;
            assert_eq!(
                (&order["status"], &order["refunded"]),
                (&json!("refunded"), &json!(5200)),
                "{account:?} {turn}"
            );
            assert_eq!(shop.review_text(&session).await, "", "all of it went back");
            let path = format!(
                "/api/admin/orders/{}/",
                order["id"].as_str().expect("an id")
            );
            let lines = told(&admin, &path).await;
            let emails: i64 = sqlx::query_scalar(
                "select count(*) from emails where kind = 'order_refunded' and order_id = $1::uuid",
            )
            .bind(order["id"].as_str())
            .fetch_one(&shop.db)
            .await
            .expect("the emails");
            assert_eq!(lines.len() as i64, emails, "{lines:?}");
            assert!((1..=2).contains(&emails), "{account:?} {turn}: {emails}");
            // The rest of what Stripe has to tell, and all of it once more.
            shop.hears().await;
            for event in shop
                .stripe
                .events()
                .await
                .expect("the events")
                .iter()
                .rev()
                .take(12)
            {
                assert_eq!(shop.webhook(event).await.status, 200);
            }
            shop.run_jobs().await;
            let again = shop.order(&session).await;
            assert_eq!(
                (&again["status"], &again["refunded"]),
                (&json!("refunded"), &json!(5200))
            );
            assert_eq!(told(&admin, &path).await, lines);
        }
    }
    shop.audit().await;
}

#[tokio::test]
async fn an_order_whose_refund_in_full_failed_is_paid_again_and_the_second_refund_is_told_too() {
    let (shop, session, admin) = one_sold().await;
    let refund = json!({"reason": "Broken"});
    admin.post(&format!("{ORDER}refund/"), &refund).await;
    shop.hears().await;
    assert_eq!(shop.status_of(&session).await, "refunded");
    let made = shop.at_stripe("refund").await.remove(0);
    shop.stripe
        .fail_refund(made["id"].as_str().expect("an id"))
        .await
        .expect("a failure");
    shop.hears().await;
    let order = shop.order(&session).await;
    assert_eq!(
        (&order["status"], &order["refunded"]),
        (&json!("paid"), &json!(0))
    );
    let why = shop.review_text(&session).await;
    assert!(why.contains("$52.00") && why.contains("failed"), "{why}");
    let shown: i64 = sqlx::query_scalar("select count(*) from order_events where note = $1")
        .bind(&why)
        .fetch_one(&shop.db)
        .await
        .expect("the timeline");
    assert_eq!(shown, 1, "Stripe says it under three names");

    let id = money(&admin).await["refunds"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(
        act(&admin, &format!("/api/admin/refunds/{id}/retry/"))
            .await
            .status,
        202
    );
    shop.hears().await;
    let order = shop.order(&session).await;
    assert_eq!(
        (&order["status"], &order["refunded"]),
        (&json!("refunded"), &json!(5200))
    );
    assert_eq!(shop.emails_of("order_refunded").await, 2);
    let lines: Vec<String> = told(&admin, ORDER)
        .await
        .into_iter()
        .map(|(_, line)| line)
        .collect();
    assert_eq!(lines, ["Refunded $52.00: Broken."; 2]);
    assert_eq!(shop.review_text(&session).await, "", "it was made again");
    shop.audit().await;
}

#[tokio::test]
async fn a_failure_that_is_heard_of_before_its_payment_is_shown_with_it() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let payment = shop.payment_of(&session).await;
    let lost = shop
        .stripe
        .refund(&payment, Some(700))
        .await
        .expect("a refund");
    shop.stripe.fail_refund(&lost).await.expect("a failure");
    for event in shop.stripe.events().await.expect("the events").iter().rev() {
        assert_eq!(shop.webhook(event).await.status, 200);
    }
    shop.run_jobs().await;
    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(shop.order(&session).await["refunded"], 0);
    assert!(shop.review_text(&session).await.contains("$7.00"));
    assert_eq!(
        shop.emails_of("order_refunded").await,
        0,
        "it never was made"
    );
}

#[tokio::test]
async fn money_that_was_refused_can_be_refunded_again_when_its_refund_failed() {
    let shop = Shop::open().await;
    let admin = shop.refunder().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let late = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let mut event = json!({"id": "evt_early", "object": "event", "type": "checkout.session.expired", "created": 1});
    event["data"]["object"] = shop.session(&late).await;
    assert_eq!(shop.webhook(&event).await.status, 200);
    session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&late, card()).await.expect("a payment");
    shop.hears().await;
    let payment = shop.payment_of(&late).await;
    let made = shop.at_stripe("refund").await.remove(0);
    shop.stripe
        .fail_refund(made["id"].as_str().expect("an id"))
        .await
        .expect("a failure");
    shop.hears().await;
    assert!(shop.review_text(&late).await.contains("failed"));
    let money = admin.get(&format!("{ORDER}payments/")).await.json;
    assert_eq!(money["payments"][0]["refundable"], 5200, "{money}");

    // In part by its name, then what is left without.
    let restock = json!([{"product_id": piece, "quantity": 1}]);
    for (body, field) in [
        (json!({"payment_id": "pi_other"}), "payment_id"),
        (json!({"restock": restock}), "restock"),
        (json!({"amount": 5201}), "amount"),
    ] {
        let answer = admin.post(&format!("{ORDER}refund/"), &body).await;
        assert_eq!(
            (answer.status, answer.field_errors()),
            (400, vec![field.to_owned()]),
            "{body}"
        );
    }
    for body in [json!({"payment_id": payment, "amount": 1200}), json!({})] {
        let answer = admin.post(&format!("{ORDER}refund/"), &body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let answer = admin.post(&format!("{ORDER}refund/"), &json!({})).await;
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (409, &json!("nothing_left"))
    );
    shop.hears().await;
    let refunds = shop.at_stripe("refund").await;
    let mut amounts: Vec<i64> = refunds
        .iter()
        .filter_map(|refund| refund["amount"].as_i64())
        .collect();
    // Both were planned before the first was sent, and jobs are done side by side.
    amounts.sort_unstable();
    assert_eq!(amounts, [1200, 4000, 5200]);
    assert_eq!(
        shop.order(&late).await["refunded"],
        0,
        "it never was this order's money"
    );
    assert_eq!(shop.emails_of("order_refunded").await, 0);
    shop.audit().await;
}

#[tokio::test]
async fn a_payment_on_a_dead_link_is_refunded_from_its_custom_order() {
    let shop = Shop::open().await;
    let admin = shop.refunder().await;
    shop.asks_for_a_piece("ann@example.com").await;
    let custom = "/api/admin/custom-orders/CO-1001/";
    let quote =
        json!({"amount": 9000, "description": "A case.", "shipping_zone": "us", "shipping": 500});
    let quoted = admin.post(&format!("{custom}requote/"), &quote).await;
    assert!(quoted.status < 300, "{}", quoted.text);
    shop.run_jobs().await;
    let view = admin.get(custom).await.json;
    let link = view["quotes"][0]["payment_link_id"]
        .as_str()
        .expect("a link");
    let session = shop.stripe.open_link(link).await.expect("a page");
    shop.stripe.pay(&session, card()).await.expect("a payment");
    for sql in [
        "update custom_order_quotes set state = 'closed'",
        "update custom_orders set status = 'expired'",
    ] {
        sqlx::query(sql).execute(&shop.db).await.expect("a change");
    }
    shop.stripe.fail_next(REFUND, refused("charge_disputed"), 1);
    shop.hears().await;
    let money = admin.get(&format!("{custom}payments/")).await.json;
    assert_eq!(
        (&money["refundable"], &money["refunds"][0]["state"]),
        (&json!(9500), &json!("failed")),
        "{money}"
    );
    let body =
        json!({"id": "0193a000-0000-7000-8000-00000000000b", "amount": 1000, "reason": "Sorry"});
    for _ in 0..2 {
        let answer = admin.post(&format!("{custom}refund/"), &body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let other = json!({"id": body["id"], "amount": 1001});
    let differs = admin.post(&format!("{custom}refund/"), &other).await;
    assert_eq!(differs.json["code"], "refund_differs");
    shop.hears().await;
    assert_eq!(
        told(&admin, custom).await,
        [(
            "token:test".to_owned(),
            "Refunded $10.00: Sorry.".to_owned()
        )]
    );
    let id = money["refunds"][0]["id"].as_str().expect("an id");
    assert_eq!(
        act(&admin, &format!("/api/admin/refunds/{id}/retry/"))
            .await
            .status,
        202
    );
    shop.hears().await;
    let money = admin.get(&format!("{custom}payments/")).await.json;
    assert_eq!(money["refundable"], 0);
    assert_eq!(shop.at_stripe("refund").await.len(), 2);
    shop.audit().await;
    assert_eq!(
        admin
            .get("/api/admin/custom-orders/CO-9/payments/")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn emails_promise_what_is_planned_and_nothing_else() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let late = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let mut event = json!({"id": "evt_early", "object": "event", "type": "checkout.session.expired", "created": 1});
    event["data"]["object"] = shop.session(&late).await;
    assert_eq!(shop.webhook(&event).await.status, 200);
    session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&late, card()).await.expect("a payment");
    // Refunded at the dashboard before we hear of the payment: nothing is planned.
    let payment = shop.payment_of(&late).await;
    shop.stripe.refund(&payment, None).await.expect("a refund");
    for event in shop.stripe.events().await.expect("the events").iter().rev() {
        assert_eq!(shop.webhook(event).await.status, 200);
    }
    shop.run_jobs().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    let mail = shop.mail();
    let told = mail
        .iter()
        .find(|mail| mail.to == ["jane@example.com"])
        .expect("an email");
    let text = told.text.replace('\n', " ");
    assert!(
        text.contains("has been given back to you already"),
        "{text}"
    );
    assert!(!text.contains("is being given back"), "{text}");
    assert!(
        shop.review_text(&late)
            .await
            .contains("given back in full already")
    );
}

#[tokio::test]
async fn a_checkout_over_nothing_promises_no_refund_and_no_email() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let mut event = json!({
        "id": "evt_free", "object": "event", "type": "checkout.session.completed", "created": 1, "livemode": false,
    });
    event["data"]["object"] = shop.session(&session).await;
    let free = &mut event["data"]["object"];
    free["status"] = json!("complete");
    free["payment_status"] = json!("no_payment_required");
    free["amount_total"] = json!(0);
    free["customer_details"] = json!({"email": "jane@example.com", "name": "Jane"});
    assert_eq!(shop.webhook(&event).await.status, 200);
    shop.run_jobs().await;
    let mail = shop.mail();
    assert!(mail.iter().all(|mail| mail.to != ["jane@example.com"]));
    let [notice] = &mail[..] else {
        panic!("{} emails", mail.len());
    };
    let text = notice.text.replace('\n', " ");
    assert!(
        text.contains("Nothing was paid, so nothing is given back"),
        "{text}"
    );
    assert!(
        notice.subject.starts_with("Nothing Was Paid: "),
        "{}",
        notice.subject
    );
    for (search, found) in [("nothing+was+paid", 1), ("payment+given+back", 0)] {
        let staff = shop.admin(&[Scope::OrdersRead]).await;
        let list = staff
            .get(&format!("/api/admin/emails/?search={search}"))
            .await;
        assert_eq!(list.json["count"], found, "{}", list.text);
    }
    assert!(
        text.contains("The customer gets no email about it"),
        "{text}"
    );
    assert!(!text.contains("given back in full"), "{text}");
}

/// The form of a page that goes to this address, with what stands in its fields.
fn form_to(page: &str, path: &str) -> Vec<(String, String)> {
    let at = page
        .find(&format!("action=\"{path}\""))
        .unwrap_or_else(|| panic!("no form to {path}: {page}"));
    let begin = page[..at].rfind("<form").expect("its beginning");
    let (to, fields) = form_of(&page[begin..]);
    assert_eq!(to, path);
    fields
}

async fn sends(owner: &Browser, on: &str, path: &str) -> u16 {
    let page = owner.get(on).await.text;
    let fields = form_to(&page, path);
    let own = ["csrf", "once"];
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    owner.submit(on, path, &fields).await.status
}

#[tokio::test]
async fn the_admin_refunds_whatever_has_money_left_and_tries_again_what_was_refused() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let staff = signed_in(&shop, STAFF).await;
    let session = shop.sells_only("Sunrise").await;
    let page = "/admin/orders/SB-1001";
    shop.stripe.fail_next(REFUND, refused("charge_disputed"), 1);
    assert_eq!(sends(&owner, page, &format!("{page}/refund")).await, 303);
    shop.hears().await;
    let shown = owner.get(page).await.text;
    assert!(
        shown.contains("badge bad\">failed") && shown.contains("charge_disputed"),
        "{shown}"
    );
    let id: String = sqlx::query_scalar("select id::text from refunds")
        .fetch_one(&shop.db)
        .await
        .expect("the refund");
    let again = format!("/admin/refunds/{id}/retry");
    assert!(!staff.get(page).await.text.contains(&again));
    assert_eq!(sends(&owner, page, &again).await, 303);
    shop.hears().await;
    assert_eq!(shop.status_of(&session).await, "refunded");
    let shown = owner.get(page).await.text;
    assert!(
        !shown.contains(&again) && !shown.contains(&format!("{page}/refund")),
        "{shown}"
    );

    // A custom order whose payment came too late, and whose refund was refused for good.
    shop.asks_for_a_piece("ann@example.com").await;
    let admin = shop.refunder().await;
    let quote =
        json!({"amount": 9000, "description": "A case.", "shipping_zone": "us", "shipping": 500});
    let requote = "/api/admin/custom-orders/CO-1001/requote/";
    assert!(admin.post(requote, &quote).await.status < 300);
    shop.run_jobs().await;
    let view = admin.get("/api/admin/custom-orders/CO-1001/").await.json;
    let link = view["quotes"][0]["payment_link_id"]
        .as_str()
        .expect("a link");
    let session = shop.stripe.open_link(link).await.expect("a page");
    shop.stripe.pay(&session, card()).await.expect("a payment");
    for sql in [
        "update custom_order_quotes set state = 'closed'",
        "update custom_orders set status = 'expired'",
    ] {
        sqlx::query(sql).execute(&shop.db).await.expect("a change");
    }
    shop.stripe.fail_next(REFUND, refused("charge_disputed"), 1);
    shop.hears().await;
    let page = "/admin/custom-orders/CO-1001";
    assert_eq!(sends(&owner, page, &format!("{page}/refund")).await, 303);
    shop.hears().await;
    let refunds = shop.at_stripe("refund").await;
    assert_eq!((refunds.len(), &refunds[1]["amount"]), (2, &json!(9500)));
    assert!(owner.get(page).await.text.contains("Refunded $95.00."));
    shop.audit().await;
}
