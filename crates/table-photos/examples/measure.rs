//! Measures time and memory: `measure PHOTO…`, or without arguments on a drawn photograph of 12 megapixels.
//!
//! ```sh
//! cargo run --release -p table-photos --example measure -- photo.jpg
//! ```

use std::time::Instant;

use image::imageops::{FilterType, resize};
use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};
use table_photos::{StageOptions, Stager, Table};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths: Vec<String> = std::env::args().skip(1).collect();
    let is_drawn = paths.is_empty();
    if is_drawn {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
        paths.push(format!("{folder}/s203-bluebeads-front.jpg"));
    }
    for path in paths {
        let mut photo = read_upright(&path)?;
        if is_drawn {
            photo = resize(&photo, 4000, 3000, FilterType::Triangle);
        }
        measure(&path, &photo);
    }
    if let Some(peak) = peak_memory_mb() {
        println!("peak memory of this process: {peak} MB");
    }
    Ok(())
}

fn measure(path: &str, photo: &RgbImage) {
    let megapixels = f64::from(photo.width()) * f64::from(photo.height()) / 1e6;
    let start = Instant::now();
    let table = match Table::find(photo) {
        Ok(table) => table,
        Err(problem) => return println!("{path}: {megapixels:.1} megapixels: {problem}"),
    };
    let found = start.elapsed();
    if let Some(peak) = peak_memory_mb() {
        println!(
            "{peak} MB so far, {} of them the photograph",
            photo.len() >> 20
        );
    }
    let whole = table.pieces.iter().filter(|piece| piece.is_whole).count();
    println!(
        "{path}: {megapixels:.1} megapixels, {whole} whole pieces found in {:.2} s",
        found.as_secs_f64()
    );
    let start = Instant::now();
    let stager = Stager::new(photo, &table, StageOptions::default());
    let pieces = table.pieces.iter().filter(|piece| piece.is_whole);
    // What is staged is thrown away: only the time counts.
    let staged = pieces
        .map(|piece| stager.stage(piece).image.len())
        .filter(|&bytes| bytes > 0);
    let count = staged.count().max(1);
    println!(
        "staged in {:.3} s each",
        start.elapsed().as_secs_f64() / count as f64
    );
}

fn read_upright(path: &str) -> Result<RgbImage, Box<dyn std::error::Error>> {
    let mut decoder = ImageReader::open(path)?
        .with_guessed_format()?
        .into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// The most memory that this process has held, where the system tells.
fn peak_memory_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024)
}
