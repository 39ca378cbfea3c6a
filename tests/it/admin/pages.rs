//! The admin's pages: what they show of the shop.

use serde_json::json;
use spirit_beads::auth::Scope;

use crate::admin::{OWNER, STAFF, signed_in, staffed, staffed_with};
use crate::support::{Leftover, Shop, card, session_of, zone_at_noon};

/// Sells one piece through the storefront.
async fn sells(shop: &Shop, piece: &str) -> String {
    let session = session_of(&shop.shopper().check_out(&[(piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    session
}

#[tokio::test]
async fn today_tells_what_waits_and_what_came_in() {
    let shop = staffed_with(&[("SHOP_TIME_ZONE", &zone_at_noon())]).await;
    let owner = signed_in(&shop, OWNER).await;
    let quiet = owner.get("/admin").await.text;
    assert!(quiet.contains("All caught up."), "{quiet}");
    assert!(
        quiet.contains("Nothing was sold yet.") && quiet.contains("There is enough of everything.")
    );

    let many = shop.stocks("Sunrise", 4).await;
    let one = shop.stocks("Turtle", 1).await;
    sells(&shop, &many).await;
    sells(&shop, &many).await;
    sells(&shop, &one).await;
    sqlx::query(
        "insert into review_items (order_id, kind, cause, text)
         select id, 'other', 'test:' || id, 'look' from orders where number = 1002",
    )
    .execute(&shop.db)
    .await
    .expect("an order");
    sqlx::query("insert into stripe_events (id, type, status, source, payload) values ('evt_1', 'x', 'failed', 'webhook', '')")
        .execute(&shop.db)
        .await
        .expect("an event");
    let today = owner.get("/admin").await.text;
    for part in [
        "<strong>3</strong> orders to pack",
        "<strong>1</strong> order that needs attention",
        "<strong>1</strong> Stripe event failed",
        // Three pieces of $47 and their shipping.
        "<span class=\"amount\">$156.00</span>",
        "$156.00, 3 orders</text>",
        "<span class=\"name\">Sunrise</span><span class=\"number\">2 left</span>",
    ] {
        assert!(today.contains(part), "{part}: {today}");
    }
    // A piece that was the only one does not run out: it is sold.
    assert!(!today.contains("none left"), "{today}");
    assert_eq!(today.matches("class=\"bar\"").count(), 30);
    assert_eq!(
        owner
            .get("/admin?days=90")
            .await
            .text
            .matches("class=\"bar\"")
            .count(),
        90
    );
    // The system pages is the owner's.
    let staff = signed_in(&shop, STAFF).await.get("/admin").await.text;
    assert!(staff.contains("orders to pack") && !staff.contains("Stripe event"));
}

#[tokio::test]
async fn orders_are_found_by_what_somebody_remembers() {
    let shop = staffed().await;
    shop.leaves(Leftover::WrongBooks);
    let staff = signed_in(&shop, STAFF).await;
    let page = staff.get("/admin/orders").await.text;
    assert!(page.contains("Everything is packed."), "{page}");
    let piece = shop.stocks("Sunrise", 40).await;
    let admin = shop.admin(&Scope::ALL).await;
    for n in 0..32 {
        let sale = json!({
            "lines": [{"product_id": piece, "quantity": 1}],
            "customer_name": format!("Customer <{n}>"),
            "email": format!("c{n}@example.com"),
        });
        assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
    }
    // As if the storefront had sold them: they wait to be packed.
    for sql in [
        "update orders set channel = 'storefront', status = 'paid'",
        "update order_lines set shipped = 0",
    ] {
        sqlx::query(sql).execute(&shop.db).await.expect("a change");
    }
    let numbers = |page: &str| -> Vec<String> {
        page.split("/admin/orders/SB-")
            .skip(1)
            .map(|rest| rest[..4].to_owned())
            .collect()
    };
    let first = staff.get("/admin/orders?tab=all").await.text;
    assert_eq!(
        (numbers(&first).len(), numbers(&first)[0].as_str()),
        (30, "1032")
    );
    assert!(first.contains("Customer &#60;31&#62;"), "{first}");
    assert!(
        first.contains("/admin/orders?tab=all&#38;page=2"),
        "{first}"
    );
    let second = staff.get("/admin/orders?tab=all&page=2").await.text;
    assert_eq!(numbers(&second), ["1002", "1001"]);
    for (search, found) in [
        ("SB-1007", vec!["1007"]),
        ("1007", vec!["1007"]),
        ("C5@example", vec!["1006"]),
        ("<17>", vec!["1018"]),
        ("100%", vec![]),
        ("nobody", vec![]),
    ] {
        let escaped: String = url::form_urlencoded::byte_serialize(search.as_bytes()).collect();
        let page = staff
            .get(&format!("/admin/orders?search={escaped}"))
            .await
            .text;
        assert_eq!(numbers(&page), found, "{search}");
    }
    for odd in [
        "page=-1",
        "page=x",
        "tab=none",
        "search=%00%FF",
        "page=99999999999999999999",
    ] {
        assert_eq!(
            staff.get(&format!("/admin/orders?{odd}")).await.status,
            200,
            "{odd}"
        );
    }
    // Those to pack come with the longest waiting first.
    let page = staff.get("/admin/orders?tab=to-pack").await.text;
    assert_eq!(numbers(&page)[0], "1001");
    for shelf in [
        "review",
        "shipped",
        "delivered",
        "refunded",
        "unpaid",
        "closed",
    ] {
        let page = staff.get(&format!("/admin/orders?tab={shelf}")).await.text;
        assert_eq!(numbers(&page), [] as [&str; 0], "{shelf}");
    }
}

#[tokio::test]
async fn an_order_shows_all_that_is_known_of_it() {
    let shop = staffed_with(&[("SHOP_TIME_ZONE", "America/Los_Angeles")]).await;
    let staff = signed_in(&shop, STAFF).await;
    let piece = shop
        .stocks_with("Sunrise", 2, json!({"primary_image": "/media/a.png"}))
        .await;
    sells(&shop, &piece).await;
    sqlx::query("update orders set paid_at = '2026-07-01T02:30:00Z'")
        .execute(&shop.db)
        .await
        .expect("an order");
    let page = staff.get("/admin/orders/SB-1001").await.text;
    let payment: String = sqlx::query_scalar("select id from payments")
        .fetch_one(&shop.db)
        .await
        .expect("a payment");
    for part in [
        "<h1>SB-1001</h1>",
        "<img src=\"/media/a.png\"",
        "1 × $47.00",
        "<dd class=\"sum\">$52.00</dd>",
        "<address class=\"label\" id=\"ship-to\">",
        // By the shop's clock, the day before.
        "paid <time datetime=\"2026-07-01T02:30:00+00:00\">Jun 30, 2026, 7:30 PM</time>",
        &format!("https://dashboard.stripe.com/test/payments/{payment}"),
        "<span>Paid",
        "· stripe</span>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    for missing in [
        "SB-9999",
        "SB-x",
        "00000000-0000-0000-0000-000000000000",
        "%00",
    ] {
        let answer = staff.get(&format!("/admin/orders/{missing}")).await;
        assert_eq!(answer.status, 404, "{missing}");
        assert!(
            answer.text.contains("There is no such page"),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn the_dashboard_draws_the_period_that_is_asked_for_with_its_scale() {
    let shop = staffed().await;
    shop.stocks("Sunrise", 3).await;
    let session = session_of(&shop.shopper().check_out(&[("sunrise", 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let staff = signed_in(&shop, STAFF).await;
    for (path, bars, period) in [
        ("/admin", 30, "30 days"),
        ("/admin?days=7", 7, "7 days"),
        ("/admin?days=90", 90, "90 days"),
        ("/admin?days=365", 53, "Year"),
        ("/admin?days=12", 30, "30 days"),
    ] {
        let page = staff.get(path).await.text;
        assert_eq!(page.matches("<rect class=\"bar\"").count(), bars, "{path}");
        let current = format!("aria-current=\"true\">{period}</a>");
        assert!(page.contains(&current), "{path}: {page}");
        for told in [
            ">$100.00</text>",
            ">$50.00</text>",
            ": $52.00, 1 order</text>",
            "100 %",
            "1 of 1",
        ] {
            assert!(page.contains(told), "{path}, {told}: {page}");
        }
    }
    shop.run_jobs().await;
}
