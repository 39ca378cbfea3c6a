//! Cookies, tokens and signed addresses that are nearly right: none lets anybody in.

use proptest::prelude::*;
use proptest::sample::select;
use reqwest::Method;

use super::shop::Stage;
use super::{Request, Verdict, api_answer, shown, spliced, text, try_inputs};

/// Names of cookies that we set, and others.
const COOKIES: [&str; 6] = [
    "admin_session",
    "admin_form",
    "admin_browser",
    "admin_notice",
    "sb_checkout",
    "x",
];

struct Secrets {
    stage: Stage,
    /// Secrets that open a route: a token, a session, and others that we sign.
    all: Vec<String>,
    status_page: String,
}

#[test]
fn nothing_that_is_nearly_a_secret_lets_anybody_in() {
    try_inputs(600, secrets, requests, send, async |secrets: &Secrets| {
        secrets.stage.settles().await;
    });
}

async fn secrets() -> Secrets {
    let stage = Stage::open().await;
    let shop = &stage.shop;
    let shopper = shop.shopper();
    assert_eq!(shopper.check_out(&[("sunrise", 1)]).await.status, 200);
    let mut all = vec![
        stage.admin.token.clone().expect("a token"),
        stage.owner.cookie("admin_session").expect("a session"),
        stage.owner.cookie("admin_browser").expect("a browser"),
        shopper.cookie("sb_checkout").expect("a checkout"),
        stage.csrf().await,
    ];
    let request: uuid::Uuid = sqlx::query_scalar("select id from custom_orders limit 1")
        .fetch_one(&shop.db)
        .await
        .expect("a request");
    let status_page = shop.status_page(&request.to_string());
    let (_, token) = status_page.split_once("token=").expect("a token");
    all.push(token.to_owned());
    all.push(shop.app.signer.sign("cancel", &request.to_string()));
    Secrets {
        stage,
        all,
        status_page,
    }
}

fn requests(secrets: &Secrets) -> BoxedStrategy<Request> {
    let all: Vec<Vec<u8>> = secrets
        .all
        .iter()
        .map(|one| one.clone().into_bytes())
        .collect();
    let one = spliced(select(all)).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let one = prop_oneof![6 => one, 1 => text(secrets.all.clone())];
    let real = secrets.all.clone();
    // What is right is no case here, nor is what is read as the same.
    let one = one
        .prop_map(|secret| secret.replace(|c: char| c.is_control(), "?"))
        .prop_filter("a secret", move |secret| {
            let is_in = |real: &String| secret.to_lowercase().contains(&real.to_lowercase());
            !real.iter().any(is_in)
        });
    let cookies = proptest::collection::vec((select(COOKIES.to_vec()), one.clone()), 1..4)
        .prop_map(|pairs| {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            pairs.join("; ")
        });
    let cookies = prop_oneof![4 => cookies, 1 => one.clone()];
    let scheme = select(vec![
        "Bearer ",
        "bearer ",
        "Bearer",
        "Basic ",
        "Token ",
        "",
        "Bearer Bearer ",
    ]);
    let (page, origin) = (
        secrets.status_page.clone(),
        secrets.stage.shop.address.clone(),
    );
    let path = select(vec![
        "/admin",
        "/admin/orders",
        "/admin/account",
        "/admin/sign-in",
        "/api/products/",
        "/api/admin/orders/",
    ]);
    prop_oneof![
        3 => (path, cookies.clone()).prop_map(|(path, cookies)| Request::new(Method::GET, path).with("cookie", &cookies)),
        2 => cookies.clone().prop_map(|cookies| {
            Request::new(Method::POST, "/api/payments/create-checkout-session/")
                .with("cookie", &cookies)
                .body("application/json", "{\"items\":[{\"product_id\":\"turtle\",\"quantity\":1}]}")
        }),
        3 => (scheme, one.clone()).prop_map(|(scheme, token)| {
            Request::new(Method::GET, "/api/admin/orders/").with("authorization", &format!("{scheme}{token}"))
        }),
        2 => one.clone().prop_map(|token| {
            Request::new(Method::GET, format!("/api/payments/cancel/{}", super::escaped(&token)))
        }),
        2 => one.clone().prop_map(move |token| {
            let (page, _) = page.split_once("token=").expect("a token");
            Request::new(Method::GET, format!("{page}{}", super::encoded(&[("token".to_owned(), token)])))
        }),
        2 => (one, cookies).prop_map(move |(token, cookies)| {
            Request::new(Method::POST, "/admin/sign-in")
                .with("origin", &origin)
                .with("cookie", &cookies)
                .body("application/x-www-form-urlencoded", super::encoded(&[("csrf".to_owned(), token)]))
        }),
    ]
    .boxed()
}

async fn send(secrets: &Secrets, request: Request) -> Verdict {
    let answer = request.send(&secrets.stage.shop.client).await?;
    let path = request.path.as_str();
    if path.starts_with("/admin") {
        shown(&answer)?;
        let is_in = match (path, request.method.as_str()) {
            ("/admin/sign-in", "GET") => !answer.text.contains("name=\"password\""),
            ("/admin/sign-in", _) => answer.status != 403,
            _ => answer.status != 303,
        };
        prop_assert!(!is_in, "{answer:?}");
        return Ok(answer.status);
    }
    api_answer(&answer)?;
    if path.starts_with("/api/admin") {
        prop_assert_eq!(answer.status, 401);
    } else if path.starts_with("/api/payments/cancel") || path.contains("/status/") {
        prop_assert!((400..500).contains(&answer.status), "{answer:?}");
    } else {
        // Whoever they say they are, they may look and buy.
        prop_assert!([200, 400].contains(&answer.status), "{answer:?}");
    }
    Ok(answer.status)
}
