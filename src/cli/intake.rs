//! `catalog intake`: from photographs of a table to staged images in a folder, without a database, or to a batch of the
//! shop.

mod report;
mod shop;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::{Args, ValueEnum};
use image::{ImageFormat, RgbImage};
use table_photos::{Look, Pair, Size, StageOptions, Stager, Table, duplicates, pair};

use super::progress;
use crate::config::{Config, MediaLimits};
use crate::images::{self, Refusal};
use crate::types::ids::ImageId;

/// Limits of photographs of a table, which are larger than product images.
const LIMITS: MediaLimits = MediaLimits {
    file_bytes: 30 << 20,
    files: 20,
    megapixels: 50,
};

/// Endings of the files in a folder that are taken for photographs. Those that cannot be read are named.
const ENDINGS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "heic", "heif", "avif"];

/// Part of the name of a photograph of the backs.
const BACK: &str = "back";

#[derive(Args)]
pub(super) struct Intake {
    /// Photographs, or folders of them; a name with "back" in it is a photograph of the backs
    #[arg(required = true)]
    path: Vec<PathBuf>,
    /// Folder to write intake.json and the staged images into; without it, a batch of the shop is made
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on to drafts of what leaves nothing to ask, and list the rest
    #[arg(long, conflicts_with = "out")]
    create: bool,
    /// Model of the lighters: as seen in the photographs, or the same for all
    #[arg(long, value_enum, default_value = "as-seen")]
    size: SizeChoice,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SizeChoice {
    AsSeen,
    Classic,
    Mini,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Front,
    Back,
}

impl Side {
    fn of(path: &Path) -> Side {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().to_lowercase());
        match name.is_some_and(|name| name.contains(BACK)) {
            true => Side::Back,
            false => Side::Front,
        }
    }
}

/// A photograph in which pieces were looked for.
struct Photo {
    path: PathBuf,
    name: String,
    side: Side,
    width: u32,
    height: u32,
    seconds: f64,
    /// The pieces, or the sentence that says why there are none.
    table: Result<Table, String>,
}

/// Place of a piece: the index of its photograph, and its own.
type Place = (usize, usize);

/// The images of one product: a piece's front, its back, or both.
struct Item {
    front: Option<Place>,
    back: Option<Place>,
    pair: Option<Pair>,
}

/// Runs the command. Exits with 1 if a photograph could not be used.
pub(super) async fn run(intake: Intake, config: Config) -> anyhow::Result<ExitCode> {
    match &intake.out {
        Some(out) => into_folder(&intake, out).await,
        None => shop::run(&intake, config).await,
    }
}

async fn into_folder(intake: &Intake, out: &Path) -> anyhow::Result<ExitCode> {
    let paths = photographs(&intake.path)?;
    std::fs::create_dir_all(out).with_context(|| format!("making the folder {}", out.display()))?;
    let mut faults = 0;
    let mut photos = Vec::new();
    let mut seen = BTreeSet::new();
    let bar = progress::bar(paths.len() as u64, "photographs searched");
    for path in paths {
        match search(&path, &mut seen).await {
            Ok(photo) => {
                let said = photo
                    .table
                    .as_ref()
                    .map_or_else(|problem| vec![problem.clone()], Table::remarks);
                faults += usize::from(photo.table.is_err());
                bar.suspend(|| say(&path, &said));
                photos.push(photo);
            }
            Err(sentence) => {
                faults += 1;
                bar.suspend(|| say(&path, &[sentence]));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let twice = find_twice(&photos);
    let items = items(&photos, &twice);
    settle_sizes(&mut photos, &items, intake.size);
    let bar = progress::bar(photos.len() as u64, "photographs staged");
    for index in 0..photos.len() {
        stage(&photos, index, &items, out).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let report = report::of(&photos, &items, &twice);
    let path = out.join("intake.json");
    std::fs::write(&path, serde_json::to_vec(&report)?)
        .with_context(|| format!("writing {}", path.display()))?;
    print_summary(&items, out);
    Ok(match faults {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn say(path: &Path, sentences: &[String]) {
    for sentence in sentences {
        eprintln!("{}: {sentence}", path.display());
    }
}

/// The files that are named, and those in the folders that are named, in the order of their names.
fn photographs(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut found = Vec::new();
        for entry in
            std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?
        {
            found.push(entry?.path());
        }
        found.retain(|file| {
            let ending = file
                .extension()
                .map(|ending| ending.to_string_lossy().to_lowercase());
            file.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
        });
        found.sort();
        files.extend(found);
    }
    anyhow::ensure!(!files.is_empty(), "no photographs there");
    anyhow::ensure!(
        files.len() <= LIMITS.files,
        "{} photographs are too many: up to {} at once",
        files.len(),
        LIMITS.files
    );
    Ok(files)
}

/// Finds the pieces of one photograph. An error is a sentence about the file.
async fn search(path: &Path, seen: &mut BTreeSet<String>) -> Result<Photo, String> {
    let content = read(path)?;
    let is_new = seen.insert(ImageId::of(&content).0);
    if !is_new {
        return Err("This photograph is in the batch already.".to_owned());
    }
    let name = path
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    if !seen.insert(name.clone()) {
        return Err("Another photograph has this name already.".to_owned());
    }
    let searched = on_pixels(content, |image| {
        let start = Instant::now();
        let table = Table::find(&image).map_err(|problem| problem.to_string());
        (image.dimensions(), start.elapsed(), table)
    });
    let ((width, height), elapsed, table) = searched.await?;
    Ok(Photo {
        side: Side::of(path),
        path: path.to_owned(),
        name,
        width,
        height,
        seconds: elapsed.as_secs_f64(),
        table,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path)
        .map_err(|error| format!("{error}."))?
        .len();
    if size > LIMITS.file_bytes {
        return Err(Refusal::TooLarge.sentence(&LIMITS));
    }
    std::fs::read(path).map_err(|error| format!("{error}."))
}

/// Works on the pixels of a file, on a thread of its own: a decoder that panics ends that thread alone.
async fn on_pixels<T: Send + 'static>(
    content: Vec<u8>,
    work: impl FnOnce(RgbImage) -> T + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(move || {
        let image = images::decode_opaque(&content, &LIMITS)?;
        drop(content);
        Ok(work(image))
    });
    let done = done.await.unwrap_or(Err(Refusal::Damaged));
    done.map_err(|refusal: Refusal| refusal.sentence(&LIMITS))
}

/// The whole pieces of a side, by photograph.
fn looks(photos: &[Photo], side: Side) -> Vec<(Place, &Look)> {
    let of_side = photos
        .iter()
        .enumerate()
        .filter(|(_, photo)| photo.side == side);
    of_side
        .flat_map(|(index, photo)| {
            let pieces = photo
                .table
                .iter()
                .flat_map(|table| table.pieces.iter().enumerate());
            pieces
                .filter(|(_, piece)| piece.is_whole)
                .map(move |(at, piece)| ((index, at), &piece.look))
        })
        .collect()
}

/// Pieces that are in two photographs of one side.
fn find_twice(photos: &[Photo]) -> Vec<[Place; 2]> {
    let mut twice = Vec::new();
    for side in [Side::Front, Side::Back] {
        let mut by_photo: Vec<Vec<(Place, &Look)>> = Vec::new();
        for (place, look) in looks(photos, side) {
            match by_photo.last_mut() {
                Some(last) if last[0].0.0 == place.0 => last.push((place, look)),
                _ => by_photo.push(vec![(place, look)]),
            }
        }
        let looks: Vec<Vec<&Look>> = by_photo
            .iter()
            .map(|photo| photo.iter().map(|(_, look)| *look).collect())
            .collect();
        let place = |(photo, at): (usize, usize)| by_photo[photo][at].0;
        twice.extend(duplicates(&looks).into_iter().map(|both| both.map(place)));
    }
    twice
}

/// Fronts in their order, each with its back; then the backs without a front.
fn items(photos: &[Photo], twice: &[[Place; 2]]) -> Vec<Item> {
    let second: BTreeSet<Place> = twice.iter().map(|[_, second]| *second).collect();
    let distinct = |side: Side| -> Vec<(Place, &Look)> {
        let mut pieces = looks(photos, side);
        pieces.retain(|(place, _)| !second.contains(place));
        pieces
    };
    let (fronts, backs) = (distinct(Side::Front), distinct(Side::Back));
    let only_looks = |pieces: &[(Place, &Look)]| -> Vec<Look> {
        pieces.iter().map(|(_, look)| (*look).clone()).collect()
    };
    let (front_looks, back_looks) = (only_looks(&fronts), only_looks(&backs));
    let pairs = pair(
        &front_looks.iter().collect::<Vec<_>>(),
        &back_looks.iter().collect::<Vec<_>>(),
    );
    let mut items: Vec<Item> = fronts
        .iter()
        .enumerate()
        .map(|(index, (place, _))| {
            let pair = pairs.iter().find(|pair| pair.front == index).copied();
            Item {
                front: Some(*place),
                back: pair.map(|pair| backs[pair.back].0),
                pair,
            }
        })
        .collect();
    let is_alone = |index: &usize| pairs.iter().all(|pair| pair.back != *index);
    items.extend((0..backs.len()).filter(is_alone).map(|index| Item {
        front: None,
        back: Some(backs[index].0),
        pair: None,
    }));
    items
}

/// Gives both sides of a pair the same size: the chosen one, or that of the front, or that of the back.
fn settle_sizes(photos: &mut [Photo], items: &[Item], choice: SizeChoice) {
    for item in items {
        let places = [item.front, item.back].into_iter().flatten();
        let seen = places.clone().find_map(|(photo, at)| {
            photos[photo]
                .table
                .as_ref()
                .ok()
                .and_then(|table| table.pieces[at].size)
        });
        let size = match choice {
            SizeChoice::AsSeen => seen,
            SizeChoice::Classic => Some(Size::Classic),
            SizeChoice::Mini => Some(Size::Mini),
        };
        for (photo, at) in places {
            if let Ok(table) = &mut photos[photo].table {
                table.pieces[at].size = size;
            }
        }
    }
}

/// Writes the staged images of one photograph's pieces.
async fn stage(photos: &[Photo], index: usize, items: &[Item], out: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for (number, item) in items.iter().enumerate() {
        for (place, side) in [(item.front, 1), (item.back, 2)] {
            if let Some((photo, at)) = place
                && photo == index
            {
                files.push((at, out.join(format!("{}-{side}.png", number + 1))));
            }
        }
    }
    let photo = &photos[index];
    let Ok(table) = &photo.table else {
        return Ok(());
    };
    // The photographs of a batch together may take more memory than there is: each is decoded a second time instead.
    let content = read(&photo.path).map_err(anyhow::Error::msg)?;
    let table = table.clone();
    let staged = on_pixels(content, move |image| -> anyhow::Result<()> {
        let stager = Stager::new(&image, &table, StageOptions::default());
        for (at, path) in files {
            let staged = stager.stage(&table.pieces[at]);
            staged
                .image
                .save_with_format(&path, ImageFormat::Png)
                .with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    });
    staged.await.map_err(anyhow::Error::msg)?
}

fn print_summary(items: &[Item], out: &Path) {
    let count = |is_counted: fn(&&Item) -> bool| items.iter().filter(is_counted).count();
    let fronts = count(|item| item.front.is_some());
    let backs = count(|item| item.back.is_some());
    let paired = count(|item| item.pair.is_some());
    let sure = count(|item| item.pair.is_some_and(|pair| pair.is_sure));
    println!(
        "{fronts} fronts and {backs} backs: {paired} pairs, {sure} of them sure. intake.json and the staged images are in {}.",
        out.display()
    );
    if backs > 0 && fronts > 0 {
        for (index, item) in items.iter().enumerate() {
            match (item.pair, item.front) {
                (Some(pair), _) if !pair.is_sure => {
                    println!("Number {} is to be checked.", index + 1)
                }
                (None, Some(_)) => println!("Number {} has no back.", index + 1),
                (None, None) => println!("Number {} has no front.", index + 1),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_back_in_it_is_a_back() {
        for (name, side) in [
            ("table/IMG_1.jpg", Side::Front),
            ("backs/IMG_1.jpg", Side::Front),
            ("table/Monday-BACK-2.jpg", Side::Back),
            ("feedback.png", Side::Back),
        ] {
            assert_eq!(Side::of(Path::new(name)), side, "{name}");
        }
    }
}
