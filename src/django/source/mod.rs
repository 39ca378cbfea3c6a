//! Sources of the old shop's rows. Both give each row as a JSON object by column name, so what follows does not depend on
//! the database, on the order of its columns or on their types.

mod postgres;
mod sqlite;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::PgConnectOptions;

/// A row by column name.
pub type Row = Map<String, Value>;

/// Place of the old shop's database.
#[derive(Clone, Debug)]
pub enum Place {
    Postgres(Box<PgConnectOptions>),
    Sqlite(PathBuf),
}

/// A table as it was read.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Declared types by column name, in lower case.
    pub columns: BTreeMap<String, String>,
    pub rows: Vec<Row>,
}

/// One snapshot of the old shop's tables.
#[derive(Debug)]
pub struct Source {
    tables: BTreeMap<String, Table>,
    /// Tables that the import does not read and does not know, with their numbers of rows.
    pub unknown_tables: Vec<String>,
    /// Start of the reading: whatever changed later is in no row.
    pub read_at: DateTime<Utc>,
}

/// Tables that are read, each with the columns that it must have. Older forms lack some of the others.
const TABLES: [(&str, &[&str]); 8] = [
    (CATEGORIES, &["id", "name", "slug", "created_at"]),
    (
        PRODUCTS,
        &[
            "id",
            "name",
            "slug",
            "price",
            "inventory_count",
            "created_at",
        ],
    ),
    (PRODUCT_IMAGES, &["id", "image", "product_id"]),
    (
        ORDERS,
        &[
            "id",
            "stripe_session_id",
            "amount_total",
            "status",
            "created_at",
        ],
    ),
    (
        ITEMS,
        &["id", "order_id", "product_id", "unit_price", "quantity"],
    ),
    (
        REQUESTS,
        &["id", "name", "email", "description", "status", "created_at"],
    ),
    (
        USERS,
        &["id", "username", "email", "is_superuser", "is_staff"],
    ),
    (MIGRATIONS, &["app", "name"]),
];

pub const CATEGORIES: &str = "products_category";
pub const PRODUCTS: &str = "products_product";
pub const PRODUCT_IMAGES: &str = "products_productimage";
pub const ORDERS: &str = "orders_order";
pub const ITEMS: &str = "orders_orderitem";
pub const REQUESTS: &str = "custom_orders_customorderrequest";
pub const USERS: &str = "auth_user";
const MIGRATIONS: &str = "django_migrations";

/// Tables of Django itself, which hold nothing that a shop needs.
const IGNORED: [&str; 9] = [
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "auth_user_groups",
    "auth_user_user_permissions",
    "django_admin_log",
    "django_content_type",
    "django_session",
    "sqlite_sequence",
];

/// The migration that turned prices from dollars into cents.
const CENTS: &str = "0005_product_currency_product_stripe_price_id_and_more";

impl Source {
    /// Reads all tables in one snapshot, without changing or locking anything.
    ///
    /// # Errors
    /// A sentence that names what cannot be read, is missing, or is in a form that cannot be understood.
    pub async fn read(place: &Place) -> anyhow::Result<Source> {
        let read_at = Utc::now();
        let (names, tables) = match place {
            Place::Postgres(options) => postgres::read(options, &is_read)
                .await
                .context("reading the old shop's database (DJANGO_DATABASE_URL)")?,
            Place::Sqlite(file) => sqlite::read(file, &is_read)
                .await
                .with_context(|| format!("reading the old shop's database {}", file.display()))?,
        };
        let is_unknown = |name: &String| !is_read(name) && !IGNORED.contains(&name.as_str());
        let source = Source {
            unknown_tables: names.into_iter().filter(is_unknown).collect(),
            tables,
            read_at,
        };
        source.check_columns()?;
        source.check_prices()?;
        Ok(source)
    }

    /// Returns a table; an empty one where an older form lacks it.
    pub fn table(&self, name: &str) -> &Table {
        static NONE: Table = Table {
            columns: BTreeMap::new(),
            rows: Vec::new(),
        };
        self.tables.get(name).unwrap_or(&NONE)
    }

    /// Returns the columns that the import does not know, as `table.column`. `known` has those of a table, separated by
    /// blanks.
    pub fn unknown_columns(&self, known: impl Fn(&str) -> &'static str) -> Vec<String> {
        let mut unknown = Vec::new();
        for (name, table) in &self.tables {
            let columns = table.columns.keys();
            let is_known =
                |column: &str| known(name).split_whitespace().any(|known| known == column);
            let columns = columns.filter(|column| !is_known(column));
            unknown.extend(columns.map(|column| format!("{name}.{column}")));
        }
        unknown
    }

    fn has_column(&self, table: &str, column: &str) -> bool {
        self.table(table).columns.contains_key(column)
    }

    fn check_columns(&self) -> anyhow::Result<()> {
        for (name, columns) in TABLES {
            let is_optional = match name {
                // Dropped by products.0015.
                PRODUCT_IMAGES => true,
                // A copy by another tool may lack it.
                MIGRATIONS => true,
                // products.0011 and orders.0008 came with them.
                CATEGORIES => !self.has_column(PRODUCTS, "category_id"),
                REQUESTS => !self.has_column(ORDERS, "is_custom_order"),
                _ => false,
            };
            let Some(table) = self.tables.get(name) else {
                ensure!(
                    is_optional,
                    "the database has no table {name}, so it is not the old shop's, or not all of it: nothing was imported"
                );
                continue;
            };
            for column in columns {
                ensure!(
                    table.columns.contains_key(*column),
                    "the table {name} has no column {column}, so its form is not one that the import knows: nothing was imported"
                );
            }
        }
        Ok(())
    }

    /// Refuses a database whose prices are in dollars, or may be.
    fn check_prices(&self) -> anyhow::Result<()> {
        let migrations = &self.table(MIGRATIONS).rows;
        let mut of_products = migrations
            .iter()
            .filter(|row| row.get("app").is_some_and(|app| app == "products"))
            .peekable();
        let is_integer = self
            .table(PRODUCTS)
            .columns
            .get("price")
            .is_some_and(|kind| kind.contains("int"));
        // A database that Django made without its migrations lists none of them.
        let is_in_cents = match of_products.peek() {
            Some(_) => of_products.any(|row| row.get("name").is_some_and(|name| name == CENTS)),
            None => is_integer,
        };
        if !is_in_cents {
            bail!(
                "the prices in products_product are in dollars, because the migration products.{CENTS} was not made: \
                 bring the old shop up to date (`manage.py migrate`) and import again; nothing was imported"
            );
        }
        Ok(())
    }
}

fn is_read(name: &str) -> bool {
    TABLES.iter().any(|(table, _)| *table == name)
}
