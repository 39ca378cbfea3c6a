//! Refund forms on the pages of orders and custom orders: one for each payment with money left, and a retry button for
//! each refund that Stripe has not accepted. The pages show and submit the forms.

use axum::extract::State;
use axum::response::{Redirect, Response};
use sqlx::PgConnection;

use super::context::AdminContext;
use super::form::{Form, stale_form};
use crate::app::App;
use crate::custom_orders;
use crate::error::{Error, FieldError, Result};
use crate::http::Path;
use crate::orders;
use crate::payments::{
    self, NewRefund, PaymentOutcome, PaymentView, RefundState, RefundSubject, RefundView,
};
use crate::types::ids::{ProductId, RefundId};
use crate::types::money::Cents;

/// The form that refunds one payment.
pub struct RefundForm {
    /// Prefix of the ids of the form's fields.
    pub prefix: String,
    pub title: String,
    pub payment: String,
    /// Id of the new refund: submitting the form twice creates one refund.
    pub id: RefundId,
    pub amount: String,
    /// The form as submitted.
    pub form: Form,
    /// Set if the payment is for pieces that may be restocked.
    pub takes_pieces: bool,
}

/// Returns a form for each payment that has money left. Submitted values appear in the form of the payment they name.
pub fn forms(payments: &[PaymentView], sent: &Form) -> Vec<RefundForm> {
    let open: Vec<&PaymentView> = payments
        .iter()
        .filter(|payment| payment.refundable > Cents::ZERO)
        .collect();
    let named = sent.get("payment_id");
    let is_only = open.len() == 1;
    let form = |(at, payment): (usize, &&PaymentView)| {
        let is_sent = sent.is_sent() && (named == payment.id || named.is_empty() && at == 0);
        let form = if is_sent {
            sent.clone()
        } else {
            Form::default()
        };
        let takes_pieces = payment.outcome == Some(PaymentOutcome::Settled);
        RefundForm {
            prefix: match at {
                0 => "refund".to_owned(),
                _ => format!("refund-{}", at + 1),
            },
            title: match (is_only, takes_pieces) {
                (true, _) => "Refund".to_owned(),
                (false, true) => "Refund of the payment that counts".to_owned(),
                (false, false) => format!(
                    "Refund the refused payment of {}",
                    payment.amount.in_currency(&payment.currency)
                ),
            },
            payment: payment.id.clone(),
            id: form
                .get("refund")
                .parse()
                .map_or_else(|_| RefundId::new(), RefundId),
            amount: match is_sent {
                true => form.get("amount"),
                false => payment.refundable.plain(&payment.currency),
            },
            form,
            takes_pieces,
        }
    };
    open.iter().enumerate().map(form).collect()
}

/// Message after a refund was created.
pub const REFUND_PLANNED: &str =
    "The refund is planned. It is sent to Stripe now, and retried until Stripe accepts it.";

/// Parses a refund form.
pub fn read_refund(form: &Form, currency: &str) -> Result<NewRefund> {
    let mut field_errors = Vec::new();
    let id = form.get("refund").parse().map(RefundId);
    let id = id.map_err(|_| stale_form())?;
    let amount = Cents::parse(&form.get("amount"), currency);
    if amount.is_none() {
        let message = format!("must be an amount such as {}", Cents(4750).plain(currency));
        field_errors.push(FieldError::new("amount", message));
    }
    let restock = read_pieces(form, &mut field_errors);
    match (amount, field_errors.is_empty()) {
        (Some(amount), true) => Ok(NewRefund {
            id,
            payment: Some(form.get("payment_id")).filter(|payment| !payment.is_empty()),
            amount: Some(amount),
            reason: form.get("reason"),
            restock,
            is_whole: form.has("whole", "yes"),
        }),
        _ => Err(Error::Invalid(field_errors)),
    }
}

/// The pieces that a form puts back into stock.
pub fn read_pieces(form: &Form, field_errors: &mut Vec<FieldError>) -> Vec<(ProductId, i32)> {
    let mut pieces = Vec::new();
    for (name, quantity) in form.starting_with("restock.") {
        match (ProductId::parse(name), quantity.trim()) {
            (_, "" | "0") => {}
            (Some(id), quantity) => match quantity.parse::<i32>() {
                Ok(quantity) if (1..=999).contains(&quantity) => pieces.push((id, quantity)),
                _ => field_errors.push(FieldError::new("restock", "takes whole numbers")),
            },
            (None, _) => field_errors.push(FieldError::new("restock", "names no product")),
        }
    }
    pieces
}

/// Label and badge color of a refund's state.
pub fn state(refund: &RefundView) -> (&'static str, &'static str) {
    match refund.state {
        RefundState::Planned if refund.last_error.is_some() => ("not taken yet", "bad"),
        RefundState::Planned => ("planned", "due"),
        RefundState::Pending => ("pending", "due"),
        RefundState::Succeeded => ("succeeded", "good"),
        RefundState::Failed => ("failed", "bad"),
    }
}

/// Reports whether the refund may be retried.
pub fn can_be_tried(refund: &RefundView) -> bool {
    refund.is_retryable || refund.state == RefundState::Planned && refund.last_error.is_some()
}

/// `POST /admin/refunds/{id}/retry`
pub async fn retry(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<RefundId>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let path = page_of(&mut tx, id).await?;
    payments::retry_refund(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    Ok(context.go_on(&path, "Stripe is asked for the refund again."))
}

/// `GET /admin/refunds/{id}/retry`: redirects to the page with the form.
pub async fn open(State(app): State<App>, Path(id): Path<RefundId>) -> Result<Redirect> {
    let path = page_of(&mut *app.db.acquire().await?, id).await?;
    Ok(Redirect::to(&path))
}

/// Returns the path of the order or custom order that a refund belongs to.
async fn page_of(conn: &mut PgConnection, id: RefundId) -> Result<String> {
    match payments::find_subject(conn, id).await? {
        RefundSubject::Order(order) => {
            let order = orders::find(conn, order).await?;
            let order = order.ok_or(Error::NotFound("Order"))?;
            Ok(format!("/admin/orders/{}", order.display_number()))
        }
        RefundSubject::CustomOrder(custom_order) => {
            let custom_order = custom_orders::find(conn, custom_order).await?;
            let custom_order = custom_order.ok_or(Error::NotFound("CustomOrder"))?;
            Ok(format!(
                "/admin/custom-orders/{}",
                custom_order.display_number()
            ))
        }
    }
}
