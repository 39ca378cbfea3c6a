//! The job that sends an email. A failed delivery becomes a review item.

use crate::app::App;
use crate::emails::{self, TroubleKind};
use crate::error::Result;
use crate::review_items::{self, Kind, NewItem, Subject};
use crate::types::ids::EmailId;
use crate::{custom_orders, orders};

/// Sends a queued email. A failed delivery is reported to the owner. Safe to repeat.
///
/// # Errors
/// Database errors only. While the mail server is down, the email waits.
pub async fn send(app: &App, id: EmailId) -> Result<()> {
    let Some(attempt) = emails::attempt(app, id).await? else {
        return Ok(());
    };
    let mut tx = app.db.begin().await?;
    // Lock order: before the email and its review item. Undoing a shipment withdraws its emails.
    let about = attempt.about();
    if let Some(custom_order) = about.custom_order {
        custom_orders::lock(&mut tx, custom_order).await?;
    }
    if let Some(order) = about.order {
        orders::lock(&mut tx, order).await?;
    }
    let trouble = emails::record(&mut tx, &attempt).await?;
    if attempt.is_sent() {
        // The owner sent it again after it was given up.
        review_items::settle(
            &mut tx,
            &format!("email:{id}"),
            "mail",
            "the email was sent",
        )
        .await?;
    }
    if let Some(trouble) = trouble {
        let kind = match trouble.kind {
            TroubleKind::Undelivered => Kind::EmailUndelivered,
            TroubleKind::ShopUndelivered => Kind::ShopEmailUndelivered,
        };
        let cause = format!("email:{id}:{}", trouble.attempt);
        let item = NewItem::new(kind, cause, trouble.why);
        // An email that does not reach the owner concerns the shop, not the customer's order.
        let subject = match kind {
            Kind::ShopEmailUndelivered => Subject::default(),
            _ => trouble.about.into(),
        };
        review_items::flag(&mut tx, subject, "mail", &item).await?;
    }
    tx.commit().await?;
    Ok(())
}
