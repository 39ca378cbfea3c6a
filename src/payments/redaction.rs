//! Redacts personal data in old Stripe events: names, addresses, cards.

use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use super::states::RefundState;
use crate::app::App;
use crate::error::Result;
use crate::stripe;
use crate::types::ids::{CustomOrderId, OrderId};

/// Events per transaction.
const BATCH: i64 = 200;

/// Batches per sweep; the next sweep continues a minute later.
const MAX_BATCHES: usize = 20;

/// The type of a stored webhook that cannot be read.
pub(super) const UNREADABLE_TYPE: &str = "unreadable";

/// Fields of an event that stay, to identify it.
const OF_EVENT: [&str; 6] = ["id", "object", "type", "created", "livemode", "api_version"];

/// Fields of the event's object that stay: identity, status and amounts.
const OF_OBJECT: [&str; 14] = [
    "id",
    "object",
    "status",
    "payment_status",
    "payment_intent",
    "charge",
    "client_reference_id",
    "amount",
    "amount_total",
    "amount_refunded",
    "currency",
    "created",
    "livemode",
    "reason",
];

/// Redacts personal data in old events that are processed, belong to Stripe's other mode or cannot be read. Safe to repeat,
/// and to run concurrently. Returns the number of redacted events.
///
/// # Errors
/// Database errors only.
pub async fn redact_events(app: &App) -> Result<u64> {
    let days = app.config.stripe.event_retention_days;
    let mut redacted = 0;
    for _ in 0..MAX_BATCHES {
        let mut tx = app.db.begin().await?;
        let count = redact_batch(&mut tx, days).await?;
        tx.commit().await?;
        redacted += count;
        if count < BATCH.unsigned_abs() {
            break;
        }
    }
    Ok(redacted)
}

async fn redact_batch(conn: &mut PgConnection, days: i32) -> Result<u64> {
    // Unprocessed events may still need their data. Each part uses its own index.
    let old: Vec<(String, String)> = sqlx::query_as(
        "select id, payload
         from stripe_events
         where redacted_at is null
           and id in (
               (select id
                from stripe_events
                where redacted_at is null
                  and status in ('processed', 'ignored')
                  and received_at < now() - make_interval(days => $1)
                order by received_at
                limit $2)
               union all
               select id
               from stripe_events
               where status = 'wrong_mode'
                 and redacted_at is null
                 and received_at < now() - make_interval(days => $1)
               union all
               select id
               from stripe_events
               where status in ('received', 'failed')
                 and type = $3
                 and redacted_at is null
                 and received_at < now() - make_interval(days => $1))
         limit $2
         for update skip locked",
    )
    .bind(days)
    .bind(BATCH)
    .bind(UNREADABLE_TYPE)
    .fetch_all(&mut *conn)
    .await?;
    redact(conn, old).await
}

/// Deletes the customer's data of the payments of these orders and custom orders: redacts their events, and empties the
/// reasons of their refunds. Events that wait to be processed keep their data until then. Returns false, and changes
/// nothing, while a refund is under way. Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn erase_customer(
    conn: &mut PgConnection,
    orders: &[OrderId],
    custom_orders: &[CustomOrderId],
) -> Result<bool> {
    let states: Vec<RefundState> = sqlx::query_scalar(
        "select r.state
         from refunds r
         join payments p on p.id = r.payment_id
         where p.order_id = any($1)
            or p.custom_order_id = any($2)",
    )
    .bind(orders)
    .bind(custom_orders)
    .fetch_all(&mut *conn)
    .await?;
    let is_under_way =
        |state: &RefundState| matches!(state, RefundState::Planned | RefundState::Pending);
    if states.iter().any(is_under_way) {
        return Ok(false);
    }
    sqlx::query(
        "update refunds
         set reason = ''
         from payments p
         where p.id = refunds.payment_id
           and (p.order_id = any($1) or p.custom_order_id = any($2))",
    )
    .bind(orders)
    .bind(custom_orders)
    .execute(&mut *conn)
    .await?;
    let about: Vec<(String, String)> = sqlx::query_as(
        "with named as (
             select session_id as id
             from checkouts
             where order_id = any($1)
               and session_id is not null
             union
             select unnest(array[id, session_id])
             from payments
             where order_id = any($1)
                or custom_order_id = any($2)
             union
             select link_id
             from custom_order_quotes
             where custom_order_id = any($2)
         )
         select e.id, e.payload
         from stripe_events e
         where e.redacted_at is null
           and e.status in ('processed', 'ignored')
           and exists (select from named n where strpos(e.payload, n.id) > 0)
         order by e.id
         for update",
    )
    .bind(orders)
    .bind(custom_orders)
    .fetch_all(&mut *conn)
    .await?;
    redact(conn, about).await?;
    Ok(true)
}

async fn redact(conn: &mut PgConnection, events: Vec<(String, String)>) -> Result<u64> {
    let (ids, payloads): (Vec<String>, Vec<String>) = events
        .into_iter()
        .map(|(id, payload)| (id, redacted(&payload)))
        .unzip();
    let done = sqlx::query(
        "update stripe_events
         set payload = redacted.payload,
             redacted_at = now(),
             -- One that cannot be read is given up with it.
             status = case when status in ('received', 'failed') then 'ignored' else status end
         from unnest($1::text[], $2::text[]) as redacted (id, payload)
         where stripe_events.id = redacted.id",
    )
    .bind(ids)
    .bind(payloads)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Redacts one event.
fn redacted(payload: &str) -> String {
    let event = stripe::read_json(payload.as_bytes()).unwrap_or_default();
    let mut kept = plain_fields(&event, &OF_EVENT);
    let object = plain_fields(&event["data"]["object"], &OF_OBJECT);
    kept.insert("data".to_owned(), json!({"object": object}));
    Value::Object(kept).to_string()
}

fn plain_fields(value: &Value, names: &[&str]) -> Map<String, Value> {
    let field = |name: &&str| {
        let value = value.get(name)?;
        // Nested values may contain anything.
        let is_plain = !value.is_object() && !value.is_array();
        is_plain.then(|| ((*name).to_owned(), value.clone()))
    };
    names.iter().filter_map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_people_nothing_stays_and_of_the_money_enough() {
        let event = json!({
            "id": "evt_1", "object": "event", "type": "checkout.session.completed", "created": 1,
            "data": {"object": {
                "id": "cs_1", "object": "checkout.session", "amount_total": 5200, "currency": "usd",
                "customer_details": {"name": "Ann", "email": "ann@example.com"},
                "customer_email": "ann@example.com",
                "payment_intent": {"id": "pi_1", "receipt_email": "ann@example.com"},
            }},
            "request": {"id": "ann"},
        });
        let kept: Value = serde_json::from_str(&redacted(&event.to_string())).expect("JSON");
        assert_eq!(
            kept,
            json!({
                "id": "evt_1", "object": "event", "type": "checkout.session.completed", "created": 1,
                "data": {"object": {
                    "id": "cs_1", "object": "checkout.session", "amount_total": 5200, "currency": "usd",
                }},
            })
        );
        assert_eq!(redacted("ann@example.com"), r#"{"data":{"object":{}}}"#);
    }
}
