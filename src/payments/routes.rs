//! Public API of payments: checkout, Stripe's webhook, cancel page, success page.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tracing::warn;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::checkout;
use super::checkout_end::{self, Cancelled};
use super::refund_routes;
use super::{HOLD_MARGIN, SESSION_LIFETIME, events, navigation, store};
use crate::app::App;
use crate::config::origin_of;
use crate::error::answers::{BodyFailures, NotThere};
use crate::error::{Code, Error, ErrorBody, LineError, Result};
use crate::http::idempotency::{IdempotencyKey, Key, Owner};
use crate::http::rate_limit::{self, Action, Client};
use crate::http::{self, Json, Path};
use crate::orders::{self, Cart, Status, Zone};
use crate::products::OwnHold;
use crate::stripe;
use crate::types::ids::{OrderId, ProductId};
use crate::types::money::Cents;

/// Cookie with the shopper's pending order. Host-only, unreadable for scripts, signed.
pub const CHECKOUT_COOKIE: &str = "sb_checkout";

/// Size limit of webhooks in bytes, as in the old service.
const WEBHOOK_LIMIT: usize = 2_621_440;

/// Routes of checkout, webhook, payments and refunds.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_checkout_session))
        .routes(routes!(cancel, confirm_cancel))
        .routes(routes!(find_by_session))
        .merge(refund_routes::router())
        .merge(
            OpenApiRouter::new()
                .routes(routes!(webhook))
                .layer(DefaultBodyLimit::max(WEBHOOK_LIMIT)),
        )
}

/// The storefront's request.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "describes the body for the API document; the cart is read leniently, line by line"
)]
struct CheckoutBody {
    /// 1 to 100 different products.
    #[schema(min_items = 1, max_items = 100)]
    items: Vec<CheckoutItem>,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "as above")]
struct CheckoutItem {
    #[schema(value_type = ProductId)]
    product_id: String,
    /// A whole number of pieces.
    #[schema(minimum = 1, maximum = 999)]
    quantity: i32,
}

#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes the answer for the API document")]
struct CheckoutAnswer {
    /// The payment page.
    checkout_url: String,
}

/// A cart that cannot be bought, in the storefront's format; any other error in the common format.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes the answer for the API document")]
enum CheckoutError {
    Cart(CartError),
    Plain(ErrorBody),
}

#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes the answer for the API document")]
struct CartError {
    error: String,
    message: String,
    details: Vec<LineError>,
    code: String,
}

/// Holds the pieces of a cart for half an hour and returns the payment page.
///
/// Sets a cookie that names the pending order; a new checkout with it replaces the old one. With an `Idempotency-Key`,
/// a repeat returns the first answer, to the same client only (by this cookie, or else by address), for as long as its
/// order holds.
#[utoipa::path(
    post,
    path = "/api/payments/create-checkout-session",
    tag = "payments",
    params(("Idempotency-Key" = Option<IdempotencyKey>, Header, nullable = false, description = "Any text that identifies this checkout")),
    request_body = CheckoutBody,
    responses(
        (status = 200, body = CheckoutAnswer),
        (status = 400, body = CheckoutError, description = "`cart_not_available`: every faulty line is named; `no_items`; `too_many_pieces`; `payment_setup_error`: Stripe refused the content"),
        BodyFailures,
        (status = 422, body = ErrorBody, description = "The key was used for another checkout"),
        (status = 429, body = ErrorBody, description = "Too many checkouts, or too many pieces held without payment, from this address"),
        (status = 503, body = ErrorBody, description = "Stripe cannot be reached; nothing is held"),
    )
)]
async fn create_checkout_session(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    jar: CookieJar,
    headers: HeaderMap,
    request: Request,
) -> Result<Response> {
    let client = Client::of(&app, peer.ip(), &headers);
    client.check(&app, Action::Checkout).await?;
    let body = read_cart_body(request, &app).await?;
    let return_origin = return_origin(&app, &headers);
    let asked = format!("{return_origin} {body}");
    let supersedes = pending_order(&app, &jar);
    let owner = match supersedes {
        Some(order) => Owner::shopper(order),
        None => Owner::address(&rate_limit::address_of(&app, peer.ip(), &headers)),
    };
    let request = checkout::Request {
        key: Key::read(&headers, "checkout", &owner, asked.as_bytes())?,
        cart: Cart::read(&body)?,
        client,
        zone: zone(&app, &headers, peer),
        return_origin,
        supersedes,
    };
    let answer = check_out_to_the_end(&app, request).await?;
    let jar = match answer.order {
        Some(order) => jar.add(cookie(&app, order)),
        None => jar,
    };
    let status = StatusCode::from_u16(answer.status).map_err(anyhow::Error::from)?;
    Ok((
        status,
        [(header::CACHE_CONTROL, "no-store")],
        jar,
        Json(answer.body),
    )
        .into_response())
}

/// Runs the checkout in a task of its own, so that a disconnecting shopper does not leave it half done.
async fn check_out_to_the_end(app: &App, request: checkout::Request) -> Result<checkout::Answer> {
    let (sender, receiver) = oneshot::channel();
    let app = app.clone();
    tokio::spawn(async move {
        let is_fetched_later = request.key.is_some();
        let answer = checkout::check_out(&app, request).await;
        // The shopper has disconnected and does not know the payment page, so the pieces are released, unless an
        // Idempotency-Key can still fetch the answer.
        if let Err(Ok(unheard)) = sender.send(answer)
            && let Some(order) = unheard.order
            && !is_fetched_later
            && let Err(error) = checkout_end::cancel(&app, order).await
        {
            warn!(%order, %error, "an unanswered checkout could not be ended; its hold will expire");
        }
    });
    receiver
        .await
        .context("the checkout's task ended without an answer")?
}

/// Reads the cart. An empty body is an empty cart, as in the old service.
async fn read_cart_body(request: Request, app: &App) -> Result<Value> {
    let is_empty = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .is_none_or(|length| length == "0")
        && !request.headers().contains_key(header::TRANSFER_ENCODING);
    if is_empty {
        return Ok(json!({}));
    }
    use axum::extract::FromRequest;
    Json::<Value>::from_request(request, app)
        .await
        .map(|Json(body)| body)
}

/// Origin to return to: the requesting page's, if it is allowed. It is never an arbitrary address.
fn return_origin(app: &App, headers: &HeaderMap) -> String {
    headers
        .get(header::ORIGIN)
        .and_then(|origin| origin.to_str().ok())
        .and_then(origin_of)
        .filter(|origin| app.config.server.cors_allowed_origins.contains(origin))
        .unwrap_or_else(|| app.config.server.frontend_url.clone())
}

/// Shipping zone of the visitor's country, as reported by a trusted proxy.
fn zone(app: &App, headers: &HeaderMap, peer: SocketAddr) -> Option<Zone> {
    headers
        .get(&app.config.server.country_header)
        .filter(|_| app.config.trusts(peer.ip()))
        .and_then(|country| country.to_str().ok())
        .and_then(Zone::of_country)
}

fn cookie(app: &App, order: OrderId) -> Cookie<'static> {
    let lifetime = SESSION_LIFETIME + HOLD_MARGIN;
    Cookie::build((
        CHECKOUT_COOKIE,
        app.signer.sign("checkout", &order.to_string()),
    ))
    .path("/")
    .http_only(true)
    .same_site(SameSite::Lax)
    .secure(app.config.server.public_url.starts_with("https://"))
    .max_age(lifetime.try_into().expect("less than an hour"))
    .build()
}

/// The order in the request's cookie, if its signature is valid.
fn pending_order(app: &App, jar: &CookieJar) -> Option<OrderId> {
    let value = jar.get(CHECKOUT_COOKIE)?.value();
    app.signer
        .verify("checkout", value)?
        .parse()
        .ok()
        .map(OrderId)
}

/// Middleware that adds the shopper's own hold to catalog requests, because held pieces are available to their holder.
pub async fn own_hold(
    State(app): State<App>,
    jar: CookieJar,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(order) = pending_order(&app, &jar) {
        let held = async { orders::held_lines(&mut *app.db.acquire().await?, order).await };
        match held.await {
            Ok(lines) => {
                let held: BTreeMap<_, _> = lines.into_iter().collect();
                request.extensions_mut().insert(OwnHold(Arc::new(held)));
            }
            Err(error) => return error.into_response(),
        }
    }
    next.run(request).await
}

/// Receives Stripe's webhook: verifies the signature of the raw body, then stores, processes and acknowledges the
/// event.
#[utoipa::path(
    post,
    path = "/api/payments/webhook",
    tag = "payments",
    params(("Stripe-Signature" = String, Header, description = "t=…,v1=…")),
    request_body(content = String, description = "An event, as Stripe sends it", content_type = "application/json"),
    responses(
        (status = 200, description = "Stored and processed, now or before"),
        (status = 400, body = ErrorBody, description = "`invalid_signature`, or not an event"),
        (status = 503, body = ErrorBody, description = "`event_not_processed`: send it again later"),
    )
)]
async fn webhook(
    State(app): State<App>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>> {
    let body: Bytes = http::body(request, &app)
        .await
        .map_err(|error| match error {
            Error::Refused(_, code, sentence) => {
                Error::Refused(StatusCode::BAD_REQUEST, code, sentence)
            }
            other => other,
        })?;
    let signature = headers
        .get("stripe-signature")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    stripe::verify(
        &body,
        signature,
        &app.config.stripe.webhook_secrets,
        Utc::now().timestamp(),
    )
    .map_err(|error| {
        warn!(%error, "webhook refused");
        Error::refused(
            Code::InvalidSignature,
            format!("Stripe-Signature: {error}."),
        )
    })?;
    // An invalid UTF-8 byte does not change a verified event's meaning.
    let payload = String::from_utf8_lossy(&body);
    events::receive_signed(&app.for_webhooks(), &payload).await?;
    Ok(Json(json!({ "received": true })))
}

/// Cancels a checkout on the way back from the payment page: expires the session, releases the pieces, and redirects to
/// the storefront.
///
/// Only a browser that opens this address as a page has this effect. Automatic requests (a prefetch, a scanner, `HEAD`)
/// get a small page with a button, and nothing is changed.
#[utoipa::path(
    get,
    path = "/api/payments/cancel/{token}",
    tag = "payments",
    params(("token" = String, Path, description = "The order, signed")),
    responses(
        (status = 200, content_type = "text/html", body = String, description = "A page that asks whether to cancel; nothing is changed"),
        (status = 303, description = "To the storefront's cancel page; to its success page if the payment was faster"),
        NotThere,
        (status = 503, body = ErrorBody),
    )
)]
async fn cancel(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
    jar: CookieJar,
    Path(token): Path<String>,
) -> Result<Response> {
    let order = cancelled_order(&app, &token)?;
    if method == Method::GET && navigation::is_by_a_person(&headers) {
        return end_and_go_back(&app, jar, order).await;
    }
    orders::find(&mut *app.db.acquire().await?, order)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    navigation::ask(&app.config.shop.name)
}

/// Cancels a checkout after confirmation on the page.
#[utoipa::path(
    post,
    operation_id = "confirm_cancel",
    path = "/api/payments/cancel/{token}",
    tag = "payments",
    params(("token" = String, Path, description = "The order, signed")),
    responses(
        (status = 303, description = "To the storefront's cancel page; to its success page if the payment was faster"),
        NotThere,
        (status = 503, body = ErrorBody),
    )
)]
async fn confirm_cancel(
    State(app): State<App>,
    jar: CookieJar,
    Path(token): Path<String>,
) -> Result<Response> {
    let order = cancelled_order(&app, &token)?;
    end_and_go_back(&app, jar, order).await
}

/// The order in a cancel address.
fn cancelled_order(app: &App, token: &str) -> Result<OrderId> {
    app.signer
        .verify("cancel", token)
        .and_then(|order| order.parse().ok())
        .map(OrderId)
        .ok_or(Error::NotFound("Order"))
}

async fn end_and_go_back(app: &App, jar: CookieJar, order: OrderId) -> Result<Response> {
    let cancelled = checkout_end::cancel(app, order).await?;
    let is_over = !matches!(cancelled, Cancelled::Held(_));
    let target = match cancelled {
        Cancelled::Free(origin) | Cancelled::Awaited(origin) | Cancelled::Held(origin) => {
            format!("{origin}/cancel")
        }
        Cancelled::Paid(origin) => format!("{origin}/success"),
    };
    // A hold that stays keeps its cookie, so that the shopper's next checkout can replace it.
    let jar = if is_over && pending_order(app, &jar) == Some(order) {
        jar.remove(Cookie::build(CHECKOUT_COOKIE).path("/").build())
    } else {
        jar
    };
    let location = HeaderValue::from_str(&target).map_err(anyhow::Error::from)?;
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((StatusCode::SEE_OTHER, headers, jar).into_response())
}

/// An order for its success page, without personal data.
#[derive(Serialize, ToSchema)]
struct SessionView {
    /// `SB-1042`.
    number: String,
    status: Status,
    currency: String,
    /// Amounts in the currency's smallest unit.
    subtotal: Cents,
    shipping: Cents,
    tax: Cents,
    total: Cents,
    lines: Vec<orders::Line>,
    created_at: DateTime<Utc>,
    /// A delayed payment, such as a bank debit, is in progress, which may take days. The status is `pending` meanwhile.
    is_processing: bool,
}

/// Returns the order of a Checkout Session. The session's id grants access, because it is unguessable.
#[utoipa::path(
    get,
    path = "/api/orders/by-session/{session}",
    tag = "orders",
    params(("session" = String, Path, description = "cs_…")),
    responses((status = 200, body = SessionView), (status = 404, body = ErrorBody))
)]
async fn find_by_session(State(app): State<App>, Path(session): Path<String>) -> Result<Response> {
    if session.contains('\0') || session.len() > 255 {
        return Err(Error::NotFound("Order"));
    }
    let mut conn = app.db.acquire().await?;
    let id = store::find_order_by_session(&mut conn, &session)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    let order = orders::find(&mut conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    let view = SessionView {
        number: order.display_number(),
        status: order.status,
        subtotal: order.subtotal,
        shipping: order.shipping,
        tax: order.tax,
        total: order.total,
        created_at: order.created_at,
        is_processing: order.is_processing(),
        lines: orders::lines(&mut conn, id).await?,
        currency: order.currency,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(view)).into_response())
}
