//! Scenes with their truth, and the scores of what is found in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};
use serde::Deserialize;
use table_photos::names::{Description, describe};
use table_photos::{Facing, Look, Piece, Table, duplicates, facing, pair};

/// Intersection over union from which a piece is found.
const FOUND: f64 = 0.5;

/// Share in the picture from which a piece may be called whole or cut off.
const SLIVER: f64 = 0.97;

/// Longest side of the raster on which overlaps are counted.
const RASTER: f64 = 700.0;

#[derive(Deserialize)]
struct Truth {
    kind: Option<String>,
    #[serde(default)]
    hard: bool,
    photos: Vec<TruePhoto>,
}

#[derive(Deserialize)]
struct TruePhoto {
    photo: String,
    width: u32,
    height: u32,
    side: String,
    pieces: Vec<TruePiece>,
}

#[derive(Deserialize)]
struct TruePiece {
    id: String,
    whole: bool,
    #[serde(default)]
    visible: f64,
    head_deg: f64,
    polygon: Vec<[f64; 2]>,
    /// Colors of the beads, and the pattern that the artist drew.
    #[serde(default)]
    palette: Vec<String>,
    pattern: Option<String>,
}

/// A scene: photographs of the same pieces.
pub struct Scene {
    pub name: String,
    truth: Truth,
    folder: PathBuf,
}

impl Scene {
    /// The group that the scene is scored in.
    pub fn group(&self) -> &'static str {
        match (self.truth.kind.as_deref(), self.truth.hard) {
            (_, true) => "hard",
            (Some("public"), _) => "public",
            _ => "plain",
        }
    }
}

/// Reads all scenes in `tests/data`.
pub fn scenes() -> Vec<Scene> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let names = std::fs::read_dir(&folder)
        .expect("tests/data")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name in UTF-8")
        });
    let mut names: Vec<String> = names
        .filter_map(|name| Some(name.strip_suffix(".truth.json")?.to_owned()))
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let text = std::fs::read_to_string(folder.join(format!("{name}.truth.json")));
            Scene {
                truth: serde_json::from_str(&text.expect("a file")).expect("the truth"),
                folder: folder.clone(),
                name,
            }
        })
        .collect()
}

/// Counts over photographs.
#[derive(Default)]
pub struct Scores {
    whole: usize,
    found: usize,
    claimed: usize,
    right: usize,
    upside_down: usize,
    overlaps: Vec<f64>,
    pairs: usize,
    paired: usize,
    pub duplicates: usize,
    pub duplicates_said: usize,
    pub duplicates_false: usize,
}

impl Scores {
    pub fn add(&mut self, other: &Scores) {
        self.whole += other.whole;
        self.found += other.found;
        self.claimed += other.claimed;
        self.right += other.right;
        self.upside_down += other.upside_down;
        self.overlaps.extend(&other.overlaps);
        self.pairs += other.pairs;
        self.paired += other.paired;
    }

    pub fn recall(&self) -> f64 {
        self.found as f64 / self.whole.max(1) as f64
    }

    pub fn precision(&self) -> f64 {
        self.right as f64 / self.claimed.max(1) as f64
    }

    pub fn mean_overlap(&self) -> f64 {
        self.overlaps.iter().sum::<f64>() / self.overlaps.len().max(1) as f64
    }

    pub fn paired_share(&self) -> f64 {
        self.paired as f64 / self.pairs.max(1) as f64
    }

    pub fn upside_down_share(&self) -> f64 {
        self.upside_down as f64 / self.whole.max(1) as f64
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} found, {} false, overlap {:.3}, {} upside down, {} of {} paired",
            self.found,
            self.whole,
            self.claimed - self.right,
            self.mean_overlap(),
            self.upside_down,
            self.paired,
            self.pairs
        )
    }
}

/// A piece of a photograph, and the true piece that it is.
type Named<'a> = (&'a Look, Option<&'a str>);

/// Looks of all whole pieces of a scene.
pub fn looks(scene: &Scene) -> Vec<Look> {
    let photos = scene.truth.photos.iter();
    photos
        .flat_map(|photo| find(scene, photo).pieces)
        .filter(|piece| piece.is_whole)
        .map(|piece| piece.look)
        .collect()
}

/// The side that each photograph of a scene shows, by its truth and by its pieces.
pub fn sides(scene: &Scene) -> Vec<(String, Option<Facing>)> {
    let photos = scene.truth.photos.iter();
    photos
        .map(|photo| {
            let pieces = find(scene, photo).pieces;
            let whole = pieces.iter().filter(|piece| piece.is_whole);
            let seen = facing(whole.map(|piece| (piece.outline.as_slice(), piece.head_degrees)));
            (photo.side.clone(), seen)
        })
        .collect()
}

/// A description of a piece, with the palette and the pattern that were drawn.
pub struct Described {
    pub description: Description,
    pub palette: Vec<String>,
    pub pattern: String,
}

/// Finds the pieces of a scene and describes them, as far as the truth says what was drawn.
pub fn describe_all(scene: &Scene) -> Vec<Described> {
    let mut described = Vec::new();
    for photo in &scene.truth.photos {
        let table = find(scene, photo);
        let names = score_photo(photo, &table.pieces, &mut Scores::default());
        for (piece, name) in table.pieces.iter().zip(names) {
            let mut truths = photo.pieces.iter();
            let truth = truths.find(|truth| Some(truth.id.as_str()) == name);
            if let Some(truth) = truth
                && let Some(pattern) = &truth.pattern
            {
                described.push(Described {
                    description: describe(&piece.look),
                    palette: truth.palette.clone(),
                    pattern: pattern.clone(),
                });
            }
        }
    }
    described
}

/// Finds the pieces of a scene, pairs them, and counts.
pub fn score(scene: &Scene) -> Scores {
    let mut scores = Scores::default();
    let tables: Vec<Table> = scene
        .truth
        .photos
        .iter()
        .map(|photo| find(scene, photo))
        .collect();
    let mut sides: BTreeMap<&str, Vec<Vec<Named<'_>>>> = BTreeMap::new();
    for (photo, table) in scene.truth.photos.iter().zip(&tables) {
        let names = score_photo(photo, &table.pieces, &mut scores);
        let named = table.pieces.iter().zip(names);
        let whole = named.filter(|(piece, _)| piece.is_whole);
        let looks = whole.map(|(piece, name)| (&piece.look, name)).collect();
        sides.entry(&photo.side).or_default().push(looks);
    }
    let fronts = distinct(&sides.remove("front").unwrap_or_default(), &mut scores);
    let backs = distinct(&sides.remove("back").unwrap_or_default(), &mut scores);
    score_pairs(&fronts, &backs, &mut scores);
    scores
}

fn find(scene: &Scene, photo: &TruePhoto) -> Table {
    let image = read_upright(&scene.folder.join(&photo.photo));
    assert_eq!((image.width(), image.height()), (photo.width, photo.height));
    Table::find(&image).unwrap_or_else(|problem| panic!("{}: {problem}", photo.photo))
}

fn read_upright(path: &Path) -> RgbImage {
    let mut decoder = ImageReader::open(path)
        .expect("a file")
        .into_decoder()
        .expect("an image");
    let orientation = decoder.orientation().expect("its orientation");
    let mut image = DynamicImage::from_decoder(decoder).expect("its pixels");
    image.apply_orientation(orientation);
    image.into_rgb8()
}

/// Counts what was found in one photograph. Returns the true piece of each found one.
fn score_photo<'a>(
    photo: &'a TruePhoto,
    pieces: &[Piece],
    scores: &mut Scores,
) -> Vec<Option<&'a str>> {
    let mut overlaps = Vec::new();
    for (truth, piece) in photo.pieces.iter().enumerate() {
        for (at, found) in pieces.iter().enumerate() {
            overlaps.push((overlap(photo, piece, found), truth, at));
        }
    }
    overlaps.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut names = vec![None; pieces.len()];
    let mut truths = BTreeSet::new();
    let mut matches = vec![None; pieces.len()];
    for (overlap, truth, at) in overlaps {
        if overlap >= FOUND && matches[at].is_none() && truths.insert(truth) {
            matches[at] = Some(truth);
            let true_piece = &photo.pieces[truth];
            if true_piece.whole && pieces[at].is_whole {
                names[at] = Some(true_piece.id.as_str());
                scores.found += 1;
                scores.overlaps.push(overlap);
                let turn = f64::from(pieces[at].head_degrees) - true_piece.head_deg;
                let turn = (turn + 180.0).rem_euclid(360.0) - 180.0;
                scores.upside_down += usize::from(turn.abs() > 90.0);
            }
        }
    }
    scores.whole += photo.pieces.iter().filter(|piece| piece.whole).count();
    for (matched, _) in matches
        .iter()
        .zip(pieces)
        .filter(|(_, piece)| piece.is_whole)
    {
        let truth = matched.map(|truth| &photo.pieces[truth]);
        if truth.is_some_and(|truth| !truth.whole && truth.visible >= SLIVER) {
            continue;
        }
        scores.claimed += 1;
        scores.right += usize::from(truth.is_some_and(|truth| truth.whole));
    }
    names
}

/// The pieces of a side, those in two photographs once. Counts what was said about them.
fn distinct<'a>(photos: &[Vec<Named<'a>>], scores: &mut Scores) -> Vec<Named<'a>> {
    let looks: Vec<Vec<&Look>> = photos
        .iter()
        .map(|photo| photo.iter().map(|(look, _)| *look).collect())
        .collect();
    let said = duplicates(&looks);
    let name = |(photo, at): (usize, usize)| photos[photo][at].1;
    for &[one, other] in &said {
        match name(one).is_some() && name(one) == name(other) {
            true => scores.duplicates_said += 1,
            false => scores.duplicates_false += 1,
        }
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in photos.iter().flatten().filter_map(|(_, name)| *name) {
        *counts.entry(name).or_default() += 1;
    }
    scores.duplicates += counts
        .values()
        .map(|count| count * (count - 1) / 2)
        .sum::<usize>();
    let second: BTreeSet<(usize, usize)> = said.iter().map(|[_, other]| *other).collect();
    let all = photos.iter().enumerate().flat_map(|(photo, pieces)| {
        pieces
            .iter()
            .enumerate()
            .map(move |(at, piece)| ((photo, at), *piece))
    });
    all.filter(|(place, _)| !second.contains(place))
        .map(|(_, piece)| piece)
        .collect()
}

fn score_pairs(fronts: &[Named<'_>], backs: &[Named<'_>], scores: &mut Scores) {
    let names = |side: &[Named<'_>]| -> BTreeSet<String> {
        side.iter()
            .filter_map(|(_, name)| Some((*name)?.to_owned()))
            .collect()
    };
    scores.pairs += names(fronts).intersection(&names(backs)).count();
    let looks = |side: &[Named<'_>]| side.iter().map(|(look, _)| (*look).clone()).collect();
    let (front_looks, back_looks): (Vec<Look>, Vec<Look>) = (looks(fronts), looks(backs));
    let (front_looks, back_looks): (Vec<&Look>, Vec<&Look>) =
        (front_looks.iter().collect(), back_looks.iter().collect());
    for pair in pair(&front_looks, &back_looks) {
        let (front, back) = (fronts[pair.front].1, backs[pair.back].1);
        scores.paired += usize::from(front.is_some() && front == back);
    }
}

/// Intersection over union, as far as both are inside the photograph.
fn overlap(photo: &TruePhoto, truth: &TruePiece, found: &Piece) -> f64 {
    let found: Vec<[f64; 2]> = found
        .outline
        .iter()
        .map(|point| [f64::from(point.x), f64::from(point.y)])
        .collect();
    let bounds = |polygon: &[[f64; 2]], axis: usize, limit: u32| {
        let values = polygon
            .iter()
            .map(|point| point[axis].clamp(0.0, f64::from(limit)));
        values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
            (least.min(value), most.max(value))
        })
    };
    let union = |axis: usize, limit: u32| {
        let (a, b) = (
            bounds(&truth.polygon, axis, limit),
            bounds(&found, axis, limit),
        );
        (a.0.min(b.0), a.1.max(b.1), a.0.max(b.0) < a.1.min(b.1))
    };
    let ((left, right, is_x), (top, bottom, is_y)) =
        (union(0, photo.width), union(1, photo.height));
    if !is_x || !is_y {
        return 0.0;
    }
    let scale = (RASTER / (right - left).max(bottom - top)).min(4.0);
    let (width, height) = (
        ((right - left) * scale) as usize,
        ((bottom - top) * scale) as usize,
    );
    let (mut both, mut either) = (0, 0);
    for row in 0..height {
        let y = top + (row as f64 + 0.5) / scale;
        let (a, b) = (crossings(&truth.polygon, y), crossings(&found, y));
        for column in 0..width {
            let x = left + (column as f64 + 0.5) / scale;
            let is_in = |crossings: &[f64]| crossings.iter().filter(|at| **at < x).count() % 2 == 1;
            both += usize::from(is_in(&a) && is_in(&b));
            either += usize::from(is_in(&a) || is_in(&b));
        }
    }
    both as f64 / f64::from(either.max(1) as u32)
}

/// Places at which a polygon crosses a row.
fn crossings(polygon: &[[f64; 2]], y: f64) -> Vec<f64> {
    let edges = polygon.iter().zip(polygon.iter().cycle().skip(1));
    edges
        .filter(|([_, from], [_, to])| (*from <= y) != (*to <= y))
        .map(|([x, from], [to_x, to])| x + (to_x - x) * (y - from) / (to - from))
        .collect()
}
