//! Migrations while the previous version serves: none holds up a shopper for long, on a shop that has been open for years.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use spirit_beads::db;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection, PgConnection, PgPool, SqlStr};
use tokio::task::JoinHandle;

use crate::support::{Database, heavy};

/// Time for which a migration may hold up any one statement of the shop. A busy test machine needs most of it itself.
const BOUND: Duration = Duration::from_secs(5);

/// The last migration of the clean set, which makes the tables of an empty shop. Later ones apply to shops that sell.
const LAST_OF_CLEAN_SET: i64 = 14;

/// The large tables of an old shop.
const LARGE: [&str; 6] = [
    "orders",
    "order_lines",
    "stock_movements",
    "stripe_events",
    "emails",
    "payments",
];

/// Statements that the shop runs. Each is short, as the shop's are.
const TRAFFIC: [&str; 6] = [
    "select id, name, price, on_hand - reserved from products where is_active order by created_at desc, id limit 24",
    "update products set reserved = reserved + 1 where id = 'p' || (1 + floor(random() * 10000))::int and reserved < on_hand",
    "with placed as (
         insert into orders (id, status, channel, currency, subtotal, shipping, total)
         values (gen_random_uuid(), 'pending', 'storefront', 'usd', 4700, 500, 5200)
         returning id
     )
     insert into order_lines (order_id, position, product_id, name, unit_price, quantity)
     select id, 1, 'p1', 'Sunrise', 4700, 1 from placed",
    "update orders set status = 'paid', paid_at = now()
     where id = (select id from orders where status = 'pending' limit 1 for update skip locked)",
    "insert into stripe_events (id, type, status, source, payload) values (gen_random_uuid(), 'x', 'processed', 'webhook', '{}')",
    "insert into emails (id, dedup_key, kind, recipient, contents) values (gen_random_uuid(), gen_random_uuid(), 'x', 'shop', '{}')",
];

/// Data of years. Products come without their triggers: a search index of random names proves nothing here.
const YEARS: &str = "
    alter table products disable trigger user;
    insert into products (id, name, slug, lighter_type, price, on_hand, stripe_status)
    select 'p' || n, 'Piece ' || n, 'piece-' || n, 1 + n % 2, 4700, 1000, 'synced' from generate_series(1, 10000) n;
    alter table products enable trigger user;
    insert into stock_movements (product_id, delta, reason, actor)
    select 'p' || n, 1000, 'initial', 'x' from generate_series(1, 10000) n;
    insert into orders (id, status, channel, currency, subtotal, shipping, total, paid_at, email)
    select gen_random_uuid(), 'shipped', 'storefront', 'usd', 4700, 500, 5200, now(), n || '@example.com'
    from generate_series(1, 50000) n;
    insert into order_lines (order_id, position, product_id, name, unit_price, quantity)
    select id, 1, 'p' || (1 + number % 10000), 'Piece', 4700, 1 from orders;
    insert into stripe_events (id, type, status, source, payload)
    select 'evt_' || n, 'x', 'processed', 'webhook', repeat('x', 200) from generate_series(1, 50000) n;
    insert into payments (id, order_id, outcome, amount)
    select 'pi_' || number, id, 'settled', 5200 from orders where status = 'shipped';
    insert into emails (id, dedup_key, kind, recipient, contents, state, sent_at)
    select gen_random_uuid(), n, 'x', 'shop', '{}', 'sent', now() from generate_series(1, 50000) n;
    insert into custom_orders (id, name, email, description)
    select gen_random_uuid(), 'Ann', n || '@example.com', 'x' from generate_series(1, 5000) n;
    analyze";

/// A migration that this version does not have.
fn sample(version: i64, sql: &'static str) -> Migration {
    Migration::new(
        version,
        "a sample".into(),
        MigrationType::Simple,
        SqlStr::from_static(sql),
        sql.starts_with("-- no-transaction"),
    )
}

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

/// Effect of a migration on a shop that sells.
struct Effect {
    /// The longest time that a statement of the shop took, and the statement.
    longest: (Duration, &'static str),
    /// The large tables that were written anew.
    rewritten: Vec<String>,
}

/// Applies a migration, after those before it, while the previous version serves.
async fn apply_beside_traffic(
    db: &PgPool,
    conn: &mut PgConnection,
    all: &[Migration],
    version: i64,
) -> Effect {
    let stop = Arc::new(AtomicBool::new(false));
    let traffic: Vec<_> = TRAFFIC
        .iter()
        .map(|sql| (*sql, repeats(db.clone(), sql, stop.clone())))
        .collect();
    let before = files(conn).await;
    let began = Instant::now();
    let until = all.iter().take_while(|other| other.version <= version);
    let only = Migrator::with_migrations(until.cloned().collect());
    db::apply(conn, &only).await.expect("applied");
    let took = began.elapsed();
    stop.store(true, Relaxed);
    let mut longest = (Duration::ZERO, "");
    for (sql, statement) in traffic {
        let (waited, _) = statement.await.expect("traffic");
        longest = longest.max((waited, sql));
    }
    println!(
        "{version:>4} {took:>12.1?} longest statement {:>10.1?}",
        longest.0
    );
    let after = files(conn).await;
    let rewritten = before
        .into_iter()
        .filter(|file| !after.contains(file))
        .map(|(table, _)| table)
        .collect();
    Effect { longest, rewritten }
}

#[tokio::test]
async fn each_migration_after_the_clean_set_applies_to_a_full_shop_that_sells_meanwhile() {
    let _seat = heavy().await;
    let database = Database::empty().await;
    let db = database.connect();
    let mut conn = db::migrating(&db).await.expect("a connection");
    let (clean, mut later): (Vec<Migration>, Vec<Migration>) = db::MIGRATOR
        .iter()
        .cloned()
        .partition(|migration| migration.version <= LAST_OF_CLEAN_SET);
    db::apply(&mut conn, &Migrator::with_migrations(clean.clone()))
        .await
        .expect("the clean set");
    sqlx::raw_sql(YEARS)
        .execute(&mut conn)
        .await
        .expect("years");
    // The forms that most migrations take. While there is no later one, they are all that is tried.
    later.push(sample(
        9001,
        "alter table orders add column sample_note text",
    ));
    later.push(sample(
        9002,
        "-- no-transaction
         create index concurrently orders_sample on orders (created_at) where sample_note is not null",
    ));
    let mut all = [clean, later.clone()].concat();
    for migration in &later {
        let version = migration.version;
        let effect = apply_beside_traffic(&db, &mut conn, &all, version).await;
        let (waited, sql) = effect.longest;
        assert!(
            waited < BOUND,
            "migration {version} held up for {waited:?}: {sql}"
        );
        assert!(
            effect.rewritten.is_empty(),
            "migration {version} writes anew: {:?}",
            effect.rewritten
        );
    }

    // Proof that harm is seen: a table written anew, and a lock held in front of the shop.
    all.push(sample(
        9003,
        "alter table orders add column sample_code uuid not null default gen_random_uuid()",
    ));
    let effect = apply_beside_traffic(&db, &mut conn, &all, 9003).await;
    assert_eq!(effect.rewritten, ["orders"]);
    all.push(sample(9004, "lock table emails; select pg_sleep(1)"));
    let effect = apply_beside_traffic(&db, &mut conn, &all, 9004).await;
    let (waited, sql) = effect.longest;
    assert!(
        waited > Duration::from_millis(900) && sql.contains("emails"),
        "{waited:?}: {sql}"
    );
}

/// The tables on which a migration builds an index while nobody can write them, and the number of indexes it builds.
fn blocked_by(sql: &str) -> (Vec<String>, usize) {
    let sql = sql.to_lowercase();
    let indexes: Vec<&str> = sql
        .split("create ")
        .filter(|part| part.starts_with("index") || part.starts_with("unique index"))
        .collect();
    let blocked = indexes.iter().filter_map(|index| {
        let (_, on) = index.split_once(" on ").expect("a table");
        let table = on.split_whitespace().next().expect("its name");
        let is_new = ["create table", "create unlogged table"]
            .iter()
            .any(|create| sql.contains(&format!("{create} {table} ")));
        let is_harmless = is_new || index.contains("index concurrently");
        (!is_harmless).then(|| table.to_owned())
    });
    (blocked.collect(), indexes.len())
}

#[test]
fn indexes_of_tables_in_use_are_built_while_others_write() {
    let mut built = 0;
    for migration in db::MIGRATOR.iter() {
        let (blocked, indexes) = blocked_by(migration.sql.as_str());
        assert!(
            blocked.is_empty(),
            "migration {} locks {blocked:?} while it builds an index",
            migration.version
        );
        built += indexes;
    }
    assert!(built >= 70, "{built} indexes");
    for (sql, blocked) in [
        ("create index a on orders (email)", vec!["orders"]),
        ("Create Unique Index a on emails\n(id)", vec!["emails"]),
        (
            "create table gifts (\n    id uuid\n);\ncreate index a on gifts (id);\ncreate index b on orders (id);",
            vec!["orders"],
        ),
        (
            "-- no-transaction\ncreate unique index concurrently a on orders (email)",
            vec![],
        ),
    ] {
        assert_eq!(blocked_by(sql).0, blocked, "{sql}");
    }
}

#[tokio::test]
async fn a_database_of_an_unreleased_version_is_refused_in_words_and_left_alone() {
    let database = Database::empty().await;
    let db = database.connect();
    let mut conn = db::migrating(&db).await.expect("a connection");
    let old = sample(1, "create table categories (id bigint primary key)");
    db::apply(&mut conn, &Migrator::with_migrations(vec![old]))
        .await
        .expect("the old schema");
    // With its connection ends its lock, which the next one waits for.
    conn.close().await.expect("the end");
    let refused = db::migrate(&db).await.expect_err("another history");
    let told = format!("{refused:#}");
    for word in [
        "unreleased development version",
        "drop the database",
        "DATA_DIR",
        "the build that made it",
    ] {
        assert!(told.contains(word), "{told}");
    }
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by 1",
    )
    .fetch_all(&db)
    .await
    .expect("the tables");
    assert_eq!(tables, ["_sqlx_migrations", "categories"]);
}

#[tokio::test]
async fn an_index_that_was_left_half_built_is_built_anew() {
    let database = Database::empty().await;
    let db = database.connect();
    let index = sample(
        9999,
        "-- no-transaction
         create index concurrently emails_sample on emails (created_at) where state = 'failed'",
    );
    let all = db::MIGRATOR.iter().cloned().chain([index]).collect();
    let migrator = Migrator::with_migrations(all);
    let mut conn = db::migrating(&db).await.expect("a connection");
    db::apply(&mut conn, &migrator).await.expect("applied");
    // As a process leaves it that is killed while it builds.
    sqlx::raw_sql(
        "delete from _sqlx_migrations where version = 9999;
         update pg_index set indisvalid = false where indexrelid = 'emails_sample'::regclass",
    )
    .execute(&mut conn)
    .await
    .expect("half an index");
    db::apply(&mut conn, &migrator)
        .await
        .expect("applied again");
    let is_whole: bool = sqlx::query_scalar(
        "select indisvalid and exists (select from _sqlx_migrations where version = 9999)
         from pg_index where indexrelid = 'emails_sample'::regclass",
    )
    .fetch_one(&db)
    .await
    .expect("the index");
    assert!(is_whole);
}

#[tokio::test]
async fn processes_that_start_together_migrate_one_after_the_other() {
    let database = Database::empty().await;
    let db = database.connect();
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
    let db = database.connect();
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
    let next = sample(9999, "alter table orders add column gift text");
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
