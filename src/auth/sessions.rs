//! Sessions of admin users. The browser holds 256 random bits; the database stores their SHA-256.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::role::Role;
use super::{random, sha256};
use crate::audit::Actor;
use crate::error::Result;
use crate::types::ids::{SessionId, UserId};

/// Idle time after which a session ends. It covers a working day and its evening, but a phone left at the market does
/// not stay signed in for a week.
pub const IDLE_LIMIT: Duration = Duration::from_secs(12 * 60 * 60);

/// Age after which a session ends even when in use. It also ends a session that was taken over unnoticed, and makes
/// users practice their password.
pub const ABSOLUTE_LIMIT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Time for the second factor after the password: long enough to find the phone.
pub(super) const MFA_PENDING_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The secret in a browser's session cookie.
pub struct SessionToken(String);

impl SessionToken {
    fn new() -> Result<SessionToken> {
        Ok(SessionToken(hex::encode(random::<32>()?)))
    }

    /// Returns the text for the cookie.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// A signed-in user with their session.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct CurrentUser {
    pub session: SessionId,
    pub id: UserId,
    pub email: String,
    pub role: Role,
    /// The password was correct; the second factor is still missing.
    pub mfa_pending: bool,
}

impl CurrentUser {
    /// Returns true for an owner.
    pub fn is_owner(&self) -> bool {
        self.role == Role::Owner
    }

    /// The actor for the audit log and timelines in this request.
    pub fn actor(&self, request_id: Option<String>) -> Actor {
        Actor::user(self.id, &self.email, request_id)
    }
}

/// A session as shown to its user.
#[derive(Debug, sqlx::FromRow)]
pub struct Session {
    pub id: SessionId,
    pub address: String,
    pub browser: String,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
}

/// Opens a session, always with a new token.
pub(super) async fn open(
    conn: &mut PgConnection,
    user: UserId,
    mfa_pending: bool,
    address: &str,
    browser: &str,
) -> Result<SessionToken> {
    let token = SessionToken::new()?;
    sqlx::query(
        "insert into sessions (id, user_id, token_hash, mfa_pending, address, browser)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(SessionId::new())
    .bind(user)
    .bind(sha256(token.reveal()))
    .bind(mfa_pending)
    .bind(address)
    .bind(browser)
    .execute(conn)
    .await?;
    Ok(token)
}

/// Finds the user of an active session by its token. Returns `None` for disabled users. The last-seen time is updated
/// at most once a minute.
pub async fn find(conn: &mut PgConnection, token: &str) -> Result<Option<CurrentUser>> {
    let user = sqlx::query_as(
        "with found as (
             select s.id as session, u.id, u.email, u.role, s.mfa_pending, s.last_seen_at
             from sessions s
             join users u on u.id = s.user_id
             where s.token_hash = $1
               and u.disabled_at is null
               and s.last_seen_at > now() - make_interval(secs => $2)
               and s.created_at > now() - make_interval(secs => case when s.mfa_pending then $4 else $3 end)
         ),
         seen as (
             update sessions
             set last_seen_at = now()
             where id = (select session from found where last_seen_at < now() - interval '1 minute')
         )
         select session, id, email, role, mfa_pending
         from found",
    )
    .bind(sha256(token))
    .bind(IDLE_LIMIT.as_secs_f64())
    .bind(ABSOLUTE_LIMIT.as_secs_f64())
    .bind(MFA_PENDING_LIMIT.as_secs_f64())
    .fetch_optional(conn)
    .await?;
    Ok(user)
}

/// Lists a user's active sessions, most recently used first.
pub async fn list(conn: &mut PgConnection, user: UserId) -> Result<Vec<Session>> {
    let sessions = sqlx::query_as(
        "select id, address, browser, created_at, last_seen_at
         from sessions
         where user_id = $1
           and not mfa_pending
           and last_seen_at > now() - make_interval(secs => $2)
           and created_at > now() - make_interval(secs => $3)
         order by last_seen_at desc, id desc",
    )
    .bind(user)
    .bind(IDLE_LIMIT.as_secs_f64())
    .bind(ABSOLUTE_LIMIT.as_secs_f64())
    .fetch_all(conn)
    .await?;
    Ok(sessions)
}

/// Replaces the token of a session; the old token is invalid from now on.
pub async fn rotate(conn: &mut PgConnection, id: SessionId) -> Result<SessionToken> {
    let token = SessionToken::new()?;
    sqlx::query("update sessions set token_hash = $2 where id = $1")
        .bind(id)
        .bind(sha256(token.reveal()))
        .execute(conn)
        .await?;
    Ok(token)
}

/// Ends one session of a user. Returns false when it had already ended.
pub async fn end(conn: &mut PgConnection, user: UserId, id: SessionId) -> Result<bool> {
    let done = sqlx::query("delete from sessions where id = $1 and user_id = $2")
        .bind(id)
        .bind(user)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends all sessions of a user except the one to keep. Safe to repeat.
pub async fn end_all(conn: &mut PgConnection, user: UserId, keep: Option<SessionId>) -> Result<()> {
    sqlx::query("delete from sessions where user_id = $1 and id is distinct from $2")
        .bind(user)
        .bind(keep)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes expired sessions.
pub(super) async fn forget_old(conn: &mut PgConnection) -> Result<()> {
    sqlx::query(
        "delete from sessions
         where last_seen_at < now() - make_interval(secs => $1)
            or created_at < now() - make_interval(secs => $2)",
    )
    .bind(IDLE_LIMIT.as_secs_f64())
    .bind(ABSOLUTE_LIMIT.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(())
}
