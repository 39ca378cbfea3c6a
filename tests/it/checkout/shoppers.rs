//! Shoppers as they are: they go back, open a second tab, click twice, change their minds.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use stripe_sandbox::{Address, Buyer, Fault, Payment};

use crate::support::forms::Form;
use crate::support::{Answer, Client, PATIENT, Shop, at_once, card, delayed, session_of};

const CREATE: &str = "POST /v1/checkout/sessions";
const EXPIRE: &str = "POST /v1/checkout/sessions/{id}/expire";
const MINUTE: Duration = Duration::from_secs(60);

/// The path of the cancel address that Stripe was given for a session.
async fn way_back(shop: &Shop, session: &str) -> String {
    let session = shop.session(session).await;
    let address = session["cancel_url"].as_str().expect("an address");
    let path = address
        .strip_prefix(&shop.address)
        .expect("our own address");
    path.to_owned()
}

#[tokio::test]
async fn going_back_and_checking_out_again_takes_the_place_of_the_first() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    let second = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    assert_ne!(first, second);
    assert_eq!(shop.session(&first).await["status"], "expired");
    assert_eq!(shop.status_of(&first).await, "cancelled");
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.stripe.pay(&second, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.status_of(&first).await, "cancelled");
    assert_eq!(shop.status_of(&second).await, "paid");
    assert_eq!(shop.stock(&piece).await, (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn a_changed_cart_that_cannot_be_bought_leaves_the_first_to_be_paid() {
    let shop = Shop::open().await;
    let (piece, gone) = (
        shop.stocks("Sunrise", 1).await,
        shop.stocks("Sunset", 0).await,
    );
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    let answer = shopper.check_out(&[(&piece, 1), (&gone, 1)]).await;
    assert_eq!(answer.line_errors(), ["product_sold_out"]);
    assert_eq!(shop.status_of(&first).await, "pending");
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.stripe.pay(&first, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.status_of(&first).await, "paid");
    shop.audit().await;
}

#[tokio::test]
async fn a_first_checkout_paid_meanwhile_is_respected() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 2).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&first, card()).await.expect("a payment");
    // Its webhook is still on the way.
    let second = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    assert_eq!(shop.status_of(&first).await, "paid");
    assert_eq!(shop.status_of(&second).await, "pending");
    shop.deliver().await;
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.audit().await;
}

#[tokio::test]
async fn a_first_checkout_whose_money_is_on_its_way_keeps_its_pieces() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&first, delayed()).await.expect("a payment");
    let answer = shopper.check_out(&[(&piece, 1)]).await;
    assert_eq!(answer.line_errors(), ["product_sold_out"]);
    assert_eq!(shop.status_of(&first).await, "pending");
    shop.stripe
        .settle_delayed(&first, true)
        .await
        .expect("the money");
    shop.deliver().await;
    assert_eq!(shop.status_of(&first).await, "paid");
    shop.audit().await;
}

#[tokio::test]
async fn of_two_tabs_at_once_one_holds_the_last_piece() {
    let shop = Shop::open_with(&[PATIENT]).await;
    let piece = shop.stocks("Sunrise", 1).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    let tabs = (0..6).map(|_| {
        let (tab, piece) = (shopper.clone(), piece.clone());
        async move { tab.check_out(&[(&piece, 1)]).await }
    });
    let answers = at_once(tabs).await;
    let pages: Vec<&Answer> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .collect();
    for answer in &answers {
        assert!([200, 400, 503].contains(&answer.status), "{}", answer.text);
    }
    assert!(!pages.is_empty());
    assert_eq!(shop.stock(&piece).await, (1, 1));
    assert_eq!(shop.session(&first).await["status"], "expired");
    let open = shop.at_stripe("checkout.session").await;
    let open = open
        .iter()
        .filter(|session| session["status"] == "open")
        .count();
    assert_eq!(open, 1, "one page can be paid");
    shop.deliver().await;
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.audit().await;
}

#[tokio::test]
async fn a_forged_cookie_supersedes_nothing() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let first = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    let order = shop.order(&first).await["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let back = way_back(&shop, &first).await;
    let cancel_token = back
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .expect("a token")
        .to_owned();
    for forged in [
        order.clone(),
        format!("{order}.{}", "0".repeat(32)),
        cancel_token,
    ] {
        let cookie = format!("sb_checkout={forged}");
        let headers = [("cookie", cookie.as_str())];
        let answer = shop.client.check_out_with(&[(&piece, 1)], &headers).await;
        assert_eq!(answer.line_errors(), ["product_sold_out"]);
        let seen = shop
            .client
            .send(
                reqwest::Method::GET,
                "/api/products/sunrise/",
                &headers,
                None::<String>,
            )
            .await;
        assert_eq!(seen.json["inventory_count"], 0);
    }
    assert_eq!(shop.status_of(&first).await, "pending");
}

#[tokio::test]
async fn the_cookie_is_for_our_eyes_only() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let answer = shop.shopper().check_out(&[(&piece, 1)]).await;
    let cookie = answer.header("set-cookie");
    for part in [
        "sb_checkout=",
        "HttpOnly",
        "SameSite=Lax",
        "Path=/",
        "Max-Age=",
    ] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// What a caller sees of a piece, in every kind of read.
async fn counts(caller: &Client) -> Vec<Value> {
    let list = caller.get("/api/products/").await.json;
    let batch = caller.get("/api/products/batch/?ids=sunrise").await.json;
    let detail = caller.get("/api/products/sunrise/").await.json;
    let availability = caller
        .get("/api/products/sunrise/check_availability/")
        .await
        .json;
    [
        &list["results"][0],
        &batch["products"][0],
        &detail,
        &availability,
    ]
    .map(|view| {
        json!([
            view["inventory_count"],
            view["is_sold_out"],
            view["is_in_stock"]
        ])
    })
    .to_vec()
}

#[tokio::test]
async fn what_shoppers_hold_looks_sold_to_others_and_not_to_themselves() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let (holder, other) = (shop.shopper(), shop.shopper());
    let (there, gone) = (json!([1, false, true]), json!([0, true, false]));
    assert_eq!(counts(&other).await, vec![there.clone(); 4]);
    let session = session_of(&holder.check_out(&[(&piece, 1)]).await);
    assert_eq!(counts(&other).await, vec![gone.clone(); 4]);
    assert_eq!(counts(&holder).await, vec![there.clone(); 4]);
    shop.stripe
        .expire(&session)
        .await
        .expect("its time has come");
    shop.deliver().await;
    assert_eq!(counts(&other).await, vec![there.clone(); 4]);
    assert_eq!(counts(&holder).await, vec![there; 4]);
    let session = session_of(&other.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(
        counts(&other).await,
        vec![gone.clone(); 4],
        "bought is not held"
    );
    assert_eq!(counts(&holder).await, vec![gone; 4]);
}

#[tokio::test]
async fn the_way_back_frees_the_pieces_and_leads_to_the_storefront() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let shopper = shop.shopper();
    let session = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    let back = way_back(&shop, &session).await;
    for _ in 0..3 {
        let answer = shopper.follow(&back).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        assert_eq!(answer.header("location"), "http://localhost:8080/cancel");
        assert_eq!(shop.status_of(&session).await, "cancelled");
        assert_eq!(shop.stock(&piece).await, (1, 0));
    }
    assert_eq!(shop.session(&session).await["status"], "expired");
    shop.deliver().await;
    assert_eq!(shop.status_of(&session).await, "cancelled");
    session_of(&shopper.check_out(&[(&piece, 1)]).await);
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shopper.follow(&back).await;
    assert_eq!(
        shop.stock(&piece).await,
        (1, 1),
        "the way back from the first does not end the second"
    );
    shop.audit().await;
}

#[tokio::test]
async fn a_way_back_that_nobody_has_opened_changes_nothing() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let shopper = shop.shopper();
    let session = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    let back = way_back(&shop, &session).await;
    let opened = [
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    let ahead = |header: (&'static str, &'static str)| [opened[0], opened[1], header];
    // A scanner, a part of a page, a browser that fetches ahead in three ways, and a look at the head alone.
    for (method, headers) in [
        (Method::GET, &[][..]),
        (
            Method::GET,
            &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
        ),
        (Method::GET, &ahead(("sec-purpose", "prefetch"))),
        (Method::GET, &ahead(("purpose", "prefetch"))),
        (Method::GET, &ahead(("x-moz", "prefetch"))),
        (Method::HEAD, &opened),
        (Method::HEAD, &[]),
    ] {
        let answer = shopper
            .send(method.clone(), &back, headers, None::<String>)
            .await;
        assert_eq!(answer.status, 200, "{method} {headers:?}");
        assert!(answer.header("content-type").starts_with("text/html"));
        assert_eq!(shop.status_of(&session).await, "pending");
    }
    assert_eq!(shop.session(&session).await["status"], "open");
    assert_eq!(shop.stock(&piece).await, (1, 1));
    // The page asks, and its form does it.
    let page = shopper.get(&back).await.text;
    let form = &Form::all(&page)[0];
    assert_eq!((form.action.as_str(), form.pairs().len()), ("", 0));
    let answer = shopper.submit(&back, &form.pairs()).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "http://localhost:8080/cancel")
    );
    assert_eq!(shop.status_of(&session).await, "cancelled");
    assert_eq!(shop.stock(&piece).await, (1, 0));
    shop.audit().await;
}

#[tokio::test]
async fn two_tabs_at_once_are_not_told_that_their_own_piece_is_sold_out() {
    let shop = Shop::open_with(&[PATIENT]).await;
    let piece = shop.stocks("Sunrise", 1).await;
    let shopper = shop.shopper();
    session_of(&shopper.check_out(&[(&piece, 1)]).await);
    shop.stripe
        .fail_next(CREATE, Fault::Slow(Duration::from_millis(300)), 2);
    let tabs = (0..4).map(|_| {
        let (shopper, piece) = (shopper.clone(), piece.clone());
        async move { shopper.check_out(&[(&piece, 1)]).await }
    });
    let pages: Vec<String> = at_once(tabs).await.iter().map(session_of).collect();
    let mut open = Vec::new();
    for page in &pages {
        if shop.session(page).await["status"] == "open" {
            open.push(page.clone());
        }
    }
    assert_eq!(open.len(), 1, "one of them can be paid: {pages:?}");
    assert_eq!(shop.status_of(&open[0]).await, "pending");
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.run_jobs().await;
    assert_eq!(shop.status_of(&open[0]).await, "pending");
    shop.stripe.pay(&open[0], card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.stock(&piece).await, (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn a_cart_with_an_invalid_line_leaves_the_former_payment_page_alone() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 2).await;
    shop.stocks("Empty", 0).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    for (cart, error) in [
        (&[("sunrise", 1), ("empty", 1)][..], "product_sold_out"),
        (&[("sunrise", 1), ("gone", 1)], "product_not_found"),
        (&[("sunrise", 3)], "insufficient_inventory"),
    ] {
        let answer = shopper.check_out(cart).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.line_errors(), [error]);
        let once = shopper.check_out_once(error, cart).await;
        assert_eq!(once.line_errors(), [error]);
        assert_eq!(shop.session(&first).await["status"], "open");
        assert_eq!(shop.status_of(&first).await, "pending");
        assert_eq!(shop.stock(&piece).await, (2, 1));
    }
    // Both pieces, of which one is the shopper's own.
    let second = session_of(&shopper.check_out(&[(&piece, 2)]).await);
    assert_eq!(shop.session(&first).await["status"], "expired");
    assert_eq!(shop.status_of(&second).await, "pending");
    shop.audit().await;
}

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
async fn twenty_ways_back_at_once_free_the_pieces_once() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 2).await;
    session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let back = way_back(&shop, &session).await;
    let clicks = (0..20).map(|_| {
        let (client, back) = (shop.client.clone(), back.clone());
        async move { client.follow(&back).await.status }
    });
    assert_eq!(at_once(clicks).await, [303; 20]);
    shop.deliver().await;
    assert_eq!(shop.stock(&piece).await, (2, 1));
    shop.audit().await;
}

#[tokio::test]
async fn the_way_back_after_paying_leads_to_success() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    let back = way_back(&shop, &session).await;
    shop.stripe.pay(&session, card()).await.expect("a payment");
    for _ in 0..2 {
        let answer = shop.client.follow(&back).await;
        assert_eq!(answer.status, 303);
        assert_eq!(answer.header("location"), "http://localhost:8080/success");
        assert_eq!(shop.status_of(&session).await, "paid");
        shop.deliver().await;
    }
    assert_eq!(shop.stock(&piece).await, (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn a_forged_way_back_is_no_way() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let answer = shop.shopper().check_out(&[(&piece, 1)]).await;
    let session = session_of(&answer);
    let order = shop.order(&session).await["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let cookie = answer.header("set-cookie");
    let cookie = cookie["sb_checkout=".len()..]
        .split(';')
        .next()
        .expect("a value");
    for token in [
        &order,
        &format!("{order}.{}", "0".repeat(32)),
        cookie,
        "x",
        "%00",
    ] {
        let answer = shop
            .client
            .follow(&format!("/api/payments/cancel/{token}/"))
            .await;
        assert_eq!(answer.status, 404, "{token}");
        assert!(answer.json["code"].is_string(), "{token}: {}", answer.text);
    }
    assert_eq!(shop.status_of(&session).await, "pending");
}

#[tokio::test]
async fn one_who_went_back_while_stripe_was_out_is_not_blocked_by_their_own_hold() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    let back = way_back(&shop, &first).await;
    shop.stripe.fail_next("*", Fault::RateLimited, 100);
    let answer = shopper.follow(&back).await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), "http://localhost:8080/cancel");
    assert_eq!(shop.stock(&piece).await, (1, 1), "it might still be paid");
    assert_eq!(shopper.check_out(&[(&piece, 1)]).await.status, 503);
    shop.stripe.clear_faults();
    session_of(&shopper.check_out(&[(&piece, 1)]).await);
    assert_eq!(shop.status_of(&first).await, "cancelled");
    shop.audit().await;
}

#[tokio::test]
async fn a_former_checkout_that_cannot_be_ended_is_not_replaced() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 2).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    shop.stripe.fail_next(EXPIRE, Fault::Drop, 100);
    let answer = shopper.check_out(&[(&piece, 1)]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json["code"], "payment_unavailable");
    assert_eq!(shop.status_of(&first).await, "pending");
    assert_eq!(shop.stock(&piece).await, (2, 1));
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

#[tokio::test]
async fn an_expired_hold_is_free_by_its_webhook() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe
        .expire(&session)
        .await
        .expect("its time has come");
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.deliver().await;
    assert_eq!(shop.status_of(&session).await, "expired");
    assert_eq!(shop.stock(&piece).await, (1, 0));
    shop.wait(60 * MINUTE).await;
    shop.sweep().await;
    assert_eq!(shop.stock(&piece).await, (1, 0));
    shop.audit().await;
}

/// The addresses to which Stripe sends a shopper who checked out from an origin: after paying, and after going back.
async fn addresses(shop: &Shop, piece: &str, headers: &[(&str, &str)]) -> (String, String) {
    let session = session_of(&shop.client.check_out_with(&[(piece, 1)], headers).await);
    let back = way_back(shop, &session).await;
    let back = shop
        .client
        .follow(&back)
        .await
        .header("location")
        .to_owned();
    let success = shop.session(&session).await["success_url"]
        .as_str()
        .expect("an address")
        .to_owned();
    (success, back)
}

#[tokio::test]
async fn shoppers_return_to_the_origin_they_came_from_if_it_is_ours() {
    let shop = Shop::open_with(&[
        ("FRONTEND_URL", "https://shop.example"),
        ("CORS_ALLOWED_ORIGINS", "https://beta.shop.example"),
    ])
    .await;
    let piece = shop.stocks("Sunrise", 1).await;
    let to = |origin: &str| {
        let success = format!("{origin}/success?session_id={{CHECKOUT_SESSION_ID}}");
        (success, format!("{origin}/cancel"))
    };
    let beta = [("origin", "https://beta.shop.example")];
    assert_eq!(
        addresses(&shop, &piece, &beta).await,
        to("https://beta.shop.example")
    );
    for foreign in [
        "https://evil.example",
        "https://beta.shop.example.evil.example",
        "http://beta.shop.example",
        "null",
        "https://beta.shop.example@evil.example",
        "javascript:alert(1)",
    ] {
        let origin = [("origin", foreign)];
        assert_eq!(
            addresses(&shop, &piece, &origin).await,
            to("https://shop.example"),
            "{foreign}"
        );
    }
    assert_eq!(
        addresses(&shop, &piece, &[]).await,
        to("https://shop.example")
    );
}

#[tokio::test]
async fn the_country_that_a_trusted_proxy_names_decides_the_shipping() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 9).await;
    for (country, price) in [
        ("US", 500),
        ("CA", 1500),
        ("mx", 1500),
        ("DE", 2000),
        ("XX", 500),
        ("?", 500),
    ] {
        let headers = [("cf-ipcountry", country)];
        let session = session_of(&shop.client.check_out_with(&[(&piece, 1)], &headers).await);
        assert_eq!(shop.order(&session).await["shipping"], price, "{country}");
        assert_eq!(
            shop.session(&session).await["amount_total"],
            4700 + price,
            "{country}"
        );
    }
}

#[tokio::test]
async fn the_country_that_a_stranger_names_decides_nothing() {
    let shop = Shop::open_with(&[("TRUSTED_PROXIES", "10.0.0.0/8")]).await;
    let piece = shop.stocks("Sunrise", 9).await;
    let headers = [("cf-ipcountry", "DE"), ("x-forwarded-for", "10.0.0.1")];
    let session = session_of(&shop.client.check_out_with(&[(&piece, 1)], &headers).await);
    assert_eq!(shop.order(&session).await["shipping"], 500);
}

#[tokio::test]
async fn an_address_outside_the_zone_that_was_paid_is_flagged() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 9).await;
    for (country, outside) in [("DE", true), ("CA", true), ("US", false)] {
        let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
        let address = Address {
            country: country.to_owned(),
            ..Address::default()
        };
        let buyer = Buyer {
            address,
            ..Buyer::default()
        };
        shop.stripe
            .pay(&session, Payment::Card(buyer))
            .await
            .expect("a payment");
        shop.deliver().await;
        let order = shop.order(&session).await;
        assert_eq!(order["status"], "paid");
        assert_eq!(order["outside_zone"], outside, "{country}");
        assert_eq!(
            order["review_items"][0]["text"].is_string(),
            outside,
            "{country}"
        );
    }
    shop.audit().await;
}

#[tokio::test]
async fn a_payment_page_leaves_five_minutes_for_clocks_that_differ() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let id = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let session = shop.session(&id).await;
    let lasts = session["expires_at"].as_i64().expect("a time")
        - session["created"].as_i64().expect("a time");
    // Stripe refuses less than 30 minutes by its own clock.
    assert!((34 * 60..=35 * 60).contains(&lasts), "{lasts}");
    let outlives: f64 = sqlx::query_scalar(
        "select extract(epoch from hold_until - to_timestamp($1))::float8 from checkouts",
    )
    .bind(session["expires_at"].as_f64())
    .fetch_one(&shop.db)
    .await
    .expect("the hold");
    assert!(
        outlives > 300.0,
        "the session outlives the hold: {outlives}"
    );
}

/// The rates and the countries that a session offers.
async fn offered(
    shop: &Shop,
    piece: &str,
    headers: &[(&str, &str)],
) -> (String, Vec<i64>, Vec<String>) {
    let id = session_of(&shop.shopper().check_out_with(&[(piece, 1)], headers).await);
    let session = shop.session(&id).await;
    let options = session["shipping_options"].as_array().expect("options");
    let prices = options
        .iter()
        .map(|option| option["shipping_amount"].as_i64().expect("a price"));
    let countries = session["shipping_address_collection"]["allowed_countries"]
        .as_array()
        .expect("countries");
    let countries = countries
        .iter()
        .map(|code| code.as_str().expect("a code").to_owned());
    (id.clone(), prices.collect(), countries.collect())
}

#[tokio::test]
async fn a_session_ships_to_the_countries_of_the_zone_that_was_priced() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 9).await;
    for (country, price, count, inside, outside) in [
        ("US", 500, 1, "US", "CA"),
        ("CA", 1500, 2, "MX", "US"),
        ("DE", 2000, 57, "JP", "US"),
    ] {
        let (id, prices, countries) = offered(&shop, &piece, &[("cf-ipcountry", country)]).await;
        assert_eq!((prices, countries.len()), (vec![price], count), "{country}");
        let pay = async |country: &str| {
            let address = Address {
                country: country.to_owned(),
                ..Address::default()
            };
            let buyer = Buyer {
                address,
                ..Buyer::default()
            };
            shop.stripe.pay(&id, Payment::Card(buyer)).await
        };
        assert!(pay(outside).await.is_err(), "{country}: to {outside}");
        pay(inside).await.expect("a payment");
        shop.deliver().await;
        assert_eq!(shop.order(&id).await["outside_zone"], false);
    }
    shop.audit().await;
}

#[tokio::test]
async fn whoever_chooses_the_zone_pays_its_rate_and_a_wrong_one_is_flagged() {
    // Nobody is believed to know the country.
    let shop = Shop::open_with(&[("TRUSTED_PROXIES", "192.0.2.1")]).await;
    let piece = shop.stocks("Sunrise", 9).await;
    for (option, country, shipping, zone, outside) in [
        (0, "US", 500, "us", false),
        (1, "CA", 1500, "north_america", false),
        (2, "DE", 2000, "international", false),
        (0, "DE", 500, "us", true),
    ] {
        let (id, prices, countries) = offered(&shop, &piece, &[("cf-ipcountry", "DE")]).await;
        assert_eq!((prices, countries.len()), (vec![500, 1500, 2000], 60));
        let address = Address {
            country: country.to_owned(),
            ..Address::default()
        };
        let buyer = Buyer {
            address,
            shipping_option: option,
            ..Buyer::default()
        };
        shop.stripe
            .pay(&id, Payment::Card(buyer))
            .await
            .expect("a payment");
        shop.deliver().await;
        let order = shop.order(&id).await;
        assert_eq!(order["status"], "paid", "{country} {option}");
        assert_eq!(order["shipping"], shipping, "{country} {option}");
        assert_eq!(order["total"], 4700 + shipping, "{country} {option}");
        assert_eq!(order["shipping_zone"], zone, "{country} {option}");
        assert_eq!(order["outside_zone"], outside, "{country} {option}");
    }
    shop.audit().await;
}

#[tokio::test]
async fn a_rate_that_was_not_offered_pays_for_nothing() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let (id, _, _) = offered(&shop, &piece, &[]).await;
    shop.stripe.pay(&id, card()).await.expect("a payment");
    let mut event = shop.event("checkout.session.completed").await;
    event["data"]["object"]["amount_total"] = json!(4701);
    event["data"]["object"]["total_details"]["amount_shipping"] = json!(1);
    assert_eq!(shop.webhook(&event).await.status, 200);
    assert_eq!(shop.order(&id).await["status"], "failed");
}
