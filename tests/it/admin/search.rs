//! The search over everything, and the page of a customer.

use serde_json::json;
use spirit_beads::auth::Scope;

use super::{OWNER, STAFF, signed_in, staffed};
use crate::support::{Answer, Shop, card, session_of};

/// A shop in which Jane bought two pieces, one of them refunded in part, and asked for a third, and Ben asked for one.
async fn busy() -> Shop {
    let shop = staffed().await;
    for name in ["Sunrise", "Heron"] {
        shop.stocks(name, 1).await;
        let piece = name.to_lowercase();
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
    }
    let refunds = shop.admin(&[Scope::OrdersRead, Scope::Refunds]).await;
    let path = "/api/admin/orders/SB-1001/refund/";
    assert_eq!(
        refunds.post(path, &json!({"amount": 1000})).await.status,
        202
    );
    for email in ["Jane@Example.com", "ben@example.com"] {
        shop.asks_for_a_piece(email).await;
    }
    shop.run_jobs().await;
    shop.deliver().await;
    shop.run_jobs().await;
    shop
}

#[tokio::test]
async fn one_search_finds_orders_pieces_custom_orders_and_customers() {
    let shop = busy().await;
    let staff = signed_in(&shop, STAFF).await;
    let finds = async |search: &str| {
        staff
            .get(&format!("/admin/search?search={search}"))
            .await
            .text
    };
    let empty = finds("").await;
    assert!(empty.contains("Finds orders, custom orders"), "{empty}");
    let none = finds("nobody+%25").await;
    assert!(
        none.contains("Nothing in the shop has “nobody %”"),
        "{none}"
    );

    let heron = finds("heron").await;
    for link in ["/admin/orders/SB-1002", "/admin/products/heron"] {
        assert!(
            heron.contains(&format!("href=\"{link}\"")),
            "{link}: {heron}"
        );
    }
    assert!(!heron.contains("SB-1001"), "{heron}");
    let jane = finds("jane%40EXAMPLE").await;
    for link in [
        "/admin/orders/SB-1001",
        "/admin/orders/SB-1002",
        "/admin/custom-orders/CO-1001",
        "/admin/customers/CO-1001",
    ] {
        assert!(jane.contains(&format!("href=\"{link}\"")), "{link}: {jane}");
    }
    assert_eq!(
        jane.matches("/admin/customers/").count(),
        1,
        "one customer: {jane}"
    );
    let number = finds("co-1002").await;
    assert!(number.contains("/admin/custom-orders/CO-1002"), "{number}");
}

#[tokio::test]
async fn a_customers_page_has_all_that_they_bought_by_any_of_their_numbers() {
    let shop = busy().await;
    let staff = signed_in(&shop, STAFF).await;
    for key in ["SB-1001", "SB-1002", "CO-1001"] {
        let page = staff.get(&format!("/admin/customers/{key}")).await;
        assert_eq!(page.status, 200, "{key}: {}", page.text);
        for words in [
            "SB-1001",
            "SB-1002",
            "CO-1001",
            "<strong>$104.00</strong> in 2 orders, $10.00 refunded",
        ] {
            assert!(page.text.contains(words), "{key}: {words}: {}", page.text);
        }
        assert!(!page.text.contains("CO-1002") && !page.text.contains("/export"));
    }
    let ben = staff.get("/admin/customers/CO-1002").await.text;
    assert!(ben.contains("Nothing bought yet."), "{ben}");
    assert_eq!(staff.get("/admin/customers/SB-9").await.status, 404);
    assert_eq!(staff.get("/admin/customers/x").await.status, 404);
    assert_eq!(
        staff.get("/admin/customers/SB-1001/export").await.status,
        403
    );
    let order = staff.get("/admin/orders/SB-1001").await.text;
    assert!(
        order.contains("href=\"/admin/customers/SB-1001\""),
        "{order}"
    );

    let owner = signed_in(&shop, OWNER).await;
    let file = owner.get("/admin/customers/SB-1001/export").await;
    assert_eq!(
        file.header("content-disposition"),
        "attachment; filename=\"customer-CO-1001.json\""
    );
    assert_eq!(file.json["orders"][0]["lines"][0]["name"], "Heron");
}

#[tokio::test]
async fn a_program_finds_customers_with_the_scopes_of_what_they_did() {
    let shop = busy().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::CustomOrders]).await;
    let found: Answer = admin.get("/api/admin/customers/?search=jane").await;
    let jane = json!([{"key": "CO-1001", "email": "Jane@Example.com", "name": "Ann"}]);
    assert_eq!(found.json["results"], jane, "{}", found.text);
    let jane = admin.get("/api/admin/customers/SB-1001/").await.json;
    assert_eq!(
        jane["sums"],
        json!([{"currency": "usd", "orders": 2, "paid": 10_400, "refunded": 1000}])
    );
    assert_eq!(jane["custom_orders"][0]["number"], "CO-1001");
    let latest = admin.get("/api/admin/customers/").await;
    assert_eq!(latest.each("results", "key"), ["CO-1002", "CO-1001"]);
    let bad = admin.get("/api/admin/customers/?search=%00").await;
    assert_eq!(bad.status, 400, "{}", bad.text);
    for scope in [Scope::OrdersRead, Scope::CustomOrders] {
        let half = shop.admin(&[scope]).await;
        for path in ["?search=jane", "SB-1001/"] {
            let answer = half.get(&format!("/api/admin/customers/{path}")).await;
            assert_eq!(answer.status, 403, "{path}");
        }
    }
}
