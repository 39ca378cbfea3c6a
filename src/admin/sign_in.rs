//! Sign-in with password and second factor, and sign-out.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use url::{Position, Url};

use super::context::{AdminContext, BROWSER, SESSION};
use super::form::{Form, Verdict};
use crate::app::App;
use crate::auth::{self, PasswordCheck, SignedIn, Step};
use crate::error::{Error, Result};
use crate::http::Query;
use crate::http::rate_limit;

/// Lifetime of the cookie that recognizes a browser, in seconds: one year. The cookie grants no access, so it may last.
const KNOWN_FOR: i64 = 365 * 24 * 60 * 60;

const SECOND_FACTOR: &str = "/admin/second-factor";

/// Value of the query parameter `why` of the sign-in page after a session ended.
const SESSION_OVER: &str = "session-over";

/// Message after signing out.
pub const SIGNED_OUT: &str = "You are signed out.";

#[derive(Template)]
#[template(path = "sign_in.html", config = "src/admin/askama.toml")]
struct SignInPage<'a> {
    context: &'a AdminContext,
    form: Form,
    alert: Option<String>,
    next: String,
    /// The session of this browser is over.
    is_lost: bool,
}

#[derive(Template)]
#[template(path = "second_factor.html", config = "src/admin/askama.toml")]
struct SecondFactorPage<'a> {
    context: &'a AdminContext,
    alert: Option<String>,
    next: String,
}

/// `GET /admin/sign-in`
pub async fn show(context: AdminContext, query: Query) -> Result<Response> {
    let next = next(query.get("next").unwrap_or_default());
    if context.user.as_ref().is_some_and(|user| !user.mfa_pending) {
        return Ok(Redirect::to(&next).into_response());
    }
    context.show(&SignInPage {
        context: &context,
        form: Form::default(),
        alert: None,
        next,
        is_lost: query.get("why") == Some(SESSION_OVER),
    })
}

/// `POST /admin/sign-in`: checks the password. An unknown email address gets the same answer as a wrong password.
pub async fn submit(State(app): State<App>, context: AdminContext, form: Form) -> Result<Response> {
    let (email, password) = (form.get("email"), form.secret("password"));
    let next = next(&form.get("next"));
    let outcome = auth::sign_in(&app, &email, &password, &context.visit).await?;
    let wrong = "The email address or the password is wrong.";
    let (status, wait, alert) = match outcome {
        SignedIn::Whole(token) => {
            leave(&app, &context).await?;
            let mut response = Redirect::to(&next).into_response();
            context.keep_session(&mut response, &token);
            know_again(&app, &context, &mut response, &email, Step::Password);
            return Ok(response);
        }
        SignedIn::MfaPending(token) => {
            leave(&app, &context).await?;
            let mut response = Redirect::to(&second_factor_for(&next)).into_response();
            context.keep_session(&mut response, &token);
            return Ok(response);
        }
        SignedIn::Wrong => (StatusCode::UNPROCESSABLE_ENTITY, None, wrong.to_owned()),
        SignedIn::Wait(wait) => (StatusCode::TOO_MANY_REQUESTS, Some(wait), too_many(wait)),
    };
    let page = context.show(&SignInPage {
        context: &context,
        form,
        alert: Some(alert),
        next,
        is_lost: false,
    })?;
    Ok(refused(page, status, wait))
}

/// Sets the cookie that recognizes the browser of a user who has passed a step.
pub fn know_again(
    app: &App,
    context: &AdminContext,
    response: &mut Response,
    email: &str,
    passed: Step,
) {
    let known = auth::known_browser(&app.signer, email, passed);
    context.set_cookie(response, BROWSER, &known, Some(KNOWN_FOR));
}

/// `GET /admin/second-factor`
pub async fn show_second_factor(context: AdminContext, query: Query) -> Result<Response> {
    let next = next(query.get("next").unwrap_or_default());
    context.show(&SecondFactorPage {
        context: &context,
        alert: None,
        next,
    })
}

/// `POST /admin/second-factor`: accepts a code of the authenticator app, or a recovery code.
pub async fn submit_second_factor(
    State(app): State<App>,
    context: AdminContext,
    form: Form,
) -> Result<Response> {
    let next = next(&form.get("next"));
    let user = context.user()?;
    let outcome = auth::check_second_factor(&app, user, &form.get("code"), &context.visit).await?;
    let (status, wait, alert) = match outcome {
        SignedIn::Whole(token) | SignedIn::MfaPending(token) => {
            let mut response = Redirect::to(&next).into_response();
            context.keep_session(&mut response, &token);
            know_again(&app, &context, &mut response, &user.email, Step::SecondFactor);
            return Ok(response);
        }
        SignedIn::Wrong => (
            StatusCode::UNPROCESSABLE_ENTITY,
            None,
            "That code is not right, or was used already. The app shows a new one every half minute.".to_owned(),
        ),
        SignedIn::Wait(wait) => (
            StatusCode::TOO_MANY_REQUESTS,
            Some(wait),
            too_many(wait),
        ),
    };
    let page = context.show(&SecondFactorPage {
        context: &context,
        alert: Some(alert),
        next,
    })?;
    Ok(refused(page, status, wait))
}

/// `POST /admin/sign-out`: ends the session of this browser. Safe to repeat.
pub async fn sign_out(State(app): State<App>, context: AdminContext) -> Result<Response> {
    leave(&app, &context).await?;
    let mut response = context.go_on("/admin/sign-in", SIGNED_OUT);
    context.forget_cookie(&mut response, SESSION);
    Ok(response)
}

/// Ends the session of the browser, if it has one.
async fn leave(app: &App, context: &AdminContext) -> Result<()> {
    if let Some(user) = &context.user {
        let mut conn = app.db.acquire().await?;
        auth::end_session(&mut conn, user.id, user.session).await?;
    }
    Ok(())
}

/// Returns the page to open after signing in. Only pages of the admin are allowed, never another site.
fn next(path: &str) -> String {
    within(path).unwrap_or_else(|| super::ROOT.to_owned())
}

/// Reports whether a path is one of the admin.
pub fn is_page(path: &str) -> bool {
    within(path).is_some()
}

/// Returns the path as a browser will read it, with `..` resolved, if it is one of the admin. A path of sign-in stands
/// for the page that it leads to: leading back to sign-in itself would be a loop.
fn within(path: &str) -> Option<String> {
    let root = Url::parse("http://shop.invalid").expect("a constant URL");
    let is_plain =
        path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let url = root.join(path).ok()?;
    let is_ours = url.path() == super::ROOT || url.path().starts_with("/admin/");
    if !is_plain || url.origin() != root.origin() || !is_ours {
        return None;
    }
    if url.path().starts_with("/admin/sign-") || url.path().starts_with(SECOND_FACTOR) {
        let (_, next) = url.query_pairs().find(|(name, _)| name == "next")?;
        // Shorter than `path`, so this ends.
        return within(&next);
    }
    Some(url[Position::BeforePath..].to_owned())
}

/// Path of the sign-in page that leads on to `path`. With `is_lost`, it says that the session is over.
pub fn page_for(path: &str, is_lost: bool) -> String {
    let page = with_next("/admin/sign-in", &next(path));
    match (is_lost, page.contains('?')) {
        (false, _) => page,
        (true, false) => format!("{page}?why={SESSION_OVER}"),
        (true, true) => format!("{page}&why={SESSION_OVER}"),
    }
}

/// Path of the second step that leads on to `path`.
pub fn second_factor_for(path: &str) -> String {
    with_next(SECOND_FACTOR, &next(path))
}

fn with_next(path: &str, next: &str) -> String {
    if next == super::ROOT {
        return path.to_owned();
    }
    let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
    format!("{path}?next={next}")
}

/// Message after too many attempts at a password or a code.
pub fn too_many(wait: Duration) -> String {
    format!(
        "Too many tries. Wait {}, then try again.",
        rate_limit::in_words(wait)
    )
}

/// Sets the status of a page with a form according to its verdict.
pub fn judged(page: Response, verdict: Verdict) -> Response {
    match verdict {
        Verdict::Good => page,
        Verdict::Invalid => refused(page, StatusCode::BAD_REQUEST, None),
        Verdict::TooSoon(wait) => refused(page, StatusCode::TOO_MANY_REQUESTS, Some(wait)),
    }
}

/// Sets an error status on a page.
pub fn refused(mut page: Response, status: StatusCode, wait: Option<Duration>) -> Response {
    *page.status_mut() = status;
    if let Some(wait) = wait {
        let seconds = HeaderValue::from(wait.as_secs().max(1));
        page.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    page
}

/// Field in which owners repeat their own password before they create users or tokens. These outlive the session, so a
/// borrowed browser must not be able to create them.
pub const YOURS: &str = "your_password";

/// Asks a signed-in user for their password again.
///
/// # Errors
/// An error of `field` for a wrong password; 429 after too many attempts.
pub async fn ask_password(
    app: &App,
    context: &AdminContext,
    form: &Form,
    field: &'static str,
) -> Result<()> {
    let user = context.user()?;
    match auth::check_password(app, user, &form.secret(field), &context.visit).await? {
        PasswordCheck::Right => Ok(()),
        PasswordCheck::Wrong => Err(Error::invalid(field, "is not your password")),
        PasswordCheck::Wait(wait) => Err(Error::TooMany(Some(field), wait, too_many(wait))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_a_page_of_the_admin_opens_and_no_other() {
        for ours in [
            "/admin",
            "/admin/orders?tab=all",
            "/admin/orders/SB-1001",
            "/admin?days=90",
            "/admin/products/sunrise#images",
        ] {
            assert_eq!(next(ours), ours);
        }
        let halfway = "/admin/second-factor?next=%2Fadmin%2Forders%3Ftab%3Dall";
        assert_eq!(next(halfway), "/admin/orders?tab=all");
        for other in [
            "",
            "/",
            "//evil.example",
            "/adminevil",
            "https://evil.example/admin/",
            "/admin/\\evil",
            "/admin/\nx",
            "/admin/sign-out",
            "/admin/sign-in?next=//evil.example/admin/",
            "/admin/../evil",
            "/admin/%2e%2E/evil",
            "/admin/orders/../../evil",
            "//evil.example/admin/",
            "admin/orders",
            "javascript:alert(1)",
        ] {
            assert_eq!(next(other), "/admin", "{other:?}");
        }
    }
}
