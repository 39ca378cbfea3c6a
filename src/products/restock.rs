//! Return of an order's pieces to the stock.

use sqlx::{Connection, PgConnection};

use super::service::{new_slug, schedule_sync};
use super::{inventory, store};
use crate::audit::Actor;
use crate::error::Result;
use crate::types::ids::{OrderId, ProductId};

/// Restocks pieces of an order. The caller has locked the rows and checked that so many were sold and not returned. A
/// deleted product is restored as archived, because its stock would be unreachable otherwise. Returns the names of the
/// restored products.
pub async fn restock(
    conn: &mut PgConnection,
    actor: &Actor,
    order: OrderId,
    pieces: &[(ProductId, i32)],
) -> Result<Vec<String>> {
    inventory::restock(conn, order, pieces, &actor.name).await?;
    let ids: Vec<&ProductId> = pieces.iter().map(|(id, _)| id).collect();
    let deleted = store::list_deleted(conn, &ids).await?;
    let mut names = Vec::new();
    for (id, name, slug) in deleted {
        bring_back(conn, &id, &name, &slug).await?;
        schedule_sync(conn, &id).await?;
        names.push(name);
    }
    Ok(names)
}

/// Restores a deleted product as archived. It gets another slug if its own is in use.
async fn bring_back(conn: &mut PgConnection, id: &ProductId, name: &str, slug: &str) -> Result<()> {
    let mut slug = slug.to_owned();
    loop {
        let mut attempt = conn.begin().await?;
        match store::set_undeleted(&mut attempt, id, &slug).await {
            Err(sqlx::Error::Database(e)) if e.constraint() == Some("products_slug_key") => {
                attempt.rollback().await?;
            }
            done => {
                done?;
                attempt.commit().await?;
                return Ok(());
            }
        }
        slug = new_slug(conn, name).await?;
    }
}
