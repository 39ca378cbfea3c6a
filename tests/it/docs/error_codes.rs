//! The error codes: their list, its uses in the source, docs/api.md and the API document agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use spirit_beads::error::{Code, LineCode};

use crate::support::Shop;

/// Codes that any call may answer. Descriptions of calls need not repeat them.
const GENERAL: [Code; 22] = [
    Code::Invalid,
    Code::InvalidFilter,
    Code::ParseError,
    Code::IncompleteBody,
    Code::InvalidValue,
    Code::NotAuthenticated,
    Code::PermissionDenied,
    Code::NotFound,
    Code::MethodNotAllowed,
    Code::RequestTimeout,
    Code::PayloadTooLarge,
    Code::UnsupportedMediaType,
    Code::RangeNotSatisfiable,
    Code::IdempotencyKeyReused,
    Code::TooManyRequests,
    Code::Internal,
    Code::Overloaded,
    Code::Timeout,
    Code::SearchBusy,
    Code::DatabaseUnavailable,
    Code::PaymentUnavailable,
    Code::MediaUnavailable,
];

/// Codes of the admin's pages, which the API document does not describe.
const OF_PAGES: [Code; 10] = [
    Code::OwnersOnly,
    Code::StaleForm,
    Code::Yourself,
    Code::SecondFactorOn,
    Code::NoSecondFactor,
    Code::NoSetUp,
    Code::QuoteChanged,
    Code::AlreadySent,
    Code::SentAgain,
    Code::NotAllShipped,
];

/// Other words with an underscore in descriptions of errors.
const NO_CODES: [&str; 2] = ["custom_orders", "ship_anyway"];

fn source() -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the source") {
            let path = entry.expect("an entry of the folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !path.ends_with("error/codes.rs")
            {
                let text = std::fs::read_to_string(&path).expect("a source in UTF-8");
                files.push((path, text));
            }
        }
    }
    files
}

/// The names of variants after each `before`, as in `Code::NotFound`.
fn variants<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(before).map(|(at, _)| {
        let rest = text[at + before.len()..].trim_start();
        let rest = rest.strip_prefix("Code::").unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_alphanumeric());
        &rest[..end.unwrap_or(rest.len())]
    })
}

#[test]
fn every_code_of_the_list_is_used() {
    let files = source();
    let used = |prefix: &str| -> BTreeSet<String> {
        files
            .iter()
            .flat_map(|(_, text)| variants(text, prefix).map(str::to_owned))
            .collect()
    };
    let (codes, line_codes) = (used(" Code::"), used("LineCode::"));
    let all_used = used("(Code::");
    for code in Code::ALL {
        let name = format!("{code:?}");
        assert!(codes.contains(&name) || all_used.contains(&name), "{name}");
    }
    for code in LineCode::ALL {
        assert!(line_codes.contains(&format!("{code:?}")), "{code:?}");
    }
    let texts: BTreeSet<&str> = Code::ALL.iter().map(|code| code.text()).collect();
    assert_eq!(texts.len(), Code::ALL.len());
}

#[test]
fn every_code_is_used_with_its_status() {
    let named: BTreeMap<String, Code> = Code::ALL
        .iter()
        .map(|code| (format!("{code:?}"), *code))
        .collect();
    let mut count = 0;
    for (path, text) in source() {
        for (before, status) in [("Error::Conflict(", 409), ("Error::Unavailable(", 503)] {
            for name in variants(&text, before) {
                let Some(code) = named.get(name) else {
                    continue;
                };
                count += 1;
                assert_eq!(code.status(), status, "{}: {name}", path.display());
            }
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn the_page_of_the_api_lists_every_code() {
    let mut codes = "| status | code | cause |\n|---|---|---|\n".to_owned();
    for code in Code::ALL {
        let status = code.status().as_u16();
        writeln!(codes, "| {status} | `{code}` | {} |", code.meaning()).expect("text can grow");
    }
    let mut line_codes = "| code | cause |\n|---|---|\n".to_owned();
    for code in LineCode::ALL {
        writeln!(line_codes, "| `{code}` | {} |", code.meaning()).expect("text can grow");
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let page = std::fs::read_to_string(page).expect("docs/api.md");
    for table in [codes, line_codes] {
        let is_there = page.contains(&format!("\n\n{table}\n"));
        assert!(is_there, "docs/api.md needs this table:\n{table}");
    }
}

/// The words of a text between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[tokio::test]
async fn the_api_document_names_the_codes_of_each_call_with_their_status() {
    let shop = Shop::open().await;
    let document = shop.client.get("/api/openapi.json").await.json;
    let listed: BTreeMap<&str, Code> = Code::ALL.iter().map(|code| (code.text(), *code)).collect();
    let mut described = BTreeSet::new();
    let paths = document["paths"].as_object().expect("the paths");
    for (path, operations) in paths {
        for operation in operations.as_object().expect("its operations").values() {
            let Some(responses) = operation["responses"].as_object() else {
                continue;
            };
            for (status, response) in responses {
                let description = response["description"].as_str().unwrap_or_default();
                for span in spans(description).filter(|_| status.starts_with(['4', '5'])) {
                    let is_word = span.contains('_')
                        && span.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                    match listed.get(span) {
                        Some(code) => {
                            assert_eq!(code.status().as_str(), status, "{path}: {span}");
                            described.insert(*code);
                        }
                        None => assert!(!is_word || NO_CODES.contains(&span), "{path}: {span}"),
                    }
                }
            }
        }
    }
    let text = document["components"].to_string();
    for code in Code::ALL {
        let is_elsewhere = GENERAL.contains(code) || OF_PAGES.contains(code);
        let is_described = described.contains(code) || spans(&text).any(|span| span == code.text());
        assert!(is_described || is_elsewhere, "{code} is in no description");
        assert!(
            !(described.contains(code) && OF_PAGES.contains(code)),
            "{code}"
        );
    }
    let lines =
        document["components"]["schemas"]["LineError"]["properties"]["error"]["description"]
            .as_str()
            .expect("a description of the codes of lines");
    let all: Vec<&str> = LineCode::ALL.iter().map(|code| code.text()).collect();
    assert_eq!(spans(lines).collect::<Vec<_>>(), all);
}
