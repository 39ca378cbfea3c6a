//! Verification: the old shop's rows as they were read, compared with ours inside the transaction, by other statements
//! than those that wrote them.

use anyhow::bail;
use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::apply::Applied;
use super::source::{CATEGORIES, ITEMS, ORDERS, PRODUCTS, REQUESTS, Row, Source};
use super::target::Target;
use crate::products;

/// Differences named in the error.
const NAMED: usize = 20;

/// A check that passed.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Check {
    pub name: &'static str,
}

/// A statement that returns each difference as the name of its row and a sentence.
struct Comparison {
    name: &'static str,
    sql: &'static str,
}

/// Compares everything.
///
/// # Errors
/// The differences, each with its row. The caller rolls back.
pub async fn verify(
    conn: &mut PgConnection,
    source: &Source,
    target: &Target,
    applied: &Applied,
) -> anyhow::Result<Vec<Check>> {
    stage(conn, source, target, applied).await?;
    let mut differences = Vec::new();
    for comparison in COMPARISONS {
        let found: Vec<(String, String)> =
            sqlx::query_as(comparison.sql).fetch_all(&mut *conn).await?;
        let found = found.into_iter();
        differences.extend(found.map(|(row, text)| format!("{row}: {text} ({})", comparison.name)));
    }
    for product in products::check_ledger(conn).await? {
        differences.push(format!(
            "product {}: {} on hand, the ledger says {}; {} reserved, pending orders hold {} (ledger and holds)",
            product.product_id, product.on_hand, product.ledger_sum, product.reserved, product.held
        ));
    }
    if !differences.is_empty() {
        let more = differences.len().saturating_sub(NAMED);
        differences.truncate(NAMED);
        let more = if more == 0 {
            String::new()
        } else {
            format!("\n  and {more} more")
        };
        bail!(
            "what was written differs from the old shop, so nothing of it is kept:\n  {}{more}",
            differences.join("\n  ")
        );
    }
    let names = COMPARISONS.iter().map(|comparison| comparison.name);
    Ok(names
        .chain(["ledger and holds"])
        .map(|name| Check { name })
        .collect())
}

/// Stores the rows as they were read, and which of ours are no copies.
async fn stage(
    conn: &mut PgConnection,
    source: &Source,
    target: &Target,
    applied: &Applied,
) -> anyhow::Result<()> {
    for sql in [
        "create temporary table old_rows (kind text not null, id text, row jsonb not null) on commit drop",
        "create temporary table our_own (kind text not null, id text not null) on commit drop",
        "create temporary table taken_images (kind text not null, id text not null, images bigint not null) on commit drop",
    ] {
        sqlx::query(sql).execute(&mut *conn).await?;
    }
    for (kind, table) in [
        ("category", CATEGORIES),
        ("product", PRODUCTS),
        ("order", ORDERS),
        ("item", ITEMS),
        ("custom_order", REQUESTS),
    ] {
        for some in source.table(table).rows.chunks(1_000) {
            let some = without_nul(some);
            sqlx::query(
                "insert into old_rows (kind, id, row)
                 select $1,
                        case when $1 in ('order', 'custom_order') then btrim(row ->> 'id')::uuid::text
                             else row ->> 'id' end,
                        row
                 from jsonb_array_elements($2) as row",
            )
            .bind(kind)
            .bind(some)
            .execute(&mut *conn)
            .await?;
        }
    }
    let kept_lines = target.orders.iter().filter(|order| order.keeps_lines);
    let kept_lines = kept_lines.map(|order| json!({"kind": "lines", "id": order.id}));
    let own: Vec<Value> = applied
        .ours
        .iter()
        .map(|(kind, id)| json!({"kind": kind.as_str(), "id": id}))
        .chain(
            applied
                .odd_stock
                .iter()
                .map(|id| json!({"kind": "stock", "id": id})),
        )
        .chain(kept_lines)
        .collect();
    sqlx::query("insert into our_own (kind, id) select kind, id from jsonb_to_recordset($1) as r (kind text, id text)")
        .bind(Json(own))
        .execute(&mut *conn)
        .await?;
    stage_images(conn, target).await?;
    sqlx::query("analyze old_rows").execute(&mut *conn).await?;
    Ok(())
}

/// Stores how many images each row has to have.
async fn stage_images(conn: &mut PgConnection, target: &Target) -> anyhow::Result<()> {
    let products = target.products.iter();
    let products =
        products.map(|row| json!({"kind": "product", "id": row.id, "images": row.images.len()}));
    let orders = target.orders.iter().filter_map(|row| {
        let shipment = row.shipment.as_ref()?;
        Some(json!({"kind": "order", "id": row.id, "images": shipment.images.len()}))
    });
    let custom_orders = target.custom_orders.iter();
    let custom_orders = custom_orders
        .map(|row| json!({"kind": "custom_order", "id": row.id, "images": row.images.len()}));
    let all: Vec<Value> = products.chain(orders).chain(custom_orders).collect();
    sqlx::query(
        "insert into taken_images (kind, id, images)
         select kind, id, images
         from jsonb_to_recordset($1) as r (kind text, id text, images bigint)",
    )
    .bind(Json(all))
    .execute(conn)
    .await?;
    Ok(())
}

/// The rows as JSON without NUL characters, which PostgreSQL does not take.
fn without_nul(rows: &[Row]) -> Value {
    fn clean(value: &mut Value) {
        match value {
            Value::String(text) if text.contains('\0') => *text = text.replace('\0', ""),
            Value::Array(list) => list.iter_mut().for_each(clean),
            Value::Object(fields) => fields.values_mut().for_each(clean),
            _ => {}
        }
    }
    let mut rows: Vec<Value> = rows.iter().cloned().map(Value::Object).collect();
    rows.iter_mut().for_each(clean);
    Value::Array(rows)
}

const COMPARISONS: [Comparison; 11] = [
    Comparison {
        name: "every row",
        sql: "select replace(old.kind, '_', ' ') || ' ' || old.id, 'it is not here'
              from old_rows old
              left join categories c on old.kind = 'category' and c.id::text = old.id
              left join products p on old.kind = 'product' and p.id = old.id
              left join orders o on old.kind = 'order' and o.id::text = old.id
              left join custom_orders r on old.kind = 'custom_order' and r.id::text = old.id
              where old.kind <> 'item'
                and c.id is null and p.id is null and o.id is null and r.id is null",
    },
    Comparison {
        name: "products",
        sql: "select 'product ' || p.id, 'name, price, text or times differ'
              from old_rows old
              join products p on p.id = old.id
              where old.kind = 'product'
                and not exists (select from our_own own where own.kind = 'product' and own.id = old.id)
                and (p.price <> least(greatest((old.row ->> 'price')::numeric, 1), 99999999)
                     or (btrim(old.row ->> 'name') <> '' and p.name <> old.row ->> 'name')
                     or p.description <> coalesce(old.row ->> 'description', '')
                     or p.created_at <> (old.row ->> 'created_at')::timestamptz
                     or (p.is_active
                         and lower(coalesce(old.row ->> 'is_active', '')) in ('false', 'f', '0', '0.0', 'no')))",
    },
    Comparison {
        name: "stock",
        sql: "select 'product ' || p.id,
                     (old.row ->> 'inventory_count') || ' pieces in the old shop, ' || moved.pieces || ' from it in the ledger'
              from old_rows old
              join products p on p.id = old.id
              cross join lateral (
                  select coalesce(sum(m.delta), 0) as pieces
                  from stock_movements m
                  where m.product_id = p.id and m.reason = 'import' and m.actor = 'import'
              ) as moved
              where old.kind = 'product'
                and not exists (select from our_own own
                                where own.id = old.id
                                  and (own.kind = 'stock'
                                       or (own.kind = 'product'
                                           and not exists (select from import_rows i
                                                           where i.kind = 'product' and i.id = old.id))))
                and moved.pieces <> greatest((old.row ->> 'inventory_count')::numeric, 0)
                and not exists (select from review_items r
                                where r.cause like 'takeover:product:' || p.id || ':%')",
    },
    Comparison {
        name: "orders",
        sql: "select 'order ' || old.id, 'amount, time, email or kind differ'
              from old_rows old
              join orders o on o.id::text = old.id
              where old.kind = 'order'
                and not exists (select from our_own own where own.kind = 'order' and own.id = old.id)
                and (o.total <> greatest((old.row ->> 'amount_total')::numeric, 0)
                     or o.created_at <> (old.row ->> 'created_at')::timestamptz
                     or coalesce(o.email, '') <> coalesce(old.row ->> 'customer_email', '')
                     or o.is_custom_order
                        <> (lower(coalesce(old.row ->> 'is_custom_order', '')) in ('true', 't', '1', '1.0', 'yes')))",
    },
    Comparison {
        name: "statuses of orders",
        sql: "select 'order ' || old.id, 'it is ' || (old.row ->> 'status') || ' in the old shop and ' || o.status || ' here'
              from old_rows old
              join orders o on o.id::text = old.id
              where old.kind = 'order'
                and not exists (select from our_own own where own.kind = 'order' and own.id = old.id)
                and not (case lower(btrim(old.row ->> 'status'))
                             when 'pending' then array['pending', 'expired']
                             when 'paid' then array['paid']
                             when 'shipped' then array['shipped', 'delivered']
                             when 'failed' then array['failed']
                             when 'delivered' then array['delivered']
                             when 'completed' then array['delivered']
                             when 'refunded' then array['refunded']
                             when 'cancelled' then array['cancelled']
                             when 'canceled' then array['cancelled']
                             when 'expired' then array['expired']
                             else array['shipped', 'delivered', 'paid', 'failed']
                         end @> array[o.status])",
    },
    Comparison {
        name: "money by month, status and currency",
        sql: "with both_sides as (
                  select to_char((old.row ->> 'created_at')::timestamptz at time zone 'UTC', 'YYYY-MM') as month,
                         o.status, o.currency, o.total as ours,
                         to_char(o.created_at at time zone 'UTC', 'YYYY-MM') as our_month,
                         greatest((old.row ->> 'amount_total')::numeric, 0) as theirs
                  from old_rows old
                  join orders o on o.id::text = old.id
                  where old.kind = 'order'
                    and not exists (select from our_own own where own.kind = 'order' and own.id = old.id)
              ),
              ours as (select our_month as month, status, currency, count(*), sum(ours) from both_sides group by 1, 2, 3),
              theirs as (select month, status, currency, count(*), sum(theirs) from both_sides group by 1, 2, 3)
              select coalesce(ours.month, theirs.month) || ' ' || coalesce(ours.status, theirs.status) || ' '
                         || coalesce(ours.currency, theirs.currency),
                     coalesce(theirs.sum, 0) || ' in ' || coalesce(theirs.count, 0) || ' orders of the old shop, '
                         || coalesce(ours.sum, 0) || ' in ' || coalesce(ours.count, 0) || ' here'
              from ours
              full join theirs using (month, status, currency)
              where (ours.sum, ours.count) is distinct from (theirs.sum, theirs.count)",
    },
    Comparison {
        name: "lines of orders",
        sql: "with theirs as (
                  select btrim(row ->> 'order_id')::uuid as order_id,
                         sum(greatest((row ->> 'unit_price')::numeric, 0) * (row ->> 'quantity')::numeric) as sum
                  from old_rows
                  where kind = 'item'
                    and (row ->> 'quantity')::numeric > 0
                    and row ->> 'order_id' <> ''
                  group by 1
              ),
              ours as (
                  select l.order_id, sum(l.unit_price * l.quantity) as sum
                  from order_lines l
                  where l.product_id is not null
                     or l.name not in ('Not in the old shop''s lines', 'Custom piece')
                  group by 1
              )
              select 'order ' || o.id, 'its lines come to ' || theirs.sum || ' in the old shop, and to '
                         || coalesce(ours.sum, 0) || ' here'
              from theirs
              join orders o on o.id = theirs.order_id
              left join ours on ours.order_id = o.id
              where not exists (select from our_own own
                                where own.kind in ('order', 'lines') and own.id = o.id::text)
                -- There, a line vanishes with its product.
                and theirs.sum > coalesce(ours.sum, 0)
              union all
              select 'order ' || o.id, 'its lines and its shipping do not come to what was taken'
              from orders o
              join old_rows old on old.kind = 'order' and old.id = o.id::text
              where o.subtotal + o.shipping <> greatest((old.row ->> 'amount_total')::numeric, 0)
                and not exists (select from our_own own where own.kind = 'order' and own.id = old.id)",
    },
    Comparison {
        name: "payments",
        sql: "with theirs as (
                  select old.row ->> 'stripe_payment_intent' as id, max(o.total) as most, min(o.total) as least
                  from old_rows old
                  join orders o on o.id::text = old.id
                  where old.kind = 'order'
                    and coalesce(old.row ->> 'stripe_payment_intent', '') <> ''
                    and o.status in ('paid', 'shipped', 'delivered', 'refunded')
                    and not exists (select from our_own own where own.kind = 'order' and own.id = old.id)
                  group by 1
              )
              select 'payment ' || theirs.id, 'it is not here, or of another amount'
              from theirs
              left join payments p on p.id = theirs.id and p.outcome = 'settled'
              where p.id is null
                 or p.amount not between theirs.least and theirs.most
              union all
              select 'order ' || old.id, 'it is paid, and neither its payment nor its session would be recognized'
              from old_rows old
              join orders o on o.id::text = old.id
              where old.kind = 'order'
                and o.paid_at is not null
                and old.row ->> 'stripe_session_id' like 'cs\\_%'
                and not exists (select from payments p where p.order_id = o.id)
                and not o.payment_unrecorded
                and o.status <> 'refunded'
                and not exists (select from review_items r where r.order_id = o.id)
                and not exists (select from our_own own where own.kind = 'order' and own.id = old.id)",
    },
    Comparison {
        name: "shipments",
        sql: "select 'order ' || old.id, 'it was shipped, and its shipment is not here or another'
              from old_rows old
              join orders o on o.id::text = old.id
              left join shipments s on s.order_id = o.id
              where old.kind = 'order'
                and o.status in ('shipped', 'delivered')
                and not exists (select from our_own own where own.kind = 'order' and own.id = old.id)
                and (s.order_id is null
                     or coalesce(s.tracking_number, '') <> coalesce(old.row ->> 'tracking_number', ''))",
    },
    Comparison {
        name: "custom orders",
        sql: "select 'custom order ' || old.id, 'name, email, text, time or price differ'
              from old_rows old
              join custom_orders c on c.id::text = old.id
              left join custom_order_quotes q on q.custom_order_id = c.id and q.actor = 'import'
              where old.kind = 'custom_order'
                and not exists (select from our_own own where own.kind = 'custom_order' and own.id = old.id)
                and (c.name <> old.row ->> 'name'
                     or c.email <> old.row ->> 'email'
                     or c.description <> old.row ->> 'description'
                     or c.created_at <> (old.row ->> 'created_at')::timestamptz
                     or (q.state in ('draft', 'live')
                         and q.amount <> round(nullif(old.row ->> 'quoted_price', '')::numeric * 100)))",
    },
    Comparison {
        name: "images",
        sql: "with ours as (
                  select 'product' as kind, product_id as id, count(*) as images from product_images group by 2
                  union all
                  select 'order', order_id::text, count(*) from shipment_images group by 2
                  union all
                  select 'custom_order', custom_order_id::text, count(*) from custom_order_images group by 2
              )
              select replace(taken.kind, '_', ' ') || ' ' || taken.id,
                     taken.images || ' images came in, and it has ' || coalesce(ours.images, 0)
              from taken_images taken
              left join ours on ours.kind = taken.kind and ours.id = taken.id
              where taken.images <> coalesce(ours.images, 0)
                and not exists (select from our_own own where own.kind = taken.kind and own.id = taken.id)",
    },
];
