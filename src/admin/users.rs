//! User accounts of the admin and their roles.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use uuid::Uuid;

use super::context::AdminContext;
use super::form::Form;
use super::sign_in::{YOURS, ask_password, judged};
use crate::app::App;
use crate::auth::{self, Role, Token, User};
use crate::error::{Code, Error, Result};
use crate::http::Path;
use crate::types::ids::UserId;

#[derive(Template)]
#[template(path = "users.html", config = "src/admin/askama.toml")]
struct UsersPage<'a> {
    context: &'a AdminContext,
    users: Vec<User>,
    me: UserId,
    form: Form,
}

#[derive(Template)]
#[template(path = "user.html", config = "src/admin/askama.toml")]
struct UserPage<'a> {
    context: &'a AdminContext,
    user: User,
    is_me: bool,
    /// Active tokens that the user created.
    tokens: Vec<Token>,
}

/// A secret that is shown only once, because the database stores only its hash.
#[derive(Template)]
#[template(path = "shown_once.html", config = "src/admin/askama.toml")]
pub struct ShownOnce<'a> {
    pub context: &'a AdminContext,
    pub title: String,
    pub text: &'static str,
    pub secret: &'a str,
    /// Path and name of the page to go on to.
    pub back: (&'static str, &'static str),
}

const BACK: (&str, &str) = ("/admin/users", "Users");
const PASS_IT_ON: &str =
    "This is the password. It is shown only once: pass it on in a way that nobody else can read.";

/// `GET /admin/users`
pub async fn list(State(app): State<App>, context: AdminContext) -> Result<Response> {
    users(&app, &context, Form::default()).await
}

async fn users(app: &App, context: &AdminContext, form: Form) -> Result<Response> {
    let verdict = form.verdict();
    let page = context.show(&UsersPage {
        context,
        users: auth::list_users(&mut *app.db.acquire().await?).await?,
        me: context.user()?.id,
        form,
    })?;
    Ok(judged(page, verdict))
}

/// `POST /admin/users`: creates a user and shows the password once.
pub async fn create(State(app): State<App>, context: AdminContext, form: Form) -> Result<Response> {
    let password = auth::generate_password()?;
    let made = async {
        ask_password(&app, &context, &form, YOURS).await?;
        let role = Role::parse(&form.get("role"))
            .ok_or_else(|| Error::invalid("role", "must be owner or staff"))?;
        let hashed = auth::hash_generated(&password).await?;
        let mut tx = app.db.begin().await?;
        let email = form.get("email");
        let user = auth::create_user(&mut tx, &context.actor()?, &email, role, &hashed).await?;
        tx.commit().await?;
        Ok(user)
    };
    match made.await {
        Ok(user) => context.show(&ShownOnce {
            context: &context,
            title: format!("{} may sign in", user.email),
            text: PASS_IT_ON,
            secret: password.reveal(),
            back: BACK,
        }),
        Err(error) => users(&app, &context, form.refused(error)?).await,
    }
}

/// `GET /admin/users/{id}`
pub async fn show(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<Uuid>,
) -> Result<Response> {
    let mut conn = app.db.acquire().await?;
    let user = auth::find_user(&mut conn, UserId(id))
        .await?
        .ok_or(Error::NotFound("User"))?;
    let is_me = user.id == context.user()?.id;
    context.show(&UserPage {
        context: &context,
        tokens: auth::list_tokens_of(&mut conn, user.id).await?,
        user,
        is_me,
    })
}

/// `POST /admin/users/{id}/role`
pub async fn set_role(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<Uuid>,
    form: Form,
) -> Result<Response> {
    let role = Role::parse(&form.get("role"))
        .ok_or_else(|| Error::invalid("role", "must be owner or staff"))?;
    let id = others(&context, id)?;
    ask_password(&app, &context, &form, YOURS).await?;
    let mut tx = app.db.begin().await?;
    let user = auth::set_role(&mut tx, &context.actor()?, id, role).await?;
    tx.commit().await?;
    let said = format!("{} is {} now.", user.email, role.as_str());
    Ok(context.go_on(BACK.0, &said))
}

/// `POST /admin/users/{id}/disable`: ends the user's sessions immediately and, if requested, revokes the tokens that the
/// user created.
pub async fn disable(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<Uuid>,
    form: Form,
) -> Result<Response> {
    let id = others(&context, id)?;
    let mut tx = app.db.begin().await?;
    let user = auth::disable_user(&mut tx, &context.actor()?, id).await?;
    let (tokens, state) = match form.get("revoke_tokens").as_str() {
        "yes" => (
            auth::revoke_tokens_of(&mut tx, &context.actor()?, id).await?,
            "revoked",
        ),
        _ => (auth::list_tokens_of(&mut tx, id).await?, "still working"),
    };
    tx.commit().await?;
    let mut said = format!("{} is deactivated.", user.email);
    if !tokens.is_empty() {
        let names: Vec<&str> = tokens.iter().map(|token| token.name.as_str()).collect();
        said += &format!(" API keys that they made, {state}: {}.", names.join(", "));
    }
    Ok(context.go_on(BACK.0, &said))
}

/// `POST /admin/users/{id}/enable`
pub async fn enable(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<Uuid>,
    form: Form,
) -> Result<Response> {
    ask_password(&app, &context, &form, YOURS).await?;
    let mut tx = app.db.begin().await?;
    let user = auth::enable_user(&mut tx, &context.actor()?, UserId(id)).await?;
    tx.commit().await?;
    Ok(context.go_on(BACK.0, &format!("{} may sign in again.", user.email)))
}

/// `POST /admin/users/{id}/password`: sets a new password, shown once, and ends the user's sessions.
pub async fn reset_password(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<Uuid>,
    form: Form,
) -> Result<Response> {
    let id = others(&context, id)?;
    ask_password(&app, &context, &form, YOURS).await?;
    let password = auth::generate_password()?;
    let hashed = auth::hash_generated(&password).await?;
    let mut tx = app.db.begin().await?;
    auth::set_password(&mut tx, &context.actor()?, id, &hashed, None).await?;
    let user = auth::find_user(&mut tx, id)
        .await?
        .ok_or(Error::NotFound("User"))?;
    tx.commit().await?;
    context.show(&ShownOnce {
        context: &context,
        title: format!("A new password for {}", user.email),
        text: PASS_IT_ON,
        secret: password.reveal(),
        back: BACK,
    })
}

/// `POST /admin/users/{id}/second-factor/turn-off`: helps a user who has lost both the phone and the recovery codes.
pub async fn turn_off_second_factor(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<Uuid>,
    form: Form,
) -> Result<Response> {
    let id = others(&context, id)?;
    ask_password(&app, &context, &form, YOURS).await?;
    let mut tx = app.db.begin().await?;
    let user = auth::turn_off_second_factor(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    let said = format!("{} signs in with the password alone now.", user.email);
    Ok(context.go_on(BACK.0, &said))
}

/// Rejects changes to the user's own account. They could lock the user out by accident, or skip the prompt for the
/// current password.
fn others(context: &AdminContext, id: Uuid) -> Result<UserId> {
    if context.user()?.id == UserId(id) {
        return Err(Error::Conflict(
            Code::Yourself,
            "That is you. You can change your own account under My account.".to_owned(),
        ));
    }
    Ok(UserId(id))
}
