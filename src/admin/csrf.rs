//! CSRF protection: form tokens and the browser's origin headers.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use futures_util::{StreamExt, stream};

use uuid::Uuid;

use super::fingerprint::Fingerprint;
use super::form::Form;
use crate::app::Signer;
use crate::config::{Config, origin_of};
use crate::error::{Code, Error, Result};
use crate::http;

/// Form field with the once-id.
pub const ONCE_FIELD: &str = "once";

/// Form field with the token, and the header that htmx sends instead.
const FIELD: &str = "csrf";
const HEADER: &str = "x-csrf-token";

/// Bytes of an upload that are searched for the token and the once-id, which are its first fields.
const PEEK: usize = 2048;

/// Signs the form token of a session or of a visitor who is about to sign in.
pub fn token(signer: &Signer, whose: &str) -> String {
    signer.sign("csrf", whose)
}

/// Reports whether the browser says that another site caused this request. Other sites may link to a page; every other
/// request must come from the admin itself.
pub fn is_foreign(config: &Config, method: &Method, headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).map(|value| value.as_bytes());
    let reads = method == Method::GET || method == Method::HEAD;
    let opens = header("sec-fetch-mode") == Some(b"navigate")
        && header("sec-fetch-dest") == Some(b"document");
    match header("sec-fetch-site") {
        Some(b"same-origin") => {}
        Some(b"none") if reads => {}
        Some(_) => return !(reads && opens),
        // Not a browser, or one from before 2023.
        None => {}
    }
    if reads {
        return false;
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    // In development, the machine may be reached under another name than the one in `PUBLIC_URL`.
    let is_ours = |origin: &str| {
        Some(origin) == origin_of(&config.server.public_url).as_deref()
            || !config.is_production()
                && origin
                    .split_once("://")
                    .is_some_and(|(_, called)| called == host)
    };
    match headers.get(header::ORIGIN) {
        Some(origin) => !origin.to_str().is_ok_and(is_ours),
        // A browser that sends neither header cannot be trusted.
        None => header("sec-fetch-site").is_none(),
    }
}

/// The token, the once-id and the content of a submitted form.
pub struct Sent {
    /// Session or visitor that the page was rendered for; `None` without a valid token.
    pub whose: Option<String>,
    /// The form's once-id.
    pub once: Option<Uuid>,
    content: Content,
}

enum Content {
    /// A form that has been read; the value is its fingerprint.
    Read(Vec<u8>),
    /// An upload that the handler will read.
    Upload { path: String, boundary: String },
}

impl Sent {
    /// Returns the fingerprint of a form that has been read; `None` for an upload.
    pub fn digest(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Read(digest) => Some(digest),
            Content::Upload { .. } => None,
        }
    }

    /// Starts a fingerprint for an upload that is still to be read.
    pub fn fingerprint(&self, signer: &Signer) -> Option<Fingerprint> {
        match &self.content {
            Content::Read(_) => None,
            Content::Upload { path, boundary } => {
                Some(Fingerprint::new(signer, path, Some(boundary)))
            }
        }
    }
}

/// Reads a form's token and once-id. A plain form is left in the request as a [`Form`]. An upload is left for the
/// handler to read; it begins with these two fields, unless the token is in the header.
///
/// # Errors
/// 403 for an invalid once-id; 413, 408 and 400 as for every body.
pub async fn read(signer: &Signer, path: &str, request: Request) -> Result<(Sent, Request)> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let media_type = kind.split(';').next().unwrap_or_default().trim();
    let mut token = request
        .headers()
        .get(HEADER)
        .and_then(|token| token.to_str().ok())
        .map(str::to_owned);
    let mut once = None;
    let mut fingerprint = Fingerprint::new(signer, path, None);
    let mut boundary = None;
    let request = match media_type.to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => {
            let (parts, body) = request.into_parts();
            let mut read = Request::new(body);
            // The extensions contain the limits of the body.
            *read.extensions_mut() = parts.extensions.clone();
            let body = http::body(read, &()).await?;
            fingerprint.update(&body);
            let form = Form::read(&body);
            token = token.or_else(|| Some(form.get(FIELD)));
            once = Some(form.get(ONCE_FIELD)).filter(|once| !once.is_empty());
            let mut request = Request::from_parts(parts, Body::empty());
            request.extensions_mut().insert(form);
            request
        }
        "multipart/form-data" => {
            boundary = multer::parse_boundary(&kind).ok();
            let (parts, body) = request.into_parts();
            let (start, body) = peek(body).await;
            let start = String::from_utf8_lossy(&start);
            let mut rest = start.as_ref();
            if let Some((value, after)) = field_at(rest, FIELD) {
                token = token.or_else(|| Some(value.to_owned()));
                rest = after;
            }
            once = field_at(rest, ONCE_FIELD).map(|(value, _)| value.to_owned());
            Request::from_parts(parts, body)
        }
        _ => request,
    };
    let once = once.map(|once| once.parse().map_err(|_| stale()));
    let content = match (boundary, fingerprint.finish()) {
        (Some(boundary), _) => Content::Upload {
            path: path.to_owned(),
            boundary,
        },
        (None, digest) => Content::Read(digest.unwrap_or_default()),
    };
    let sent = Sent {
        whose: token.and_then(|token| signer.verify("csrf", &token).map(str::to_owned)),
        once: once.transpose()?,
        content,
    };
    Ok((sent, request))
}

/// The error for a missing token, or for the token of somebody else.
pub fn stale() -> Error {
    Error::refused(
        Code::StaleForm,
        "This form is out of date, or came from another site. Nothing was changed. Go back, load the page again, and \
         send it once more."
            .to_owned(),
    )
}

/// The error for a form that was rendered for another session of this shop, such as one that has ended since.
pub fn of_another_session() -> Error {
    Error::refused(
        Code::StaleForm,
        "Somebody signed in or out in this browser after this form was opened, so it is out of date. Nothing was \
         changed."
            .to_owned(),
    )
}

/// Reads the beginning of a body. Returns it with an equivalent of the whole body.
async fn peek(body: Body) -> (Vec<u8>, Body) {
    let mut rest = body.into_data_stream();
    let (mut start, mut read) = (Vec::new(), Vec::new());
    while start.len() < PEEK {
        let Some(chunk) = rest.next().await else {
            break;
        };
        let failed = chunk.is_err();
        if let Ok(bytes) = &chunk {
            start.extend_from_slice(bytes);
        }
        read.push(chunk);
        if failed {
            break;
        }
    }
    start.truncate(PEEK);
    (start, Body::from_stream(stream::iter(read).chain(rest)))
}

/// Returns the value of the first field in this part of an upload if it has this name, and the rest after the value.
fn field_at<'a>(start: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let (head, rest) = start.split_once("\r\n\r\n")?;
    let found = rest.split_once("\r\n")?;
    head.contains(&format!("name=\"{name}\"")).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(method: &Method, headers: &[(&'static str, &str)]) -> bool {
        let config = Config::read(|name| match name {
            "PUBLIC_URL" => Some("https://shop.example".to_owned()),
            _ => None,
        });
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a header"));
        }
        is_foreign(&config.expect("valid"), method, &map)
    }

    #[test]
    fn a_change_comes_from_our_own_pages() {
        let post = Method::POST;
        let site = "sec-fetch-site";
        assert!(!foreign(
            &post,
            &[(site, "same-origin"), ("origin", "https://shop.example")]
        ));
        assert!(!foreign(&post, &[("origin", "https://shop.example")]));
        assert!(!foreign(&post, &[(site, "same-origin")]));
        for headers in [
            &[][..],
            &[(site, "none")],
            &[(site, "same-site"), ("origin", "https://shop.example")],
            &[(site, "cross-site"), ("sec-fetch-mode", "navigate")],
            &[(site, "same-origin"), ("origin", "https://evil.example")],
            &[("origin", "https://shop.example.evil")],
            &[("origin", "http://shop.example")],
            &[("origin", "null")],
        ] {
            assert!(foreign(&post, headers), "{headers:?}");
        }
    }

    #[test]
    fn a_page_is_opened_from_anywhere_and_not_drawn_into_others() {
        let get = Method::GET;
        let site = "sec-fetch-site";
        for headers in [
            &[][..],
            &[(site, "none")],
            &[(site, "same-origin")],
            &[
                (site, "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ],
        ] {
            assert!(!foreign(&get, headers), "{headers:?}");
        }
        for headers in [
            &[(site, "cross-site")][..],
            &[(site, "same-site"), ("sec-fetch-mode", "cors")],
            &[
                (site, "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "iframe"),
            ],
            &[
                (site, "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "object"),
            ],
        ] {
            assert!(foreign(&get, headers), "{headers:?}");
        }
    }

    #[tokio::test]
    async fn an_upload_has_token_and_once_id_first_and_is_whole_afterwards() {
        let sent = "--x\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\nabc.def\r\n--x\r\nContent-Disposition: \
                    form-data; name=\"once\"\r\n\r\n1234\r\n--x\r\nContent-Disposition: form-data; \
                    name=\"file\"\r\n\r\n...\r\n--x--\r\n";
        let (start, body) = peek(Body::from(sent)).await;
        let start = String::from_utf8_lossy(&start);
        let (token, rest) = field_at(&start, "csrf").expect("the token");
        assert_eq!(token, "abc.def");
        let (once, rest) = field_at(rest, "once").expect("the once-id");
        assert_eq!(once, "1234");
        assert!(rest.contains("name=\"file\""));
        let whole = axum::body::to_bytes(body, 10_000).await.expect("a body");
        assert_eq!(whole, sent.as_bytes());
        assert_eq!(
            field_at("--x\r\nname=\"other\"\r\n\r\nabc.def\r\n", "csrf"),
            None
        );
        assert_eq!(field_at("csrf", "csrf"), None);
    }
}
