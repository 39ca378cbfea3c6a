//! Sign-in: password, then second factor. Unknown accounts take the same path as known ones, with the same answer in
//! the same time.

use std::net::IpAddr;
use std::time::Duration;

use sqlx::PgConnection;
use tracing::{info, warn};
use uuid::Uuid;

use super::sessions::{self, CurrentUser, SessionToken};
use super::throttle::{self, Step, ThrottleDecision, Try};
use super::{password, second_factor};
use crate::app::{App, Signer};
use crate::config::Secret;
use crate::error::Result;
use crate::http::rate_limit;
use crate::types::ids::UserId;

/// Origin of a sign-in attempt.
#[derive(Clone)]
pub struct Visit {
    pub address: IpAddr,
    /// User agent, for the list of sessions.
    pub browser: String,
    /// The cookie of a browser that has signed in before, made by [`known_browser`].
    pub known: Option<String>,
}

/// Outcome of an attempt.
pub enum SignedIn {
    /// Signed in; the browser stores the token.
    Whole(SessionToken),
    /// The second factor is still missing; the browser stores the token until then.
    MfaPending(SessionToken),
    /// Unknown account, or wrong password or code.
    Wrong,
    /// Too many attempts; the next one is allowed after this time.
    Wait(Duration),
}

/// Outcome of asking a signed-in user for their password.
pub enum PasswordCheck {
    Right,
    Wrong,
    /// Too many attempts; the next one is allowed after this time.
    Wait(Duration),
}

/// Checks an email address and a password.
///
/// # Errors
/// Database errors only.
pub async fn sign_in(app: &App, email: &str, password: &Secret, visit: &Visit) -> Result<SignedIn> {
    let account = account(&app.signer, email);
    let one = visit.of(app, Step::Password, &account);
    let attempt = match throttle::check(&app.db, &one.borrow()).await? {
        ThrottleDecision::Allow { attempt } => attempt,
        ThrottleDecision::Wait(wait) => {
            warn!("sign-in throttled: too many attempts");
            return Ok(SignedIn::Wait(wait));
        }
    };
    let found: Option<(UserId, String)> = sqlx::query_as(
        "select id, password_hash
         from users
         where lower(email) = $1
           and disabled_at is null",
    )
    .bind(named(email).replace('\0', ""))
    .fetch_optional(&app.db)
    .await?;
    let hash = found.as_ref().map(|(_, hash)| hash.clone());
    // Even without such a user, so that the time does not tell which accounts exist. No transaction is open meanwhile:
    // hashing is slow on purpose.
    let right = password::verify(password, hash).await?;
    let Some((user, hash)) = found.filter(|_| right) else {
        return Ok(SignedIn::Wrong);
    };

    let mut tx = app.db.begin().await?;
    // The user may have been disabled, or the password changed, during the check.
    let mfa_pending: Option<bool> = sqlx::query_scalar(
        "select factor_since is not null
         from users
         where id = $1
           and password_hash = $2
           and disabled_at is null
         for share",
    )
    .bind(user)
    .bind(hash)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(mfa_pending) = mfa_pending else {
        return Ok(SignedIn::Wrong);
    };
    throttle::succeeded(&mut tx, attempt).await?;
    let token = sessions::open(&mut tx, user, mfa_pending, &one.address, &visit.browser).await?;
    tx.commit().await?;
    info!(%user, mfa_pending, "signed in");
    Ok(if mfa_pending {
        SignedIn::MfaPending(token)
    } else {
        SignedIn::Whole(token)
    })
}

/// Checks the second factor of a session in `mfa_pending`, and replaces the session by a new one with a new token.
///
/// # Errors
/// Database errors only.
pub async fn check_second_factor(
    app: &App,
    user: &CurrentUser,
    code: &str,
    visit: &Visit,
) -> Result<SignedIn> {
    let account = account(&app.signer, &user.email);
    let one = visit.of(app, Step::SecondFactor, &account);
    let attempt = match throttle::check(&app.db, &one.borrow()).await? {
        ThrottleDecision::Allow { attempt } => attempt,
        ThrottleDecision::Wait(wait) => {
            warn!(user = %user.id, "second factor throttled: too many attempts");
            return Ok(SignedIn::Wait(wait));
        }
    };
    let mut tx = app.db.begin().await?;
    if !second_factor::take(&mut tx, &app.signer, user.id, code).await? {
        return Ok(SignedIn::Wrong);
    }
    throttle::succeeded(&mut tx, attempt).await?;
    if !sessions::end(&mut tx, user.id, user.session).await? {
        // The session ended in the meantime, for example by a password reset.
        return Ok(SignedIn::Wrong);
    }
    let token = sessions::open(&mut tx, user.id, false, &one.address, &visit.browser).await?;
    tx.commit().await?;
    info!(user = %user.id, "second factor accepted");
    Ok(SignedIn::Whole(token))
}

/// Asks a signed-in user for their password again, before an action that a borrowed browser must not perform. These
/// attempts count like those of sign-in.
///
/// # Errors
/// Database errors only.
pub async fn check_password(
    app: &App,
    user: &CurrentUser,
    password: &Secret,
    visit: &Visit,
) -> Result<PasswordCheck> {
    let account = account(&app.signer, &user.email);
    let one = visit.of(app, Step::Password, &account);
    let attempt = match throttle::check(&app.db, &one.borrow()).await? {
        ThrottleDecision::Allow { attempt } => attempt,
        ThrottleDecision::Wait(wait) => return Ok(PasswordCheck::Wait(wait)),
    };
    let hash = sqlx::query_scalar("select password_hash from users where id = $1")
        .bind(user.id)
        .fetch_optional(&app.db)
        .await?;
    if !password::verify(password, hash).await? {
        return Ok(PasswordCheck::Wrong);
    }
    throttle::succeeded(&mut *app.db.acquire().await?, attempt).await?;
    Ok(PasswordCheck::Right)
}

/// Value of the cookie that marks a browser as known to an account, so that other people's failures do not count
/// against it.
pub fn known_browser(signer: &Signer, email: &str, passed: Step) -> String {
    let account = hex::encode(account(signer, email));
    // Valid only for the steps passed: a cookie earned by a password must not help to guess second factors.
    let passed = match passed {
        Step::Password => "password",
        Step::SecondFactor => "factor",
    };
    let browser = Uuid::new_v4();
    signer.sign("browser", &format!("{account}.{passed}.{browser}"))
}

/// Deletes expired attempts and sessions. Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn sweep(conn: &mut PgConnection) -> Result<()> {
    throttle::forget_old(conn).await?;
    sessions::forget_old(conn).await
}

impl Visit {
    fn of<'a>(&self, app: &App, step: Step, account: &'a [u8]) -> Counted<'a> {
        let known = self.known.as_deref();
        let browser = known
            .and_then(|cookie| app.signer.verify("browser", cookie))
            .and_then(|value| {
                let (whose, rest) = value.split_once('.')?;
                let (passed, browser) = rest.split_once('.')?;
                let is_enough = step == Step::Password || passed == "factor";
                (whose == hex::encode(account) && is_enough).then_some(browser)
            })
            .and_then(|browser| browser.parse().ok());
        Counted {
            step,
            account,
            address: rate_limit::place(self.address),
            browser,
        }
    }
}

/// An attempt, in the form that the throttle counts.
struct Counted<'a> {
    step: Step,
    account: &'a [u8],
    address: String,
    browser: Option<Uuid>,
}

impl Counted<'_> {
    fn borrow(&self) -> Try<'_> {
        Try {
            step: self.step,
            account: self.account,
            address: &self.address,
            browser: self.browser,
        }
    }
}

/// Key of an account in the counters. It is keyed and hashed, because a user may type a password into the email field.
fn account(signer: &Signer, email: &str) -> Vec<u8> {
    signer.derive("account", &named(email)).to_vec()
}

/// Normalizes an account name. Otherwise each spelling would have attempts of its own.
fn named(email: &str) -> String {
    email.trim().to_lowercase()
}
