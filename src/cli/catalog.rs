//! Commands of the catalog: its file, the stock, the sync to Stripe.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use super::{intake, lighters, progress};
use crate::app::App;
use crate::audit::Actor;
use crate::config::Config;
use crate::products;
use crate::server::startup::Shop;

#[derive(Subcommand)]
pub(super) enum Catalog {
    #[command(flatten)]
    OfShop(ShopCommand),
    /// Cut the pieces out of photographs of a table, and pair fronts with backs: in a folder, or as a batch of the shop
    Intake(intake::Intake),
}

/// Commands that open the shop.
#[derive(Subcommand)]
pub(super) enum ShopCommand {
    /// Create or update everything in a catalog file, or change nothing
    Import {
        file: PathBuf,
        /// Folder with the images that the file names, or a copy of another shop's media folder
        #[arg(long, value_name = "DIR")]
        media: Option<PathBuf>,
    },
    /// Write the catalog to standard output
    Export,
    /// Make products from photographs named Name_Category_Price-Side.png, or change nothing
    ImportLighters(lighters::ImportLighters),
}

/// Runs the command `catalog`.
pub(super) async fn run(command: Catalog, config: Config) -> anyhow::Result<ExitCode> {
    match command {
        Catalog::OfShop(command) => run_in_shop(command, config).await,
        Catalog::Intake(command) => intake::run(command, config).await,
    }
}

async fn run_in_shop(command: ShopCommand, config: Config) -> anyhow::Result<ExitCode> {
    let shop = Shop::open(config).await?;
    let mut code = ExitCode::SUCCESS;
    match command {
        ShopCommand::Import { file, media } => {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("reading {}", file.display()))?;
            let images = match &media {
                Some(folder) => Some(take_images(&shop.app, &text, folder).await?),
                None => None,
            };
            let mut tx = shop.app.db.begin().await?;
            let summary = products::import(
                &mut tx,
                &Actor::system("import"),
                &text,
                images.as_ref(),
                shop.app.config.shop.currency,
            )
            .await;
            let summary = match (summary, images) {
                (Err(error), Some(images)) => {
                    tx.rollback().await?;
                    images.discard(&shop.app.storage, &shop.app.db).await;
                    return Err(error.into());
                }
                (summary, _) => summary?,
            };
            tx.commit().await?;
            println!(
                "Categories: {} created, {} updated. Products: {} created, {} updated. Unchanged: {}.",
                summary.categories_created,
                summary.categories_updated,
                summary.products_created,
                summary.products_updated,
                summary.unchanged
            );
        }
        ShopCommand::Export => {
            let catalog = products::export(&mut *shop.app.db.acquire().await?).await?;
            println!("{}", serde_json::to_string_pretty(&catalog)?);
        }
        ShopCommand::ImportLighters(command) => {
            code = lighters::import(&shop.app, &command).await?
        }
    }
    shop.close().await?;
    Ok(code)
}

/// Stores the images that a catalog file names, as far as the files exist. The import reports missing ones.
async fn take_images(
    app: &App,
    catalog: &str,
    folder: &Path,
) -> anyhow::Result<products::FileImages> {
    // The images of a media folder are in subfolders whose names begin with the image id.
    let mut kept = HashMap::new();
    for entry in std::fs::read_dir(folder.join("images"))
        .into_iter()
        .flatten()
    {
        let entry = entry?;
        if let Some((id, _)) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.split_once('-'))
        {
            kept.insert(id.to_owned(), entry.path());
        }
    }
    let find = |name: &str| match products::named_id(name) {
        Some(id) => ["original.jpg", "original.png"]
            .into_iter()
            .filter_map(|file| Some(kept.get(&id.0)?.join(file)))
            .find(|path| path.is_file()),
        None => {
            let mut parts = Path::new(name).components();
            let stays_inside = parts.all(|part| matches!(part, Component::Normal(_)));
            Some(folder.join(name)).filter(|path| stays_inside && path.is_file())
        }
    };
    let names = products::named_images(catalog);
    let bar = progress::bar(names.len() as u64, "images");
    let mut images = products::FileImages::default();
    for name in &names {
        if let Some(path) = find(name) {
            let content =
                std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            images.take(&app.storage, &app.db, name, &content).await?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{} images taken in.", images.count());
    Ok(images)
}

/// Compares the stock of every product with the ledger and the holds.
pub(super) async fn check_stock(config: Config) -> anyhow::Result<ExitCode> {
    let shop = Shop::open(config).await?;
    let wrong = products::check_ledger(&mut *shop.app.db.acquire().await?).await?;
    for product in &wrong {
        println!(
            "{}: {} on hand, the ledger says {}; {} reserved, pending orders hold {}",
            product.product_id, product.on_hand, product.ledger_sum, product.reserved, product.held
        );
    }
    shop.close().await?;
    if wrong.is_empty() {
        println!("The ledger explains the stock of every product.");
        Ok(ExitCode::SUCCESS)
    } else {
        println!("{} products do not add up.", wrong.len());
        Ok(ExitCode::FAILURE)
    }
}

/// Syncs every product that needs it, one after the other. Returns the number of failures.
pub(super) async fn sync(app: &App) -> anyhow::Result<u64> {
    let pending = products::pending_syncs(&mut *app.db.acquire().await?).await?;
    let bar = progress::bar(pending.len() as u64, "products");
    let mut failed = 0;
    for product in &pending {
        if let Err(error) = products::sync_product(app, product).await {
            failed += 1;
            bar.suspend(|| eprintln!("{product}: {error}"));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let refused = products::pending_syncs(&mut *app.db.acquire().await?)
        .await?
        .len() as u64;
    println!(
        "{} of {} products brought in line.",
        pending.len() as u64 - refused.max(failed),
        pending.len()
    );
    Ok(refused.max(failed))
}
