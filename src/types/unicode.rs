//! Unicode normalization: text that looks the same is stored as the same bytes (NFC), however it was typed.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Normalizes a text to NFC.
pub fn nfc(text: &str) -> Cow<'_, str> {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        _ => Cow::Owned(text.nfc().collect()),
    }
}

/// Fields that are not text for people: ids and paths must keep their bytes, and a password must stay as typed.
const NAMES: [&str; 12] = [
    "id",
    "ids",
    "product_id",
    "piece",
    "product",
    "image",
    "images",
    "primary_image",
    "secondary_image",
    "url",
    "password",
    "new_password",
];

/// Returns true when the value of a field is text for people.
pub fn is_text(field: &str) -> bool {
    !NAMES.contains(&field)
}

/// Normalizes the texts of a JSON document to NFC, whether written as characters or as `\u0301`. Everything else stays:
/// keys, names, numbers, duplicate keys, and malformed JSON, which the parser rejects.
pub fn nfc_json(json: &str) -> Cow<'_, str> {
    if !json.contains("\\u") && is_nfc_quick(json.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(json);
    }
    let mut whole = String::with_capacity(json.len());
    let (mut rest, mut key) = (json, "");
    while let Some(at) = rest.find('"') {
        let (before, from) = rest.split_at(at);
        whole.push_str(before);
        let (string, after) = from.split_at(string_length(from));
        if after.trim_start().starts_with(':') {
            key = string.trim_matches('"');
            whole.push_str(string);
        } else if is_text(key) {
            rewrite(string, &mut whole);
        } else {
            whole.push_str(string);
        }
        rest = after;
    }
    whole.push_str(rest);
    Cow::Owned(whole)
}

/// Length in bytes of the string at the beginning of the text, with both quotes; the whole text when the string does
/// not end.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Normalizes one string of a document. Every remaining escape separates the runs: normalizing across `\n` would change
/// the text.
fn rewrite(string: &str, whole: &mut String) {
    let mut plain = String::new();
    let mut rest = string;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((character, length)) = escaped_char(rest) {
            plain.push(character);
            rest = &rest[length..];
        } else {
            whole.extend(plain.nfc());
            plain.clear();
            // The backslash and the character that it escapes.
            let length = rest.chars().take(2).map(char::len_utf8).sum();
            whole.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    plain.push_str(rest);
    whole.extend(plain.nfc());
}

/// Decodes an escape at the beginning of the text, and returns its character and length. Returns `None` for characters
/// that JSON must escape, half a surrogate pair, and anything that is not a `\u` escape.
fn escaped_char(text: &str) -> Option<(char, usize)> {
    let unit = |text: &str| -> Option<u16> {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex
            .then(|| u16::from_str_radix(digits, 16).ok())
            .flatten()
    };
    let first = unit(text)?;
    let mut units = vec![first];
    if (0xd800..0xdc00).contains(&first) {
        units.push(unit(&text[6..])?);
    }
    let length = 6 * units.len();
    let character = char::decode_utf16(units).next()?.ok()?;
    (!character.is_control() && !matches!(character, '"' | '\\')).then_some((character, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_look_the_same_become_the_same() {
        assert_eq!(nfc("Ame\u{301}lie"), "Am\u{e9}lie");
        assert_eq!(nfc("\u{1112}\u{1161}\u{11ab}"), "\u{d55c}");
        assert!(matches!(nfc("Amélie, 😀"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_strings_of_a_document_are_composed_and_nothing_else_changes() {
        for (json, expected) in [
            ("{\"a\":\"e\u{301}\"}", "{\"a\":\"é\"}"),
            (r#"{"a":"e\u0301"}"#, "{\"a\":\"é\"}"),
            (r#"["\u0065\u0301"]"#, "[\"é\"]"),
            (r#"["\ud83d\ude00 e\u0301"]"#, "[\"😀 é\"]"),
            // A mark after an escape does not combine with the text before it.
            ("[\"\\n\u{303}\"]", "[\"\\n\u{303}\"]"),
            (r#"["\\u0301"]"#, r#"["\\u0301"]"#),
            (r#"["a\u0000\u0022\u005c"]"#, r#"["a\u0000\u0022\u005c"]"#),
            // Half a surrogate pair, and malformed JSON: the parser rejects them.
            (r#"["\ud83d"]"#, r#"["\ud83d"]"#),
            (r#"["\ud83d\u0041"]"#, r#"["\ud83dA"]"#),
            (r#"["\u00"#, r#"["\u00"#),
            ("[1e400, 1.0, \"\\", "[1e400, 1.0, \"\\"),
            ("{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}"),
            // Names stay unchanged, in lists and objects as well.
            (
                "{\"id\":\"e\u{301}\",\"images\" : [\"e\u{301}\",{\"url\":\"e\u{301}\"}],\"name\":[\"e\u{301}\"]}",
                "{\"id\":\"e\u{301}\",\"images\" : [\"e\u{301}\",{\"url\":\"e\u{301}\"}],\"name\":[\"é\"]}",
            ),
        ] {
            assert_eq!(nfc_json(json), expected, "{json}");
        }
    }
}
