//! The audit log: changes made in the admin, through the API or by a command, with actor, time and previous state. A
//! change and its entry are written in one transaction.

pub mod submissions;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use utoipa::ToSchema;

use crate::audit::submissions::Claim;
use crate::db;
use crate::error::Result;
use crate::types::ids::UserId;

/// Author of a change, for the audit log and the timelines.
#[derive(Clone, Debug)]
pub struct Actor {
    /// `user:ann@example.com`, `token:laptop`, `console` for a command, or a part of the system such as `import`.
    pub name: String,
    /// The user, if a user made the change.
    pub user: Option<UserId>,
    /// The token, if a token made the change. Its name may have belonged to another token before.
    pub token: Option<i64>,
    request_id: Option<String>,
    /// The submitted form that causes the change. It is marked in the transaction of the change.
    submission: Option<Claim>,
}

impl Actor {
    /// Creates the actor of commands on the shop's machine.
    pub fn console() -> Actor {
        Actor::system("console")
    }

    /// Creates the actor of a change that no user or token asked for.
    pub fn system(name: &'static str) -> Actor {
        Actor {
            name: name.to_owned(),
            user: None,
            token: None,
            request_id: None,
            submission: None,
        }
    }

    /// Creates the actor of a program's request: `token:NAME`.
    pub fn token(id: i64, name: &str, request_id: Option<String>) -> Actor {
        Actor {
            name: format!("token:{name}"),
            user: None,
            token: Some(id),
            request_id,
            submission: None,
        }
    }

    /// Creates the actor of a user's request.
    pub fn user(id: UserId, email: &str, request_id: Option<String>) -> Actor {
        Actor {
            name: format!("user:{email}"),
            user: Some(id),
            token: None,
            request_id,
            submission: None,
        }
    }

    /// Attaches the submitted form that causes the change.
    pub fn carrying_out(self, submission: Option<Claim>) -> Actor {
        Actor { submission, ..self }
    }
}

/// Writes a change to the audit log, inside its transaction.
///
/// `action` is `subject.verb` (`user.disable`), and `object` is the changed object (`user:ann@example.com`). `before`
/// and `after` are snapshots of the changed fields, null for an object that did not or does not exist. The form that
/// causes the change is marked in the same transaction, so that it takes effect once.
pub async fn record(
    conn: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    object: &str,
    before: Value,
    after: Value,
) -> Result<()> {
    sqlx::query(
        "insert into audit_log (actor, user_id, token_id, action, object, before, after, request_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&actor.name)
    .bind(actor.user)
    .bind(actor.token)
    .bind(action)
    .bind(object)
    .bind(without_secrets(before))
    .bind(without_secrets(after))
    .bind(&actor.request_id)
    .execute(&mut *conn)
    .await?;
    match &actor.submission {
        Some(claim) => claim.mark(conn).await,
        None => Ok(()),
    }
}

/// Empties the details of all entries about these objects, inside the transaction that deletes the data of a customer.
/// The actor, the action and the time stay. Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn erase_details(conn: &mut PgConnection, objects: &[String]) -> Result<()> {
    // The log's trigger lets nothing else through.
    sqlx::query("set local spirit_beads.is_erasing = 'on'")
        .execute(&mut *conn)
        .await?;
    sqlx::query("update audit_log set before = null, after = null where object = any($1)")
        .bind(objects)
        .execute(&mut *conn)
        .await?;
    sqlx::query("set local spirit_beads.is_erasing = 'off'")
        .execute(conn)
        .await?;
    Ok(())
}

/// Removes secrets from a snapshot; null becomes `None`. Callers pass no secrets: fields with the name of a secret are
/// dropped as a safety net.
fn without_secrets(mut snapshot: Value) -> Option<Value> {
    const SECRETS: [&str; 6] = [
        "code",
        "hash",
        "password",
        "password_hash",
        "secret",
        "token",
    ];
    fn hide(snapshot: &mut Value) {
        match snapshot {
            Value::Object(fields) => {
                for (name, value) in fields.iter_mut() {
                    if SECRETS.contains(&name.as_str()) {
                        *value = Value::from("…");
                    } else {
                        hide(value);
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(hide),
            _ => {}
        }
    }
    hide(&mut snapshot);
    (!snapshot.is_null()).then_some(snapshot)
}

/// An entry of the audit log.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Entry {
    pub id: i64,
    pub created_at: DateTime<Utc>,
    /// `user:ann@example.com`, `token:laptop` or `console`.
    pub actor: String,
    /// Id of the token, if a token made the change. Token names may be reused.
    pub token_id: Option<i64>,
    /// Such as `order.ship`.
    pub action: String,
    /// Such as `order:SB-1042`.
    pub object: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub request_id: Option<String>,
}

/// Returns entries older than the entry `before`, newest first: up to `limit` after the first `offset`. The search
/// matches a part of actor, action or object.
pub async fn list(
    conn: &mut PgConnection,
    search: Option<&str>,
    before: Option<i64>,
    limit: i64,
    offset: i64,
) -> Result<Vec<Entry>> {
    // An unnamed statement is planned for each search: the index helps with rare words only.
    // Behind a pooler, only a transaction keeps an unnamed statement and its values together.
    let mut tx = conn.begin().await?;
    let entries = sqlx::query_as(
        "select id, created_at, actor, token_id, action, object, before, after, request_id
         from audit_log
         where ($1::bigint is null or id < $1)
           and ($2::text is null
                or lower(actor || ' ' || action || ' ' || object) like $2)
         order by id desc
         limit $3
         offset $4",
    )
    .persistent(false)
    .bind(before)
    .bind(search.map(db::like))
    .bind(limit)
    .bind(offset)
    .fetch_all(&mut *tx)
    .await?;
    Ok(entries)
}

/// Returns the total number of entries that [`list`] finds.
pub async fn count(
    conn: &mut PgConnection,
    search: Option<&str>,
    before: Option<i64>,
) -> Result<i64> {
    // Behind a pooler, only a transaction keeps an unnamed statement and its values together.
    let mut tx = conn.begin().await?;
    let count = sqlx::query_scalar(
        "select count(*)
         from audit_log
         where ($1::bigint is null or id < $1)
           and ($2::text is null
                or lower(actor || ' ' || action || ' ' || object) like $2)",
    )
    .persistent(false)
    .bind(before)
    .bind(search.map(db::like))
    .fetch_one(&mut *tx)
    .await?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_bears_a_secrets_name_is_not_written_down() {
        let snapshot =
            json!({"email": "a@b", "password": "x", "more": [{"token": "y", "name": "z"}]});
        assert_eq!(
            without_secrets(snapshot),
            Some(json!({"email": "a@b", "password": "…", "more": [{"token": "…", "name": "z"}]}))
        );
        assert_eq!(without_secrets(Value::Null), None);
    }
}
