//! Two servers, writers and readers at once: no read is older than what was acknowledged before it began, and no reader
//! sees time go back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures_util::future::select_all;
use serde_json::json;
use sqlx::PgPool;
use tokio::time::timeout_at;

use super::{beside, by_hand};
use crate::chaos::rng::Chance;
use crate::support::{Client, Shop, heavy, seed_of_ci};

/// Products; each has a writer, or they would wait for each other.
const PRODUCTS: usize = 4;

/// Seconds of writing and reading. `STALE_SECONDS` has another number.
const SECONDS: u64 = 15;

/// What writers have had acknowledged, by product: its price counts up.
struct Acknowledged {
    prices: [AtomicI64; PRODUCTS],
    writes: AtomicU64,
    reads: AtomicU64,
    is_over: AtomicBool,
}

impl Acknowledged {
    fn now(&self) -> [i64; PRODUCTS] {
        std::array::from_fn(|product| self.prices[product].load(SeqCst))
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(SeqCst)
    }
}

/// Writes a product again and again, in every way there is.
async fn write(db: PgPool, product: usize, mut chance: Chance, acknowledged: Arc<Acknowledged>) {
    let mut price = 100;
    while acknowledged.goes_on() {
        let set =
            |price: i64| format!("update products set price = {price} where id = 'p{product}'");
        let (next, sql) = match chance.below(7) {
            0 => (
                price + 1,
                format!(
                    "begin; savepoint one; {}; release savepoint one; commit",
                    set(price + 1)
                ),
            ),
            1 => (
                price + 1,
                format!(
                    "begin; savepoint one; {}; rollback to savepoint one; {}; commit",
                    set(7),
                    set(price + 1)
                ),
            ),
            2 => (price, format!("begin; {}; rollback", set(9))),
            3 => (
                price + 2,
                format!("begin; {}; {}; commit", set(price + 1), set(price + 2)),
            ),
            // Its place in lists changes, too.
            4 => (
                price + 1,
                format!(
                    "update products set price = {}, name = 'P' || (random() * 9)::integer where id = 'p{product}'",
                    price + 1
                ),
            ),
            5 => (
                price + 1,
                format!(
                    "begin; {}; update categories set position = position + 1; commit",
                    set(price + 1)
                ),
            ),
            _ => (price + 1, set(price + 1)),
        };
        let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        // A connection may be cut in the middle: then nobody knows.
        if sql.execute(&db).await.is_err() {
            let now = sqlx::query_scalar("select price from products where id = $1")
                .bind(format!("p{product}"));
            match now.fetch_one(&db).await {
                Ok(now) => price = now,
                Err(_) => continue,
            }
        } else {
            price = next;
        }
        acknowledged.prices[product].store(price, SeqCst);
        acknowledged.writes.fetch_add(1, SeqCst);
        if chance.below(3) == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Reads in every way there is, at one server.
async fn read(client: Client, mut chance: Chance, acknowledged: Arc<Acknowledged>) {
    let mut seen = [0; PRODUCTS];
    while acknowledged.goes_on() {
        let product = chance.below(PRODUCTS as u64) as usize;
        let path = match chance.below(6) {
            0 => "/api/products/".to_owned(),
            1 => "/api/products/?ordering=price&page_size=10".to_owned(),
            2 => "/api/products/batch/?ids=p0,p1,p2,p3".to_owned(),
            3 => "/api/products/?lighter_type=1&is_sold_out=false".to_owned(),
            4 => format!("/api/products/p{product}/"),
            _ => format!("/api/products/slug-{product}/"),
        };
        let least = acknowledged.now();
        let answer = client.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let list = match &answer.json {
            one if one["price"].is_i64() => vec![one.clone()],
            page => [&page["results"], &page["products"]]
                .iter()
                .find_map(|list| list.as_array().cloned())
                .expect("a list"),
        };
        for shown in list {
            let id = shown["id"].as_str().expect("an id");
            let Some(at) = id.strip_prefix('p') else {
                continue;
            };
            let at: usize = at.parse().expect("a number");
            let price = shown["price"].as_i64().expect("a price");
            assert!(
                price >= least[at],
                "{path}: {price} after {} was acknowledged",
                least[at]
            );
            assert!(
                price >= seen[at],
                "{path}: {price} after {} was seen",
                seen[at]
            );
            seen[at] = price;
        }
        acknowledged.reads.fetch_add(1, SeqCst);
    }
}

/// Cuts connections, keeps transactions open, trims.
async fn trouble(shop_db: PgPool, mut chance: Chance, acknowledged: Arc<Acknowledged>) {
    let cut = "select pg_terminate_backend(pid)
               from pg_stat_activity
               where datname = current_database()
                 and query like 'select pg_current_snapshot()%'
                 and pid <> pg_backend_pid()";
    while acknowledged.goes_on() {
        match chance.below(5) {
            0 => {
                let _ = sqlx::query(cut).execute(&shop_db).await;
            }
            1 | 2 => {
                // A transaction that has written, and goes on while others commit.
                let Ok(mut tx) = shop_db.begin().await else {
                    continue;
                };
                let sql =
                    "update products set weight_ounces = weight_ounces + 1 where id = 'still'";
                let _ = sqlx::query(sql).execute(&mut *tx).await;
                let until = Instant::now() + Duration::from_millis(chance.below(300));
                while Instant::now() < until {
                    tokio::task::yield_now().await;
                    let _ = sqlx::query("select pg_sleep(0.01)").execute(&mut *tx).await;
                }
                let _ = tx.commit().await;
            }
            _ => {
                let _ = spirit_beads::products::trim_changes(&shop_db).await;
                let sql = "update catalog_horizon set next_at = now() - interval '1 hour'";
                let _ = sqlx::query(sql).execute(&shop_db).await;
            }
        }
        let _ = sqlx::query("select pg_sleep(0.02)").execute(&shop_db).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_is_older_than_what_was_acknowledged() {
    let _seat = heavy().await;
    let seed = seed_of_ci().unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("reads from memory: seed {seed}");
    let shop = Shop::open().await;
    for product in 0..PRODUCTS {
        shop.stocks(&format!("P{product}"), 5).await;
    }
    shop.stocks("Still", 1).await;
    let sql = "update products set slug = 'slug-' || right(id, 1), price = 100 where id <> 'still'";
    by_hand(&shop, sql).await;
    let acknowledged = Arc::new(Acknowledged {
        prices: std::array::from_fn(|_| AtomicI64::new(100)),
        writes: AtomicU64::new(0),
        reads: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    let servers = [
        shop.client.clone(),
        beside(&shop).await,
        beside(&shop).await,
    ];
    let mut tasks = Vec::new();
    for product in 0..PRODUCTS {
        let chance = Chance::of(seed, &format!("writer {product}"));
        tasks.push(tokio::spawn(write(
            shop.db.clone(),
            product,
            chance,
            acknowledged.clone(),
        )));
    }
    for (number, client) in servers.iter().cycle().take(12).enumerate() {
        let chance = Chance::of(seed, &format!("reader {number}"));
        tasks.push(tokio::spawn(read(
            client.clone(),
            chance,
            acknowledged.clone(),
        )));
    }
    let chance = Chance::of(seed, "trouble");
    tasks.push(tokio::spawn(trouble(
        shop.db.clone(),
        chance,
        acknowledged.clone(),
    )));
    let seconds = std::env::var("STALE_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    // The first that ends has seen something stale.
    if let Ok((ended, ..)) = timeout_at(end, select_all(&mut tasks)).await {
        ended.expect("never stale");
    }
    acknowledged.is_over.store(true, SeqCst);
    for task in tasks.into_iter().filter(|task| !task.is_finished()) {
        task.await.expect("never stale");
    }
    let (reads, writes) = (
        acknowledged.reads.load(SeqCst),
        acknowledged.writes.load(SeqCst),
    );
    eprintln!("{reads} reads, {writes} writes");
    assert!(reads > 100 && writes > 50, "{reads} reads, {writes} writes");
    let prices = by_price(&shop).await;
    assert_eq!(prices, acknowledged.now().map(|price| json!(price)));
}

async fn by_price(shop: &Shop) -> Vec<serde_json::Value> {
    let answer = shop
        .client
        .get("/api/products/batch/?ids=p0,p1,p2,p3")
        .await;
    let mut products = answer.json["products"].as_array().expect("a list").clone();
    products.sort_by_key(|product| product["id"].as_str().map(str::to_owned));
    products
        .iter()
        .map(|product| product["price"].clone())
        .collect()
}
