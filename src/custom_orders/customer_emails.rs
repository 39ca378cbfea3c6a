//! Data of a custom order for its emails, and emails to its customer.

use sqlx::PgConnection;

use super::{CustomOrder, Quote, status_page, store};
use crate::app::App;
use crate::emails::{self, About, CustomOrderEmailData, DelayedPaymentEmailData, Email, Holds};
use crate::error::Result;

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
