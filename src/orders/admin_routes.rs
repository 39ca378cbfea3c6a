//! Admin API of orders: listing, export, notes, and sales made elsewhere.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use chrono::{DateTime, Days, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::restocks::{self, NewRestock};
use super::sales::{self, Sale};
use super::status_page;
use super::view::{OrderView, resolve, view};
use super::{ListedOrder, PaymentMethod, Restocked, Status, export, labels, service, store};
use crate::app::App;
use crate::auth::{Admin, Scope};
use crate::error::answers::{BadRequest, BodyFailures, NotThere, TokenFailures};
use crate::error::{Error, ErrorBody, FieldError, Result};
use crate::http::idempotency::{IdempotencyKey, Key, Owner, earlier_answer};
use crate::http::texts::Day;
use crate::http::{Json, Page, Paging, Path, Query};
use crate::mail;
use crate::settings;
use crate::types::calendar;
use crate::types::ids::{ProductId, RestockId};
use crate::types::money::Cents;

/// Routes of orders for tokens with the scope `orders:read` or `orders:write`, and the customer's page.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, record_sale))
        .routes(routes!(download))
        .routes(routes!(download_labels))
        .routes(routes!(packing_slip))
        .routes(routes!(find))
        .routes(routes!(add_note))
        .routes(routes!(undo))
        .routes(routes!(restock_order))
        .merge(super::review_items::router())
        .routes(routes!(status_page::status))
        .route("/api/orders/{id}", any(status_page::damaged_link))
        .route("/api/orders/{id}/{rest}", any(status_page::damaged_link))
}

/// Lists orders, newest first.
#[utoipa::path(
    get,
    path = "/api/admin/orders",
    tag = "orders",
    security(("bearer" = [])),
    params(
        ("status" = Option<Status>, Query, description = "Only orders with this status"),
        ("search" = Option<String>, Query, description = "An order's number or id, or a part of a name, an email address, a product's name, the city and state (`Portland, OR`), or a tracking number, whose spaces and hyphens do not count", max_length = 200, pattern = r"^[^\x00]*$"),
        ("from" = Option<Day>, Query, nullable = false, description = "Only orders paid on this day or later, in the shop's time zone: 2026-11-24"),
        ("to" = Option<Day>, Query, nullable = false, description = "Only orders paid on this day or earlier"),
        ("to_review" = Option<bool>, Query, description = "`true`: only orders with open review items; `false`: the others"),
        ("to_pack" = Option<bool>, Query, description = "`true`: only orders that wait to be packed; `false`: the others"),
        Paging,
    ),
    responses((status = 200, body = Page<ListedOrder>), BadRequest, TokenFailures)
)]
async fn list(
    State(app): State<App>,
    admin: Admin,
    query: Query,
) -> Result<Json<Page<ListedOrder>>> {
    admin.may(Scope::OrdersRead)?;
    let mut field_errors = Vec::new();
    let page = query.paging(&mut field_errors);
    let status = query.one_of("status", &Status::ALL, Status::as_str, &mut field_errors);
    let search = query.search(&mut field_errors);
    let (from, to) = export::read_days(&query, &mut field_errors);
    let flag = |value| if value { "true" } else { "false" };
    let to_review = query.one_of("to_review", &[true, false], flag, &mut field_errors);
    let to_pack = query.one_of("to_pack", &[true, false], flag, &mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let mut conn = app.db.acquire().await?;
    let zone = settings::time_zone(&mut conn, &app.config).await?;
    let filter = store::OrderFilter {
        status,
        search,
        paid_from: from.map(|day| calendar::start_of(day, zone)),
        paid_until: to.map(|day| calendar::start_of(day + Days::new(1), zone)),
        to_review,
        to_pack,
        limit: page.size,
        offset: page.offset(),
    };
    let (orders, count) = store::list(&mut conn, &filter).await?;
    Ok(Json(Page::new(page, count, orders)))
}

/// Exports the orders paid in a range of days for bookkeeping (CSV, UTF-8 with a byte order mark for Excel). No cell is
/// read as a formula.
#[utoipa::path(
    get,
    operation_id = "export_orders",
    path = "/api/admin/orders.csv",
    tag = "orders",
    security(("bearer" = [])),
    params(
        ("from" = Option<Day>, Query, nullable = false, description = "The first day, in the shop's time zone: 2026-11-24; 29 days ago unless given"),
        ("to" = Option<Day>, Query, nullable = false, description = "The last day; today unless given"),
        ("rows" = Option<String>, Query, nullable = false, description = "`orders` (default): a row per order; `lines`: a row per order line, with the totals in the first row of each order", pattern = "^(orders|lines)$"),
    ),
    responses((status = 200, body = String, content_type = "text/csv"), BadRequest, TokenFailures)
)]
async fn download(State(app): State<App>, admin: Admin, query: Query) -> Result<Response> {
    admin.may(Scope::OrdersRead)?;
    export::export(app, &query).await
}

/// Exports the orders that wait to be packed for a site where shipping labels are bought (CSV), oldest first, with the
/// weight of what is to be shipped. Orders without an address are left out. No cell is read as a formula.
#[utoipa::path(
    get,
    operation_id = "export_labels",
    path = "/api/admin/orders/labels.csv",
    tag = "orders",
    security(("bearer" = [])),
    params(
        ("site" = Option<String>, Query, nullable = false, description = "`pirate-ship` (default) or `click-n-ship`", pattern = "^(pirate-ship|click-n-ship)$"),
    ),
    responses((status = 200, body = String, content_type = "text/csv"), BadRequest, TokenFailures)
)]
async fn download_labels(State(app): State<App>, admin: Admin, query: Query) -> Result<Response> {
    admin.may(Scope::OrdersRead)?;
    labels::labels(app, &query).await
}

/// The contents and the address of a shipment.
#[derive(Serialize, ToSchema)]
struct PackingSlip {
    /// `SB-1042`.
    number: String,
    created_at: DateTime<Utc>,
    /// Lines of the address label; empty without an address.
    address: Vec<String>,
    lines: Vec<PackedLine>,
}

#[derive(Serialize, ToSchema)]
struct PackedLine {
    name: String,
    quantity: i32,
}

/// Returns the packing slip: the pieces to ship or shipped, without prices.
#[utoipa::path(
    get,
    operation_id = "packing_slip",
    path = "/api/admin/orders/{id}/packing-slip",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    responses((status = 200, body = PackingSlip), TokenFailures, NotThere)
)]
async fn packing_slip(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<PackingSlip>> {
    admin.may(Scope::OrdersRead)?;
    let mut conn = app.db.acquire().await?;
    let id = resolve(&mut conn, &id).await?;
    let view = view(&mut conn, id).await?;
    let packed = view.lines.into_iter().filter(|line| line.packed() > 0);
    let lines = packed.map(|line| PackedLine {
        quantity: line.packed(),
        name: line.sold.name,
    });
    Ok(Json(PackingSlip {
        number: view.order.display_number(),
        created_at: view.order.created_at,
        address: view.order.label(),
        lines: lines.collect(),
    }))
}

/// Returns one order, by id or by number (`SB-1042`).
#[utoipa::path(
    get,
    path = "/api/admin/orders/{id}",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    responses((status = 200, body = OrderView), TokenFailures, NotThere)
)]
async fn find(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<OrderView>> {
    admin.may(Scope::OrdersRead)?;
    let mut conn = app.db.acquire().await?;
    let id = resolve(&mut conn, &id).await?;
    Ok(Json(view(&mut conn, id).await?))
}

/// A note for an order's timeline.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOrderNote {
    /// 1 to 2000 characters.
    #[schema(
        min_length = 1,
        max_length = 2000,
        pattern = r"^[^\s\x00]([^\x00]*[^\s\x00])?$"
    )]
    text: String,
}

/// Adds a note to an order's timeline.
#[utoipa::path(
    post,
    operation_id = "note_on_order",
    path = "/api/admin/orders/{id}/notes",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    request_body = NewOrderNote,
    responses(
        (status = 200, body = OrderView),
        (status = 409, body = ErrorBody, description = "`customer_erased`: the customer's data was deleted"),
        BadRequest,
        TokenFailures,
        NotThere,
        BodyFailures,
    )
)]
async fn add_note(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(note): Json<NewOrderNote>,
) -> Result<Json<OrderView>> {
    admin.may(Scope::OrdersWrite)?;
    let mut tx = app.db.begin().await?;
    let id = resolve(&mut tx, &id).await?;
    service::write_note(&mut tx, &admin.actor, id, &note.text).await?;
    let view = view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view.shown_to(&admin)))
}

/// Undoes a sale recorded by hand: marks it refunded and returns its pieces to stock. Safe to repeat.
#[utoipa::path(
    post,
    operation_id = "undo_sale",
    path = "/api/admin/orders/{id}/undo",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    responses(
        (status = 200, body = OrderView),
        TokenFailures, NotThere,
        (status = 409, body = ErrorBody, description = "`not_by_hand`: paid through Stripe"),
    )
)]
async fn undo(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<OrderView>> {
    admin.may(Scope::OrdersWrite)?;
    let mut tx = app.db.begin().await?;
    let id = resolve(&mut tx, &id).await?;
    sales::undo_sale(&mut tx, &admin.actor, id).await?;
    let view = view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view.shown_to(&admin)))
}

/// Pieces of an order that go back into stock without money.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RestockBody {
    /// Your own UUID for this return: one that comes twice is one return.
    id: Option<RestockId>,
    /// At least one piece that was sold and did not come back.
    #[schema(min_items = 1)]
    restock: Vec<Restocked>,
    /// Up to 200 characters.
    #[serde(default)]
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    reason: String,
}

/// Puts pieces of an order back into stock, without money: it was refunded without them, say. They are on sale again, and
/// are not shipped. Safe to repeat with an `id`.
#[utoipa::path(
    post,
    path = "/api/admin/orders/{id}/restock",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    request_body = RestockBody,
    responses(
        (status = 200, body = OrderView),
        BadRequest, TokenFailures, NotThere,
        (status = 409, body = ErrorBody, description = "`restock_differs`: the id was used for other pieces"),
        BodyFailures,
    )
)]
async fn restock_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(body): Json<RestockBody>,
) -> Result<Json<OrderView>> {
    admin.may(Scope::OrdersWrite)?;
    let pieces = body.restock.into_iter();
    let new = NewRestock {
        id: body.id.unwrap_or_else(RestockId::new),
        pieces: pieces
            .map(|line| (line.product_id, line.quantity))
            .collect(),
        reason: body.reason,
    };
    let mut tx = app.db.begin().await?;
    let id = resolve(&mut tx, &id).await?;
    restocks::restock(&mut tx, &admin.actor, id, &new).await?;
    let view = view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view.shown_to(&admin)))
}

/// A sale made elsewhere, such as at a market stall.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSale {
    /// 1 to 100 lines, each for a different product.
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<NewSaleLine>,
    #[schema(max_length = 254, pattern = r"^([^\x00]*@[^\x00]*|\s*)$")]
    email: Option<String>,
    #[schema(max_length = 200, pattern = r"^[^\x00]*$")]
    customer_name: Option<String>,
    /// Taken off the sum of the lines, in the currency's smallest unit.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 99_999_999)]
    discount: i64,
    payment_method: Option<PaymentMethod>,
    /// The pieces were not handed over: the order is `paid` and waits to be shipped.
    #[serde(default)]
    to_ship: bool,
    /// Emails a receipt to the customer, whose `email` is needed then.
    #[serde(default)]
    receipt: bool,
    /// Note for the timeline, such as the place.
    #[serde(default)]
    #[schema(max_length = 2000, pattern = r"^[^\x00]*$")]
    note: String,
}

#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSaleLine {
    #[schema(value_type = ProductId)]
    product_id: String,
    #[schema(minimum = 1, maximum = 999)]
    quantity: i32,
    /// Price of one piece; the product's price unless given.
    #[schema(minimum = 0, maximum = 99_999_999)]
    unit_price: Option<i64>,
}

impl NewSale {
    fn check(self) -> Result<Sale> {
        let mut field_errors = Vec::new();
        if self.lines.is_empty() || self.lines.len() > 100 {
            field_errors.push(FieldError::new("lines", "must have 1 to 100 lines"));
        }
        let mut lines = Vec::new();
        for (at, line) in self.lines.into_iter().enumerate() {
            if !(1..=999).contains(&line.quantity) {
                field_errors.push(FieldError::new(
                    format!("lines[{at}].quantity"),
                    "must be a whole number from 1 to 999",
                ));
            }
            if line
                .unit_price
                .is_some_and(|price| !(0..=99_999_999).contains(&price))
            {
                field_errors.push(FieldError::new(
                    format!("lines[{at}].unit_price"),
                    "must be from 0 to 99999999",
                ));
            }
            match ProductId::parse(&line.product_id) {
                Some(id) => lines.push((id, line.quantity, line.unit_price.map(Cents))),
                None => field_errors.push(FieldError::new(
                    format!("lines[{at}].product_id"),
                    "is not the id of a product",
                )),
            }
        }
        let mut text = |name: &str, value: Option<String>, most: usize| {
            let value = value
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty());
            if value
                .as_deref()
                .is_some_and(|value| value.chars().count() > most || value.contains('\0'))
            {
                field_errors.push(FieldError::new(
                    name,
                    format!("must have at most {most} characters"),
                ));
            }
            value
        };
        let email = text("email", self.email, 254);
        let has_no_email = self.receipt && email.is_none();
        let customer_name = text("customer_name", self.customer_name, 200);
        let note = text("note", Some(self.note), 2000).unwrap_or_default();
        if email
            .as_deref()
            .is_some_and(|email| mail::parse_address(email).is_none())
        {
            field_errors.push(FieldError::new("email", "is no email address"));
        }
        if has_no_email {
            field_errors.push(FieldError::new("email", "is needed for the receipt"));
        }
        if !(0..=99_999_999).contains(&self.discount) {
            field_errors.push(FieldError::new("discount", "must be from 0 to 99999999"));
        }
        if field_errors.is_empty() {
            Ok(Sale {
                id: None,
                lines,
                discount: Cents(self.discount),
                payment_method: self.payment_method,
                is_to_ship: self.to_ship,
                email,
                wants_receipt: self.receipt,
                customer_name,
                note,
            })
        } else {
            Err(Error::Invalid(field_errors))
        }
    }
}

/// Records a sale made elsewhere: a paid order without Stripe, whose stock is taken under the same lock. The pieces
/// were handed over, so the order is delivered at once.
#[utoipa::path(
    post,
    path = "/api/admin/orders",
    tag = "orders",
    security(("bearer" = [])),
    params(("Idempotency-Key" = Option<IdempotencyKey>, Header, nullable = false, description = "Any text that identifies this sale")),
    request_body = NewSale,
    responses(
        (status = 201, body = OrderView),
        (status = 400, body = ErrorBody, description = "Malformed JSON or invalid values; `amount_too_large`: more than can be paid at once"),
        TokenFailures,
        (status = 409, body = ErrorBody, description = "`insufficient_inventory`: not enough pieces; `sale_differs`: the id was used for another sale"),
        BodyFailures,
        (status = 422, body = ErrorBody, description = "The key was used for another sale"),
    )
)]
async fn record_sale(
    State(app): State<App>,
    admin: Admin,
    headers: HeaderMap,
    Json(new): Json<NewSale>,
) -> Result<Response> {
    admin.may(Scope::OrdersWrite)?;
    let asked = Bytes::from(serde_json::to_vec(&new).map_err(anyhow::Error::from)?);
    let key = Key::read(&headers, "sale", &Owner::actor(&admin.actor), &asked)?;
    let sale = new.check()?;
    let mut tx = app.db.begin().await?;
    if let Some((status, answer)) = earlier_answer(&mut tx, key.as_ref()).await? {
        return Ok((status, Json(answer)).into_response());
    }
    let order = sales::sell(&mut tx, &app, &sale, &admin.actor).await?;
    let view = view(&mut tx, order.id).await?.shown_to(&admin);
    let view = serde_json::to_value(view).map_err(anyhow::Error::from)?;
    if let Some(key) = &key {
        key.keep(&mut tx, Some(order.id), Some((201, &view)))
            .await?;
    }
    tx.commit().await?;
    let location = [(header::LOCATION, format!("/api/admin/orders/{}/", order.id))];
    Ok((StatusCode::CREATED, location, Json(view)).into_response())
}
