//! Custom orders with their quotes, images and timelines.

use std::collections::{HashMap, HashSet};

use anyhow::bail;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::decide::sort;
use super::parts::flag_custom_order;
use super::{Applied, Plan, rows};
use crate::custom_orders::Status;
use crate::django::findings::Findings;
use crate::django::hashes::RowKind;
use crate::django::target::{Move, NewCustomOrder, NewQuote};
use crate::error::Result;
use crate::types::ids::{CustomOrderId, OrderId};

/// Days for which a quote of the old shop stays payable.
const VALID_DAYS: i64 = 60;

/// The customer's page shows it, so the old shop's private notes are no part of it.
const DESCRIPTION: &str = "The custom piece that we agreed on.";

pub(super) async fn write(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    applied: &mut Applied,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let ours = &plan.known.custom_orders;
    let rows = plan.target.custom_orders.iter();
    let rows = rows.map(|custom_order| (custom_order.id.to_string(), custom_order));
    let mut sorted = sort(plan, RowKind::CustomOrder, rows, |custom_order| {
        ours.contains_key(&custom_order.id)
    });
    let changed = std::mem::take(&mut sorted.changed).into_iter();
    let (forward, mut back): (Vec<_>, Vec<_>) =
        changed.partition(|one| is_forward(ours.get(&one.id), one.status));
    // The old shop may link an order to another request. If ours keeps it, the other stays, too.
    let owners = owners(conn).await?;
    let moving: HashSet<Uuid> = forward.iter().map(|one| one.id).collect();
    let is_free = |one: &NewCustomOrder| {
        let owner = one.order_id.and_then(|order| owners.get(&order));
        owner.is_none_or(|owner| *owner == one.id || moving.contains(owner))
    };
    let (free, taken): (Vec<_>, Vec<_>) = forward.into_iter().partition(|one| is_free(one));
    back.extend(taken);
    sorted.changed = free;
    if let Some(one) = sorted.new.iter().find(|one| !is_free(one)) {
        bail!(
            "custom order {}: its order belongs to another custom order here, which changed: nothing was imported",
            one.id
        );
    }
    sorted
        .kept
        .extend(back.into_iter().map(|one| (one.id.to_string(), one)));
    let text = "it changed in both shops, or went back in the old one: ours stays";
    sorted.name_kept(applied, findings, text);
    for (id, _) in &sorted.kept {
        applied.keep_ours(RowKind::CustomOrder, id);
    }
    let text = "the new shop has a custom order of this id that no import made: ours stays";
    sorted.name_foreign(applied, &mut findings.conflicts, text);
    free_orders(conn, &sorted.changed).await?;
    insert(conn, plan, &sorted.new).await?;
    update(conn, plan, &sorted.changed).await?;
    for custom_order in sorted.new.into_iter().chain(sorted.changed) {
        let order = custom_order.order_id.map(OrderId);
        for review in &custom_order.reviews {
            flag_custom_order(conn, CustomOrderId(custom_order.id), order, review).await?;
        }
    }
    Ok(())
}

/// The custom orders by their orders.
async fn owners(conn: &mut PgConnection) -> Result<HashMap<Uuid, Uuid>> {
    let owners: Vec<(Uuid, Uuid)> =
        sqlx::query_as("select order_id, id from custom_orders where order_id is not null")
            .fetch_all(conn)
            .await?;
    Ok(owners.into_iter().collect())
}

/// Takes the orders from custom orders that are about to be written: another of them may have it now.
async fn free_orders(conn: &mut PgConnection, changed: &[&NewCustomOrder]) -> Result<()> {
    rows::write(
        conn,
        "update custom_orders
         set order_id = null, status = 'pending'
         from jsonb_to_recordset($1) as r (id uuid)
         where custom_orders.id = r.id
           and order_id is not null",
        changed,
    )
    .await?;
    Ok(())
}

/// A paid custom order has an order and does not become unpaid again. Before that, the old shop's forms set any status.
fn is_forward(ours: Option<&String>, next: Status) -> bool {
    let place = |status: &str| match status {
        "paid" => 1,
        "in_production" => 2,
        "shipped" => 3,
        "completed" => 4,
        "refunded" => 5,
        _ => 0,
    };
    ours.is_none_or(|ours| place(ours) <= place(next.as_str()))
}

/// A custom order with its number.
#[derive(Serialize)]
struct Numbered<'a> {
    number: i64,
    #[serde(flatten)]
    custom_order: &'a NewCustomOrder,
}

async fn insert(conn: &mut PgConnection, plan: &Plan<'_>, new: &[&NewCustomOrder]) -> Result<()> {
    // Not from the sequence, which a dry run would use up.
    let last: i64 = sqlx::query_scalar("select greatest(max(number), 1000) from custom_orders")
        .fetch_one(&mut *conn)
        .await?;
    let numbered: Vec<Numbered<'_>> = (last + 1..)
        .zip(new)
        .map(|(number, custom_order)| Numbered {
            number,
            custom_order,
        })
        .collect();
    rows::write(
        conn,
        "insert into custom_orders (id, number, status, name, email, description, colors, order_id, created_at,
                                    updated_at)
         select id, number, status, name, email, description, colors, order_id, created_at, updated_at
         from jsonb_to_recordset($1)
              as r (id uuid, number bigint, status text, name text, email text, description text, colors text,
                    order_id uuid, created_at timestamptz, updated_at timestamptz)",
        &numbered,
    )
    .await?;
    write_images(conn, new).await?;
    write_quotes(conn, plan, new).await?;
    let events = new.iter().flat_map(|custom_order| {
        let moves = custom_order.moves.iter();
        let moves = moves.map(|step| Event::of(custom_order.id, step));
        moves.chain(notes(custom_order, plan.read_at))
    });
    write_events(conn, &events.collect::<Vec<_>>()).await
}

async fn update(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    changed: &[&NewCustomOrder],
) -> Result<()> {
    rows::write(
        conn,
        "update custom_orders c
         set status = r.status, name = r.name, email = r.email, description = r.description, colors = r.colors,
             order_id = r.order_id, created_at = r.created_at, updated_at = r.updated_at
         from jsonb_to_recordset($1)
              as r (id uuid, status text, name text, email text, description text, colors text, order_id uuid,
                    created_at timestamptz, updated_at timestamptz)
         where c.id = r.id",
        changed,
    )
    .await?;
    write_images(conn, changed).await?;
    rows::write(
        conn,
        "delete from custom_order_quotes q
         using jsonb_to_recordset($1) as r (id uuid)
         where q.custom_order_id = r.id
           and q.actor = 'import'",
        changed,
    )
    .await?;
    write_quotes(conn, plan, changed).await?;
    let events = changed.iter().flat_map(|custom_order| {
        let ours = plan.known.custom_orders.get(&custom_order.id);
        moves_on(custom_order, ours).chain(notes(custom_order, plan.read_at))
    });
    write_events(conn, &events.collect::<Vec<_>>()).await
}

/// The last move, from the status that it had here.
fn moves_on<'a>(
    custom_order: &'a NewCustomOrder,
    ours: Option<&'a String>,
) -> impl Iterator<Item = Event> {
    let status = custom_order.status.as_str();
    let from = ours.filter(|ours| *ours != status).cloned();
    from.map(|from| {
        let last = custom_order.moves.last();
        Event {
            custom_order_id: custom_order.id,
            kind: "status",
            from_status: Some(from),
            to_status: Some(status),
            note: last.map(|last| last.note.clone()).unwrap_or_default(),
            created_at: last.map_or(custom_order.updated_at, |last| last.at),
        }
    })
    .into_iter()
}

async fn write_images(conn: &mut PgConnection, custom_orders: &[&NewCustomOrder]) -> Result<()> {
    rows::write(
        conn,
        "delete from custom_order_images
         using jsonb_to_recordset($1) as r (id uuid)
         where custom_order_images.custom_order_id = r.id",
        custom_orders,
    )
    .await?;
    rows::write(
        conn,
        "insert into custom_order_images (custom_order_id, position, image_id)
         select r.id, image.position, image.id
         from jsonb_to_recordset($1) as r (id uuid, images jsonb)
         cross join jsonb_array_elements_text(r.images) with ordinality as image (id, position)",
        custom_orders,
    )
    .await?;
    Ok(())
}

/// A row of `custom_order_quotes`.
#[derive(Serialize)]
struct Quote<'a> {
    custom_order_id: Uuid,
    #[serde(flatten)]
    quote: &'a NewQuote,
    is_copied: bool,
    description: &'static str,
    valid_days: i64,
    valid_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

async fn write_quotes(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    custom_orders: &[&NewCustomOrder],
) -> Result<()> {
    let quotes: Vec<Quote<'_>> = custom_orders
        .iter()
        .filter_map(|custom_order| {
            let quote = custom_order.quote.as_ref()?;
            let is_live = quote.state == "live";
            Some(Quote {
                custom_order_id: custom_order.id,
                quote,
                is_copied: quote.state != "draft",
                description: DESCRIPTION,
                valid_days: VALID_DAYS,
                valid_until: is_live.then(|| plan.read_at + TimeDelta::days(VALID_DAYS)),
                created_at: custom_order.updated_at,
            })
        })
        .collect();
    rows::write(
        conn,
        "insert into custom_order_quotes (id, custom_order_id, state, currency, amount, shipping, shipping_zone,
                                          description, valid_days, valid_until, link_url, is_copied, actor, created_at)
         select id, custom_order_id, state, currency, amount, 0, 'us', description, valid_days, valid_until, link_url,
                is_copied, 'import', created_at
         from jsonb_to_recordset($1)
              as r (id uuid, custom_order_id uuid, state text, currency text, amount bigint, description text,
                    valid_days integer, valid_until timestamptz, link_url text, is_copied boolean,
                    created_at timestamptz)",
        &quotes,
    )
    .await?;
    Ok(())
}

/// A row of `custom_order_events`.
#[derive(Serialize)]
struct Event {
    custom_order_id: Uuid,
    kind: &'static str,
    from_status: Option<String>,
    to_status: Option<&'static str>,
    note: String,
    created_at: DateTime<Utc>,
}

impl Event {
    fn of(custom_order_id: Uuid, step: &Move) -> Event {
        Event {
            custom_order_id,
            kind: if step.from.is_some() {
                "status"
            } else {
                "submitted"
            },
            from_status: step.from.map(str::to_owned),
            to_status: Some(step.to),
            note: step.note.clone(),
            created_at: step.at,
        }
    }
}

fn notes(custom_order: &NewCustomOrder, at: DateTime<Utc>) -> impl Iterator<Item = Event> {
    custom_order.notes.iter().map(move |note| Event {
        custom_order_id: custom_order.id,
        kind: "note",
        from_status: None,
        to_status: None,
        note: note.clone(),
        created_at: at,
    })
}

/// Writes timeline entries in their order. A note that the import wrote before is not repeated.
async fn write_events(conn: &mut PgConnection, events: &[Event]) -> Result<()> {
    rows::write(
        conn,
        "insert into custom_order_events (custom_order_id, kind, from_status, to_status, actor, note, created_at)
         select r.custom_order_id, r.kind, r.from_status, r.to_status, 'import', r.note, r.created_at
         from rows from (
                  jsonb_to_recordset($1)
                      as (custom_order_id uuid, kind text, from_status text, to_status text, note text,
                          created_at timestamptz)
              ) with ordinality
              as r (custom_order_id, kind, from_status, to_status, note, created_at, position)
         where r.kind <> 'note'
            or not exists (select from custom_order_events e
                           where e.custom_order_id = r.custom_order_id and e.kind = 'note' and e.actor = 'import'
                             and e.note = r.note)
         order by r.position",
        events,
    )
    .await?;
    Ok(())
}
