//! Pages for one customer: their addresses are signed and travel in emails only. Browsers get a page, programs JSON.

use std::fmt::Display;

use askama::Template;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::Json;
use crate::app::App;
use crate::error::Result;

/// Characters to encode in a `mailto:` address.
const IN_MAILTO: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'@')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_');

/// A kind of such pages.
pub struct CustomerPage {
    /// Purpose of the signature in the address.
    pub purpose: &'static str,
    /// Path of the things that have one: `/api/orders`.
    pub path: &'static str,
    /// Name of such a thing: `order`.
    pub thing: &'static str,
}

impl CustomerPage {
    /// Address of the page of the thing with this id. It grants access to this page and nothing else.
    pub fn address(&self, app: &App, id: impl Display) -> String {
        let signed = app.signer.sign(self.purpose, &id.to_string());
        let token = signed.rsplit('.').next().unwrap_or_default();
        let public_url = &app.config.server.public_url;
        format!("{public_url}{}/{id}/status/?token={token}", self.path)
    }

    /// Returns true if the token is that of this id.
    pub fn admits(&self, app: &App, id: impl Display, token: &str) -> bool {
        let signed = format!("{id}.{token}");
        app.signer.verify(self.purpose, &signed).is_some()
    }

    /// The page about links that lead nowhere, for browsers. It is one answer for a bad id, a bad token and a missing thing,
    /// which tells nobody which of them exist.
    ///
    /// # Errors
    /// Only for a bug in the template.
    pub fn damaged_link(&self, app: &App, shop: &str) -> Result<Response> {
        let page = DamagedLinkPage {
            shop,
            thing: self.thing,
            shop_url: &app.config.server.frontend_url,
            write_to: write_to(app, &format!("The link to my {} does not work", self.thing)),
        };
        let html = page.render().map_err(anyhow::Error::from)?;
        Ok(private((StatusCode::NOT_FOUND, Html(html)).into_response()))
    }
}

#[derive(Template)]
#[template(path = "damaged_link.html", config = "src/http/askama.toml")]
struct DamagedLinkPage<'a> {
    shop: &'a str,
    thing: &'a str,
    shop_url: &'a str,
    write_to: String,
}

/// Answers with a page.
///
/// # Errors
/// Only for a bug in the template.
pub fn page(page: &impl Template) -> Result<Response> {
    let html = page.render().map_err(anyhow::Error::from)?;
    Ok(private(Html(html).into_response()))
}

/// Answers a program.
pub fn json(view: impl Serialize) -> Response {
    private(Json(view).into_response())
}

/// Returns true for browsers. Programs that state no preference get JSON.
pub fn accepts_pages(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// Address that opens an email to the shop with this subject (RFC 6068).
pub fn write_to(app: &App, subject: &str) -> String {
    let encoded = |text| utf8_percent_encode(text, IN_MAILTO);
    let to = &app.config.shop.email;
    format!("mailto:{}?subject={}", encoded(to), encoded(subject))
}

/// Keeps an answer out of caches, and its address from the pages that it links to.
fn private(mut response: Response) -> Response {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        ),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}
