//! Uploads: a form read while it streams, its files written to disk as they arrive. What lies in memory does not grow
//! with what is sent.

use std::io::{Read, Seek, SeekFrom};

use axum::extract::Request;
use axum::http::{StatusCode, header};
use multer::Multipart;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::Media;
use super::intake::{self, HEAD_BYTES, Refusal};
use super::objects::unavailable;
use crate::error::{Error, FieldError, Result};
use crate::extract::{arriving, too_large};

/// What a form may have besides its files, in bytes: texts, the names of fields, boundaries.
const MARGIN: u64 = 1024 * 1024;

/// What is written to disk at a time, in bytes.
const BUFFER: usize = 128 * 1024;

/// A form as it arrived.
#[derive(Debug, Default)]
pub struct Form {
    /// The texts, in their order.
    pub fields: Vec<(String, String)>,
    /// The files of the field asked for, in their order, up to as many as are allowed; or why one cannot be an image.
    pub files: Vec<Result<Upload, Refusal>>,
    /// How many files of that field came on top.
    pub surplus: usize,
}

impl Form {
    /// The value of a text field; of several with one name the last counts.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter().rev();
        fields
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A file that may be an image: it is not too large, and begins like one. It lies on disk without a name, and is gone
/// when this is.
#[derive(Debug)]
pub struct Upload {
    file: std::fs::File,
    size_bytes: usize,
}

impl Upload {
    /// An image that did not come as a file: one of ours, or one in a `data:` address.
    ///
    /// # Errors
    /// 503 `media_unavailable` when it cannot be written.
    pub async fn from_bytes(media: &Media, bytes: &[u8]) -> Result<Result<Upload, Refusal>> {
        let mut incoming = Incoming::begin(media)?;
        incoming.take(bytes).await?;
        incoming.end().await
    }

    pub(super) async fn into_bytes(mut self) -> Result<Vec<u8>> {
        // Allocated here: each of the many blocking threads would keep some megabytes for itself.
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

/// An upload that is arriving.
pub struct Incoming {
    file: BufWriter<tokio::fs::File>,
    head: Vec<u8>,
    size: u64,
    most: u64,
}

impl Incoming {
    /// An empty one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin(media: &Media) -> Result<Incoming> {
        let file = tokio::fs::File::from_std(media.temporary_file()?);
        Ok(Incoming {
            file: BufWriter::with_capacity(BUFFER, file),
            head: Vec::new(),
            size: 0,
            most: media.limits.file_bytes,
        })
    }

    /// Takes the next part. Of a file that is too large, or is no image, nothing more is written.
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

    /// The file, or why it is none of ours.
    pub async fn end(mut self) -> Result<Result<Upload, Refusal>> {
        if self.size > self.most {
            return Ok(Err(Refusal::TooLarge));
        }
        if let Err(refusal) = intake::sniff(&self.head) {
            return Ok(Err(refusal));
        }
        let flushed = self.file.flush().await;
        flushed.map_err(|error| unavailable(error, "writing an upload"))?;
        let file = self.file.into_inner().into_std().await;
        Ok(Ok(Upload {
            file,
            size_bytes: self.size as usize,
        }))
    }
}

/// Reads a form: every text, and the files of one field. Other files are ignored. It is read to its end whatever is
/// wrong with its files, so that the caller can judge the texts first.
///
/// # Errors
/// 415 for what is no such form, 400 `parse_error` for a malformed one, 413 over the limit of all files together, 408
/// when nothing arrives for a while, 503 `media_unavailable` when a file cannot be written.
pub async fn read_form(media: &Media, request: Request, files_field: &str) -> Result<Form> {
    let boundary = boundary(&request)?;
    let limits = media.limits;
    let most = limits.file_bytes * limits.files as u64 + MARGIN;
    let mut multipart = Multipart::new(arriving(request, most), boundary);
    let mut form = Form::default();
    let mut room = MARGIN as usize;
    while let Some(mut field) = multipart.next_field().await.map_err(malformed)? {
        let name = field.name().unwrap_or_default().to_owned();
        // What has a file name is a file. Browsers send an empty one where none was chosen.
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
            Some(file_name) if name == files_field && !file_name.is_empty() => {
                let mut incoming = match form.files.len() < limits.files {
                    true => Some(Incoming::begin(media)?),
                    false => None,
                };
                while let Some(part) = field.chunk().await.map_err(malformed)? {
                    if let Some(incoming) = &mut incoming {
                        incoming.take(&part).await?;
                    }
                }
                match incoming {
                    Some(incoming) => form.files.push(incoming.end().await?),
                    None => form.surplus += 1,
                }
            }
            Some(_) => while field.chunk().await.map_err(malformed)?.is_some() {},
        }
    }
    Ok(form)
}

fn boundary(request: &Request) -> Result<String> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("multipart/form-data") {
        return Err(Error::Refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("Unsupported media type \"{kind}\" in request."),
        ));
    }
    multer::parse_boundary(&kind).map_err(malformed)
}

fn spend(room: &mut usize, bytes: usize) -> Result<()> {
    *room = room.checked_sub(bytes).ok_or_else(too_large)?;
    Ok(())
}

/// Our own errors come back as they went into the parser; its own are told in the words of the old service.
fn malformed(error: multer::Error) -> Error {
    let sentence = format!("Multipart form parse error - {error}");
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => anyhow::anyhow!(other).context("reading a form").into(),
        },
        _ => Error::bad_request("parse_error", sentence),
    }
}
