//! Syncs products and prices to Stripe. The database row is the source of truth.

mod account;
mod store;

pub use account::{check as check_stripe_account, claim as claim_account};
pub use store::{
    SyncRow, doubt_prices, find_for_sync, pending_syncs, record_price, record_stripe_product,
    record_sync_error, record_synced, stalled_syncs,
};

use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tracing::warn;

use account::KeyAccount;

use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::jobs::{self, Job};
use crate::stripe::{ProductParams, StripeError};
use crate::types::ids::ProductId;

/// Creates or updates the product at Stripe. When the amount has changed, creates a new price, makes it the default and
/// archives the old one. Safe to repeat: the ids and keys derive from the row. Does nothing in a rehearsal.
///
/// # Errors
/// 503 while Stripe is unavailable: retry later. A refusal is stored with the product and shown to the owner.
pub async fn sync_product(app: &App, id: &ProductId) -> Result<()> {
    if app.config.stripe.rehearsal {
        return Ok(());
    }
    let mut conn = app.db.acquire().await?;
    let Some(row) = store::find_for_sync(&mut conn, id).await? else {
        return Ok(());
    };
    drop(conn);
    if row.stripe_paused {
        // Its price at Stripe is what the other shop's pages sell it by.
        return Ok(());
    }
    match bring_in_line(app, &row).await {
        Err(SyncFailure::Stripe(error @ StripeError::Refused { .. })) => {
            warn!(product = %id, %error, "Stripe refused a product");
            let mut conn = app.db.acquire().await?;
            store::record_sync_error(&mut conn, id, row.version, &error.to_string()).await
        }
        Err(SyncFailure::Stripe(error @ StripeError::Failed(_))) => {
            // Stripe repeats a failure under its key for a day: the next try has other keys.
            let mut conn = app.db.acquire().await?;
            store::doubt_prices(&mut conn, std::slice::from_ref(id)).await?;
            Err(Error::Unavailable(Code::PaymentUnavailable, error.into()))
        }
        Err(SyncFailure::Stripe(error)) => {
            Err(Error::Unavailable(Code::PaymentUnavailable, error.into()))
        }
        Err(SyncFailure::Ours(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

/// Ends the pause of products that were copied from a shop which still sold them by their Stripe prices, and queues their
/// syncs: that shop sells no more. Safe to repeat. Returns the products that are synced.
///
/// # Errors
/// Database errors only.
pub async fn release_copied(conn: &mut PgConnection) -> Result<Vec<ProductId>> {
    let released = store::end_pauses(conn).await?;
    jobs::enqueue_syncs(conn, &released).await?;
    Ok(released)
}

enum SyncFailure {
    Stripe(StripeError),
    Ours(Error),
}

impl From<StripeError> for SyncFailure {
    fn from(error: StripeError) -> SyncFailure {
        SyncFailure::Stripe(error)
    }
}

impl From<Error> for SyncFailure {
    fn from(error: Error) -> SyncFailure {
        SyncFailure::Ours(error)
    }
}

impl From<sqlx::Error> for SyncFailure {
    fn from(error: sqlx::Error) -> SyncFailure {
        SyncFailure::Ours(error.into())
    }
}

async fn bring_in_line(app: &App, row: &SyncRow) -> Result<(), SyncFailure> {
    if !row.active && row.stripe_product_id.is_none() {
        // Stripe does not have the product, and need not until it is for sale.
        return Ok(());
    }
    let may_replace = match account::of_key(app).await? {
        KeyAccount::Own => true,
        KeyAccount::Unknown => false,
        KeyAccount::Foreign { key, ids } => return Err(account::refused(&key, &ids).into()),
    };
    let stripe_product = save_product(app, row, may_replace).await?;
    let price = match find_price(app, row, &stripe_product, may_replace).await? {
        Some(price) => price,
        None => {
            let key = format!("price-{stripe_product}-{}", row.price_version);
            app.stripe
                .create_price(&stripe_product, row.price, &row.currency, &key)
                .await?
                .id
        }
    };
    let mut conn = app.db.acquire().await?;
    store::record_price(&mut conn, row, &price).await?;
    drop(conn);
    app.stripe
        .set_default_price(&stripe_product, &price)
        .await?;

    let mut conn = app.db.acquire().await?;
    let now = store::find_for_sync(&mut conn, &row.id).await?;
    drop(conn);
    for old in now.map(|row| row.stripe_retired_prices).unwrap_or_default() {
        if old == price {
            // A concurrent run overtook this one. This price stays the default until that run replaces it.
            continue;
        }
        match app.stripe.archive_price(&old).await {
            Ok(()) => {}
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
        let mut conn = app.db.acquire().await?;
        store::record_retired(&mut conn, &row.id, &old).await?;
    }
    let mut conn = app.db.acquire().await?;
    if !store::record_synced(&mut conn, &row.id, row.version).await? {
        // The values sent are outdated, and may have arrived after newer ones: sync again with the current values.
        let again = Job::SyncProduct {
            product: row.id.clone(),
        };
        jobs::enqueue(&mut conn, &again).await?;
    }
    Ok(())
}

/// Creates or updates the product and returns its id at Stripe: the known one, or a new one of ours when Stripe has
/// none and a missing id may be replaced.
async fn save_product(app: &App, row: &SyncRow, may_replace: bool) -> Result<String, SyncFailure> {
    let own_id = format!("sb_{}", row.sync_key.simple());
    let params = |id: &str| ProductParams {
        id: id.to_owned(),
        name: row.name.clone(),
        image: row
            .primary_image
            .as_deref()
            .and_then(|image| app.config.image_url(image)),
        active: row.active,
        our_id: row.id.to_string(),
    };
    let saved = match &row.stripe_product_id {
        None => None,
        Some(known) => match app.stripe.update_product(&params(known)).await {
            Ok(()) => Some(known.clone()),
            // Deleted there, or a sandbox's.
            Err(error) if error.is_missing() && may_replace => None,
            Err(error) => return Err(error.into()),
        },
    };
    let id = match saved {
        Some(known) => known,
        None => {
            let params = params(&own_id);
            // The key derives from the content, so a changed product gets a new key. The id is ours, so a product that was
            // created under another key is found.
            let content = Sha256::digest(format!("{params:?}").as_bytes());
            let digest = hex::encode(&content[..8]);
            let key = format!("product-{own_id}-{digest}-{}", row.price_version);
            app.stripe.create_product(&params, &key).await?;
            own_id
        }
    };
    if row.stripe_product_id.as_deref() != Some(&id) {
        let mut conn = app.db.acquire().await?;
        store::record_stripe_product(&mut conn, &row.id, &id).await?;
    }
    Ok(id)
}

/// Returns the known price, if it charges the product's amount. Asks Stripe about a price that it has not confirmed
/// yet: an imported id, or a price with which a checkout was refused.
async fn find_price(
    app: &App,
    row: &SyncRow,
    stripe_product: &str,
    may_replace: bool,
) -> Result<Option<String>, SyncFailure> {
    let Some(known) = &row.stripe_price_id else {
        return Ok(None);
    };
    // A price cannot move to another product at Stripe.
    if row.stripe_product_id.as_deref() != Some(stripe_product) {
        return Ok(None);
    }
    if row.stripe_price_amount.is_some() {
        let is_current = row.stripe_price_amount == Some(row.price)
            && row.stripe_price_currency.as_deref() == Some(row.currency.as_str());
        return Ok(is_current.then(|| known.clone()));
    }
    match app.stripe.find_price(known).await {
        Ok(price) => {
            let fits = price.active
                && price.amount == Some(row.price.0)
                && price.currency == row.currency
                && price.product == stripe_product;
            Ok(fits.then_some(price.id))
        }
        Err(error) if error.is_missing() && may_replace => Ok(None),
        Err(error) => Err(error.into()),
    }
}
