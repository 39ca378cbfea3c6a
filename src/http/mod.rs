//! `Json`, `Query` and `Path` extractors that fail with our [`Error`], in the format of the previous service where
//! docs/compatibility.md specifies it.

pub mod customer_page;
pub mod idempotency;
pub mod nulls;
mod objects;
pub mod rate_limit;
pub mod texts;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use crate::error::{Code, Error, FieldError};
use crate::types::unicode;
use objects::ObjectsOnly;

/// A JSON request body or response.
///
/// # Errors
/// 415 for another content type; 400 for invalid JSON (nesting deeper than 128 is invalid) or for JSON that does not
/// match the type, naming the field; 413 for a body over the limit; 408 for a body that does not arrive in time.
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
            return Err(Error::refused(
                Code::UnsupportedMediaType,
                format!("Unsupported media type \"{media_type}\" in request."),
            ));
        }
        let body = body(request, state).await?;
        let text = std::str::from_utf8(&body)
            .map_err(|_| malformed("the body is not UTF-8".to_owned()))?;
        let text = unicode::nfc_json(text);
        let mut reader = serde_json::Deserializer::from_str(&text);
        let value: T =
            serde_path_to_error::deserialize(ObjectsOnly(&mut reader)).map_err(|error| {
                let field = error.path().to_string();
                let inner = error.into_inner();
                match inner.classify() {
                    serde_json::error::Category::Data => Error::Invalid(vec![FieldError::new(
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
    Error::refused(Code::ParseError, format!("JSON parse error - {why}"))
}

/// Time limit for a request body, or the idle limit of a streamed one. An extension of the request; without it, a body
/// that is not streamed has no time limit.
#[derive(Clone, Copy)]
pub struct BodyTime(pub Duration);

/// Set while a request body is collected in memory, where its bytes count. An extension of the request; handlers that
/// stream the body clear it.
#[derive(Clone)]
pub struct Gathered(Arc<AtomicBool>);

impl Gathered {
    /// Creates an empty one.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Gathered {
        Gathered(Arc::new(AtomicBool::new(true)))
    }

    /// Returns true once the whole body has arrived.
    pub fn is_gathered(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Time at which a request is aborted. An extension of the request: each part of a streamed body extends it.
#[derive(Clone)]
pub struct Deadline {
    limit: Duration,
    at: Arc<Mutex<Instant>>,
}

impl Deadline {
    /// Creates a deadline `limit` from now.
    pub fn new(limit: Duration) -> Deadline {
        Deadline {
            limit,
            at: Arc::new(Mutex::new(Instant::now() + limit)),
        }
    }

    /// Restarts the time limit.
    pub fn put_off(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.limit;
    }

    /// Completes when the deadline has passed without being extended.
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

/// Creates a 408: the rest of the request did not arrive in time.
pub fn request_timeout() -> Error {
    Error::refused(
        Code::RequestTimeout,
        "The request body did not arrive in time.".to_owned(),
    )
}

/// Reads the whole body, within the route's size limit and the request's time limit.
///
/// # Errors
/// 413 over the size limit, 408 over the time limit, 400 if the client disconnected.
pub async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<axum::body::Bytes, Error> {
    let time = request.extensions().get().map(|BodyTime(time)| *time);
    tokio::time::timeout(
        time.unwrap_or(Duration::MAX),
        axum::body::Bytes::from_request(request, state),
    )
    .await
    .map_err(|_| request_timeout())?
    .map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => incomplete(),
    })
}

/// Total time limit of a streamed body, however steadily it arrives.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Streams the body, up to `most` bytes and without long pauses. Each part extends the request's deadline.
pub fn arriving(
    request: Request,
    most: u64,
) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static {
    let (parts, body) = request.into_parts();
    let deadline: Option<Deadline> = parts.extensions.get().cloned();
    if let Some(Gathered(gathered)) = parts.extensions.get() {
        gathered.store(false, Relaxed);
    }
    let patience = parts
        .extensions
        .get()
        .map_or(LONGEST, |BodyTime(time)| *time);
    let end = Instant::now() + LONGEST;
    let state = (body.into_data_stream(), 0_u64);
    stream::try_unfold(state, move |(mut body, before)| {
        let deadline = deadline.clone();
        async move {
            // The parser polls until nothing is ready. Yield, so that it processes one part at a time.
            tokio::task::yield_now().await;
            let latest = end.min(Instant::now() + patience);
            let part = match tokio::time::timeout_at(latest, body.next()).await {
                Err(_) => return Err(request_timeout()),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => {
                    return Err(incomplete());
                }
                Ok(Some(Ok(part))) => part,
            };
            let size = before + part.len() as u64;
            if size > most {
                return Err(too_large());
            }
            if let Some(deadline) = &deadline {
                deadline.put_off();
            }
            Ok(Some((part, (body, size))))
        }
    })
}

fn incomplete() -> Error {
    Error::refused(Code::IncompleteBody, "The request body could not be read.")
}

/// Creates a 413: the body exceeds the limit.
pub fn too_large() -> Error {
    Error::refused(
        Code::PayloadTooLarge,
        "The request body is too large.".to_owned(),
    )
}

/// The decoded query parameters, in their original order. Never fails: invalid UTF-8 is replaced.
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// Returns the value of a parameter; of repeated ones, the last.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns an integer parameter from 1 to `most`, or `default` if it is missing. Anything else is a field error.
    pub fn whole(
        &self,
        name: &str,
        default: i64,
        most: i64,
        field_errors: &mut Vec<FieldError>,
    ) -> i64 {
        let number = match self.get(name) {
            None | Some("") => return default,
            Some(text) => text.parse().ok().filter(|n| (1..=most).contains(n)),
        };
        number.unwrap_or_else(|| {
            field_errors.push(FieldError::new(
                name,
                format!("must be a whole number from 1 to {most}"),
            ));
            default
        })
    }
}

/// The requested page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Page number, starting at 1
    #[param(rename = "page", required = false, minimum = 1, maximum = 1_000_000)]
    pub number: i64,
    /// 1 to 100, 24 by default
    #[param(rename = "page_size", required = false, minimum = 1, maximum = 100)]
    pub size: i64,
}

impl Paging {
    /// Returns the number of entries before the page.
    pub fn offset(&self) -> i64 {
        (self.number - 1) * self.size
    }
}

/// One page of a list for owners, with the number of entries on all pages.
#[derive(Serialize, ToSchema)]
pub struct Page<T> {
    count: i64,
    page: i64,
    page_size: i64,
    results: Vec<T>,
}

impl<T> Page<T> {
    /// The page that was asked for.
    pub fn new(asked: Paging, count: i64, results: Vec<T>) -> Page<T> {
        Page {
            count,
            page: asked.number,
            page_size: asked.size,
            results,
        }
    }

    /// A page of a list that is in memory as a whole.
    pub fn of(asked: Paging, list: Vec<T>) -> Page<T> {
        let count = i64::try_from(list.len()).unwrap_or(i64::MAX);
        let skipped = usize::try_from(asked.offset()).unwrap_or(usize::MAX);
        let size = usize::try_from(asked.size).unwrap_or(usize::MAX);
        let results = list.into_iter().skip(skipped).take(size).collect();
        Page::new(asked, count, results)
    }
}

/// Parameters common to the lists for owners: paging, search, and choices. A field error names its parameter.
impl Query {
    /// Reads `page` (from 1) and `page_size` (1 to 100, 24 by default).
    pub fn paging(&self, field_errors: &mut Vec<FieldError>) -> Paging {
        Paging {
            number: self.whole("page", 1, 1_000_000, field_errors),
            size: self.whole("page_size", 24, 100, field_errors),
        }
    }

    /// Reads and trims `search`; `None` if it is empty.
    pub fn search(&self, field_errors: &mut Vec<FieldError>) -> Option<String> {
        let text = self
            .get("search")
            .map(str::trim)
            .filter(|text| !text.is_empty())?;
        if text.contains('\0') || text.chars().count() > 200 {
            field_errors.push(FieldError::new(
                "search",
                "must have at most 200 characters",
            ));
        }
        Some(unicode::nfc(text).into_owned())
    }

    /// Reads a parameter that names one of `all`; `None` if it is empty.
    pub fn one_of<T: Copy>(
        &self,
        name: &str,
        all: &[T],
        name_of: fn(T) -> &'static str,
        field_errors: &mut Vec<FieldError>,
    ) -> Option<T> {
        let text = self.get(name).filter(|text| !text.is_empty())?;
        let found = all.iter().copied().find(|value| name_of(*value) == text);
        if found.is_none() {
            let names: Vec<&str> = all.iter().map(|value| name_of(*value)).collect();
            field_errors.push(FieldError::new(
                name,
                format!("must be one of {}", names.join(", ")),
            ));
        }
        found
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

/// A path parameter. A value that does not parse as a `T` gets 404.
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
