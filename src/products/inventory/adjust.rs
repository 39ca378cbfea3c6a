//! Changes of stock by the owner.

use sqlx::PgConnection;

use super::ledger::{StockCause, record};
use super::reserve::change_counts;
use crate::error::{Code, Error, Result};
use crate::types::ids::ProductId;

/// Changes `on_hand` by `delta`. Returns the new values of `on_hand` and `reserved`. The caller has
/// locked or just inserted the row.
///
/// # Errors
/// 409 `stock_is_held` if fewer pieces would be left than pending orders hold.
pub async fn adjust(
    conn: &mut PgConnection,
    product: &ProductId,
    delta: i32,
    cause: StockCause<'_>,
) -> Result<(i32, i32)> {
    let changed: Option<(i32, i32)> = sqlx::query_as(
        "update products
         set on_hand = on_hand + $2
         where id = $1
           and on_hand::bigint + $2 between reserved and 2147483647
         returning on_hand, reserved",
    )
    .bind(product)
    .bind(delta)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(changed) = changed else {
        return Err(Error::Conflict(
            Code::StockIsHeld,
            "The stock cannot go below the pieces held by pending orders, or below zero."
                .to_owned(),
        ));
    };
    let line = [(product.clone(), delta)];
    record(conn, &line, 1, cause).await?;
    Ok(changed)
}

/// Performs [`adjust`] for many products at once. The caller has locked the rows and leaves each with at least the held
/// pieces.
pub async fn adjust_many(
    conn: &mut PgConnection,
    deltas: &[(ProductId, i32)],
    cause: StockCause<'_>,
) -> Result<()> {
    change_counts(conn, deltas, 1, 0).await?;
    record(conn, deltas, 1, cause).await
}
