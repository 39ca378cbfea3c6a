//! API tokens, their scopes, and the [`Admin`] extractor that requires one.
//!
//! A token is 256 random bits, shown once; the database stores their SHA-256. (A slow hash protects guessable
//! passwords; a token cannot be guessed.)

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{random, sha256};
use crate::app::App;
use crate::audit::{self, Actor};
use crate::error::{Error, FieldError, Result};
use crate::types::ids::UserId;

/// A permission of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read the catalog as the owner sees it, and change products and categories.
    Catalog,
    /// Change stock.
    Stock,
    /// Read orders, and every email.
    #[serde(rename = "orders:read")]
    OrdersRead,
    /// Record sales, ship orders (for a custom order, its order), send emails again. Without `orders:read` the answers
    /// omit the customer, and nobody corrects the customer's data.
    #[serde(rename = "orders:write")]
    OrdersWrite,
    /// Read and process custom orders, including their orders.
    CustomOrders,
    /// Refund payments, and return pieces to stock with the refund.
    Refunds,
    /// Manage admin users whose role allows no more than the token.
    Users,
    /// Create and revoke tokens that may do no more than this one.
    Tokens,
    /// Read the audit log.
    Audit,
    /// Operate the system: Stripe events, jobs, holds and health.
    System,
    /// Change the settings of the running shop: name, shipping, quotes, low stock.
    Settings,
    /// Make backups, which contain all data.
    Backup,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Scope; 12] = [
        Scope::Catalog,
        Scope::Stock,
        Scope::OrdersRead,
        Scope::OrdersWrite,
        Scope::CustomOrders,
        Scope::Refunds,
        Scope::Users,
        Scope::Tokens,
        Scope::Audit,
        Scope::System,
        Scope::Settings,
        Scope::Backup,
    ];

    /// Returns the name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Catalog => "catalog",
            Scope::Stock => "stock",
            Scope::OrdersRead => "orders:read",
            Scope::OrdersWrite => "orders:write",
            Scope::CustomOrders => "custom_orders",
            Scope::Refunds => "refunds",
            Scope::Users => "users",
            Scope::Tokens => "tokens",
            Scope::Audit => "audit",
            Scope::System => "system",
            Scope::Settings => "settings",
            Scope::Backup => "backup",
        }
    }

    /// Parses the name.
    pub fn parse(text: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// A caller with a valid token (`Authorization: Bearer sbt_…`).
///
/// # Errors
/// 401 without a token, or with one that is unknown, revoked or expired.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Its name in timelines and the stock ledger is `token:NAME`.
    pub actor: Actor,
    scopes: Vec<String>,
}

impl Admin {
    /// Requires a scope.
    ///
    /// # Errors
    /// 403 when the token lacks the scope.
    pub fn may(&self, scope: Scope) -> Result<()> {
        if self.scopes.iter().any(|held| held == scope.as_str()) {
            Ok(())
        } else {
            Err(Error::Forbidden(scope.as_str()))
        }
    }

    /// Requires all of these scopes. A token can't create, change or disable a user or token with more privileges than
    /// its own, neither directly nor through another user or token.
    ///
    /// # Errors
    /// 403 naming the first missing scope.
    pub fn reaches(&self, scopes: &[Scope]) -> Result<()> {
        scopes.iter().try_for_each(|scope| self.may(*scope))
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Admin> {
        let header = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(Error::Unauthenticated)?;
        // The time of use is stored by the minute, so that a busy program does not write a row for each call.
        let found: Option<(i64, String, Vec<String>)> = sqlx::query_as(
            "with used as (
                 update api_tokens
                 set last_used_at = now()
                 where hash = $1
                   and revoked_at is null
                   and (expires_at is null or expires_at > now())
                   and (last_used_at is null or last_used_at < now() - interval '1 minute')
             )
             select id, name, scopes
             from api_tokens
             where hash = $1
               and revoked_at is null
               and (expires_at is null or expires_at > now())",
        )
        .bind(sha256(token))
        .fetch_optional(&app.db)
        .await?;
        let (id, name, scopes) = found.ok_or(Error::Unauthenticated)?;
        let request_id = parts
            .headers
            .get("x-request-id")
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned);
        Ok(Admin {
            actor: Actor::token(id, &name, request_id),
            scopes,
        })
    }
}

/// A token in the list; its text is not stored.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Token {
    pub id: i64,
    pub name: String,
    pub scopes: Vec<String>,
    pub created_at: DateTime<Utc>,
    /// Its creator: `user:ann@example.com`, `token:laptop` or `console`. Null for a token of an older version.
    pub created_by: Option<String>,
    pub last_used_at: Option<DateTime<Utc>>,
    /// End of validity. Null: valid until revoked.
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// All columns of a [`Token`].
macro_rules! columns {
    () => {
        "id, name, scopes, created_at, created_by, last_used_at, expires_at, revoked_at"
    };
}

/// Data of a new token.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    pub name: &'a str,
    pub scopes: &'a [Scope],
    pub expires_at: Option<DateTime<Utc>>,
}

impl Token {
    /// Returns true while the token is valid.
    pub fn is_living(&self) -> bool {
        self.revoked_at.is_none() && !self.is_expired()
    }

    /// Returns true once the token has expired.
    pub fn is_expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= Utc::now())
    }

    /// Its known scopes; scopes of other versions of the shop are ignored.
    pub fn known_scopes(&self) -> Vec<Scope> {
        self.scopes
            .iter()
            .filter_map(|scope| Scope::parse(scope))
            .collect()
    }

    fn object(&self) -> String {
        format!("token:{} {}", self.id, self.name)
    }

    fn audit_snapshot(&self) -> Value {
        json!({
            "name": self.name,
            "scopes": self.scopes,
            "expires_at": self.expires_at,
            "revoked": self.revoked_at.is_some(),
        })
    }
}

/// Creates a token and returns it with its text, which is not stored.
///
/// # Errors
/// A field error for a name of the wrong length or of an active token, for no scopes, or for a time in the past.
pub async fn create_token(
    conn: &mut PgConnection,
    actor: &Actor,
    new: &TokenRequest<'_>,
) -> Result<(Token, String)> {
    check(new)?;
    let name = new.name.trim();
    let name_key = name.to_lowercase();
    free_name(conn, &name_key).await?;
    let token = format!("sbt_{}", hex::encode(random::<32>()?));
    let scopes: Vec<&str> = new.scopes.iter().map(|scope| scope.as_str()).collect();
    let made = sqlx::query_as(concat!(
        "insert into api_tokens
             (name, name_key, hash, scopes, expires_at, created_by, created_by_user, created_by_token)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (name_key) do nothing
         returning ",
        columns!()
    ))
    .bind(name)
    .bind(name_key)
    .bind(sha256(&token))
    .bind(scopes)
    .bind(new.expires_at)
    .bind(&actor.name)
    .bind(actor.user)
    .bind(actor.token)
    .fetch_optional(&mut *conn)
    .await?;
    // Of two requests at once that found the name free, the constraint lets one insert it.
    let made: Token = made.ok_or_else(name_taken)?;
    let object = made.object();
    audit::record(
        conn,
        actor,
        "token.create",
        &object,
        Value::Null,
        made.audit_snapshot(),
    )
    .await?;
    Ok((made, token))
}

fn check(new: &TokenRequest<'_>) -> Result<()> {
    let mut field_errors = Vec::new();
    let name = new.name;
    if name.trim().is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
        field_errors.push(FieldError::new("name", "must have 1 to 100 characters"));
    }
    if new.scopes.is_empty() {
        field_errors.push(FieldError::new("scopes", "name at least one scope"));
    }
    if new.expires_at.is_some_and(|at| at <= Utc::now()) {
        field_errors.push(FieldError::new("expires_at", "must be in the future"));
    }
    match field_errors.is_empty() {
        true => Ok(()),
        false => Err(Error::Invalid(field_errors)),
    }
}

/// Frees a name from expired tokens.
///
/// # Errors
/// A field error of `name` when an active token has it, even one of an older version.
async fn free_name(conn: &mut PgConnection, name_key: &str) -> Result<()> {
    sqlx::query(
        "update api_tokens
         set name_key = null
         where name_key = $1
           and expires_at <= now()",
    )
    .bind(name_key)
    .execute(&mut *conn)
    .await?;
    let is_taken = sqlx::query_scalar(
        "select exists (
             select from api_tokens
             where lower(name) = lower($1)
               and revoked_at is null
               and (expires_at is null or expires_at > now())
         )",
    )
    .bind(name_key)
    .fetch_one(conn)
    .await?;
    if is_taken { Err(name_taken()) } else { Ok(()) }
}

fn name_taken() -> Error {
    Error::invalid(
        "name",
        "is the name of another active token, and the log must distinguish them",
    )
}

/// Lists the active tokens created by a user, by those tokens, and so on; newest first.
pub async fn list_tokens_of(conn: &mut PgConnection, user: UserId) -> Result<Vec<Token>> {
    let tokens = sqlx::query_as(concat!(
        "with recursive made as (
             select id
             from api_tokens
             where created_by_user = $1
             union
             select api_tokens.id
             from api_tokens
             join made on api_tokens.created_by_token = made.id
         )
         select ",
        columns!(),
        "
         from api_tokens
         where id in (select id from made)
           and revoked_at is null
           and (expires_at is null or expires_at > now())
         order by id desc"
    ))
    .bind(user)
    .fetch_all(conn)
    .await?;
    Ok(tokens)
}

/// Revokes and returns the active tokens of a user. Safe to repeat.
pub async fn revoke_tokens_of(
    conn: &mut PgConnection,
    actor: &Actor,
    user: UserId,
) -> Result<Vec<Token>> {
    let tokens = list_tokens_of(conn, user).await?;
    for token in &tokens {
        revoke_token(conn, actor, token.id).await?;
    }
    Ok(tokens)
}

/// Lists all tokens, revoked ones included, newest first.
pub async fn list_tokens(conn: &mut PgConnection) -> Result<Vec<Token>> {
    let tokens = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from api_tokens
         order by id desc"
    ))
    .fetch_all(conn)
    .await?;
    Ok(tokens)
}

/// Loads a token and locks it until the transaction ends.
pub(super) async fn lock(conn: &mut PgConnection, id: i64) -> Result<Option<Token>> {
    let token = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from api_tokens
         where id = $1
         for update"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(token)
}

/// Revokes a token at once. Safe to repeat. Returns false when there is no such token.
pub async fn revoke_token(conn: &mut PgConnection, actor: &Actor, id: i64) -> Result<bool> {
    let Some(before) = lock(conn, id).await? else {
        return Ok(false);
    };
    if before.revoked_at.is_none() {
        let after: Token = sqlx::query_as(concat!(
            "update api_tokens
             set revoked_at = now(), name_key = null
             where id = $1
             returning ",
            columns!()
        ))
        .bind(id)
        .fetch_one(&mut *conn)
        .await?;
        let object = before.object();
        audit::record(
            conn,
            actor,
            "token.revoke",
            &object,
            before.audit_snapshot(),
            after.audit_snapshot(),
        )
        .await?;
    }
    Ok(true)
}
