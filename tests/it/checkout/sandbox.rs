//! A purchase by the sandbox's own pages and webhooks. Its rules are tested in `crates/stripe-sandbox`.

use serde_json::Value;

use crate::support::{Shop, card, form_of, session_of};

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
