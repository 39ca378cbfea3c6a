//! Delivery of queued emails. An attempt is committed before the mail server is contacted, no transaction is open
//! during the SMTP dialogue, and the outcome is recorded afterward.

use std::time::Duration;

use lettre::Address;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tracing::{info, warn};

use super::images::{Images, ShopImages};
use super::message::{About, Email};
use super::render::{Addressed, Composed, render};
use super::store::{self, Begun, EmailState, Ending, Recorded, Source};
use crate::app::App;
use crate::audit::{self, Actor};
use crate::error::{Code, Error, Result};
use crate::jobs::{self, Job};
use crate::mail::{self, Branding, DeliveryFailure, Envelope, Mailer, parse_address};
use crate::settings;
use crate::types::ids::EmailId;

/// Recipient that stands for the owner's mailbox at the time of sending.
pub const SHOP: &str = "shop";

/// Lease of an attempt, longer than any SMTP dialogue. Other workers leave the email alone for this long.
const LEASE: Duration = Duration::from_secs(2 * mail::LONGEST.as_secs());

/// Time for which delivery is retried, from the first attempt on.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc5321#section-4.5.4.1>
const PATIENCE: Duration = Duration::from_secs(4 * 24 * 3600);

/// Upper bound of the back-off: the delay of an email after the mail server recovers.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// Delay of an email while an earlier one to the same customer is being sent.
const TURN: Duration = Duration::from_secs(1);

/// Time after which the sweep queues another job for an overdue email.
const GRACE: Duration = Duration::from_secs(5 * 60);

/// A finished attempt, not yet recorded.
pub struct DeliveryAttempt {
    email: EmailId,
    number: i32,
    kind: String,
    recipient: String,
    about: About,
    outcome: DeliveryOutcome,
}

enum DeliveryOutcome {
    Sent,
    Deferred(String),
    GivenUp(String),
}

/// A delivery problem that the owner should see where the email's cause is shown.
pub struct Trouble {
    pub about: About,
    pub kind: TroubleKind,
    /// Number of the failed attempt.
    pub attempt: i32,
    pub why: String,
}

/// Kinds of delivery problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// Not delivered.
    Undelivered,
    /// Not delivered, and addressed to the shop itself.
    ShopUndelivered,
}

impl DeliveryAttempt {
    /// Returns true when the mail server accepted the email.
    pub fn is_sent(&self) -> bool {
        matches!(self.outcome, DeliveryOutcome::Sent)
    }

    /// Order and custom order that the email is about.
    pub fn about(&self) -> About {
        self.about
    }
}

/// Attempts to deliver an email. Returns `None` when the email is sent, given up, or in another worker's hands. Safe to
/// repeat, even after a crash: the Message-ID stays the same.
///
/// # Errors
/// Database errors only.
pub async fn attempt(app: &App, id: EmailId) -> Result<Option<DeliveryAttempt>> {
    let branding = branding(app).await?;
    let mut conn = app.db.acquire().await?;
    let Some(begun) = store::begin(&mut conn, id, LEASE, PATIENCE).await? else {
        // An earlier email to the same customer goes first.
        if store::is_queued(&mut conn, id).await? {
            jobs::enqueue_in(&mut conn, &Job::SendEmail { email: id }, TURN).await?;
        }
        return Ok(None);
    };
    drop(conn);
    let row = &begun.source.row;
    let outcome = if row.withdrawn_at.is_some() {
        // A worker crashed during the attempt, and nobody knows how that ended.
        DeliveryOutcome::Deferred("it is withdrawn".to_owned())
    } else if begun.overdue {
        let last = row
            .last_error
            .as_deref()
            .unwrap_or("no attempt returned a result");
        DeliveryOutcome::GivenUp(format!("it was tried for days; {last}"))
    } else {
        deliver(&app.mailer, &branding, &ShopImages(app), &begun).await
    };
    Ok(Some(DeliveryAttempt {
        email: id,
        number: row.attempts,
        kind: row.kind.clone(),
        recipient: row.recipient.clone(),
        about: row.about(),
        outcome,
    }))
}

async fn deliver(
    mailer: &Mailer,
    branding: &Branding,
    images: &impl Images,
    begun: &Begun,
) -> DeliveryOutcome {
    let source = &begun.source;
    let row = &source.row;
    let Some(to) = address(&row.recipient, branding) else {
        return DeliveryOutcome::GivenUp(
            "it is no address that an email can be sent to".to_owned(),
        );
    };
    let Ok(email) = serde_json::from_value::<Email>(source.contents.clone()) else {
        return DeliveryOutcome::GivenUp("its stored data can no longer be read".to_owned());
    };
    // Replies go to the shop, unless the shop's mailbox is already the sender.
    let reply_to = match email.answers_to() {
        Some(customer) => parse_address(customer),
        None => Some(branding.address.clone()).filter(|shop| *shop != branding.from.email),
    };
    let id = message_id(source, branding);
    let addressed = Addressed {
        to: to.clone(),
        reply_to,
        message_id: &id,
    };
    let message = match render(&email, branding, images, &part_id(source)).await {
        Ok(composed) => composed.message(branding, addressed),
        Err(error) => Err(error),
    };
    let message = match message {
        Ok(message) => message,
        // A bug in the shop: retrying gives a new version the chance to fix it before the email is given up.
        Err(error) => return DeliveryOutcome::Deferred(format!("{error:#}")),
    };
    let file = match row.resends {
        0 => format!("{}-{}.eml", row.id, row.kind),
        again => format!("{}-{}-{}.eml", row.id, row.kind, again + 1),
    };
    let envelope = Envelope {
        to: &to,
        file: &file,
        message: &message,
    };
    match mailer.deliver(envelope).await {
        Ok(()) => DeliveryOutcome::Sent,
        Err(DeliveryFailure::Passing(why)) => DeliveryOutcome::Deferred(why),
        Err(DeliveryFailure::Final(why)) => DeliveryOutcome::GivenUp(why),
    }
}

/// Records the outcome of an attempt. Returns a problem for the owner, to be reported in the same transaction.
pub async fn record(conn: &mut PgConnection, attempt: &DeliveryAttempt) -> Result<Option<Trouble>> {
    let DeliveryAttempt { email, number, .. } = *attempt;
    let wait = wait_after(number);
    let (state, error) = match &attempt.outcome {
        DeliveryOutcome::Sent => (EmailState::Sent, None),
        DeliveryOutcome::Deferred(why) => (EmailState::Queued, Some(why.as_str())),
        DeliveryOutcome::GivenUp(why) => (EmailState::Failed, Some(why.as_str())),
    };
    let ending = Ending { state, error, wait };
    match store::end(conn, email, number, &ending).await? {
        Recorded::Ended => {}
        Recorded::Withdrawn => {
            info!(%email, kind = attempt.kind, attempt = number, "email withdrawn");
            return Ok(None);
        }
        // Another worker has taken the email over since, and records its own end.
        Recorded::TooLate => {
            warn!(%email, attempt = number, state = state.as_str(), "an attempt ended after its lease");
            return Ok(None);
        }
    }
    let kind = attempt.kind.replace('_', " ");
    let to = &attempt.recipient;
    let trouble = match &attempt.outcome {
        DeliveryOutcome::Sent => {
            info!(%email, kind = attempt.kind, attempt = number, "email sent");
            None
        }
        DeliveryOutcome::Deferred(_) => {
            warn!(%email, kind = attempt.kind, attempt = number, "email not sent; trying again later");
            jobs::enqueue_in(conn, &Job::SendEmail { email }, wait).await?;
            None
        }
        DeliveryOutcome::GivenUp(why) => {
            warn!(%email, kind = attempt.kind, attempt = number, "email given up");
            let why = format!("the email “{kind}” to {to} could not be delivered: {why}");
            match to == SHOP {
                true => Some((TroubleKind::ShopUndelivered, why)),
                false => Some((TroubleKind::Undelivered, why)),
            }
        }
    };
    Ok(trouble.map(|(kind, why)| Trouble {
        about: attempt.about,
        kind,
        attempt: number,
        why,
    }))
}

/// Sends an email again that was sent or given up, and writes an audit entry. It gets a new Message-ID, because mail
/// programs hide an email whose Message-ID they already have.
///
/// # Errors
/// 404 when there is no such email; 409 `email_on_its_way` while it is being sent, or `email_withdrawn` when what
/// it says is not so any more.
pub async fn send_again(conn: &mut PgConnection, actor: &Actor, id: EmailId) -> Result<()> {
    let before = store::find(conn, id).await?;
    let before = before.ok_or(Error::NotFound("Email"))?.row;
    if !store::requeue(conn, id).await? {
        let now = store::find(conn, id).await?;
        let now = now.ok_or(Error::NotFound("Email"))?.row;
        let (code, why) = match now.withdrawn_at {
            Some(_) => (
                Code::EmailWithdrawn,
                "What the email says is not so any more.",
            ),
            None => (Code::EmailOnItsWay, "The email is on its way already."),
        };
        return Err(Error::Conflict(code, why.to_owned()));
    }
    jobs::enqueue(conn, &Job::SendEmail { email: id }).await?;
    audit::record(
        conn,
        actor,
        "email.resend",
        &format!("email:{id}"),
        json!({"kind": before.kind, "state": before.state}),
        json!({
            "kind": before.kind,
            "state": EmailState::Queued,
            "order_id": before.order_id,
            "custom_order_id": before.custom_order_id,
        }),
    )
    .await
}

/// Branding under the current settings.
pub async fn branding(app: &App) -> Result<Branding> {
    let settings = settings::current(&mut *app.db.acquire().await?, &app.config).await?;
    Ok(app
        .mailer
        .branding()
        .under(&settings.shop_name, settings.time_zone, settings.voice))
}

/// Queues emails again whose job or sender was lost. Safe to repeat.
pub async fn sweep(conn: &mut PgConnection) -> Result<()> {
    for email in store::list_stranded(conn, LEASE, GRACE).await? {
        jobs::enqueue(conn, &Job::SendEmail { email }).await?;
    }
    Ok(())
}

/// Renders a stored email. Returns `None` when its data can no longer be read.
pub async fn show(branding: &Branding, images: &impl Images, source: &Source) -> Option<Composed> {
    let email = serde_json::from_value(source.contents.clone()).ok()?;
    render(&email, branding, images, &part_id(source))
        .await
        .ok()
}

/// `<kind.hash@domain>`, the same for every attempt.
pub fn message_id(source: &Source, branding: &Branding) -> String {
    format!("<{}@{}>", part_id(source), branding.domain())
}

/// Unique part of an email's ids.
fn part_id(source: &Source) -> String {
    let hash = Sha256::digest(source.dedup_key.as_bytes());
    let hash = hex::encode(&hash[..12]);
    match source.row.resends {
        0 => format!("{}.{hash}", source.row.kind),
        again => format!("{}.{hash}.{}", source.row.kind, again + 1),
    }
}

fn address(text: &str, branding: &Branding) -> Option<Address> {
    match text {
        SHOP => Some(branding.address.clone()),
        text => parse_address(text),
    }
}

/// Ten seconds, doubled after each attempt, up to a quarter of an hour.
fn wait_after(attempt: i32) -> Duration {
    let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(10);
    LONGEST_WAIT.min(Duration::from_secs(10) * 2_u32.pow(doublings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_grow_to_a_quarter_of_an_hour() {
        let waits: Vec<u64> = [1, 2, 3, 7, 8, 9, 400]
            .map(|n| wait_after(n).as_secs())
            .into();
        assert_eq!(waits, [10, 20, 40, 640, 900, 900, 900]);
    }
}
