//! The documents, held against the repository: links, and files that comments cite.

mod circles;
mod error_codes;
mod modules;
mod program;
mod security;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Folders below the root that hold other things than our texts.
const FOREIGN: [&str; 3] = ["target", "data", "tests/data/axe-core"];

/// Endings of files whose comments may cite a document.
const SOURCES: [&str; 9] = [
    "rs", "sql", "toml", "py", "html", "js", "css", "yml", "json5",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Paths of all files of the repository that `wanted` accepts, without those of other people.
fn files(wanted: fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry of the folder").path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.expect("a name in UTF-8");
            if path.is_dir() {
                let is_hidden = name.starts_with('.') && ![".ci", ".github"].contains(&name);
                let is_foreign = FOREIGN.iter().any(|foreign| path == root().join(foreign));
                if !is_hidden && !is_foreign {
                    folders.push(path);
                }
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn ends_with(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| endings.contains(&ending))
}

/// Every document, by its path from the root of the repository.
fn documents() -> BTreeMap<String, String> {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a document in UTF-8");
        let name = path.strip_prefix(root()).expect("a path below the root");
        (name.display().to_string(), text)
    };
    files(|path| ends_with(path, &["md"]))
        .into_iter()
        .map(read)
        .collect()
}

/// The lines of a document that are not in a code block.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The contents of code spans and code blocks, a span or a line each.
fn code(text: &str) -> Vec<&str> {
    let mut is_block = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if is_block {
            found.push(line);
        } else {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// A line without its code spans.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// Targets of the links and images of a document, written as Markdown or as HTML.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text).map(without_code) {
        for (before, after) in [("](", ")"), ("src=\"", "\""), ("href=\"", "\"")] {
            let targets = line.split(before).skip(1);
            found.extend(targets.filter_map(|rest| Some(rest.split_once(after)?.0.to_owned())));
        }
        let reference = line
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]: "));
        found.extend(reference.map(|(_, target)| target.to_owned()));
    }
    found
}

/// The anchors of a document, as GitHub makes them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in prose(text) {
        let Some(heading) = line.starts_with('#').then(|| line.trim_start_matches('#')) else {
            continue;
        };
        let heading = heading.trim().to_lowercase();
        let anchor: String = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let repeated = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(repeated);
        found.extend(free.into_iter().find(|anchor| !found.contains(anchor)));
    }
    found
}

/// A path without `.` and `..`; None where it leaves the repository.
fn plain(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            _ => {}
        }
    }
    Some(parts.join("/"))
}

/// Complaint about a link of the document of this name; None where it leads somewhere, or away from the repository.
fn broken(documents: &BTreeMap<String, String>, name: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    let target = match file {
        "" => Some(name.to_owned()),
        _ => plain(&folder.join(file)),
    };
    let complaint = match target {
        None => "leaves the repository",
        Some(target) if !root().join(&target).exists() => "leads to no file",
        Some(_) if anchor.is_empty() => return None,
        Some(target) => match documents.get(&target) {
            Some(text) if anchors(text).contains(anchor) => return None,
            Some(_) => "names no heading",
            // A line of a source file.
            None => return None,
        },
    };
    Some(format!("{name}: {link} {complaint}"))
}

#[test]
fn every_link_of_a_document_leads_to_a_file_and_a_heading() {
    let documents = documents();
    assert!(documents.len() > 15, "{:?}", documents.keys());
    let mut count = 0;
    let mut complaints = Vec::new();
    for (name, text) in &documents {
        for link in links(text) {
            count += 1;
            complaints.extend(broken(&documents, name, &link));
        }
    }
    assert!(count > 50, "{count}");
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn a_broken_link_is_noticed() {
    let text = "# One thing, twice\n\n# One thing, twice\n\n[a](b.md) `[c](d.md)` <img src=\"e.png\">\n```\n[f](g.md)\n```\n[h]: i.md\n";
    assert_eq!(links(text), ["b.md", "e.png", "i.md"]);
    let both = ["one-thing-twice", "one-thing-twice-1"];
    assert!(anchors(text).iter().eq(both.iter()));
    let documents = BTreeMap::from([("docs/guarantees.md".to_owned(), text.to_owned())]);
    for (link, complaint) in [
        ("../README.md", None),
        ("https://example.com/nothing.md", None),
        ("#one-thing-twice-1", None),
        ("#two-things", Some("names no heading")),
        ("nothing.md", Some("leads to no file")),
        ("../../elsewhere.md", Some("leaves the repository")),
    ] {
        let said = broken(&documents, "docs/guarantees.md", link);
        let expected = complaint.map(|complaint| format!("docs/guarantees.md: {link} {complaint}"));
        assert_eq!(said, expected);
    }
}

#[test]
fn every_document_that_a_comment_cites_is_in_the_repository() {
    let is_source = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        let bare = [
            "run",
            "schemathesis",
            "screenshots",
            "Dockerfile",
            "justfile",
        ];
        ends_with(path, &SOURCES) || name.is_some_and(|name| bare.contains(&name))
    };
    let is_end = |c: char| !(c.is_alphanumeric() || "._-/:".contains(c));
    let mut count = 0;
    let mut complaints = Vec::new();
    for path in files(is_source) {
        if path.ends_with("tests/it/docs/mod.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source in UTF-8");
        let folder = path.parent().expect("a file lies in a folder");
        for word in text.split(is_end) {
            let word = word.trim_end_matches(['.', ':', '/']);
            if word.contains("../shared") {
                complaints.push(format!("{}: {word}", path.display()));
            }
            if !word.ends_with(".md") || word.contains("://") || word.len() == 3 {
                continue;
            }
            count += 1;
            if !root().join(word).is_file() && !folder.join(word).is_file() {
                complaints.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(count > 5, "{count}");
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn the_readme_is_short_and_links_to_every_page() {
    let readme = text_of("README.md");
    let (lines, words) = (readme.lines().count(), readme.split_whitespace().count());
    assert!(lines <= 150 && words <= 900, "{lines} lines, {words} words");
    let links = links(&readme);
    for name in documents().keys().filter(|name| name.starts_with("docs/")) {
        assert!(links.contains(name), "{name}");
    }
}

#[test]
fn the_leftovers_of_tests_are_counted() {
    let tests = files(|path| ends_with(path, &["rs"]) && path.starts_with(root().join("tests/it")));
    let text: String = tests
        .iter()
        .filter(|path| !path.starts_with(root().join("tests/it/support")))
        .map(|path| std::fs::read_to_string(path).expect("a source in UTF-8"))
        .collect();
    let page = text_of("docs/testing.md");
    for leftover in ["FailedJobs", "UnsettledMoney", "WrongBooks", "BrokenShop"] {
        let count = text
            .matches(&format!("leaves(Leftover::{leftover})"))
            .count();
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{leftover}` |")));
        let told = row.and_then(|row| row.trim_end_matches(" |").rsplit("| ").next());
        assert_eq!(told, Some(count.to_string().as_str()), "{leftover}");
    }
}

#[test]
fn every_quirk_of_the_old_shop_has_the_tests_that_the_page_names() {
    let page = text_of("docs/testing.md");
    let (_, table) = page
        .split_once("| quirk of the old shop | test |\n")
        .expect("the table");
    let rows: Vec<&str> = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() > 25, "{rows:#?}");
    let sources = files(|path| ends_with(path, &["rs"]));
    let text: String = sources
        .iter()
        .map(|path| std::fs::read_to_string(path).expect("a source in UTF-8"))
        .collect();
    for row in rows {
        let named = row.trim_end_matches(" |").rsplit(" | ").next();
        let named: Vec<&str> = named.into_iter().flat_map(code).collect();
        assert!(!named.is_empty(), "{row}");
        for name in named {
            let is_test = text.contains(&format!("fn {name}()"));
            let ends = [format!("{name}.rs"), format!("{name}/mod.rs")];
            let is_module = sources
                .iter()
                .filter(|path| path.starts_with(root().join("tests/it")))
                .any(|path| ends.iter().any(|end| path.ends_with(end)));
            assert!(is_test || is_module, "{name}");
        }
    }
}

#[test]
fn each_folder_of_snapshots_is_compared_by_one_test() {
    let tests = root().join("tests/it");
    let text: String = files(|path| path.ends_with("snapshots.rs"))
        .iter()
        .map(|path| std::fs::read_to_string(path).expect("a source in UTF-8"))
        .collect();
    let folders: BTreeSet<PathBuf> = files(|path| ends_with(path, &["snap"]))
        .iter()
        .map(|path| path.parent().expect("a file lies in a folder").to_owned())
        .collect();
    assert!(folders.len() > 5, "{folders:?}");
    for folder in folders {
        let name = folder.strip_prefix(&tests).ok().and_then(Path::to_str);
        let name = name.and_then(|name| name.strip_suffix("/snapshots"));
        let name = name.unwrap_or_else(|| panic!("{} has snapshots", folder.display()));
        let count = text.matches(&format!("Snapshots::of(\"{name}\")")).count();
        assert_eq!(count, 1, "tests that compare the snapshots of {name}");
    }
}
