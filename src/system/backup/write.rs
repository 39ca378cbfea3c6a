//! Making a backup: a snapshot of the tables, then the images, as a stream of bytes.

use std::io::Write as _;

use axum::body::Bytes;
use chrono::Utc;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::TryStreamExt;
use object_store::path::Path;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{Postgres, Transaction};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::archive::{self, CHUNK};
use super::tables::{self, TableData};
use super::{FAULTY, FORMAT, MANIFEST, MEDIA, Manifest};
use crate::app::App;
use crate::audit::{self, Actor};
use crate::error::{Code, Error, Result};
use crate::images::{self, Original};
use crate::jobs;
use crate::types::ids::ImageId;

/// Chunks of the file that wait to be taken.
const WAITING_CHUNKS: usize = 4;

/// What a finished backup has in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub size_bytes: u64,
    pub images: u64,
    /// Images that are in the database and not, or damaged, in the media store.
    pub faulty: Vec<ImageId>,
}

/// A backup in progress. It ends when nobody takes its bytes any more.
pub struct Backup {
    /// Name for the file.
    pub name: String,
    chunks: mpsc::Receiver<Bytes>,
    task: JoinHandle<Result<Summary>>,
}

/// Begins a backup: takes the snapshot, and writes the audit entry. The rest happens while the bytes are taken.
///
/// # Errors
/// 409 `backup_running` while another one reads the tables.
pub async fn begin(app: &App, actor: &Actor) -> Result<Backup> {
    let mut tx = app.db.begin().await?;
    // Or the daily sweep could delete an image that the snapshot shows, before it is read.
    images::protect(&mut tx).await?;
    audit::record(
        &mut tx,
        actor,
        "backup.create",
        "shop",
        Value::Null,
        json!({}),
    )
    .await?;
    tx.commit().await?;
    let begin = "begin isolation level repeatable read read only";
    let mut snapshot = app.db.begin_with(begin).await?;
    tables::prepare(&mut snapshot).await?;
    let is_alone: bool =
        sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtext('spirit-beads backup'))")
            .fetch_one(&mut *snapshot)
            .await?;
    if !is_alone {
        return Err(Error::Conflict(
            Code::BackupRunning,
            "A backup is being made. Try again in a minute.".to_owned(),
        ));
    }
    let (sender, chunks) = mpsc::channel(WAITING_CHUNKS);
    let made_at = Utc::now();
    let app = app.clone();
    let task = tokio::spawn(async move {
        let mut out = Out {
            chunks: sender,
            digest: Sha256::new(),
            size_bytes: 0,
        };
        let written = write(&app, snapshot, &mut out).await;
        if let Err(error) = &written {
            app.note_failure(error);
        }
        written
    });
    Ok(Backup {
        name: format!("spirit-beads-{}.tar", made_at.format("%Y-%m-%d-%H%M%S")),
        chunks,
        task,
    })
}

impl Backup {
    /// Returns the next bytes; `None` at the end, whether the file is whole or not: [`Backup::finish`] says.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.chunks.recv().await
    }

    /// Records the backup, once its bytes are safe.
    ///
    /// # Errors
    /// Whatever ended it early. Its bytes are no backup then.
    pub async fn finish(self, app: &App) -> Result<Summary> {
        drop(self.chunks);
        let summary = self.task.await.map_err(anyhow::Error::from)??;
        sqlx::query("insert into backups (size_bytes, images, faulty_images) values ($1, $2, $3)")
            .bind(summary.size_bytes as i64)
            .bind(summary.images as i64)
            .bind(summary.faulty.len() as i64)
            .execute(&app.db)
            .await?;
        Ok(summary)
    }
}

/// The file as it is written.
struct Out {
    chunks: mpsc::Sender<Bytes>,
    digest: Sha256,
    size_bytes: u64,
}

impl Out {
    async fn send(&mut self, bytes: impl Into<Bytes>) -> Result<()> {
        let bytes = bytes.into();
        self.digest.update(&bytes);
        self.size_bytes += bytes.len() as u64;
        let sent = self.chunks.send(bytes).await;
        sent.map_err(|_| anyhow::anyhow!("nobody takes the backup any more").into())
    }

    /// Begins an entry. As many bytes follow, and then their padding.
    async fn begin_entry(&mut self, path: &str, size_bytes: u64) -> Result<()> {
        let head = archive::head(path, size_bytes).map_err(anyhow::Error::from)?;
        self.send(head).await
    }

    async fn end_entry(&mut self, size_bytes: u64) -> Result<()> {
        self.send(archive::padding(size_bytes)).await
    }

    async fn json(&mut self, path: &str, content: &impl serde::Serialize) -> Result<()> {
        let text = serde_json::to_vec(content).map_err(anyhow::Error::from)?;
        let size_bytes = text.len() as u64;
        self.begin_entry(path, size_bytes).await?;
        self.send(text).await?;
        self.end_entry(size_bytes).await
    }
}

/// Writes the whole file.
async fn write(
    app: &App,
    mut snapshot: Transaction<'static, Postgres>,
    out: &mut Out,
) -> Result<Summary> {
    // Tables go to a file of ours first, because a slow download must not hold the snapshot open, and because their
    // sizes precede them.
    let mut spool = File::from_std(app.storage.temporary_file()?);
    let mut tables = tables::list(&mut snapshot).await?;
    for table in &mut tables {
        copy_out(&mut snapshot, table, &mut spool).await?;
    }
    let manifest = Manifest {
        format: FORMAT,
        made_at: Utc::now(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        schema: tables::migrations(&mut snapshot).await?,
        sequences: tables::sequences(&mut snapshot).await?,
        jobs: jobs::saved(&mut snapshot).await?,
        tables,
    };
    let originals = images::originals(&mut snapshot).await?;
    snapshot.rollback().await?;

    out.json(MANIFEST, &manifest).await?;
    spool.rewind().await.map_err(anyhow::Error::from)?;
    for table in &manifest.tables {
        out.begin_entry(&table.path(), table.size_bytes).await?;
        send_spooled(&mut spool, table.size_bytes, out).await?;
        out.end_entry(table.size_bytes).await?;
    }
    let mut images = 0;
    let mut faulty = Vec::new();
    for original in originals {
        match send_object(app, &original.path, out).await? {
            Some(digest) => {
                images += 1;
                // An image is named by its content.
                if digest != original.id.0 {
                    faulty.push(original.id);
                }
            }
            None if still_exists(app, &original).await? => faulty.push(original.id),
            None => {}
        }
    }
    for path in app.storage.objects.foreign_paths().await? {
        send_object(app, &path, out).await?;
    }
    out.json(FAULTY, &faulty).await?;
    let end = archive::end(out.digest.clone()).map_err(anyhow::Error::from)?;
    out.send(end).await?;
    Ok(Summary {
        size_bytes: out.size_bytes,
        images,
        faulty,
    })
}

/// Copies the rows of a table into a file, compressed.
async fn copy_out(
    snapshot: &mut Transaction<'static, Postgres>,
    table: &mut TableData,
    spool: &mut File,
) -> Result<()> {
    let sql = format!("copy {} to stdout", table.target());
    let mut rows = snapshot.copy_out_raw(&sql).await?;
    let mut compressed = GzEncoder::new(Vec::new(), Compression::fast());
    while let Some(part) = rows.try_next().await? {
        // A line break in a value is written as `\n`.
        table.rows += memchr::memchr_iter(b'\n', &part).count() as u64;
        compressed.write_all(&part).map_err(anyhow::Error::from)?;
        if compressed.get_ref().len() >= CHUNK {
            let ready = std::mem::take(compressed.get_mut());
            table.size_bytes += ready.len() as u64;
            spool.write_all(&ready).await.map_err(anyhow::Error::from)?;
        }
    }
    let rest = compressed.finish().map_err(anyhow::Error::from)?;
    table.size_bytes += rest.len() as u64;
    spool.write_all(&rest).await.map_err(anyhow::Error::from)?;
    spool.flush().await.map_err(anyhow::Error::from)?;
    Ok(())
}

async fn send_spooled(spool: &mut File, size_bytes: u64, out: &mut Out) -> Result<()> {
    let mut left = size_bytes;
    while left > 0 {
        let mut chunk = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
        spool
            .read_exact(&mut chunk)
            .await
            .map_err(anyhow::Error::from)?;
        left -= chunk.len() as u64;
        out.send(chunk).await?;
    }
    Ok(())
}

/// Sends an object of the media store, and returns its SHA-256; `None` for one that is not there.
async fn send_object(app: &App, path: &Path, out: &mut Out) -> Result<Option<String>> {
    let Some(object) = app.storage.objects.get(path, None).await? else {
        return Ok(None);
    };
    let size_bytes = object.meta.size;
    out.begin_entry(&format!("{MEDIA}/{path}"), size_bytes)
        .await?;
    let mut digest = Sha256::new();
    let mut sent = 0;
    let mut content = object.into_stream();
    while let Some(chunk) = content
        .try_next()
        .await
        .map_err(|error| crate::storage::unavailable(error, "reading an image"))?
    {
        digest.update(&chunk);
        sent += chunk.len() as u64;
        out.send(chunk).await?;
    }
    if sent != size_bytes {
        return Err(anyhow::anyhow!("{path} has {sent} bytes instead of {size_bytes}").into());
    }
    out.end_entry(size_bytes).await?;
    Ok(Some(hex::encode(digest.finalize())))
}

/// Reports whether an image without a file is in the database still. Otherwise it was deleted since the snapshot, where
/// nothing used it.
async fn still_exists(app: &App, original: &Original) -> Result<bool> {
    let known = images::find(
        &mut *app.db.acquire().await?,
        std::slice::from_ref(&original.id),
    )
    .await?;
    Ok(!known.is_empty())
}
