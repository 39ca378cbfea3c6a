//! The admin's list of custom orders: its states and its search.

use crate::admin::{STAFF, signed_in, staffed};

#[tokio::test]
async fn custom_orders_are_listed_by_state_and_found_by_what_somebody_remembers() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let empty = staff.get("/admin/custom-orders").await.text;
    assert!(empty.contains("No request waits."), "{empty}");
    sqlx::query(
        "insert into custom_orders (id, name, email, description)
         select gen_random_uuid(), 'Visitor ' || n, 'v' || n || '@example.com', 'A case with raven <' || n || '>'
         from generate_series(1, 32) n",
    )
    .execute(&shop.db)
    .await
    .expect("requests");
    let links = |page: &str| page.matches("href=\"/admin/custom-orders/CO-").count();
    let board = staff.get("/admin/custom-orders").await.text;
    assert_eq!(links(&board), 12);
    assert!(board.contains(">All 32</a>"), "{board}");
    let first = staff.get("/admin/custom-orders?state=pending").await.text;
    assert_eq!(links(&first), 30);
    assert!(first.contains("state=pending&#38;page=2"), "{first}");
    assert_eq!(
        links(
            &staff
                .get("/admin/custom-orders?state=pending&page=2")
                .await
                .text
        ),
        2
    );
    assert_eq!(
        links(&staff.get("/admin/custom-orders?state=paid").await.text),
        0
    );
    assert_eq!(
        links(&staff.get("/admin/custom-orders?state=all").await.text),
        30
    );
    for (search, found) in [
        ("v7@example", 1),
        ("raven%20%3C17%3E", 1),
        ("100%25", 0),
        ("nobody", 0),
    ] {
        let page = staff
            .get(&format!("/admin/custom-orders?search={search}"))
            .await
            .text;
        assert_eq!(links(&page), found, "{search}");
    }
    for odd in [
        "state=none",
        "page=-1",
        "page=99999999999",
        "search=%00%FF",
        "state=all&page=100000",
    ] {
        assert_eq!(
            staff
                .get(&format!("/admin/custom-orders?{odd}"))
                .await
                .status,
            200,
            "{odd}"
        );
    }
    for missing in ["CO-9999", "CO-x", "1", "%00"] {
        for tail in ["", "/approve", "/email"] {
            let path = format!("/admin/custom-orders/{missing}{tail}");
            assert_eq!(staff.get(&path).await.status, 404, "{path}");
        }
    }
}
