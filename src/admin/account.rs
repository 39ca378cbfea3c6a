//! The user's own account: password, second factor, and signed-in browsers.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use serde_json::Value;
use sqlx::PgConnection;

use super::context::{AdminContext, SESSION};
use super::form::Form;
use super::sign_in::{ask_password, judged, know_again};
use crate::app::App;
use crate::audit;
use crate::auth::{self, Session, Setup, Step, User};
use crate::error::{Error, Result};
use crate::types::ids::SessionId;

const ACCOUNT: &str = "/admin/account";

#[derive(Template)]
#[template(path = "account.html", config = "src/admin/askama.toml")]
struct AccountPage<'a> {
    context: &'a AdminContext,
    user: User,
    codes_left: i64,
    sessions: Vec<Session>,
    this: SessionId,
    /// Name of the form on the page that was refused, or empty.
    refused: &'static str,
    form: Form,
}

impl AccountPage<'_> {
    /// Returns the submitted form if it is the one that was refused, otherwise an empty form.
    fn form_of(&self, which: &str) -> Form {
        if self.refused == which {
            self.form.clone()
        } else {
            Form::default()
        }
    }
}

#[derive(Template)]
#[template(path = "second_factor_set_up.html", config = "src/admin/askama.toml")]
struct SetUpPage<'a> {
    context: &'a AdminContext,
    setup: Setup,
    form: Form,
}

#[derive(Template)]
#[template(path = "recovery_codes.html", config = "src/admin/askama.toml")]
struct CodesPage<'a> {
    context: &'a AdminContext,
    codes: Vec<String>,
    is_new: bool,
}

/// `GET /admin/account`
pub async fn show(State(app): State<App>, context: AdminContext) -> Result<Response> {
    account(&app, &context, "", Form::default()).await
}

async fn account(
    app: &App,
    context: &AdminContext,
    which: &'static str,
    form: Form,
) -> Result<Response> {
    let current = context.user()?;
    let mut conn = app.db.acquire().await?;
    let user = auth::find_user(&mut conn, current.id)
        .await?
        .ok_or(Error::Unauthenticated)?;
    let verdict = form.verdict();
    let page = context.show(&AccountPage {
        context,
        user,
        codes_left: auth::recovery_codes_left(&mut conn, current.id).await?,
        sessions: auth::list_sessions(&mut conn, current.id).await?,
        this: current.session,
        refused: which,
        form,
    })?;
    Ok(judged(page, verdict))
}

/// `POST /admin/account/password`: ends the other sessions and gives this one a new token.
pub async fn change_password(
    State(app): State<App>,
    context: AdminContext,
    form: Form,
) -> Result<Response> {
    let changed = async {
        ask_password(&app, &context, &form, "current").await?;
        let new = form.secret("new");
        if new == form.secret("current") {
            return Err(Error::invalid("new", "is the old one"));
        }
        let user = context.user()?;
        let holder = auth::Holder::new(&user.email, &app.config.shop.name);
        let hashed = auth::hash_password(&new, "new", &holder).await?;
        let mut tx = app.db.begin().await?;
        auth::hold_session(&mut tx, user).await?;
        auth::set_password(
            &mut tx,
            &context.actor()?,
            user.id,
            &hashed,
            Some(user.session),
        )
        .await?;
        let token = auth::rotate_session(&mut tx, user.session).await?;
        tx.commit().await?;
        Ok(token)
    };
    match changed.await {
        Ok(token) => {
            let said = "Your password is changed. All other browsers are signed out.";
            let mut response = context.go_on(ACCOUNT, said);
            context.keep_session(&mut response, &token);
            Ok(response)
        }
        Err(error) => account(&app, &context, "password", form.refused(error)?).await,
    }
}

/// `POST /admin/account/second-factor`: starts setting up a second factor.
pub async fn enrol(State(app): State<App>, context: AdminContext, form: Form) -> Result<Response> {
    if let Err(error) = ask_password(&app, &context, &form, "password").await {
        return account(&app, &context, "enrol", form.refused(error)?).await;
    }
    let mut tx = app.db.begin().await?;
    auth::hold_session(&mut tx, context.user()?).await?;
    auth::enrol_second_factor(&mut tx, context.user()?.id).await?;
    tx.commit().await?;
    Ok(Redirect::to("/admin/account/second-factor").into_response())
}

/// `GET /admin/account/second-factor`: shows the secret for the authenticator app, until a code confirms it.
pub async fn set_up(State(app): State<App>, context: AdminContext) -> Result<Response> {
    set_up_page(&app, &context, Form::default()).await
}

async fn set_up_page(app: &App, context: &AdminContext, form: Form) -> Result<Response> {
    let mut conn = app.db.acquire().await?;
    let user = context.user()?.id;
    let setup = auth::second_factor_setup(&mut conn, &app.signer, user, context.shop()).await?;
    let Some(setup) = setup else {
        return Ok(Redirect::to(ACCOUNT).into_response());
    };
    let verdict = form.verdict();
    let page = context.show(&SetUpPage {
        context,
        setup,
        form,
    })?;
    Ok(judged(page, verdict))
}

/// `POST /admin/account/second-factor/confirm`: turns the second factor on.
pub async fn confirm(
    State(app): State<App>,
    context: AdminContext,
    form: Form,
) -> Result<Response> {
    let confirmed = async {
        let mut tx = app.db.begin().await?;
        auth::hold_session(&mut tx, context.user()?).await?;
        let (actor, user) = (context.actor()?, context.user()?.id);
        let codes =
            auth::confirm_second_factor(&mut tx, &app.signer, &actor, user, &form.get("code"))
                .await?;
        // Ends sessions that were signed in with the password alone.
        auth::end_all_sessions(&mut tx, user, Some(context.user()?.session)).await?;
        tx.commit().await?;
        Ok(codes)
    };
    match confirmed.await {
        Ok(codes) => {
            let mut page = context.show(&CodesPage {
                context: &context,
                codes,
                is_new: true,
            })?;
            // This browser has just proved the second factor with a valid code.
            let email = &context.user()?.email;
            know_again(&app, &context, &mut page, email, Step::SecondFactor);
            Ok(page)
        }
        Err(error) => set_up_page(&app, &context, form.refused(error)?).await,
    }
}

/// `POST /admin/account/second-factor/turn-off`
pub async fn turn_off(
    State(app): State<App>,
    context: AdminContext,
    form: Form,
) -> Result<Response> {
    if let Err(error) = ask_password(&app, &context, &form, "password").await {
        return account(&app, &context, "turn_off", form.refused(error)?).await;
    }
    let mut tx = app.db.begin().await?;
    auth::hold_session(&mut tx, context.user()?).await?;
    auth::turn_off_second_factor(&mut tx, &context.actor()?, context.user()?.id).await?;
    tx.commit().await?;
    Ok(context.go_on(ACCOUNT, "Two-step verification is off."))
}

/// `POST /admin/account/recovery-codes`: issues ten new codes and invalidates the old ones.
pub async fn renew_codes(
    State(app): State<App>,
    context: AdminContext,
    form: Form,
) -> Result<Response> {
    if let Err(error) = ask_password(&app, &context, &form, "password").await {
        return account(&app, &context, "codes", form.refused(error)?).await;
    }
    let mut tx = app.db.begin().await?;
    auth::hold_session(&mut tx, context.user()?).await?;
    let codes = auth::renew_recovery_codes(&mut tx, &context.actor()?, context.user()?.id).await?;
    tx.commit().await?;
    context.show(&CodesPage {
        context: &context,
        codes,
        is_new: false,
    })
}

/// `POST /admin/account/sessions/end`: signs one browser out. Safe to repeat.
pub async fn end_session(
    State(app): State<App>,
    context: AdminContext,
    form: Form,
) -> Result<Response> {
    let id = form.get("session").parse().map(SessionId);
    let id = id.map_err(|_| Error::NotFound("Session"))?;
    let mut tx = app.db.begin().await?;
    if auth::end_session(&mut tx, context.user()?.id, id).await? {
        record(&mut tx, &context, "user.end_session").await?;
    }
    tx.commit().await?;
    Ok(context.go_on(ACCOUNT, "That browser is signed out."))
}

/// `POST /admin/account/sign-out-everywhere`: ends every session of the user, including this one.
pub async fn sign_out_everywhere(
    State(app): State<App>,
    context: AdminContext,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    auth::end_all_sessions(&mut tx, context.user()?.id, None).await?;
    record(&mut tx, &context, "user.sign_out_everywhere").await?;
    tx.commit().await?;
    let mut response = context.go_on("/admin/sign-in", "You are signed out everywhere.");
    context.forget_cookie(&mut response, SESSION);
    Ok(response)
}

/// Records in the audit log a change that a user made to their own sessions.
async fn record(
    conn: &mut PgConnection,
    context: &AdminContext,
    action: &'static str,
) -> Result<()> {
    let object = format!("user:{}", context.user()?.email);
    audit::record(
        conn,
        &context.actor()?,
        action,
        &object,
        Value::Null,
        Value::Null,
    )
    .await
}

/// Names the browser and its system from a user agent, such as `Firefox on macOS`; unknown agents are cut to 60
/// characters.
fn browser_name(browser: &str) -> String {
    // The order matters: nearly all browsers claim to be Safari, and most claim to be Chrome.
    let program = [
        ("Firefox/", "Firefox"),
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Chrome/", "Chrome"),
        ("CriOS/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    let machine = [
        ("iPhone", "an iPhone"),
        ("iPad", "an iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Macintosh", "a Mac"),
        ("CrOS", "a Chromebook"),
        ("Linux", "Linux"),
    ];
    let find = |names: &[(&str, &'static str)]| {
        let found = names.iter().find(|(mark, _)| browser.contains(mark));
        found.map(|(_, name)| *name)
    };
    match (find(&program), find(&machine)) {
        (Some(program), Some(machine)) => format!("{program} on {machine}"),
        _ if browser.is_empty() => "A browser without a name".to_owned(),
        _ => browser.chars().take(60).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_have_names_that_people_know() {
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/17.0 Mobile/15E148 Safari/604.1";
        assert_eq!(browser_name(phone), "Safari on an iPhone");
        let laptop = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                      Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0";
        assert_eq!(browser_name(laptop), "Edge on Windows");
        assert_eq!(browser_name("curl/8.5.0"), "curl/8.5.0");
        assert_eq!(browser_name(""), "A browser without a name");
    }
}
