//! Distinguishes a person who opens an address from a program that fetches it: a prefetching browser, a mail scanner,
//! or a chat that renders a preview.

use askama::Template;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};

use crate::error::Result;

/// Content security policy of the confirmation page: it may only show itself, and send its form back to us, which
/// redirects to the storefront.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

/// Headers of speculative requests, before anyone has opened the page.
const AHEAD: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];

/// Returns true when a browser requests a page to show to a person. Programs do not send these headers, nor do browsers
/// before 2023, whose users confirm on a page.
///
/// Source: <https://www.w3.org/TR/fetch-metadata/>
pub fn is_by_a_person(headers: &HeaderMap) -> bool {
    let says = |name: &str, value: &[u8]| headers.get(name).is_some_and(|sent| sent == value);
    let is_ahead = AHEAD.iter().any(|name| headers.contains_key(*name));
    says("sec-fetch-mode", b"navigate") && says("sec-fetch-dest", b"document") && !is_ahead
}

#[derive(Template)]
#[template(path = "cancel.html", config = "src/payments/askama.toml")]
struct CancelPage<'a> {
    shop: &'a str,
}

/// Renders the page that asks whether to cancel a checkout. Its form posts to the page's own address.
pub fn ask(shop: &str) -> Result<Response> {
    let page = CancelPage { shop }.render().map_err(anyhow::Error::from)?;
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        ),
    ];
    Ok((headers, Html(page)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_a_person(headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| {
            let name = axum::http::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        is_by_a_person(&headers.collect())
    }

    #[test]
    fn a_link_that_is_followed_is_told_from_one_that_is_looked_at() {
        let (mode, dest) = (
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        );
        assert!(by_a_person(&[mode, dest]));
        assert!(by_a_person(&[
            mode,
            dest,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-user", "?1")
        ]));
        for looked_at in [
            &[][..],
            &[mode],
            &[dest],
            &[mode, ("sec-fetch-dest", "iframe")],
            &[("sec-fetch-mode", "no-cors"), dest],
            &[mode, dest, ("sec-purpose", "prefetch;prerender")],
            &[mode, dest, ("purpose", "prefetch")],
            &[mode, dest, ("x-moz", "prefetch")],
        ] {
            assert!(!by_a_person(looked_at), "{looked_at:?}");
        }
    }
}
