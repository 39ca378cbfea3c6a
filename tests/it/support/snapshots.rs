//! Snapshots: answers and texts, compared with files that a review shows (docs/testing.md).

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate};
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::{Answer, Client};

/// The snapshots of a folder of tests. One test compares them all: at its end, it fails on those that differ, those
/// that are missing, and those that it has not asked for.
pub struct Snapshots {
    /// The folder's name below `tests/it/`.
    name: &'static str,
    hidden: &'static [&'static str],
    compared: BTreeSet<String>,
    different: Vec<String>,
}

impl Snapshots {
    /// The snapshots in `tests/it/{name}/snapshots/`.
    pub fn of(name: &'static str) -> Snapshots {
        Snapshots {
            name,
            hidden: &[],
            compared: BTreeSet::new(),
            different: Vec::new(),
        }
    }

    /// Leaves out the values of these fields, which differ from run to run, or are not the test's subject.
    pub fn hiding(mut self, fields: &'static [&'static str]) -> Snapshots {
        self.hidden = fields;
        self
    }

    fn folder(&self) -> PathBuf {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
        tests.join(self.name).join("snapshots")
    }

    /// Asks for a path and compares the answer.
    pub async fn get(&mut self, name: &str, client: &Client, path: &str) -> Answer {
        let answer = client.get(path).await;
        self.answer(name, &format!("GET {path}"), &answer);
        answer
    }

    /// Posts a body and compares the answer.
    pub async fn post(&mut self, name: &str, client: &Client, path: &str, body: &Value) {
        self.send(name, client, Method::POST, path, body).await;
    }

    /// Sends a body and compares the answer.
    pub async fn send(
        &mut self,
        name: &str,
        client: &Client,
        method: Method,
        path: &str,
        body: &Value,
    ) {
        let call = format!("{method} {path}");
        let answer = client.send_json(method, path, body).await;
        self.answer(name, &call, &answer);
    }

    /// Compares the answer to a call. The names of errors, and of nothing else, begin with `error_`.
    pub fn answer(&mut self, name: &str, call: &str, answer: &Answer) {
        let is_error = answer.status >= 400;
        assert_eq!(
            is_error,
            name.starts_with("error_"),
            "{call}: {}",
            answer.text
        );
        let kind = answer.header("content-type");
        let body = match kind {
            "application/json" => Layout::of(&answer.text, self.hidden),
            _ => answer.text.clone(),
        };
        let call = Names::default().replaced(call);
        self.text(name, &format!("{call}\n{} {kind}\n\n{body}", answer.status));
    }

    /// Compares a text.
    pub fn text(&mut self, name: &str, text: &str) {
        assert!(self.compared.insert(name.to_owned()), "{name} twice");
        let mut settings = insta::Settings::new();
        settings.set_snapshot_path(self.folder());
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        // The first difference must not hide the others.
        let compared = catch_unwind(AssertUnwindSafe(|| {
            settings.bind(|| insta::assert_snapshot!(name, text));
        }));
        if compared.is_err() {
            self.different.push(name.to_owned());
        }
    }

    /// Files of the folder that were compared with nothing.
    fn unreferenced(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.folder())
            .into_iter()
            .flatten()
            .map(|entry| entry.expect("an entry of the folder").file_name());
        let mut names: Vec<String> = files
            .filter_map(|name| Some(name.to_str()?.strip_suffix(".snap")?.to_owned()))
            .filter(|name| !self.compared.contains(name))
            .collect();
        names.sort();
        names
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let (name, different) = (self.name, &self.different);
        assert!(
            different.is_empty(),
            "snapshots of tests/it/{name} differ or are missing: {different:?}. The differences are above. If they are \
             meant: INSTA_UPDATE=always cargo test --test it {name}::snapshots, then review the files with git diff"
        );
        let unreferenced = self.unreferenced();
        assert!(
            unreferenced.is_empty(),
            "no test compares these files of tests/it/{name}/snapshots any more, so delete them: {unreferenced:?}"
        );
    }
}

/// A compact JSON text with a line for each value. Keys keep their order, which is part of the storefront's contract.
/// Values that differ from run to run are replaced.
struct Layout<'a> {
    rest: &'a str,
    laid: String,
    names: Names,
    hidden: &'a [&'a str],
}

impl Layout<'_> {
    fn of(json: &str, hidden: &[&str]) -> String {
        let mut layout = Layout {
            rest: json,
            laid: String::new(),
            names: Names::default(),
            hidden,
        };
        layout.value("", 0);
        assert_eq!(layout.rest, "", "behind the value: {json}");
        layout.laid
    }

    fn value(&mut self, key: &str, depth: usize) {
        let is_hidden = self.hidden.contains(&key);
        match self.rest.as_bytes().first() {
            Some(b'{') => self.list('}', depth),
            Some(b'[') => self.list(']', depth),
            Some(b'"') => {
                let text = self.string();
                let replaced = match is_hidden {
                    true => "…".to_owned(),
                    false => self.names.replaced(text),
                };
                self.laid.push_str(&format!("\"{replaced}\""));
            }
            _ => {
                let end = self.rest.find([',', '}', ']']).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                let is_shown = !is_hidden || word == "null";
                self.laid.push_str(if is_shown { word } else { "…" });
            }
        }
    }

    /// An object or array, up to its closing bracket.
    fn list(&mut self, close: char, depth: usize) {
        self.bracket();
        if self.rest.starts_with(close) {
            return self.bracket();
        }
        loop {
            self.line(depth + 1);
            let key = if close == '}' { self.string() } else { "" };
            if close == '}' {
                self.laid.push_str(&format!("\"{key}\": "));
                self.rest = self.rest.strip_prefix(':').expect("a colon");
            }
            self.value(key, depth + 1);
            if self.rest.starts_with(close) {
                self.line(depth);
                return self.bracket();
            }
            assert!(self.rest.starts_with(','), "a comma: {}", self.rest);
            self.bracket();
        }
    }

    /// A bracket or comma.
    fn bracket(&mut self) {
        let (bracket, rest) = self.rest.split_at(1);
        self.laid.push_str(bracket);
        self.rest = rest;
    }

    fn line(&mut self, depth: usize) {
        self.laid.push('\n');
        self.laid.push_str(&"  ".repeat(depth));
    }
}

impl<'a> Layout<'a> {
    /// The string that begins here, with its escapes and without its quotation marks.
    fn string(&mut self) -> &'a str {
        let text = self.rest.strip_prefix('"').expect("a quotation mark");
        let mut is_escaped = false;
        let end = text.find(|c| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        let (text, rest) = text.split_at(end.expect("its end"));
        self.rest = &rest[1..];
        text
    }
}

/// Stand-ins for values that differ from run to run. Within a snapshot, equal values have equal stand-ins.
#[derive(Default)]
struct Names(Vec<(String, String)>);

impl Names {
    fn replaced(&mut self, text: &str) -> String {
        if DateTime::parse_from_rfc3339(text).is_ok() {
            return "[time]".to_owned();
        }
        if NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok() {
            return "[day]".to_owned();
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let mut replaced = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(port) = rest.strip_prefix("127.0.0.1:") {
                replaced.push_str("[shop]");
                rest = port.trim_start_matches(|c: char| c.is_ascii_digit());
                continue;
            }
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end.max(first.len_utf8()));
            match kind(word) {
                Some(kind) => replaced.push_str(&self.name(kind, word)),
                None => replaced.push_str(word),
            }
            rest = after;
        }
        replaced
    }

    fn name(&mut self, kind: &str, value: &str) -> String {
        let value = (kind.to_owned(), value.to_owned());
        if !self.0.contains(&value) {
            self.0.push(value.clone());
        }
        let alike = self.0.iter().filter(|(other, _)| other == kind);
        let at = alike.clone().position(|known| *known == value);
        format!("[{kind} {}]", at.expect("added above") + 1)
    }
}

/// The kind of a value that differs from run to run: an id, a hash, an id of Stripe, a token.
fn kind(word: &str) -> Option<&str> {
    if word.len() == 36 && Uuid::try_parse(word).is_ok() {
        return Some("id");
    }
    if word.len() >= 24 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some("hash");
    }
    let (prefix, rest) = word.rsplit_once('_')?;
    // Words of ours have neither capitals nor digits there.
    let is_random = rest.len() >= 14 && rest.contains(|c: char| !c.is_ascii_lowercase());
    is_random.then_some(prefix)
}

#[test]
fn a_layout_keeps_order_and_shows_which_values_are_equal() {
    let id = "01936b2e-7d10-7c44-9a51-0b5c2f3d8e90";
    let json = [
        r#"{"b":"ID","a":["say \"{}\"",{},[],-1.5e3,null],"at":"2026-01-03T21:49:29.93Z","c":"ID","#,
        r#""url":"http://127.0.0.1:4242/pay/cs_test_a1b2c3d4e5f6g7h8","day":"2026-01-03","size":7,"gone":null}"#,
    ];
    let json = json.concat().replace("ID", id);
    let laid = r#"{
  "b": "[id 1]",
  "a": [
    "say \"{}\"",
    {},
    [],
    -1.5e3,
    null
  ],
  "at": "[time]",
  "c": "[id 1]",
  "url": "http://[shop]/pay/[cs_test 1]",
  "day": "[day]",
  "size": …,
  "gone": null
}"#;
    assert_eq!(Layout::of(&json, &["size", "gone"]), laid);
}
