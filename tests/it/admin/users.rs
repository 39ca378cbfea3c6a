//! Users and tokens by the API: no token widens its own rights, by others' hands neither.

use serde_json::{Value, json};
use spirit_beads::auth::{Role, Scope};

use crate::admin::{Browser, OWNER, STAFF, signed_in, staffed};
use crate::support::{Client, Shop};

/// Scopes for managing staff, and no more.
fn of_staff() -> Vec<Scope> {
    let staff = Role::Staff.scopes().iter().copied();
    staff.chain([Scope::Users]).collect()
}

async fn id_of(shop: &Shop, email: &str) -> String {
    let admin = shop.admin(&[Scope::Users]).await;
    let users = admin.get("/api/admin/users/").await.json;
    let mut users = users["results"].as_array().expect("users").iter();
    let found = users.find(|user| user["email"] == email).expect("the user");
    found["id"].as_str().expect("an id").to_owned()
}

async fn act(admin: &Client, id: &str, what: &str, body: Option<Value>) -> crate::support::Answer {
    let path = format!("/api/admin/users/{id}/{what}/");
    match body {
        Some(body) => admin.post(&path, &body).await,
        None => {
            admin
                .send(reqwest::Method::POST, &path, &[], None::<String>)
                .await
        }
    }
}

#[tokio::test]
async fn staff_is_made_shut_out_and_let_in_again() {
    let shop = staffed().await;
    let admin = shop.admin(&of_staff()).await;
    let made = admin
        .post(
            "/api/admin/users/",
            &json!({"email": "cy@example.com", "role": "staff"}),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.header("cache-control"), "no-store");
    assert!(made.json.get("password_hash").is_none());
    let id = made.json["id"].as_str().expect("an id");
    let password = made.json["password"].as_str().expect("a password");
    let browser = Browser::new(&shop);
    assert_eq!(
        browser.sign_in("cy@example.com", password).await.status,
        303
    );
    assert_eq!(browser.get("/admin").await.status, 200);

    assert_eq!(act(&admin, id, "sessions/end", None).await.status, 200);
    assert_eq!(browser.get("/admin").await.status, 303, "signed out");
    let reset = act(&admin, id, "password", None).await.json;
    assert_eq!(
        browser.sign_in("cy@example.com", password).await.status,
        422
    );
    let password = reset["password"].as_str().expect("a password");
    assert_eq!(
        browser.sign_in("cy@example.com", password).await.status,
        303
    );
    let disabled = act(&admin, id, "disable", None).await;
    assert!(
        disabled.json["disabled_at"].is_string(),
        "{}",
        disabled.text
    );
    assert_eq!(browser.get("/admin").await.status, 303);
    for _ in 0..2 {
        let enabled = act(&admin, id, "enable", None).await;
        assert_eq!(enabled.json["disabled_at"], Value::Null);
    }
    assert_eq!(
        act(&admin, id, "second-factor/turn-off", None).await.status,
        200
    );
    let one = admin.get(&format!("/api/admin/users/{id}/")).await.json;
    assert_eq!(
        (&one["email"], &one["role"]),
        (&json!("cy@example.com"), &json!("staff"))
    );

    for (body, field) in [
        (json!({"email": "cy@example.com", "role": "staff"}), "email"),
        (json!({"email": "nobody", "role": "staff"}), "email"),
        (json!({"email": "d@example.com", "role": "boss"}), "role"),
        (
            json!({"email": "d@example.com", "role": "staff", "odd": 1}),
            "odd",
        ),
    ] {
        assert_eq!(
            admin.post("/api/admin/users/", &body).await.field_errors(),
            [field]
        );
    }
    for id in ["x", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(act(&admin, id, "disable", None).await.status, 404, "{id}");
    }
    let log: Vec<String> =
        sqlx::query_scalar("select action from audit_log where actor = 'token:test' order by id")
            .fetch_all(&shop.db)
            .await
            .expect("the log");
    assert_eq!(
        log,
        [
            "user.create",
            "user.end_sessions",
            "user.set_password",
            "user.disable",
            "user.enable"
        ]
    );
}

#[tokio::test]
async fn no_token_reaches_whom_it_could_not_stand_in_for() {
    let shop = staffed().await;
    let (owner, staff) = (id_of(&shop, OWNER).await, id_of(&shop, STAFF).await);
    let before: Value =
        sqlx::query_scalar("select jsonb_agg(to_jsonb(u) order by id) from users u")
            .fetch_one(&shop.db)
            .await
            .expect("the users");
    let nearly_all: Vec<Scope> = Scope::ALL
        .into_iter()
        .filter(|scope| *scope != Scope::Refunds)
        .collect();
    let not_even_staff = vec![Scope::Users, Scope::Tokens, Scope::Catalog];
    for (scopes, others, role) in [
        (&not_even_staff, &staff, "staff"),
        (&not_even_staff, &owner, "staff"),
        (&of_staff(), &owner, "staff"),
        (&nearly_all, &owner, "staff"),
        (&of_staff(), &staff, "owner"),
        (&nearly_all, &staff, "owner"),
    ] {
        let admin = shop.admin(scopes).await;
        let new = json!({"email": "new@example.com", "role": role});
        let what = format!("{scopes:?} {others} {role}");
        if others != &owner {
            assert_eq!(
                admin.post("/api/admin/users/", &new).await.status,
                403,
                "{what}"
            );
        }
        assert_eq!(
            act(&admin, others, "role", Some(json!({"role": role})))
                .await
                .status,
            403,
            "{what}"
        );
        if role == "owner" {
            continue;
        }
        for move_ in [
            "disable",
            "enable",
            "password",
            "second-factor/turn-off",
            "sessions/end",
        ] {
            let refused = act(&admin, others, move_, None).await;
            assert_eq!(
                (refused.status, &refused.json["code"]),
                (403, &json!("permission_denied")),
                "{what} {move_}"
            );
        }
    }
    let after: Value = sqlx::query_scalar("select jsonb_agg(to_jsonb(u) order by id) from users u")
        .fetch_one(&shop.db)
        .await
        .expect("the users");
    assert_eq!(before, after);
    assert_eq!(
        signed_in(&shop, OWNER)
            .await
            .get("/admin/users")
            .await
            .status,
        200
    );

    // Who may do all may do this, too; but never leave the shop without an owner.
    let whole = shop.admin(&Scope::ALL).await;
    let last = act(&whole, &owner, "role", Some(json!({"role": "staff"}))).await;
    assert_eq!(
        (last.status, &last.json["code"]),
        (409, &json!("last_owner"))
    );
    assert_eq!(act(&whole, &owner, "disable", None).await.status, 409);
    assert_eq!(
        act(&whole, &staff, "role", Some(json!({"role": "owner"})))
            .await
            .json["role"],
        "owner"
    );
    assert_eq!(
        act(&whole, &owner, "role", Some(json!({"role": "staff"})))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_token_hands_out_only_what_it_has() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Tokens, Scope::Stock]).await;
    let path = "/api/admin/tokens/";
    for scope in Scope::ALL {
        let answer = admin
            .post(
                path,
                &json!({"name": scope.as_str(), "scopes": ["stock", scope.as_str()]}),
            )
            .await;
        let allowed = [Scope::Tokens, Scope::Stock].contains(&scope);
        assert_eq!(
            answer.status,
            if allowed { 201 } else { 403 },
            "{}",
            answer.text
        );
        if !allowed {
            assert!(
                answer.json["detail"]
                    .as_str()
                    .expect("why")
                    .contains(scope.as_str())
            );
        }
    }
    for (body, fields) in [
        (json!({"name": "x", "scopes": ["all"]}), vec!["scopes[0]"]),
        (json!({"name": " ", "scopes": []}), vec!["name", "scopes"]),
        (json!({"name": "x"}), vec!["body"]),
    ] {
        let errors = admin.post(path, &body).await.field_errors();
        assert_eq!(errors, fields, "{body}");
    }

    let made = admin
        .post(path, &json!({"name": "heir", "scopes": ["stock", "stock"]}))
        .await;
    assert_eq!(
        (made.status, made.header("cache-control")),
        (201, "no-store")
    );
    assert_eq!(made.json["scopes"], json!(["stock"]));
    let text = made.json["token"].as_str().expect("its text");
    let heir = shop.client.with_token(text);
    shop.stocks("Sunrise", 1).await;
    assert_eq!(heir.get("/api/products/sunrise/stock/").await.status, 200);
    let list = admin.get(path).await;
    assert!(!list.text.contains("sbt_") && list.each("results", "name").contains(&json!("heir")));
    assert_eq!(
        admin.get("/api/admin/tokens/?page_size=1").await.json["results"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let revoke = format!("{path}{}/revoke/", made.json["id"]);
    for _ in 0..2 {
        let gone = admin
            .send(reqwest::Method::POST, &revoke, &[], None::<String>)
            .await;
        assert!(gone.json["revoked_at"].is_string(), "{}", gone.text);
    }
    assert_eq!(heir.get("/api/products/sunrise/stock/").await.status, 401);

    // One that may do more is beyond its reach.
    shop.admin(&[Scope::Refunds]).await;
    let strong: i64 = sqlx::query_scalar("select max(id) from api_tokens")
        .fetch_one(&shop.db)
        .await
        .expect("a token");
    let refused = admin
        .send(
            reqwest::Method::POST,
            &format!("{path}{strong}/revoke/"),
            &[],
            None::<String>,
        )
        .await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    let none = admin
        .send(
            reqwest::Method::POST,
            &format!("{path}9999/revoke/"),
            &[],
            None::<String>,
        )
        .await;
    assert_eq!(none.status, 404);
    let secrets: i64 = sqlx::query_scalar(
        "select count(*) from audit_log where (before::text || after::text) like '%sbt_%'",
    )
    .fetch_one(&shop.db)
    .await
    .expect("the log");
    assert_eq!(secrets, 0);
}
