//! The map of modules in src/lib.rs, held against the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The module's level in the map: 0 is the top one.
fn map(lib: &str) -> BTreeMap<String, usize> {
    let lines = lib.lines().filter(|line| line.starts_with("//! - [`"));
    let mut levels = BTreeMap::new();
    for (level, line) in lines.enumerate() {
        // The first link of a line may stand for several modules; links behind the colon explain.
        let named = line.split_once("`]: ").map_or(line, |(named, _)| named);
        for name in named.split("[`").skip(1) {
            let name = name.split('`').next().expect("split gives one part");
            assert!(
                levels.insert(name.to_owned(), level).is_none(),
                "{name} is in the map twice"
            );
        }
    }
    levels
}

/// The code without comments. Strings stay: none of ours names a module.
fn code(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The top-level modules that a text names: `crate::name` and `use crate::{name, …}`.
fn named(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let (group, _) = match rest.strip_prefix('{') {
            Some(group) => group.split_once("};").unwrap_or((group, "")),
            None => (rest, ""),
        };
        let mut depth = 0;
        let parts = group.split(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            rest.starts_with('{') && c == ',' && depth == 0
        });
        for part in parts {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let name = part
                .trim()
                .split(|c| !is_name(c))
                .next()
                .unwrap_or_default();
            names.insert(name.to_owned());
        }
    }
    names
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn a_module_imports_only_from_modules_below_it_in_the_map() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = std::fs::read_to_string(src.join("lib.rs")).expect("lib.rs");
    let levels = map(&lib);
    let modules: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let mapped: BTreeSet<&str> = levels.keys().map(String::as_str).collect();
    assert_eq!(modules, mapped, "the modules, and those of the map");

    let mut found = Vec::new();
    files(&src, &mut found);
    let (mut upward, mut imports) = (Vec::new(), 0);
    for path in found {
        let inside = path.strip_prefix(&src).expect("below src");
        let top = inside
            .iter()
            .next()
            .and_then(|part| part.to_str())
            .expect("UTF-8");
        let top = top.trim_end_matches(".rs");
        let Some(own) = levels.get(top) else { continue };
        let text = std::fs::read_to_string(&path).expect("a source file");
        for name in named(&code(&text)) {
            let Some(level) = levels.get(&name).filter(|_| name != top) else {
                continue;
            };
            imports += 1;
            if level <= own {
                upward.push(format!("{} imports {name}", inside.display()));
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
    assert!(imports > 500, "only {imports} imports were seen");
}

#[test]
fn an_import_upward_would_be_seen() {
    let levels = map("//! - [`admin`]: pages\n//! - [`ids`], [`money`]: values");
    assert_eq!((levels["admin"], levels["ids"], levels["money"]), (0, 1, 1));
    let text = "use crate::admin::Form; // crate::worker\nuse crate::{audit, orders::{self, Line}, money};\nlet a = crate::db::open();";
    let names: Vec<_> = named(&code(text)).into_iter().collect();
    assert_eq!(names, ["admin", "audit", "db", "money", "orders"]);
}

/// Folders whose files still import each other in a circle.
const CIRCLES: [&str; 8] = [
    "admin", "auth", "config", "db", "emails", "images", "payments", "types",
];

/// The module of a source file: `products/store.rs` and `products/mod.rs` are `products::store` and `products`.
fn module(inside: &Path) -> Vec<String> {
    let without_ending = inside.with_extension("");
    let parts = without_ending.iter().filter_map(|part| part.to_str());
    parts
        .filter(|part| *part != "mod")
        .map(str::to_owned)
        .collect()
}

/// Every path that begins a text, with its groups resolved: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(text: &str) -> Vec<Vec<String>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some(group) = text.trim_start().strip_prefix('{') {
        let (mut depth, mut start, mut paths) = (0, 0, Vec::new());
        for (at, c) in group.char_indices() {
            if depth == 0 && (c == ',' || c == '}') {
                paths.extend(expand(&group[start..at]));
                start = at + 1;
            }
            if depth == 0 && c == '}' {
                break;
            }
            depth += i32::from(c == '{') - i32::from(c == '}');
        }
        return paths;
    }
    let text = text.trim_start();
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, rest) = (text[..end].to_owned(), &text[end..]);
    let Some(rest) = rest.strip_prefix("::") else {
        return vec![vec![name]];
    };
    let mut paths = expand(rest);
    for path in &mut paths {
        path.insert(0, name.clone());
    }
    paths
}

/// The modules below `own`'s top-level module that its code names, by the longest path that is one. What a module
/// re-exports, it does not use.
fn used(own: &[String], code: &str, all: &BTreeSet<Vec<String>>) -> BTreeSet<Vec<String>> {
    let statements = code.split_inclusive(';');
    let code: String = statements
        .filter(|statement| {
            let statement = statement.trim_start();
            !(statement.starts_with("pub use ") || statement.starts_with("pub(super) use "))
        })
        .collect();
    let children: BTreeSet<&str> = code
        .lines()
        .filter_map(|line| {
            line.trim_start_matches("pub ")
                .strip_prefix("mod ")?
                .strip_suffix(';')
        })
        .collect();
    let mut modules = BTreeSet::new();
    for (at, _) in code.match_indices("::") {
        let start = code[..at].rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let start = start.map_or(0, |at| at + 1);
        if code[..start].ends_with(':') {
            continue;
        }
        for path in expand(&code[start..]) {
            let up = path.iter().take_while(|part| *part == "super").count();
            let mut full = match path[0].as_str() {
                "crate" => path[1..].to_vec(),
                "super" => [&own[..own.len().saturating_sub(up)], &path[up..]].concat(),
                name if children.contains(name) => [own, &path].concat(),
                _ => continue,
            };
            while !full.is_empty() && !all.contains(&full) {
                full.pop();
            }
            if full.first() == own.first() && full != own {
                modules.insert(full);
            }
        }
    }
    modules
}

#[test]
fn files_of_a_folder_do_not_import_each_other_in_a_circle() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&src, &mut found);
    let texts: BTreeMap<Vec<String>, String> = found
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).expect("a source file");
            let tested = text.split("#[cfg(test)]").next().unwrap_or_default();
            let inside = path.strip_prefix(&src).expect("below src");
            (module(inside), code(tested))
        })
        .collect();
    let all: BTreeSet<Vec<String>> = texts.keys().cloned().collect();
    let uses: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> = texts
        .iter()
        .map(|(own, code)| (own, used(own, code, &all)))
        .collect();
    assert!(uses.values().map(BTreeSet::len).sum::<usize>() > 300);
    let mut circles = Vec::new();
    for own in &all {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&Vec<String>> = uses[own].iter().collect();
        while let Some(module) = next.pop() {
            if reached.insert(module) {
                next.extend(&uses[module]);
            }
        }
        if reached.contains(own) && !CIRCLES.contains(&own[0].as_str()) {
            circles.push(own.join("::"));
        }
    }
    assert!(circles.is_empty(), "in a circle: {circles:#?}");
}

#[test]
fn a_use_of_a_neighbor_would_be_seen() {
    let path = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
    let all: BTreeSet<_> = ["a", "a::b", "a::c", "a::d", "e"].map(path).into();
    let text = "mod d;\npub use d::X;\nuse super::{Y, c::{self, Z}};\nuse crate::e::F;\nfn f() { crate::a::go() }";
    let names: Vec<String> = used(&path("a::b"), text, &all)
        .iter()
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(names, ["a", "a::c"]);
    let names = used(&path("a"), "mod d;\nfn f() { d::go() }", &all);
    assert_eq!(names, BTreeSet::from([path("a::d")]));
}
