//! Imports inside the folders of src, held against circles: a file that needs another is above it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::modules::{code, files};

/// A module by its names from the crate's root.
type Module = Vec<String>;

/// Imports of a module: those of its own, and those that it passes on (`pub use`).
#[derive(Default)]
struct Imports {
    own: Vec<Vec<String>>,
    passed_on: Vec<Vec<String>>,
}

/// Splits `a::{b, c::{d, e}}` into `a::b`, `a::c::d`, `a::c::e`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<Vec<String>>) {
    let Some((head, group)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap_or_default();
        let path = format!("{prefix}{name}");
        let names = path.split("::").map(str::trim);
        let names = names.filter(|name| !name.is_empty() && *name != "self");
        paths.push(names.map(str::to_owned).collect());
        return;
    };
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let mut depth = 0;
    let parts = group.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        expand(&format!("{prefix}{}", head.trim()), part, paths);
    }
}

fn imports(text: &str) -> Imports {
    let text = code(text);
    let text = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let mut imports = Imports::default();
    let mut rest = String::new();
    for statement in text.split_inclusive(';') {
        let Some((before, tree)) = statement.rsplit_once("use ") else {
            rest += statement;
            continue;
        };
        let line = before.rsplit('\n').next().unwrap_or_default().trim();
        let tree = tree.trim_end_matches(';').trim();
        match line {
            "" => expand("", tree, &mut imports.own),
            public if public.starts_with("pub") => expand("", tree, &mut imports.passed_on),
            _ => rest += statement,
        }
        rest += before;
    }
    let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    for word in rest.split(|c| !is_path(c)) {
        if word.starts_with("super::") || word.starts_with("crate::") {
            expand("", word.trim_end_matches(':'), &mut imports.own);
        }
    }
    imports
}

/// The crate's modules with their imports.
struct Crate(BTreeMap<Module, Imports>);

impl Crate {
    fn read(src: &Path) -> Crate {
        let mut found = Vec::new();
        files(src, &mut found);
        let modules = found.iter().map(|path| {
            let inside = path.strip_prefix(src).expect("below src");
            let mut module: Module = inside
                .with_extension("")
                .iter()
                .map(|part| part.to_str().expect("UTF-8").to_owned())
                .collect();
            if matches!(
                module.last().map(String::as_str),
                Some("mod" | "lib" | "main")
            ) {
                module.pop();
            }
            let text = std::fs::read_to_string(path).expect("a source file");
            (module, imports(&text))
        });
        Crate(modules.collect())
    }

    /// The module that a path leads to, through `pub use`, as seen from a module. `None` outside the crate.
    fn target(&self, from: &[String], path: &[String], depth: usize) -> Option<Module> {
        let mut path = path.iter().peekable();
        let mut at: Module = from.to_vec();
        match path.peek().map(|name| name.as_str())? {
            "crate" => {
                path.next();
                at.clear();
            }
            "super" => {
                while path.next_if(|name| *name == "super").is_some() {
                    at.pop();
                }
            }
            name => {
                at.push(name.to_owned());
                if !self.0.contains_key(&at) {
                    return None;
                }
                path.next();
            }
        }
        for name in path {
            at.push(name.clone());
            if self.0.contains_key(&at) {
                continue;
            }
            at.pop();
            let passed_on = &self.0.get(&at)?.passed_on;
            let source = passed_on.iter().find(|path| path.last() == Some(name));
            return match source.filter(|_| depth < 5) {
                Some(source) => self.target(&at, source, depth + 1).or(Some(at)),
                None => Some(at),
            };
        }
        Some(at)
    }

    /// The files and folders of a folder that need each other in a circle.
    fn circle(&self, folder: &[String]) -> BTreeSet<String> {
        let inside = |module: &Module| -> Option<String> {
            module
                .starts_with(folder)
                .then(|| module.get(folder.len()).cloned())?
        };
        let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, imports) in &self.0 {
            let Some(own) = inside(module) else { continue };
            let targets = imports
                .own
                .iter()
                .filter_map(|path| self.target(module, path, 0));
            let others = targets.filter_map(|target| inside(&target));
            let others: Vec<String> = others.filter(|other| *other != own).collect();
            needs.entry(own).or_default().extend(others);
        }
        // What needs nothing that is left, or is needed by nothing that is left, is in no circle.
        loop {
            let left: BTreeSet<String> = needs.keys().cloned().collect();
            let needed: BTreeSet<String> = needs.values().flatten().cloned().collect();
            needs.retain(|own, others| {
                needed.contains(own) && others.iter().any(|other| left.contains(other))
            });
            if needs.len() == left.len() {
                return left;
            }
        }
    }
}

#[test]
fn no_files_of_a_folder_import_each_other_in_a_circle() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let all = Crate::read(&src);
    let folders: BTreeSet<&[String]> = all
        .0
        .keys()
        .filter_map(|module| Some(module.split_last()?.1))
        .collect();
    let folders: Vec<_> = folders
        .into_iter()
        .filter(|folder| !folder.is_empty())
        .collect();
    assert!(
        folders.len() > 20,
        "only {} folders were seen",
        folders.len()
    );
    let circles: Vec<String> = folders
        .iter()
        .filter_map(|folder| {
            let circle = all.circle(folder);
            (!circle.is_empty()).then(|| format!("{}: {circle:?}", folder.join("::")))
        })
        .collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn a_circle_would_be_seen() {
    let files = [
        (
            vec!["a"],
            "mod b; mod c; mod d; pub use c::Thing; pub use d::Leaf;",
        ),
        (vec!["a", "b"], "use super::{Leaf, Thing as Other};"),
        (vec!["a", "c"], "fn f() { crate::a::b::g() }"),
        (vec!["a", "d"], "use crate::x; // super::b"),
    ];
    let modules = files.map(|(module, text)| {
        let module: Module = module.into_iter().map(str::to_owned).collect();
        (module, imports(text))
    });
    let circle = Crate(modules.into_iter().collect()).circle(&["a".to_owned()]);
    let circle: Vec<&str> = circle.iter().map(String::as_str).collect();
    assert_eq!(circle, ["b", "c"]);
}
