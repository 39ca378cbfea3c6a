//! Regions of the copy where something lies, and the size of one piece.

use crate::board::{Board, Surface};
use crate::copy::WorkingCopy;
use crate::evidence::EvidenceMap;
use crate::grid::{Grid, median};
use crate::mask::Mask;
use crate::shape::{Measures, Point, smoothed, trace};

/// Radii of opening and closing, for a copy of the usual size.
const SPECK: f32 = 1.0;
const GAP: f32 = 4.0;
const THREAD: f32 = 4.0;

/// Points on each side over which an outline is smoothed.
const SMOOTHING: usize = 2;

/// Smallest region, in pixels of a copy of the usual size. A tab that its piece has lost is about as large.
const LEAST_AREA: f32 = 120.0;

/// Something on the board.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub outline: Vec<Point>,
    pub measures: Measures,
}

impl Region {
    pub fn of(outline: Vec<Point>) -> Region {
        Region {
            measures: Measures::of(&outline),
            outline,
        }
    }
}

/// The usual size of one piece in this photograph, in pixels of the copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct UsualSize {
    pub width: f32,
    pub length: f32,
    pub area: f32,
}

/// Finds everything that lies on the board.
pub(crate) fn find_regions(
    copy: &WorkingCopy,
    board: &Board,
    evidence: &EvidenceMap,
) -> Vec<Region> {
    let foreground = Grid::from_fn(copy.lab.width, copy.lab.height, |x, y| {
        evidence.total.at(x, y) > 1.0
            && board.surface(x as f32 + 0.5, y as f32 + 0.5) != Surface::Around
    });
    let mask = foreground
        .opened(copy.length(SPECK))
        .closed(copy.length(GAP))
        .filled()
        .opened(copy.length(THREAD));
    let least = copy.length(1.0).powi(2) * LEAST_AREA;
    mask.regions()
        .iter()
        .filter(|region| region.len() as f32 >= least)
        .map(|region| Region::of(outline(&mask, region)))
        .collect()
}

fn outline(mask: &Mask, region: &[usize]) -> Vec<Point> {
    let (mut left, mut right) = (usize::MAX, 0);
    for &index in region {
        left = left.min(index % mask.width);
        right = right.max(index % mask.width);
    }
    let rows = region.iter().map(|index| index / mask.width);
    let (top, bottom) = (rows.clone().min().unwrap_or(0), rows.max().unwrap_or(0));
    let mut part = Grid::new(right + 1 - left, bottom + 1 - top, false);
    for &index in region {
        *part.at_mut(index % mask.width - left, index / mask.width - top) = true;
    }
    let corner = Point::new(left as f32, top as f32);
    let outline: Vec<Point> = trace(&part).iter().map(|p| p.plus(corner, 1.0)).collect();
    smoothed(&outline, SMOOTHING)
}

/// Length over width of a piece, and its area over that of its rectangle, where nothing better is known.
const ASPECT: f32 = 2.6;
const FILL: f32 = 0.87;

/// Share of everything on the board that the pieces of the usual size must hold at least to be believed.
const TRUSTED_SHARE: f32 = 0.4;

/// Sizes that one piece may have: the usual size of those that lie alone, if they are many; otherwise also those that
/// would make a few pieces of the largest regions.
pub(crate) fn possible_sizes(regions: &[Region]) -> Vec<UsualSize> {
    const MOST_IN_ONE: usize = 6;
    let total: f32 = regions.iter().map(|region| region.measures.area).sum();
    let (mut sizes, held) = match usual_size(regions) {
        Some((size, held)) => (vec![size], held),
        None => (Vec::new(), 0.0),
    };
    if held >= TRUSTED_SHARE * total {
        return sizes;
    }
    let mut largest: Vec<f32> = regions.iter().map(|region| region.measures.area).collect();
    largest.sort_by(|a, b| b.total_cmp(a));
    for area in largest.into_iter().take(3) {
        sizes.extend((1..=MOST_IN_ONE).map(|count| {
            let area = area / count as f32;
            let width = (area / FILL / ASPECT).sqrt();
            UsualSize {
                width,
                length: width * ASPECT,
                area,
            }
        }));
    }
    sizes
}

/// Finds the usual size and the area of all pieces that have it: medians of the largest group of like widths among the
/// regions that look like single pieces.
fn usual_size(regions: &[Region]) -> Option<(UsualSize, f32)> {
    let looks_single = |region: &&Region| {
        let measures = region.measures;
        measures.solidity > 0.88 && measures.fill > 0.74 && (1.7..3.6).contains(&measures.aspect())
    };
    let singles: Vec<Measures> = regions
        .iter()
        .filter(looks_single)
        .map(|r| r.measures)
        .collect();
    let alike = |one: &Measures| -> Vec<Measures> {
        let is_like =
            |other: &&Measures| (other.rectangle.width / one.rectangle.width - 1.0).abs() < 0.15;
        singles.iter().filter(is_like).copied().collect()
    };
    let covered = |group: &[Measures]| group.iter().map(|m| m.area).sum::<f32>();
    let group = singles
        .iter()
        .map(alike)
        .max_by(|a, b| covered(a).total_cmp(&covered(b)))?;
    let middle =
        |value: fn(&Measures) -> f32| median(&mut group.iter().map(value).collect::<Vec<f32>>());
    let size = UsualSize {
        width: middle(|m| m.rectangle.width),
        length: middle(|m| m.rectangle.length),
        area: middle(|m| m.area),
    };
    Some((size, covered(&group)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(x: f32, width: f32, height: f32) -> Region {
        let corners = [(x, 0.0), (x + width, 0.0), (x + width, height), (x, height)];
        Region::of(corners.map(|(x, y)| Point::new(x, y)).to_vec())
    }

    #[test]
    fn the_usual_size_is_that_of_most_pieces() {
        let regions = [
            block(0.0, 50.0, 130.0),
            block(100.0, 52.0, 128.0),
            block(200.0, 104.0, 130.0),
            block(400.0, 10.0, 20.0),
            block(500.0, 12.0, 25.0),
        ];
        let (usual, _) = usual_size(&regions).expect("two pieces");
        assert_eq!((usual.width, usual.length), (52.0, 130.0));
        assert_eq!(usual_size(&[block(0.0, 100.0, 100.0)]), None);
    }

    #[test]
    fn a_region_of_several_pieces_has_the_size_of_one_among_its_possible_ones() {
        let sizes = possible_sizes(&[block(0.0, 150.0, 130.0)]);
        let is_right = |size: &UsualSize| (size.width - 53.0).abs() < 3.0;
        assert!(sizes.iter().any(is_right), "{sizes:?}");
    }
}
