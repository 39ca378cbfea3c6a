//! The customer's page of an order: its address comes by email, and it tells nothing about anybody.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::admin::orders::two_sold;
use crate::support::{Answer, Client, Shop};

/// The `Accept` header of a browser.
const BROWSER: [(&str, &str); 1] = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];

async fn opens(client: &Client, path: &str) -> Answer {
    client
        .send(Method::GET, path, &BROWSER, None::<String>)
        .await
}

/// The address of the page in an email, without the host, as the customer finds it.
fn address_in(shop: &Shop, subject: &str) -> String {
    let email = shop
        .mail()
        .into_iter()
        .find(|mail| mail.subject.starts_with(subject));
    let email = email.unwrap_or_else(|| panic!("no email {subject}"));
    let (_, after) = email.text.split_once("View your order:").expect("a link");
    let address = after.split_whitespace().next().expect("an address");
    let path = address.strip_prefix(&shop.app.config.server.public_url);
    let path = path.expect("an address of the shop").to_owned();
    assert!(email.html.contains(&path), "{}", email.html);
    path
}

#[tokio::test]
async fn the_page_follows_the_order_from_payment_to_delivery() {
    let (shop, _, _) = two_sold().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let address = address_in(&shop, "Order Confirmation");
    let view = shop.client.get(&address).await.json;
    assert_eq!(view["number"], "SB-1001");
    assert_eq!(view["status"], "paid");
    assert_eq!(view["total"], 9900);
    assert_eq!(view["lines"][0]["name"], "Sunrise");
    assert_eq!(view["shipment"], Value::Null);
    let estimate = &view["estimated_delivery"];
    assert!(
        estimate["earliest"].as_str() < estimate["latest"].as_str(),
        "{view}"
    );

    let page = opens(&shop.client, &address).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    for told in [
        "Thank you! We are getting your order ready.",
        "Estimated delivery: ",
        "<b>Sunrise</b>",
        "2 × $47.00",
        "<dd class=\"total\">$99.00</dd>",
        "<li class=\"done\">Paid</li><li>Shipped</li>",
        "href=\"mailto:shop@localhost?subject=Order%20SB-1001\"",
    ] {
        assert!(page.text.contains(told), "{told}: {}", page.text);
    }

    let shipment = json!({"carrier": "UPS", "tracking_number": "1Z 999"});
    let shipped = admin
        .post("/api/admin/orders/SB-1001/ship/", &shipment)
        .await;
    assert_eq!(shipped.status, 200, "{}", shipped.text);
    shop.run_jobs().await;
    assert_eq!(address_in(&shop, "Your Order Has Shipped"), address);
    let page = opens(&shop.client, &address).await.text;
    for told in [
        "Your order is on its way.",
        "https://www.ups.com/track?tracknum=1Z999",
        "<li class=\"done\">Shipped</li><li>Delivered</li>",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert!(!page.contains("Estimated delivery"), "{page}");

    admin
        .post("/api/admin/orders/SB-1001/deliver/", &json!({}))
        .await;
    let page = opens(&shop.client, &address).await.text;
    assert!(
        page.contains("Your order has arrived. Thank you!"),
        "{page}"
    );
    shop.run_jobs().await;
}

#[tokio::test]
async fn the_page_names_no_person_and_no_street() {
    let (shop, _, _) = two_sold().await;
    let admin = shop.admin(&[Scope::OrdersRead]).await;
    let order = admin.get("/api/admin/orders/SB-1001/").await.json;
    let address = address_in(&shop, "Order Confirmation");
    let answers = [
        opens(&shop.client, &address).await.text,
        shop.client.get(&address).await.text,
    ];
    let place = &order["shipping_address"];
    let secrets = [
        &order["email"],
        &order["customer_name"],
        &order["shipping_name"],
        &place["line1"],
        &place["postal_code"],
    ];
    for secret in secrets.map(|secret| secret.as_str().expect("a text")) {
        for answer in &answers {
            assert!(!answer.contains(secret), "{secret} is told: {answer}");
        }
    }
    let city = place["city"].as_str().expect("a city");
    assert!(answers.iter().all(|answer| answer.contains(city)));
}

#[tokio::test]
async fn a_refund_is_shown_and_its_email_leads_to_the_page() {
    let (shop, _, _) = two_sold().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::Refunds]).await;
    let refund = json!({"amount": 1500, "reason": "A bead was loose."});
    let refund = admin
        .post("/api/admin/orders/SB-1001/refund/", &refund)
        .await;
    assert!(refund.status < 300, "{}", refund.text);
    shop.settles().await;
    let address = address_in(&shop, "Your Refund");
    let page = opens(&shop.client, &address).await.text;
    assert!(page.contains("<dt>Refunded</dt><dd>$15.00</dd>"), "{page}");
    assert!(!page.contains("A bead was loose."), "{page}");
}

#[tokio::test]
async fn a_token_opens_its_own_order_only_and_damaged_links_are_told_kindly() {
    let (shop, piece, _) = two_sold().await;
    let sale = json!({"lines": [{"product_id": piece, "quantity": 1}], "payment_method": "cash"});
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let sale = admin.post("/api/admin/orders/", &sale).await;
    assert_eq!(sale.status, 201, "{}", sale.text);
    let other = sale.json["id"].as_str().expect("an id");
    let address = address_in(&shop, "Order Confirmation");
    let (path, token) = address.split_once("/status/?token=").expect("a token");
    // The token of the customer's page of a custom order with this id is another.
    let id = path.rsplit('/').next().expect("an id");
    let foreign = shop.status_page(id);
    let (_, foreign) = foreign.split_once("?token=").expect("a token");
    let damaged = [
        format!("/api/orders/{other}/status/?token={token}"),
        format!("{path}/status/?token={foreign}"),
        address[..address.len() - 3].to_owned(),
        format!("{path}/status/"),
        format!("{path}/sta"),
        path[..path.len() - 4].to_owned(),
        format!("/api/orders/%ff/status/?token={token}"),
    ];
    let mut pages = Vec::new();
    for link in &damaged {
        let page = opens(&shop.client, link).await;
        assert_eq!(page.status, 404, "{link}");
        assert_eq!(page.header("referrer-policy"), "no-referrer", "{link}");
        pages.push(page.text);
        let json = shop.client.get(link).await;
        let found = (json.status, &json.json["code"]);
        assert_eq!(found, (404, &json!("not_found")), "{link}");
    }
    assert!(pages.windows(2).all(|two| two[0] == two[1]), "{pages:#?}");
    assert!(
        pages[0].contains("Find the email about your order"),
        "{}",
        pages[0]
    );
}
