//! Signing in: the password, then the second factor. Unknown and known accounts take the same way, get the same answer
//! and take the same time.

use std::net::IpAddr;
use std::time::Duration;

use sqlx::PgConnection;
use tracing::{info, warn};
use uuid::Uuid;

use super::sessions::{self, CurrentUser, Token};
use super::throttle::{self, Step, Try};
use super::{password, second_factor};
use crate::app::{App, Signer};
use crate::config::Secret;
use crate::error::Result;
use crate::ids::UserId;
use crate::rate_limit;

/// Where somebody tries to get in from.
#[derive(Clone)]
pub struct Visit {
    pub address: IpAddr,
    /// What the browser calls itself, for the list of sessions.
    pub browser: String,
    /// The cookie of a browser that has signed in before, as [`known_browser`] made it.
    pub known: Option<String>,
}

/// What came of a try.
pub enum SignedIn {
    /// Come in; the browser keeps the token.
    Whole(Token),
    /// The second factor is still to come; the browser keeps the token until then.
    MfaPending(Token),
    /// No such account, or another password or code.
    Wrong,
    /// Too many tries: come back after this time.
    Wait(Duration),
}

/// Tries an address and a password.
///
/// # Errors
/// Only the database's.
pub async fn sign_in(app: &App, email: &str, password: &Secret, visit: &Visit) -> Result<SignedIn> {
    let account = account(&app.signer, email);
    let one = visit.of(app, Step::Password, &account);
    let attempt = match throttle::check(&app.db, &one.borrow()).await? {
        Ok(attempt) => attempt,
        Err(wait) => {
            warn!("a try to sign in was put off: there were too many");
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
    let right = password::verify(password, hash).await?;
    let Some((user, hash)) = found.filter(|_| right) else {
        return Ok(SignedIn::Wrong);
    };

    let mut tx = app.db.begin().await?;
    // Somebody may have been shut out, or their password changed, while it was checked.
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

/// Tries the second factor of somebody whose second factor is pending. Their session gives way to a new one, under a new token.
///
/// # Errors
/// Only the database's.
pub async fn check_second_factor(
    app: &App,
    user: &CurrentUser,
    code: &str,
    visit: &Visit,
) -> Result<SignedIn> {
    let account = account(&app.signer, &user.email);
    let one = visit.of(app, Step::SecondFactor, &account);
    let attempt = match throttle::check(&app.db, &one.borrow()).await? {
        Ok(attempt) => attempt,
        Err(wait) => {
            warn!(user = %user.id, "a second factor was put off: there were too many tries");
            return Ok(SignedIn::Wait(wait));
        }
    };
    let mut tx = app.db.begin().await?;
    if !second_factor::take(&mut tx, &app.signer, user.id, code).await? {
        return Ok(SignedIn::Wrong);
    }
    throttle::succeeded(&mut tx, attempt).await?;
    if !sessions::end(&mut tx, user.id, user.session).await? {
        // Signed out meanwhile, as by a new password.
        return Ok(SignedIn::Wrong);
    }
    let token = sessions::open(&mut tx, user.id, false, &one.address, &visit.browser).await?;
    tx.commit().await?;
    info!(user = %user.id, "gave the second factor");
    Ok(SignedIn::Whole(token))
}

/// Asks somebody who is in for their password again, before something that a borrowed browser must not do. The tries
/// are counted with those at the door.
///
/// # Errors
/// Only the database's. `Ok(Err(_))`: too many tries, come back after this time.
pub async fn check_password(
    app: &App,
    user: &CurrentUser,
    password: &Secret,
    visit: &Visit,
) -> Result<std::result::Result<bool, Duration>> {
    let account = account(&app.signer, &user.email);
    let one = visit.of(app, Step::Password, &account);
    let attempt = match throttle::check(&app.db, &one.borrow()).await? {
        Ok(attempt) => attempt,
        Err(wait) => return Ok(Err(wait)),
    };
    let hash = sqlx::query_scalar("select password_hash from users where id = $1")
        .bind(user.id)
        .fetch_optional(&app.db)
        .await?;
    let right = password::verify(password, hash).await?;
    if right {
        throttle::succeeded(&mut *app.db.acquire().await?, attempt).await?;
    }
    Ok(Ok(right))
}

/// The value of a cookie by which we know this browser again when somebody signs in to this account: others' failures
/// do not count against it. It is good for the steps that its owner has passed: one that a password earned does not
/// help whoever guesses second factors.
pub fn known_browser(signer: &Signer, email: &str, passed: Step) -> String {
    let account = hex::encode(account(signer, email));
    let passed = match passed {
        Step::Password => "password",
        Step::SecondFactor => "factor",
    };
    let browser = Uuid::new_v4();
    signer.sign("browser", &format!("{account}.{passed}.{browser}"))
}

/// Forgets tries and sessions that nothing looks at any more. Safe to repeat.
///
/// # Errors
/// Only the database's.
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

/// A try as it is counted.
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

/// What stands for an account where tries are counted. Nobody can tell from it what was typed: it may be a password.
fn account(signer: &Signer, email: &str) -> Vec<u8> {
    signer.derive("account", &named(email)).to_vec()
}

/// An account's name as it is counted and looked for: in one way only, or each way of writing it had tries of its own.
fn named(email: &str) -> String {
    email.trim().to_lowercase()
}
