//! The customer's status page: state, quote and shipment of one custom order. Its address is signed and travels in
//! emails only; it reveals nothing about other custom orders.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{CustomOrder, Quote, QuoteState, Status, store};
use crate::app::App;
use crate::error::{Error, ErrorBody, Result};
use crate::http::customer_page::{self, CustomerPage};
use crate::http::{Path, Query};
use crate::images::{self, ImageView};
use crate::orders::{self, Shipment};
use crate::settings;
use crate::types::calendar;
use crate::types::ids::{CustomOrderId, ImageId};
use crate::types::money::Cents;

/// Address of an image in emails and orders.
pub fn image(id: &ImageId) -> String {
    images::url(id, 1024)
}

/// The customer's page of a custom order.
const PAGE: CustomerPage = CustomerPage {
    purpose: "custom_order",
    path: "/api/custom-orders",
    thing: "custom order",
};

/// Address of the customer's page. It grants access to the state of this custom order and nothing else.
pub fn address(app: &App, id: CustomOrderId) -> String {
    PAGE.address(app, id)
}

/// A custom order as shown to its customer.
#[derive(Serialize, ToSchema)]
pub struct StatusView {
    id: CustomOrderId,
    /// `CO-1042`.
    number: String,
    status: Status,
    /// The state as a sentence.
    message: &'static str,
    created_at: DateTime<Utc>,
    request: RequestView,
    /// Reason that the owner gave for the rejection.
    rejection_reason: Option<String>,
    /// The current quote, if any.
    quote: Option<QuoteView>,
    /// `SB-1042`, once paid.
    order_number: Option<String>,
    shipment: Option<Shipment>,
    /// Images of the finished piece.
    images: Vec<ImageView>,
}

/// A customer's request, as sent.
#[derive(Serialize, ToSchema)]
struct RequestView {
    description: String,
    colors: Option<String>,
    images: Vec<ImageView>,
}

/// A quote as shown to its customer. Amounts are in the currency's smallest unit.
#[derive(Serialize, ToSchema)]
struct QuoteView {
    currency: String,
    amount: Cents,
    shipping: Cents,
    total: Cents,
    description: String,
    /// The last instant of the last day on which it is payable.
    valid_until: Option<DateTime<Utc>>,
    /// Payment page, while the quote is payable.
    payment_url: Option<String>,
}

impl QuoteView {
    fn new(quote: Quote) -> QuoteView {
        let can_be_paid = quote.state == QuoteState::Live && !quote.payment_in_progress;
        QuoteView {
            total: quote.total(),
            amount: quote.amount,
            shipping: quote.shipping,
            currency: quote.currency,
            description: quote.description,
            valid_until: quote.valid_until,
            payment_url: quote.link_url.filter(|_| can_be_paid),
        }
    }
}

/// Shows the state of a custom order to the customer, whose email has the address: a page for browsers, JSON for
/// programs.
#[utoipa::path(
    get,
    operation_id = "custom_order_status",
    path = "/api/custom-orders/{id}/status",
    tag = "custom orders",
    params(
        ("id" = String, Path, description = "The custom order's id"),
        ("token" = String, Query, description = "As in the email"),
    ),
    responses(
        (status = 200, body = StatusView, description = "A page where text/html is accepted"),
        (status = 404, body = ErrorBody, description = "No such custom order, or an invalid token: a page where text/html is accepted"),
    )
)]
pub async fn status(
    State(app): State<App>,
    id: Result<Path<String>>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response> {
    let token = query.get("token").unwrap_or_default();
    let found = match id {
        Ok(Path(id)) => find(&app, &id, token).await?,
        Err(_) => None,
    };
    let Some(view) = found else {
        return not_found(&app, &headers).await;
    };
    if !customer_page::accepts_pages(&headers) {
        return Ok(customer_page::json(view));
    }
    let settings = settings::current(&mut *app.db.acquire().await?, &app.config).await?;
    customer_page::page(&StatusPage {
        shop: &settings.shop_name,
        shop_url: &app.config.server.frontend_url,
        write_to: customer_page::write_to(&app, &format!("Custom order {}", view.number)),
        zone: settings.time_zone,
        view: &view,
    })
}

/// Answers the paths of a status page whose address a mail program has cut short.
pub async fn damaged_link(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    match method {
        Method::GET | Method::HEAD => not_found(&app, &headers).await,
        _ => Err(Error::NotFound("")),
    }
}

/// Loads the custom order with this id, if the token is its own.
async fn find(app: &App, id: &str, token: &str) -> Result<Option<StatusView>> {
    let Ok(id) = id.parse().map(CustomOrderId) else {
        return Ok(None);
    };
    if !PAGE.admits(app, id, token) {
        return Ok(None);
    }
    let mut conn = app.db.acquire().await?;
    match store::find(&mut conn, id).await? {
        Some(custom_order) if custom_order.erased_at.is_some() => Ok(None),
        Some(custom_order) => view(&mut conn, custom_order).await.map(Some),
        None => Ok(None),
    }
}

async fn not_found(app: &App, headers: &HeaderMap) -> Result<Response> {
    if !customer_page::accepts_pages(headers) {
        return Err(Error::NotFound("CustomOrder"));
    }
    let settings = settings::current(&mut *app.db.acquire().await?, &app.config).await?;
    PAGE.damaged_link(app, &settings.shop_name)
}

async fn view(conn: &mut PgConnection, custom_order: CustomOrder) -> Result<StatusView> {
    let quote = store::find_current(conn, custom_order.id)
        .await?
        .filter(|quote| quote.state != QuoteState::Asking);
    let (order, shipment) = match custom_order.order_id {
        Some(order) => (
            orders::find(conn, order).await?,
            orders::find_shipment(conn, order).await?,
        ),
        None => (None, None),
    };
    let images = match &shipment {
        Some(shipment) => images::list_views(conn, &shipment.images).await?,
        None => Vec::new(),
    };
    let request_images = store::images(conn, custom_order.id).await?;
    let rejection_reason = match custom_order.status {
        Status::Rejected => store::rejection_reason(conn, custom_order.id).await?,
        _ => None,
    };
    let is_withdrawn = custom_order.status == Status::Pending
        && store::has_closed_quote(conn, custom_order.id).await?;
    Ok(StatusView {
        id: custom_order.id,
        number: custom_order.display_number(),
        status: custom_order.status,
        message: match is_withdrawn {
            true => "We have taken our quote back. You will hear from us again soon.",
            false => message(custom_order.status),
        },
        created_at: custom_order.created_at,
        request: RequestView {
            description: custom_order.description,
            colors: custom_order.colors,
            images: images::list_views(conn, &request_images).await?,
        },
        rejection_reason,
        quote: quote.map(QuoteView::new),
        order_number: order.map(|order| order.display_number()),
        shipment,
        images,
    })
}

fn message(status: Status) -> &'static str {
    match status {
        Status::Pending => "We have your request and will answer it soon.",
        Status::Approved => "We would love to make this piece: your quote is ready.",
        Status::Rejected => "We cannot make this piece. We would be glad to hear of another idea.",
        Status::Expired => "The quote has lapsed. Answer our email if you would like a new one.",
        Status::Paid => "Your payment has come in. We will begin soon.",
        Status::InProduction => "Your piece is being made.",
        Status::Shipped => "Your piece is on its way.",
        Status::Completed => "Your piece has arrived. Thank you!",
        Status::Refunded => "Your payment was refunded in full.",
    }
}

#[derive(Template)]
#[template(path = "status.html", config = "src/custom_orders/askama.toml")]
struct StatusPage<'a> {
    shop: &'a str,
    shop_url: &'a str,
    /// Address that opens an email to the shop.
    write_to: String,
    zone: Tz,
    view: &'a StatusView,
}

impl StatusPage<'_> {
    fn date(&self, at: &DateTime<Utc>) -> String {
        calendar::date(*at, self.zone)
    }

    /// Progress steps, each with whether the piece has reached it.
    fn steps(&self) -> [(&'static str, bool); 5] {
        let reached = match self.view.status {
            Status::Pending | Status::Rejected | Status::Expired | Status::Refunded => 1,
            Status::Approved => 2,
            Status::Paid => 3,
            Status::InProduction => 4,
            Status::Shipped | Status::Completed => 5,
        };
        let mut at = 0;
        ["Requested", "Quoted", "Paid", "In production", "Shipped"].map(|name| {
            at += 1;
            (name, at <= reached)
        })
    }

    fn is_over(&self) -> bool {
        matches!(
            self.view.status,
            Status::Rejected | Status::Expired | Status::Refunded
        )
    }
}
