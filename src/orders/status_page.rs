//! The customer's page of an order: what was bought, its state, tracking and receipt. It names no person and no street,
//! because links are passed on.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::shipping::{self, EstimatedDelivery};
use super::{Line, Order, Shipment, Status, store};
use crate::app::App;
use crate::error::{Error, ErrorBody, Result};
use crate::http::customer_page::{self, CustomerPage};
use crate::http::{Path, Query};
use crate::images::{self, ImageView};
use crate::settings::{self, Settings};
use crate::types::calendar;
use crate::types::ids::OrderId;
use crate::types::money::Cents;

const PAGE: CustomerPage = CustomerPage {
    purpose: "order",
    path: "/api/orders",
    thing: "order",
};

/// Address of the customer's page. It grants access to the state of this order and nothing else. `None` for the order of
/// a custom order, which has a page of its own.
pub(super) fn address(app: &App, order: &Order) -> Option<String> {
    (!order.is_custom_order).then(|| PAGE.address(app, order.id))
}

/// An order as shown to its customer. Amounts are in the currency's smallest unit.
#[derive(Serialize, ToSchema)]
pub struct OrderStatusView {
    id: OrderId,
    /// `SB-1042`.
    number: String,
    status: Status,
    /// The state as a sentence.
    message: &'static str,
    created_at: DateTime<Utc>,
    paid_at: Option<DateTime<Utc>>,
    lines: Vec<Line>,
    currency: String,
    subtotal: Cents,
    discount: Cents,
    shipping: Cents,
    tax: Cents,
    total: Cents,
    refunded: Cents,
    /// Method of payment of a sale in person, if noted.
    paid_with: Option<&'static str>,
    /// Destination: city, state, and the country if it is a foreign one.
    ships_to: Option<String>,
    /// Days between which it arrives, as estimated at checkout. Null once it is shipped.
    estimated_delivery: Option<EstimatedDelivery>,
    shipment: Option<Shipment>,
    /// Images of the shipment.
    images: Vec<ImageView>,
}

/// Shows an order to the customer, whose email has the address: a page for browsers, JSON for programs.
#[utoipa::path(
    get,
    operation_id = "order_status",
    path = "/api/orders/{id}/status",
    tag = "orders",
    params(
        ("id" = String, Path, description = "The order's id"),
        ("token" = String, Query, description = "As in the email"),
    ),
    responses(
        (status = 200, body = OrderStatusView, description = "A page where text/html is accepted"),
        (status = 404, body = ErrorBody, description = "No such order, or an invalid token: a page where text/html is accepted"),
    )
)]
pub(super) async fn status(
    State(app): State<App>,
    id: Result<Path<String>>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response> {
    let mut conn = app.db.acquire().await?;
    let settings = settings::current(&mut conn, &app.config).await?;
    let found = match id {
        Ok(Path(id)) => {
            let token = query.get("token").unwrap_or_default();
            find(&mut conn, &app, &settings, (&id, token)).await?
        }
        Err(_) => None,
    };
    let is_for_people = customer_page::accepts_pages(&headers);
    match found {
        Some(view) if is_for_people => customer_page::page(&StatusPage {
            shop: &settings.shop_name,
            shop_url: &app.config.server.frontend_url,
            write_to: customer_page::write_to(&app, &format!("Order {}", view.number)),
            zone: settings.time_zone,
            view: &view,
        }),
        Some(view) => Ok(customer_page::json(view)),
        None if is_for_people => PAGE.damaged_link(&app, &settings.shop_name),
        None => Err(Error::NotFound("Order")),
    }
}

/// Answers the paths of a page whose address a mail program has cut short.
pub(super) async fn damaged_link(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    if !matches!(method, Method::GET | Method::HEAD) || !customer_page::accepts_pages(&headers) {
        return Err(Error::NotFound("Order"));
    }
    let settings = settings::current(&mut *app.db.acquire().await?, &app.config).await?;
    PAGE.damaged_link(&app, &settings.shop_name)
}

/// Loads the order with this id, if the token is its own.
async fn find(
    conn: &mut PgConnection,
    app: &App,
    settings: &Settings,
    (id, token): (&str, &str),
) -> Result<Option<OrderStatusView>> {
    let Ok(id) = id.parse().map(OrderId) else {
        return Ok(None);
    };
    if !PAGE.admits(app, id, token) {
        return Ok(None);
    }
    let order = store::find(conn, id).await?;
    let Some(order) = order.filter(|order| order.erased_at.is_none()) else {
        return Ok(None);
    };
    let lines = store::lines(conn, id).await?;
    let shipment = store::find_shipment(conn, id).await?;
    let images = match &shipment {
        Some(shipment) => images::list_views(conn, &shipment.images).await?,
        None => Vec::new(),
    };
    Ok(Some(OrderStatusView {
        id,
        number: order.display_number(),
        status: order.status,
        message: message(&order),
        created_at: order.created_at,
        paid_at: order.paid_at,
        lines,
        subtotal: order.subtotal,
        discount: order.discount,
        shipping: order.shipping,
        tax: order.tax,
        total: order.total,
        refunded: order.refunded,
        paid_with: order.payment_method.map(|method| method.title()),
        ships_to: order.address().and_then(|address| address.place()),
        estimated_delivery: shipping::estimated_delivery(&order, settings),
        currency: order.currency,
        shipment,
        images,
    }))
}

fn message(order: &Order) -> &'static str {
    match order.status {
        Status::Pending if order.is_processing() => {
            "Your payment is on its way. Banks take a few days to confirm it."
        }
        Status::Pending => "Your order waits for its payment.",
        Status::Paid => "Thank you! We are getting your order ready.",
        Status::Shipped => "Your order is on its way.",
        Status::Delivered if order.was_handed_over() => "Thank you for your purchase!",
        Status::Delivered => "Your order has arrived. Thank you!",
        Status::Refunded => "Your order was refunded in full.",
        Status::Expired | Status::Cancelled | Status::Failed => "This order was not paid.",
    }
}

#[derive(Template)]
#[template(path = "status.html", config = "src/orders/askama.toml")]
struct StatusPage<'a> {
    shop: &'a str,
    shop_url: &'a str,
    /// Address that opens an email to the shop.
    write_to: String,
    zone: Tz,
    view: &'a OrderStatusView,
}

impl StatusPage<'_> {
    fn date(&self, at: &DateTime<Utc>) -> String {
        calendar::date(*at, self.zone)
    }

    fn money(&self, amount: &Cents) -> String {
        amount.in_currency(&self.view.currency)
    }

    /// Sum of a line. One that overflows was never paid.
    fn amount(&self, line: &Line) -> String {
        let sum = line.unit_price.times(line.quantity);
        self.money(&sum.unwrap_or(line.unit_price))
    }

    /// Progress steps, each with whether the order has reached it. Empty for an order that is not on its way to anybody.
    fn steps(&self) -> Vec<(&'static str, bool)> {
        let reached = match self.view.status {
            Status::Paid => 1,
            Status::Shipped => 2,
            Status::Delivered if self.view.shipment.is_some() => 3,
            _ => return Vec::new(),
        };
        let steps = ["Paid", "Shipped", "Delivered"].into_iter();
        (1..)
            .zip(steps)
            .map(|(at, name)| (name, at <= reached))
            .collect()
    }

    /// Products' images of this shop. The page shows no others.
    fn image<'l>(&self, line: &'l Line) -> Option<&'l str> {
        line.image.as_deref().filter(|image| image.starts_with('/'))
    }
}
