//! Drafts: the time at which they go on sale, and its coming.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::fields::Parsed;
use super::input::ProductInput;
use super::service::{apply, locked, record_change, save};
use super::{Product, store};
use crate::audit::Actor;
use crate::error::{Code, Error, Result};
use crate::types::ids::ProductId;

/// Sets or removes the time at which a draft goes on sale. Safe to repeat.
///
/// # Errors
/// A field error of `on_sale_at` if the time is past; 404; 409 `version_conflict` if the product is not a draft any more.
pub async fn schedule(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    on_sale_at: Option<DateTime<Utc>>,
) -> Result<Product> {
    let before = locked(conn, id, None).await?;
    if before.is_on_sale() || !before.is_active {
        let now = if before.is_active {
            "on sale"
        } else {
            "archived"
        };
        return Err(Error::Conflict(
            Code::VersionConflict,
            format!("{} is {now} in the meantime.", before.name),
        ));
    }
    let input = ProductInput {
        is_draft: Some(true),
        on_sale_at: Some(on_sale_at),
        ..ProductInput::default()
    };
    let after = apply(conn, actor, &before, Parsed::from(input)).await?;
    record_change(conn, actor, "product.change", &before, &after).await?;
    Ok(after)
}

/// Ends the drafts that are on sale since their time. Shoppers see them already: reads compare the time themselves.
/// Safe to repeat, and at once.
pub async fn end_due_drafts(db: &PgPool) -> Result<()> {
    let due: Vec<ProductId> = sqlx::query_scalar(
        "select id from products where on_sale_at <= now() order by on_sale_at, id",
    )
    .fetch_all(db)
    .await?;
    for ProductId(id) in due {
        let mut tx = db.begin().await?;
        let before = match store::lock(&mut tx, &id).await {
            Err(Error::NotFound(_)) => continue,
            found => found?,
        };
        // Between the two statements, somebody may have chosen another time.
        if before.on_sale_at.is_some() && before.is_on_sale() {
            let after = Product {
                is_draft: false,
                on_sale_at: None,
                ..before.clone()
            };
            let after = save(&mut tx, &before, &after).await?;
            record_change(
                &mut tx,
                &Actor::system("system"),
                "product.put_on_sale",
                &before,
                &after,
            )
            .await?;
            tx.commit().await?;
        }
    }
    Ok(())
}
