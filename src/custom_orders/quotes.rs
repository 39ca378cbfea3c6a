//! Changes of quotes: drafted, approved, replaced, withdrawn, or rejected with the custom order. A change that needs
//! Stripe is planned here, and carried out by [`super::payment_links`].

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::customer_emails::{email_data, quote_email_data, to_customer};
use super::locks::{LockedCustomOrder, refused};
use super::new_quote::{Terms, check_prose};
use super::{CustomOrder, PendingAction, Quote, QuoteState, Status, store};
use crate::app::App;
use crate::audit::Actor;
use crate::emails::Email;
use crate::error::{Code, Error, Result};
use crate::jobs::{self, Job};
use crate::settings;
use crate::stripe::NewPaymentLink;
use crate::types::calendar;
use crate::types::ids::{CustomOrderId, QuoteId};
use crate::types::money::Cents;

/// Action of the audit log for an approved draft, whether or not it replaces another quote.
const APPROVE: &str = "custom_order.approve";

/// Saves the draft of a quote; the customer gets it on approval.
///
/// # Errors
/// 404; 409 `not_quotable` once the custom order is paid or rejected.
pub async fn quote(
    conn: &mut PgConnection,
    actor: &Actor,
    id: CustomOrderId,
    terms: &Terms,
) -> Result<CustomOrder> {
    let locked = LockedCustomOrder::lock(conn, id).await?;
    save_draft(conn, &locked.custom_order, terms, &actor.name).await?;
    let action = "custom_order.quote";
    locked
        .record(conn, actor, action, terms.audit_facts())
        .await
}

/// Saves the draft of a locked custom order's quote.
async fn save_draft(
    conn: &mut PgConnection,
    custom_order: &CustomOrder,
    terms: &Terms,
    actor: &str,
) -> Result<()> {
    if !matches!(
        custom_order.status,
        Status::Pending | Status::Approved | Status::Expired
    ) {
        return Err(refused(
            Code::NotQuotable,
            custom_order,
            "cannot be quoted for",
        ));
    }
    let current = store::find_current(conn, custom_order.id).await?;
    // The timeline tells of another quote when it replaces this one.
    let is_quoted = current.is_some();
    if current.is_some_and(|quote| quote.state == QuoteState::Closing) {
        // The draft may be planned as the next quote, so it must not change.
        return Err(closing(custom_order));
    }
    let quote = store::save_draft(conn, custom_order.id, terms, actor).await?;
    if !is_quoted {
        let note = in_words(&quote);
        store::add_timeline_entry(conn, custom_order.id, "quote", actor, &note).await?;
    }
    Ok(())
}

/// `$90.00 and $5.00 shipping`
fn sums(quote: &Quote) -> String {
    let money = |amount: Cents| amount.in_currency(&quote.currency);
    format!(
        "{} and {} shipping",
        money(quote.amount),
        money(quote.shipping)
    )
}

/// `$90.00 and $5.00 shipping, for 14 days`
fn in_words(quote: &Quote) -> String {
    format!("{}, for {} days", sums(quote), quote.valid_days)
}

/// Discards the draft of a quote; the customer's current quote stays. Safe to repeat.
///
/// # Errors
/// 404; 409 `quote_closing` while the draft may be planned as the next quote.
pub async fn discard_draft(
    conn: &mut PgConnection,
    actor: &Actor,
    id: CustomOrderId,
) -> Result<CustomOrder> {
    let locked = LockedCustomOrder::lock(conn, id).await?;
    let current = store::find_current(conn, id).await?;
    let is_quoted = current.is_some();
    if current.is_some_and(|quote| quote.state == QuoteState::Closing) {
        return Err(closing(&locked.custom_order));
    }
    if !store::delete_draft(conn, id).await? {
        return Ok(locked.custom_order);
    }
    // The timeline has no draft beside a quote.
    if !is_quoted {
        store::add_timeline_entry(conn, id, "quote", &actor.name, "draft discarded").await?;
    }
    let action = "custom_order.discard_quote";
    locked.record(conn, actor, action, Value::Null).await
}

/// Approves a custom order with its drafted quote: a job creates the payment link and sends the email. Safe to repeat
/// and to call concurrently: only one link is created.
///
/// # Errors
/// 404; 409 `no_quote`, `quote_closing`, `quote_is_live` (there is another draft) or `not_approvable`.
pub async fn approve(
    conn: &mut PgConnection,
    app: &App,
    actor: &Actor,
    id: CustomOrderId,
) -> Result<CustomOrder> {
    let locked = LockedCustomOrder::lock(conn, id).await?;
    match approve_draft(conn, app, &locked.custom_order, &actor.name).await? {
        true => locked.record(conn, actor, APPROVE, Value::Null).await,
        false => Ok(locked.custom_order),
    }
}

/// Approves the draft that the owner saw, as [`approve`] does, or replaces the customer's current quote by it. `seen` is
/// the [`fingerprint`] of the draft.
///
/// # Errors
/// As [`approve`] and [`requote`]; 409 `quote_changed` when the draft has changed since.
pub async fn approve_as_seen(
    conn: &mut PgConnection,
    app: &App,
    actor: &Actor,
    id: CustomOrderId,
    seen: &str,
) -> Result<CustomOrder> {
    let locked = LockedCustomOrder::lock(conn, id).await?;
    let custom_order = &locked.custom_order;
    let draft = store::find_draft(conn, id).await?;
    if draft
        .as_ref()
        .is_some_and(|draft| fingerprint(draft) != seen)
    {
        return Err(Error::Conflict(
            Code::QuoteChanged,
            "Somebody changed the quote after you looked at it. Nothing was sent: check it again."
                .to_owned(),
        ));
    }
    let current = store::find_current(conn, id).await?;
    let is_replaceable = current.is_some_and(|quote| quote.is_replaceable(custom_order.status));
    let is_planned = match draft {
        Some(draft) if is_replaceable => {
            replace(conn, app, custom_order, &draft.terms(), &actor.name).await?;
            true
        }
        _ => approve_draft(conn, app, custom_order, &actor.name).await?,
    };
    match is_planned {
        true => locked.record(conn, actor, APPROVE, Value::Null).await,
        false => Ok(locked.custom_order),
    }
}

/// Identifies the content of a draft, to detect changes between its preview and its approval.
pub fn fingerprint(draft: &Quote) -> String {
    let hash = Sha256::digest(format!("{} {:?}", draft.id, draft.terms()));
    hex::encode(&hash[..8])
}

/// Plans the payment link of a locked custom order's draft. Returns false when the draft was approved before.
async fn approve_draft(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    actor: &str,
) -> Result<bool> {
    let refuse = |code, why| Err(refused(code, custom_order, why));
    let draft = store::find_draft(conn, custom_order.id).await?;
    match store::find_current(conn, custom_order.id).await? {
        // A repeat: the link of an earlier approval is on its way, or made.
        Some(quote) if quote.state == QuoteState::Asking => Ok(false),
        Some(quote) if quote.state == QuoteState::Live && draft.is_none() => Ok(false),
        Some(quote) if quote.state == QuoteState::Live => refuse(
            Code::QuoteIsLive,
            "has a quote that can be paid: re-quote it, or withdraw it first",
        ),
        Some(quote) if quote.state == QuoteState::Closing => Err(closing(custom_order)),
        Some(_) => refuse(Code::NotApprovable, "cannot be approved"),
        None if !matches!(custom_order.status, Status::Pending | Status::Expired) => {
            refuse(Code::NotApprovable, "cannot be approved")
        }
        None => match draft {
            Some(draft) if draft.currency != app.config.shop.currency.code() => refuse(
                Code::NotApprovable,
                "has a quote in another currency than the shop's: quote anew",
            ),
            Some(draft) => {
                ask(conn, app, custom_order, &draft).await?;
                let note = format!("approved: {}", in_words(&draft));
                store::add_timeline_entry(conn, custom_order.id, "quote", actor, &note).await?;
                Ok(true)
            }
            None => refuse(Code::NoQuote, "has no quote yet"),
        },
    }
}

/// The idempotency key of the first call for a quote's link.
pub fn first_key(custom_order: CustomOrderId, quote: QuoteId) -> String {
    format!("quote-{custom_order}-{quote}")
}

/// Plans the payment link of a draft. The caller writes the timeline entry.
async fn ask(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    draft: &Quote,
) -> Result<()> {
    let call = NewPaymentLink {
        quote: draft.id,
        custom_order: custom_order.id,
        signature: app.signer.sign("quote", &draft.id.to_string()),
        currency: draft.currency.clone(),
        name: format!("Custom piece {}", custom_order.display_number()),
        description: Some(draft.description.clone()),
        amount: draft.amount,
        shipping_name: draft.shipping_zone.title().to_owned(),
        shipping: draft.shipping,
        countries: draft.shipping_zone.countries(),
        return_url: format!("{}/custom-order-success", app.config.server.frontend_url),
        key: first_key(custom_order.id, draft.id),
    };
    store::set_asking(conn, &call).await?;
    jobs::enqueue(conn, &Job::MakeLink { quote: draft.id }).await
}

/// Replaces the quote of a custom order: the old link is closed first, then a new one is created. Without a link, this
/// quotes and approves in one step.
///
/// # Errors
/// As [`quote`] and [`approve`]; 409 `payment_in_progress` while a delayed payment is in progress.
pub async fn requote(
    conn: &mut PgConnection,
    app: &App,
    actor: &Actor,
    id: CustomOrderId,
    terms: &Terms,
) -> Result<CustomOrder> {
    let locked = LockedCustomOrder::lock(conn, id).await?;
    replace(conn, app, &locked.custom_order, terms, &actor.name).await?;
    let action = "custom_order.requote";
    locked
        .record(conn, actor, action, terms.audit_facts())
        .await
}

/// Quotes for a locked custom order, in place of its live quote if it has one.
async fn replace(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    terms: &Terms,
    actor: &str,
) -> Result<()> {
    match store::find_current(conn, custom_order.id).await? {
        Some(current) if current.state == QuoteState::Live => {
            check_not_paying(custom_order, &current)?;
            save_draft(conn, custom_order, terms, actor).await?;
            let next = PendingAction::Requote {
                actor: actor.to_owned(),
            };
            close(conn, &current, &next).await
        }
        Some(current) if current.state == QuoteState::Closing => Err(closing(custom_order)),
        Some(current) if current.state == QuoteState::Asking => Err(asking(custom_order)),
        _ => {
            save_draft(conn, custom_order, terms, actor).await?;
            approve_draft(conn, app, custom_order, actor).await?;
            Ok(())
        }
    }
}

/// Rejects a custom order and emails the customer the reason. The link of the current quote is closed first. Safe to
/// repeat.
///
/// # Errors
/// A field error of `reason`; as [`withdraw`]; 409 `not_rejectable`.
pub async fn reject(
    conn: &mut PgConnection,
    app: &App,
    actor: &Actor,
    id: CustomOrderId,
    reason: &str,
) -> Result<CustomOrder> {
    let reason = check_prose("reason", reason, 1)?;
    let locked = LockedCustomOrder::lock(conn, id).await?;
    let custom_order = &locked.custom_order;
    match (custom_order.status, store::find_current(conn, id).await?) {
        (Status::Pending, None) => {
            set_rejected(conn, app, custom_order, &reason, &actor.name).await?;
        }
        (Status::Rejected, _) => return Ok(locked.custom_order),
        (Status::Pending | Status::Approved, Some(current)) => {
            let next = PendingAction::Reject {
                actor: actor.name.clone(),
                reason: reason.clone(),
            };
            close_then(conn, custom_order, &current, &next).await?;
        }
        _ => {
            let why = "cannot be rejected";
            return Err(refused(Code::NotRejectable, custom_order, why));
        }
    }
    let more = json!({"reason": reason});
    locked
        .record(conn, actor, "custom_order.reject", more)
        .await
}

/// Withdraws a quote: its link is closed first, then the custom order waits for another quote, and the customer gets an
/// email. Safe to repeat.
///
/// # Errors
/// A field error of `reason`; 404; 409 `not_withdrawable` without a quote that the customer has, `quote_asking`, `quote_closing`, or
/// `payment_in_progress` while a delayed payment is in progress.
pub async fn withdraw(
    conn: &mut PgConnection,
    actor: &Actor,
    id: CustomOrderId,
    reason: &str,
) -> Result<CustomOrder> {
    let reason = check_prose("reason", reason, 0)?;
    let locked = LockedCustomOrder::lock(conn, id).await?;
    let custom_order = &locked.custom_order;
    match (custom_order.status, store::find_current(conn, id).await?) {
        (Status::Pending | Status::Approved, Some(current)) => {
            let next = PendingAction::Withdraw {
                actor: actor.name.clone(),
                reason: reason.clone(),
            };
            close_then(conn, custom_order, &current, &next).await?;
        }
        (Status::Pending, None) if store::has_closed_quote(conn, id).await? => {
            return Ok(locked.custom_order);
        }
        _ => {
            let why = "has no quote to withdraw";
            return Err(refused(Code::NotWithdrawable, custom_order, why));
        }
    }
    let more = json!({"reason": reason});
    locked
        .record(conn, actor, "custom_order.withdraw", more)
        .await
}

/// Plans the closing of the customer's current quote, and the action after it.
async fn close_then(
    conn: &mut PgConnection,
    custom_order: &CustomOrder,
    current: &Quote,
    next: &PendingAction,
) -> Result<()> {
    match current.state {
        QuoteState::Asking => return Err(asking(custom_order)),
        QuoteState::Closing => return Err(closing(custom_order)),
        _ => {}
    }
    check_not_paying(custom_order, current)?;
    close(conn, current, next).await
}

async fn set_rejected(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    reason: &str,
    actor: &str,
) -> Result<()> {
    let custom_order =
        store::set_status(conn, custom_order, Status::Rejected, actor, reason).await?;
    if !reason.is_empty() {
        let email = Email::CustomOrderRejected {
            custom_order: email_data(conn, app, &custom_order).await?,
            reason: reason.to_owned(),
        };
        to_customer(conn, &custom_order, &email, &custom_order.id.to_string()).await?;
    }
    Ok(())
}

/// Plans the closing of a live quote's link.
pub async fn close(conn: &mut PgConnection, quote: &Quote, next: &PendingAction) -> Result<()> {
    store::set_quote_state(conn, quote.id, QuoteState::Closing, Some(next), None).await?;
    jobs::enqueue(conn, &Job::CloseLink { quote: quote.id }).await
}

/// Carries out the action planned for a closed quote. Without one, the custom order waits for another quote.
pub async fn move_on(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    quote: &Quote,
    next: Option<PendingAction>,
) -> Result<()> {
    match next {
        Some(PendingAction::Withdraw { actor, reason }) => {
            let note = match reason.as_str() {
                "" => "the quote was withdrawn".to_owned(),
                reason => format!("the quote was withdrawn: {reason}"),
            };
            let custom_order =
                store::set_status(conn, custom_order, Status::Pending, &actor, &note).await?;
            let email = Email::QuoteWithdrawn {
                custom_order: email_data(conn, app, &custom_order).await?,
                reason,
            };
            to_customer(conn, &custom_order, &email, &quote.id.to_string()).await?;
            Ok(())
        }
        Some(PendingAction::Reject { actor, reason }) => {
            let note = "the quote was withdrawn";
            let custom_order =
                store::set_status(conn, custom_order, Status::Pending, &actor, note).await?;
            set_rejected(conn, app, &custom_order, &reason, &actor).await
        }
        Some(PendingAction::Requote { actor }) => {
            match store::find_draft(conn, custom_order.id).await? {
                Some(draft) => {
                    ask(conn, app, custom_order, &draft).await?;
                    let (old, new) = (sums(quote), in_words(&draft));
                    let note = format!("changed from {old} to {new}");
                    store::add_timeline_entry(conn, custom_order.id, "quote", &actor, &note).await
                }
                None => expire(conn, custom_order, "the quote was closed").await,
            }
        }
        Some(PendingAction::Lapse) => expire(conn, custom_order, "the quote lapsed").await,
        None => expire(conn, custom_order, "the quote's link is used up").await,
    }
}

async fn expire(conn: &mut PgConnection, custom_order: &CustomOrder, note: &str) -> Result<()> {
    store::set_status(conn, custom_order, Status::Expired, "clock", note).await?;
    Ok(())
}

/// End of the last day on which a quote is payable, if its link were created now.
///
/// # Errors
/// Database errors only.
pub async fn valid_until(
    conn: &mut PgConnection,
    app: &App,
    quote: &Quote,
) -> Result<DateTime<Utc>> {
    let zone = settings::time_zone(conn, &app.config).await?;
    let days = quote.valid_days.unsigned_abs();
    Ok(calendar::end_of_day(Utc::now(), days, zone))
}

/// Previews the email that approving the draft would send; its payment link is a placeholder. Returns `None` without a
/// draft.
///
/// # Errors
/// 404 when there is no such custom order.
pub async fn preview(
    conn: &mut PgConnection,
    app: &App,
    id: CustomOrderId,
) -> Result<Option<Email>> {
    let custom_order = store::find(conn, id)
        .await?
        .ok_or(Error::NotFound("CustomOrder"))?;
    let Some(draft) = store::find_draft(conn, id).await? else {
        return Ok(None);
    };
    let until = valid_until(conn, app, &draft).await?;
    Ok(Some(Email::CustomOrderApproved {
        custom_order: email_data(conn, app, &custom_order).await?,
        quote: quote_email_data(&draft, until, "#made-when-approved"),
    }))
}

fn check_not_paying(custom_order: &CustomOrder, quote: &Quote) -> Result<()> {
    if quote.payment_in_progress {
        let why = "is being paid: wait until the payment succeeds or fails";
        return Err(refused(Code::PaymentInProgress, custom_order, why));
    }
    Ok(())
}

fn asking(custom_order: &CustomOrder) -> Error {
    refused(
        Code::QuoteAsking,
        custom_order,
        "is being approved: try again when its link is ready",
    )
}

fn closing(custom_order: &CustomOrder) -> Error {
    refused(
        Code::QuoteClosing,
        custom_order,
        "has a link that is being closed: try again in a moment",
    )
}
