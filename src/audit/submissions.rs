//! Idempotent form submissions: each takes effect once, however often it is sent.
//!
//! An attempt claims the row before it processes the form, marks it in the transaction that makes the change, and
//! closes it with the response. While it runs, it holds a lease. There are two cases of a failed attempt:
//!
//! - It fails before its change commits. Then the next attempt claims the row and processes the form. If the first
//!   attempt was only slow, its transaction cannot set the mark any more, and rolls back.
//! - It fails after its change commits. Then the mark shows the next attempt that the form has been processed.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::error::{Code, Error, Result};

/// Duration of a lease unless it is renewed.
const LEASE: Duration = Duration::from_secs(10);

/// Interval at which a running attempt renews its lease.
pub const RENEWAL: Duration = Duration::from_secs(3);

/// The right to process a form and to record the outcome.
#[derive(Clone, Debug)]
pub struct Claim {
    id: Vec<u8>,
    attempt: Uuid,
}

impl Claim {
    /// Id of the attempt that holds the claim.
    pub fn attempt(&self) -> Uuid {
        self.attempt
    }

    /// Marks the submission as effective, in the transaction of the change, so that both commit together.
    ///
    /// # Errors
    /// 409 `sent_again` if the lease has expired and another attempt has taken over: the change must not be committed.
    pub async fn mark(&self, conn: &mut PgConnection) -> Result<()> {
        let done = sqlx::query(
            "update form_submissions
             set effect_at = coalesce(effect_at, now()), updated_at = now()
             where id = $1
               and attempt = $2
               and state = 'running'",
        )
        .bind(&self.id)
        .bind(self.attempt)
        .execute(conn)
        .await?;
        match done.rows_affected() {
            0 => Err(Error::Conflict(
                Code::SentAgain,
                "This form was sent again in the meantime, and the later submission is processed."
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Renews the lease. Skips a locked row, because then the form's own transaction has marked it.
    pub async fn renew(&self, conn: &mut PgConnection) -> Result<()> {
        sqlx::query(
            "update form_submissions
             set lease_until = now() + make_interval(secs => $3)
             where id = (select id
                         from form_submissions
                         where id = $1
                           and attempt = $2
                           and state = 'running'
                         for update skip locked)",
        )
        .bind(&self.id)
        .bind(self.attempt)
        .bind(LEASE.as_secs_f64())
        .execute(conn)
        .await?;
        Ok(())
    }

    /// Closes the submission. If it failed and changed nothing, it may be sent again.
    pub async fn close(&self, conn: &mut PgConnection, outcome: &SubmissionOutcome) -> Result<()> {
        sqlx::query(
            "update form_submissions
             set state = case when $3 or effect_at is not null then 'done' else 'failed' end,
                 fingerprint = $4,
                 successor = $5,
                 answer = $6,
                 answer_until = now() + make_interval(secs => $7),
                 updated_at = now()
             where id = $1
               and attempt = $2
               and state = 'running'",
        )
        .bind(&self.id)
        .bind(self.attempt)
        .bind(outcome.is_final)
        .bind(outcome.fingerprint.as_deref())
        .bind(outcome.successor.as_deref())
        .bind(outcome.answer.as_deref())
        .bind(outcome.keep_for.as_secs_f64())
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Outcome of processing a form.
#[derive(Debug, Default)]
pub struct SubmissionOutcome {
    /// Set on success. Otherwise only a marked change makes the outcome final.
    pub is_final: bool,
    /// Keyed hash of the submitted content, if all of it was read.
    pub fingerprint: Option<Vec<u8>>,
    /// Keyed hash of the session cookie that the response sets.
    pub successor: Option<Vec<u8>>,
    /// Encrypted response.
    pub answer: Option<Vec<u8>>,
    /// Retention of the response.
    pub keep_for: Duration,
}

/// State of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum SubmissionState {
    /// Being processed, unless the lease has expired.
    Running,
    /// Took effect, or succeeded without a change.
    Done,
    /// Refused, without a change.
    Failed,
}

/// A stored submission.
#[derive(Debug, sqlx::FromRow)]
pub struct Submission {
    pub attempt: Uuid,
    pub state: SubmissionState,
    /// Set while the lease is valid.
    pub is_leased: bool,
    /// Set if a change was committed.
    pub took_effect: bool,
    pub credential: Vec<u8>,
    pub successor: Option<Vec<u8>>,
    pub fingerprint: Option<Vec<u8>>,
    /// Encrypted response, during its retention.
    pub answer: Option<Vec<u8>>,
}

/// Finds a submission.
pub async fn find(conn: &mut PgConnection, id: &[u8]) -> Result<Option<Submission>> {
    let found = sqlx::query_as(
        "select attempt, state, lease_until > now() as is_leased, effect_at is not null as took_effect, credential,
                successor, fingerprint, case when answer_until > now() then answer end as answer
         from form_submissions
         where id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(found)
}

/// Claims a new submission; `None` if it was sent before.
pub async fn claim(conn: &mut PgConnection, id: &[u8], credential: &[u8]) -> Result<Option<Claim>> {
    let attempt = Uuid::new_v4();
    let done = sqlx::query(
        "insert into form_submissions (id, attempt, credential, lease_until)
         values ($1, $2, $3, now() + make_interval(secs => $4))
         on conflict (id) do nothing",
    )
    .bind(id)
    .bind(attempt)
    .bind(credential)
    .bind(LEASE.as_secs_f64())
    .execute(conn)
    .await?;
    Ok((done.rows_affected() == 1).then(|| Claim {
        id: id.to_vec(),
        attempt,
    }))
}

/// Takes over a submission that changed nothing from a previous attempt. `None` if another attempt was faster, or if a
/// change was committed in the meantime.
pub async fn reclaim(
    conn: &mut PgConnection,
    id: &[u8],
    from: &Submission,
    credential: &[u8],
) -> Result<Option<Claim>> {
    let attempt = Uuid::new_v4();
    let done = sqlx::query(
        "update form_submissions
         set attempt = $3, state = 'running', credential = $4, lease_until = now() + make_interval(secs => $5),
             fingerprint = null, successor = null, answer = null, answer_until = null, updated_at = now()
         where id = $1
           and attempt = $2
           and effect_at is null
           and (state <> 'running' or lease_until <= now())",
    )
    .bind(id)
    .bind(from.attempt)
    .bind(attempt)
    .bind(credential)
    .bind(LEASE.as_secs_f64())
    .execute(conn)
    .await?;
    Ok((done.rows_affected() == 1).then(|| Claim {
        id: id.to_vec(),
        attempt,
    }))
}

/// Deletes expired responses, and submissions older than a day. Safe to repeat.
pub async fn sweep(conn: &mut PgConnection) -> Result<()> {
    sqlx::query(
        "update form_submissions
         set answer = null, answer_until = null
         where answer_until <= now()",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query("delete from form_submissions where created_at < now() - interval '1 day'")
        .execute(conn)
        .await?;
    Ok(())
}
