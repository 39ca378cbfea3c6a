//! Hashes of our rows with all that an import writes of them. A row whose hash is another than after its import was
//! changed by the new shop.

use serde::Serialize;

/// The kinds of rows that an import keeps record of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    Category,
    User,
    Product,
    Order,
    CustomOrder,
}

impl RowKind {
    /// Name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            RowKind::Category => "category",
            RowKind::User => "user",
            RowKind::Product => "product",
            RowKind::Order => "order",
            RowKind::CustomOrder => "custom_order",
        }
    }

    /// Name in reports: `custom order`.
    pub fn in_words(self) -> &'static str {
        match self {
            RowKind::CustomOrder => "custom order",
            other => other.as_str(),
        }
    }
}

/// For each kind, a query of the ids and hashes of all rows.
pub const ALL: [(RowKind, &str); 5] = [
    (
        RowKind::Category,
        "select id::text as id, md5(jsonb_build_array(name, slug, description)::text) as hash
         from categories",
    ),
    (
        RowKind::User,
        "select id::text as id, md5(jsonb_build_array(role, disabled_at is not null)::text) as hash
         from users",
    ),
    (
        RowKind::Product,
        "select p.id,
                md5(jsonb_build_array(p.name, p.slug, p.lighter_type, p.price, p.currency, p.category_id, p.description,
                        p.weight_ounces, p.is_sold_out, p.is_active, p.is_draft, p.deleted_at is not null,
                        (select jsonb_agg(i.image_id order by i.position)
                         from product_images i
                         where i.product_id = p.id))::text) as hash
         from products p",
    ),
    (
        RowKind::Order,
        "select o.id::text as id,
                md5(jsonb_build_array(o.status, o.subtotal, o.shipping, o.tax, o.total, o.refunded, o.email,
                        o.customer_name, o.phone, o.shipping_name, o.shipping_address, o.shipping_zone, o.outside_zone,
                        s.carrier, s.tracking_number, s.tracking_url,
                        (select jsonb_agg(i.image_id order by i.position)
                         from shipment_images i
                         where i.order_id = o.id))::text) as hash
         from orders o
         left join shipments s on s.order_id = o.id",
    ),
    (
        RowKind::CustomOrder,
        "select c.id::text as id,
                md5(jsonb_build_array(c.status, c.name, c.email, c.description, c.colors, c.order_id,
                        (select jsonb_agg(jsonb_build_array(q.state, q.amount, q.shipping, q.link_url) order by q.id)
                         from custom_order_quotes q
                         where q.custom_order_id = c.id),
                        (select jsonb_agg(i.image_id order by i.position)
                         from custom_order_images i
                         where i.custom_order_id = c.id))::text) as hash
         from custom_orders c",
    ),
];

/// The query of a kind.
pub fn of(kind: RowKind) -> &'static str {
    let mut all = ALL.into_iter();
    let found = all.find(|(of, _)| *of == kind);
    found.map_or("", |(_, sql)| sql)
}
