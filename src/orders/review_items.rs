//! Admin API for the review items of an order.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::OrderView;
use crate::app::App;
use crate::auth::{Admin, Scope};
use crate::error::Result;
use crate::error::answers::{NotThere, TokenFailures};
use crate::http::{Json, Path};
use crate::review_items::{self, Several};

/// Route that resolves an order's review item.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(resolve_order))
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
    let id = super::resolve(&mut tx, &id).await?;
    let open = super::view(&mut tx, id).await?.order.review_items;
    review_items::resolve_only(&mut tx, &admin.actor, &open).await?;
    let view = super::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view.shown_to(&admin)))
}
