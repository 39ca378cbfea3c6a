//! Stripe's API over HTTP: keys, faults, the log of requests; and the sandbox's own interface.

mod control;
mod idempotency;
mod operations;
mod parameters;

use std::future::pending;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Form, FromRequest, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::any;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use serde_json::Value;

use crate::error::{ApiError, ApiResult};
use crate::fault::Fault;
use crate::request_log::Request;
use crate::store::{API_VERSION, id};
use crate::{Sandbox, lock};
use parameters::Operation;

/// Routes of Stripe's API, and of the sandbox's own interface.
pub fn router(sandbox: Sandbox) -> Router {
    Router::new()
        .route("/v1/{*path}", any(serve))
        .route("/_sandbox/{name}", any(control::serve))
        .with_state(sandbox)
}

/// A request to Stripe's API, as far as it decides the answer.
struct Call {
    /// Stripe's id for the request.
    id: String,
    method: Method,
    path: String,
    params: Vec<(String, String)>,
    idempotency_key: Option<String>,
    stripe_version: Option<String>,
    /// None for a path that is no operation.
    operation: Option<Operation>,
}

/// An answer of the API.
struct Answer {
    status: u16,
    body: Value,
    /// For a repeat under an idempotency key: the id of the request that the answer was made for.
    original_request: Option<String>,
}

async fn serve(
    State(sandbox): State<Sandbox>,
    method: Method,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let encoded = match method {
        Method::POST => body,
        _ => query.unwrap_or_default().into(),
    };
    let path = format!("/v1/{path}");
    let call = Arc::new(Call::new(method, path, decode(encoded).await, &headers));
    let number = lock(&sandbox.inner.requests).add(call.log_entry());
    let fault = match sandbox.is_authorized(&headers) {
        true => lock(&sandbox.inner.faults).next(&call.operation_name()),
        false => Some(Fault::Unauthorized),
    };

    let refusal = match &fault {
        Some(Fault::Drop) => return dropped(),
        Some(Fault::Hang) => pending().await,
        Some(Fault::BadGateway) => {
            lock(&sandbox.inner.requests).set_status(number, 502);
            return bad_gateway();
        }
        Some(fault) => refusal(fault, &headers),
        None => None,
    };
    let outcome = match refusal {
        Some(error) => Err(error),
        None => sandbox.answer(call.clone(), fault.clone()).await,
    };
    let outcome = match fault {
        Some(Fault::ActThenDrop) => return dropped(),
        Some(Fault::ActThenHang) => pending().await,
        Some(Fault::ActThenServerError) => Err(injected_error()),
        _ => outcome,
    };

    let answer = outcome.unwrap_or_else(|error| {
        if let Some(source) = &error.source {
            tracing::error!(error = %source, "the Stripe sandbox's database failed");
        }
        Answer {
            status: error.status,
            body: error.body(&call.id),
            original_request: None,
        }
    });
    lock(&sandbox.inner.requests).set_status(number, answer.status);
    answer.into_response(&call)
}

impl Call {
    fn new(
        method: Method,
        path: String,
        params: Vec<(String, String)>,
        headers: &HeaderMap,
    ) -> Call {
        let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Call {
            id: id("req_", 14),
            idempotency_key: header("idempotency-key").filter(|_| method == Method::POST),
            stripe_version: header("stripe-version"),
            operation: parameters::operation(method.as_str(), &path),
            method,
            path,
            params,
        }
    }

    /// The operation's template, by which faults are planned; the path of a request to none.
    fn operation_name(&self) -> String {
        match &self.operation {
            Some(operation) => operation.template.to_owned(),
            None => format!("{} {}", self.method, self.path),
        }
    }

    fn log_entry(&self) -> Request {
        Request {
            method: self.method.to_string(),
            operation: self.operation_name(),
            path: self.path.clone(),
            params: self.params.clone(),
            idempotency_key: self.idempotency_key.clone(),
            stripe_version: self.stripe_version.clone(),
            status: None,
        }
    }
}

impl Answer {
    fn into_response(self, call: &Call) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let version = call.stripe_version.as_deref().unwrap_or(API_VERSION);
        let is_replayed = self.original_request.is_some();
        let headers = [
            ("request-id", Some(call.id.as_str())),
            ("stripe-version", Some(version)),
            ("idempotency-key", call.idempotency_key.as_deref()),
            ("idempotent-replayed", is_replayed.then_some("true")),
            ("original-request", self.original_request.as_deref()),
        ];
        let mut response = (status, Json(self.body)).into_response();
        for (name, value) in headers {
            if let Some(value) = value.and_then(|value| value.parse().ok()) {
                let name = HeaderName::from_static(name);
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

impl Sandbox {
    /// Carries a call out in a task of its own: Stripe goes on when its caller hangs up.
    async fn answer(&self, call: Arc<Call>, fault: Option<Fault>) -> ApiResult<Answer> {
        let sandbox = self.clone();
        let task = tokio::spawn(async move {
            match &call.operation {
                Some(operation) => sandbox.execute(&call, operation, fault).await,
                None => {
                    let message = format!(
                        "Unrecognized request URL ({}: {}). If you are trying to list objects, remove the trailing slash.",
                        call.method, call.path
                    );
                    Err(ApiError::refused(message).status(404))
                }
            }
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the Stripe sandbox failed at a request");
            Err(ApiError::server_error("An unknown error occurred."))
        })
    }

    /// Returns true for a request with the secret key, as a bearer token or the user name of HTTP Basic.
    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let key = &self.inner.settings.secret_key;
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        match given.split_once(' ') {
            Some(("Bearer", token)) => token.trim() == key,
            Some(("Basic", credentials)) => {
                credentials.trim() == STANDARD.encode(format!("{key}:"))
            }
            _ => false,
        }
    }
}

/// The error of a fault that keeps the operation from being looked at.
fn refusal(fault: &Fault, headers: &HeaderMap) -> Option<ApiError> {
    match fault {
        Fault::RateLimited => {
            let message = "Request rate limit exceeded. Learn more about rate limits at https://stripe.com/docs/rate-limits.";
            Some(ApiError::refused(message).code("rate_limit").status(429))
        }
        Fault::Unauthorized => Some(unauthorized(headers)),
        Fault::Forbidden => {
            let message =
                "The provided key does not have the required permissions for this endpoint.";
            Some(
                ApiError::refused(message)
                    .code("more_permissions_required")
                    .status(403),
            )
        }
        Fault::Refused {
            code,
            message,
            param,
        } => Some(ApiError {
            param: param.clone(),
            ..ApiError::refused(message).code(code)
        }),
        _ => None,
    }
}

/// The error of a request without the key. Stripe shows the end of a wrong key; the sandbox shows none of it.
fn unauthorized(headers: &HeaderMap) -> ApiError {
    let message = if headers.contains_key(header::AUTHORIZATION) {
        "Invalid API Key provided: ****"
    } else {
        "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth."
    };
    ApiError::refused(message).status(401)
}

/// The 500 of a fault.
fn injected_error() -> ApiError {
    ApiError::server_error("An unknown error occurred. (The sandbox injected this fault.)")
}

/// The answer of a proxy before Stripe: HTML where clients expect JSON.
fn bad_gateway() -> Response {
    let page = Html("<html><body><h1>502 Bad Gateway</h1></body></html>");
    (StatusCode::BAD_GATEWAY, page).into_response()
}

/// A response that breaks before its first byte, so that the caller sees the connection closed.
fn dropped() -> Response {
    let broken = std::io::Error::other("the sandbox drops this connection on purpose");
    Body::from_stream(stream::iter([Err::<Bytes, _>(broken)])).into_response()
}

/// Decodes form or query parameters. Text that is neither has none.
async fn decode(encoded: Bytes) -> Vec<(String, String)> {
    let request = axum::http::Request::post("/")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let request = request.body(Body::from(encoded)).unwrap_or_default();
    match Form::from_request(request, &()).await {
        Ok(Form(pairs)) => pairs,
        Err(_) => Vec::new(),
    }
}
