//! Data of a custom order for its emails, and emails to its customer.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{CustomOrder, Quote, QuoteState, Status, status_page, store};
use crate::app::App;
use crate::emails::{
    self, About, CustomOrderEmailData, DelayedPaymentEmailData, Email, Holds, QuoteEmailData,
};
use crate::error::Result;
use crate::orders::{self, Order, Shipment};

/// Email data of a custom order.
pub async fn email_data(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
) -> Result<CustomOrderEmailData> {
    Ok(CustomOrderEmailData {
        id: custom_order.id,
        number: custom_order.display_number(),
        customer_name: custom_order.name.clone(),
        description: custom_order.description.clone(),
        colors: custom_order.colors.clone(),
        images: store::images(conn, custom_order.id).await?,
        status_url: Some(status_page::address(app, custom_order.id)),
    })
}

/// Email data of an approved quote.
pub fn quote_email_data(
    quote: &Quote,
    valid_until: DateTime<Utc>,
    payment_url: &str,
) -> QuoteEmailData {
    QuoteEmailData {
        amount: quote.amount,
        shipping: quote.shipping,
        total: quote.total(),
        currency: quote.currency.clone(),
        description: quote.description.clone(),
        valid_until,
        payment_url: payment_url.to_owned(),
    }
}

/// Email data of a quote's delayed payment.
pub fn delayed(app: &App, custom_order: &CustomOrder, quote: &Quote) -> DelayedPaymentEmailData {
    DelayedPaymentEmailData {
        about: custom_order.display_number(),
        customer_name: Some(custom_order.name.clone()),
        amount: quote.total(),
        currency: quote.currency.clone(),
        holds: Holds::Nothing,
        status_url: Some(status_page::address(app, custom_order.id)),
    }
}

/// Queues the email with the corrected tracking of a shipped piece. Safe to repeat with the same `cause`.
///
/// # Errors
/// Only the database's.
pub async fn send_corrected_shipment(
    conn: &mut PgConnection,
    app: &App,
    (custom_order, order): (&CustomOrder, &Order),
    shipment: &Shipment,
    cause: &str,
) -> Result<()> {
    let email = Email::CustomOrderShipmentCorrected {
        custom_order: email_data(conn, app, custom_order).await?,
        order: orders::email_data(conn, order).await?,
        shipment: shipment.email_data(),
    };
    to_customer(conn, custom_order, &email, cause).await
}

/// Queues the email that a piece is not shipped yet, although an email said so. Safe to repeat with the same `cause`.
///
/// # Errors
/// Only the database's.
pub async fn send_not_shipped_yet(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    cause: &str,
) -> Result<()> {
    let email = Email::CustomOrderNotShippedYet {
        custom_order: email_data(conn, app, custom_order).await?,
    };
    to_customer(conn, custom_order, &email, cause).await
}

/// Queues the email that told the customer how things stand, once more: the payment of its `order`, the quote that can be
/// paid, or that the request has come in. Returns false where there is none to send. Safe to repeat with the same `cause`.
///
/// # Errors
/// Only the database's.
pub async fn send_confirmation_again(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    order: Option<&Order>,
    cause: &str,
) -> Result<bool> {
    let quotes = store::quotes(conn, custom_order.id).await?;
    let live = quotes
        .iter()
        .find(|quote| quote.state == QuoteState::Live && !quote.payment_in_progress);
    let payable = live.and_then(|quote| {
        let (until, url) = (quote.valid_until?, quote.link_url.as_deref()?);
        Some(quote_email_data(quote, until, url))
    });
    let data = email_data(conn, app, custom_order).await?;
    let email = match (custom_order.status, order, payable) {
        (Status::Refunded, ..) => return Ok(false),
        (_, Some(order), _) => Email::PaymentReceived {
            custom_order: data,
            order: orders::email_data(conn, order).await?,
        },
        (Status::Approved, _, Some(quote)) => Email::CustomOrderApproved {
            custom_order: data,
            quote,
        },
        (Status::Pending, ..) => Email::CustomOrderReceived { custom_order: data },
        _ => return Ok(false),
    };
    to_customer(conn, custom_order, &email, cause).await?;
    Ok(true)
}

/// Queues an email to the customer. `cause` tells emails of one kind apart.
pub async fn to_customer(
    conn: &mut PgConnection,
    custom_order: &CustomOrder,
    email: &Email,
    cause: &str,
) -> Result<()> {
    let about = About {
        custom_order: Some(custom_order.id),
        order: custom_order.order_id,
    };
    emails::queue(conn, email, cause, &custom_order.email, None, about).await
}
