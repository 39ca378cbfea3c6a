//! The program's settings file, as somebody writes it, and whether a server says that it is up.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use spirit_beads::server;
use tokio::net::TcpListener;

use crate::admin::{Browser, OWNER, PASSWORD, staffed};
use crate::process::{Home, until};
use crate::support::{Client, Shop};

/// Runs a command that needs the settings, and nothing else, on this file `.env`: exit code and what it complains of.
async fn with_file(home: &Home, text: &str, settings: &[(&str, &str)]) -> (i32, String) {
    std::fs::write(home.dir.join(".env"), text).expect("a file");
    // It asks a server that is not there, once the settings are read.
    let (code, _, complaints) = home.run(&["health"], settings).await;
    (code, complaints)
}

#[tokio::test]
async fn the_example_file_starts_the_shop_with_every_line_uncommented() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.example");
    let example = std::fs::read_to_string(example).expect("the example");
    let is_setting = |line: &&str| {
        let (name, _) = line
            .trim_start_matches("# ")
            .split_once('=')
            .unwrap_or_default();
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    let settings: Vec<&str> = example
        .lines()
        .filter(is_setting)
        .map(|line| line.trim_start_matches("# "))
        .collect();
    assert!(settings.len() > 40);
    let home = Home::new();
    for text in settings
        .iter()
        .copied()
        .chain([settings.join("\n").as_str()])
    {
        let (_, complaints) = with_file(&home, text, &[]).await;
        assert!(
            complaints.contains("/healthz: connecting"),
            "{text}: {complaints}"
        );
    }
}

#[tokio::test]
async fn a_line_that_cannot_be_read_is_named_with_its_number() {
    let home = Home::new();
    for (text, told, line) in [
        (
            "A comment\nSHOP_NAME=x",
            "  .env: has a line that is neither",
            1,
        ),
        (
            "\nSHOP_NAME=Beads #5",
            "  SHOP_NAME: has a # after a space",
            2,
        ),
        (
            "SHOP_NAME='Beads",
            "  SHOP_NAME: begins with a quote that is not closed",
            1,
        ),
        (
            "BIND_ADDR=127.0.0.1:1\nSHOP_EMAIL=nobody",
            "  SHOP_EMAIL: must be an email address",
            2,
        ),
        (
            "SHOP_NAME=a\nSHOP_NAME=b",
            "  SHOP_NAME: is set on line 1, too",
            2,
        ),
    ] {
        let (code, complaints) = with_file(&home, text, &[]).await;
        assert_eq!(code, 2, "{text}: {complaints}");
        let mut lines = complaints.lines();
        let line = format!("(line {line} of .env)");
        assert!(
            lines.any(|said| said.starts_with(told) && said.ends_with(&line)),
            "{text}: {complaints}"
        );
    }
}

#[tokio::test]
async fn only_the_file_of_the_working_folder_is_read() {
    let home = Home::new();
    std::fs::write(home.dir.join(".env"), "SHOP_EMAIL=nobody\n").expect("a file");
    let inside = home.dir.join("inside");
    std::fs::create_dir(&inside).expect("a folder");
    let mut command = home.command(&["health"], &[]);
    let output = command
        .current_dir(&inside)
        .output()
        .await
        .expect("a program");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(complaints.contains("/healthz"), "{complaints}");
}

#[tokio::test]
async fn production_refuses_what_nothing_reads_and_whoever_is_trusted_too_widely() {
    let home = Home::new();
    let file = "APP_ENV=production\nSTRIPE_WEBHOOK_SECRETS=whsec_0123456789abcdef\nTRUSTED_PROXIES=0.0.0.0/0\n";
    let given = [
        ("DATABSE_URL", "postgres://db"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_short"),
        ("SHOP_SERVICE_HOST", "10.0.0.1"),
    ];
    let (code, complaints) = with_file(&home, file, &given).await;
    assert_eq!(code, 2, "{complaints}");
    let told: BTreeMap<&str, &str> = complaints
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_once(": "))
        .collect();
    assert_eq!(
        told.get("STRIPE_WEBHOOK_SECRETS"),
        Some(&"is not a setting; did you mean STRIPE_WEBHOOK_SECRET? (line 2 of .env)")
    );
    assert_eq!(
        told.get("DATABSE_URL"),
        Some(&"is not a setting; did you mean DATABASE_URL?")
    );
    assert!(
        told["TRUSTED_PROXIES"].contains("(line 3 of .env)"),
        "{complaints}"
    );
    assert!(
        told["STRIPE_WEBHOOK_SECRET"].contains("at least 20 characters"),
        "{complaints}"
    );
    assert!(!told.contains_key("SHOP_SERVICE_HOST"), "{complaints}");
    // In development a name that nothing reads is no reason not to start.
    let (code, complaints) = with_file(&home, "SHOP_NAMES=Beads\n", &[]).await;
    assert_eq!(code, 1, "{complaints}");
}

#[tokio::test]
async fn a_test_key_in_production_is_said_to_the_owner() {
    let production = [
        ("APP_ENV", "production"),
        ("DATABASE_URL", "postgres://db"),
        ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
        ("PUBLIC_URL", "https://api.shop.example"),
        ("FRONTEND_URL", "https://shop.example"),
        ("STRIPE_SECRET_KEY", "sk_test_0123456789abcdef"),
        ("STRIPE_API_URL", "https://stripe.example"),
        ("SMTP_URL", "smtps://shop:secret@mail.example"),
        ("MAIL_FROM", "shop@mail.example"),
        ("SHOP_EMAIL", "me@mail.example"),
    ];
    let config = |key: &str| {
        spirit_beads::config::Config::read(|name| match name {
            "STRIPE_SECRET_KEY" => Some(key.to_owned()),
            "STRIPE_WEBHOOK_SECRET" => Some("whsec_0123456789abcdef".to_owned()),
            _ => {
                let found = production.iter().find(|(known, _)| *known == name)?;
                Some(found.1.to_owned())
            }
        })
        .expect("complete")
    };
    let says = |key: &str| {
        let warnings = config(key).warnings();
        warnings.iter().any(|warning| warning.contains("test key"))
    };
    assert!(says("sk_test_0123456789abcdef") && says("rk_test_0123456789abcdef"));
    assert!(!says("sk_live_0123456789abcdef"));
    // And the owner reads it where they see how the shop itself is.
    let shop = staffed().await;
    let mut app = shop.app.clone();
    app.config = Arc::new(config("sk_test_0123456789abcdef"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let router = server::router(app.clone(), None);
    let serving = tokio::spawn(async move {
        server::serve(listener, &app, router, std::future::pending()).await;
    });
    let browser = Browser {
        client: Client::to(&address).with_cookies(),
        origin: "https://api.shop.example".to_owned(),
    };
    assert_eq!(browser.sign_in(OWNER, PASSWORD).await.status, 303);
    let page = browser.get("/admin/system").await.text;
    assert!(page.contains("STRIPE_SECRET_KEY is a test key"), "{page}");
    serving.abort();
}

#[tokio::test]
async fn the_images_own_health_check_works_without_any_other_program() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile");
    let file = std::fs::read_to_string(file).expect("the Dockerfile");
    let (_, check) = file.split_once("\nHEALTHCHECK ").expect("a health check");
    let (_, command) = check.split_once(" CMD ").expect("its command");
    let command: Vec<String> =
        serde_json::from_str(command.lines().next().expect("a line")).expect("a list of words");
    let (program, arguments) = command.split_first().expect("a program");
    assert_eq!(program, "spirit-beads");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();

    let shop = Shop::open().await;
    let host = shop.address.trim_start_matches("http://").to_owned();
    let home = Home::new();
    let check = async |arguments: &[&str], address: &str| {
        home.run(arguments, &[("BIND_ADDR", address)]).await
    };
    let (code, said, complaints) = check(&arguments, &host).await;
    assert_eq!((code, said.contains("up")), (0, true), "{said}{complaints}");
    // In a container the server listens everywhere.
    let (_, port) = host.split_once(':').expect("a port");
    let (code, ..) = check(&arguments, &format!("0.0.0.0:{port}")).await;
    assert_eq!(code, 0);
    // No worker has been heard of: it is up, and not ready.
    let (code, _, complaints) = check(&["health", "--ready"], &host).await;
    assert_eq!(code, 1);
    assert!(complaints.contains("503"), "{complaints}");
    // Where nobody listens, or somebody who says nothing.
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let silent = nobody.local_addr().expect("an address").to_string();
    let (code, _, complaints) = check(&arguments, &silent).await;
    assert_eq!(code, 1);
    assert!(complaints.contains("no answer in time"), "{complaints}");
    drop(nobody);
    assert_eq!(check(&arguments, &silent).await.0, 1);
    until("the shop answers as before", async || {
        Client::to(&shop.address).get("/healthz").await.status == 200
    })
    .await;
}
