//! Reads a visitor's custom order: the storefront's form, or JSON with embedded images. Error sentences follow
//! docs/compatibility.md, part A9, where it has one.

mod fields;
mod json;

use std::io::Seek;
use std::pin::pin;

use anyhow::Context;
use axum::extract::Request;
use axum::http::header;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use super::NewCustomOrder;
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::http::arriving;
use crate::images::{self, ReceivedFile, Refusal, Upload};
use crate::storage::Storage;
use fields::{Fields, Files};

/// Reads and checks a request. The images are temporary files, deleted when dropped.
///
/// # Errors
/// 400 with the first problem, fields before images; 408 and 413 for a body that does not arrive or is too large.
pub async fn read(app: &App, request: Request) -> Result<(NewCustomOrder, Vec<Upload>)> {
    let media_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let (fields, files) = match media_type.as_str() {
        "multipart/form-data" => {
            let form = images::read_form(&app.storage, request, "images").await?;
            (
                Fields::of_form(form.fields),
                Files {
                    taken: form.files,
                    surplus: form.surplus,
                    are_no_list: false,
                },
            )
        }
        "application/x-www-form-urlencoded" => return Err(invalid_json()),
        // The old service reads any other media type as JSON.
        _ => read_json(app, request).await?,
    };
    let new = fields.check()?;
    if files.are_no_list {
        return Err(Error::refused(
            Code::InvalidField,
            "Field images must be a list",
        ));
    }
    if files.surplus > 0 {
        return Err(Error::refused(
            Code::TooManyImages,
            format!("Maximum {} images allowed", app.storage.limits().files),
        ));
    }
    let mut uploads = Vec::new();
    for (at, file) in files.taken.into_iter().enumerate() {
        match file {
            ReceivedFile::Upload(upload) => uploads.push(upload),
            ReceivedFile::Refused(refusal) => return Err(refused(at, refusal, app)),
        }
    }
    Ok((new, uploads))
}

/// The error for the image at this index, in the storefront's words.
pub fn refused(at: usize, refusal: Refusal, app: &App) -> Error {
    let number = at + 1;
    let limits = app.storage.limits();
    let (code, sentence) = match refusal {
        Refusal::TooLarge => {
            let most = limits.file_bytes / (1024 * 1024);
            (
                Code::ImageTooLarge,
                format!("Image {number} exceeds {most}MB limit"),
            )
        }
        Refusal::NotAImage => (
            Code::InvalidImage,
            format!("Image {number} is not a valid image type. Allowed: jpeg, png, webp, gif"),
        ),
        other => (
            Code::InvalidImage,
            format!("Image {number}: {}", other.sentence(&limits)),
        ),
    };
    Error::refused(code, sentence)
}

fn invalid_json() -> Error {
    Error::refused(Code::ParseError, "Invalid JSON")
}

/// Limits concurrent parsing of JSON bodies, each of which occupies a core.
static JSON_READERS: Semaphore = Semaphore::const_new(2);

/// Reads the JSON variant. The body is spooled to disk first, and each image is decoded into a file of its own.
async fn read_json(app: &App, request: Request) -> Result<(Fields, Files)> {
    // Base64 turns three bytes into four; the texts are small.
    let limits = app.storage.limits();
    let most = limits.file_bytes * (limits.files as u64 + 1) / 3 * 4 + 65_536;
    let file = app.storage.temporary_file()?;
    let mut spool = tokio::fs::File::from_std(file.try_clone().context("sharing a file")?);
    let mut body = pin!(arriving(request, most));
    while let Some(part) = body.next().await {
        let written = spool.write_all(&part?).await;
        written.map_err(|error| Error::Unavailable(Code::MediaUnavailable, error.into()))?;
    }
    let flushed = spool.flush().await;
    flushed.map_err(|error| Error::Unavailable(Code::MediaUnavailable, error.into()))?;
    drop(spool);
    let _turn = JSON_READERS
        .acquire()
        .await
        .context("the semaphore is never closed")?;
    let storage = app.storage.clone();
    let parsed = tokio::task::spawn_blocking(move || parse_json(&storage, file)).await;
    parsed.context("reading JSON")?
}

fn parse_json(storage: &Storage, mut file: std::fs::File) -> Result<(Fields, Files)> {
    file.rewind().context("reading a temporary file")?;
    let read = json::Parser::new(storage, file).read();
    read.map_err(|failure| match failure {
        json::BodyError::Malformed => invalid_json(),
        json::BodyError::Disk(error) => Error::Unavailable(Code::MediaUnavailable, error.into()),
        json::BodyError::Write(error) => error,
    })
}
