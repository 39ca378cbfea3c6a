//! Queries of everything that can be read: the API's, and the admin's pages.

use proptest::prelude::*;
use proptest::sample::select;
use reqwest::Method;
use serde_json::Value;
use spirit_beads::admin;

use super::shop::Stage;
use super::{Request, api_answer, encoded, filled, shown, text, try_inputs};

/// Queries of our pages and of the storefront.
const NAMES: [&str; 22] = [
    "page",
    "page_size",
    "search",
    "tab",
    "days",
    "ids",
    "ordering",
    "format",
    "lighter_type",
    "lighter_type__in",
    "category",
    "category__in",
    "is_sold_out",
    "is_active",
    "state",
    "kind",
    "from",
    "to",
    "next",
    "token",
    "cursor",
    "limit",
];

#[test]
fn no_query_is_a_server_error() {
    try_inputs(
        600,
        Stage::open_with_document,
        |(stage, document)| requests(stage, document),
        async |(stage, _), request: Request| {
            if request.path.starts_with("/admin") {
                let answer = request.send(&stage.owner).await?;
                prop_assert_ne!(answer.header("location"), "/admin/sign-in");
                return shown(&answer);
            }
            api_answer(&request.send(&stage.admin).await?)
        },
        async |(stage, _)| stage.settles().await,
    );
}

fn requests(stage: &Stage, document: &Value) -> BoxedStrategy<Request> {
    let mut routes: Vec<String> = admin::routes()
        .iter()
        .filter(|route| route.method == Method::GET)
        .map(|route| route.path.to_owned())
        .collect();
    let mut names: Vec<String> = NAMES.map(str::to_owned).to_vec();
    for (path, item) in document["paths"].as_object().expect("paths") {
        if item["get"].is_null() {
            continue;
        }
        routes.push(format!("{path}/"));
        for parameter in item["get"]["parameters"].as_array().into_iter().flatten() {
            names.push(parameter["name"].as_str().expect("a name").to_owned());
        }
    }
    assert!(routes.len() > 60, "{routes:?}");
    let mut words = stage.names.clone();
    words.extend(
        [
            "all",
            "to-pack",
            "review",
            "failed",
            "usd",
            "sun",
            "json",
            "csv",
            "/admin/orders",
        ]
        .map(str::to_owned),
    );
    let name = prop_oneof![6 => select(names), 1 => any::<String>()];
    let pairs = proptest::collection::vec((name, text(words.clone())), 0..6)
        .prop_map(|pairs| encoded(&pairs));
    let query = prop_oneof![
        6 => pairs,
        1 => proptest::collection::vec(any::<u8>(), 0..60)
            .prop_map(|bytes| bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>()),
        1 => "[!-~&&[^#]]{0,60}",
    ];
    let routes: Vec<(String, Vec<String>)> = routes
        .into_iter()
        .map(|route| (route.clone(), stage.names_for(&route)))
        .collect();
    (select(routes), query)
        .prop_flat_map(move |((route, names), query)| {
            let place = prop_oneof![4 => select(names), 1 => text(words.clone())];
            place.prop_map(move |place| {
                Request::new(Method::GET, format!("{}?{query}", filled(&route, &place)))
            })
        })
        .boxed()
}
