//! The error type and its JSON representation.
//!
//! Every error has `error` and `detail` (the same sentence; the storefront reads the first, clients of the old service
//! the second) and `code`, a stable word for programs. `details` has one entry per faulty field or cart line. Two old
//! formats are kept and extended by `code`: faulty carts, and the field map of the filters.

pub mod answers;
mod codes;
mod database;

pub use codes::{Code, LineCode};
pub use database::DatabaseFailure;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error in one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The field's name, dotted where nested: `products[3].price`.
    pub field: String,
    /// The problem, as a sentence.
    pub message: String,
}

impl FieldError {
    /// Creates a field error. The message is a sentence about the field, without its name.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> FieldError {
        FieldError {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// A cart line that cannot be bought, in the storefront's format.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LineError {
    /// The id as received: a number stays a number.
    pub product_id: Value,
    /// `invalid_item_data`, `product_not_found`, `product_not_active`, `product_sold_out`, `insufficient_inventory` or
    /// `currency_mismatch`.
    #[schema(value_type = String)]
    pub error: LineCode,
    /// A sentence for the shopper. Its first number is the available quantity, which the storefront reads.
    pub message: String,
}

/// JSON body of every error.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    /// A sentence for people.
    pub error: String,
    /// The same sentence, under the old service's name.
    pub detail: String,
    /// A stable word for programs.
    pub code: String,
    /// One entry per faulty field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<FieldError>,
}

/// Errors, sorted by what the caller can do about them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 404: missing, or not visible to the caller. The word names the kind, as in `No Product matches the given query.`
    #[error("no such {0}")]
    NotFound(&'static str),
    /// 400: each entry names its field.
    #[error("invalid input: {0:?}")]
    Invalid(Vec<FieldError>),
    /// 400 in the old service's format for filters: a map from field to sentences.
    #[error("invalid filters: {0:?}")]
    Filters(Vec<FieldError>),
    /// 400 in the storefront's format: each faulty cart line, or none for an empty cart.
    #[error("the cart cannot be bought: {0:?}")]
    Cart(Vec<LineError>),
    /// Any other 4xx: status, code and sentence. Usually the status of the code: see [`Error::refused`].
    #[error("{1}: {2}")]
    Refused(StatusCode, Code, String),
    /// 401: no valid token.
    #[error("not authenticated")]
    Unauthenticated,
    /// 403: the token lacks this scope.
    #[error("the token lacks the scope {0}")]
    Forbidden(&'static str),
    /// 409: the current state forbids it: sold out, changed in the meantime, already shipped.
    #[error("{0}: {1}")]
    Conflict(Code, String),
    /// 429: rate limit exceeded; the time to wait, and a sentence. With a field name when it is a field error.
    #[error("too many: {2}")]
    TooMany(Option<&'static str>, Duration, String),
    /// 503: overloaded; retry in a moment. Not logged, because there are many.
    #[error("overloaded")]
    Overloaded,
    /// 503: too many concurrent searches, or a search that took too long. Not logged either.
    #[error("too many searches")]
    SearchBusy,
    /// 503: Stripe or the database failed, and a retry may help. The code says which.
    #[error("{0}: {1:#}")]
    Unavailable(Code, anyhow::Error),
    /// 500: a bug. The log has it in full, the response nothing.
    #[error("internal: {0:#}")]
    Internal(#[from] anyhow::Error),
}

impl Error {
    /// An error in one field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Error {
        Error::Invalid(vec![FieldError::new(field, message)])
    }

    /// An error with the status of its code.
    pub fn refused(code: Code, message: impl Into<String>) -> Error {
        Error::Refused(code.status(), code, message.into())
    }

    /// HTTP status of the error.
    pub fn status(&self) -> StatusCode {
        match self {
            Error::Refused(status, ..) => *status,
            other => other.code().status(),
        }
    }

    /// The database failure behind the error, if any.
    pub fn database_failure(&self) -> Option<DatabaseFailure> {
        let (Error::Unavailable(_, cause) | Error::Internal(cause)) = self else {
            return None;
        };
        cause.chain().find_map(|cause| {
            if let Some(error) = cause.downcast_ref::<sqlx::Error>() {
                return Some(DatabaseFailure::of(error));
            }
            cause.downcast_ref::<Error>()?.database_failure()
        })
    }

    /// The stable word for programs.
    pub fn code(&self) -> Code {
        match self {
            Error::NotFound(_) => Code::NotFound,
            Error::Invalid(_) => Code::Invalid,
            Error::Filters(_) => Code::InvalidFilter,
            Error::Cart(lines) if lines.is_empty() => Code::NoItems,
            Error::Cart(_) => Code::CartNotAvailable,
            Error::Unauthenticated => Code::NotAuthenticated,
            Error::Forbidden(_) => Code::PermissionDenied,
            Error::TooMany(..) => Code::TooManyRequests,
            Error::Overloaded => Code::Overloaded,
            Error::SearchBusy => Code::SearchBusy,
            Error::Refused(_, code, _) | Error::Conflict(code, _) | Error::Unavailable(code, _) => {
                *code
            }
            Error::Internal(_) => Code::Internal,
        }
    }

    /// The JSON body of the error.
    pub fn body(&self) -> Value {
        let code = self.code();
        let plain = |sentence: &str| json!({"error": sentence, "detail": sentence, "code": code});
        match self {
            Error::NotFound("") => plain("Not found."),
            Error::NotFound(what) => plain(&format!("No {what} matches the given query.")),
            Error::Invalid(field_errors) => {
                let mut body = match field_errors.first() {
                    Some(FieldError { field, message }) => plain(&format!("{field}: {message}")),
                    None => plain("The request is not valid."),
                };
                body["details"] = json!(field_errors);
                body
            }
            Error::Filters(field_errors) => {
                let mut body = json!({"code": code});
                for field_error in field_errors {
                    body[&field_error.field] = json!([field_error.message]);
                }
                body
            }
            Error::Cart(lines) => json!({
                "error": "Validation failed",
                "message": if lines.is_empty() { "No items provided" }
                    else { "Some items in your cart are no longer available" },
                "details": lines,
                "code": code,
            }),
            Error::Unauthenticated => plain("Authentication credentials were not provided."),
            Error::Forbidden(scope) => {
                plain(&format!("This needs a token with the scope {scope}."))
            }
            Error::Unavailable(Code::PaymentUnavailable, _) => payment_failure(
                code,
                "The payment service cannot be reached right now. Nothing was charged; please try again in a moment.",
            ),
            // The storefront shows the `message`.
            Error::TooMany(_, _, sentence) => {
                json!({"error": sentence, "message": sentence, "detail": sentence, "code": code})
            }
            Error::Refused(_, Code::PaymentSetupError, sentence) => payment_failure(code, sentence),
            Error::Overloaded => {
                plain("The shop is very busy. Nothing was changed; please try again in a moment.")
            }
            Error::SearchBusy => {
                plain("Too many people are searching right now. Please try again in a moment.")
            }
            Error::Unavailable(..) => plain(
                "The shop is briefly unavailable. Nothing was changed; please try again in a moment.",
            ),
            Error::Refused(_, _, sentence) | Error::Conflict(_, sentence) => plain(sentence),
            Error::Internal(_) => plain("Something went wrong on our side."),
        }
    }
}

/// JSON for a payment that could not begin. The storefront shows the `message`.
fn payment_failure(code: Code, sentence: &str) -> Value {
    let hint = "The log says why.";
    json!({"error": code, "message": sentence, "hint": hint, "detail": sentence, "code": code})
}

impl From<sqlx::Error> for Error {
    /// Sorts database failures: unstorable values are the caller's error, outages are temporary, everything else is a
    /// bug.
    fn from(error: sqlx::Error) -> Error {
        match DatabaseFailure::of(&error) {
            // Input parsing should have rejected it, but a 4xx is still correct.
            DatabaseFailure::BadData => Error::refused(
                Code::InvalidValue,
                "The request contains a value that cannot be stored.",
            ),
            DatabaseFailure::Busy | DatabaseFailure::ConnectionLost | DatabaseFailure::ReadOnly => {
                Error::Unavailable(Code::DatabaseUnavailable, error.into())
            }
            DatabaseFailure::Bug => Error::Internal(error.into()),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        match &self {
            Error::Internal(cause) => tracing::error!(error = format!("{cause:#}"), "failed"),
            Error::Unavailable(code, cause) => {
                tracing::warn!(
                    code = code.text(),
                    error = format!("{cause:#}"),
                    "unavailable"
                );
            }
            _ => {}
        }
        let mut response = (status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        if let Error::TooMany(_, wait, _) = &self {
            let seconds = HeaderValue::from(wait.as_secs().max(1));
            headers.insert(header::RETRY_AFTER, seconds);
        }
        // For the admin, which renders the error as a page.
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}
