//! The list of products: stock, archiving, copies, deletions.

use serde_json::{Value, json};
use spirit_beads::products::{self, StockCause, StockReason};
use spirit_beads::types::ids::ProductId;

use super::{actions, id_of, makes, plain};
use crate::admin::{STAFF, audited, signed_in, staffed, staffed_with};
use crate::support::images::jpeg;

#[tokio::test]
async fn stock_comes_and_goes_for_a_reason() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let path = makes(&staff, &[]).await;
    let stock = format!("{path}/stock");
    for (reason, pieces, left) in [
        ("made", "4", 7),
        ("damaged", "2", 5),
        ("correction_fewer", "1", 4),
        ("correction_more", "2", 6),
        ("received", "3", 9),
        ("returned", "1", 10),
        ("lost", "4", 6),
    ] {
        let answer = staff
            .submit(
                &path,
                &stock,
                &[
                    ("reason", reason),
                    ("pieces", pieces),
                    ("note", "by <hand>"),
                ],
            )
            .await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        assert_eq!(shop.stock(id_of(&path)).await, (left, 0), "{reason}");
    }
    let page = staff.get(&path).await.text;
    for part in [
        "6 pieces are available now.",
        "<span>Received: by",
        "<span>Made: by",
        "<span>Returned: by",
        "<span>Lost: by",
        "<span>First stock",
        "<span class=\"delta\">−2</span><span>Damaged: by &#60;hand&#62;",
        "<span class=\"delta\">+4</span><span>Made",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    for (reason, pieces, error) in [
        ("lost", "7", "The stock cannot go below"),
        ("made", "x", "Must be a whole number from 1 on."),
        ("made", "-1", "Must be a whole number from 1 on."),
        ("sale", "1", "Must be received"),
    ] {
        let answer = staff
            .submit(
                &path,
                &stock,
                &[("reason", reason), ("pieces", pieces), ("note", "kept")],
            )
            .await;
        assert_eq!(answer.status, 400, "{reason}");
        assert!(
            answer.text.contains(error) && answer.text.contains("value=\"kept\""),
            "{}",
            answer.text
        );
    }
    assert_eq!(shop.stock(id_of(&path)).await, (6, 0));
    let log = audited(&shop).await;
    let entries: Vec<&Value> = log
        .iter()
        .filter(|e| e.1 == "product.stock")
        .filter_map(|e| e.4.as_ref())
        .collect();
    assert_eq!(entries.len(), 7);
    assert_eq!(
        entries[1],
        &json!({"on_hand": 5, "delta": -2, "reason": "damaged", "note": "by <hand>"})
    );
    shop.audit().await;
}

#[tokio::test]
async fn the_list_is_narrowed_down_and_many_are_changed_at_once() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    for n in 0..32 {
        let name = format!("Piece {n:02}");
        shop.stocks_with(
            &name,
            n,
            json!({"price": 1000 + n, "lighter_type": 1 + n % 2}),
        )
        .await;
    }
    shop.stocks_with("Turtle & Co", 5, json!({"price": 9900}))
        .await;
    let names = async |query: &str| -> Vec<String> {
        let page = staff.get(&format!("/admin/products{query}")).await;
        assert_eq!(page.status, 200, "{query}");
        let rows = page.text.split("<span class=\"what\"><strong>").skip(1);
        rows.map(|rest| plain(rest.split('<').next().expect("its end")))
            .collect()
    };
    let first = names("").await;
    assert_eq!((first.len(), first[0].as_str()), (30, "Piece 00"));
    assert_eq!(
        names("?page=2").await,
        ["Piece 30", "Piece 31", "Turtle & Co"]
    );
    assert_eq!(names("?search=turtle").await, ["Turtle & Co"]);
    assert_eq!(names("?sort=dearest").await[0], "Turtle & Co");
    assert_eq!(names("?sort=stock").await[1], "Piece 01");
    assert_eq!(names("?show=sold-out").await, ["Piece 00"]);
    assert_eq!(names("?show=running-out").await, [] as [&str; 0]);
    assert_eq!(names("?size=2").await.len(), 16);
    assert_eq!(names("?category=99").await.len(), 0);
    for odd in [
        "?page=0",
        "?page=x",
        "?show=x",
        "?size=9",
        "?category=x",
        "?sort=x",
        "?search=%00%FF",
        "?page=99999",
    ] {
        names(odd).await;
    }
    let mut conn = shop.db.acquire().await.expect("a connection");
    let piece = ProductId::parse("piece-01").expect("an id");
    for (delta, reason) in [(5, StockReason::Made), (-5, StockReason::Lost)] {
        products::adjust(&mut conn, &piece, delta, StockCause::new(reason, "x"))
            .await
            .expect("the stock");
    }
    assert_eq!(names("?show=running-out").await, ["Piece 01"]);

    let here = "/admin/products";
    let archive = [
        ("id", "piece-02"),
        ("id", "piece-03"),
        ("do", "archive"),
        ("back", "/admin/products?size=1"),
    ];
    let done = staff.submit(here, here, &archive).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, "/admin/products?size=1"),
        "{}",
        done.text
    );
    assert!(
        staff
            .get(here)
            .await
            .text
            .contains("2 products are archived.")
    );
    assert_eq!(names("?show=archived").await, ["Piece 02", "Piece 03"]);
    assert_eq!(shop.client.get("/api/products/piece-02/").await.status, 404);
    let restore = [
        ("id", "piece-02"),
        ("do", "restore"),
        ("back", "https://evil.example/"),
    ];
    assert_eq!(
        staff.submit(here, here, &restore).await.header("location"),
        here
    );
    assert_eq!(names("?show=archived").await, ["Piece 03"]);
    staff.submit(here, here, &[("do", "archive")]).await;
    assert!(staff.get(here).await.text.contains("Nothing was checked"));
    // All or none.
    let odd = [("id", "piece-04"), ("id", "nothing"), ("do", "archive")];
    assert_eq!(staff.submit(here, here, &odd).await.status, 404);
    assert_eq!(names("?show=archived").await, ["Piece 03"]);
    sqlx::query("update products set stripe_status = 'error', stripe_error = 'no such <thing>' where id = 'piece-05'")
        .execute(&shop.db)
        .await
        .expect("a product");
    assert_eq!(names("?show=stripe").await, ["Piece 05"]);
    let page = staff.get("/admin/products/piece-05").await.text;
    assert!(
        page.contains("Stripe did not take it: no such &#60;thing&#62;")
            && page.contains("Try again"),
        "{page}"
    );
    staff
        .submit(here, here, &[("id", "piece-05"), ("do", "sync")])
        .await;
    assert_eq!(names("?show=stripe").await, [] as [&str; 0]);
    assert_eq!(
        actions(&shop).await,
        [
            "product.archive",
            "product.archive",
            "product.restore",
            "product.sync"
        ]
    );
}

#[tokio::test]
async fn a_product_is_archived_restored_and_copied() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let path = makes(&staff, &[]).await;
    staff
        .upload(&path, &format!("{path}/images"), &[&jpeg(300, 300)])
        .await;
    let active = format!("{path}/active");
    staff.submit(&path, &active, &[("active", "no")]).await;
    assert_eq!(shop.client.get("/api/products/sunrise/").await.status, 404);
    assert!(staff.get(&path).await.text.contains(">Put on sale<"));
    staff.submit(&path, &active, &[("active", "yes")]).await;
    assert_eq!(shop.client.get("/api/products/sunrise/").await.status, 200);
    let copied = staff.submit(&path, &format!("{path}/duplicate"), &[]).await;
    assert_eq!(copied.status, 303, "{}", copied.text);
    let copy = copied.header("location").to_owned();
    assert_ne!(copy, path);
    let page = staff.get(&copy).await.text;
    for part in [
        "Sunrise (copy)",
        "This is a draft",
        "value=\"sunrise-copy\"",
        "value=\"47.50\"",
        "data-image=",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(shop.stock(id_of(&copy)).await, (0, 0));
    shop.run_jobs().await;
    staff.submit(&path, &format!("{path}/sync"), &[]).await;
    assert!(
        staff
            .get(&path)
            .await
            .text
            .contains("It is waiting to be sent.")
    );
    shop.run_jobs().await;
    assert_eq!(
        actions(&shop).await,
        [
            "product.create",
            "product.images",
            "product.archive",
            "product.restore",
            "product.duplicate",
            "product.sync"
        ]
    );
}

#[tokio::test]
async fn a_deleted_product_stays_in_its_orders_and_gives_its_address_back() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let path = makes(&staff, &[]).await;
    let id = id_of(&path).to_owned();
    let admin = shop.admin(&spirit_beads::auth::Scope::ALL).await;
    let sale = json!({"lines": [{"product_id": id, "quantity": 1}]});
    assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
    let page = staff.get(&path).await.text;
    assert!(
        page.contains("Delete Sunrise for good") && page.contains("2 of it are still on hand."),
        "{page}"
    );
    let gone = staff.submit(&path, &format!("{path}/delete"), &[]).await;
    assert_eq!(
        (gone.status, gone.header("location")),
        (303, "/admin/products"),
        "{}",
        gone.text
    );
    for (on, said) in [
        ("/admin/products", "Sunrise is deleted."),
        ("/admin/orders/SB-1001", "Sunrise"),
    ] {
        let page = staff.get(on).await.text;
        assert!(page.contains(said), "{page}");
    }
    assert_eq!(staff.get(&path).await.status, 404);
    let again = staff
        .submit("/admin/account", &format!("{path}/delete"), &[])
        .await;
    assert_eq!(again.status, 404);
    shop.run_jobs().await;
    makes(&staff, &[]).await;
    assert_eq!(
        shop.client.get("/api/products/sunrise/").await.status,
        200,
        "the address is free again"
    );
    assert_eq!(
        actions(&shop).await[..],
        ["product.create", "product.delete", "product.create"]
    );
    shop.audit().await;
}

#[tokio::test]
async fn a_product_may_be_called_new() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let file = json!({"products": [
        {"id": "new", "name": "The new one", "slug": "new", "lighter_type": 1, "price": 4700},
    ]});
    shop.imports(&file).await.expect("an import");
    let list = staff.get("/admin/products").await.text;
    assert!(list.contains("href=\"/admin/products/new\""), "{list}");
    let page = staff.get("/admin/products/new").await.text;
    assert!(page.contains("<h1>The new one</h1>"), "{page}");
    assert!(list.contains("href=\"/admin/new-product\""), "{list}");
}

#[tokio::test]
async fn a_new_product_is_a_draft_until_now_or_a_time_of_the_shops_own_zone() {
    let shop = staffed_with(&[("SHOP_TIME_ZONE", "America/New_York")]).await;
    let staff = signed_in(&shop, STAFF).await;
    let path = makes(&staff, &[("sale", "")]).await;
    let is_seen = async || shop.client.get("/api/products/sunrise/").await.status == 200;
    let page = staff.get(&path).await.text;
    for part in [
        "Sunrise is saved as a draft. Add its images next.",
        "This is a draft",
        "It has no image yet.",
        "Put on sale at (America/New_York)",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!is_seen().await);
    let drafts = staff.get("/admin/products?show=drafts").await.text;
    assert!(
        drafts.contains("Sunrise") && drafts.contains(">Draft<"),
        "{drafts}"
    );
    assert!(!staff.get("/admin/products").await.text.contains("Sunrise<"));

    let schedule = format!("{path}/schedule");
    for (typed, why) in [
        ("", "Choose a day and a time."),
        ("2126-03-31T02:30 or so", "Choose a day and a time."),
        ("2020-12-04T18:00", "Must be in the future."),
    ] {
        let refused = staff
            .submit(&path, &schedule, &[("on_sale_at", typed)])
            .await;
        assert_eq!(refused.status, 400, "{typed}");
        assert!(refused.text.contains(why), "{typed}: {}", refused.text);
    }
    let set = staff
        .submit(&path, &schedule, &[("on_sale_at", "2126-12-04T18:00")])
        .await;
    assert_eq!(set.status, 303, "{}", set.text);
    let at: String = sqlx::query_scalar("select on_sale_at::text from products")
        .fetch_one(&shop.db)
        .await
        .expect("a time");
    assert_eq!(at, "2126-12-04 23:00:00+00");
    let page = staff.get(&path).await.text;
    for part in [
        "goes on sale Dec 4, 2126, 6:00 PM.",
        ">Scheduled<",
        "value=\"2126-12-04T18:00\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let drafts = staff.get("/admin/products?show=drafts").await.text;
    assert!(drafts.contains("On sale Dec 4, 2126, 6:00 PM"), "{drafts}");
    staff
        .submit(
            &path,
            &schedule,
            &[("do", "clear"), ("on_sale_at", "2126-12-04T18:00")],
        )
        .await;
    assert!(staff.get(&path).await.text.contains("This is a draft"));
    assert!(!is_seen().await);

    let sold = staff
        .submit(&path, &format!("{path}/active"), &[("active", "yes")])
        .await;
    assert_eq!(sold.status, 303);
    assert!(is_seen().await);
    // A page that was open before takes nothing off sale.
    for fields in [
        [("do", "clear"), ("on_sale_at", "")],
        [("do", ""), ("on_sale_at", "2126-12-04T18:00")],
    ] {
        let late = staff.submit(&path, &schedule, &fields).await;
        assert_eq!(late.status, 409, "{}", late.text);
        assert!(
            late.text.contains("Sunrise is on sale in the meantime."),
            "{}",
            late.text
        );
        assert!(is_seen().await);
    }
    assert!(!staff.get(&path).await.text.contains("This is a draft"));
}
