//! The rows that belong to an order, and its review items.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::rows;
use crate::django::map::page_ends;
use crate::django::target::{Move, NewLine, NewOrder, NewShipment, Review};
use crate::error::Result;
use crate::review_items::{self, Kind, NewItem, Subject};
use crate::types::ids::{CustomOrderId, OrderId};

/// Time after which the sweeper ends the page of a cart that is held.
const HOLD: TimeDelta = TimeDelta::minutes(41);

/// A row of `order_lines`.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    order_id: Uuid,
    position: usize,
    #[serde(flatten)]
    line: &'a NewLine,
}

/// The lines of an order after the first `known` ones.
pub(super) fn lines(order: &NewOrder, known: usize) -> impl Iterator<Item = Line<'_>> {
    let lines = order.lines.iter().enumerate().skip(known);
    lines.map(|(place, line)| Line {
        order_id: order.id,
        position: place + 1,
        line,
    })
}

pub(super) async fn write_lines(conn: &mut PgConnection, lines: &[Line<'_>]) -> Result<()> {
    rows::write(
        conn,
        "insert into order_lines (order_id, position, product_id, name, image, unit_price, quantity)
         select order_id, position, product_id, name, image, unit_price, quantity
         from jsonb_to_recordset($1)
              as r (order_id uuid, position integer, product_id text, name text, image text, unit_price bigint,
                    quantity integer)",
        lines,
    )
    .await?;
    Ok(())
}

/// A row of `payments`.
#[derive(Serialize)]
pub(super) struct Payment<'a> {
    id: &'a str,
    session_id: Option<&'a str>,
    order_id: Uuid,
    amount: i64,
    currency: &'a str,
    refunded: i64,
    created_at: DateTime<Utc>,
}

impl<'a> Payment<'a> {
    pub(super) fn of(order: &'a NewOrder) -> Option<Payment<'a>> {
        let payment = order.payment.as_ref()?;
        Some(Payment {
            id: &payment.id,
            session_id: payment.session_id.as_deref(),
            order_id: order.id,
            amount: order.total,
            currency: &order.currency,
            refunded: order.refunded,
            created_at: order.created_at,
        })
    }
}

/// Writes payments. A refund or dispute may have been reported before, so that the row is there without an outcome. An amount
/// that somebody corrected in the old shop is followed.
pub(super) async fn write_payments(
    conn: &mut PgConnection,
    payments: &[Payment<'_>],
) -> Result<()> {
    // Another payment of the order, which an earlier import took for its own.
    rows::write(
        conn,
        "delete from payments p
         using jsonb_to_recordset($1) as r (id text, order_id uuid)
         where p.order_id = r.order_id
           and p.id <> r.id
           and p.copied_at is not null
           and not exists (select from refunds where refunds.payment_id = p.id)
           and not exists (select from stripe_refunds where stripe_refunds.payment_id = p.id)
           and not exists (select from disputes where disputes.payment_id = p.id)",
        payments,
    )
    .await?;
    rows::write(
        conn,
        "insert into payments (id, order_id, session_id, outcome, amount, currency, refunded, created_at, copied_at)
         select id, order_id, session_id, 'settled', amount, currency, refunded, created_at, now()
         from jsonb_to_recordset($1)
              as r (id text, order_id uuid, session_id text, amount bigint, currency text, refunded bigint,
                    created_at timestamptz)
         where not exists (select from payments p
                           where p.order_id = r.order_id and p.outcome = 'settled' and p.id <> r.id)
         on conflict (id) do update
         set order_id = excluded.order_id, session_id = excluded.session_id, outcome = 'settled',
             amount = excluded.amount, currency = excluded.currency,
             refunded = greatest(payments.refunded, excluded.refunded), created_at = excluded.created_at,
             copied_at = coalesce(payments.copied_at, excluded.copied_at), updated_at = now()
         where payments.outcome is null
            or (payments.copied_at is not null
                and payments.order_id = excluded.order_id
                and payments.refunded <= excluded.amount)",
        payments,
    )
    .await?;
    Ok(())
}

/// A row of `checkouts`.
#[derive(Serialize)]
pub(super) struct Checkout<'a> {
    order_id: Uuid,
    session_id: &'a str,
    state: &'static str,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    hold_until: DateTime<Utc>,
}

impl<'a> Checkout<'a> {
    pub(super) fn of(order: &'a NewOrder) -> Option<Checkout<'a>> {
        let checkout = order.checkout.as_ref()?;
        Some(Checkout {
            order_id: order.id,
            session_id: &checkout.session_id,
            state: checkout.state,
            created_at: order.created_at,
            expires_at: page_ends(order.created_at),
            hold_until: order.created_at + HOLD,
        })
    }
}

/// Writes checkouts, or their new states.
pub(super) async fn write_checkouts(
    conn: &mut PgConnection,
    checkouts: &[Checkout<'_>],
) -> Result<()> {
    rows::write(
        conn,
        "insert into checkouts (order_id, session_id, state, request, return_origin, created_at, expires_at, hold_until)
         select order_id, session_id, state, null, '', created_at, expires_at, hold_until
         from jsonb_to_recordset($1)
              as r (order_id uuid, session_id text, state text, created_at timestamptz, expires_at timestamptz,
                    hold_until timestamptz)
         on conflict (order_id) do update
         set state = excluded.state, updated_at = now()
         where checkouts.state not in ('complete', 'processing')",
        checkouts,
    )
    .await?;
    Ok(())
}

/// A row of `shipments` with its images.
#[derive(Serialize)]
pub(super) struct Shipped<'a> {
    order_id: Uuid,
    #[serde(flatten)]
    shipment: &'a NewShipment,
}

impl<'a> Shipped<'a> {
    pub(super) fn of(order: &'a NewOrder) -> Option<Shipped<'a>> {
        let shipment = order.shipment.as_ref()?;
        let order_id = order.id;
        Some(Shipped { order_id, shipment })
    }
}

/// Writes shipments, or replaces what they were.
pub(super) async fn write_shipments(
    conn: &mut PgConnection,
    shipments: &[Shipped<'_>],
) -> Result<()> {
    rows::write(
        conn,
        "insert into shipments (order_id, carrier, tracking_number, tracking_url, shipped_at)
         select order_id, carrier, tracking_number, tracking_url, shipped_at
         from jsonb_to_recordset($1)
              as r (order_id uuid, carrier text, tracking_number text, tracking_url text, shipped_at timestamptz)
         on conflict (order_id) do update
         set carrier = excluded.carrier, tracking_number = excluded.tracking_number,
             tracking_url = excluded.tracking_url, shipped_at = excluded.shipped_at",
        shipments,
    )
    .await?;
    rows::write(
        conn,
        "delete from shipment_images
         using jsonb_to_recordset($1) as r (order_id uuid)
         where shipment_images.order_id = r.order_id",
        shipments,
    )
    .await?;
    rows::write(
        conn,
        "insert into shipment_images (order_id, position, image_id)
         select r.order_id, image.position, image.id
         from jsonb_to_recordset($1) as r (order_id uuid, images jsonb)
         cross join jsonb_array_elements_text(r.images) with ordinality as image (id, position)",
        shipments,
    )
    .await?;
    Ok(())
}

/// A row of `order_events`.
#[derive(Serialize)]
pub(super) struct Event {
    order_id: Uuid,
    kind: &'static str,
    from_status: Option<&'static str>,
    to_status: Option<&'static str>,
    note: String,
    created_at: DateTime<Utc>,
}

impl Event {
    pub(super) fn of(order_id: Uuid, step: &Move) -> Event {
        Event {
            order_id,
            kind: if step.from.is_some() {
                "status"
            } else {
                "placed"
            },
            from_status: step.from,
            to_status: Some(step.to),
            note: step.note.clone(),
            created_at: step.at,
        }
    }

    pub(super) fn note(order_id: Uuid, note: &str, at: DateTime<Utc>) -> Event {
        Event {
            order_id,
            kind: "note",
            from_status: None,
            to_status: None,
            note: note.to_owned(),
            created_at: at,
        }
    }
}

/// Writes timeline entries in their order. A note that the import wrote before is not repeated.
pub(super) async fn write_events(conn: &mut PgConnection, events: &[Event]) -> Result<()> {
    rows::write(
        conn,
        "insert into order_events (order_id, kind, from_status, to_status, actor, note, created_at)
         select r.order_id, r.kind, r.from_status, r.to_status, 'import', r.note, r.created_at
         from rows from (
                  jsonb_to_recordset($1)
                      as (order_id uuid, kind text, from_status text, to_status text, note text, created_at timestamptz)
              ) with ordinality
              as r (order_id, kind, from_status, to_status, note, created_at, position)
         where r.kind <> 'note'
            or not exists (select from order_events e
                           where e.order_id = r.order_id and e.kind = 'note' and e.actor = 'import'
                             and e.note = r.note)
         order by r.position",
        events,
    )
    .await?;
    Ok(())
}

/// Raises the review items of an order.
pub(super) async fn flag(
    conn: &mut PgConnection,
    order: OrderId,
    reviews: &[Review],
) -> Result<()> {
    for review in reviews {
        let cause = format!("takeover:order:{order}:{}", review.what);
        let item = NewItem::new(Kind::Takeover, cause, &review.text);
        review_items::flag(conn, order, "import", &item).await?;
    }
    Ok(())
}

/// Raises a review item of a custom order, and of the order that was made for it.
pub(super) async fn flag_custom_order(
    conn: &mut PgConnection,
    custom_order: CustomOrderId,
    order: Option<OrderId>,
    review: &Review,
) -> Result<()> {
    // The shop resolves an order's item of this name as soon as its payment is reported.
    let cause = match order.filter(|_| review.what == "payment") {
        Some(order) => format!("takeover:order:{order}:payment"),
        None => format!("takeover:custom_order:{custom_order}:{}", review.what),
    };
    let subject = Subject {
        order: order.filter(|_| review.what == "payment"),
        custom_order: Some(custom_order),
    };
    let item = NewItem::new(Kind::Takeover, cause, &review.text);
    review_items::flag(conn, subject, "import", &item).await?;
    Ok(())
}
