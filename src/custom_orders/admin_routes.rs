//! Admin API of custom orders.
//!
//! Changes that need Stripe (approving, re-quoting, withdrawing) are only planned here; a job carries them out a moment
//! later. The answer is 202 with the current custom order, whose quote state shows the pending change.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sqlx::{Postgres, Transaction};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::new_quote::NewQuote;
use super::view::{Column, CustomOrderView, columns, resolve, view};
use super::{CustomOrder, QuoteState, Status, quotes, service, store};
use crate::app::App;
use crate::auth::{Admin, Scope};
use crate::error::answers::{BadRequest, BodyFailures, NotThere, TokenFailures};
use crate::error::{Error, ErrorBody, Result};
use crate::http::idempotency::{IdempotencyKey, Key, Owner, earlier_answer};
use crate::http::texts::Prose;
use crate::http::{Json, Page, Paging, Path, Query};
use crate::orders::NewShipment;
use crate::settings;
use crate::types::ids::CustomOrderId;

/// Routes of custom orders for tokens with the scope `custom_orders`.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(find))
        .routes(routes!(add_note))
        .routes(routes!(write_message))
        .routes(routes!(quote, discard_quote))
        .routes(routes!(board))
        .routes(routes!(requote))
        .routes(routes!(approve))
        .routes(routes!(withdraw))
        .routes(routes!(reject))
        .routes(routes!(start))
        .routes(routes!(ship))
        .routes(routes!(complete))
        .merge(super::quote_email::router())
        .merge(super::review_items::router())
}

/// Lists custom orders, newest first.
#[utoipa::path(
    get,
    operation_id = "list_custom_orders",
    path = "/api/admin/custom-orders",
    tag = "custom orders",
    security(("bearer" = [])),
    params(
        ("status" = Option<Status>, Query, description = "Only custom orders with this status"),
        ("search" = Option<String>, Query, description = "A number, or a part of name, email address or description", max_length = 200, pattern = r"^[^\x00]*$"),
        Paging,
    ),
    responses((status = 200, body = Page<CustomOrder>), BadRequest, TokenFailures)
)]
async fn list(
    State(app): State<App>,
    admin: Admin,
    query: Query,
) -> Result<Json<Page<CustomOrder>>> {
    admin.may(Scope::CustomOrders)?;
    let mut field_errors = Vec::new();
    let page = query.paging(&mut field_errors);
    let status = query.one_of("status", &Status::ALL, Status::as_str, &mut field_errors);
    let search = query.search(&mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let filter = store::CustomOrderFilter {
        status,
        search,
        limit: page.size,
        offset: page.offset(),
    };
    let (results, count) = store::list(&mut *app.db.acquire().await?, &filter).await?;
    Ok(Json(Page::new(page, count, results)))
}

/// The board: custom orders in progress, by status.
#[derive(Serialize, ToSchema)]
struct BoardView {
    /// From the request to the shipment.
    columns: Vec<Column>,
    /// Number of custom orders with open review items, in any status.
    to_review: i64,
}

/// Returns the board: custom orders in progress, in columns of up to twelve.
#[utoipa::path(
    get,
    operation_id = "custom_orders_board",
    path = "/api/admin/custom-orders/board",
    tag = "custom orders",
    security(("bearer" = [])),
    responses((status = 200, body = BoardView), TokenFailures)
)]
async fn board(State(app): State<App>, admin: Admin) -> Result<Json<BoardView>> {
    admin.may(Scope::CustomOrders)?;
    let mut conn = app.db.acquire().await?;
    let (_, _, to_review) = store::count_to_do(&mut conn).await?;
    Ok(Json(BoardView {
        columns: columns(&mut conn).await?,
        to_review,
    }))
}

/// Returns one custom order, by id or by number (`CO-1042`), with its timeline.
#[utoipa::path(
    get,
    operation_id = "find_custom_order",
    path = "/api/admin/custom-orders/{id}",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses((status = 200, body = CustomOrderView), TokenFailures, NotThere)
)]
async fn find(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<CustomOrderView>> {
    admin.may(Scope::CustomOrders)?;
    let mut conn = app.db.acquire().await?;
    let id = resolve(&mut conn, &id).await?;
    Ok(Json(view(&mut conn, id).await?))
}

/// Answer to a change: 200 when it is complete, 202 while a job has yet to call Stripe.
type Changed = (StatusCode, Json<CustomOrderView>);

#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "used only by the OpenAPI document")]
enum DoneOrPlanned {
    #[response(status = 200)]
    Done(CustomOrderView),
    /// The same, while a job creates or closes a payment link
    #[response(status = 202)]
    Planned(CustomOrderView),
}

#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "used only by the OpenAPI document")]
enum NotAllowed {
    /// The custom order's status does not allow it: `not_quotable`, `not_approvable`, `no_quote`, `quote_is_live`,
    /// `quote_asking`, `quote_closing`, `payment_in_progress`, `not_rejectable`, `not_withdrawable`, `not_paid`,
    /// `refunded_in_full`, `not_shippable`, `not_shipped`. The customer's data was deleted: `customer_erased`.
    #[response(status = 409)]
    Conflict(ErrorBody),
}

/// Commits a change and answers with the custom order after it.
async fn answer(mut tx: Transaction<'static, Postgres>, id: CustomOrderId) -> Result<Changed> {
    let view = view(&mut tx, id).await?;
    tx.commit().await?;
    let mut states = view.quotes.iter().map(|quote| quote.state);
    let is_planned = states.any(|state| matches!(state, QuoteState::Asking | QuoteState::Closing));
    let status = match is_planned {
        true => StatusCode::ACCEPTED,
        false => StatusCode::OK,
    };
    Ok((status, Json(view)))
}

/// A note for the timeline, or a message to the customer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewNote {
    #[schema(value_type = Prose)]
    text: String,
}

/// A reason, sent to the customer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefusalReason {
    /// Up to 2000 characters, sent to the customer.
    #[serde(default)]
    #[schema(max_length = 2000, pattern = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]
    reason: String,
}

/// The reason for a rejection, sent to the customer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rejection {
    #[serde(default)]
    #[schema(value_type = Prose, required = true)]
    reason: String,
}

/// Adds a note to a custom order's timeline.
#[utoipa::path(
    post,
    operation_id = "note_on_custom_order",
    path = "/api/admin/custom-orders/{id}/notes",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    request_body = NewNote,
    responses(DoneOrPlanned, TokenFailures, NotThere, NotAllowed, BadRequest, BodyFailures)
)]
async fn add_note(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(note): Json<NewNote>,
) -> Result<Changed> {
    admin.may(Scope::CustomOrders)?;
    let mut tx = app.db.begin().await?;
    let id = resolve(&mut tx, &id).await?;
    service::write_note(&mut tx, &admin.actor, id, &note.text).await?;
    answer(tx, id).await
}

/// Writes to the customer by email and keeps the message on the timeline. The customer's reply goes to the shop's mailbox.
#[utoipa::path(
    post,
    operation_id = "write_to_customer",
    path = "/api/admin/custom-orders/{id}/messages",
    tag = "custom orders",
    security(("bearer" = [])),
    params(
        ("id" = String, Path, description = "The id, or the number as CO-1042"),
        ("Idempotency-Key" = Option<IdempotencyKey>, Header, nullable = false, description = "Any text that identifies this message"),
    ),
    request_body = NewNote,
    responses(
        DoneOrPlanned,
        TokenFailures,
        NotThere,
        NotAllowed,
        BadRequest,
        BodyFailures,
        (status = 422, body = ErrorBody, description = "The key was used for another message"),
    )
)]
async fn write_message(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(message): Json<NewNote>,
) -> Result<Response> {
    admin.may(Scope::CustomOrders)?;
    let asked = format!("{id} {}", message.text);
    let owner = Owner::actor(&admin.actor);
    let key = Key::read(&headers, "message", &owner, asked.as_bytes())?;
    let mut tx = app.db.begin().await?;
    if let Some((status, answer)) = earlier_answer(&mut tx, key.as_ref()).await? {
        return Ok((status, Json(answer)).into_response());
    }
    let id = resolve(&mut tx, &id).await?;
    service::write_message(&mut tx, &app, &admin.actor, id, &message.text).await?;
    let view = serde_json::to_value(view(&mut tx, id).await?).map_err(anyhow::Error::from)?;
    if let Some(key) = &key {
        key.keep(&mut tx, None, Some((200, &view))).await?;
    }
    tx.commit().await?;
    Ok(Json(view).into_response())
}

/// Saves the draft of a quote. The customer gets it on approval.
#[utoipa::path(
    put,
    operation_id = "draft_quote",
    path = "/api/admin/custom-orders/{id}/quote",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    request_body = NewQuote,
    responses(DoneOrPlanned, TokenFailures, NotThere, BadRequest, BodyFailures, NotAllowed)
)]
async fn quote(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(new): Json<NewQuote>,
) -> Result<Changed> {
    admin.may(Scope::CustomOrders)?;
    let settings = settings::current(&mut *app.db.acquire().await?, &app.config).await?;
    let terms = new.check(&settings)?;
    let mut tx = app.db.begin().await?;
    let id = resolve(&mut tx, &id).await?;
    quotes::quote(&mut tx, &admin.actor, id, &terms).await?;
    answer(tx, id).await
}

/// Discards the draft of a quote. The customer's current quote stays. Safe to repeat.
#[utoipa::path(
    delete,
    operation_id = "discard_quote",
    path = "/api/admin/custom-orders/{id}/quote",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses((status = 200, body = CustomOrderView), TokenFailures, NotThere, NotAllowed)
)]
async fn discard_quote(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Changed> {
    admin.may(Scope::CustomOrders)?;
    let mut tx = app.db.begin().await?;
    let id = resolve(&mut tx, &id).await?;
    quotes::discard_draft(&mut tx, &admin.actor, id).await?;
    answer(tx, id).await
}

/// Replaces the customer's current quote: closes the old payment link, then creates and sends a new one.
#[utoipa::path(
    post,
    operation_id = "replace_quote",
    path = "/api/admin/custom-orders/{id}/requote",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    request_body = NewQuote,
    responses(DoneOrPlanned, TokenFailures, NotThere, BadRequest, BodyFailures, NotAllowed)
)]
async fn requote(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(new): Json<NewQuote>,
) -> Result<Changed> {
    admin.may(Scope::CustomOrders)?;
    let settings = settings::current(&mut *app.db.acquire().await?, &app.config).await?;
    let terms = new.check(&settings)?;
    let mut tx = app.db.begin().await?;
    let id = resolve(&mut tx, &id).await?;
    quotes::requote(&mut tx, &app, &admin.actor, id, &terms).await?;
    answer(tx, id).await
}

/// Approves a custom order with its drafted quote: creates the payment link and sends it to the customer. Safe to
/// repeat.
#[utoipa::path(
    post,
    operation_id = "approve_custom_order",
    path = "/api/admin/custom-orders/{id}/approve",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses(DoneOrPlanned, TokenFailures, NotThere, NotAllowed)
)]
async fn approve(State(app): State<App>, admin: Admin, Path(id): Path<String>) -> Result<Changed> {
    admin.may(Scope::CustomOrders)?;
    let mut tx = app.db.begin().await?;
    let id = resolve(&mut tx, &id).await?;
    quotes::approve(&mut tx, &app, &admin.actor, id).await?;
    answer(tx, id).await
}

/// Withdraws a quote: closes its payment link, sets the custom order back to `pending`, and emails the customer. Safe
/// to repeat.
#[utoipa::path(
    post,
    operation_id = "withdraw_quote",
    path = "/api/admin/custom-orders/{id}/withdraw",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    request_body = RefusalReason,
    responses(DoneOrPlanned, TokenFailures, NotThere, BadRequest, BodyFailures, NotAllowed)
)]
async fn withdraw(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(why): Json<RefusalReason>,
) -> Result<Changed> {
    admin.may(Scope::CustomOrders)?;
    let mut tx = app.db.begin().await?;
    let id = resolve(&mut tx, &id).await?;
    quotes::withdraw(&mut tx, &admin.actor, id, &why.reason).await?;
    answer(tx, id).await
}

/// Rejects a custom order. A quote's payment link is closed first. Safe to repeat.
#[utoipa::path(
    post,
    operation_id = "reject_custom_order",
    path = "/api/admin/custom-orders/{id}/reject",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    request_body = Rejection,
    responses(DoneOrPlanned, TokenFailures, NotThere, BadRequest, BodyFailures, NotAllowed)
)]
async fn reject(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(why): Json<Rejection>,
) -> Result<Changed> {
    admin.may(Scope::CustomOrders)?;
    let mut tx = app.db.begin().await?;
    let id = resolve(&mut tx, &id).await?;
    quotes::reject(&mut tx, &app, &admin.actor, id, &why.reason).await?;
    answer(tx, id).await
}

/// Starts production of a paid piece. Safe to repeat.
#[utoipa::path(
    post,
    operation_id = "start_production",
    path = "/api/admin/custom-orders/{id}/start",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses((status = 200, body = CustomOrderView), TokenFailures, NotThere, NotAllowed)
)]
async fn start(State(app): State<App>, admin: Admin, Path(id): Path<String>) -> Result<Changed> {
    admin.may(Scope::CustomOrders)?;
    let mut tx = app.db.begin().await?;
    let id = resolve(&mut tx, &id).await?;
    service::start_production(&mut tx, &admin.actor, id).await?;
    answer(tx, id).await
}

/// Ships the finished piece: records the shipment, updates order and custom order, and emails the customer.
#[utoipa::path(
    post,
    operation_id = "ship_custom_order",
    path = "/api/admin/custom-orders/{id}/ship",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    request_body = NewShipment,
    responses((status = 200, body = CustomOrderView), TokenFailures, NotThere, BadRequest, BodyFailures, NotAllowed)
)]
async fn ship(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(shipment): Json<NewShipment>,
) -> Result<Changed> {
    admin.may(Scope::CustomOrders)?;
    let mut tx = app.db.begin().await?;
    let id = resolve(&mut tx, &id).await?;
    service::ship(&mut tx, &app, &admin.actor, id, &shipment).await?;
    answer(tx, id).await
}

/// Completes the custom order and its order after delivery. Safe to repeat.
#[utoipa::path(
    post,
    operation_id = "complete_custom_order",
    path = "/api/admin/custom-orders/{id}/complete",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses((status = 200, body = CustomOrderView), TokenFailures, NotThere, NotAllowed)
)]
async fn complete(State(app): State<App>, admin: Admin, Path(id): Path<String>) -> Result<Changed> {
    admin.may(Scope::CustomOrders)?;
    let mut tx = app.db.begin().await?;
    let id = resolve(&mut tx, &id).await?;
    service::complete(&mut tx, &admin.actor, id).await?;
    answer(tx, id).await
}
