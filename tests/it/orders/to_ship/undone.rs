//! An order that was marked as shipped by mistake is to be shipped again: its money and its stock stay as they are.

use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{API, ORDER, is_refused, pieces, program, refund, ship, waits};
use crate::admin::orders::two_sold;
use crate::admin::{OWNER, audited, signed_in};
use crate::support::forms::Form;
use crate::support::{Answer, Client, at_once};

const UNSHIP: &str = "/admin/orders/SB-1001/unship";

async fn unship(admin: &Client, body: &Value) -> Answer {
    admin.post(&format!("{API}/unship/"), body).await
}

async fn status(admin: &Client) -> Value {
    admin.get(&format!("{API}/")).await.json["status"].clone()
}

#[tokio::test]
async fn a_shipment_by_mistake_is_undone_on_the_page_and_shipped_again() {
    let (shop, piece, _) = two_sold().await;
    let (owner, admin) = (signed_in(&shop, OWNER).await, program(&shop).await);
    let early = unship(&admin, &json!({})).await;
    assert_eq!(
        (early.status, &early.json["code"]),
        (409, &json!("not_unshippable"))
    );
    assert!(!owner.get(ORDER).await.text.contains(UNSHIP));
    let shipment = json!({"carrier": "USPS", "tracking_number": "9400 1"});
    assert_eq!(
        admin.post(&format!("{API}/ship/"), &shipment).await.status,
        200
    );
    assert_eq!(pieces(&admin).await, [[2, 0, 0, 2, 0]]);
    let stock = shop.stock(&piece).await;

    let form = Form::to(&owner.get(ORDER).await.text, UNSHIP);
    let sent = form.pairs();
    assert!(
        sent.iter().all(|(name, _)| name != "send_email"),
        "nobody is told unless the box is checked"
    );
    let done = form.send(&owner.client).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, ORDER),
        "{}",
        done.text
    );
    assert_eq!(pieces(&admin).await, [[2, 2, 0, 0, 0]]);
    assert!(waits(&owner, &admin).await);
    assert_eq!(shop.stock(&piece).await, stock);
    let order = admin.get(&format!("{API}/")).await.json;
    assert_eq!(
        (&order["status"], &order["shipment"]),
        (&json!("paid"), &json!(null))
    );
    assert_eq!(
        (&order["total"], &order["refunded"]),
        (&json!(9900), &json!(0))
    );
    let page = owner.get(ORDER).await.text;
    assert!(
        page.contains("it was not shipped: USPS 9400 1 is removed"),
        "{page}"
    );
    assert!(page.contains("Mark shipped") && !page.contains(UNSHIP));
    let log = audited(&shop).await;
    let (actor, action, object, before, after) = log.last().expect("an entry");
    assert_eq!(
        (action.as_str(), object.as_str()),
        ("order.unship", "order:SB-1001")
    );
    assert!(actor.starts_with("user:"), "{actor}");
    assert_eq!(before.as_ref().expect("it was")["status"], "shipped");
    assert_eq!(after.as_ref().expect("it is")["tracking_number"], "9400 1");
    shop.run_jobs().await;
    assert_eq!(shop.emails_of("not_shipped_yet").await, 0);

    // It is shipped again, with an email of its own; and undone again, told.
    for told in 1..3 {
        assert_eq!(ship(&admin).await.status, 200);
        assert_eq!(pieces(&admin).await, [[2, 0, 0, 2, 0]]);
        shop.run_jobs().await;
        assert_eq!(shop.emails_of("order_shipped").await, told);
        let undone = unship(&admin, &json!({"send_email": true})).await;
        assert_eq!(undone.status, 200, "{}", undone.text);
        shop.run_jobs().await;
        assert_eq!(shop.emails_of("not_shipped_yet").await, told);
    }
    let mail = shop.mail();
    let told = mail
        .iter()
        .find(|mail| mail.subject.contains("Not Shipped Yet"));
    assert_eq!(told.expect("an email").to, ["jane@example.com"]);
    let again = unship(&admin, &json!({})).await;
    assert_eq!(
        (again.status, &again.json["code"]),
        (409, &json!("not_unshippable"))
    );
    let reader = shop.admin(&[Scope::OrdersRead]).await;
    assert_eq!(unship(&reader, &json!({})).await.status, 403);
    shop.settles().await;
}

#[tokio::test]
async fn only_the_shipment_that_was_seen_is_undone() {
    let (shop, _, _) = two_sold().await;
    let (owner, admin) = (signed_in(&shop, OWNER).await, program(&shop).await);
    let refused = async |body: &Value| {
        let answer = unship(&admin, body).await;
        (answer.status, answer.json["code"].clone())
    };
    let first = ship(&admin).await.json["shipment"]["shipped_at"].clone();
    let page = owner.get(ORDER).await.text;
    let seen = json!({"shipped_at": first});
    assert_eq!(unship(&admin, &seen).await.status, 200);
    assert_eq!(refused(&seen).await, (409, json!("not_unshippable")));
    // A repeat that comes late, and a page that was loaded before, leave the next shipment alone.
    assert_eq!(ship(&admin).await.status, 200);
    assert_eq!(refused(&seen).await, (409, json!("shipment_differs")));
    let late = Form::to(&page, UNSHIP).send(&owner.client).await;
    assert_eq!(late.status, 409, "{}", late.text);
    assert!(
        late.text.contains("was shipped again since"),
        "{}",
        late.text
    );
    assert_eq!(status(&admin).await, "shipped");
    let form = Form::to(&owner.get(ORDER).await.text, UNSHIP);
    assert_eq!(form.send(&owner.client).await.status, 303);
    assert_eq!(status(&admin).await, "paid");
    shop.settles().await;
}

#[tokio::test]
async fn shipping_is_undone_within_seven_days_and_before_the_delivery_or_a_refund_in_full() {
    let (shop, _, _) = two_sold().await;
    let (owner, admin) = (signed_in(&shop, OWNER).await, program(&shop).await);
    assert_eq!(ship(&admin).await.status, 200);
    let age = async |hours: i32| {
        sqlx::query("update shipments set shipped_at = now() - make_interval(hours => $1)")
            .bind(hours)
            .execute(&shop.db)
            .await
            .expect("some time");
    };
    age(7 * 24 + 1).await;
    let late = unship(&admin, &json!({})).await;
    assert_eq!(
        (late.status, &late.json["code"]),
        (409, &json!("not_unshippable"))
    );
    assert!(late.text.contains("more than 7 days ago"), "{}", late.text);
    assert!(!owner.get(ORDER).await.text.contains(UNSHIP));
    age(7 * 24 - 1).await;
    assert_eq!(unship(&admin, &json!({})).await.status, 200);

    assert_eq!(ship(&admin).await.status, 200);
    assert_eq!(refund(&admin, &json!({})).await.status, 202);
    let planned = unship(&admin, &json!({})).await;
    assert_eq!(
        (planned.status, &planned.json["code"]),
        (409, &json!("refunded_in_full"))
    );
    shop.settles().await;
    assert_eq!(status(&admin).await, "refunded");
    let made = unship(&admin, &json!({})).await;
    assert_eq!(
        (made.status, &made.json["code"]),
        (409, &json!("not_unshippable"))
    );

    let (shop, _, _) = two_sold().await;
    let admin = program(&shop).await;
    assert_eq!(ship(&admin).await.status, 200);
    assert_eq!(
        admin
            .post(&format!("{API}/deliver/"), &json!({}))
            .await
            .status,
        200
    );
    let delivered = unship(&admin, &json!({})).await;
    assert_eq!(
        (delivered.status, &delivered.json["code"]),
        (409, &json!("not_unshippable"))
    );
    shop.settles().await;
}

#[tokio::test]
async fn a_piece_that_came_back_before_the_undo_is_not_to_be_shipped() {
    let (shop, piece, _) = two_sold().await;
    let (owner, admin) = (signed_in(&shop, OWNER).await, program(&shop).await);
    assert_eq!(ship(&admin).await.status, 200);
    let one = json!({"amount": 4700, "restock": [{"product_id": piece, "quantity": 1}]});
    assert_eq!(refund(&admin, &one).await.status, 202);
    assert_eq!(pieces(&admin).await, [[2, 0, 0, 2, 1]]);
    assert_eq!(shop.stock(&piece).await, (2, 0));
    assert_eq!(unship(&admin, &json!({})).await.status, 200);
    assert_eq!(pieces(&admin).await, [[2, 1, 1, 0, 0]]);
    assert_eq!(shop.stock(&piece).await, (2, 0));
    let slip = admin.get(&format!("{API}/packing-slip/")).await.json;
    assert_eq!(slip["lines"][0]["quantity"], 1);
    assert_eq!(ship(&admin).await.status, 200);
    assert_eq!(pieces(&admin).await, [[2, 0, 1, 1, 0]]);
    // The other one comes back as well: then nothing is left, and nobody ships it.
    let restock = json!({"restock": [{"product_id": piece, "quantity": 1}]});
    assert_eq!(
        admin
            .post(&format!("{API}/restock/"), &restock)
            .await
            .status,
        200
    );
    assert_eq!(unship(&admin, &json!({})).await.status, 200);
    assert_eq!(pieces(&admin).await, [[2, 0, 2, 0, 0]]);
    assert!(!waits(&owner, &admin).await);
    is_refused(&owner, &admin, "nothing_to_ship", "back into stock").await;
    shop.settles().await;
}

#[tokio::test]
async fn an_undo_a_delivery_and_a_refund_at_once_leave_one_truth() {
    for round in 0..6 {
        let (shop, piece, _) = two_sold().await;
        let admin = program(&shop).await;
        assert_eq!(ship(&admin).await.status, 200);
        shop.run_jobs().await;
        let body = match round % 2 {
            0 => json!({"restock": [{"product_id": piece, "quantity": 2}]}),
            _ => json!({"amount": 4700, "restock": [{"product_id": piece, "quantity": 1}]}),
        };
        let back: i64 = if round % 2 == 0 { 2 } else { 1 };
        let calls = [0, 1, 2].map(|call| {
            let (admin, body) = (admin.clone(), body.clone());
            async move {
                match call {
                    0 => unship(&admin, &json!({"send_email": true})).await.status,
                    1 => {
                        admin
                            .post(&format!("{API}/deliver/"), &json!({}))
                            .await
                            .status
                    }
                    _ => refund(&admin, &body).await.status,
                }
            }
        });
        let answers = at_once(calls).await;
        assert_eq!(answers[2], 202, "{answers:?}");
        let line = pieces(&admin).await[0];
        let [_, _, restocked, shipped, returned] = line;
        match (answers[0], answers[1]) {
            // The undo came before the delivery, whose turn is gone.
            (200, 409) => assert_eq!((shipped, restocked, returned), (0, back, 0), "{line:?}"),
            // The delivery came first; or the refund in full, which neither follows.
            (409, 200) => assert_eq!((shipped, restocked, returned), (2, 0, back), "{line:?}"),
            other => panic!("{other:?}"),
        }
        let is_undone = answers[0] == 200;
        assert_eq!(
            shop.emails_of("not_shipped_yet").await,
            i64::from(is_undone)
        );
        assert_eq!(shop.stock(&piece).await, (1 + back as i32, 0));
        shop.settles().await;
    }
}

#[tokio::test]
async fn two_undos_at_once_are_one() {
    let (shop, _, _) = two_sold().await;
    let admin = program(&shop).await;
    assert_eq!(ship(&admin).await.status, 200);
    shop.run_jobs().await;
    let calls = [0, 1, 2].map(|_| {
        let admin = admin.clone();
        async move { unship(&admin, &json!({"send_email": true})).await.status }
    });
    let mut answers = at_once(calls).await;
    answers.sort_unstable();
    assert_eq!(answers, [200, 409, 409]);
    assert_eq!(shop.emails_of("not_shipped_yet").await, 1);
    assert_eq!(
        shop.count("select count(*) from audit_log where action = 'order.unship'")
            .await,
        1
    );
    shop.settles().await;
}
