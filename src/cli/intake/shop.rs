//! `catalog intake` without `--out`: the photographs become a batch of the shop, and drafts with `--create`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Intake, LIMITS, Side, SizeChoice, photographs, read, say};
use crate::app::App;
use crate::audit::Actor;
use crate::cli::progress;
use crate::config::Config;
use crate::images::{self, UploadError};
use crate::products::intakes::{
    self, IntakeChoice, IntakeDetails, NewPhoto, PhotoStatus, ProductChoice,
};
use crate::server::startup::Shop;
use crate::types::ids::IntakeId;

/// Times that pairing and staging are begun: a person at the page may change what they work on.
const ROUNDS: usize = 3;

/// Runs the command. Exits with 1 if a photograph could not be used.
pub(super) async fn run(command: &Intake, config: Config) -> anyhow::Result<ExitCode> {
    let paths = photographs(&command.path)?;
    let shop = Shop::open(config).await?;
    let done = make(&shop.app, command, &paths).await;
    shop.close().await?;
    done
}

async fn make(app: &App, command: &Intake, paths: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let taken = take(app, paths).await?;
    let id = match begin(app, command.size, &taken.photos).await {
        Ok(id) => id,
        Err(error) => {
            images::discard(&app.storage, &app.db, &taken.kept).await;
            return Err(error);
        }
    };
    let mut details = details(app, id).await?;
    let address = format!("{}/admin/table-photos/{id}", app.config.server.public_url);
    println!("Batch {}: {address}", details.intake.number);
    if command.create {
        details = work_off(app, details).await?;
    }
    let mut faults = taken.unread;
    for photo in &details.photos {
        if let Some(problem) = &photo.problem {
            faults += 1;
            say(Path::new(&photo.file_name), std::slice::from_ref(problem));
        }
        say(Path::new(&photo.file_name), &photo.remarks);
    }
    if command.create {
        create(app, &details, &address).await?;
    }
    Ok(match faults {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Photographs that were taken in.
struct Taken {
    photos: Vec<NewPhoto>,
    /// Number of files that could not be read.
    unread: usize,
    kept: Vec<images::Kept>,
}

async fn take(app: &App, paths: &[PathBuf]) -> anyhow::Result<Taken> {
    let mut taken = Taken {
        photos: Vec::new(),
        unread: 0,
        kept: Vec::new(),
    };
    let bar = progress::bar(paths.len() as u64, "photographs taken in");
    for path in paths {
        match read(path) {
            Err(sentence) => {
                taken.unread += 1;
                bar.suspend(|| say(path, &[sentence]));
            }
            Ok(content) => {
                let image = match images::judge(&app.storage, content, LIMITS).await {
                    Err(UploadError::Refused(refusal)) => Err(refusal.sentence(&LIMITS)),
                    Err(UploadError::Failed(error)) => return Err(error.into()),
                    Ok(judged) => {
                        let kept = images::keep_judged(&app.storage, &app.db, judged).await?;
                        let id = kept.id.clone();
                        taken.kept.push(kept);
                        Ok(id)
                    }
                };
                let name = path.file_name().unwrap_or_default();
                taken.photos.push(NewPhoto {
                    side: match Side::of(path) {
                        Side::Front => intakes::Side::Front,
                        Side::Back => intakes::Side::Back,
                    },
                    file_name: name.to_string_lossy().into_owned(),
                    image,
                });
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(taken)
}

/// Makes a batch of the photographs.
async fn begin(app: &App, size: SizeChoice, photos: &[NewPhoto]) -> anyhow::Result<IntakeId> {
    anyhow::ensure!(!photos.is_empty(), "no photograph could be read");
    let choice = IntakeChoice {
        lighter_type: match size {
            SizeChoice::AsSeen => None,
            SizeChoice::Classic => Some(1),
            SizeChoice::Mini => Some(2),
        },
        ..IntakeChoice::default()
    };
    let actor = Actor::system("intake");
    let mut tx = app.db.begin().await?;
    let intake = intakes::create(&mut tx, &actor, choice.into()).await?;
    intakes::add_photos(&mut tx, &actor, intake.id, photos).await?;
    tx.commit().await?;
    Ok(intake.id)
}

async fn details(app: &App, id: IntakeId) -> anyhow::Result<IntakeDetails> {
    Ok(intakes::details(&mut *app.db.acquire().await?, id).await?)
}

/// Does what the jobs of the batch do, which then find nothing left to do. A worker may be at it, too.
async fn work_off(app: &App, before: IntakeDetails) -> anyhow::Result<IntakeDetails> {
    let id = before.intake.id;
    let bar = progress::bar(before.photos.len() as u64, "photographs searched");
    for photo in &before.photos {
        intakes::find_pieces(app, photo.id).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    for _ in 0..ROUNDS {
        intakes::pair_pieces(app, id).await?;
        let bar = progress::bar(before.photos.len() as u64, "photographs staged");
        for photo in &before.photos {
            intakes::stage_pieces(app, photo.id).await?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        let after = details(app, id).await?;
        if !after.is_working() {
            return Ok(after);
        }
    }
    details(app, id).await
}

/// Creates drafts of what leaves nothing to ask, and lists the rest.
async fn create(app: &App, details: &IntakeDetails, address: &str) -> anyhow::Result<()> {
    let choice = ProductChoice {
        currency: app.config.shop.currency,
        is_draft: true,
    };
    let actor = Actor::system("intake");
    let mut tx = app.db.begin().await?;
    let (products, unsure) =
        intakes::create_sure_products(&mut tx, &actor, details.intake.id, choice).await?;
    tx.commit().await?;
    println!(
        "{}",
        match products.len() {
            1 => "1 draft is created.".to_owned(),
            many => format!("{many} drafts are created."),
        }
    );
    for piece in &unsure {
        println!("Number {}: {}", piece.number, piece.reasons.join(" "));
    }
    let mut photos = details.photos.iter();
    let has_failed = photos.any(|photo| photo.status == PhotoStatus::Failed);
    if !unsure.is_empty() || has_failed {
        println!("Go on with the rest at {address}");
    }
    Ok(())
}
