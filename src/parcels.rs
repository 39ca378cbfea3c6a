//! Parcels, by the order's door: shipping what was bought or made. A commission's order ships and completes its
//! request along with it.

use axum::extract::State;
use sqlx::PgConnection;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::{Admin, Scope};
use crate::custom_orders;
use crate::email::{self, About, Letter};
use crate::error::{Error, ErrorBody, Result};
use crate::extract::{Json, Path};
use crate::ids::OrderId;
use crate::orders::{self, NewParcel, Order, OrderView};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(ship_order))
        .routes(routes!(deliver_order))
}

/// Ships a paid order and tells the customer.
#[utoipa::path(
    post,
    path = "/api/admin/orders/{id}/ship",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    request_body = NewParcel,
    responses(
        (status = 200, body = OrderView),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "Not paid, or shipped already"),
        (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody),
    )
)]
async fn ship_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(parcel): Json<NewParcel>,
) -> Result<Json<OrderView>> {
    admin.may(Scope::OrdersWrite)?;
    let mut tx = app.db.begin().await?;
    let id = orders::resolve(&mut tx, &id).await?;
    ship(&mut tx, &app, id, &parcel, &admin.actor).await?;
    let view = orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view))
}

/// Ships a paid order and tells the customer; a commission's ships its request.
///
/// # Errors
/// Faults; 404; 409 for an order that is not paid, or shipped already.
pub async fn ship(
    conn: &mut PgConnection,
    app: &App,
    id: OrderId,
    parcel: &NewParcel,
    actor: &str,
) -> Result<()> {
    let order = find(conn, id).await?;
    if order.is_custom_order {
        custom_orders::ship_of(conn, app, id, parcel, actor).await?;
        return Ok(());
    }
    ship_bought(conn, id, parcel, actor).await
}

async fn ship_bought(
    conn: &mut PgConnection,
    id: OrderId,
    parcel: &NewParcel,
    actor: &str,
) -> Result<()> {
    let (order, parcel) = orders::ship(conn, id, parcel, actor).await?;
    let Some(email) = &order.email else {
        return Ok(());
    };
    let letter = Letter::OrderShipped {
        order: orders::facts(conn, &order).await?,
        parcel: parcel.facts(),
    };
    email::queue(
        conn,
        &letter,
        &id.to_string(),
        email,
        None,
        About::order(id),
    )
    .await
}

/// A shipped order has arrived. Safe to repeat.
#[utoipa::path(
    post,
    path = "/api/admin/orders/{id}/deliver",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    responses(
        (status = 200, body = OrderView),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "Not shipped"),
    )
)]
async fn deliver_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<OrderView>> {
    admin.may(Scope::OrdersWrite)?;
    let mut tx = app.db.begin().await?;
    let id = orders::resolve(&mut tx, &id).await?;
    deliver(&mut tx, id, &admin.actor).await?;
    let view = orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view))
}

/// A shipped order has arrived; a commission's completes its request. Safe to repeat.
///
/// # Errors
/// 404; 409 for an order that was not shipped.
pub async fn deliver(conn: &mut PgConnection, id: OrderId, actor: &str) -> Result<()> {
    if find(conn, id).await?.is_custom_order {
        custom_orders::deliver_of(conn, id, actor).await?;
    } else {
        orders::deliver(conn, id, actor).await?;
    }
    Ok(())
}

async fn find(conn: &mut PgConnection, id: OrderId) -> Result<Order> {
    orders::find(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))
}
