//! Bringing Stripe's product and price in line with our row, which is the source of truth.

use sha2::{Digest, Sha256};
use tracing::warn;

use crate::app::App;
use crate::error::{Error, Result};
use crate::ids::ProductId;
use crate::products;
use crate::stripe::{ProductFacts, StripeError};

/// Makes or updates the product at Stripe; makes a new price when the amount changed, sets it as default and archives
/// the old one. Safe to repeat: the ids and keys derive from the row.
///
/// # Errors
/// 503 while Stripe cannot be asked: try again later. A refusal is kept with the product, where the shopkeeper sees it.
pub async fn sync_product(app: &App, id: &ProductId) -> Result<()> {
    match bring_in_line(app, id).await {
        Err(Failure::Stripe(error @ StripeError::Refused { .. })) => {
            warn!(product = %id, %error, "Stripe refused a product");
            let mut conn = app.db.acquire().await?;
            products::record_sync_error(&mut conn, id, &error.to_string()).await
        }
        Err(Failure::Stripe(error)) => Err(Error::Unavailable("payment_unavailable", error.into())),
        Err(Failure::Ours(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

enum Failure {
    Stripe(StripeError),
    Ours(Error),
}

impl From<StripeError> for Failure {
    fn from(error: StripeError) -> Failure {
        Failure::Stripe(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Ours(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        Failure::Ours(error.into())
    }
}

async fn bring_in_line(app: &App, id: &ProductId) -> std::result::Result<(), Failure> {
    let mut conn = app.db.acquire().await?;
    let Some(row) = products::find_for_sync(&mut conn, id).await? else {
        return Ok(());
    };
    drop(conn);
    if !row.active && row.stripe_product_id.is_none() {
        // Stripe never heard of it and need not, until it is for sale.
        return Ok(());
    }
    let image = row.primary_image.as_deref().map(|image| {
        if image.starts_with('/') {
            format!("{}{image}", app.config.public_url)
        } else {
            image.to_owned()
        }
    });
    let stripe_product = row
        .stripe_product_id
        .clone()
        .unwrap_or_else(|| format!("sb_{}", row.sync_key.simple()));
    let facts = ProductFacts {
        id: stripe_product.clone(),
        name: row.name.clone(),
        image,
        active: row.active,
        our_id: row.id.to_string(),
    };
    // The key stands for this content: after a change another call is another key.
    let content = Sha256::digest(format!("{facts:?}").as_bytes());
    let digest: String = content[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let key = format!("product-{}-{digest}", row.sync_key.simple());
    app.stripe
        .save_product(&facts, row.stripe_product_id.is_some(), &key)
        .await?;

    let mut price = row.stripe_price_id.clone();
    let is_current = row.stripe_price_amount == Some(row.price)
        && row.stripe_price_currency.as_deref() == Some(row.currency.as_str());
    if let (Some(known), None) = (&price, row.stripe_price_amount) {
        // An imported id: what it charges only Stripe knows.
        match app.stripe.find_price(known).await {
            Ok(found)
                if found.active
                    && found.amount == Some(row.price.0)
                    && found.currency == row.currency =>
            {
                let mut conn = app.db.acquire().await?;
                products::record_price(&mut conn, id, &found.id, row.price, &row.currency).await?;
            }
            Ok(_) => price = None,
            Err(error) if error.is_missing() => price = None,
            Err(error) => return Err(error.into()),
        }
    } else if !is_current {
        price = None;
    }
    let price = match price {
        Some(price) => price,
        None => {
            let key = format!("price-{}-{}", row.sync_key.simple(), row.price_version);
            let made = app
                .stripe
                .create_price(&stripe_product, row.price, &row.currency, &key)
                .await?;
            let mut conn = app.db.acquire().await?;
            products::record_price(&mut conn, id, &made.id, row.price, &row.currency).await?;
            made.id
        }
    };
    app.stripe
        .set_default_price(&stripe_product, &price)
        .await?;

    let mut conn = app.db.acquire().await?;
    let retired = products::find_for_sync(&mut conn, id)
        .await?
        .map(|row| row.stripe_retired_prices)
        .unwrap_or_default();
    drop(conn);
    for old in retired {
        match app.stripe.archive_price(&old).await {
            Ok(()) => {}
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
        let mut conn = app.db.acquire().await?;
        products::record_retired(&mut conn, id, &old).await?;
    }
    let mut conn = app.db.acquire().await?;
    products::record_synced(&mut conn, id, &stripe_product, row.version).await?;
    Ok(())
}
