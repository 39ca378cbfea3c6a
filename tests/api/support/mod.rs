//! The stage of every test: a shop of its own, with a database, a real server on a free port, and the Stripe sandbox
//! behind real HTTP.

mod database;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use spirit_beads::app::{App, Signer};
use spirit_beads::auth::{self, Scope};
use spirit_beads::config::{Config, Secret};
use spirit_beads::error::Error;
use spirit_beads::products::{self, ImportSummary};
use spirit_beads::stripe::Stripe;
use spirit_beads::stripe::sandbox::{self, Buyer, Payment, Sandbox};
use spirit_beads::{server, worker};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const WEBHOOK_SECRET: &str = "whsec_0123456789abcdef";
pub const FORMER_WEBHOOK_SECRET: &str = "whsec_fedcba9876543210";
pub const STRIPE_KEY: &str = "sk_test_0123456789abcdef";

/// A setting for tests in which many callers at once keep Stripe busy, who is not to be found slow.
pub const PATIENT: (&str, &str) = ("STRIPE_TIMEOUT_SECONDS", "10");

/// A shop that lives as long as its test.
pub struct Shop {
    pub app: App,
    pub db: PgPool,
    pub stripe: Sandbox,
    /// `http://127.0.0.1:PORT`, without a slash at its end.
    pub address: String,
    /// A shopper without cookies; [`Shop::shopper`] makes one with.
    pub client: Client,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    // Dropped last: the server above uses it.
    _database: database::Database,
}

impl Drop for Shop {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Shop {
    /// An empty shop as development configures it.
    pub async fn open() -> Shop {
        Shop::open_with(&[]).await
    }

    /// An empty shop with some settings of its own.
    pub async fn open_with(settings: &[(&str, &str)]) -> Shop {
        let database = database::Database::create().await;
        let db = database.connect().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!(
            "http://{}",
            listener.local_addr().expect("a bound listener")
        );
        let stripe_listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let stripe_url = format!(
            "http://{}",
            stripe_listener.local_addr().expect("a bound listener")
        );

        let mut all: HashMap<String, String> = HashMap::from([
            ("PUBLIC_URL".to_owned(), address.clone()),
            ("STRIPE_SECRET_KEY".to_owned(), STRIPE_KEY.to_owned()),
            (
                "STRIPE_WEBHOOK_SECRET".to_owned(),
                format!("{WEBHOOK_SECRET},{FORMER_WEBHOOK_SECRET}"),
            ),
            ("STRIPE_API_URL".to_owned(), stripe_url),
            ("STRIPE_TIMEOUT_SECONDS".to_owned(), "1".to_owned()),
            (
                "MEDIA_URL".to_owned(),
                database.folder().display().to_string(),
            ),
        ]);
        all.extend(
            settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let config = Config::read(|name| all.get(name).cloned()).expect("valid settings");

        let stripe = Sandbox::open(
            db.clone(),
            sandbox::Settings {
                secret_key: STRIPE_KEY.to_owned(),
                webhook_secret: WEBHOOK_SECRET.to_owned(),
                webhook_url: format!("{address}/api/payments/webhook/"),
                pages_url: format!("{address}/sandbox"),
            },
        )
        .await
        .expect("a sandbox");
        let app = App {
            db: db.clone(),
            stripe: Stripe::new(
                config.stripe_secret_key.as_ref().expect("set above"),
                config.stripe_api_url.as_deref(),
                config.stripe_timeout,
            )
            .expect("a client"),
            signer: Signer::new(Secret::new("a key for tests")),
            config: Arc::new(config),
        };
        let (stripe_api, pages, router) = (stripe.api(), stripe.pages(), app.clone());
        let router = server::router(router, Some(pages));
        let tasks = vec![
            tokio::spawn(async move {
                axum::serve(stripe_listener, stripe_api)
                    .await
                    .expect("serving the sandbox")
            }),
            tokio::spawn(async move {
                server::serve(listener, router, std::future::pending())
                    .await
                    .expect("serving the shop");
            }),
        ];
        let client = Client::to(&address);
        Shop {
            app,
            db,
            stripe,
            address,
            client,
            tasks,
            _database: database,
        }
    }

    /// A shopper with a browser: keeps cookies.
    pub fn shopper(&self) -> Client {
        Client {
            cookies: Some(Arc::default()),
            ..self.client.clone()
