//! Responses of the catalog, kept in memory and never stale (P9).
//!
//! A read first waits for a validation that began after the read arrived: one statement that names what changed since the
//! snapshot that all in memory is at least as new as. Only then does it look into memory. So each response shows the
//! catalog of one instant between the request's arrival and its response, in every process. docs/architecture.md has the
//! rules, and why they hold.

mod entries;
mod kept;
mod key;
mod validator;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use tower::{Service, ServiceExt};
use uuid::Uuid;

use super::REQUEST_ID;
use crate::app::App;
use crate::error::Error;
use crate::products::Shown;
use entries::{Entries, Found, Slot};
use kept::Kept;
use key::Key;
use validator::Validator;

/// Longest wait for a response that another caller makes.
const SHARING_LIMIT: Duration = Duration::from_millis(500);

/// Answers reads of the catalog from memory, and all other requests by the router. Cheap to clone.
#[derive(Clone)]
pub struct Memory(Arc<Inner>);

struct Inner {
    app: App,
    router: Router,
    validator: Validator,
    entries: Arc<Entries>,
}

impl Memory {
    /// Puts a memory before a router.
    pub fn before(router: Router, app: App) -> Memory {
        let entries = Arc::new(Entries::new(app.config.server.catalog_memory));
        Memory(Arc::new(Inner {
            validator: Validator::new(app.pools.clone(), entries.clone()),
            app,
            router,
            entries,
        }))
    }
}

impl Inner {
    async fn answer(&self, request: Request) -> Response {
        let began = Instant::now();
        let key = match self.entries.is_off() {
            true => None,
            false => Key::of(&self.app, &request),
        };
        let Some(key) = key else {
            return self.route(request).await;
        };
        if !self.validator.validate().await {
            return self.route(request).await;
        }
        let found = match self.entries.find(&key) {
            Found::Kept(kept) => Some(kept),
            Found::Making(slot) => timeout(SHARING_LIMIT, slot.made()).await.ok().flatten(),
            Found::New(slot) => return self.make(&key, slot, request).await,
        };
        let Some(kept) = found else {
            return self.route(request).await;
        };
        let response = kept.respond(request.headers());
        let (route, status) = (key.route().pattern(), response.status());
        let metrics = &self.app.metrics;
        metrics.remembered(route, status, began.elapsed());
        response
    }

    /// Asks the router, and keeps its response unless what it shows changes meanwhile.
    async fn make(&self, key: &Key, slot: Slot, mut request: Request) -> Response {
        let asked = request.headers().clone();
        key.plain(request.headers_mut());
        let response = self.route(request).await;
        let shown = response.extensions().get::<Shown>().cloned();
        let Some(shown) = shown.filter(|_| response.status() == StatusCode::OK) else {
            return response;
        };
        let (parts, body) = response.into_parts();
        let id = parts.headers.get(REQUEST_ID).cloned();
        match Kept::read(parts, body).await {
            Ok(kept) => slot.fill(kept, &shown).respond_as(&asked, id),
            Err(error) => Error::Internal(error).into_response(),
        }
    }

    async fn route(&self, request: Request) -> Response {
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }
}

impl Service<Request> for Memory {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let memory = self.0.clone();
        Box::pin(async move { Ok(memory.answer(request).await) })
    }
}

/// The id of a request that names no plain one.
fn new_id() -> HeaderValue {
    let id = Uuid::new_v4().to_string();
    HeaderValue::try_from(id).expect("letters and dashes")
}
