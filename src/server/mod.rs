//! Routers and middleware of the HTTP server. Submodules handle connections and load shedding.

mod connections;
mod load_shedding;
mod memory;
mod start_page;
pub mod startup;

pub use connections::serve;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tower::Layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::classify::ServerErrorsFailureClass;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::normalize_path::NormalizePathLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;
use utoipa::OpenApi;
use utoipa::openapi::RefOr;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::config::Config;
use crate::error::answers::{FilterError, ListError};
use crate::error::{Code, Error, ErrorBody, Result};
use crate::http::idempotency::IdempotencyKey;
use crate::http::texts::{Day, IfMatch};
use crate::http::{BodyTime, Deadline, Json, Path};
use crate::{
    admin, app::metrics, auth, custom_orders, emails, fulfillment, images, orders, payments,
    products, review_items, system, system::health,
};
use load_shedding::LoadLimiter;
use memory::Memory;

/// Content security policy of the API's documentation page: its own resources, and requests to this shop. Its script
/// sets inline styles.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Makes browsers use HTTPS only, for one year.
const HSTS: &str = "max-age=31536000";

/// Names a request in the log and to its caller.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Body limit of an ordinary request, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(title = "Spirit Beads", description = "The API of a small shop that sells one-of-a-kind beaded lighter cases."),
    components(schemas(ErrorBody, ListError, FilterError, IdempotencyKey, Day, IfMatch)),
    modifiers(&BearerToken)
)]
struct ApiDoc;

struct BearerToken;

impl utoipa::Modify for BearerToken {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A token created in the admin, or by `spirit-beads token create`",
            ))
            .build();
        api.components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Adds missing descriptions to responses, because OpenAPI 3.1 requires them: the reason phrase of the status.
fn describe_responses(document: &mut utoipa::openapi::OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            for (status, response) in &mut operation.responses.responses {
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    let status: Option<StatusCode> = status.parse().ok();
                    let reason = status.and_then(|status| status.canonical_reason());
                    response.description = reason.unwrap_or("An answer").to_owned();
                }
            }
        }
    }
}

/// Builds the whole HTTP application. `pages` are those of the Stripe sandbox, if there is one.
pub fn router(app: App, pages: Option<Router>) -> Router {
    let load = LoadLimiter::new(
        app.config.server.max_requests_in_flight,
        load_shedding::BODY_MEMORY,
        app.metrics.clone(),
    );
    let catalog = products::router().layer(from_fn_with_state(app.clone(), payments::own_hold));
    let (api, mut document) = OpenApiRouter::with_openapi(ApiDoc::openapi())
        .merge(catalog)
        .merge(orders::router())
        .merge(custom_orders::router())
        .merge(fulfillment::router())
        .merge(review_items::router())
        .merge(payments::router())
        .merge(emails::router())
        .merge(images::router())
        .merge(admin::figures::router())
        .merge(admin::customers::router())
        .merge(admin::erasure::router())
        .merge(system::router())
        .merge(auth::router())
        .split_for_parts();
    describe_responses(&mut document);

    let context = admin::router(&app).layer((
        from_fn_with_state(load.clone(), load_shedding::bound),
        DefaultBodyLimit::max(BODY_LIMIT),
    ));
    let mut shop = api
        .route("/healthz", get(async || Json(json!({"status": "up"}))))
        .route("/readyz", get(ready))
        .route("/media/{*path}", get(image))
        .fallback(async || Error::NotFound(""))
        .method_not_allowed_fallback(method_not_allowed)
        .layer((
            cors(&app.config),
            // Inside of CORS: the storefront must be able to read the response that tells it to retry.
            from_fn_with_state(load, load_shedding::bound),
            from_fn_with_state(app.clone(), time_out),
            CompressionLayer::new().compress_when(compressed()),
            DefaultBodyLimit::max(BODY_LIMIT),
        ))
        .with_state(app.clone())
        .merge(context);
    if !app.config.is_production() {
        let start = start_page::router(pages.is_some()).with_state(app.clone());
        shop = shop.merge(start.method_not_allowed_fallback(method_not_allowed));
    }
    if let Some(pages) = pages {
        shop = shop.nest("/sandbox", pages);
    }
    // Paths work with and without a trailing slash. The documentation pages stay outside, because they link to
    // themselves with one.
    let docs = SwaggerUi::new("/api/docs")
        .url("/api/openapi.json", document)
        // By default, the page sends the document to Swagger's validator.
        .config(utoipa_swagger_ui::Config::default().validator_url("none"));
    let docs = Router::new()
        .merge(docs)
        .layer(SetResponseHeaderLayer::overriding(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(DOCS_POLICY),
        ));
    let router = framed(docs.method_not_allowed_fallback(method_not_allowed), &app)
        .fallback_service(NormalizePathLayer::trim_trailing_slash().layer(framed(shop, &app)));
    Router::new().fallback_service(Memory::before(router, app))
}

/// Builds the router of the Prometheus listener (`METRICS_ADDR`).
pub fn metrics_router(app: App) -> Router {
    Router::new()
        .route("/metrics", get(tell_metrics))
        .with_state(app)
}

/// Adds the middleware of every response, and request logging. It wraps the routes, so that the log contains their
/// patterns. All layers at once, the outermost first: one by one, each would box every route again.
fn framed(router: Router, app: &App) -> Router {
    let tracing = TraceLayer::new_for_http()
        .make_span_with(request_span)
        .on_failure(broken_off);
    router.layer((
        SetSensitiveRequestHeadersLayer::new([
            header::AUTHORIZATION,
            header::COOKIE,
            HeaderName::from_static("stripe-signature"),
        ]),
        from_fn_with_state(app.clone(), count),
        from_fn(plain_request_id),
        SetRequestIdLayer::x_request_id(MakeRequestUuid),
        tracing,
        PropagateRequestIdLayer::x_request_id(),
        from_fn_with_state(app.clone(), security_headers),
        CatchPanicLayer::custom(panicked),
    ))
}

/// `GET /readyz`: checks database, migrations and worker. A 503 names what is missing.
async fn ready(State(app): State<App>) -> Response {
    let ready = health::readiness(&app.pools).await;
    let status = if ready.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(ready)).into_response()
}

/// `GET /metrics`: returns this process's counters and current figures from the database. Without a database, only the
/// counters.
async fn tell_metrics(State(app): State<App>) -> Response {
    let figures = health::figures(&app.pools).await;
    let text = app.metrics.encode(&figures);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// Counts every request by the pattern of its route, because the number of paths is unbounded.
async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    if let Some(error) = response.extensions().get::<Arc<Error>>() {
        app.note_failure(error);
    }
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    app.metrics
        .answered(&method, route, &response, began.elapsed());
    response
}

/// Answers worth compressing: all but images and backups, which are compressed.
fn compressed() -> impl Predicate {
    DefaultPredicate::new().and(NotForContentType::const_new("application/x-tar"))
}

async fn method_not_allowed(method: Method) -> Error {
    Error::refused(
        Code::MethodNotAllowed,
        format!("Method \"{method}\" not allowed."),
    )
}

/// `GET /media/…`: an image or one of its renditions.
async fn image(
    State(app): State<App>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    images::serve(&app.storage, &app.db, &path, &headers).await
}

async fn time_out(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let limit = app.config.server.request_timeout;
    // A slow sender must not count as an outage of the shop: reading the body times out first.
    request.extensions_mut().insert(BodyTime(limit / 2));
    let deadline = Deadline::new(limit);
    request.extensions_mut().insert(deadline.clone());
    tokio::select! {
        response = next.run(request) => response,
        () = deadline.passed() => {
            Error::Unavailable(Code::Timeout, anyhow::anyhow!("the request took too long"))
                .into_response()
        }
    }
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Error::Internal(anyhow::anyhow!("panic: {what}")).into_response()
}

/// Sets the headers of the previous service, which its clients may rely on, and HSTS over TLS. Removes CORS headers for
/// origins that are not allowed.
async fn security_headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|peer| peer.0.ip());
    let is_over_tls = is_over_tls(&app.config, peer, request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if is_over_tls {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static(HSTS),
        );
    }
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        for name in [
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            header::ACCESS_CONTROL_ALLOW_METHODS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            header::ACCESS_CONTROL_MAX_AGE,
        ] {
            headers.remove(name);
        }
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Reports whether the client connected over HTTPS: according to a trusted proxy, or else to the shop's public URL.
fn is_over_tls(config: &Config, peer: Option<IpAddr>, headers: &HeaderMap) -> bool {
    if headers.contains_key("x-forwarded-proto") && peer.is_some_and(|peer| config.trusts(peer)) {
        return peer.is_some_and(|peer| config.is_forwarded_https(peer, headers));
    }
    config.is_https()
}

/// Keeps a proxy's request id if it is plain, because it is written to the log.
async fn plain_request_id(mut request: Request, next: Next) -> Response {
    if !request.headers().get(REQUEST_ID).is_some_and(is_plain_id) {
        request.headers_mut().remove(REQUEST_ID);
    }
    next.run(request).await
}

fn is_plain_id(id: &HeaderValue) -> bool {
    id.len() <= 64
        && id
            .as_bytes()
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
}

/// Creates the log span of a request. It has the route's pattern instead of the path, which may contain a session or a
/// signed token.
fn request_span(request: &Request) -> tracing::Span {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("-", MatchedPath::as_str);
    let id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    tracing::info_span!("request", method = %request.method(), route, id)
}

/// Logs responses that break off. Other failures have been logged already, with their causes.
fn broken_off(failure: ServerErrorsFailureClass, _: Duration, _: &tracing::Span) {
    if let ServerErrorsFailureClass::Error(error) = failure {
        tracing::error!(error, "the response broke off");
    }
}

fn cors(config: &Config) -> CorsLayer {
    let origins = config
        .server
        .cors_allowed_origins
        .iter()
        .filter_map(|origin| origin.parse().ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([
            Method::DELETE,
            Method::GET,
            Method::OPTIONS,
            Method::PATCH,
            Method::POST,
            Method::PUT,
        ])
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::USER_AGENT,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("x-csrftoken"),
            HeaderName::from_static("x-requested-with"),
        ])
        .expose_headers([header::ETAG, header::LOCATION, header::RETRY_AFTER])
        .max_age(Duration::from_secs(86_400))
}
