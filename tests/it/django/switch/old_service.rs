//! A stand-in for the old service: sells from its SQLite database as the Django code did, its faults included. It holds
//! nothing, keeps no metadata at Stripe, and answers 200 to an event that it failed to handle.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::Utc;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{SqliteConnection, SqlitePool};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::support::{Client, WEBHOOK_SECRET, sign};

/// Shipping within the United States, in cents.
pub const SHIPPING: i64 = 500;

/// The old service, which serves as long as its test.
pub struct OldService {
    pub address: String,
    books: Arc<Books>,
}

struct Books {
    db: SqlitePool,
    stripe: Client,
    told: Mutex<Told>,
}

/// Facts that the old service writes down nowhere.
#[derive(Default)]
struct Told {
    /// Sessions of customers that were emailed.
    mailed: HashSet<String>,
    /// Sessions whose events it fails to handle.
    deaf_to: HashSet<String>,
    /// Pieces sold that were not there any more, by product.
    oversold: BTreeMap<String, i64>,
}

impl OldService {
    pub async fn open(file: &Path, stripe: Client) -> OldService {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .busy_timeout(Duration::from_secs(20));
        let db = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .expect("the old database");
        let books = Arc::new(Books {
            db,
            stripe,
            told: Mutex::default(),
        });
        let routes = axum::Router::new()
            .route("/api/products/", get(read))
            .route("/api/payments/create-checkout-session/", post(check_out))
            .route("/api/payments/webhook/", post(webhook))
            .with_state(books.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        OldService {
            address: format!("http://{address}"),
            books,
        }
    }

    /// Fails to handle the events of a session from now on.
    pub fn loses(&self, session: &str) {
        let mut told = self.books.told.lock().expect("no panic");
        told.deaf_to.insert(session.to_owned());
    }

    pub fn mailed(&self) -> HashSet<String> {
        self.books.told.lock().expect("no panic").mailed.clone()
    }

    pub fn oversold(&self, product: &str) -> i64 {
        let told = self.books.told.lock().expect("no panic");
        told.oversold.get(product).copied().unwrap_or(0)
    }

    pub async fn change(&self, sql: &str) {
        let changed = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&self.books.db);
        changed.await.expect("a change");
    }

    /// Pieces by product: in stock, and in orders that were paid.
    pub async fn pieces(&self) -> BTreeMap<String, (i64, i64)> {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "select p.id, p.inventory_count,
                    coalesce((select sum(i.quantity)
                              from orders_orderitem i
                              join orders_order o on o.id = i.order_id
                              where i.product_id = p.id and o.status in ('paid', 'shipped')), 0)
             from products_product p
             where p.id like 'switch-%'",
        )
        .fetch_all(&self.books.db)
        .await
        .expect("the products");
        let pieces = rows.into_iter();
        pieces
            .map(|(id, stock, sold)| (id, (stock, sold)))
            .collect()
    }
}

async fn read(State(books): State<Arc<Books>>) -> Json<Value> {
    let ids: Vec<String> = sqlx::query_scalar("select id from products_product where is_active")
        .fetch_all(&books.db)
        .await
        .expect("the products");
    Json(json!({"results": ids}))
}

/// A line of a cart.
struct Line {
    product: String,
    quantity: i64,
    price: i64,
    stripe_price: String,
}

async fn check_out(State(books): State<Arc<Books>>, Json(cart): Json<Value>) -> Response {
    let Some(lines) = books.lines(&cart).await else {
        let refusal = json!({"error": "Validation failed", "details": []});
        return (StatusCode::BAD_REQUEST, Json(refusal)).into_response();
    };
    let shipping = SHIPPING.to_string();
    let rate = "shipping_options[0][shipping_rate_data]";
    let mut params = vec![
        ("mode".to_owned(), "payment".to_owned()),
        (
            "success_url".to_owned(),
            "https://old.example.com/success".to_owned(),
        ),
        (
            "cancel_url".to_owned(),
            "https://old.example.com/cancel".to_owned(),
        ),
        (
            "shipping_address_collection[allowed_countries][0]".to_owned(),
            "US".to_owned(),
        ),
        (format!("{rate}[type]"), "fixed_amount".to_owned()),
        (format!("{rate}[display_name]"), "USA Shipping".to_owned()),
        (format!("{rate}[fixed_amount][amount]"), shipping),
        (format!("{rate}[fixed_amount][currency]"), "usd".to_owned()),
    ];
    for (place, line) in lines.iter().enumerate() {
        let field = |name: &str| format!("line_items[{place}][{name}]");
        params.push((field("price"), line.stripe_price.clone()));
        params.push((field("quantity"), line.quantity.to_string()));
    }
    let session = books.stripe.submit("/v1/checkout/sessions", &params).await;
    assert_eq!(session.status, 200, "{}", session.text);
    books.place(&session.json, &lines).await;
    Json(json!({"checkout_url": session.json["url"]})).into_response()
}

impl Books {
    async fn lines(&self, cart: &Value) -> Option<Vec<Line>> {
        let mut lines = Vec::new();
        for item in cart["items"].as_array()? {
            let (product, quantity) = (item["product_id"].as_str()?, item["quantity"].as_i64()?);
            let found: Option<(i64, String)> = sqlx::query_as(
                "select price, stripe_price_id
                 from products_product
                 where id = $1 and is_active and not is_sold_out and inventory_count >= $2
                   and stripe_price_id is not null",
            )
            .bind(product)
            .bind(quantity)
            .fetch_optional(&self.db)
            .await
            .expect("the product");
            let (price, stripe_price) = found?;
            let product = product.to_owned();
            lines.push(Line {
                product,
                quantity,
                price,
                stripe_price,
            });
        }
        Some(lines)
    }

    /// Writes an order row by row, without a transaction.
    async fn place(&self, session: &Value, lines: &[Line]) {
        let id = Uuid::new_v4().simple().to_string();
        let sum: i64 = lines.iter().map(|line| line.price * line.quantity).sum();
        let placed = sqlx::query(
            "insert into orders_order (id, stripe_session_id, amount_total, currency, status, created_at,
                                       is_custom_order, shipping_carrier)
             values ($1, $2, $3, 'usd', 'pending', $4, 0, 'USPS')",
        )
        .bind(&id)
        .bind(session["id"].as_str())
        .bind(sum)
        .bind(now())
        .execute(&self.db);
        placed.await.expect("an order");
        for line in lines {
            let written = sqlx::query(
                "insert into orders_orderitem (order_id, product_id, unit_price, quantity) values ($1, $2, $3, $4)",
            )
            .bind(&id)
            .bind(&line.product)
            .bind(line.price)
            .bind(line.quantity)
            .execute(&self.db);
            written.await.expect("a line");
        }
    }

    /// Books a paid session.
    async fn book(&self, session: &Value) -> sqlx::Result<()> {
        let mut tx = self.db.begin_with("begin immediate").await?;
        let mut oversold = BTreeMap::new();
        match session["metadata"]["custom_request_id"].as_str() {
            Some(request) => book_piece(&mut tx, request, session).await?,
            None => book_order(&mut tx, session, &mut oversold).await?,
        }
        tx.commit().await?;
        let mut told = self.told.lock().expect("no panic");
        told.mailed
            .extend(session["id"].as_str().map(str::to_owned));
        for (product, pieces) in oversold {
            *told.oversold.entry(product).or_default() += pieces;
        }
        Ok(())
    }
}

async fn webhook(
    State(books): State<Arc<Books>>,
    headers: HeaderMap,
    payload: String,
) -> StatusCode {
    let signature = headers.get("stripe-signature");
    let signature = signature.and_then(|text| text.to_str().ok());
    let time = signature.and_then(|text| text.strip_prefix("t=")?.split(',').next()?.parse().ok());
    let is_signed = time.is_some_and(|time| {
        Some(sign(WEBHOOK_SECRET, time, payload.as_bytes()).as_str()) == signature
    });
    let Ok(event) = serde_json::from_str::<Value>(&payload) else {
        return StatusCode::BAD_REQUEST;
    };
    if !is_signed {
        return StatusCode::BAD_REQUEST;
    }
    let session = &event["data"]["object"];
    let id = session["id"].as_str().unwrap_or_default();
    let is_deaf = books.told.lock().expect("no panic").deaf_to.contains(id);
    if event["type"] == "checkout.session.completed" && !is_deaf {
        // Stripe is never told of a failure.
        let _ = books.book(session).await;
    }
    StatusCode::OK
}

async fn book_order(
    conn: &mut SqliteConnection,
    session: &Value,
    oversold: &mut BTreeMap<String, i64>,
) -> sqlx::Result<()> {
    let (id, status): (String, String) =
        sqlx::query_as("select id, status from orders_order where stripe_session_id = $1")
            .bind(session["id"].as_str())
            .fetch_one(&mut *conn)
            .await?;
    let shipping = &session["collected_information"]["shipping_details"];
    let mut address = shipping["address"].clone();
    address["name"] = shipping["name"].clone();
    sqlx::query(
        "update orders_order
         set status = 'paid', stripe_payment_intent = $2, amount_total = $3, customer_email = $4, shipping_address = $5
         where id = $1",
    )
    .bind(&id)
    .bind(session["payment_intent"].as_str())
    .bind(session["amount_total"].as_i64())
    .bind(session["customer_details"]["email"].as_str())
    .bind(address.to_string())
    .execute(&mut *conn)
    .await?;
    if status == "paid" {
        return Ok(());
    }
    let lines: Vec<(String, i64, i64)> = sqlx::query_as(
        "select i.product_id, i.quantity, p.inventory_count
         from orders_orderitem i
         join products_product p on p.id = i.product_id
         where i.order_id = $1",
    )
    .bind(&id)
    .fetch_all(&mut *conn)
    .await?;
    for (product, quantity, stock) in lines {
        sqlx::query(
            "update products_product
             set inventory_count = max(inventory_count - $2, 0), is_sold_out = is_sold_out or inventory_count <= $2
             where id = $1",
        )
        .bind(&product)
        .bind(quantity)
        .execute(&mut *conn)
        .await?;
        *oversold.entry(product).or_default() += (quantity - stock).max(0);
    }
    Ok(())
}

/// Books a payment through a link. A second one overwrites which order the request belongs to.
async fn book_piece(
    conn: &mut SqliteConnection,
    request: &str,
    session: &Value,
) -> sqlx::Result<()> {
    let id = Uuid::new_v4().simple().to_string();
    sqlx::query(
        "insert into orders_order (id, stripe_session_id, stripe_payment_intent, amount_total, currency, status,
                                   customer_email, created_at, is_custom_order, shipping_carrier)
         values ($1, $2, $3, $4, 'usd', 'paid', $5, $6, 1, 'USPS')",
    )
    .bind(&id)
    .bind(session["id"].as_str())
    .bind(session["payment_intent"].as_str())
    .bind(session["amount_total"].as_i64())
    .bind(session["customer_details"]["email"].as_str())
    .bind(now())
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "update custom_orders_customorderrequest
         set status = 'paid', related_order_id = $2, stripe_payment_intent = $3, updated_at = $4
         where id = $1",
    )
    .bind(request.replace('-', ""))
    .bind(&id)
    .bind(session["payment_intent"].as_str())
    .bind(now())
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// The time as Django writes it into SQLite.
fn now() -> String {
    Utc::now().format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}
