//! Connections: limits on their number, their idle time and the size of request heads, and graceful shutdown.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;
use tracing::{debug, info, warn};

use crate::app::App;

/// Time for requests in flight to finish during shutdown.
const DRAIN: Duration = Duration::from_secs(20);

/// Size limit of a request head, in bytes. Larger ones get 431.
const HEAD_LIMIT: usize = 32 * 1024;

/// Buffer between socket and handler for a body, in bytes.
const BUFFER: usize = 64 * 1024;

/// Idle timeout of a new connection while more than half of all places are taken.
const CROWDED_PATIENCE: Duration = Duration::from_secs(5);

/// Timeout for a client that reads nothing of a response, unless the idle timeout is shorter.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// File descriptors reserved for everything except connections: database, Stripe, files.
const OTHER_FILES: u64 = 256;

/// Serves the listener until `shutdown`, then waits a limited time for requests in flight.
pub async fn serve(
    listener: TcpListener,
    app: &App,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let most = places(app.config.server.max_connections);
    let graceful = GracefulShutdown::new();
    let mut open = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = open.join_next() => {}
            accepted = listener.accept(), if open.len() < most => match accepted {
                Ok((stream, peer)) => {
                    let patience = if open.len() < most / 2 {
                        app.config.server.keep_alive
                    } else {
                        app.config.server.keep_alive.min(CROWDED_PATIENCE)
                    };
                    let held = app.metrics.connection();
                    let answering =
                        answer(stream, peer, router.clone(), patience, graceful.watcher());
                    open.spawn(async move {
                        answering.await;
                        drop(held);
                    });
                }
                Err(error) => {
                    // The client may have disconnected; if we're out of file descriptors, back off.
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(DRAIN) => {
            info!("{} requests still in flight after {DRAIN:?} are dropped", open.len());
        }
    }
}

/// Returns the maximum number of connections: `wanted`, unless the limit of open files is lower.
fn places(wanted: usize) -> usize {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
    let room = usize::try_from(files.saturating_sub(OTHER_FILES).max(64)).unwrap_or(usize::MAX);
    if room < wanted {
        info!("room for {room} connections: the limit of open files is {files}");
    }
    wanted.min(room)
}

async fn answer(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    patience: Duration,
    watcher: Watcher,
) {
    // Responses are written as a whole, so Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_PATIENCE.min(patience)));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_header_size(HEAD_LIMIT)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        debug!(%error, "a connection ended");
    }
}
