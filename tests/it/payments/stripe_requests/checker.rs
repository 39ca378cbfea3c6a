//! The check of requests, held against requests that Stripe would refuse.

use super::*;

const SESSIONS: &str = "POST /v1/checkout/sessions";

fn check(operation: &str, params: &[(&str, &str)]) -> Vec<String> {
    let params: Vec<_> = params
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect();
    errors(operation, "2026-10-28.endive", &params)
}

#[test]
fn a_valid_request_has_no_error() {
    let session = [
        ("mode", "payment"),
        ("line_items[0][price]", "price_1"),
        ("line_items[0][quantity]", "2"),
        ("shipping_address_collection[allowed_countries][0]", "US"),
        ("metadata[anything]", "at all"),
    ];
    assert_eq!(check(SESSIONS, &session), [""; 0]);
    let events = [
        ("created[gte]", "1700000000"),
        ("types[]", "a"),
        ("types[]", "b"),
    ];
    assert_eq!(check("GET /v1/events", &events), [""; 0]);
    assert_eq!(
        check("GET /v1/events", &[("created", "1700000000")]),
        [""; 0]
    );
    assert_eq!(check("POST /v1/products/{id}", &[("images", "")]), [""; 0]);
}

#[test]
fn an_unknown_parameter_is_caught() {
    assert_eq!(check(SESSIONS, &[("colour", "red")]), ["colour: unknown"]);
    let nested = [("line_items[0][colour]", "red")];
    assert_eq!(check(SESSIONS, &nested), ["line_items[0][colour]: unknown"]);
    assert_eq!(
        check("POST /v1/nothing", &[]),
        ["POST /v1/nothing is none of version 2026-10-28.endive"]
    );
}

#[test]
fn a_missing_parameter_is_caught() {
    assert_eq!(
        check("POST /v1/products", &[("id", "x")]),
        ["name: missing"]
    );
    assert_eq!(check("POST /v1/prices", &[]), ["currency: missing"]);
    let gap = [("line_items[1][price]", "price_1")];
    assert_eq!(check(SESSIONS, &gap), ["line_items[0]: missing"]);
}

#[test]
fn a_wrong_type_is_caught() {
    for (operation, name, value, why) in [
        (
            SESSIONS,
            "expires_at",
            "soon",
            "expires_at: not of type integer",
        ),
        (
            SESSIONS,
            "expires_at",
            "1.5",
            "expires_at: not of type integer",
        ),
        (
            SESSIONS,
            "mode",
            "gift",
            "mode: gift is not one of its words",
        ),
        (SESSIONS, "mode", "", "mode: empty"),
        (
            SESSIONS,
            "line_items",
            "one",
            "line_items: not of type array",
        ),
        (SESSIONS, "metadata", "one", "metadata: not of type map"),
        (SESSIONS, "mode[a]", "payment", "mode: not of type string"),
        (
            "POST /v1/prices/{id}",
            "active",
            "yes",
            "active: not of type boolean",
        ),
        (
            "GET /v1/events",
            "created[gte]",
            "x",
            "created: fits none of its types",
        ),
    ] {
        assert_eq!(check(operation, &[(name, value)]), [why]);
    }
    let country = [("shipping_address_collection[allowed_countries][0]", "XX")];
    assert_eq!(
        check(SESSIONS, &country),
        ["shipping_address_collection[allowed_countries][0]: XX is not one of its words"]
    );
    let long = "x".repeat(5001);
    assert_eq!(
        check("GET /v1/events", &[("starting_after", &long)]),
        ["starting_after: too long"]
    );
    assert_eq!(
        check(SESSIONS, &[("mode", "payment"), ("mode", "payment")]),
        ["mode: given twice"]
    );
}

#[test]
fn the_schema_is_that_of_the_version() {
    let newest = SCHEMAS["operations"][SESSIONS].as_array().expect("a list");
    assert!(newest.len() > 1);
    let none = |version: &str| errors(SESSIONS, version, &[]);
    assert_eq!(none("2023-08-16"), [""; 0]);
    assert_eq!(
        none("2030-01-01.x"),
        [format!("{SESSIONS} is none of version 2030-01-01.x")]
    );
}
