//! The documents, held against the program: commands, settings, scopes, error codes, metrics, Stripe's events, and the
//! commands that run tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use spirit_beads::auth::Scope;

use super::{code, documents, ends_with, files, root, text_of};

/// Standard output of the program with these arguments.
fn output(arguments: &[&str]) -> String {
    let output = Command::new(crate::support::program())
        .args(arguments)
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("help in UTF-8")
}

/// The subcommands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    list.take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Every command of the program, as `token create`, with its help text.
fn commands() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for name in subcommands(&output(&["--help"])) {
        let help = output(&[&name, "--help"]);
        let below = subcommands(&help);
        for inner in &below {
            found.insert(format!("{name} {inner}"), output(&[&name, inner, "--help"]));
        }
        if below.is_empty() {
            found.insert(name, help);
        }
    }
    found
}

/// The options that a text names, as `--media`.
fn options(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_lowercase() || c == '-'))
        .filter(|word| word.len() > 3 && word.starts_with("--"))
        .filter(|word| word.as_bytes()[2] != b'-' && *word != "--help")
        .collect()
}

#[test]
fn the_page_of_commands_lists_every_command_and_option() {
    let page = text_of("docs/cli.md");
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let commands = commands();
    assert!(commands.len() > 15, "{:?}", commands.keys());
    for (command, help) in &commands {
        let name = format!("`spirit-beads {command}");
        let is_named = |row: &&&str| {
            let mut uses = row.split(name.as_str()).skip(1);
            uses.any(|rest| rest.starts_with(['`', ' ']))
        };
        let row = rows.iter().find(is_named);
        let row = row.unwrap_or_else(|| panic!("not in docs/cli.md: {command}"));
        assert_eq!(options(row), options(help), "{command}");
    }
}

#[test]
fn every_command_that_a_document_names_exists() {
    let commands = commands();
    let groups: BTreeSet<&str> = commands
        .keys()
        .filter_map(|command| Some(command.split_once(' ')?.0))
        .collect();
    let is_word = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let mut count = 0;
    for (document, text) in documents() {
        for line in code(&text) {
            for start in ["spirit-beads ", "cargo run -- ", "cargo run -q -- "] {
                for rest in line.split(start).skip(1) {
                    let mut words = rest.split([' ', '`', ')', '"']).take_while(is_word);
                    let Some(first) = words.next().filter(|word| !word.is_empty()) else {
                        continue;
                    };
                    let name = match words.next() {
                        Some(second) if groups.contains(first) => format!("{first} {second}"),
                        _ => first.to_owned(),
                    };
                    let is_known = commands.contains_key(&name) || groups.contains(&*name);
                    assert!(is_known || name == "help", "{document}: {line}");
                    count += 1;
                }
            }
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn the_page_of_settings_lists_those_of_the_example_file_with_their_defaults() {
    let is_name = |name: &str| {
        let is_of_it = |b: u8| b.is_ascii_uppercase() || b == b'_';
        name.len() > 3 && name.bytes().all(is_of_it)
    };
    let example = text_of(".env.example");
    let settings: BTreeMap<&str, &str> = example
        .lines()
        .filter_map(|line| line.trim_start_matches("# ").split_once('='))
        .filter(|(name, _)| is_name(name))
        .collect();
    let page = text_of("docs/configuration.md");
    let mut listed = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let names: Vec<&str> = code(cells[0])
            .into_iter()
            .filter(|name| is_name(name))
            .collect();
        for name in &names {
            assert!(listed.insert(*name), "twice: {name}");
            let value = settings.get(name).copied();
            let value = value.unwrap_or_else(|| panic!("no setting: {name}"));
            // A default is a value, or a description of what holds without one.
            let default = cells[1].trim();
            let default = code(default).first().copied().unwrap_or(default);
            let is_value = default.starts_with(|c: char| c.is_ascii_digit());
            assert!(!is_value || value == default, "{name}: {default}");
        }
    }
    let all: BTreeSet<&str> = settings.into_keys().collect();
    assert_eq!(listed, all);
}

#[test]
fn the_page_of_the_api_lists_every_scope() {
    let page = text_of("docs/api.md");
    let (_, rest) = page.split_once("## Scopes\n").expect("a section of scopes");
    let scopes = rest.split("\n## ").next().unwrap_or_default();
    let listed: BTreeSet<&str> = scopes
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(
        listed,
        Scope::ALL.iter().map(|scope| scope.as_str()).collect()
    );
}

/// The program's own source.
fn sources() -> String {
    let is_ours = |path: &Path| {
        let is_test = path.starts_with(root().join("tests"));
        ends_with(path, &["rs"]) && !is_test
    };
    let read = |path| std::fs::read_to_string(path).expect("a source in UTF-8");
    files(is_ours).into_iter().map(read).collect()
}

#[test]
fn every_metric_that_a_document_names_is_one_of_the_program() {
    let program = sources();
    let endings = ["", "_total", "_count", "_bucket", "_info"];
    let mut names = BTreeSet::new();
    for (_, text) in documents() {
        for span in code(&text) {
            let words = span.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
            names.extend(words.filter_map(|word| Some(word.strip_prefix("shop_")?.to_owned())));
        }
    }
    let names: Vec<String> = names.into_iter().filter(|name| !is_prefix(name)).collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        let is_known = endings
            .iter()
            .filter_map(|ending| name.strip_suffix(ending))
            .any(|name| program.contains(&format!("\"{name}\"")));
        assert!(is_known, "shop_{name}");
    }
}

/// Returns true for the beginning of several metrics' names, as the page calls them together, and for fields of settings.
fn is_prefix(name: &str) -> bool {
    [
        "http",
        "job_duration",
        "cart_lines",
        "stripe_events_received",
        "name",
    ]
    .contains(&name)
}

#[test]
fn every_metric_of_the_database_is_on_the_page() {
    let page = text_of("docs/monitoring.md");
    let health = sources();
    let table = health.split_once("const FIGURES").map(|(_, rest)| rest);
    let table = table.and_then(|rest| rest.split("];").next());
    let rows = table.expect("the table of figures").lines();
    let names: Vec<&str> = rows
        .filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next())
        .collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`shop_{name}`")), "{name}");
    }
}

#[test]
fn every_test_command_of_a_document_runs_a_test() {
    let program = std::env::current_exe().expect("this program");
    let list = Command::new(program)
        .args(["--list", "--format", "terse"])
        .output()
        .expect("its list");
    let list = String::from_utf8(list.stdout).expect("names in UTF-8");
    let mut texts = documents();
    for name in ["justfile", ".ci/run"] {
        texts.insert(name.to_owned(), text_of(name));
    }
    let mut count = 0;
    for (document, text) in &texts {
        for command in text.split("cargo test --test ").skip(1) {
            let mut words = command.split([' ', '`', '\n']);
            let target = words.next().unwrap_or_default();
            assert_eq!(target, env!("CARGO_CRATE_NAME"), "{document}");
            let filter = words.next().unwrap_or_default();
            assert!(list.contains(filter), "{document}: no test {filter}");
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn the_events_that_an_endpoint_is_made_for_are_those_that_are_handled() {
    let page = text_of("docs/operations.md");
    let section = page.split_once("\n## Stripe\n").map(|(_, rest)| rest);
    let section = section.expect("a section on Stripe");
    let list = section.lines().skip_while(|line| !line.starts_with("- "));
    let list: Vec<&str> = list.take_while(|line| !line.is_empty()).collect();
    let listed: BTreeSet<&str> = list.iter().flat_map(|line| code(line)).collect();

    let program = sources();
    let table = program.split_once("const HANDLED").map(|(_, rest)| rest);
    let table = table.and_then(|rest| rest.split("];").next());
    let handled = table.expect("the table of events").split('"');
    assert_eq!(listed, handled.skip(1).step_by(2).collect());
}

/// A dependency of the tests turns the feature on for them, so no other test sees that the program lacks it.
#[test]
fn the_program_keeps_the_order_of_keys_as_its_tests_do() {
    let manifest = text_of("Cargo.toml");
    let (_, ours) = manifest
        .split_once("\n[dependencies]\n")
        .expect("the dependencies");
    let ours = ours.split("\n[").next().expect("their end");
    let line = ours.lines().find(|line| line.starts_with("serde_json"));
    assert!(
        line.is_some_and(|line| line.contains("\"preserve_order\"")),
        "without it, `cargo build` sorts the keys of errors by name: {line:?}"
    );
}

#[test]
fn every_check_of_the_justfile_is_one_of_ci() {
    let ci = text_of(".ci/run");
    let checks = ["cargo fmt", "cargo clippy", "cargo doc"];
    let recipes = text_of("justfile");
    let lines = recipes.lines().map(str::trim);
    let lines: Vec<&str> = lines
        .filter(|line| checks.iter().any(|check| line.contains(check)))
        .collect();
    assert_eq!(lines.len(), checks.len(), "{lines:?}");
    for line in lines {
        assert!(ci.lines().any(|step| step == line), "{line}");
    }
}
