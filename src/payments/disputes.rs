//! Stripe's events about disputes, fraud warnings and payment reviews. Each is stored by its own id, in any order, and
//! shown with its payment.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::effect::{Effect, reference, time};
use super::store;
use crate::error::Result;
use crate::orders::disputes::{self, Dispute, DisputeState, DisputedFunds, Report};
use crate::review_items::{self, Kind, NewItem, Subject};
use crate::stripe;
use crate::{custom_orders, orders};

/// Applies an event about a dispute: `charge.dispute.*`.
///
/// # Errors
/// Database errors only.
pub async fn dispute_reported(
    conn: &mut PgConnection,
    kind: &str,
    object: &Value,
    created: Option<DateTime<Utc>>,
) -> Result<Effect> {
    let as_of = created.unwrap_or_else(Utc::now);
    let Some(report) = read(object, as_of) else {
        return Ok(Effect::Ignored);
    };
    let payment = store::lock_payment(conn, &report.payment_id).await?;
    let subject = subject_of(&payment);
    lock(conn, subject).await?;
    let known = disputes::lock(conn, &report.id).await?;
    let before = known.as_ref();
    let is_news = before.is_none_or(|before| before.is_older_than(&report));
    let funds = funds_after(kind)
        .filter(|funds| before.is_none_or(|before| before.has_older_funds(*funds, as_of)));
    if is_news {
        let before = known.map(|known| known.dispute);
        let now = disputes::save(conn, &report).await?;
        tell(conn, subject, before.as_ref(), &now, as_of).await?;
    }
    if let Some(funds) = funds {
        disputes::record_funds(conn, &report.id, funds, as_of).await?;
        let amount = report.amount.in_currency(&report.currency);
        let text = match funds {
            DisputedFunds::Withdrawn => {
                format!("The bank took {amount} back, until the dispute is decided.")
            }
            DisputedFunds::Reinstated => format!("The bank returned {amount}."),
        };
        note(conn, subject, &text).await?;
    }
    refresh(conn, &report.payment_id, subject).await?;
    Ok(Effect::Processed)
}

/// Reads an event's report of a dispute. Returns `None` without an id, a state and a payment.
fn read(object: &Value, as_of: DateTime<Utc>) -> Option<Report> {
    let word = |field: &str| reference(&object[field]);
    Some(Report {
        id: word("id")?,
        payment_id: payment_of(object)?,
        amount: stripe::amount(&object["amount"]).unwrap_or_default(),
        currency: word("currency").unwrap_or_else(|| "usd".to_owned()),
        reason: word("reason").unwrap_or_else(|| "general".to_owned()),
        state: DisputeState::read(&word("status")?),
        evidence_due_by: time(&object["evidence_details"]["due_by"]),
        opened_at: time(&object["created"]),
        as_of,
    })
}

/// The payment of a Stripe object: its payment intent or, without one, its charge.
fn payment_of(object: &Value) -> Option<String> {
    reference(&object["payment_intent"])
        .or_else(|| reference(&object["charge"]["payment_intent"]))
        .or_else(|| reference(&object["charge"]))
}

/// Location of the money after an event that reports it.
fn funds_after(kind: &str) -> Option<DisputedFunds> {
    match kind {
        "charge.dispute.funds_withdrawn" => Some(DisputedFunds::Withdrawn),
        "charge.dispute.funds_reinstated" => Some(DisputedFunds::Reinstated),
        _ => None,
    }
}

/// Reports a dispute's new state on the timeline, and in the review item that asks for an answer.
async fn tell(
    conn: &mut PgConnection,
    subject: Subject,
    before: Option<&Dispute>,
    now: &Dispute,
    as_of: DateTime<Utc>,
) -> Result<()> {
    let source = source_of_dispute(now);
    // Only a new state is news: Stripe also reports new deadlines and new evidence.
    if before.is_none_or(|before| before.state != now.state) {
        note(conn, subject, &line(before, now)).await?;
    }
    if !now.is_open() {
        let result = format!("the dispute is {}", now.state.in_words());
        review_items::close(conn, &source, "stripe", &result).await?;
        if now.state == DisputeState::Lost {
            let what = match before {
                Some(_) => "was disputed by the bank, and the customer keeps the money",
                // The shop learned of the dispute too late to answer it.
                None => "was disputed and lost before this shop heard of it",
            };
            let text = sentence(subject, now, what);
            let item = NewItem::new(Kind::DisputeLost, format!("{source}:lost"), text);
            review_items::raise(conn, subject, &item).await?;
        }
        return Ok(());
    }
    let (stage, kind, what) = match now.state.is_inquiry() {
        true => ("inquiry", Kind::Inquiry, "is asked about by the bank"),
        false => ("dispute", Kind::Dispute, "is disputed by the bank"),
    };
    if kind == Kind::Dispute {
        let inquiry = format!("{source}:inquiry");
        review_items::close(conn, &inquiry, "stripe", "the inquiry became a dispute").await?;
    }
    // A dispute that is reopened after a decision is another cause.
    let cause = match before {
        Some(before) if !before.is_open() => format!("{source}:{stage}:{}", as_of.timestamp()),
        _ => format!("{source}:{stage}"),
    };
    let text = sentence(subject, now, what);
    let item = NewItem::new(kind, cause, text).by(now.evidence_due_by);
    review_items::raise(conn, subject, &item).await?;
    review_items::move_deadline(conn, &source, now.evidence_due_by).await
}

/// Source of all items about a dispute.
fn source_of_dispute(dispute: &Dispute) -> String {
    format!("payment:{}:dispute:{}", dispute.payment_id, dispute.id)
}

/// Text of an item: the disputed amount and the reason.
fn sentence(subject: Subject, dispute: &Dispute, what: &str) -> String {
    let unknown = unknown(subject, &dispute.payment_id);
    format!(
        "A payment{unknown} {what}, over {}: {}.",
        dispute.money(),
        dispute.reason_in_words()
    )
}

/// Timeline entry for a dispute's new state.
fn line(before: Option<&Dispute>, now: &Dispute) -> String {
    let money = now.money();
    let reason = now.reason_in_words();
    let was_inquiry = before.is_some_and(|before| before.state.is_inquiry());
    match &now.state {
        DisputeState::WarningNeedsResponse => format!("The bank asks about {money}: {reason}."),
        DisputeState::WarningUnderReview => {
            format!("The bank's question about {money} is answered.")
        }
        DisputeState::WarningClosed => format!("The bank's question about {money} is closed."),
        DisputeState::NeedsResponse | DisputeState::Other(_) if was_inquiry => {
            format!("The bank's question became a dispute of {money}: {reason}.")
        }
        DisputeState::NeedsResponse | DisputeState::Other(_) => {
            format!("The bank disputes {money}: {reason}.")
        }
        DisputeState::UnderReview => {
            format!("The dispute of {money} is answered; the bank decides.")
        }
        DisputeState::Won => format!("The dispute of {money} was won."),
        DisputeState::Lost => {
            format!("The dispute of {money} was lost: the money stays with the customer.")
        }
        DisputeState::Prevented => format!("The dispute of {money} was prevented."),
    }
}

/// Subject of a payment: its order, its intended custom order, or neither yet.
fn subject_of(payment: &store::Payment) -> Subject {
    Subject {
        order: payment.order_id,
        custom_order: payment
            .custom_order_id
            .filter(|_| payment.order_id.is_none()),
    }
}

/// Locks a payment's subject, the custom order first.
async fn lock(conn: &mut PgConnection, subject: Subject) -> Result<()> {
    if let Some(order) = subject.order {
        custom_orders::lock_of(conn, order).await?;
        orders::lock(conn, order).await?;
    }
    Ok(())
}

/// Adds a note about a dispute to the timelines of its payment's subject.
async fn note(conn: &mut PgConnection, subject: Subject, text: &str) -> Result<()> {
    let mut custom_order = subject.custom_order;
    if let Some(order) = subject.order {
        let making = custom_orders::lock_of(conn, order).await?;
        custom_order = custom_order.or(making.map(|making| making.id));
    }
    if let Some(custom_order) = custom_order {
        custom_orders::add_timeline_entry(conn, custom_order, "payment", "stripe", text).await?;
    }
    if let Some(order) = subject.order {
        orders::add_timeline_entry(conn, order, "dispute", "stripe", text).await?;
    }
    Ok(())
}

/// Records the most urgent state of all disputes on the payment and its order.
async fn refresh(conn: &mut PgConnection, payment: &str, subject: Subject) -> Result<()> {
    let all = disputes::list_of_payment(conn, payment).await?;
    store::record_dispute(conn, payment, disputes::most_pressing(&all)).await?;
    if let Some(order) = subject.order {
        let all = disputes::list_of_order(conn, order).await?;
        orders::record_dispute(conn, order, disputes::most_pressing(&all)).await?;
    }
    Ok(())
}

/// Shows earlier reports about a payment whose subject is known now.
///
/// # Errors
/// Database errors only.
pub async fn payment_known(conn: &mut PgConnection, payment: &str) -> Result<()> {
    let known = store::lock_payment(conn, payment).await?;
    let subject = subject_of(&known);
    if subject != Subject::default() {
        let source = format!("payment:{payment}");
        let stale = unknown(Subject::default(), payment);
        review_items::assign(conn, &source, subject, &stale).await?;
    }
    let all = disputes::list_of_payment(conn, payment).await?;
    for dispute in &all {
        note(conn, subject, &line(None, dispute)).await?;
    }
    if !all.is_empty() {
        refresh(conn, payment, subject).await?;
    }
    Ok(())
}

/// Applies an early fraud warning: the card's issuer suspects fraud before the cardholder disputes the payment.
///
/// Source: <https://docs.stripe.com/radar/early-fraud-warnings>
///
/// # Errors
/// Database errors only.
pub async fn fraud_warned(conn: &mut PgConnection, object: &Value) -> Result<Effect> {
    let (Some(id), Some(payment_id)) = (reference(&object["id"]), payment_of(object)) else {
        return Ok(Effect::Ignored);
    };
    let payment = store::lock_payment(conn, &payment_id).await?;
    let subject = subject_of(&payment);
    lock(conn, subject).await?;
    let cause = format!("payment:{payment_id}:fraud_warning:{id}");
    let reason = fraud_in_words(object["fraud_type"].as_str().unwrap_or_default());
    if object["actionable"] == false {
        // The payment is already refunded or disputed, and needs no second item.
        review_items::close(
            conn,
            &cause,
            "stripe",
            "the payment is refunded or disputed",
        )
        .await?;
        return Ok(Effect::Processed);
    }
    let text = format!(
        "The bank of the card warns that a payment{} is probably fraud: {reason}.",
        unknown(subject, &payment_id)
    );
    raise(conn, subject, NewItem::new(Kind::FraudWarning, cause, text)).await?;
    Ok(Effect::Processed)
}

/// The issuer's reason as a phrase.
///
/// Source: <https://docs.stripe.com/api/radar/early_fraud_warnings/object#early_fraud_warning_object-fraud_type>
fn fraud_in_words(word: &str) -> &'static str {
    match word {
        "card_never_received" => "the card never reached its holder",
        "fraudulent_card_application" => "somebody got the card by fraud",
        "made_with_counterfeit_card" => "the card is counterfeit",
        "made_with_lost_card" => "the card was lost",
        "made_with_stolen_card" => "the card was stolen",
        "unauthorized_use_of_card" => "its holder did not pay",
        _ => "it gives no particular reason",
    }
}

/// Applies `review.opened` and `review.closed`: Stripe asks the owner to review a payment, or no longer does.
///
/// # Errors
/// Database errors only.
pub async fn review_changed(
    conn: &mut PgConnection,
    object: &Value,
    is_open: bool,
) -> Result<Effect> {
    let (Some(id), Some(payment_id)) = (reference(&object["id"]), payment_of(object)) else {
        return Ok(Effect::Ignored);
    };
    let payment = store::lock_payment(conn, &payment_id).await?;
    let subject = subject_of(&payment);
    lock(conn, subject).await?;
    let cause = format!("payment:{payment_id}:review:{id}");
    let text = format!(
        "Stripe holds a payment{} for review: it may be fraud.",
        unknown(subject, &payment_id)
    );
    let item = NewItem::new(Kind::PaymentReview, cause.as_str(), text);
    if is_open {
        raise(conn, subject, item).await?;
        return Ok(Effect::Processed);
    }
    let reason = object["closed_reason"]
        .as_str()
        .or(object["reason"].as_str());
    let result = format!(
        "the review ended: {}",
        review_in_words(reason.unwrap_or_default())
    );
    let was_open = !review_items::close(conn, &cause, "stripe", &result)
        .await?
        .is_empty();
    // The event of the opening may arrive after that of the closing.
    review_items::pass(conn, subject, &item, "stripe", &result).await?;
    if was_open {
        let text = format!(
            "Stripe's review of the payment ended: {}.",
            review_in_words(reason.unwrap_or_default())
        );
        note(conn, subject, &text).await?;
    }
    Ok(Effect::Processed)
}

/// The outcome of a review as a phrase.
///
/// Source: <https://docs.stripe.com/api/radar/reviews/object#review_object-closed_reason>
fn review_in_words(word: &str) -> &'static str {
    match word {
        "approved" => "the payment is approved",
        "refunded" => "the payment is refunded",
        "refunded_as_fraud" => "the payment is refunded as fraud",
        "disputed" => "the payment is disputed",
        "canceled" => "the payment is canceled",
        "payment_never_settled" => "the payment never came",
        _ => "Stripe gives no particular reason",
    }
}

/// Raises an item and notes it on the timelines, once.
async fn raise(conn: &mut PgConnection, subject: Subject, item: NewItem) -> Result<()> {
    if review_items::raise(conn, subject, &item).await?.is_some() {
        note(conn, subject, &item.text).await?;
    }
    Ok(())
}

/// Identifies a payment without a subject in this database.
fn unknown(subject: Subject, payment: &str) -> String {
    match subject == Subject::default() {
        true => format!(" that this shop does not know ({payment})"),
        false => String::new(),
    }
}
