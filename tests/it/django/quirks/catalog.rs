//! Products, and the users of the admin.

use serde_json::{Value, json};

use super::{expect, insert, product};
use crate::django::Takeover;

#[tokio::test]
async fn products_that_do_not_fit_are_mended_and_named() {
    let takeover = Takeover::begin().await;
    let long = "n".repeat(255);
    let changes = [
        product("free", &[("price", "0")]),
        product("debt", &[("price", "-4500")]),
        product("huge", &[("price", "100000000")]),
        product("cheap", &[("price", "45")]),
        product("third", &[("lighter_type", "3")]),
        product("money", &[("currency", "'Dollar'")]),
        product("EUR", &[("currency", "'EUR'")]),
        product("light", &[("weight_ounces", "-1")]),
        product(
            "odd/id, with 'all'".replace('\'', "''").as_str(),
            &[("slug", "'Capitals_And_x'")],
        ),
        product("nameless", &[("name", "''")]),
        product("long", &[("name", &format!("'{long}'"))]),
        product(
            "a-second",
            &[
                ("stripe_product_id", "'prod_4GPhr3cPbgRkse'"),
                ("created_at", "'2026-05-07 12:00:00'"),
            ],
        ),
        product("slash", &[("stripe_price_id", "'price/1?x'")]),
        product("lost", &[("category_id", "999")]),
        product("nul", &[("description", "'a' || char(0) || 'b'")]),
    ];
    takeover.change(&changes.concat()).await;
    let report = takeover.import(&[]).await;
    for (id, fields) in [
        ("free", json!({"price": 1, "is_active": false})),
        ("debt", json!({"price": 1, "is_active": false})),
        ("huge", json!({"price": 99_999_999, "is_active": false})),
        ("cheap", json!({"price": 45, "is_active": true})),
        ("third", json!({"lighter_type": 1})),
        ("money", json!({"currency": "usd"})),
        ("EUR", json!({"currency": "eur"})),
        ("light", json!({"weight_ounces": 2.0})),
        ("odd/id, with 'all'", json!({"slug": "Capitals_And_x"})),
        ("nameless", json!({"name": "nameless"})),
        ("long", json!({"name": long})),
        ("a-second", json!({"stripe_product_id": null})),
        ("slash", json!({"stripe_price_id": null})),
        ("lost", json!({"category_id": null})),
        ("nul", json!({"description": "ab"})),
        // The older one keeps it.
        (
            "odd-steady",
            json!({"stripe_product_id": "prod_4GPhr3cPbgRkse"}),
        ),
    ] {
        expect(&takeover.product(id).await, &fields);
    }
    let mended = report["findings"]["mended"].as_array().expect("a list");
    let rows: Vec<&str> = mended
        .iter()
        .map(|row| row["row"].as_str().expect("a row"))
        .collect();
    let expected = [
        "product a-second",
        "product debt",
        "product free",
        "product huge",
        "product light",
        "product lost",
        "product money",
        "product nameless",
        "product slash",
        "product third",
    ];
    assert_eq!(rows, expected);
    assert!(
        report["findings"]["noted"]
            .to_string()
            .contains("dollars as cents?")
    );
    assert!(
        report["findings"]["noted"]
            .to_string()
            .contains("it cannot be sold until it has one in USD")
    );
    let mut conn = takeover.shop.db.acquire().await.expect("a connection");
    let foreign = spirit_beads::products::foreign_prices(
        &mut conn,
        spirit_beads::types::money::Currency::USD,
    )
    .await;
    assert!(
        foreign.expect("an answer").is_empty(),
        "the shop starts all the same"
    );
    // The storefront reads all that is for sale.
    let mut found = 0;
    for page in 1.. {
        let answer = takeover
            .shop
            .client
            .get(&format!("/api/products/?page={page}&page_size=100"))
            .await;
        if answer.status != 200 {
            break;
        }
        found += answer.json["results"].as_array().expect("products").len() as i64;
        if answer.json["next"].is_null() {
            break;
        }
    }
    let for_sale = "select count(*) from products where is_active";
    assert_eq!(found, takeover.one::<i64>(for_sale).await);
}

#[tokio::test]
async fn users_come_with_their_rights_and_without_their_passwords() {
    let takeover = Takeover::begin().await;
    let user = |id: u32, columns: &[(&str, &str)]| {
        insert(
            "auth_user",
            &[
                ("id", &id.to_string()),
                ("password", "'pbkdf2_sha256$1$x$y'"),
                ("is_superuser", "0"),
                ("is_staff", "1"),
                ("is_active", "1"),
                ("username", &format!("'user{id}'")),
                ("email", "''"),
                ("first_name", "''"),
                ("last_name", "''"),
                ("date_joined", "'2026-01-01 12:00:00'"),
            ],
            columns,
        )
    };
    let changes = [
        user(50, &[("username", "'Name@Example.com'")]),
        user(51, &[("email", "'TWIN@example.com'")]),
        user(
            52,
            &[("email", "'twin@Example.com'"), ("is_superuser", "1")],
        ),
        user(
            53,
            &[
                ("email", "'twin@example.com'"),
                ("is_superuser", "1"),
                ("is_active", "0"),
            ],
        ),
    ];
    takeover.change(&changes.concat()).await;
    let report = takeover.import(&[]).await;
    let users = "select jsonb_object_agg(email, role || case when disabled_at is null then '' else ' disabled' end) from users";
    assert_eq!(
        takeover.one::<Value>(users).await,
        json!({
            "keeper@example.com": "owner",
            "packer@example.com": "staff",
            "left@example.com": "staff disabled",
            "name@example.com": "staff",
            "twin@example.com": "owner",
        })
    );
    let left_out = report["findings"]["left_out"].to_string();
    for user in ["user 51", "user 53"] {
        assert!(left_out.contains(user), "{left_out}");
    }
    // No password is theirs until one is set.
    let (code, _, _) = takeover
        .beside
        .run(&["admin", "reset-password", "--email", "keeper@example.com"])
        .await;
    assert_eq!(code, 0);
    let same = "select count(distinct password_hash) from users";
    assert_eq!(takeover.one::<i64>(same).await, 2);
}
