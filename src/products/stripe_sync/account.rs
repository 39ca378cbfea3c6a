//! The Stripe account that the ids in the database belong to. With a key of another account every known id is missing, and a
//! sync would replace it by a new one: so such a key is refused.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tracing::warn;

use super::store;
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::stripe::{AccountId, StripeError};

/// Time for Stripe to name the account at the start. A shop starts while Stripe is down, too.
const LIMIT: Duration = Duration::from_secs(5);

/// Known prices that a key is tried with, before copied products are released.
const TRIED_PRICES: i64 = 5;

/// Relation of the key's account to the ids in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAccount {
    /// The account of the ids. An id that is missing there may be replaced.
    Own,
    /// Not known, because a restricted key may not ask. No id is replaced.
    Unknown,
    /// Another one. Nothing is synced.
    Foreign { key: AccountId, ids: AccountId },
}

/// Compares the account of the key with that of the ids. The first key that asks makes its account that of the ids; so does
/// one that follows a sandbox, whose ids are worth nothing.
///
/// # Errors
/// 503 while Stripe does not name the account; database errors.
pub async fn of_key(app: &App) -> Result<KeyAccount> {
    let key = match app.stripe.account().await {
        Ok(Some(key)) => key,
        Ok(None) => return Ok(KeyAccount::Unknown),
        Err(error) => return Err(Error::Unavailable(Code::PaymentUnavailable, error.into())),
    };
    let mut conn = app.db.acquire().await?;
    let ids = match store::find_account(&mut conn).await? {
        Some(ids) if ids == key => ids,
        Some(ids) if !ids.is_sandbox() => ids,
        _ => store::record_account(&mut conn, &key).await?,
    };
    Ok(match ids == key {
        true => KeyAccount::Own,
        false => KeyAccount::Foreign { key, ids },
    })
}

/// Checks at the start that the key is of the account that the ids belong to, unless this is a rehearsal. Passes while Stripe
/// does not answer: then no sync runs either.
///
/// # Errors
/// A message for the operator.
pub async fn check(app: &App) -> anyhow::Result<()> {
    let recorded = store::find_account(&mut *app.db.acquire().await?).await?;
    let Some(ids) = recorded else {
        return Ok(());
    };
    let key = match tokio::time::timeout(LIMIT, app.stripe.account()).await {
        Ok(Ok(Some(key))) => key,
        Ok(Ok(None)) => {
            warn!(
                "the Stripe key may not read its account, so nobody knows whether it is the one that the ids in the database \
                 belong to ({}). Give the key read permission for accounts. Until then no id that Stripe does not know is \
                 replaced",
                ids.0
            );
            return Ok(());
        }
        Ok(Err(error)) => {
            warn!(%error, "Stripe did not name the account of the key");
            return Ok(());
        }
        Err(_) => {
            warn!("Stripe did not name the account of the key in time");
            return Ok(());
        }
    };
    match (app.config.stripe.rehearsal, key == ids) {
        (false, false) if !ids.is_sandbox() => bail!("{}", refusal(&key, &ids)),
        (true, true) => bail!(
            "STRIPE_REHEARSAL is set, and the key is of the very account that the ids in the database belong to ({}): with it \
             no product would be synced. Take STRIPE_REHEARSAL out",
            ids.0
        ),
        _ => Ok(()),
    }
}

/// Refusal of a key of another account.
pub(super) fn refusal(key: &AccountId, ids: &AccountId) -> String {
    format!(
        "the Stripe ids in this database belong to the account {}, and the key is of the account {}, which knows none of them. \
         Set the key of the right account; or, to try something out on a copy of the database, set STRIPE_REHEARSAL=true: then \
         no product is told to Stripe",
        ids.0, key.0
    )
}

/// Makes the key's account that of the ids, before copied products are released: some of their prices must be known to it.
/// Safe to repeat. Returns the account, if the key may read it.
///
/// # Errors
/// A message for the operator: the key knows none of the prices, or another account is recorded; Stripe is not available.
pub async fn claim(app: &App) -> anyhow::Result<Option<AccountId>> {
    ensure!(
        !app.config.stripe.rehearsal,
        "STRIPE_REHEARSAL is set: in a rehearsal no product is told to Stripe"
    );
    let key = app
        .stripe
        .account()
        .await
        .context("asking Stripe for the account of the key")?;
    let mut conn = app.db.acquire().await?;
    let recorded = store::find_account(&mut conn).await?;
    let prices = store::list_paused_prices(&mut conn, TRIED_PRICES).await?;
    drop(conn);
    if let (Some(key), Some(ids)) = (&key, &recorded) {
        ensure!(key == ids || ids.is_sandbox(), "{}", refusal(key, ids));
    }
    let mut known = prices.is_empty();
    for price in &prices {
        match app.stripe.find_price(price).await {
            Ok(_) => {
                known = true;
                break;
            }
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error).context("asking Stripe for a known price"),
        }
    }
    ensure!(
        known,
        "the key is of another Stripe account: it knows none of {}",
        prices.join(", ")
    );
    if let Some(key) = &key {
        store::record_account(&mut *app.db.acquire().await?, key).await?;
    }
    Ok(key)
}

/// The refusal of a sync with a key of another account, as a failure that is kept with the product.
pub(super) fn refused(key: &AccountId, ids: &AccountId) -> StripeError {
    StripeError::Refused {
        status: 400,
        code: "not_sent".to_owned(),
        message: refusal(key, ids),
    }
}
