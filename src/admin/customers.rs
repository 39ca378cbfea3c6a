//! Customers: each is an email address, with the orders and custom orders under it. A customer is named by the number of
//! any of these (`SB-1042`, `CO-1017`), so that no address stands in a link or a log.

use axum::extract::State;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::{Admin, Scope};
use crate::custom_orders::{self, CustomOrder};
use crate::error::answers::{BadRequest, NotThere, TokenFailures};
use crate::error::{Error, Result};
use crate::http::{Json, Path, Query};
use crate::orders::{self, ListedOrder};
use crate::types::money::Cents;

/// A customer in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Customer {
    /// Number of their latest order or custom order.
    pub key: String,
    pub email: String,
    pub name: Option<String>,
}

/// A customer with everything that they bought and asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerView {
    #[serde(flatten)]
    pub customer: Customer,
    /// Money paid and refunded, by currency.
    pub sums: Vec<CustomerSum>,
    /// The newest first, at most 500.
    pub orders: Vec<ListedOrder>,
    /// The newest first, at most 500.
    pub custom_orders: Vec<CustomOrder>,
    /// The owner's note about them.
    pub note: Option<String>,
}

/// Money of a customer in one currency, in its smallest unit.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CustomerSum {
    /// Three lower-case letters (ISO 4217).
    pub currency: String,
    /// Number of paid orders.
    pub orders: usize,
    pub paid: Cents,
    pub refunded: Cents,
}

/// Orders and custom orders of a customer that are read.
const MOST: i64 = 500;

/// Loads the customer of an order or custom order.
///
/// # Errors
/// 404 when there is no such order, or it has no email address.
pub async fn view(conn: &mut PgConnection, key: &str) -> Result<CustomerView> {
    let email = email_of(conn, key).await?;
    let orders = orders::list_by_email(conn, &email, MOST).await?;
    let custom_orders = custom_orders::list_by_email(conn, &email, MOST).await?;
    let of_orders = orders.iter().map(|listed| &listed.order);
    let mut known: Vec<(_, Customer)> = of_orders
        .map(|order| {
            let customer = Customer {
                key: order.display_number(),
                email: order.email.clone().unwrap_or_default(),
                name: order.customer_name.clone(),
            };
            (order.created_at, customer)
        })
        .collect();
    known.extend(custom_orders.iter().map(|custom_order| {
        let customer = Customer {
            key: custom_order.display_number(),
            email: custom_order.email.clone(),
            name: Some(custom_order.name.clone()),
        };
        (custom_order.created_at, customer)
    }));
    // What somebody else paid for them, or had made, is under another address.
    known.retain(|(_, customer)| customer.email.eq_ignore_ascii_case(&email));
    let latest = known.into_iter().max_by_key(|(at, _)| *at);
    let (_, customer) = latest.ok_or(Error::NotFound("Customer"))?;
    Ok(CustomerView {
        customer,
        note: orders::customer_note(conn, &email).await?,
        sums: sums(&orders),
        orders,
        custom_orders,
    })
}

/// Finds customers by a part of their name or email address, the latest first.
///
/// # Errors
/// Database errors only.
pub async fn search(conn: &mut PgConnection, search: &str, limit: usize) -> Result<Vec<Customer>> {
    let mut found = orders::search_customers(conn, search).await?;
    found.extend(custom_orders::search_customers(conn, search).await?);
    found.sort_by_key(|entry| std::cmp::Reverse(entry.created_at));
    let mut customers: Vec<Customer> = Vec::new();
    for entry in found {
        let is_known = customers
            .iter()
            .any(|known| known.email.eq_ignore_ascii_case(&entry.email));
        if !is_known && customers.len() < limit {
            customers.push(Customer {
                key: entry.key,
                email: entry.email,
                name: entry.name,
            });
        }
    }
    Ok(customers)
}

/// Returns the email address of the customer of an order or custom order.
///
/// # Errors
/// 404 when there is no such order, or it has no email address.
pub(super) async fn email_of(conn: &mut PgConnection, key: &str) -> Result<String> {
    let email = if key.starts_with("CO-") {
        let id = custom_orders::resolve(conn, key).await?;
        let custom_order = custom_orders::find(conn, id).await?;
        custom_order.map(|custom_order| custom_order.email)
    } else {
        let id = orders::resolve(conn, key).await?;
        orders::find(conn, id).await?.and_then(|order| order.email)
    };
    let email = email.filter(|email| !email.is_empty());
    email.ok_or(Error::NotFound("Customer"))
}

fn sums(orders: &[ListedOrder]) -> Vec<CustomerSum> {
    let mut sums: Vec<CustomerSum> = Vec::new();
    let paid = orders.iter().map(|listed| &listed.order);
    for order in paid.filter(|order| order.paid_at.is_some()) {
        let at = sums.iter().position(|sum| sum.currency == order.currency);
        let at = at.unwrap_or_else(|| {
            sums.push(CustomerSum {
                currency: order.currency.clone(),
                orders: 0,
                paid: Cents::ZERO,
                refunded: Cents::ZERO,
            });
            sums.len() - 1
        });
        let sum = &mut sums[at];
        sum.orders += 1;
        sum.paid = Cents(sum.paid.0.saturating_add(order.total.0));
        sum.refunded = Cents(sum.refunded.0.saturating_add(order.refunded.0));
    }
    sums
}

/// Routes of customers, without a trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(search_customers))
        .routes(routes!(find_customer))
}

/// Customers, the latest first; at most 50.
#[derive(Serialize, ToSchema)]
struct FoundCustomers {
    #[schema(max_items = 50)]
    results: Vec<Customer>,
}

/// Lists the latest customers, or those with a part of their name or email address.
#[utoipa::path(
    get,
    operation_id = "search_customers",
    path = "/api/admin/customers",
    tag = "customers",
    security(("bearer" = [])),
    params(("search" = Option<String>, Query, description = "A part of the name or the email address", max_length = 200, pattern = r"^[^\x00]*$")),
    responses((status = 200, body = FoundCustomers), BadRequest, TokenFailures)
)]
async fn search_customers(
    State(app): State<App>,
    admin: Admin,
    query: Query,
) -> Result<Json<FoundCustomers>> {
    allow(&admin)?;
    let mut field_errors = Vec::new();
    let text = query.search(&mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let text = text.unwrap_or_default();
    let results = search(&mut *app.db.acquire().await?, &text, 50).await?;
    Ok(Json(FoundCustomers { results }))
}

/// Returns everything about the customer of an order or custom order: what they bought, asked for, paid and got back.
#[utoipa::path(
    get,
    operation_id = "find_customer",
    path = "/api/admin/customers/{id}",
    tag = "customers",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "Number of any of their orders or custom orders, as SB-1042 or CO-1017")),
    responses((status = 200, body = CustomerView), TokenFailures, NotThere)
)]
async fn find_customer(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<CustomerView>> {
    allow(&admin)?;
    let view = view(&mut *app.db.acquire().await?, &id).await?;
    Ok(Json(view))
}

/// A customer's page has their orders and their custom orders.
pub(super) fn allow(admin: &Admin) -> Result<()> {
    admin.may(Scope::OrdersRead)?;
    admin.may(Scope::CustomOrders)
}
