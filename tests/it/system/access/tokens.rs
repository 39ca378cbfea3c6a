//! Every route asks for a token with its scope, except those of shoppers.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use spirit_beads::audit::Actor;
use spirit_beads::auth::{self, Scope};

use super::{enough, furnished, knock, routes, state};
use crate::support::Shop;

#[tokio::test]
async fn every_route_but_the_shoppers_needs_a_token() {
    let shop = Shop::open().await;
    let document = shop.client.get("/api/openapi.json").await.json;
    let mut open = BTreeSet::new();
    let mut locked = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let route = format!("{} {path}", method.to_uppercase());
            if operation["security"].is_array() {
                locked.insert(route);
            } else {
                open.insert(route);
            }
        }
    }
    let routes: BTreeSet<String> = routes()
        .iter()
        .map(|route| format!("{} {}", route.0, route.1))
        .collect();
    // Two scopes open this one, and it takes forms: `media.rs` knocks there.
    assert!(locked.remove("POST /api/admin/images"));
    // It takes forms, too.
    assert!(locked.remove("POST /api/admin/intakes/{id}/photos"));
    assert_eq!(locked, routes);
    assert_eq!(
        open.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            "GET /api/categories",
            "GET /api/categories/{id}",
            "GET /api/custom-orders/{id}/status",
            "GET /api/orders/by-session/{session}",
            "GET /api/orders/{id}/status",
            "GET /api/payments/cancel/{token}",
            "GET /api/products",
            "GET /api/products/batch",
            "GET /api/products/{id}",
            "GET /api/products/{id}/check_availability",
            "POST /api/custom-orders",
            "POST /api/payments/cancel/{token}",
            "POST /api/payments/create-checkout-session",
            "POST /api/payments/webhook",
        ]
    );
}

#[tokio::test]
async fn without_a_token_it_is_401_and_nothing_happens() {
    let shop = furnished().await;
    let before = state(&shop).await;
    let spent = shop.admin(&Scope::ALL).await;
    let last = "update api_tokens set name = 'spent'
                where id = (select id from api_tokens order by created_at desc limit 1)";
    sqlx::query(last)
        .execute(&shop.db)
        .await
        .expect("the tokens");
    let mut conn = shop.db.acquire().await.expect("a connection");
    let tokens = auth::list_tokens(&mut conn).await.expect("the tokens");
    let id = tokens
        .iter()
        .find(|token| token.name == "spent")
        .expect("the token")
        .id;
    assert_eq!(spent.get("/api/admin/orders/").await.status, 200);
    assert!(
        auth::revoke_token(&mut conn, &Actor::console(), id)
            .await
            .expect("revoked")
    );
    let never = "sbt_00000000000000000000000000000000";
    for route in routes() {
        for (client, headers) in [
            (&shop.client, vec![]),
            (&shop.client, vec![("authorization", "")]),
            (&shop.client, vec![("authorization", "Bearer")]),
            (&shop.client, vec![("authorization", "Bearer ")]),
            (&shop.client, vec![("authorization", "Basic c2hvcDpzaG9w")]),
            (&shop.client, vec![("authorization", "Token x")]),
            (&shop.client, vec![("cookie", "sb_checkout=x; session=y")]),
            (&shop.client.with_token(never), vec![]),
            (&spent, vec![]),
        ] {
            let answer = knock(client, &route, &headers).await;
            let what = format!("{} {} {headers:?}: {}", route.0, route.1, answer.text);
            assert_eq!(answer.status, 401, "{what}");
            assert_eq!(answer.json["code"], "not_authenticated", "{what}");
            assert_eq!(
                answer.json["detail"], "Authentication credentials were not provided.",
                "{what}"
            );
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{what}");
        }
    }
    assert_eq!(state(&shop).await, before);
}

#[tokio::test]
async fn with_too_little_a_token_it_is_403_and_nothing_happens() {
    let shop = furnished().await;
    let before = state(&shop).await;
    for scope in Scope::ALL {
        let others: Vec<Scope> = Scope::ALL
            .into_iter()
            .filter(|other| *other != scope)
            .collect();
        let admin = shop.admin(&others).await;
        for route in routes().iter().filter(|route| route.2 == scope) {
            let answer = knock(&admin, route, &[]).await;
            let what = format!("{} {}: {}", route.0, route.1, answer.text);
            assert_eq!(
                (answer.status, &answer.json["code"]),
                (403, &json!("permission_denied")),
                "{what}"
            );
            assert!(
                answer.json["detail"]
                    .as_str()
                    .expect("a sentence")
                    .contains(scope.as_str()),
                "{what}"
            );
        }
    }
    assert_eq!(state(&shop).await, before);
    // The scope asked for is enough by itself, or the routes would be shut for another reason.
    let corrector = shop.admin(&[Scope::OrdersWrite, Scope::OrdersRead]).await;
    let scopes = [Scope::OrdersRead, Scope::OrdersWrite, Scope::CustomOrders];
    let reader = shop.admin(&scopes).await;
    let maker = shop.admin(&[Scope::Catalog, Scope::Stock]).await;
    for scope in Scope::ALL {
        let admin = shop.admin(&enough(scope)).await;
        for route in routes()
            .iter()
            .filter(|route| route.2 == scope && route.0 != Method::DELETE)
        {
            // Its email to a corrected address takes the customer's data there.
            let admin = match route.1 {
                "/api/admin/orders/{id}/customer" => &corrector,
                // Both what a customer bought and what they asked for.
                path if path.starts_with("/api/admin/customers") => &reader,
                // Products with their stock.
                "/api/admin/intakes/{id}/create" | "/api/admin/intakes/{id}/take-back" => &maker,
                _ => &admin,
            };
            let answer = knock(admin, route, &[]).await;
            assert!(
                // A state that does not allow it is told behind the route only.
                answer.status < 400
                    || answer.status == 409
                    || answer.status == 400 && route.1 == "/api/products/{id}",
                "{} {}: {}",
                route.0,
                route.1,
                answer.text
            );
        }
    }
}

#[tokio::test]
async fn stock_is_not_changed_by_a_token_for_the_catalog_alone() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let change = json!({"name": "Dawn", "inventory_count": 9, "expected_inventory_count": 3});
    for answer in [
        admin
            .send_json(Method::PATCH, "/api/products/sunrise/", &change)
            .await,
        admin
            .post(
                "/api/products/",
                &json!({"name": "Otter", "lighter_type": 1, "price": 4700, "inventory_count": 1}),
            )
            .await,
        admin
            .post(
                "/api/products/sunrise/stock/",
                &json!({"delta": 1, "reason": "received"}),
            )
            .await,
    ] {
        assert_eq!(answer.status, 403, "{}", answer.text);
    }
    assert_eq!(shop.stock(&piece).await, (3, 0));
    let names = shop
        .client
        .get("/api/products/")
        .await
        .each("results", "name");
    assert_eq!(names, ["Sunrise"]);
}

#[tokio::test]
async fn no_route_tells_of_customers_but_those_that_are_for_it() {
    let shop = furnished().await;
    for sql in [
        "update orders set email = 'jane@private.example', customer_name = 'Jane Private', phone = '1 private',
             shipping_name = 'Jane Private', shipping_address = '{\"line1\": \"1 Private Rd\"}'
         where not is_custom_order",
        "update review_items set text = 'Jane Private wrote'",
        "update order_events set note = 'Jane Private wrote'",
        "update emails set recipient = 'jane@private.example', last_error = 'jane@private.example is unknown'",
    ] {
        sqlx::query(sql).execute(&shop.db).await.expect(sql);
    }
    // The log of all that happens is what `audit` is for, and the requests what `custom_orders` is for.
    let tells = [Scope::OrdersRead, Scope::CustomOrders, Scope::Audit];
    let mut asked = 0;
    for scope in Scope::ALL
        .into_iter()
        .filter(|scope| !tells.contains(scope))
    {
        let admin = shop.admin(&[scope]).await;
        for route in routes().iter().filter(|route| route.2 == scope) {
            let answer = knock(&admin, route, &[]).await;
            let text = answer.text.to_lowercase();
            assert!(!text.contains("private"), "{} {}: {text}", route.0, route.1);
            asked += 1;
        }
    }
    assert!(asked > 50, "{asked}");
    // Who may read them is told.
    let reader = shop.admin(&[Scope::OrdersRead]).await;
    let order = reader.get("/api/admin/orders/SB-1001/").await;
    assert!(order.text.contains("Jane Private"), "{}", order.text);
}
