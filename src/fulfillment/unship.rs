//! Orders that were marked as shipped by mistake.

use axum::extract::State;
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{lock, order_of};
use crate::app::App;
use crate::audit::Actor;
use crate::auth::{Admin, Scope};
use crate::custom_orders::{self, CustomOrderView};
use crate::emails::{self, About, Email};
use crate::error::answers::{BadRequest, BodyFailures, NotThere, TokenFailures};
use crate::error::{ErrorBody, Result};
use crate::http::{Json, Path};
use crate::orders::{self, Order, OrderView};
use crate::review_items;
use crate::types::ids::OrderId;

/// Routes that undo shipping, without a trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(unship_order))
        .routes(routes!(unship_custom_order))
}

/// Choices for undoing a shipment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Unshipping {
    /// Tells the customer that it has not been shipped yet. Nothing is sent if the email about the shipment had not gone
    /// out yet: that is withdrawn.
    #[serde(default)]
    #[schema(required = false)]
    send_email: bool,
}

/// Marks an order that was shipped by mistake as paid and to be shipped, up to 7 days after that. Its shipment is removed.
/// Pieces that went back into stock stay there, and no money moves.
#[utoipa::path(
    post,
    path = "/api/admin/orders/{id}/unship",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    request_body = Unshipping,
    responses(
        (status = 200, body = OrderView),
        BadRequest, TokenFailures, NotThere,
        (status = 409, body = ErrorBody, description = "`not_unshippable`: not shipped, delivered, or shipped more than 7 days ago; `refunded_in_full`: all of its money is being refunded"),
        BodyFailures,
    )
)]
async fn unship_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(choices): Json<Unshipping>,
) -> Result<Json<OrderView>> {
    admin.may(Scope::OrdersWrite)?;
    let mut tx = app.db.begin().await?;
    let id = orders::resolve(&mut tx, &id).await?;
    unship(&mut tx, &app, &admin.actor, id, choices.send_email).await?;
    let view = orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view.shown_to(&admin)))
}

/// Marks a piece that was shipped by mistake as being made, up to 7 days after that. Its shipment is removed, and no money
/// moves.
#[utoipa::path(
    post,
    path = "/api/admin/custom-orders/{id}/unship",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    request_body = Unshipping,
    responses(
        (status = 200, body = CustomOrderView),
        BadRequest, TokenFailures, NotThere,
        (status = 409, body = ErrorBody, description = "`not_shipped`: not paid yet; `not_unshippable`: not shipped, delivered, or shipped more than 7 days ago; `refunded_in_full`: all of its money is being refunded"),
        BodyFailures,
    )
)]
async fn unship_custom_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(choices): Json<Unshipping>,
) -> Result<Json<CustomOrderView>> {
    admin.may(Scope::CustomOrders)?;
    let mut tx = app.db.begin().await?;
    let id = custom_orders::resolve(&mut tx, &id).await?;
    let order = order_of(&mut tx, id).await?;
    unship(&mut tx, &app, &admin.actor, order, choices.send_email).await?;
    let view = custom_orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view))
}

/// An order that is not shipped any more.
pub struct Unshipped {
    pub order: Order,
    /// The customer was told of the shipment: an email about it was sent, or is being sent.
    pub was_told: bool,
    /// The address that an email goes to.
    pub emailed: Option<String>,
}

/// Marks an order that was shipped by mistake as paid, and the custom order that it belongs to as being made. Emails about
/// the shipment that wait are withdrawn. Emails the customer if `send_email` says so and they were told of the shipment.
///
/// # Errors
/// 404; 409 `not_unshippable` or `refunded_in_full`.
pub async fn unship(
    conn: &mut PgConnection,
    app: &App,
    actor: &Actor,
    id: OrderId,
    send_email: bool,
) -> Result<Unshipped> {
    let (piece, before) = lock(conn, id).await?;
    let cause = orders::shipment_cause(conn, id).await?;
    let withdrawal = emails::withdraw_shipment(conn, id).await?;
    for email in &withdrawal.emails {
        let result = "the shipment that the email was about is undone";
        review_items::settle(conn, &format!("email:{email}"), &actor.name, result).await?;
    }
    let was_told = withdrawal.is_customer_told;
    let tells = send_email && was_told;
    let (order, shipment, emailed) = match &piece {
        Some(piece) => {
            let (piece, shipment) = custom_orders::unship_piece(conn, piece, &actor.name).await?;
            let to = &piece.custom_order;
            let is_queued =
                tells && custom_orders::send_not_shipped_yet(conn, app, to, &cause).await?;
            let emailed = is_queued.then_some(piece.custom_order.email);
            (piece.order, shipment, emailed)
        }
        None => {
            let (order, shipment) = orders::unship(conn, &before, &actor.name).await?;
            let mut emailed = order.email.clone().filter(|_| tells);
            if let Some(recipient) = &emailed {
                let email = Email::NotShippedYet {
                    order: orders::email_data(conn, &order).await?,
                };
                let about = About::order(id);
                let is_queued = emails::queue(conn, &email, &cause, recipient, None, about).await?;
                emailed = emailed.filter(|_| is_queued);
            }
            (order, shipment, emailed)
        }
    };
    let mut more = shipment.audit_facts();
    more["was_told"] = was_told.into();
    more["is_emailed"] = emailed.is_some().into();
    orders::record(conn, actor, "order.unship", (&before, &order), more).await?;
    Ok(Unshipped {
        order,
        was_told,
        emailed,
    })
}
