//! `Json`, `Query` and `Path` that fail as our [`Error`], in the words of the old service where API.md shows them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::error::{Error, Fault};

/// A JSON body, in or out.
///
/// # Errors
/// 415 for another content type, 400 for what is not JSON (nested over 128 deep is not) or does not fit, naming the
/// field, 413 for a body over the limit, 408 for one that does not arrive.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Json<T>, Error> {
        let media_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Error::Refused(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                format!("Unsupported media type \"{media_type}\" in request."),
            ));
        }
        let body = body(request, state).await?;
        let text = std::str::from_utf8(&body)
            .map_err(|_| malformed("the body is not UTF-8".to_owned()))?;
        let mut reader = serde_json::Deserializer::from_str(text);
        let value: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let field = error.path().to_string();
            let inner = error.into_inner();
            match inner.classify() {
                serde_json::error::Category::Data => Error::Invalid(vec![Fault::new(
                    if field == "." {
                        "body".to_owned()
                    } else {
                        field
                    },
                    inner.to_string(),
                )]),
                _ => malformed(inner.to_string()),
            }
        })?;
        reader.end().map_err(|error| malformed(error.to_string()))?;
        Ok(Json(value))
    }
}

fn malformed(why: String) -> Error {
    Error::bad_request("parse_error", format!("JSON parse error - {why}"))
}

/// How long a request's body may take to arrive; a form with files, how long it may be silent. An extension of the
/// request; without it, for ever.
#[derive(Clone, Copy)]
pub struct BodyTime(pub Duration);

/// When a request is given up. An extension of the request: who reads a long body puts it off with each part.
#[derive(Clone)]
pub struct Deadline {
    limit: Duration,
    at: Arc<Mutex<Instant>>,
}

impl Deadline {
    /// So long from now.
    pub fn new(limit: Duration) -> Deadline {
        Deadline {
            limit,
            at: Arc::new(Mutex::new(Instant::now() + limit)),
        }
    }

    /// Begins the time anew.
    pub fn put_off(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.limit;
    }

    /// Ends when it has passed, and was not put off meanwhile.
    pub async fn passed(&self) {
        loop {
            let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
            if at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(at).await;
        }
    }
}

/// 408: the rest of the request did not come.
pub fn request_timeout() -> Error {
    Error::Refused(
        StatusCode::REQUEST_TIMEOUT,
        "request_timeout",
        "The request body did not arrive in time.".to_owned(),
    )
}

/// The whole body, within the route's limit and the request's time.
///
/// # Errors
/// 413 over the limit, 408 too late, 400 if the sender went away.
pub async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<axum::body::Bytes, Error> {
    let time = request.extensions().get().map(|BodyTime(time)| *time);
    tokio::time::timeout(
        time.unwrap_or(Duration::MAX),
        axum::body::Bytes::from_request(request, state),
    )
    .await
    .map_err(|_| request_timeout())?
    .map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Error::Refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            "The request body is too large.".to_owned(),
        ),
        _ => Error::bad_request("incomplete_body", "The request body could not be read."),
    })
}

/// The query's parameters as sent, decoded, in their order. Never fails: what is not UTF-8 is replaced.
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// The value of a parameter; of several with one name the last counts.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Query(
            url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        ))
    }
}

/// A part of the path. What cannot be read as a `T` names nothing: 404.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Error> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Path(value)),
            Err(_) => Err(Error::NotFound("")),
        }
    }
}
