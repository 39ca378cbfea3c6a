//! Changes of review items with their timelines and audit entries, and their admin API. [`crate::review_items`] has the
//! rows.

use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::audit::{self, Actor};
use crate::auth::{Admin, Scope};
use crate::custom_orders::CustomOrderView;
use crate::error::answers::{BadRequest, NotThere, TokenFailures};
use crate::error::{Error, ErrorBody, Result};
use crate::http::{Json, Paging, Path, Query};
use crate::orders::OrderView;
use crate::review_items::{self, Filter, Kind, NewItem, ReviewItem, Subject};
use crate::types::ids::ReviewItemId;
use crate::{custom_orders, orders};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(find))
        .routes(routes!(resolve_item))
        .routes(routes!(resolve_order))
        .routes(routes!(resolve_custom_order))
}

/// Raises an item for an order, a custom order, both or neither, and notes it on their timelines. Safe to repeat: the
/// same cause raises once, and `false` is returned after that.
///
/// # Errors
/// Database errors only.
pub async fn flag(
    conn: &mut PgConnection,
    subject: impl Into<Subject>,
    actor: &str,
    item: &NewItem,
) -> Result<bool> {
    let raised = review_items::raise(conn, subject.into(), item).await?;
    if let Some(raised) = &raised {
        note(conn, raised, actor, &raised.text).await?;
    }
    Ok(raised.is_some())
}

/// Resolves the open items of a source whose cause is gone, as [`review_items::settle`] does, and notes the outcome on
/// their timelines. Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn settle(
    conn: &mut PgConnection,
    source: &str,
    actor: &str,
    result: &str,
) -> Result<()> {
    for item in review_items::settle(conn, source, actor, result).await? {
        let told = format!("resolved automatically: {result} ({})", item.kind.title());
        note(conn, &item, actor, &told).await?;
    }
    Ok(())
}

/// Resolves one item on behalf of a person, with an audit entry. Safe to repeat: an item already resolved is returned
/// unchanged.
///
/// # Errors
/// 404 when there is no such item.
pub async fn resolve(
    conn: &mut PgConnection,
    actor: &Actor,
    id: ReviewItemId,
) -> Result<ReviewItem> {
    let Some(item) = review_items::resolve(conn, &actor.name, id).await? else {
        return review_items::find(conn, id).await;
    };
    let told = format!("resolved: {}", item.text);
    note(conn, &item, &actor.name, &told).await?;
    let facts = |is_open: bool| json!({"review_item": id, "kind": item.kind, "text": item.text, "is_open": is_open});
    audit::record(
        conn,
        actor,
        "review_item.resolve",
        &item.object(),
        facts(true),
        facts(false),
    )
    .await?;
    Ok(item)
}

/// Resolves the only open item of an order or custom order.
///
/// # Errors
/// 409 `several_review_items` when there are more: each is resolved separately.
async fn resolve_only(
    conn: &mut PgConnection,
    actor: &Actor,
    open: &[review_items::OpenItem],
) -> Result<()> {
    match open {
        [] => Ok(()),
        [only] => resolve(conn, actor, only.id).await.map(|_| ()),
        several => Err(Error::Conflict(
            "several_review_items",
            format!(
                "There are {} open review items, and each must be resolved separately: \
                 POST /api/admin/review-items/{{id}}/resolve/.",
                several.len()
            ),
        )),
    }
}

/// Adds a note to the timelines of an item's order and custom order.
async fn note(conn: &mut PgConnection, item: &ReviewItem, actor: &str, text: &str) -> Result<()> {
    // Lock order: the custom order's row before the order's.
    if let Some(custom_order) = item.custom_order_id {
        custom_orders::note(conn, custom_order, "note", actor, text).await?;
    }
    if let Some(order) = item.order_id {
        orders::note(conn, order, "note", actor, text).await?;
    }
    Ok(())
}

#[derive(Serialize, ToSchema)]
struct ReviewItemPage {
    count: i64,
    page: i64,
    page_size: i64,
    results: Vec<ReviewItem>,
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
    responses((status = 200, body = ReviewItemPage), BadRequest, TokenFailures)
)]
async fn list(State(app): State<App>, admin: Admin, query: Query) -> Result<Json<ReviewItemPage>> {
    admin.may(Scope::OrdersRead)?;
    let mut field_errors = Vec::new();
    let page = query.paging(&mut field_errors);
    let states = ["open", "resolved", "all"];
    let state = query.one_of("state", &states, |state| state, &mut field_errors);
    let kind = query.one_of("kind", &Kind::ALL, Kind::as_str, &mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let filter = Filter {
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
    let (results, count) = review_items::list(&mut *app.db.acquire().await?, &filter).await?;
    Ok(Json(ReviewItemPage {
        count,
        page: page.number,
        page_size: page.size,
        results,
    }))
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
    let item = review_items::find(&mut *app.db.acquire().await?, id).await?;
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
    let item = review_items::find(&mut tx, id).await?;
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

/// Resolves the open review item of an order, if there is only one. Safe to repeat: without open items, nothing is
/// changed.
#[utoipa::path(
    post,
    operation_id = "resolve_order",
    path = "/api/admin/orders/{id}/resolve",
    tag = "review items",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    responses((status = 200, body = OrderView), TokenFailures, NotThere, Several)
)]
async fn resolve_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<OrderView>> {
    admin.may(Scope::OrdersWrite)?;
    let mut tx = app.db.begin().await?;
    let id = orders::resolve(&mut tx, &id).await?;
    let open = orders::view(&mut tx, id).await?.order.review_items;
    resolve_only(&mut tx, &admin.actor, &open).await?;
    let view = orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view.shown_to(&admin)))
}

/// Resolves the open review item of a custom order, if there is only one. Safe to repeat: without open items, nothing
/// is changed.
#[utoipa::path(
    post,
    operation_id = "resolve_custom_order",
    path = "/api/admin/custom-orders/{id}/resolve",
    tag = "review items",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses((status = 200, body = CustomOrderView), TokenFailures, NotThere, Several)
)]
async fn resolve_custom_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<CustomOrderView>> {
    admin.may(Scope::CustomOrders)?;
    let mut tx = app.db.begin().await?;
    let id = custom_orders::resolve(&mut tx, &id).await?;
    let open = custom_orders::view(&mut tx, id)
        .await?
        .custom_order
        .review_items;
    resolve_only(&mut tx, &admin.actor, &open).await?;
    let view = custom_orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view))
}

#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "used only by the OpenAPI document")]
enum Several {
    /// `several_review_items`: resolve each one separately.
    #[response(status = 409)]
    Conflict(ErrorBody),
}
