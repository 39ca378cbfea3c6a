//! Carriers: chosen, preselected, or recognized from the tracking number.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::admin::{STAFF, signed_in, staffed};
use crate::support::forms::Form;
use crate::support::{Shop, card, session_of};

const UPS: &str = "1Z999AA10123456784";
const USPS: &str = "9400 1118 9922 3344 5566 77";

/// A shop with this many orders to pack, from SB-1001 on.
async fn to_pack(orders: usize) -> Shop {
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 9).await;
    for _ in 0..orders {
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
    }
    shop
}

/// Carrier and tracking number of an order, as `UPS 1Z…`.
async fn shipped_by(shop: &Shop, number: i64) -> String {
    sqlx::query_scalar(
        "select concat_ws(' ', s.carrier, s.tracking_number)
         from shipments s join orders o on o.id = s.order_id
         where o.number = $1",
    )
    .bind(number)
    .fetch_one(&shop.db)
    .await
    .expect("a shipment")
}

#[tokio::test]
async fn programs_need_not_name_the_carrier_that_a_number_tells() {
    let shop = to_pack(4).await;
    let admin = shop.admin(&[Scope::OrdersWrite, Scope::OrdersRead]).await;
    let ship = async |number: i64, shipment: Value| {
        let path = format!("/api/admin/orders/SB-{number}/ship/");
        admin.post(&path, &shipment).await
    };
    for (shipment, why) in [
        (json!({}), "is needed, or a tracking number that tells it"),
        (
            json!({"carrier": " ", "tracking_number": "77"}),
            "is needed, because the tracking number does not tell it",
        ),
    ] {
        let refused = ship(1001, shipment).await;
        assert_eq!(refused.status, 400);
        let error = json!([{"field": "carrier", "message": why}]);
        assert_eq!(refused.json["details"], error);
    }
    let done = ship(1001, json!({"tracking_number": UPS})).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(done.json["shipment"]["carrier"], "UPS");
    let page = done.json["shipment"]["tracking_url"].as_str();
    assert!(page.expect("a page").ends_with(UPS));
    // A named carrier is taken at its word.
    let named = json!({"carrier": "A friend", "tracking_number": UPS});
    assert_eq!(ship(1002, named).await.status, 200);
    assert_eq!(shipped_by(&shop, 1002).await, format!("A friend {UPS}"));

    // The barcode on a label of USPS begins with the ZIP code.
    let many = json!({"shipments": [
        {"order": "SB-1003", "tracking_number": "420972059400111899223344556677"},
        {"order": "SB-1004", "carrier": "", "tracking_number": "986578788855"},
    ]});
    let done = admin.post("/api/admin/orders/ship/", &many).await;
    assert_eq!(done.json["shipped"], 2, "{}", done.text);
    let usps = "USPS 9400111899223344556677";
    assert_eq!(shipped_by(&shop, 1003).await, usps);
    assert_eq!(shipped_by(&shop, 1004).await, "FedEx 986578788855");
    let logged: Value = sqlx::query_scalar(
        "select after from audit_log where action = 'order.ship' order by id offset 2 limit 1",
    )
    .fetch_one(&shop.db)
    .await
    .expect("an entry");
    assert!(logged.to_string().contains("USPS"), "{logged}");

    let number = json!({"carrier": "", "tracking_number": "LZ123456789US"});
    let path = "/api/admin/orders/SB-1004/shipment/";
    let corrected = admin.send_json(Method::PATCH, path, &number).await;
    assert_eq!(corrected.status, 200, "{}", corrected.text);
    assert_eq!(shipped_by(&shop, 1004).await, "USPS LZ123456789US");
}

#[tokio::test]
async fn the_last_carrier_is_preselected_and_gives_way_to_the_number() {
    let shop = to_pack(6).await;
    let staff = signed_in(&shop, STAFF).await;
    let form = async |number: i64| {
        let page = staff.get(&format!("/admin/orders/SB-{number}")).await.text;
        Form::to(&page, &format!("/admin/orders/SB-{number}/ship"))
    };
    let carrier = |form: &Form| {
        let on = form
            .fields
            .iter()
            .find(|field| field.name == "carrier" && field.is_on);
        on.map(|field| field.value.clone())
    };
    let ships = async |number: i64, fields: &[(&str, &str)]| {
        let answer = form(number).await.with(fields).send(&staff.client).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        shipped_by(&shop, number).await
    };

    // Nothing was shipped yet: the number tells it, or somebody must.
    let first = form(1001).await;
    assert_eq!(carrier(&first), None);
    let refused = first
        .with(&[("tracking_number", "77")])
        .send(&staff.client)
        .await;
    assert_eq!(refused.status, 400);
    let why = "<p class=\"error\" id=\"ship-carrier-error\">Carrier is needed, because the tracking number does not tell it.</p>";
    assert!(refused.text.contains(why), "{}", refused.text);
    let number = [("tracking_number", UPS)];
    assert_eq!(ships(1001, &number).await, format!("UPS {UPS}"));

    assert_eq!(carrier(&form(1002).await).as_deref(), Some("UPS"));
    let number = [("tracking_number", USPS)];
    assert_eq!(ships(1002, &number).await, format!("USPS {USPS}"));
    // Without a number it is the preselected one, and a choice is a choice.
    assert_eq!(ships(1003, &[]).await, "USPS");
    let chosen = [("carrier", "FedEx"), ("tracking_number", UPS)];
    assert_eq!(ships(1004, &chosen).await, format!("FedEx {UPS}"));
    let other = [("carrier", "other"), ("other_carrier", "Bike courier")];
    assert_eq!(ships(1005, &other).await, "Bike courier");
    let last = form(1006).await;
    assert_eq!(carrier(&last).as_deref(), Some("other"));
    assert_eq!(last.get("other_carrier"), "Bike courier");

    // A correction begins with what was recorded.
    let page = staff.get("/admin/orders/SB-1005").await.text;
    let correction = Form::to(&page, "/admin/orders/SB-1005/shipment");
    assert_eq!(carrier(&correction).as_deref(), Some("other"));
    let corrected = correction
        .with(&[("carrier", "DHL")])
        .send(&staff.client)
        .await;
    assert_eq!(corrected.status, 303, "{}", corrected.text);
    assert_eq!(shipped_by(&shop, 1005).await, "DHL");
}

#[tokio::test]
async fn each_of_several_packages_has_the_carrier_of_its_number() {
    let shop = to_pack(3).await;
    let staff = signed_in(&shop, STAFF).await;
    let page = staff
        .get("/admin/orders/ship?order=SB-1001&order=SB-1002&order=SB-1003")
        .await
        .text;
    let form = Form::to(&page, "/admin/orders/ship").with(&[
        ("tracking.SB-1001", UPS),
        ("tracking.SB-1002", USPS),
        ("tracking.SB-1003", "77"),
    ]);
    let answer = form.send(&staff.client).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert_eq!(shipped_by(&shop, 1001).await, format!("UPS {UPS}"));
    assert_eq!(shipped_by(&shop, 1002).await, format!("USPS {USPS}"));
    // The third is shown again, and needs a choice.
    let rest = Form::to(&answer.text, "/admin/orders/ship");
    assert_eq!(rest.get("order"), "SB-1003");
    assert!(answer.text.contains("id=\"ship-carrier-error\""));
    let done = rest.with(&[("carrier", "DHL")]).send(&staff.client).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert_eq!(shipped_by(&shop, 1003).await, "DHL 77");
}
