//! Data of a custom order for its emails, and emails to its customer.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{CustomOrder, CustomOrderView, Quote, QuoteState, Status, status_page, store};
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

/// Queues the email with the corrected tracking of a shipped piece. Returns false where it was queued before. Safe to
/// repeat with the same `cause`.
///
/// # Errors
/// Only the database's.
pub async fn send_corrected_shipment(
    conn: &mut PgConnection,
    app: &App,
    (custom_order, order): (&CustomOrder, &Order),
    shipment: &Shipment,
    cause: &str,
) -> Result<bool> {
    let email = Email::CustomOrderShipmentCorrected {
        custom_order: email_data(conn, app, custom_order).await?,
        order: orders::email_data(conn, app, order).await?,
        shipment: shipment.email_data(),
    };
    to_customer(conn, custom_order, &email, cause).await
}

/// Queues the email that a piece is not shipped yet, although an email said so. Returns false where it was queued
/// before. Safe to repeat with the same `cause`.
///
/// # Errors
/// Only the database's.
pub async fn send_not_shipped_yet(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    cause: &str,
) -> Result<bool> {
    let email = Email::CustomOrderNotShippedYet {
        custom_order: email_data(conn, app, custom_order).await?,
    };
    to_customer(conn, custom_order, &email, cause).await
}

/// The email that told a customer how things stand.
enum Confirmation<'a> {
    /// The request has come in.
    Request,
    /// A quote that can be paid, until that time, at that address.
    Quote(&'a Quote, DateTime<Utc>, &'a str),
    /// The payment of its order.
    Payment(&'a Order),
}

impl<'a> Confirmation<'a> {
    fn of(
        status: Status,
        order: Option<&'a Order>,
        quotes: &'a [Quote],
    ) -> Option<Confirmation<'a>> {
        match (status, order) {
            (Status::Refunded, _) => None,
            (_, Some(order)) => Some(Confirmation::Payment(order)),
            (Status::Approved, None) => {
                let mut live = quotes
                    .iter()
                    .filter(|quote| quote.state == QuoteState::Live);
                let quote = live.find(|quote| !quote.payment_in_progress)?;
                let (until, url) = (quote.valid_until?, quote.link_url.as_deref()?);
                Some(Confirmation::Quote(quote, until, url))
            }
            (Status::Pending, None) => Some(Confirmation::Request),
            _ => None,
        }
    }
}

impl CustomOrderView {
    /// Reports whether there is a confirmation to send again.
    pub fn can_confirm(&self) -> bool {
        Confirmation::of(self.custom_order.status, self.order.as_ref(), &self.quotes).is_some()
    }
}

/// Queues the email that told the customer how things stand, once more: the payment of its `order`, the quote that can be
/// paid, or that the request has come in. Returns false where there is none to send, or it was queued before. Safe to
/// repeat with the same `cause`.
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
    let Some(confirmation) = Confirmation::of(custom_order.status, order, &quotes) else {
        return Ok(false);
    };
    let data = email_data(conn, app, custom_order).await?;
    let email = match confirmation {
        Confirmation::Request => Email::CustomOrderReceived { custom_order: data },
        Confirmation::Quote(quote, until, url) => Email::CustomOrderApproved {
            custom_order: data,
            quote: quote_email_data(quote, until, url),
        },
        Confirmation::Payment(order) => Email::PaymentReceived {
            custom_order: data,
            order: orders::email_data(conn, app, order).await?,
        },
    };
    to_customer(conn, custom_order, &email, cause).await
}

/// Queues an email to the customer. Returns false where it was queued before. `cause` tells emails of one kind apart.
pub async fn to_customer(
    conn: &mut PgConnection,
    custom_order: &CustomOrder,
    email: &Email,
    cause: &str,
) -> Result<bool> {
    let about = About {
        custom_order: Some(custom_order.id),
        order: custom_order.order_id,
    };
    emails::queue(conn, email, cause, &custom_order.email, about).await
}
