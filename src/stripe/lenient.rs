//! Lenient reader of Stripe's JSON: odd text from a customer must not block a payment.

use std::borrow::Cow;

use serde_json::Value;

/// Deepest nesting that is kept. Stripe's objects have a dozen levels, serde_json reads 128, and an event is read
/// again when it has been part of a list.
const DEEPEST: usize = 100;

/// Reads JSON that a strict reader refuses as well: bytes that are no UTF-8 and halves of surrogate pairs become U+FFFD,
/// numbers beyond every type and everything nested too deep become null, control characters in texts are taken as they are.
///
/// # Errors
/// Text that is not JSON even then.
pub fn read_json(bytes: &[u8]) -> serde_json::Result<Value> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    serde_json::from_str(&tame(text))
}

/// Writes JSON anew without what a strict reader refuses.
fn tame(text: &str) -> String {
    let mut tamed = String::with_capacity(text.len());
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, after): (Cow<'_, str>, &str) = match first {
            '"' => string(rest),
            '-' | '0'..='9' => number(rest),
            _ => {
                let (token, after) = rest.split_at(first.len_utf8());
                (token.into(), after)
            }
        };
        rest = after;
        match first {
            '{' | '[' => {
                depth += 1;
                if depth == DEEPEST + 1 {
                    tamed.push_str("null");
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == DEEPEST {
                    continue;
                }
            }
            _ => {}
        }
        if depth <= DEEPEST {
            tamed.push_str(&token);
        }
    }
    tamed
}

/// The string that a text begins with, and what follows it.
fn string(text: &str) -> (Cow<'_, str>, &str) {
    let mut token = String::from("\"");
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                token.push('"');
                return (token.into(), &text[at + 1..]);
            }
            '\\' if text[at..].starts_with("\\u") => {
                let (escape, length) = unicode_escape(&text[at..]);
                token.push_str(&escape);
                // The backslash is taken already; an escape is ASCII.
                if length > 1 {
                    chars.nth(length - 2);
                }
            }
            '\\' => {
                token.push('\\');
                token.extend(chars.next().map(|(_, escaped)| escaped));
            }
            c if c < ' ' => token.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => token.push(c),
        }
    }
    (token.into(), "")
}

/// The escape that a text begins with, or the pair of them, and its length. Half of a pair is replaced; what is no escape
/// stays as it is, to be refused.
fn unicode_escape(text: &str) -> (Cow<'_, str>, usize) {
    const LENGTH: usize = 6;
    let unit = |at: usize| {
        let escape = text.get(at..at + LENGTH)?;
        u16::from_str_radix(escape.strip_prefix("\\u")?, 16).ok()
    };
    match (unit(0), unit(LENGTH)) {
        (None, _) => ("\\".into(), 1),
        (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => (text[..2 * LENGTH].into(), 2 * LENGTH),
        (Some(0xd800..0xe000), _) => ("\\ufffd".into(), LENGTH),
        (Some(_), _) => (text[..LENGTH].into(), LENGTH),
    }
}

/// The number that a text begins with, and what follows it.
fn number(text: &str) -> (Cow<'_, str>, &str) {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let (token, after) = text.split_at(end);
    match token.parse::<f64>() {
        Ok(value) if value.is_infinite() => ("null".into(), after),
        _ => (token.into(), after),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(bytes: &[u8]) -> Option<Value> {
        read_json(bytes).ok()
    }

    #[test]
    fn odd_texts_and_numbers_are_read() {
        for (text, value) in [
            (&br#"{"a": "x\ud800y"}"#[..], json!({"a": "x\u{fffd}y"})),
            (
                br#"["\udc00", "\ud83d\ude00", "\ud83d\ud83d\ude00"]"#,
                json!(["\u{fffd}", "😀", "\u{fffd}😀"]),
            ),
            (
                br#"["\ud800\"", "\\ud800", "\ud800\n\u00e9"]"#,
                json!(["\u{fffd}\"", "\\ud800", "\u{fffd}\né"]),
            ),
            (b"[\"a\xff\xfeb\", 1]", json!(["a\u{fffd}\u{fffd}b", 1])),
            (b"[\"a\nb\tc\"]", json!(["a\nb\tc"])),
            (
                b"[1e400, -1e999, 1.5, -2, 1e3]",
                json!([null, null, 1.5, -2, 1e3]),
            ),
            (b"\xef\xbb\xbf{\"id\": \"evt_1\"}", json!({"id": "evt_1"})),
        ] {
            assert_eq!(read(text), Some(value), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_left_out() {
        let [open, close] = ["[{\"a\":", "}]"].map(|part| part.repeat(3_000));
        let text = format!(r#"{{"id": "evt_1", "deep": {open}"x"{close}, "last": ["]"]}}"#);
        let value = read(text.as_bytes()).expect("readable");
        assert_eq!(
            (&value["id"], &value["last"]),
            (&json!("evt_1"), &json!(["]"]))
        );
        // It can be read again by a strict reader.
        assert!(serde_json::from_str::<Value>(&value.to_string()).is_ok());
        let nested = format!("{}1{}", "[".repeat(DEEPEST), "]".repeat(DEEPEST));
        assert_eq!(tame(&nested), nested);
        let deeper = format!("[{nested}]");
        assert_eq!(
            tame(&deeper),
            format!("{}null{}", "[".repeat(DEEPEST), "]".repeat(DEEPEST))
        );
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            &b""[..],
            b"hello",
            b"{\"id\":\"evt_1\"",
            b"\xff\xfe",
            b"[\"\\ud80\"]",
            b"[\"\\u",
            b"[\"\\",
            b"[\"\\ud800",
            b"]]]]",
            b"1-2",
            b"[1,]",
        ] {
            assert_eq!(read(text), None, "{}", String::from_utf8_lossy(text));
        }
    }
}
