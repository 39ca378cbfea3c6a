//! One piece in its own frame, where its outline is tidied: what belongs to it is taken in, shadow is peeled off.

use crate::board::Board;
use crate::copy::WorkingCopy;
use crate::evidence::EvidenceMap;
use crate::frame::Frame;
use crate::grid::{Grid, median};
use crate::hood;
use crate::mask::Mask;
use crate::parting::Part;
use crate::regions::UsualSize;
use crate::shape::{Line, Point, bounds, points_inside, rasterized, smoothed, trace};

/// Space around the piece in which its head may be found, in usual widths.
const MARGIN: f32 = 0.65;

/// Longest piece with the small regions that it takes in, in usual lengths.
const LONGEST: f32 = 1.22;

/// Longest gap along the axis that is filled, in usual lengths.
const LONGEST_GAP: f32 = 0.11;

/// Deepest layer that is peeled off, in usual widths.
const DEEPEST_PEEL: f32 = 0.16;

/// Evidence below which the outermost pixels are peeled off where the piece beside them has more than the other.
const PEELED: f32 = 0.7;
const BESIDE_PEELED: f32 = 2.2;

/// Largest evidence of a pixel that is the board, tinted by a piece: JPEG smears colors over blocks of sixteen pixels, but
/// not lightness. As a share of the evidence beside it, as such, and with the lightness that the board may have there.
const SHARE_TINTED: f32 = 0.3;
const TINTED: f32 = 2.0;
const TINTED_LIGHT: std::ops::Range<f32> = 0.6..1.1;

/// Share of the evidence beside it below which a pixel of the edge is the board, and how far colors run out, in usual
/// widths.
const HALF: f32 = 0.55;
const BLURRED: f32 = 0.035;

/// Roughness over that of the beads up to which a pixel may be the board: JPEG rings around sharp edges, by blocks.
const RINGING: f32 = 0.25;

/// Half the width of the seams between the outermost beads, in usual widths.
const SEAM: f32 = 0.015;

/// Evidence over the usual one of a piece up to which a pixel may be the board between two pieces.
const SHARE_SHADED: f32 = 0.3;

/// Pixels of the outermost beads that are mixed with the board.
const FRINGE: f32 = 1.5;

/// Widest strip of a neighbor with the gap before it, in usual widths.
const WIDEST_SLIVER: f32 = 0.2;

/// Radius of opening that takes off a neighbor's spikes, in usual widths.
const SPIKE: f32 = 0.045;

/// Widest that a side stands out from its line, in widths of the body. Bodies in the public photograph do by 0.034.
const STANDING_OUT: f32 = 0.045;

/// A piece cut out of the copy, turned so that its axis runs from top to bottom. One place is one pixel of the copy.
#[derive(Clone)]
pub(crate) struct Figure {
    pub frame: Frame,
    pub mask: Mask,
    evidence: Grid<f32>,
    /// Evidence by color alone.
    color: Grid<f32>,
    /// Lightness over that of the board.
    light: Grid<f32>,
    /// Places that other pieces hold.
    pub foreign: Mask,
    /// Places that belong to the piece though they look like the board.
    pub kept: Mask,
    pub usual: UsualSize,
}

/// A row of a figure, with its first place and the place behind its last one.
type Row = (usize, (usize, usize));

/// Everything that a figure is cut from.
pub(crate) struct Scene<'a> {
    pub copy: &'a WorkingCopy,
    pub board: &'a Board,
    pub evidence: &'a EvidenceMap,
    pub usual: UsualSize,
    /// The other pieces' outlines, and small regions that may be parts of a piece.
    pub parts: &'a [Part],
}

impl Scene<'_> {
    /// Tells if a part may belong to a piece beside it: it is small, and not cut off by the border, where it would belong
    /// to a piece out there.
    fn is_loose(&self, part: &Part) -> bool {
        part.measures.area < 0.3 * self.usual.area && self.copy.border_length(&part.outline) == 0.0
    }
}

impl Figure {
    pub fn cut(scene: &Scene<'_>, at: usize) -> Figure {
        let part = &scene.parts[at];
        let margin = MARGIN * scene.usual.width;
        let rectangle = &part.measures.rectangle;
        let frame = Frame::around(rectangle, margin);
        let width = (rectangle.width + 2.0 * margin).ceil() as usize;
        let height = (rectangle.length + 2.0 * margin).ceil() as usize;
        let inner = |outline: &[Point]| -> Vec<Point> {
            outline.iter().map(|&point| frame.inner(point)).collect()
        };
        let ringing = (RINGING * bead_roughness(scene, part)).max(1.0);
        let color = Grid::from_fn(width, height, |x, y| {
            let place = frame.outer(Point::new(x as f32 + 0.5, y as f32 + 0.5));
            scene.evidence.color.between(place.x, place.y)
        });
        let evidence = Grid::from_fn(width, height, |x, y| {
            let place = frame.outer(Point::new(x as f32 + 0.5, y as f32 + 0.5));
            let rough = scene.evidence.rough.between(place.x, place.y) / ringing;
            color.at(x, y).max(rough)
        });
        let light = Grid::from_fn(width, height, |x, y| {
            let place = frame.outer(Point::new(x as f32 + 0.5, y as f32 + 0.5));
            let board = scene.board.color(place.x, place.y).l;
            scene.copy.lightness_at(place) / board.max(0.02)
        });
        let mut foreign = Grid::new(width, height, false);
        let others = scene.parts.iter().enumerate();
        for (_, other) in others.filter(|&(index, part)| index != at && !scene.is_loose(part)) {
            let outline = inner(&other.outline);
            let (least, most) = bounds(&outline);
            if most.x > 0.0 && most.y > 0.0 && least.x < width as f32 && least.y < height as f32 {
                foreign = either(&foreign, &rasterized(&outline, width, height));
            }
        }
        Figure {
            mask: rasterized(&inner(&part.outline), width, height),
            kept: foreign.map(|_| false),
            frame,
            evidence,
            color,
            light,
            foreign,
            usual: scene.usual,
        }
    }

    /// Tidies the outline. `is_cut`: a neighbor was cut off.
    pub fn tidy(&mut self, scene: &Scene<'_>, is_cut: bool) {
        if is_cut {
            self.drop_slivers();
        }
        self.take_small_regions(scene);
        hood::take(self, scene);
        self.fill();
        self.peel();
        if is_cut {
            let opened = self.mask.opened(SPIKE * self.usual.width);
            self.mask = opened;
        }
        self.mask = self.mask.largest_region().filled();
    }

    /// The outline in the coordinates of the copy.
    pub fn outline(&self) -> Vec<Point> {
        let outline = smoothed(&trace(&self.mask), 3);
        outline
            .iter()
            .map(|&point| self.frame.outer(point))
            .collect()
    }

    /// First and last place of each row that belongs to the piece, without the rows above and below it.
    pub fn rows(&self) -> Vec<(usize, (usize, usize))> {
        let ends = |y: usize| {
            let row = self.mask.row(y);
            let first = row.iter().position(|&value| value)?;
            let last = row.iter().rposition(|&value| value)?;
            Some((y, (first, last + 1)))
        };
        (0..self.mask.height).filter_map(ends).collect()
    }

    /// Drops strips of neighbors along a side, beyond a gap in which the board shows or hanging on by a few beads.
    fn drop_slivers(&mut self) {
        // By color alone: roughness reaches over narrow gaps.
        let places = self.mask.values.iter().zip(&self.color.values);
        let inside = places.filter(|(is_inside, _)| **is_inside);
        let usual = median(&mut inside.map(|(_, evidence)| *evidence).collect::<Vec<f32>>());
        // Between pieces the board lies in the deepest shadow.
        let least = f32::max(PEELED, SHARE_SHADED * usual);
        let solid = Grid::from_fn(self.mask.width, self.mask.height, |x, y| {
            self.mask.at(x, y) && self.color.at(x, y) > least
        });
        let radius = SPIKE * self.usual.width;
        let solid = solid.filled();
        // Step by step, so that a strip beyond a gap is not reached.
        let mut near = solid.opened(radius).largest_region();
        for _ in 0..radius as usize + 1 {
            let grown = near.dilated(1.0);
            near = Grid::from_fn(near.width, near.height, |x, y| {
                grown.at(x, y) && solid.at(x, y)
            });
        }
        let near = near.dilated(FRINGE);
        let rest = Grid::from_fn(self.mask.width, self.mask.height, |x, y| {
            self.mask.at(x, y) && !near.at(x, y)
        });
        for region in rest.regions() {
            let extent = |place: &dyn Fn(usize) -> usize| {
                let places = || region.iter().map(|&index| place(index));
                let (least, most) = (places().min(), places().max());
                (most.unwrap_or_default() - least.unwrap_or_default()) as f32
            };
            let width = extent(&|index| index % self.mask.width);
            let length = extent(&|index| index / self.mask.width);
            // Heads, and beads in the board's color, are wider or shorter.
            if width < WIDEST_SLIVER * self.usual.width && length > 2.0 * width {
                for index in region {
                    self.mask.values[index] = false;
                }
            }
        }
    }

    /// Takes in small regions beyond an end, where a head would be: a hood beyond a collar in the board's color.
    fn take_small_regions(&mut self, scene: &Scene<'_>) {
        let rows = self.rows();
        let (Some(&(top, _)), Some(&(bottom, _))) = (rows.first(), rows.last()) else {
            return;
        };
        let longest = LONGEST * self.usual.length;
        let (left, right) = self.body_sides();
        for part in scene.parts.iter().filter(|part| scene.is_loose(part)) {
            let outline: Vec<Point> = part.outline.iter().map(|&p| self.frame.inner(p)).collect();
            let (least, most) = bounds(&outline);
            let slack = 0.08 * self.usual.width;
            let is_across = least.x > left - slack && most.x < right + slack;
            let reach = 0.3 * self.usual.length;
            let is_above = most.y < top as f32 + 0.15 * reach
                && least.y > top as f32 - reach
                && bottom as f32 - least.y < longest;
            let is_below = least.y > bottom as f32 - 0.15 * reach
                && most.y < bottom as f32 + reach
                && most.y - (top as f32) < longest;
            if is_across && (is_above || is_below) {
                let region = rasterized(&outline, self.mask.width, self.mask.height);
                self.mask = either(&self.mask, &region);
            }
        }
    }

    /// Left and right side of the body: medians over the middle rows.
    pub fn body_sides(&self) -> (f32, f32) {
        let rows = self.rows();
        let middle = &rows[rows.len() / 4..(rows.len() * 3).div_ceil(4)];
        let side = |value: fn(&(usize, (usize, usize))) -> f32| {
            median(&mut middle.iter().map(value).collect::<Vec<f32>>())
        };
        (side(|row| row.1.0 as f32), side(|row| row.1.1 as f32))
    }

    /// Fills each row from side to side, and short gaps along the axis.
    fn fill(&mut self) {
        for (y, (first, last)) in self.rows() {
            for x in first..last {
                *self.mask.at_mut(x, y) = !self.foreign.at(x, y) || self.mask.at(x, y);
            }
        }
        let longest = (LONGEST_GAP * self.usual.length) as usize;
        for x in 0..self.mask.width {
            let mut last_in = None;
            for y in 0..self.mask.height {
                if !self.mask.at(x, y) {
                    continue;
                }
                if let Some(last) = last_in.filter(|last| y - last - 1 <= longest) {
                    for gap in last + 1..y {
                        *self.mask.at_mut(x, gap) = !self.foreign.at(x, gap);
                    }
                }
                last_in = Some(y);
            }
        }
    }

    /// Peels off the outermost pixels that look like the board, beside parts of the piece that do not. A band of beads
    /// in the board's color stays.
    fn peel(&mut self) {
        let mut before = self.mask.clone();
        let deep = (DEEPEST_PEEL * self.usual.width).round() as usize;
        let inside = self.evidence_inside((0.12 * self.usual.width).round().max(2.0) as usize);
        let light = self.light.clone();
        let is_board = |index: usize, evidence: f32| {
            let beside = inside.values[index];
            let is_tinted = TINTED_LIGHT.contains(&light.values[index])
                && evidence < (SHARE_TINTED * beside).min(TINTED);
            evidence < PEELED && beside > BESIDE_PEELED || is_tinted
        };
        self.peel_layers(deep, is_board);
        // The colors of an edge run into the board: cameras and JPEG store them in blocks of two pixels. The edge is
        // where the evidence is half of what the beads beside it have.
        let shallow = (BLURRED * self.usual.width).round().max(2.0) as usize;
        let beside = self.evidence_inside(shallow + 1);
        self.peel_layers(shallow, |index, evidence| {
            evidence < HALF * beside.values[index]
        });
        self.close_seams(&before);
        self.trim_sides(&mut before);
        self.close_notches(&before);
    }

    /// Cuts off what stands out beyond the sides of the body: slivers of neighbors, and specks of the board.
    fn trim_sides(&mut self, before: &mut Mask) {
        let rows = self.rows();
        let middle = &rows[rows.len() / 5..rows.len() - rows.len() / 5];
        let side = |column: fn(&Row) -> usize| {
            let points = middle.iter().map(|row| (row.0 as f32, column(row) as f32));
            Line::through(&points.collect::<Vec<_>>())
        };
        let (left, right) = (side(|row| row.1.0), side(|row| row.1.1));
        for y in 0..self.mask.height {
            let (from, to) = (left.at(y as f32), right.at(y as f32));
            let slack = STANDING_OUT * (to - from);
            for x in 0..self.mask.width {
                let is_inside = (from - slack..=to + slack).contains(&(x as f32 + 0.5));
                *self.mask.at_mut(x, y) &= is_inside;
                *before.at_mut(x, y) &= is_inside;
            }
        }
    }

    /// Gives back what was peeled off between the outermost beads: thread may look like the board.
    fn close_seams(&mut self, before: &Mask) {
        let closed = self.mask.closed((SEAM * self.usual.width).max(1.0));
        self.mask = Grid::from_fn(closed.width, closed.height, |x, y| {
            closed.at(x, y) && before.at(x, y)
        });
    }

    fn peel_layers(&mut self, layers: usize, is_peeled: impl Fn(usize, f32) -> bool) {
        for _ in 0..layers {
            let mask = self.mask.clone();
            let mut is_done = true;
            for index in 0..mask.values.len() {
                let is_outermost = mask.values[index]
                    && (mask.is_border(index) || mask.neighbors(index).any(|n| !mask.values[n]));
                if is_outermost
                    && !self.kept.values[index]
                    && is_peeled(index, self.evidence.values[index])
                {
                    self.mask.values[index] = false;
                    is_done = false;
                }
            }
            if is_done {
                break;
            }
        }
    }

    /// Means of the evidence in squares, of the piece alone and each up to where it says all.
    fn evidence_inside(&self, radius: usize) -> Grid<f32> {
        const ENOUGH: f32 = 12.0;
        let weight = |index: usize| f32::from(u8::from(self.mask.values[index]));
        let mut weights = self.evidence.clone();
        let mut values = self.evidence.clone();
        for index in 0..values.values.len() {
            // Pixels that may be peeled off say nothing about the piece.
            let counts = weight(index) * f32::from(u8::from(values.values[index] > PEELED));
            weights.values[index] = counts;
            values.values[index] = values.values[index].min(ENOUGH) * counts;
        }
        let (weights, mut values) = (weights.box_mean(radius), values.box_mean(radius));
        for (value, weight) in values.values.iter_mut().zip(&weights.values) {
            *value /= weight.max(1e-6);
        }
        values
    }

    /// Gives back what was peeled off in the middle of a side, as a notch.
    fn close_notches(&mut self, before: &Mask) {
        let rows = self.rows();
        if rows.len() < 20 {
            return;
        }
        let reach = rows.len() / 6;
        let lefts: Vec<f32> = rows.iter().map(|row| row.1.0 as f32).collect();
        let rights: Vec<f32> = rows.iter().map(|row| -(row.1.1 as f32)).collect();
        let (left, right) = (
            closed_profile(&lefts, reach),
            closed_profile(&rights, reach),
        );
        for (at, &(y, _)) in rows.iter().enumerate() {
            // Heads have sides of their own.
            if at < rows.len() / 5 || at >= rows.len() - rows.len() / 5 {
                continue;
            }
            let (from, to) = (left[at] as usize, (-right[at]) as usize);
            for x in from..to {
                *self.mask.at_mut(x, y) = self.mask.at(x, y) || before.at(x, y);
            }
        }
    }
}

/// Median evidence by roughness inside of a part.
fn bead_roughness(scene: &Scene<'_>, part: &Part) -> f32 {
    let inside = points_inside(&part.outline, 0.0);
    let mut values: Vec<f32> = inside
        .map(|p| scene.evidence.rough.nearest(p.x as isize, p.y as isize))
        .collect();
    median(&mut values)
}

fn either(one: &Mask, other: &Mask) -> Mask {
    Grid::from_fn(one.width, one.height, |x, y| one.at(x, y) || other.at(x, y))
}

/// A side's profile without notches of up to `2 * reach` rows; smaller is farther out.
fn closed_profile(profile: &[f32], reach: usize) -> Vec<f32> {
    let window = |values: &[f32], pick: fn(f32, f32) -> f32| -> Vec<f32> {
        (0..values.len())
            .map(|at| {
                let around = &values[at.saturating_sub(reach)..(at + reach + 1).min(values.len())];
                around.iter().copied().reduce(pick).unwrap_or_default()
            })
            .collect()
    };
    window(&window(profile, f32::min), f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notches_of_a_profile_are_closed_and_its_slope_stays() {
        let mut profile: Vec<f32> = (0..40).map(|y| 10.0 + y as f32 / 10.0).collect();
        let straight = profile.clone();
        for value in &mut profile[15..20] {
            *value += 6.0;
        }
        let closed = closed_profile(&profile, 6);
        let worst = closed.iter().zip(&straight).map(|(a, b)| (a - b).abs());
        assert!(worst.fold(0.0, f32::max) < 1.3, "{closed:?}");
    }
}
