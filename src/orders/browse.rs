//! Queries behind the order tabs and the order search.

use sqlx::{Connection, PgConnection};

use super::store::{self, SearchTerms, columns, matches, refunded_in_full, to_pack};
use super::{ListedOrder, Status};
use crate::error::Result;
use crate::review_items;

/// Tabs of the order list: orders grouped by their next task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderTab {
    #[default]
    ToPack,
    /// Orders with open review items.
    Review,
    Shipped,
    Delivered,
    Refunded,
    /// The shopper is paying.
    Unpaid,
    /// Orders whose hold was released without a payment.
    Closed,
    All,
}

impl OrderTab {
    /// All tabs, in the order of the page.
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

    /// Statuses of the tab's orders; `None` accepts every status.
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

/// Selects one page in the given sort order; every order used has an index.
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
            matches!("$3", "$4", "$8", "$9"),
            "
             order by ",
            $order,
            "
             limit $5
             offset $6"
        )
    };
}

/// Lists the orders of a tab, newest first except for the orders to pack. A search matches as in
/// [`OrderFilter`](super::OrderFilter).
pub async fn browse(
    conn: &mut PgConnection,
    tab: OrderTab,
    search: Option<&str>,
    limit: i64,
    offset: i64,
) -> Result<Vec<ListedOrder>> {
    let sql = match tab {
        // The oldest have waited longest.
        OrderTab::ToPack => page!("created_at, id"),
        _ => page!("created_at desc, id desc"),
    };
    let terms = SearchTerms::new(search);
    // Behind a pooler, only a transaction keeps an unnamed statement and its values together.
    let mut tx = conn.begin().await?;
    let mut orders: Vec<ListedOrder> = sqlx::query_as(sql)
        .persistent(false)
        .bind(tab.statuses())
        .bind(tab == OrderTab::Review)
        .bind(terms.pattern)
        .bind(terms.number)
        .bind(limit)
        .bind(offset)
        .bind(tab == OrderTab::ToPack)
        .bind(terms.id)
        .bind(terms.tracking)
        .fetch_all(&mut *tx)
        .await?;
    store::add_lines(&mut tx, &mut orders).await?;
    Ok(orders)
}

/// Counts the orders to pack, and the orders with open review items.
pub async fn count_to_do(conn: &mut PgConnection) -> Result<(i64, i64)> {
    let to_pack = sqlx::query_scalar(concat!("select count(*) from orders where ", to_pack!()))
        .fetch_one(&mut *conn)
        .await?;
    let (to_look_at, _) = review_items::count_by_subject(conn).await?;
    Ok((to_pack, to_look_at))
}
