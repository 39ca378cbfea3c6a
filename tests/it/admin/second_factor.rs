//! The second factor.

use reqwest::Method;
use spirit_beads::admin::{self, Access};

use super::{
    Browser, OWNER, PASSWORD, audited, code, path_of, set_up_second_factor, signed_in, staffed,
};
use crate::support::at_once;

#[tokio::test]
async fn the_second_factor_is_asked_for_and_each_code_counts_once() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let (secret, used, codes) = set_up_second_factor(&shop, &owner).await;
    assert!(
        owner
            .get("/admin/account")
            .await
            .text
            .contains("10 recovery codes are left")
    );

    let browser = Browser::new(&shop);
    let answer = browser.sign_in(OWNER, PASSWORD).await;
    assert_eq!(answer.header("location"), "/admin/second-factor");
    // Halfway is not in.
    for route in admin::routes() {
        if matches!(route.access, Access::Staff | Access::Owner) && route.method == Method::GET {
            let path = path_of(&shop, &route).await;
            let answer = browser.get(&path).await;
            let expected = match path.as_str() {
                "/admin" => "/admin/second-factor".to_owned(),
                _ => format!("/admin/second-factor?next={}", path.replace('/', "%2F")),
            };
            assert_eq!(
                (answer.status, answer.header("location")),
                (303, expected.as_str()),
                "{}",
                route.path
            );
        }
    }
    let mfa_pending = browser.cookie("admin_session").expect("half a session");
    let give = async |browser: &Browser, code: &str| {
        browser
            .submit(
                "/admin/second-factor",
                "/admin/second-factor",
                &[("code", code)],
            )
            .await
    };
    // The code that confirmed the set-up was used by it.
    assert_eq!(give(&browser, &used).await.status, 422);
    let next = code(&shop, &secret, 1).await;
    let answer = give(&browser, &format!("{} {}", &next[..3], &next[3..])).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/admin"),
        "{}",
        answer.text
    );
    assert_ne!(
        browser.cookie("admin_session").expect("a session"),
        mfa_pending
    );
    assert_eq!(browser.get("/admin").await.status, 200);

    let browser = Browser::new(&shop);
    browser.sign_in(OWNER, PASSWORD).await;
    assert_eq!(
        give(&browser, &next).await.status,
        422,
        "a code seen over the shoulder"
    );
    let typed = codes[3].to_uppercase().replace('-', " ");
    assert_eq!(give(&browser, &typed).await.status, 303);
    let browser = Browser::new(&shop);
    browser.sign_in(OWNER, PASSWORD).await;
    assert_eq!(give(&browser, &codes[3]).await.status, 422, "each once");

    // New recovery codes make the old ones worthless; turning it off asks for the password.
    let renewed = owner
        .submit(
            "/admin/account",
            "/admin/account/recovery-codes",
            &[("password", PASSWORD)],
        )
        .await;
    assert_eq!(renewed.text.matches("<li><code>").count(), 10);
    assert_eq!(give(&browser, &codes[4]).await.status, 422);
    let path = "/admin/account/second-factor/turn-off";
    assert_eq!(
        owner
            .submit("/admin/account", path, &[("password", "wrong")])
            .await
            .status,
        400
    );
    assert_eq!(
        owner
            .submit("/admin/account", path, &[("password", PASSWORD)])
            .await
            .status,
        303
    );
    signed_in(&shop, OWNER).await;

    // Neither the secret nor a code is written down anywhere.
    let kept: String = sqlx::query_scalar(
        "select (select string_agg(a::text, ' ') from audit_log a) || (select string_agg(u::text, ' ') from users u)",
    )
    .fetch_one(&shop.db)
    .await
    .expect("what is kept");
    for secret in [
        secret.replace(' ', ""),
        codes[3].clone(),
        PASSWORD.to_owned(),
    ] {
        assert!(!kept.contains(&secret), "{kept}");
    }
    let actions: Vec<String> = audited(&shop)
        .await
        .into_iter()
        .map(|entry| entry.1)
        .collect();
    assert_eq!(
        actions,
        [
            "user.create",
            "user.create",
            "user.set_second_factor",
            "user.use_recovery_code",
            "user.renew_recovery_codes",
            "user.turn_off_second_factor",
        ]
    );
}

#[tokio::test]
async fn one_code_sent_many_times_at_once_lets_one_in() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let (secret, _, codes) = set_up_second_factor(&shop, &owner).await;
    for once in [code(&shop, &secret, 1).await, codes[0].clone()] {
        let mut browsers = Vec::new();
        for _ in 0..4 {
            let browser = Browser::new(&shop);
            browser.sign_in(OWNER, PASSWORD).await;
            browsers.push(browser);
        }
        let answers = at_once(browsers.into_iter().map(|browser| {
            let once = once.clone();
            let path = "/admin/second-factor";
            async move { browser.submit(path, path, &[("code", &once)]).await }
        }))
        .await;
        let let_in = answers.iter().filter(|answer| answer.status == 303);
        assert_eq!(let_in.count(), 1, "{once}");
    }
}

#[tokio::test]
async fn half_a_session_ends_after_ten_minutes() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let (secret, ..) = set_up_second_factor(&shop, &owner).await;
    let browser = Browser::new(&shop);
    browser.sign_in(OWNER, PASSWORD).await;
    let path = "/admin/second-factor";
    let age = async |minutes: f64| {
        sqlx::query(
            "update sessions set created_at = now() - make_interval(mins => $1::int) where mfa_pending",
        )
        .bind(minutes)
        .execute(&shop.db)
        .await
        .expect("time passes");
    };
    age(9.0).await;
    assert_eq!(browser.get(path).await.status, 200);
    age(11.0).await;
    let answer = browser.get(path).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/admin/sign-in?why=session-over")
    );
    let next = code(&shop, &secret, 1).await;
    let answer = browser
        .submit("/admin/sign-in", path, &[("code", &next)])
        .await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/admin/sign-in?why=session-over")
    );
    assert_eq!(browser.get("/admin").await.status, 303);
}
