//! Admin API for the review items of a custom order.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::CustomOrderView;
use crate::app::App;
use crate::auth::{Admin, Scope};
use crate::error::Result;
use crate::error::answers::{NotThere, TokenFailures};
use crate::http::{Json, Path};
use crate::review_items::{self, Several};

/// Route that resolves a custom order's review item.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(resolve_custom_order))
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
    let id = super::resolve(&mut tx, &id).await?;
    let open = super::view(&mut tx, id).await?.custom_order.review_items;
    review_items::resolve_only(&mut tx, &admin.actor, &open).await?;
    let view = super::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view))
}
