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
pub fn code(text: &str) -> String {
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

pub fn files(folder: &Path, found: &mut Vec<PathBuf>) {
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
    assert!(modules.len() <= 27, "{} top-level modules", modules.len());

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
