//! The file `.env` of the working directory. Values are read literally, or the start fails with the reason.
//!
//! `dotenvy` alone replaces `$word` by nothing, drops backslashes, truncates a value at its first space, and searches
//! all parent folders. So each line is parsed here, and passed to `dotenvy` quoted, so that nothing is left to
//! interpretation.

use std::path::Path;

use crate::error::FieldError;

/// A line `NAME=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileEntry {
    pub name: String,
    pub value: String,
    /// Line number, from one.
    pub line: usize,
}

/// Reads the file and sets variables that the environment lacks. A missing file is not an error.
///
/// # Errors
/// Every malformed line.
pub(super) fn load(path: &Path) -> Result<Vec<FileEntry>, Vec<FieldError>> {
    let unreadable = |error: &dyn std::fmt::Display| {
        let message = format!("cannot be read: {error}");
        vec![FieldError::new(path.display().to_string(), message)]
    };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&error)),
    };
    let entries = parse(&bytes)?;
    let quoted: String = entries.iter().map(quote).collect();
    dotenvy::from_read(quoted.as_bytes()).map_err(|error| unreadable(&error))?;
    Ok(entries)
}

/// Parses all lines.
///
/// # Errors
/// Each malformed line, by the name of its setting where it has one.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<FileEntry>, Vec<FieldError>> {
    let mut entries: Vec<FileEntry> = Vec::new();
    let mut field_errors = Vec::new();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (line, bytes) in (1..).zip(lines(bytes)) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            field_errors.push(field_error(
                &name_in(&String::from_utf8_lossy(bytes)),
                line,
                NOT_UTF8,
            ));
            continue;
        };
        match parse_line(text.trim()) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                if let Some(first) = entries.iter().find(|entry| entry.name == name) {
                    let message = format!("is set on line {}, too: keep one of them", first.line);
                    field_errors.push(field_error(&name, line, &message));
                }
                entries.push(FileEntry { name, value, line });
            }
            Err(message) => field_errors.push(field_error(&name_in(text), line, message)),
        }
    }
    if field_errors.is_empty() {
        Ok(entries)
    } else {
        Err(field_errors)
    }
}

/// The lines of a file, however they end: as on Unix, on Windows, or on old Macs, where a carriage return does alone.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        lines.push(&rest[..at]);
        let end = if rest[at..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        rest = &rest[at + end..];
    }
    lines.push(rest);
    lines
}

const NOT_UTF8: &str = "is not UTF-8 text: save the file as UTF-8";

fn field_error(name: &str, line: usize, message: &str) -> FieldError {
    FieldError::new(name, format!("{message} (line {line} of .env)"))
}

/// Text before the `=` of a line, to identify the line.
fn name_in(line: &str) -> String {
    let name = line.split('=').next().unwrap_or_default().trim();
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    match is_name(name) {
        true => name.to_owned(),
        false => ".env".to_owned(),
    }
}

fn is_name(text: &str) -> bool {
    let may_begin = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(may_begin)
        && text
            .chars()
            .all(|c| may_begin(c) || c.is_ascii_digit() || c == '.')
}

/// Parses a line into name and value. Returns `None` for empty lines and comments.
fn parse_line(line: &str) -> Result<Option<(String, String)>, &'static str> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.contains('\0') {
        return Err("has a zero byte in it");
    }
    let (name, value) = line
        .split_once('=')
        .ok_or("has a line that is neither NAME=value nor a comment")?;
    let name = name.trim();
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    if !is_name(name) {
        return Err("has a line whose name is not made of letters, digits and underscores");
    }
    Ok(Some((name.to_owned(), parse_value(value.trim())?)))
}

/// Parses a value: the content of its quotes, or all of it.
fn parse_value(value: &str) -> Result<String, &'static str> {
    if let Some(inner) = value.strip_prefix('\'') {
        return match inner.split_once('\'') {
            Some((inner, "")) => Ok(inner.to_owned()),
            Some((_, rest)) if is_comment(rest) => Err(COMMENT),
            // As in 'tis or 'a' and 'b': the quotes are part of the value.
            Some(_) => Ok(value.to_owned()),
            None => Err(OPEN_QUOTE),
        };
    }
    if let Some(inner) = value.strip_prefix('"') {
        return match unescape(inner)? {
            (inner, "") => Ok(inner),
            (_, rest) if is_comment(rest) => Err(COMMENT),
            // As in "Spirit Beads" <shop@example.com>: the quotes are part of the value.
            _ => Ok(value.to_owned()),
        };
    }
    let has_comment = value
        .char_indices()
        .any(|(at, c)| c == '#' && value[..at].ends_with(char::is_whitespace));
    if has_comment {
        return Err(COMMENT);
    }
    Ok(value.to_owned())
}

const OPEN_QUOTE: &str = "begins with a quote that is not closed";
const COMMENT: &str = "has a # after a space: put the value in quotes to keep all of it, or the comment on a line of its own";

fn is_comment(rest: &str) -> bool {
    rest.starts_with(char::is_whitespace) && rest.trim_start().starts_with('#')
}

/// Reads up to the closing double quote, and returns the content and the rest.
fn unescape(text: &str) -> Result<(String, &str), &'static str> {
    let mut inner = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((inner, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\' | '$' | '\''))) => inner.push(c),
                _ => {
                    return Err(
                        "has a backslash in double quotes: write it twice, or use single quotes",
                    );
                }
            },
            c => inner.push(c),
        }
    }
    Err(OPEN_QUOTE)
}

/// Formats an entry so that `dotenvy` reads it unchanged.
fn quote(entry: &FileEntry) -> String {
    let mut line = format!("{}=\"", entry.name);
    for c in entry.value.chars() {
        if matches!(c, '"' | '\\' | '$') {
            line.push('\\');
        }
        line.push(c);
    }
    line.push_str("\"\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<String, String> {
        match parse(format!("A={text}\n").as_bytes()) {
            Ok(entries) => Ok(entries[0].value.clone()),
            Err(field_errors) => Err(format!(
                "{}: {}",
                field_errors[0].field, field_errors[0].message
            )),
        }
    }

    /// Reads a quoted entry with `dotenvy`.
    fn read_back(value: &str) -> String {
        let entry = FileEntry {
            name: "A".to_owned(),
            value: value.to_owned(),
            line: 1,
        };
        let quoted = quote(&entry);
        let mut entries = dotenvy::from_read_iter(quoted.as_bytes());
        entries
            .next()
            .expect("an entry")
            .expect("a readable line")
            .1
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for (written, read) in [
            ("Spirit Beads", "Spirit Beads"),
            ("  Spirit Beads \r", "Spirit Beads"),
            (
                "Spirit Beads <shop@localhost>",
                "Spirit Beads <shop@localhost>",
            ),
            (
                "\"Spirit Beads\" <shop@localhost>",
                "\"Spirit Beads\" <shop@localhost>",
            ),
            (
                "smtp://shop:pa$word1@mail.example",
                "smtp://shop:pa$word1@mail.example",
            ),
            ("a${HOME}b$PATH$", "a${HOME}b$PATH$"),
            ("#bd4d28", "#bd4d28"),
            ("a#b", "a#b"),
            ("C:\\beads", "C:\\beads"),
            ("it's \"so\"", "it's \"so\""),
            ("'single $quotes \\ # kept'", "single $quotes \\ # kept"),
            (
                "\"double $quotes \\\\ \\\" \\$ # kept\"",
                "double $quotes \\ \" $ # kept",
            ),
            ("", ""),
            ("\"\"", ""),
            ("a=b", "a=b"),
            ("ein schönes Paßwort", "ein schönes Paßwort"),
        ] {
            assert_eq!(value(written).as_deref(), Ok(read), "{written}");
            assert_eq!(read_back(read), read, "{written}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name_and_line() {
        for (text, expected) in [
            ("X=1\nA=Beads #5", "A: has a # after a space"),
            ("A='Beads' # the name", "A: has a # after a space"),
            ("A=\"Beads", "A: begins with a quote that is not closed"),
            ("A='Beads", "A: begins with a quote that is not closed"),
            ("A=\"a\\d\"", "A: has a backslash in double quotes"),
            ("A=a\0", "A: has a zero byte"),
            ("X=1\nSpirit Beads", ".env: has a line that is neither"),
            ("A B=1", ".env: has a line whose name"),
            ("A=1\nB=2\nA=1", "A: is set on line 1, too"),
        ] {
            let field_errors = parse(text.as_bytes()).expect_err(text);
            let said = format!("{}: {}", field_errors[0].field, field_errors[0].message);
            assert!(said.starts_with(expected), "{text}: {said}");
            let line = format!("(line {} of .env)", text.lines().count());
            assert!(said.ends_with(&line), "{text}: {said}");
        }
        let field_errors = parse(b"A=caf\xe9").expect_err("no UTF-8");
        assert_eq!(field_errors[0].field, "A");
    }

    #[test]
    fn lines_end_as_on_any_machine() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["# a comment", "A=1", "", "B = 2 ", "C=3", ""].join(end);
            let entries = parse(text.as_bytes()).expect("readable");
            let read: Vec<(&str, &str, usize)> = entries
                .iter()
                .map(|entry| (entry.name.as_str(), entry.value.as_str(), entry.line))
                .collect();
            assert_eq!(
                read,
                [("A", "1", 2), ("B", "2", 4), ("C", "3", 5)],
                "{end:?}"
            );
        }
        let field_errors = parse(b"A=1\rSpirit Beads\r").expect_err("no setting");
        assert!(
            field_errors[0].message.ends_with("(line 2 of .env)"),
            "{field_errors:?}"
        );
    }

    #[test]
    fn comments_and_the_words_of_shells_are_read_as_ever() {
        let text = "\u{feff}# a comment\n\n  # another\nexport A=1\n B = 2 \nC=3";
        let entries = parse(text.as_bytes()).expect("readable");
        let read: Vec<(&str, &str, usize)> = entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.value.as_str(), entry.line))
            .collect();
        assert_eq!(read, [("A", "1", 4), ("B", "2", 5), ("C", "3", 6)]);
    }
}
