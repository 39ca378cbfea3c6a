//! Changes of the catalog, which triggers record by transaction, and the validation of what is kept in memory.

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use sqlx::postgres::types::Oid;
use sqlx::{PgConnection, PgPool};

use crate::error::Result;
use crate::types::ids::ProductId;

/// The part of the catalog that a response shows to everybody: an extension of responses that may be kept in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// One product.
    Product(ProductId),
    /// A list, which any product may enter or leave.
    Products,
    /// Categories alone.
    Categories,
}

/// Triggers that record changes.
const TRIGGERS: usize = 14;

/// More changes than this are taken as a change of everything.
const MOST: usize = 1000;

/// The triggers in force.
macro_rules! triggers {
    () => {
        "array(select t.oid
               from pg_trigger t
               where t.tgrelid in ('products'::regclass, 'product_images'::regclass, 'categories'::regclass,
                                   'images'::regclass)
                 and t.tgname like 'catalog\\_changes\\_%'
                 and t.tgenabled = 'A'
               order by t.oid) as triggers"
    };
}

/// The catalog of an instant, as one process knows it.
#[derive(Debug)]
pub struct Catalog {
    /// In the format of `pg_snapshot`.
    snapshot: String,
    at: DateTime<Utc>,
    backend: i32,
    triggers: Vec<Oid>,
}

#[derive(sqlx::FromRow)]
struct Read {
    snapshot: String,
    at: DateTime<Utc>,
    backend: i32,
    is_standby: bool,
    triggers: Vec<Oid>,
}

#[derive(sqlx::FromRow)]
struct Changed {
    #[sqlx(flatten)]
    read: Read,
    is_trimmed: bool,
    /// Null stands for everything.
    products: Vec<Option<String>>,
}

impl Catalog {
    /// The catalog of now.
    ///
    /// # Errors
    /// When changes are not recorded here, and database errors: then nothing may be kept in memory.
    pub async fn now(conn: &mut PgConnection) -> anyhow::Result<Catalog> {
        let read = sqlx::query_as(concat!(
            "select pg_current_snapshot()::text as snapshot, now() as at, pg_backend_pid() as backend,
                    pg_is_in_recovery() as is_standby, ",
            triggers!()
        ))
        .fetch_one(conn)
        .await?;
        Catalog::of(read)
    }

    fn of(read: Read) -> anyhow::Result<Catalog> {
        if read.is_standby {
            bail!("the server of the database is a standby");
        }
        if read.triggers.len() != TRIGGERS {
            bail!(
                "{} of {TRIGGERS} triggers that record changes of the catalog are in force",
                read.triggers.len()
            );
        }
        Ok(Catalog {
            snapshot: read.snapshot,
            at: read.at,
            backend: read.backend,
            triggers: read.triggers,
        })
    }

    /// Moves on to now, and returns the products that changed; `None` if anything may have. Use the connection of
    /// [`Catalog::now`], outside of a transaction.
    ///
    /// # Errors
    /// As [`Catalog::now`].
    pub async fn changes(
        &mut self,
        conn: &mut PgConnection,
    ) -> anyhow::Result<Option<Vec<String>>> {
        // Everything that this snapshot has not, and nothing else: what committed later, and what was under way. Index
        // ranges only, so that a transaction that stays open for an hour makes it no slower.
        let changed: Changed = sqlx::query_as(concat!(
            "select pg_current_snapshot()::text as snapshot, now() as at, pg_backend_pid() as backend,
                    pg_is_in_recovery() as is_standby, ",
            triggers!(),
            ",
                    coalesce(pg_snapshot_xmin($1::text::pg_snapshot) < (select xid from catalog_horizon), false)
                        as is_trimmed,
                    array(select product_id
                          from catalog_changes
                          where xid >= pg_snapshot_xmax($1::text::pg_snapshot)
                          union all
                          select product_id
                          from catalog_changes
                          where xid = any(array(select pg_snapshot_xip($1::text::pg_snapshot)))
                          union all
                          -- Drafts whose time has come.
                          select id
                          from products
                          where on_sale_at > $2
                            and on_sale_at <= now()
                            and on_sale_at is not null
                          limit $3) as products"
        ))
        .bind(&self.snapshot)
        .bind(self.at)
        .bind(MOST as i64 + 1)
        .fetch_one(conn)
        .await
        .context("asking what changed in the catalog")?;
        let now = Catalog::of(changed.read)?;
        let is_another = now.backend != self.backend
            || now.triggers != self.triggers
            || now.at < self.at
            || changed.is_trimmed
            || changed.products.len() > MOST;
        *self = now;
        match is_another {
            true => Ok(None),
            false => Ok(changed.products.into_iter().collect()),
        }
    }
}

/// Records that anything may have changed: for those who switch the triggers off. A schema that is older than the triggers
/// needs no record: they will be new.
///
/// # Errors
/// Database errors only.
pub async fn record_change_of_everything(conn: &mut PgConnection) -> sqlx::Result<()> {
    let has_records: bool = sqlx::query_scalar("select to_regclass('catalog_changes') is not null")
        .fetch_one(&mut *conn)
        .await?;
    if has_records {
        sqlx::query("insert into catalog_changes (product_id) values (null)")
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Deletes the records of changes that every process has seen some minutes ago. Safe to repeat, and to run concurrently.
///
/// # Errors
/// Database errors only.
pub async fn trim_changes(db: &PgPool) -> Result<()> {
    let mut tx = db.begin().await?;
    for sql in [
        "insert into catalog_horizon (xid, next_xid)
         values ('0', pg_snapshot_xmin(pg_current_snapshot()))
         on conflict (singleton) do nothing",
        // Never by the time of a row: a long transaction commits rows that are old already. Records of a later
        // transaction than any are those of another server, from a backup.
        "with moved as (
             update catalog_horizon
             set xid = next_xid, next_xid = pg_snapshot_xmin(pg_current_snapshot()), next_at = now()
             where next_at < now() - interval '2 minutes'
             returning xid
         )
         delete from catalog_changes c
         using moved
         where c.xid < moved.xid
            or c.xid >= pg_snapshot_xmax(pg_current_snapshot())",
    ] {
        sqlx::query(sql).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}
