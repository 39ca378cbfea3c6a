//! Delayed payment methods: the bank takes days, the pieces stay held, and customer and shop are notified. Events may
//! come in any order; a late one changes nothing.

use sqlx::PgConnection;
use tracing::warn;

use super::states::CheckoutState;
use super::{emails, refunds, store};
use crate::app::App;
use crate::error::{Error, Result};
use crate::orders::{self, Receipt, Status};
use crate::review_items::{Kind, NewItem};
use crate::stripe::Session;
use crate::types::ids::OrderId;

/// Handles a complete session with a delayed payment: stores the customer and notifies them. Pieces beyond the
/// configured limit are not held for days: the payment takes what is in stock when it arrives, or is refunded.
pub async fn began(
    conn: &mut PgConnection,
    app: &App,
    id: OrderId,
    session: &Session,
) -> Result<()> {
    // Serializes concurrent calls, so that each counts the other's hold.
    store::queue_up_delayed(conn).await?;
    let Some(order) = orders::begin_processing(conn, id, &customer(session)).await? else {
        return Ok(());
    };
    store::record_session(conn, id, &session.id, None).await?;
    store::set_checkout_state(conn, id, CheckoutState::Processing, None).await?;
    let most = i64::from(app.config.server.limits.delayed_pieces);
    let is_held = store::count_delayed_pieces(conn).await? <= most;
    emails::payment_processing(conn, &order, session, is_held).await?;
    if !is_held {
        warn!(order = %id, most, "too many pieces wait for delayed payments");
        let why = "too many pieces wait for delayed payments";
        orders::release(conn, id, Status::Expired, "stripe", why).await?;
    }
    Ok(())
}

/// Handles a failed delayed payment of an order: nothing was charged. Releases the pieces and notifies customer and
/// shop.
pub async fn failed(conn: &mut PgConnection, id: OrderId, session: &Session) -> Result<()> {
    let order = orders::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    // The events may arrive in any order: one that came before has settled or ended this checkout.
    let is_decided = store::find_checkout(conn, id)
        .await?
        .is_some_and(|checkout| checkout.state == CheckoutState::Complete);
    if is_decided || order.paid_at.is_some() {
        return Ok(());
    }
    // Read before the release. The pieces may have been released already, when too many waited.
    let held = order.status == Status::Pending;
    let order = orders::end_processing(conn, id, &customer(session)).await?;
    let why = "the delayed payment failed";
    orders::release(conn, id, Status::Failed, "stripe", why).await?;
    store::set_checkout_state(conn, id, CheckoutState::Complete, Some(why)).await?;
    emails::payment_failed(conn, &order, session).await?;
    let amount = session.amount_total.unwrap_or(order.total);
    let name = order.customer_name.as_deref().unwrap_or("The customer");
    let free = match held {
        true => ", and the pieces are free again",
        false => "",
    };
    let text = format!(
        "{name}'s bank did not make the delayed payment of {}. Nothing was charged{free}.",
        amount.in_currency(&order.currency)
    );
    let cause = format!("delayed_payment:{}", session.id);
    let item = NewItem::new(Kind::DelayedPaymentFailed, cause, text);
    refunds::flag(conn, Some(id), None, &item).await
}

/// Customer data of a session.
fn customer(session: &Session) -> Receipt {
    let address = session.shipping_address.as_ref();
    Receipt {
        email: session.email.clone(),
        customer_name: session.customer_name.clone(),
        phone: session.phone.clone(),
        shipping_name: session.shipping_name.clone(),
        shipping_address: address
            .map(|address| serde_json::to_value(address).expect("an address is plain data")),
        note: "a delayed payment is on its way".to_owned(),
        ..Receipt::default()
    }
}
