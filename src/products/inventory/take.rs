//! Sales of pieces, and their return.

use sqlx::PgConnection;

use super::StockReason;
use super::ledger::{StockCause, record};
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
    let cause = StockCause {
        order: Some(order),
        ..StockCause::new(StockReason::Sale, actor)
    };
    record(conn, lines, -1, cause).await
}

/// Sells pieces that were not held. The caller has locked the rows and checked that enough are available.
pub async fn take(
    conn: &mut PgConnection,
    order: OrderId,
    lines: &[(ProductId, i32)],
    actor: &str,
) -> Result<()> {
    change_counts(conn, lines, -1, 0).await?;
    let cause = StockCause {
        order: Some(order),
        ..StockCause::new(StockReason::Sale, actor)
    };
    record(conn, lines, -1, cause).await
}

/// Restocks pieces of an order. The caller has locked the rows and checked that so many were sold and not returned.
pub async fn restock(
    conn: &mut PgConnection,
    order: OrderId,
    lines: &[(ProductId, i32)],
    actor: &str,
) -> Result<()> {
    change_counts(conn, lines, 1, 0).await?;
    let cause = StockCause {
        order: Some(order),
        ..StockCause::new(StockReason::Returned, actor)
    };
    record(conn, lines, 1, cause).await
}
