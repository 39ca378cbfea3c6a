//! The stand-in's pages, failures and parameters of payment links, as Stripe has them.

use serde_json::{Value, json};
use spirit_beads::stripe::{NewPaymentLink, StripeError};
use stripe_sandbox::Fault;

use super::{CREATE, RETURN, api, asks_for_a_link, at_stripe, form, made, new_link, opened, post};
use crate::support::{Leftover, Shop, card, form_of};

#[tokio::test]
async fn a_links_page_leads_to_the_payment_and_back_to_the_shop() {
    let shop = Shop::open().await;
    shop.leaves(Leftover::UnsettledMoney);
    let shopper = shop.shopper();
    let new = NewPaymentLink {
        return_url: format!("{RETURN}?session={{CHECKOUT_SESSION_ID}}"),
        ..new_link()
    };
    let link = shop.app.stripe.create_payment_link(&new).await;
    let link = link.expect("a link");
    let path = link.url.trim_start_matches(&shop.address);
    let mut routes = Vec::new();
    for _ in 0..2 {
        let page = shopper.get(path).await;
        assert_eq!(page.status, 303);
        let page = shopper.get(page.header("location")).await;
        assert_eq!(page.status, 200);
        for text in ["Pay $95.00", "Custom piece", "Shipping"] {
            assert!(page.text.contains(text), "{text}");
        }
        assert!(!page.text.contains("<b>turtles") && !page.text.contains("<script"));
        let (action, mut fields) = form_of(&page.text);
        fields.push(("how".to_owned(), "card".to_owned()));
        routes.push((action, fields));
    }
    let (action, fields) = &routes[0];
    let paid = shopper.submit(action, fields).await;
    let session = action.rsplit('/').next().expect("an id");
    assert_eq!(
        (paid.status, paid.header("location")),
        (303, format!("{RETURN}?session={session}").as_str())
    );

    let (action, fields) = &routes[1];
    let late = shopper.submit(action, fields).await;
    assert_eq!(late.status, 410);
    assert!(late.text.contains("paid for already"), "{}", late.text);
    let closed = shopper.get(path).await;
    assert_eq!(closed.status, 410);
    assert!(closed.text.contains("takes no more payments"));
    for odd in ["plink_none", "%00"] {
        let none = shopper.get(&format!("/sandbox/link/{odd}")).await;
        assert_eq!(none.status, 404, "{odd}");
    }
}

#[tokio::test]
async fn the_dashboard_shows_links_and_closes_them() {
    let shop = Shop::open().await;
    let link = asks_for_a_link(&shop).await;
    let board = shop.client.get("/sandbox/").await;
    assert!(board.text.contains(&link.id) && board.text.contains("0 of 1 payments"));
    let (action, fields) = form_of(&board.text);
    assert!(fields.contains(&("id".to_owned(), link.id.clone())));
    assert_eq!(shop.client.submit(&action, &fields).await.status, 303);
    assert_eq!(at_stripe(&shop).await["active"], false);
    let board = shop.client.get("/sandbox/").await;
    assert!(!board.text.contains("Deactivate") && board.text.contains("closed"));
}

#[tokio::test]
async fn a_fault_of_a_links_call_is_told_by_what_it_means() {
    let shop = Shop::open().await;
    let refused = Fault::Refused {
        code: "url_invalid".to_owned(),
        message: "Not a valid URL".to_owned(),
        param: None,
    };
    for (fault, kind, links) in [
        (Fault::RateLimited, "unavailable", 0),
        (Fault::Unauthorized, "unavailable", 0),
        (refused, "refused", 0),
        (Fault::ServerError, "failed", 0),
        (Fault::BadGateway, "unknown", 0),
        (Fault::Drop, "unknown", 0),
        (Fault::ActThenServerError, "failed", 1),
    ] {
        shop.stripe.fail_next(CREATE, fault.clone(), 3);
        let failed = shop.app.stripe.create_payment_link(&new_link()).await;
        shop.stripe.clear_faults();
        let told = match failed.expect_err("a failure") {
            StripeError::Refused { .. } => "refused",
            StripeError::Unavailable(_) => "unavailable",
            StripeError::Unknown(_) => "unknown",
            StripeError::Failed(_) => "failed",
        };
        assert_eq!(told, kind, "{fault:?}");
        assert_eq!(shop.at_stripe("payment_link").await.len(), links);
    }
    // One stumble is not told at all.
    shop.stripe.fail_next(CREATE, Fault::ActThenDrop, 1);
    asks_for_a_link(&shop).await;
    assert_eq!(shop.at_stripe("payment_link").await.len(), 2);
}

#[tokio::test]
async fn a_links_parameters_are_refused_as_stripe_refuses_them() {
    let shop = Shop::open().await;
    let second = [
        ("line_items[1][quantity]", "1"),
        ("line_items[1][price_data][currency]", "eur"),
        ("line_items[1][price_data][unit_amount]", "500"),
        ("line_items[1][price_data][product_data][name]", "Shipping"),
    ];
    let nothing = form(&[]).into_iter().map(|(name, _)| (name, "-"));
    let nothing: Vec<_> = nothing.collect();
    for (changes, code, param) in [
        (&[("shop", "1")][..], json!("parameter_unknown"), "shop"),
        (&nothing, json!("parameter_missing"), "line_items"),
        (
            &[("line_items[0][price_data][unit_amount]", "49")],
            json!("amount_too_small"),
            "line_items",
        ),
        (&second, Value::Null, "line_items[1]"),
        (
            &[("restrictions[completed_sessions][limit]", "0")],
            json!("parameter_invalid_integer"),
            "restrictions[completed_sessions][limit]",
        ),
        (
            &[("after_completion[type]", "redirect")],
            json!("parameter_missing"),
            "after_completion[redirect][url]",
        ),
        (
            &[
                ("after_completion[type]", "redirect"),
                ("after_completion[redirect][url]", "javascript:alert(1)"),
            ],
            json!("url_invalid"),
            "after_completion[redirect][url]",
        ),
    ] {
        let answer = post(&shop, "/v1/payment_links", &form(changes)).await;
        let error = &answer.json["error"];
        assert_eq!(
            (answer.status, &error["code"], &error["param"]),
            (400, &code, &json!(param)),
            "{error}"
        );
    }
    assert!(shop.at_stripe("payment_link").await.is_empty());
    for path in ["/v1/payment_links/plink_none", "/v1/payment_links/%00"] {
        assert_eq!(api(&shop).get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_link_changes_as_it_is_told_and_sells_on_without_a_limit() {
    let shop = Shop::open().await;
    shop.leaves(Leftover::UnsettledMoney);
    let link = made(&shop, &[("metadata[a]", "1"), ("metadata[b]", "1")]).await;
    let path = format!("/v1/payment_links/{}", link["id"].as_str().expect("an id"));
    let id = path.rsplit('/').next().expect("an id");
    for _ in 0..2 {
        let session = opened(&shop, id).await;
        shop.stripe.pay(&session, card()).await.expect("a payment");
        // Nobody said where to go, so the payment page itself says that all is done.
        let page = shop.client.get(&format!("/sandbox/pay/{session}")).await;
        assert!(page.text.contains("All done") && !page.text.contains("Back to the shop"));
    }

    let change = [
        ("metadata[a]", ""),
        ("metadata[c]", "2"),
        ("inactive_message", "Gone fishing"),
        ("restrictions[completed_sessions][limit]", "1"),
    ];
    let changed = post(&shop, &path, &change).await.json;
    assert_eq!(changed["metadata"], json!({"b": "1", "c": "2"}));
    opened(&shop, id).await;
    for active in ["false", "true"] {
        let changed = post(&shop, &path, &[("active", active)]).await.json;
        assert_eq!(changed["active"].to_string(), active);
        let list = format!("/v1/payment_links?active={active}");
        assert_eq!(api(&shop).get(&list).await.json["data"], json!([changed]));
        assert_eq!(api(&shop).get(&path).await.json, changed);
        let opened = api(&shop)
            .post("/_sandbox/open_link", &json!({"link": id}))
            .await;
        if active == "true" {
            assert_eq!(opened.status, 200, "{}", opened.text);
        } else {
            assert_eq!(opened.json["error"]["message"], "Gone fishing");
        }
    }
    assert_eq!(
        post(&shop, &path, &[("line_items[0][id]", "li_1")])
            .await
            .status,
        400
    );
}
