//! Admin API of custom orders.
//!
//! Changes that need Stripe (approving, re-quoting, withdrawing) are only planned here; a job carries them out a moment
//! later. The answer is 202 with the current custom order, whose quote state shows the pending change.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, Terms};
use super::{CustomOrder, Quote, QuoteState, Status, TimelineEntry, service};
use crate::app::App;
use crate::audit::{self, Actor};
use crate::auth::{Admin, Scope};
use crate::error::answers::{BadRequest, BodyFailures, NotThere, TokenFailures};
use crate::error::{Error, ErrorBody, FieldError, Result};
use crate::http::texts::Prose;
use crate::http::{Json, Paging, Path, Query};
use crate::images::{self, ImageView};
use crate::orders::disputes::{self, Dispute};
use crate::orders::{self, NewShipment, Order, Shipment, Zone};
use crate::settings::{self, Settings};
use crate::types::ids::CustomOrderId;
use crate::types::money::Cents;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(find))
        .routes(routes!(add_note))
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

/// A custom order with everything shown beside it.
#[derive(Serialize, ToSchema)]
pub struct CustomOrderView {
    #[serde(flatten)]
    pub custom_order: CustomOrder,
    /// The customer's images.
    pub images: Vec<ImageView>,
    /// Oldest first. The current one is `asking`, `live`, `closing` or `paid`.
    pub quotes: Vec<Quote>,
    pub order: Option<Order>,
    /// Disputes of all its payments, oldest first.
    pub disputes: Vec<Dispute>,
    pub shipment: Option<Shipment>,
    /// Images of the shipment: the finished piece.
    pub shipment_images: Vec<ImageView>,
    pub timeline: Vec<TimelineEntry>,
}

impl CustomOrderView {
    /// Returns the current quote: being asked for, payable, or paid.
    pub fn current(&self) -> Option<&Quote> {
        let counts = |quote: &&Quote| quote.state.is_open() || quote.state == QuoteState::Paid;
        self.quotes.iter().find(counts)
    }

    /// Returns the draft, which the customer has not received.
    pub fn draft(&self) -> Option<&Quote> {
        let mut quotes = self.quotes.iter();
        quotes.find(|quote| quote.state == QuoteState::Draft)
    }

    /// Lists the allowed actions. Each action checks again under the custom order's lock.
    pub fn moves(&self) -> Moves {
        let status = self.custom_order.status;
        let current = self.current();
        let is_in = |state| current.is_some_and(|quote| quote.state == state);
        let is_replaceable = status == Status::Approved
            && current
                .is_some_and(|quote| quote.state == QuoteState::Live && !quote.payment_in_progress);
        let is_open = matches!(status, Status::Pending | Status::Expired) && current.is_none();
        let quote = is_open || is_replaceable;
        let order = self.order.as_ref().map(|order| order.status);
        Moves {
            waits: is_in(QuoteState::Asking) || is_in(QuoteState::Closing),
            quote,
            approve: quote && self.draft().is_some(),
            replaces: is_replaceable,
            withdraw: is_replaceable,
            reject: status == Status::Pending && current.is_none(),
            start: status == Status::Paid,
            ship: matches!(status, Status::Paid | Status::InProduction)
                && order == Some(orders::Status::Paid),
            complete: status == Status::Shipped,
        }
    }
}

/// Actions that a custom order allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moves {
    /// No action for a moment: a job is calling Stripe.
    pub waits: bool,
    pub quote: bool,
    /// There is a draft to send.
    pub approve: bool,
    /// Sending the draft replaces the customer's current quote.
    pub replaces: bool,
    pub withdraw: bool,
    pub reject: bool,
    pub start: bool,
    pub ship: bool,
    pub complete: bool,
}

#[derive(Serialize, ToSchema)]
struct CustomOrderPage {
    count: i64,
    page: i64,
    page_size: i64,
    results: Vec<CustomOrder>,
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
    responses(
        (status = 200, body = CustomOrderPage),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
    )
)]
async fn list(State(app): State<App>, admin: Admin, query: Query) -> Result<Json<CustomOrderPage>> {
    admin.may(Scope::CustomOrders)?;
    let mut field_errors = Vec::new();
    let page = query.paging(&mut field_errors);
    let status = query.one_of("status", &Status::ALL, Status::as_str, &mut field_errors);
    let search = query.search(&mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let filter = store::Filter {
        status,
        search,
        limit: page.size,
        offset: page.offset(),
    };
    let (results, count) = store::list(&mut *app.db.acquire().await?, &filter).await?;
    Ok(Json(CustomOrderPage {
        count,
        page: page.number,
        page_size: page.size,
        results,
    }))
}

/// The board: custom orders in progress, by status.
#[derive(Serialize, ToSchema)]
struct BoardView {
    /// From the request to the shipment.
    columns: Vec<Column>,
    /// Number of custom orders with open review items, in any status.
    to_review: i64,
}

/// The custom orders in one status.
#[derive(Serialize, ToSchema)]
pub struct Column {
    pub status: Status,
    /// Number of custom orders in this status.
    pub count: i64,
    /// The newest of them.
    #[serde(rename = "results")]
    pub cards: Vec<CustomOrder>,
}

/// Columns of the board.
const COLUMNS: [Status; 5] = [
    Status::Pending,
    Status::Approved,
    Status::Paid,
    Status::InProduction,
    Status::Shipped,
];

/// Cards in a column of the board.
const CARDS: i64 = 12;

/// Loads the board's columns: for each status that is not final, the number of custom orders and the newest of them.
pub async fn columns(conn: &mut PgConnection) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    for status in COLUMNS {
        let filter = store::Filter {
            status: Some(status),
            search: None,
            limit: CARDS,
            offset: 0,
        };
        let (cards, count) = store::list(conn, &filter).await?;
        columns.push(Column {
            status,
            count,
            cards,
        });
    }
    Ok(columns)
}

/// Returns the board: custom orders in progress, in columns of up to twelve.
#[utoipa::path(
    get,
    operation_id = "custom_orders_board",
    path = "/api/admin/custom-orders/board",
    tag = "custom orders",
    security(("bearer" = [])),
    responses(
        (status = 200, body = BoardView),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
    )
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
    responses(
        (status = 200, body = CustomOrderView),
        TokenFailures, NotThere,
    )
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

/// Resolves a custom order's id or number (`CO-1042`).
///
/// # Errors
/// 404 when there is no such custom order.
pub async fn resolve(conn: &mut PgConnection, id: &str) -> Result<CustomOrderId> {
    store::find_id(conn, id)
        .await?
        .ok_or(Error::NotFound("CustomOrder"))
}

/// Loads a custom order with everything shown beside it.
///
/// # Errors
/// 404 when there is no such custom order.
pub async fn view(conn: &mut PgConnection, id: CustomOrderId) -> Result<CustomOrderView> {
    let custom_order = store::find(conn, id)
        .await?
        .ok_or(Error::NotFound("CustomOrder"))?;
    let (order, shipment) = match custom_order.order_id {
        Some(order) => (
            orders::find(conn, order).await?,
            orders::find_shipment(conn, order).await?,
        ),
        None => (None, None),
    };
    let images = store::images(conn, id).await?;
    let shipment_images = shipment
        .as_ref()
        .map(|shipment| shipment.images.clone())
        .unwrap_or_default();
    Ok(CustomOrderView {
        images: images::list_views(conn, &images).await?,
        quotes: store::quotes(conn, id).await?,
        disputes: disputes::list_of_custom_order(conn, id).await?,
        shipment_images: images::list_views(conn, &shipment_images).await?,
        timeline: store::timeline(conn, id).await?,
        custom_order,
        order,
        shipment,
    })
}

/// Answer to a change: 200 when it is complete, 202 while a job has yet to call Stripe.
type Changed = (StatusCode, Json<CustomOrderView>);

#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "used only by the OpenAPI document")]
enum NotAllowed {
    /// The custom order's status does not allow it.
    #[response(status = 409)]
    Conflict(ErrorBody),
}

/// Makes one change of a custom order in one transaction with its audit entry, and returns the custom order after it.
/// `change` gets the actor's name, and returns further facts for the audit entry.
///
/// # Errors
/// 404; and those of `change`.
pub async fn change(
    db: &PgPool,
    actor: &Actor,
    id: &str,
    action: &'static str,
    change: impl AsyncFnOnce(&mut PgConnection, CustomOrderId, &str) -> Result<Value>,
) -> Result<CustomOrderView> {
    let mut tx = db.begin().await?;
    let id = resolve(&mut tx, id).await?;
    // The second of two concurrent changes waits here, and compares with the result of the first.
    let custom_order = store::lock(&mut tx, id)
        .await?
        .ok_or(Error::NotFound("CustomOrder"))?;
    let before = audit_snapshot(&custom_order, &store::quotes(&mut tx, id).await?);
    let told = store::timeline(&mut tx, id).await?.len();
    let more = change(&mut tx, id, &actor.name).await?;
    let view = view(&mut tx, id).await?;
    let mut after = audit_snapshot(&view.custom_order, &view.quotes);
    // A repeated change has no effect and gets no second audit entry.
    if before != after || view.timeline.len() > told {
        if let (Value::Object(after), Value::Object(more)) = (&mut after, more) {
            after.extend(more);
        }
        let object = format!("custom_order:{}", view.custom_order.display_number());
        audit::record(&mut tx, actor, action, &object, before, after).await?;
    }
    tx.commit().await?;
    Ok(view)
}

/// State of a custom order for the audit log.
fn audit_snapshot(custom_order: &CustomOrder, quotes: &[Quote]) -> Value {
    let quotes: Vec<Value> = quotes
        .iter()
        .map(|quote| {
            let total = quote.total().in_currency(&quote.currency);
            json!({"total": total, "state": quote.state})
        })
        .collect();
    json!({
        "status": custom_order.status,
        "quotes": quotes,
    })
}

/// Makes a [`change`] for an API token.
async fn changed(
    app: &App,
    admin: &Admin,
    id: &str,
    action: &'static str,
    by: impl AsyncFnOnce(&mut PgConnection, CustomOrderId, &str) -> Result<Value>,
) -> Result<Changed> {
    admin.may(Scope::CustomOrders)?;
    let view = change(&app.db, &admin.actor, id, action, by).await?;
    let is_planned = view
        .quotes
        .iter()
        .any(|quote| matches!(quote.state, QuoteState::Asking | QuoteState::Closing));
    let status = if is_planned {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(view)))
}

/// A note for the timeline.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewNote {
    #[schema(value_type = Prose)]
    text: String,
}

/// A reason, sent to the customer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RefusalReason)]
struct Reason {
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

/// A quote for a piece.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewQuote {
    /// Price of the piece, in the smallest unit of the shop's currency. Together with shipping it must be an amount
    /// that Stripe charges: in US dollars, 50 to 99999999.
    #[schema(minimum = 50, maximum = 99_999_999)]
    pub amount: i64,
    /// Description of the quoted piece, shown to the customer.
    #[schema(value_type = Prose)]
    pub description: String,
    /// Destination zone; `us` unless given.
    pub shipping_zone: Option<Zone>,
    /// Price of shipping, in the same unit; the zone's price unless given.
    #[schema(minimum = 0, maximum = 99_999_999)]
    pub shipping: Option<i64>,
    /// Validity in days from approval; the default is a setting.
    #[schema(minimum = 1, maximum = 365)]
    pub valid_days: Option<i32>,
}

impl NewQuote {
    /// Validates the terms and fills in defaults from the settings.
    ///
    /// # Errors
    /// Field errors of its fields.
    pub fn check(self, settings: &Settings) -> Result<Terms> {
        let mut field_errors = Vec::new();
        let zone = self.shipping_zone.unwrap_or(Zone::Us);
        let shipping = self.shipping.unwrap_or_else(|| zone.rate(settings).price.0);
        let currency = settings.currency;
        let most = *currency.charges().end();
        if let Err(wrong) = currency.check_charge(Cents(self.amount)) {
            field_errors.push(FieldError::new("amount", wrong));
        }
        if currency.check_part(Cents(shipping)).is_err()
            || self.amount.saturating_add(shipping) > most
        {
            field_errors.push(FieldError::new(
                "shipping",
                format!(
                    "must not be negative, a multiple of {}, and at most {most} together with the amount",
                    currency.step()
                ),
            ));
        }
        let valid_days = self.valid_days.unwrap_or(settings.quote_valid_days);
        if !(1..=365).contains(&valid_days) {
            field_errors.push(FieldError::new("valid_days", "must be from 1 to 365 days"));
        }
        let description = prose("description", &self.description, 1, &mut field_errors);
        if !field_errors.is_empty() {
            return Err(Error::Invalid(field_errors));
        }
        Ok(Terms {
            currency: currency.code().to_owned(),
            amount: Cents(self.amount),
            shipping: Cents(shipping),
            shipping_zone: zone,
            description,
            valid_days,
        })
    }
}

/// Validates and trims a text of several lines.
fn prose(field: &str, text: &str, least: usize, field_errors: &mut Vec<FieldError>) -> String {
    let text = text.replace("\r\n", "\n").trim().to_owned();
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !(least..=2000).contains(&text.chars().count()) || text.contains(is_odd) {
        field_errors.push(FieldError::new(
            field,
            format!("must have {least} to 2000 characters"),
        ));
    }
    text
}

/// Validates and trims a text of several lines.
///
/// # Errors
/// A field error for fewer characters than `least`, more than 2000, or control characters.
pub fn check_prose(field: &str, text: &str, least: usize) -> Result<String> {
    let mut field_errors = Vec::new();
    let text = prose(field, text, least, &mut field_errors);
    if field_errors.is_empty() {
        Ok(text)
    } else {
        Err(Error::Invalid(field_errors))
    }
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
    responses(
        (status = 200, body = CustomOrderView),
        (status = 202, body = CustomOrderView, description = "The same, while a job creates or closes a payment link"),
        TokenFailures, NotThere, BadRequest, BodyFailures,
    )
)]
async fn add_note(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(note): Json<NewNote>,
) -> Result<Changed> {
    let text = check_prose("text", &note.text, 1)?;
    changed(
        &app,
        &admin,
        &id,
        "custom_order.note",
        async |conn, id, actor| {
            service::note(conn, id, "note", actor, &text).await?;
            Ok(json!({"note": text}))
        },
    )
    .await
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
    responses(
        (status = 200, body = CustomOrderView),
        (status = 202, body = CustomOrderView, description = "The same, while a job creates or closes a payment link"),
        TokenFailures, NotThere, BadRequest, BodyFailures, NotAllowed,
    )
)]
async fn quote(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(new): Json<NewQuote>,
) -> Result<Changed> {
    let terms = new.check(&settings::current(&mut *app.db.acquire().await?, &app.config).await?)?;
    changed(
        &app,
        &admin,
        &id,
        "custom_order.quote",
        async |conn, id, actor| {
            let quote = service::quote(conn, id, &terms, actor).await?;
            Ok(json!({"description": quote.description, "valid_days": quote.valid_days}))
        },
    )
    .await
}

/// Discards the draft of a quote. The customer's current quote stays. Safe to repeat.
#[utoipa::path(
    delete,
    operation_id = "discard_quote",
    path = "/api/admin/custom-orders/{id}/quote",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses(
        (status = 200, body = CustomOrderView),
        TokenFailures, NotThere, NotAllowed,
    )
)]
async fn discard_quote(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Changed> {
    changed(
        &app,
        &admin,
        &id,
        "custom_order.discard_quote",
        async |conn, id, actor| {
            service::discard_draft(conn, id, actor).await?;
            Ok(json!({}))
        },
    )
    .await
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
    responses(
        (status = 200, body = CustomOrderView),
        (status = 202, body = CustomOrderView, description = "The same, while a job creates or closes a payment link"),
        TokenFailures, NotThere, BadRequest, BodyFailures, NotAllowed,
    )
)]
async fn requote(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(new): Json<NewQuote>,
) -> Result<Changed> {
    let terms = new.check(&settings::current(&mut *app.db.acquire().await?, &app.config).await?)?;
    changed(
        &app,
        &admin,
        &id,
        "custom_order.requote",
        async |conn, id, actor| {
            service::requote(conn, &app, id, &terms, actor).await?;
            Ok(json!({"description": terms.description, "valid_days": terms.valid_days}))
        },
    )
    .await
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
    responses(
        (status = 200, body = CustomOrderView),
        (status = 202, body = CustomOrderView, description = "The same, while a job creates or closes a payment link"),
        TokenFailures, NotThere, NotAllowed,
    )
)]
async fn approve(State(app): State<App>, admin: Admin, Path(id): Path<String>) -> Result<Changed> {
    changed(
        &app,
        &admin,
        &id,
        "custom_order.approve",
        async |conn, id, actor| {
            service::approve(conn, &app, id, actor).await?;
            Ok(json!({}))
        },
    )
    .await
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
    request_body = Reason,
    responses(
        (status = 200, body = CustomOrderView),
        (status = 202, body = CustomOrderView, description = "The same, while a job creates or closes a payment link"),
        TokenFailures, NotThere, BadRequest, BodyFailures, NotAllowed,
    )
)]
async fn withdraw(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(why): Json<Reason>,
) -> Result<Changed> {
    let reason = check_prose("reason", &why.reason, 0)?;
    changed(
        &app,
        &admin,
        &id,
        "custom_order.withdraw",
        async |conn, id, actor| {
            service::withdraw(conn, id, &reason, actor).await?;
            Ok(json!({"reason": reason}))
        },
    )
    .await
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
    responses(
        (status = 200, body = CustomOrderView),
        (status = 202, body = CustomOrderView, description = "The same, while a job creates or closes a payment link"),
        TokenFailures, NotThere, BadRequest, BodyFailures, NotAllowed,
    )
)]
async fn reject(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(why): Json<Rejection>,
) -> Result<Changed> {
    let reason = check_prose("reason", &why.reason, 1)?;
    changed(
        &app,
        &admin,
        &id,
        "custom_order.reject",
        async |conn, id, actor| {
            service::reject(conn, &app, id, &reason, actor).await?;
            Ok(json!({"reason": reason}))
        },
    )
    .await
}

/// Starts production of a paid piece. Safe to repeat.
#[utoipa::path(
    post,
    operation_id = "start_production",
    path = "/api/admin/custom-orders/{id}/start",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses(
        (status = 200, body = CustomOrderView),
        TokenFailures, NotThere, NotAllowed,
    )
)]
async fn start(State(app): State<App>, admin: Admin, Path(id): Path<String>) -> Result<Changed> {
    changed(
        &app,
        &admin,
        &id,
        "custom_order.start",
        async |conn, id, actor| {
            service::start_production(conn, id, actor).await?;
            Ok(json!({}))
        },
    )
    .await
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
    responses(
        (status = 200, body = CustomOrderView),
        TokenFailures, NotThere, BadRequest, BodyFailures, NotAllowed,
    )
)]
async fn ship(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(shipment): Json<NewShipment>,
) -> Result<Changed> {
    changed(&app, &admin, &id, "custom_order.ship", async |conn, id, actor| {
        service::ship(conn, &app, id, &shipment, actor).await?;
        Ok(json!({"carrier": shipment.carrier, "tracking_number": shipment.tracking_number, "images": shipment.images.len()}))
    })
    .await
}

/// Completes the custom order and its order after delivery. Safe to repeat.
#[utoipa::path(
    post,
    operation_id = "complete_custom_order",
    path = "/api/admin/custom-orders/{id}/complete",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses(
        (status = 200, body = CustomOrderView),
        TokenFailures, NotThere, NotAllowed,
    )
)]
async fn complete(State(app): State<App>, admin: Admin, Path(id): Path<String>) -> Result<Changed> {
    changed(
        &app,
        &admin,
        &id,
        "custom_order.complete",
        async |conn, id, actor| {
            service::complete(conn, id, actor).await?;
            Ok(json!({}))
        },
    )
    .await
}
