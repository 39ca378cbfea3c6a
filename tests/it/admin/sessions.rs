//! Sessions: new at each sign-in, and ended.

use reqwest::Method;
use spirit_beads::audit::Actor;
use spirit_beads::auth;

use super::{Browser, OWNER, PASSWORD, STAFF, signed_in, staffed, token_on, user_id};

#[tokio::test]
async fn a_session_is_new_at_each_sign_in_and_its_old_token_is_worthless() {
    let shop = staffed().await;
    let browser = Browser::new(&shop);
    // Planted by somebody who hopes that it will be signed in.
    browser.client.set_cookie("admin_session", "planted");
    assert_eq!(browser.sign_in(OWNER, PASSWORD).await.status, 303);
    let first = browser.cookie("admin_session").expect("a session");
    assert_ne!(first, "planted");
    assert_eq!(first.len(), 64, "256 bits");
    let again = browser
        .submit(
            "/admin/account",
            "/admin/sign-in",
            &[("email", OWNER), ("password", PASSWORD)],
        )
        .await;
    assert_eq!(again.status, 303);
    let second = browser.cookie("admin_session").expect("a session");
    assert_ne!(first, second);
    let with = async |token: &str| {
        let cookie = format!("admin_session={token}");
        shop.client
            .send(
                Method::GET,
                "/admin",
                &[("cookie", &cookie)],
                None::<String>,
            )
            .await
            .status
    };
    assert_eq!(
        (
            with("planted").await,
            with(&first).await,
            with(&second).await
        ),
        (303, 303, 200)
    );
    let kept: String = sqlx::query_scalar("select string_agg(s::text, ' ') from sessions s")
        .fetch_one(&shop.db)
        .await
        .expect("the sessions");
    assert!(!kept.contains(&second), "only its hash is kept");

    // What everybody knows of the shop and of its owner is none.
    for known in [
        "ann@example.com",
        "Ann@Example.com-1",
        "spiritbeads 2026!",
        "Spirit Beads 7",
    ] {
        let fields = [("current", PASSWORD), ("new", known)];
        let refused = browser
            .submit("/admin/account", "/admin/account/password", &fields)
            .await;
        assert_eq!(refused.status, 400, "{known}: {}", refused.text);
    }

    // A new password gives this session a new token, and ends the others.
    let elsewhere = signed_in(&shop, OWNER).await;
    let fields = [("current", PASSWORD), ("new", "another fine password")];
    let changed = browser
        .submit("/admin/account", "/admin/account/password", &fields)
        .await;
    assert_eq!(changed.status, 303, "{}", changed.text);
    assert_eq!(
        (with(&second).await, browser.get("/admin").await.status),
        (303, 200)
    );
    assert_eq!(elsewhere.get("/admin").await.status, 303);
    assert_eq!(
        Browser::new(&shop).sign_in(OWNER, PASSWORD).await.status,
        422
    );
}

#[tokio::test]
async fn signing_out_everywhere_ends_every_session_and_being_shut_out_too() {
    let shop = staffed().await;
    let (phone, laptop) = (signed_in(&shop, STAFF).await, signed_in(&shop, STAFF).await);
    let page = laptop.get("/admin/account").await.text;
    assert_eq!(page.matches("last seen").count(), 2, "{page}");
    let out = phone
        .submit("/admin/account", "/admin/account/sign-out-everywhere", &[])
        .await;
    assert_eq!(out.header("location"), "/admin/sign-in");
    assert_eq!(
        (
            phone.get("/admin").await.status,
            laptop.get("/admin").await.status
        ),
        (303, 303)
    );

    let (staff, owner) = (signed_in(&shop, STAFF).await, signed_in(&shop, OWNER).await);
    let path = format!("/admin/users/{}", user_id(&shop, STAFF).await);
    let shut = owner.submit(&path, &format!("{path}/disable"), &[]).await;
    assert_eq!(shut.status, 303, "{}", shut.text);
    assert!(
        owner
            .get("/admin/users")
            .await
            .text
            .contains("ben@example.com is deactivated.")
    );
    assert_eq!(staff.get("/admin").await.status, 303);
    assert_eq!(staff.sign_in(STAFF, PASSWORD).await.status, 422);
    let enabled = owner.submit(&path, &format!("{path}/enable"), &[]).await;
    assert_eq!(enabled.status, 303);
    let staff = signed_in(&shop, STAFF).await;
    // A new password by the owner ends their sessions as well.
    let reset = owner.submit(&path, &format!("{path}/password"), &[]).await;
    assert_eq!(reset.status, 200);
    assert_eq!(staff.get("/admin").await.status, 303);
    let (_, rest) = reset
        .text
        .split_once("<code class=\"secret select\">")
        .expect("a password");
    let password = rest.split('<').next().expect("its end");
    assert_eq!(staff.sign_in(STAFF, password).await.status, 303);
    assert_eq!(
        staff
            .submit("/admin/account", "/admin/sign-out", &[])
            .await
            .status,
        303
    );
    assert_eq!(staff.get("/admin").await.status, 303);
}

#[tokio::test]
async fn sessions_end_by_themselves() {
    let shop = staffed().await;
    let browser = signed_in(&shop, OWNER).await;
    let age = async |sql: &'static str| {
        sqlx::query(sql)
            .execute(&shop.db)
            .await
            .expect("time passes");
        browser.get("/admin").await.status
    };
    assert_eq!(
        age("update sessions set last_seen_at = now() - interval '11 hours 59 minutes'").await,
        200
    );
    assert_eq!(
        age("update sessions set last_seen_at = now() - interval '12 hours 1 minute'").await,
        303
    );
    assert_eq!(
        age("update sessions set last_seen_at = now(), created_at = now() - interval '13 days'")
            .await,
        200
    );
    assert_eq!(
        age("update sessions set created_at = now() - interval '14 days 1 minute'").await,
        303
    );
    auth::sweep(&mut shop.db.acquire().await.expect("a connection"))
        .await
        .expect("swept");
    let left: i64 = sqlx::query_scalar("select count(*) from sessions")
        .fetch_one(&shop.db)
        .await
        .expect("a count");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn signing_out_twice_ends_at_sign_in() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let token = token_on(&owner.get("/admin").await.text);
    for _ in 0..2 {
        let answer = owner.send("/admin/sign-out", &token, &[], &[]).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/admin/sign-in"),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_session_that_was_ended_meanwhile_changes_nothing() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let id = spirit_beads::types::ids::UserId(user_id(&shop, STAFF).await.parse().expect("an id"));
    // The owner gives Ben a new password while a change that he is allowed by the old one is under way.
    let mut tx = shop.db.begin().await.expect("a transaction");
    let password = spirit_beads::config::Secret::new("another horse battery");
    let hashed = auth::hash_password(
        &password,
        "password",
        &auth::Holder::new(STAFF, "Spirit Beads"),
    )
    .await
    .expect("a hash");
    auth::set_password(&mut tx, &Actor::console(), id, &hashed, None)
        .await
        .expect("a new password");
    let token = token_on(&staff.get("/admin/account").await.text);
    let changing = {
        let staff = staff.clone();
        tokio::spawn(async move {
            let fields = [("current", PASSWORD), ("new", "an intruder's password")];
            staff
                .send("/admin/account/password", &token, &fields, &[])
                .await
                .status
        })
    };
    // It waits for the owner's change.
    while !shop.has_a_waiting_lock().await {
        tokio::task::yield_now().await;
    }
    tx.commit().await.expect("a commit");
    assert_eq!(changing.await.expect("no panic"), 401);
    assert_eq!(
        staff.sign_in(STAFF, "an intruder's password").await.status,
        422
    );
    let anew = Browser::new(&shop);
    assert_eq!(
        anew.sign_in(STAFF, "another horse battery").await.status,
        303
    );
}
