//! Orders that were marked as shipped by mistake.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{email_buyer, lock, order_of, withdraw_emails};
use crate::app::App;
use crate::audit::Actor;
use crate::auth::{Admin, Scope};
use crate::custom_orders::{self, CustomOrderView, OrderedPiece};
use crate::emails::Email;
use crate::error::answers::{BadRequest, BodyFailures, NotThere, TokenFailures};
use crate::error::{ErrorBody, Result};
use crate::http::{Json, Path};
use crate::orders::{self, Order, OrderView, Shipment};
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
pub struct Unshipping {
    /// `shipped_at` of the shipment, as it was read: one that was made since is not undone. A repeat with it is harmless.
    pub shipped_at: Option<DateTime<Utc>>,
    /// Tells the customer that it has not been shipped yet. Nothing is sent if the email about the shipment had not gone
    /// out yet: that is withdrawn.
    #[serde(default)]
    #[schema(required = false)]
    pub send_email: bool,
}

/// Marks an order that was shipped by mistake as paid and to be shipped, up to 7 days after that. Its shipment is removed.
/// Pieces that went back into stock stay there, and no money moves. Safe to repeat with `shipped_at`: once it is undone, a
/// repeat is refused.
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
        (status = 409, body = ErrorBody, description = "`not_unshippable`: not shipped, delivered, or shipped more than 7 days ago; `refunded_in_full`: all of its money is being refunded; `shipment_differs`: shipped at another time than the named one; `customer_erased`: the customer's data was deleted"),
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
    unship(&mut tx, &app, &admin.actor, id, &choices).await?;
    let view = orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view.shown_to(&admin)))
}

/// Marks a piece that was shipped by mistake as being made, up to 7 days after that. Its shipment is removed, and no money
/// moves. Safe to repeat with `shipped_at`: once it is undone, a repeat is refused.
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
        (status = 409, body = ErrorBody, description = "`not_shipped`: not paid yet; `not_unshippable`: not shipped, delivered, or shipped more than 7 days ago; `refunded_in_full`: all of its money is being refunded; `shipment_differs`: shipped at another time than the named one; `customer_erased`: the customer's data was deleted"),
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
    unship(&mut tx, &app, &admin.actor, order, &choices).await?;
    let view = custom_orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view))
}

/// An order that is not shipped any more.
pub struct Unshipped {
    pub order: Order,
    /// The customer was told of the shipment, or may have been: an email about it was sent, or an attempt began.
    pub was_told: bool,
    /// The address that an email goes to.
    pub emailed: Option<String>,
}

/// Marks an order that was shipped by mistake as paid, and the custom order that it belongs to as being made. Emails about
/// the shipment that wait are withdrawn. Emails the customer if asked to, and if they were told of the shipment.
///
/// Not safe to repeat without `shipped_at`, for it would undo a later shipment. With it, a repeat is refused.
///
/// # Errors
/// 404; 409 `not_unshippable`, `refunded_in_full` or `shipment_differs`.
pub async fn unship(
    conn: &mut PgConnection,
    app: &App,
    actor: &Actor,
    id: OrderId,
    choices: &Unshipping,
) -> Result<Unshipped> {
    let (piece, before) = lock(conn, id).await?;
    let cause = orders::shipment_cause(conn, id).await?;
    let (shipped_at, by) = (choices.shipped_at, &actor.name);
    match &piece {
        Some(before) => {
            let (piece, shipment) =
                custom_orders::unship_piece(conn, before, shipped_at, by).await?;
            let OrderedPiece {
                custom_order: to,
                order,
            } = piece;
            let was_told = withdraw_emails(conn, id, &Email::ABOUT_SHIPMENT, actor).await?;
            let is_emailed = choices.send_email
                && was_told
                && custom_orders::send_not_shipped_yet(conn, app, &to, &cause).await?;
            let states = (&before.custom_order, &to);
            let more = facts(&shipment, was_told, is_emailed);
            custom_orders::record(conn, actor, "custom_order.unship", states, more).await?;
            Ok(Unshipped {
                order,
                was_told,
                emailed: is_emailed.then_some(to.email),
            })
        }
        None => {
            let (order, shipment) = orders::unship(conn, &before, shipped_at, by).await?;
            let was_told = withdraw_emails(conn, id, &Email::ABOUT_SHIPMENT, actor).await?;
            let mut emailed = None;
            if choices.send_email && was_told {
                let email = Email::NotShippedYet {
                    order: orders::email_data(conn, app, &order).await?,
                };
                emailed = email_buyer(conn, &order, &email, &cause).await?;
            }
            let more = facts(&shipment, was_told, emailed.is_some());
            orders::record(conn, actor, "order.unship", (&before, &order), more).await?;
            Ok(Unshipped {
                order,
                was_told,
                emailed,
            })
        }
    }
}

/// Facts for the audit log.
fn facts(shipment: &Shipment, was_told: bool, is_emailed: bool) -> Value {
    let mut facts = shipment.audit_facts();
    facts["was_told"] = was_told.into();
    facts["is_emailed"] = is_emailed.into();
    facts
}
