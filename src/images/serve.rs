//! `GET /media/…`: images, renditions, and files from the old service.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use object_store::path::Path;
use object_store::{GetResult, ObjectMeta};
use sqlx::PgPool;

use super::renditions::{Encoding, WIDTHS};
use super::service::rendition;
use super::store;
use crate::error::{Code, Error, Result};
use crate::storage::{Storage, asked_path, path_of, unavailable};
use crate::types::ids::ImageId;

/// For addresses with a content hash.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// For the original image, served until the requested rendition exists.
const FOR_NOW: &str = "public, max-age=60";
/// For files that may be replaced under the same name.
const FOR_A_DAY: &str = "public, max-age=86400";

/// Size up to which an object is sent from memory; larger ones are streamed.
const AT_ONCE: u64 = 1024 * 1024;

/// The object for a request.
struct ServedFile {
    path: Path,
    mime: &'static str,
    caching: &'static str,
    /// In quotes. `None`: use the store's tag.
    tag: Option<String>,
}

/// Serves a path below `/media/`, without a leading slash.
///
/// # Errors
/// 404 for missing objects, 416 for an unsatisfiable range, 503 `media_unavailable`.
pub async fn serve(
    storage: &Storage,
    db: &PgPool,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response> {
    let found = match path.strip_prefix("images/") {
        Some(image) => find(db, image).await?,
        None => asked_path(path).map(brought_along),
    };
    let found = found.ok_or(Error::NotFound(""))?;
    let known = found.tag.as_deref();
    // Before the storage is asked: the tag of our own images follows from their address.
    if known.is_some_and(|tag| names(headers, header::IF_NONE_MATCH, tag)) {
        return not_modified(&found, known, None);
    }
    let Some(asked) = headers.get(header::RANGE) else {
        let object = storage.objects.get(&found.path, None).await?;
        let object = object.ok_or(Error::NotFound(""))?;
        return whole(found, headers, object).await;
    };
    // The size decides which ranges exist.
    let meta = storage.objects.head(&found.path).await?;
    let meta = meta.ok_or(Error::NotFound(""))?;
    let tag = found.tag.clone().or_else(|| tag_of(&meta));
    // The caller has a part of another version, and cannot use the rest of this one: it gets the whole file.
    let is_stale = match headers.get(header::IF_RANGE) {
        None => false,
        Some(seen) => tag.as_deref() != seen.to_str().ok(),
    };
    let range = match range(asked, meta.size) {
        RequestedRange::Part(range) if !is_stale => Some(range),
        RequestedRange::Nothing if !is_stale => {
            let mut response = Error::refused(
                Code::RangeNotSatisfiable,
                "Range Not Satisfiable.".to_owned(),
            )
            .into_response();
            let size = HeaderValue::from_str(&format!("bytes */{}", meta.size));
            response
                .headers_mut()
                .insert(header::CONTENT_RANGE, size.map_err(anyhow::Error::from)?);
            return Ok(response);
        }
        _ => None,
    };
    let object = storage.objects.get(&found.path, range.clone()).await?;
    let object = object.ok_or(Error::NotFound(""))?;
    let mut response = whole(found, headers, object).await?;
    // A 304 has no range.
    if let (Some(range), StatusCode::OK) = (range, response.status()) {
        let shown = format!("bytes {}-{}/{}", range.start, range.end - 1, meta.size);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response.headers_mut().insert(
            header::CONTENT_RANGE,
            HeaderValue::from_str(&shown).map_err(anyhow::Error::from)?,
        );
    }
    Ok(response)
}

/// Finds the object of an image: `ID/WIDTH.jpg`, `ID/WIDTH.webp` or `ID/original`.
async fn find(db: &PgPool, image: &str) -> Result<Option<ServedFile>> {
    let Some((id, name)) = image.split_once('/') else {
        return Ok(None);
    };
    let Some(id) = ImageId::parse(id) else {
        return Ok(None);
    };
    let asked = match name {
        "original" => None,
        name => match rendition_named(name) {
            Some(rendition) => Some(rendition),
            None => return Ok(None),
        },
    };
    let Some(row) = store::row(&mut *db.acquire().await?, &id).await? else {
        return Ok(None);
    };
    let (path, name, mime) = match asked {
        Some((width, kind)) if row.is_rendered => {
            let (path, name) = rendition(&row, width, kind);
            (path, name, kind.mime())
        }
        _ => {
            let name = row.original();
            (path_of(&row.storage_key, &name), name, row.format.mime())
        }
    };
    let is_final = row.is_rendered || asked.is_none();
    Ok(Some(ServedFile {
        path,
        mime,
        caching: if is_final { FOR_EVER } else { FOR_NOW },
        tag: Some(format!("\"{id}/{name}\"")),
    }))
}

fn rendition_named(name: &str) -> Option<(u32, Encoding)> {
    let (width, extension) = name.split_once('.')?;
    let width = WIDTHS.into_iter().find(|step| step.to_string() == width)?;
    let kinds = [Encoding::Jpeg, Encoding::Webp].into_iter();
    let kind = kinds
        .into_iter()
        .find(|kind| kind.extension() == extension)?;
    Some((width, kind))
}

/// A file from the old service. Its media type follows from its extension if that is an image's; otherwise it is a
/// generic binary.
fn brought_along(path: Path) -> ServedFile {
    let name = path.filename().unwrap_or_default().to_ascii_lowercase();
    let mime = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        Some("webp") => "image/webp",
        Some("gif") => "image/gif",
        Some("avif") => "image/avif",
        _ => "application/octet-stream",
    };
    ServedFile {
        path,
        mime,
        caching: FOR_A_DAY,
        tag: None,
    }
}

/// Responds with the object, or the range read.
async fn whole(found: ServedFile, headers: &HeaderMap, object: GetResult) -> Result<Response> {
    let meta = object.meta.clone();
    let tag = found.tag.clone().or_else(|| tag_of(&meta));
    let modified = meta.last_modified.trunc_subsecs(0);
    let is_known = match &tag {
        Some(tag) if headers.contains_key(header::IF_NONE_MATCH) => {
            names(headers, header::IF_NONE_MATCH, tag)
        }
        _ => headers
            .get(header::IF_MODIFIED_SINCE)
            .and_then(|since| since.to_str().ok())
            .and_then(http_date)
            .is_some_and(|since| modified <= since),
    };
    if is_known {
        return not_modified(&found, tag.as_deref(), Some(modified));
    }
    let length = object.range.end - object.range.start;
    let body = if length <= AT_ONCE {
        let bytes = object.bytes().await;
        Body::from(bytes.map_err(|error| unavailable(error, "reading an image"))?)
    } else {
        Body::from_stream(object.into_stream())
    };
    let mut response = body.into_response();
    describe(
        &found,
        tag.as_deref(),
        Some(modified),
        response.headers_mut(),
    )?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(found.mime));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

fn not_modified(
    found: &ServedFile,
    tag: Option<&str>,
    modified: Option<DateTime<Utc>>,
) -> Result<Response> {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    describe(found, tag, modified, response.headers_mut())?;
    Ok(response)
}

fn describe(
    found: &ServedFile,
    tag: Option<&str>,
    modified: Option<DateTime<Utc>>,
    headers: &mut HeaderMap,
) -> Result<()> {
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(found.caching),
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(tag) = tag {
        let tag = HeaderValue::from_str(tag).map_err(anyhow::Error::from)?;
        headers.insert(header::ETAG, tag);
    }
    if let Some(modified) = modified {
        let date = modified.format(HTTP_DATE).to_string();
        let date = HeaderValue::from_str(&date).map_err(anyhow::Error::from)?;
        headers.insert(header::LAST_MODIFIED, date);
    }
    Ok(())
}

const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    let date = NaiveDateTime::parse_from_str(text, HTTP_DATE).ok()?;
    Some(date.and_utc())
}

/// The store's own tag, normalized to have quotes.
fn tag_of(meta: &ObjectMeta) -> Option<String> {
    let tag = meta.e_tag.as_deref()?.trim_matches('"');
    Some(format!("\"{tag}\""))
}

fn names(headers: &HeaderMap, header: header::HeaderName, tag: &str) -> bool {
    let known = headers.get(header).and_then(|known| known.to_str().ok());
    let mut known = known.unwrap_or_default().split(',').map(str::trim);
    known.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// The part of a file that a `Range` header requests.
#[derive(Debug, PartialEq, Eq)]
enum RequestedRange {
    Part(Range<u64>),
    /// Outside the file.
    Nothing,
    /// Several ranges or a malformed header, for which the whole file is the correct answer.
    Whole,
}

fn range(asked: &HeaderValue, size: u64) -> RequestedRange {
    let parsed = asked
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("bytes="))
        .and_then(|text| text.trim().split_once('-'));
    let Some((first, last)) = parsed else {
        return RequestedRange::Whole;
    };
    let number = |text: &str| match text {
        "" => Some(None),
        text if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok().map(Some),
        _ => None,
    };
    match (number(first), number(last)) {
        (Some(Some(first)), Some(None)) if first < size => RequestedRange::Part(first..size),
        (Some(Some(first)), Some(Some(last))) if first <= last && first < size => {
            RequestedRange::Part(first..size.min(last.saturating_add(1)))
        }
        (Some(None), Some(Some(last))) if last > 0 && size > 0 => {
            RequestedRange::Part(size.saturating_sub(last)..size)
        }
        (Some(Some(first)), Some(Some(last))) if first > last => RequestedRange::Whole,
        (Some(None), Some(None)) | (None, _) | (_, None) => RequestedRange::Whole,
        _ => RequestedRange::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_lies_within_or_is_refused_or_ignored() {
        let asked = |text: &'static str| range(&HeaderValue::from_static(text), 10);
        assert_eq!(asked("bytes=0-3"), RequestedRange::Part(0..4));
        assert_eq!(asked("bytes=4-"), RequestedRange::Part(4..10));
        assert_eq!(asked("bytes=-3"), RequestedRange::Part(7..10));
        assert_eq!(asked("bytes=-99"), RequestedRange::Part(0..10));
        assert_eq!(
            asked("bytes=9-18446744073709551615"),
            RequestedRange::Part(9..10)
        );
        for nothing in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(asked(nothing), RequestedRange::Nothing, "{nothing}");
        }
        for whole in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=9-1",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "lines=1-2",
        ] {
            assert_eq!(asked(whole), RequestedRange::Whole, "{whole}");
        }
    }

    #[test]
    fn dates_are_written_and_read_as_http_has_them() {
        let text = "Tue, 24 Nov 2026 18:22:56 GMT";
        let date = http_date(text).expect("a date");
        assert_eq!(date.format(HTTP_DATE).to_string(), text);
        assert_eq!(http_date("yesterday"), None);
    }
}
