//! The customer's status page: state, quote and shipment of one custom order. Its address is signed and travels in
//! emails only; it reveals nothing about other custom orders.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{CustomOrder, Quote, QuoteState, Status, store};
use crate::app::App;
use crate::error::{Error, ErrorBody, Result};
use crate::http::{Json, Path, Query};
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

/// Purpose of the signature in the address.
const PURPOSE: &str = "custom_order";

/// Address of the customer's page. It grants access to the state of this custom order and nothing else.
pub fn address(app: &App, id: CustomOrderId) -> String {
    let signed = app.signer.sign(PURPOSE, &id.to_string());
    let token = signed.rsplit('.').next().unwrap_or_default();
    format!(
        "{}/api/custom-orders/{id}/status/?token={token}",
        app.config.server.public_url
    )
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
    /// The current quote, if any.
    quote: Option<QuoteView>,
    /// `SB-1042`, once paid.
    order_number: Option<String>,
    shipment: Option<Shipment>,
    /// Images of the finished piece.
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
        (status = 200, body = StatusView, description = "A page where text/html is preferred"),
        (status = 404, body = ErrorBody, description = "No such custom order, or an invalid token"),
    )
)]
pub async fn status(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response> {
    // One error for a bad id, a bad token and a missing custom order: it tells nobody which exist.
    const UNKNOWN: Error = Error::NotFound("CustomOrder");
    let id = id.parse().map(CustomOrderId).map_err(|_| UNKNOWN)?;
    let token = query.get("token").unwrap_or_default();
    app.signer
        .verify(PURPOSE, &format!("{id}.{token}"))
        .ok_or(UNKNOWN)?;
    let mut conn = app.db.acquire().await?;
    let custom_order = store::find(&mut conn, id).await?.ok_or(UNKNOWN)?;
    let view = view(&mut conn, custom_order).await?;
    let settings = settings::current(&mut conn, &app.config).await?;
    let wants_page = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let mut response = if wants_page {
        let shop = &settings.shop_name;
        let zone = app.config.shop.time_zone;
        let page = StatusPage {
            shop,
            zone,
            view: &view,
        };
        let html = page.render().map_err(anyhow::Error::from)?;
        Html(html).into_response()
    } else {
        Json(view).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept"),
        // The address has the token, which the pages that it links to must not learn.
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
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
#[template(
    ext = "html",
    source = r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{ view.number }} · {{ shop }}</title>
<style>
:root { color-scheme: light dark; --ink: #2a2320; --soft: #6f625b; --paper: #fbf8f4; --card: #fff; --line: #e6ddd3; --accent: #8c3b2a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #f0e9e2; --soft: #b3a79d; --paper: #1b1715; --card: #26211e; --line: #40372f; --accent: #e58a72; }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 24px 16px 48px; background: var(--paper); color: var(--ink); font: 17px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 34rem; margin: 0 auto; }
h1 { font: 600 1.6rem/1.25 Georgia, serif; margin: .2em 0 .4em; }
h2 { font: 600 1.05rem/1.3 Georgia, serif; margin: 0 0 .5em; }
p { margin: 0 0 .8em; }
.soft { color: var(--soft); font-size: .95rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px; margin-top: 18px; }
ol { list-style: none; display: grid; grid-template-columns: repeat(5, 1fr); gap: 6px; padding: 0; margin: 16px 0 0; }
li { border-top: 4px solid var(--line); padding-top: 6px; color: var(--soft); font-size: .8rem; line-height: 1.25; overflow-wrap: normal; }
li.done { border-color: var(--accent); color: var(--ink); font-weight: 600; }
dl { display: grid; grid-template-columns: 1fr auto; gap: 4px 16px; margin: 0 0 1em; }
dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
.total { font-weight: 700; }
a { color: var(--accent); }
a.button { display: block; text-align: center; background: var(--accent); color: var(--card); text-decoration: none; font-weight: 600; padding: 12px; border-radius: 10px; }
.description { white-space: pre-line; }
img { display: block; width: 100%; height: auto; border-radius: 8px; margin-top: 12px; }
</style>
</head>
<body>
<main>
<p class="soft">{{ shop }} · custom order {{ view.number }}</p>
<h1>{{ view.message }}</h1>
{% if !self.is_over() %}
<ol>{% for (name, done) in self.steps() %}<li{% if done %} class="done"{% endif %}>{{ name }}</li>{% endfor %}</ol>
{% endif %}
{% if let Some(quote) = view.quote %}
<section>
<h2>{% if view.order_number.is_some() %}Your piece{% else %}Your quote{% endif %}</h2>
<p class="description">{{ quote.description }}</p>
<dl>
<dt>The piece</dt><dd>{{ quote.amount.in_currency(quote.currency) }}</dd>
<dt>Shipping</dt><dd>{{ quote.shipping.in_currency(quote.currency) }}</dd>
<dt class="total">Total</dt><dd class="total">{{ quote.total.in_currency(quote.currency) }}</dd>
</dl>
{% if let Some(url) = quote.payment_url %}
{% if let Some(until) = quote.valid_until %}<p class="soft">Good until {{ self.date(until) }}.</p>{% endif %}
<a class="button" href="{{ url }}">Pay {{ quote.total.in_currency(quote.currency) }}</a>
{% endif %}
{% if let Some(number) = view.order_number %}<p class="soft">Paid as order {{ number }}.</p>{% endif %}
</section>
{% endif %}
{% if let Some(shipment) = view.shipment %}
<section>
<h2>Your shipment</h2>
<p>{{ shipment.carrier }}{% if let Some(number) = shipment.tracking_number %} {{ number }}{% endif %}, sent on {{ self.date(shipment.shipped_at) }}.</p>
{% if let Some(url) = shipment.tracking_url %}<p><a href="{{ url }}" rel="noreferrer">Follow the shipment</a></p>{% endif %}
{% for image in view.images %}<img src="{{ image.url }}" width="{{ image.width }}" height="{{ image.height }}" alt="The finished piece">{% endfor %}
</section>
{% endif %}
</main>
</body>
</html>
"##
)]
struct StatusPage<'a> {
    shop: &'a str,
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
