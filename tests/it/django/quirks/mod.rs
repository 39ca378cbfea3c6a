//! Quirks of old databases: what came in by hand, by anybody's JSON, and by copies of other tools.

mod catalog;
mod custom_orders;
mod forms;
mod images;
mod orders;

use serde_json::Value;

use super::Takeover;

/// Adds a product that differs from an ordinary one.
pub(super) fn product(id: &str, columns: &[(&str, &str)]) -> String {
    insert(
        "products_product",
        &[
            ("id", &format!("'{id}'")),
            ("name", &format!("'The {id}'")),
            ("slug", &format!("'slug-{id}'")),
            ("lighter_type", "1"),
            ("price", "4500"),
            ("currency", "'usd'"),
            ("description", "''"),
            ("is_sold_out", "0"),
            ("is_active", "1"),
            ("inventory_count", "2"),
            ("weight_ounces", "2"),
            ("created_at", "'2026-05-06 12:00:00'"),
            ("updated_at", "'2026-05-06 12:00:00'"),
        ],
        columns,
    )
}

/// Adds an order; `id` is its last digits.
pub(super) fn order(id: u32, columns: &[(&str, &str)]) -> String {
    insert(
        "orders_order",
        &[
            ("id", &format!("'{id:032}'")),
            ("stripe_session_id", &format!("'cs_odd_{id}'")),
            ("stripe_payment_intent", &format!("'pi_odd_{id}'")),
            ("amount_total", "5000"),
            ("currency", "'usd'"),
            ("status", "'paid'"),
            ("customer_email", "'odd@example.com'"),
            (
                "shipping_address",
                r#"'{"line1": "1 St", "country": "US"}'"#,
            ),
            ("created_at", "'2026-05-07 12:00:00'"),
            ("is_custom_order", "0"),
            ("shipping_carrier", "'USPS'"),
        ],
        columns,
    )
}

pub(super) fn item(order: u32, product: &str, unit_price: i64, quantity: i64) -> String {
    format!(
        "insert into orders_orderitem (order_id, product_id, unit_price, quantity)
         values ('{order:032}', '{product}', {unit_price}, {quantity});"
    )
}

/// Adds a request; `id` is its last digits.
pub(super) fn request(id: u32, columns: &[(&str, &str)]) -> String {
    insert(
        "custom_orders_customorderrequest",
        &[
            ("id", &format!("'{id:032}'")),
            ("name", "'Odd'"),
            ("email", "'odd@example.com'"),
            ("description", "'Beads'"),
            ("images", "'[]'"),
            ("status", "'pending'"),
            ("admin_notes", "''"),
            ("created_at", "'2026-05-07 12:00:00'"),
            ("updated_at", "'2026-05-08 12:00:00'"),
            ("completion_images", "'[]'"),
        ],
        columns,
    )
}

fn insert(table: &str, usual: &[(&str, &str)], columns: &[(&str, &str)]) -> String {
    let mut all: std::collections::BTreeMap<&str, &str> = usual.iter().copied().collect();
    all.extend(columns.iter().copied());
    let names: Vec<&str> = all.keys().copied().collect();
    let values: Vec<&str> = all.values().copied().collect();
    format!(
        "insert into {table} ({}) values ({});\n",
        names.join(", "),
        values.join(", ")
    )
}

pub(super) fn id(number: u32) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

impl Takeover {
    async fn product(&self, id: &str) -> Value {
        self.one(&format!(
            "select to_jsonb(p) from products p where id = '{}'",
            id.replace('\'', "''")
        ))
        .await
    }

    /// An order with its lines, its notes, and its review items.
    async fn order(&self, number: u32) -> Value {
        let sql = format!(
            "select to_jsonb(o) || jsonb_build_object(
                 'lines', (select jsonb_agg(jsonb_build_array(l.product_id, l.name, l.quantity, l.unit_price) order by position)
                           from order_lines l where l.order_id = o.id),
                 'notes', (select string_agg(e.note, '|' order by e.id) from order_events e where e.order_id = o.id),
                 'review', (select string_agg(r.cause, '|') from review_items r where r.order_id = o.id),
                 'payment', (select p.id from payments p where p.order_id = o.id),
                 'checkout', (select c.state || ' ' || c.session_id from checkouts c where c.order_id = o.id),
                 'shipment', (select to_jsonb(s) from shipments s where s.order_id = o.id))
             from orders o where id = '{}'",
            id(number)
        );
        self.one(&sql).await
    }

    async fn custom_order(&self, number: u32) -> Value {
        let sql = format!(
            "select to_jsonb(c) || jsonb_build_object(
                 'quote', (select to_jsonb(q) from custom_order_quotes q where q.custom_order_id = c.id),
                 'notes', (select string_agg(e.note, '|' order by e.id) from custom_order_events e
                           where e.custom_order_id = c.id),
                 'way', (select jsonb_agg(e.to_status order by e.id) from custom_order_events e
                         where e.custom_order_id = c.id and e.kind <> 'note'),
                 'images', (select count(*) from custom_order_images i where i.custom_order_id = c.id),
                 'review', (select string_agg(r.cause, '|') from review_items r where r.custom_order_id = c.id))
             from custom_orders c where id = '{}'",
            id(number)
        );
        self.one(&sql).await
    }
}

fn expect(found: &Value, fields: &Value) {
    for (field, wanted) in fields.as_object().expect("an object") {
        assert_eq!(&found[field], wanted, "{field} of {found}");
    }
}
