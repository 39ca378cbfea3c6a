//! Zip files with images, as they are received.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use zip::ZipArchive;

use super::{ReceivedFile, Refusal};
use crate::error::Result;
use crate::storage::Storage;

/// Maximum number of entries. The table of contents is held in memory.
const MAX_ENTRIES: u16 = 2_000;

/// Bytes at the end of a file in which its last record is searched: the record, and the longest comment.
const TAIL: u64 = 22 + 65_535;

/// Beginning of the last record of a zip file, which has the number of entries.
///
/// Source: APPNOTE.TXT, section 4.3.16
const LAST_RECORD: [u8; 4] = *b"PK\x05\x06";

/// Files that systems add to folders, in lower case.
const LITTER: [&str; 2] = ["thumbs.db", "desktop.ini"];

/// Returns true for the name of a hidden file, or of one that a system adds to folders: nobody's photograph.
pub fn is_litter(file_name: &str) -> bool {
    file_name.starts_with('.') || LITTER.contains(&file_name.to_lowercase().as_str())
}

/// A zip file, read entry by entry.
pub struct Archive {
    zip: Option<ZipArchive<File>>,
    next: usize,
}

impl Archive {
    /// Reads the table of contents. `None`: this is no zip file, or it has too many entries.
    ///
    /// # Errors
    /// When a thread fails.
    pub async fn open(file: File) -> Result<Option<Archive>> {
        let opening = tokio::task::spawn_blocking(move || {
            let mut file = file;
            let entries = count_entries(&mut file).ok().flatten()?;
            (entries <= MAX_ENTRIES)
                .then(|| ZipArchive::new(file).ok())
                .flatten()
        });
        let zip = opening.await.map_err(anyhow::Error::from)?;
        Ok(zip.map(|zip| Archive {
            zip: Some(zip),
            next: 0,
        }))
    }

    /// Reads the next image, by the path that the file has for it. Folders and hidden entries are passed over.
    ///
    /// # Errors
    /// 503 `media_unavailable` when it cannot be written.
    pub async fn next(&mut self, storage: &Storage) -> Result<Option<(String, ReceivedFile)>> {
        let most = storage.limits().file_bytes;
        loop {
            let Some(mut zip) = self.zip.take().filter(|zip| self.next < zip.len()) else {
                return Ok(None);
            };
            let index = self.next;
            self.next += 1;
            let reading = tokio::task::spawn_blocking(move || {
                let entry = read(&mut zip, index, most);
                (zip, entry)
            });
            let (zip, entry) = reading.await.map_err(anyhow::Error::from)?;
            self.zip = Some(zip);
            match entry {
                None => {}
                Some((name, Ok(content))) => {
                    let file = ReceivedFile::from_bytes(storage, &content).await?;
                    return Ok(Some((name, file)));
                }
                Some((name, Err(refusal))) => {
                    return Ok(Some((name, ReceivedFile::Refused(refusal))));
                }
            }
        }
    }
}

/// Number of entries that the last record tells. `None` without such a record.
fn count_entries(file: &mut File) -> std::io::Result<Option<u16>> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    file.seek(SeekFrom::Start(0))?;
    let record = tail
        .windows(LAST_RECORD.len())
        .rposition(|bytes| bytes == LAST_RECORD);
    Ok(record.and_then(|at| {
        let count = tail.get(at + 10..at + 12)?;
        Some(u16::from_le_bytes([count[0], count[1]]))
    }))
}

/// Reads an entry, up to one byte more than an image may have. `None` for one that is no photograph.
fn read(
    zip: &mut ZipArchive<File>,
    index: usize,
    most: u64,
) -> Option<(String, std::result::Result<Vec<u8>, Refusal>)> {
    let name = match zip.name_for_index(index) {
        Some(Ok(name)) => name.replace('\\', "/"),
        // In an encoding that says nothing.
        _ => format!("photograph {}", index + 1),
    };
    let Ok(mut entry) = zip.by_index(index) else {
        // Encrypted, or compressed in a way that hardly any program uses.
        return Some((name, Err(Refusal::Damaged)));
    };
    let file_name = name.rsplit('/').next().unwrap_or_default();
    if entry.is_dir() || name.starts_with("__MACOSX/") || is_litter(file_name) {
        return None;
    }
    let mut content = Vec::new();
    let read = entry.by_ref().take(most + 1).read_to_end(&mut content);
    Some((name, read.map(|_| content).map_err(|_| Refusal::Damaged)))
}
