//! Migrations while the previous version serves: none holds up a shopper for long, on a shop that has been open for years.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use spirit_beads::db;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection, PgConnection, PgPool, SqlStr};
use tokio::task::JoinHandle;

use crate::support::{Database, heavy};

/// How long a migration may hold up any one statement of the shop. A busy test machine needs most of it itself.
const BOUND: Duration = Duration::from_secs(5);

/// The last one that made an index while nobody could write: the shop had not opened.
const LAST_BEFORE_OPENING: i64 = 10;

/// The large tables of an old shop.
const LARGE: [&str; 6] = [
    "orders",
    "order_lines",
    "stock_movements",
    "stripe_events",
    "emails",
    "payments",
];

/// Migrations that write a large table anew, and why they may: none from here on.
const REWRITES: [(i64, &str, &str); 1] = [(
    5,
    "order_lines",
    "a generated column; the shop had not opened when it was made",
)];

/// What the shop writes and reads, from the migration on that makes its tables possible. Each is short, as the shop's are.
const TRAFFIC: [(i64, &str); 6] = [
    (1, "select id, name, price, on_hand - reserved from products where is_active order by created_at desc, id limit 24"),
    (1, "update products set reserved = reserved + 1 where id = 'p' || (1 + floor(random() * 10000))::int and reserved < on_hand"),
    (2, "with placed as (
             insert into orders (id, status, channel, currency, subtotal, shipping, total)
             values (gen_random_uuid(), 'pending', 'storefront', 'usd', 4700, 500, 5200)
             returning id
         )
         insert into order_lines (order_id, position, product_id, name, unit_price, quantity)
         select id, 1, 'p1', 'Sunrise', 4700, 1 from placed"),
    (2, "update orders set status = 'paid', paid_at = now()
         where id = (select id from orders where status = 'pending' limit 1 for update skip locked)"),
    (3, "insert into stripe_events (id, type, status, source, payload) values (gen_random_uuid(), 'x', 'processed', 'webhook', '{}')"),
    (6, "insert into emails (id, cause, kind, recipient, contents) values (gen_random_uuid(), gen_random_uuid(), 'x', 'shop', '{}')"),
];

/// What years leave behind, once the tables are there.
const YEARS: [(i64, &str); 5] = [
    (1, "alter table products disable trigger products_search;
         insert into products (id, name, slug, lighter_type, price, on_hand, stripe_status)
         select 'p' || n, 'Piece ' || n, 'piece-' || n, 1 + n % 2, 4700, 1000, 'synced' from generate_series(1, 10000) n;
         alter table products enable trigger products_search;
         insert into stock_movements (product_id, delta, reason, actor)
         select 'p' || n, 1000, 'initial', 'x' from generate_series(1, 10000) n;"),
    (2, "insert into orders (id, status, channel, currency, subtotal, shipping, total, paid_at, email)
         select gen_random_uuid(), 'shipped', 'storefront', 'usd', 4700, 500, 5200, now(), n || '@example.com'
         from generate_series(1, 50000) n;
         insert into order_lines (order_id, position, product_id, name, unit_price, quantity)
         select id, 1, 'p' || (1 + number % 10000), 'Piece', 4700, 1 from orders;"),
    (3, "insert into stripe_events (id, type, status, source, payload)
         select 'evt_' || n, 'x', 'processed', 'webhook', repeat('x', 200) from generate_series(1, 50000) n;
         insert into payments (id, order_id, outcome, amount)
         select 'pi_' || number, id, 'settled', 5200 from orders where status = 'shipped';"),
    (6, "insert into emails (id, cause, kind, recipient, contents, state, sent_at)
         select gen_random_uuid(), n, 'x', 'shop', '{}', 'sent', now() from generate_series(1, 50000) n;"),
    (7, "insert into custom_orders (id, name, email, description)
         select gen_random_uuid(), 'Ann', n || '@example.com', 'x' from generate_series(1, 5000) n;"),
];

/// Repeats a statement until it is told to stop; returns the longest time that it took, and how often it ran.
fn repeats(db: PgPool, sql: &'static str, stop: Arc<AtomicBool>) -> JoinHandle<(Duration, u32)> {
    tokio::spawn(async move {
        let (mut longest, mut count) = (Duration::ZERO, 0);
        while !stop.load(Relaxed) || count == 0 {
            let began = Instant::now();
            sqlx::query(sql).execute(&db).await.expect(sql);
            longest = longest.max(began.elapsed());
            count += 1;
        }
        (longest, count)
    })
}

/// The files of the large tables that are there. A table written anew has another.
async fn files(conn: &mut PgConnection) -> Vec<(String, i64)> {
    sqlx::query_as(
        "select relname::text, relfilenode::bigint from pg_class
         where relname = any($1) and relnamespace = 'public'::regnamespace
         order by relname",
    )
    .bind(LARGE)
    .fetch_all(conn)
    .await
    .expect("the tables")
}

#[tokio::test]
async fn each_migration_applies_to_a_full_shop_that_sells_meanwhile() {
    let _seat = heavy().await;
    let database = Database::empty().await;
    let db = database.connect().await;
    let mut conn = db::migrating(&db).await.expect("a connection");
    let mut report = String::new();
    for migration in db::MIGRATOR.iter() {
        let version = migration.version;
        let stop = Arc::new(AtomicBool::new(false));
        // The previous version serves: what it says needs no more than what was there before.
        let traffic: Vec<_> = TRAFFIC
            .iter()
            .filter(|(since, _)| *since < version)
            .map(|(_, sql)| (sql, repeats(db.clone(), sql, stop.clone())))
            .collect();
        let before = files(&mut conn).await;
        let began = Instant::now();
        let until = db::MIGRATOR
            .iter()
            .take_while(|other| other.version <= version);
        let only = Migrator::with_migrations(until.cloned().collect());
        db::apply(&mut conn, &only).await.expect("applied");
        let took = began.elapsed();
        stop.store(true, Relaxed);
        let mut longest = Duration::ZERO;
        for (sql, statement) in traffic {
            let (waited, _) = statement.await.expect("traffic");
            assert!(
                waited < BOUND,
                "migration {version} held up for {waited:?}: {sql}"
            );
            longest = longest.max(waited);
        }
        let after = files(&mut conn).await;
        for (table, file) in &before {
            let is_anew = !after.iter().any(|(name, now)| name == table && now == file);
            let is_known = REWRITES
                .iter()
                .any(|(known, name, _)| (*known, *name) == (version, table));
            assert_eq!(
                is_anew, is_known,
                "migration {version} writes {table} anew: {is_anew}"
            );
        }
        report += &format!("{version:>4} {took:>12.1?} longest statement {longest:>10.1?}\n");
        if let Some((_, sql)) = YEARS.iter().find(|(since, _)| *since == version) {
            sqlx::raw_sql(*sql).execute(&mut conn).await.expect("years");
            sqlx::raw_sql("analyze")
                .execute(&mut conn)
                .await
                .expect("statistics");
        }
    }
    println!("{report}");
}

#[test]
fn indexes_of_tables_in_use_are_built_while_others_write() {
    let mut built = 0;
    for migration in db::MIGRATOR.iter() {
        let sql = migration.sql.as_str().to_lowercase();
        for index in sql
            .split("create ")
            .filter(|part| part.starts_with("index") || part.starts_with("unique index"))
        {
            let (_, on) = index.split_once(" on ").expect("a table");
            let table = on.split_whitespace().next().expect("its name");
            let is_new = sql.contains(&format!("create table {table} "));
            let is_harmless = is_new || index.contains("index concurrently");
            assert!(
                is_harmless || migration.version <= LAST_BEFORE_OPENING,
                "migration {} locks {table} while it builds an index",
                migration.version
            );
            built += i32::from(!is_new);
        }
    }
    assert!(built >= 10, "{built} indexes");
}

#[tokio::test]
async fn an_index_that_was_left_half_built_is_built_anew() {
    let database = Database::empty().await;
    let db = database.connect().await;
    db::migrate(&db).await.expect("the migrations");
    let mut conn = db::migrating(&db).await.expect("a connection");
    let version: i64 = sqlx::query_scalar(
        "delete from _sqlx_migrations where description = 'emails failed' returning version",
    )
    .fetch_one(&mut conn)
    .await
    .expect("the migration");
    // As a process leaves it that is killed while it builds.
    sqlx::query(
        "update pg_index set indisvalid = false where indexrelid = 'emails_failed'::regclass",
    )
    .execute(&mut conn)
    .await
    .expect("half an index");
    conn.close().await.expect("an end");
    db::migrate(&db).await.expect("the migrations again");
    let is_whole: bool = sqlx::query_scalar(
        "select indisvalid and exists (select from _sqlx_migrations where version = $1)
         from pg_index where indexrelid = 'emails_failed'::regclass",
    )
    .bind(version)
    .fetch_one(&db)
    .await
    .expect("the index");
    assert!(is_whole);
}

#[tokio::test]
async fn processes_that_start_together_migrate_one_after_the_other() {
    let database = Database::empty().await;
    let db = database.connect().await;
    let starts = (0..4).map(|_| {
        let db = db.clone();
        tokio::spawn(async move { db::migrate(&db).await })
    });
    for start in futures_util::future::join_all(starts).await {
        start.expect("no panic").expect("the migrations");
    }
    let invalid: i64 = sqlx::query_scalar("select count(*) from pg_index where not indisvalid")
        .fetch_one(&db)
        .await
        .expect("the indexes");
    assert_eq!(invalid, 0);
}

#[tokio::test]
async fn a_migration_that_cannot_have_its_lock_lets_others_pass_and_comes_again() {
    let database = Database::empty().await;
    let db = database.connect().await;
    db::migrate(&db).await.expect("the migrations");
    // A long report of somebody's reads the orders.
    let mut reading = PgConnection::connect_with(&db.connect_options())
        .await
        .expect("a connection");
    let mut report = reading.begin().await.expect("a transaction");
    sqlx::query("select count(*) from orders")
        .execute(&mut *report)
        .await
        .expect("a report");
    let mut conn = db::migrating(&db).await.expect("a connection");
    let next = Migration::new(
        9999,
        "a column".into(),
        MigrationType::Simple,
        SqlStr::from_static("alter table orders add column gift text"),
        false,
    );
    let all = db::MIGRATOR.iter().cloned().chain([next]).collect();
    let migrator = Migrator::with_migrations(all);
    let applying = tokio::spawn(async move { db::apply(&mut conn, &migrator).await });
    // Until it has its lock, nobody waits behind it for longer than it waits itself.
    for _ in 0..20 {
        let began = Instant::now();
        sqlx::query("select count(*) from orders")
            .execute(&db)
            .await
            .expect("orders");
        assert!(began.elapsed() < BOUND, "waited {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!applying.is_finished());
    report.commit().await.expect("an end");
    applying.await.expect("no panic").expect("applied");
    sqlx::query("select gift from orders")
        .execute(&db)
        .await
        .expect("the column");
}
