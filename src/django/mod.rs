//! Takeover of the Django shop that this one replaces: reads it, imports it, and proves that nothing was lost.
//!
//! Images come first, because they take most of the time. Everything else is one transaction: rows are mapped, written and
//! verified, or nothing of them is kept. An import can be repeated until the switch. It sends nothing to anybody, and tells
//! Stripe nothing before the final import.

mod apply;
mod findings;
mod hashes;
mod images;
mod known;
mod map;
mod media;
mod old;
mod progress;
mod report;
mod row;
mod settle;
mod source;
mod target;
mod verify;

pub use findings::{Finding, Findings, ImageFinding};
pub use progress::{Progress, Step};
pub use report::{Report, Totals};
pub use settle::StripeStep;
pub use source::Place;

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::app::App;
use crate::audit::{self, Actor};
use crate::images as media_images;
use crate::payments::{self, Takeover};
use crate::types::ids::CustomOrderId;
use apply::Plan;
use images::Images;
use known::Known;
use map::Input;
use media::MediaFolder;
use old::OldShop;
use source::Source;

/// Choices of an import.
#[derive(Clone, Debug)]
pub struct Options {
    /// The old shop's media folder.
    pub media: PathBuf,
    /// Everything is done and verified, and nothing is kept.
    pub is_dry_run: bool,
    /// The last import: the old shop sells no more.
    pub is_final: bool,
    /// Code of the new shop's currency.
    pub currency: &'static str,
    /// Whatever was mended, left out or missing is an error.
    pub is_strict: bool,
}

/// Imports the old shop. Safe to repeat: what did not change is not written again.
///
/// # Errors
/// A sentence for whatever cannot be read, does not fit, or differs after it was written; then no row is kept.
pub async fn import(
    app: &App,
    place: &Place,
    options: &Options,
    progress: &Progress<'_>,
) -> anyhow::Result<Report> {
    let source = Source::read(place).await?;
    let shop = OldShop::read(&source)?;
    let addresses = [&app.config.server.public_url]
        .into_iter()
        .chain(&app.config.server.cors_allowed_origins);
    let folder = MediaFolder::open(&options.media, addresses.map(String::as_str))?;
    let images = images::take(app, &shop, &folder, options.is_dry_run, progress).await?;
    progress(Step::Rows, 0, 1);
    let mut tx = app.db.begin().await?;
    let report = match write(&mut tx, app, (&source, &shop), &images, options).await {
        Ok(report) => report,
        Err(error) => {
            tx.rollback().await?;
            media_images::discard(&app.storage, &app.db, &images.stored).await;
            return Err(error);
        }
    };
    match options.is_dry_run {
        true => tx.rollback().await?,
        false => {
            advance_sequences(&mut tx).await?;
            tx.commit().await?;
        }
    }
    progress(Step::Rows, 1, 1);
    Ok(report)
}

/// Asks and tells Stripe what only it knows, after the final import. Outside any transaction, and safe to repeat.
///
/// # Errors
/// When the key is of another account than the products' ids: then Stripe is asked and told nothing.
pub async fn settle_at_stripe(
    app: &App,
    report: &Report,
    progress: &Progress<'_>,
) -> anyhow::Result<Vec<StripeStep>> {
    settle::settle(app, report.first_order, progress).await
}

/// Maps, writes and verifies everything in one transaction.
async fn write(
    conn: &mut PgConnection,
    app: &App,
    (source, shop): (&Source, &OldShop),
    images: &Images,
    options: &Options,
) -> anyhow::Result<Report> {
    // A large shop takes longer than a shopper may.
    sqlx::query("set local statement_timeout = 0")
        .execute(&mut *conn)
        .await?;
    sqlx::query("set local idle_in_transaction_session_timeout = 0")
        .execute(&mut *conn)
        .await?;
    payments::begin_takeover(conn)
        .await
        .context("beginning the import: another import may be running")?;
    lock_all(conn).await?;
    hold_images(conn, images).await?;
    let mut findings = Findings {
        unknown: unknown(source),
        ..Findings::default()
    };
    let known = Known::read(conn).await?;
    let input = Input {
        shop,
        images,
        known: &known,
        currency: options.currency,
        read_at: source.read_at,
    };
    let target = map::map(&input, &mut findings);
    let plan = Plan {
        target: &target,
        known: &known,
        read_at: source.read_at,
        is_paused: !had_final_import(conn).await?,
    };
    let applied = apply::apply(conn, &plan, &mut findings).await?;
    let checks = verify::verify(conn, source, &target, &applied).await?;
    findings.sort();
    if options.is_strict && !findings.is_clean() {
        bail!(
            "with --strict, nothing may be mended, left out or missing, and {} rows are: nothing was imported",
            findings.count_strict()
        );
    }
    let events_taken_up = take_up_events(conn, app, source, shop).await?;
    let report = Report {
        is_dry_run: options.is_dry_run,
        read_at: source.read_at,
        first_order: shop
            .orders
            .first()
            .map_or(source.read_at, |order| order.created_at),
        old: report::totals_of(shop),
        counts: applied.counts,
        images: images.ids().len(),
        images_decoded: images.decoded,
        checks,
        findings,
        events_taken_up,
        stripe: Vec::new(),
    };
    if !options.is_dry_run {
        let actor = Actor::system("import");
        let facts = json!({"counts": report.counts, "final": options.is_final});
        audit::record(conn, &actor, "import.django", "shop", Value::Null, facts).await?;
    }
    Ok(report)
}

/// Locks all rows that an import may change, in the order in which everybody locks them. So it ends in no deadlock if the new
/// shop runs already.
async fn lock_all(conn: &mut PgConnection) -> anyhow::Result<()> {
    for sql in [
        "select from payments order by id for no key update",
        "select from custom_orders order by id for no key update",
        "select from orders order by id for no key update",
        "select from products order by id for no key update",
        "select from categories order by id for no key update",
    ] {
        sqlx::query(sql).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Returns true when the old shop sells no more.
async fn had_final_import(conn: &mut PgConnection) -> anyhow::Result<bool> {
    let sql = "select exists (select from audit_log where action = 'import.release')";
    Ok(sqlx::query_scalar(sql).fetch_one(conn).await?)
}

/// Takes up what Stripe told about rows of the old shop before they were here. Returns the number of its events.
async fn take_up_events(
    conn: &mut PgConnection,
    app: &App,
    source: &Source,
    shop: &OldShop,
) -> anyhow::Result<u64> {
    let orders = shop.orders.iter();
    let sessions: Vec<String> = orders
        .clone()
        .filter_map(|order| order.session.clone())
        .collect();
    let paid: Vec<String> = orders.filter_map(|order| order.payment.clone()).collect();
    let requests = shop.requests.iter();
    let custom_orders: Vec<CustomOrderId> =
        requests.map(|request| CustomOrderId(request.id)).collect();
    let takeover = Takeover {
        snapshot: source.read_at,
        sessions: &sessions,
        custom_orders: &custom_orders,
        payments: &paid,
    };
    Ok(payments::finish_takeover(conn, app, &takeover).await?)
}

/// Keeps the images from being removed as unused until they are used, and records their files.
async fn hold_images(conn: &mut PgConnection, images: &Images) -> anyhow::Result<()> {
    for unstored in images.unstored.values() {
        unstored.insert_unstored(conn).await?;
    }
    let ids = images.ids();
    let held = media_images::hold(conn, &ids).await?;
    ensure!(
        held.len() == ids.len(),
        "images were removed while the import ran: run it again; nothing was imported"
    );
    let files = images.by_file.iter();
    let files: Vec<Value> = files
        .map(|(file, image)| json!({"file_sha256": file, "image_id": image}))
        .collect();
    sqlx::query(
        "insert into import_images (file_sha256, image_id)
         select file_sha256, image_id
         from jsonb_to_recordset($1) as r (file_sha256 text, image_id text)
         on conflict (file_sha256) do nothing",
    )
    .bind(Json(files))
    .execute(conn)
    .await?;
    Ok(())
}

fn unknown(source: &Source) -> Vec<String> {
    let tables = source
        .unknown_tables
        .iter()
        .map(|table| format!("table {table}"));
    let columns = source.unknown_columns(old::known_columns);
    let columns = columns.into_iter().map(|column| format!("column {column}"));
    tables.chain(columns).collect()
}

/// Moves the sequences past the imported numbers. Last of all, because it cannot be rolled back.
async fn advance_sequences(conn: &mut PgConnection) -> anyhow::Result<()> {
    for sql in [
        "select setval('order_number', greatest(max(number), (select last_value from order_number)))
         from orders
         having max(number) is not null",
        "select setval('custom_order_number', greatest(max(number), (select last_value from custom_order_number)))
         from custom_orders
         having max(number) is not null",
        "select setval(pg_get_serial_sequence('categories', 'id'),
                       greatest(max(id), (select last_value from categories_id_seq)))
         from categories
         having max(id) > 0",
    ] {
        sqlx::query(sql).execute(&mut *conn).await?;
    }
    Ok(())
}
