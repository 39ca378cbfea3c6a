//! Users, who have to set a new password.

use sqlx::PgConnection;

use super::decide::{CHANGED_IN_BOTH, sort};
use super::{Applied, Plan, rows};
use crate::auth;
use crate::django::findings::Findings;
use crate::django::hashes::RowKind;
use crate::django::target::NewUser;
use crate::error::Result;

pub(super) async fn write(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    applied: &mut Applied,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let rows = plan.target.users.iter();
    let rows = rows.map(|user| (user.old_id.to_string(), user));
    let sorted = sort(plan, RowKind::User, rows, |user| {
        plan.known.users.contains_key(&user.email)
    });
    sorted.name_kept(applied, findings, CHANGED_IN_BOTH);
    let text = "the new shop has a user of this address: ours stays";
    sorted.name_foreign(applied, &mut findings.noted, text);
    insert(conn, &sorted.new).await?;
    rows::write(
        conn,
        "update users
         set role = r.role,
             disabled_at = case when r.is_disabled then coalesce(users.disabled_at, now()) end
         from jsonb_to_recordset($1) as r (id uuid, role text, is_disabled boolean)
         where users.id = r.id",
        &sorted.changed,
    )
    .await?;
    Ok(())
}

async fn insert(conn: &mut PgConnection, new: &[&NewUser]) -> Result<()> {
    for user in new {
        sqlx::query(
            "insert into users (id, email, role, password_hash, created_at, disabled_at)
             values ($1, $2, $3, $4, $5, case when $6 then now() end)",
        )
        .bind(user.id)
        .bind(&user.email)
        .bind(user.role)
        .bind(auth::NO_PASSWORD)
        .bind(user.created_at)
        .bind(user.is_disabled)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
