//! Custom orders by the API.

use serde_json::json;
use spirit_beads::auth::Scope;

use super::{act, delete, forget_log, logged, ok, put};
use crate::support::Shop;

#[tokio::test]
async fn custom_orders_have_a_board_and_a_draft_is_looked_at_and_thrown_away() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::CustomOrders]).await;
    shop.asks_for_a_piece("ann@example.com").await;
    shop.asks_for_a_piece("ben@example.com").await;
    let path = "/api/admin/custom-orders/CO-1001/";
    assert_eq!(admin.get(&format!("{path}email/")).await.status, 404);
    let quote = json!({"amount": 9000, "description": "A case with a raven"});
    ok(put(&admin, &format!("{path}quote/"), &quote).await).await;
    let email = admin.get(&format!("{path}email/")).await.json;
    assert_eq!(
        email["subject"],
        "Your Custom Order Request Has Been Approved!"
    );
    assert!(
        email["html"]
            .as_str()
            .expect("a page")
            .contains("A case with a raven")
    );
    let before = forget_log(&shop).await;
    for _ in 0..2 {
        let gone = ok(delete(&admin, &format!("{path}quote/")).await).await;
        assert_eq!(gone["quotes"], json!([]));
    }
    assert_eq!(
        logged(&shop).await[before..],
        [(
            "custom_order.discard_quote".to_owned(),
            "custom_order:CO-1001".to_owned()
        )]
    );
    let refused = act(&admin, &format!("{path}approve/")).await;
    assert_eq!(
        (refused.status, &refused.json["code"]),
        (409, &json!("no_quote"))
    );

    // A draft beside a quote that the customer has: only the draft goes, and not while it is to follow.
    assert_eq!(
        admin.post(&format!("{path}requote/"), &quote).await.status,
        202
    );
    shop.run_jobs().await;
    ok(put(
        &admin,
        &format!("{path}quote/"),
        &json!({"amount": 9500, "description": "More"}),
    )
    .await)
    .await;
    let left = ok(delete(&admin, &format!("{path}quote/")).await).await;
    assert_eq!(
        (
            left["quotes"].as_array().map(Vec::len),
            &left["quotes"][0]["state"]
        ),
        (Some(1), &json!("live"))
    );
    assert_eq!(
        admin.post(&format!("{path}requote/"), &quote).await.status,
        202
    );
    let closing = delete(&admin, &format!("{path}quote/")).await;
    assert_eq!(
        (closing.status, &closing.json["code"]),
        (409, &json!("quote_closing"))
    );
    shop.run_jobs().await;

    let board = admin.get("/api/admin/custom-orders/board/").await.json;
    let figures: Vec<(&str, i64)> = board["columns"]
        .as_array()
        .expect("columns")
        .iter()
        .map(|column| {
            (
                column["status"].as_str().expect("a state"),
                column["count"].as_i64().expect("a number"),
            )
        })
        .collect();
    assert_eq!(
        figures,
        [
            ("pending", 1),
            ("approved", 1),
            ("paid", 0),
            ("in_production", 0),
            ("shipped", 0)
        ]
    );
    assert_eq!(
        board["columns"][0]["results"][0]["email"],
        "ben@example.com"
    );
    assert_eq!(
        delete(&admin, "/api/admin/custom-orders/CO-9/quote/")
            .await
            .status,
        404
    );
}
