//! Changes of custom orders from the request to the shipment; those of their quotes are in [`super::quotes`].

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::customer_emails::{email_data, to_customer};
use super::locks::{LockedCustomOrder, lock_of, locked, refused};
use super::new_quote::check_prose;
use super::{CustomOrder, NewCustomOrder, Status, store};
use crate::app::App;
use crate::audit::Actor;
use crate::emails::{self, About, CustomOrderEmailData, Email, SHOP};
use crate::error::{Code, Error, FieldError, Result};
use crate::orders::{self, CustomerCorrection, NewShipment, Order, Shipment};
use crate::types::ids::{CustomOrderId, OrderId};

/// Records a visitor's request, and queues an email to the shop and one to the customer.
///
/// # Errors
/// Database errors only.
pub async fn submit(
    conn: &mut PgConnection,
    app: &App,
    new: &NewCustomOrder,
) -> Result<CustomOrder> {
    let custom_order = store::insert(conn, new).await?;
    let about = About {
        custom_order: Some(custom_order.id),
        ..About::default()
    };
    let cause = custom_order.id.to_string();
    let email = Email::NewCustomOrder {
        custom_order: CustomOrderEmailData {
            status_url: None,
            ..email_data(conn, app, &custom_order).await?
        },
        email: custom_order.email.clone(),
    };
    emails::queue(conn, &email, &cause, SHOP, about).await?;
    let email = Email::CustomOrderReceived {
        custom_order: email_data(conn, app, &custom_order).await?,
    };
    emails::queue(conn, &email, &cause, &custom_order.email, about).await?;
    Ok(custom_order)
}

/// Adds the owner's note to the timeline.
///
/// # Errors
/// A field error of `text`; 404 when there is no such custom order.
pub async fn write_note(
    conn: &mut PgConnection,
    actor: &Actor,
    id: CustomOrderId,
    text: &str,
) -> Result<CustomOrder> {
    let text = check_prose("text", text, 1)?;
    let locked = LockedCustomOrder::lock(conn, id).await?;
    store::add_timeline_entry(conn, id, "note", &actor.name, &text).await?;
    let more = json!({"note": text});
    locked.record(conn, actor, "custom_order.note", more).await
}

/// Writes to the customer: queues the email, and keeps the message on the timeline. Each call is another message.
///
/// # Errors
/// A field error of `text`; 404 when there is no such custom order.
pub async fn write_message(
    conn: &mut PgConnection,
    app: &App,
    actor: &Actor,
    id: CustomOrderId,
    text: &str,
) -> Result<CustomOrder> {
    let text = check_prose("text", text, 1)?;
    let locked = LockedCustomOrder::lock(conn, id).await?;
    store::add_timeline_entry(conn, id, "message", &actor.name, &text).await?;
    let email = Email::CustomOrderMessage {
        custom_order: email_data(conn, app, &locked.custom_order).await?,
        text: text.clone(),
    };
    let cause = Uuid::now_v7().to_string();
    to_customer(conn, &locked.custom_order, &email, &cause).await?;
    let more = json!({"message": text});
    locked
        .record(conn, actor, "custom_order.message", more)
        .await
}

/// Starts production of a paid piece. Safe to repeat.
///
/// # Errors
/// 404; 409 `not_paid`, or `refunded_in_full` while a refund of all of its money is under way.
pub async fn start_production(
    conn: &mut PgConnection,
    actor: &Actor,
    id: CustomOrderId,
) -> Result<CustomOrder> {
    let locked = LockedCustomOrder::lock(conn, id).await?;
    let custom_order = &locked.custom_order;
    match custom_order.status {
        Status::InProduction => return Ok(locked.custom_order),
        Status::Paid => set_in_production(conn, custom_order, &actor.name).await?,
        _ => {
            let why = "cannot go into production";
            return Err(refused(Code::NotPaid, custom_order, why));
        }
    };
    let action = "custom_order.start";
    locked.record(conn, actor, action, Value::Null).await
}

/// Starts production of a locked custom order that is paid.
async fn set_in_production(
    conn: &mut PgConnection,
    custom_order: &CustomOrder,
    actor: &str,
) -> Result<CustomOrder> {
    if let Some(order) = custom_order.order_id
        && orders::is_refunded_in_full(conn, order).await?
    {
        let why = "a refund of all of its money is under way";
        return Err(refused(Code::RefundedInFull, custom_order, why));
    }
    store::set_status(conn, custom_order, Status::InProduction, actor, "").await
}

/// Ships a piece: updates order, shipment and custom order together, and emails the customer its images. A custom order
/// that was never marked as in production passes through that status.
///
/// # Errors
/// Field errors; 404; 409 `not_shippable`.
pub async fn ship(
    conn: &mut PgConnection,
    app: &App,
    actor: &Actor,
    id: CustomOrderId,
    shipment: &NewShipment,
) -> Result<CustomOrder> {
    let locked = LockedCustomOrder::lock(conn, id).await?;
    let Some(piece) = with_order(conn, &locked.custom_order).await? else {
        let why = "cannot be shipped";
        return Err(refused(Code::NotShippable, &locked.custom_order, why));
    };
    ship_piece(conn, app, &piece, shipment, &actor.name).await?;
    let more = shipment.audit_facts();
    locked.record(conn, actor, "custom_order.ship", more).await
}

/// A paid custom order and its order, both locked.
pub struct OrderedPiece {
    pub custom_order: CustomOrder,
    pub order: Order,
}

/// Locks the custom order behind `order`, if any, and then the order.
///
/// # Errors
/// Database errors only.
pub async fn lock_piece(conn: &mut PgConnection, order: OrderId) -> Result<Option<OrderedPiece>> {
    match lock_of(conn, order).await? {
        Some(custom_order) => with_order(conn, &custom_order).await,
        None => Ok(None),
    }
}

/// Locks the order of a locked custom order, if it has one.
async fn with_order(
    conn: &mut PgConnection,
    custom_order: &CustomOrder,
) -> Result<Option<OrderedPiece>> {
    let Some(order) = custom_order.order_id else {
        return Ok(None);
    };
    let order = orders::lock(conn, order).await?;
    Ok(order.map(|order| OrderedPiece {
        custom_order: custom_order.clone(),
        order,
    }))
}

/// Ships a piece, as [`ship`] does. The caller writes the audit entry.
///
/// # Errors
/// Field errors; 409 `not_shippable`.
pub async fn ship_piece(
    conn: &mut PgConnection,
    app: &App,
    piece: &OrderedPiece,
    shipment: &NewShipment,
    actor: &str,
) -> Result<OrderedPiece> {
    // A status may not be skipped (P6), so a piece that was never marked passes through production.
    let mut custom_order = piece.custom_order.clone();
    if custom_order.status == Status::Paid {
        custom_order = set_in_production(conn, &custom_order, actor).await?;
    }
    if custom_order.status != Status::InProduction {
        return Err(refused(
            Code::NotShippable,
            &custom_order,
            "cannot be shipped",
        ));
    }
    let (order, shipment) = orders::ship(conn, &piece.order, shipment, actor).await?;
    let custom_order = store::set_status(conn, &custom_order, Status::Shipped, actor, "").await?;
    let email = Email::CustomOrderShipped {
        custom_order: email_data(conn, app, &custom_order).await?,
        order: orders::email_data(conn, app, &order).await?,
        shipment: shipment.email_data(),
    };
    let cause = orders::shipment_cause(conn, order.id).await?;
    to_customer(conn, &custom_order, &email, &cause).await?;
    Ok(OrderedPiece {
        custom_order,
        order,
    })
}

/// Marks a piece that was shipped by mistake as being made, and removes its shipment. The caller writes the audit entry. Safe
/// to repeat as [`orders::unship`] is.
///
/// # Errors
/// 409 `not_unshippable`, `refunded_in_full` or `shipment_differs`, as [`orders::unship`].
pub async fn unship_piece(
    conn: &mut PgConnection,
    piece: &OrderedPiece,
    shipped_at: Option<DateTime<Utc>>,
    actor: &str,
) -> Result<(OrderedPiece, Shipment)> {
    let (order, shipment) = orders::unship(conn, &piece.order, shipped_at, actor).await?;
    let custom_order = &piece.custom_order;
    let (status, note) = (Status::InProduction, "it was not shipped");
    let custom_order = store::set_status(conn, custom_order, status, actor, note).await?;
    let piece = OrderedPiece {
        custom_order,
        order,
    };
    Ok((piece, shipment))
}

/// Completes the custom order and its order after delivery. Safe to repeat.
///
/// # Errors
/// 404; 409 `not_shipped`.
pub async fn complete(
    conn: &mut PgConnection,
    actor: &Actor,
    id: CustomOrderId,
) -> Result<CustomOrder> {
    let locked = LockedCustomOrder::lock(conn, id).await?;
    if locked.custom_order.status == Status::Completed {
        return Ok(locked.custom_order);
    }
    let Some(piece) = with_order(conn, &locked.custom_order).await? else {
        let why = "cannot be completed";
        return Err(refused(Code::NotShipped, &locked.custom_order, why));
    };
    complete_piece(conn, &piece, &actor.name).await?;
    let action = "custom_order.complete";
    locked.record(conn, actor, action, Value::Null).await
}

/// Completes a piece, as [`complete`] does. The caller writes the audit entry.
///
/// # Errors
/// 409 `not_shipped`.
pub async fn complete_piece(
    conn: &mut PgConnection,
    piece: &OrderedPiece,
    actor: &str,
) -> Result<OrderedPiece> {
    let OrderedPiece {
        custom_order,
        order,
    } = piece;
    let (custom_order, order) = match custom_order.status {
        Status::Completed => (custom_order.clone(), order.clone()),
        Status::Shipped => {
            let order = orders::deliver(conn, order, actor).await?;
            let status = Status::Completed;
            let completed = store::set_status(conn, custom_order, status, actor, "");
            (completed.await?, order)
        }
        _ => {
            return Err(refused(
                Code::NotShipped,
                custom_order,
                "cannot be completed",
            ));
        }
    };
    Ok(OrderedPiece {
        custom_order,
        order,
    })
}

/// A custom order after the correction of its customer's name or email.
pub struct CorrectedName {
    pub custom_order: CustomOrder,
    /// Names of the fields that differ.
    pub changed: Vec<&'static str>,
}

/// Corrects the customer's name and email of a locked custom order. The caller writes the timeline and the audit entry.
///
/// Safe to repeat: what is right already stays as it is.
///
/// # Errors
/// Field errors: it needs both.
pub async fn correct_name(
    conn: &mut PgConnection,
    custom_order: &CustomOrder,
    correction: &CustomerCorrection,
) -> Result<CorrectedName> {
    let known = (&custom_order.name, &custom_order.email);
    let corrected = correction.applied_to_name(Some(known.0), Some(known.1))?;
    let name = corrected.name.unwrap_or_default();
    let email = corrected.email.unwrap_or_default();
    let field_errors: Vec<FieldError> = [("customer_name", &name), ("email", &email)]
        .into_iter()
        .filter(|(_, text)| text.is_empty())
        .map(|(field, _)| FieldError::new(field, "is needed"))
        .collect();
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let changed = corrected.changed;
    let custom_order = match changed.is_empty() {
        true => custom_order.clone(),
        false => store::set_customer(conn, custom_order.id, &name, &email).await?,
    };
    Ok(CorrectedName {
        custom_order,
        changed,
    })
}

/// Adds an entry to the timeline.
///
/// # Errors
/// 404 when there is no such custom order.
pub async fn add_timeline_entry(
    conn: &mut PgConnection,
    id: CustomOrderId,
    kind: &str,
    actor: &str,
    text: &str,
) -> Result<()> {
    locked(conn, id).await?;
    store::add_timeline_entry(conn, id, kind, actor, text).await
}
