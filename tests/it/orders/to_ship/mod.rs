//! P1: a unit that went back into stock is not shipped. What is to be shipped is one number per line, in the admin, over
//! the API and on paper; and forms are sent as they were rendered.

mod by_hand;
mod many;
mod races;
mod undone;
mod withdrawn;
mod withdrawn_attempts;

use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use stripe_sandbox::Fault;

use crate::admin::orders::two_sold;
use crate::admin::{Browser, OWNER, signed_in};
use crate::support::forms::Form;
use crate::support::{Answer, Client, Shop, card, form_of, session_of};

const ORDER: &str = "/admin/orders/SB-1001";

const REFUND: &str = "/admin/orders/SB-1001/refund";

const API: &str = "/api/admin/orders/SB-1001";

const AT_STRIPE: &str = "POST /v1/refunds";

type Fields = Vec<(String, String)>;

/// The fields of the form that leads there, as the page has them, without the token of the page.
fn form_to(page: &str, action: &str) -> Fields {
    let at = page
        .find(&format!("action=\"{action}\""))
        .unwrap_or_else(|| panic!("no form to {action}: {page}"));
    let begin = page[..at].rfind("<form").expect("its beginning");
    let (to, mut fields) = form_of(&page[begin..]);
    assert_eq!(to, action);
    fields.retain(|(name, _)| name != "csrf");
    fields
}

/// Sends a form as its page has it, with these fields changed and all others as they were rendered.
async fn sends(browser: &Browser, on: &str, action: &str, changed: &[(&str, &str)]) -> Answer {
    let form = Form::to(&browser.get(on).await.text, action).with(changed);
    form.send(&browser.client).await
}

async fn program(shop: &Shop) -> Client {
    shop.admin(&[
        Scope::OrdersRead,
        Scope::OrdersWrite,
        Scope::Refunds,
        Scope::Catalog,
        Scope::CustomOrders,
    ])
    .await
}

async fn refund(admin: &Client, body: &Value) -> Answer {
    admin.post(&format!("{API}/refund/"), body).await
}

async fn ship(admin: &Client) -> Answer {
    let shipment = json!({"carrier": "USPS"});
    admin.post(&format!("{API}/ship/"), &shipment).await
}

/// Sold, to ship, back unshipped, shipped and back since, of each line.
async fn pieces(admin: &Client) -> Vec<[i64; 5]> {
    let order = admin.get(&format!("{API}/")).await.json;
    let lines = order["lines"].as_array().expect("lines");
    let number = |line: &Value, name: &str| line[name].as_i64().expect("a number");
    let names = ["quantity", "to_ship", "restocked", "shipped", "returned"];
    let lines: Vec<[i64; 5]> = lines
        .iter()
        .map(|line| names.map(|name| number(line, name)))
        .collect();
    let to_ship: i64 = lines.iter().map(|line| line[1]).sum();
    assert_eq!(order["to_ship"], to_ship);
    lines
}

/// Reports whether SB-1001 waits to be packed: the list in the admin and that of the API, and both counts, agree.
async fn waits(owner: &Browser, admin: &Client) -> bool {
    let list = owner.get("/admin/orders?tab=to-pack").await.text;
    let waits = list.contains("value=\"SB-1001\"");
    assert_eq!(
        list.contains("To pack <span class=\"count\">1</span>"),
        waits
    );
    let found = admin.get("/api/admin/orders/?to_pack=true").await.json;
    assert_eq!(found["count"], i64::from(waits), "{found}");
    let others = admin.get("/api/admin/orders/?to_pack=false").await.json;
    assert_eq!(others["count"], i64::from(!waits), "{others}");
    let today = admin.get("/api/admin/dashboard/").await.json;
    assert_eq!(today["to_do"]["orders_to_pack"], i64::from(waits));
    let page = owner.get("/admin").await.text;
    assert_eq!(page.contains("order to pack"), waits, "{page}");
    waits
}

/// Tries to ship SB-1001 by every route; each refuses with 409, this code and these words.
async fn is_refused(owner: &Browser, admin: &Client, code: &str, words: &str) {
    let answer = ship(admin).await;
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (409, &json!(code)),
        "{}",
        answer.text
    );
    assert!(answer.text.contains(words), "{}", answer.text);
    let many = json!({"shipments": [{"order": "SB-1001", "carrier": "USPS"}]});
    let answer = admin.post("/api/admin/orders/ship/", &many).await;
    assert_eq!(answer.json["shipped"], 0);
    assert_eq!(answer.json["results"][0]["code"], code, "{}", answer.text);
    let by_hand = owner
        .submit(ORDER, &format!("{ORDER}/ship"), &[("carrier", "USPS")])
        .await;
    assert_eq!(by_hand.status, 409, "{}", by_hand.text);
    assert!(by_hand.text.contains(words), "{}", by_hand.text);
    let on = "/admin/orders/ship?order=SB-1001";
    let several = sends(owner, on, "/admin/orders/ship", &[("carrier", "USPS")]).await;
    assert_eq!(several.status, 409, "{}", several.text);
    assert!(several.text.contains(words), "{}", several.text);
}

#[tokio::test]
async fn a_refund_of_part_of_the_money_restocks_nothing_unless_somebody_says_so() {
    let (shop, piece, session) = two_sold().await;
    let owner = signed_in(&shop, OWNER).await;
    let admin = program(&shop).await;
    let form = form_to(&owner.get(ORDER).await.text, REFUND);
    assert!(form.contains(&("amount".to_owned(), "99.00".to_owned())));
    assert!(form.contains(&(format!("restock.{piece}"), "0".to_owned())));

    let answer = sends(&owner, ORDER, REFUND, &[("amount", "5.00")]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    shop.settles().await;
    assert_eq!(shop.stock(&piece).await, (1, 0), "nothing is on sale again");
    assert_eq!(shop.order(&session).await["refunded"], 500);
    assert_eq!(pieces(&admin).await, [[2, 2, 0, 0, 0]]);
    assert!(waits(&owner, &admin).await);
    // The form of a shipment, as it was rendered but for the carrier.
    let shipping = format!("{ORDER}/ship");
    let answer = sends(&owner, ORDER, &shipping, &[("carrier", "USPS")]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(pieces(&admin).await, [[2, 0, 0, 2, 0]]);
    assert!(!waits(&owner, &admin).await);
    // What was shipped is not offered to go back by itself.
    let page = owner.get(&format!("{ORDER}?refund=whole")).await.text;
    assert!(form_to(&page, REFUND).contains(&(format!("restock.{piece}"), "0".to_owned())));
    assert!(!page.contains("put the pieces back into stock"));
}

#[tokio::test]
async fn all_that_is_left_is_offered_with_its_pieces_and_is_not_cut_short() {
    let (shop, piece, session) = two_sold().await;
    let owner = signed_in(&shop, OWNER).await;
    let admin = program(&shop).await;
    let link = "/admin/orders/SB-1001?refund=whole#refund";
    assert!(
        owner
            .get(ORDER)
            .await
            .text
            .contains(&format!("href=\"{link}\""))
    );
    let on = "/admin/orders/SB-1001?refund=whole";
    let form = form_to(&owner.get(on).await.text, REFUND);
    assert!(form.contains(&("amount".to_owned(), "99.00".to_owned())));
    assert!(form.contains(&(format!("restock.{piece}"), "2".to_owned())));

    let answer = sends(&owner, on, REFUND, &[("amount", "5.00")]).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("id=\"refund-amount-error\""));
    assert_eq!(shop.stock(&piece).await, (1, 0));
    assert_eq!(shop.count("select count(*) from refunds").await, 0);

    let answer = sends(&owner, on, REFUND, &[]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(shop.stock(&piece).await, (3, 0));
    // Before Stripe has heard of it.
    assert!(!waits(&owner, &admin).await);
    is_refused(&owner, &admin, "refunded_in_full", "cannot be shipped").await;
    shop.settles().await;
    assert_eq!(shop.status_of(&session).await, "refunded");
    assert_eq!(pieces(&admin).await, [[2, 0, 2, 0, 0]]);
    is_refused(&owner, &admin, "not_shippable", "is refunded").await;
}

#[tokio::test]
async fn of_two_pieces_with_one_back_in_stock_the_other_alone_is_shipped() {
    let (shop, piece, session) = two_sold().await;
    let owner = signed_in(&shop, OWNER).await;
    let admin = program(&shop).await;
    let one = json!({"amount": 4700, "restock": [{"product_id": piece, "quantity": 1}]});
    assert_eq!(refund(&admin, &one).await.status, 202);
    shop.settles().await;
    assert_eq!(shop.stock(&piece).await, (2, 0));
    assert_eq!(pieces(&admin).await, [[2, 1, 1, 0, 0]]);
    assert!(waits(&owner, &admin).await);

    let slip = format!("{ORDER}/packing-slip");
    let paper = owner.get(&slip).await.text;
    assert!(paper.contains("<td>Sunrise</td><td>1</td>"), "{paper}");
    let paper = admin.get(&format!("{API}/packing-slip/")).await.json;
    assert_eq!(paper["lines"], json!([{"name": "Sunrise", "quantity": 1}]));
    let page = owner.get(ORDER).await.text;
    assert!(page.contains("1 back in stock, 1 to ship"), "{page}");

    assert_eq!(ship(&admin).await.status, 200);
    shop.settles().await;
    assert_eq!(pieces(&admin).await, [[2, 0, 1, 1, 0]]);
    let mail = shop.mail();
    let told = mail
        .iter()
        .rfind(|mail| mail.subject.contains("Has Shipped"));
    let told = &told.expect("an email").text;
    assert!(
        told.contains("1 × $47.00 = $47.00") && !told.contains("2 ×"),
        "{told}"
    );
    // The slip still tells what was in the box.
    assert!(
        owner
            .get(&slip)
            .await
            .text
            .contains("<td>Sunrise</td><td>1</td>")
    );

    // The shipped one comes back as well; a third does not.
    let two = json!({"restock": [{"product_id": piece, "quantity": 2}]});
    assert_eq!(refund(&admin, &two).await.field_errors(), ["restock[0]"]);
    let rest = json!({"restock": [{"product_id": piece, "quantity": 1}]});
    assert_eq!(refund(&admin, &rest).await.status, 202);
    shop.settles().await;
    assert_eq!(shop.status_of(&session).await, "refunded");
    assert_eq!(pieces(&admin).await, [[2, 0, 1, 1, 1]]);
    assert_eq!(shop.stock(&piece).await, (3, 0));
}

#[tokio::test]
async fn an_order_whose_pieces_are_all_back_is_shipped_by_nobody() {
    let (shop, piece, session) = two_sold().await;
    let owner = signed_in(&shop, OWNER).await;
    let admin = program(&shop).await;
    let back = json!({"amount": 500, "restock": [{"product_id": piece, "quantity": 2}]});
    assert_eq!(refund(&admin, &back).await.status, 202);
    shop.settles().await;
    assert_eq!(shop.status_of(&session).await, "paid");
    assert!(!waits(&owner, &admin).await);
    is_refused(&owner, &admin, "nothing_to_ship", "went back into stock").await;
    let page = owner.get(ORDER).await.text;
    assert!(
        page.contains("all of its pieces went back into stock") && !page.contains("Mark shipped")
    );
    let paper = owner.get(&format!("{ORDER}/packing-slip")).await.text;
    assert!(paper.contains("There is nothing to ship."), "{paper}");
    // Somebody else buys them, and gets them.
    let other = session_of(&shop.shopper().check_out(&[(&piece, 3)]).await);
    shop.stripe.pay(&other, card()).await.expect("a payment");
    shop.settles().await;
    assert_eq!(shop.statuses().await, ["paid", "paid"]);
    let shipment = json!({"carrier": "USPS"});
    let shipped = admin
        .post("/api/admin/orders/SB-1002/ship/", &shipment)
        .await;
    assert_eq!(shipped.status, 200, "{}", shipped.text);
    let best = admin.get("/api/admin/dashboard/").await.json["best_sellers"].clone();
    assert_eq!(best[0]["pieces"], 3, "what went back was not sold");
    shop.settles().await;
}

#[tokio::test]
async fn two_refunds_that_make_up_the_whole_stop_the_shipment_before_stripe_has_heard() {
    let (shop, piece, session) = two_sold().await;
    let owner = signed_in(&shop, OWNER).await;
    let admin = program(&shop).await;
    shop.stripe.fail_next(AT_STRIPE, Fault::Drop, 100);
    let half = json!({"amount": 4950, "restock": [{"product_id": piece, "quantity": 1}]});
    assert_eq!(refund(&admin, &half).await.status, 202);
    assert!(waits(&owner, &admin).await);
    assert_eq!(pieces(&admin).await, [[2, 1, 1, 0, 0]]);
    assert_eq!(refund(&admin, &json!({})).await.status, 202);
    assert_eq!(shop.run_failing_jobs().await.len(), 2);
    assert!(!waits(&owner, &admin).await);
    assert_eq!(pieces(&admin).await, [[2, 0, 1, 0, 0]]);
    is_refused(&owner, &admin, "refunded_in_full", "is under way").await;
    assert!(owner.get(ORDER).await.text.contains("Do not ship it"));
    shop.stripe.clear_faults();
    shop.hurry_jobs().await;
    shop.settles().await;
    assert_eq!(shop.status_of(&session).await, "refunded");
}

#[tokio::test]
async fn a_refund_that_fails_for_good_after_its_pieces_went_back_is_flagged() {
    let (shop, piece, session) = two_sold().await;
    let admin = program(&shop).await;
    let back = json!({"amount": 4700, "restock": [{"product_id": piece, "quantity": 1}]});
    assert_eq!(refund(&admin, &back).await.status, 202);
    shop.settles().await;
    let made = shop.at_stripe("refund").await.remove(0);
    let made = made["id"].as_str().expect("an id");
    shop.stripe.fail_refund(made).await.expect("a failure");
    shop.settles().await;
    let flagged = shop.order(&session).await["review_items"][0]["text"].clone();
    let flagged = flagged.as_str().unwrap_or_default();
    assert!(
        flagged.contains("1 piece of it went back into stock"),
        "{flagged}"
    );
    // It is gone from the shipment all the same: somebody else may have it by now.
    assert_eq!(pieces(&admin).await, [[2, 1, 1, 0, 0]]);
    assert_eq!(ship(&admin).await.status, 200);
    assert_eq!(pieces(&admin).await, [[2, 0, 1, 1, 0]]);
}

#[tokio::test]
async fn a_refund_in_full_that_fails_lets_the_shipment_go() {
    let (shop, _, session) = two_sold().await;
    let owner = signed_in(&shop, OWNER).await;
    let admin = program(&shop).await;
    assert_eq!(refund(&admin, &json!({})).await.status, 202);
    is_refused(&owner, &admin, "refunded_in_full", "is under way").await;
    sqlx::query("update refunds set state = 'failed'")
        .execute(&shop.db)
        .await
        .expect("a final no");
    assert!(waits(&owner, &admin).await);
    assert_eq!(ship(&admin).await.status, 200);
    assert_eq!(shop.status_of(&session).await, "shipped");
    shop.run_jobs().await;
}
