//! `catalog import-lighters`: products from a folder of photographs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::progress;
use crate::app::App;
use crate::audit::Actor;
use crate::error::Error;
use crate::images;
use crate::products::lighters::{
    self, FileFault, Lighter, Matching, NamedFile, PlannedLighter, Step, Summary,
};
use crate::products::{self, FileImages};
use crate::types::money::Currency;

#[derive(Args)]
pub(super) struct ImportLighters {
    /// Folder with the photographs, and its subfolders
    dir: PathBuf,
    /// Type of what lies in no folder named classic or mini: 1 Classic, 2 Mini
    #[arg(long, value_name = "TYPE", value_parser = clap::value_parser!(i16).range(1..=2))]
    lighter_type: Option<i16>,
    /// A category by the name that the files have for it, and its id; may be repeated
    #[arg(long = "category", value_name = "NAME=ID", value_parser = assignment)]
    categories: Vec<(String, i64)>,
    /// Show what would be made, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace images and prices of products that the catalog has
    #[arg(long)]
    update: bool,
    /// Make drafts, which shoppers do not see
    #[arg(long)]
    draft: bool,
}

/// Reads `NAME=ID`.
fn assignment(text: &str) -> Result<(String, i64), String> {
    let read = text
        .rsplit_once('=')
        .and_then(|(name, id)| Some((name.trim().to_owned(), id.trim().parse().ok()?)));
    read.filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| "must be NAME=ID, as \"Earths Hue=3\"".to_owned())
}

/// Runs the command. Exits with 1 if a file was not taken.
pub(super) async fn import(app: &App, command: &ImportLighters) -> anyhow::Result<ExitCode> {
    let currency = app.config.shop.currency;
    let mut faults = Vec::new();
    let files = find_files(&command.dir, &mut faults)?;
    anyhow::ensure!(
        !files.is_empty() || !faults.is_empty(),
        "there is no photograph in {}",
        command.dir.display()
    );
    let mut named = Vec::new();
    let mut paths = Vec::new();
    for (file, path) in files {
        match lighters::read_name(&file, command.lighter_type, currency) {
            Ok(read) => {
                named.push(read);
                paths.push((file, path));
            }
            Err(why) => faults.push(FileFault::new(file, why)),
        }
    }
    let images = take_images(app, &paths).await?;
    for (file, _) in &paths {
        if let Some(Err(why)) = images.outcome(file) {
            faults.push(FileFault::new(file, why));
        }
    }
    let (groups, found): (Vec<_>, Vec<_>) = lighters::group(named)
        .into_iter()
        .map(|group| (group.files, group.faults))
        .unzip();
    faults.extend(found.into_iter().flatten());
    let done = make(app, command, &groups, &images, faults).await;
    let is_kept = matches!(done, Ok(Outcome::Made(_)));
    if !is_kept {
        images.discard(&app.storage, &app.db).await;
    }
    let is_fine = match done? {
        Outcome::Faulty(mut faults) => {
            faults.sort();
            for FileFault { file, why } in &faults {
                eprintln!("{file}: {}", why.trim_end_matches('.'));
            }
            eprintln!("{}", nothing_changed(faults.len()));
            false
        }
        Outcome::Planned(summary) => {
            println!("Dry run: nothing was changed.");
            summary.left == 0
        }
        Outcome::Made(summary) => {
            println!("{}", in_words(&summary));
            summary.left == 0
        }
    };
    Ok(match is_fine {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// End of the import.
enum Outcome {
    /// Nothing was changed, because of these.
    Faulty(Vec<FileFault>),
    /// Nothing was changed, because it was a dry run.
    Planned(Summary),
    Made(Summary),
}

/// Compares the products with the catalog, prints what becomes of each, and makes them unless there is a fault.
async fn make(
    app: &App,
    command: &ImportLighters,
    groups: &[Vec<NamedFile>],
    images: &FileImages,
    mut faults: Vec<FileFault>,
) -> anyhow::Result<Outcome> {
    let whole: Vec<(&[NamedFile], Lighter)> = groups
        .iter()
        .filter_map(|group| Some((group.as_slice(), lighter(group, images)?)))
        .collect();
    let (groups, products): (Vec<&[NamedFile]>, Vec<Lighter>) = whole.into_iter().unzip();
    let matching = Matching {
        currency: app.config.shop.currency,
        categories: command.categories.clone(),
        update: command.update,
    };
    let mut tx = app.db.begin().await?;
    let planned = match lighters::plan(&mut tx, products, &matching).await {
        Ok(planned) => planned,
        Err(Error::Invalid(field_errors)) => {
            faults.extend(field_errors.iter().map(|error| {
                let file = file_of(&error.field, &groups);
                FileFault::new(
                    file,
                    format!("{}: {}", field_of(&error.field), error.message),
                )
            }));
            Vec::new()
        }
        Err(error) => return Err(error.into()),
    };
    for one in &planned {
        println!("{}", line(one, matching.currency, command.draft));
    }
    if !faults.is_empty() {
        return Ok(Outcome::Faulty(faults));
    }
    let actor = Actor::system("import");
    let summary =
        lighters::apply(&mut tx, &actor, &planned, matching.currency, command.draft).await?;
    if command.dry_run {
        tx.rollback().await?;
        return Ok(Outcome::Planned(summary));
    }
    tx.commit().await?;
    Ok(Outcome::Made(summary))
}

/// The product of a group of files; `None` when one of its images was refused.
fn lighter(group: &[NamedFile], images: &FileImages) -> Option<Lighter> {
    let first = group.first()?;
    let ids = group.iter().map(|file| images.outcome(&file.file)?.ok());
    Some(Lighter {
        name: first.name.clone(),
        category: first.category.clone(),
        lighter_type: first.lighter_type,
        price: first.price,
        images: ids.map(|id| id.cloned()).collect::<Option<_>>()?,
    })
}

/// First file of the product that a field error `products[3].price` is about.
fn file_of<'a>(field: &str, groups: &[&'a [NamedFile]]) -> &'a str {
    let index = field
        .strip_prefix("products[")
        .and_then(|rest| rest.split_once(']'))
        .and_then(|(index, _)| index.parse::<usize>().ok());
    let group = index.and_then(|index| groups.get(index));
    group
        .and_then(|group| group.first())
        .map_or("", |file| file.file.as_str())
}

/// The field without its product.
fn field_of(field: &str) -> &str {
    field.rsplit_once('.').map_or(field, |(_, field)| field)
}

async fn take_images(app: &App, paths: &[(String, PathBuf)]) -> anyhow::Result<FileImages> {
    let bar = progress::bar(paths.len() as u64, "images");
    let taken = FileImages::take_files(&app.storage, &app.db, paths, &|| bar.inc(1)).await?;
    bar.finish_and_clear();
    Ok(taken)
}

/// Finds the files of a folder and its subfolders, by their paths below it, in order of names. Hidden ones are passed over.
fn find_files(dir: &Path, faults: &mut Vec<FileFault>) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    let mut folders = vec![(String::new(), dir.to_owned())];
    while let Some((below, folder)) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("reading the folder {}", folder.display()))?;
        for entry in entries {
            let entry =
                entry.with_context(|| format!("reading the folder {}", folder.display()))?;
            let os_name = entry.file_name();
            let name = os_name.to_string_lossy();
            if images::is_litter(&name) {
                continue;
            }
            let path = format!("{below}{name}");
            // Through a link, the kind of what it leads to; a folder behind one could lead back here.
            let kind = entry.file_type()?;
            let is_file = kind.is_file() || (kind.is_symlink() && entry.path().is_file());
            match os_name.to_str() {
                None => faults.push(FileFault::new(path, "has a name that is not UTF-8")),
                Some(_) if is_file => files.push((path, entry.path())),
                Some(_) if kind.is_dir() => folders.push((format!("{path}/"), entry.path())),
                Some(_) => faults.push(FileFault::new(path, "is no file")),
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The line of a product in the output: `new       Blue Jay · Earths Hue · Classic BIC · $47.50 · 2 images`.
fn line(one: &PlannedLighter, currency: Currency, is_draft: bool) -> String {
    let lighter = &one.lighter;
    let price = lighter.price.in_currency(currency.code());
    let (what, more) = match &one.step {
        Step::Create if is_draft => ("draft", String::new()),
        Step::Create => ("new", String::new()),
        Step::Keep(_) => ("known", String::new()),
        Step::Leave(id) => (
            "left",
            format!(": the catalog has it with other images ({id}); --update replaces them"),
        ),
        Step::Update(id, replaced) => {
            let images = if replaced.images {
                ", images replaced"
            } else {
                ""
            };
            let price = replaced.former_price.map(|former| {
                let former = former.in_currency(currency.code());
                format!(", price was {former}")
            });
            (
                "update",
                format!(" ({id}{images}{})", price.unwrap_or_default()),
            )
        }
    };
    let category = match one.category {
        Some(_) => one.category_name().to_owned(),
        None => format!("{} (new)", one.category_name()),
    };
    let images = match lighter.images.len() {
        1 => "1 image".to_owned(),
        many => format!("{many} images"),
    };
    let size = products::lighter_type_display(lighter.lighter_type);
    format!(
        "{what:<6} {} · {category} · {size} · {price} · {images}{more}",
        lighter.name
    )
}

fn nothing_changed(faults: usize) -> String {
    match faults {
        1 => "Nothing was changed: 1 file cannot be taken.".to_owned(),
        many => format!("Nothing was changed: {many} faults in files."),
    }
}

fn in_words(summary: &Summary) -> String {
    format!(
        "Products: {} created, {} updated, {} known, {} left as they are. Categories: {} created.",
        summary.created, summary.updated, summary.kept, summary.left, summary.categories_created
    )
}
