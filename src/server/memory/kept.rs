//! A response in memory, with the head of its 304.

use std::sync::Arc;

use anyhow::Context;
use axum::body::{Body, to_bytes};
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use crate::products::names_tag;
use crate::server::{REQUEST_ID, is_plain_id};

/// A response that can be given many times.
pub struct Kept {
    headers: HeaderMap,
    body: Bytes,
    tag: String,
    /// Headers of the 304 for callers that have this response.
    not_modified: HeaderMap,
}

impl Kept {
    /// Reads a response of the router as a whole. It is in memory already, so there is no limit.
    ///
    /// # Errors
    /// When it breaks off, or has no entity tag: neither happens.
    pub async fn read(parts: Parts, body: Body) -> anyhow::Result<Kept> {
        let tag = parts.headers.get(header::ETAG).context("no entity tag")?;
        let tag = tag.to_str()?.to_owned();
        let body = to_bytes(body, usize::MAX).await?;
        let mut headers = parts.headers;
        headers.remove(REQUEST_ID);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        let mut not_modified = headers.clone();
        for name in [
            header::CONTENT_TYPE,
            header::CONTENT_LENGTH,
            header::CONTENT_ENCODING,
        ] {
            not_modified.remove(name);
        }
        Ok(Kept {
            headers,
            body,
            tag,
            not_modified,
        })
    }

    /// Bytes in memory, about.
    pub fn size(&self) -> usize {
        let headers = self.headers.len() + self.not_modified.len();
        self.body.len() + headers * 80 + 500
    }

    /// Responds to a request: with 304 if it has this response already.
    pub fn respond(&self, asked: &HeaderMap) -> Response {
        let id = asked.get(REQUEST_ID).filter(|id| is_plain_id(id));
        self.respond_as(asked, Some(id.cloned().unwrap_or_else(super::new_id)))
    }

    /// Responds to a request of this id.
    pub fn respond_as(&self, asked: &HeaderMap, id: Option<HeaderValue>) -> Response {
        let known = asked.get(header::IF_NONE_MATCH);
        let known = known.and_then(|known| known.to_str().ok());
        let mut response;
        if known.is_some_and(|known| names_tag(known, &self.tag)) {
            response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.headers_mut() = self.not_modified.clone();
        } else {
            response = Response::new(Body::from(self.body.clone()));
            *response.headers_mut() = self.headers.clone();
        }
        if let Some(id) = id {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }
}

/// Shared: it is given to many at once.
pub type Shared = Arc<Kept>;
