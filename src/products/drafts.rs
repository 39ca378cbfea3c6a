//! Drafts whose time has come.

use sqlx::PgPool;

use super::service::{record_change, save};
use super::{Product, store};
use crate::audit::Actor;
use crate::error::{Error, Result};
use crate::types::ids::ProductId;

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
