//! Backup and restore.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::app::App;
use crate::audit::Actor;
use crate::config::Config;
use crate::server::startup::{self, Shop};
use crate::system::backup::{self, Summary};

/// Runs the command `backup`.
pub(super) async fn backup(config: Config, file: &Path) -> anyhow::Result<()> {
    ensure!(!file.exists(), "{} exists already", file.display());
    let shop = Shop::open(config).await?;
    let written = write(&shop.app, file).await;
    shop.close().await?;
    let summary = written?;
    println!(
        "{} has the database and {} images: {} MB.",
        file.display(),
        summary.images,
        summary.size_bytes.div_ceil(1_000_000)
    );
    if !summary.faulty.is_empty() {
        let ids: Vec<&str> = summary.faulty.iter().map(|id| id.0.as_str()).collect();
        eprintln!(
            "warning: these images are missing or damaged in the media store: {}",
            ids.join(", ")
        );
    }
    Ok(())
}

/// Writes a backup beside the file, and renames it once it is whole and on the disk.
async fn write(app: &App, file: &Path) -> anyhow::Result<Summary> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = async {
        // It has customers' data: for this user alone.
        let made = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial);
        let made = made.with_context(|| format!("writing {}", partial.display()))?;
        let mut out = File::from_std(made);
        let mut backup = backup::begin(app, &Actor::console()).await?;
        while let Some(chunk) = backup.next().await {
            out.write_all(&chunk)
                .await
                .with_context(|| format!("writing {}", partial.display()))?;
        }
        out.sync_all().await?;
        let summary = backup.finish(app).await?;
        tokio::fs::rename(&partial, file).await?;
        Ok(summary)
    };
    let written = written.await;
    if written.is_err() {
        // It may not exist.
        let _ = tokio::fs::remove_file(&partial).await;
    }
    written
}

/// Runs the command `restore`.
pub(super) async fn restore(config: Config, file: &Path) -> anyhow::Result<()> {
    let restored = startup::restore(config, file).await?;
    println!(
        "The shop of {} is restored: {} rows and {} images.",
        restored.made_at.format("%Y-%m-%d %H:%M UTC"),
        restored.rows,
        restored.images
    );
    if restored.missing_images > 0 {
        println!(
            "{} images were missing when the backup was made.",
            restored.missing_images
        );
    }
    println!(
        "Before it opens, run `spirit-beads stripe reconcile` until it says \"0 processed, 0 failed\", and `spirit-beads \
         stock check`."
    );
    Ok(())
}
