//! Restoring a backup into an empty shop.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use flate2::read::GzDecoder;
use object_store::path::Path;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::archive::CHUNK;
use super::tables::{self, TableData};
use super::{BackupFile, MEDIA};
use crate::audit::{self, Actor};
use crate::db;
use crate::images;
use crate::jobs;
use crate::products;
use crate::storage::{Objects, Storage, asked_path};

/// A restored backup.
#[derive(Debug)]
pub struct Restored {
    pub made_at: DateTime<Utc>,
    pub rows: u64,
    pub images: usize,
    /// Images that the database names and the file does not have.
    pub missing_images: usize,
}

impl BackupFile {
    /// Restores the file: the schema as it was, the images, then all rows in one transaction. The caller updates the
    /// schema afterwards.
    ///
    /// # Errors
    /// In words for the operator: a shop that is not empty, or whatever failed. Nothing is restored then.
    pub async fn restore(&self, db: &PgPool, storage: &Storage) -> anyhow::Result<Restored> {
        check_is_empty(&mut *db.acquire().await?).await?;
        self.check_schema(&mut *db.acquire().await?).await?;
        db::migrate_to(db, self.schema_version()).await?;
        let mut stored = Stored::default();
        let restored = async {
            self.store_media(&storage.objects, &mut stored).await?;
            self.load(db, &stored).await
        };
        let restored = restored.await;
        if restored.is_err() {
            stored.remove(&storage.objects).await;
        }
        restored
    }

    /// Checks that the database's schema is not newer than the file's: nothing goes back.
    async fn check_schema(&self, conn: &mut PgConnection) -> anyhow::Result<()> {
        let applied = tables::migrations(conn).await?;
        let newest = applied.iter().map(|one| one.version).max();
        ensure!(
            newest.is_none_or(|newest| newest <= self.schema_version()),
            "the database has the tables of a newer version already (schema {}, and the file has {}): make a database \
             without tables (`createdb`), and restore into that. The file's tables are updated afterwards",
            newest.unwrap_or_default(),
            self.schema_version()
        );
        Ok(())
    }

    /// Writes the images into the media store, under their old paths.
    async fn store_media(&self, objects: &Objects, stored: &mut Stored) -> anyhow::Result<()> {
        let mut archive = self.entries()?;
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = String::from_utf8(entry.path_bytes().into_owned())?;
            let Some(name) = name.strip_prefix(&format!("{MEDIA}/")) else {
                continue;
            };
            let path = asked_path(name).with_context(|| format!("{name} is no path"))?;
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            let is_new = objects.head(&path).await?.is_none();
            stored.paths.push((path.clone(), is_new));
            objects.put(&path, content).await.map_err(in_words)?;
        }
        Ok(())
    }

    /// Loads all rows in one transaction.
    async fn load(&self, db: &PgPool, stored: &Stored) -> anyhow::Result<Restored> {
        let mut tx = db.begin().await?;
        tables::prepare(&mut tx).await?;
        let mut all = tables::names(&mut tx).await?;
        all.retain(|name| name != "_sqlx_migrations");
        tables::lock(&mut tx, &all)
            .await
            .context("locking the tables: stop the shop's processes")?;
        // Again, because a process may have been at work meanwhile.
        check_is_empty(&mut tx).await?;
        let keys = tables::drop_foreign_keys(&mut tx).await?;
        let triggers = tables::disable_triggers(&mut tx, &all).await?;
        tables::empty(&mut tx, &all).await?;
        let rows = self.copy_in(&mut tx).await?;
        for sequence in &self.manifest.sequences {
            tables::set_sequence(&mut tx, sequence).await?;
        }
        tables::add_foreign_keys(&mut tx, &keys)
            .await
            .context("the rows do not fit together")?;
        tables::enable_triggers(&mut tx, triggers).await?;
        products::record_change_of_everything(&mut tx).await?;
        let keys = stored.storage_keys();
        let missing_images = images::restored(&mut tx, &keys).await.map_err(in_words)?;
        jobs::restore(&mut tx, &self.manifest.jobs)
            .await
            .map_err(in_words)?;
        let made_at = self.manifest.made_at;
        audit::record(
            &mut tx,
            &Actor::console(),
            "backup.restore",
            "shop",
            Value::Null,
            json!({"made_at": made_at, "rows": rows, "images": keys.len()}),
        )
        .await
        .map_err(in_words)?;
        tx.commit().await?;
        Ok(Restored {
            made_at,
            rows,
            images: keys.len(),
            missing_images,
        })
    }

    /// Copies the rows of every table in, and returns their number.
    async fn copy_in(&self, conn: &mut PgConnection) -> anyhow::Result<u64> {
        let tables: BTreeMap<String, &TableData> = self
            .manifest
            .tables
            .iter()
            .map(|table| (table.path(), table))
            .collect();
        let mut loaded = BTreeSet::new();
        let mut sum = 0;
        let mut archive = self.entries()?;
        for entry in archive.entries()? {
            let entry = entry?;
            let path = String::from_utf8(entry.path_bytes().into_owned())?;
            let Some(table) = tables.get(&path) else {
                continue;
            };
            let rows = copy_table_in(conn, table, entry).await;
            let rows = rows.with_context(|| format!("restoring the table {}", table.name))?;
            ensure!(
                rows == table.rows,
                "the table {} has {rows} rows instead of {}",
                table.name,
                table.rows
            );
            sum += rows;
            loaded.insert(path);
        }
        ensure!(loaded.len() == tables.len(), "a table is missing");
        Ok(sum)
    }
}

async fn copy_table_in(
    conn: &mut PgConnection,
    table: &TableData,
    compressed: impl Read,
) -> anyhow::Result<u64> {
    let sql = format!("copy {} from stdin", table.target());
    let mut rows = GzDecoder::new(compressed);
    let mut copy = conn.copy_in_raw(&sql).await?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match rows.read(&mut buffer) {
            Ok(0) => return Ok(copy.finish().await?),
            Ok(read) => {
                copy.send(&buffer[..read]).await?;
            }
            Err(error) => {
                copy.abort("the file cannot be read").await?;
                return Err(error.into());
            }
        }
    }
}

/// Checks that nothing was sold, made or written here yet.
async fn check_is_empty(conn: &mut PgConnection) -> anyhow::Result<()> {
    if let Some(table) = tables::first_in_use(conn).await? {
        bail!(
            "this shop is not empty (its table {table} has rows): a backup is restored into an empty one only. Make a new \
             database, or without DATABASE_URL choose another data folder (DATA_DIR). Nothing was changed"
        );
    }
    Ok(())
}

/// Objects written to the media store, and whether they are new there.
#[derive(Default)]
struct Stored {
    paths: Vec<(Path, bool)>,
}

impl Stored {
    /// Storage keys of the images.
    fn storage_keys(&self) -> Vec<String> {
        let paths = self.paths.iter();
        paths
            .filter_map(|(path, _)| images::storage_key_of(path))
            .collect()
    }

    /// Removes what was not there before. Whatever stays is found by the sweep.
    async fn remove(&self, objects: &Objects) {
        for (path, is_new) in &self.paths {
            if *is_new && let Err(error) = objects.delete(path).await {
                tracing::warn!(%error, "an object of the failed restore stays");
            }
        }
    }
}

/// A message of the shop as one for the operator.
fn in_words(error: crate::error::Error) -> anyhow::Error {
    match error {
        crate::error::Error::Unavailable(_, cause) | crate::error::Error::Internal(cause) => cause,
        other => other.into(),
    }
}
