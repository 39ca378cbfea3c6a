//! Notes about customers, and the deletion of a customer's data on their request (privacy laws such as the CCPA and the
//! GDPR), with what tax law needs kept.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::customers::{self, CustomerView};
use crate::app::App;
use crate::audit::{self, Actor};
use crate::auth::{Admin, Scope};
use crate::error::answers::{BadRequest, BodyFailures, NotThere, TokenFailures};
use crate::error::{Code, Error, ErrorBody, Result};
use crate::http::{Json, Path, idempotency};
use crate::types::ids::{CustomOrderId, OrderId};
use crate::{custom_orders, emails, orders, payments, review_items};

/// A customer whose data is deleted, by the numbers of what they bought and asked for.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErasedCustomer {
    pub orders: Vec<String>,
    pub custom_orders: Vec<String>,
}

/// Replaces the owner's note about the customer of an order or custom order; an empty text deletes it. Safe to repeat.
///
/// # Errors
/// A field error of `text`; 404 as [`customers::view`].
pub async fn write_note(
    conn: &mut PgConnection,
    actor: &Actor,
    key: &str,
    text: &str,
) -> Result<()> {
    let email = customers::email_of(conn, key).await?;
    orders::write_customer_note(conn, &email, text).await?;
    let object = format!("customer:{key}");
    audit::record(
        conn,
        actor,
        "customer.note",
        &object,
        Value::Null,
        Value::Null,
    )
    .await
}

/// Deletes what the shop knows about the customer of an order or custom order: names, addresses, requests with their
/// images, notes, emails, the details of the audit log, and what Stripe's events told. A custom order and its order go
/// together, whoever paid. Numbers, amounts, pieces and dates stay, and of an address the state and the country. Stripe and
/// backups keep theirs.
///
/// # Errors
/// 404 as [`customers::view`], and so for a repeat; 409 `customer_active` naming what is not over yet.
pub async fn erase(conn: &mut PgConnection, actor: &Actor, key: &str) -> Result<ErasedCustomer> {
    let email = customers::email_of(conn, key).await?;
    // Lock order: custom orders, then orders.
    let asked = custom_orders::lock_of_customer(conn, &email).await?;
    let of_asked: Vec<OrderId> = asked.iter().filter_map(|one| one.order_id).collect();
    let bought = orders::lock_of_customer(conn, &email, &of_asked).await?;
    let open = asked.iter().find(|one| !one.is_over());
    let open = open.map(|one| one.display_number());
    let open = open.or_else(|| {
        let open = bought.iter().find(|one| !one.is_over());
        open.map(|one| one.display_number())
    });
    if let Some(number) = open {
        return Err(active(format!(
            "{number} is not over yet: deliver, refund or decline it, or resolve what needs attention there, and delete \
             their data then."
        )));
    }
    let ids: Vec<OrderId> = bought.iter().map(|one| one.id).collect();
    let custom_ids: Vec<CustomOrderId> = asked.iter().map(|one| one.id).collect();
    if !emails::erase(conn, &email, &ids, &custom_ids).await? {
        return Err(busy("an email to them is being sent"));
    }
    if !payments::erase_customer(conn, &ids, &custom_ids).await? {
        return Err(busy("a refund to them is under way"));
    }
    if !custom_orders::erase_customer(conn, &custom_ids).await? {
        return Err(busy("a payment link of theirs is open"));
    }
    orders::erase_customer(conn, &ids).await?;
    orders::write_customer_note(conn, &email, "").await?;
    review_items::erase_texts(conn, &ids, &custom_ids).await?;
    let others: Vec<Uuid> = custom_ids.iter().map(|id| id.0).collect();
    idempotency::erase_answers(conn, &ids, &others).await?;
    let erased = ErasedCustomer {
        orders: bought.iter().map(|one| one.display_number()).collect(),
        custom_orders: asked.iter().map(|one| one.display_number()).collect(),
    };
    let of_orders = erased.orders.iter().map(|number| format!("order:{number}"));
    let of_asked = erased.custom_orders.iter();
    let of_asked = of_asked.map(|number| format!("custom_order:{number}"));
    let objects: Vec<String> = of_orders.chain(of_asked).collect();
    audit::erase_details(conn, &objects).await?;
    let facts = json!({"orders": erased.orders, "custom_orders": erased.custom_orders});
    audit::record(
        conn,
        actor,
        "customer.erase",
        "customer",
        Value::Null,
        facts,
    )
    .await?;
    Ok(erased)
}

fn busy(why: &str) -> Error {
    active(format!("Not now: {why}. Try again in a few minutes."))
}

fn active(why: String) -> Error {
    Error::Conflict(Code::CustomerActive, why)
}

/// Routes of customers' data, without a trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(replace_customer_note))
        .routes(routes!(erase_customer))
}

/// A note about a customer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CustomerNote {
    /// Empty to delete it.
    #[schema(max_length = 2000, pattern = r"^[^\x00]*$")]
    text: String,
}

/// Replaces the owner's note about the customer of an order or custom order. Safe to repeat.
#[utoipa::path(
    put,
    path = "/api/admin/customers/{id}/note",
    tag = "customers",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "Number of any of their orders or custom orders, as SB-1042 or CO-1017")),
    request_body = CustomerNote,
    responses((status = 200, body = CustomerView), BadRequest, TokenFailures, NotThere, BodyFailures)
)]
async fn replace_customer_note(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    Json(note): Json<CustomerNote>,
) -> Result<Json<CustomerView>> {
    customers::allow(&admin)?;
    admin.may(Scope::OrdersWrite)?;
    let mut tx = app.db.begin().await?;
    write_note(&mut tx, &admin.actor, &id, &note.text).await?;
    let view = customers::view(&mut tx, &id).await?;
    tx.commit().await?;
    Ok(Json(view))
}

/// Deletes a customer's data: names, addresses, requests, notes, emails. Numbers, amounts, pieces and dates stay, and of an
/// address the state and the country. It cannot be undone.
#[utoipa::path(
    delete,
    path = "/api/admin/customers/{id}",
    tag = "customers",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "Number of any of their orders or custom orders, as SB-1042 or CO-1017")),
    responses(
        (status = 200, body = ErasedCustomer),
        (status = 409, body = ErrorBody, description = "`customer_active`: something of theirs is not over yet"),
        TokenFailures,
        NotThere,
    )
)]
async fn erase_customer(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<ErasedCustomer>> {
    customers::allow(&admin)?;
    admin.may(Scope::OrdersWrite)?;
    let mut tx = app.db.begin().await?;
    let erased = erase(&mut tx, &admin.actor, &id).await?;
    tx.commit().await?;
    Ok(Json(erased))
}
