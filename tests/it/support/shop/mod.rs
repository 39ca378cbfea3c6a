//! A shop of its own for a test: a database, a real server on a free port, and the Stripe sandbox behind real HTTP.

mod books;
mod ending;
mod jobs;

pub use ending::Leftover;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;

use ending::Ending;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use spirit_beads::app::App;
use spirit_beads::audit::Actor;
use spirit_beads::auth::Scope;
use spirit_beads::config::{Config, Secret};
use spirit_beads::db::Pools;
use spirit_beads::error::Error;
use spirit_beads::products::{self, ImportSummary};
use spirit_beads::server;
use spirit_beads::stripe::Stripe;
use sqlx::PgPool;
use stripe_sandbox::Sandbox;
use tokio::net::TcpListener;

use super::{
    Client, Database, FORMER_WEBHOOK_SECRET, SECRET_KEY, STRIPE_KEY, WEBHOOK_SECRET, logs,
};

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
    leaves: Mutex<Vec<Leftover>>,
    // Dropped last: the server above uses it.
    database: Database,
}

impl Drop for Shop {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        if std::thread::panicking() {
            return;
        }
        let ending = Ending {
            database: self.database.name().to_owned(),
            config: (*self.app.config).clone(),
            leaves: self.leaves.lock().expect("no panic meanwhile").clone(),
        };
        if let Err(complaint) = ending.run() {
            panic!("the shop does not end well: {complaint}");
        }
    }
}

impl Shop {
    /// Lets the shop end with something left over that fails other tests.
    pub fn leaves(&self, leftover: Leftover) {
        let mut leaves = self.leaves.lock().expect("no panic meanwhile");
        leaves.push(leftover);
    }

    /// An empty shop as development configures it.
    pub async fn open() -> Shop {
        Shop::open_with(&[]).await
    }

    /// An empty shop with some settings of its own.
    pub async fn open_with(settings: &[(&str, &str)]) -> Shop {
        let database = Database::create().await;
        let pools = database.pools();
        Shop::open_on(database, pools, settings).await
    }

    /// Closes the shop, so that it can be copied.
    pub async fn freeze(&self) {
        for task in &self.tasks {
            task.abort();
        }
        self.app.pools.close().await;
        self.db.close().await;
        self.leaves(Leftover::BrokenShop);
    }

    /// Another shop in which all is as it was when this one was frozen.
    pub async fn copy(&self) -> Shop {
        let database = self.database.copy().await;
        let pools = database.pools();
        Shop::open_on(database, pools, &[]).await
    }

    /// An empty shop on a database that it reaches by pools of the test's making.
    pub async fn open_on(database: Database, pools: Pools, settings: &[(&str, &str)]) -> Shop {
        logs::watch();
        let db = database.connect();
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
            ("STRIPE_TIMEOUT_SECONDS".to_owned(), "4".to_owned()),
            (
                "FRONTEND_URL".to_owned(),
                "http://localhost:8080".to_owned(),
            ),
            (
                "MEDIA_URL".to_owned(),
                database.folder().join("media").display().to_string(),
            ),
            (
                "DATA_DIR".to_owned(),
                database.data_folder().display().to_string(),
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
            stripe_sandbox::Settings {
                business_name: "Spirit Beads".to_owned(),
                secret_key: STRIPE_KEY.to_owned(),
                webhook_secret: WEBHOOK_SECRET.to_owned(),
                webhook_url: format!("{address}/api/payments/webhook/"),
                pages_url: format!("{address}/sandbox"),
            },
        )
        .await
        .expect("a sandbox");
        let to_stripe = Stripe::new(
            config.stripe.secret_key.as_ref().expect("set above"),
            config.stripe.api_url.as_deref(),
            config.stripe.timeout,
        )
        .expect("a client");
        let key = Secret::new(SECRET_KEY);
        let app = App::new(pools, to_stripe, key, config).expect("an app");
        let (stripe_api, pages, router) = (stripe.api(), stripe.pages(), app.clone());
        let served = app.clone();
        let router = server::router(router, Some(pages));
        let tasks = vec![
            tokio::spawn(async move {
                axum::serve(stripe_listener, stripe_api)
                    .await
                    .expect("serving the sandbox")
            }),
            tokio::spawn(async move {
                server::serve(listener, &served, router, std::future::pending()).await;
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
            leaves: Mutex::default(),
            database,
        }
    }

    /// The name of its database.
    pub fn database(&self) -> &str {
        self.database.name()
    }

    /// A shopper with a browser: keeps cookies.
    pub fn shopper(&self) -> Client {
        self.client.with_cookies()
    }

    /// A program with a token that has these scopes.
    pub async fn admin(&self, scopes: &[Scope]) -> Client {
        let mut conn = self.db.acquire().await.expect("a connection");
        // As an older version wrote them: several may have one name.
        let token = format!("sbt_{}", uuid::Uuid::new_v4().simple());
        let names: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        sqlx::query("insert into api_tokens (name, hash, scopes) values ('test', $1, $2)")
            .bind(Sha256::digest(&token).to_vec())
            .bind(names)
            .execute(&mut *conn)
            .await
            .expect("a token");
        self.client.with_token(&token)
    }

    /// Puts a piece on the shelf: 47 dollars, Classic, this many on hand. Returns its id, which is its name in lower
    /// case. Its Stripe sync stays queued; call [`Shop::run_jobs`] for a synced one.
    pub async fn stocks(&self, name: &str, on_hand: i32) -> String {
        self.stocks_with(name, on_hand, json!({})).await
    }

    /// As [`Shop::stocks`], with other fields as the API takes them.
    pub async fn stocks_with(&self, name: &str, on_hand: i32, fields: Value) -> String {
        let id = name.to_lowercase().replace(' ', "-");
        let mut body = json!({
            "id": id, "name": name, "lighter_type": 1, "price": 4700, "inventory_count": on_hand,
        });
        for (key, value) in fields.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let admin = self.admin(&[Scope::Catalog, Scope::Stock]).await;
        let answer = admin.post("/api/products/", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json["id"].as_str().expect("an id").to_owned()
    }

    /// A visitor asks for a piece, without images; returns the request's id.
    pub async fn asks_for_a_piece(&self, email: &str) -> String {
        let body = json!({
            "name": "Ann", "email": email, "description": "A case in blue and gold, with a raven.",
        });
        let answer = self.client.post("/api/custom-orders/", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json["request_id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    /// The address of the customer's page of a custom order, without the host.
    pub fn status_page(&self, request: &str) -> String {
        let signed = self.app.signer.sign("custom_order", request);
        let (_, token) = signed.rsplit_once('.').expect("a signature");
        format!("/api/custom-orders/{request}/status/?token={token}")
    }

    /// The address of the customer's page of an order, without the host.
    pub fn order_page(&self, order: &Value) -> String {
        let order = order.as_str().expect("an order's id");
        let signed = self.app.signer.sign("order", order);
        let (_, token) = signed.rsplit_once('.').expect("a signature");
        format!("/api/orders/{order}/status/?token={token}")
    }

    /// Reads a catalog file into the shop, as `catalog import` does without a media folder.
    pub async fn imports(&self, catalog: &Value) -> Result<ImportSummary, Error> {
        let currency = self.app.config.shop.currency;
        let mut tx = self.db.begin().await.expect("a transaction");
        let actor = Actor::system("test");
        let summary =
            products::import(&mut tx, &actor, &catalog.to_string(), None, currency).await?;
        tx.commit().await.expect("a commit");
        Ok(summary)
    }

    /// The folder that the shop's images lie in, unless a test put them elsewhere.
    pub fn media_folder(&self) -> PathBuf {
        self.database.folder().join("media")
    }

    /// Takes an image in and returns its id.
    pub async fn keeps(&self, image: &[u8]) -> String {
        let admin = self.admin(&[Scope::Catalog]).await;
        let answer = admin.uploads(&[image]).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json[0]["id"].as_str().expect("an id").to_owned()
    }
}
