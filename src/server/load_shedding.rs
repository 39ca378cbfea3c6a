//! Limits concurrent requests. Excess requests queue for up to one second and are then rejected with 503.
//!
//! The queue absorbs short bursts. It also slows down clients that retry immediately: each of them gets one rejection a
//! second.
//!
//! A request does not count while its body is still arriving; otherwise a few slow senders could block everybody. The
//! memory of bodies has its own limits.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::app::metrics::Metrics;
use crate::error::Error;
use crate::http::Gathered;

/// Exempt from load shedding: dropping a webhook can lose a payment, and health checks must not fail under load.
const EXEMPT_ROUTES: [&str; 3] = ["/api/payments/webhook", "/healthz", "/readyz"];

/// Longest time that a request queues.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);

/// Memory limits of request bodies, in bytes. Streamed bodies don't count, because they go to disk.
#[derive(Clone, Copy)]
pub struct BodyMemory {
    /// For the first [`SMALL`] bytes of each body. A cart needs no more, and large bodies cannot exhaust this pool.
    pub small: usize,
    /// For the bytes after the first [`SMALL`].
    pub large: usize,
    /// For webhooks only.
    pub webhooks: usize,
}

/// Memory limits in production.
pub const BODY_MEMORY: BodyMemory = BodyMemory {
    small: 64 * 1024 * 1024,
    large: 192 * 1024 * 1024,
    webhooks: 256 * 1024 * 1024,
};

/// Size of a small body, in bytes.
const SMALL: usize = 16 * 1024;

/// Current load of the server. Cheap to clone.
#[derive(Clone)]
pub struct LoadLimiter(Arc<Counts>);

struct Counts {
    /// Free places, granted in the order of requests.
    places: Semaphore,
    /// Places taken beyond the limit, by requests that were admitted earlier and whose bodies went on.
    overcommitted: AtomicUsize,
    small: Pool,
    large: Pool,
    webhooks: Pool,
    metrics: Metrics,
    began: Instant,
    /// Second of the last log message, since `began`, and the number of rejections since then.
    last_logged: AtomicU64,
    suppressed: AtomicU64,
}

impl LoadLimiter {
    /// Limits the number of concurrent requests and the memory of their bodies.
    pub fn new(most: usize, memory: BodyMemory, metrics: Metrics) -> LoadLimiter {
        LoadLimiter(Arc::new(Counts {
            places: Semaphore::new(most),
            overcommitted: AtomicUsize::new(0),
            small: Pool::new(memory.small),
            large: Pool::new(memory.large),
            webhooks: Pool::new(memory.webhooks),
            metrics,
            began: Instant::now(),
            last_logged: AtomicU64::new(u64::MAX),
            suppressed: AtomicU64::new(0),
        }))
    }

    /// Waits for a place. Returns `None` if none becomes free in time.
    async fn enter(&self, is_exempt: bool) -> Option<Arc<Place>> {
        if !is_exempt {
            timeout(QUEUE_TIMEOUT, self.0.places.acquire())
                .await
                .ok()?
                .ok()?
                .forget();
        }
        self.0.metrics.begun();
        Some(Arc::new(Place {
            load: self.clone(),
            is_exempt,
            gathered: Gathered::new(),
            waits: AtomicBool::new(false),
            bytes: AtomicUsize::new(0),
            is_too_much: AtomicBool::new(false),
        }))
    }

    /// Takes a place, even if none is free.
    fn add(&self, is_exempt: bool) {
        if !is_exempt {
            match self.0.places.try_acquire() {
                Ok(place) => place.forget(),
                Err(_) => {
                    self.0.overcommitted.fetch_add(1, Relaxed);
                }
            }
        }
        self.0.metrics.begun();
    }

    /// Returns a place, unless it was taken beyond the limit.
    fn remove(&self, is_exempt: bool) {
        if !is_exempt {
            let pay = |overcommitted: usize| overcommitted.checked_sub(1);
            if self
                .0
                .overcommitted
                .fetch_update(Relaxed, Relaxed, pay)
                .is_err()
            {
                self.0.places.add_permits(1);
            }
        }
        self.0.metrics.ended();
    }

    /// Rejects a request. Logs at most once a second, so that a flood of requests cannot fill the disk.
    fn shed(&self) -> Response {
        self.0.metrics.shed();
        self.0.suppressed.fetch_add(1, Relaxed);
        let now = self.0.began.elapsed().as_secs();
        if self.0.last_logged.swap(now, Relaxed) != now {
            let requests = self.0.suppressed.swap(0, Relaxed);
            tracing::warn!(requests, "sent away: too much is asked at once");
        }
        Error::Overloaded.into_response()
    }
}

/// Place of an admitted request until its response.
struct Place {
    load: LoadLimiter,
    is_exempt: bool,
    gathered: Gathered,
    /// Set while the body is arriving and the request does not count.
    waits: AtomicBool,
    bytes: AtomicUsize,
    is_too_much: AtomicBool,
}

impl Place {
    fn wait(&self) {
        if !self.waits.swap(true, Relaxed) {
            self.load.remove(self.is_exempt);
        }
    }

    fn go_on(&self) {
        if self.waits.swap(false, Relaxed) {
            self.load.add(self.is_exempt);
        }
    }

    /// Reserves memory for more bytes of the body. Returns false if the limit is exceeded.
    fn takes(&self, bytes: usize) -> bool {
        if !self.gathered.is_gathered() {
            return true;
        }
        let before = self.bytes.fetch_add(bytes, Relaxed);
        let after = before + bytes;
        let counts = &self.load.0;
        if self.is_exempt {
            return counts.webhooks.take(bytes);
        }
        let large = |size: usize| size.saturating_sub(SMALL);
        let fits_small = counts.small.take(after.min(SMALL) - before.min(SMALL));
        let fits_large = counts.large.take(large(after) - large(before));
        fits_small && fits_large
    }

    fn give_back(&self, bytes: usize) {
        let counts = &self.load.0;
        if self.is_exempt {
            counts.webhooks.give_back(bytes);
            return;
        }
        counts.small.give_back(bytes.min(SMALL));
        counts.large.give_back(bytes.saturating_sub(SMALL));
    }
}

/// A memory limit and the bytes in use.
struct Pool {
    most: usize,
    lent: AtomicUsize,
}

impl Pool {
    fn new(most: usize) -> Pool {
        Pool {
            most,
            lent: AtomicUsize::new(0),
        }
    }

    /// Takes bytes. Returns false if the limit is exceeded; the bytes must be returned even then.
    fn take(&self, bytes: usize) -> bool {
        let before = self.lent.fetch_add(bytes, Relaxed);
        bytes == 0 || before + bytes <= self.most
    }

    fn give_back(&self, bytes: usize) {
        self.lent.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let bytes = *self.bytes.get_mut();
        self.give_back(bytes);
        if !*self.waits.get_mut() {
            self.load.remove(self.is_exempt);
        }
    }
}

/// A request body that counts its place and its memory.
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
        // Nothing waits for the body any more, so the request counts again.
        self.place.go_on();
    }
}

/// Admits a request, or rejects it with 503 if no place becomes free in time.
pub async fn bound(State(load): State<LoadLimiter>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let is_exempt = route.is_some_and(|route| EXEMPT_ROUTES.contains(&route.as_str()));
    let Some(place) = load.enter(is_exempt).await else {
        return load.shed();
    };
    let mut request = request;
    request.extensions_mut().insert(place.gathered.clone());
    let request = request.map(|body| {
        let place = place.clone();
        Body::new(Arriving { body, place })
    });
    let response = next.run(request).await;
    if place.is_too_much.load(Relaxed) {
        return load.shed();
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use futures_util::{StreamExt, stream};
    use tokio::task::JoinHandle;
    use tower::ServiceExt;

    use super::*;
    use crate::http::arriving;

    const WEBHOOK: &str = EXEMPT_ROUTES[0];
    const OTHER: &str = "/other";
    const FILES: &str = "/files";

    fn load(most: usize) -> LoadLimiter {
        let memory = BodyMemory {
            small: 2 * SMALL,
            large: 1000,
            webhooks: 1000,
        };
        LoadLimiter::new(most, memory, Metrics::default())
    }

    fn router() -> Router {
        let gathered = async |body: Bytes| body.len().to_string();
        let streamed = async |request: Request| {
            let sizes = arriving(request, u64::MAX).map(|part| part.map_or(0, |part| part.len()));
            sizes
                .fold(0, async |sum, size| sum + size)
                .await
                .to_string()
        };
        Router::new()
            .route(WEBHOOK, post(gathered))
            .route(OTHER, post(gathered))
            .route(FILES, post(streamed))
            .layer(from_fn_with_state(load(10), bound))
    }

    async fn sends(router: &Router, path: &str, body: impl Into<Body>) -> StatusCode {
        let request = Request::post(path).body(body.into()).expect("a request");
        let answer = router.clone().oneshot(request).await;
        answer.expect("an answer").status()
    }

    #[tokio::test]
    async fn bodies_in_memory_are_bounded() {
        let router = router();
        for (path, size, status) in [
            (OTHER, SMALL + 1000, StatusCode::OK),
            (OTHER, SMALL + 1001, StatusCode::SERVICE_UNAVAILABLE),
            // Streamed bodies go to disk.
            (FILES, 4 * SMALL, StatusCode::OK),
            (WEBHOOK, 1000, StatusCode::OK),
            (WEBHOOK, 1001, StatusCode::SERVICE_UNAVAILABLE),
            // The memory was released.
            (OTHER, SMALL + 1000, StatusCode::OK),
        ] {
            assert_eq!(
                sends(&router, path, vec![0; size]).await,
                status,
                "{path} {size}"
            );
        }
    }

    #[tokio::test]
    async fn who_finds_no_place_waits_for_one() {
        let load = load(2);
        let enter = async || load.enter(false).await;
        let first = enter().await.expect("a place");
        let second = enter().await.expect("a place");
        let began = Instant::now();
        assert!(enter().await.is_none());
        assert!(began.elapsed() >= QUEUE_TIMEOUT);
        assert!(load.enter(true).await.is_some(), "webhooks come first");

        // A request whose body is arriving returns its place, and takes one again when the body goes on.
        first.wait();
        let third = enter().await.expect("the place of the first");
        first.go_on();
        drop(second);
        assert!(enter().await.is_none(), "that place was owed");
        let (fourth, ()) = tokio::join!(enter(), async {
            tokio::task::yield_now().await;
            drop(third);
        });
        assert!(fourth.is_some(), "a place became free in time");
        drop((first, fourth));
        assert_eq!(load.0.places.available_permits(), 2);
    }

    /// Sends a part of a body and never the rest. Returns once that part has arrived.
    async fn stalls(router: &Router, path: &'static str, size: usize) -> JoinHandle<StatusCode> {
        let (tell, last_logged) = tokio::sync::oneshot::channel();
        let part = Ok::<_, std::io::Error>(Bytes::from(vec![0; size]));
        let begun = stream::once(async move { part }).chain(stream::once(async move {
            let _ = tell.send(());
            std::future::pending().await
        }));
        let router = router.clone();
        let slow =
            tokio::spawn(async move { sends(&router, path, Body::from_stream(begun)).await });
        last_logged.await.expect("so many bytes are there");
        slow
    }

    #[tokio::test]
    async fn large_bodies_small_ones_and_webhooks_do_not_take_each_others_memory() {
        let router = router();
        let full = StatusCode::SERVICE_UNAVAILABLE;
        let large = stalls(&router, OTHER, SMALL + 900).await;
        assert_eq!(sends(&router, OTHER, vec![0; SMALL + 900]).await, full);
        assert_eq!(sends(&router, OTHER, vec![0; SMALL]).await, StatusCode::OK);
        assert_eq!(sends(&router, WEBHOOK, vec![0; 900]).await, StatusCode::OK);

        let webhook = stalls(&router, WEBHOOK, 900).await;
        assert_eq!(sends(&router, WEBHOOK, vec![0; 900]).await, full);
        assert_eq!(sends(&router, OTHER, vec![0; SMALL]).await, StatusCode::OK);

        for slow in [large, webhook] {
            slow.abort();
            let _ = slow.await;
        }
        assert_eq!(
            sends(&router, OTHER, vec![0; SMALL + 900]).await,
            StatusCode::OK
        );
        assert_eq!(sends(&router, WEBHOOK, vec![0; 900]).await, StatusCode::OK);
    }
}
