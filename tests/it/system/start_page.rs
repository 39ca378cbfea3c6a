//! The start page of development, and the pages that it stands in for.

use serde_json::json;

use crate::support::{Shop, card, session_of};

#[tokio::test]
async fn whoever_pays_without_a_storefront_lands_on_a_page_that_leads_to_the_order() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[("sunrise", 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let start = shop.client.get("/").await;
    assert_eq!(start.status, 200, "{}", start.text);
    for link in ["/admin", "/api/docs/", "/api/products/"] {
        assert!(
            start.text.contains(&format!("href=\"{link}\"")),
            "{link}: {}",
            start.text
        );
    }
    let paid = shop
        .client
        .get(&format!("/success?session_id={session}"))
        .await;
    assert_eq!(paid.status, 200, "{}", paid.text);
    let order = format!("/api/orders/by-session/{session}/");
    assert!(
        paid.text.contains(&format!("href=\"{order}\"")),
        "{}",
        paid.text
    );
    assert_eq!(shop.client.get(&order).await.json["status"], "paid");
    for path in [
        "/success",
        "/success/?session_id=cs_%22%3E%3Cscript%3E",
        "/cancel",
        "/custom-order-success",
    ] {
        let page = shop.client.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert!(
            !page.text.contains("by-session") && !page.text.contains("<script"),
            "{}",
            page.text
        );
    }
    let posted = shop.client.post("/success", &json!({})).await;
    assert_eq!(
        (posted.status, posted.json["code"].as_str()),
        (405, Some("method_not_allowed"))
    );
    shop.run_jobs().await;
}
