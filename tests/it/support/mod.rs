//! The stage of every test: a shop of its own, with a database, a real server on a free port, and the Stripe sandbox
//! behind real HTTP.

pub mod database;
pub mod forms;
pub mod images;
mod lines;
pub mod logs;
mod mail;
mod pooler;
mod smtp;

pub use database::Database;
pub use lines::Lines;
pub use mail::Mail;
pub use pooler::Pooler;
pub use smtp::{MailServer, Safety, Trouble};

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use spirit_beads::app::App;
use spirit_beads::auth::Scope;
use spirit_beads::config::{Config, Secret};
use spirit_beads::db::Pools;
use spirit_beads::error::Error;
use spirit_beads::jobs::Job;
use spirit_beads::products::{self, ImportSummary};
use spirit_beads::stripe::Stripe;
use spirit_beads::{server, worker};
use sqlx::PgPool;
use stripe_sandbox::{Buyer, Payment, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use images::Part;

pub const WEBHOOK_SECRET: &str = "whsec_0123456789abcdef";
pub const FORMER_WEBHOOK_SECRET: &str = "whsec_fedcba9876543210";
pub const SECRET_KEY: &str = "a key of thirty-two letters, for tests";
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
    database: Database,
}

/// A worker that runs beside the test.
pub struct AtWork {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl AtWork {
    /// Lets it finish what it began.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.expect("a worker that does not panic");
    }
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
            ("STRIPE_TIMEOUT_SECONDS".to_owned(), "4".to_owned()),
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
        Client {
            token: Some(token),
            ..self.client.clone()
        }
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

    /// The address of a customer's page, without the host.
    pub fn status_page(&self, request: &str) -> String {
        let signed = self.app.signer.sign("custom_order", request);
        let (_, token) = signed.rsplit_once('.').expect("a signature");
        format!("/api/custom-orders/{request}/status/?token={token}")
    }

    /// How many emails of a kind were caused.
    pub async fn emails_of(&self, kind: &str) -> i64 {
        sqlx::query_scalar("select count(*) from emails where kind = $1")
            .bind(kind)
            .fetch_one(&self.db)
            .await
            .expect("the emails")
    }

    /// Does all that the clock does every minute, as a worker does it.
    pub async fn sweep_all(&self) {
        worker::perform(&self.app, Job::Sweep)
            .await
            .expect("a sweep");
    }

    /// Reads a catalog file into the shop, as `catalog import` does without a media folder.
    pub async fn imports(&self, catalog: &Value) -> Result<ImportSummary, Error> {
        let currency = self.app.config.shop.currency;
        let mut tx = self.db.begin().await.expect("a transaction");
        let summary =
            products::import(&mut tx, &catalog.to_string(), None, currency, "test").await?;
        tx.commit().await.expect("a commit");
        Ok(summary)
    }

    /// The folder that the shop's images lie in, unless a test put them elsewhere.
    pub fn media_folder(&self) -> PathBuf {
        self.database.folder().join("media")
    }

    /// Delivers every webhook that Stripe has for us, oldest first; returns how many were taken.
    pub async fn deliver(&self) -> usize {
        self.stripe.deliver_due().await.expect("a delivery")
    }

    /// Posts one event to the webhook, freshly signed, as often as you like.
    pub async fn webhook(&self, event: &Value) -> Answer {
        let payload = event.to_string();
        let signature = self.stripe.sign(&payload);
        self.client
            .send(
                Method::POST,
                "/api/payments/webhook/",
                &[("stripe-signature", &signature)],
                Some(payload),
            )
            .await
    }

    /// Takes an image in and returns its id.
    pub async fn keeps(&self, image: &[u8]) -> String {
        let admin = self.admin(&[Scope::Catalog]).await;
        let answer = admin.uploads(&[image]).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json[0]["id"].as_str().expect("an id").to_owned()
    }

    /// Works off the queue until it is empty. A job left over or failed fails the test.
    pub async fn run_jobs(&self) {
        let left = self.run_failing_jobs().await;
        assert!(left.is_empty(), "jobs left over: {left:#?}");
    }

    /// Starts a worker as the program runs it. It stops when it is dropped.
    pub fn works(&self) -> AtWork {
        let (stop, stopped) = oneshot::channel::<()>();
        let app = self.app.clone();
        let task = tokio::spawn(worker::run(app, async {
            // An error means that the test has ended.
            let _ = stopped.await;
        }));
        AtWork { stop, task }
    }

    /// Works off what can run now, and what that queues, and returns what is left: each job's payload and last error.
    pub async fn run_failing_jobs(&self) -> Vec<(Value, Option<String>)> {
        loop {
            worker::run_once(&self.app)
                .await
                .expect("a run of the queue");
            // A run may end while one of its last jobs queues another, and an email may have waited for an earlier one to
            // the same customer: its turn has come.
            let due = sqlx::query(
                "update graphile_worker._private_jobs
                 set run_at = least(run_at, now())
                 where (run_at <= now()
                        or payload ->> 'job' = 'send_email' and last_error is null
                           and run_at <= now() + interval '1 second')
                   and locked_at is null
                   and attempts < max_attempts",
            )
            .execute(&self.db)
            .await
            .expect("the queue");
            if due.rows_affected() == 0 {
                break;
            }
        }
        sqlx::query_as(
            "select payload::jsonb, last_error from graphile_worker._private_jobs order by id",
        )
        .fetch_all(&self.db)
        .await
        .expect("the queue")
    }

    /// Lets failed jobs run again at once, as if their back-off had passed.
    pub async fn hurry_jobs(&self) {
        sqlx::query("update graphile_worker._private_jobs set run_at = now()")
            .execute(&self.db)
            .await
            .expect("the queue");
    }

    /// Lets time pass for every checkout, refund, quote, email and image, and for the keys that Stripe knows: what is counted from now on is this much older.
    pub async fn wait(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        for sql in [
            "update checkouts
             set created_at = created_at - make_interval(secs => $1),
                 updated_at = updated_at - make_interval(secs => $1),
                 expires_at = expires_at - make_interval(secs => $1),
                 hold_until = hold_until - make_interval(secs => $1)",
            "update idempotency_keys set created_at = created_at - make_interval(secs => $1)",
            "update images
             set last_used_at = last_used_at - make_interval(secs => $1),
                 created_at = created_at - make_interval(secs => $1)",
            "update refunds
             set created_at = created_at - make_interval(secs => $1),
                 updated_at = updated_at - make_interval(secs => $1)",
            "update stripe_sandbox.idempotency_keys set created = created - make_interval(secs => $1)",
            "update custom_order_quotes
             set created_at = created_at - make_interval(secs => $1),
                 updated_at = updated_at - make_interval(secs => $1),
                 asked_at = asked_at - make_interval(secs => $1),
                 valid_until = valid_until - make_interval(secs => $1)",
            "update emails
             set trying_since = trying_since - make_interval(secs => $1),
                 tried_at = tried_at - make_interval(secs => $1),
                 due_at = due_at - make_interval(secs => $1)",
        ] {
            sqlx::query(sql)
                .bind(seconds)
                .execute(&self.db)
                .await
                .expect("time passes");
        }
    }

    /// Does what the clock does every minute.
    pub async fn sweep(&self) -> spirit_beads::payments::Swept {
        spirit_beads::payments::sweep(&self.app)
            .await
            .expect("a sweep")
    }

    /// Does what the clock does every hour.
    pub async fn sweep_images(&self) -> spirit_beads::images::Swept {
        spirit_beads::images::sweep(&self.app.storage, &self.db)
            .await
            .expect("a sweep")
    }

    /// Does what the clock does every five minutes.
    pub async fn reconcile(&self) -> spirit_beads::payments::Reconciled {
        spirit_beads::payments::reconcile(&self.app, &|_, _| {})
            .await
            .expect("a reconciliation")
    }

    /// The emails that were delivered into the folder, oldest first.
    pub fn mail(&self) -> Vec<Mail> {
        Mail::in_folder(&self.app.config.data_dir.join("mail"))
    }

    /// (on hand, reserved) of a product.
    pub async fn stock(&self, product: &str) -> (i32, i32) {
        sqlx::query_as("select on_hand, reserved from products where id = $1")
            .bind(product)
            .fetch_one(&self.db)
            .await
            .expect("the product")
    }

    /// The state of an order, by its session's id.
    pub async fn status_of(&self, session: &str) -> String {
        sqlx::query_scalar(
            "select o.status from orders o join checkouts c on c.order_id = o.id where c.session_id = $1",
        )
        .bind(session)
        .fetch_one(&self.db)
        .await
        .expect("the order of the session")
    }

    /// Every order's state, oldest first.
    pub async fn statuses(&self) -> Vec<String> {
        sqlx::query_scalar("select status from orders order by number")
            .fetch_all(&self.db)
            .await
            .expect("the orders")
    }

    /// The order of a session, as the database has it.
    pub async fn order(&self, session: &str) -> Value {
        sqlx::query_scalar(
            "select to_jsonb(o) || jsonb_build_object('review_items', (
                        select coalesce(jsonb_agg(to_jsonb(r) order by r.deadline, r.raised_at desc, r.id desc), '[]')
                        from review_items r
                        where r.order_id = o.id and r.resolved_at is null))
             from orders o join checkouts c on c.order_id = o.id where c.session_id = $1",
        )
        .bind(session)
        .fetch_one(&self.db)
        .await
        .expect("the order of the session")
    }

    /// The objects of a kind (`refund`, `checkout.session`) that Stripe has, oldest first.
    pub async fn at_stripe(&self, kind: &str) -> Vec<Value> {
        sqlx::query_scalar("select data from stripe_sandbox.objects where object = $1 order by seq")
            .bind(kind)
            .fetch_all(&self.db)
            .await
            .expect("the sandbox's objects")
    }

    /// A session as Stripe has it.
    pub async fn session(&self, session: &str) -> Value {
        let all = self.at_stripe("checkout.session").await;
        let found = all.into_iter().find(|object| object["id"] == session);
        found.expect("the session")
    }

    /// The payment intent of a paid session.
    pub async fn payment_of(&self, session: &str) -> String {
        let session = self.session(session).await;
        session["payment_intent"]
            .as_str()
            .expect("a payment")
            .to_owned()
    }

    /// The newest event of a type that Stripe has.
    pub async fn event(&self, kind: &str) -> Value {
        let events = self.stripe.events().await.expect("the events");
        let found = events.into_iter().rfind(|event| event["type"] == kind);
        found.unwrap_or_else(|| panic!("an event {kind}"))
    }

    /// Lets Stripe deliver again at once what was not taken, as if its back-off had passed.
    pub async fn hurry_webhooks(&self) {
        sqlx::query("update stripe_sandbox.deliveries set due = now()")
            .execute(&self.db)
            .await
            .expect("the deliveries");
    }

    /// P1, P2 and P5, whatever the test did: the ledger explains the stock, pending orders explain the holds, each paid
    /// order has one payment that settled it, and each payment at Stripe is an order or a refund in full.
    pub async fn audit(&self) {
        let mut conn = self.db.acquire().await.expect("a connection");
        let wrong = spirit_beads::products::check_ledger(&mut conn)
            .await
            .expect("the ledger");
        assert!(wrong.is_empty(), "the books do not add up: {wrong:?}");
        let unpaid: Vec<i64> = sqlx::query_scalar(
            "select o.number from orders o
             where o.paid_at is not null and o.channel in ('storefront', 'custom_order')
               and (select count(*) from payments p where p.order_id = o.id and p.outcome = 'settled') <> 1",
        )
        .fetch_all(&mut *conn)
        .await
        .expect("the orders");
        assert!(
            unpaid.is_empty(),
            "paid orders without a payment: {unpaid:?}"
        );
        let orphans: Vec<String> = sqlx::query_scalar(
            "select p.id from payments p
             join orders o on o.id = p.order_id
             where (p.outcome = 'settled') <> (o.paid_at is not null)
               and p.outcome = 'settled'",
        )
        .fetch_all(&mut *conn)
        .await
        .expect("the payments");
        assert!(orphans.is_empty(), "payments without an order: {orphans:?}");
        let lost: Vec<String> = sqlx::query_scalar(
            "select c.data ->> 'payment_intent'
             from stripe_sandbox.objects c
             where c.object = 'charge'
               and c.data ->> 'amount_refunded' <> c.data ->> 'amount'
               and not exists (select from payments p
                               where p.id = c.data ->> 'payment_intent' and p.outcome = 'settled')",
        )
        .fetch_all(&mut *conn)
        .await
        .expect("the charges");
        assert!(lost.is_empty(), "money without an order: {lost:?}");
    }
}

/// A `Stripe-Signature` header of this time (Unix seconds).
pub fn sign(secret: &str, time: i64, payload: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(format!("{time}.").as_bytes());
    mac.update(payload);
    let bytes = mac.finalize().into_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}

/// Sends these very bytes, which no client would, and returns the answer's status, head and body.
pub async fn send_raw(address: &str, request: &[u8]) -> (u16, String, String) {
    let host = address.trim_start_matches("http://");
    let mut line = TcpStream::connect(host).await.expect("a connection");
    line.write_all(request).await.expect("a line that takes it");
    read_answer(&mut line).await
}

/// Reads until the other side closes the line.
pub async fn read_answer(line: &mut TcpStream) -> (u16, String, String) {
    let mut answer = Vec::new();
    line.read_to_end(&mut answer).await.expect("an answer");
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    (
        status.unwrap_or_else(|| panic!("no HTTP: {head:?}")),
        head.to_ascii_lowercase(),
        body.to_owned(),
    )
}

/// A seat for a test that takes as much of the machine as many others: two at a time, or all would be slow.
pub async fn heavy() -> SemaphorePermit<'static> {
    static SEATS: Semaphore = Semaphore::const_new(2);
    SEATS.acquire().await.expect("never closed")
}

/// A time zone in which it is about noon: no day ends while a test runs.
pub fn zone_at_noon() -> String {
    let hour = chrono::Timelike::hour(&chrono::Utc::now());
    // Etc/GMT+3 is three hours behind.
    format!("Etc/GMT{:+}", i64::from(hour) - 12)
}

/// The seed of continuous integration, where a change must not fail by what chance tries in that run alone. Elsewhere each
/// run tries something new.
pub fn seed_of_ci() -> Option<u64> {
    std::env::var_os("CI").is_some().then_some(1)
}

/// The program under test; `SHOP_PROGRAM` names another build of it.
pub fn program() -> PathBuf {
    std::env::var_os("SHOP_PROGRAM")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_spirit-beads").into())
        .into()
}

/// Lets all of these happen at the same time; returns what each came to, in their order.
pub async fn at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no panic"));
    }
    results
}

/// A page's form as a browser sends it that runs no script: where to, and each field with what stands in it.
pub fn form_of(page: &str) -> (String, Vec<(String, String)>) {
    let value = |tag: &str, name: &str| -> Option<String> {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    let (_, form) = page.split_once("<form").expect("a form");
    let (form, _) = form.split_once("</form>").expect("its end");
    let mut fields = Vec::new();
    for tag in form.split('<').filter(|tag| tag.starts_with("input ")) {
        // Of several choices a browser sends the one that is chosen.
        if tag.contains("type=\"radio\"") && !tag.contains(" checked") {
            continue;
        }
        let name = value(tag, "name").expect("a name");
        fields.push((name, value(tag, "value").unwrap_or_default()));
    }
    for select in form.split("<select").skip(1) {
        let chosen = select.split('<').find(|tag| tag.contains(" selected"));
        let chosen = chosen
            .and_then(|tag| value(tag, "value"))
            .expect("a choice");
        fields.push((value(select, "name").expect("a name"), chosen));
    }
    (value(form, "action").expect("an action"), fields)
}

/// The session id in a payment page's address.
pub fn session_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let url = answer.json["checkout_url"].as_str().expect("an address");
    url.rsplit('/').next().expect("a session").to_owned()
}

/// A payment by card from the United States.
pub fn card() -> Payment {
    Payment::Card(Buyer::default())
}

/// A payment by a method that takes days.
pub fn delayed() -> Payment {
    Payment::Delayed(Buyer::default())
}

/// A caller over real HTTP.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: String,
    pub token: Option<String>,
    cookies: Option<Arc<Mutex<HashMap<String, String>>>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
    /// The same as a text; of what is no UTF-8, as much as can be read.
    pub text: String,
    /// Null where the body is no JSON.
    pub json: Value,
}

impl Answer {
    /// What is wrong with each line of a refused cart.
    pub fn line_errors(&self) -> Vec<&str> {
        assert_eq!(self.status, 400, "{}", self.text);
        let details = self.json["details"].as_array().expect("faulty lines");
        details
            .iter()
            .map(|line| line["error"].as_str().expect("a word"))
            .collect()
    }

    /// The field of every entry in `results`, `products` or `categories`, in order.
    pub fn each(&self, list: &str, field: &str) -> Vec<Value> {
        let entries = self.json[list].as_array();
        let entries = entries.unwrap_or_else(|| panic!("no {list}: {}", self.text));
        entries.iter().map(|entry| entry[field].clone()).collect()
    }

    /// The ids of the products on a page.
    pub fn ids(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text);
        self.each("results", "id")
    }

    /// The fields that a refused write complains of, sorted.
    pub fn field_errors(&self) -> Vec<String> {
        assert_eq!(self.status, 400, "{}", self.text);
        assert_eq!(self.json["code"], "invalid", "{}", self.text);
        let mut fields: Vec<String> = self
            .each("details", "field")
            .iter()
            .map(|field| field.as_str().expect("a name").to_owned())
            .collect();
        fields.sort();
        fields
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl Client {
    /// A caller of the shop at this address, without a slash at its end.
    pub fn to(address: &str) -> Client {
        // Fails when another test has done it already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Client {
            http,
            address: address.to_owned(),
            token: None,
            cookies: None,
        }
    }

    /// What the browser keeps under this name.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let jar = self.cookies.as_ref().expect("a browser").lock();
        jar.expect("the jar").get(name).cloned()
    }

    /// Puts a cookie into the browser, as somebody else might.
    pub fn set_cookie(&self, name: &str, value: &str) {
        let jar = self.cookies.as_ref().expect("a browser").lock();
        jar.expect("the jar")
            .insert(name.to_owned(), value.to_owned());
    }

    /// The same caller with a browser of its own, which keeps cookies.
    pub fn with_cookies(&self) -> Client {
        Client {
            cookies: Some(Arc::default()),
            ..self.clone()
        }
    }

    /// The same caller with this token.
    pub fn with_token(&self, token: &str) -> Client {
        Client {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None::<String>).await
    }

    /// Follows a link, as a browser says that somebody did.
    pub async fn follow(&self, path: &str) -> Answer {
        let headers = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-user", "?1"),
        ];
        self.send(Method::GET, path, &headers, None::<String>).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::POST, path, body).await
    }

    pub async fn send_json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send(
            method,
            path,
            &[("content-type", "application/json")],
            Some(body.to_string()),
        )
        .await
    }

    /// Checks out as the storefront does.
    pub async fn check_out(&self, lines: &[(&str, i32)]) -> Answer {
        self.check_out_with(lines, &[("origin", "http://localhost:8080")])
            .await
    }

    /// As [`Client::check_out`], under an `Idempotency-Key`.
    pub async fn check_out_once(&self, key: &str, lines: &[(&str, i32)]) -> Answer {
        self.check_out_with(lines, &[("idempotency-key", key)])
            .await
    }

    /// As [`Client::check_out`], with these headers only.
    pub async fn check_out_with(&self, lines: &[(&str, i32)], headers: &[(&str, &str)]) -> Answer {
        let items: Vec<Value> = lines
            .iter()
            .map(|(id, quantity)| json!({"product_id": id, "quantity": quantity}))
            .collect();
        let origin = "http://localhost:8080";
        let body = json!({
            "items": items,
            "success_url": format!("{origin}/checkout/success"),
            "cancel_url": format!("{origin}/checkout/cancel"),
        });
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        self.send(
            Method::POST,
            "/api/payments/create-checkout-session/",
            &headers,
            Some(body.to_string()),
        )
        .await
    }

    /// Uploads files as images, all in one form.
    pub async fn uploads(&self, files: &[&[u8]]) -> Answer {
        let parts: Vec<Part> = files.iter().map(|file| Part::file("image", file)).collect();
        self.send_form("/api/admin/images/", &parts).await
    }

    /// Asks for a piece, with an image of what it should be like.
    pub async fn asks_with(&self, image_url: &[u8]) -> Answer {
        let parts = [
            Part::text("name", "Ann"),
            Part::text("email", "ann@example.com"),
            Part::text("description", "A case in blue, please."),
            Part::file("images", image_url),
        ];
        self.send_form("/api/custom-orders/", &parts).await
    }

    /// Sends a form with files.
    pub async fn send_form(&self, path: &str, parts: &[Part<'_>]) -> Answer {
        let headers = [("content-type", images::FORM)];
        let body = Some(images::form(parts));
        self.send(Method::POST, path, &headers, body).await
    }

    /// The address that the caller talks to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Submits a form.
    pub async fn submit(&self, path: &str, fields: &[(String, String)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send(Method::POST, path, &headers, Some(body)).await
    }

    /// Submits a form of one of our pages, and says so as browsers do.
    pub async fn submit_own(&self, path: &str, fields: &[(String, String)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", self.address.as_str()),
        ];
        self.send(Method::POST, path, &headers, Some(body)).await
    }

    /// Any request at all. The path is sent as it is written.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<impl Into<reqwest::Body>>,
    ) -> Answer {
        let answer = self.try_send(method, path, headers, body).await;
        answer.expect("an answer")
    }

    /// As [`Client::send`], where the line may drop.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<impl Into<reqwest::Body>>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(cookies) = &self.cookies {
            let jar = cookies.lock().expect("the jar");
            if !jar.is_empty() {
                let pairs: Vec<String> = jar
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                request = request.header("cookie", pairs.join("; "));
            }
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        if let Some(cookies) = &self.cookies {
            let mut jar = cookies.lock().expect("the jar");
            for cookie in headers.get_all("set-cookie") {
                let text = cookie.to_str().expect("a cookie");
                let (name, value) = text
                    .split(';')
                    .next()
                    .and_then(|pair| pair.split_once('='))
                    .expect("a cookie");
                if text.contains("Max-Age=0") {
                    jar.remove(name);
                } else {
                    jar.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        let bytes = response.bytes().await?.to_vec();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer {
            status,
            headers,
            bytes,
            text,
            json,
        })
    }
}
