//! Sales figures by day, by product and by category, and the share of checkouts that were paid. Revenue counts on the day of
//! payment, less the money that went back later: in refunds, undone sales and lost disputes. An order whose money all went
//! back is no sale.

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::db::first_instant;
use crate::error::Result;
use crate::types::ids::ProductId;
use crate::types::money::Cents;

/// The sales of a day in one currency.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Sales {
    pub day: NaiveDate,
    pub currency: String,
    pub orders: i64,
    pub takings: Cents,
}

/// Sales of the last `days` days, today included, in the given time zone. Days without sales are left out.
pub async fn sales_by_day(conn: &mut PgConnection, zone: Tz, days: i32) -> Result<Vec<Sales>> {
    let sales = sqlx::query_as(concat!(
        "select day, currency, count(*) as orders, sum(kept)::bigint as takings
         from (select (o.paid_at at time zone $1)::date as day, o.currency, o.total,
                      greatest(o.total - o.refunded - coalesce(lost.amount, 0), 0) as kept
               from orders o
               left join lateral (select sum(d.amount) as amount
                                  from payments p
                                  join disputes d on d.payment_id = p.id
                                  where p.order_id = o.id
                                    and p.outcome = 'settled'
                                    and d.state = 'lost'
                                    and d.currency = o.currency) lost on o.dispute is not null
               where o.paid_at >= ",
        first_instant!(),
        "
                 and o.status <> 'refunded') sold
         where kept > 0 or total = 0
         group by day, currency
         order by day, currency"
    ))
    .bind(zone.name())
    .bind(days)
    .fetch_all(conn)
    .await?;
    Ok(sales)
}

/// A best-selling product.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct BestSeller {
    pub product_id: ProductId,
    pub name: String,
    pub image: Option<String>,
    pub pieces: i64,
}

/// Products with the most pieces sold in the last `days` days, today included, in the given time zone. Fully refunded
/// orders, undone sales and pieces returned to stock do not count.
pub async fn best_sellers(
    conn: &mut PgConnection,
    zone: Tz,
    days: i32,
    limit: i64,
) -> Result<Vec<BestSeller>> {
    let sellers = sqlx::query_as(concat!(
        "select l.product_id, max(l.name) as name, max(l.image) as image, sum(l.quantity - l.restocked - l.returned) as pieces
         from orders o
         join order_lines l on l.order_id = o.id
         where o.paid_at >= ",
        first_instant!(),
        "
           and o.status <> 'refunded'
           and l.product_id is not null
           and l.quantity > l.restocked + l.returned
         group by l.product_id
         order by pieces desc, max(o.paid_at) desc
         limit $3"
    ))
    .bind(zone.name())
    .bind(days)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(sellers)
}

/// A category by the pieces sold of it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct BestCategory {
    /// Present name of the category. Null for products without one.
    pub name: Option<String>,
    pub pieces: i64,
}

/// Categories with the most pieces sold in the last `days` days, counted as in [`best_sellers`], by the present category of
/// each product.
///
/// # Errors
/// Database errors only.
pub async fn best_categories(
    conn: &mut PgConnection,
    zone: Tz,
    days: i32,
    limit: i64,
) -> Result<Vec<BestCategory>> {
    let categories = sqlx::query_as(concat!(
        "select c.name, sum(l.quantity - l.restocked - l.returned) as pieces
         from orders o
         join order_lines l on l.order_id = o.id
         join products p on p.id = l.product_id
         left join categories c on c.id = p.category_id
         where o.paid_at >= ",
        first_instant!(),
        "
           and o.status <> 'refunded'
           and l.quantity > l.restocked + l.returned
         group by c.id, c.name
         order by pieces desc, c.name
         limit $3"
    ))
    .bind(zone.name())
    .bind(days)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(categories)
}

/// Checkouts that led to a payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Conversion {
    /// Checkouts that were begun in the storefront. One that its shopper began again counts once more.
    pub checkouts: i64,
    /// The number of them that were paid.
    pub paid: i64,
}

/// Checkouts of the last `days` days, today included, in the given time zone.
///
/// # Errors
/// Database errors only.
pub async fn conversion(conn: &mut PgConnection, zone: Tz, days: i32) -> Result<Conversion> {
    let conversion = sqlx::query_as(concat!(
        "select count(*) as checkouts, count(o.paid_at) as paid
         from orders o
         where o.channel = 'storefront'
           and o.created_at >= ",
        first_instant!()
    ))
    .bind(zone.name())
    .bind(days)
    .fetch_one(conn)
    .await?;
    Ok(conversion)
}
