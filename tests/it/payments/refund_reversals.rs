//! P1 where a refund fails after its order was refunded: pieces go back into stock from the order, and what the owner may
//! have sold again is not shipped without a question.

use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use stripe_sandbox::Fault;

use crate::admin::{OWNER, STAFF, audited, signed_in, staffed};
use crate::support::forms::Form;
use crate::support::{Answer, Client, Shop, at_once, card, session_of};

const API: &str = "/api/admin/orders/SB-1001";
const PAGE: &str = "/admin/orders/SB-1001";
const AT_STRIPE: &str = "POST /v1/refunds";
const ID: &str = "0193a000-0000-7000-8000-00000000000b";

/// A shop whose only piece was sold, with the payment of SB-1001 and a program that may do everything with it.
async fn one_sold() -> (Shop, String, Client) {
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.settles().await;
    let payment = shop.payment_of(&session).await;
    let owner = shop
        .admin(&[
            Scope::OrdersRead,
            Scope::OrdersWrite,
            Scope::Refunds,
            Scope::Catalog,
            Scope::Stock,
        ])
        .await;
    (shop, payment, owner)
}

async fn order(owner: &Client) -> Value {
    owner.get(&format!("{API}/")).await.json
}

async fn ship(owner: &Client, anyway: bool) -> Answer {
    let shipment = json!({"carrier": "USPS", "ship_anyway": anyway});
    owner.post(&format!("{API}/ship/"), &shipment).await
}

fn pieces(quantity: i64) -> Value {
    json!([{"product_id": "sunrise", "quantity": quantity}])
}

async fn restock(owner: &Client, body: &Value) -> Answer {
    owner.post(&format!("{API}/restock/"), body).await
}

/// The bank sends back the newest refund that Stripe made.
async fn bank_returns_refund(shop: &Shop) {
    let refunds = shop.at_stripe("refund").await;
    let newest = refunds.last().expect("a refund")["id"].as_str();
    shop.stripe
        .fail_refund(newest.expect("an id"))
        .await
        .expect("a failure");
    shop.settles().await;
}

#[tokio::test]
async fn an_order_revived_by_a_failed_refund_ships_only_when_that_is_confirmed() {
    let (shop, payment, owner) = one_sold().await;
    shop.stripe.refund(&payment, None).await.expect("a refund");
    shop.settles().await;
    assert_eq!(order(&owner).await["status"], "refunded");
    // The owner adds the piece by hand, and somebody else buys it.
    let by_hand = json!({"delta": 1, "reason": "returned"});
    let added = owner.post("/api/products/sunrise/stock/", &by_hand).await;
    assert_eq!(added.status, 200, "{}", added.text);
    let other = session_of(&shop.shopper().check_out(&[("sunrise", 1)]).await);
    shop.stripe.pay(&other, card()).await.expect("a payment");
    shop.settles().await;

    bank_returns_refund(&shop).await;
    let revived = order(&owner).await;
    assert_eq!(
        (&revived["status"], &revived["to_ship"]),
        (&json!("paid"), &json!(1))
    );
    let flagged = revived["review_items"][0]["text"]
        .as_str()
        .unwrap_or_default();
    assert!(
        flagged.contains("waits to be shipped after all"),
        "{flagged}"
    );
    let refused = ship(&owner, false).await;
    assert_eq!(
        (refused.status, &refused.json["code"]),
        (409, &json!("confirm_shipping")),
        "{}",
        refused.text
    );
    let many = json!({"shipments": [{"order": "SB-1001", "carrier": "USPS"}]});
    let many = owner.post("/api/admin/orders/ship/", &many).await.json;
    assert_eq!(many["results"][0]["code"], "confirm_shipping");
    let staff = signed_in(&shop, STAFF).await;
    let page = staff.get(PAGE).await.text;
    assert!(
        page.contains("name=\"ship_anyway\"") && page.contains("Don’t ship"),
        "{page}"
    );
    // A person who has seen the item is asked all the same: the piece is still gone.
    let item = revived["review_items"][0]["id"].as_str().expect("an item");
    let resolve = format!("/api/admin/review-items/{item}/resolve/");
    assert_eq!(owner.post(&resolve, &json!({})).await.status, 200);
    assert_eq!(ship(&owner, false).await.status, 409);
    let shipped = ship(&owner, true).await;
    assert_eq!(shipped.status, 200, "{}", shipped.text);
    let told = shipped.json["timeline"].to_string();
    assert!(
        told.contains("confirmed although a refund of all of its money failed"),
        "{told}"
    );
    shop.settles().await;
}

#[tokio::test]
async fn an_order_whose_planned_refund_in_full_is_refused_for_good_asks_before_it_ships() {
    let (shop, _, owner) = one_sold().await;
    let refused = Fault::Refused {
        code: "charge_disputed".to_owned(),
        message: "No.".to_owned(),
        param: None,
    };
    // Part of it first: that was never all of the money.
    shop.stripe.fail_next(AT_STRIPE, refused.clone(), 1);
    let part = json!({"amount": 500});
    assert_eq!(
        owner.post(&format!("{API}/refund/"), &part).await.status,
        202
    );
    shop.run_jobs().await;
    assert_eq!(order(&owner).await["refund_failed_at"], Value::Null);
    shop.stripe.fail_next(AT_STRIPE, refused, 1);
    let all = owner.post(&format!("{API}/refund/"), &json!({})).await;
    assert_eq!(all.status, 202, "{}", all.text);
    shop.run_jobs().await;
    assert!(order(&owner).await["refund_failed_at"].is_string());
    assert_eq!(ship(&owner, false).await.json["code"], "confirm_shipping");
    assert_eq!(ship(&owner, true).await.status, 200);
    shop.run_jobs().await;
}

#[tokio::test]
async fn pieces_of_a_refunded_order_go_back_into_stock_from_the_order() {
    let (shop, payment, owner) = one_sold().await;
    shop.stripe.refund(&payment, None).await.expect("a refund");
    shop.settles().await;
    let body = json!({"id": ID, "restock": pieces(1), "reason": "It came back"});
    let calls = (0..3).map(|_| {
        let (owner, body) = (owner.clone(), body.clone());
        async move { restock(&owner, &body).await.status }
    });
    assert_eq!(at_once(calls).await, [200; 3]);
    let again = restock(&owner, &body).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(shop.stock("sunrise").await, (1, 0));
    let back = order(&owner).await;
    assert_eq!(
        (&back["status"], &back["lines"][0]["restocked"]),
        (&json!("refunded"), &json!(1))
    );
    let told: Vec<&Value> = back["timeline"]
        .as_array()
        .expect("a timeline")
        .iter()
        .filter(|entry| entry["kind"] == "restock")
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["note"], "1 × Sunrise: It came back.");
    assert_eq!(told[0]["actor"], "token:test");
    assert_eq!(
        shop.count("select count(*) from audit_log where action = 'order.restock'")
            .await,
        1
    );

    for (other, status, what) in [
        (
            json!({"id": ID, "restock": pieces(2)}),
            409,
            "restock_differs",
        ),
        (
            json!({"id": ID, "restock": pieces(1), "reason": "Lost"}),
            409,
            "restock_differs",
        ),
        (json!({"restock": pieces(1)}), 400, "invalid"),
        (json!({"restock": []}), 400, "invalid"),
        (
            json!({"restock": pieces(1), "reason": "two\nlines"}),
            400,
            "invalid",
        ),
    ] {
        let answer = restock(&owner, &other).await;
        assert_eq!(
            (answer.status, &answer.json["code"]),
            (status, &json!(what)),
            "{other}: {}",
            answer.text
        );
    }
    // Revived, it has nothing to ship: the piece is on sale again.
    bank_returns_refund(&shop).await;
    let revived = order(&owner).await;
    assert_eq!(
        (&revived["status"], &revived["to_ship"]),
        (&json!("paid"), &json!(0))
    );
    assert_eq!(ship(&owner, true).await.json["code"], "nothing_to_ship");
    let flagged = revived["review_items"][0]["text"]
        .as_str()
        .unwrap_or_default();
    assert!(
        flagged.contains("failed") && !flagged.contains("waits to be shipped"),
        "{flagged}"
    );
    shop.settles().await;
}

#[tokio::test]
async fn a_failed_refund_is_resolved_once_all_the_money_went_back_in_another_way() {
    let (shop, payment, owner) = one_sold().await;
    let refunded = owner.post(&format!("{API}/refund/"), &json!({})).await;
    assert_eq!(refunded.status, 202, "{}", refunded.text);
    shop.settles().await;
    bank_returns_refund(&shop).await;
    let payments = format!("{API}/payments/");
    let is_retryable = async || {
        let refunds = owner.get(&payments).await.json;
        refunds["refunds"][0]["is_retryable"].clone()
    };
    assert_eq!(is_retryable().await, true);
    assert_eq!(
        order(&owner).await["review_items"][0]["kind"],
        "refund_failed"
    );
    // Half of it, then the other half, in Stripe's dashboard.
    shop.stripe
        .refund(&payment, Some(2600))
        .await
        .expect("a refund");
    shop.settles().await;
    assert_eq!(is_retryable().await, true);
    assert_eq!(
        order(&owner).await["review_items"][0]["kind"],
        "refund_failed"
    );
    shop.stripe.refund(&payment, None).await.expect("a refund");
    shop.settles().await;
    let refunded = order(&owner).await;
    assert_eq!(
        (&refunded["status"], &refunded["review_items"]),
        (&json!("refunded"), &json!([]))
    );
    assert_eq!(is_retryable().await, false);
    let staff = signed_in(&shop, OWNER).await;
    let page = staff.get(PAGE).await.text;
    assert!(!page.contains("/retry\""), "{page}");
}

#[tokio::test]
async fn a_page_that_was_open_before_the_order_was_shipped_puts_no_piece_back() {
    let (shop, _, owner) = one_sold().await;
    let staff = signed_in(&shop, OWNER).await;
    let refund = format!("{PAGE}/refund");
    let form = Form::to(&staff.get(PAGE).await.text, &refund);
    let form = form.with(&[("restock.sunrise", "1")]);
    assert_eq!(ship(&owner, false).await.status, 200);
    shop.settles().await;
    let refused = form.send(&staff.client).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(
        refused.text.contains("an order that is shipped by now"),
        "{}",
        refused.text
    );
    shop.settles().await;
    assert_eq!(shop.stock("sunrise").await, (0, 0));
    assert!(shop.at_stripe("refund").await.is_empty());
    // The page that came back knows the order as it is.
    let again = Form::to(&refused.text, &refund).send(&staff.client).await;
    assert_eq!(again.status, 303, "{}", again.text);
    shop.settles().await;
    assert_eq!(order(&owner).await["status"], "refunded");
    assert_eq!(shop.stock("sunrise").await, (1, 0));
}

#[tokio::test]
async fn pieces_do_not_come_back_while_their_shipment_is_being_written_down() {
    let (shop, payment, _) = one_sold().await;
    let staff = signed_in(&shop, OWNER).await;
    shop.stripe
        .refund(&payment, Some(500))
        .await
        .expect("a refund");
    shop.settles().await;
    let path = format!("{PAGE}/refund");
    let form = Form::to(&staff.get(PAGE).await.text, &path);
    let form = form.with(&[("restock.sunrise", "1")]);
    let mut shipping = shop.db.begin().await.expect("a transaction");
    sqlx::query("update orders set status = 'shipped'")
        .execute(&mut *shipping)
        .await
        .expect("a shipment that is under way");
    let client = staff.client.clone();
    let sending = tokio::spawn(async move { form.send(&client).await });
    while !shop.has_a_waiting_lock().await {
        tokio::task::yield_now().await;
    }
    shipping.commit().await.expect("a commit");
    let refused = sending.await.expect("no panic");
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("an order that is shipped by now"));
    assert_eq!(shop.stock("sunrise").await, (0, 0));
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    // It was never really shipped.
    sqlx::query("update orders set status = 'paid'")
        .execute(&shop.db)
        .await
        .expect("a way back");
}

#[tokio::test]
async fn a_page_of_an_order_that_is_to_be_shipped_again_puts_no_piece_back() {
    let (shop, payment, _) = one_sold().await;
    let staff = signed_in(&shop, STAFF).await;
    shop.stripe.refund(&payment, None).await.expect("a refund");
    shop.settles().await;
    let form = Form::to(&staff.get(PAGE).await.text, &format!("{PAGE}/restock"));
    bank_returns_refund(&shop).await;
    let form = form.with(&[("restock.sunrise", "1")]);
    let refused = form.send(&staff.client).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    shop.settles().await;
    assert_eq!(shop.stock("sunrise").await, (0, 0));
}

#[tokio::test]
async fn a_refund_without_money_left_puts_its_pieces_back() {
    let (shop, payment, owner) = one_sold().await;
    shop.stripe.refund(&payment, None).await.expect("a refund");
    shop.settles().await;
    let path = format!("{API}/refund/");
    let body = json!({"id": ID, "restock": pieces(1), "reason": "It came back"});
    for _ in 0..2 {
        let answer = owner.post(&path, &body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    assert_eq!(shop.stock("sunrise").await, (1, 0));
    assert_eq!(shop.at_stripe("refund").await.len(), 1, "no money with it");
    for other in [
        json!({"id": ID}),
        json!({"id": ID, "restock": pieces(1)}),
        json!({"id": ID, "amount": 100, "restock": pieces(1), "reason": "It came back"}),
    ] {
        let answer = owner.post(&path, &other).await;
        assert_eq!(
            (answer.status, &answer.json["code"]),
            (409, &json!("refund_differs")),
            "{other}"
        );
    }
    let nothing = owner.post(&path, &json!({})).await;
    assert_eq!(nothing.json["code"], "nothing_left", "{}", nothing.text);
    shop.settles().await;
}

#[tokio::test]
async fn the_page_of_a_refunded_order_puts_its_pieces_back_once() {
    let (shop, payment, _) = one_sold().await;
    let staff = signed_in(&shop, STAFF).await;
    let path = format!("{PAGE}/restock");
    let before = staff.get(PAGE).await.text;
    assert!(!before.contains(&path), "nothing was refunded or shipped");
    shop.stripe.refund(&payment, None).await.expect("a refund");
    shop.settles().await;

    let page = staff.get(PAGE).await.text;
    let form = Form::to(&page, &path);
    assert!(page.contains("name=\"restock.sunrise\" type=\"number\" inputmode=\"numeric\" min=\"0\" max=\"1\" value=\"0\""));
    let none = form.send(&staff.client).await;
    assert_eq!(none.status, 303, "{}", none.text);
    assert_eq!(shop.stock("sunrise").await, (0, 0));
    let form = Form::to(&staff.get(PAGE).await.text, &path);
    let form = form.with(&[("restock.sunrise", "1"), ("reason", "It came back")]);
    for _ in 0..2 {
        let sent = form.send(&staff.client).await;
        assert_eq!(sent.status, 303, "{}", sent.text);
        assert_eq!(shop.stock("sunrise").await, (1, 0));
    }
    let page = staff.get(PAGE).await.text;
    assert!(
        page.contains("Back in stock: 1 × Sunrise: It came back."),
        "{page}"
    );
    assert!(!page.contains(&path), "nothing else can come back");
    let log = audited(&shop).await;
    assert!(
        log.iter().any(|entry| entry.1 == "order.restock"),
        "{log:?}"
    );
    shop.settles().await;
}
