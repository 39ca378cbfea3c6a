//! Guesses at passwords and codes.

use std::time::{Duration, Instant};

use spirit_beads::audit::Actor;
use spirit_beads::auth;

use super::{
    Browser, OWNER, PASSWORD, STAFF, set_up_second_factor, signed_in, staffed, staffed_with,
    token_on, user_id,
};
use crate::support::Answer;
use crate::support::forms::Form;

#[tokio::test]
async fn a_password_that_is_asked_for_again_is_not_guessed() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let fields = [("current", "a guess"), ("new", "another good password")];
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let answer = owner
            .submit("/admin/account", "/admin/account/password", &fields)
            .await;
        if answer.status == 429 {
            assert!(answer.text.contains("Too many tries"), "{}", answer.text);
            assert!(!answer.header("retry-after").is_empty());
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [400, 400, 400, 400, 400, 429]);
}

#[tokio::test]
async fn known_and_unknown_accounts_get_the_same_answer_and_are_both_hashed() {
    let shop = staffed().await;
    let page = |answer: &Answer| {
        assert_eq!(answer.status, 422, "{}", answer.text);
        let token = token_on(&answer.text);
        let form = &Form::all(&answer.text)[0];
        answer
            .text
            .replace(&token, "TOKEN")
            .replace(form.get("once"), "ONCE")
            .replace("nobody@example.com", OWNER)
    };
    let browser = Browser::new(&shop);
    let known = page(&browser.sign_in(OWNER, "a wrong password").await);
    let unknown = page(
        &browser
            .sign_in("nobody@example.com", "a wrong password")
            .await,
    );
    assert_eq!(known, unknown);
    // One who was shut out is as unknown, with the right password, too.
    let id = spirit_beads::types::ids::UserId(user_id(&shop, STAFF).await.parse().expect("an id"));
    let mut conn = shop.db.acquire().await.expect("a connection");
    auth::disable_user(&mut conn, &Actor::console(), id)
        .await
        .expect("shut out");
    let shut_out = page(&browser.sign_in(STAFF, PASSWORD).await);
    assert_eq!(shut_out.replace(STAFF, OWNER), unknown);
    // Going through 19 MiB twice takes no machine less than this, and all else takes less.
    let mut least = Duration::MAX;
    for _ in 0..4 {
        let began = Instant::now();
        browser.sign_in("nobody@example.com", "a guess").await;
        least = least.min(began.elapsed());
    }
    assert!(least > Duration::from_millis(8), "{least:?}");
}

#[tokio::test]
async fn tries_are_counted_and_nobody_can_lock_the_owner_out() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let attacker = Browser::new(&shop);
    // From one address: five tries, then the wait doubles.
    for _ in 0..5 {
        let answer = attacker
            .sign_in_from("198.51.100.1", OWNER, "a guess")
            .await;
        assert_eq!(answer.status, 422);
    }
    let answer = attacker.sign_in_from("198.51.100.1", OWNER, PASSWORD).await;
    assert_eq!(answer.status, 429, "not even with the right one");
    let wait: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=30).contains(&wait), "{wait}");
    assert!(answer.text.contains("Too many tries."), "{}", answer.text);
    // The same for an account that there is not.
    for _ in 0..5 {
        attacker
            .sign_in_from("198.51.100.1", "nobody@example.com", "a guess")
            .await;
    }
    let answer = attacker
        .sign_in_from("198.51.100.1", "nobody@example.com", "a guess")
        .await;
    assert_eq!(answer.status, 429);
    // From many addresses, at once.
    for host in 2..30 {
        let address = format!("198.51.100.{host}");
        attacker.sign_in_from(&address, OWNER, "a guess").await;
    }
    // The owner comes in from where they were before, and from anywhere else.
    assert_eq!(
        Browser::new(&shop).sign_in(OWNER, PASSWORD).await.status,
        303
    );
    let travelling = Browser::new(&shop)
        .sign_in_from("203.0.113.9", OWNER, PASSWORD)
        .await;
    assert_eq!(travelling.status, 303);
    // Somebody at the owner's own address wears it out, for this account and for all; a browser that was in before is
    // counted by itself.
    for _ in 0..6 {
        attacker.sign_in(OWNER, "a guess").await;
    }
    sqlx::query(
        "insert into sign_in_attempts (step, account, address)
         select 'password', sha256('x'), '127.0.0.1'
         from generate_series(1, 60)",
    )
    .execute(&shop.db)
    .await
    .expect("an attack");
    assert_eq!(attacker.sign_in(OWNER, PASSWORD).await.status, 429);
    assert_eq!(
        attacker.sign_in("else@example.com", "a guess").await.status,
        429
    );
    owner.submit("/admin/account", "/admin/sign-out", &[]).await;
    assert_eq!(
        owner.sign_in(OWNER, PASSWORD).await.status,
        303,
        "the owner's own browser"
    );
    // That browser's cookie is worth nothing for another account.
    owner.submit("/admin/account", "/admin/sign-out", &[]).await;
    assert_eq!(
        owner.sign_in("else@example.com", "a guess").await.status,
        429
    );

    // An hour later it is forgotten.
    sqlx::query("update sign_in_attempts set tried_at = tried_at - interval '61 minutes'")
        .execute(&shop.db)
        .await
        .expect("time passes");
    assert_eq!(attacker.sign_in(OWNER, "a guess").await.status, 422);
    auth::sweep(&mut shop.db.acquire().await.expect("a connection"))
        .await
        .expect("swept");
    let failed: i64 =
        sqlx::query_scalar("select count(*) from sign_in_attempts where not succeeded")
            .fetch_one(&shop.db)
            .await
            .expect("a count");
    assert_eq!(failed, 1, "only the last one");
}

#[tokio::test]
async fn an_address_is_believed_of_trusted_proxies_only() {
    let shop = staffed_with(&[("TRUSTED_PROXIES", "10.0.0.0/8")]).await;
    let attacker = Browser::new(&shop);
    for host in 1..=5 {
        let address = format!("198.51.100.{host}");
        assert_eq!(
            attacker
                .sign_in_from(&address, OWNER, "a guess")
                .await
                .status,
            422
        );
    }
    assert_eq!(
        attacker
            .sign_in_from("198.51.100.99", OWNER, "a guess")
            .await
            .status,
        429
    );
}

#[tokio::test]
async fn guesses_at_the_same_moment_see_one_another() {
    let shop = staffed().await;
    let browser = std::sync::Arc::new(Browser::new(&shop));
    let token = token_on(&browser.get("/admin/sign-in").await.text);
    let tries = (0..12).map(|_| {
        let (browser, token) = (browser.clone(), token.clone());
        async move {
            let fields = [("email", OWNER), ("password", "a guess")];
            browser
                .send("/admin/sign-in", &token, &fields, &[])
                .await
                .status
        }
    });
    let answers = crate::support::at_once(tries).await;
    assert_eq!(
        answers.iter().filter(|status| **status == 422).count(),
        5,
        "{answers:?}"
    );
    assert_eq!(
        answers.iter().filter(|status| **status == 429).count(),
        7,
        "{answers:?}"
    );
}

#[tokio::test]
async fn second_factors_are_not_guessed_from_many_addresses() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let (_, _, codes) = set_up_second_factor(&shop, &owner).await;
    let attacker = Browser::new(&shop);
    assert_eq!(
        attacker
            .sign_in_from("198.51.100.1", OWNER, PASSWORD)
            .await
            .status,
        303
    );
    let guess = async |host: u32| {
        let address = format!("198.51.100.{host}");
        let token = token_on(&attacker.get("/admin/second-factor").await.text);
        attacker
            .send(
                "/admin/second-factor",
                &token,
                &[("code", "00000")],
                &[("x-forwarded-for", &address)],
            )
            .await
            .status
    };
    let mut refused = 0;
    for host in 0..32 {
        refused += u32::from(guess(host).await == 429);
    }
    assert_eq!(refused, 2, "thirty an hour");
    // The owner's own browser is not held up.
    owner.submit("/admin/account", "/admin/sign-out", &[]).await;
    owner.sign_in(OWNER, PASSWORD).await;
    let answer = owner
        .submit(
            "/admin/second-factor",
            "/admin/second-factor",
            &[("code", &codes[0])],
        )
        .await;
    assert_eq!(answer.status, 303, "{}", answer.text);
}

#[tokio::test]
async fn browsers_known_by_the_password_alone_have_no_tries_of_their_own_at_the_second_factor() {
    let shop = staffed().await;
    let mut gathered = Vec::new();
    for _ in 0..7 {
        gathered.push(signed_in(&shop, OWNER).await);
    }
    let owner = signed_in(&shop, OWNER).await;
    set_up_second_factor(&shop, &owner).await;
    let mut statuses = Vec::new();
    for attacker in gathered {
        assert_eq!(attacker.get("/admin").await.status, 303, "it is signed out");
        assert_eq!(attacker.sign_in(OWNER, PASSWORD).await.status, 303);
        for _ in 0..5 {
            let page = "/admin/second-factor";
            let answer = attacker.submit(page, page, &[("code", "00000")]).await;
            statuses.push(answer.status);
        }
    }
    let tried = statuses.iter().filter(|status| **status == 422).count();
    assert_eq!(tried, 5, "one place has five tries: {statuses:?}");
}
