//! Lines of an order: their products' locks and their sum.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{Line, store};
use crate::error::{Code, Error, Result};
use crate::products;
use crate::types::ids::{OrderId, ProductId};
use crate::types::money::Cents;

/// Locks the products of an order in id order.
pub async fn lock_lines(
    conn: &mut PgConnection,
    id: OrderId,
) -> Result<(
    Vec<(ProductId, i32)>,
    BTreeMap<ProductId, products::LockedProduct>,
)> {
    let lines = store::quantities(conn, id).await?;
    let ids: Vec<ProductId> = lines.iter().map(|(id, _)| id.clone()).collect();
    let locks = products::lock(conn, &ids).await?;
    Ok((lines, locks))
}

/// Sum of the lines.
///
/// # Errors
/// 400 when the sum exceeds the largest amount.
pub fn sum<'a>(lines: impl Iterator<Item = &'a Line>) -> Result<Cents> {
    lines
        .map(|line| line.unit_price.times(line.quantity))
        .try_fold(Cents::ZERO, |sum, line| sum.plus(line?))
        .filter(|sum| sum.0 <= 99_999_999)
        .ok_or_else(too_much)
}

/// The sum exceeds the largest amount.
///
/// Source: the largest amount Stripe charges, <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>
pub fn too_much() -> Error {
    Error::refused(
        Code::AmountTooLarge,
        "The sum is more than can be paid at once.",
    )
}
