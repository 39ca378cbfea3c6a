//! The list of orders: what was bought, where it goes, and what its search finds.

use serde_json::json;
use spirit_beads::auth::Scope;

use crate::admin::{STAFF, signed_in, staffed};
use crate::support::images::jpeg;
use crate::support::{Shop, card, session_of};

async fn sells(shop: &Shop, pieces: &[(&str, i32)]) {
    let session = session_of(&shop.shopper().check_out(pieces).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
}

/// SB-1001 with five products for Portland, and SB-1002 with two pieces of one for Zürich, shipped.
async fn two_orders() -> Shop {
    let shop = staffed().await;
    let admin = shop.admin(&[Scope::Catalog, Scope::OrdersWrite]).await;
    let image = admin.uploads(&[&jpeg(80, 60)]).await.json[0]["id"].clone();
    let mut pieces = Vec::new();
    for name in [
        "Sunrise over Mesa",
        "Élan Vital",
        "Raven",
        "Turtle",
        "Red <Hawk>",
    ] {
        let pictured = json!({"images": [image]});
        pieces.push(shop.stocks_with(name, 9, pictured).await);
    }
    let all: Vec<(&str, i32)> = pieces.iter().map(|piece| (piece.as_str(), 1)).collect();
    sells(&shop, &all).await;
    sells(&shop, &[(&pieces[3], 2)]).await;
    let abroad =
        "update orders set customer_name = 'Bo', shipping_name = 'Bo', email = 'bo@example.com',
             shipping_address = '{\"city\": \"Z\u{fc}rich\", \"state\": null, \"country\": \"CH\"}'
         where number = 1002";
    sqlx::query(abroad).execute(&shop.db).await.expect("abroad");
    let shipment = json!({"carrier": "USPS", "tracking_number": "9400 1118-9922 3344"});
    let shipped = admin
        .post("/api/admin/orders/SB-1002/ship/", &shipment)
        .await;
    assert_eq!(shipped.status, 200, "{}", shipped.text);
    shop
}

#[tokio::test]
async fn a_row_shows_what_was_bought_and_where_it_goes() {
    let shop = two_orders().await;
    let staff = signed_in(&shop, STAFF).await;
    let page = staff.get("/admin/orders?tab=all").await.text;
    let rows: Vec<&str> = page.split("<a href=\"/admin/orders/SB-").skip(1).collect();
    for (row, number, images, texts) in [
        (
            rows[0],
            "1002",
            1,
            vec!["2 × Turtle</span>", "Bo · Zürich, Switzerland</span>"],
        ),
        (
            rows[1],
            "1001",
            3,
            vec![
                "Raven, Red &#60;Hawk&#62;, Sunrise over Mesa, Turtle, Élan Vital</span>",
                ">+2</span>",
                "Jane Shopper · Portland, OR</span>",
            ],
        ),
    ] {
        assert!(row.starts_with(number), "{row}");
        assert_eq!(row.matches("/320.jpg\"").count(), images, "{row}");
        for text in texts {
            assert!(row.contains(text), "{text}: {row}");
        }
    }

    let reader = shop.admin(&[Scope::OrdersRead]).await;
    let list = reader.get("/api/admin/orders/").await.json;
    let turtle = &list["results"][0];
    assert_eq!(turtle["lines"].as_array().expect("lines").len(), 1);
    assert_eq!(
        (&turtle["lines"][0]["name"], &turtle["lines"][0]["quantity"]),
        (&json!("Turtle"), &json!(2))
    );
    assert_eq!(turtle["is_to_pack"], false);
    let five = &list["results"][1];
    assert_eq!(five["lines"].as_array().expect("lines").len(), 5);
    assert_eq!(five["is_to_pack"], true);
}

#[tokio::test]
async fn a_search_finds_products_places_tracking_numbers_and_ids() {
    let shop = two_orders().await;
    let staff = signed_in(&shop, STAFF).await;
    let reader = shop.admin(&[Scope::OrdersRead]).await;
    let id: String = sqlx::query_scalar("select id::text from orders where number = 1001")
        .fetch_one(&shop.db)
        .await
        .expect("an id");
    let first = vec!["SB-1001"];
    let second = vec!["SB-1002"];
    let both = vec!["SB-1002", "SB-1001"];
    let none = vec![];
    for (search, found) in [
        ("over mesa", &first),
        ("elan", &first),
        ("su", &first),
        ("<hawk>", &first),
        ("turtle", &both),
        ("portland", &first),
        ("Portland, OR", &first),
        ("zurich", &second),
        ("OR", &first),
        ("9400 1118 9922 3344", &second),
        ("9400111899223344", &second),
        ("11-18", &second),
        ("1899", &second),
        (&id, &first),
        (&format!(" {} ", id.to_uppercase()), &first),
        ("SB-1002", &second),
        ("bo@example", &second),
        ("surtle", &none),
        ("94009", &none),
        ("-", &none),
        ("%", &none),
        (",", &none),
        ("01a1f4a2-7a3e-7000-8000-000000000000", &none),
    ] {
        let query: String = url::form_urlencoded::byte_serialize(search.as_bytes()).collect();
        let answer = reader
            .get(&format!("/api/admin/orders/?search={query}"))
            .await;
        assert_eq!(&answer.each("results", "number"), found, "{search}");
        let page = staff
            .get(&format!("/admin/orders?search={query}"))
            .await
            .text;
        let rows = page.split("<a href=\"/admin/orders/").skip(1);
        let shown: Vec<&str> = rows.map(|row| &row[..7]).collect();
        assert_eq!(&shown, found, "{search}");
    }
}
