//! Shipping and delivery of orders. The order of a custom order also ships and completes that custom order.

mod corrections;
mod customers;
mod unship;

pub use corrections::{Correction, correct_shipment, order_of};
pub use customers::{CustomerChange, correct_customer, correct_customer_of_custom_order};
pub use unship::{Unshipped, Unshipping, unship};

use std::collections::HashSet;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use tracing::warn;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::audit::Actor;
use crate::auth::{Admin, Scope};
use crate::custom_orders::{self, OrderedPiece};
use crate::emails::{self, About, Email};
use crate::error::answers::{BadRequest, BodyFailures, NotThere, TokenFailures};
use crate::error::{Code, Error, ErrorBody, FieldError, Result};
use crate::http::{Json, Path};
use crate::orders::{self, NewShipment, Order, OrderView};
use crate::review_items;
use crate::types::ids::OrderId;

/// Routes of shipping, without a trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(ship_order))
        .routes(routes!(ship_orders))
        .routes(routes!(deliver_order))
        .merge(corrections::router())
        .merge(customers::router())
        .merge(unship::router())
}

/// Ships a paid order and emails the customer.
#[utoipa::path(
    post,
    path = "/api/admin/orders/{id}/ship",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    request_body = NewShipment,
    responses(
        (status = 200, body = OrderView),
        BadRequest, TokenFailures, NotThere,
        (status = 409, body = ErrorBody, description = "`not_shippable`: not paid, or shipped already; `nothing_to_ship`; `refunded_in_full`: all of its money is being refunded; `confirm_shipping`: a bank or Stripe warns of its payment, a dispute was lost or a refund in full failed, and `ship_anyway` does not confirm it"),
        BodyFailures,
    )
)]
async fn ship_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(shipment): Json<NewShipment>,
) -> Result<Json<OrderView>> {
    admin.may(Scope::OrdersWrite)?;
    let view = ship_alone(&app, &admin.actor, &id, &shipment).await?;
    Ok(Json(view.shown_to(&admin)))
}

/// Ships the order with this id or number in its own transaction.
async fn ship_alone(
    app: &App,
    actor: &Actor,
    id: &str,
    shipment: &NewShipment,
) -> Result<OrderView> {
    let mut tx = app.db.begin().await?;
    let id = orders::resolve(&mut tx, id).await?;
    ship(&mut tx, app, actor, id, shipment).await?;
    let view = orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(view)
}

/// Limit of orders shipped in one call.
pub const MOST: usize = 50;

/// Ships several orders, each in its own transaction, so that an error in one does not affect the others. Returns all
/// results in order. When the shop itself fails midway, the remaining orders are reported as not tried.
pub async fn ship_many(
    app: &App,
    actor: &Actor,
    shipments: Vec<(String, NewShipment)>,
) -> Vec<Result<OrderView>> {
    let mut outcomes = Vec::with_capacity(shipments.len());
    let mut is_down = false;
    for (order, shipment) in shipments {
        if is_down {
            let why = anyhow::anyhow!("not tried: the shop failed at an earlier order");
            outcomes.push(Err(Error::Unavailable(Code::NotTried, why)));
            continue;
        }
        let outcome = match ship_alone(app, actor, &order, &shipment).await {
            Err(error) if error.status().is_server_error() => {
                warn!(order, %error, "one of several orders could not be shipped");
                is_down = !matches!(error, Error::Internal(_));
                shipped_all_the_same(app, &order).await.ok_or(error)
            }
            outcome => outcome,
        };
        outcomes.push(outcome);
    }
    outcomes
}

/// Returns the order if it was shipped in spite of an error: the answer to the commit may have been lost.
async fn shipped_all_the_same(app: &App, order: &str) -> Option<OrderView> {
    let mut conn = app.db.acquire().await.ok()?;
    let id = orders::resolve(&mut conn, order).await.ok()?;
    let view = orders::view(&mut conn, id).await.ok()?;
    (view.order.status == orders::Status::Shipped).then_some(view)
}

/// Shipments of several orders.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ManyShipments {
    /// 1 to 50, each for a different order.
    #[schema(min_items = 1, max_items = 50)]
    shipments: Vec<ShipmentOf>,
}

/// The shipment of an order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ShipmentOf {
    /// The id, or the number as SB-1042.
    order: String,
    /// As for a single order, like the fields below.
    #[serde(default)]
    #[schema(
        required = false,
        max_length = 100,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"
    )]
    carrier: String,
    tracking_number: Option<String>,
    tracking_url: Option<String>,
    #[serde(default)]
    images: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct ManyShipped {
    /// Number of orders shipped.
    shipped: usize,
    /// The results in the order of the request.
    results: Vec<Shipped>,
}

#[derive(Serialize, ToSchema)]
struct Shipped {
    /// The id or number as sent.
    order: String,
    is_shipped: bool,
    /// Code of the error, unless shipped; `not_tried` after the shop itself failed.
    code: Option<String>,
    /// Sentence of the error.
    error: Option<String>,
    /// One entry per faulty field of the shipment.
    details: Vec<FieldError>,
}

impl Shipped {
    fn new(order: String, outcome: Result<OrderView>) -> Shipped {
        let Err(error) = outcome else {
            return Shipped {
                order,
                is_shipped: true,
                code: None,
                error: None,
                details: Vec::new(),
            };
        };
        let body = error.body();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        Shipped {
            order,
            is_shipped: false,
            code: text("code"),
            error: text("error"),
            details: match error {
                Error::Invalid(field_errors) => field_errors,
                _ => Vec::new(),
            },
        }
    }
}

/// Ships several paid orders and emails the customers. Each order is a separate change: an error in one is reported in
/// its place and does not affect the others. When the shop itself fails midway, the remaining orders are reported as
/// `not_tried`. Safe to repeat: an order already shipped is reported as such.
#[utoipa::path(
    post,
    path = "/api/admin/orders/ship",
    tag = "orders",
    security(("bearer" = [])),
    request_body = ManyShipments,
    responses(
        (status = 200, body = ManyShipped),
        BadRequest, TokenFailures, BodyFailures,
        (status = 503, body = ErrorBody, description = "The shop failed, and no order was shipped"),
    )
)]
async fn ship_orders(
    State(app): State<App>,
    admin: Admin,
    Json(many): Json<ManyShipments>,
) -> Result<Json<ManyShipped>> {
    admin.may(Scope::OrdersWrite)?;
    if many.shipments.is_empty() || many.shipments.len() > MOST {
        let message = format!("must have 1 to {MOST} entries");
        return Err(Error::invalid("shipments", message));
    }
    let mut named = HashSet::new();
    let field_errors: Vec<FieldError> = many
        .shipments
        .iter()
        .enumerate()
        .filter(|(_, shipment)| !named.insert(&shipment.order))
        .map(|(at, _)| FieldError::new(format!("shipments[{at}].order"), "is named twice"))
        .collect();
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let shipments: Vec<(String, NewShipment)> = many
        .shipments
        .into_iter()
        .map(|one| {
            let shipment = NewShipment {
                carrier: one.carrier,
                tracking_number: one.tracking_number,
                tracking_url: one.tracking_url,
                images: one.images,
                // Warnings are confirmed only where an order is shipped alone.
                ship_anyway: false,
            };
            (one.order, shipment)
        })
        .collect();
    let names: Vec<String> = shipments.iter().map(|(order, _)| order.clone()).collect();
    let mut outcomes = ship_many(&app, &admin.actor, shipments).await;
    let failed = |outcome: &Result<OrderView>| match outcome {
        Ok(_) => false,
        Err(error) => error.status().is_server_error(),
    };
    // With nothing shipped, the whole request may be repeated, which a 5xx says to programs.
    if outcomes.iter().all(Result::is_err)
        && let Some(at) = outcomes.iter().position(failed)
        && let Err(error) = outcomes.swap_remove(at)
    {
        return Err(error);
    }
    let results = names.into_iter().zip(outcomes);
    let results: Vec<Shipped> = results
        .map(|(order, outcome)| Shipped::new(order, outcome))
        .collect();
    Ok(Json(ManyShipped {
        shipped: results.iter().filter(|one| one.is_shipped).count(),
        results,
    }))
}

/// Ships a paid order and emails the customer. The order of a custom order ships that, too.
///
/// # Errors
/// Field errors; 404; 409 for an order that is not paid, shipped already, or without pieces to ship.
pub async fn ship(
    conn: &mut PgConnection,
    app: &App,
    actor: &Actor,
    id: OrderId,
    shipment: &NewShipment,
) -> Result<Order> {
    let (piece, before) = lock(conn, id).await?;
    let after = match &piece {
        Some(piece) => {
            let shipped = custom_orders::ship_piece(conn, app, piece, shipment, &actor.name);
            shipped.await?.order
        }
        None => ship_bought(conn, app, &before, shipment, &actor.name).await?,
    };
    withdraw_emails(conn, id, &Email::NOT_SHIPPED, actor).await?;
    let more = shipment.audit_facts();
    orders::record(conn, actor, "order.ship", (&before, &after), more).await?;
    Ok(after)
}

/// Locks an order, after the custom order that it belongs to, if any. Whatever is done to it needs its customer.
///
/// # Errors
/// 404; 409 `customer_erased`.
async fn lock(conn: &mut PgConnection, id: OrderId) -> Result<(Option<OrderedPiece>, Order)> {
    if let Some(piece) = custom_orders::lock_piece(conn, id).await? {
        piece.custom_order.check_customer_known()?;
        let order = piece.order.clone();
        order.check_customer_known()?;
        return Ok((Some(piece), order));
    }
    let order = orders::lock(conn, id).await?;
    let order = order.ok_or(Error::NotFound("Order"))?;
    order.check_customer_known()?;
    Ok((None, order))
}

async fn ship_bought(
    conn: &mut PgConnection,
    app: &App,
    order: &Order,
    shipment: &NewShipment,
    actor: &str,
) -> Result<Order> {
    let (order, shipment) = orders::ship(conn, order, shipment, actor).await?;
    let email = Email::OrderShipped {
        order: orders::shipped_email_data(conn, app, &order).await?,
        shipment: shipment.email_data(),
    };
    let cause = orders::shipment_cause(conn, order.id).await?;
    email_buyer(conn, &order, &email, &cause).await?;
    Ok(order)
}

/// Queues an email to the buyer of an order, and returns the address that it goes to. None where there is no address, or it
/// was queued before. Safe to repeat with the same `cause`.
async fn email_buyer(
    conn: &mut PgConnection,
    order: &Order,
    email: &Email,
    cause: &str,
) -> Result<Option<String>> {
    let Some(recipient) = &order.email else {
        return Ok(None);
    };
    let about = About::order(order.id);
    let is_queued = emails::queue(conn, email, cause, recipient, about).await?;
    Ok(is_queued.then(|| recipient.clone()))
}

/// Withdraws emails about a locked order that are not so any more, with their review items. Returns true where the customer
/// has one of them, or may have it. Safe to repeat.
async fn withdraw_emails(
    conn: &mut PgConnection,
    order: OrderId,
    kinds: &[&str],
    actor: &Actor,
) -> Result<bool> {
    let withdrawal = emails::withdraw(conn, order, kinds).await?;
    for email in withdrawal.emails {
        let result = "what the email says is not so any more";
        review_items::settle(conn, &format!("email:{email}"), &actor.name, result).await?;
    }
    Ok(withdrawal.is_customer_told)
}

/// Marks a shipped order as delivered. Safe to repeat.
#[utoipa::path(
    post,
    path = "/api/admin/orders/{id}/deliver",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    responses(
        (status = 200, body = OrderView),
        TokenFailures, NotThere,
        (status = 409, body = ErrorBody, description = "`not_deliverable`: not shipped; `customer_erased`: the customer's data was deleted"),
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
    deliver(&mut tx, &admin.actor, id).await?;
    let view = orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view.shown_to(&admin)))
}

/// Marks a shipped order as delivered. The order of a custom order completes that, too. Safe to repeat.
///
/// # Errors
/// 404; 409 for an order that was not shipped.
pub async fn deliver(conn: &mut PgConnection, actor: &Actor, id: OrderId) -> Result<Order> {
    let (piece, before) = lock(conn, id).await?;
    let after = match &piece {
        Some(piece) => {
            let completed = custom_orders::complete_piece(conn, piece, &actor.name);
            completed.await?.order
        }
        None => orders::deliver(conn, &before, &actor.name).await?,
    };
    if after.status != before.status {
        let states = (&before, &after);
        orders::record(conn, actor, "order.deliver", states, Value::Null).await?;
    }
    Ok(after)
}
