//! Custom orders from the request to the shipment: states, search, the customer's page.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{Workshop, current, quote, text};
use crate::support::card;
use crate::support::images::jpeg;

#[tokio::test]
async fn a_piece_goes_from_request_to_shipment() {
    let (workshop, link) = Workshop::quoted().await;
    let live = workshop.view().await;
    assert_eq!(current(&live)["state"], "live");
    assert_eq!(current(&live)["shipping"], 500);

    workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    let paid = workshop.view().await;
    assert_eq!(paid["status"], "paid");
    assert_eq!(current(&paid)["state"], "paid");
    assert_eq!(paid["order"]["status"], "paid");
    assert_eq!(paid["order"]["is_custom_order"], true);
    assert_eq!(paid["order"]["channel"], "custom_order");
    assert_eq!(paid["order"]["total"], 9500);
    assert_eq!(paid["order"]["subtotal"], 9000);
    assert_eq!(paid["order"]["shipping_address"]["city"], "Portland");
    assert!(!workshop.is_active(&link).await, "a link takes one payment");

    assert_eq!(workshop.post("start").await.status, 200);
    let finished = workshop.shop.keeps(&jpeg(90, 60)).await;
    let shipment = json!({"carrier": "USPS", "tracking_number": "9400 1000", "images": [finished]});
    let shipped = workshop.post_with("ship", &shipment).await;
    assert_eq!(shipped.status, 200, "{}", shipped.text);
    assert_eq!(shipped.json["order"]["status"], "shipped");
    assert_eq!(
        shipped.json["shipment"]["tracking_url"],
        "https://tools.usps.com/go/TrackConfirmAction?tLabels=94001000"
    );
    assert_eq!(shipped.json["shipment_images"][0]["width"], 90);
    let page = workshop.shop.status_page(&workshop.id);
    let page = workshop.shop.client.get(&page).await;
    assert!(text(&page.json["images"][0]["url"]).contains(&finished));
    let completed = workshop.post("complete").await;
    assert_eq!(completed.json["status"], "completed");
    assert_eq!(completed.json["order"]["status"], "delivered");
    assert_eq!(
        workshop.moves().await,
        [
            "pending→approved",
            "approved→paid",
            "paid→in_production",
            "in_production→shipped",
            "shipped→completed"
        ]
    );
    workshop.shop.run_jobs().await;
    for kind in [
        "new_custom_order",
        "custom_order_received",
        "custom_order_approved",
        "payment_received",
        "custom_order_shipped",
    ] {
        assert_eq!(workshop.emails(kind).await, 1, "{kind}");
    }
    let mail = workshop.shop.mail();
    let shipped = mail.iter().find(|mail| mail.subject.contains("Shipped"));
    let shipped = shipped.expect("the email");
    assert_eq!(shipped.to, ["ann@example.com"]);
    assert_eq!(shipped.inside.len(), 1, "the photo is inside");
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_refusal_that_is_sent_twice_is_written_down_once() {
    let workshop = Workshop::open().await;
    for reason in ["Too busy.", "Another reason."] {
        let answer = workshop
            .post_with("reject", &json!({"reason": reason}))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let log = crate::admin::audited(&workshop.shop).await;
    let reasons: Vec<_> = log
        .iter()
        .filter(|entry| entry.1 == "custom_order.reject")
        .map(|entry| entry.4.as_ref().expect("what is so now")["reason"].clone())
        .collect();
    assert_eq!(reasons, ["Too busy."]);
}

#[tokio::test]
async fn shipping_the_order_ships_the_request() {
    let (workshop, link) = Workshop::quoted().await;
    workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    let order = text(&workshop.view().await["order"]["number"]);
    let admin = workshop
        .shop
        .admin(&[Scope::OrdersRead, Scope::OrdersWrite])
        .await;
    // It waits among the custom orders, and not among the orders to pack.
    let to_do = admin.get("/api/admin/dashboard/").await.json["to_do"].clone();
    assert_eq!(
        (&to_do["orders_to_pack"], &to_do["custom_orders_to_make"]),
        (&json!(0), &json!(1))
    );
    let to_pack = admin.get("/api/admin/orders/?to_pack=true").await.json;
    assert_eq!(to_pack["count"], 0, "{to_pack}");
    let missing = json!({"carrier": "USPS", "images": ["0".repeat(64)]});
    let path = format!("/api/admin/orders/{order}/ship/");
    assert_eq!(
        admin.post(&path, &missing).await.field_errors(),
        ["images[0]"]
    );
    assert_eq!(workshop.status().await, "paid");

    let shipped = admin.post(&path, &json!({"carrier": "USPS"})).await;
    assert_eq!(shipped.status, 200, "{}", shipped.text);
    assert_eq!(shipped.json["status"], "shipped");
    assert_eq!(workshop.status().await, "shipped");
    assert_eq!(
        admin.post(&path, &json!({"carrier": "USPS"})).await.status,
        409
    );
    let delivered = admin
        .post(&format!("/api/admin/orders/{order}/deliver/"), &json!({}))
        .await;
    assert_eq!(delivered.json["status"], "delivered");
    assert_eq!(workshop.status().await, "completed");
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.emails("custom_order_shipped").await, 1);
    assert_eq!(workshop.emails("order_shipped").await, 0);
}

#[tokio::test]
async fn only_the_drawn_moves_are_made() {
    let workshop = Workshop::open().await;
    for (what, code) in [
        ("approve", "no_quote"),
        ("start", "not_paid"),
        ("complete", "not_shipped"),
    ] {
        let refused = workshop.post(what).await;
        assert_eq!(refused.status, 409, "{what}: {}", refused.text);
        assert_eq!(refused.json["code"], code);
    }
    let shipment = json!({"carrier": "USPS"});
    assert_eq!(
        workshop.post_with("ship", &shipment).await.json["code"],
        "not_shippable"
    );
    let withdrawn = workshop.post_with("withdraw", &json!({})).await;
    assert_eq!(withdrawn.json["code"], "not_withdrawable");
    let reason = json!({"reason": "We do not bead phone cases."});
    assert_eq!(workshop.post_with("reject", &reason).await.status, 200);
    assert_eq!(workshop.status().await, "rejected");
    assert_eq!(
        workshop.put("quote", &quote(9000)).await.json["code"],
        "not_quotable"
    );
    assert_eq!(
        workshop.post("approve").await.json["code"],
        "not_approvable"
    );
    assert_eq!(workshop.post("start").await.json["code"], "not_paid");
    assert_eq!(workshop.moves().await, ["pending→rejected"]);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.emails("custom_order_rejected").await, 1);
}

#[tokio::test]
async fn a_draft_is_the_owner_s_alone_until_it_is_approved() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    assert_eq!(
        workshop.put("quote", &quote(7000)).await.status,
        200,
        "changed at will"
    );
    let view = workshop.view().await;
    assert_eq!(view["quotes"].as_array().map(Vec::len), Some(1));
    assert_eq!(view["quotes"][0]["amount"], 7000);
    let page = workshop
        .shop
        .client
        .get(&workshop.shop.status_page(&workshop.id))
        .await;
    assert_eq!(page.json["quote"], Value::Null);
    assert!(workshop.shop.at_stripe("payment_link").await.is_empty());

    workshop.quotes(7500).await;
    assert_eq!(workshop.put("quote", &quote(6000)).await.status, 200);
    let refused = workshop.post("approve").await;
    assert_eq!(refused.json["code"], "quote_is_live");
    let page = workshop
        .shop
        .client
        .get(&workshop.shop.status_page(&workshop.id))
        .await;
    assert_eq!(page.json["quote"]["amount"], 7500);
}

#[tokio::test]
async fn requests_are_found_by_state_number_and_words() {
    let workshop = Workshop::open().await;
    let shop = &workshop.shop;
    let other = shop.asks_for_a_piece("bob_x@example.org").await;
    let list = |query: &str| {
        let (admin, path) = (
            workshop.admin.clone(),
            format!("/api/admin/custom-orders/?{query}"),
        );
        async move { admin.get(&path).await }
    };
    assert_eq!(list("").await.ids(), [json!(other), json!(workshop.id)]);
    assert_eq!(list("page_size=1&page=2").await.ids(), [json!(workshop.id)]);
    assert_eq!(list("search=BOB_X").await.ids(), [json!(other)]);
    assert_eq!(list("search=bobxx").await.ids(), Vec::<Value>::new());
    let number = text(&workshop.view().await["number"]);
    assert_eq!(
        list(&format!("search={number}")).await.ids(),
        [json!(workshop.id)]
    );
    assert_eq!(list("status=paid").await.ids(), Vec::<Value>::new());
    assert_eq!(list("status=pending").await.json["count"], 2);
    assert_eq!(
        list("status=odd&page=0&page_size=101&search=%00")
            .await
            .field_errors()
            .len(),
        4
    );

    let by_number = workshop
        .admin
        .get(&format!("/api/admin/custom-orders/{number}/"))
        .await;
    assert_eq!(by_number.json["id"], workshop.id.as_str());
    for unknown in [
        "CO-1",
        "CO-x",
        "nothing",
        "%00",
        "00000000-0000-0000-0000-000000000000",
    ] {
        let path = format!("/api/admin/custom-orders/{unknown}/");
        assert_eq!(workshop.admin.get(&path).await.status, 404, "{unknown}");
        let note = workshop
            .admin
            .post(&format!("{path}notes/"), &json!({"text": "x"}))
            .await;
        assert_eq!(note.status, 404, "{unknown}");
    }
}

#[tokio::test]
async fn only_a_token_for_custom_orders_opens_them() {
    let workshop = Workshop::open().await;
    let others = [
        Scope::Catalog,
        Scope::Stock,
        Scope::OrdersRead,
        Scope::OrdersWrite,
    ];
    let other = workshop.shop.admin(&others).await;
    for (method, tail, body) in [
        (Method::GET, "", None),
        (Method::POST, "notes", Some(json!({"text": "x"}))),
        (Method::PUT, "quote", Some(quote(9000))),
        (Method::POST, "requote", Some(quote(9000))),
        (Method::POST, "approve", None),
        (Method::POST, "withdraw", Some(json!({}))),
        (Method::POST, "reject", Some(json!({"reason": "x"}))),
        (Method::POST, "start", None),
        (Method::POST, "ship", Some(json!({"carrier": "x"}))),
        (Method::POST, "complete", None),
    ] {
        for (client, status) in [(&workshop.shop.client, 401), (&other, 403)] {
            let headers = [("content-type", "application/json")];
            let body = body.as_ref().map(Value::to_string);
            let path = workshop.path(tail);
            let answer = client.send(method.clone(), &path, &headers, body).await;
            assert_eq!(answer.status, status, "{method} {tail}: {}", answer.text);
        }
    }
    assert_eq!(other.get("/api/admin/custom-orders/").await.status, 403);
    assert!(workshop.moves().await.is_empty());
}

#[tokio::test]
async fn the_customer_s_page_tells_their_request_and_nobody_else_s() {
    let (workshop, link) = Workshop::quoted().await;
    let shop = &workshop.shop;
    let address = shop.status_page(&workshop.id);
    let page = shop.client.get(&address).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.json["status"], "approved");
    assert_eq!(page.json["quote"]["total"], 9500);
    assert!(text(&page.json["quote"]["payment_url"]).contains("/sandbox/"));
    for secret in ["ann@example.com", "Ann", "token:"] {
        assert!(!page.text.contains(secret), "{secret} is told");
    }
    let html = shop
        .client
        .send(
            Method::GET,
            &address,
            &[("accept", "text/html")],
            None::<String>,
        )
        .await;
    assert!(html.header("content-type").starts_with("text/html"));
    assert!(html.text.contains("Pay $95.00"), "{}", html.text);

    let other = shop.asks_for_a_piece("bob@example.com").await;
    let token = address.rsplit('=').next().expect("a token");
    for wrong in [
        format!("/api/custom-orders/{other}/status/?token={token}"),
        format!("/api/custom-orders/{}/status/", workshop.id),
        format!("/api/custom-orders/{}/status/?token=", workshop.id),
        format!(
            "/api/custom-orders/{}/status/?token={}",
            workshop.id,
            "0".repeat(32)
        ),
        format!(
            "/api/custom-orders/{}/status/?token={}x",
            workshop.id, token
        ),
        format!("/api/custom-orders/nothing/status/?token={token}"),
        format!("/api/custom-orders/%00/status/?token={token}"),
    ] {
        assert_eq!(shop.client.get(&wrong).await.status, 404, "{wrong}");
    }

    workshop.pays(&link, card()).await;
    shop.deliver().await;
    shop.run_jobs().await;
    let paid = shop.client.get(&address).await;
    assert_eq!(paid.json["quote"]["payment_url"], Value::Null);
    assert!(text(&paid.json["order_number"]).starts_with("SB-"));
    let shipment = json!({"carrier": "DHL", "tracking_number": "JD0 12"});
    assert_eq!(workshop.post_with("ship", &shipment).await.status, 200);
    let shipped = shop.client.get(&address).await;
    assert_eq!(shipped.json["shipment"]["tracking_number"], "JD0 12");
}
