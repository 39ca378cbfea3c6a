//! Refunds: planned in the transaction that decides on them, sent by a job until Stripe accepts them (P2), and reported
//! to order and customer once Stripe has accepted them.

mod figures;
mod reports;
mod send;
mod store;

pub use figures::{RefundSum, refunded_lately};
pub use reports::{apply, charge_refunded, keep, read_refunds, refund_changed, refunded};
pub use send::send_refund;
pub use store::list_unsent;

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::states::{PaymentOutcome, RefundState};
use super::store as payments;
use crate::audit::{self, Actor};
use crate::custom_orders;
use crate::error::{Code, Error, Result};
use crate::jobs::{self, Job};
use crate::orders::{self, NewRestock, Restocked};
use crate::review_items::{self, NewItem};
use crate::types::ids::{CustomOrderId, OrderId, ProductId, RefundId, RestockId};
use crate::types::money::Cents;
use store::{AskedRefund, NewRow, Refund};

/// Plans a refund and queues the job that requests it from Stripe.
pub async fn plan(
    conn: &mut PgConnection,
    payment: &str,
    amount: Cents,
    reason: &str,
) -> Result<RefundId> {
    let id = RefundId::new();
    let new = NewRow {
        id,
        payment,
        amount,
        reason,
        actor: "stripe",
        restocked: 0,
        asked: None,
        retry_of: None,
    };
    insert(conn, &new).await?;
    Ok(id)
}

async fn insert(conn: &mut PgConnection, new: &NewRow<'_>) -> Result<()> {
    store::insert(conn, new).await?;
    jobs::enqueue(conn, &Job::SendRefund { refund: new.id }).await
}

/// The order or custom order that was paid.
#[derive(Clone, Copy, Debug)]
pub enum RefundSubject {
    Order(OrderId),
    CustomOrder(CustomOrderId),
}

/// A refund by the owner.
#[derive(Debug)]
pub struct NewRefund {
    /// Chosen by the caller, so that a repeated request is one refund.
    pub id: RefundId,
    /// The payment to refund; by default the one that settled the order, or the only one with money left.
    pub payment: Option<String>,
    /// Everything left, unless given.
    pub amount: Option<Cents>,
    /// Reason for the timeline and for Stripe: up to 200 characters.
    pub reason: String,
    /// Pieces to return to stock.
    pub restock: Vec<(ProductId, i32)>,
    /// The pieces are returned because everything left is refunded, so another amount is rejected.
    pub is_whole: bool,
}

impl NewRefund {
    /// Facts for the audit log.
    fn audit_snapshot(&self) -> Value {
        let restock: Vec<Value> = self
            .restock
            .iter()
            .map(|(id, quantity)| json!({"product": id, "quantity": quantity}))
            .collect();
        json!({"refund": self.amount, "reason": self.reason, "restock": restock})
    }

    /// The amount and the pieces, as they are kept.
    fn asked(&self) -> AskedRefund {
        let pieces = self.restock.iter().map(|(product, quantity)| Restocked {
            product_id: product.clone(),
            quantity: *quantity,
        });
        let mut restock: Vec<Restocked> = pieces.collect();
        restock.sort();
        AskedRefund {
            amount: self.amount,
            restock,
        }
    }

    /// Compares amount and pieces with those that a known refund was asked for with. To name the amount of one that was asked for
    /// without is the same.
    fn is_as(&self, known: &Refund) -> bool {
        let asked = self.asked();
        let Some(before) = &known.asked else {
            let pieces: i32 = asked.restock.iter().map(|piece| piece.quantity).sum();
            return asked.amount.is_none_or(|amount| amount == known.wanted)
                && pieces == known.restocked;
        };
        let is_same_amount = asked.amount == before.amount
            || before.amount.is_none() && asked.amount == Some(known.wanted);
        is_same_amount && asked.restock == before.restock
    }

    /// Its pieces, where there is no money to refund with them.
    fn restock_alone(&self) -> NewRestock {
        NewRestock {
            id: RestockId(self.id.0),
            pieces: self.restock.clone(),
            reason: self.reason.clone(),
        }
    }
}

/// Plans a refund of a part of a payment, or of everything left, and returns pieces of its order to stock. Works for
/// every payment with money left, whether it settled its order or was refused. With no money left, pieces without an
/// amount are returned alone. Safe to repeat.
///
/// # Errors
/// 404; field errors of `payment_id`, `amount`, `reason` and `restock`; 409 `not_refundable` when nothing was paid,
/// `nothing_left` when everything is refunded or planned to be, `refund_differs` when this refund's id was used with
/// other content.
pub async fn refund(
    conn: &mut PgConnection,
    actor: &Actor,
    subject: RefundSubject,
    new: &NewRefund,
) -> Result<()> {
    let paid = PaidSubject::find(conn, subject).await?;
    // First of all, because a repeat must succeed even when its first call left nothing to refund.
    if is_planned(conn, &paid, new).await? || restock_alone(conn, actor, &paid, new).await? {
        return Ok(());
    }
    let payment_id = paid.choose(conn, new.payment.as_deref()).await?;
    let payment = payments::lock_payment(conn, &payment_id).await?;
    // The second of two concurrent calls waits above for the first.
    if is_planned(conn, &paid, new).await? {
        return Ok(());
    }
    // After the payment (lock order).
    paid.lock(conn).await?;
    let left = left(conn, &payment_id, &payment).await?;
    if left <= Cents::ZERO {
        return Err(paid.nothing_left());
    }
    let amount = new.amount.unwrap_or(left);
    if !(Cents(1)..=left).contains(&amount) {
        let most = left.in_currency(&payment.currency);
        return Err(Error::invalid(
            "amount",
            format!("must be more than zero, and at most {most}, which is what is left"),
        ));
    }
    if new.is_whole && amount != left {
        let all = left.in_currency(&payment.currency);
        let why = format!(
            "must be {all}, all that is left, for these pieces to go back into stock; for less, load the page again"
        );
        return Err(Error::invalid("amount", why));
    }
    if !amount.fits(&payment.currency) {
        return Err(Error::invalid(
            "amount",
            format!(
                "must be an amount that can be paid in {}",
                payment.currency.to_uppercase()
            ),
        ));
    }
    let reason = new.reason.trim();
    orders::check_reason(reason)?;
    // In the same transaction as the money: a crash cannot return the one without the other.
    match payment.order_id {
        Some(order) if payment.outcome == Some(PaymentOutcome::Settled) => {
            orders::restock_pieces(conn, actor, order, &new.restock).await?;
        }
        _ if !new.restock.is_empty() => {
            let why = "must be empty: no pieces were sold for this payment";
            return Err(Error::invalid("restock", why));
        }
        _ => {}
    }
    let back: i32 = new.restock.iter().map(|(_, quantity)| quantity).sum();
    let row = NewRow {
        id: new.id,
        payment: &payment_id,
        amount,
        reason,
        actor: &actor.name,
        restocked: back,
        asked: Some(new.asked()),
        retry_of: None,
    };
    insert(conn, &row).await?;
    record(conn, actor, subject, new).await
}

/// Writes the audit entry of a planned refund.
async fn record(
    conn: &mut PgConnection,
    actor: &Actor,
    subject: RefundSubject,
    new: &NewRefund,
) -> Result<()> {
    let facts = new.audit_snapshot();
    match subject {
        RefundSubject::Order(id) => {
            let order = orders::find(conn, id).await?;
            let order = order.ok_or(Error::NotFound("Order"))?;
            orders::record(conn, actor, "order.refund", (&order, &order), facts).await
        }
        RefundSubject::CustomOrder(id) => {
            let custom_order = custom_orders::find(conn, id).await?;
            let custom_order = custom_order.ok_or(Error::NotFound("CustomOrder"))?;
            let object = format!("custom_order:{}", custom_order.display_number());
            let action = "custom_order.refund";
            audit::record(conn, actor, action, &object, Value::Null, facts).await
        }
    }
}

/// Puts the pieces of an order back into stock whose money is all refunded, or about to be. Returns false
/// where this is not what is asked for.
///
/// # Errors
/// As [`orders::restock`]; 409 `refund_differs` where this id was used for pieces alone before.
async fn restock_alone(
    conn: &mut PgConnection,
    actor: &Actor,
    paid: &PaidSubject,
    new: &NewRefund,
) -> Result<bool> {
    let RefundSubject::Order(order) = paid.subject else {
        return Ok(false);
    };
    let restock = new.restock_alone();
    let is_known = orders::has_restock(conn, restock.id).await?;
    let asks_for_pieces = new.amount.is_none() && !new.restock.is_empty();
    if is_known && !asks_for_pieces {
        return Err(differs());
    }
    let is_about_pieces = asks_for_pieces
        && !paid.payments.is_empty()
        && refundable(conn, paid.subject).await? <= Cents::ZERO;
    if !is_known && !is_about_pieces {
        return Ok(false);
    }
    match orders::restock(conn, actor, order, &restock).await {
        Ok(_) => Ok(true),
        Err(Error::Conflict(Code::RestockDiffers, _)) => Err(differs()),
        Err(error) => Err(error),
    }
}

fn differs() -> Error {
    Error::Conflict(
        Code::RefundDiffers,
        "This refund was asked for before, with something else in it. Load the page again."
            .to_owned(),
    )
}

/// Returns true when this refund was already planned.
///
/// # Errors
/// 409 `refund_differs` when its id was used for another refund.
async fn is_planned(conn: &mut PgConnection, paid: &PaidSubject, new: &NewRefund) -> Result<bool> {
    let Some(known) = store::find(conn, new.id).await? else {
        return Ok(false);
    };
    let payment = &known.payment_id;
    let is_same = paid.payments.contains(payment)
        && new.payment.as_ref().is_none_or(|named| named == payment)
        && new.reason.trim() == known.reason
        && new.is_as(&known);
    match is_same {
        true => Ok(true),
        false => Err(differs()),
    }
}

/// Requests a refund from Stripe again at once, with an audit entry. A failed refund is replaced by a new one over what is
/// left of it. Safe to repeat. Returns the id of the requested refund.
///
/// # Errors
/// 404; 409 `refund_is_made` when Stripe has accepted it, `nothing_left` when its payment has nothing left.
pub async fn retry(conn: &mut PgConnection, actor: &Actor, id: RefundId) -> Result<RefundId> {
    let asked = retried(conn, id, &actor.name).await?;
    let object = format!("refund:{id}");
    let after = json!({"refund": asked});
    audit::record(conn, actor, "refund.retry", &object, Value::Null, after).await?;
    Ok(asked)
}

/// The refund to request again: this one, or that which replaces it.
async fn retried(conn: &mut PgConnection, id: RefundId, actor: &str) -> Result<RefundId> {
    let found = store::find(conn, id).await?;
    let payment_id = found.ok_or(Error::NotFound("Refund"))?.payment_id;
    let payment = payments::lock_payment(conn, &payment_id).await?;
    // Read again under the payment's lock: Stripe may have reported on it in the meantime.
    let found = store::find(conn, id).await?;
    let refund = found.ok_or(Error::NotFound("Refund"))?;
    match refund.state {
        RefundState::Planned => {
            store::hurry(conn, id).await?;
            jobs::enqueue(conn, &Job::SendRefund { refund: id }).await?;
            return Ok(id);
        }
        RefundState::Failed => {}
        RefundState::Pending | RefundState::Succeeded => {
            return Err(Error::Conflict(
                Code::RefundIsMade,
                "Stripe has taken this refund: there is nothing to try again.".to_owned(),
            ));
        }
    }
    // A failed refund is final; another row replaces it, once.
    if let Some(made) = store::find_retry(conn, id).await? {
        return Ok(made);
    }
    let amount = left(conn, &payment_id, &payment).await?.min(refund.wanted);
    if amount <= Cents::ZERO {
        return Err(Error::Conflict(
            Code::NothingLeft,
            "All of this payment is refunded already, or about to be.".to_owned(),
        ));
    }
    let again = NewRow {
        id: RefundId::new(),
        payment: &payment_id,
        amount,
        reason: &refund.reason,
        actor,
        // The failed refund has returned its pieces already.
        restocked: 0,
        asked: None,
        retry_of: Some(id),
    };
    insert(conn, &again).await?;
    Ok(again.id)
}

/// Finds the order or custom order of a refund.
///
/// # Errors
/// 404 when there is no such refund.
pub async fn find_subject(conn: &mut PgConnection, id: RefundId) -> Result<RefundSubject> {
    let refund = store::find(conn, id).await?;
    let refund = refund.ok_or(Error::NotFound("Refund"))?;
    match (refund.order_id, refund.custom_order_id) {
        (Some(order), _) => Ok(RefundSubject::Order(order)),
        (None, Some(custom_order)) => Ok(RefundSubject::CustomOrder(custom_order)),
        (None, None) => Err(Error::NotFound("Refund")),
    }
}

/// The order or custom order to refund, with its payments, the settling one first.
struct PaidSubject {
    subject: RefundSubject,
    /// Displayed number, such as `SB-1042`.
    name: String,
    is_by_hand: bool,
    payments: Vec<String>,
}

impl PaidSubject {
    async fn find(conn: &mut PgConnection, subject: RefundSubject) -> Result<PaidSubject> {
        let (name, is_by_hand) = match subject {
            RefundSubject::Order(id) => {
                let order = orders::find(conn, id).await?;
                let order = order.ok_or(Error::NotFound("Order"))?;
                (order.display_number(), order.is_manual())
            }
            RefundSubject::CustomOrder(id) => {
                let custom_order = custom_orders::find(conn, id).await?;
                let custom_order = custom_order.ok_or(Error::NotFound("CustomOrder"))?;
                (custom_order.display_number(), false)
            }
        };
        Ok(PaidSubject {
            subject,
            name,
            is_by_hand,
            payments: list_payments(conn, subject).await?,
        })
    }

    /// Chooses the payment to refund.
    async fn choose(&self, conn: &mut PgConnection, named: Option<&str>) -> Result<String> {
        if let Some(named) = named {
            let known = self.payments.iter().find(|payment| *payment == named);
            let why = || format!("is not a payment of {}", self.name);
            return known
                .cloned()
                .ok_or_else(|| Error::invalid("payment_id", why()));
        }
        if self.payments.is_empty() {
            let why = match self.is_by_hand {
                true => "was sold by hand: undo the sale instead",
                false => "was not paid: there is nothing to refund",
            };
            return Err(Error::Conflict(
                Code::NotRefundable,
                format!("{} {why}.", self.name),
            ));
        }
        let mut with_money = Vec::new();
        for id in &self.payments {
            let Some(payment) = payments::find_payment(conn, id).await? else {
                continue;
            };
            if left(conn, id, &payment).await? > Cents::ZERO {
                let settled = payment.outcome == Some(PaymentOutcome::Settled);
                with_money.push((id, settled));
            }
        }
        match with_money[..] {
            [] => Err(self.nothing_left()),
            [(id, _)] | [(id, true), ..] => Ok(id.clone()),
            _ => Err(Error::invalid(
                "payment_id",
                "must name one of the payments: several have money left",
            )),
        }
    }

    /// Locks the subject: the custom order first, then its order.
    async fn lock(&self, conn: &mut PgConnection) -> Result<()> {
        match self.subject {
            RefundSubject::Order(order) => {
                custom_orders::lock_of(conn, order).await?;
                orders::lock(conn, order).await?;
            }
            RefundSubject::CustomOrder(custom_order) => {
                if let Some(custom_order) = custom_orders::lock(conn, custom_order).await?
                    && let Some(order) = custom_order.order_id
                {
                    orders::lock(conn, order).await?;
                }
            }
        }
        Ok(())
    }

    fn nothing_left(&self) -> Error {
        Error::Conflict(
            Code::NothingLeft,
            format!(
                "All of the payment of {} is refunded already, or about to be.",
                self.name
            ),
        )
    }
}

/// The payments of an order, or of a custom order and its order, the settling one first.
///
/// # Errors
/// Database errors only.
pub async fn list_payments(conn: &mut PgConnection, subject: RefundSubject) -> Result<Vec<String>> {
    match subject {
        RefundSubject::Order(order) => store::list_payments(conn, Some(order), None).await,
        RefundSubject::CustomOrder(custom_order) => {
            store::list_payments(conn, None, Some(custom_order)).await
        }
    }
}

/// Amount that can still be refunded of the payments of an order or custom order.
///
/// # Errors
/// Database errors only.
pub async fn refundable(conn: &mut PgConnection, subject: RefundSubject) -> Result<Cents> {
    let mut all = Cents::ZERO;
    for id in list_payments(conn, subject).await? {
        if let Some(payment) = payments::find_payment(conn, &id).await? {
            let left = left(conn, &id, &payment).await?;
            all = all.plus(left).unwrap_or(all);
        }
    }
    Ok(all)
}

/// Amount paid, less known and planned refunds. (Refunds at Stripe's dashboard that are not reported yet are checked
/// before Stripe is asked.)
pub async fn left(conn: &mut PgConnection, id: &str, payment: &payments::Payment) -> Result<Cents> {
    let refunded = refunded(conn, id, payment).await?;
    let planned = store::sum_planned(conn, id).await?;
    Ok(Cents((payment.amount.0 - refunded.0 - planned.0).max(0)))
}

/// The reason for a failed refund, with the number of pieces returned to stock for it: the customer now has neither
/// money nor pieces.
fn with_restock(why: String, pieces: i32) -> String {
    let pieces = match pieces {
        0 => return why,
        1 => "1 piece".to_owned(),
        many => format!("{many} pieces"),
    };
    format!("{why} ({pieces} of it went back into stock, and will not be shipped)")
}

/// The addition to a review item where a failed refund was one of all the money.
const TO_SHIP_AFTER_ALL: &str = " The order waits to be shipped after all: make sure that its pieces are still here, or \
     put them back into stock.";

/// Returns true if pieces of an order wait to be shipped after all, because a refund of all of its money failed. A custom
/// order has no stock that its piece could be in.
async fn is_to_ship_after_all(conn: &mut PgConnection, order: Option<OrderId>) -> Result<bool> {
    let Some(order) = order else {
        return Ok(false);
    };
    let Some(order) = orders::find(conn, order).await? else {
        return Ok(false);
    };
    Ok(order.refund_failed_at.is_some()
        && !order.is_custom_order
        && orders::is_shippable(conn, &order).await?)
}

/// Adds a note about a refund to the timeline of the order or custom order.
async fn note(
    conn: &mut PgConnection,
    order: Option<OrderId>,
    custom_order: Option<CustomOrderId>,
    actor: &str,
    text: &str,
) -> Result<()> {
    match (order, custom_order) {
        (Some(order), _) => orders::add_timeline_entry(conn, order, "refund", actor, text).await,
        (None, Some(custom_order)) => {
            custom_orders::add_timeline_entry(conn, custom_order, "refund", actor, text).await
        }
        (None, None) => Ok(()),
    }
}

/// Flags a payment for review on its order or its intended custom order, or, when neither is known, for the shop as a
/// whole.
pub async fn flag(
    conn: &mut PgConnection,
    order: Option<OrderId>,
    custom_order: Option<CustomOrderId>,
    item: &NewItem,
) -> Result<()> {
    let custom_order = custom_order.filter(|_| order.is_none());
    let subject = review_items::Subject {
        order,
        custom_order,
    };
    review_items::flag(conn, subject, "stripe", item).await?;
    Ok(())
}
