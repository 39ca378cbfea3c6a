//! Payment links: what we ask of Stripe for a piece made to order, and its stand-in, which keeps Stripe's rules of them.

mod rules;

use std::sync::Arc;

use serde_json::{Value, json};
use spirit_beads::stripe::{COUNTRIES, NewPaymentLink, PaymentLink, SessionStatus, StripeError};
use spirit_beads::types::ids::{CustomOrderId, QuoteId};
use spirit_beads::types::money::Cents;
use stripe_sandbox::Fault;

use crate::support::{Answer, Client, Leftover, STRIPE_KEY, Shop, at_once, card, delayed};

const CREATE: &str = "POST /v1/payment_links";

const RETURN: &str = "http://localhost:8080/custom-order-success";

/// A link for a piece of 90 dollars and shipping of 5.
fn new_link() -> NewPaymentLink {
    let quote = QuoteId::new();
    NewPaymentLink {
        quote,
        custom_order: CustomOrderId::new(),
        signature: "signed".to_owned(),
        currency: "usd".to_owned(),
        name: "Custom piece".to_owned(),
        description: Some("A case with <b>turtles".to_owned()),
        amount: Cents(9_000),
        shipping_name: "Shipping".to_owned(),
        shipping: Cents(500),
        countries: COUNTRIES.map(str::to_owned).to_vec(),
        return_url: RETURN.to_owned(),
        key: format!("quote-{quote}"),
    }
}

/// A link that Stripe made for us.
pub async fn asks_for_a_link(shop: &Shop) -> PaymentLink {
    let made = shop.app.stripe.create_payment_link(&new_link()).await;
    made.expect("a link")
}

/// Opens a session by the link, and copies both 120 times: more than a page of a list holds. The copies are newer.
pub async fn fill_the_lists(shop: &Shop, link: &PaymentLink) {
    opened(shop, &link.id).await;
    sqlx::query(
        "insert into stripe_sandbox.objects (id, object, created, data, private)
         select object || n, object, created,
                data || jsonb_build_object('id', object || n)
                     || case object when 'payment_link' then '{\"metadata\": {}}' else '{}' end::jsonb,
                private
         from stripe_sandbox.objects, generate_series(1, 120) as n
         where id = $1 or data ->> 'payment_link' = $1",
    )
    .bind(&link.id)
    .execute(&shop.db)
    .await
    .expect("more of them");
}

/// The session that a look at the link's page opens.
async fn opened(shop: &Shop, link: &str) -> String {
    shop.stripe.open_link(link).await.expect("a session")
}

/// The one link that Stripe has.
async fn at_stripe(shop: &Shop) -> Value {
    let mut links = shop.at_stripe("payment_link").await;
    assert_eq!(links.len(), 1);
    links.remove(0)
}

/// Asks the stand-in's own API.
async fn post(shop: &Shop, path: &str, form: &[(&str, &str)]) -> Answer {
    let fields: Vec<_> = form
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    api(shop).submit(path, &fields).await
}

fn api(shop: &Shop) -> Client {
    let address = shop.app.config.stripe.api_url.as_deref().expect("set");
    Client::to(address).with_token(STRIPE_KEY)
}

/// The least that makes a link, with changes; a dash leaves a parameter out.
fn form(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut form = vec![
        ("line_items[0][quantity]", "1"),
        ("line_items[0][price_data][currency]", "usd"),
        ("line_items[0][price_data][unit_amount]", "4800"),
        ("line_items[0][price_data][product_data][name]", "Sun"),
    ];
    for (name, value) in changes {
        form.retain(|(known, _)| known != name);
        if *value != "-" {
            form.push((name, value));
        }
    }
    form
}

/// A link made over the stand-in's own API.
async fn made(shop: &Shop, changes: &[(&'static str, &'static str)]) -> Value {
    let answer = post(shop, "/v1/payment_links", &form(changes)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json
}

#[tokio::test]
async fn a_link_is_for_one_payment_of_the_price_and_the_shipping() {
    let shop = Shop::open().await;
    let new = new_link();
    let link = shop.app.stripe.create_payment_link(&new).await;
    let link = link.expect("a link");
    assert!(link.active && link.url.starts_with(&shop.address));
    let known = at_stripe(&shop).await;
    assert_eq!(known["id"], link.id);
    let names = json!({
        "custom_request_id": new.custom_order,
        "quote_id": new.quote,
        "quote_signature": new.signature
    });
    assert_eq!(known["metadata"], names);
    assert_eq!(known["payment_intent_data"]["metadata"], names);
    assert_eq!(
        known["restrictions"],
        json!({"completed_sessions": {"count": 0, "limit": 1}})
    );
    assert_eq!(
        known["after_completion"],
        json!({"type": "redirect", "redirect": {"url": RETURN}})
    );

    let session = shop.session(&opened(&shop, &link.id).await).await;
    assert_eq!(
        (
            &session["status"],
            &session["mode"],
            &session["amount_total"],
            &session["payment_link"],
            &session["metadata"],
        ),
        (
            &json!("open"),
            &json!("payment"),
            &json!(9500),
            &json!(link.id),
            &names
        )
    );
    let lifetime = session["expires_at"]
        .as_i64()
        .zip(session["created"].as_i64());
    assert_eq!(lifetime.map(|(end, start)| end - start), Some(24 * 60 * 60));
    let countries = session["shipping_address_collection"]["allowed_countries"].as_array();
    assert_eq!(countries.map(Vec::len), Some(60));

    let free = NewPaymentLink {
        shipping: Cents(0),
        description: None,
        ..new_link()
    };
    let link = shop.app.stripe.create_payment_link(&free).await;
    let session = opened(&shop, &link.expect("a link").id).await;
    let lines = format!("/v1/checkout/sessions/{session}/line_items");
    let lines = api(&shop).get(&lines).await.json;
    assert_eq!(lines["data"].as_array().map(Vec::len), Some(1), "{lines}");
}

#[tokio::test]
async fn a_link_asked_for_again_is_the_same_one() {
    let shop = Shop::open().await;
    let new = new_link();
    let stripe = &shop.app.stripe;
    let first = stripe.create_payment_link(&new).await.expect("a link");
    // As it comes back from the database.
    let stored = serde_json::to_value(&new).expect("JSON");
    let again = serde_json::from_value(stored).expect("what was stored");
    let again = stripe.create_payment_link(&again).await.expect("a link");
    assert_eq!(first, again);

    let dearer = NewPaymentLink {
        amount: Cents(9_900),
        ..new
    };
    let other = stripe.create_payment_link(&dearer).await;
    assert!(matches!(other, Err(StripeError::Unknown(_))), "{other:?}");
    at_stripe(&shop).await;
}

#[tokio::test]
async fn a_link_whose_answer_was_lost_is_found_by_its_quote() {
    let shop = Shop::open().await;
    let stripe = &shop.app.stripe;
    let new = new_link();
    shop.stripe.fail_next(CREATE, Fault::ActThenDrop, 3);
    let lost = stripe.create_payment_link(&new).await;
    assert!(matches!(lost, Err(StripeError::Unknown(_))), "{lost:?}");

    let known = at_stripe(&shop).await;
    let found = stripe.find_payment_link(new.quote).await;
    let found = found.expect("an answer").expect("the link");
    assert_eq!((known["id"] == *found.id, found.active), (true, true));
    let other = stripe.find_payment_link(QuoteId::new()).await;
    assert_eq!(other.expect("an answer"), None);

    for _ in 0..2 {
        let closed = stripe.deactivate_payment_link(&found.id).await;
        closed.expect("closed, and closed again");
    }
    let closed = stripe.find_payment_link(new.quote).await;
    let closed = closed.expect("an answer").expect("the link");
    assert_eq!((closed.id, closed.active), (found.id, false));
    let none = stripe.deactivate_payment_link("plink_none").await;
    assert!(none.is_err_and(|error| error.is_missing()));
}

#[tokio::test]
async fn a_link_is_looked_for_page_by_page_and_not_for_ever() {
    let shop = Shop::open().await;
    let stripe = &shop.app.stripe;
    let new = new_link();
    let link = stripe.create_payment_link(&new).await.expect("a link");
    fill_the_lists(&shop, &link).await;
    let id = link.id.clone();
    let found = stripe.find_payment_link(new.quote).await;
    assert_eq!(found.expect("an answer"), Some(link));

    let grows = async |from: i32, to: i32| {
        sqlx::query(
            "insert into stripe_sandbox.objects (id, object, created, data)
             select id || '_' || n, object, created, data || jsonb_build_object('id', id || '_' || n)
             from stripe_sandbox.objects, generate_series($1, $2) as n
             where id = 'payment_link1'",
        )
        .bind(from)
        .bind(to)
        .execute(&shop.db)
        .await
        .expect("very many links");
    };
    // In a shop that has made many, one is found, and one that was never made is known not to be there.
    grows(1, 2000).await;
    let found = stripe.find_payment_link(new.quote).await;
    assert_eq!(found.expect("an answer").map(|link| link.id), Some(id));
    let none = stripe.find_payment_link(QuoteId::new()).await;
    assert_eq!(none.expect("an answer"), None);

    grows(2001, 12_000).await;
    let before = shop.stripe.requests().len();
    let unknown = stripe.find_payment_link(new.quote).await;
    assert!(
        matches!(unknown, Err(StripeError::Unknown(_))),
        "{unknown:?}"
    );
    assert_eq!(shop.stripe.requests().len() - before, 100);
}

#[tokio::test]
async fn the_sessions_of_a_link_are_all_of_its_own() {
    let shop = Shop::open().await;
    let stripe = &shop.app.stripe;
    let link = asks_for_a_link(&shop).await;
    let other = asks_for_a_link(&shop).await;
    opened(&shop, &other.id).await;
    fill_the_lists(&shop, &link).await;
    let newest = opened(&shop, &link.id).await;
    let sessions = stripe.list_link_sessions(&link.id).await;
    let sessions = sessions.expect("the sessions");
    assert_eq!((sessions.len(), &sessions[0].id), (122, &newest));
    assert!(
        sessions
            .iter()
            .all(|session| session.payment_link.as_ref() == Some(&link.id))
    );
    assert_eq!(
        stripe.list_link_sessions("plink_none").await.expect("none"),
        []
    );
}

#[tokio::test]
async fn of_twenty_payers_on_one_link_one_pays() {
    let shop = Arc::new(Shop::open().await);
    shop.leaves(Leftover::UnsettledMoney);
    let link = asks_for_a_link(&shop).await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(opened(&shop, &link.id).await);
    }
    let payers = sessions.clone().into_iter().map(|session| {
        let shop = Arc::clone(&shop);
        async move { shop.stripe.pay(&session, card()).await.is_ok() }
    });
    let paid = at_once(payers).await;
    assert_eq!(paid.iter().filter(|paid| **paid).count(), 1);
    assert_eq!(shop.at_stripe("charge").await.len(), 1);
    let known = at_stripe(&shop).await;
    assert_eq!(
        (
            &known["active"],
            &known["restrictions"]["completed_sessions"]["count"]
        ),
        (&json!(false), &json!(1))
    );
    let refused = shop.stripe.open_link(&link.id).await.expect_err("closed");
    assert_eq!(known["inactive_message"], refused.to_string());

    // The others see so, and their sessions end like any.
    let late = paid.iter().position(|paid| !paid).expect("a loser");
    let path = format!("/sandbox/pay/{}", sessions[late]);
    let page = shop.client.get(&path).await;
    assert_eq!(page.status, 410);
    assert!(page.text.contains("paid for already"), "{}", page.text);
    let expired = shop.app.stripe.expire_session(&sessions[late]).await;
    assert_eq!(expired.expect("a session").status, SessionStatus::Expired);
    let page = shop.client.get(&path).await;
    assert!(page.text.contains("has expired") && page.text.contains(&link.url));
}

#[tokio::test]
async fn a_closed_link_opens_no_session_but_one_opened_before_can_be_paid() {
    let shop = Shop::open().await;
    shop.leaves(Leftover::UnsettledMoney);
    let stripe = &shop.app.stripe;
    let link = asks_for_a_link(&shop).await;
    let session = opened(&shop, &link.id).await;
    let closed = stripe.deactivate_payment_link(&link.id).await;
    closed.expect("a closed link");
    assert!(shop.stripe.open_link(&link.id).await.is_err());
    assert_eq!(shop.at_stripe("checkout.session").await.len(), 1);

    shop.stripe.pay(&session, card()).await.expect("a payment");
    let sessions = stripe.list_link_sessions(&link.id).await;
    assert!(sessions.expect("the sessions")[0].is_paid());
}

#[tokio::test]
async fn a_payment_by_a_link_names_its_request_to_the_end() {
    let shop = Shop::open().await;
    shop.leaves(Leftover::UnsettledMoney);
    let stripe = &shop.app.stripe;
    let new = new_link();
    let link = stripe.create_payment_link(&new).await.expect("a link");
    let id = opened(&shop, &link.id).await;
    shop.stripe.pay(&id, card()).await.expect("a payment");

    let session = stripe.find_session(&id).await.expect("the session");
    assert_eq!(session.payment_link, Some(link.id.clone()));
    assert_eq!(
        session.custom_order_reference,
        Some(new.custom_order.to_string())
    );
    assert_eq!(session.quote_reference, Some(new.quote.to_string()));
    assert_eq!(session.amount_total, Some(Cents(9_500)));
    assert!(session.is_paid() && session.shipping_address.is_some());
    let told = shop.event("checkout.session.completed").await;
    let told = &told["data"]["object"];
    assert_eq!(
        (&told["payment_link"], &told["metadata"]["quote_id"]),
        (&json!(link.id), &json!(new.quote))
    );
    let intent = shop.at_stripe("payment_intent").await.remove(0);
    assert_eq!(intent["metadata"], told["metadata"]);

    let payment = shop.payment_of(&id).await;
    let part = shop.stripe.refund(&payment, Some(500)).await;
    part.expect("a refund");
    let dispute = shop.stripe.dispute(&payment).await;
    dispute.expect("a dispute");
}

#[tokio::test]
async fn a_delayed_payment_takes_the_links_place_and_a_declined_one_does_not() {
    let shop = Shop::open().await;
    shop.leaves(Leftover::UnsettledMoney);
    let link = asks_for_a_link(&shop).await;
    let (first, second) = (opened(&shop, &link.id).await, opened(&shop, &link.id).await);
    let attempt = json!({"how": "declined"});
    let attempt = serde_json::from_value(attempt).expect("a payment");
    shop.stripe.pay(&first, attempt).await.expect("an attempt");
    assert_eq!(at_stripe(&shop).await["active"], true);

    shop.stripe
        .pay(&second, delayed())
        .await
        .expect("a promise");
    assert!(shop.stripe.pay(&first, card()).await.is_err());
    let settled = shop.stripe.settle_delayed(&second, true).await;
    settled.expect("the money");
    let told = shop.event("checkout.session.async_payment_succeeded").await;
    assert_eq!(told["data"]["object"]["payment_link"], link.id);
}
