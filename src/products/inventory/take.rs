//! Sales of pieces, and their return.

use sqlx::PgConnection;

use super::Reason;
use super::ledger::record;
use super::reserve::change_counts;
use crate::error::Result;
use crate::types::ids::{OrderId, ProductId};

/// Sells pieces that were held for the order: decreases the hold and the stock, and writes the ledger.
pub async fn take_held(
    conn: &mut PgConnection,
    order: OrderId,
    lines: &[(ProductId, i32)],
    actor: &str,
) -> Result<()> {
    change_counts(conn, lines, -1, -1).await?;
    record(conn, lines, -1, Reason::Sale, Some(order), "", actor).await
}

/// Sells pieces that were not held. The caller has locked the rows and checked that enough are available.
pub async fn take(
    conn: &mut PgConnection,
    order: OrderId,
    lines: &[(ProductId, i32)],
    actor: &str,
) -> Result<()> {
    change_counts(conn, lines, -1, 0).await?;
    record(conn, lines, -1, Reason::Sale, Some(order), "", actor).await
}

/// Restocks pieces of an order. The caller has locked the rows and checked that so many were sold and not returned.
pub async fn put_back(
    conn: &mut PgConnection,
    order: OrderId,
    lines: &[(ProductId, i32)],
    actor: &str,
) -> Result<()> {
    change_counts(conn, lines, 1, 0).await?;
    record(conn, lines, 1, Reason::Returned, Some(order), "", actor).await
}
