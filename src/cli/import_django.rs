//! Takeover of the Django shop.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::ProgressBar;

use super::progress;
use crate::app::App;
use crate::config::Config;
use crate::db;
use crate::django::{self, Finding, Options, Place, Report, Step};
use crate::server::startup::Shop;
use crate::types::money::Cents;

/// Findings of one kind that are printed; the report has all of them.
const SHOWN: usize = 30;

/// The command `import-django`. Without --sqlite, it reads DJANGO_DATABASE_URL.
#[derive(Args)]
pub(super) struct ImportDjango {
    /// The old shop's SQLite file
    #[arg(long, value_name = "FILE")]
    sqlite: Option<PathBuf>,
    /// The old shop's media folder
    #[arg(long, value_name = "DIR")]
    media: PathBuf,
    /// Do and verify everything, and keep nothing
    #[arg(long)]
    dry_run: bool,
    /// The last import, when the old shop sells no more: asks and tells Stripe, too
    #[arg(long = "final", conflicts_with = "dry_run")]
    is_final: bool,
    /// Fail if anything was mended, left out or missing
    #[arg(long)]
    strict: bool,
    /// Write the whole report as JSON, without customers' data
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Megapixels of the images that are decoded at the same time, unless one alone has more.
const DECODED_AT_ONCE: u32 = 12;

/// Runs the command. Exits with 1 when nothing was imported.
pub(super) async fn run(command: ImportDjango, mut config: Config) -> anyhow::Result<ExitCode> {
    let place = place(&command, &config)?;
    let options = Options {
        media: command.media,
        is_dry_run: command.dry_run,
        is_final: command.is_final,
        currency: config.shop.currency.code(),
        is_strict: command.strict,
    };
    // The memory of the machine is the running shop's: what is larger is decoded alone.
    let megapixels = &mut config.storage.limits.megapixels;
    *megapixels = (*megapixels).min(DECODED_AT_ONCE);
    let shop = Shop::open(config).await?;
    let bar = progress::bar(0, "images");
    let result = django::import(&shop.app, &place, &options, &|step, at, all| {
        show_progress(&bar, step, at, all);
    })
    .await;
    bar.finish_and_clear();
    let mut report = match result {
        Ok(report) => report,
        Err(error) => {
            shop.close().await?;
            return Err(error);
        }
    };
    print_summary(&report);
    let undone = match settles_at_stripe(&options, &shop.app) {
        true => settle(&shop.app, &mut report, &bar).await,
        false => Ok(0),
    };
    if let Some(file) = &command.report {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, json).with_context(|| format!("writing {}", file.display()))?;
    }
    shop.close().await?;
    Ok(match undone? {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Returns true for the final import with a key of the shop's own account.
fn settles_at_stripe(options: &Options, app: &App) -> bool {
    let stripe = &app.config.stripe;
    let has_key = stripe.secret_key.is_some() && !stripe.rehearsal;
    if options.is_final && !has_key {
        println!(
            "Stripe was asked and told nothing: this run has no key of the shop's own account."
        );
    }
    options.is_final && has_key
}

/// Asks and tells Stripe. Returns the number of things left undone.
async fn settle(app: &App, report: &mut Report, bar: &ProgressBar) -> anyhow::Result<usize> {
    let steps = django::settle_at_stripe(app, report, &|step, at, all| {
        show_progress(bar, step, at, all);
    })
    .await;
    bar.finish_and_clear();
    report.stripe = steps?;
    println!("At Stripe:");
    let mut undone = 0;
    for step in &report.stripe {
        println!("  {}: {}", step.name, step.text);
        for missing in &step.missing {
            println!("    not at Stripe: {missing}");
        }
        for left in &step.undone {
            println!("    not done: {left}");
        }
        undone += step.undone.len();
    }
    if undone > 0 {
        println!("Repeat the command for what was not done: nothing is done twice.");
    }
    Ok(undone)
}

fn place(command: &ImportDjango, config: &Config) -> anyhow::Result<Place> {
    match (&command.sqlite, &config.database.django_url) {
        (Some(file), _) => Ok(Place::Sqlite(file.clone())),
        (None, Some(url)) => {
            let options = db::parse_url(url.reveal(), "DJANGO_DATABASE_URL")?;
            Ok(Place::Postgres(Box::new(options)))
        }
        (None, None) => bail!(
            "where is the old shop? Set DJANGO_DATABASE_URL to the address of its PostgreSQL database, or name its SQLite \
             file with --sqlite"
        ),
    }
}

fn show_progress(bar: &ProgressBar, step: Step, at: u64, all: u64) {
    bar.set_message(match step {
        Step::Images => "images",
        Step::Rows => "rows",
        Step::Stripe => "questions to Stripe",
    });
    bar.set_length(all);
    bar.set_position(at);
}

fn print_summary(report: &Report) {
    let old = &report.old;
    println!(
        "The old shop has {} categories, {} products with {} pieces, {} orders over {}, {} custom orders and {} users.",
        old.categories,
        old.products,
        old.pieces,
        old.orders,
        Cents(old.orders_total).in_currency("usd"),
        old.custom_orders,
        old.users,
    );
    println!(
        "{:<15}{:>9}{:>9}{:>11}{:>11}",
        "", "new", "changed", "unchanged", "kept ours"
    );
    for (kind, count) in &report.counts {
        println!(
            "{:<15}{:>9}{:>9}{:>11}{:>11}",
            kind.in_words(),
            count.created,
            count.updated,
            count.unchanged,
            count.kept
        );
    }
    println!("{} images came in.", report.images);
    let findings = &report.findings;
    print_list("Mended, because the values did not fit", &findings.mended);
    print_list("Left out", &findings.left_out);
    print_list(
        "To be looked at, under Review in the admin",
        &findings.to_review,
    );
    print_list("Changed in both shops", &findings.conflicts);
    print_list("No more in the old shop", &findings.gone);
    print_list("Worth knowing", &findings.noted);
    let images: Vec<Finding> = findings
        .images
        .iter()
        .map(|image| Finding {
            row: image.owner.clone(),
            text: format!("{}: {} ({})", image.name, image.verdict.as_str(), image.why),
        })
        .collect();
    print_list("Images that did not come in", &images);
    if !findings.unknown.is_empty() {
        println!(
            "Not read, because the import does not know them: {}.",
            findings.unknown.join(", ")
        );
    }
    println!("Compared with the old shop, without a difference:");
    for check in &report.checks {
        println!("  {}", check.name);
    }
    match (report.is_dry_run, report.changed()) {
        (true, changed) => println!("Dry run: nothing was kept of {changed} rows."),
        (false, 0) => println!("Nothing changed since the last import."),
        (false, changed) => println!("{changed} rows were written."),
    }
}

fn print_list(title: &str, findings: &[Finding]) {
    if findings.is_empty() {
        return;
    }
    println!("{title} ({}):", findings.len());
    for finding in findings.iter().take(SHOWN) {
        println!("  {}: {}", finding.row, finding.text);
    }
    if findings.len() > SHOWN {
        println!(
            "  and {} more (--report FILE has all)",
            findings.len() - SHOWN
        );
    }
}
