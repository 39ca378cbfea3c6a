//! Admin API of users and tokens.
//!
//! A token never exceeds the rights that an owner gave it. If the scope `users` could create an owner, or `tokens`
//! could create any token, either scope would amount to all of them. So a token can manage only users whose role allows
//! no more than its own scopes, and tokens without other scopes than its own. Tokens and users that a token created
//! stay when it is revoked; the audit log lists them.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::role::Role;
use super::tokens::{self, Admin, Scope, Token};
use super::users::{self, User};
use super::{password, second_factor};
use crate::app::App;
use crate::error::answers::{BadRequest, BodyFailures, NotThere, TokenFailures};
use crate::error::{Error, ErrorBody, FieldError, Result};
use crate::http::texts::ShortLine;
use crate::http::{Json, Page, Paging, Path, Query};
use crate::types::ids::UserId;

/// Routes of users and tokens, without a trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_users, create_user))
        .routes(routes!(find_user))
        .routes(routes!(set_role))
        .routes(routes!(disable_user))
        .routes(routes!(enable_user))
        .routes(routes!(reset_password))
        .routes(routes!(turn_off_second_factor))
        .routes(routes!(end_sessions))
        .routes(routes!(list_tokens, create_token))
        .routes(routes!(revoke_token))
}

/// A user with a new password, which is shown only once.
#[derive(Serialize, ToSchema)]
struct UserWithPassword {
    #[serde(flatten)]
    user: User,
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// Up to 254 characters.
    #[schema(
        max_length = 254,
        pattern = r"^[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+$"
    )]
    email: String,
    #[schema(value_type = Role)]
    role: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRole {
    #[schema(value_type = Role)]
    role: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewToken {
    #[schema(value_type = ShortLine)]
    name: String,
    /// At least one, and only scopes of the caller's own token.
    #[schema(value_type = Vec<Scope>, min_items = 1)]
    scopes: Vec<String>,
    /// End of validity, in the future; unlimited unless given.
    expires_at: Option<DateTime<Utc>>,
}

/// A disabled user, and the tokens that still work.
#[derive(Serialize, ToSchema)]
struct DisabledUser {
    #[serde(flatten)]
    user: User,
    /// Active tokens created by the user or, in turn, by those tokens. Empty after `revoke_tokens`.
    living_tokens: Vec<Token>,
}

/// A token with its text, which is shown only once.
#[derive(Serialize, ToSchema)]
struct MadeToken {
    #[serde(flatten)]
    made: Token,
    token: String,
}

#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "used only by the OpenAPI document")]
enum LastOwner {
    /// `last_owner`: the shop would be left without an owner.
    #[response(status = 409)]
    Conflict(ErrorBody),
}

/// Reads the page that is asked for.
fn paging(query: &Query) -> Result<Paging> {
    let mut field_errors = Vec::new();
    let page = query.paging(&mut field_errors);
    match field_errors.is_empty() {
        true => Ok(page),
        false => Err(Error::Invalid(field_errors)),
    }
}

/// A JSON response that must not be cached.
fn unstored<T: Serialize>(status: StatusCode, view: T) -> Response {
    let headers = [(header::CACHE_CONTROL, "no-store")];
    (status, headers, Json(view)).into_response()
}

fn role(text: &str) -> Result<Role> {
    Role::parse(text).ok_or_else(|| Error::invalid("role", "must be owner or staff"))
}

/// Locks a user that the caller's token may manage, and all owners if the change may remove one.
async fn reached(
    conn: &mut PgConnection,
    admin: &Admin,
    id: UserId,
    may_leave_owners: bool,
) -> Result<User> {
    // Check the token's rights first: a token without them must not learn who the last owner is.
    let found = users::find(conn, id).await?;
    let found = found.ok_or(Error::NotFound("User"))?;
    admin.reaches(found.role.scopes())?;
    let user = users::lock(conn, id, may_leave_owners).await?;
    admin.reaches(user.role.scopes())?;
    Ok(user)
}

/// Lists admin users, disabled users last.
#[utoipa::path(
    get,
    path = "/api/admin/users",
    tag = "users",
    security(("bearer" = [])),
    params(
        Paging,
    ),
    responses((status = 200, body = Page<User>), BadRequest, TokenFailures)
)]
async fn list_users(
    State(app): State<App>,
    admin: Admin,
    query: Query,
) -> Result<Json<Page<User>>> {
    admin.may(Scope::Users)?;
    let users = users::list(&mut *app.db.acquire().await?).await?;
    Ok(Json(Page::of(paging(&query)?, users)))
}

/// Creates a user. The caller's token needs every scope that the role allows. The password is shown only once.
#[utoipa::path(
    post,
    path = "/api/admin/users",
    tag = "users",
    security(("bearer" = [])),
    request_body = NewUser,
    responses((status = 201, body = UserWithPassword), BadRequest, TokenFailures, BodyFailures)
)]
async fn create_user(
    State(app): State<App>,
    admin: Admin,
    Json(new): Json<NewUser>,
) -> Result<Response> {
    admin.may(Scope::Users)?;
    let role = role(&new.role)?;
    admin.reaches(role.scopes())?;
    let password = password::generate()?;
    let hashed = password::hash_generated(&password).await?;
    let mut tx = app.db.begin().await?;
    let user = users::create(&mut tx, &admin.actor, &new.email, role, &hashed).await?;
    tx.commit().await?;
    let view = UserWithPassword {
        user,
        password: password.reveal().to_owned(),
    };
    Ok(unstored(StatusCode::CREATED, view))
}

/// Returns one user.
#[utoipa::path(
    get,
    path = "/api/admin/users/{id}",
    tag = "users",
    security(("bearer" = [])),
    params(("id" = UserId, Path)),
    responses((status = 200, body = User), BadRequest, TokenFailures, NotThere)
)]
async fn find_user(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<UserId>,
) -> Result<Json<User>> {
    admin.may(Scope::Users)?;
    let user = users::find(&mut *app.db.acquire().await?, id).await?;
    Ok(Json(user.ok_or(Error::NotFound("User"))?))
}

/// Changes a user's role. The caller's token needs the scopes of the old and the new role. Safe to repeat.
#[utoipa::path(
    post,
    operation_id = "set_user_role",
    path = "/api/admin/users/{id}/role",
    tag = "users",
    security(("bearer" = [])),
    params(("id" = UserId, Path)),
    request_body = NewRole,
    responses((status = 200, body = User), BadRequest, TokenFailures, NotThere, LastOwner, BodyFailures)
)]
async fn set_role(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<UserId>,
    Json(new): Json<NewRole>,
) -> Result<Json<User>> {
    admin.may(Scope::Users)?;
    let role = role(&new.role)?;
    admin.reaches(role.scopes())?;
    let mut tx = app.db.begin().await?;
    reached(&mut tx, &admin, id, role != Role::Owner).await?;
    let user = users::set_role(&mut tx, &admin.actor, id, role).await?;
    tx.commit().await?;
    Ok(Json(user))
}

/// Disables a user at once: sign-in is refused, and all sessions end. Tokens created by the user keep working and are
/// listed in the answer; `revoke_tokens` revokes them, if the caller's token has the scope `tokens`. Safe to repeat.
#[utoipa::path(
    post,
    path = "/api/admin/users/{id}/disable",
    tag = "users",
    security(("bearer" = [])),
    params(
        ("id" = UserId, Path),
        ("revoke_tokens" = Option<bool>, Query, description = "`true`: revokes the tokens that the user created"),
    ),
    responses((status = 200, body = DisabledUser), BadRequest, TokenFailures, NotThere, LastOwner)
)]
async fn disable_user(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<UserId>,
    query: Query,
) -> Result<Json<DisabledUser>> {
    admin.may(Scope::Users)?;
    let mut field_errors = Vec::new();
    let word = |value| if value { "true" } else { "false" };
    let revoke = query.one_of("revoke_tokens", &[true, false], word, &mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let mut tx = app.db.begin().await?;
    reached(&mut tx, &admin, id, true).await?;
    let user = users::disable(&mut tx, &admin.actor, id).await?;
    let mut living_tokens = tokens::list_tokens_of(&mut tx, id).await?;
    if revoke == Some(true) {
        admin.may(Scope::Tokens)?;
        for token in &living_tokens {
            admin.reaches(&token.known_scopes())?;
        }
        tokens::revoke_tokens_of(&mut tx, &admin.actor, id).await?;
        living_tokens.clear();
    }
    tx.commit().await?;
    Ok(Json(DisabledUser {
        user,
        living_tokens,
    }))
}

/// Enables a disabled user. Safe to repeat.
#[utoipa::path(
    post,
    path = "/api/admin/users/{id}/enable",
    tag = "users",
    security(("bearer" = [])),
    params(("id" = UserId, Path)),
    responses((status = 200, body = User), BadRequest, TokenFailures, NotThere)
)]
async fn enable_user(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<UserId>,
) -> Result<Json<User>> {
    admin.may(Scope::Users)?;
    let mut tx = app.db.begin().await?;
    reached(&mut tx, &admin, id, false).await?;
    let user = users::enable(&mut tx, &admin.actor, id).await?;
    tx.commit().await?;
    Ok(Json(user))
}

/// Resets a user's password. The new one is shown only once, and all sessions end.
#[utoipa::path(
    post,
    operation_id = "reset_user_password",
    path = "/api/admin/users/{id}/password",
    tag = "users",
    security(("bearer" = [])),
    params(("id" = UserId, Path)),
    responses((status = 200, body = UserWithPassword), BadRequest, TokenFailures, NotThere)
)]
async fn reset_password(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<UserId>,
) -> Result<Response> {
    admin.may(Scope::Users)?;
    let password = password::generate()?;
    let hashed = password::hash_generated(&password).await?;
    let mut tx = app.db.begin().await?;
    let user = reached(&mut tx, &admin, id, false).await?;
    users::set_password(&mut tx, &admin.actor, id, &hashed, None).await?;
    tx.commit().await?;
    let view = UserWithPassword {
        user,
        password: password.reveal().to_owned(),
    };
    Ok(unstored(StatusCode::OK, view))
}

/// Turns off a user's second factor, for a user without phone and recovery codes. Safe to repeat.
#[utoipa::path(
    post,
    operation_id = "turn_off_user_second_factor",
    path = "/api/admin/users/{id}/second-factor/turn-off",
    tag = "users",
    security(("bearer" = [])),
    params(("id" = UserId, Path)),
    responses((status = 200, body = User), BadRequest, TokenFailures, NotThere)
)]
async fn turn_off_second_factor(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<UserId>,
) -> Result<Json<User>> {
    admin.may(Scope::Users)?;
    let mut tx = app.db.begin().await?;
    reached(&mut tx, &admin, id, false).await?;
    second_factor::turn_off(&mut tx, &admin.actor, id).await?;
    let user = users::find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(user.ok_or(Error::NotFound("User"))?))
}

/// Signs a user out everywhere. Safe to repeat.
#[utoipa::path(
    post,
    operation_id = "end_user_sessions",
    path = "/api/admin/users/{id}/sessions/end",
    tag = "users",
    security(("bearer" = [])),
    params(("id" = UserId, Path)),
    responses((status = 200, body = User), BadRequest, TokenFailures, NotThere)
)]
async fn end_sessions(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<UserId>,
) -> Result<Json<User>> {
    admin.may(Scope::Users)?;
    let mut tx = app.db.begin().await?;
    reached(&mut tx, &admin, id, false).await?;
    let user = users::end_sessions(&mut tx, &admin.actor, id).await?;
    tx.commit().await?;
    Ok(Json(user))
}

/// Lists all tokens, revoked ones included, newest first. Their texts are not stored.
#[utoipa::path(
    get,
    path = "/api/admin/tokens",
    tag = "tokens",
    security(("bearer" = [])),
    params(
        Paging,
    ),
    responses((status = 200, body = Page<Token>), BadRequest, TokenFailures)
)]
async fn list_tokens(
    State(app): State<App>,
    admin: Admin,
    query: Query,
) -> Result<Json<Page<Token>>> {
    admin.may(Scope::Tokens)?;
    let tokens = tokens::list_tokens(&mut *app.db.acquire().await?).await?;
    Ok(Json(Page::of(paging(&query)?, tokens)))
}

/// Creates a token with scopes of the caller's own token only. Its text is shown only once.
#[utoipa::path(
    post,
    path = "/api/admin/tokens",
    tag = "tokens",
    security(("bearer" = [])),
    request_body = NewToken,
    responses((status = 201, body = MadeToken), BadRequest, TokenFailures, BodyFailures)
)]
async fn create_token(
    State(app): State<App>,
    admin: Admin,
    Json(new): Json<NewToken>,
) -> Result<Response> {
    admin.may(Scope::Tokens)?;
    let mut field_errors = Vec::new();
    let mut scopes = Vec::new();
    for (at, name) in new.scopes.iter().enumerate() {
        match Scope::parse(name) {
            Some(scope) if scopes.contains(&scope) => {}
            Some(scope) => scopes.push(scope),
            None => field_errors.push(FieldError::new(format!("scopes[{at}]"), "is not a scope")),
        }
    }
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    admin.reaches(&scopes)?;
    let mut tx = app.db.begin().await?;
    let new = tokens::TokenRequest {
        name: &new.name,
        scopes: &scopes,
        expires_at: new.expires_at,
    };
    let (made, token) = tokens::create_token(&mut tx, &admin.actor, &new).await?;
    tx.commit().await?;
    Ok(unstored(StatusCode::CREATED, MadeToken { made, token }))
}

/// Revokes a token whose scopes are all among those of the caller's own token. Safe to repeat.
#[utoipa::path(
    post,
    path = "/api/admin/tokens/{id}/revoke",
    tag = "tokens",
    security(("bearer" = [])),
    params(("id" = i64, Path)),
    responses((status = 200, body = Token), BadRequest, TokenFailures, NotThere)
)]
async fn revoke_token(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<i64>,
) -> Result<Json<Token>> {
    admin.may(Scope::Tokens)?;
    let mut tx = app.db.begin().await?;
    let token = tokens::lock(&mut tx, id).await?;
    let token = token.ok_or(Error::NotFound("Token"))?;
    admin.reaches(&token.known_scopes())?;
    tokens::revoke_token(&mut tx, &admin.actor, id).await?;
    let token = tokens::lock(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(token.ok_or(Error::NotFound("Token"))?))
}
