//! Idempotency keys of the checkout.

use std::time::Duration;

use serde_json::json;
use spirit_beads::auth::Scope;
use stripe_sandbox::Fault;

use super::{CREATE, MINUTE, way_back};
use crate::support::{Answer, Client, PATIENT, Shop, at_once, session_of};

#[tokio::test]
async fn a_key_of_another_client_is_another_key() {
    let shop = Shop::open_with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let piece = shop.stocks("Sunrise", 9).await;
    let from = |client: &Client, address: &'static str| {
        let (client, piece) = (client.clone(), piece.clone());
        async move {
            let headers = [("idempotency-key", "k1"), ("x-forwarded-for", address)];
            client.check_out_with(&[(&piece, 1)], &headers).await
        }
    };
    let (ann, ben) = (shop.shopper(), shop.shopper());
    let of_ann = from(&ann, "203.0.113.1").await;
    let of_ben = from(&ben, "203.0.113.2").await;
    assert_ne!(session_of(&of_ann), session_of(&of_ben));
    assert_ne!(of_ann.header("set-cookie"), of_ben.header("set-cookie"));
    // Each is known by the cookie that the first answer set, wherever it comes from next.
    let again = from(&ann, "203.0.113.9").await;
    assert_eq!(session_of(&again), session_of(&of_ann));
    let again = from(&ben, "203.0.113.1").await;
    assert_eq!(session_of(&again), session_of(&of_ben));
    // Whoever did not get the answer, by the address.
    let again = from(&shop.shopper(), "203.0.113.1").await;
    assert_eq!(session_of(&again), session_of(&of_ann));
    assert_eq!(shop.stock(&piece).await, (9, 2));
    shop.audit().await;
}

#[tokio::test]
async fn a_kept_answer_whose_order_was_released_is_carried_out_anew() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out_once("k1", &[(&piece, 1)]).await);
    shopper.follow(&way_back(&shop, &first).await).await;
    assert_eq!(shop.status_of(&first).await, "cancelled");
    let second = session_of(&shopper.check_out_once("k1", &[(&piece, 1)]).await);
    assert_ne!(first, second);
    assert_eq!(shop.session(&second).await["status"], "open");
    // With the cookie, whose order has ended by itself.
    shop.stripe.expire(&second).await.expect("an end");
    shop.deliver().await;
    let tabs = (0..3).map(|_| {
        let (shopper, piece) = (shopper.clone(), piece.clone());
        async move { shopper.check_out_once("k1", &[(&piece, 1)]).await }
    });
    let third: Vec<String> = at_once(tabs).await.iter().map(session_of).collect();
    assert_ne!(third[0], second);
    assert_eq!(third, vec![third[0].clone(); 3]);
    assert_eq!(shop.session(&third[0]).await["status"], "open");
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.audit().await;
}

#[tokio::test]
async fn a_key_gets_the_first_answer_again() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 5).await;
    let first = shop.client.check_out_once("k1", &[(&piece, 1)]).await;
    let again = shop.client.check_out_once("k1", &[(&piece, 1)]).await;
    assert_eq!(session_of(&first), session_of(&again));
    assert_eq!(first.json, again.json);
    assert!(again.header("set-cookie").starts_with("sb_checkout="));
    assert_ne!(
        session_of(&shop.client.check_out_once("k2", &[(&piece, 1)]).await),
        session_of(&first)
    );
    assert_eq!(shop.stock(&piece).await, (5, 2));
    let other = shop.client.check_out_once("k1", &[(&piece, 2)]).await;
    assert_eq!(other.status, 422);
    assert_eq!(other.json["code"], "idempotency_key_reused");
    assert_eq!(shop.stock(&piece).await, (5, 2));
    shop.audit().await;
}

/// Twenty requests under one key at the same time.
async fn twenty_at_once(shop: &Shop, piece: &str) -> Vec<Answer> {
    let clicks = (0..20).map(|_| {
        let (client, piece) = (shop.client.clone(), piece.to_owned());
        async move { client.check_out_once("k1", &[(&piece, 1)]).await }
    });
    at_once(clicks).await
}

#[tokio::test]
async fn a_key_sent_twenty_times_at_once_is_one_checkout() {
    let shop = Shop::open_with(&[PATIENT]).await;
    let piece = shop.stocks("Sunrise", 30).await;
    let answers = twenty_at_once(&shop, &piece).await;
    for answer in &answers {
        assert_eq!(session_of(answer), session_of(&answers[0]));
    }
    assert_eq!(shop.stock(&piece).await, (30, 1));
    assert_eq!(shop.statuses().await, ["pending"]);
    shop.run_jobs().await;
    assert_eq!(shop.stock(&piece).await, (30, 1));
    shop.audit().await;
}

#[tokio::test]
async fn a_repeat_that_loses_patience_does_not_spoil_the_first() {
    let shop = Shop::open_with(&[PATIENT]).await;
    let piece = shop.stocks("Sunrise", 30).await;
    shop.run_jobs().await;
    shop.stripe
        .fail_next(CREATE, Fault::Slow(Duration::from_millis(800)), 1);
    let answers = twenty_at_once(&shop, &piece).await;
    let pages: Vec<String> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(session_of)
        .collect();
    assert!(
        !pages.is_empty() && pages.iter().all(|page| *page == pages[0]),
        "{pages:?}"
    );
    assert!(
        answers
            .iter()
            .all(|answer| [200, 503].contains(&answer.status))
    );
    shop.run_jobs().await;
    assert_eq!(shop.status_of(&pages[0]).await, "pending");
    assert_eq!(shop.session(&pages[0]).await["status"], "open");
    assert_eq!(shop.stock(&piece).await, (30, 1));
    shop.audit().await;
}

#[tokio::test]
async fn a_key_works_again_after_an_outage() {
    let shop = Shop::open_with(&[PATIENT]).await;
    let piece = shop.stocks("Sunrise", 30).await;
    shop.stripe.fail_next(CREATE, Fault::RateLimited, 3);
    let answer = shop.client.check_out_once("k1", &[(&piece, 1)]).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(shop.stock(&piece).await, (30, 0));
    let answers = twenty_at_once(&shop, &piece).await;
    for answer in &answers {
        assert_eq!(session_of(answer), session_of(&answers[0]));
    }
    assert_eq!(shop.stock(&piece).await, (30, 1));
    assert_eq!(shop.statuses().await, ["failed", "pending"]);
    shop.audit().await;
}

#[tokio::test]
async fn a_key_whose_shop_died_gets_the_session_that_was_asked_for() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let first = session_of(&shop.client.check_out_once("k1", &[(&piece, 1)]).await);
    sqlx::raw_sql(
        "update checkouts set state = 'asking', session_id = null, session_url = null;
         update idempotency_keys set status = null, answer = null",
    )
    .execute(&shop.db)
    .await
    .expect("a crash before the answer was recorded");
    let again = session_of(&shop.client.check_out_once("k1", &[(&piece, 1)]).await);
    assert_eq!(first, again);
    assert_eq!(shop.statuses().await, ["pending"]);
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.audit().await;
}

#[tokio::test]
async fn a_key_gets_the_errors_of_its_cart_again() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let first = shop.client.check_out_once("k1", &[(&piece, 2)]).await;
    let admin = shop.admin(&[Scope::Stock]).await;
    let more = json!({"delta": 5, "reason": "made"});
    assert_eq!(
        admin
            .post("/api/products/sunrise/stock/", &more)
            .await
            .status,
        200
    );
    let again = shop.client.check_out_once("k1", &[(&piece, 2)]).await;
    assert_eq!(again.line_errors(), ["insufficient_inventory"]);
    assert_eq!(first.json, again.json);
    session_of(&shop.client.check_out_once("k2", &[(&piece, 2)]).await);
    shop.wait(25 * 60 * MINUTE).await;
    shop.sweep().await;
    session_of(&shop.client.check_out_once("k1", &[(&piece, 2)]).await);
}

#[tokio::test]
async fn keys_of_no_kind_are_refused_by_name() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    for key in ["", &"k".repeat(256)] {
        let answer = shop.client.check_out_once(key, &[(&piece, 1)]).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json["details"][0]["field"], "Idempotency-Key");
    }
    assert_eq!(shop.stock(&piece).await, (1, 0));
}
