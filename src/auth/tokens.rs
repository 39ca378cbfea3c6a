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

use super::{random, sha256};
use crate::app::App;
use crate::audit::{self, Actor};
use crate::error::{Error, Fault, Result};

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read the catalogue as the shopkeeper sees it, and change products and categories.
    Catalogue,
    /// Change stock.
    Stock,
    /// Read orders, and every letter.
    OrdersRead,
    /// Record sales, ship orders (a commission's ships its request), send letters again.
    OrdersWrite,
    /// Read custom orders with the orders they became, and move them along.
    CustomOrders,
    /// Give money back, and take pieces back into stock with it.
    Refunds,
}

impl Scope {
    pub const ALL: [Scope; 6] = [
        Scope::Catalogue,
        Scope::Stock,
        Scope::OrdersRead,
        Scope::OrdersWrite,
        Scope::CustomOrders,
        Scope::Refunds,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Catalogue => "catalogue",
            Scope::Stock => "stock",
            Scope::OrdersRead => "orders:read",
            Scope::OrdersWrite => "orders:write",
            Scope::CustomOrders => "custom_orders",
            Scope::Refunds => "refunds",
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
    /// Who it is, for timelines and the ledger: `token:NAME`.
    pub actor: String,
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
        Ok(Admin {
            actor: format!("token:{name}"),
            scopes,
        })
    }
}

/// A token as it is listed; its text is not known any more.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub struct Token {
    pub id: i64,
    pub name: String,
    pub scopes: Vec<String>,
    pub created_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Token {
    fn object(&self) -> String {
        format!("token:{} {}", self.id, self.name)
    }

    fn facts(&self) -> Value {
        json!({"name": self.name, "scopes": self.scopes, "revoked": self.revoked_at.is_some()})
    }
}

/// Makes a token and returns its text, which is kept nowhere.
///
/// # Errors
/// A fault for a name of the wrong length, or without any scope.
pub async fn create_token(
    conn: &mut PgConnection,
    actor: &Actor,
    name: &str,
    scopes: &[Scope],
) -> Result<String> {
    let mut faults = Vec::new();
    if name.trim().is_empty() || name.chars().count() > 100 {
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
    Ok(token)
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

/// Takes a token's rights away at once. Safe to repeat. False: there is no such token.
pub async fn revoke_token(conn: &mut PgConnection, actor: &Actor, id: i64) -> Result<bool> {
    let found: Option<Token> = sqlx::query_as(
        "select id, name, scopes, created_at, last_used_at, revoked_at
         from api_tokens
         where id = $1
         for update",
    )
    .bind(id)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(before) = found else {
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
