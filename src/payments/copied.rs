//! Questions to Stripe after a takeover: what the other shop did not hear of, or did not keep. Outside any transaction of the
//! takeover, and safe to repeat.

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};

use super::checkout_end::{settle_by_asking, unavailable};
use super::refunds;
use super::store::{self as payments, CopiedSession};
use crate::app::App;
use crate::error::Result;
use crate::types::ids::OrderId;

/// Sessions asked for at once.
const AT_ONCE: usize = 4;

/// Result of asking for the sessions of copied, unpaid orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedSessions {
    pub asked: usize,
    /// Orders that had been paid without the other shop's knowledge.
    pub settled: Vec<OrderId>,
    /// Orders whose sessions Stripe did not tell about.
    pub failed: Vec<OrderId>,
}

/// Asks Stripe for the session of each copied order that is unpaid. A paid one is settled, and an open one whose hold is over
/// is ended. Safe to repeat. `progress` receives the number of sessions asked for, and of all.
///
/// # Errors
/// Database errors only.
pub async fn ask_copied_sessions(
    app: &App,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<AskedSessions> {
    let sessions = payments::list_copied_sessions(&mut *app.db.acquire().await?).await?;
    let all = sessions.len() as u64;
    let mut asking = stream::iter(sessions)
        .map(|session| async move { (session.order_id, ask(app, &session).await) })
        .buffer_unordered(AT_ONCE);
    let mut result = AskedSessions::default();
    while let Some((order, asked)) = asking.next().await {
        result.asked += 1;
        match asked {
            Ok(true) => result.settled.push(order),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%order, %error, "a session of the old shop could not be asked for");
                result.failed.push(order);
            }
        }
        progress(result.asked as u64, all);
    }
    Ok(result)
}

/// Returns true when the order turned out to be paid.
async fn ask(app: &App, session: &CopiedSession) -> Result<bool> {
    let is_over = session.hold_until < Utc::now();
    settle_by_asking(app, session.order_id, &session.session_id, is_over).await?;
    payments::is_paid(&mut *app.db.acquire().await?, session.order_id).await
}

/// Reads all refunds since a moment from Stripe, and applies those of copied payments: amounts, statuses and timelines. No
/// email repeats what the other shop told. Safe to repeat. Returns the number of refunds of copied payments.
///
/// # Errors
/// 503 while Stripe is unavailable; database errors.
pub async fn read_copied_refunds(app: &App, since: DateTime<Utc>) -> Result<usize> {
    let refunds = app.stripe.list_refunds_since(since).await;
    let mut read = 0;
    for refund in refunds.map_err(unavailable)? {
        let Some(payment) = &refund.payment_intent else {
            continue;
        };
        let mut tx = app.db.begin().await?;
        if !payments::is_copied(&mut tx, payment).await? {
            continue;
        }
        payments::lock_payment(&mut tx, payment).await?;
        refunds::keep(&mut tx, payment, &refund, None).await?;
        refunds::apply(&mut tx, app, payment).await?;
        tx.commit().await?;
        read += 1;
    }
    Ok(read)
}
