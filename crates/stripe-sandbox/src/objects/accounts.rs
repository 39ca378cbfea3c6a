//! The account that the secret key belongs to.

use serde_json::{Value, json};

use crate::error::ApiResult;
use crate::store::{Transaction, id, now};

/// Beginning of the id of a sandbox's account, which no account of Stripe's has.
const PREFIX: &str = "acct_sandbox_";

/// `GET /v1/account`. A database has one account, opened by the first question about it.
pub async fn current(tx: &mut Transaction<'_>) -> ApiResult<Value> {
    // Two first questions at once open one account.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('stripe_sandbox.account', 0))")
        .execute(&mut *tx.conn)
        .await?;
    if let Some(known) = tx.find_latest("account", json!({})).await? {
        return Ok(known);
    }
    let account = json!({
        "id": id(PREFIX, 16),
        "object": "account",
        "business_profile": {"name": tx.settings.business_name},
        "charges_enabled": true,
        "country": "US",
        "created": now(),
        "default_currency": "usd",
        "details_submitted": true,
        "metadata": {},
        "payouts_enabled": true,
        "type": "standard",
    });
    tx.insert(&account).await?;
    Ok(account)
}
