//! Stripe's list of events.

use chrono::{DateTime, Utc};
use serde_json::Value;
use stripe_core::event::ListEvent;
use stripe_types::{RangeBoundsTs, RangeQueryTs};

use super::client::{PAGE, Result, Stripe};

/// One page of events, newest first, as raw JSON.
pub struct EventPage {
    pub events: Vec<Value>,
    pub has_more: bool,
}

impl Stripe {
    /// One page of events of these types since a moment, newest first; `after` is the last id of the previous page.
    ///
    /// # Errors
    /// See [`StripeError`](super::StripeError).
    pub async fn list_events(
        &self,
        types: &[&str],
        since: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<EventPage> {
        let bounds = RangeBoundsTs {
            gte: Some(since.timestamp()),
            ..RangeBoundsTs::default()
        };
        let types: Vec<String> = types.iter().map(|&name| name.to_owned()).collect();
        let mut request = ListEvent::new()
            .created(RangeQueryTs::Bounds(bounds))
            .types(types)
            .limit(PAGE);
        if let Some(id) = after {
            request = request.starting_after(id);
        }
        let page = self.page(&request, "event list").await?;
        Ok(EventPage {
            events: page.entries,
            has_more: page.has_more,
        })
    }
}
