//! Uploads: streaming multipart forms whose files are written to disk as they arrive. Memory does not grow with the
//! body.

use std::io::{Read, Seek, SeekFrom};

use axum::extract::Request;
use axum::http::header;
use multer::Multipart;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::intake::{self, HEAD_BYTES};
use super::refusal::Refusal;
use crate::config::MediaLimits;
use crate::error::{Code, Error, FieldError, Result};
use crate::http::{arriving, too_large};
use crate::storage::{Storage, unavailable};

/// Size limit of a form besides its files, in bytes: texts, field names, boundaries.
const MARGIN: u64 = 1024 * 1024;

/// Buffer for writes to disk, in bytes.
const BUFFER: usize = 128 * 1024;

/// Longest file name in a message, in characters.
const LONGEST_NAME: usize = 40;

/// A received form.
#[derive(Debug, Default)]
pub struct UploadedForm {
    /// Text fields, in order.
    pub fields: Vec<(String, String)>,
    /// Files of the requested fields, in order and up to the allowed number.
    pub files: Vec<ReceivedFile>,
    /// Names of `files` on the sender's machine, in the same order, for messages.
    pub file_names: Vec<String>,
    /// Fields of `files`, in the same order.
    pub file_fields: Vec<String>,
    /// Number of files in those fields beyond the limit.
    pub surplus: usize,
    /// Zip files of those fields, where the form takes them.
    pub archives: Vec<std::fs::File>,
}

/// Limits of a form with files.
#[derive(Clone, Copy, Debug)]
pub struct FormLimits {
    /// Number of files.
    pub files: usize,
    /// Each file, in bytes.
    pub file_bytes: u64,
    /// All files together, in bytes.
    pub bytes: u64,
    /// A file named `.zip` is taken as it is.
    pub takes_archives: bool,
}

impl UploadedForm {
    /// Value of a text field; the last of several with one name wins.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter().rev();
        fields
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A file as received, judged by its size and its head.
#[derive(Debug)]
pub enum ReceivedFile {
    Upload(Upload),
    Refused(Refusal),
}

impl ReceivedFile {
    /// Receives a file from bytes, for an image that is ours or comes from a catalog file.
    ///
    /// # Errors
    /// 503 `media_unavailable` when it cannot be written.
    pub async fn from_bytes(storage: &Storage, bytes: &[u8]) -> Result<ReceivedFile> {
        let mut incoming = Incoming::begin(storage)?;
        incoming.take(bytes).await?;
        incoming.end().await
    }
}

/// A file that may be an image: within the size limit, with the head of an image. It is an unnamed file, deleted when
/// dropped.
#[derive(Debug)]
pub struct Upload {
    file: std::fs::File,
    size_bytes: usize,
}

impl Upload {
    pub(super) async fn into_bytes(mut self) -> Result<Vec<u8>> {
        // Allocated here, because each of the many blocking threads would retain some megabytes.
        let mut bytes = Vec::with_capacity(self.size_bytes);
        let reading = tokio::task::spawn_blocking(move || {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        });
        let bytes = reading.await.map_err(anyhow::Error::from)?;
        bytes.map_err(|error| unavailable(error, "reading an upload"))
    }
}

/// An upload in progress.
pub struct Incoming {
    file: BufWriter<tokio::fs::File>,
    head: Vec<u8>,
    size: u64,
    most: u64,
}

impl Incoming {
    /// Begins an empty upload.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin(storage: &Storage) -> Result<Incoming> {
        Incoming::begin_within(storage, storage.limits().file_bytes)
    }

    /// As [`Incoming::begin`], for a file of at most this many bytes.
    fn begin_within(storage: &Storage, most: u64) -> Result<Incoming> {
        let file = tokio::fs::File::from_std(storage.temporary_file()?);
        Ok(Incoming {
            file: BufWriter::with_capacity(BUFFER, file),
            head: Vec::new(),
            size: 0,
            most,
        })
    }

    /// Writes the next part. Once a file is too large, or not an image, nothing more is written.
    pub async fn take(&mut self, part: &[u8]) -> Result<()> {
        let missing = HEAD_BYTES.saturating_sub(self.head.len()).min(part.len());
        self.head.extend_from_slice(&part[..missing]);
        self.size += part.len() as u64;
        let is_hopeless = self.size > self.most
            || (self.head.len() == HEAD_BYTES && intake::sniff(&self.head).is_err());
        if is_hopeless {
            return Ok(());
        }
        let written = self.file.write_all(part).await;
        written.map_err(|error| unavailable(error, "writing an upload"))
    }

    /// Returns the file, or the reason for its rejection.
    pub async fn end(mut self) -> Result<ReceivedFile> {
        if self.size > self.most {
            return Ok(ReceivedFile::Refused(Refusal::TooLarge));
        }
        if let Err(refusal) = intake::sniff(&self.head) {
            return Ok(ReceivedFile::Refused(refusal));
        }
        let flushed = self.file.flush().await;
        flushed.map_err(|error| unavailable(error, "writing an upload"))?;
        let file = self.file.into_inner().into_std().await;
        Ok(ReceivedFile::Upload(Upload {
            file,
            size_bytes: self.size as usize,
        }))
    }
}

/// Reads a form: all texts, and the files of one field. Other files are ignored.
///
/// # Errors
/// 415 for other media types, 400 `parse_error` for a malformed form, 413 over the limit of all files together, 408
/// when the body stops arriving, 503 `media_unavailable` when a file cannot be written.
pub async fn read_form(
    storage: &Storage,
    request: Request,
    files_field: &str,
) -> Result<UploadedForm> {
    let MediaLimits {
        file_bytes, files, ..
    } = storage.limits();
    let limits = FormLimits {
        files,
        file_bytes,
        bytes: file_bytes * files as u64,
        takes_archives: false,
    };
    read_form_within(storage, request, &[files_field], limits).await
}

/// As [`read_form`], with files in several fields, and with other limits than those of visitors.
///
/// # Errors
/// As [`read_form`].
pub async fn read_form_within(
    storage: &Storage,
    request: Request,
    files_fields: &[&str],
    limits: FormLimits,
) -> Result<UploadedForm> {
    let boundary = boundary(&request)?;
    let most = limits.bytes + MARGIN;
    let mut multipart = Multipart::new(arriving(request, most), boundary);
    let mut form = UploadedForm::default();
    let mut room = MARGIN as usize;
    let is_wanted = |name: &str| files_fields.contains(&name);
    // Reads to the end even after a rejected file, so that the caller can check the texts first.
    while let Some(mut field) = multipart.next_field().await.map_err(malformed)? {
        let name = field.name().unwrap_or_default().to_owned();
        // A part with a file name is a file. Browsers send an empty name when none was chosen.
        let file_name = field.file_name().map(str::to_owned);
        spend(&mut room, name.len() + 64)?;
        match file_name.as_deref() {
            None => {
                let mut text = Vec::new();
                while let Some(part) = field.chunk().await.map_err(malformed)? {
                    spend(&mut room, part.len())?;
                    text.extend_from_slice(&part);
                }
                let text = String::from_utf8(text)
                    .map_err(|_| Error::Invalid(vec![FieldError::new(&name, "Must be UTF-8.")]))?;
                form.fields.push((name, text));
            }
            Some(file_name) if is_wanted(&name) && limits.takes_archives && is_zip(file_name) => {
                let mut file = tokio::fs::File::from_std(storage.temporary_file()?);
                while let Some(part) = field.chunk().await.map_err(malformed)? {
                    let written = file.write_all(&part).await;
                    written.map_err(|error| unavailable(error, "writing an upload"))?;
                }
                let flushed = file.flush().await;
                flushed.map_err(|error| unavailable(error, "writing an upload"))?;
                form.archives.push(file.into_std().await);
            }
            Some(file_name) if is_wanted(&name) && !file_name.is_empty() => {
                // Files over the limit are counted and not written to the disk.
                let mut incoming = match form.files.len() < limits.files {
                    true => Some(Incoming::begin_within(storage, limits.file_bytes)?),
                    false => None,
                };
                while let Some(part) = field.chunk().await.map_err(malformed)? {
                    if let Some(incoming) = &mut incoming {
                        incoming.take(&part).await?;
                    }
                }
                match incoming {
                    Some(incoming) => {
                        form.files.push(incoming.end().await?);
                        form.file_names.push(shortened(file_name));
                        form.file_fields.push(name);
                    }
                    None => form.surplus += 1,
                }
            }
            // An ignored file is read to its end, where the next field begins.
            Some(_) => while field.chunk().await.map_err(malformed)?.is_some() {},
        }
    }
    Ok(form)
}

fn is_zip(file_name: &str) -> bool {
    file_name.to_ascii_lowercase().ends_with(".zip")
}

/// Cuts a file name to a length that fits into a message, and keeps its ending.
fn shortened(file_name: &str) -> String {
    let name: Vec<char> = file_name.chars().filter(|c| !c.is_control()).collect();
    if name.len() <= LONGEST_NAME {
        return name.into_iter().collect();
    }
    let part = LONGEST_NAME / 2;
    let (start, end) = (&name[..part], &name[name.len() - part..]);
    start.iter().chain(&['…']).chain(end).collect()
}

fn boundary(request: &Request) -> Result<String> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("multipart/form-data") {
        return Err(Error::refused(
            Code::UnsupportedMediaType,
            format!("Unsupported media type \"{kind}\" in request."),
        ));
    }
    multer::parse_boundary(&kind).map_err(malformed)
}

fn spend(room: &mut usize, bytes: usize) -> Result<()> {
    *room = room.checked_sub(bytes).ok_or_else(too_large)?;
    Ok(())
}

/// Unwraps our own errors from the parser; its own errors are worded as in the old service.
fn malformed(error: multer::Error) -> Error {
    let sentence = format!("Multipart form parse error - {error}");
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => anyhow::anyhow!(other).context("reading a form").into(),
        },
        _ => Error::refused(Code::ParseError, sentence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_name_keeps_its_start_and_its_ending() {
        assert_eq!(shortened("raven\u{0}.jpg"), "raven.jpg");
        let long = format!("raven {}.jpg", "é".repeat(300));
        let expected = format!("raven {}…{}.jpg", "é".repeat(14), "é".repeat(16));
        assert_eq!(shortened(&long), expected);
    }
}
