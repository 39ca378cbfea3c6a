//! Admin API of refunds: of orders, of custom orders, and their retries.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::admin_views::{self, PaymentView, RefundView};
use super::refunds::{self, NewRefund, RefundSubject};
use crate::app::App;
use crate::auth::{Admin, Scope};
use crate::custom_orders;
use crate::error::answers::{BadRequest, BodyFailures, NotThere, TokenFailures};
use crate::error::{Error, ErrorBody, Result};
use crate::http::{Json, Path};
use crate::orders::{self, OrderView, Restocked};
use crate::types::ids::{CustomOrderId, ProductId, RefundId};
use crate::types::money::Cents;

/// Routes of custom orders' payments and refunds, and the retry of any refund.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(refund_order))
        .routes(routes!(list_payments))
        .routes(routes!(refund_custom_order))
        .routes(routes!(list_payments_of_custom_order))
        .routes(routes!(retry_refund))
}

/// A refund of an order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefundBody {
    /// Your own UUID for this refund: a repeated request with it is one refund.
    id: Option<RefundId>,
    /// The payment to refund, `pi_…`; by default the one that settled the order, or the only one with money left.
    #[schema(max_length = 255)]
    payment_id: Option<String>,
    /// Amount in the currency's smallest unit; everything left unless given.
    #[schema(minimum = 1)]
    amount: Option<i64>,
    /// Up to 200 characters.
    #[serde(default)]
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    reason: String,
    /// Pieces to return to stock; none unless given.
    #[serde(default)]
    restock: Vec<Restocked>,
}

/// Refunds a payment of an order, in part or in full: any payment with money left. A background job requests it from
/// Stripe at once, and retries until Stripe accepts it; if Stripe never does, a review item of the order says so. With no money
/// left, `restock` without an amount returns the pieces alone, as `POST /api/admin/orders/{id}/restock/` does.
#[utoipa::path(
    post,
    path = "/api/admin/orders/{id}/refund",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    request_body = RefundBody,
    responses(
        (status = 202, body = OrderView, description = "Planned, now or by an earlier request with this id"),
        BadRequest, TokenFailures, NotThere,
        (status = 409, body = ErrorBody, description = "`not_refundable`: not paid through Stripe; `nothing_left` to refund; `refund_differs`: the id was used for another refund"),
        BodyFailures,
    )
)]
async fn refund_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(body): Json<RefundBody>,
) -> Result<(StatusCode, Json<OrderView>)> {
    admin.may(Scope::Refunds)?;
    let new = NewRefund {
        id: body.id.unwrap_or_else(RefundId::new),
        payment: body.payment_id,
        amount: body.amount.map(Cents),
        reason: body.reason,
        restock: body
            .restock
            .into_iter()
            .map(|line| (line.product_id, line.quantity))
            .collect(),
        is_whole: false,
    };
    let mut tx = app.db.begin().await?;
    let id = orders::resolve(&mut tx, &id).await?;
    refunds::refund(&mut tx, &admin.actor, RefundSubject::Order(id), &new).await?;
    let view = orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(view.shown_to(&admin))))
}

/// Payments and refunds of an order.
#[derive(Serialize, ToSchema)]
struct MoneyView {
    /// Payments, the settling one first.
    payments: Vec<PaymentView>,
    /// The shop's refunds, oldest first.
    refunds: Vec<RefundView>,
    /// Amount of all payments that can still be refunded, in the currency's smallest unit.
    refundable: Cents,
    /// Sold pieces not yet returned to stock; empty for an order that never took stock.
    returnable: Vec<Returnable>,
}

#[derive(Serialize, ToSchema)]
struct Returnable {
    product_id: ProductId,
    quantity: i32,
}

/// Returns the payments of an order, their refunds, and the amount still refundable.
#[utoipa::path(
    get,
    operation_id = "list_payments_of_order",
    path = "/api/admin/orders/{id}/payments",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    responses((status = 200, body = MoneyView), TokenFailures, NotThere)
)]
async fn list_payments(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<MoneyView>> {
    admin.may(Scope::OrdersRead)?;
    let mut conn = app.db.acquire().await?;
    let id = orders::resolve(&mut conn, &id).await?;
    orders::find(&mut conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    let (payments, refunds) = admin_views::of_subject(&mut conn, RefundSubject::Order(id)).await?;
    let returnable = orders::not_returned(&mut conn, id).await?;
    let returnable = returnable
        .into_iter()
        .map(|(product_id, quantity)| Returnable {
            product_id,
            quantity,
        });
    Ok(Json(MoneyView {
        payments,
        refunds,
        refundable: refunds::refundable(&mut conn, RefundSubject::Order(id)).await?,
        returnable: returnable.collect(),
    }))
}

/// A refund of a custom order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CustomRefundBody {
    /// Your own UUID for this refund: a repeated request with it is one refund.
    id: Option<RefundId>,
    /// The payment to refund, `pi_…`; by default the one that settled the custom order, or the only one with money
    /// left.
    #[schema(max_length = 255)]
    payment_id: Option<String>,
    /// Amount in the currency's smallest unit; everything left unless given.
    #[schema(minimum = 1)]
    amount: Option<i64>,
    /// Up to 200 characters.
    #[serde(default)]
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    reason: String,
}

/// Payments and refunds of a custom order.
#[derive(Serialize, ToSchema)]
struct CustomMoneyView {
    /// Payments, the settling one first.
    payments: Vec<PaymentView>,
    /// The shop's refunds, oldest first.
    refunds: Vec<RefundView>,
    /// Amount of all payments that can still be refunded, in the currency's smallest unit.
    refundable: Cents,
}

impl CustomMoneyView {
    async fn read(conn: &mut PgConnection, id: CustomOrderId) -> Result<CustomMoneyView> {
        let custom_order = custom_orders::find(conn, id).await?;
        custom_order.ok_or(Error::NotFound("CustomOrder"))?;
        let subject = RefundSubject::CustomOrder(id);
        let (payments, refunds) = admin_views::of_subject(conn, subject).await?;
        Ok(CustomMoneyView {
            payments,
            refunds,
            refundable: super::refundable(conn, subject).await?,
        })
    }
}

#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "used only by the OpenAPI document")]
enum RefundConflict {
    /// The current state does not allow it: `not_refundable`, `nothing_left`, `refund_differs`, `refund_is_made`.
    #[response(status = 409)]
    Conflict(ErrorBody),
}

/// Refunds a payment of a custom order, in part or in full: any payment with money left, including a second one or one
/// through a closed link. A background job requests it from Stripe at once, and retries until Stripe accepts it.
#[utoipa::path(
    post,
    path = "/api/admin/custom-orders/{id}/refund",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    request_body = CustomRefundBody,
    responses(
        (status = 202, body = CustomMoneyView, description = "Planned, now or by an earlier request with this id"),
        BadRequest, TokenFailures, NotThere, RefundConflict, BodyFailures,
    )
)]
async fn refund_custom_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(body): Json<CustomRefundBody>,
) -> Result<(StatusCode, Json<CustomMoneyView>)> {
    admin.may(Scope::Refunds)?;
    let new = NewRefund {
        id: body.id.unwrap_or_else(RefundId::new),
        payment: body.payment_id,
        amount: body.amount.map(Cents),
        reason: body.reason,
        restock: Vec::new(),
        is_whole: false,
    };
    let mut tx = app.db.begin().await?;
    let id = custom_orders::resolve(&mut tx, &id).await?;
    super::refund(&mut tx, &admin.actor, RefundSubject::CustomOrder(id), &new).await?;
    let view = CustomMoneyView::read(&mut tx, id).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Returns the payments of a custom order, their refunds, and the amount still refundable.
#[utoipa::path(
    get,
    path = "/api/admin/custom-orders/{id}/payments",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses((status = 200, body = CustomMoneyView), TokenFailures, NotThere)
)]
async fn list_payments_of_custom_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<CustomMoneyView>> {
    admin.may(Scope::CustomOrders)?;
    let mut conn = app.db.acquire().await?;
    let id = custom_orders::resolve(&mut conn, &id).await?;
    Ok(Json(CustomMoneyView::read(&mut conn, id).await?))
}

/// The refund that is requested from Stripe.
#[derive(Serialize, ToSchema)]
struct Retried {
    /// The same id, or that of the refund that replaces a failed one.
    id: RefundId,
}

/// Requests a refund from Stripe again at once. A failed refund is replaced by a new one, once.
#[utoipa::path(
    post,
    path = "/api/admin/refunds/{id}/retry",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = RefundId, Path)),
    responses((status = 202, body = Retried), BadRequest, TokenFailures, NotThere, RefundConflict)
)]
async fn retry_refund(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<RefundId>,
) -> Result<(StatusCode, Json<Retried>)> {
    admin.may(Scope::Refunds)?;
    let mut tx = app.db.begin().await?;
    let id = refunds::retry(&mut tx, &admin.actor, id).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(Retried { id })))
}
