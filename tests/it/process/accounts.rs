//! Commands for tokens and users.

use std::process::Stdio;

use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{Beside, PATIENCE};
use crate::support::{Shop, form_of};

#[tokio::test]
async fn a_token_is_shown_once_kept_as_a_hash_and_revoked() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let beside = Beside::new(&shop);
    let making = [
        "token",
        "create",
        "--name",
        "market",
        "--scope",
        "orders:write",
        "--scope",
        "stock",
    ];
    let (code, token, said) = beside.run(&making).await;
    assert_eq!((code, token.lines().count()), (0, 1), "{said}");
    let market = shop.client.with_token(token.trim());
    let sale = json!({"lines": [{"product_id": piece, "quantity": 1}]});
    assert_eq!(market.post("/api/admin/orders/", &sale).await.status, 201);
    assert_eq!(market.get("/api/admin/orders/").await.status, 403);
    let kept: String = sqlx::query_scalar("select string_agg(t::text, ' ') from api_tokens t")
        .fetch_one(&shop.db)
        .await
        .expect("the tokens");
    assert!(kept.contains("market") && !kept.contains(token.trim()));

    let id: i64 = sqlx::query_scalar("select id from api_tokens where name = 'market'")
        .fetch_one(&shop.db)
        .await
        .expect("the token");
    let (_, list, _) = beside.run(&["token", "list"]).await;
    let line = list
        .lines()
        .find(|line| line.contains("market"))
        .expect("the token");
    assert!(
        line.contains("active") && line.contains("orders:write stock"),
        "{line}"
    );
    assert!(line.contains(&id.to_string()) && !list.contains(token.trim()));
    let (code, said, _) = beside.run(&["token", "revoke", &id.to_string()]).await;
    assert_eq!(
        (code, said.trim()),
        (0, &*format!("Token {id} is revoked."))
    );
    assert_eq!(market.post("/api/admin/orders/", &sale).await.status, 401);
    let (_, list, _) = beside.run(&["token", "list"]).await;
    assert!(
        list.lines()
            .any(|line| line.contains("market") && line.contains("revoked"))
    );

    let (code, _, said) = beside.run(&["token", "revoke", "999999"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("there is no token 999999"), "{said}");
    for wrong in [
        vec!["token", "create", "--name", "x", "--scope", "everything"],
        vec!["token", "create", "--name", "x"],
        vec!["nothing"],
    ] {
        assert_eq!(beside.run(&wrong).await.0, 2, "{wrong:?}");
    }
    let (code, _, said) = beside
        .run(&["token", "create", "--name", "", "--scope", "stock"])
        .await;
    assert_eq!(code, 1);
    assert!(said.contains("name: "), "{said}");
}

#[tokio::test]
async fn users_are_made_and_shut_out_by_commands() {
    let shop = Shop::open().await;
    let beside = Beside::new(&shop);
    let (code, password, said) = beside
        .run(&["admin", "create", "--email", "ann@example.com"])
        .await;
    assert_eq!((code, password.lines().count()), (0, 1), "{said}");
    assert!(
        said.contains("ann@example.com may sign in as owner."),
        "{said}"
    );
    let password = password.trim();
    let sign_in = async |password: &str| {
        let browser = shop.shopper();
        let (action, mut fields) = form_of(&browser.get("/admin/sign-in").await.text);
        for (name, value) in &mut fields {
            match name.as_str() {
                "email" => *value = "ann@example.com".to_owned(),
                "password" => *value = password.to_owned(),
                _ => {}
            }
        }
        let status = browser.submit_own(&action, &fields).await.status;
        (status, browser)
    };
    let (status, browser) = sign_in(password).await;
    assert_eq!(
        (status, browser.get("/admin/users").await.status),
        (303, 200)
    );

    // From standard input, for who keeps passwords elsewhere; it is not repeated.
    let settings = beside.settings();
    let arguments = [
        "admin",
        "create",
        "--email",
        "ben@example.com",
        "--role",
        "staff",
        "--password-stdin",
    ];
    let mut child = beside
        .home
        .command(&arguments, &settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a program");
    let mut input = child.stdin.take().expect("piped above");
    input
        .write_all(b"correct horse battery\n")
        .await
        .expect("sent");
    drop(input);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("an end").expect("a program");
    assert!(output.status.success() && output.stdout.is_empty());
    let (_, list, _) = beside.run(&["admin", "list"]).await;
    assert_eq!(
        list,
        "active    owner  password only  ann@example.com\nactive    staff  password only  ben@example.com\n"
    );

    // A new password ends the sessions; being shut out does, too, and the last owner stays.
    let (code, new, _) = beside
        .run(&[
            "admin",
            "reset-password",
            "--email",
            "ANN@example.com",
            "--without-second-factor",
        ])
        .await;
    assert_eq!(code, 0);
    assert_eq!(browser.get("/admin").await.status, 303);
    assert_eq!(
        (sign_in(password).await.0, sign_in(new.trim()).await.0),
        (422, 303)
    );
    let (code, _, said) = beside
        .run(&["admin", "disable", "--email", "ann@example.com"])
        .await;
    assert_eq!(code, 1);
    assert!(said.contains("This is the only owner"), "{said}");
    let (code, said, _) = beside
        .run(&["admin", "disable", "--email", "ben@example.com"])
        .await;
    assert_eq!((code, said.as_str()), (0, "ben@example.com is disabled.\n"));
    assert!(
        beside
            .run(&["admin", "list"])
            .await
            .1
            .contains("disabled  staff")
    );
    assert_eq!(
        beside
            .run(&["admin", "enable", "--email", "ben@example.com"])
            .await
            .0,
        0
    );

    for (arguments, complaint) in [
        (
            &["admin", "disable", "--email", "nobody@example.com"][..],
            "there is no user nobody@example.com",
        ),
        (
            &["admin", "create", "--email", "ann@example.com"],
            "email: is a user's already",
        ),
        (
            &["admin", "create", "--email", "ann"],
            "email: is no email address",
        ),
        (
            &[
                "admin",
                "create",
                "--email",
                "c@example.com",
                "--password-stdin",
            ],
            "password: must have at least 12",
        ),
    ] {
        let (code, _, said) = beside.run(arguments).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(complaint), "{said}");
    }
    let log: Vec<String> =
        sqlx::query_scalar("select actor || ' ' || action from audit_log order by id")
            .fetch_all(&shop.db)
            .await
            .expect("the log");
    assert_eq!(
        log,
        [
            "console user.create",
            "console user.create",
            "console user.set_password",
            "console user.disable",
            "console user.enable",
        ]
    );
}
