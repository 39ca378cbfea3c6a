//! Users of the admin. They are disabled, never deleted, because the audit log names them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::password::Hashed;
use super::role::Role;
use super::sessions::{self, CurrentUser};
use crate::audit::{self, Actor};
use crate::error::{Code, Error, Result};
use crate::types::ids::{SessionId, UserId};

/// A user, without secrets.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub role: Role,
    pub has_second_factor: bool,
    pub created_at: DateTime<Utc>,
    pub disabled_at: Option<DateTime<Utc>>,
}

impl User {
    fn object(&self) -> String {
        format!("user:{}", self.email)
    }

    fn audit_snapshot(&self) -> Value {
        json!({
            "email": self.email,
            "role": self.role.as_str(),
            "disabled": self.disabled_at.is_some(),
            "second_factor": self.has_second_factor,
        })
    }
}

/// All columns of a [`User`].
macro_rules! columns {
    () => {
        "id, email, role, factor_since is not null as has_second_factor, created_at, disabled_at"
    };
}

/// Creates a user.
///
/// # Errors
/// A field error of `email` for a malformed address, or one that another user has.
pub async fn create(
    conn: &mut PgConnection,
    actor: &Actor,
    email: &str,
    role: Role,
    password: &Hashed,
) -> Result<User> {
    let email = email.trim();
    if !is_address(email) {
        return Err(Error::invalid("email", "is no email address"));
    }
    let made: Option<User> = sqlx::query_as(concat!(
        "insert into users (id, email, role, password_hash)
         values ($1, $2, $3, $4)
         on conflict (lower(email)) do nothing
         returning ",
        columns!()
    ))
    .bind(UserId::new())
    .bind(email)
    .bind(role)
    .bind(&password.0)
    .fetch_optional(&mut *conn)
    .await?;
    let user = made.ok_or_else(|| Error::invalid("email", "is a user's already"))?;
    audit::record(
        conn,
        actor,
        "user.create",
        &user.object(),
        Value::Null,
        user.audit_snapshot(),
    )
    .await?;
    Ok(user)
}

/// Creates the first owner. Returns `None` when any user exists; of two concurrent processes, one creates it.
pub async fn create_first_owner(
    conn: &mut PgConnection,
    email: &str,
    password: &Hashed,
) -> Result<Option<User>> {
    // Waits for a concurrent transaction that creates a user, and then sees that user.
    sqlx::query("lock table users in share row exclusive mode")
        .execute(&mut *conn)
        .await?;
    if any(conn).await? {
        return Ok(None);
    }
    let user = create(conn, &Actor::console(), email, Role::Owner, password).await?;
    Ok(Some(user))
}

/// Returns true when any user exists.
pub async fn any(conn: &mut PgConnection) -> Result<bool> {
    Ok(sqlx::query_scalar("select exists (select from users)")
        .fetch_one(conn)
        .await?)
}

fn is_address(email: &str) -> bool {
    let whole = email
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    whole
        && email.chars().count() <= 254
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Lists all users by email address, disabled users included.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<User>> {
    let users = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from users
         order by disabled_at is not null, lower(email)"
    ))
    .fetch_all(conn)
    .await?;
    Ok(users)
}

/// Finds a user by id, disabled ones included.
pub async fn find(conn: &mut PgConnection, id: UserId) -> Result<Option<User>> {
    let user = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from users
         where id = $1"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(user)
}

/// Finds a user by email address, ignoring case.
pub async fn find_by_email(conn: &mut PgConnection, email: &str) -> Result<Option<User>> {
    let user = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from users
         where lower(email) = lower($1)"
    ))
    .bind(email.trim())
    .fetch_optional(conn)
    .await?;
    Ok(user)
}

/// Changes a user's role. Safe to repeat.
///
/// # Errors
/// 404 when there is no such user; 409 when the shop would be left without an owner.
pub async fn set_role(
    conn: &mut PgConnection,
    actor: &Actor,
    id: UserId,
    role: Role,
) -> Result<User> {
    let before = lock(conn, id, role != Role::Owner).await?;
    if before.role == role {
        return Ok(before);
    }
    let after: User = sqlx::query_as(concat!(
        "update users
         set role = $2
         where id = $1
         returning ",
        columns!()
    ))
    .bind(id)
    .bind(role)
    .fetch_one(&mut *conn)
    .await?;
    record(conn, actor, "user.set_role", &before, &after).await?;
    Ok(after)
}

/// Disables a user at once: sign-in is refused, and all sessions end. Safe to repeat.
///
/// # Errors
/// 404 when there is no such user; 409 when the shop would be left without an owner.
pub async fn disable(conn: &mut PgConnection, actor: &Actor, id: UserId) -> Result<User> {
    let before = lock(conn, id, true).await?;
    if before.disabled_at.is_some() {
        return Ok(before);
    }
    let after: User = sqlx::query_as(concat!(
        "update users
         set disabled_at = now()
         where id = $1
         returning ",
        columns!()
    ))
    .bind(id)
    .fetch_one(&mut *conn)
    .await?;
    sessions::end_all(conn, id, None).await?;
    record(conn, actor, "user.disable", &before, &after).await?;
    Ok(after)
}

/// Enables a disabled user. Safe to repeat.
///
/// # Errors
/// 404 when there is no such user.
pub async fn enable(conn: &mut PgConnection, actor: &Actor, id: UserId) -> Result<User> {
    let before = lock(conn, id, false).await?;
    if before.disabled_at.is_none() {
        return Ok(before);
    }
    let after: User = sqlx::query_as(concat!(
        "update users
         set disabled_at = null
         where id = $1
         returning ",
        columns!()
    ))
    .bind(id)
    .fetch_one(&mut *conn)
    .await?;
    record(conn, actor, "user.enable", &before, &after).await?;
    Ok(after)
}

/// Sets a user's password and ends all sessions except `keep`, the session of a user who changes their own password.
///
/// # Errors
/// 404 when there is no such user.
pub async fn set_password(
    conn: &mut PgConnection,
    actor: &Actor,
    id: UserId,
    password: &Hashed,
    keep: Option<SessionId>,
) -> Result<()> {
    let user = lock(conn, id, false).await?;
    sqlx::query("update users set password_hash = $2 where id = $1")
        .bind(id)
        .bind(&password.0)
        .execute(&mut *conn)
        .await?;
    // Whoever knew the old password may be signed in.
    sessions::end_all(conn, id, keep).await?;
    let object = user.object();
    audit::record(
        conn,
        actor,
        "user.set_password",
        &object,
        Value::Null,
        Value::Null,
    )
    .await
}

/// Signs a user out everywhere. Safe to repeat.
///
/// # Errors
/// 404 when there is no such user.
pub async fn end_sessions(conn: &mut PgConnection, actor: &Actor, id: UserId) -> Result<User> {
    let user = lock(conn, id, false).await?;
    sessions::end_all(conn, id, None).await?;
    let object = user.object();
    audit::record(
        conn,
        actor,
        "user.end_sessions",
        &object,
        Value::Null,
        Value::Null,
    )
    .await?;
    Ok(user)
}

/// Locks a user. If the change may remove an owner, locks all owners in id order and requires that one remains.
pub(super) async fn lock(
    conn: &mut PgConnection,
    id: UserId,
    may_leave_owners: bool,
) -> Result<User> {
    if may_leave_owners {
        let owners: Vec<UserId> = sqlx::query_scalar(
            "select id
             from users
             where role = 'owner'
               and disabled_at is null
             order by id
             for update",
        )
        .fetch_all(&mut *conn)
        .await?;
        if owners == [id] {
            return Err(Error::Conflict(
                Code::LastOwner,
                "This is the only owner. Create another owner first.".to_owned(),
            ));
        }
    }
    let user = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from users
         where id = $1
         for update"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    user.ok_or(Error::NotFound("User"))
}

async fn record(
    conn: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    before: &User,
    after: &User,
) -> Result<()> {
    let object = after.object();
    audit::record(
        conn,
        actor,
        action,
        &object,
        before.audit_snapshot(),
        after.audit_snapshot(),
    )
    .await
}

/// Writes an audit entry when a user's second factor is set up, renewed or turned off.
pub(super) async fn record_factor(
    conn: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    before: &User,
) -> Result<()> {
    let after = find(conn, before.id)
        .await?
        .ok_or(Error::NotFound("User"))?;
    record(conn, actor, action, before, &after).await
}

/// Locks the session of a user who changes their own account, until the transaction ends. A session that was ended
/// during the request, for example by a password reset, can then change nothing.
///
/// # Errors
/// 401 when the session has ended.
pub async fn hold(conn: &mut PgConnection, user: &CurrentUser) -> Result<()> {
    // Lock the user first, in the order used by every function that ends sessions.
    lock(conn, user.id, false).await?;
    let held: Option<SessionId> =
        sqlx::query_scalar("select id from sessions where id = $1 and user_id = $2 for update")
            .bind(user.session)
            .bind(user.id)
            .fetch_optional(conn)
            .await?;
    held.map(drop).ok_or(Error::Unauthenticated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_name_and_a_host() {
        assert!(is_address("ann@example.com") && is_address("shop@localhost"));
        for bad in ["", "ann", "@x", "ann@", "a@b@c", "a b@c", "a@b\n"] {
            assert!(!is_address(bad), "{bad:?}");
        }
    }
}
