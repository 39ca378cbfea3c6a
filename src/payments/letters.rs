//! The letters that a payment causes, queued in its own transaction.

use sqlx::PgConnection;

use crate::email::{self, About, Letter, Refusal, RefusalFacts, SHOP};
use crate::error::Result;
use crate::orders::{self, Order};
use crate::stripe::Session;

/// The order is paid: to the shopper, copied to the shop; to the shop alone where Stripe knows no address.
pub async fn confirm(conn: &mut PgConnection, order: &Order) -> Result<()> {
    let letter = Letter::OrderConfirmation {
        order: orders::facts(conn, order).await?,
    };
    let (recipient, copy_to) = match order.email.as_deref() {
        Some(shopper) => (shopper, Some(SHOP)),
        None => (SHOP, None),
    };
    let cause = order.id.to_string();
    email::queue(
        conn,
        &letter,
        &cause,
        recipient,
        copy_to,
        About::order(order.id),
    )
    .await
}

/// A payment is given back in full: to the one who paid, if Stripe knows their address, and to the shop. `name` is what
/// was to be paid, as `SB-1042`.
pub async fn refuse(
    conn: &mut PgConnection,
    name: String,
    about: About,
    session: &Session,
    why: Refusal,
) -> Result<()> {
    let refusal = RefusalFacts {
        about: name,
        customer_name: session.customer_name.clone(),
        amount: session.amount_total.unwrap_or_default(),
        currency: session.currency.clone(),
        why,
    };
    let cause = session.payment_intent.as_deref().unwrap_or(&session.id);
    let notice = Letter::CouldNotFulfilNotice {
        refusal: refusal.clone(),
    };
    email::queue(conn, &notice, cause, SHOP, None, about).await?;
    if let Some(shopper) = &session.email {
        let letter = Letter::CouldNotFulfil { refusal };
        email::queue(conn, &letter, cause, shopper, None, about).await?;
    }
    Ok(())
}
