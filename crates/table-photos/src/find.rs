//! The finder: from a photograph to outlines, step by step.

use std::fmt;

use image::RgbImage;

use crate::balance::{Balance, LitPiece, evened};
use crate::board::Board;
use crate::body::Body;
use crate::color::Light;
use crate::copy::WorkingCopy;
use crate::evidence::EvidenceMap;
use crate::figure::{Figure, Scene};
use crate::grid::percentile;
use crate::look::Look;
use crate::parting::{Part, Parting};
use crate::regions::{Region, UsualSize, find_regions, possible_sizes};
use crate::shape::{Measures, Point, area, bounds, points_inside, simplified};
use crate::sizes::{Build, Size, tell_sizes};
use crate::upright::{Head, find_head};

/// Most pieces in one photograph. A table with more is not photographed so that beads can be seen.
pub const MOST_PIECES: usize = 60;

/// Height of a piece in pixels of the photograph from which a staged image is sharp.
const SHARP_FROM: f32 = 450.0;

/// Share of the copy below which the board is a part of a pattern, if board and pieces together hold less than the other.
const PATTERNED_SHARE: f32 = 0.35;
const EXPLAINED_SHARE: f32 = 0.6;

/// Lightness of the lightest tenth below which a photograph is very dark.
const DARK: f32 = 0.35;

/// Roughness of beads below which they are blurred.
const BLURRED: f32 = 0.012;

/// Roughness over the board's from which a surface is beadwork. In noise, parts of the board differ by 0.14.
const ROUGHER: f32 = 1.2;

/// Reason for which a photograph has no pieces to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No surface is large enough to be a board.
    NoBoard,
    /// The surface has a pattern from which pieces cannot be told.
    Patterned,
    /// Only the board, or things that are no lighters.
    NoPieces,
    /// More than [`MOST_PIECES`].
    TooManyPieces,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NoBoard => f.write_str(
                "No plain background was found. Lay the pieces on one board of one color, and let it fill the picture.",
            ),
            Problem::Patterned => {
                f.write_str("The background is patterned: pieces cannot be told from it.")
            }
            Problem::NoPieces => f.write_str("Nothing here looks like a lighter."),
            Problem::TooManyPieces => write!(
                f,
                "More than {MOST_PIECES} pieces are in this photograph. Photograph them in several."
            ),
        }
    }
}

impl std::error::Error for Problem {}

/// A piece in a photograph.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The outline in pixels of the photograph, clockwise on the screen.
    pub outline: Vec<Point>,
    /// True if all of it is in the picture.
    pub is_whole: bool,
    /// Direction of the head in degrees clockwise; 0 is up. From −180 to 180.
    pub head_degrees: f32,
    /// True if the other end may be the head.
    pub is_head_doubtful: bool,
    /// The model, if it can be told.
    pub size: Option<Size>,
    /// Height along the axis in pixels of the photograph.
    pub height: f32,
    /// The look by which its back, or its front, is found.
    pub look: Look,
}

impl Piece {
    pub(crate) fn lit(&self) -> LitPiece<'_> {
        LitPiece {
            outline: &self.outline,
            head_degrees: self.head_degrees,
            height: self.height,
        }
    }
}

/// Everything found in a photograph.
#[derive(Clone)]
pub struct Table {
    /// The pieces in reading order: rows from the top, each from the left.
    pub pieces: Vec<Piece>,
    pub(crate) board: Board,
    /// Pixels of the working copy per pixel of the photograph.
    pub(crate) scale: f32,
    is_patterned: bool,
    is_dark: bool,
    is_blurred: bool,
}

impl Table {
    /// Finds the pieces in a photograph that is upright and in sRGB.
    ///
    /// # Errors
    /// A [`Problem`], which is a sentence for the photographer.
    pub fn find(photo: &RgbImage) -> Result<Table, Problem> {
        if photo.width() < 16 || photo.height() < 16 {
            return Err(Problem::NoBoard);
        }
        let copy = WorkingCopy::of(photo);
        let board = Board::find(&copy).ok_or(Problem::NoBoard)?;
        let evidence = EvidenceMap::of(&copy, &board);
        let regions = find_regions(&copy, &board, &evidence);
        let (usual, parts) = parted(&copy, &evidence, &regions).ok_or(Problem::NoPieces)?;
        let scene = Scene {
            copy: &copy,
            board: &board,
            evidence: &evidence,
            usual,
            parts: &parts,
        };
        let (found, others) = judged(&scene);
        let is_patterned = others >= 3 && 2 * others >= found.len();
        let has_whole = found.iter().any(|found| found.is_whole);
        let is_rest = board.share < PATTERNED_SHARE
            && (!has_whole || board.share + share_of(&found, &copy) < EXPLAINED_SHARE);
        if found.is_empty() || is_rest || is_patterned && !has_whole {
            return Err(match is_patterned || is_rest {
                true => Problem::Patterned,
                false => Problem::NoPieces,
            });
        }
        if found.len() > MOST_PIECES {
            return Err(Problem::TooManyPieces);
        }
        Ok(Table {
            pieces: pieces(&found, &copy, &board),
            scale: copy.scale,
            is_patterned,
            is_dark: lightest(&copy) < DARK,
            is_blurred: sharpness(&scene, &found) < BLURRED,
            board,
        })
    }

    /// Remarks on the photograph, as sentences for the photographer.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.is_patterned {
            remarks.push(Problem::Patterned.to_string());
        }
        if self.is_dark {
            remarks.push("This photograph is very dark.".to_owned());
        } else if self.is_blurred {
            remarks.push("This photograph is blurred.".to_owned());
        }
        let cut_off = self.pieces.iter().filter(|piece| !piece.is_whole).count();
        match cut_off {
            0 => {}
            1 => remarks
                .push("1 piece is cut off by the edge: not used. Photograph it again.".to_owned()),
            count => remarks.push(format!(
                "{count} pieces are cut off by the edge: not used. Photograph them again."
            )),
        }
        let whole = self.pieces.iter().filter(|piece| piece.is_whole);
        let mut heights: Vec<f32> = whole.map(|piece| piece.height).collect();
        let height = percentile(&mut heights, 0.5);
        if height > 0.0 && height < SHARP_FROM {
            remarks.push(format!(
                "The pieces are only {height:.0} pixels high: step closer, from {SHARP_FROM:.0} they look sharp."
            ));
        }
        remarks
    }
}

/// A piece in the copy, tidied.
struct Found {
    figure: Figure,
    outline: Vec<Point>,
    is_whole: bool,
    head: Head,
    body: Body,
}

impl Found {
    fn build(&self) -> Build {
        Build {
            length: self.figure.rows().len() as f32,
            body_aspect: self.body.length() / self.body.width(),
        }
    }
}

/// Parts the regions into pieces, by the size at which the parts look most like pieces.
fn parted(
    copy: &WorkingCopy,
    evidence: &EvidenceMap,
    regions: &[Region],
) -> Option<(UsualSize, Vec<Part>)> {
    let part_by = |usual: UsualSize, is_draft: bool| {
        let parting = Parting {
            usual,
            copy,
            evidence: &evidence.color,
        };
        let parts: Vec<Part> = regions
            .iter()
            .flat_map(|region| parting.part(&region.outline, is_draft))
            .collect();
        (parting.plausibility(&parts), parts)
    };
    let sizes = possible_sizes(regions);
    let usual = match sizes[..] {
        [] => return None,
        [usual] => usual,
        _ => sizes
            .into_iter()
            .map(|usual| (part_by(usual, true).0, usual))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, usual)| usual)?,
    };
    let (_, parts) = part_by(usual, false);
    Some((usual, parts))
}

/// Tidies the parts that may be pieces, and leaves out those that are none. Counts the larger ones of those, as far as
/// the border does not cut them off.
fn judged(scene: &Scene<'_>) -> (Vec<Found>, usize) {
    let areas = (0.25 * scene.usual.area)..(2.4 * scene.usual.area);
    let mut found = Vec::new();
    let mut others = 0;
    for (at, part) in scene.parts.iter().enumerate() {
        let is_inside = scene.copy.border_length(&part.outline) == 0.0;
        let is_large = is_inside && part.measures.area > 0.08 * scene.usual.area;
        if !areas.contains(&part.measures.area) {
            others += usize::from(is_large);
            continue;
        }
        let mut figure = Figure::cut(scene, at);
        figure.tidy(scene, part.is_cut);
        let outline = figure.outline();
        if outline.len() < 8 {
            continue;
        }
        let is_whole = !is_cut_off(scene.copy, &outline, scene.usual);
        if is_piece(scene, &outline, is_whole) {
            let head = find_head(&figure, &scene.copy.lab);
            found.push(Found {
                body: Body::of(&figure, head),
                head,
                figure,
                outline,
                is_whole,
            });
        } else {
            others += usize::from(is_large);
        }
    }
    (found, others)
}

/// Share of the copy that pieces hold.
fn share_of(found: &[Found], copy: &WorkingCopy) -> f32 {
    let held: f32 = found.iter().map(|found| area(&found.outline)).sum();
    held / (copy.lab.width * copy.lab.height) as f32
}

/// Lightness above which a tenth of the photograph is.
fn lightest(copy: &WorkingCopy) -> f32 {
    let mut lightness: Vec<f32> = copy.lab.values.iter().map(|color| color.l).collect();
    percentile(&mut lightness, 0.9)
}

/// Roughness of the median piece.
fn sharpness(scene: &Scene<'_>, found: &[Found]) -> f32 {
    let rough = |found: &Found| roughness_inside(scene, &found.outline) * scene.evidence.usual;
    percentile(&mut found.iter().map(rough).collect::<Vec<f32>>(), 0.5)
}

/// Tells if an outline touches the border of the photograph with more than something thin.
fn is_cut_off(copy: &WorkingCopy, outline: &[Point], usual: UsualSize) -> bool {
    copy.border_length(outline) > 0.12 * usual.width
}

/// Tells if a tidied outline is that of a piece.
fn is_piece(scene: &Scene<'_>, outline: &[Point], is_whole: bool) -> bool {
    let measures = Measures::of(outline);
    let size = measures.area / scene.usual.area;
    let width = measures.rectangle.width / scene.usual.width;
    if !is_whole {
        return size > 0.12 && (0.3..3.0).contains(&width);
    }
    (1.55..3.9).contains(&measures.aspect())
        && (0.42..1.75).contains(&size)
        && measures.solidity > 0.8
        && roughness_inside(scene, outline) > ROUGHER
}

/// Median roughness inside of an outline, over the board's.
fn roughness_inside(scene: &Scene<'_>, outline: &[Point]) -> f32 {
    let roughness = &scene.evidence.roughness;
    let mut values: Vec<f32> = points_inside(outline, 0.0)
        .map(|point| roughness.nearest(point.x as isize, point.y as isize))
        .collect();
    percentile(&mut values, 0.5)
}

fn pieces(found: &[Found], copy: &WorkingCopy, board: &Board) -> Vec<Piece> {
    let whole: Vec<&Found> = found.iter().filter(|found| found.is_whole).collect();
    let builds: Vec<Build> = whole.iter().map(|found| found.build()).collect();
    let mut sizes = tell_sizes(&builds).into_iter();
    let mut pieces: Vec<Piece> = found
        .iter()
        .map(|found| {
            let size = found.is_whole.then(|| sizes.next().flatten()).flatten();
            piece(found, copy, board, size)
        })
        .collect();
    sort_in_reading_order(&mut pieces);
    let light = light_of(&pieces, copy, board);
    for piece in &mut pieces {
        piece.look.light = light;
    }
    pieces
}

fn piece(found: &Found, copy: &WorkingCopy, board: &Board, size: Option<Size>) -> Piece {
    let down = found.figure.frame.down;
    let right = Point::new(down.y, -down.x);
    // The body's own direction in the copy.
    let body = down.plus(right, found.body.slope()).unit();
    let up = match found.head.is_up {
        true => Point::new(-body.x, -body.y),
        false => body,
    };
    // Every step of the smoothed outline would be ten times as many points.
    let outline: Vec<Point> = simplified(&found.outline, 0.2)
        .iter()
        .map(|point| Point::new(point.x / copy.scale, point.y / copy.scale))
        .collect();
    let along = outline.iter().map(|point| point.dot(up));
    let (least, most) = along.fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), at| {
        (least.min(at), most.max(at))
    });
    Piece {
        outline,
        is_whole: found.is_whole,
        head_degrees: up.x.atan2(-up.y).to_degrees(),
        is_head_doubtful: found.head.is_doubtful,
        size,
        height: most - least,
        look: Look::of(&found.figure, &found.body, copy, board),
    }
}

/// Factors that make the light of the photograph white.
fn light_of(pieces: &[Piece], copy: &WorkingCopy, board: &Board) -> Light {
    let whole = pieces.iter().filter(|piece| piece.is_whole);
    let color = |point: Point| {
        let (x, y) = (point.x * copy.scale, point.y * copy.scale);
        let color = copy.lab.nearest(x as isize, y as isize).light();
        evened(color, board, point, copy.scale)
    };
    Balance::of(whole.map(Piece::lit), color).gains
}

/// Rows from the top, each from the left. Pieces whose middles differ by less than half a height are in one row.
fn sort_in_reading_order(pieces: &mut [Piece]) {
    let middle = |piece: &Piece| {
        let (least, most) = bounds(&piece.outline);
        Point::new((least.x + most.x) / 2.0, (least.y + most.y) / 2.0)
    };
    pieces.sort_by(|a, b| middle(a).y.total_cmp(&middle(b).y));
    let mut from = 0;
    while from < pieces.len() {
        let first = middle(&pieces[from]).y;
        let reach = pieces[from].height / 2.0;
        let row = pieces[from..]
            .iter()
            .take_while(|p| middle(p).y - first < reach);
        let to = from + row.count().max(1);
        pieces[from..to].sort_by(|a, b| middle(a).x.total_cmp(&middle(b).x));
        from = to;
    }
}
