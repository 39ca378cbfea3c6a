//! Corrections of the customer's data of orders and custom orders.

use axum::extract::State;
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{email_buyer, lock};
use crate::app::App;
use crate::audit::Actor;
use crate::auth::{Admin, Scope};
use crate::custom_orders::{self, CustomOrder, CustomOrderView, OrderedPiece};
use crate::emails::Email;
use crate::error::answers::{BadRequest, BodyFailures, NotThere, TokenFailures};
use crate::error::{Error, ErrorBody, Result};
use crate::http::{Json, Path};
use crate::orders::{self, CustomerCorrection, Order, OrderView};
use crate::types::ids::{CustomOrderId, OrderId};

/// Routes of corrections of customers' data, without a trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(correct_of_order))
        .routes(routes!(correct_of_custom_order))
}

/// Corrects name, email, phone or address of the customer, before or after shipping. Fields that are not given stay as they
/// are. No amount changes, and nothing changes at Stripe. Needs `orders:read` as well, because a confirmation takes the
/// customer's data to the corrected address; for the order of a custom order also `custom_orders`. Safe to repeat.
#[utoipa::path(
    patch,
    operation_id = "correct_customer",
    path = "/api/admin/orders/{id}/customer",
    tag = "orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as SB-1042")),
    request_body = CustomerCorrection,
    responses(
        (status = 200, body = OrderView),
        BadRequest, TokenFailures, NotThere,
        (status = 409, body = ErrorBody, description = "`not_paid`: neither paid nor being paid; `customer_erased`: the customer's data was deleted"),
        BodyFailures,
    )
)]
async fn correct_of_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(correction): Json<CustomerCorrection>,
) -> Result<Json<OrderView>> {
    // With the read scope: an email to a corrected address carries the customer's data there.
    admin.reaches(&[Scope::OrdersWrite, Scope::OrdersRead])?;
    let mut tx = app.db.begin().await?;
    let id = orders::resolve(&mut tx, &id).await?;
    if custom_orders::find_by_order(&mut tx, id).await?.is_some() {
        admin.may(Scope::CustomOrders)?;
    }
    correct_customer(&mut tx, &app, &admin.actor, id, &correction).await?;
    let view = orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view.shown_to(&admin)))
}

/// Corrects name or email of the customer, at any time, or phone and address once it is paid. Fields that are not given stay
/// as they are. No amount changes, and nothing changes at Stripe. Safe to repeat.
#[utoipa::path(
    patch,
    operation_id = "correct_customer_of_custom_order",
    path = "/api/admin/custom-orders/{id}/customer",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    request_body = CustomerCorrection,
    responses(
        (status = 200, body = CustomOrderView),
        (status = 409, body = ErrorBody, description = "`customer_erased`: the customer's data was deleted"),
        BadRequest,
        TokenFailures,
        NotThere,
        BodyFailures,
    )
)]
async fn correct_of_custom_order(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(correction): Json<CustomerCorrection>,
) -> Result<Json<CustomOrderView>> {
    admin.may(Scope::CustomOrders)?;
    let mut tx = app.db.begin().await?;
    let id = custom_orders::resolve(&mut tx, &id).await?;
    correct_customer_of_custom_order(&mut tx, &app, &admin.actor, id, &correction).await?;
    let view = custom_orders::view(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(view))
}

/// Outcome of a correction of the customer's data.
pub struct CustomerChange {
    /// False where everything was right already.
    pub is_changed: bool,
    /// The address that the confirmation goes to.
    pub emailed: Option<String>,
}

/// Corrects the customer's data of an order; for a custom order, name and email of both. The confirmation is sent once per
/// correction; where nothing was ever corrected, none is.
///
/// Safe to repeat: data that is right already stays as it is.
///
/// # Errors
/// Field errors; 404; 409 `not_paid`.
pub async fn correct_customer(
    conn: &mut PgConnection,
    app: &App,
    actor: &Actor,
    id: OrderId,
    correction: &CustomerCorrection,
) -> Result<CustomerChange> {
    let (piece, before) = lock(conn, id).await?;
    let corrected = orders::correct_customer(conn, &before, correction, &actor.name).await?;
    let order = &corrected.order;
    if let Some(OrderedPiece { custom_order, .. }) = &piece {
        let of_order = (Some(order), corrected.changed);
        return correct_custom_order(conn, app, actor, custom_order, of_order, correction).await;
    }
    let changed = corrected.changed;
    let emailed = match correction.send_confirmation && corrected.corrections > 0 {
        true => {
            let cause = format!("{id}:{}", corrected.corrections);
            confirm_again(conn, app, order, &cause).await?
        }
        false => None,
    };
    if !changed.is_empty() || emailed.is_some() {
        let more = facts(&changed, emailed.as_ref());
        let action = "order.correct_customer";
        orders::record(conn, actor, action, (&before, order), more).await?;
    }
    Ok(CustomerChange {
        is_changed: !changed.is_empty(),
        emailed,
    })
}

/// Corrects the customer's data of a custom order, and of its order if it has one. That has the name and email that Stripe
/// was given: those follow only where they differ from the custom order's.
///
/// Safe to repeat: data that is right already stays as it is.
///
/// # Errors
/// Field errors, also of what is known only once it is paid; 404.
pub async fn correct_customer_of_custom_order(
    conn: &mut PgConnection,
    app: &App,
    actor: &Actor,
    id: CustomOrderId,
    correction: &CustomerCorrection,
) -> Result<CustomerChange> {
    let before = custom_orders::lock(conn, id).await?;
    let before = before.ok_or(Error::NotFound("CustomOrder"))?;
    before.check_customer_known()?;
    let Some(order) = before.order_id else {
        correction.check_before_payment()?;
        let of_order = (None, Vec::new());
        return correct_custom_order(conn, app, actor, &before, of_order, correction).await;
    };
    let mut correction = correction.clone();
    let others = |text: Option<String>, known: &str| text.filter(|text| text.trim() != known);
    correction.customer_name = others(correction.customer_name, &before.name);
    correction.email = others(correction.email, &before.email);
    correct_customer(conn, app, actor, order, &correction).await
}

/// Corrects name and email of a locked custom order. `of_order`: its order, if any, and what was corrected there.
async fn correct_custom_order(
    conn: &mut PgConnection,
    app: &App,
    actor: &Actor,
    before: &CustomOrder,
    (order, mut changed): (Option<&Order>, Vec<&'static str>),
    correction: &CustomerCorrection,
) -> Result<CustomerChange> {
    let named = custom_orders::correct_name(conn, before, correction).await?;
    let (id, custom_order) = (before.id, &named.custom_order);
    for name in named.changed {
        if !changed.contains(&name) {
            changed.push(name);
        }
    }
    let is_changed = !changed.is_empty();
    if is_changed {
        let text = orders::in_words(&changed);
        custom_orders::add_timeline_entry(conn, id, "customer", &actor.name, &text).await?;
    }
    let count = custom_orders::count_timeline_entries(conn, id, "customer").await?;
    let cause = format!("{id}:{count}");
    let is_emailed = correction.send_confirmation
        && count > 0
        && custom_orders::send_confirmation_again(conn, app, custom_order, order, &cause).await?;
    let emailed = is_emailed.then(|| custom_order.email.clone());
    if is_changed || is_emailed {
        let more = facts(&changed, emailed.as_ref());
        let action = "custom_order.correct_customer";
        custom_orders::record(conn, actor, action, (before, custom_order), more).await?;
    }
    Ok(CustomerChange {
        is_changed,
        emailed,
    })
}

/// Facts for the audit log: the names of the fields alone, because not everybody who reads it may see the customer.
fn facts(changed: &[&str], emailed: Option<&String>) -> Value {
    json!({"corrected": changed, "is_emailed": emailed.is_some()})
}

/// Queues the confirmation of an order once more, and returns the address that it goes to. None where there is none to
/// send, or it was queued before.
async fn confirm_again(
    conn: &mut PgConnection,
    app: &App,
    order: &Order,
    cause: &str,
) -> Result<Option<String>> {
    if !order.can_confirm() {
        return Ok(None);
    }
    let email = Email::OrderConfirmation {
        order: orders::email_data(conn, app, order).await?,
    };
    email_buyer(conn, order, &email, cause).await
}
