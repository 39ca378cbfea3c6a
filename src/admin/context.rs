//! The context of an admin request: the user, the shop, and formatting for templates.

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use super::assets::{FORMS, ICON, PHOTOS, PRODUCT, SCRIPT, SELL, SHIP, STYLE, TABLE};
use super::{NAVIGATION, NavItem};
use crate::app::App;
use crate::audit::Actor;
use crate::audit::submissions::Claim;
use crate::auth::{CurrentUser, SessionToken, Visit};
use crate::error::{Code, Error, Result};
use crate::images::{self, ImageView};
use crate::orders::disputes::Dispute;
use crate::types::money::Currency;

/// Names of the admin's cookies. Over HTTPS they get the prefix `__Host-`, so browsers accept them from this host only.
pub const SESSION: &str = "admin_session";
/// Cookie that ties the forms of a visitor who has not signed in to their browser.
pub const VISITOR: &str = "admin_form";
/// Cookie of a browser in which a user has signed in before.
pub const BROWSER: &str = "admin_browser";
/// Cookie of the message for the next page.
pub const NOTICE: &str = "admin_notice";

/// Marks a response as an email to show in a frame, rather than a page of the admin.
#[derive(Clone, Copy)]
pub struct IsEmail;

/// Marks a page that scans barcodes with the camera.
#[derive(Clone, Copy)]
pub struct UsesCamera;

/// Context of one request to the admin. The layout creates it; handlers extract it.
#[derive(Clone)]
pub struct AdminContext {
    pub app: App,
    /// The signed-in user; the second factor may still be pending.
    pub user: Option<CurrentUser>,
    /// The CSRF token for forms.
    pub csrf: String,
    /// The requested path and query.
    pub path: String,
    /// The page that a form was sent from; `None` if the request is not a form.
    pub sent_from: Option<String>,
    pub visit: Visit,
    /// The shop's name.
    pub shop: String,
    pub time_zone: Tz,
    /// Message from the previous page, such as `Ann is disabled.`
    pub said: Option<String>,
    pub request_id: Option<String>,
    /// Permission to process the submitted form once, if there is one.
    pub submission: Option<Claim>,
}

impl<S: Send + Sync> FromRequestParts<S> for AdminContext {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<AdminContext> {
        let context = parts.extensions.get().cloned();
        Ok(context.ok_or_else(|| anyhow::anyhow!("a page outside of the layout"))?)
    }
}

impl AdminContext {
    /// Returns the signed-in user.
    ///
    /// # Errors
    /// 401 without a user. Routes that call this are guarded, so it does not happen there.
    pub fn user(&self) -> Result<&CurrentUser> {
        self.user.as_ref().ok_or(Error::Unauthenticated)
    }

    /// Returns the actor to record in the audit log.
    ///
    /// # Errors
    /// As [`AdminContext::user`].
    pub fn actor(&self) -> Result<Actor> {
        let actor = self.user()?.actor(self.request_id.clone());
        Ok(actor.carrying_out(self.submission.clone()))
    }

    /// Renders a page.
    ///
    /// # Errors
    /// Only if the template fails to render, which is a bug.
    pub fn show(&self, page: &impl Template) -> Result<Response> {
        let page = page.render().map_err(anyhow::Error::from)?;
        Ok(Html(page).into_response())
    }

    /// Responds with a page that may use the camera.
    pub fn show_with_camera(&self, page: &impl Template) -> Result<Response> {
        let mut response = self.show(page)?;
        response.extensions_mut().insert(UsesCamera);
        Ok(response)
    }

    /// Responds with an email as its reader sees it, to be shown in a frame of an admin page.
    pub fn show_email(&self, email: String) -> Response {
        let mut response = Html(email).into_response();
        response.extensions_mut().insert(IsEmail);
        response
    }

    /// Redirects to another page after a change. That page shows `said`.
    pub fn go_on(&self, path: &str, said: &str) -> Response {
        let mut response = Redirect::to(path).into_response();
        let text = BASE64_URL_SAFE_NO_PAD.encode(said);
        let signed = self.app.signer.sign(NOTICE, &text);
        self.set_cookie(&mut response, NOTICE, &signed, Some(60));
        response
    }

    /// Sets the session cookie and removes the visitor cookie.
    pub fn keep_session(&self, response: &mut Response, token: &SessionToken) {
        self.set_cookie(response, SESSION, token.reveal(), None);
        self.forget_cookie(response, VISITOR);
    }

    /// Sets a cookie that scripts cannot read. Without `seconds`, the browser drops it when it closes.
    pub fn set_cookie(
        &self,
        response: &mut Response,
        name: &'static str,
        value: &str,
        seconds: Option<i64>,
    ) {
        let life = seconds.map(|seconds| format!("; Max-Age={seconds}"));
        let secure = if self.app.config.is_https() {
            "; Secure"
        } else {
            ""
        };
        let cookie = format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{}",
            cookie_name(&self.app, name),
            life.unwrap_or_default(),
        );
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }

    /// Deletes a cookie in the browser.
    pub fn forget_cookie(&self, response: &mut Response, name: &'static str) {
        self.set_cookie(response, name, "", Some(0));
    }

    /// Reads one of the admin's cookies.
    pub fn cookie(app: &App, headers: &HeaderMap, name: &'static str) -> Option<String> {
        let name = cookie_name(app, name);
        let lines = headers.get_all(header::COOKIE).iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'));
        let found = pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| *key == name);
        found.map(|(_, value)| value.to_owned())
    }

    // Helpers for templates.

    /// Returns a new once-id. Every rendered form has its own.
    pub fn once(&self) -> Uuid {
        Uuid::new_v4()
    }

    /// Returns the name of the shop.
    pub fn shop(&self) -> &str {
        &self.shop
    }

    /// Returns the address of the style sheet.
    pub fn style(&self) -> String {
        STYLE.path()
    }

    /// Returns the address of the script of every page.
    pub fn script(&self) -> String {
        SCRIPT.path()
    }

    /// Returns the address of the script of product pages.
    pub fn product_script(&self) -> String {
        PRODUCT.path()
    }

    /// Returns the address of the script of forms with photographs.
    pub fn photos_script(&self) -> String {
        PHOTOS.path()
    }

    /// Returns the address of the script of pages that ship.
    pub fn ship_script(&self) -> String {
        SHIP.path()
    }

    /// Returns the address of the script of in-person sales.
    pub fn sell_script(&self) -> String {
        SELL.path()
    }

    /// Returns the address of the script of table photographs.
    pub fn table_script(&self) -> String {
        TABLE.path()
    }

    /// Returns the address of the script of forms.
    pub fn forms_script(&self) -> String {
        FORMS.path()
    }

    /// Returns the address of the icon.
    pub fn icon(&self) -> String {
        ICON.path()
    }

    /// URL of a payment at Stripe, or of the sandbox.
    pub fn at_stripe(&self, payment: &str) -> String {
        let key = self.app.config.stripe.secret_key.as_ref();
        match key.map(|key| key.reveal()) {
            None => "/sandbox/".to_owned(),
            Some(key) if key.contains("_test_") => {
                format!("https://dashboard.stripe.com/test/payments/{payment}")
            }
            Some(_) => format!("https://dashboard.stripe.com/payments/{payment}"),
        }
    }

    /// Id of the user whose text the browser may keep, empty before the last step of sign-in.
    pub fn whose_text(&self) -> String {
        let user = self.user.as_ref().filter(|user| !user.mfa_pending);
        user.map_or_else(String::new, |user| user.id.to_string())
    }

    /// Returns true for a signed-in owner.
    pub fn is_owner(&self) -> bool {
        self.user.as_ref().is_some_and(CurrentUser::is_owner)
    }

    /// Returns the navigation items that the user may open.
    pub fn navigation(&self) -> Vec<&'static NavItem> {
        let user = self.user.as_ref();
        NAVIGATION
            .iter()
            .filter(|item| item.access.allows(user))
            .collect()
    }

    /// Reports whether the current page belongs to `item`.
    pub fn is_in(&self, item: &NavItem) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        path == item.path
            || item.path != super::ROOT
                && path
                    .strip_prefix(item.path)
                    .is_some_and(|rest| rest.starts_with('/'))
    }

    /// Formats a time in the shop's time zone: `Nov 24, 2026, 10:15 AM`.
    pub fn time(&self, at: &DateTime<Utc>) -> String {
        let local = at.with_timezone(&self.time_zone);
        local.format("%b %-d, %Y, %-I:%M %p").to_string()
    }

    /// Formats a time in the shop's time zone as the value of a `datetime-local` field: `2026-11-24T10:15`.
    pub fn local_time(&self, at: &DateTime<Utc>) -> String {
        let local = at.with_timezone(&self.time_zone);
        local.format("%Y-%m-%dT%H:%M").to_string()
    }

    /// Name of the shop's time zone: `America/New_York`.
    pub fn time_zone(&self) -> &'static str {
        self.time_zone.name()
    }

    /// Currency of the shop's prices.
    pub fn currency(&self) -> Currency {
        self.app.config.shop.currency
    }

    /// Formats a time as RFC 3339, for the `datetime` attribute.
    pub fn iso_time(&self, at: &DateTime<Utc>) -> String {
        at.to_rfc3339()
    }

    /// Returns the URL of an image's thumbnail if this shop hosts it. The admin shows no images from other hosts.
    pub fn image(&self, image: &Option<String>) -> Option<String> {
        let image = image.as_deref()?;
        match images::id_of(image) {
            Some(id) => Some(images::url(&id, 320)),
            None => image.starts_with('/').then(|| image.to_owned()),
        }
    }
}

/// Returns the name of a cookie in the browser: over HTTPS with the prefix `__Host-`.
pub fn cookie_name(app: &App, name: &'static str) -> String {
    if app.config.is_https() {
        format!("__Host-{name}")
    } else {
        name.to_owned()
    }
}

/// Reads the message of the previous page, if its signature is valid.
pub fn said(app: &App, headers: &HeaderMap) -> Option<String> {
    let signed = AdminContext::cookie(app, headers, NOTICE)?;
    let text = app.signer.verify(NOTICE, &signed)?;
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// URL of an image at the given width. Images on other hosts keep their URL.
pub fn image_url(view: &ImageView, width: u32) -> String {
    match images::id_of(&view.url) {
        Some(id) => images::url(&id, width),
        None => view.url.clone(),
    }
}

/// URL of a dispute at Stripe, or of the sandbox.
pub fn dispute_at_stripe(context: &AdminContext, dispute: &Dispute) -> String {
    let config = &context.app.config;
    let Some(key) = &config.stripe.secret_key else {
        return "/sandbox/".to_owned();
    };
    let mode = match key.reveal().contains("_test_") {
        true => "test/",
        false => "",
    };
    format!("https://dashboard.stripe.com/{mode}disputes/{}", dispute.id)
}

/// The failure of a request that took too long.
pub fn too_long() -> Error {
    Error::Unavailable(Code::Timeout, anyhow::anyhow!("the request took too long"))
}
