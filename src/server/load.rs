//! How much is done at once: beyond that a request is sent away at once with 503, which costs next to nothing, so that
//! those let in are answered in good time. Stripe's webhooks and the questions of health are always let in.
//!
//! A request counts while we work on it. One whose body is still on its way does not: else a handful of slow senders
//! could keep everybody out. What their bodies take of the memory is bounded by itself.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::error::Error;
use crate::metrics::Metrics;

/// Never sent away: a webhook is money, and who asks for our health must not be told of our load.
const FIRST: [&str; 3] = ["/api/payments/webhook", "/healthz", "/readyz"];

/// How many bytes of bodies are in memory at once; those of forms with files go to disk and do not count. Webhooks may
/// take as much again.
const BODY_MEMORY: usize = 256 * 1024 * 1024;

/// What is going on at the moment. Cheap to clone.
#[derive(Clone)]
pub struct Load(Arc<Counts>);

struct Counts {
    most: usize,
    in_flight: AtomicUsize,
    body_bytes: AtomicUsize,
    metrics: Metrics,
}

impl Load {
    /// Up to so many requests at once.
    pub fn new(most: usize, metrics: Metrics) -> Load {
        Load(Arc::new(Counts {
            most,
            in_flight: AtomicUsize::new(0),
            body_bytes: AtomicUsize::new(0),
            metrics,
        }))
    }

    fn enter(&self, is_first: bool, is_kept: bool) -> Option<Arc<Place>> {
        // Counted first: of two that take the last place at once, neither may see it free.
        let before = self.0.in_flight.fetch_add(1, Relaxed);
        let place = Place {
            load: self.clone(),
            is_first,
            is_kept,
            waits: AtomicBool::new(false),
            bytes: AtomicUsize::new(0),
            is_too_much: AtomicBool::new(false),
        };
        self.tell();
        (is_first || before < self.0.most).then(|| Arc::new(place))
    }

    fn add(&self) {
        self.0.in_flight.fetch_add(1, Relaxed);
        self.tell();
    }

    fn remove(&self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
        self.tell();
    }

    fn tell(&self) {
        self.0.metrics.set_in_flight(self.0.in_flight.load(Relaxed));
    }
}

/// A request that was let in, until it is answered.
struct Place {
    load: Load,
    is_first: bool,
    /// Its body is gathered in memory.
    is_kept: bool,
    /// Its body is on the way, and it is not counted.
    waits: AtomicBool,
    bytes: AtomicUsize,
    is_too_much: AtomicBool,
}

impl Place {
    fn wait(&self) {
        if !self.waits.swap(true, Relaxed) {
            self.load.remove();
        }
    }

    fn go_on(&self) {
        if self.waits.swap(false, Relaxed) {
            self.load.add();
        }
    }

    /// False where there is no room for so many bytes more.
    fn takes(&self, bytes: usize) -> bool {
        if !self.is_kept {
            return true;
        }
        let most = if self.is_first {
            2 * BODY_MEMORY
        } else {
            BODY_MEMORY
        };
        self.bytes.fetch_add(bytes, Relaxed);
        let before = self.load.0.body_bytes.fetch_add(bytes, Relaxed);
        before + bytes <= most
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let bytes = *self.bytes.get_mut();
        self.load.0.body_bytes.fetch_sub(bytes, Relaxed);
        if !*self.waits.get_mut() {
            self.load.remove();
        }
    }
}

/// A body on its way to us.
struct Arriving {
    body: Body,
    place: Arc<Place>,
}

impl hyper::body::Body for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            self.place.wait();
            return Poll::Pending;
        };
        self.place.go_on();
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        if !self.place.takes(bytes) {
            self.place.is_too_much.store(true, Relaxed);
            return Poll::Ready(Some(Err(axum::Error::new(Error::Overloaded))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // Nobody waits for it any more.
        self.place.go_on();
    }
}

/// Lets a request in, or sends it away with 503.
pub async fn bound(State(load): State<Load>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let is_first = route.is_some_and(|route| FIRST.contains(&route.as_str()));
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is_kept = !content_type.is_some_and(|name| name.as_bytes().starts_with(b"multipart/"));
    let Some(place) = load.enter(is_first, is_kept) else {
        load.0.metrics.shed();
        return Error::Overloaded.into_response();
    };
    let request = request.map(|body| {
        let place = place.clone();
        Body::new(Arriving { body, place })
    });
    let response = next.run(request).await;
    if place.is_too_much.load(Relaxed) {
        load.0.metrics.shed();
        return Error::Overloaded.into_response();
    }
    response
}
