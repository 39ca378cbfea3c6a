//! Tokens: names that tell them apart, an end, and who made them; and what a user who is shut out leaves behind.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::{Role, Scope};

use crate::admin::{OWNER, PASSWORD, STAFF, signed_in, staffed};
use crate::support::{Answer, Client, Shop};

async fn make(admin: &Client, name: &str, more: Value) -> Answer {
    let mut body = json!({"name": name, "scopes": ["tokens"]});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    admin.post("/api/admin/tokens/", &body).await
}

/// A client with the token of this answer.
fn with(client: &Client, made: &Answer) -> Client {
    let token = made.json["token"].as_str().expect("a token");
    client.clone().with_token(token)
}

async fn listed(admin: &Client, name: &str) -> Value {
    let list = admin.get("/api/admin/tokens/?page_size=100").await.json;
    let mut tokens = list["results"].as_array().expect("tokens").iter();
    let token = tokens.find(|token| token["name"] == name);
    token.expect("the token").clone()
}

#[tokio::test]
async fn two_living_tokens_never_share_a_name() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Tokens]).await;
    let first = make(&admin, "Laptop", Value::Null).await;
    assert_eq!(first.status, 201, "{}", first.text);
    for name in ["Laptop", "laptop", " LAPTOP "] {
        assert_eq!(
            make(&admin, name, Value::Null).await.field_errors(),
            ["name"],
            "{name}"
        );
    }
    // One of an older version counts as well.
    assert_eq!(
        make(&admin, "Test", Value::Null).await.field_errors(),
        ["name"]
    );
    // Of two at once one gets it.
    let both = tokio::join!(
        make(&admin, "Phone", Value::Null),
        make(&admin, "phone", Value::Null)
    );
    let mut statuses = [both.0.status, both.1.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400]);
    // What is revoked has no name to lose.
    let id = first.json["id"].as_i64().expect("an id");
    let revoke = format!("/api/admin/tokens/{id}/revoke/");
    let revoked = admin.send(Method::POST, &revoke, &[], None::<String>).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    let second = make(&admin, "laptop", Value::Null).await;
    assert_eq!(second.status, 201, "{}", second.text);
    // The log tells by their ids which of them did what.
    make(&with(&shop.client, &second), "made by it", Value::Null).await;
    let by: (String, Option<i64>) =
        sqlx::query_as("select actor, token_id from audit_log where object like '% made by it'")
            .fetch_one(&shop.db)
            .await
            .expect("an entry");
    let second = second.json["id"].as_i64();
    assert_eq!(by, ("token:laptop".to_owned(), second));
    let reader = shop.admin(&[Scope::Audit]).await;
    let log = reader.get("/api/admin/audit/?search=made+by+it").await;
    assert_eq!(
        log.json["results"][0]["token_id"].as_i64(),
        second,
        "{}",
        log.text
    );
}

#[tokio::test]
async fn a_token_ends_when_it_was_told_to() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Tokens]).await;
    for past in ["2020-01-01T00:00:00Z", "soon"] {
        let made = make(&admin, "late", json!({"expires_at": past})).await;
        assert_eq!(made.field_errors(), ["expires_at"], "{past}");
    }
    let end = Utc::now() + TimeDelta::days(30);
    let made = make(&admin, "visitor", json!({"expires_at": end})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let told: DateTime<Utc> = made.json["expires_at"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a time");
    assert!((told - end).abs() < TimeDelta::seconds(1));
    let visitor = with(&shop.client, &made);
    assert_eq!(visitor.get("/api/admin/tokens/").await.status, 200);
    sqlx::query("update api_tokens set expires_at = now() where name = 'visitor'")
        .execute(&shop.db)
        .await
        .expect("its end");
    assert_eq!(visitor.get("/api/admin/tokens/").await.status, 401);
    // Its name is free again, and the former one is still listed.
    let again = make(&admin, "visitor", Value::Null).await;
    assert_eq!(again.status, 201, "{}", again.text);
    assert_eq!(again.json["expires_at"], Value::Null);
    assert_eq!(
        with(&shop.client, &again)
            .get("/api/admin/tokens/")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn the_maker_of_a_token_is_listed_and_shutting_them_out_can_take_it_along() {
    let shop = staffed().await;
    // The owner makes a token in the admin, a program makes another with it.
    let browser = signed_in(&shop, OWNER).await;
    let fields = [
        ("name", "laptop"),
        ("scope", "tokens"),
        ("days", "7"),
        ("your_password", PASSWORD),
    ];
    let shown = browser
        .submit("/admin/tokens", "/admin/tokens", &fields)
        .await;
    let token = shown.text.split("sbt_").nth(1).expect("a token");
    let token: String = token
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    let laptop = shop.client.clone().with_token(&format!("sbt_{token}"));
    let robot = make(&laptop, "robot", Value::Null).await;
    assert_eq!(robot.status, 201, "{}", robot.text);
    let robot = with(&shop.client, &robot);

    let all: Vec<Scope> = Role::Owner.scopes().to_vec();
    let admin = shop.admin(&all).await;
    let of_admin = listed(&admin, "laptop").await;
    assert_eq!(of_admin["created_by"], format!("user:{OWNER}"));
    assert!(of_admin["expires_at"].is_string(), "{of_admin}");
    assert_eq!(listed(&admin, "robot").await["created_by"], "token:laptop");
    let page = browser.get("/admin/tokens").await.text;
    assert!(page.contains(&format!("by user:{OWNER}")), "{page}");

    // Another owner shuts the first one out.
    let users = admin.get("/api/admin/users/").await.json;
    let id = |email: &str| {
        let mut users = users["results"].as_array().expect("users").iter();
        let user = users.find(|user| user["email"] == email).expect("the user");
        user["id"].as_str().expect("an id").to_owned()
    };
    let owner = json!({"role": "owner"});
    let path = format!("/api/admin/users/{}/role/", id(STAFF));
    assert_eq!(admin.post(&path, &owner).await.status, 200);
    let other = signed_in(&shop, STAFF).await;
    let page = other.get(&format!("/admin/users/{}", id(OWNER))).await.text;
    assert!(
        page.contains("<strong>laptop</strong>") && page.contains("revoke_tokens"),
        "{page}"
    );
    let disable = format!("/api/admin/users/{}/disable/", id(OWNER));
    let told = admin
        .send(Method::POST, &disable, &[], None::<String>)
        .await;
    let names = |answer: &Answer| -> Vec<Value> {
        let tokens = answer.json["living_tokens"].as_array().expect("tokens");
        tokens.iter().map(|token| token["name"].clone()).collect()
    };
    assert_eq!(names(&told), ["robot", "laptop"], "{}", told.text);
    assert_eq!(robot.get("/api/admin/tokens/").await.status, 200);
    // A token that may not revoke them revokes none.
    let mut fewer = all.clone();
    fewer.retain(|scope| *scope != Scope::Tokens);
    let weaker = shop.admin(&fewer).await;
    let with_tokens = format!("{disable}?revoke_tokens=true");
    let refused = weaker
        .send(Method::POST, &with_tokens, &[], None::<String>)
        .await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert_eq!(laptop.get("/api/admin/tokens/").await.status, 200);
    let revoked = admin
        .send(Method::POST, &with_tokens, &[], None::<String>)
        .await;
    assert_eq!(names(&revoked), Vec::<Value>::new(), "{}", revoked.text);
    for program in [&laptop, &robot] {
        assert_eq!(program.get("/api/admin/tokens/").await.status, 401);
    }
}

#[tokio::test]
async fn common_passwords_are_refused_at_the_admin() {
    let shop = staffed().await;
    let browser = signed_in(&shop, OWNER).await;
    for common in ["password1234", "Qwertyuiop123!", "SpiritBeads2026"] {
        let fields = [("current", PASSWORD), ("new", common)];
        let action = "/admin/account/password";
        let answer = browser.submit("/admin/account", action, &fields).await;
        assert_eq!(answer.status, 400, "{common}");
        assert!(answer.text.contains("among the first"), "{}", answer.text);
    }
    assert_eq!(browser.get("/admin").await.status, 200, "the old one holds");
}

#[tokio::test]
async fn an_idempotency_key_is_its_tokens_and_not_its_names() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 5).await;
    let admin = shop
        .admin(&[Scope::Tokens, Scope::OrdersRead, Scope::OrdersWrite])
        .await;
    let sale = json!({"lines": [{"product_id": piece, "quantity": 1}]}).to_string();
    let headers = [
        ("idempotency-key", "one"),
        ("content-type", "application/json"),
    ];
    let sell = async |client: &Client| {
        let sold = client
            .send(
                Method::POST,
                "/api/admin/orders/",
                &headers,
                Some(sale.clone()),
            )
            .await;
        assert_eq!(sold.status, 201, "{}", sold.text);
        sold.json["number"].clone()
    };
    let scopes = json!({"scopes": ["orders:read", "orders:write"]});
    let made = make(&admin, "Till", scopes.clone()).await;
    let first = with(&shop.client, &made);
    let number = sell(&first).await;
    assert_eq!(sell(&first).await, number, "the same sale");
    let id = made.json["id"].as_i64().expect("an id");
    let revoke = format!("/api/admin/tokens/{id}/revoke/");
    let revoked = admin.send(Method::POST, &revoke, &[], None::<String>).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    let second = with(&shop.client, &make(&admin, "Till", scopes).await);
    assert_ne!(sell(&second).await, number, "another token's sale");
    assert_eq!(shop.stock(&piece).await, (3, 0));
}
