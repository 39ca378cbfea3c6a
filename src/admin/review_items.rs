//! Review items: events that need a person, each with a button that resolves it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::context::AdminContext;
use super::form::Form;
use super::page_number;
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::{Path, Query};
use crate::review_items::{self, ReviewItem, ReviewItemFilter};
use crate::types::ids::ReviewItemId;

const PAGE: i64 = 30;

#[derive(Template)]
#[template(path = "review_items.html", config = "src/admin/askama.toml")]
struct ItemsPage<'a> {
    context: &'a AdminContext,
    is_open: bool,
    count: i64,
    items: Vec<ReviewItem>,
    newer: Option<String>,
    older: Option<String>,
}

/// `GET /admin/review-items`: lists open items, or with `?state=resolved` the resolved ones.
pub async fn list(State(app): State<App>, context: AdminContext, query: Query) -> Result<Response> {
    let is_open = query.get("state") != Some("resolved");
    let page = page_number(&query);
    let filter = ReviewItemFilter {
        is_open: Some(is_open),
        limit: PAGE,
        offset: (page - 1) * PAGE,
        ..ReviewItemFilter::default()
    };
    let (items, count) = review_items::list(&mut *app.db.acquire().await?, &filter).await?;
    let state = if is_open { "open" } else { "resolved" };
    let link = |page: i64| format!("/admin/review-items?state={state}&page={page}");
    context.show(&ItemsPage {
        context: &context,
        is_open,
        newer: (page > 1).then(|| link(page - 1)),
        older: (count > page * PAGE).then(|| link(page + 1)),
        count,
        items,
    })
}

/// `POST /admin/review-items/{id}/resolve`: redirects to the page of the item's subject, or back to the list.
pub async fn resolve(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let id = id.parse().map(ReviewItemId);
    let id = id.map_err(|_| Error::NotFound("ReviewItem"))?;
    let mut tx = app.db.begin().await?;
    let item = review_items::resolve(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    let page = match form.get("back").as_str() {
        "list" => "/admin/review-items".to_owned(),
        _ => item.page(),
    };
    Ok(context.go_on(&page, "It is resolved."))
}
