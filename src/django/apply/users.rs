//! Users, who have to set a new password.

use sqlx::PgConnection;

use super::decide::{Decision, decide, wanted};
use super::{Applied, Plan, rows};
use crate::auth;
use crate::django::findings::{Findings, add};
use crate::django::hashes::RowKind;
use crate::django::target::NewUser;
use crate::error::Result;

pub(super) async fn write(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    applied: &mut Applied,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let (mut new, mut changed) = (Vec::new(), Vec::new());
    for user in &plan.target.users {
        let id = user.old_id.to_string();
        let row = format!("user {id}");
        let is_there = plan.known.users.contains_key(&user.email);
        let count = applied.count(RowKind::User);
        match decide(plan, RowKind::User, &id, &wanted(user), is_there) {
            Decision::Create => {
                count.created += 1;
                new.push(user);
            }
            Decision::Follow => {
                count.updated += 1;
                changed.push(user);
            }
            Decision::Nothing => count.unchanged += 1,
            Decision::Keep => {
                count.kept += 1;
                add(
                    &mut findings.conflicts,
                    row,
                    "it changed in both shops: ours stays",
                );
            }
            Decision::Foreign => {
                count.kept += 1;
                add(
                    &mut findings.noted,
                    row,
                    "the new shop has a user of this address: ours stays",
                );
                applied.keep_ours(RowKind::User, &id);
            }
        }
    }
    insert(conn, &new).await?;
    rows::write(
        conn,
        "update users
         set role = r.role,
             disabled_at = case when r.is_disabled then coalesce(users.disabled_at, now()) end
         from jsonb_to_recordset($1) as r (id uuid, role text, is_disabled boolean)
         where users.id = r.id",
        &changed,
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
