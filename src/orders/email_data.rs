//! Data of an order for its emails.

use sqlx::PgConnection;

use super::{Line, Order, shipping, status_page, store};
use crate::app::App;
use crate::emails::{LineEmailData, OrderEmailData};
use crate::error::Result;
use crate::products;
use crate::settings;
use crate::types::ids::ProductId;

/// Data of an order for its emails: a snapshot, because an email is composed when its cause happens.
///
/// # Errors
/// Database errors only.
pub async fn email_data(
    conn: &mut PgConnection,
    app: &App,
    order: &Order,
) -> Result<OrderEmailData> {
    let lines = store::lines(conn, order.id).await?;
    data_of(conn, app, order, lines).await
}

/// Like [`email_data`], with the shipped pieces only.
///
/// # Errors
/// Database errors only.
pub async fn shipped_email_data(
    conn: &mut PgConnection,
    app: &App,
    order: &Order,
) -> Result<OrderEmailData> {
    let lines = store::order_lines(conn, order.id).await?;
    let shipped = lines.into_iter().filter(|line| line.shipped > 0);
    let shipped = shipped.map(|line| Line {
        quantity: line.shipped,
        ..line.sold
    });
    data_of(conn, app, order, shipped.collect()).await
}

async fn data_of(
    conn: &mut PgConnection,
    app: &App,
    order: &Order,
    lines: Vec<Line>,
) -> Result<OrderEmailData> {
    let ids: Vec<&ProductId> = lines.iter().flat_map(|line| &line.product_id).collect();
    let mut details = products::details(conn, &ids).await?;
    let lines = lines.into_iter().map(|line| LineEmailData {
        detail: line.product_id.and_then(|id| details.remove(&id)),
        name: line.name,
        quantity: line.quantity,
        unit_price: line.unit_price,
        image: line.image.filter(|image| !image.is_empty()),
    });
    let settings = settings::current(conn, &app.config).await?;
    let estimated = shipping::estimated_delivery(order, &settings);
    Ok(OrderEmailData {
        number: order.display_number(),
        paid_at: order.paid_at,
        currency: order.currency.clone(),
        lines: lines.collect(),
        subtotal: order.subtotal,
        discount: order.discount,
        shipping: order.shipping,
        tax: order.tax,
        total: order.total,
        customer_name: order.customer_name.clone(),
        shipping_name: order.shipping_name.clone(),
        shipping_address: order.address(),
        estimated_delivery: estimated.map(|days| days.to_string()),
        page_url: status_page::address(app, order),
    })
}
