# Daily commands: `cargo install just`, then `just`. No build and no test depends on this file; `.ci/run` runs the same commands.

# List the recipes
default:
    @just --list --unsorted

# Run a whole shop: own PostgreSQL, Stripe sandbox, demo catalog
run *arguments:
    cargo run -- {{ arguments }}

# Tests that work hard, or wait for time-outs and second tries, by parts of their names
slow := "images:: process:: admin::guessing:: checkout::keys:: checkout::oversell:: custom_orders::links:: custom_orders::refunds:: emails::connections:: emails::delivery:: payments::faults:: payments::refunds::planned:: system::access:: system::database_checks:: system::health:: every_form:: poolers:: database_outages:: hostile_connections:: migrations:: bad_input::oddities:: to_ship:: stripe_requests:: page_size_is_1_to_100 nothing_that_a_visitor_types a_misspelling_is_answered a_request_that_never_finishes a_course_told_in_any_order a_newer_one_are_told_apart_in_any_order five_hundred_products ten_images_of_seven copies_share_a_folder by_every_kind_of_line page_by_page_and_not_for_ever without_our_own_forms_token withdrawals_and_payments_at_once"

# Run the tests, without the slow ones below
test *arguments:
    cargo test {{ arguments }} -- --skip chaos:: --skip fuzz:: --skip browser:: $(printf -- ' --skip %s' {{ slow }})

# Run the tests that wait long, or try very much
slow *arguments:
    cargo test --lib --test it every_form:: -- {{ slow }} {{ arguments }}

# Break everything while people buy, then compare the books
chaos *arguments:
    cargo test --test it chaos:: -- {{ arguments }}

# Feed the shop input that nobody would write
fuzz *arguments:
    cargo test --test it fuzz:: -- {{ arguments }}

# Walk the admin in a headless Chromium
browser *arguments:
    BROWSER_TESTS=required cargo test --test it browser:: -- {{ arguments }}

# Measure: more requests than can be served, then memory under load
bench seconds="10":
    RUSH_SECONDS={{ seconds }} cargo test --test it rush -- --nocapture
    LOAD_SECONDS={{ seconds }} cargo test --test it memory_stays_flat -- --nocapture

# Measure reads of the catalog beside a server that answers the same bytes from memory
bench-reads seconds="5":
    cargo build --release --locked -p spirit-beads -p read-bench
    target/release/read-bench target/release/spirit-beads {{ seconds }}

# Measure an import of 500 products, 3,000 orders and 1,400 images
bench-import:
    cargo build --release --locked
    SHOP_PROGRAM=$PWD/target/release/spirit-beads cargo test --test it a_large_shop -- --ignored --test-threads=1 --nocapture

# Attack the API by its own document
schemathesis: build
    STEADY=1 .ci/schemathesis

# Check format, lints and the licenses of dependencies
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    cargo deny --config .ci/deny.toml check licenses bans sources

# Build the documentation of the code
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

# Take the README's screenshots anew
screenshots: build
    .ci/screenshots

# All that CI checks
ci:
    .ci/run

[private]
build:
    cargo build --locked
