//! Middleware of every admin page: session, access, headers, and error pages.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use askama::Template;
use axum::extract::{ConnectInfo, OriginalUri, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::FutureExt;
use uuid::Uuid;

use super::context::{
    self, AdminContext, BROWSER, IsEmail, NOTICE, SESSION, UsesCamera, VISITOR, too_long,
};
use super::{Access, csrf, once, sign_in};
use crate::app::App;
use crate::auth::{self, Visit};
use crate::error::{Code, Error, Result};
use crate::http::{BodyTime, Deadline};
use crate::settings;

/// Content security policy of pages: own styles, scripts and images only, and forms to this site only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-src 'self'; \
                      frame-ancestors 'none'";

/// Content security policy of an email shown in a page. The email has no origin, sends nothing and fetches nothing; its
/// images are embedded.
const EMAIL_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; \
                             base-uri 'none'; frame-ancestors 'self'; sandbox";

const SIGN_OUT: &str = "/admin/sign-out";

const SIGN_OUT_EVERYWHERE: &str = "/admin/account/sign-out-everywhere";

/// Creates the [`AdminContext`] of a request and shows errors as pages.
pub async fn enter(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let is_asset = request.uri().path().starts_with("/assets/");
    let is_shown = request.method() != Method::HEAD;
    let limit = app.config.server.request_timeout;
    let nobody = AdminContext::nobody(&app, &request);
    let arriving = arrive(&app, nobody.clone(), request.headers().clone());
    let (context, fresh) = if is_asset {
        // Assets are the same for everybody and need no session.
        (nobody, None)
    } else {
        match tokio::time::timeout(limit, arriving).await {
            Ok(Ok(arrived)) => arrived,
            Ok(Err(error)) => return finish(&nobody, error.into_response()),
            Err(_) => return finish(&nobody, too_long().into_response()),
        }
    };
    request.extensions_mut().insert(context.clone());
    // A slow sender must not count as an outage of the shop: reading the body times out first.
    request.extensions_mut().insert(BodyTime(limit / 2));
    let deadline = Deadline::new(limit);
    request.extensions_mut().insert(deadline.clone());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
    let response = tokio::select! {
        answer = answered => answer.unwrap_or_else(|_| {
            Error::Internal(anyhow::anyhow!("a page panicked")).into_response()
        }),
        () = deadline.passed() => too_long().into_response(),
    };
    let mut response = finish(&context, response);
    if !is_asset {
        if let Some(visitor) = fresh {
            context.set_cookie(&mut response, VISITOR, &visitor, None);
        }
        let pages = response.status() != StatusCode::SEE_OTHER;
        if context.said.is_some() && pages && is_shown {
            context.forget_cookie(&mut response, NOTICE);
        }
    }
    response
}

/// Identifies the user by the session cookie. Without a visitor cookie, a new one is returned to be set.
async fn arrive(
    app: &App,
    mut context: AdminContext,
    headers: HeaderMap,
) -> Result<(AdminContext, Option<String>)> {
    let token = AdminContext::cookie(app, &headers, SESSION);
    // Requests that are redirected to sign-in render no page, so they need no query.
    if token.is_some() || context.path.starts_with("/admin/sign-in") {
        let mut conn = app.db.acquire().await?;
        let settings = settings::current(&mut conn, &app.config).await?;
        context.shop = settings.shop_name;
        context.time_zone = settings.time_zone;
        if let Some(token) = token {
            context.user = auth::find_session(&mut conn, &token).await?;
        }
    }
    let mut fresh = None;
    let whose = match &context.user {
        Some(user) => user.session.to_string(),
        None => match visitor(app, &headers) {
            Some(visitor) => visitor,
            None => {
                let visitor = Uuid::new_v4().to_string();
                fresh = Some(app.signer.sign(VISITOR, &visitor));
                visitor
            }
        },
    };
    context.csrf = csrf::token(&app.signer, &whose);
    Ok((context, fresh))
}

/// Returns the signed id of a browser without a session.
fn visitor(app: &App, headers: &HeaderMap) -> Option<String> {
    let signed = AdminContext::cookie(app, headers, VISITOR)?;
    app.signer.verify(VISITOR, &signed).map(str::to_owned)
}

impl AdminContext {
    /// Creates a context without a user.
    fn nobody(app: &App, request: &Request) -> AdminContext {
        let headers = request.headers();
        let text = |name: &HeaderName| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default()
        };
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0.ip());
        let path = request.extensions().get::<OriginalUri>();
        let path = path.and_then(|uri| uri.path_and_query().map(ToString::to_string));
        let path = path.unwrap_or_default();
        let is_form = request.method() == Method::POST;
        AdminContext {
            user: None,
            csrf: String::new(),
            sent_from: is_form.then(|| page_of(&path, request)),
            path,
            visit: Visit {
                address: app.config.client_address(peer, headers).ip(),
                browser: text(&header::USER_AGENT).chars().take(300).collect(),
                known: AdminContext::cookie(app, headers, BROWSER),
            },
            shop: app.config.shop.name.clone(),
            time_zone: app.config.shop.time_zone,
            said: context::said(app, headers),
            request_id: headers
                .get("x-request-id")
                .and_then(|id| id.to_str().ok())
                .map(str::to_owned),
            submission: None,
            app: app.clone(),
        }
    }
}

/// Checks access to a route. Changes also need a form of the admin with a valid token.
pub async fn guard(access: Access, request: Request, next: Next) -> Result<Response> {
    let context: AdminContext = request
        .extensions()
        .get()
        .cloned()
        .ok_or_else(|| anyhow::anyhow!("a page outside of the layout"))?;
    let app = &context.app;
    if csrf::is_foreign(&app.config, request.method(), request.headers()) {
        return Err(csrf::stale());
    }
    let denied = denied(access, &context, &request);
    if request.method() == Method::POST {
        return change(&context, denied, request, next).await;
    }
    match denied {
        Some(answer) => answer,
        None => Ok(next.run(request).await),
    }
}

/// Returns the response for a user without access, or `None` if access is allowed.
fn denied(access: Access, context: &AdminContext, request: &Request) -> Option<Result<Response>> {
    if access.allows(context.user.as_ref()) {
        return None;
    }
    let whole = context.user.as_ref().is_some_and(|user| !user.mfa_pending);
    let way = match (access, &context.user) {
        (Access::Owner, Some(_)) if whole => return Some(Err(owners_only())),
        (Access::MfaPending, Some(_)) => super::ROOT.to_owned(),
        (_, Some(_)) => sign_in::second_factor_for(&page_of(&context.path, request)),
        // Pressed twice: the first has signed out.
        (_, None) if context.path == SIGN_OUT_EVERYWHERE => sign_in::page_for(super::ROOT, false),
        (_, None) => {
            // A form is of a page that was open to somebody who was signed in.
            let is_lost = request.method() == Method::POST
                || AdminContext::cookie(&context.app, request.headers(), SESSION).is_some();
            sign_in::page_for(&page_of(&context.path, request), is_lost)
        }
    };
    Some(Ok(away(request.headers(), &way)))
}

/// Processes a form of the admin once, however often it is sent.
async fn change(
    context: &AdminContext,
    denied: Option<Result<Response>>,
    request: Request,
    next: Next,
) -> Result<Response> {
    let app = &context.app;
    let visitor = visitor(app, request.headers());
    let has_session = AdminContext::cookie(app, request.headers(), SESSION).is_some();
    if let Some(denied) = denied {
        // Read no body from strangers. A browser whose session has just ended may have ended it with this very form.
        if !has_session {
            return denied;
        }
        let Ok((sent, request)) = csrf::read(&app.signer, &context.path, request).await else {
            return denied;
        };
        return once::repeat(context, sent, request)
            .await?
            .map_or(denied, Ok);
    }
    if context.user.is_none() && context.path == SIGN_OUT {
        // Pressed twice, or in a browser that is already signed out.
        return Ok(context.go_on("/admin/sign-in", sign_in::SIGNED_OUT));
    }
    let whose = match &context.user {
        Some(user) => user.session.to_string(),
        // Without the visitor cookie, no token can be valid.
        None => visitor.ok_or_else(csrf::stale)?,
    };
    let (sent, request) = csrf::read(&app.signer, &context.path, request).await?;
    if sent.whose.as_ref() == Some(&whose) {
        return once::carry_out(context, sent, request, next).await;
    }
    let is_ours = sent.whose.is_some();
    // A user who has just signed in may send the sign-in form again.
    let repeated = once::repeat(context, sent, request).await?;
    repeated.ok_or_else(|| match is_ours {
        true => csrf::of_another_session(),
        false => csrf::stale(),
    })
}

/// Returns the page that a request was made from, to lead back to it. Without the browser's word, that is the path of
/// the request: every route that takes a form redirects a GET to the page with the form.
fn page_of(path: &str, request: &Request) -> String {
    let named = match request.method() {
        &Method::POST => header::REFERER,
        _ => HeaderName::from_static("hx-current-url"),
    };
    let named = request.headers().get(named);
    let url = named.and_then(|url| url::Url::parse(url.to_str().ok()?).ok());
    let page = url.map(|url| url[url::Position::BeforePath..].to_owned());
    let page = page.filter(|page| sign_in::is_page(page));
    page.unwrap_or_else(|| path.to_owned())
}

/// Redirects the whole page, even if htmx asked for a part of it.
fn away(headers: &HeaderMap, path: &str) -> Response {
    if headers.contains_key("hx-request") {
        let path = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/admin"));
        let header = [(HeaderName::from_static("hx-redirect"), path)];
        return (StatusCode::UNAUTHORIZED, header).into_response();
    }
    Redirect::to(path).into_response()
}

fn owners_only() -> Error {
    Error::refused(Code::OwnersOnly, "This page is for owners.".to_owned())
}

/// Answers a method that a page does not support.
pub async fn method_not_allowed(method: Method) -> Error {
    Error::refused(
        Code::MethodNotAllowed,
        format!("This page does not support {method}."),
    )
}

/// Renders errors as pages and sets the headers of every response.
fn finish(context: &AdminContext, response: Response) -> Response {
    let error = response.extensions().get::<Arc<Error>>().cloned();
    let mut response = match error {
        Some(error) => {
            let mut page = tell(context, &error, response);
            // The metrics count the error by its code, even when it is shown as a page.
            page.extensions_mut().insert(error);
            page
        }
        None => response,
    };
    let (policy, framing) = match response.extensions().get::<IsEmail>() {
        Some(IsEmail) => (EMAIL_POLICY, "SAMEORIGIN"),
        None => (POLICY, "DENY"),
    };
    let features = match response.extensions().get::<UsesCamera>() {
        Some(UsesCamera) => "camera=(self), geolocation=(), microphone=(), payment=(), usb=()",
        None => "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, framing),
        // With `no-referrer`, forms would send `Origin: null`.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("permissions-policy"), features),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

#[derive(Template)]
#[template(path = "error.html", config = "src/admin/askama.toml")]
struct ErrorPage<'a> {
    context: &'a AdminContext,
    title: &'static str,
    text: String,
    /// The page that the request was made from, and what it is about.
    back: Option<(String, String)>,
}

/// Returns the page that a failed form stands on, with a name for a link.
fn way_back(page: &str) -> (String, String) {
    let mut parts = page
        .split(['?', '#'])
        .next()
        .unwrap_or_default()
        .split('/')
        .skip(2);
    let name = match (parts.next(), parts.next()) {
        (Some("orders"), Some("ship") | None) => "the orders".to_owned(),
        (Some("orders"), Some(number)) => format!("order {number}"),
        (Some("products"), Some(_)) => "the product".to_owned(),
        (Some("products"), None) => "the products".to_owned(),
        (Some("custom-orders"), Some(number)) => format!("custom order {number}"),
        (Some("categories"), _) => "the categories".to_owned(),
        (Some("users"), Some(_)) => "the user".to_owned(),
        (Some("settings"), _) => "the settings".to_owned(),
        (Some("account"), _) => "your account".to_owned(),
        _ => "the page".to_owned(),
    };
    (page.to_owned(), format!("Back to {name}"))
}

/// Renders an error page. If that fails too, the plain response is kept.
fn tell(context: &AdminContext, error: &Error, plain: Response) -> Response {
    let status = plain.status();
    let (title, text) = match error {
        Error::NotFound(_) => (
            "There is no such page",
            "It may have been moved, or the address is wrong.".to_owned(),
        ),
        Error::Invalid(field_errors) => {
            let field_errors: Vec<String> = field_errors
                .iter()
                .map(|field_error| format!("{} {}.", field_error.field, field_error.message))
                .collect();
            ("Something is not right", field_errors.join(" "))
        }
        Error::Refused(_, Code::StaleForm, sentence) => {
            ("This form is out of date", sentence.clone())
        }
        Error::Refused(StatusCode::FORBIDDEN, _, sentence) => ("Not allowed", sentence.clone()),
        Error::Refused(_, _, sentence) => ("That did not work", sentence.clone()),
        Error::TooMany(_, _, sentence) => ("One moment, please", sentence.clone()),
        Error::Conflict(Code::AlreadySent, sentence) => {
            ("This form was sent before", sentence.clone())
        }
        Error::Conflict(_, sentence) => ("That cannot be done", sentence.clone()),
        Error::Unauthenticated => (
            "You are signed out",
            "This browser is not signed in any more. Nothing was changed; sign in and try again."
                .to_owned(),
        ),
        Error::Forbidden(_) => (
            "Not allowed",
            "You do not have permission to do that.".to_owned(),
        ),
        Error::Overloaded | Error::Unavailable(..) => (
            "One moment, please",
            "The shop is briefly unavailable. Nothing was changed; try again in a moment."
                .to_owned(),
        ),
        _ => (
            "Something went wrong",
            "The error is on our side and has been logged.".to_owned(),
        ),
    };
    let page = ErrorPage {
        context,
        title,
        text,
        back: context.sent_from.as_deref().map(way_back),
    };
    match context.show(&page) {
        Ok(mut page) => {
            *page.status_mut() = status;
            for name in [header::RETRY_AFTER, header::ALLOW] {
                if let Some(value) = plain.headers().get(&name) {
                    page.headers_mut().insert(name, value.clone());
                }
            }
            page
        }
        Err(_) => plain,
    }
}
