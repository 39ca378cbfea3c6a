//! Signing in and out: password, second factor.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::context::{AdminContext, BROWSER, SESSION};
use super::form::{Form, Verdict};
use crate::app::App;
use crate::auth::{self, SignedIn, Step};
use crate::error::{Error, Result};
use crate::extract::Query;
use crate::rate_limit;

/// How long we know a browser again, in seconds: a year. It opens nothing, so it may last.
const KNOWN_FOR: i64 = 365 * 24 * 60 * 60;

/// What somebody is told who has signed out.
pub const SIGNED_OUT: &str = "You are signed out.";

#[derive(Template)]
#[template(path = "sign_in.html", config = "src/admin/askama.toml")]
struct SignInPage<'a> {
    context: &'a AdminContext,
    form: Form,
    alert: Option<String>,
    next: String,
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
    })
}

/// `POST /admin/sign-in`: address and password. An address that is nobody's is answered as a wrong password is.
pub async fn submit(State(app): State<App>, context: AdminContext, form: Form) -> Result<Response> {
    let (email, password) = (form.get("email"), form.secret("password"));
    let next = next(&form.get("next"));
    let outcome = auth::sign_in(&app, &email, &password, &context.visit).await?;
    let wrong = "That is not the right address and password.";
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
            let way = with_next("/admin/second-factor", &next);
            let mut response = Redirect::to(&way).into_response();
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
    })?;
    Ok(refused(page, status, wait))
}

/// Lets the browser of somebody who has passed a step know itself again.
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

/// `POST /admin/second-factor`: a code of the app, or a recovery code.
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

/// `POST /admin/sign-out`: this browser's session ends. Safe to repeat.
pub async fn sign_out(State(app): State<App>, context: AdminContext) -> Result<Response> {
    leave(&app, &context).await?;
    let mut response = context.go_on("/admin/sign-in", SIGNED_OUT);
    context.forget_cookie(&mut response, SESSION);
    Ok(response)
}

/// Ends the session that the browser came with, if it came with one.
async fn leave(app: &App, context: &AdminContext) -> Result<()> {
    if let Some(user) = &context.user {
        let mut conn = app.db.acquire().await?;
        auth::end_session(&mut conn, user.id, user.session).await?;
    }
    Ok(())
}

/// What to open after signing in: a page of the admin, never another site.
fn next(path: &str) -> String {
    let is_ours = path == super::ROOT || path.starts_with("/admin/") || path.starts_with("/admin?");
    let is_plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    // Coming back to sign-in would be going round in circles.
    let is_door = path.starts_with("/admin/sign-") || path.starts_with("/admin/second-factor");
    if is_ours && is_plain && !is_door {
        path.to_owned()
    } else {
        super::ROOT.to_owned()
    }
}

fn with_next(path: &str, next: &str) -> String {
    if next == super::ROOT {
        return path.to_owned();
    }
    let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
    format!("{path}?next={next}")
}

/// What who tried too often is told, here and wherever else a password is asked for.
pub fn too_many(wait: Duration) -> String {
    format!(
        "Too many tries. Wait {}, then try again.",
        rate_limit::in_words(wait)
    )
}

/// A page with a form, under the status that tells what is wrong with it.
pub fn judged(page: Response, verdict: Verdict) -> Response {
    match verdict {
        Verdict::Good => page,
        Verdict::Invalid => refused(page, StatusCode::BAD_REQUEST, None),
        Verdict::TooSoon(wait) => refused(page, StatusCode::TOO_MANY_REQUESTS, Some(wait)),
    }
}

/// The same page with a status that says no.
pub fn refused(mut page: Response, status: StatusCode, wait: Option<Duration>) -> Response {
    *page.status_mut() = status;
    if let Some(wait) = wait {
        let seconds = HeaderValue::from(wait.as_secs().max(1));
        page.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    page
}

/// The field in which an owner gives their own password again, before what would outlive their session: a borrowed
/// browser must not make users or tokens.
pub const YOURS: &str = "your_password";

/// Asks somebody who is in for their password again.
///
/// # Errors
/// A field error of `field` for a wrong one; 429 after too many.
pub async fn ask_password(
    app: &App,
    context: &AdminContext,
    form: &Form,
    field: &'static str,
) -> Result<()> {
    let user = context.user()?;
    match auth::check_password(app, user, &form.secret(field), &context.visit).await? {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::invalid(field, "is not your password")),
        Err(wait) => Err(Error::TooMany(Some(field), wait, too_many(wait))),
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
        ] {
            assert_eq!(next(ours), ours);
        }
        for other in [
            "",
            "/",
            "//evil.example",
            "/adminevil",
            "https://evil.example/admin/",
            "/admin/\\evil",
            "/admin/\nx",
            "/admin/sign-out",
            "javascript:alert(1)",
        ] {
            assert_eq!(next(other), "/admin", "{other:?}");
        }
    }
}
