//! Stripe misbehaving, and a shop that dies after any step of a purchase: the pieces are free or paid in the end.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use spirit_beads::auth::Scope;
use stripe_sandbox::Fault;

use crate::support::{Answer, Shop, card, session_of};

const CREATE: &str = "POST /v1/checkout/sessions";
const MINUTE: Duration = Duration::from_secs(60);

/// Checks out while Stripe misbehaves for as long as it takes.
async fn check_out_under(shop: &Shop, fault: Fault, piece: &str) -> Answer {
    shop.stripe.fail_next(CREATE, fault, 100);
    let start = Instant::now();
    let answer = shop.shopper().check_out(&[(piece, 1)]).await;
    let took = start.elapsed();
    // One and a half times the shop's patience with Stripe, and what a busy machine needs.
    assert!(took < Duration::from_secs(15), "{took:?}");
    shop.stripe.clear_faults();
    answer
}

/// The shopper reads an apology, holds nothing, and is not blocked by what was held.
async fn assert_apology(shop: &Shop, answer: &Answer, piece: &str) {
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(answer.json["code"], "payment_unavailable");
    assert_eq!(answer.json["error"], "payment_unavailable");
    assert!(
        answer.json["message"]
            .as_str()
            .is_some_and(|text| text.contains("Nothing was charged"))
    );
    assert_eq!(answer.header("set-cookie"), "");
    assert_eq!(shop.stock(piece).await, (1, 0));
    assert!(
        shop.statuses()
            .await
            .iter()
            .all(|status| status == "failed")
    );
}

/// No session is left that somebody could pay.
async fn assert_nothing_payable(shop: &Shop) {
    for session in shop.at_stripe("checkout.session").await {
        assert_eq!(session["status"], "expired");
    }
}

#[tokio::test]
async fn a_stripe_that_does_nothing_frees_the_pieces_at_once() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    for fault in [Fault::RateLimited, Fault::Unauthorized, Fault::CardError402] {
        let answer = check_out_under(&shop, fault, &piece).await;
        assert_apology(&shop, &answer, &piece).await;
        shop.run_jobs().await;
    }
    assert!(shop.at_stripe("checkout.session").await.is_empty());
    session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.audit().await;
}

#[tokio::test]
async fn a_stripe_that_cannot_be_reached_frees_the_pieces_at_once() {
    let shop = Shop::open_with(&[("STRIPE_API_URL", "http://127.0.0.1:9")]).await;
    let piece = shop.stocks("Sunrise", 1).await;
    let answer = shop.shopper().check_out(&[(&piece, 1)]).await;
    assert_apology(&shop, &answer, &piece).await;
    shop.audit().await;
}

/// Finds out what may have been done, and ends it.
async fn is_settled_by_the_jobs(faults: &[Fault]) {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    for fault in faults {
        let answer = check_out_under(&shop, fault.clone(), &piece).await;
        assert_apology(&shop, &answer, &piece).await;
        shop.run_jobs().await;
        assert_nothing_payable(&shop).await;
        shop.deliver().await;
    }
    assert_eq!(shop.stock(&piece).await, (1, 0));
    shop.audit().await;
}

#[tokio::test]
async fn a_dropped_line_is_settled_by_the_jobs() {
    is_settled_by_the_jobs(&[
        Fault::Drop,
        Fault::BadGateway,
        Fault::ActThenDrop,
        Fault::ActThenServerError,
    ])
    .await;
}

#[tokio::test]
async fn an_answer_that_never_comes_is_settled_by_the_jobs() {
    is_settled_by_the_jobs(&[Fault::Hang]).await;
}

#[tokio::test]
async fn an_act_without_an_answer_is_settled_by_the_jobs() {
    is_settled_by_the_jobs(&[Fault::ActThenHang]).await;
}

#[tokio::test]
async fn a_failure_that_stripe_repeats_for_a_day_is_settled_after_it() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    let answer = check_out_under(&shop, Fault::ServerError, &piece).await;
    assert_apology(&shop, &answer, &piece).await;
    assert_eq!(shop.run_failing_jobs().await.len(), 1);
    shop.wait(25 * 60 * MINUTE).await;
    sqlx::query("delete from stripe_sandbox.idempotency_keys")
        .execute(&shop.db)
        .await
        .expect("a day passes");
    assert_eq!(shop.sweep().await.settled, 1);
    assert_nothing_payable(&shop).await;
    shop.hurry_jobs().await;
    shop.run_jobs().await;
    assert_eq!(shop.stock(&piece).await, (1, 0));
    shop.audit().await;
}

#[tokio::test]
async fn a_short_stumble_goes_unnoticed() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 4).await;
    let stumbles = [
        Fault::ActThenDrop,
        Fault::RateLimited,
        Fault::BadGateway,
        Fault::Hang,
    ];
    for (held, fault) in (1..).zip(stumbles) {
        shop.stripe.fail_next(CREATE, fault, 1);
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        assert_eq!(
            shop.at_stripe("checkout.session").await.len(),
            held as usize
        );
        assert_eq!(shop.status_of(&session).await, "pending");
        assert_eq!(shop.stock(&piece).await, (4, held));
    }
}

#[tokio::test]
async fn a_slow_stripe_gives_a_page_with_its_pieces_or_an_apology_without() {
    let shop = Shop::open_with(&[("STRIPE_TIMEOUT_SECONDS", "1")]).await;
    let piece = shop.stocks("Sunrise", 1).await;
    let slow = Fault::Slow(Duration::from_millis(1300));
    shop.stripe.fail_next(CREATE, slow, 1);
    let answer = shop.shopper().check_out(&[(&piece, 1)]).await;
    match answer.status {
        200 => assert_eq!(shop.stock(&piece).await, (1, 1)),
        _ => assert_apology(&shop, &answer, &piece).await,
    }
    while !shop.run_failing_jobs().await.is_empty() {
        shop.hurry_jobs().await;
    }
    shop.audit().await;
}

#[tokio::test]
async fn a_refusal_is_told_without_stripes_words() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let refused = Fault::Refused {
        code: "parameter_invalid".to_owned(),
        message: "No such price: 'price_123'".to_owned(),
        param: None,
    };
    let answer = check_out_under(&shop, refused, &piece).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json["code"], "payment_setup_error");
    assert!(
        !answer.text.contains("price_123") && !answer.text.contains("req_"),
        "{}",
        answer.text
    );
    assert!(answer.json["error"].is_string() && answer.json["details"].is_null());
    assert_eq!(shop.stock(&piece).await, (1, 0));
    assert_eq!(shop.statuses().await, ["failed"]);
    shop.run_jobs().await;
    shop.audit().await;
}

#[tokio::test]
async fn a_lost_session_that_was_paid_all_the_same_is_an_order() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let answer = check_out_under(&shop, Fault::ActThenDrop, &piece).await;
    assert_apology(&shop, &answer, &piece).await;
    let session = shop.at_stripe("checkout.session").await.remove(0);
    let session = session["id"].as_str().expect("an id");
    shop.stripe.pay(session, card()).await.expect("a payment");
    // The job asks first; the webhook comes after it.
    shop.run_jobs().await;
    assert_eq!(shop.statuses().await, ["paid"]);
    shop.deliver().await;
    assert_eq!(shop.statuses().await, ["paid"]);
    assert_eq!(shop.stock(&piece).await, (0, 0));
    shop.audit().await;
}

/// Forgets that Stripe's answer was recorded, as a crash before the third beat does.
async fn forget_the_answer(shop: &Shop) {
    sqlx::query("update checkouts set state = 'asking', session_id = null, session_url = null")
        .execute(&shop.db)
        .await
        .expect("a crash");
}

/// Forgets that Stripe was asked, as a crash before the second beat does.
async fn forget_the_call(shop: &Shop) {
    forget_the_answer(shop).await;
    sqlx::raw_sql(
        "delete from stripe_sandbox.objects where object = 'checkout.session';
         delete from stripe_sandbox.idempotency_keys",
    )
    .execute(&shop.db)
    .await
    .expect("a crash");
}

#[tokio::test]
async fn a_crash_after_the_reserve_is_swept() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    forget_the_call(&shop).await;
    shop.sweep().await;
    assert_eq!(
        shop.stock(&piece).await,
        (1, 1),
        "it may be in the asking still"
    );
    shop.wait(3 * MINUTE).await;
    shop.sweep().await;
    assert_eq!(shop.statuses().await, ["failed"]);
    assert_eq!(shop.stock(&piece).await, (1, 0));
    assert_nothing_payable(&shop).await;
    shop.deliver().await;
    shop.audit().await;
}

#[tokio::test]
async fn a_crash_long_ago_is_swept_though_stripe_refuses_the_old_request() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    forget_the_call(&shop).await;
    sqlx::query(r#"update checkouts set request = jsonb_set(request, '{expires_at}', '"2020-01-01T00:00:00Z"')"#)
        .execute(&shop.db)
        .await
        .expect("a request of long ago");
    shop.wait(60 * MINUTE).await;
    shop.sweep().await;
    assert_eq!(shop.statuses().await, ["failed"]);
    assert_eq!(shop.stock(&piece).await, (1, 0));
    assert!(shop.at_stripe("checkout.session").await.is_empty());
    shop.audit().await;
}

#[tokio::test]
async fn a_crash_after_the_call_is_swept() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    forget_the_answer(&shop).await;
    shop.wait(3 * MINUTE).await;
    shop.stripe.fail_next("*", Fault::RateLimited, 100);
    assert_eq!(shop.sweep().await.waiting, 1);
    assert_eq!(shop.stock(&piece).await, (1, 1), "nobody knows yet");
    shop.stripe.clear_faults();
    shop.wait(3 * MINUTE).await;
    shop.sweep().await;
    assert_eq!(shop.statuses().await, ["failed"]);
    assert_eq!(shop.stock(&piece).await, (1, 0));
    assert_nothing_payable(&shop).await;
    shop.audit().await;
}

#[tokio::test]
async fn a_payment_after_a_crash_finds_its_order() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 2).await;
    for webhooks in [true, false] {
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        sqlx::query(
            "update checkouts set state = 'asking', session_id = null where session_id = $1",
        )
        .bind(&session)
        .execute(&shop.db)
        .await
        .expect("a crash");
        shop.stripe.pay(&session, card()).await.expect("a payment");
        if webhooks {
            shop.deliver().await;
        } else {
            shop.wait(3 * MINUTE).await;
            shop.sweep().await;
        }
        assert_eq!(shop.status_of(&session).await, "paid");
    }
    shop.deliver().await;
    assert_eq!(shop.stock(&piece).await, (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn a_shop_that_dies_after_the_answer_is_settled_by_the_sweep_alone() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 2).await;
    let left = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    let paid = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&paid, card()).await.expect("a payment");
    shop.sweep().await;
    assert_eq!(shop.statuses().await, ["pending", "pending"]);
    shop.wait(37 * MINUTE).await;
    shop.sweep().await;
    assert_eq!(
        shop.stock(&piece).await,
        (2, 2),
        "the hold outlives the session"
    );
    shop.wait(10 * MINUTE).await;
    shop.sweep().await;
    assert_eq!(shop.status_of(&left).await, "expired");
    assert_eq!(shop.status_of(&paid).await, "paid");
    assert_eq!(shop.session(&left).await["status"], "expired");
    assert_eq!(shop.stock(&piece).await, (1, 0));
    // The webhooks come after all.
    shop.deliver().await;
    assert_eq!(shop.stock(&piece).await, (1, 0));
    assert_eq!(shop.status_of(&paid).await, "paid");
    shop.audit().await;
}

#[tokio::test]
async fn a_sweep_waits_while_stripe_is_out_and_settles_after() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.wait(47 * MINUTE).await;
    shop.stripe.fail_next("*", Fault::Unauthorized, 100);
    assert_eq!(shop.sweep().await.waiting, 1);
    assert_eq!(shop.stock(&piece).await, (1, 1), "it might be paid");
    shop.stripe.clear_faults();
    assert_eq!(shop.sweep().await.settled, 1);
    assert_eq!(shop.status_of(&session).await, "expired");
    assert_eq!(shop.stock(&piece).await, (1, 0));
    shop.audit().await;
}

#[tokio::test]
async fn two_sweeps_at_once_settle_an_order_once() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    for _ in 0..3 {
        session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    }
    shop.wait(47 * MINUTE).await;
    tokio::join!(shop.sweep(), shop.sweep(), shop.deliver());
    assert_eq!(shop.statuses().await, ["expired"; 3]);
    assert_eq!(shop.stock(&piece).await, (3, 0));
    shop.audit().await;
}

/// Stripe keeps a failure under its key for a day; the piece is not held that long.
#[tokio::test]
async fn a_failure_that_stripe_repeats_holds_a_piece_no_longer_than_any() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    forget_the_call(&shop).await;
    shop.stripe
        .fail_next("POST /v1/checkout/sessions", Fault::ServerError, 1000);
    shop.wait(3 * MINUTE).await;
    assert_eq!(shop.sweep().await.waiting, 1);
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.wait(60 * MINUTE).await;
    assert_eq!(shop.sweep().await.settled, 1);
    assert_eq!(shop.statuses().await, ["failed"]);
    assert_eq!(shop.stock(&piece).await, (1, 0));
    shop.audit().await;
}

#[tokio::test]
async fn one_order_that_cannot_be_settled_does_not_stop_the_others() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 2).await;
    for _ in 0..2 {
        session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    }
    sqlx::query(
        "update checkouts set state = 'asking', session_id = null,
                request = case when order_id = (select order_id from checkouts order by created_at limit 1)
                               then '{}' else request end",
    )
    .execute(&shop.db)
    .await
    .expect("an unreadable request");
    shop.wait(3 * MINUTE).await;
    let swept = shop.sweep().await;
    assert_eq!((swept.settled, swept.waiting), (1, 1));
    assert_eq!(shop.statuses().await, ["pending", "failed"]);
    shop.audit().await;
}

/// The answer finds nobody: the address of the payment page is lost, and so must be the hold.
#[tokio::test]
async fn a_shopper_who_goes_away_in_the_middle_holds_nothing() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    shop.stripe.fail_next(
        "POST /v1/checkout/sessions",
        Fault::Slow(Duration::from_millis(400)),
        1,
    );
    let (shopper, lines) = (shop.shopper(), [(piece.as_str(), 1)]);
    let gone = tokio::time::timeout(Duration::from_millis(150), shopper.check_out(&lines));
    assert!(gone.await.is_err(), "the shopper is gone before the answer");
    let ended = async {
        while shop.statuses().await != ["cancelled"] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended)
        .await
        .expect("the hold ends");
    assert_eq!(shop.stock(&piece).await, (1, 0));
    assert_nothing_payable(&shop).await;
    shop.audit().await;
}

#[tokio::test]
async fn a_job_that_was_replaced_while_its_worker_died_is_let_go() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let begun = sqlx::query(
        "update graphile_worker._private_jobs set locked_by = 'a worker', locked_at = now(), attempts = 1",
    );
    begun.execute(&shop.db).await.expect("the queue");
    let admin = shop.admin(&[Scope::Catalog]).await;
    let path = format!("/api/products/{piece}/");
    let dearer = admin
        .send_json(Method::PATCH, &path, &json!({"price": 5200}))
        .await;
    assert_eq!(dearer.status, 200, "{}", dearer.text);
    // The worker was killed, and the others find that out.
    sqlx::query("select graphile_worker.recover_dead_worker_jobs(array['a worker'])")
        .execute(&shop.db)
        .await
        .expect("the queue");
    let left = shop.run_failing_jobs().await;
    assert_eq!(left.len(), 1, "{left:?}");

    shop.sweep_all().await;
    shop.run_jobs().await;
    let prices = shop.at_stripe("price").await;
    assert_eq!(prices.len(), 1);
    assert_eq!(prices[0]["unit_amount"], 5200);
}
