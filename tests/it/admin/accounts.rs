//! Changes of users, passwords and second factors: asked again, and written down.

use serde_json::json;
use spirit_beads::audit::Actor;
use spirit_beads::auth::{self, Role};

use super::{OWNER, STAFF, audited, signed_in, staffed, token_on, user_id};
use crate::support::at_once;

#[tokio::test]
async fn changes_by_the_owner_are_written_down_with_before_and_after() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let made = owner
        .submit(
            "/admin/users",
            "/admin/users",
            &[("email", "new@example.com"), ("role", "staff")],
        )
        .await;
    assert_eq!(made.status, 200, "{}", made.text);
    let path = format!("/admin/users/{}", user_id(&shop, "new@example.com").await);
    assert_eq!(
        owner
            .submit(&path, &format!("{path}/role"), &[("role", "owner")])
            .await
            .status,
        303
    );
    let token = owner
        .submit(
            "/admin/tokens",
            "/admin/tokens",
            &[
                ("name", "stall"),
                ("scope", "stock"),
                ("scope", "orders:write"),
            ],
        )
        .await;
    let (_, rest) = token
        .text
        .split_once("<code class=\"secret select\">")
        .expect("a token");
    let token = rest.split('<').next().expect("its end");
    assert_eq!(
        shop.client
            .with_token(token)
            .get("/api/admin/orders/")
            .await
            .status,
        403,
        "known, of another scope"
    );
    assert_eq!(
        owner
            .submit("/admin/tokens", "/admin/tokens/1/revoke", &[])
            .await
            .status,
        303
    );
    assert_eq!(
        shop.client
            .with_token(token)
            .get("/api/admin/orders/")
            .await
            .status,
        401
    );
    // What is refused is not written down, and nothing typed is lost.
    let taken = owner
        .submit(
            "/admin/users",
            "/admin/users",
            &[("email", "BEN@example.com"), ("role", "owner")],
        )
        .await;
    assert_eq!(taken.status, 400);
    assert!(
        taken.text.contains("Email is a user&#39;s already.")
            && taken.text.contains("value=\"BEN@example.com\""),
        "{}",
        taken.text
    );
    assert!(taken.text.contains("value=\"owner\" checked"));

    let log = audited(&shop).await;
    let by_owner: Vec<_> = log
        .iter()
        .filter(|entry| entry.0 == "user:ann@example.com")
        .collect();
    let told: Vec<(&str, &str)> = by_owner
        .iter()
        .map(|entry| (entry.1.as_str(), entry.2.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("user.create", "user:new@example.com"),
            ("user.set_role", "user:new@example.com"),
            ("token.create", "token:1 stall"),
            ("token.revoke", "token:1 stall"),
        ]
    );
    assert_eq!(by_owner[0].3, None);
    assert_eq!(by_owner[1].3.as_ref().expect("before")["role"], "staff");
    assert_eq!(by_owner[1].4.as_ref().expect("after")["role"], "owner");
    assert_eq!(
        by_owner[2].4,
        Some(json!({
            "name": "stall", "scopes": ["stock", "orders:write"], "expires_at": null, "revoked": false,
        }))
    );
    let requests: i64 = sqlx::query_scalar(
        "select count(*) from audit_log where request_id is not null and user_id is not null",
    )
    .fetch_one(&shop.db)
    .await
    .expect("a count");
    assert_eq!(requests, 4);
    let page = owner.get("/admin/audit?search=token").await.text;
    assert!(
        page.contains("token:1 stall") && !page.contains("new@example.com"),
        "{page}"
    );
    assert!(!page.contains(token));
    for sql in [
        "update audit_log set actor = 'nobody'",
        "delete from audit_log",
        "truncate audit_log",
        "update audit_log set before = null, after = null",
        "set local spirit_beads.is_erasing = 'on'; update audit_log set before = null, actor = 'nobody', after = null",
    ] {
        let refused = sqlx::raw_sql(sql)
            .execute(&shop.db)
            .await
            .expect_err("kept");
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
}

#[tokio::test]
async fn changes_that_outlive_a_session_ask_for_the_password_again() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let of = format!("/admin/users/{}", user_id(&shop, STAFF).await);
    let before = audited(&shop).await.len();
    let token = token_on(&owner.get("/admin").await.text);
    for path in [
        "/admin/users",
        "/admin/tokens",
        &format!("{of}/role"),
        &format!("{of}/password"),
        &format!("{of}/enable"),
        &format!("{of}/second-factor/turn-off"),
    ] {
        for given in [None, Some(("your_password", "wrong horse battery"))] {
            let mut fields = vec![
                ("email", "eve@example.com"),
                ("role", "owner"),
                ("name", "x"),
                ("scope", "stock"),
            ];
            fields.extend(given);
            let answer = owner.send(path, &token, &fields, &[]).await;
            assert_eq!(answer.status, 400, "{path}: {}", answer.text);
            // One who is put off is told so; here the next one is asked.
            sqlx::query("delete from sign_in_attempts where not succeeded")
                .execute(&shop.db)
                .await
                .expect("a change");
        }
    }
    assert_eq!(audited(&shop).await.len(), before);
}

#[tokio::test]
async fn the_shop_always_has_an_owner_and_nobody_shuts_themselves_out() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let mine = format!("/admin/users/{}", user_id(&shop, OWNER).await);
    for change in ["disable", "role", "password", "second-factor/turn-off"] {
        let answer = owner
            .submit(
                "/admin/account",
                &format!("{mine}/{change}"),
                &[("role", "staff")],
            )
            .await;
        assert_eq!(answer.status, 409, "{change}");
        assert!(answer.text.contains("That is you."), "{}", answer.text);
    }
    let id = spirit_beads::types::ids::UserId(user_id(&shop, OWNER).await.parse().expect("an id"));
    let mut tx = shop.db.begin().await.expect("a transaction");
    let refused = auth::disable_user(&mut tx, &Actor::console(), id).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("last_owner")));
    let refused = auth::set_role(&mut tx, &Actor::console(), id, Role::Staff).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("last_owner")));
}

#[tokio::test]
async fn two_owners_who_demote_each_other_leave_one() {
    let shop = staffed().await;
    let [ann, ben] = [user_id(&shop, OWNER).await, user_id(&shop, STAFF).await]
        .map(|id| spirit_beads::types::ids::UserId(id.parse().expect("an id")));
    for round in 0..10 {
        for id in [ann, ben] {
            let mut conn = shop.db.acquire().await.expect("a connection");
            auth::set_role(&mut conn, &Actor::console(), id, Role::Owner)
                .await
                .expect("an owner");
        }
        let done = at_once([ann, ben].map(|id| {
            let db = shop.db.clone();
            async move {
                let mut tx = db.begin().await.expect("a transaction");
                let done = auth::set_role(&mut tx, &Actor::console(), id, Role::Staff).await;
                tx.commit().await.expect("a commit");
                done.is_ok()
            }
        }))
        .await;
        assert_eq!(
            done.iter().filter(|done| **done).count(),
            1,
            "{round}: {done:?}"
        );
    }
}
