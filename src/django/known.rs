//! The rows of earlier imports, and how the new shop stands now.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;
use uuid::Uuid;

use super::hashes::{self, RowKind};
use super::target::NewLine;
use crate::error::Result;
use crate::orders::Status;

/// The record of a row at its last import.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ImportedRow {
    /// Hash of what the old shop's row was to become.
    pub wanted: String,
    /// Pieces of a product in the old shop.
    pub stock: Option<i32>,
    /// Status of an order.
    #[sqlx(try_from = "Option<String>")]
    pub status: ImportedStatus,
    /// Our row is still as the import left it.
    pub is_untouched: bool,
}

/// Status that an order had at its last import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportedStatus(pub Option<Status>);

impl From<Option<String>> for ImportedStatus {
    fn from(text: Option<String>) -> ImportedStatus {
        ImportedStatus(text.and_then(|text| parse_status(&text)))
    }
}

/// Status of a name in the database.
pub fn parse_status(text: &str) -> Option<Status> {
    Status::ALL
        .into_iter()
        .find(|status| status.as_str() == text)
}

/// An order of ours that an import made, or that has the id of one of the old shop's.
#[derive(Clone, Debug)]
pub struct OurOrder {
    pub status: Status,
    pub lines: Vec<NewLine>,
}

/// A product of ours.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct OurProduct {
    pub on_hand: i32,
    pub reserved: i32,
    pub is_deleted: bool,
}

/// A category of ours.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OurCategory {
    pub id: i64,
    pub name: String,
    pub name_key: Option<String>,
    pub slug: String,
}

/// The new shop before an import.
#[derive(Default)]
pub struct Known {
    pub rows: BTreeMap<RowKind, HashMap<String, ImportedRow>>,
    pub orders: HashMap<Uuid, OurOrder>,
    pub products: HashMap<String, OurProduct>,
    /// Categories of ours, by id.
    pub categories: HashMap<i64, OurCategory>,
    pub custom_orders: HashMap<Uuid, String>,
    /// Lower-case addresses of users.
    pub users: HashMap<String, Uuid>,
    /// Slugs of our products, with their ids.
    pub slugs: HashMap<String, String>,
}

impl Known {
    /// The record of a row, if an import made it.
    pub fn row(&self, kind: RowKind, id: &str) -> Option<&ImportedRow> {
        self.rows.get(&kind)?.get(id)
    }

    /// Returns true for a row of ours that an import made, and that is as the import left it.
    pub fn is_copy(&self, kind: RowKind, id: &str) -> bool {
        self.row(kind, id).is_some_and(|row| row.is_untouched)
    }

    /// Reads all of it. The caller's transaction keeps it as it is.
    ///
    /// # Errors
    /// Database errors only.
    pub async fn read(conn: &mut PgConnection) -> Result<Known> {
        let mut known = Known::default();
        for (kind, hashes) in hashes::ALL {
            known
                .rows
                .insert(kind, read_rows(conn, kind, hashes).await?);
        }
        known.read_orders(conn).await?;
        let products: Vec<(String, String, i32, i32, bool)> = sqlx::query_as(
            "select id, slug, on_hand, reserved, deleted_at is not null
             from products",
        )
        .fetch_all(&mut *conn)
        .await?;
        for (id, slug, on_hand, reserved, is_deleted) in products {
            if !is_deleted {
                known.slugs.insert(slug, id.clone());
            }
            let product = OurProduct {
                on_hand,
                reserved,
                is_deleted,
            };
            known.products.insert(id, product);
        }
        let categories: Vec<OurCategory> =
            sqlx::query_as("select id, name, name_key, slug from categories")
                .fetch_all(&mut *conn)
                .await?;
        let categories = categories.into_iter();
        known.categories = categories.map(|category| (category.id, category)).collect();
        let custom_orders: Vec<(Uuid, String)> =
            sqlx::query_as("select id, status from custom_orders")
                .fetch_all(&mut *conn)
                .await?;
        known.custom_orders = custom_orders.into_iter().collect();
        let users: Vec<(String, Uuid)> = sqlx::query_as("select lower(email), id from users")
            .fetch_all(conn)
            .await?;
        known.users = users.into_iter().collect();
        Ok(known)
    }

    async fn read_orders(&mut self, conn: &mut PgConnection) -> Result<()> {
        let orders: Vec<(Uuid, Status)> = sqlx::query_as("select id, status from orders")
            .fetch_all(&mut *conn)
            .await?;
        for (id, status) in orders {
            let lines = Vec::new();
            self.orders.insert(id, OurOrder { status, lines });
        }
        #[derive(sqlx::FromRow)]
        struct OrderLine {
            order_id: Uuid,
            #[sqlx(flatten)]
            line: NewLine,
        }
        let lines: Vec<OrderLine> = sqlx::query_as(
            "select order_id, product_id, name, image, unit_price, quantity
             from order_lines
             order by order_id, position",
        )
        .fetch_all(conn)
        .await?;
        for OrderLine { order_id, line } in lines {
            if let Some(order) = self.orders.get_mut(&order_id) {
                order.lines.push(line);
            }
        }
        Ok(())
    }
}

async fn read_rows(
    conn: &mut PgConnection,
    kind: RowKind,
    hashes: &'static str,
) -> Result<HashMap<String, ImportedRow>> {
    #[derive(sqlx::FromRow)]
    struct WithId {
        id: String,
        #[sqlx(flatten)]
        row: ImportedRow,
    }
    let sql = format!(
        "select r.id, r.wanted, r.stock, r.status, coalesce(r.made = ours.hash, false) as is_untouched
         from import_rows r
         left join ({hashes}) as ours on ours.id = coalesce(r.made_id, r.id)
         where r.kind = $1"
    );
    // The text is made of constants.
    let rows: Vec<WithId> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(kind.as_str())
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|with_id| (with_id.id, with_id.row))
        .collect())
}
