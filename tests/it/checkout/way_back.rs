//! The cancel link of the payment page.

use reqwest::Method;
use stripe_sandbox::Fault;

use super::way_back;
use crate::support::forms::Form;
use crate::support::{Shop, at_once, card, session_of};

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
