//! Throttles sign-in attempts. The counters are in PostgreSQL, because the shop may run as many processes.
//!
//! Nobody can lock out another account: failures count against an account *and* the place they came from, never against
//! the account alone. A place is an address or, better, a browser that has signed in to this account before. Sharing
//! the owner's address, or exhausting its limit, does not affect the owner's own browser.
//!
//! This leaves guessing one password from thousands of addresses. The password itself counters that: at least twelve
//! characters, a slow hash, and the second factor.
//!
//! The only limit on an account alone is on second factors, because their codes are short. An attacker needs the
//! password to reach it, and known places are exempt.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::error::Result;

/// Failed attempts allowed before exponential back-off starts.
const FREE_TRIES: u32 = 5;

const FIRST_WAIT: Duration = Duration::from_secs(30);

/// Upper bound of the back-off. It leaves four attempts an hour from one place, and does not keep an owner who forgot
/// the password out for the day.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// Failures of one address per hour, for all accounts, so that one address cannot go through a list of accounts.
const PER_ADDRESS: i64 = 50;

/// Failed second factors of one account per hour, from all addresses. Three of a million codes are valid at a time, so
/// a year of guesses with a known password and any number of addresses finds less than one on average.
const PER_ACCOUNT: i64 = 30;

/// Time for which a successful sign-in makes an address known.
const KNOWN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Time for which failures count.
const MEMORY: Duration = Duration::from_secs(60 * 60);

/// The step of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Step {
    Password,
    SecondFactor,
}

/// An attempt.
pub struct Try<'a> {
    pub step: Step,
    /// Hash of the account's name, whether or not the account exists.
    pub account: &'a [u8],
    pub address: &'a str,
    /// A browser that has signed in to this account before.
    pub browser: Option<Uuid>,
}

/// Decision on an attempt.
pub enum ThrottleDecision {
    /// It may be made. It counts as failed until it is marked by [`succeeded`].
    Allow { attempt: i64 },
    /// Too many failures; the next attempt is allowed after this time.
    Wait(Duration),
}

/// Decides on an attempt, and records it when it is allowed.
pub async fn check(db: &PgPool, one: &Try<'_>) -> Result<ThrottleDecision> {
    let mut tx = db.begin().await?;
    // Lock order: accounts before addresses.
    sqlx::query(
        "select pg_advisory_xact_lock(hashtextextended('account ' || encode($1, 'hex'), 0)),
                pg_advisory_xact_lock(hashtextextended('address ' || $2, 0))",
    )
    .bind(one.account)
    .bind(one.address)
    .execute(&mut *tx)
    .await?;
    if let Some(wait) = count(&mut tx, one).await?.wait() {
        return Ok(ThrottleDecision::Wait(wait));
    }
    // Recorded as failed before it is made, so that concurrent attempts see one another.
    let attempt = sqlx::query_scalar(
        "insert into sign_in_attempts (step, account, address, browser)
         values ($1, $2, $3, $4)
         returning id",
    )
    .bind(one.step)
    .bind(one.account)
    .bind(one.address)
    .bind(one.browser)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(ThrottleDecision::Allow { attempt })
}

/// Marks an attempt as successful.
pub async fn succeeded(conn: &mut PgConnection, id: i64) -> Result<()> {
    sqlx::query("update sign_in_attempts set succeeded = true where id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes attempts that no limit considers any more.
pub async fn forget_old(conn: &mut PgConnection) -> Result<()> {
    sqlx::query(
        "delete from sign_in_attempts
         where tried_at < now() - make_interval(secs => case when succeeded then $1 else $2 end)",
    )
    .bind(KNOWN.as_secs_f64())
    .bind(MEMORY.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(())
}

/// Counters for an attempt. Times are in seconds.
#[derive(sqlx::FromRow)]
struct Count {
    /// Consecutive failures for this account from this place, and the time since the last one.
    failures: i64,
    since_last: f64,
    /// Time until the address, and the account, are below their limits; negative when they already are.
    address_wait: f64,
    account_wait: f64,
    /// This address or this browser has signed in to the account before.
    known: bool,
}

impl Count {
    fn wait(&self) -> Option<Duration> {
        let own = u32::try_from(self.failures)
            .unwrap_or(u32::MAX)
            .checked_sub(FREE_TRIES)
            .map_or(0.0, |more| {
                let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(more));
                wait.min(LONGEST_WAIT).as_secs_f64() - self.since_last
            });
        let others = if self.known {
            0.0
        } else {
            self.address_wait.max(self.account_wait)
        };
        let wait = own.max(others);
        (wait > 0.0).then(|| Duration::from_secs_f64(wait.ceil()))
    }
}

async fn count(conn: &mut PgConnection, one: &Try<'_>) -> Result<Count> {
    // `clock_timestamp`, because the transaction may have waited for other attempts, which count here.
    let count = sqlx::query_as(
        "with here as (
             select succeeded, tried_at
             from sign_in_attempts
             where account = $1
               and step = $2
               and tried_at > clock_timestamp() - make_interval(secs => $5)
               and case when $4::uuid is null then browser is null and address = $3 else browser = $4 end
         ),
         failed as (
             select tried_at
             from here
             where not succeeded
               and tried_at > coalesce((select max(tried_at) from here where succeeded), '-infinity')
         )
         select (select count(*) from failed) as failures,
                coalesce((select extract(epoch from clock_timestamp() - max(tried_at))::float8 from failed), 0)
                    as since_last,
                coalesce((select $5 - extract(epoch from clock_timestamp() - tried_at)::float8
                          from sign_in_attempts
                          where address = $3
                            and not succeeded
                          order by tried_at desc
                          offset $6 - 1
                          limit 1), 0) as address_wait,
                coalesce((select $5 - extract(epoch from clock_timestamp() - tried_at)::float8
                          from sign_in_attempts
                          where account = $1
                            and step = 'second_factor'
                            and $2 = 'second_factor'
                            and not succeeded
                          order by tried_at desc
                          offset $7 - 1
                          limit 1), 0) as account_wait,
                $4::uuid is not null or exists (
                    select
                    from sign_in_attempts
                    where account = $1
                      and address = $3
                      and step = $2
                      and succeeded
                      and tried_at > clock_timestamp() - make_interval(secs => $8)) as known",
    )
    .bind(one.account)
    .bind(one.step)
    .bind(one.address)
    .bind(one.browser)
    .bind(MEMORY.as_secs_f64())
    .bind(PER_ADDRESS)
    .bind(PER_ACCOUNT)
    .bind(KNOWN.as_secs_f64())
    .fetch_one(conn)
    .await?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(failures: i64, since_last: f64) -> Option<u64> {
        let count = Count {
            failures,
            since_last,
            address_wait: 0.0,
            account_wait: -5.0,
            known: false,
        };
        count.wait().map(|wait| wait.as_secs())
    }

    #[test]
    fn after_five_failures_each_doubles_the_wait_up_to_a_quarter_of_an_hour() {
        assert_eq!((wait(0, 0.0), wait(4, 0.0)), (None, None));
        assert_eq!((wait(5, 0.0), wait(5, 29.5)), (Some(30), Some(1)));
        assert_eq!(wait(5, 30.0), None);
        assert_eq!((wait(6, 0.0), wait(7, 20.0)), (Some(60), Some(100)));
        assert_eq!((wait(20, 0.0), wait(5000, 0.0)), (Some(900), Some(900)));
    }
}
