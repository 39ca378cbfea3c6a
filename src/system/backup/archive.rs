//! The file: its entries, its digest, and how a damaged one is told.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use super::{DIGEST, FORMAT, MANIFEST, Manifest};
use crate::db;

/// Size of a block of a tar archive.
const BLOCK: u64 = 512;

/// Bytes read or written at once.
pub(super) const CHUNK: usize = 256 * 1024;

/// Limit of a manifest, which is read whole.
const MANIFEST_LIMIT: u64 = 256 * 1024 * 1024;

/// Returns the header of an entry. A long path has an entry of its own in it.
pub(super) fn head(path: &str, size_bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o600);
    header.set_mtime(0);
    header.set_size(size_bytes);
    let mut builder = tar::Builder::new(Vec::new());
    // The content follows from elsewhere; the builder pads what it copied, which is nothing.
    builder.append_data(&mut header, path, std::io::empty())?;
    Ok(std::mem::take(builder.get_mut()))
}

/// Returns the bytes that fill the last block of an entry.
pub(super) fn padding(size_bytes: u64) -> Vec<u8> {
    let over = size_bytes % BLOCK;
    vec![0; ((BLOCK - over) % BLOCK) as usize]
}

/// Returns the end of a file whose other bytes have this digest.
pub(super) fn end(digest: Sha256) -> std::io::Result<Vec<u8>> {
    let text = hex::encode(digest.finalize());
    let mut end = head(DIGEST, text.len() as u64)?;
    end.extend(text.as_bytes());
    end.extend(padding(text.len() as u64));
    // Two empty blocks end a tar archive.
    end.extend([0; 2 * BLOCK as usize]);
    Ok(end)
}

/// A backup that was read to its end and is whole.
pub struct BackupFile {
    file: File,
    pub(super) manifest: Manifest,
}

impl BackupFile {
    /// Opens a file, and reads all of it: whatever is wrong with it is told before anything is changed.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn open(path: &Path) -> anyhow::Result<BackupFile> {
        let shown = path.display();
        let mut file = File::open(path).with_context(|| format!("opening {shown}"))?;
        let size_bytes = file.metadata()?.len();
        let manifest = read_manifest(&mut file)
            .with_context(|| format!("{shown} is no backup of Spirit Beads"))?;
        let is_whole = is_whole(&mut file, size_bytes);
        ensure!(
            is_whole.with_context(|| format!("reading {shown}"))?,
            "{shown} is cut off or damaged (its checksum is wrong): nothing was restored. Take another backup"
        );
        let manifest: Manifest = serde_json::from_slice(&manifest)
            .with_context(|| format!("{shown} has a list of contents that cannot be read"))?;
        let backup = BackupFile { file, manifest };
        backup
            .check_versions()
            .with_context(|| format!("{shown} cannot be restored"))?;
        Ok(backup)
    }

    /// Version of the database's schema: its latest migration.
    pub(super) fn schema_version(&self) -> i64 {
        let versions = self.manifest.schema.iter().map(|one| one.version);
        versions.max().unwrap_or_default()
    }

    /// Checks that this program knows the layout of the file and every migration of its database.
    fn check_versions(&self) -> anyhow::Result<()> {
        let manifest = &self.manifest;
        let known = |version: i64| db::MIGRATOR.iter().find(|known| known.version == version);
        let is_newer = manifest.format > FORMAT
            || manifest
                .schema
                .iter()
                .any(|one| known(one.version).is_none());
        if is_newer {
            bail!(
                "a newer version of the program made it ({}, schema {}), and this one is {}: use that version or a \
                 later one",
                manifest.program,
                self.schema_version(),
                env!("CARGO_PKG_VERSION")
            );
        }
        ensure!(
            !manifest.schema.is_empty()
                && manifest.schema.iter().all(|one| known(one.version)
                    .is_some_and(|known| hex::encode(&known.checksum) == one.checksum)),
            "an unreleased development version made it: use the build that made it"
        );
        Ok(())
    }

    /// Calls back for each entry from the start. The entry's content need not be read.
    pub(super) fn entries(&self) -> anyhow::Result<tar::Archive<BufReader<File>>> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(tar::Archive::new(BufReader::with_capacity(CHUNK, file)))
    }
}

/// Reads the first entry, which is the manifest.
fn read_manifest(file: &mut File) -> anyhow::Result<Vec<u8>> {
    let mut archive = tar::Archive::new(&mut *file);
    let first = archive.entries()?.next().context("it is empty")??;
    ensure!(
        first.path()?.to_str() == Some(MANIFEST) && first.size() <= MANIFEST_LIMIT,
        "it does not begin with {MANIFEST}"
    );
    let mut text = Vec::new();
    first.take(MANIFEST_LIMIT).read_to_end(&mut text)?;
    Ok(text)
}

/// Compares the end of a file with the digest of what precedes. Every byte counts.
fn is_whole(file: &mut File, size_bytes: u64) -> anyhow::Result<bool> {
    let end_size = end(Sha256::new())?.len() as u64;
    let Some(content_size) = size_bytes.checked_sub(end_size) else {
        return Ok(false);
    };
    file.seek(SeekFrom::Start(0))?;
    let mut digest = Sha256::new();
    let mut content = Read::take(&mut *file, content_size);
    let mut buffer = vec![0; CHUNK];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            read => digest.update(&buffer[..read]),
        }
    }
    let mut found = Vec::new();
    file.read_to_end(&mut found)?;
    Ok(found == end(digest)?)
}
