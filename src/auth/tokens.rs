//! API tokens, their scopes, and the [`Admin`] extractor that asks for one.
//!
//! A token is 256 random bits, shown once; we keep its SHA-256. (A slow hash protects guessable passwords; there is
//! nothing to guess here.)

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
use crate::error::{Error, Fault, Result};

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read the catalogue as the shopkeeper sees it, and change products and categories.
    Catalogue,
    /// Change stock.
    Stock,
    /// Read orders, and every letter.
    #[serde(rename = "orders:read")]
    OrdersRead,
    /// Record sales, ship orders (a commission's ships its request), send letters again.
    #[serde(rename = "orders:write")]
    OrdersWrite,
    /// Read custom orders with the orders they became, and move them along.
    CustomOrders,
    /// Give money back, and take pieces back into stock with it.
    Refunds,
    /// Look after the users of the desk whose role allows no more than the token.
    Users,
    /// Make and revoke tokens that may do no more than this one.
    Tokens,
    /// Read the audit log.
    Audit,
    /// The machine room: Stripe's events, jobs, holds, and how the shop itself is.
    Machine,
    /// What may be set while the shop runs: its name, shipping, quotes, low stock.
    Settings,
}

impl Scope {
    pub const ALL: [Scope; 11] = [
        Scope::Catalogue,
        Scope::Stock,
        Scope::OrdersRead,
        Scope::OrdersWrite,
        Scope::CustomOrders,
        Scope::Refunds,
        Scope::Users,
        Scope::Tokens,
        Scope::Audit,
        Scope::Machine,
        Scope::Settings,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Catalogue => "catalogue",
            Scope::Stock => "stock",
            Scope::OrdersRead => "orders:read",
            Scope::OrdersWrite => "orders:write",
            Scope::CustomOrders => "custom_orders",
            Scope::Refunds => "refunds",
            Scope::Users => "users",
            Scope::Tokens => "tokens",
            Scope::Audit => "audit",
            Scope::Machine => "machine",
            Scope::Settings => "settings",
        }
    }

    pub fn parse(text: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// A caller who showed a valid token (`Authorization: Bearer sbt_…`).
///
/// # Errors
/// 401 without one, or with one that is unknown or revoked.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Who it is: for timelines and the ledger by its name, `token:NAME`.
    pub actor: Actor,
    scopes: Vec<String>,
}

impl Admin {
    /// # Errors
    /// 403 where the token lacks the scope.
    pub fn may(&self, scope: Scope) -> Result<()> {
        if self.scopes.iter().any(|held| held == scope.as_str()) {
            Ok(())
        } else {
            Err(Error::Forbidden(scope.as_str()))
        }
    }

    /// Whether the token holds all of these scopes. Nobody makes, changes or shuts out, by a token, who may do more than
    /// it: so no token widens its own rights, by others' hands neither.
    ///
    /// # Errors
    /// 403 naming the first scope that it lacks.
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
        // The time of use is kept by the minute: a busy program does not write a row for each call.
        let found: Option<(String, Vec<String>)> = sqlx::query_as(
            "with used as (
                 update api_tokens
                 set last_used_at = now()
                 where hash = $1
                   and revoked_at is null
                   and (last_used_at is null or last_used_at < now() - interval '1 minute')
             )
             select name, scopes
             from api_tokens
             where hash = $1
               and revoked_at is null",
        )
        .bind(sha256(token))
        .fetch_optional(&app.db)
        .await?;
        let (name, scopes) = found.ok_or(Error::Unauthenticated)?;
        let request_id = parts
            .headers
            .get("x-request-id")
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned);
        Ok(Admin {
            actor: Actor::token(&name, request_id),
            scopes,
        })
    }
}

/// A token as it is listed; its text is not known any more.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Token {
    pub id: i64,
    pub name: String,
    pub scopes: Vec<String>,
    pub created_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Token {
    /// What it may do; a scope of another version of the shop counts for nothing.
    pub fn known_scopes(&self) -> Vec<Scope> {
        self.scopes
            .iter()
            .filter_map(|scope| Scope::parse(scope))
            .collect()
    }

    fn object(&self) -> String {
        format!("token:{} {}", self.id, self.name)
    }

    fn facts(&self) -> Value {
        json!({"name": self.name, "scopes": self.scopes, "revoked": self.revoked_at.is_some()})
    }
}

/// Makes a token and returns it with its text, which is kept nowhere.
///
/// # Errors
/// A fault for a name of the wrong length, or without any scope.
pub async fn create_token(
    conn: &mut PgConnection,
    actor: &Actor,
    name: &str,
    scopes: &[Scope],
) -> Result<(Token, String)> {
    let mut faults = Vec::new();
    if name.trim().is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
        faults.push(Fault::new("name", "must have 1 to 100 characters"));
    }
    if scopes.is_empty() {
        faults.push(Fault::new("scopes", "name at least one scope"));
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let token = random::<32>()?
        .iter()
        .fold("sbt_".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    let names: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    let made: Token = sqlx::query_as(
        "insert into api_tokens (name, hash, scopes)
         values ($1, $2, $3)
         returning id, name, scopes, created_at, last_used_at, revoked_at",
    )
    .bind(name.trim())
    .bind(sha256(&token))
    .bind(names)
    .fetch_one(&mut *conn)
    .await?;
    let object = made.object();
    audit::record(
        conn,
        actor,
        "token.create",
        &object,
        Value::Null,
        made.facts(),
    )
    .await?;
    Ok((made, token))
}

/// All tokens, revoked ones too, newest first.
pub async fn list_tokens(conn: &mut PgConnection) -> Result<Vec<Token>> {
    let tokens = sqlx::query_as(
        "select id, name, scopes, created_at, last_used_at, revoked_at
         from api_tokens
         order by id desc",
    )
    .fetch_all(conn)
    .await?;
    Ok(tokens)
}

/// A token, locked until the transaction ends.
pub(super) async fn lock(conn: &mut PgConnection, id: i64) -> Result<Option<Token>> {
    let token = sqlx::query_as(
        "select id, name, scopes, created_at, last_used_at, revoked_at
         from api_tokens
         where id = $1
         for update",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(token)
}

/// Takes a token's rights away at once. Safe to repeat. False: there is no such token.
pub async fn revoke_token(conn: &mut PgConnection, actor: &Actor, id: i64) -> Result<bool> {
    let Some(before) = lock(conn, id).await? else {
        return Ok(false);
    };
    if before.revoked_at.is_none() {
        let after: Token = sqlx::query_as(
            "update api_tokens
             set revoked_at = now()
             where id = $1
             returning id, name, scopes, created_at, last_used_at, revoked_at",
        )
        .bind(id)
        .fetch_one(&mut *conn)
        .await?;
        let object = before.object();
        audit::record(
            conn,
            actor,
            "token.revoke",
            &object,
            before.facts(),
            after.facts(),
        )
        .await?;
    }
    Ok(true)
}
