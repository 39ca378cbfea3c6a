//! The proxy in front of both shops, as docs/moving-from-django.md has it: forwards everything to one of them, or refuses to
//! take money for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::{RwLock, watch};

/// The proxy, which serves as long as its test.
pub struct Proxy {
    pub address: String,
    gate: Arc<Gate>,
}

struct Gate {
    way: RwLock<Way>,
    takes_money: watch::Sender<bool>,
    refused: AtomicUsize,
    http: reqwest::Client,
}

struct Way {
    target: String,
    takes_money: bool,
}

impl Proxy {
    pub async fn to(target: &str) -> Proxy {
        let http = reqwest::Client::builder().tls_certs_only([]).build();
        let gate = Arc::new(Gate {
            way: RwLock::new(Way {
                target: target.to_owned(),
                takes_money: true,
            }),
            takes_money: watch::Sender::new(true),
            refused: AtomicUsize::new(0),
            http: http.expect("a client"),
        });
        let routes = axum::Router::new()
            .fallback(forward)
            .with_state(gate.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Proxy {
            address: format!("http://{address}"),
            gate,
        }
    }

    /// Refuses to take money from now on. Requests under way end before.
    pub async fn pause(&self) {
        self.gate.way.write().await.takes_money = false;
        self.gate.takes_money.send_replace(false);
    }

    /// Points to another shop, and takes money again.
    pub async fn open(&self, target: &str) {
        let mut way = self.gate.way.write().await;
        target.clone_into(&mut way.target);
        way.takes_money = true;
        self.gate.takes_money.send_replace(true);
    }

    /// Requests that were refused.
    pub fn refused(&self) -> usize {
        self.gate.refused.load(Ordering::SeqCst)
    }

    /// Waits until it takes money.
    pub async fn reopened(&self) {
        let mut takes_money = self.gate.takes_money.subscribe();
        let open = takes_money.wait_for(|takes_money| *takes_money).await;
        open.expect("the proxy lives as long as its test");
    }
}

async fn forward(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    // Held until the answer is there, so that a pause begins when nothing is under way.
    let way = gate.way.read().await;
    let (parts, body) = request.into_parts();
    let is_buying = parts.method == Method::POST && parts.uri.path().starts_with("/api/payments/");
    if is_buying && !way.takes_money {
        gate.refused.fetch_add(1, Ordering::SeqCst);
        let retry = [("retry-after", "30")];
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            retry,
            "One moment, please.",
        )
            .into_response();
    }
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = parts.headers;
    headers.remove("host");
    let answer = gate
        .http
        .request(parts.method, format!("{}{path}", way.target))
        .headers(headers)
        .body(body)
        .send()
        .await
        .expect("a shop behind the proxy");
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove("transfer-encoding");
    let body = answer.bytes().await.expect("a body");
    (status, headers, Body::from(body)).into_response()
}
