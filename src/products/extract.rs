//! Extractors and responses of the catalog's routes.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::changes::Shown;
use super::views::AdminView;
use super::{OwnHold, Product};
use crate::app::App;
use crate::audit::Actor;
use crate::auth::{Admin, Scope};
use crate::error::answers::ListError;
use crate::error::{Error, ErrorBody, Result};
use crate::http::{Json, Query};

/// Failures of a public read, in the format of the previous service.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "read by the OpenAPI document alone")]
pub enum ReadFailures {
    /// The caller has the current response already (`If-None-Match`).
    #[response(status = 304)]
    NotModified,
    /// A parameter is invalid; a batch also answers `ids_required`, `no_valid_ids` or `too_many_ids`.
    #[response(status = 400)]
    BadRequest(ListError),
    /// The object does not exist, or `invalid_page`: the page does not.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The path does not support this method.
    #[response(status = 405)]
    MethodNotAllowed(ErrorBody),
}

/// Failures of a read that needs a token.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "read by the OpenAPI document alone")]
pub enum AdminReadFailures {
    /// A parameter is invalid.
    #[response(status = 400)]
    BadRequest(ListError),
    /// The token is missing or invalid.
    #[response(status = 401)]
    Unauthenticated(ErrorBody),
    /// The token lacks the scope.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The object or the page does not exist.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The path does not support this method.
    #[response(status = 405)]
    MethodNotAllowed(ErrorBody),
}

/// Failures of a write.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "read by the OpenAPI document alone")]
pub enum WriteFailures {
    /// The body is not JSON, or a field is invalid; each error names its field.
    #[response(status = 400)]
    BadRequest(ErrorBody),
    /// The token is missing or invalid.
    #[response(status = 401)]
    Unauthenticated(ErrorBody),
    /// The token lacks the scope.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The object does not exist.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The path does not support this method.
    #[response(status = 405)]
    MethodNotAllowed(ErrorBody),
    /// `version_conflict`, `inventory_changed`, `stock_is_held`, `slug_taken` or `id_taken`.
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not `application/json`.
    #[response(status = 415)]
    UnsupportedMediaType(ErrorBody),
}

/// A public read of the catalog: query, the shopper's own hold, and `If-None-Match`.
pub struct StorefrontRequest {
    pub query: Query,
    /// Scheme and host of URLs in the response.
    pub base: String,
    pub own: OwnHold,
    known: Option<HeaderValue>,
}

impl FromRequestParts<App> for StorefrontRequest {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<StorefrontRequest> {
        let Ok(query) = Query::from_request_parts(parts, app).await;
        if !matches!(query.get("format"), None | Some("" | "json")) {
            return Err(Error::NotFound(""));
        }
        Ok(StorefrontRequest {
            query,
            base: base_of(app, parts),
            own: parts
                .extensions
                .get::<OwnHold>()
                .cloned()
                .unwrap_or_default(),
            known: parts.headers.get(header::IF_NONE_MATCH).cloned(),
        })
    }
}

impl StorefrontRequest {
    /// Responds with JSON, or with 304 if the caller has the current version. Caches must revalidate, because stock
    /// changes and because a shopper's own hold, identified by the cookie, affects the response.
    pub fn answer<T: Serialize>(&self, view: &T, shown: Shown) -> Result<Response> {
        let body = serde_json::to_vec(view).map_err(anyhow::Error::from)?;
        let tag = entity_tag(&body);
        let known = self.known.as_ref().and_then(|value| value.to_str().ok());
        let mut response = if known.is_some_and(|known| names_tag(known, &tag)) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(
            header::ETAG,
            HeaderValue::from_str(&tag).map_err(anyhow::Error::from)?,
        );
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        );
        headers.append(header::VARY, HeaderValue::from_static("Cookie"));
        if self.own.0.is_empty() {
            response.extensions_mut().insert(shown);
        }
        Ok(response)
    }
}

/// Computes a weak entity tag: compression changes the bytes of the body.
fn entity_tag(body: &[u8]) -> String {
    let hash = Sha256::digest(body);
    let hash = u128::from_be_bytes(std::array::from_fn(|at| hash[at]));
    format!("W/\"{hash:032x}\"")
}

/// Reports whether an `If-None-Match` names an entity tag.
pub fn names_tag(known: &str, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    known
        .split(',')
        .any(|item| item.trim() == "*" || opaque(item) == opaque(tag))
}

/// A caller whose token has the scope `stock` or `catalog`. It is extracted before the body, so that unauthorized
/// bodies are not read.
pub struct ProductAdmin<const OF_STOCK: bool> {
    pub actor: Actor,
    pub token: Admin,
    /// Scheme and host of URLs in the response.
    pub base: String,
    /// The version in `If-Match`.
    pub version: Option<i64>,
}

/// A caller who may change the catalog.
pub type CatalogAdmin = ProductAdmin<false>;
/// A caller who may change stock.
pub type StockAdmin = ProductAdmin<true>;

impl<const OF_STOCK: bool> FromRequestParts<App> for ProductAdmin<OF_STOCK> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let admin = Admin::from_request_parts(parts, app).await?;
        admin.may(if OF_STOCK {
            Scope::Stock
        } else {
            Scope::Catalog
        })?;
        Ok(ProductAdmin {
            actor: admin.actor.clone(),
            token: admin,
            base: base_of(app, parts),
            version: expected_version(&parts.headers)?,
        })
    }
}

impl<const OF_STOCK: bool> ProductAdmin<OF_STOCK> {
    /// Returns the base URLs of this shop's own images in requests.
    pub fn bases<'a>(&'a self, app: &'a App) -> [&'a str; 2] {
        [&self.base, &app.config.server.public_url]
    }

    /// Responds with the product for owners. The entity tag is its version, usable in `If-Match`.
    pub fn respond(&self, product: Product) -> Response {
        let tag = format!("\"{}\"", product.version);
        let view = AdminView::new(product, &self.base);
        ([(header::ETAG, tag)], unstored(view)).into_response()
    }
}

fn expected_version(headers: &HeaderMap) -> Result<Option<i64>> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let value = value.to_str().unwrap_or_default().trim();
    if value == "*" {
        return Ok(None);
    }
    let number = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let version = number.unwrap_or(value).parse().ok();
    version
        .map(Some)
        .ok_or_else(|| Error::invalid("If-Match", "Must be a version in quotes: \"3\"."))
}

/// Responds with JSON that must not be stored by caches.
pub fn unstored<T: Serialize>(view: T) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(view)).into_response()
}

/// Returns scheme and host of the request. In production, they come from the configuration, because clients control the
/// Host header.
pub fn base_url(app: &App, peer: Option<IpAddr>, headers: &HeaderMap) -> String {
    let is_https = peer.is_some_and(|peer| app.config.is_forwarded_https(peer, headers));
    let scheme = if is_https { "https" } else { "http" };
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    match host {
        Some(host) if !app.config.is_production() && is_host(host) => format!("{scheme}://{host}"),
        _ => app.config.server.public_url.clone(),
    }
}

fn base_of(app: &App, parts: &Parts) -> String {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    base_url(app, peer.map(|peer| peer.0.ip()), &parts.headers)
}

fn is_host(text: &str) -> bool {
    !text.contains('@')
        && text
            .parse::<Authority>()
            .is_ok_and(|it| !it.host().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_however_it_is_written() {
        let tag = entity_tag(b"{}");
        let strong = tag.trim_start_matches("W/");
        assert!(names_tag(&tag, &tag) && names_tag(strong, &tag) && names_tag("*", &tag));
        assert!(names_tag(&format!("\"x\", {tag}"), &tag));
        assert!(!names_tag(&entity_tag(b"[]"), &tag));
    }

    #[test]
    fn if_match_names_a_version() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, HeaderValue::from_static(value));
            expected_version(&headers).ok()
        };
        assert_eq!(read("\"3\""), Some(Some(3)));
        assert_eq!(read("3"), Some(Some(3)));
        assert_eq!(read("*"), Some(None));
        assert_eq!(read("W/\"ab\""), None);
    }

    #[test]
    fn only_a_host_becomes_an_address() {
        assert!(is_host("localhost:8000") && is_host("[::1]:80") && is_host("shop.example"));
        assert!(!is_host("a@b") && !is_host("a/b") && !is_host("a b") && !is_host(""));
    }
}
