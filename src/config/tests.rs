//! Tests of all settings together.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::str::FromStr;

use super::*;

fn config(settings: &[(&str, &str)]) -> Result<Config, Vec<FieldError>> {
    Config::read(|name| {
        let found = settings.iter().find(|(key, _)| *key == name)?;
        Some(found.1.to_owned())
    })
}

#[test]
fn nothing_is_needed_in_development() {
    let config = config(&[]).expect("defaults suffice");
    assert_eq!(config.server.bind_addr.to_string(), "127.0.0.1:8000");
    assert_eq!(config.server.public_url, "http://127.0.0.1:8000");
    assert!(config.trusts("127.0.0.1".parse().expect("an address")));
    assert!(!config.trusts("10.0.0.1".parse().expect("an address")));
}

#[test]
fn production_names_everything_missing_or_unsafe_at_once() {
    let field_errors = config(&[
        ("APP_ENV", "production"),
        ("SECRET_KEY", "short"),
        ("PUBLIC_URL", "http://shop.example"),
        ("STRIPE_API_URL", "http://127.0.0.1:1"),
    ])
    .expect_err("half configured");
    let names: BTreeSet<&str> = field_errors
        .iter()
        .map(|field_error| field_error.field.as_str())
        .collect();
    assert_eq!(
        names,
        BTreeSet::from([
            "DATABASE_URL",
            "FRONTEND_URL",
            "PUBLIC_URL",
            "SECRET_KEY",
            "STRIPE_API_URL",
            "STRIPE_SECRET_KEY",
            "STRIPE_WEBHOOK_SECRET",
            "SMTP_URL",
            "MAIL_FROM",
            "SHOP_EMAIL"
        ])
    );
}

#[test]
fn a_list_of_nothing_is_no_webhook_secret() {
    for nothing in ["", ",", " , "] {
        for environment in ["production", "development"] {
            let field_errors = config(&[
                ("APP_ENV", environment),
                ("STRIPE_SECRET_KEY", "sk_live_0123456789abcdef"),
                ("STRIPE_WEBHOOK_SECRET", nothing),
            ])
            .expect_err(nothing);
            let named = |error: &FieldError| error.field == "STRIPE_WEBHOOK_SECRET";
            assert!(field_errors.iter().any(named), "{environment} {nothing:?}");
        }
    }
}

#[test]
fn a_full_production_configuration_is_accepted_and_its_secrets_are_not_shown() {
    let config = config(&[
        ("APP_ENV", "production"),
        ("DATABASE_URL", "postgres://shop:hunter2@db/shop"),
        ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
        ("PUBLIC_URL", "https://api.shop.example/"),
        ("FRONTEND_URL", "https://shop.example"),
        ("STRIPE_SECRET_KEY", "sk_live_0123456789abcdef"),
        (
            "STRIPE_WEBHOOK_SECRET",
            "whsec_0123456789abcdef,whsec_fedcba9876543210",
        ),
        ("SMTP_URL", "smtps://shop:hunter3@mail.example"),
        ("MAIL_FROM", "Beads & Co <shop@mail.example>"),
        ("SHOP_EMAIL", "me@mail.example"),
    ])
    .expect("complete");
    assert_eq!(config.server.public_url, "https://api.shop.example");
    assert_eq!(config.stripe.webhook_secrets.len(), 2);
    assert_eq!(
        config.server.cors_allowed_origins,
        ["https://shop.example", "https://api.shop.example"]
    );
    let shown = format!("{config:?}");
    for secret in ["hunter2", "hunter3", "0123456789abcdef", "fedcba"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

#[test]
fn settings_of_emails_that_cannot_work_are_named() {
    for (name, value) in [
        ("SHOP_EMAIL", "shop"),
        ("SHOP_EMAIL", "a@b.example, c@d.example"),
        ("MAIL_FROM", "Shop <shop@>"),
        ("MAIL_FROM", "Shop"),
        ("SHOP_COLOR", "red"),
        ("SHOP_COLOR", "#12345é"),
        ("SMTP_URL", "mail.example"),
        ("SMTP_URL", "smtp://mail.example?tls=maybe"),
        ("SMTP_TIMEOUT_SECONDS", "0"),
    ] {
        let field_errors = config(&[(name, value)]).expect_err(value);
        assert_eq!(field_errors[0].field, name, "{value}");
    }
    assert_eq!(
        Color::from_str("#Bd4d28").map(|c| c.to_string()),
        Ok("#bd4d28".to_owned())
    );
}

#[test]
fn production_does_not_send_a_password_readable() {
    for (url, safe) in [
        ("smtp://u:p@mail.example", false),
        ("smtp://u:p@mail.example?tls=opportunistic", false),
        ("smtp://u:p@mail.example?tls=required", true),
        ("smtps://u:p@mail.example", true),
        ("smtp://u:p@localhost", true),
        ("smtp://mail.example", true),
    ] {
        let field_errors =
            config(&[("APP_ENV", "production"), ("SMTP_URL", url)]).expect_err("half");
        let said = field_errors
            .iter()
            .any(|field_error| field_error.field == "SMTP_URL");
        assert_eq!(said, !safe, "{url}");
    }
}

#[test]
fn the_example_file_lists_every_setting_and_no_other() {
    let none = |_: &str| None;
    let mut reader = Reader::new(&none);
    read(&mut reader).expect("defaults suffice");
    let example = include_str!("../../.env.example");
    let listed: BTreeSet<&str> = example
        .lines()
        .filter_map(|line| line.trim_start_matches("# ").split_once('='))
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect();
    assert_eq!(listed, reader.names);
}

/// The example file with the settings of this line uncommented; all settings for `None`.
fn uncommented(line: Option<usize>) -> String {
    let text = include_str!("../../.env.example");
    let uncomment = |(at, text): (usize, &str)| match text.strip_prefix("# ") {
        Some(setting) if is_setting(text) && line.is_none_or(|line| line == at) => {
            format!("{setting}\n")
        }
        _ => format!("{text}\n"),
    };
    text.lines().enumerate().map(uncomment).collect()
}

fn is_setting(line: &str) -> bool {
    line.strip_prefix("# ")
        .and_then(|line| line.split_once('='))
        .is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        })
}

#[test]
fn the_example_file_works_as_it_stands_with_each_line_uncommented() {
    let example = include_str!("../../.env.example");
    let lines = example.lines().enumerate();
    let settings: Vec<usize> = lines
        .filter(|(_, line)| is_setting(line))
        .map(|(at, _)| at)
        .collect();
    assert!(settings.len() > 40, "{}", settings.len());
    for line in settings.iter().copied().map(Some).chain([None]) {
        let text = uncommented(line);
        let file = env_file::parse(text.as_bytes())
            .unwrap_or_else(|field_errors| panic!("{field_errors:?}"));
        assert_eq!(file.len(), line.map_or(settings.len(), |_| 1));
        for entry in &file {
            let written = format!("{}={}", entry.name, entry.value);
            assert!(text.lines().any(|line| line == written), "{written}");
        }
        let config =
            combine(&file, &[]).unwrap_or_else(|field_errors| panic!("{line:?}: {field_errors:?}"));
        assert_eq!(config.unknown_settings, []);
    }
    let file = env_file::parse(uncommented(None).as_bytes()).expect("readable");
    let config = combine(&file, &[]).expect("valid");
    assert_eq!(config.shop.name, "Spirit Beads");
    assert_eq!(config.mail.from.name.as_deref(), Some("Spirit Beads"));
    assert_eq!(config.shop.color.to_string(), "#bd4d28");
}

#[test]
fn a_password_with_a_dollar_sign_reaches_the_mail_server_whole() {
    let file = env_file::parse(b"SMTP_URL=smtp://shop:pa$word1@mail.example\n").expect("readable");
    let smtp = combine(&file, &[])
        .expect("valid")
        .mail
        .smtp
        .expect("a server");
    let (user, password) = smtp.login.expect("a login");
    assert_eq!((user.as_str(), password.reveal()), ("shop", "pa$word1"));
}

#[test]
fn production_refuses_names_that_nothing_reads() {
    let names = |environment: &str, given: &[(&str, &str)]| -> Vec<String> {
        let text = format!("APP_ENV={environment}\nSHOP_NAMES=Beads\nTZ=UTC\nFOO=1\n");
        let file = env_file::parse(text.as_bytes()).expect("readable");
        let given: Vec<(OsString, OsString)> = given
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        match combine(&file, &given) {
            Ok(config) => config.unknown_settings,
            Err(field_errors) => field_errors,
        }
        .into_iter()
        .filter(|field_error| field_error.message.contains("is not a setting"))
        .map(|field_error| format!("{} {}", field_error.field, field_error.message))
        .collect()
    };
    let of_file = [
        "SHOP_NAMES is not a setting; did you mean SHOP_NAME? (line 2 of .env)",
        "FOO is not a setting (line 4 of .env)",
    ];
    assert_eq!(names("production", &[("HOME", "/root")]), of_file);
    // In development the start goes on, and reports them.
    assert_eq!(names("development", &[]), of_file);
    let given = [("STRIPE_SECRET", "x"), ("PGHOST", "db")];
    let complaints = names("production", &given);
    assert_eq!(complaints[2], "STRIPE_SECRET is not a setting");
    assert_eq!(complaints.len(), 3);
}

#[test]
fn production_trusts_no_network_that_holds_strangers() {
    for (networks, is_refused) in [
        ("0.0.0.0/0", true),
        ("10.0.0.1, ::/0", true),
        ("0.0.0.0/1,128.0.0.0/1", true),
        ("2000::/3", true),
        ("10.0.0.0/8, 172.16.0.0/12, fc00::/7, ::1", false),
    ] {
        let settings = [("APP_ENV", "production"), ("TRUSTED_PROXIES", networks)];
        let field_errors = config(&settings).expect_err("half configured");
        let refused = field_errors
            .iter()
            .any(|field_error| field_error.field == "TRUSTED_PROXIES");
        assert_eq!(refused, is_refused, "{networks}");
    }
    assert!(config(&[("TRUSTED_PROXIES", "0.0.0.0/0")]).is_ok());
}

#[test]
fn short_secrets_are_told_how_long_they_must_be() {
    for (name, value, expected) in [
        (
            "STRIPE_WEBHOOK_SECRET",
            "whsec_short",
            "at least 20 characters",
        ),
        (
            "STRIPE_SECRET_KEY",
            "sk_live_short",
            "at least 20 characters",
        ),
        ("SECRET_KEY", "short", "at least 32"),
        ("STRIPE_WEBHOOK_SECRET", "secret", "whsec_…"),
    ] {
        let settings = [("APP_ENV", "production"), (name, value)];
        let field_errors = config(&settings).expect_err("half configured");
        let field_error = field_errors
            .iter()
            .find(|field_error| field_error.field == name);
        let message = &field_error.expect("a fault").message;
        assert!(message.contains(expected), "{name}: {message}");
    }
}

#[test]
fn origins_are_taken_apart_strictly() {
    assert_eq!(
        origin_of("https://Shop.example/path"),
        Some("https://shop.example".to_owned())
    );
    assert_eq!(
        origin_of("http://localhost:8080"),
        Some("http://localhost:8080".to_owned())
    );
    for bad in [
        "",
        "null",
        "javascript://x",
        "https://",
        "https://a@b",
        "https://a b",
        "ftp://x",
    ] {
        assert_eq!(origin_of(bad), None, "{bad}");
    }
}
