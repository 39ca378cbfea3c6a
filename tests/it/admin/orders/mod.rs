//! Orders in the admin: shipping, refunds, in-person sales, the table for the bookkeeper.

mod export;
mod list;
mod refunds;
mod sales;

use serde_json::json;
use spirit_beads::audit::Actor;
use spirit_beads::auth::Scope;
use spirit_beads::orders::NewShipment;
use spirit_beads::review_items::{Kind, NewItem};
use spirit_beads::types::ids::ReviewItemId;
use spirit_beads::{orders, review_items};
use uuid::Uuid;

use crate::admin::{STAFF, audited, signed_in, staffed};
use crate::support::images::{Part, jpeg};
use crate::support::{Shop, card, session_of};

const ORDER: &str = "/admin/orders/SB-1001";

/// A shop that sold two of three pieces through the storefront: $94 and $5 shipping.
pub async fn two_sold() -> (Shop, String, String) {
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 2)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    (shop, piece, session)
}

impl Shop {
    /// Sends what is to be sent, hears of it, and looks whether the books add up.
    pub async fn settles(&self) {
        self.run_jobs().await;
        self.deliver().await;
        self.run_jobs().await;
        self.audit().await;
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        let count = sqlx::query_scalar(sql).fetch_one(&self.db).await;
        count.expect("a count")
    }

    async fn returned(&self) -> i64 {
        self.count("select coalesce(sum(delta), 0)::bigint from stock_movements where reason = 'returned' and order_id is not null")
            .await
    }
}

#[tokio::test]
async fn the_ids_of_stripe_are_folded_away() {
    let (shop, _, session) = two_sold().await;
    let staff = signed_in(&shop, STAFF).await;
    let page = staff.get("/admin/orders/SB-1001").await.text;
    let payment = shop.payment_of(&session).await;
    for id in [&payment, &session] {
        let unfolded = page.split("<details").map(|part| {
            let after = part.split_once("</details>");
            after.map_or(part, |(_, after)| after)
        });
        let shown: Vec<&str> = unfolded.skip(1).collect();
        assert!(page.contains(&format!("<span class=\"select\">{id}</span>")));
        let told = shown.iter().any(|part| part.contains(&format!(" {id}")));
        assert!(!told, "{id} is unfolded: {page}");
    }
    assert!(page.contains("<span>Paid</span>"), "{page}");
}

#[tokio::test]
async fn an_order_is_packed_shipped_with_an_image_and_delivered() {
    let (shop, _, session) = two_sold().await;
    let staff = signed_in(&shop, STAFF).await;
    let slip = staff.get("/admin/orders/SB-1001/packing-slip").await;
    assert_eq!(slip.status, 200);
    assert!(
        slip.text.contains("<td>Sunrise</td><td>2</td>") && !slip.text.contains("$"),
        "{}",
        slip.text
    );

    // What is wrong is told beside its field, and nothing typed is lost.
    let ship = format!("{ORDER}/ship");
    let parts = [
        Part::text("carrier", "USPS"),
        Part::text("tracking_number", "94<00"),
    ];
    let answer = staff.submit_parts(ORDER, &ship, &parts).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("id=\"ship-tracking_number-error\""));
    assert!(
        answer.text.contains("value=\"94&#60;00\""),
        "{}",
        answer.text
    );
    let parts = [
        Part::text("carrier", "USPS"),
        Part::file("images", b"no image"),
    ];
    let answer = staff.submit_parts(ORDER, &ship, &parts).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("This is not an image."));
    assert_eq!(shop.status_of(&session).await, "paid");

    let image = jpeg(80, 60);
    let parts = [
        Part::text("carrier", "USPS"),
        Part::text("tracking_number", "9400 1234"),
        Part::file("images", &image),
        Part::file("images", &image),
    ];
    let answer = staff.submit_parts(ORDER, &ship, &parts).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, ORDER),
        "{}",
        answer.text
    );
    shop.run_jobs().await;
    let page = staff.get(ORDER).await.text;
    for part in [
        "SB-1001 is shipped; an email goes to",
        "tLabels=94001234\"",
        "The shipment, photo 1",
        "Mark delivered",
        "Order shipped</strong>",
        "Send again",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(shop.count("select count(*) from shipment_images").await, 1);
    assert_eq!(shop.emails_of("order_shipped").await, 1);
    // It is shipped once.
    let again = staff.submit(ORDER, &ship, &[("carrier", "UPS")]).await;
    assert_eq!(again.status, 409, "{}", again.text);

    let answer = staff.submit(ORDER, &format!("{ORDER}/deliver"), &[]).await;
    assert_eq!(answer.status, 303);
    assert_eq!(shop.status_of(&session).await, "delivered");
    let entries: Vec<String> = sqlx::query_scalar(
        "select action from audit_log where object = 'order:SB-1001' order by id",
    )
    .fetch_all(&shop.db)
    .await
    .expect("the log");
    assert_eq!(entries, ["order.ship", "order.deliver"]);
    shop.audit().await;
}

#[tokio::test]
async fn notes_are_kept_attention_is_seen_to_and_emails_go_again() {
    let (shop, _, _) = two_sold().await;
    let staff = signed_in(&shop, STAFF).await;
    let note = format!("{ORDER}/note");
    let long = "x".repeat(2001);
    for text in ["", "  ", &long] {
        let answer = staff.submit(ORDER, &note, &[("text", text)]).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text.contains("id=\"note-text-error\""));
    }
    let answer = staff
        .submit(ORDER, &note, &[("text", "Gift wrap <3")])
        .await;
    assert_eq!(answer.status, 303);
    sqlx::query(
        "insert into review_items (order_id, kind, cause, text) select id, 'other', 'test:' || id, 'look here' from orders",
    )
        .execute(&shop.db)
        .await
        .expect("an order");
    let page = staff.get(ORDER).await.text;
    assert!(page.contains("Note: Gift wrap &#60;3") && page.contains("look here"));
    assert!(page.contains("user:ben@example.com"), "{page}");
    let item: String = sqlx::query_scalar("select id::text from review_items")
        .fetch_one(&shop.db)
        .await
        .expect("an item");
    let resolve = format!("/admin/review-items/{item}/resolve");
    let answer = staff.submit(ORDER, &resolve, &[]).await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), ORDER);
    assert!(!staff.get(ORDER).await.text.contains("class=\"alert"));

    let email: String =
        sqlx::query_scalar("select id::text from emails where kind = 'order_confirmation'")
            .fetch_one(&shop.db)
            .await
            .expect("an email");
    let resend = format!("{ORDER}/resend");
    let answer = staff.submit(ORDER, &resend, &[("email", &email)]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let again = staff.submit(ORDER, &resend, &[("email", &email)]).await;
    assert_eq!(again.status, 409, "it is on its way");
    for other in ["", "x", "00000000-0000-0000-0000-000000000000"] {
        let answer = staff.submit(ORDER, &resend, &[("email", other)]).await;
        assert_eq!(answer.status, 404, "{other}");
    }
    shop.run_jobs().await;
}

#[tokio::test]
async fn an_order_paid_through_stripe_is_not_undone_by_hand() {
    let (shop, _, session) = two_sold().await;
    let staff = signed_in(&shop, STAFF).await;
    let answer = staff.submit(ORDER, &format!("{ORDER}/undo"), &[]).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    let admin = shop.admin(&[Scope::OrdersWrite, Scope::Refunds]).await;
    let answer = admin
        .post("/api/admin/orders/SB-1001/undo/", &json!({}))
        .await;
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (409, &json!("not_by_hand"))
    );
    assert_eq!(shop.status_of(&session).await, "paid");
    // Nor is a sale by hand refunded through Stripe.
    let sale = json!({"lines": [{"product_id": "sunrise", "quantity": 1}]});
    assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
    let answer = admin
        .post("/api/admin/orders/SB-1002/refund/", &json!({}))
        .await;
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (409, &json!("not_refundable"))
    );
}

#[tokio::test]
async fn several_orders_are_shipped_at_once() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let piece = shop.stocks("Sunrise", 9).await;
    for _ in 0..3 {
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
    }
    let list = staff.get("/admin/orders").await.text;
    assert_eq!(list.matches("type=\"checkbox\"").count(), 3);
    let none = staff.get("/admin/orders/ship").await.text;
    assert!(none.contains("No order was chosen."));
    let on = "/admin/orders/ship?order=SB-1001&order=SB-1002&order=SB-9&order=SB-1001";
    let page = staff.get(on).await.text;
    assert_eq!(page.matches("name=\"order\"").count(), 2);
    let fields = [
        ("order", "SB-1001"),
        ("order", "SB-1002"),
        ("carrier", "USPS"),
        ("tracking.SB-1001", "94001"),
        ("tracking.SB-1002", "bad!"),
    ];
    let answer = staff.submit(on, "/admin/orders/ship", &fields).await;
    assert_eq!(answer.status, 400);
    for part in [
        "SB-1001 is shipped; the others are below.",
        "value=\"SB-1002\"",
        "value=\"bad!\"",
        "tracking.SB-1002-error",
    ] {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
    assert!(!answer.text.contains("value=\"SB-1001\""));
    assert_eq!(shop.statuses().await, ["shipped", "paid", "paid"]);
    let fields = [
        ("order", "SB-1002"),
        ("order", "SB-1003"),
        ("carrier", "DHL"),
    ];
    let answer = staff.submit(on, "/admin/orders/ship", &fields).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/admin/orders")
    );
    assert_eq!(shop.statuses().await, ["shipped", "shipped", "shipped"]);
}

#[tokio::test]
async fn the_log_does_not_say_of_one_what_another_did_meanwhile() {
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let answer = shop.shopper().check_out(&[(&piece, 1)]).await;
    let session = session_of(&answer);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let number = format!("SB-{}", shop.order(&session).await["number"]);
    let number = number.as_str();

    // Somebody else's change commits after this one began.
    let mut tx = shop.db.begin().await.expect("a transaction");
    let id = orders::resolve(&mut tx, number).await.expect("an order");
    let mut other = shop.db.begin().await.expect("a transaction");
    let item = NewItem::new(Kind::OutsideZone, "test", "look");
    let flagged = review_items::flag(&mut other, id, "stripe", &item).await;
    flagged.expect("flagged");
    let order = orders::lock(&mut other, id).await.expect("a lock");
    let shipment = NewShipment {
        carrier: "USPS".to_owned(),
        tracking_number: None,
        tracking_url: None,
        images: Vec::new(),
        ship_anyway: false,
    };
    let shipped = orders::ship(&mut other, &order.expect("an order"), &shipment, "console").await;
    shipped.expect("shipped");
    other.commit().await.expect("a commit");
    let noted = orders::write_note(&mut tx, &Actor::console(), id, "Ann called").await;
    noted.expect("noted");
    tx.commit().await.expect("a commit");

    // Two press the button at once; the second has nothing to do.
    let item: Uuid = sqlx::query_scalar("select id from review_items")
        .fetch_one(&shop.db)
        .await
        .expect("an item");
    let resolves = async || {
        let mut tx = shop.db.begin().await.expect("a transaction");
        let resolved = review_items::resolve(&mut tx, &Actor::console(), ReviewItemId(item)).await;
        assert!(resolved.expect("an item").resolved_at.is_some());
        tx.commit().await.expect("a commit");
    };
    tokio::join!(resolves(), resolves());

    let log: Vec<_> = audited(&shop)
        .await
        .into_iter()
        .filter(|entry| entry.1.starts_with("order.") || entry.1.starts_with("review_item."))
        .map(|entry| (entry.1, entry.3.expect("before"), entry.4.expect("after")))
        .collect();
    let facts = json!({"status": "shipped", "refunded": 0});
    let mut noted = facts.clone();
    noted["note"] = json!("Ann called");
    let item = |is_open: bool| json!({"review_item": item, "kind": "outside_zone", "text": "look", "is_open": is_open});
    assert_eq!(
        log,
        [
            ("order.note".to_owned(), facts, noted),
            ("review_item.resolve".to_owned(), item(true), item(false)),
        ]
    );
}
