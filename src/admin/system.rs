//! The system pages, for owners: Stripe events, jobs, emails, stock holds, and health.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::context::AdminContext;
use crate::app::App;
use crate::emails::{self, EmailFilter, EmailRow, EmailView};
use crate::error::{Error, Result};
use crate::http::{Path, Query};
use crate::jobs::{self, QueuedJob};
use crate::orders::{self, Line, ListedOrder, Order, OrderTab};
use crate::payments::{self, Cancelled, EventRow, EventStatus};
use crate::system;
use crate::system::backup::{self, LastBackup};
use crate::system::health::{self, Health, VERSION};
use crate::types::ids::{EmailId, OrderId};

const PAGE: i64 = 40;

#[derive(Template)]
#[template(path = "system.html", config = "src/admin/askama.toml")]
struct SystemPage<'a> {
    context: &'a AdminContext,
    health: Health,
    failed_events: i64,
    wrong_mode_events: i64,
    failed_jobs: i64,
    waiting_jobs: i64,
    failed_emails: i64,
    last_backup: Option<LastBackup>,
    /// Warnings about questionable settings.
    warnings: Vec<String>,
}

impl SystemPage<'_> {
    const VERSION: &'static str = VERSION;
}

/// Search, filter and paging of a list.
struct ListQuery {
    search: String,
    state: String,
    newer: Option<String>,
    older: Option<String>,
}

impl ListQuery {
    /// Reads the query. `states` lists the valid states.
    fn read(query: &Query, states: &[&str]) -> ListQuery {
        let state = query.get("state").unwrap_or_default();
        ListQuery {
            search: super::query_text(query, "search"),
            state: states
                .iter()
                .find(|known| **known == state)
                .map_or_else(String::new, |state| (*state).to_owned()),
            newer: None,
            older: None,
        }
    }

    /// Adds the links to the previous and next pages.
    fn turn(&mut self, path: &str, page: i64, more: bool) {
        let link = |page: i64| {
            let page = page.to_string();
            let pairs = [
                ("state", self.state.as_str()),
                ("search", &self.search),
                ("page", &page),
            ];
            let query = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()))
                .finish();
            format!("{path}?{query}")
        };
        let (newer, older) = (link(page - 1), link(page + 1));
        self.newer = (page > 1).then_some(newer);
        self.older = more.then_some(older);
    }

    fn search(&self) -> Option<&str> {
        (!self.search.is_empty()).then_some(self.search.as_str())
    }

    fn state(&self) -> Option<&str> {
        (!self.state.is_empty()).then_some(self.state.as_str())
    }
}

/// Truncates a list that was fetched with one extra row. Returns whether there is another page.
fn cut<T>(list: &mut Vec<T>) -> bool {
    let more = list.len() as i64 > PAGE;
    list.truncate(usize::try_from(PAGE).expect("a small number"));
    more
}

const EVENT_STATES: [&str; 5] = ["failed", "received", "processed", "ignored", "wrong_mode"];
const JOB_STATES: [&str; 1] = ["failed"];
const EMAIL_STATES: [&str; 4] = ["failed", "queued", "sending", "sent"];

/// Badge color of a state.
fn kind(state: &str) -> &'static str {
    match state {
        "failed" | "wrong_mode" => "bad",
        "received" | "queued" | "sending" => "due",
        "processed" | "sent" => "good",
        _ => "quiet",
    }
}

#[derive(Template)]
#[template(path = "system_events.html", config = "src/admin/askama.toml")]
struct EventsPage<'a> {
    context: &'a AdminContext,
    shown: ListQuery,
    events: Vec<EventRow>,
}

impl EventsPage<'_> {
    const STATES: [&'static str; 5] = EVENT_STATES;
}

#[derive(Template)]
#[template(path = "system_event.html", config = "src/admin/askama.toml")]
struct StripeEventPage<'a> {
    context: &'a AdminContext,
    event: EventRow,
    payload: String,
}

#[derive(Template)]
#[template(path = "system_jobs.html", config = "src/admin/askama.toml")]
struct JobsPage<'a> {
    context: &'a AdminContext,
    shown: ListQuery,
    jobs: Vec<QueuedJob>,
}

#[derive(Template)]
#[template(path = "system_emails.html", config = "src/admin/askama.toml")]
struct EmailsPage<'a> {
    context: &'a AdminContext,
    shown: ListQuery,
    emails: Vec<EmailRow>,
}

impl EmailsPage<'_> {
    const STATES: [&'static str; 4] = EMAIL_STATES;
}

#[derive(Template)]
#[template(path = "system_email.html", config = "src/admin/askama.toml")]
struct EmailPage<'a> {
    context: &'a AdminContext,
    view: EmailView,
}

#[derive(Template)]
#[template(path = "system_holds.html", config = "src/admin/askama.toml")]
struct HoldsPage<'a> {
    context: &'a AdminContext,
    shown: ListQuery,
    holds: Vec<(Order, Vec<Line>)>,
}

/// Formats a job's or an email's name for people: `send email`.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// `GET /admin/system`
pub async fn show(State(app): State<App>, context: AdminContext) -> Result<Response> {
    let mut conn = app.db.acquire().await?;
    let mut warnings = app.config.warnings();
    warnings.extend(payments::country_warning(&mut conn, &app.config).await?);
    context.show(&SystemPage {
        context: &context,
        health: health::look(&mut conn).await?,
        failed_events: payments::count_failed_events(&mut conn).await?,
        wrong_mode_events: payments::count_wrong_mode_events(&mut conn).await?,
        failed_jobs: jobs::count_failed(&mut conn).await?,
        waiting_jobs: jobs::count(&mut conn).await?,
        failed_emails: emails::count_failed(&mut conn).await?,
        last_backup: backup::last(&mut conn).await?,
        warnings,
    })
}

/// `GET /admin/system/backup`: the whole shop as a file.
pub async fn download_backup(State(app): State<App>, context: AdminContext) -> Result<Response> {
    backup::download(app, &context.actor()?).await
}

/// `GET /admin/system/events`
pub async fn events(
    State(app): State<App>,
    context: AdminContext,
    query: Query,
) -> Result<Response> {
    let mut shown = ListQuery::read(&query, &EVENT_STATES);
    let page = super::page_number(&query);
    let mut conn = app.db.acquire().await?;
    let offset = (page - 1) * PAGE;
    let status = shown.state().and_then(EventStatus::parse);
    let mut events =
        payments::list_events(&mut conn, status, shown.search(), PAGE + 1, offset).await?;
    let more = cut(&mut events);
    shown.turn("/admin/system/events", page, more);
    context.show(&EventsPage {
        context: &context,
        shown,
        events,
    })
}

/// `GET /admin/system/events/{id}`
pub async fn event(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let (event, payload) = system::event(&mut *app.db.acquire().await?, &id).await?;
    // Show the original text if it is not valid JSON.
    let pretty = serde_json::from_str::<Value>(&payload)
        .and_then(|payload| serde_json::to_string_pretty(&payload));
    context.show(&StripeEventPage {
        context: &context,
        event,
        payload: pretty.unwrap_or(payload),
    })
}

/// `POST /admin/system/events/{id}/run`: schedules the event to be processed again immediately.
pub async fn run_event(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    system::run_event(&mut tx, &context.actor()?, &id).await?;
    tx.commit().await?;
    let path: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let path = format!("/admin/system/events/{path}");
    Ok(context.go_on(
        &path,
        "It runs again in a moment. Load this page again to see how it went.",
    ))
}

/// `GET /admin/system/jobs`
pub async fn list_jobs(
    State(app): State<App>,
    context: AdminContext,
    query: Query,
) -> Result<Response> {
    let mut shown = ListQuery::read(&query, &JOB_STATES);
    let page = super::page_number(&query);
    let mut conn = app.db.acquire().await?;
    let failed = shown.state().is_some();
    let offset = (page - 1) * PAGE;
    let mut jobs = jobs::list(&mut conn, failed, shown.search(), PAGE + 1, offset).await?;
    let more = cut(&mut jobs);
    shown.turn("/admin/system/jobs", page, more);
    context.show(&JobsPage {
        context: &context,
        shown,
        jobs,
    })
}

/// `POST /admin/system/jobs/{id}/retry`
pub async fn retry_job(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<i64>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    system::retry_job(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    Ok(context.go_on("/admin/system/jobs", "The job is tried again at once."))
}

/// `POST /admin/system/jobs/{id}/delete`
pub async fn delete_job(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<i64>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    system::delete_job(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    Ok(context.go_on("/admin/system/jobs", "The job is deleted and will not run."))
}

/// `GET /admin/system/emails`
pub async fn list_emails(
    State(app): State<App>,
    context: AdminContext,
    query: Query,
) -> Result<Response> {
    let mut shown = ListQuery::read(&query, &EMAIL_STATES);
    let page = super::page_number(&query);
    let mut conn = app.db.acquire().await?;
    let filter = EmailFilter {
        state: shown.state().and_then(emails::EmailState::parse),
        search: shown
            .search()
            .map(|word| emails::subjects(&app, word.to_owned())),
        shop: app.config.shop.email.clone(),
        limit: PAGE,
        offset: (page - 1) * PAGE,
        ..EmailFilter::default()
    };
    let (emails, count) = emails::browse(&mut conn, &app, &filter).await?;
    shown.turn("/admin/system/emails", page, page * PAGE < count);
    context.show(&EmailsPage {
        context: &context,
        shown,
        emails,
    })
}

/// `GET /admin/system/emails/{id}`
pub async fn email(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<EmailId>,
) -> Result<Response> {
    let view = emails::view(&app, id).await?;
    context.show(&EmailPage {
        context: &context,
        view,
    })
}

/// `GET /admin/system/emails/{id}/page`: the content of the email, to be shown in a frame.
pub async fn email_page(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<EmailId>,
) -> Result<Response> {
    let view = emails::view(&app, id).await?;
    let page = view.html.ok_or(Error::NotFound("Email"))?;
    Ok(context.show_email(page))
}

/// `POST /admin/system/emails/{id}/resend`
pub async fn resend(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<EmailId>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    emails::send_again(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    Ok(context.go_on(
        &format!("/admin/system/emails/{id}"),
        "The email is sent again.",
    ))
}

/// `GET /admin/system/holds`: pending orders and the pieces that they hold.
pub async fn holds(
    State(app): State<App>,
    context: AdminContext,
    query: Query,
) -> Result<Response> {
    let mut shown = ListQuery::read(&query, &[]);
    let page = super::page_number(&query);
    let mut conn = app.db.acquire().await?;
    let offset = (page - 1) * PAGE;
    let mut found = orders::browse(
        &mut conn,
        OrderTab::Unpaid,
        shown.search(),
        PAGE + 1,
        offset,
    )
    .await?;
    let more = cut(&mut found);
    shown.turn("/admin/system/holds", page, more);
    let mut holds = Vec::new();
    for ListedOrder { order, lines, .. } in found {
        holds.push((order, lines));
    }
    context.show(&HoldsPage {
        context: &context,
        shown,
        holds,
    })
}

/// `POST /admin/system/holds/{id}/release`: expires the payment page and releases the pieces.
pub async fn release_hold(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let order: OrderId = orders::resolve(&mut *app.db.acquire().await?, &id).await?;
    let said = match payments::release_hold(&app, order, &context.actor()?).await? {
        Cancelled::Free(_) => "The pieces are free again.",
        Cancelled::Awaited(_) => {
            "The pieces are free again. Should the payment still come, it takes them if they are there, or is refunded."
        }
        Cancelled::Paid(_) => "The payment came first: the order is paid.",
        Cancelled::Held(_) => "Stripe could not be asked. The pieces stay held; try again later.",
    };
    Ok(context.go_on("/admin/system/holds", said))
}
