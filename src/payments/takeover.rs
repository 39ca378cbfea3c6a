//! Events that Stripe sent here while another shop still sold, and the rows of that other shop were not here yet.
//!
//! Lock order: an import takes the takeover's lock before anything else. An event takes it while it holds its own row alone.

use std::collections::HashSet;

use chrono::{DateTime, Duration, Utc};
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use tracing::info;

use super::events::Event;
use super::{disputes, refunds, store};
use crate::app::App;
use crate::error::Result;
use crate::jobs::{self, Job};
use crate::stripe::Session;
use crate::types::ids::CustomOrderId;

/// Overlap of the first reconciliation with the other shop's last hour, for events that Stripe listed late.
const OVERLAP: Duration = Duration::hours(1);

/// Rows that were copied from another shop, by the names that Stripe's events give them.
pub struct Takeover<'a> {
    /// The time as of which the other shop was read.
    pub snapshot: DateTime<Utc>,
    /// Checkout sessions of its orders.
    pub sessions: &'a [String],
    /// Its custom orders, which its payment links name.
    pub custom_orders: &'a [CustomOrderId],
    /// Its payments.
    pub payments: &'a [String],
}

/// Begins to copy rows from another shop. An event that finds no row waits until this transaction ends, and looks again: so
/// no event is put aside between [`finish_takeover`] and the commit.
///
/// # Errors
/// Database errors only; a lock time-out while an event is being processed.
pub async fn begin_takeover(conn: &mut PgConnection) -> Result<()> {
    store::lock_takeover(conn).await
}

/// Takes up what Stripe told about copied rows before they came, and has the first reconciliation begin where the other shop
/// was read instead of a month earlier. Call it last, in the transaction that copied the rows. Safe to repeat. Returns the
/// number of events that are processed again.
///
/// # Errors
/// Database errors only.
pub async fn finish_takeover(
    conn: &mut PgConnection,
    app: &App,
    takeover: &Takeover<'_>,
) -> Result<u64> {
    store::start_cursor(conn, takeover.snapshot - OVERLAP).await?;
    for payment in store::list_reported_before(conn, takeover.payments).await? {
        refunds::apply(conn, app, &payment).await?;
        disputes::payment_known(conn, &payment).await?;
    }
    let events = find_ignored(conn, takeover).await?;
    let reopened = store::reopen_events(conn, &events).await?;
    for event in &reopened {
        let event = event.clone();
        jobs::enqueue(conn, &Job::ProcessEvent { event }).await?;
    }
    if !reopened.is_empty() {
        info!(
            events = reopened.len(),
            "events that came before their rows are processed now"
        );
    }
    Ok(reopened.len() as u64)
}

/// The events of sessions that were ignored because nothing here had asked for them, and that name a copied row.
async fn find_ignored(conn: &mut PgConnection, takeover: &Takeover<'_>) -> Result<Vec<String>> {
    let sessions: HashSet<&str> = takeover.sessions.iter().map(String::as_str).collect();
    let custom_orders: HashSet<CustomOrderId> = takeover.custom_orders.iter().copied().collect();
    let is_named = |session: Session| {
        let custom_order = session.custom_order_reference.as_deref();
        sessions.contains(session.id.as_str())
            || custom_order
                .and_then(|text| text.parse().ok())
                .is_some_and(|id| custom_orders.contains(&CustomOrderId(id)))
    };
    let mut found = Vec::new();
    // One at a time: payloads are large.
    let mut ignored = store::stream_ignored_sessions(conn);
    while let Some((id, payload)) = ignored.try_next().await? {
        // As text, because PostgreSQL refuses some of what JSON allows.
        let session = Event::read(&payload)
            .ok()
            .and_then(|event| Session::read(&event.json["data"]["object"]));
        if session.is_some_and(&is_named) {
            found.push(id);
        }
    }
    Ok(found)
}
