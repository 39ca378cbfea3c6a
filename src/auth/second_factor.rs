//! The second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes for a lost phone.
//!
//! A TOTP secret is derived from a key in the database and from `SECRET_KEY`, so a leaked database alone yields no
//! codes.

use std::time::Duration;

use anyhow::Context;
use qrcodegen::{QrCode, QrCodeEcc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use totp_rs::{Builder, Secret};
use uuid::Uuid;

use super::users::{self, User};
use super::{random, sha256};
use crate::app::Signer;
use crate::audit::{self, Actor};
use crate::error::{Code, Error, Result};
use crate::types::ids::UserId;

/// Time to finish a set-up. It is limited because the set-up asked for the password, and that proof should not last.
const SET_UP_TIME: Duration = Duration::from_secs(10 * 60);

const RECOVERY_CODES: usize = 10;

/// Set-up data for an authenticator app. Shown until the first code is confirmed, then never again.
pub struct Setup {
    /// The secret in groups of four characters, for typing.
    pub secret: String,
    /// Content of the QR code, an `otpauth:` address.
    pub address: String,
    /// The QR code: its width in modules, and its dark modules as an SVG path with one unit per module.
    pub qr_size: i32,
    pub qr_path: String,
}

/// Begins a set-up with a new secret. A confirmed factor stays as it is.
///
/// # Errors
/// 409 when a second factor is enabled.
pub async fn enrol(conn: &mut PgConnection, user: UserId) -> Result<()> {
    let begun = sqlx::query(
        "update users
             set factor_key = $2, factor_step = 0, factor_begun_at = now()
             where id = $1
               and factor_since is null",
    )
    .bind(user)
    .bind(Uuid::new_v4())
    .execute(conn)
    .await?;
    if begun.rows_affected() == 0 {
        return Err(Error::Conflict(
            Code::SecondFactorOn,
            "A second factor is already enabled.".to_owned(),
        ));
    }
    Ok(())
}

/// Returns the set-up in progress, if any.
pub async fn setup(
    conn: &mut PgConnection,
    signer: &Signer,
    user: UserId,
    shop: &str,
) -> Result<Option<Setup>> {
    let pending: Option<(String, Uuid)> = sqlx::query_as(
        "select email, factor_key
         from users
         where id = $1
           and factor_key is not null
           and factor_since is null
           and factor_begun_at > now() - make_interval(secs => $2)",
    )
    .bind(user)
    .bind(SET_UP_TIME.as_secs_f64())
    .fetch_optional(conn)
    .await?;
    let Some((email, key)) = pending else {
        return Ok(None);
    };
    // Keeps the address short enough for the QR code, and free of the colon between its two names.
    let label = |text: &str| -> String { text.replace(':', " ").chars().take(60).collect() };
    let totp = Builder::new()
        .with_secret(secret(signer, key))
        .with_issuer(Some(label(shop)))
        .with_account_name(label(&email))
        .build()
        .context("a set-up of TOTP")?;
    let secret = totp.secret().to_base32();
    let address = totp.to_url().context("the address of a TOTP secret")?;
    let code = QrCode::encode_text(&address, QrCodeEcc::Medium)
        .map_err(|error| anyhow::anyhow!("drawing a QR code: {error}"))?;
    let mut qr_path = String::new();
    for y in 0..code.size() {
        for x in 0..code.size() {
            if code.get_module(x, y) {
                qr_path += &format!("M{x} {y}h1v1h-1z");
            }
        }
    }
    let groups: Vec<&str> = (0..secret.len())
        .step_by(4)
        .map(|at| &secret[at..at + 4])
        .collect();
    Ok(Some(Setup {
        secret: groups.join(" "),
        address,
        qr_size: code.size(),
        qr_path,
    }))
}

/// Enables the second factor after a correct first code. Returns the recovery codes, which are shown only once.
///
/// # Errors
/// A field error of `code` for a wrong code; 409 when no set-up is in progress.
pub async fn confirm(
    conn: &mut PgConnection,
    signer: &Signer,
    actor: &Actor,
    user: UserId,
    code: &str,
) -> Result<Vec<String>> {
    let before = users::lock(conn, user, false).await?;
    let (key, step, now) = factor(conn, user).await?;
    let in_time: bool = sqlx::query_scalar(
        "select coalesce(factor_begun_at > now() - make_interval(secs => $2), false)
         from users
         where id = $1",
    )
    .bind(user)
    .bind(SET_UP_TIME.as_secs_f64())
    .fetch_one(&mut *conn)
    .await?;
    let key = key
        .filter(|_| in_time && !before.has_second_factor)
        .ok_or(Error::Conflict(
            Code::NoSetUp,
            "No second factor is being set up.".to_owned(),
        ))?;
    let step = matching(secret(signer, key), &digits(code), now, step)
        .ok_or_else(|| Error::invalid("code", "is not the one that the app shows now"))?;
    sqlx::query("update users set factor_since = now(), factor_step = $2 where id = $1")
        .bind(user)
        .bind(step)
        .execute(&mut *conn)
        .await?;
    users::record_factor(conn, actor, "user.set_second_factor", &before).await?;
    new_recovery_codes(conn, user).await
}

/// Accepts a code of the app or a recovery code, each only once. Returns false for any other code, or when the user has
/// no such factor.
pub(super) async fn take(
    conn: &mut PgConnection,
    signer: &Signer,
    user: UserId,
    code: &str,
) -> Result<bool> {
    // Under the user's lock, a code that is sent twice at the same moment counts once.
    let found = users::lock(conn, user, false).await?;
    let (Some(key), last, now) = factor(conn, user).await? else {
        return Ok(false);
    };
    if !found.has_second_factor || found.disabled_at.is_some() {
        return Ok(false);
    }
    if let Some(step) = matching(secret(signer, key), &digits(code), now, last) {
        sqlx::query("update users set factor_step = $2 where id = $1")
            .bind(user)
            .bind(step)
            .execute(conn)
            .await?;
        return Ok(true);
    }
    // Not a code of the app: perhaps a recovery code, which is gone once it is used.
    let used = sqlx::query("delete from recovery_codes where user_id = $1 and hash = $2")
        .bind(user)
        .bind(sha256(&plain(code)))
        .execute(&mut *conn)
        .await?;
    if used.rows_affected() == 0 {
        return Ok(false);
    }
    let left = recovery_codes_left(conn, user).await?;
    let actor = Actor::user(user, &found.email, None);
    let object = format!("user:{}", found.email);
    let (before, after) = (
        json!({"recovery_codes": left + 1}),
        json!({"recovery_codes": left}),
    );
    audit::record(
        conn,
        &actor,
        "user.use_recovery_code",
        &object,
        before,
        after,
    )
    .await?;
    Ok(true)
}

/// Turns off the second factor and deletes its recovery codes. Safe to repeat.
///
/// # Errors
/// 404 when there is no such user.
pub async fn turn_off(conn: &mut PgConnection, actor: &Actor, user: UserId) -> Result<User> {
    let before = users::lock(conn, user, false).await?;
    sqlx::query(
        "with gone as (
             delete from recovery_codes where user_id = $1
         ),
         mfa_pending as (
             delete from sessions where user_id = $1 and mfa_pending
         )
         update users
         set factor_key = null, factor_since = null
         where id = $1",
    )
    .bind(user)
    .execute(&mut *conn)
    .await?;
    if before.has_second_factor {
        users::record_factor(conn, actor, "user.turn_off_second_factor", &before).await?;
    }
    Ok(before)
}

/// Replaces the recovery codes by ten new ones.
///
/// # Errors
/// 409 when no second factor is enabled.
pub async fn renew_recovery_codes(
    conn: &mut PgConnection,
    actor: &Actor,
    user: UserId,
) -> Result<Vec<String>> {
    let found = users::lock(conn, user, false).await?;
    if !found.has_second_factor {
        return Err(Error::Conflict(
            Code::NoSecondFactor,
            "No second factor is enabled.".to_owned(),
        ));
    }
    let object = format!("user:{}", found.email);
    let codes = new_recovery_codes(conn, user).await?;
    audit::record(
        conn,
        actor,
        "user.renew_recovery_codes",
        &object,
        Value::Null,
        Value::Null,
    )
    .await?;
    Ok(codes)
}

/// Returns the number of unused recovery codes.
pub async fn recovery_codes_left(conn: &mut PgConnection, user: UserId) -> Result<i64> {
    let left = sqlx::query_scalar("select count(*) from recovery_codes where user_id = $1")
        .bind(user)
        .fetch_one(conn)
        .await?;
    Ok(left)
}

async fn new_recovery_codes(conn: &mut PgConnection, user: UserId) -> Result<Vec<String>> {
    let mut codes = Vec::new();
    for _ in 0..RECOVERY_CODES {
        // 80 bits cannot be guessed, so a fast hash is enough.
        let text = Secret::new(Box::new(random::<10>()?))
            .to_base32()
            .to_lowercase();
        let groups: Vec<&str> = (0..text.len())
            .step_by(4)
            .map(|at| &text[at..at + 4])
            .collect();
        codes.push(groups.join("-"));
    }
    let hashes: Vec<Vec<u8>> = codes.iter().map(|code| sha256(&plain(code))).collect();
    sqlx::query("delete from recovery_codes where user_id = $1")
        .bind(user)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "insert into recovery_codes (user_id, hash)
         select $1, hash
         from unnest($2::bytea[]) as made (hash)",
    )
    .bind(user)
    .bind(hashes)
    .execute(conn)
    .await?;
    Ok(codes)
}

/// The key, the step of the last accepted code, and the time in seconds.
async fn factor(conn: &mut PgConnection, user: UserId) -> Result<(Option<Uuid>, i64, i64)> {
    let found = sqlx::query_as(
        "select factor_key, factor_step, floor(extract(epoch from clock_timestamp()))::bigint
         from users
         where id = $1",
    )
    .bind(user)
    .fetch_one(conn)
    .await?;
    Ok(found)
}

fn secret(signer: &Signer, key: Uuid) -> Secret {
    let derived = signer.derive("second factor", &key.to_string());
    let mut secret = [0; 20];
    secret.copy_from_slice(&derived[..20]);
    Secret::new_stack(secret)
}

/// Finds the step of this code, if it is within one step of the current one, because clocks differ and typing takes time,
/// and later than the last accepted one.
fn matching(secret: Secret, code: &str, now: i64, last: i64) -> Option<i64> {
    let totp = Builder::new().with_secret(secret).build().ok()?;
    let step = totp.check(code, u64::try_from(now).ok()?)?;
    i64::try_from(step).ok().filter(|step| *step > last)
}

/// Strips whitespace from a code of the app, typed as `123 456`.
fn digits(code: &str) -> String {
    code.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Normalizes a recovery code: drops separators.
fn plain(code: &str) -> String {
    code.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8; 20] = b"12345678901234567890";

    /// Source: <https://www.rfc-editor.org/rfc/rfc6238#appendix-B>, the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (20_000_000_000, "353130"),
        ] {
            let step = matching(Secret::new_stack(*SECRET), code, time, 0);
            assert_eq!(step, Some(time / 30));
        }
    }

    #[test]
    fn a_code_counts_in_its_neighborhood_and_once() {
        // The code of step 1.
        let at =
            |step: i64, last: i64| matching(Secret::new_stack(*SECRET), "287082", step * 30, last);
        assert_eq!((at(1, 0), at(0, 0), at(2, 0)), (Some(1), Some(1), Some(1)));
        assert_eq!((at(3, 0), at(40_000_000, 0)), (None, None));
        assert_eq!((at(1, 1), at(2, 1), at(2, 2)), (None, None, None));
    }
}
