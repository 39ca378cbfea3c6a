//! Forms that were sent: each takes effect once, however often it is sent.
//!
//! A row is claimed before a form is carried out, marked by the transaction that changes something, and closed with the
//! answer. Whoever carries it out holds a lease. Should it die before the change was committed, the next try claims the
//! row and carries it out; the mark is refused to the dead one's transaction, should it only have seemed dead. Should
//! it die after the commit, the mark tells the next try that all is done.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::error::{Error, Result};

/// How long a claim holds unless it is renewed.
const LEASE: Duration = Duration::from_secs(10);

/// How often a lease is renewed while the form is carried out.
pub const RENEWAL: Duration = Duration::from_secs(3);

/// The right to carry a form out, and to say what came of it.
#[derive(Clone, Debug)]
pub struct Claim {
    id: Vec<u8>,
    attempt: Uuid,
}

impl Claim {
    /// The attempt that holds it.
    pub fn attempt(&self) -> Uuid {
        self.attempt
    }

    /// Marks that the transaction changes something for this form: the change and the mark commit together.
    ///
    /// # Errors
    /// 409 `sent_again` when the lease ran out and another attempt has taken over: the change must not be committed.
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
                "sent_again",
                "This form was sent again meanwhile, and that is carried out.".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Renews the lease. Skips a row that is locked: the form's own transaction has marked it.
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

    /// Closes the submission. One that has failed and changed nothing may be sent again.
    pub async fn close(&self, conn: &mut PgConnection, outcome: &Outcome) -> Result<()> {
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

/// The result of carrying a form out.
#[derive(Debug, Default)]
pub struct Outcome {
    /// It succeeded. Otherwise only a marked change makes it final.
    pub is_final: bool,
    /// The keyed hash of what was sent, as far as all of it was read.
    pub fingerprint: Option<Vec<u8>>,
    /// The keyed hash of the session cookie that the answer sets.
    pub successor: Option<Vec<u8>>,
    /// The answer, encrypted.
    pub answer: Option<Vec<u8>>,
    /// The time for which the answer may be given again.
    pub keep_for: Duration,
}

/// The state of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// It is being carried out, unless its lease has run out.
    Running,
    /// It took effect, or succeeded without one.
    Done,
    /// It was refused and changed nothing.
    Failed,
}

/// A submission as it is recorded.
#[derive(Debug, sqlx::FromRow)]
pub struct Submission {
    pub attempt: Uuid,
    pub state: State,
    /// Whether the lease holds.
    pub is_leased: bool,
    /// Whether a change was committed with it.
    pub took_effect: bool,
    pub credential: Vec<u8>,
    pub successor: Option<Vec<u8>>,
    pub fingerprint: Option<Vec<u8>>,
    /// The encrypted answer, while it is kept.
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

/// Claims a form that was never sent; nothing when it was.
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

/// Claims a submission that changed nothing from the attempt that had it; nothing when another was faster, or when a
/// change was committed meanwhile.
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

/// Forgets answers whose time is over, and submissions of over a day ago. Safe to repeat.
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
