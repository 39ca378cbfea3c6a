//! Syncing and reconciling with Stripe.

use std::process::ExitCode;

use clap::Subcommand;

use super::{catalog, progress};
use crate::config::Config;
use crate::payments;
use crate::server::startup::Shop;

/// Commands of `stripe`.
#[derive(Subcommand)]
pub enum StripeCommand {
    /// Sync products and prices to Stripe
    Sync,
    /// Fetch events that were not delivered, and settle unfinished payments
    Reconcile,
}

/// Runs a command of `stripe`. Exits with 1 when something was left undone.
pub async fn run(command: StripeCommand, config: Config) -> anyhow::Result<ExitCode> {
    let shop = Shop::open(config).await?;
    shop.check_stripe_account().await?;
    let failed = match command {
        StripeCommand::Sync => catalog::sync(&shop.app).await?,
        StripeCommand::Reconcile => {
            let bar = progress::bar(0, "events");
            let done = payments::reconcile(&shop.app, &|at, all| {
                bar.set_length(all);
                bar.set_position(at);
            })
            .await?;
            bar.finish_and_clear();
            println!("{done}.");
            u64::from(done.failed + done.waiting) + done.unstored.len() as u64
        }
    };
    shop.close().await?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
