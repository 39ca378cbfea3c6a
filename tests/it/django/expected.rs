//! What the sample has to come to, by tests/data/django/expected.json: every count, every sum, and every row that is there
//! for a reason.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Takeover, sample};

pub fn expected() -> Value {
    let text = std::fs::read_to_string(sample().join("expected.json")).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}

/// Holds the imported shop against all that is expected.
pub async fn check(takeover: &Takeover) {
    let expected = expected();
    check_totals(takeover, &expected["target"]).await;
    for spot in expected["spots"].as_array().expect("spots") {
        let name = spot["name"].as_str().expect("a name");
        let wanted = &spot["expected"];
        let id = spot["id"].as_str().expect("an id");
        match spot["kind"].as_str().expect("a kind") {
            "product" => check_product(takeover, name, id, wanted).await,
            "order" => check_order(takeover, name, id, wanted).await,
            "request" => check_custom_order(takeover, name, id, wanted).await,
            other => panic!("{other}"),
        }
    }
}

async fn check_totals(takeover: &Takeover, target: &Value) {
    let of_old = "o.id::text in (select id from import_rows where kind = 'order' and status is not null)
                  and not exists (select from order_events e where e.order_id = o.id and e.note like 'Made by the import%')";
    let sql = format!(
        "select jsonb_build_object(
            'categories', (select count(*) from categories),
            'products', (select count(*) from products),
            'products_active', (select count(*) from products where is_active),
            'on_hand_sum', (select sum(on_hand) from products),
            'orders', (select count(*) from orders o where {of_old}),
            'orders_by_status', (select jsonb_object_agg(status, count)
                                 from (select status, count(*) from orders o where {of_old} group by 1) s),
            'orders_by_month_and_status', (select jsonb_agg(jsonb_build_object('month', month, 'status', status,
                                                       'currency', currency, 'count', count, 'sum', sum)
                                                   order by month, status)
                from (select to_char(created_at at time zone 'UTC', 'YYYY-MM') as month, status, currency, count(*),
                             sum(total)
                      from orders o where {of_old} group by 1, 2, 3) s),
            'orders_made_for_requests', (select count(*) from orders o where not ({of_old})),
            'order_lines', (select count(*) from order_lines l join orders o on o.id = l.order_id where {of_old}),
            'payments', (select count(*) from payments),
            'payments_sum', (select sum(amount) from payments),
            'parcels', (select count(*) from shipments),
            'custom_orders', (select count(*) from custom_orders),
            'custom_orders_by_status', (select jsonb_object_agg(status, count)
                                        from (select status, count(*) from custom_orders group by 1) s),
            'quotes_by_state', (select jsonb_object_agg(state, count)
                                from (select state, count(*) from custom_order_quotes group by 1) s),
            'pictures', (select count(*) from images))"
    );
    let found: Value = takeover.one(&sql).await;
    for (name, found) in found.as_object().expect("an object") {
        assert_eq!(found, &target[name], "{name}");
    }
    let users: Value = takeover
        .one(
            "select jsonb_agg(jsonb_build_object('email', email, 'role', role, 'disabled', disabled_at is not null)
                              order by created_at, email)
             from users",
        )
        .await;
    let by_email = |users: &Value| -> BTreeSet<String> {
        let users = users.as_array().expect("users");
        users
            .iter()
            .map(|user| format!("{} {} {}", user["email"], user["role"], user["disabled"]))
            .collect()
    };
    assert_eq!(by_email(&users), by_email(&target["users"]));
}

/// The images of a row by the hashes of their files.
async fn check_images(takeover: &Takeover, name: &str, sql: &str, wanted: &Value) {
    let found: Value = takeover.one(sql).await;
    let has: BTreeSet<&str> = texts(&found).collect();
    let must: BTreeSet<&str> = texts(wanted).collect();
    assert_eq!(has, must, "{name}");
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|text| text.as_str().expect("a text"))
}

fn is_free(wanted: &Value, field: &str) -> bool {
    texts(&wanted["free"]).any(|free| free == field)
}

/// Compares fields by name, those that the importer chooses aside.
fn compare(name: &str, found: &Value, wanted: &Value, fields: &[&str]) {
    for field in fields.iter().filter(|field| !is_free(wanted, field)) {
        let (found, wanted) = (&found[*field], &wanted[*field]);
        let is_same = match (time(found), time(wanted)) {
            (Some(found), Some(wanted)) => found == wanted,
            _ => found == wanted,
        };
        assert!(is_same, "{name}: {field} is {found}, not {wanted}");
    }
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str()?.parse().ok()
}

async fn check_product(takeover: &Takeover, name: &str, id: &str, wanted: &Value) {
    let sql = format!(
        "select to_jsonb(p) || jsonb_build_object('weight_ounces', p.weight_ounces::text) from products p where id = '{id}'"
    );
    let found: Value = takeover.one(&sql).await;
    compare(
        name,
        &found,
        wanted,
        &[
            "id",
            "name",
            "slug",
            "lighter_type",
            "price",
            "currency",
            "category_id",
            "description",
            "is_sold_out",
            "is_active",
            "on_hand",
            "weight_ounces",
            "stripe_product_id",
            "stripe_price_id",
            "created_at",
            "updated_at",
        ],
    );
    let images = format!(
        "select coalesce(jsonb_agg(f.file_sha256 order by i.position), '[]')
         from product_images i join import_images f using (image_id) where i.product_id = '{id}'"
    );
    check_images(takeover, name, &images, &wanted["pictures"]).await;
}

async fn check_order(takeover: &Takeover, name: &str, id: &str, wanted: &Value) {
    let sql = format!(
        "select to_jsonb(o) || jsonb_build_object(
             'address', o.shipping_address, 'zone', o.shipping_zone, 'settled', o.paid_at is not null,
             'payment', (select p.id from payments p where p.order_id = o.id and p.outcome = 'settled'),
             'session', coalesce((select c.session_id from checkouts c where c.order_id = o.id),
                                 (select p.session_id from payments p where p.order_id = o.id)),
             'lines', (select jsonb_agg(jsonb_build_array(l.product_id, l.quantity, l.unit_price) order by l.position)
                       from order_lines l where l.order_id = o.id),
             'parcel', (select to_jsonb(s) from shipments s where s.order_id = o.id),
             'review', exists (select from review_items r where r.order_id = o.id))
         from orders o where id = '{id}'"
    );
    let mut found: Value = takeover.one(&sql).await;
    if found["channel"] == "custom_order" {
        found["channel"] = json!("commission");
    }
    compare(
        name,
        &found,
        wanted,
        &[
            "channel",
            "is_custom_order",
            "currency",
            "total",
            "shipping",
            "subtotal",
            "refunded",
            "email",
            "shipping_name",
            "address",
            "zone",
            "outside_zone",
            "created_at",
            "settled",
            "lines",
            "payment",
            "session",
        ],
    );
    let status = found["status"].as_str().expect("a status");
    assert!(
        texts(&wanted["status"]).any(|allowed| allowed == status),
        "{name}: {status}"
    );
    if wanted["attention"] == true {
        assert_eq!(found["review"], true, "{name}");
    }
    let (parcel, shipment) = (&wanted["parcel"], &found["parcel"]);
    assert_eq!(parcel.is_null(), shipment.is_null(), "{name}");
    if !parcel.is_null() {
        compare(name, shipment, parcel, &["carrier", "tracking_number"]);
        if !parcel["shipped_at"].is_null() {
            compare(name, shipment, parcel, &["shipped_at"]);
        }
        let images = format!(
            "select coalesce(jsonb_agg(f.file_sha256), '[]')
             from shipment_images i join import_images f using (image_id) where i.order_id = '{id}'"
        );
        check_images(takeover, name, &images, &parcel["pictures"]).await;
    }
}

async fn check_custom_order(takeover: &Takeover, name: &str, id: &str, wanted: &Value) {
    let sql = format!(
        "select to_jsonb(c) || jsonb_build_object(
             'order', c.order_id,
             'made', (select o.status from orders o where o.id = c.order_id),
             'quote', (select to_jsonb(q) from custom_order_quotes q where q.custom_order_id = c.id),
             'notes', (select string_agg(e.note, '|') from custom_order_events e where e.custom_order_id = c.id),
             'review', exists (select from review_items r where r.custom_order_id = c.id))
         from custom_orders c where id = '{id}'"
    );
    let found: Value = takeover.one(&sql).await;
    let fields = [
        "status",
        "name",
        "email",
        "description",
        "colors",
        "created_at",
    ];
    compare(name, &found, wanted, &fields);
    match &wanted["made_order"] {
        Value::Null => compare(name, &found, wanted, &["order"]),
        status => assert_eq!(&found["made"], status, "{name}"),
    }
    let quote = &wanted["quote"];
    assert_eq!(quote.is_null(), found["quote"].is_null(), "{name}");
    if !quote.is_null() {
        let fields: &[&str] = match quote.get("link_url") {
            Some(_) => &["state", "amount", "link_url"],
            None => &["state", "amount"],
        };
        compare(name, &found["quote"], quote, fields);
    }
    if let Some(note) = wanted["note"].as_str() {
        assert!(
            found["notes"].as_str().expect("notes").contains(note),
            "{name}: {note}"
        );
    }
    if wanted["attention"] == true {
        assert_eq!(found["review"], true, "{name}");
    }
    let images = format!(
        "select coalesce(jsonb_agg(f.file_sha256 order by i.position), '[]')
         from custom_order_images i join import_images f using (image_id) where i.custom_order_id = '{id}'"
    );
    check_images(takeover, name, &images, &wanted["pictures"]).await;
}
