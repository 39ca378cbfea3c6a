//! The takeover of the Django shop, by the program itself and on the sample shop in tests/data/django.

mod broken;
mod corrected;
mod damaged;
mod expected;
mod last;
mod quirks;
mod renamed;
mod repeated;
mod sample;
mod speed;
mod switch;

use std::path::{Path, PathBuf};

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use crate::process::Beside;
use crate::support::{Database, Leftover, Shop, database};

/// A new shop beside an old one.
pub struct Takeover {
    pub shop: Shop,
    pub beside: Beside,
    /// A copy of the sample that the test may change.
    pub sqlite: PathBuf,
    pub media: PathBuf,
}

/// The sample shop.
pub fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/django")
}

impl Takeover {
    pub async fn begin() -> Takeover {
        Takeover::begin_with(&[]).await
    }

    /// As [`Takeover::begin`], with settings of the new shop.
    pub async fn begin_with(settings: &[(&str, &str)]) -> Takeover {
        let shop = Shop::open_with(settings).await;
        // The old shop's users marked orders as paid of which no payment is known.
        shop.leaves(Leftover::WrongBooks);
        let mut beside = Beside::new(&shop);
        let folder = match &shop.app.config.storage.store {
            spirit_beads::config::MediaStore::Folder(folder) => folder.display().to_string(),
            spirit_beads::config::MediaStore::Bucket(_) => unreachable!("tests use folders"),
        };
        beside.settings.push(("MEDIA_URL", folder));
        let sqlite = beside.home.dir.join("old.sqlite3");
        std::fs::copy(sample().join("shop.sqlite3"), &sqlite).expect("a copy");
        Takeover {
            shop,
            beside,
            sqlite,
            media: sample().join("media"),
        }
    }

    /// Address of the old shop's PostgreSQL, if that is where it is.
    fn postgres(&self) -> Option<&str> {
        let mut settings = self.beside.settings.iter();
        let found = settings.find(|(name, _)| *name == "DJANGO_DATABASE_URL");
        found.map(|(_, url)| url.as_str())
    }

    /// Changes the old shop.
    pub async fn change(&self, sql: &str) {
        if let Some(url) = self.postgres() {
            let mut conn = PgConnection::connect(url).await.expect("a database");
            let changed = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await;
            changed.expect("a change");
            conn.close().await.expect("an end");
            return;
        }
        let options = SqliteConnectOptions::new()
            .filename(&self.sqlite)
            .foreign_keys(false);
        let mut conn = SqliteConnection::connect_with(&options)
            .await
            .expect("a file");
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut conn)
            .await
            .expect("a change");
        conn.close().await.expect("an end");
    }

    /// Imports: exit code, what it said, and what it complained of.
    pub async fn run(&self, options: &[&str]) -> (i32, String, String) {
        let (sqlite, media) = (
            self.sqlite.display().to_string(),
            self.media.display().to_string(),
        );
        let mut arguments = vec!["import-django", "--media", &media];
        if self.postgres().is_none() {
            arguments.extend(["--sqlite", &sqlite]);
        }
        arguments.extend(options);
        self.beside.run(&arguments).await
    }

    /// Imports, which must succeed, and returns the report.
    pub async fn import(&self, options: &[&str]) -> Value {
        let file = self
            .beside
            .home
            .dir
            .join("report.json")
            .display()
            .to_string();
        let (code, said, complaint) = self.run(&[options, &["--report", &file]].concat()).await;
        assert_eq!(code, 0, "{said}{complaint}");
        let report = std::fs::read_to_string(file).expect("a report");
        serde_json::from_str(&report).expect("JSON")
    }

    /// Imports, which must fail, and returns the complaint. Nothing may be kept.
    pub async fn fail(&self, options: &[&str]) -> String {
        let before = self.everything().await;
        let (code, said, complaint) = self.run(options).await;
        assert_eq!(code, 1, "{said}{complaint}");
        assert_eq!(self.everything().await, before, "nothing is kept");
        complaint
    }

    pub async fn one<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&self.shop.db)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Every row that an import writes, but for images and the audit log.
    pub async fn everything(&self) -> Value {
        let mut all = serde_json::Map::new();
        for table in [
            "categories",
            "products",
            "product_images",
            "stock_movements",
            "users",
            "orders",
            "order_lines",
            "order_events",
            "payments",
            "checkouts",
            "shipments",
            "shipment_images",
            "custom_orders",
            "custom_order_images",
            "custom_order_quotes",
            "custom_order_events",
            "review_items",
            "emails",
            "import_rows",
            "refunds",
        ] {
            let sql = format!(
                "select coalesce(jsonb_agg(to_jsonb(t) order by to_jsonb(t)::text), '[]') from {table} t"
            );
            all.insert(table.to_owned(), self.one::<Value>(&sql).await);
        }
        let numbers = "select jsonb_build_array((select last_value from order_number),
                                                (select last_value from custom_order_number))";
        all.insert("numbers".to_owned(), self.one::<Value>(numbers).await);
        Value::Object(all)
    }
}

/// The sample in PostgreSQL, and its address.
pub async fn in_postgres() -> (Database, String) {
    let database = Database::empty().await;
    let options = database::options(database.name());
    let mut conn = PgConnection::connect_with(&options)
        .await
        .expect("a database");
    let sql = std::fs::read_to_string(sample().join("shop.sql")).expect("a dump");
    let mut rest = sql.as_str();
    while let Some(at) = rest.find("\nCOPY ") {
        let (before, from) = rest.split_at(at + 1);
        sqlx::raw_sql(AssertSqlSafe(before))
            .execute(&mut conn)
            .await
            .expect("statements");
        let (statement, from) = from.split_once('\n').expect("a line");
        let (rows, after) = from.split_once("\\.\n").expect("an end");
        let mut copy = conn
            .copy_in_raw(statement.trim_end_matches(';'))
            .await
            .expect("a copy");
        copy.send(rows.as_bytes()).await.expect("rows");
        copy.finish().await.expect("an end");
        rest = after;
    }
    sqlx::raw_sql(AssertSqlSafe(rest))
        .execute(&mut conn)
        .await
        .expect("statements");
    conn.close().await.expect("an end");
    let socket = options
        .get_socket()
        .expect("a socket")
        .display()
        .to_string();
    let host: String = url::form_urlencoded::byte_serialize(socket.as_bytes()).collect();
    let url = format!(
        "postgres://{}@localhost:{}/{}?host={host}",
        options.get_username(),
        options.get_port(),
        database.name()
    );
    (database, url)
}
