//! The dashboard: open tasks and sales figures.

use axum::extract::State;
use chrono::{Days, NaiveDate, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::{Admin, Scope};
use crate::config::Config;
use crate::error::{Error, ErrorBody, FieldError, Result};
use crate::http::{Json, Query};
use crate::orders::{self, BestCategory, BestSeller, Conversion, Sales};
use crate::payments::RefundSum;
use crate::products::{self, RunningOut};
use crate::review_items::{self, ReviewItem};
use crate::types::money::Cents;
use crate::{custom_orders, emails, jobs, payments, settings};

/// Routes of the figures, without a trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show))
}

/// Length of the lists of products.
const NAMES: i64 = 5;

/// Maximum number of review items on the dashboard; the others are on their own page.
const REVIEW_ITEMS: i64 = 10;

/// Longest reporting period, in days.
pub const LONGEST: i32 = 365;

/// Tasks that are waiting for the owner.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ToDo {
    pub orders_to_pack: i64,
    pub orders_to_look_at: i64,
    pub custom_orders_to_answer: i64,
    pub custom_orders_to_make: i64,
    pub custom_orders_to_look_at: i64,
    /// Open review items on any subject.
    pub review_items: i64,
    /// Failures on the system pages, for users and tokens with access to them.
    pub system: Option<Failures>,
}

/// Failed events, jobs and emails, to be retried or given up.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Failures {
    /// Stripe events that were not processed.
    pub events: i64,
    pub jobs: i64,
    /// Emails that were not delivered.
    pub emails: i64,
}

/// Open tasks and sales figures.
pub struct Figures {
    pub to_do: ToDo,
    /// The most urgent open review items.
    pub review_items: Vec<ReviewItem>,
    pub time_zone: Tz,
    /// Current date in the shop's time zone.
    pub today: NaiveDate,
    /// Sales of the last year, without days that had none.
    pub sales: Vec<Sales>,
    /// Best sellers of the requested period, as the three below.
    pub best_sellers: Vec<BestSeller>,
    pub best_categories: Vec<BestCategory>,
    pub conversion: Conversion,
    pub refunds: Vec<RefundSum>,
    pub running_out: Vec<RunningOut>,
}

/// Reads the open tasks, and the figures of the last `days` days.
///
/// # Errors
/// Database errors only.
pub async fn look(
    conn: &mut PgConnection,
    config: &Config,
    days: i32,
    with_system: bool,
) -> Result<Figures> {
    let settings = settings::current(conn, config).await?;
    let zone = settings.time_zone;
    let (to_pack, to_review) = orders::count_to_do(conn).await?;
    let (to_answer, to_make, wanting) = custom_orders::count_to_do(conn).await?;
    let system = match with_system {
        true => Some(Failures {
            events: payments::count_failed_events(conn).await?,
            jobs: jobs::count_failed(conn).await?,
            emails: emails::count_failed(conn).await?,
        }),
        false => None,
    };
    Ok(Figures {
        to_do: ToDo {
            orders_to_pack: to_pack,
            orders_to_look_at: to_review,
            custom_orders_to_answer: to_answer,
            custom_orders_to_make: to_make,
            custom_orders_to_look_at: wanting,
            review_items: review_items::count_open(conn).await?,
            system,
        },
        review_items: review_items::list_open(conn, REVIEW_ITEMS).await?,
        time_zone: zone,
        today: Utc::now().with_timezone(&zone).date_naive(),
        sales: orders::sales_by_day(conn, zone, LONGEST).await?,
        best_sellers: orders::best_sellers(conn, zone, days, NAMES).await?,
        best_categories: orders::best_categories(conn, zone, days, NAMES).await?,
        conversion: orders::conversion(conn, zone, days).await?,
        refunds: payments::refunded_lately(conn, zone, days).await?,
        running_out: products::running_out(conn, settings.low_stock, NAMES).await?,
    })
}

impl Figures {
    /// Returns the first day of a period of `days` days that ends today.
    pub fn first_of(&self, days: i32) -> NaiveDate {
        self.today - Days::new((days - 1).unsigned_abs().into())
    }

    /// Returns orders and revenue since `first` in each currency, the one with the most orders first.
    pub fn takings_since(&self, first: NaiveDate) -> Vec<Takings> {
        let mut all: Vec<Takings> = Vec::new();
        for day in self.sales.iter().filter(|day| day.day >= first) {
            match all.iter_mut().find(|one| one.currency == day.currency) {
                Some(one) => {
                    one.orders += day.orders;
                    one.amount = one.amount.plus(day.takings).unwrap_or(one.amount);
                }
                None => all.push(Takings {
                    currency: day.currency.clone(),
                    orders: day.orders,
                    amount: day.takings,
                }),
            }
        }
        all.sort_by_key(|one| std::cmp::Reverse(one.orders));
        all
    }
}

/// Revenue in one currency, less the money that went back in refunds, undone sales and lost disputes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Takings {
    pub currency: String,
    pub orders: i64,
    /// In the currency's smallest unit.
    pub amount: Cents,
}

#[derive(Serialize, ToSchema)]
struct DashboardView {
    /// Current date in the shop's time zone.
    today: NaiveDate,
    time_zone: &'static str,
    to_do: ToDo,
    /// Revenue of today, and of the last 7, 30, 90 and 365 days.
    takings: Vec<Period>,
    /// Number of days that all below covers, except for what is running out.
    days: i32,
    /// Oldest first, without days that had no sales.
    sales: Vec<Sales>,
    best_sellers: Vec<BestSeller>,
    best_categories: Vec<BestCategory>,
    conversion: Conversion,
    /// Refunds of sales, by currency.
    refunds: Vec<RefundSum>,
    running_out: Vec<RunningOut>,
}

#[derive(Serialize, ToSchema)]
struct Period {
    /// Number of days, including today.
    days: i32,
    /// One entry per currency, the one with the most orders first.
    takings: Vec<Takings>,
}

/// Returns open tasks and sales figures. Failures on the system pages are included for tokens with the scope `system`.
#[utoipa::path(
    get,
    operation_id = "dashboard",
    path = "/api/admin/dashboard",
    tag = "reports",
    security(("bearer" = [])),
    params(("days" = Option<i32>, Query, description = "1 to 365, 30 by default", minimum = 1, maximum = 365)),
    responses(
        (status = 200, body = DashboardView),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
    )
)]
async fn show(State(app): State<App>, admin: Admin, query: Query) -> Result<Json<DashboardView>> {
    admin.may(Scope::OrdersRead)?;
    let mut field_errors: Vec<FieldError> = Vec::new();
    let days = query.whole("days", 30, LONGEST.into(), &mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let days = i32::try_from(days).map_err(anyhow::Error::from)?;
    let with_system = admin.may(Scope::System).is_ok();
    let mut conn = app.db.acquire().await?;
    let found = look(&mut conn, &app.config, days, with_system).await?;
    let takings = [1, 7, 30, 90, LONGEST].map(|days| Period {
        days,
        takings: found.takings_since(found.first_of(days)),
    });
    let first = found.first_of(days);
    Ok(Json(DashboardView {
        today: found.today,
        time_zone: found.time_zone.name(),
        to_do: found.to_do,
        takings: takings.into(),
        days,
        sales: found
            .sales
            .into_iter()
            .filter(|day| day.day >= first)
            .collect(),
        best_sellers: found.best_sellers,
        best_categories: found.best_categories,
        conversion: found.conversion,
        refunds: found.refunds,
        running_out: found.running_out,
    }))
}
