//! HTTP of custom orders, for the owner: reading custom orders and moving them along.
//!
//! What needs Stripe (approving, re-quoting, withdrawing) is planned here and carried out by a job a moment later: the
//! answer is 202 with the custom order as it stands, and says by the quote's state what is on its way.

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
use crate::disputes::{self, Dispute};
use crate::error::answers::{BadRequest, BodyFailures, NotThere, TokenFailures};
use crate::error::{Error, ErrorBody, FieldError, Result};
use crate::extract::texts::Prose;
use crate::extract::{Json, Paging, Path, Query};
use crate::ids::CustomOrderId;
use crate::media::{self, ImageView};
use crate::money::Cents;
use crate::orders::{self, NewShipment, Order, Shipment, Zone};
use crate::settings::{self, Settings};

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
}

/// A custom order with all that belongs to it.
#[derive(Serialize, ToSchema)]
pub struct CustomOrderView {
    #[serde(flatten)]
    pub custom_order: CustomOrder,
    /// The visitor's images.
    pub images: Vec<ImageView>,
    /// Oldest first; the one that counts is `asking`, `live`, `closing` or `paid`.
    pub quotes: Vec<Quote>,
    pub order: Option<Order>,
    /// Of all payments that came in for it, oldest first.
    pub disputes: Vec<Dispute>,
    pub shipment: Option<Shipment>,
    /// The shipment's images: the finished piece.
    pub shipment_images: Vec<ImageView>,
    pub timeline: Vec<TimelineEntry>,
}

impl CustomOrderView {
    /// The quote that is being asked for, can be paid, or was.
    pub fn current(&self) -> Option<&Quote> {
        let counts = |quote: &&Quote| quote.state.is_open() || quote.state == QuoteState::Paid;
        self.quotes.iter().find(counts)
    }

    /// The quote that the customer has not heard of.
    pub fn draft(&self) -> Option<&Quote> {
        let mut quotes = self.quotes.iter();
        quotes.find(|quote| quote.state == QuoteState::Draft)
    }

    /// What may be done to the custom order as it stands. The changes themselves check again, under its lock.
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

/// What may be done to a custom order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moves {
    /// Nothing, for a moment: a job is asking Stripe.
    pub waits: bool,
    pub quote: bool,
    /// There is a draft that may be sent.
    pub approve: bool,
    /// A draft that is sent takes the place of the quote that the customer has.
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

/// Requests, newest first.
#[utoipa::path(
    get,
    operation_id = "list_custom_orders",
    path = "/api/admin/custom-orders",
    tag = "custom orders",
    security(("bearer" = [])),
    params(
        ("status" = Option<Status>, Query, description = "Only requests in this state"),
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

/// What is going on, in columns.
#[derive(Serialize, ToSchema)]
struct BoardView {
    /// From the first word to the shipment.
    columns: Vec<Column>,
    /// Custom orders with open review items, in whatever state.
    attention: i64,
}

/// The custom orders in one state.
#[derive(Serialize, ToSchema)]
pub struct Column {
    pub status: Status,
    /// How many there are.
    pub count: i64,
    /// The newest of them.
    #[serde(rename = "results")]
    pub cards: Vec<CustomOrder>,
}

/// The columns of the board.
const COLUMNS: [Status; 5] = [
    Status::Pending,
    Status::Approved,
    Status::Paid,
    Status::InProduction,
    Status::Shipped,
];

/// How many cards a column of the board has.
const CARDS: i64 = 12;

/// What is going on: of each state that is not the end, how many custom orders there are, and the newest.
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

/// The board: what is going on, in columns of up to twelve custom orders.
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
    let (_, _, attention) = store::count_to_do(&mut conn).await?;
    Ok(Json(BoardView {
        columns: columns(&mut conn).await?,
        attention,
    }))
}

/// One custom order, by id or by number (`CO-1042`), with its timeline.
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

/// The custom order that somebody names: by its id, or its number as `CO-1042`.
///
/// # Errors
/// 404 for what is neither an id nor a number of ours.
pub async fn resolve(conn: &mut PgConnection, id: &str) -> Result<CustomOrderId> {
    store::find_id(conn, id)
        .await?
        .ok_or(Error::NotFound("CustomOrder"))
}

/// A custom order with all that belongs to it.
///
/// # Errors
/// 404 when there is none.
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
        images: media::list_views(conn, &images).await?,
        quotes: store::quotes(conn, id).await?,
        disputes: disputes::list_of_custom_order(conn, id).await?,
        shipment_images: media::list_views(conn, &shipment_images).await?,
        timeline: store::timeline(conn, id).await?,
        custom_order,
        order,
        shipment,
    })
}

/// The answer to a change: 200 when all is done, 202 while a job has yet to ask Stripe.
type Changed = (StatusCode, Json<CustomOrderView>);

#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "read by the OpenAPI document alone")]
enum NotAllowed {
    /// The state of the custom order does not allow it.
    #[response(status = 409)]
    Conflict(ErrorBody),
}

/// One change of a custom order in one transaction, with its entry in the audit log; and the custom order as it then stands. The
/// change is given the actor's name, and returns what else is to be written down.
///
/// # Errors
/// 404; and the change's own.
pub async fn change(
    db: &PgPool,
    actor: &Actor,
    id: &str,
    action: &'static str,
    change: impl AsyncFnOnce(&mut PgConnection, CustomOrderId, &str) -> Result<Value>,
) -> Result<CustomOrderView> {
    let mut tx = db.begin().await?;
    let id = resolve(&mut tx, id).await?;
    // Of two at once, the second compares with what the first left.
    let custom_order = store::lock(&mut tx, id)
        .await?
        .ok_or(Error::NotFound("CustomOrder"))?;
    let before = audit_snapshot(&custom_order, &store::quotes(&mut tx, id).await?);
    let told = store::timeline(&mut tx, id).await?.len();
    let more = change(&mut tx, id, &actor.name).await?;
    let view = view(&mut tx, id).await?;
    let mut after = audit_snapshot(&view.custom_order, &view.quotes);
    // A repeat does nothing, and is not written down again.
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

/// The facts that a change is about.
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

/// As [`change`], for a program.
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

/// A line for the timeline.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewNote {
    #[schema(value_type = Prose)]
    text: String,
}

/// A reason, told to the customer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RefusalReason)]
struct Reason {
    /// Up to 2000 characters, told to the customer.
    #[serde(default)]
    #[schema(max_length = 2000, pattern = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]
    reason: String,
}

/// Why a custom order is turned down, told to the customer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rejection {
    #[serde(default)]
    #[schema(value_type = Prose, required = true)]
    reason: String,
}

/// A price for a piece.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewQuote {
    /// For the piece, in the smallest unit of the shop's currency: with shipping what Stripe charges of it, of US dollars 50
    /// to 99999999.
    #[schema(minimum = 50, maximum = 99_999_999)]
    pub amount: i64,
    /// What the price covers. The customer reads it.
    #[schema(value_type = Prose)]
    pub description: String,
    /// Where the shipment goes; `us` unless given.
    pub shipping_zone: Option<Zone>,
    /// For the shipment, in the same unit; what the zone costs unless given.
    #[schema(minimum = 0, maximum = 99_999_999)]
    pub shipping: Option<i64>,
    /// How long it holds from its approval on; as the settings say unless given.
    #[schema(minimum = 1, maximum = 365)]
    pub valid_days: Option<i32>,
}

impl NewQuote {
    /// The terms, with the settings' where none were given.
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

/// A text of some lines that people read, without the space around it.
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

/// A text of some lines, as people read it.
///
/// # Errors
/// A field error of the field: it has fewer characters than `least`, more than 2000, or such as nobody can read.
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
        (status = 202, body = CustomOrderView, description = "The same, while a payment link of the request is being made or closed"),
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

/// Keeps the draft of a quote; the customer hears of it when it is approved.
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
        (status = 202, body = CustomOrderView, description = "The same, while a payment link of the request is being made or closed"),
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

/// Throws the draft of a quote away. What the customer has stays. Safe to repeat.
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

/// Replaces a quote that the customer has: the old payment link is closed, then a new one is made and sent.
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
        (status = 202, body = CustomOrderView, description = "The same, while a payment link of the request is being made or closed"),
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

/// Approves a custom order with the quote drafted for it: its payment link is made and sent to the customer. Safe to repeat.
#[utoipa::path(
    post,
    operation_id = "approve_custom_order",
    path = "/api/admin/custom-orders/{id}/approve",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses(
        (status = 200, body = CustomOrderView),
        (status = 202, body = CustomOrderView, description = "The same, while a payment link of the request is being made or closed"),
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

/// Takes a quote back: its payment link is closed, then the custom order is `pending` again and the customer gets an email.
/// Safe to repeat.
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
        (status = 202, body = CustomOrderView, description = "The same, while a payment link of the request is being made or closed"),
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

/// Turns a custom order down. The payment link of one that has a quote is closed first. Safe to repeat.
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
        (status = 202, body = CustomOrderView, description = "The same, while a payment link of the request is being made or closed"),
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

/// Begins the making of a paid piece. Safe to repeat.
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

/// Ships the finished piece: shipment, order and custom order in one, with an email that shows it.
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

/// The piece has arrived: completes the custom order and its order. Safe to repeat.
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
