//! `intake.json`: what was found, in the format of the evaluator.

use serde::Serialize;
use table_photos::{Piece, Size};

use super::{Item, Photo, Place, Side};

/// The format's name and version.
const FORMAT: &str = "spirit-beads-photo-intake/1";

/// Everything found in a batch. Lengths are pixels of the upright photograph.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    format: &'static str,
    photos: Vec<PhotoReport<'a>>,
    pairs: Vec<PairReport<'a>>,
    duplicates: Vec<DuplicateReport<'a>>,
}

#[derive(Serialize)]
struct PhotoReport<'a> {
    photo: &'a str,
    width: u32,
    height: u32,
    side: &'static str,
    seconds: f64,
    /// The sentence that says why there are no pieces.
    problem: Option<&'a str>,
    remarks: Vec<String>,
    pieces: Vec<PieceReport>,
}

#[derive(Serialize)]
struct PieceReport {
    id: String,
    whole: bool,
    head_deg: f32,
    head_doubtful: bool,
    size: Option<&'static str>,
    polygon: Vec<[f32; 2]>,
}

#[derive(Serialize)]
struct PieceName<'a> {
    photo: &'a str,
    piece: String,
}

#[derive(Serialize)]
struct PairReport<'a> {
    /// Number in the names of the staged images.
    number: usize,
    front: PieceName<'a>,
    back: PieceName<'a>,
    sure: bool,
}

#[derive(Serialize)]
struct DuplicateReport<'a> {
    a: PieceName<'a>,
    b: PieceName<'a>,
}

pub(super) fn of<'a>(photos: &'a [Photo], items: &[Item], twice: &[[Place; 2]]) -> Report<'a> {
    let name = |(photo, at): Place| PieceName {
        photo: &photos[photo].name,
        piece: piece_id(at),
    };
    let pair = |(index, item): (usize, &Item)| {
        Some(PairReport {
            number: index + 1,
            front: name(item.front?),
            back: name(item.back?),
            sure: item.pair?.is_sure,
        })
    };
    Report {
        format: FORMAT,
        photos: photos.iter().map(photo_report).collect(),
        pairs: items.iter().enumerate().filter_map(pair).collect(),
        duplicates: twice
            .iter()
            .map(|&[a, b]| DuplicateReport {
                a: name(a),
                b: name(b),
            })
            .collect(),
    }
}

fn piece_id(at: usize) -> String {
    (at + 1).to_string()
}

fn photo_report(photo: &Photo) -> PhotoReport<'_> {
    let pieces = photo
        .table
        .iter()
        .flat_map(|table| table.pieces.iter().enumerate());
    PhotoReport {
        photo: &photo.name,
        width: photo.width,
        height: photo.height,
        side: match photo.side {
            Side::Front => "front",
            Side::Back => "back",
        },
        seconds: photo.seconds,
        problem: photo.table.as_ref().err().map(String::as_str),
        remarks: photo
            .table
            .as_ref()
            .map(|table| table.remarks())
            .unwrap_or_default(),
        pieces: pieces.map(|(at, piece)| piece_report(at, piece)).collect(),
    }
}

fn piece_report(at: usize, piece: &Piece) -> PieceReport {
    // A tenth of a pixel is finer than any outline.
    let rounded = |value: f32| (value * 10.0).round() / 10.0;
    PieceReport {
        id: piece_id(at),
        whole: piece.is_whole,
        head_deg: piece.head_degrees,
        head_doubtful: piece.is_head_doubtful,
        size: piece.size.map(|size| match size {
            Size::Classic => "classic",
            Size::Mini => "mini",
        }),
        polygon: piece
            .outline
            .iter()
            .map(|point| [rounded(point.x), rounded(point.y)])
            .collect(),
    }
}
