//! API of the system pages: Stripe events, jobs, stock holds, audit log, settings, and health. The admin uses the same
//! functions.

pub mod backup;
pub mod health;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::audit::{self, Actor, Entry};
use crate::auth::{Admin, Scope};
use crate::emails;
use crate::error::answers::{BadRequest, BodyFailures, NotThere, TokenFailures};
use crate::error::{Code, Error, ErrorBody, Result};
use crate::http::{Json, Page, Paging, Path, Query};
use crate::jobs::{self, QueuedJob};
use crate::orders::{self, Line, ListedOrder, Order, OrderView, Status};
use crate::payments::{self, Cancelled, EventRow, EventStatus};
use crate::settings::{self, Choice, Settings};
use backup::LastBackup;
use health::{Health, VERSION};

/// Routes of the system, without a trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(backup::router())
        .routes(routes!(show_health))
        .routes(routes!(list_events))
        .routes(routes!(find_event))
        .routes(routes!(run_event_again))
        .routes(routes!(list_jobs))
        .routes(routes!(find_job, remove_job))
        .routes(routes!(retry_job_now))
        .routes(routes!(list_holds))
        .routes(routes!(release_hold))
        .routes(routes!(list_audit_log))
        .routes(routes!(show_settings, choose_settings))
}

/// Schedules a stored event that was not processed for an immediate retry.
///
/// # Errors
/// 404; 409 `event_already_processed` if there is nothing left to do for the event.
pub async fn run_event(conn: &mut PgConnection, actor: &Actor, id: &str) -> Result<()> {
    if id.contains('\0') {
        return Err(Error::NotFound("Event"));
    }
    let before = payments::run_again(conn, id).await?;
    audit::record(
        conn,
        actor,
        "event.run",
        &format!("event:{id}"),
        json!({"status": before}),
        json!({"status": "queued again"}),
    )
    .await
}

/// Makes a job due now and resets its attempts.
///
/// # Errors
/// 404; 409 `job_is_running` while a worker is running it.
pub async fn retry_job(conn: &mut PgConnection, actor: &Actor, id: i64) -> Result<()> {
    let job = jobs::retry(conn, id).await?;
    let before = json!({"attempts": job.attempts, "job": job.payload});
    let after = json!({"attempts": 0, "job": job.payload});
    audit::record(
        conn,
        actor,
        "job.retry",
        &format!("job:{id}"),
        before,
        after,
    )
    .await
}

/// Removes a job from the queue without running it.
///
/// # Errors
/// As [`retry_job`].
pub async fn delete_job(conn: &mut PgConnection, actor: &Actor, id: i64) -> Result<()> {
    let job = jobs::delete(conn, id).await?;
    let before = json!({"job": job.payload, "last_error": job.last_error});
    let object = format!("job:{id}");
    audit::record(conn, actor, "job.delete", &object, before, Value::Null).await
}

/// Finds an event with its payload.
pub async fn event(conn: &mut PgConnection, id: &str) -> Result<(EventRow, String)> {
    let found = match id.contains('\0') {
        true => None,
        false => payments::find_event(conn, id).await?,
    };
    found.ok_or(Error::NotFound("Event"))
}

#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "read by the OpenAPI document alone")]
enum StateConflict {
    /// The current state does not allow it: `event_already_processed`, `job_is_running`, `not_held`, `order_is_paid`.
    #[response(status = 409)]
    Conflict(ErrorBody),
}

/// Health of the shop.
#[derive(Serialize, ToSchema)]
struct HealthView {
    /// Set if the migrations are complete and a worker is alive.
    is_good: bool,
    /// Version of the shop.
    version: &'static str,
    #[serde(flatten)]
    health: Health,
    failed_events: i64,
    /// Stored events of Stripe's other mode (test or live). They have no effect.
    wrong_mode_events: i64,
    failed_jobs: i64,
    /// Waiting and running jobs.
    jobs: i64,
    failed_emails: i64,
    /// The latest backup by command or download; null if there is none.
    last_backup: Option<LastBackup>,
}

/// Returns the health of the shop and the number of failures.
#[utoipa::path(
    get,
    path = "/api/admin/health",
    tag = "system",
    security(("bearer" = [])),
    responses((status = 200, body = HealthView), BadRequest, TokenFailures)
)]
async fn show_health(State(app): State<App>, admin: Admin) -> Result<Json<HealthView>> {
    admin.may(Scope::System)?;
    let mut conn = app.db.acquire().await?;
    let health = health::look(&mut conn).await?;
    Ok(Json(HealthView {
        is_good: health.is_good(),
        version: VERSION,
        health,
        failed_events: payments::count_failed_events(&mut conn).await?,
        wrong_mode_events: payments::count_wrong_mode_events(&mut conn).await?,
        failed_jobs: jobs::count_failed(&mut conn).await?,
        jobs: jobs::count(&mut conn).await?,
        failed_emails: emails::count_failed(&mut conn).await?,
        last_backup: backup::last(&mut conn).await?,
    }))
}

/// An event with its payload.
#[derive(Serialize, ToSchema)]
struct EventView {
    #[serde(flatten)]
    event: EventRow,
    /// Payload as received; a string if it is not valid JSON.
    payload: Value,
}

impl EventView {
    async fn read(conn: &mut PgConnection, id: &str) -> Result<EventView> {
        let (event, payload) = event(conn, id).await?;
        Ok(EventView {
            event,
            payload: serde_json::from_str(&payload).unwrap_or(Value::String(payload)),
        })
    }
}

/// Lists Stripe events, newest first.
#[utoipa::path(
    get,
    operation_id = "list_stripe_events",
    path = "/api/admin/events",
    tag = "system",
    security(("bearer" = [])),
    params(
        ("state" = Option<String>, Query, description = "`failed`, `received`, `processed`, `ignored` or `wrong_mode` (of Stripe's other mode: stored without effect)",
            pattern = "^(failed|received|processed|ignored|wrong_mode)?$"),
        ("search" = Option<String>, Query, description = "A part of id or type", max_length = 200, pattern = r"^[^\x00]*$"),
        Paging,
    ),
    responses((status = 200, body = Page<EventRow>), BadRequest, TokenFailures)
)]
async fn list_events(
    State(app): State<App>,
    admin: Admin,
    query: Query,
) -> Result<Json<Page<EventRow>>> {
    admin.may(Scope::System)?;
    let mut field_errors = Vec::new();
    let page = query.paging(&mut field_errors);
    let state = query.one_of(
        "state",
        &EventStatus::ALL,
        EventStatus::as_str,
        &mut field_errors,
    );
    let search = query.search(&mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let search = search.as_deref();
    let mut conn = app.db.acquire().await?;
    let count = payments::count_events(&mut conn, state, search).await?;
    let results = payments::list_events(&mut conn, state, search, page.size, page.offset()).await?;
    Ok(Json(Page::new(page, count, results)))
}

/// Returns one Stripe event with its payload.
#[utoipa::path(
    get,
    operation_id = "find_stripe_event",
    path = "/api/admin/events/{id}",
    tag = "system",
    security(("bearer" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = EventView), BadRequest, TokenFailures, NotThere)
)]
async fn find_event(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<EventView>> {
    admin.may(Scope::System)?;
    Ok(Json(
        EventView::read(&mut *app.db.acquire().await?, &id).await?,
    ))
}

/// Schedules an event that was not processed for an immediate retry by a job.
#[utoipa::path(
    post,
    operation_id = "run_stripe_event",
    path = "/api/admin/events/{id}/run",
    tag = "system",
    security(("bearer" = [])),
    params(("id" = String, Path)),
    responses((status = 202, body = EventView), BadRequest, TokenFailures, NotThere, StateConflict)
)]
async fn run_event_again(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<EventView>)> {
    admin.may(Scope::System)?;
    let mut tx = app.db.begin().await?;
    run_event(&mut tx, &admin.actor, &id).await?;
    let view = EventView::read(&mut tx, &id).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// A job of the queue.
#[derive(Serialize, ToSchema)]
struct JobView {
    id: i64,
    /// `waiting`, `running`, `failed` (to be retried) or `given_up`.
    state: &'static str,
    /// Name of the job, such as `send_email`, and its object.
    payload: Value,
    run_at: DateTime<Utc>,
    attempts: i16,
    max_attempts: i16,
    last_error: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<QueuedJob> for JobView {
    fn from(job: QueuedJob) -> JobView {
        JobView {
            state: match () {
                () if job.locked_at.is_some() => "running",
                () if job.is_given_up() => "given_up",
                () if job.last_error.is_some() => "failed",
                () => "waiting",
            },
            id: job.id,
            payload: job.payload,
            run_at: job.run_at,
            attempts: job.attempts,
            max_attempts: job.max_attempts,
            last_error: job.last_error,
            created_at: job.created_at,
        }
    }
}

/// Lists jobs of the queue: failed ones first, then the longest waiting. Completed jobs are not in the queue any more.
#[utoipa::path(
    get,
    path = "/api/admin/jobs",
    tag = "system",
    security(("bearer" = [])),
    params(
        ("state" = Option<String>, Query, description = "`failed`: only failed jobs, given up or not", pattern = "^(failed)?$"),
        ("search" = Option<String>, Query, description = "A part of the job's name, its object or its last error", max_length = 200, pattern = r"^[^\x00]*$"),
        Paging,
    ),
    responses((status = 200, body = Page<JobView>), BadRequest, TokenFailures)
)]
async fn list_jobs(
    State(app): State<App>,
    admin: Admin,
    query: Query,
) -> Result<Json<Page<JobView>>> {
    admin.may(Scope::System)?;
    let mut field_errors = Vec::new();
    let page = query.paging(&mut field_errors);
    let failed = query.one_of("state", &["failed"], |state| state, &mut field_errors);
    let search = query.search(&mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let (failed, search) = (failed.is_some(), search.as_deref());
    let mut conn = app.db.acquire().await?;
    let count = jobs::count_found(&mut conn, failed, search).await?;
    let found = jobs::list(&mut conn, failed, search, page.size, page.offset()).await?;
    Ok(Json(Page::new(
        page,
        count,
        found.into_iter().map(JobView::from).collect(),
    )))
}

/// Returns one job of the queue.
#[utoipa::path(
    get,
    path = "/api/admin/jobs/{id}",
    tag = "system",
    security(("bearer" = [])),
    params(("id" = i64, Path)),
    responses((status = 200, body = JobView), BadRequest, TokenFailures, NotThere)
)]
async fn find_job(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<i64>,
) -> Result<Json<JobView>> {
    admin.may(Scope::System)?;
    let job = jobs::find(&mut *app.db.acquire().await?, id).await?;
    Ok(Json(job.into()))
}

/// Removes a job from the queue without running it.
#[utoipa::path(
    delete,
    operation_id = "delete_job",
    path = "/api/admin/jobs/{id}",
    tag = "system",
    security(("bearer" = [])),
    params(("id" = i64, Path)),
    responses((status = 204), BadRequest, TokenFailures, NotThere, StateConflict)
)]
async fn remove_job(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    admin.may(Scope::System)?;
    let mut tx = app.db.begin().await?;
    delete_job(&mut tx, &admin.actor, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a job due now and resets its attempts. Safe to repeat.
#[utoipa::path(
    post,
    operation_id = "retry_job",
    path = "/api/admin/jobs/{id}/retry",
    tag = "system",
    security(("bearer" = [])),
    params(("id" = i64, Path)),
    responses((status = 202, body = JobView), BadRequest, TokenFailures, NotThere, StateConflict)
)]
async fn retry_job_now(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<i64>,
) -> Result<(StatusCode, Json<JobView>)> {
    admin.may(Scope::System)?;
    let mut tx = app.db.begin().await?;
    retry_job(&mut tx, &admin.actor, id).await?;
    let job = jobs::find(&mut tx, id).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(job.into())))
}

/// A pending order and the pieces that it holds.
#[derive(Serialize, ToSchema)]
struct HoldView {
    #[serde(flatten)]
    order: Order,
    lines: Vec<Line>,
}

/// Lists pending orders and the pieces that they hold, newest first.
#[utoipa::path(
    get,
    path = "/api/admin/holds",
    tag = "system",
    security(("bearer" = [])),
    params(
        ("search" = Option<String>, Query, description = "As in the list of orders", max_length = 200, pattern = r"^[^\x00]*$"),
        Paging,
    ),
    responses((status = 200, body = Page<HoldView>), BadRequest, TokenFailures)
)]
async fn list_holds(
    State(app): State<App>,
    admin: Admin,
    query: Query,
) -> Result<Json<Page<HoldView>>> {
    admin.may(Scope::System)?;
    let mut field_errors = Vec::new();
    let page = query.paging(&mut field_errors);
    let search = query.search(&mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let filter = orders::OrderFilter {
        status: Some(Status::Pending),
        search,
        limit: page.size,
        offset: page.offset(),
        ..orders::OrderFilter::default()
    };
    let mut conn = app.db.acquire().await?;
    let (found, count) = orders::list(&mut conn, &filter).await?;
    let mut results = Vec::with_capacity(found.len());
    let shows_customers = admin.may(Scope::OrdersRead).is_ok();
    for ListedOrder {
        mut order, lines, ..
    } in found
    {
        if !shows_customers {
            order.withhold_customer();
        }
        results.push(HoldView { order, lines });
    }
    Ok(Json(Page::new(page, count, results)))
}

/// Expires the payment page of an order and releases its pieces. An order whose delayed payment is on its way is
/// released, too. If the payment still arrives, it takes the pieces if they are available, or is refunded in full.
#[utoipa::path(
    post,
    path = "/api/admin/holds/{id}/release",
    tag = "system",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The order's id, or its number as SB-1042")),
    responses(
        (status = 200, body = OrderView),
        BadRequest, TokenFailures, NotThere, StateConflict,
        (status = 503, body = ErrorBody, description = "Stripe could not be reached: the pieces stay held"),
    )
)]
async fn release_hold(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<OrderView>> {
    admin.may(Scope::System)?;
    let id = orders::resolve(&mut *app.db.acquire().await?, &id).await?;
    match payments::release_hold(&app, id, &admin.actor).await? {
        Cancelled::Free(_) | Cancelled::Awaited(_) => {
            let mut conn = app.db.acquire().await?;
            let view = orders::view(&mut conn, id).await?;
            Ok(Json(view.shown_to(&admin)))
        }
        Cancelled::Paid(_) => Err(Error::Conflict(
            Code::OrderIsPaid,
            "The payment came first: the order is paid.".to_owned(),
        )),
        Cancelled::Held(_) => Err(Error::Unavailable(
            Code::PaymentUnavailable,
            anyhow::anyhow!("the session of order {id} could not be ended"),
        )),
    }
}

/// Lists the audit log, newest first: changes made in the admin, with a token or by a command.
#[utoipa::path(
    get,
    operation_id = "list_audit_log",
    path = "/api/admin/audit",
    tag = "system",
    security(("bearer" = [])),
    params(
        ("search" = Option<String>, Query, description = "A part of actor, action or object", max_length = 200, pattern = r"^[^\x00]*$"),
        ("before" = Option<i64>, Query, description = "Only entries older than the one with this id, so that pages are stable while entries are added", minimum = 1),
        Paging,
    ),
    responses((status = 200, body = Page<Entry>), BadRequest, TokenFailures)
)]
async fn list_audit_log(
    State(app): State<App>,
    admin: Admin,
    query: Query,
) -> Result<Json<Page<Entry>>> {
    admin.may(Scope::Audit)?;
    let mut field_errors = Vec::new();
    let page = query.paging(&mut field_errors);
    let search = query.search(&mut field_errors);
    let before = query.get("before").filter(|id| !id.is_empty());
    let before = before.map(|_| query.whole("before", 1, i64::MAX, &mut field_errors));
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let search = search.as_deref();
    let mut conn = app.db.acquire().await?;
    let count = audit::count(&mut conn, search, before).await?;
    let results = audit::list(&mut conn, search, before, page.size, page.offset()).await?;
    Ok(Json(Page::new(page, count, results)))
}

/// Settings that can be changed at run time.
#[derive(Serialize, ToSchema)]
struct SettingsView {
    /// Incremented by each change.
    version: i32,
    /// The owner's choices; null falls back to the environment.
    chosen: Choice,
    /// Effective values.
    current: Choice,
}

async fn settings_view(app: &App, conn: &mut PgConnection) -> Result<SettingsView> {
    let (version, chosen) = settings::chosen(conn).await?;
    let current = Settings::from_config(&app.config).with(version, chosen.clone());
    Ok(SettingsView {
        version,
        chosen,
        current: current.into(),
    })
}

/// Returns the settings that can be changed at run time.
#[utoipa::path(
    get,
    operation_id = "show_settings",
    path = "/api/admin/settings",
    tag = "system",
    security(("bearer" = [])),
    responses((status = 200, body = SettingsView), TokenFailures)
)]
async fn show_settings(State(app): State<App>, admin: Admin) -> Result<Json<SettingsView>> {
    admin.may(Scope::Settings)?;
    let mut conn = app.db.acquire().await?;
    Ok(Json(settings_view(&app, &mut conn).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSettings {
    /// Version that the change is based on. Without it, the current settings are replaced unconditionally.
    version: Option<i32>,
    /// All choices; those that are null or missing fall back to the environment.
    chosen: Choice,
}

/// Replaces all settings that can be changed at run time. They take effect immediately; open checkouts keep the terms
/// that they were offered. Safe to repeat.
#[utoipa::path(
    put,
    operation_id = "choose_settings",
    path = "/api/admin/settings",
    tag = "system",
    security(("bearer" = [])),
    request_body = NewSettings,
    responses(
        (status = 200, body = SettingsView),
        BadRequest, TokenFailures,
        (status = 409, body = ErrorBody, description = "The settings have changed since that version"),
        BodyFailures,
    )
)]
async fn choose_settings(
    State(app): State<App>,
    admin: Admin,
    Json(new): Json<NewSettings>,
) -> Result<Json<SettingsView>> {
    admin.may(Scope::Settings)?;
    let mut tx = app.db.begin().await?;
    let currency = app.config.shop.currency;
    settings::choose(&mut tx, &admin.actor, new.chosen, new.version, currency).await?;
    let view = settings_view(&app, &mut tx).await?;
    tx.commit().await?;
    Ok(Json(view))
}
