//! The board of custom orders, and their list.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::context::AdminContext;
use super::custom_orders::{ROOT, status};
use crate::app::App;
use crate::custom_orders::{self, Column, CustomOrder, CustomOrderFilter, Status};
use crate::error::Result;
use crate::http::Query;

const PAGE: i64 = 30;

#[derive(Template)]
#[template(path = "custom_orders.html", config = "src/admin/askama.toml")]
struct CustomOrdersPage<'a> {
    context: &'a AdminContext,
    search: String,
    tabs: Vec<StateLink>,
    /// The board; `None` while the list is filtered by state or search.
    board: Option<Vec<Column>>,
    custom_orders: Vec<CustomOrder>,
    newer: Option<String>,
    older: Option<String>,
}

struct StateLink {
    name: &'static str,
    path: String,
    is_open: bool,
}

/// Shortens a text for a card.
fn beginning(text: &str) -> String {
    let mut start: String = text.chars().take(110).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

fn address(pairs: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()))
        .finish();
    match query.is_empty() {
        true => ROOT.to_owned(),
        false => format!("{ROOT}?{query}"),
    }
}

/// `GET /admin/custom-orders`: the board, or a list filtered by state or search.
pub async fn list(State(app): State<App>, context: AdminContext, query: Query) -> Result<Response> {
    let search = super::query_text(&query, "search");
    let asked = query.get("state").unwrap_or_default();
    let state = Status::ALL
        .into_iter()
        .find(|status| status.as_str() == asked);
    let page = super::page_number(&query);
    let is_board = state.is_none() && asked != "all" && search.is_empty();
    let mut conn = app.db.acquire().await?;
    let mut board = None;
    let (mut custom_orders, mut count) = (Vec::new(), 0);
    if is_board {
        board = Some(custom_orders::columns(&mut conn).await?);
    } else {
        let filter = CustomOrderFilter {
            status: state,
            search: (!search.is_empty()).then(|| search.clone()),
            limit: PAGE,
            offset: (page - 1) * PAGE,
        };
        (custom_orders, count) = custom_orders::list(&mut conn, &filter).await?;
    }
    let word = match state {
        Some(state) => state.as_str(),
        None if is_board => "",
        None => "all",
    };
    let link = |page: i64| {
        let page = page.to_string();
        address(&[("state", word), ("search", &search), ("page", &page)])
    };
    let tab = |name, word: &str, is_open| StateLink {
        name,
        path: address(&[("state", word), ("search", &search)]),
        is_open,
    };
    let mut tabs = vec![StateLink {
        name: "Board",
        path: ROOT.to_owned(),
        is_open: is_board,
    }];
    tabs.extend(Status::ALL.map(|each| tab(status(&each).0, each.as_str(), state == Some(each))));
    tabs.push(tab("All", "all", !is_board && state.is_none()));
    let page = CustomOrdersPage {
        context: &context,
        tabs,
        board,
        newer: (page > 1).then(|| link(page - 1)),
        older: (page * PAGE < count).then(|| link(page + 1)),
        custom_orders,
        search,
    };
    context.show(&page)
}
