//! Admin API of review items.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Kind, ReviewItem, ReviewItemFilter, resolve, store};
use crate::app::App;
use crate::auth::{Admin, Scope};
use crate::error::answers::{BadRequest, NotThere, TokenFailures};
use crate::error::{Error, ErrorBody, Result};
use crate::http::{Json, Page, Paging, Path, Query};
use crate::types::ids::ReviewItemId;

/// Routes of review items, without a trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(find))
        .routes(routes!(resolve_item))
}

/// Lists review items, which need a person: soonest deadline first, then the newest. Items of a custom order alone are
/// listed for tokens that also have the scope `custom_orders`.
#[utoipa::path(
    get,
    operation_id = "list_review_items",
    path = "/api/admin/review-items",
    tag = "review items",
    security(("bearer" = [])),
    params(
        ("state" = Option<String>, Query, description = "`open` unless given, `resolved` or `all`", pattern = "^(open|resolved|all)?$"),
        ("kind" = Option<Kind>, Query, description = "Only items of this kind"),
        Paging,
    ),
    responses((status = 200, body = Page<ReviewItem>), BadRequest, TokenFailures)
)]
async fn list(
    State(app): State<App>,
    admin: Admin,
    query: Query,
) -> Result<Json<Page<ReviewItem>>> {
    admin.may(Scope::OrdersRead)?;
    let mut field_errors = Vec::new();
    let page = query.paging(&mut field_errors);
    let states = ["open", "resolved", "all"];
    let state = query.one_of("state", &states, |state| state, &mut field_errors);
    let kind = query.one_of("kind", &Kind::ALL, Kind::as_str, &mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let filter = ReviewItemFilter {
        is_open: match state {
            Some("all") => None,
            Some("resolved") => Some(false),
            _ => Some(true),
        },
        kind,
        limit: page.size,
        offset: page.offset(),
        without_custom_orders: admin.may(Scope::CustomOrders).is_err(),
    };
    let (results, count) = store::list(&mut *app.db.acquire().await?, &filter).await?;
    Ok(Json(Page::new(page, count, results)))
}

/// Returns one review item.
#[utoipa::path(
    get,
    operation_id = "find_review_item",
    path = "/api/admin/review-items/{id}",
    tag = "review items",
    security(("bearer" = [])),
    params(("id" = ReviewItemId, Path)),
    responses((status = 200, body = ReviewItem), BadRequest, TokenFailures, NotThere)
)]
async fn find(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<ReviewItemId>,
) -> Result<Json<ReviewItem>> {
    admin.may(Scope::OrdersRead)?;
    let item = store::find(&mut *app.db.acquire().await?, id).await?;
    if item.is_of_custom_order_alone() {
        admin.may(Scope::CustomOrders)?;
    }
    Ok(Json(item))
}

/// Resolves one review item. Safe to repeat. An item of a custom order alone needs the scope `custom_orders`, all
/// others `orders:write`; without `orders:read` the answer has no text.
#[utoipa::path(
    post,
    operation_id = "resolve_review_item",
    path = "/api/admin/review-items/{id}/resolve",
    tag = "review items",
    security(("bearer" = [])),
    params(("id" = ReviewItemId, Path)),
    responses((status = 200, body = ReviewItem), BadRequest, TokenFailures, NotThere)
)]
async fn resolve_item(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<ReviewItemId>,
) -> Result<Json<ReviewItem>> {
    admin
        .may(Scope::OrdersWrite)
        .or_else(|_| admin.may(Scope::CustomOrders))?;
    let mut tx = app.db.begin().await?;
    let item = store::find(&mut tx, id).await?;
    match item.is_of_custom_order_alone() {
        true => admin.may(Scope::CustomOrders)?,
        false => admin.may(Scope::OrdersWrite)?,
    }
    let mut item = resolve(&mut tx, &admin.actor, id).await?;
    tx.commit().await?;
    if admin.may(Scope::OrdersRead).is_err() && !item.is_of_custom_order_alone() {
        item.text.clear();
    }
    Ok(Json(item))
}

/// The refusal to resolve several items at once.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "used only by the OpenAPI document")]
pub enum Several {
    /// `several_review_items`: resolve each one separately.
    #[response(status = 409)]
    Conflict(ErrorBody),
}
