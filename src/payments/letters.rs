//! The letters that a payment causes, queued in its own transaction.

use sqlx::PgConnection;

use crate::email::{self, About, Letter, Refusal, RefusalFacts, SHOP};
use crate::error::Result;
use crate::orders::{self, Order, Outcome};
use crate::stripe::Session;

/// Tells of what a payment came to.
pub async fn tell(conn: &mut PgConnection, outcome: &Outcome, session: &Session) -> Result<()> {
    match outcome {
        Outcome::Paid(order) => confirm(conn, order).await,
        Outcome::OutOfStock(order) => refuse(conn, order, session, Refusal::SoldMeanwhile).await,
        Outcome::AlreadyPaid(order) => refuse(conn, order, session, Refusal::PaidTwice).await,
        Outcome::Mismatch(order) => refuse(conn, order, session, Refusal::AmountDiffers).await,
    }
}

/// The order is paid: to the shopper, copied to the shop; to the shop alone where Stripe knows no address.
async fn confirm(conn: &mut PgConnection, order: &Order) -> Result<()> {
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

/// A payment could not become the order and is given back in full: to the shopper and to the shop.
async fn refuse(
    conn: &mut PgConnection,
    order: &Order,
    session: &Session,
    why: Refusal,
) -> Result<()> {
    let refusal = RefusalFacts {
        about: order.display_number(),
        customer_name: session.customer_name.clone(),
        amount: session.amount_total.unwrap_or_default(),
        currency: session.currency.clone(),
        why,
    };
    let cause = session.payment_intent.as_deref().unwrap_or(&session.id);
    let about = About::order(order.id);
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
