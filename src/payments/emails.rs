//! Emails about payments, queued in the payment's transaction.

use sqlx::PgConnection;

use super::store::Cause;
use crate::app::App;
use crate::custom_orders::CustomOrder;
use crate::emails::{
    self, About, DelayedPaymentEmailData, Email, Holds, PaymentRefusal, RefusalEmailData, SHOP,
};
use crate::error::Result;
use crate::orders::{self, Order};
use crate::stripe::Session;
use crate::types::money::Cents;

/// Announces a paid order to the shopper, if Stripe has their address, and to the shop.
pub async fn confirm(conn: &mut PgConnection, app: &App, order: &Order) -> Result<()> {
    let data = orders::email_data(conn, app, order).await?;
    let cause = order.id.to_string();
    let about = About::order(order.id);
    if let Some(shopper) = order.email.as_deref() {
        let email = Email::OrderConfirmation {
            order: data.clone(),
        };
        emails::queue(conn, &email, &cause, shopper, about).await?;
    }
    let notice = Email::YouSold {
        order: data,
        custom_order: None,
        email: order.email.clone(),
    };
    emails::queue(conn, &notice, &cause, SHOP, about).await?;
    Ok(())
}

/// A payment that could not settle its purpose.
pub struct RefusedPayment {
    pub cause: Cause,
    /// Displayed number of its order or custom order, such as `SB-1042`.
    pub name: String,
    pub why: PaymentRefusal,
    pub payer: Payer,
}

/// Name and address of a payer.
pub struct Payer {
    pub name: Option<String>,
    pub email: Option<String>,
}

impl Payer {
    /// As they told Stripe.
    pub fn of(session: &Session) -> Payer {
        Payer {
            name: session.customer_name.clone(),
            email: session.email.clone(),
        }
    }

    /// As they told Stripe; nobody where the data of the custom order's customer was deleted.
    pub fn of_custom_order(session: &Session, custom_order: &CustomOrder) -> Payer {
        match custom_order.erased_at {
            None => Payer::of(session),
            Some(_) => Payer {
                name: None,
                email: None,
            },
        }
    }

    /// As they told Stripe, except for what somebody corrected in the order.
    pub fn of_order(session: &Session, order: &Order) -> Payer {
        let current = |column: &str, corrected: &Option<String>, told: &Option<String>| match order
            .is_corrected(column)
        {
            true => corrected.clone(),
            false => told.clone(),
        };
        Payer {
            name: current(
                "customer_name",
                &order.customer_name,
                &session.customer_name,
            ),
            email: current("email", &order.email, &session.email),
        }
    }
}

/// Announces the full refund of a refused payment: to the payer, if something was paid and their address is known, and to
/// the shop. `due` is the planned refund, zero when everything was refunded before.
pub async fn refuse(
    conn: &mut PgConnection,
    refused: RefusedPayment,
    session: &Session,
    due: Cents,
) -> Result<()> {
    let about = About {
        order: refused.cause.order,
        custom_order: refused.cause.custom_order,
    };
    let amount = session.amount_total.unwrap_or_default();
    let shopper = refused.payer.email.filter(|_| amount > Cents::ZERO);
    let refusal = RefusalEmailData {
        about: refused.name,
        customer_name: refused.payer.name,
        amount,
        currency: session.currency.clone(),
        due,
        why: refused.why,
        is_customer_told: shopper.is_some(),
    };
    let cause = session.payment_intent.as_deref().unwrap_or(&session.id);
    let notice = Email::CouldNotFulfillNotice {
        refusal: refusal.clone(),
    };
    emails::queue(conn, &notice, cause, SHOP, about).await?;
    if let Some(shopper) = shopper {
        let email = Email::CouldNotFulfill { refusal };
        emails::queue(conn, &email, cause, &shopper, about).await?;
    }
    Ok(())
}

/// Announces a refund of a settled payment to the shopper, if their address is known. `in_all` is the sum of the
/// refunds including this one; `cause` is Stripe's id of the refund.
pub async fn refunded(
    conn: &mut PgConnection,
    app: &App,
    order: &Order,
    (amount, in_all): (Cents, Cents),
    cause: &str,
) -> Result<()> {
    let Some(shopper) = order.email.as_deref() else {
        return Ok(());
    };
    let email = Email::OrderRefunded {
        order: orders::email_data(conn, app, order).await?,
        amount,
        refunded: in_all,
    };
    let about = About::order(order.id);
    emails::queue(conn, &email, cause, shopper, about).await?;
    Ok(())
}

/// Announces a delayed payment in progress to the shopper, if Stripe has their address.
pub async fn payment_processing(
    conn: &mut PgConnection,
    order: &Order,
    session: &Session,
    is_held: bool,
) -> Result<()> {
    let holds = match is_held {
        true => Holds::Pieces,
        false => Holds::NoPieces,
    };
    let payment = delayed(order, session, holds);
    of_delayed(conn, order, session, &Email::PaymentProcessing { payment }).await
}

/// Announces a failed payment to the shopper, if Stripe has their address.
pub async fn payment_failed(
    conn: &mut PgConnection,
    order: &Order,
    session: &Session,
) -> Result<()> {
    let payment = delayed(order, session, Holds::Pieces);
    of_delayed(conn, order, session, &Email::PaymentFailed { payment }).await
}

fn delayed(order: &Order, session: &Session, holds: Holds) -> DelayedPaymentEmailData {
    DelayedPaymentEmailData {
        about: order.display_number(),
        customer_name: order.customer_name.clone(),
        amount: session.amount_total.unwrap_or(order.total),
        currency: order.currency.clone(),
        holds,
        status_url: None,
    }
}

async fn of_delayed(
    conn: &mut PgConnection,
    order: &Order,
    session: &Session,
    email: &Email,
) -> Result<()> {
    let Some(shopper) = order.email.as_deref() else {
        return Ok(());
    };
    emails::queue(conn, email, &session.id, shopper, About::order(order.id)).await?;
    Ok(())
}
