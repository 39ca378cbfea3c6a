//! Recovers payments whose order is missing because the database was restored from an older backup. Stripe has the
//! payment and, in its metadata, the purpose; our signature proves that it is ours (P2).

use chrono::Utc;
use sqlx::PgConnection;
use tracing::warn;

use super::states::CheckoutState;
use super::store;
use crate::app::App;
use crate::error::Result;
use crate::orders::{self, Lost, Order, Zone};
use crate::stripe::{NewSession, Session};
use crate::types::ids::OrderId;
use crate::types::money::Cents;

/// Outcome of the recovery.
pub enum Recovery {
    /// Not ours, or not provably ours.
    Nothing,
    /// The order exists again, still unpaid.
    Order(OrderId),
    /// An order was created for the money, but nothing is known that could be shipped for it.
    Unknown(Box<Order>),
    /// It was for a custom order, which the owner must investigate.
    CustomOrder(Zone),
}

/// Recreates the order of a paid session, if the session is ours and the order is missing.
///
/// # Errors
/// Database errors only.
pub async fn find(conn: &mut PgConnection, app: &App, session: &Session) -> Result<Recovery> {
    let zone = session
        .shipping_address
        .as_ref()
        .and_then(|address| Zone::of_country(address.country.as_deref()?));
    if let (Some(signed), Some(quote)) = (&session.quote_signature, &session.quote_reference)
        && app.signer.verify("quote", signed) == Some(quote)
    {
        return Ok(Recovery::CustomOrder(zone.unwrap_or(Zone::International)));
    }
    let Some(id) = order_of(app, session) else {
        return Ok(Recovery::Nothing);
    };
    let total = session.amount_total.unwrap_or_default();
    let number = session.order_number.as_deref();
    let lost = Lost {
        id,
        number: number.and_then(|number| number.strip_prefix("SB-")?.parse().ok()),
        currency: &session.currency,
        shipping: session.amount_shipping,
        zone,
        pieces: session
            .pieces
            .iter()
            .map(|piece| (piece.product.clone(), piece.quantity, piece.unit_price))
            .collect(),
    };
    warn!(order = %id, session = session.id, "a lost order was recreated");
    if let Some(order) = orders::rebuild(conn, &lost).await? {
        insert_checkout(conn, &order, session).await?;
        return Ok(Recovery::Order(id));
    }
    let pieces = Cents((total.0 - session.amount_tax.0 - session.amount_shipping.0).max(0));
    let order = orders::rebuild_unknown(conn, &lost, pieces).await?;
    insert_checkout(conn, &order, session).await?;
    Ok(Recovery::Unknown(Box::new(order)))
}

/// The order for which we signed this session's cancel address.
fn order_of(app: &App, session: &Session) -> Option<OrderId> {
    let reference = session.client_reference_id.as_deref()?;
    let way_back = session.cancel_url.as_deref()?;
    let (_, signed) = way_back.split_once("/api/payments/cancel/")?;
    let order = app
        .signer
        .verify("cancel", signed.trim_end_matches('/'))
        .filter(|order| *order == reference)?;
    order.parse().ok().map(OrderId)
}

/// Inserts the checkout of a recreated order. The session's page is over, but the shopper's success page may query it.
async fn insert_checkout(conn: &mut PgConnection, order: &Order, session: &Session) -> Result<()> {
    let request = NewSession {
        order: order.id,
        order_number: order.display_number(),
        currency: order.currency.clone(),
        lines: Vec::new(),
        shipping_name: String::new(),
        shipping_price: order.shipping,
        shipping_days: (0, 0),
        other_shipping: Vec::new(),
        countries: Vec::new(),
        success_url: String::new(),
        cancel_url: session.cancel_url.clone().unwrap_or_default(),
        expires_at: Utc::now(),
    };
    store::insert_checkout(conn, &request, "", request.expires_at, None).await?;
    store::record_session(conn, order.id, &session.id, None).await?;
    store::set_checkout_state(conn, order.id, CheckoutState::Complete, None).await
}
