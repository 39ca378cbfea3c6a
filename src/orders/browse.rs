//! SQL for who looks through the orders: by what is to be done with them, and by what they remember of one.

use sqlx::{Connection, PgConnection};

use super::store::{columns, matches, number, pattern, refunded_in_full, to_pack};
use super::{Order, Status};
use crate::error::Result;
use crate::review_items;

/// Orders by what is to be done with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderTab {
    #[default]
    ToPack,
    /// Something about them wants to be looked at.
    Review,
    Shipped,
    Delivered,
    Refunded,
    /// The shopper is paying.
    Unpaid,
    /// No money came, and the hold is gone.
    Closed,
    All,
}

impl OrderTab {
    pub const ALL: [OrderTab; 8] = [
        OrderTab::ToPack,
        OrderTab::Review,
        OrderTab::Shipped,
        OrderTab::Delivered,
        OrderTab::Refunded,
        OrderTab::Unpaid,
        OrderTab::Closed,
        OrderTab::All,
    ];

    /// Its states; none where any will do.
    fn statuses(self) -> Option<Vec<&'static str>> {
        let statuses: &[Status] = match self {
            // Not all of these are to be packed: see `to_pack!`.
            OrderTab::ToPack => &[Status::Paid],
            OrderTab::Shipped => &[Status::Shipped],
            OrderTab::Delivered => &[Status::Delivered],
            OrderTab::Refunded => &[Status::Refunded],
            OrderTab::Unpaid => &[Status::Pending],
            OrderTab::Closed => &[Status::Expired, Status::Cancelled, Status::Failed],
            OrderTab::Review | OrderTab::All => return None,
        };
        Some(statuses.iter().map(|status| status.as_str()).collect())
    }
}

/// An order of a list.
#[derive(Debug, sqlx::FromRow)]
pub struct Listed {
    #[sqlx(flatten)]
    pub order: Order,
    /// It waits to be packed.
    pub is_to_pack: bool,
}

/// A page of orders in this order, which an index has.
macro_rules! page {
    ($order:literal) => {
        concat!(
            "select ",
            columns!(),
            ", ",
            to_pack!(),
            " as is_to_pack
             from orders
             where ($1::text[] is null or status = any($1))
               and (not $2 or id = any(array(
                        select r.order_id from review_items r where r.resolved_at is null and r.order_id is not null)))
               and (not $7 or ",
            to_pack!(),
            ")
               and ",
            matches!("$3", "$4"),
            "
             order by ",
            $order,
            "
             limit $5
             offset $6"
        )
    };
}

/// Orders of a tab: those to pack the oldest first, because they have waited longest, all others the newest first. A
/// search finds a number, a tracking number, or a part of name or email address.
pub async fn browse(
    conn: &mut PgConnection,
    tab: OrderTab,
    search: Option<&str>,
    limit: i64,
    offset: i64,
) -> Result<Vec<Listed>> {
    let sql = match tab {
        OrderTab::ToPack => page!("created_at, id"),
        _ => page!("created_at desc, id desc"),
    };
    // Behind a pooler only a transaction keeps a statement without a name and its values together.
    let mut tx = conn.begin().await?;
    let orders = sqlx::query_as(sql)
        .persistent(false)
        .bind(tab.statuses())
        .bind(tab == OrderTab::Review)
        .bind(search.map(pattern))
        .bind(search.and_then(number))
        .bind(limit)
        .bind(offset)
        .bind(tab == OrderTab::ToPack)
        .fetch_all(&mut *tx)
        .await?;
    Ok(orders)
}

/// How many orders are to be packed, and how many have open review items.
pub async fn count_to_do(conn: &mut PgConnection) -> Result<(i64, i64)> {
    let to_pack = sqlx::query_scalar(concat!("select count(*) from orders where ", to_pack!()))
        .fetch_one(&mut *conn)
        .await?;
    let (to_look_at, _) = review_items::count_by_subject(conn).await?;
    Ok((to_pack, to_look_at))
}
