//! The first start, without settings, and the last one before production.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Home, until};
use crate::support::{Client, Mail, form_of, read_answer, session_of};

/// The first piece of the demo catalog that can be bought.
async fn some_piece(client: &Client) -> (String, i64) {
    let list = client.get("/api/products/").await.json;
    let results = list["results"].as_array().expect("a list");
    let piece = results
        .iter()
        .find(|piece| piece["is_in_stock"] == true)
        .expect("a piece");
    (
        piece["id"].as_str().expect("an id").to_owned(),
        piece["inventory_count"].as_i64().expect("a number"),
    )
}

#[tokio::test]
async fn a_newcomer_sells_a_piece_and_the_order_outlives_a_kill() {
    let home = Home::new();
    let program = home.start().await;
    let client = program.client();
    let list = client.get("/api/products/").await.json;
    assert!(list["count"].as_i64().expect("a number") >= 20, "{list}");
    let image = client
        .get(
            list["results"][0]["primary_image"]
                .as_str()
                .expect("an image"),
        )
        .await;
    assert_eq!(image.status, 200);
    assert!(image.header("content-type").starts_with("image/"));
    for path in ["/api/docs/", "/sandbox/", "/healthz"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    until("the worker is alive", async || {
        client.get("/readyz").await.status == 200
    })
    .await;

    // Buys through the hosted page, as a browser without JavaScript does.
    let (piece, count) = some_piece(&client).await;
    let answer = client.check_out(&[(&piece, 1)]).await;
    let session = session_of(&answer);
    let url = answer.json["checkout_url"].as_str().expect("an address");
    let path = url.strip_prefix(&program.address).expect("a page of ours");
    let page = client.get(path).await.text;
    let (action, mut fields) = form_of(&page);
    fields.push(("how".to_owned(), "card".to_owned()));
    let paid = client.submit(&action, &fields).await;
    assert_eq!(paid.status, 303, "{}", paid.text);
    assert!(
        paid.header("location")
            .starts_with("http://localhost:8080/success")
    );
    let order = format!("/api/orders/by-session/{session}/");
    until("the order is paid", async || {
        client.get(&order).await.json["status"] == "paid"
    })
    .await;
    let detail = format!("/api/products/{piece}/");
    assert_eq!(client.get(&detail).await.json["inventory_count"], count - 1);
    let emails = home.dir.join("data/mail");
    let confirmation = || {
        let mut emails = Mail::in_folder(&emails).into_iter();
        emails.find(|email| email.subject == "Order Confirmation - Spirit Beads")
    };
    until("the email is written", async || confirmation().is_some()).await;
    let email = confirmation().expect("an email");
    assert_eq!(email.inside.len(), 1, "with the piece's image");

    // The owner was made with the shop, and comes in with the password that was shown.
    let (_, line) = program.said.split_once("sign in as ").expect("an owner");
    let mut words = line.split_whitespace();
    let (admin, password) = (words.next().expect("a name"), words.nth(1).expect("one"));
    assert!(
        program
            .said
            .contains(&format!("Admin      {}/admin/", program.address))
    );
    let browser = client.with_cookies();
    let (action, mut fields) = form_of(&browser.get("/admin/sign-in/").await.text);
    for (name, value) in &mut fields {
        match name.as_str() {
            "email" => *value = admin.to_owned(),
            "password" => *value = password.to_owned(),
            _ => {}
        }
    }
    let answer = browser.submit_own(&action, &fields).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/admin"));
    let today = browser.get("/admin/").await.text;
    assert!(
        today.contains("<strong>1</strong> order to pack"),
        "{today}"
    );
    let password = password.to_owned();

    // A token for the owner's programs, made beside the running shop.
    let making = [
        "token",
        "create",
        "--name",
        "laptop",
        "--scope",
        "orders:read",
    ];
    let (code, token, _) = home.run(&making, &[]).await;
    assert_eq!(code, 0);
    let token = token.trim();
    let orders = client
        .with_token(token)
        .get("/api/admin/orders/")
        .await
        .json;
    assert_eq!(orders["results"][0]["status"], "paid");
    let email = orders["results"][0]["email"]
        .as_str()
        .expect("an address")
        .to_owned();

    // kill -9, and everything is there again on the same data.
    let mut killed = program;
    killed.child.kill().await.expect("killed");
    let program = home.start().await;
    assert!(!program.said.contains("demo"), "{}", program.said);
    assert!(!program.said.contains("sign in as"), "{}", program.said);
    let client = program.client();
    assert_eq!(client.get(&order).await.json["status"], "paid");
    assert_eq!(client.get(&detail).await.json["inventory_count"], count - 1);

    // SIGTERM in the middle of a request: it is answered, then everything is put away.
    let (piece, _) = some_piece(&client).await;
    let body = json!({"items": [{"product_id": piece, "quantity": 1}]}).to_string();
    let (first, second) = body.split_at(body.len() / 2);
    let host = program.address.trim_start_matches("http://").to_owned();
    // A browser that keeps a line ready does not hold us up.
    let _ready = TcpStream::connect(&host).await.expect("a connection");
    let mut line = TcpStream::connect(&host).await.expect("a connection");
    let head = format!(
        "POST /api/payments/create-checkout-session/ HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         expect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
        body.len()
    );
    line.write_all(head.as_bytes()).await.expect("sent");
    let mut go_on = [0; 25];
    line.read_exact(&mut go_on)
        .await
        .expect("a word that it waits for the body");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    program.terminate().await;
    until("no one new is let in", async || {
        TcpStream::connect(&host).await.is_err()
    })
    .await;
    line.write_all(second.as_bytes()).await.expect("sent");
    let (status, _, text) = read_answer(&mut line).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("checkout_url"), "{text}");
    let last: Value = serde_json::from_str(&text).expect("JSON");
    let stopping = Instant::now();
    assert_eq!(program.end().await, Some(0));
    assert!(
        stopping.elapsed() < Duration::from_secs(10),
        "it waited for nobody"
    );
    assert!(!home.has_server());

    // The log knows no one and gives nothing away.
    let log = std::fs::read_to_string(home.log()).expect("the log");
    assert!(log.contains("request") || log.contains("event"), "{log}");
    let kept =
        |name: &str| std::fs::read_to_string(home.dir.join("data").join(name)).expect("a secret");
    let url = last["checkout_url"].as_str().expect("an address");
    for (what, secret) in [
        ("the buyer", email.as_str()),
        ("the token", token),
        ("the owner's password", password.as_str()),
        ("a session", session.as_str()),
        ("the last session", url.rsplit('/').next().expect("an id")),
        ("the key", kept("secret_key").as_str()),
        (
            "the signing secret",
            kept("sandbox_webhook_secret").as_str(),
        ),
        ("Stripe's key", "sk_test_"),
        ("any token", "sbt_"),
        ("any secret", "whsec_"),
        ("any session", "cs_test_"),
    ] {
        assert!(!log.contains(secret), "{what} is in the log:\n{log}");
    }
}

#[tokio::test]
async fn copies_share_a_folder_or_keep_apart() {
    let (home, elsewhere) = (Home::new(), Home::new());
    let (first, other) = tokio::join!(home.start(), elsewhere.start());
    let second = home.start().await;
    let making = ["token", "create", "--name", "laptop", "--scope", "catalog"];
    let (code, token, said) = home.run(&making, &[]).await;
    assert_eq!(code, 0, "{said}");
    let product = json!({"id": "mine", "name": "Mine", "lighter_type": 1, "price": 4700});
    let made = first
        .client()
        .with_token(token.trim())
        .post("/api/products/", &product)
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(second.client().get("/api/products/mine/").await.status, 200);
    assert_eq!(other.client().get("/api/products/mine/").await.status, 404);

    let taken = first.address.trim_start_matches("http://");
    let (code, _, said) = elsewhere.run(&[], &[("BIND_ADDR", taken)]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("BIND_ADDR") && said.contains(taken), "{said}");
    assert!(said.contains("in use"), "{said}");

    // Whoever goes first leaves the database to the other.
    first.terminate().await;
    assert_eq!(first.end().await, Some(0));
    assert!(home.has_server());
    assert_eq!(second.client().get("/api/products/mine/").await.status, 200);
    second.terminate().await;
    other.terminate().await;
    assert_eq!((second.end().await, other.end().await), (Some(0), Some(0)));
    assert!(!home.has_server() && !elsewhere.has_server());
}

#[tokio::test]
async fn production_names_every_missing_setting_and_does_not_start() {
    let home = Home::new();
    let (code, out, said) = home.run(&[], &[("APP_ENV", "production")]).await;
    assert_eq!((code, out.as_str()), (2, ""));
    for name in [
        "DATABASE_URL",
        "SECRET_KEY",
        "PUBLIC_URL",
        "FRONTEND_URL",
        "STRIPE_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRET",
        "SMTP_URL",
        "MAIL_FROM",
        "SHOP_EMAIL",
    ] {
        assert!(said.contains(name), "{name}: {said}");
    }
    assert!(!home.dir.join("data").exists());
    let (code, _, said) = home
        .run(
            &["serve"],
            &[("REQUEST_TIMEOUT_SECONDS", "soon"), ("LOG_FORMAT", "xml")],
        )
        .await;
    assert_eq!(code, 2);
    assert!(
        said.contains("REQUEST_TIMEOUT_SECONDS") && said.contains("LOG_FORMAT"),
        "{said}"
    );
}

#[tokio::test]
async fn the_sandbox_is_served_alone_for_who_has_its_key_but_never_in_production() {
    let home = Home::new();
    let sandbox = ["sandbox", "--bind", "127.0.0.1:0"];
    let (code, out, said) = home.run(&sandbox, &[]).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(said.contains("STRIPE_SECRET_KEY"), "{said}");
    let (code, out, said) = home
        .run(
            &sandbox,
            &[
                ("APP_ENV", "production"),
                ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"),
                ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
                ("PUBLIC_URL", "https://api.shop.test"),
                ("FRONTEND_URL", "https://shop.test"),
                ("STRIPE_SECRET_KEY", "sk_live_0123456789abcdef"),
                ("STRIPE_WEBHOOK_SECRET", "whsec_0123456789abcdef"),
                ("SMTP_URL", "smtps://mail.shop.test"),
                ("MAIL_FROM", "shop@shop.test"),
                ("SHOP_EMAIL", "shop@shop.test"),
            ],
        )
        .await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(said.contains("never served in production"), "{said}");
    assert!(!home.dir.join("data").exists());
}

#[tokio::test]
async fn every_email_can_be_looked_at_without_a_database() {
    let home = Home::new();
    let (code, out, said) = home
        .run(
            &["emails", "preview", "--out", "emails"],
            &[("SHOP_NAME", "Bead & Thread")],
        )
        .await;
    assert_eq!(code, 0, "{said}");
    let preview = spirit_beads::emails::samples().len();
    assert!(out.starts_with(&format!("{preview} emails")), "{out}");
    assert!(!home.dir.join("data").exists());
    let mut emails = 0;
    for entry in std::fs::read_dir(home.dir.join("emails")).expect("a folder") {
        let path = entry.expect("a file").path();
        let bytes = std::fs::read(&path).expect("an email");
        match path.extension().and_then(|end| end.to_str()) {
            Some("eml") => {
                let mail = Mail::read(&bytes);
                for (id, _) in &mail.inside {
                    assert!(mail.html.contains(&format!("\"cid:{id}\"")), "{id}");
                }
                let shown = mail.html.matches("\"cid:").count();
                assert_eq!(shown, mail.inside.len(), "{}", path.display());
                emails += 1;
            }
            Some("html") => {
                let html = String::from_utf8(bytes).expect("UTF-8");
                assert!(!html.contains("cid:") && html.contains("Bead &#38; Thread"));
            }
            Some("txt") => assert!(bytes.starts_with(b"Bead & Thread\n")),
            end => panic!("{end:?}"),
        }
    }
    assert_eq!(emails, preview);
}
