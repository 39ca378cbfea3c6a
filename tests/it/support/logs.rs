//! Reads the shop's log along while the tests run: a key, a password, a card's number, an address or
//! an email in it ends the run.

use std::io::Write;
use std::sync::Once;

use tracing_subscriber::EnvFilter;

use super::{FORMER_WEBHOOK_SECRET, STRIPE_KEY, WEBHOOK_SECRET};

/// Secrets of ours and Stripe's, and the recipients of the tests' shipments.
const SECRETS: [&str; 9] = [
    STRIPE_KEY,
    WEBHOOK_SECRET,
    FORMER_WEBHOOK_SECRET,
    super::SECRET_KEY,
    crate::admin::PASSWORD,
    "sbt_",
    "Bearer ",
    "1 Main St",
    "Portland",
];

/// Reads all logs of this process from here on.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = EnvFilter::new("info,spirit_beads=debug,graphile_worker=warn,sqlx=warn");
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(|| Reader)
            .init();
    });
}

struct Reader;

impl Write for Reader {
    /// A whole entry comes at a time.
    fn write(&mut self, entry: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(entry);
        if let Some(found) = leak(&text) {
            // Wherever it was logged, no test may pass over it; and what a test prints is kept back until it ends.
            let complaint = format!("the log tells {found}: {text}\n");
            let _ = std::io::stderr().write_all(complaint.as_bytes());
            std::process::exit(101);
        }
        Ok(entry.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Secrets that a log tells.
pub fn leak(text: &str) -> Option<String> {
    if let Some(secret) = SECRETS.iter().find(|secret| text.contains(**secret)) {
        return Some(format!("the secret {secret:?}"));
    }
    let is_email = |word: &&str| {
        word.split_once('@').is_some_and(|(name, host)| {
            let name = name.chars().next_back().is_some_and(char::is_alphanumeric);
            let host = host
                .split(|c: char| !(c.is_alphanumeric() || ".-".contains(c)))
                .next();
            let is_named = |host: &str| match host.trim_matches('.').rsplit_once('.') {
                Some((_, last)) => last.chars().all(char::is_alphabetic),
                None => host == "localhost",
            };
            name && host.is_some_and(is_named)
        })
    };
    if let Some(email) = text.split_whitespace().find(is_email) {
        return Some(format!("the email {email}"));
    }
    // The digits behind a decimal point are a fraction.
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    let whole = |word: &&str| {
        !word
            .split_once('.')
            .is_some_and(|(before, _)| is_number(before))
    };
    let card = words.find_map(|word| {
        Some(word)
            .filter(whole)?
            .split('.')
            .find(|word| is_card(word))
    });
    card.map(|card| format!("the card {card}"))
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) && word.len() < 10
}

/// Fifteen or sixteen digits as the large brands number their cards, with the right last one.
///
/// Source: <https://www.iso.org/standard/70484.html> (ISO/IEC 7812-1, annex B)
fn is_card(word: &str) -> bool {
    if !(15..=16).contains(&word.len()) || !word.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let sum: u32 = word
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(digit - b'0') << (at % 2);
            digit / 10 + digit % 10
        })
        .sum();
    (b'3'..=b'6').contains(&word.as_bytes()[0]) && sum.is_multiple_of(10)
}

#[test]
fn secrets_in_a_log_are_seen() {
    for text in [
        format!("key {STRIPE_KEY}"),
        "postgres://shop:secret@db.example/shop".to_owned(),
        "an email to ann@example.com was sent".to_owned(),
        "from=<Ann> ann@localhost>".to_owned(),
        "card 4242424242424242 declined".to_owned(),
        "amex 378282246310005".to_owned(),
        "paid with 4242424242424242. Thanks".to_owned(),
        "card.4242424242424242".to_owned(),
        "token sbt_0123".to_owned(),
        "to 1 Main St, Portland".to_owned(),
    ] {
        assert!(leak(&text).is_some(), "{text}");
    }
    for plain in [
        "2026-11-24T22:05:09.123456Z  INFO request{method=POST route=/api/orders/{id}}: done status=200",
        "order=0193a000-0000-7000-8000-000000000001 number 4242424242424241",
        "@ 12 at, a @ b, crate@1.0",
        "elapsed_secs=1.5050508470000001 slow_threshold=1s",
    ] {
        assert_eq!(leak(plain), None, "{plain}");
    }
}
