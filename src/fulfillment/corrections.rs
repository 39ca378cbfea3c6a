//! Corrections of what was recorded of a shipment.

use axum::extract::State;
use sqlx::PgConnection;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{email_buyer, lock};
use crate::app::App;
use crate::audit::{self, Actor};
use crate::auth::{Admin, Scope};
use crate::custom_orders::{self, CustomOrderView, OrderedPiece};
use crate::emails::Email;
use crate::error::answers::{BadRequest, BodyFailures, NotThere, TokenFailures};
use crate::error::{Code, Error, ErrorBody, Result};
use crate::http::{Json, Path};
use crate::orders::{self, Order, OrderView, Shipment, ShipmentCorrection};
use crate::types::ids::{CustomOrderId, OrderId};

/// Routes of corrections, without a trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(correct_shipment_of_order))
        .routes(routes!(correct_shipment_of_custom_order))
}

/// Corrects carrier, tracking or images of a shipment, and emails the customer if asked to. Fields that are not given stay
/// as they are. Safe to repeat.
#[utoipa::path(
    patch,
    operation_id = "correct_shipment",
    path = "/api/admin/orders/{id}/shipment",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    request_body = ShipmentCorrection,
    responses(
        (status = 200, body = OrderView),
        BadRequest, TokenFailures, NotThere,
        (status = 409, body = ErrorBody, description = "`not_shipped`: it has no shipment; `customer_erased`: the customer's data was deleted"),
        BodyFailures,
    )
)]
async fn correct_shipment_of_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(correction): Json<ShipmentCorrection>,
) -> Result<Json<OrderView>> {
    admin.may(Scope::OrdersWrite)?;
    let mut tx = app.db.begin().await?;
    let id = orders::resolve(&mut tx, &id).await?;
    correct_shipment(&mut tx, &app, &admin.actor, id, &correction).await?;
    let view = orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view.shown_to(&admin)))
}

/// Corrects carrier, tracking or images of the shipment of a finished piece, and emails the customer if asked to. Fields
/// that are not given stay as they are. Safe to repeat.
#[utoipa::path(
    patch,
    operation_id = "correct_shipment_of_custom_order",
    path = "/api/admin/custom-orders/{id}/shipment",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    request_body = ShipmentCorrection,
    responses(
        (status = 200, body = CustomOrderView),
        BadRequest, TokenFailures, NotThere,
        (status = 409, body = ErrorBody, description = "`not_shipped`: it has no shipment; `customer_erased`: the customer's data was deleted"),
        BodyFailures,
    )
)]
async fn correct_shipment_of_custom_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(correction): Json<ShipmentCorrection>,
) -> Result<Json<CustomOrderView>> {
    admin.may(Scope::CustomOrders)?;
    let mut tx = app.db.begin().await?;
    let id = custom_orders::resolve(&mut tx, &id).await?;
    let order = order_of(&mut tx, id).await?;
    correct_shipment(&mut tx, &app, &admin.actor, order, &correction).await?;
    let view = custom_orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view))
}

/// The order that ships a custom order.
///
/// # Errors
/// 404; 409 `not_shipped` before its payment.
pub async fn order_of(conn: &mut PgConnection, id: CustomOrderId) -> Result<OrderId> {
    let custom_order = custom_orders::find(conn, id).await?;
    let custom_order = custom_order.ok_or(Error::NotFound("CustomOrder"))?;
    custom_order.order_id.ok_or_else(|| {
        let why = format!("{} is not shipped.", custom_order.display_number());
        Error::Conflict(Code::NotShipped, why)
    })
}

/// A corrected shipment.
pub struct Correction {
    pub order: Order,
    /// False where everything was right already.
    pub is_changed: bool,
    /// The address that an email goes to.
    pub emailed: Option<String>,
}

/// Corrects carrier, tracking or images of an order's shipment, that of a custom order included. The email is sent once per
/// correction; where nothing was ever corrected, none is.
///
/// Safe to repeat: a shipment that is right already stays as it is.
///
/// # Errors
/// Field errors; 404; 409 `not_shipped`.
pub async fn correct_shipment(
    conn: &mut PgConnection,
    app: &App,
    actor: &Actor,
    id: OrderId,
    correction: &ShipmentCorrection,
) -> Result<Correction> {
    let (piece, order) = lock(conn, id).await?;
    let corrected = orders::correct_shipment(conn, &order, correction, &actor.name).await?;
    let is_changed = corrected.before != corrected.after;
    if let (true, Some(piece)) = (is_changed, &piece) {
        let (id, text) = (piece.custom_order.id, &corrected.changes);
        custom_orders::add_timeline_entry(conn, id, "shipment", &actor.name, text).await?;
    }
    let emailed = match &corrected.cause {
        Some(cause) if correction.send_email => {
            let shipment = &corrected.after;
            send_correction(conn, app, (piece.as_ref(), &order), shipment, cause).await?
        }
        _ => None,
    };
    if is_changed || emailed.is_some() {
        let before = corrected.before.audit_facts();
        let mut after = corrected.after.audit_facts();
        after["is_emailed"] = emailed.is_some().into();
        let (action, object) = match &piece {
            Some(OrderedPiece { custom_order, .. }) => (
                "custom_order.correct_shipment",
                format!("custom_order:{}", custom_order.display_number()),
            ),
            None => (
                "order.correct_shipment",
                format!("order:{}", order.display_number()),
            ),
        };
        audit::record(conn, actor, action, &object, before, after).await?;
    }
    Ok(Correction {
        order,
        is_changed,
        emailed,
    })
}

/// Queues the email about a corrected shipment, and returns the address that it goes to. None where nobody can be emailed,
/// or this correction was emailed before.
async fn send_correction(
    conn: &mut PgConnection,
    app: &App,
    (piece, order): (Option<&OrderedPiece>, &Order),
    shipment: &Shipment,
    cause: &str,
) -> Result<Option<String>> {
    if let Some(OrderedPiece { custom_order, .. }) = piece {
        let about = (custom_order, order);
        let is_queued =
            custom_orders::send_corrected_shipment(conn, app, about, shipment, cause).await?;
        return Ok(is_queued.then(|| custom_order.email.clone()));
    }
    let email = Email::ShipmentCorrected {
        order: orders::shipped_email_data(conn, app, order).await?,
        shipment: shipment.email_data(),
    };
    email_buyer(conn, order, &email, cause).await
}
