//! That `SECURITY.md` is true: each test that it names exists.

use std::path::Path;

#[test]
fn every_guard_of_the_threat_model_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| {
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let text = read(&root.join("SECURITY.md"));
    let guards: Vec<(&str, &str)> = text
        .split('`')
        .filter_map(|word| word.split_once(".rs::"))
        .collect();
    assert!(guards.len() > 30, "{}", guards.len());
    for (file, test) in guards {
        let source = read(&root.join("tests").join(format!("{file}.rs")));
        let is_there = ["async fn", "fn"]
            .iter()
            .any(|keyword| source.contains(&format!("\n{keyword} {test}()")));
        assert!(is_there, "{file}.rs has no test {test}");
    }
}
