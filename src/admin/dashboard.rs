//! The dashboard: open tasks and sales figures.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::{Days, NaiveDate};

use super::chart::{self, Chart};
use super::context::AdminContext;
use crate::admin::figures;
use crate::app::App;
use crate::error::Result;
use crate::http::Query;
use crate::orders::{BestCategory, BestSeller, Conversion, Sales};
use crate::payments::RefundSum;
use crate::products::RunningOut;
use crate::review_items::ReviewItem;
use crate::types::money::Cents;

#[derive(Template)]
#[template(path = "dashboard.html", config = "src/admin/askama.toml")]
struct DashboardPage<'a> {
    context: &'a AdminContext,
    to_do: Vec<ToDoLine>,
    /// The most urgent open review items.
    review_items: Vec<ReviewItem>,
    days: i32,
    takings: Vec<PeriodTakings>,
    chart: Chart,
    first_day: String,
    last_day: String,
    /// Currency of the chart.
    currency: String,
    /// Text alternative of the chart.
    summary: String,
    /// Days or weeks with sales, the latest first: for those who cannot read the chart.
    sold: Vec<PeriodSales>,
    best_sellers: Vec<BestSeller>,
    best_categories: Vec<BestCategory>,
    conversion: Conversion,
    refunds: Vec<RefundSum>,
    running_out: Vec<RunningOut>,
}

impl DashboardPage<'_> {
    const WIDTH: i64 = chart::WIDTH;
    const HEIGHT: i64 = chart::HEIGHT;
    const PERIODS: [(i32, &'static str); 4] = [
        (7, "7 days"),
        (30, "30 days"),
        (90, "90 days"),
        (figures::LONGEST, "Year"),
    ];

    /// Share of the checkouts that were paid, in percent.
    fn percent_paid(&self) -> i64 {
        self.conversion.paid * 100 / self.conversion.checkouts.max(1)
    }
}

/// Sales of a day or a week.
struct PeriodSales {
    when: String,
    orders: i64,
    amount: Cents,
}

/// Tasks of one kind that are waiting for the owner.
struct ToDoLine {
    count: i64,
    /// Label of the task, singular and plural.
    words: (&'static str, &'static str),
    /// Page for the task.
    path: &'static str,
    is_trouble: bool,
}

impl ToDoLine {
    fn new(count: i64, one: &'static str, many: &'static str) -> ToDoLine {
        ToDoLine {
            count,
            words: (one, many),
            path: "",
            is_trouble: false,
        }
    }

    fn at(self, path: &'static str) -> ToDoLine {
        ToDoLine { path, ..self }
    }

    fn trouble_at(self, path: &'static str) -> ToDoLine {
        ToDoLine {
            path,
            is_trouble: true,
            ..self
        }
    }
}

/// Revenue of a period.
struct PeriodTakings {
    name: &'static str,
    /// Amount in each currency, the most important first. Without sales, `$0.00`.
    amounts: Vec<String>,
    orders: i64,
}

/// `GET /admin`
pub async fn show(State(app): State<App>, context: AdminContext, query: Query) -> Result<Response> {
    let wanted = query.get("days").and_then(|days| days.parse().ok());
    let is_offered = |days: &i32| DashboardPage::PERIODS.iter().any(|(one, _)| one == days);
    let days = wanted.filter(is_offered).unwrap_or(30);
    let mut conn = app.db.acquire().await?;
    let found = figures::look(&mut conn, &app.config, days, context.is_owner()).await?;
    let to_do = tasks(&found.to_do);

    let (sales, today) = (found.sales, found.today);
    let currency = main_currency(&sales).unwrap_or_else(|| context.currency().code().to_owned());
    let since = |days: u64| today - Days::new(days - 1);
    let first = since(days.unsigned_abs().into());
    let takings = [
        ("Today", today),
        ("7 days", since(7)),
        ("30 days", since(30)),
        ("90 days", since(90)),
    ]
    .map(|(name, from)| takings(name, &sales, from, &currency))
    .into();
    let shown = takings_of(&sales, first, &currency);
    let sold = sold(&sales, (first, today), &currency);
    let page = DashboardPage {
        context: &context,
        to_do,
        review_items: found.review_items,
        days,
        takings,
        chart: draw(&sold, &currency),
        first_day: first.format("%b %-d").to_string(),
        last_day: today.format("%b %-d").to_string(),
        summary: format!(
            "Revenue of the last {days} days, {} in total.",
            shown.in_currency(&currency)
        ),
        sold: sold
            .into_iter()
            .rev()
            .filter(|one| one.orders > 0)
            .collect(),
        best_categories: found.best_categories,
        conversion: found.conversion,
        refunds: found.refunds,
        currency,
        best_sellers: found.best_sellers,
        running_out: found.running_out,
    };
    context.show(&page)
}

/// Returns the tasks that there are, with their pages.
fn tasks(waiting: &figures::ToDo) -> Vec<ToDoLine> {
    let mut tasks = vec![
        ToDoLine::new(waiting.orders_to_pack, "order to pack", "orders to pack")
            .at("/admin/orders"),
        ToDoLine::new(
            waiting.orders_to_look_at,
            "order that needs attention",
            "orders that need attention",
        )
        .trouble_at("/admin/orders?tab=review"),
        ToDoLine::new(
            waiting.custom_orders_to_answer,
            "custom order to answer",
            "custom orders to answer",
        )
        .at("/admin/custom-orders?state=pending"),
        ToDoLine::new(
            waiting.custom_orders_to_make,
            "custom order to make",
            "custom orders to make",
        )
        .at("/admin/custom-orders"),
        ToDoLine::new(
            waiting.custom_orders_to_look_at,
            "custom order that needs attention",
            "custom orders that need attention",
        )
        .trouble_at("/admin/custom-orders?state=all"),
        ToDoLine::new(waiting.review_items, "thing needs you", "things need you")
            .trouble_at("/admin/review-items"),
    ];
    if let Some(failures) = &waiting.system {
        tasks.extend([
            ToDoLine::new(
                failures.events,
                "Stripe event failed",
                "Stripe events failed",
            )
            .trouble_at("/admin/system/events?state=failed"),
            ToDoLine::new(
                failures.jobs,
                "background job failed",
                "background jobs failed",
            )
            .trouble_at("/admin/system/jobs?state=failed"),
            ToDoLine::new(
                failures.emails,
                "email not delivered",
                "emails not delivered",
            )
            .trouble_at("/admin/system/emails?state=failed"),
        ]);
    }
    tasks.retain(|task| task.count > 0);
    tasks
}

/// Returns the currency with the most paid orders.
fn main_currency(sales: &[Sales]) -> Option<String> {
    let mut orders: BTreeMap<&str, i64> = BTreeMap::new();
    for day in sales {
        *orders.entry(&day.currency).or_default() += day.orders;
    }
    let most = orders.into_iter().max_by_key(|(_, orders)| *orders);
    most.map(|(currency, _)| currency.to_owned())
}

fn takings_of(sales: &[Sales], from: NaiveDate, currency: &str) -> Cents {
    let days = sales
        .iter()
        .filter(|day| day.day >= from && day.currency == currency);
    days.fold(Cents::ZERO, |sum, day| sum.plus(day.takings).unwrap_or(sum))
}

fn takings(name: &'static str, sales: &[Sales], from: NaiveDate, main: &str) -> PeriodTakings {
    let mut others: Vec<&str> = sales
        .iter()
        .filter(|day| day.day >= from && day.currency != main)
        .map(|day| day.currency.as_str())
        .collect();
    others.sort_unstable();
    others.dedup();
    let currencies = std::iter::once(main).chain(others);
    PeriodTakings {
        name,
        amounts: currencies
            .map(|currency| takings_of(sales, from, currency).in_currency(currency))
            .collect(),
        orders: sales
            .iter()
            .filter(|day| day.day >= from)
            .map(|day| day.orders)
            .sum(),
    }
}

/// Sales of each day in one currency, or of each week where that is more than a quarter of a year.
fn sold(
    sales: &[Sales],
    (first, last): (NaiveDate, NaiveDate),
    currency: &str,
) -> Vec<PeriodSales> {
    let is_by_week = (last - first).num_days() > 92;
    let step = if is_by_week { 7 } else { 1 };
    // The last week ends today.
    let ends = std::iter::successors(Some(last), |end| end.checked_sub_days(Days::new(step)));
    let spans = ends.take_while(|end| *end >= first).map(|end| {
        let begin = (end - Days::new(step - 1)).max(first);
        let mut span = PeriodSales {
            when: match is_by_week {
                true => format!("{} to {}", begin.format("%b %-d"), end.format("%b %-d")),
                false => end.format("%a, %b %-d").to_string(),
            },
            orders: 0,
            amount: Cents::ZERO,
        };
        let is_in = |day: &&Sales| (begin..=end).contains(&day.day) && day.currency == currency;
        for day in sales.iter().filter(is_in) {
            span.orders += day.orders;
            span.amount = span.amount.plus(day.takings).unwrap_or(span.amount);
        }
        span
    });
    let mut spans: Vec<PeriodSales> = spans.collect();
    spans.reverse();
    spans
}

impl PeriodSales {
    fn orders_in_words(&self) -> String {
        match self.orders {
            0 => "no orders".to_owned(),
            1 => "1 order".to_owned(),
            orders => format!("{orders} orders"),
        }
    }
}

fn draw(sold: &[PeriodSales], currency: &str) -> Chart {
    let values = sold.iter().map(|one| {
        let amount = one.amount.in_currency(currency);
        let title = format!("{}: {amount}, {}", one.when, one.orders_in_words());
        (one.amount.0, title)
    });
    Chart::new(values, |value| Cents(value).in_currency(currency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takings_keep_currencies_apart() {
        let day = |day: u32, currency: &str, takings| Sales {
            day: NaiveDate::from_ymd_opt(2026, 11, day).expect("a day"),
            currency: currency.to_owned(),
            orders: 2,
            takings: Cents(takings),
        };
        let sales = [day(1, "usd", 100), day(2, "usd", 4700), day(2, "eur", 300)];
        let from = sales[1].day;
        assert_eq!(main_currency(&sales).as_deref(), Some("usd"));
        let takings = takings("7 days", &sales, from, "usd");
        assert_eq!(takings.amounts, ["$47.00", "3.00 EUR"]);
        assert_eq!(takings.orders, 4);
        let days = sold(&sales, (sales[0].day, from), "usd");
        let chart = draw(&days, "usd");
        assert_eq!(chart.bars.len(), 2);
        assert_eq!(chart.bars[1].title, "Mon, Nov 2: $47.00, 2 orders");
        let year = (from - Days::new(364), from);
        let weeks = sold(&sales, year, "usd");
        assert_eq!(weeks.len(), 53);
        assert_eq!(weeks[52].when, "Oct 27 to Nov 2");
        assert_eq!((weeks[52].orders, weeks[52].amount), (4, Cents(4800)));
    }
}
