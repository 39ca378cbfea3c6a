//! Stripe's reports of refunds: stored by Stripe's id in any order, then applied to the order, its timeline and the
//! customer's emails, each refund once.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use tracing::warn;

use super::store::{self, UnannouncedRefund};
use super::{TO_SHIP_AFTER_ALL, flag, is_to_ship_after_all, note, with_restock};
use crate::app::App;
use crate::custom_orders;
use crate::error::{Code, Error, Result};
use crate::jobs::{self, Job};
use crate::orders::{self, Status};
use crate::payments::effect::{Effect, reference};
use crate::payments::emails;
use crate::payments::states::{PaymentOutcome, RefundState};
use crate::payments::store::{self as payments, Payment};
use crate::review_items;
use crate::review_items::{Kind, NewItem};
use crate::stripe;
use crate::types::ids::OrderId;
use crate::types::money::Cents;

/// Stores Stripe's report of one refund, and updates our own refund behind it, if any. `at` is the time of the report,
/// where known. The caller has locked the payment, and calls [`apply`] next.
pub async fn keep(
    conn: &mut PgConnection,
    payment: &str,
    report: &stripe::Refund,
    at: Option<DateTime<Utc>>,
) -> Result<()> {
    let ours = store::find_ours(conn, payment, report).await?;
    store::keep_report(conn, payment, report, ours, at).await?;
    if let Some(ours) = ours {
        let state = RefundState::from(report.status);
        let error = (state == RefundState::Failed).then_some("the bank returned the money");
        store::set_state(conn, ours, state, Some(&report.id), error).await?;
    }
    Ok(())
}

/// Applies `charge.refunded`: the sum of a charge's refunds and, in older versions of Stripe's API, the refunds
/// themselves.
pub async fn charge_refunded(
    conn: &mut PgConnection,
    app: &App,
    charge: &Value,
    created: Option<DateTime<Utc>>,
) -> Result<Effect> {
    let (Some(payment_id), Some(refunded)) = (
        reference(&charge["payment_intent"]),
        stripe::amount(&charge["amount_refunded"]),
    ) else {
        return Ok(Effect::Ignored);
    };
    let as_of = created.unwrap_or_else(Utc::now);
    let payment = payments::lock_payment(conn, &payment_id).await?;
    let listed = charge["refunds"]["data"].as_array();
    for report in listed.into_iter().flatten().flat_map(stripe::Refund::read) {
        keep(conn, &payment_id, &report, created).await?;
    }
    let is_newer = match payment.refunded_as_of {
        None => true,
        // Within one second the larger sum is the later one, because refunds add up.
        Some(known) => as_of > known || (as_of == known && refunded > payment.refunded),
    };
    if is_newer {
        payments::record_refunded(conn, &payment_id, refunded, as_of).await?;
    }
    apply(conn, app, &payment_id).await?;
    Ok(Effect::Processed)
}

/// Applies `refund.created`, `refund.updated`, `refund.failed`, and `charge.refund.updated` of older versions of
/// Stripe's API.
pub async fn refund_changed(
    conn: &mut PgConnection,
    app: &App,
    object: &Value,
    created: Option<DateTime<Utc>>,
) -> Result<Effect> {
    let report = stripe::Refund::read(object);
    let Some((report, payment)) = report.and_then(|report| {
        let payment = report.payment_intent.clone()?;
        Some((report, payment))
    }) else {
        return Ok(Effect::Ignored);
    };
    payments::lock_payment(conn, &payment).await?;
    keep(conn, &payment, &report, created).await?;
    apply(conn, app, &payment).await?;
    Ok(Effect::Processed)
}

/// Refunded amount of a payment, as far as known: the sum of the known refunds, or the charge's latest sum less later
/// failures. The charge may include a refund that was not reported yet.
pub async fn refunded(conn: &mut PgConnection, id: &str, payment: &Payment) -> Result<Cents> {
    let sums = store::sum_reports(conn, id, payment.refunded_as_of).await?;
    let at_stripe = payment.refunded.0 - sums.failed_since.0;
    Ok(Cents(sums.refunded.0.max(at_stripe)))
}

/// Updates an order from the known refunds of its payment, and reports each new one. Does nothing for a payment that is
/// known only by its refunds.
pub async fn apply(conn: &mut PgConnection, app: &App, payment_id: &str) -> Result<()> {
    let payment = payments::lock_payment(conn, payment_id).await?;
    let Some(outcome) = payment.outcome else {
        return Ok(());
    };
    let refunded = refunded(conn, payment_id, &payment).await?;
    let known = store::sum_reports(conn, payment_id, None).await?.refunded;
    // The charge's sum and the reported refunds disagree, so a report is missing: the job reads them all.
    if payment.refunded_as_of.is_some() && payment.refunded != known {
        let payment = payment_id.to_owned();
        jobs::enqueue(conn, &Job::ReadRefunds { payment }).await?;
    }
    let (order, custom_order) = (payment.order_id, payment.custom_order_id);
    match (outcome, order) {
        (PaymentOutcome::Settled, Some(order)) => {
            apply_to_order(conn, app, (payment_id, &payment), order, refunded).await?;
        }
        _ => {
            for refund in store::take_unannounced(conn, payment_id).await? {
                let text = line(&refund, &payment.currency);
                note(conn, order, custom_order, actor(&refund), &text).await?;
            }
        }
    }
    for failed in store::take_failed(conn, payment_id).await? {
        warn!(refund = failed.id, payment = payment_id, "a refund failed");
        let amount = failed.amount.in_currency(&payment.currency);
        let why = format!(
            "A refund of {amount} failed: the bank returned the money to you. Refund it again, or send \
             the money by hand."
        );
        let mut why = with_restock(why, failed.restocked);
        if is_to_ship_after_all(conn, order).await? {
            why.push_str(TO_SHIP_AFTER_ALL);
        }
        let item = NewItem::new(Kind::RefundFailed, format!("refund:{}", failed.id), why);
        flag(conn, order, custom_order, &item).await?;
    }
    settle_items(conn, payment_id, &payment).await
}

/// Settles the review items of refunds that need nobody any more. Review items are locked after the order, so this
/// comes last.
async fn settle_items(conn: &mut PgConnection, payment_id: &str, payment: &Payment) -> Result<()> {
    for (ours, state) in store::list_tried(conn, payment_id).await? {
        let why = match state {
            RefundState::Failed => "Stripe has refused the refund",
            _ => "Stripe has accepted the refund",
        };
        let source = format!("refund_delayed:{ours}");
        review_items::settle(conn, &source, "stripe", why).await?;
        if state == RefundState::Succeeded {
            for failed in store::list_replaced(conn, ours).await? {
                let source = format!("refund:{failed}");
                review_items::settle(conn, &source, "stripe", "the refund was made again").await?;
            }
        }
    }
    // However the money went back in the end, a failed refund of it needs nobody any more.
    for failed in store::list_made_good(conn, payment_id, payment.amount).await? {
        let source = format!("refund:{failed}");
        review_items::settle(conn, &source, "stripe", "the payment was refunded in full").await?;
    }
    Ok(())
}

async fn apply_to_order(
    conn: &mut PgConnection,
    app: &App,
    (payment_id, payment): (&str, &Payment),
    order: OrderId,
    refunded: Cents,
) -> Result<()> {
    // Before the order (lock order).
    let custom_order = custom_orders::lock_of(conn, order).await?;
    let refunds = store::take_unannounced(conn, payment_id).await?;
    for refund in &refunds {
        let text = line(refund, &payment.currency);
        orders::add_timeline_entry(conn, order, "refund", actor(refund), &text).await?;
    }
    let after = orders::record_refund(conn, order, refunded).await?;
    // The total after each refund: at least that refund, at most the order's total. Reported amounts may be arbitrary.
    let amounts = refunds.iter().map(|refund| refund.amount.0);
    let mut later = amounts.fold(0, i64::saturating_add);
    for refund in &refunds {
        later = later.saturating_sub(refund.amount.0);
        let in_all = refunded.0.saturating_sub(later).max(refund.amount.0);
        let in_all = Cents(in_all.min(after.total.0));
        if payment
            .copied_at
            .is_some_and(|copied| refund.created_at < copied)
        {
            // The shop that made it has told the customer, or was not to.
            continue;
        }
        emails::refunded(conn, app, &after, (refund.amount, in_all), &refund.id).await?;
    }
    let Some(custom_order) = custom_order else {
        return Ok(());
    };
    match after.status {
        Status::Refunded => custom_orders::set_refunded(conn, custom_order.id, "stripe").await,
        _ => custom_orders::refund_failed(conn, custom_order.id, "stripe").await,
    }
}

/// Reads a payment's refunds from Stripe, when reports were lost or did not list them. Safe to repeat.
///
/// # Errors
/// 503 while Stripe is unavailable.
pub async fn read_refunds(app: &App, payment: &str) -> Result<()> {
    let before = payments::find_payment(&mut *app.db.acquire().await?, payment).await?;
    let listed = match app.stripe.list_refunds(payment).await {
        Ok(listed) => listed,
        // The payment is another account's, or long gone.
        Err(error) if error.is_missing() => return Ok(()),
        Err(error) => return Err(Error::Unavailable(Code::PaymentUnavailable, error.into())),
    };
    let mut tx = app.db.begin().await?;
    let now = payments::lock_payment(&mut tx, payment).await?;
    for report in &listed {
        keep(&mut tx, payment, report, None).await?;
    }
    // The list is complete, so it overrides the charge's earlier sum.
    let is_last_word = before.is_some_and(|before| {
        (before.refunded, before.refunded_as_of) == (now.refunded, now.refunded_as_of)
    });
    if let (true, Some(as_of)) = (is_last_word, now.refunded_as_of) {
        let sums = store::sum_reports(&mut tx, payment, None).await?;
        payments::record_refunded(&mut tx, payment, sums.refunded, as_of).await?;
    }
    apply(&mut tx, app, payment).await?;
    tx.commit().await?;
    Ok(())
}

/// Name of the actor behind a refund.
fn actor(refund: &UnannouncedRefund) -> &str {
    refund.actor.as_deref().unwrap_or("stripe")
}

/// Timeline entry: `Refunded $20.00: a bead came loose. 1 piece back in stock.`
fn line(refund: &UnannouncedRefund, currency: &str) -> String {
    let amount = refund.amount.in_currency(currency);
    let at_stripe = match refund.reason {
        Some(_) => "",
        None => " at Stripe",
    };
    let reason = match (&refund.reason, &refund.chosen_reason) {
        (Some(reason), _) => reason.trim_end_matches('.').to_owned(),
        (None, Some(word)) => word.replace('_', " "),
        (None, None) => String::new(),
    };
    let reason = match reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let back = match refund.restocked {
        0 => String::new(),
        1 => " 1 piece back in stock.".to_owned(),
        many => format!(" {many} pieces back in stock."),
    };
    format!("Refunded {amount}{at_stripe}{reason}.{back}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refund_is_one_line_in_money_and_words() {
        let line = |reason: Option<&str>, restocked, chosen: Option<&str>| {
            let refund = UnannouncedRefund {
                id: "re_1".to_owned(),
                amount: Cents(2000),
                reason: reason.map(str::to_owned),
                actor: None,
                restocked,
                chosen_reason: chosen.map(str::to_owned),
                created_at: Utc::now(),
            };
            line(&refund, "usd")
        };
        assert_eq!(
            line(Some("a bead came loose"), 1, None),
            "Refunded $20.00: a bead came loose. 1 piece back in stock."
        );
        assert_eq!(
            line(Some(""), 3, None),
            "Refunded $20.00. 3 pieces back in stock."
        );
        assert_eq!(line(Some("Late."), 0, None), "Refunded $20.00: Late.");
        assert_eq!(line(None, 0, None), "Refunded $20.00 at Stripe.");
        assert_eq!(
            line(None, 0, Some("requested_by_customer")),
            "Refunded $20.00 at Stripe: requested by customer."
        );
    }
}
