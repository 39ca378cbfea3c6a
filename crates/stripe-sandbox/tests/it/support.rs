//! A sandbox for each test, with a database of its own, a server, and an endpoint for its webhooks.

use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::routing::post;
use embedded_postgres::Cluster;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use stripe_sandbox::{Buyer, Payment, Sandbox, Settings};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub const KEY: &str = "sk_test_0123456789abcdef";
pub const WEBHOOK_SECRET: &str = "whsec_0123456789abcdef";
pub const SESSIONS: &str = "/v1/checkout/sessions";

/// A running sandbox. Its pages lie under `/sandbox`.
pub struct Stripe {
    pub sandbox: Sandbox,
    pub db: PgPool,
    pub endpoint: Endpoint,
    /// Of the API and the pages, without a slash at its end.
    address: String,
    http: Client<HttpConnector, Body>,
    servers: [JoinHandle<()>; 2],
    // Dropped last: the servers use it.
    _database: Database,
}

/// An answer of the API or a page.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
    /// Null for a page.
    pub json: Value,
    headers: HeaderMap,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("a text"))
    }

    /// The id of the object answered.
    pub fn id(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json["id"].as_str().expect("an id").to_owned()
    }

    /// Status and error code.
    pub fn error(&self) -> (u16, &str) {
        let code = self.json["error"]["code"].as_str();
        (self.status, code.unwrap_or_default())
    }
}

impl Stripe {
    pub async fn start() -> Stripe {
        let database = Database::create().await;
        let db = PgPool::connect_with(database.options.clone())
            .await
            .expect("the database");
        let endpoint = Endpoint::default();
        let (webhooks, webhook_url) = bind().await;
        let (listener, address) = bind().await;
        let settings = Settings {
            business_name: "Bead & Co".to_owned(),
            secret_key: KEY.to_owned(),
            webhook_secret: WEBHOOK_SECRET.to_owned(),
            webhook_url: format!("{webhook_url}/webhook?from=stripe"),
            pages_url: format!("{address}/sandbox/"),
        };
        let sandbox = Sandbox::open(db.clone(), settings)
            .await
            .expect("a sandbox");
        let router = sandbox.api().nest("/sandbox", sandbox.pages());
        let receiver = Router::new()
            .route("/webhook", post(Endpoint::receive))
            .with_state(endpoint.clone());
        Stripe {
            sandbox,
            db,
            endpoint,
            address,
            http: Client::builder(TokioExecutor::new()).build_http(),
            servers: [serve(listener, router), serve(webhooks, receiver)],
            _database: database,
        }
    }

    /// Posts a form to the API, under an idempotency key if one is given.
    pub async fn post(&self, path: &str, form: &[(&str, &str)], key: Option<&str>) -> Answer {
        self.try_post(path, form, key, Duration::from_secs(60))
            .await
            .expect("an answer")
    }

    /// As [`Stripe::post`]; none without an answer in time.
    pub async fn try_post(
        &self,
        path: &str,
        form: &[(&str, &str)],
        key: Option<&str>,
        patience: Duration,
    ) -> Option<Answer> {
        let mut headers = vec![("authorization", format!("Bearer {KEY}"))];
        headers.extend(key.map(|key| ("idempotency-key", key.to_owned())));
        let sending = self.send(Method::POST, path, &headers, encode(form));
        tokio::time::timeout(patience, sending).await.ok()?
    }

    /// Gets an object or a list from the API.
    pub async fn get(&self, path: &str) -> Answer {
        let headers = [("authorization", format!("Bearer {KEY}"))];
        self.send(Method::GET, path, &headers, String::new())
            .await
            .expect("an answer")
    }

    /// Visits a page, without the key.
    pub async fn visit(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], String::new())
            .await
            .expect("a page")
    }

    /// Submits a page's form.
    pub async fn submit(&self, action: &str, fields: &[(String, String)]) -> Answer {
        self.send(Method::POST, action, &[], encode(fields))
            .await
            .expect("a page")
    }

    /// Sends a request; none if the connection breaks. A body is a form unless a header says otherwise.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: String,
    ) -> Option<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(body)).expect("a request");
        let response = self.http.request(request).await.ok()?;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.ok()?.to_bytes();
        Some(Answer {
            status: head.status.as_u16(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
            json: serde_json::from_slice(&bytes).unwrap_or_default(),
            headers: head.headers,
        })
    }

    /// Opens a session over one item of 48 dollars; returns its id.
    pub async fn open_session(&self) -> String {
        self.post(SESSIONS, &session_form(&[]), None).await.id()
    }

    /// Opens a session and pays it by card; returns the id of its payment intent.
    pub async fn pay_session(&self) -> String {
        let session = self.open_session().await;
        self.sandbox.pay(&session, card()).await.expect("a payment");
        let session = self.session(&session).await;
        let intent = session["payment_intent"].as_str();
        intent.expect("an intent").to_owned()
    }

    /// A session's present state.
    pub async fn session(&self, id: &str) -> Value {
        self.get(&format!("{SESSIONS}/{id}")).await.json
    }

    pub async fn count_sessions(&self) -> usize {
        let list = self.get(&format!("{SESSIONS}?limit=100")).await.json;
        list["data"].as_array().expect("a list").len()
    }

    /// Types of all events, oldest first.
    pub async fn event_types(&self) -> Vec<String> {
        let events = self.sandbox.events().await.expect("the events");
        let types = events.iter().map(|event| event["type"].as_str());
        types.map(|kind| kind.expect("a type").to_owned()).collect()
    }
}

impl Drop for Stripe {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

/// A valid session's form with changes. The value `-` removes a field.
pub fn session_form(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut form = vec![
        ("mode", "payment"),
        ("success_url", "http://shop.test/thanks"),
        ("line_items[0][quantity]", "1"),
        ("line_items[0][price_data][currency]", "usd"),
        ("line_items[0][price_data][unit_amount]", "4800"),
        ("line_items[0][price_data][product_data][name]", "Sun"),
    ];
    for (name, value) in changes {
        form.retain(|(known, _)| known != name);
        if *value != "-" {
            form.push((name, value));
        }
    }
    form
}

/// A payment by card from the United States.
pub fn card() -> Payment {
    Payment::Card(Buyer::default())
}

fn encode<K: AsRef<str>, V: AsRef<str>>(form: &[(K, V)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish()
}

async fn bind() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    (listener, format!("http://{address}"))
}

fn serve(listener: TcpListener, router: Router) -> JoinHandle<()> {
    tokio::spawn(async move {
        axum::serve(listener, router).await.expect("serving");
    })
}

/// The merchant's webhook endpoint. It accepts everything, until a test sets another status.
#[derive(Clone)]
pub struct Endpoint {
    status: Arc<AtomicU16>,
    received: Arc<Mutex<Vec<Webhook>>>,
}

/// A webhook as it arrived.
#[derive(Clone)]
pub struct Webhook {
    pub signature: String,
    pub payload: String,
}

impl Default for Endpoint {
    fn default() -> Endpoint {
        Endpoint {
            status: Arc::new(AtomicU16::new(200)),
            received: Arc::default(),
        }
    }
}

impl Endpoint {
    /// Answers with this status from now on.
    pub fn answer(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::SeqCst);
    }

    /// All webhooks so far, accepted or not, in the order of arrival.
    pub fn received(&self) -> Vec<Webhook> {
        self.received.lock().expect("no panic").clone()
    }

    async fn receive(
        State(endpoint): State<Endpoint>,
        headers: HeaderMap,
        payload: String,
    ) -> StatusCode {
        let signature = headers["stripe-signature"].to_str().expect("a text");
        endpoint.received.lock().expect("no panic").push(Webhook {
            signature: signature.to_owned(),
            payload,
        });
        StatusCode::from_u16(endpoint.status.load(Ordering::SeqCst)).expect("set above")
    }
}

/// A database that is dropped with its test.
struct Database {
    name: String,
    options: PgConnectOptions,
}

impl Database {
    async fn create() -> Database {
        let name = format!("test_{}", Uuid::new_v4().simple());
        administer(format!("create database {name}")).await;
        Database {
            options: cluster().connect_options(&name),
            name,
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("drop database {} with (force)", self.name);
        // A runtime of its own: that of the test is busy with this call.
        let _ = std::thread::spawn(|| block_on(administer(sql))).join();
    }
}

async fn administer(sql: String) {
    let mut conn = PgConnection::connect_with(&cluster().connect_options("postgres"))
        .await
        .expect("the cluster");
    sqlx::query(AssertSqlSafe(sql))
        .execute(&mut conn)
        .await
        .expect("a database made or dropped");
}

/// One cluster for all test processes, which outlives the last of them by a few seconds.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let start = || {
            block_on(Cluster::start(embedded_postgres::Settings {
                app_name: "stripe-sandbox-tests".to_owned(),
                durable: false,
                linger: Duration::from_secs(5),
                ..embedded_postgres::Settings::new(
                    Path::new(env!("CARGO_TARGET_TMPDIR")).join("stripe-sandbox"),
                )
            }))
        };
        let started = std::thread::spawn(start).join().expect("no panic");
        started.expect("PostgreSQL for the tests")
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}
