//! Orders copied from the shop that this one replaced: its payment pages stay payable, and what they ask for is kept
//! nowhere, so the payment itself says what was bought and shipped for how much.

use sqlx::PgConnection;

use super::shipping::Zone;
use super::{Order, Receipt, store};
use crate::error::Result;
use crate::review_items::{self, Kind, NewItem};
use crate::types::money::Cents;

/// Prices a locked, copied order by its payment: shipping and tax as Stripe charged them, the rest is for the pieces.
pub(super) async fn price(
    conn: &mut PgConnection,
    order: &Order,
    receipt: &Receipt,
    shipping: Cents,
) -> Result<Order> {
    let without_tax = Cents((receipt.total.0 - receipt.tax.0).max(0));
    let shipping = shipping.min(without_tax);
    let price = store::PaidPrice {
        subtotal: Cents(without_tax.0 - shipping.0),
        shipping,
        tax: Cents(receipt.total.0 - without_tax.0),
        zone: paid_zone(receipt, shipping),
    };
    store::set_price(conn, order.id, &price).await
}

/// The zone whose shipping was paid: the one with this rate, else that of the address.
fn paid_zone(receipt: &Receipt, shipping: Cents) -> Option<Zone> {
    let country = receipt.shipping_country.as_deref();
    Zone::of_former_rate(shipping).or_else(|| country.and_then(Zone::of_country))
}

/// Flags an order whose payment is not the price of its lines: the other shop asked Stripe for another price than its
/// catalog had, or a line is gone.
pub(super) async fn review_total(conn: &mut PgConnection, order: &Order) -> Result<()> {
    let lines = store::sum_of_lines(conn, order.id).await?;
    if lines == order.subtotal {
        return Ok(());
    }
    let text = format!(
        "{} was paid for the pieces, and its lines come to {}",
        order.subtotal.in_currency(&order.currency),
        lines.in_currency(&order.currency),
    );
    let item = NewItem::new(
        Kind::TotalDiffers,
        format!("total_differs:{}", order.id),
        text,
    );
    review_items::flag(conn, order.id, "stripe", &item).await?;
    Ok(())
}
