//! In-person sales: one piece with two taps, several at once, a discount, a receipt, pieces to be shipped.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::admin::{Browser, STAFF, audited, signed_in, staffed};
use crate::support::forms::Form;
use crate::support::{Answer, Shop};

const SELL: &str = "/admin/sell";

/// Two of Sunrise at $40, one Turtle at $47.
const TWO_LINES: [(&str, &str); 7] = [
    ("sale", "0193a000-0000-7000-8000-00000000000a"),
    ("piece", "sunrise"),
    ("quantity", "2"),
    ("price", "40"),
    ("piece", "turtle"),
    ("quantity", "1"),
    ("price", "47.00"),
];

async fn stall() -> (Shop, Browser) {
    let shop = staffed().await;
    for (name, pieces) in [("Sunrise", 3), ("Turtle", 1), ("Owl", 1)] {
        shop.stocks(name, pieces).await;
    }
    let staff = signed_in(&shop, STAFF).await;
    (shop, staff)
}

async fn sells(staff: &Browser, more: &[(&str, &str)]) -> Answer {
    let fields = [&TWO_LINES, more].concat();
    staff.submit(SELL, SELL, &fields).await
}

#[tokio::test]
async fn a_piece_is_sold_by_hand_with_two_taps_and_undone_with_one() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let empty = staff.get("/admin/sell").await.text;
    assert!(
        empty.contains("There is nothing in stock to sell."),
        "{empty}"
    );
    let piece = shop.stocks("Sunrise", 2).await;
    shop.stocks("Turtle", 1).await;
    let found = staff.get("/admin/sell?search=sunr").await.text;
    assert!(
        found.contains("piece=sunrise") && !found.contains("piece=turtle"),
        "{found}"
    );
    assert!(
        staff
            .get("/admin/sell?search=%25")
            .await
            .text
            .contains("No piece in stock")
    );

    let page = staff.get("/admin/sell?piece=sunrise").await.text;
    let form = Form::to(&page, SELL);
    assert_eq!((form.get("quantity"), form.get("price")), ("1", "47.00"));
    let mut last = String::new();
    for _ in 0..2 {
        let answer = form.send(&staff.client).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        answer.header("location").clone_into(&mut last);
    }
    assert_eq!(last, "/admin/sell?sold=SB-1001");
    assert_eq!(shop.stock(&piece).await, (1, 0), "two taps are one sale");
    let page = staff.get(&last).await.text;
    assert!(page.contains("1 × Sunrise for <strong>$47.00"), "{page}");
    let undo = "/admin/orders/SB-1001/undo";
    for _ in 0..2 {
        let answer = staff.submit(&last, undo, &[("back", "sell")]).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/admin/sell")
        );
    }
    assert_eq!(shop.stock(&piece).await, (2, 0));
    assert_eq!(shop.returned().await, 1);
    assert_eq!(shop.statuses().await, ["refunded"]);
    shop.audit().await;

    // More than there is, and what is no number: told on the page, and what was typed is there still.
    for (quantity, price, error) in [
        ("3", "40", "Only 2 of Sunrise available"),
        ("0", "40", "must be a whole number"),
        ("1", "-4", "must be an amount such as 47.00"),
        ("1", "9999999999", "must be an amount such as 47.00"),
    ] {
        let sale = [
            ("sale", "0193a000-0000-7000-8000-00000000000c"),
            ("piece", "sunrise"),
            ("quantity", quantity),
            ("price", price),
        ];
        let answer = staff.submit("/admin/sell", "/admin/sell", &sale).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.text.contains(error), "{error}: {}", answer.text);
        assert!(answer.text.contains(&format!("value=\"{price}\"")));
    }
    let gone = [
        ("sale", "0193a000-0000-7000-8000-00000000000d"),
        ("piece", "nothing"),
    ];
    let answer = staff.submit("/admin/sell", "/admin/sell", &gone).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("Choose another"));
}

#[tokio::test]
async fn several_pieces_are_sold_at_once_with_a_discount_and_a_receipt() {
    let (shop, staff) = stall().await;
    let more = [
        ("discount", "10%"),
        ("payment_method", "card"),
        ("email", "jo@example.com"),
        ("customer_name", "Jo Buyer"),
    ];
    for _ in 0..2 {
        let answer = sells(&staff, &more).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        assert_eq!(answer.header("location"), "/admin/sell?sold=SB-1001");
    }
    assert_eq!(shop.stock("sunrise").await, (1, 0));
    assert_eq!(shop.stock("turtle").await, (0, 0));
    let order = shop.admin(&[Scope::OrdersRead]).await;
    let order = order.get("/api/admin/orders/SB-1001/").await.json;
    for (field, value) in [
        ("status", json!("delivered")),
        ("subtotal", json!(12_700)),
        ("discount", json!(1270)),
        ("total", json!(11_430)),
        ("payment_method", json!("card")),
        ("customer_name", json!("Jo Buyer")),
    ] {
        assert_eq!(order[field], value, "{field}: {order:#}");
    }
    let (.., after) = audited(&shop).await.pop().expect("an entry");
    let after = after.expect("what was sold");
    assert_eq!(
        (&after["discount"], &after["payment_method"]),
        (&json!(1270), &json!("card"))
    );

    let page = staff.get("/admin/sell?sold=SB-1001").await.text;
    assert!(
        page.contains("2 × Sunrise, 1 × Turtle for <strong>$114.30"),
        "{page}"
    );
    let page = staff.get("/admin/orders/SB-1001").await.text;
    assert!(page.contains("<dt>Discount</dt><dd>−$12.70"), "{page}");
    assert!(page.contains("Paid in person: Card."), "{page}");
    let table = staff.get("/admin/orders.csv").await.text;
    assert!(
        table.contains(",manual,card,USD,2 × Sunrise; 1 × Turtle,127.00,12.70,0.00,0.00,114.30,"),
        "{table}"
    );

    shop.run_jobs().await;
    let mails = shop.mail();
    let [mail] = &mails[..] else {
        panic!("{mails:#?}");
    };
    assert_eq!(mail.subject, "Your Receipt - Spirit Beads");
    assert_eq!(mail.to, ["jo@example.com"]);
    for words in [
        "Hello Jo Buyer,",
        "Paid with: Card",
        "Discount: −$12.70",
        "Total: $114.30",
    ] {
        assert!(mail.text.contains(words), "{words}: {}", mail.text);
    }
    assert!(!mail.text.contains("Shipping"), "{}", mail.text);
    shop.audit().await;
}

#[tokio::test]
async fn a_piece_is_added_to_a_sale_without_losing_what_was_typed() {
    let (shop, staff) = stall().await;
    let page = staff
        .get("/admin/sell?piece=sunrise&piece=nothing")
        .await
        .text;
    assert!(
        page.contains("One of the pieces is not there any more"),
        "{page}"
    );
    let typed = [
        ("sale", "0193a000-0000-7000-8000-00000000000b"),
        ("piece", "sunrise"),
        ("quantity", "2"),
        ("price", "41.50"),
        ("discount", "5"),
        ("email", "jo@example.com"),
        ("payment_method", "other"),
        ("add", "turtle"),
    ];
    let added = staff.submit(SELL, SELL, &typed).await;
    assert_eq!(added.status, 200, "{}", added.text);
    let form = Form::to(&added.text, SELL);
    let values = |name: &str| -> Vec<&str> {
        let named = form
            .fields
            .iter()
            .filter(|field| field.name == name && field.is_on);
        named.map(|field| field.value.as_str()).collect()
    };
    assert_eq!(values("sale"), ["0193a000-0000-7000-8000-00000000000b"]);
    assert_eq!(values("piece"), ["sunrise", "turtle"]);
    assert_eq!(values("quantity"), ["2", "1"]);
    assert_eq!(values("price"), ["41.50", "47.00"]);
    assert_eq!(values("discount"), ["5"]);
    assert_eq!(values("payment_method"), ["other"]);
    let (_, grid) = added
        .text
        .split_once("id=\"found\"")
        .expect("the other pieces");
    assert!(
        grid.contains("value=\"owl\"") && !grid.contains("value=\"turtle\""),
        "{grid}"
    );
    assert!(
        added
            .text
            .contains("href=\"/admin/sell?piece=turtle\">Remove"),
        "{}",
        added.text
    );
    assert_eq!(form.send(&staff.client).await.status, 303);
    let order = shop
        .admin(&[Scope::OrdersRead])
        .await
        .get("/api/admin/orders/SB-1001/")
        .await;
    assert_eq!(order.json["total"], 2 * 4150 + 4700 - 500);
    // The next sale is probably paid in the same way.
    let page = staff.get("/admin/sell?piece=owl").await.text;
    assert!(page.contains("value=\"other\" checked"), "{page}");
    shop.run_jobs().await;
    shop.audit().await;
}

#[tokio::test]
async fn a_faulty_sale_names_each_fault_and_sells_nothing() {
    let (shop, staff) = stall().await;
    let mut faulty = TWO_LINES.to_vec();
    faulty[2].1 = "0";
    faulty[6].1 = "much";
    faulty.extend([
        ("discount", "11x"),
        ("email", "jo"),
        ("note", "on the market"),
    ]);
    let answer = staff.submit(SELL, SELL, &faulty).await;
    assert_eq!(answer.status, 400);
    for words in [
        "id=\"sell-quantity-error-1\">Pieces: must be a whole number from 1 to 999",
        "id=\"sell-price-error-2\">Price must be an amount such as 47.00.",
        "Discount must be an amount such as 5.00, or a part such as 10%.",
        "Email for a receipt is no email address.",
        "value=\"much\"",
        "value=\"on the market\"",
        "<details open>",
    ] {
        assert!(answer.text.contains(words), "{words}: {}", answer.text);
    }
    for (discount, words) in [
        ("127.01", "Discount is more than the pieces cost."),
        ("101%", "Discount must be an amount"),
        ("-1", "Discount must be an amount"),
    ] {
        let answer = sells(&staff, &[("discount", discount)]).await;
        assert_eq!(answer.status, 400, "{discount}");
        assert!(answer.text.contains(words), "{words}: {}", answer.text);
    }
    // Sold in the storefront meanwhile.
    sqlx::query("update products set reserved = 1 where id = 'turtle'")
        .execute(&shop.db)
        .await
        .expect("a hold");
    let answer = sells(&staff, &[]).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text.contains("Only 0 of Turtle available"),
        "{}",
        answer.text
    );
    assert!(
        answer
            .text
            .contains("One of the pieces is not there any more")
    );
    assert_eq!(shop.statuses().await, [""; 0]);
    assert_eq!(shop.stock("sunrise").await, (3, 0));
    sqlx::query("update products set reserved = 0")
        .execute(&shop.db)
        .await
        .expect("no hold");
}

#[tokio::test]
async fn a_free_sale_has_a_discount_of_everything() {
    let (shop, staff) = stall().await;
    let answer = sells(&staff, &[("discount", "100%")]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let order = shop
        .admin(&[Scope::OrdersRead])
        .await
        .get("/api/admin/orders/SB-1001/")
        .await;
    assert_eq!(order.json["total"], 0);
    let undone = staff
        .submit(SELL, "/admin/orders/SB-1001/undo", &[("back", "sell")])
        .await;
    assert_eq!(undone.status, 303, "{}", undone.text);
    assert_eq!(shop.stock("sunrise").await, (3, 0));
    shop.audit().await;
}

#[tokio::test]
async fn a_piece_sold_in_person_is_shipped_later() {
    let (shop, staff) = stall().await;
    let more = [
        ("to_ship", "true"),
        ("email", "jo@example.com"),
        ("customer_name", "Jo Buyer"),
    ];
    let answer = sells(&staff, &more).await;
    assert_eq!(answer.header("location"), "/admin/orders/SB-1001");
    let page = staff.get("/admin/orders/SB-1001").await.text;
    assert!(page.contains("Add the address to ship it to."), "{page}");
    assert!(page.contains("A paid order has no address"), "{page}");
    let to_pack = staff.get("/admin/orders").await.text;
    assert!(to_pack.contains("SB-1001"), "{to_pack}");
    assert_eq!(shop.stock("turtle").await, (0, 0), "nobody else can buy it");
    // A sale that is undone needs no address.
    let again = [
        ("sale", "0193a000-0000-7000-8000-00000000000e"),
        ("piece", "owl"),
        ("to_ship", "true"),
    ];
    let fields = [&again[..], &[("quantity", "1"), ("price", "47")]].concat();
    assert_eq!(staff.submit(SELL, SELL, &fields).await.status, 303);
    let page = "/admin/orders/SB-1002";
    assert_eq!(
        staff
            .submit(page, &format!("{page}/undo"), &[])
            .await
            .status,
        303
    );
    let reader = shop.admin(&[Scope::OrdersRead]).await;
    let undone = reader.get("/api/admin/orders/SB-1002/").await.json;
    assert_eq!(
        (&undone["status"], &undone["review_items"]),
        (&json!("refunded"), &json!([]))
    );

    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let address = json!({"shipping_address": {
        "line1": "9 Oak Street", "city": "Portland", "state": "OR", "postal_code": "97205", "country": "US",
    }});
    let path = "/api/admin/orders/SB-1001/";
    let corrected = admin
        .send_json(Method::PATCH, &format!("{path}customer/"), &address)
        .await;
    assert_eq!(corrected.status, 200, "{}", corrected.text);
    assert_eq!(corrected.json["review_items"], json!([]));
    let shipment = json!({"carrier": "USPS", "tracking_number": "9400111899223345678901"});
    let shipped = admin.post(&format!("{path}ship/"), &shipment).await;
    assert_eq!(shipped.json["status"], "shipped", "{}", shipped.text);
    shop.run_jobs().await;
    let mut subjects: Vec<String> = shop.mail().into_iter().map(|mail| mail.subject).collect();
    subjects.retain(|subject| !subject.starts_with("Please Look"));
    assert_eq!(
        subjects,
        [
            "Your Receipt - Spirit Beads",
            "Your Order Has Shipped! - Spirit Beads"
        ]
    );
    shop.audit().await;
}

#[tokio::test]
async fn a_program_sells_with_a_discount_and_a_receipt() {
    let (shop, _) = stall().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let sale = |more: Value| {
        let mut sale = json!({"lines": [{"product_id": "sunrise", "quantity": 1}]});
        for (name, value) in more.as_object().expect("fields") {
            sale[name] = value.clone();
        }
        sale
    };
    for (more, field) in [
        (json!({"receipt": true}), "email"),
        (json!({"discount": -1}), "discount"),
        (json!({"discount": 4701}), "discount"),
        (json!({"payment_method": "barter"}), "payment_method"),
    ] {
        let answer = admin.post("/api/admin/orders/", &sale(more)).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.text.contains(field), "{field}: {}", answer.text);
    }
    let sold = sale(json!({
        "discount": 700, "payment_method": "cash", "receipt": true, "email": "jo@example.com", "to_ship": true,
    }));
    let sold = admin.post("/api/admin/orders/", &sold).await;
    assert_eq!(sold.status, 201, "{}", sold.text);
    assert_eq!(
        (&sold.json["total"], &sold.json["status"]),
        (&json!(4000), &json!("paid"))
    );
    shop.run_jobs().await;
    assert_eq!(shop.emails_of("receipt").await, 1);
    shop.audit().await;
}
