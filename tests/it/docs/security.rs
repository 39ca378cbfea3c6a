//! Truth of `SECURITY.md`: each test that it names is run.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The tests of this program that a plain run of it runs: what is only written in a file, commented out, left out of the
/// module tree, or ignored, is none of them.
fn tests_that_run() -> BTreeSet<String> {
    let list = |arguments: &[&str]| -> BTreeSet<String> {
        let program = std::env::current_exe().expect("this program");
        let output = Command::new(program)
            .args(["--list", "--format", "terse"])
            .args(arguments)
            .output()
            .expect("its list");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
        names.map(str::to_owned).collect()
    };
    &list(&[]) - &list(&["--ignored"])
}

/// The tests that a text names, as `it/system/rate_limits.rs::a_bot_does_not_empty_the_shelves`, by the names that they have in the
/// program.
fn named(text: &str) -> Vec<String> {
    let guards = text.split('`').filter_map(|word| word.split_once(".rs::"));
    let path = |(file, test): (&str, &str)| {
        let file = file.strip_prefix("it/").or(file.strip_prefix("tests/it/"));
        let module = file.map(|file| file.trim_end_matches("/mod").replace('/', "::"));
        let module = module.unwrap_or_else(|| panic!("a test of another program: {test}"));
        format!("{module}::{test}")
    };
    guards.map(path).collect()
}

#[test]
fn every_guard_of_the_threat_model_is_run() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md");
    let text = std::fs::read_to_string(file).expect("the threat model");
    let guards = named(&text);
    assert!(guards.len() > 30, "{}", guards.len());
    let run = tests_that_run();
    let missing: Vec<&String> = guards.iter().filter(|test| !run.contains(*test)).collect();
    assert!(missing.is_empty(), "never run: {missing:#?}");
}

#[test]
fn a_guard_that_is_not_run_is_missed() {
    let run = tests_that_run();
    for (word, is_run) in [
        (
            "`it/docs/security.rs::a_guard_that_is_not_run_is_missed`",
            true,
        ),
        ("`it/docs/security.rs::a_guard_that_is_not_run`", false),
        // It is a function and no test, and this one is ignored.
        ("`it/docs/security.rs::tests_that_run`", false),
        ("`it/chaos/mod.rs::long`", false),
    ] {
        let names = named(word);
        assert_eq!(run.contains(&names[0]), is_run, "{word}");
    }
}
