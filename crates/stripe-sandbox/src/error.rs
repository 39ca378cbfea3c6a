//! Failures: [`Error`] for callers in Rust, [`ApiError`] as the API answers it.

use serde_json::{Value, json};

/// Failure of a call to the sandbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Stripe's rules forbid the change; nothing was changed.
    #[error("{message}")]
    Refused {
        /// Stripe's code, such as `charge_already_refunded`, where it has one.
        code: Option<String>,
        /// The reason, as the API would answer it.
        message: String,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Error {
        match error.source {
            Some(source) => Error::Database(*source),
            None => Error::Refused {
                code: error.code,
                message: error.message,
            },
        }
    }
}

/// Result of one operation of the API.
pub type ApiResult<T> = Result<T, ApiError>;

/// Error object of the API, with its HTTP status.
///
/// Source: <https://docs.stripe.com/api/errors>
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub status: u16,
    /// Stripe's `type`.
    pub kind: &'static str,
    pub code: Option<String>,
    pub message: String,
    /// The parameter at fault, in form notation: `line_items[0][price]`.
    pub param: Option<String>,
    /// True if a repeat under the same idempotency key gets this error again: Stripe had begun to act.
    pub is_kept: bool,
    /// The failure beneath a 500 of our own. Boxed, for it is large and rare.
    pub source: Option<Box<sqlx::Error>>,
}

impl ApiError {
    /// Rejects a parameter before anything has begun.
    pub fn invalid(message: impl Into<String>, param: &str) -> ApiError {
        ApiError {
            param: Some(param.to_owned()),
            is_kept: false,
            ..ApiError::refused(message)
        }
    }

    /// Rejects a request without a parameter that it needs.
    pub fn absent(param: &str) -> ApiError {
        ApiError::invalid(format!("Missing required param: {param}."), param)
            .code("parameter_missing")
    }

    /// Rejects a well-formed request because of the state that its objects are in.
    pub fn refused(message: impl Into<String>) -> ApiError {
        ApiError {
            status: 400,
            kind: "invalid_request_error",
            code: None,
            message: message.into(),
            param: None,
            is_kept: true,
            source: None,
        }
    }

    /// Rejects the id of an unknown object: 404 if the path names it, 400 if a parameter does.
    pub fn missing(status: u16, kind: &str, id: &str, param: &str) -> ApiError {
        ApiError::refused(format!("No such {kind}: '{id}'"))
            .code("resource_missing")
            .param(param)
            .status(status)
    }

    /// A 500 after Stripe had begun to act.
    pub fn server_error(message: impl Into<String>) -> ApiError {
        ApiError {
            status: 500,
            kind: "api_error",
            ..ApiError::refused(message)
        }
    }

    /// Replaces the HTTP status.
    pub fn status(self, status: u16) -> ApiError {
        ApiError { status, ..self }
    }

    /// Adds Stripe's code.
    pub fn code(self, code: &str) -> ApiError {
        ApiError {
            code: Some(code.to_owned()),
            ..self
        }
    }

    /// Names the faulty parameter.
    pub fn param(self, param: &str) -> ApiError {
        ApiError {
            param: Some(param.to_owned()),
            ..self
        }
    }

    /// The answer's JSON, to the request with this id.
    pub fn body(&self, request: &str) -> Value {
        let mut error = json!({
            "type": self.kind,
            "message": self.message,
            "request_log_url": format!("https://dashboard.stripe.com/test/logs/{request}"),
        });
        for (key, value) in [("code", &self.code), ("param", &self.param)] {
            if let Some(value) = value {
                error[key] = json!(value);
            }
        }
        if self.kind == "card_error" {
            error["decline_code"] = json!("generic_decline");
        }
        json!({ "error": error })
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> ApiError {
        let message = "An error occurred with our connection to the database.";
        ApiError {
            is_kept: false,
            source: Some(Box::new(error)),
            ..ApiError::server_error(message)
        }
    }
}
