//! Backup and restore: the whole shop in one file, with its database and its images.
//!
//! The file is a tar archive. `spirit-beads.json` comes first and says what is in it ([`Manifest`]); then one entry for
//! each table, as `copy` writes it; the originals of the images, under their paths in the media store; and at the very
//! end the SHA-256 of all that precedes. Tables are of one snapshot, so sales go on meanwhile. Renditions and the
//! schema are not in the file: they are made again.
//!
//! `copy` instead of `pg_dump`: it needs no programs of the server's version, works through poolers and in the Docker
//! image, and the schema comes from the migrations anyway, which bring an older file up to date.

mod archive;
mod restore;
mod routes;
mod tables;
mod write;

pub use archive::BackupFile;
pub use restore::Restored;
pub use routes::{download, router};
pub use write::{Backup, Summary, begin};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::error::Result;
use crate::jobs::SavedJob;
use tables::{Sequence, TableData};

/// Version of the file's layout.
const FORMAT: u32 = 1;

/// First entry of a file.
const MANIFEST: &str = "spirit-beads.json";

/// Folder of the tables in a file.
const TABLES: &str = "database";

/// Folder of the media store in a file.
const MEDIA: &str = "media";

/// Entry with the ids of the images that are missing or damaged in the media store.
const FAULTY: &str = "faulty-images.json";

/// Last entry: the SHA-256 of all that precedes.
const DIGEST: &str = "sha256";

/// Contents of a file, apart from its images.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    made_at: DateTime<Utc>,
    /// Version of the program.
    program: String,
    /// Migrations of the database.
    schema: Vec<Migration>,
    tables: Vec<TableData>,
    sequences: Vec<Sequence>,
    /// Jobs that were waiting, running or failed.
    jobs: Vec<SavedJob>,
}

/// An applied migration.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
struct Migration {
    version: i64,
    /// Hash of its SQL, in hexadecimal.
    checksum: String,
}

/// The latest backup.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct LastBackup {
    pub finished_at: DateTime<Utc>,
    pub size_bytes: i64,
    pub images: i32,
    /// Images that are in the database and not, or damaged, in the media store.
    pub faulty_images: i32,
}

impl LastBackup {
    /// Age in words: `3 hours`.
    pub fn age(&self) -> String {
        in_words(Utc::now() - self.finished_at)
    }

    /// Size in words: `12 MB`.
    pub fn size(&self) -> String {
        format!("{} MB", self.size_bytes.unsigned_abs().div_ceil(1_000_000))
    }
}

/// The largest unit of a span that has more than one of it.
fn in_words(span: TimeDelta) -> String {
    let (days, hours, minutes) = (span.num_days(), span.num_hours(), span.num_minutes());
    match (days, hours, minutes) {
        (2.., ..) => format!("{days} days"),
        (_, 2.., _) => format!("{hours} hours"),
        (.., 2..) => format!("{minutes} minutes"),
        _ => "a minute".to_owned(),
    }
}

/// Returns the latest finished backup, by command or as a download.
///
/// # Errors
/// Database errors only.
pub async fn last(conn: &mut PgConnection) -> Result<Option<LastBackup>> {
    let last = sqlx::query_as(
        "select finished_at, size_bytes, images, faulty_images
         from backups
         order by finished_at desc
         limit 1",
    )
    .fetch_optional(conn)
    .await?;
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        for (minutes, words) in [
            (0, "a minute"),
            (119, "119 minutes"),
            (120, "2 hours"),
            (47 * 60, "47 hours"),
            (48 * 60, "2 days"),
        ] {
            assert_eq!(in_words(TimeDelta::minutes(minutes)), words);
        }
    }
}
