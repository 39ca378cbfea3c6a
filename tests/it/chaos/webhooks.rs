//! The way of Stripe's webhooks to the shop: on a good day straight to any server, on a bad one late, twice, in another
//! order or not at all.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::rng::Chance;
use super::state::Tally;

/// Route of webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Way {
    Straight,
    /// Nothing arrives, and Stripe is told so.
    Off,
    /// Each one arrives at two servers at once, and once more some seconds later.
    Twice,
    /// It arrives, but Stripe hears that it did not.
    Unheard,
    /// Some arrive only at a later try: others overtake them.
    Shuffled,
}

const WAYS: [Way; 5] = [
    Way::Straight,
    Way::Off,
    Way::Twice,
    Way::Unheard,
    Way::Shuffled,
];

/// An address that Stripe's events are posted to.
pub struct Webhooks {
    pub address: String,
    state: Arc<Inner>,
    task: JoinHandle<()>,
}

struct Inner {
    way: AtomicU8,
    addresses: Vec<String>,
    http: reqwest::Client,
    chance: Mutex<Chance>,
    tally: Arc<Tally>,
}

impl Webhooks {
    pub async fn open(
        addresses: Vec<String>,
        http: reqwest::Client,
        chance: Chance,
        tally: Arc<Tally>,
    ) -> Webhooks {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let state = Arc::new(Inner {
            way: AtomicU8::new(Way::Straight as u8),
            addresses,
            http,
            chance: Mutex::new(chance),
            tally,
        });
        let router = Router::new()
            .route("/", post(pass))
            .with_state(state.clone());
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the door");
        });
        Webhooks {
            address: format!("http://{address}/"),
            state,
            task,
        }
    }

    pub fn set(&self, way: Way) {
        self.state.way.store(way as u8, Ordering::SeqCst);
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(State(state): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let way = WAYS[usize::from(state.way.load(Ordering::SeqCst))];
    let signature = headers
        .get("stripe-signature")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let (first, second, holds_back) = {
        let mut chance = state.chance.lock().expect("no panic");
        let first = chance.pick(&state.addresses).clone();
        let second = chance.pick(&state.addresses).clone();
        (first, second, chance.one_in(2))
    };
    match way {
        Way::Off => StatusCode::SERVICE_UNAVAILABLE,
        Way::Shuffled if holds_back => StatusCode::SERVICE_UNAVAILABLE,
        Way::Straight | Way::Shuffled => state.post(&first, &signature, body).await,
        Way::Unheard => {
            state.post(&first, &signature, body).await;
            StatusCode::GATEWAY_TIMEOUT
        }
        Way::Twice => {
            state.tally.add("webhooks sent twice");
            let (one, other) = tokio::join!(
                state.post(&first, &signature, body.clone()),
                state.post(&second, &signature, body.clone())
            );
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(3)).await;
                state.post(&second, &signature, body).await;
            });
            one.min(other)
        }
    }
}

impl Inner {
    async fn post(&self, address: &str, signature: &str, body: Bytes) -> StatusCode {
        let sent = self
            .http
            .post(format!("{address}/api/payments/webhook/"))
            .header("stripe-signature", signature)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await;
        match sent {
            Ok(answer) => {
                let status = answer.status().as_u16();
                self.tally.add("webhooks delivered");
                if status >= 500 {
                    self.tally.add("webhooks answered 5xx");
                }
                StatusCode::from_u16(status).expect("a status")
            }
            Err(_) => StatusCode::BAD_GATEWAY,
        }
    }
}
