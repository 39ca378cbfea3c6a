//! Parting pieces that touch, on their common outline, by straight cuts.
//!
//! A cut begins at an inward corner, and ends at another one or where its direction leaves the outline. It is good when
//! both parts look like one piece, and when the photograph shows a seam along it.

use crate::copy::WorkingCopy;
use crate::grid::Grid;
use crate::regions::UsualSize;
use crate::shape::{Measures, Point, edges, resampled};

/// Most pieces in one region that is parted; more are no table of lighters.
const MOST_IN_ONE: f32 = 80.0;

/// Most inward corners of a region from which cuts begin.
const MOST_CORNERS: usize = 48;

/// Least gain in looking like pieces for which a cut is made.
const LEAST_GAIN: f32 = 0.35;

/// Area over the usual one above which a region may be more than one piece.
const MORE_THAN_ONE: f32 = 1.3;

/// Area over the usual one up to which a region is never more than one piece.
const ONE: f32 = 1.15;

/// Turn of the outline, as the sine of half of it, from which a corner points inward.
const INWARD: f32 = 0.12;

/// Usual length over width up to which heads are lost.
const HEADLESS: f32 = 2.35;

/// One part of a region.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub outline: Vec<Point>,
    pub measures: Measures,
    /// True if it was cut from something.
    pub is_cut: bool,
}

/// Everything that tells at which line pieces touch.
pub(crate) struct Parting<'a> {
    pub usual: UsualSize,
    pub copy: &'a WorkingCopy,
    pub evidence: &'a Grid<f32>,
}

/// A cut between two points of an outline, by their indices.
#[derive(Clone, Copy)]
struct Cut {
    from: usize,
    to: usize,
}

impl Parting<'_> {
    /// Share of the parts' area that looks like pieces of the usual size, from 0 to 1.
    pub fn plausibility(&self, parts: &[Part]) -> f32 {
        let total: f32 = parts.iter().map(|part| part.measures.area).sum();
        let likely = parts
            .iter()
            .map(|part| part.measures.area * self.likeness(&part.measures));
        likely.sum::<f32>() / total.max(1.0)
    }

    /// Parts the outline of a region into those of its pieces. One piece is returned as it is.
    ///
    /// `is_draft`: the cuts are not moved to the clearest seam, which takes most of the time.
    pub fn part(&self, outline: &[Point], is_draft: bool) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut rest = vec![(outline.to_vec(), false)];
        while let Some((outline, is_cut)) = rest.pop() {
            let measures = Measures::of(&outline);
            match self.best_cut(&outline, &measures, is_draft) {
                Some((one, other)) => rest.extend([(other, true), (one, true)]),
                None => parts.push(Part {
                    outline,
                    measures,
                    is_cut,
                }),
            }
        }
        parts
    }

    fn best_cut(
        &self,
        outline: &[Point],
        measures: &Measures,
        is_draft: bool,
    ) -> Option<(Vec<Point>, Vec<Point>)> {
        let pieces = measures.area / self.usual.area;
        // At the border, what looks like one piece may be two of which one is cut off.
        let is_one = match self.copy.border_length(outline) > 0.0 {
            true => pieces < 0.8 || pieces < MORE_THAN_ONE && self.likeness(measures) > 0.7,
            false => pieces < ONE || pieces < MORE_THAN_ONE && self.looks_single(measures),
        };
        if is_one || pieces > MOST_IN_ONE {
            return None;
        }
        let spacing = (self.usual.width / 28.0).max(1.0);
        let dense = resampled(outline, spacing);
        let whole = self.worth(measures);
        let (cut, gain) = self
            .candidates(&dense, measures)
            .into_iter()
            .filter_map(|cut| Some((cut, self.gain(&dense, cut)? - whole)))
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        if gain < LEAST_GAIN {
            return None;
        }
        let cut = match is_draft {
            true => cut,
            false => self.refined(&dense, cut),
        };
        Some(split(&dense, cut))
    }

    fn looks_single(&self, measures: &Measures) -> bool {
        let length = measures.rectangle.length / self.usual.length;
        let width = measures.rectangle.width / self.usual.width;
        self.likeness(measures) > 0.25 || measures.solidity > 0.82 && length < 1.32 && width < 1.2
    }

    fn candidates(&self, outline: &[Point], measures: &Measures) -> Vec<Cut> {
        let corners = self.inward_corners(outline);
        let mut cuts = Vec::new();
        for (at, &(from, inward)) in corners.iter().enumerate() {
            for &(to, _) in &corners[at + 1..] {
                if outline[from].minus(outline[to]).length() < 1.25 * self.usual.length {
                    cuts.push(Cut { from, to });
                }
            }
            for direction in self.directions(outline, from, inward, measures) {
                if let Some(to) = leaves_at(outline, from, direction) {
                    cuts.push(Cut { from, to });
                }
            }
        }
        cuts
    }

    /// Corners that point into the region, by index, with the direction inward: the sharpest ones.
    fn inward_corners(&self, outline: &[Point]) -> Vec<(usize, Point)> {
        let count = outline.len();
        let spacing = edges(outline)
            .map(|(a, b)| b.minus(a).length())
            .sum::<f32>()
            / count as f32;
        let arm = ((self.usual.width * 0.16 / spacing).round() as usize).clamp(2, count / 3);
        let turn = |at: usize| {
            let before = outline[at]
                .minus(outline[(at + count - arm) % count])
                .unit();
            let after = outline[(at + arm) % count].minus(outline[at]).unit();
            (-before.cross(after), before.minus(after))
        };
        let turns: Vec<(f32, Point)> = (0..count).map(turn).collect();
        let is_sharpest = |at: usize| {
            (1..=arm).all(|step| {
                turns[at].0 >= turns[(at + step) % count].0
                    && turns[at].0 > turns[(at + count - step) % count].0
            })
        };
        let mut corners: Vec<usize> = (0..count)
            .filter(|&at| turns[at].0 > INWARD * 2.0 && is_sharpest(at))
            .collect();
        corners.sort_by(|&a, &b| turns[b].0.total_cmp(&turns[a].0).then(a.cmp(&b)));
        corners.truncate(MOST_CORNERS);
        corners.iter().map(|&at| (at, turns[at].1.unit())).collect()
    }

    /// Directions of cuts from a corner: a fan inward, the axes of the region, and on along the sides that meet there.
    fn directions(
        &self,
        outline: &[Point],
        corner: usize,
        inward: Point,
        measures: &Measures,
    ) -> Vec<Point> {
        const FAN: usize = 17;
        let count = outline.len();
        let side = inward.turned();
        let fan = (0..FAN).map(|step| {
            let angle = (step as f32 / (FAN - 1) as f32 - 0.5) * 160.0_f32.to_radians();
            Point::default()
                .plus(inward, angle.cos())
                .plus(side, angle.sin())
        });
        let axis = measures.rectangle.axis;
        let arm = |length: f32| {
            let spacing = outline[1].minus(outline[0]).length().max(0.1);
            ((self.usual.width * length / spacing) as usize).clamp(2, count / 3)
        };
        let along = [0.35, 0.8].into_iter().flat_map(|length| {
            let steps = arm(length);
            let before = outline[(corner + count - steps) % count];
            let after = outline[(corner + steps) % count];
            [outline[corner].minus(before), outline[corner].minus(after)].map(Point::unit)
        });
        let both_ways = [axis, axis.turned()]
            .into_iter()
            .flat_map(|axis| [axis, Point::new(-axis.x, -axis.y)]);
        fan.chain(both_ways.filter(|axis| axis.dot(inward) > 0.1))
            .chain(along)
            .collect()
    }

    /// Worth of the parts of a cut, with its seam and its length. `None` for a cut that leaves the region.
    fn gain(&self, outline: &[Point], cut: Cut) -> Option<f32> {
        let (one, other) = split(outline, cut);
        let (one, other) = (rough_measures(&one), rough_measures(&other));
        let least = 0.12 * self.usual.area;
        let both = outline[cut.from].minus(outline[cut.to]).length();
        if one.area < least || other.area < least || !is_inside(outline, cut) {
            return None;
        }
        let worth = self.worth(&one) + self.worth(&other);
        let seam = self.seam(outline[cut.from], outline[cut.to]);
        Some(worth + 0.5 * seam - 0.12 * both / self.usual.length)
    }

    /// Worth of a part: 1 for one piece, less the less it looks like one; for several pieces their number counts a
    /// little, so that the first cut of many is made, too.
    fn worth(&self, measures: &Measures) -> f32 {
        let pieces = measures.area / self.usual.area;
        let single = self.likeness(measures);
        if pieces < 1.4 {
            return single;
        }
        let count = pieces.round();
        let even = bell((pieces / count - 1.0) / 0.2);
        f32::max(single, 0.45 * even * ramp(measures.solidity, 0.5, 0.9))
    }

    /// Likeness of a shape to one piece, from 0 to 1. The other model of the lighter is as good.
    fn likeness(&self, measures: &Measures) -> f32 {
        let rectangle = &measures.rectangle;
        let sized = |width: f32, length: f32| {
            bell((rectangle.width / (self.usual.width * width) - 1.0) / 0.13)
                * bell((rectangle.length / (self.usual.length * length) - 1.0) / 0.11)
        };
        let size = sized(1.0, 1.0)
            .max(0.9 * sized(0.885, 0.775))
            .max(0.9 * sized(1.13, 1.29));
        // Where heads are lost on a board of their color, some pieces are longer than the usual ones.
        let size = match self.usual.length < HEADLESS * self.usual.width {
            true => size.max(sized(1.0, 1.17)),
            false => size,
        };
        size * ramp(measures.fill, 0.66, 0.82) * ramp(measures.solidity, 0.8, 0.93)
    }

    /// Clearness of a seam along a line in the photograph, from 0 to 1: the board between the pieces, a dark line, or
    /// a step of color.
    fn seam(&self, from: Point, to: Point) -> f32 {
        let length = to.minus(from).length();
        let steps = (length / 1.5).ceil().max(2.0);
        let side = to.minus(from).unit().turned();
        let reach = (self.usual.width * 0.03).max(1.5);
        let mut sum = 0.0;
        for step in 0..steps as usize {
            let at = from.plus(to.minus(from), (step as f32 + 0.5) / steps);
            let color = |apart: f32| {
                let place = at.plus(side, apart);
                self.copy.lab.nearest(place.x as isize, place.y as isize)
            };
            let (left, middle, right) = (color(-reach), color(0.0), color(reach));
            let through = 1.0 - self.evidence.nearest(at.x as isize, at.y as isize);
            let dark = (left.l.min(right.l) - middle.l) / 0.10;
            let apart = 0.6 * left.distance(right, 1.0) / 0.15;
            sum += through.max(dark).max(apart.min(0.6)).clamp(0.0, 1.0);
        }
        sum / steps
    }

    /// Moves both ends of a cut to where the seam is clearest.
    fn refined(&self, outline: &[Point], cut: Cut) -> Cut {
        let count = outline.len();
        let spacing = outline[1].minus(outline[0]).length().max(0.1);
        let reach = (self.usual.width * 0.16 / spacing).round().min(6.0) as usize;
        let moved = |at: usize, by: usize| (at + count + by - reach) % count;
        let quality = |cut: Cut| {
            let gain = self.gain(outline, cut)?;
            Some(gain + self.seam(outline[cut.from], outline[cut.to]))
        };
        (0..=2 * reach)
            .flat_map(|a| (0..=2 * reach).map(move |b| (a, b)))
            .map(|(a, b)| Cut {
                from: moved(cut.from, a),
                to: moved(cut.to, b),
            })
            .filter(|&cut| is_cut(outline, cut))
            .filter_map(|cut| Some((quality(cut)?, cut)))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(cut, |(_, cut)| cut)
    }
}

fn bell(deviation: f32) -> f32 {
    (-deviation * deviation / 2.0).exp()
}

fn ramp(value: f32, from: f32, to: f32) -> f32 {
    ((value - from) / (to - from)).clamp(0.0, 1.0)
}

/// Tells if both parts of a cut have an area.
fn is_cut(outline: &[Point], cut: Cut) -> bool {
    let apart = cut.from.abs_diff(cut.to);
    apart > 2 && apart < outline.len() - 2
}

/// Measures by every third point, for comparing many cuts.
fn rough_measures(outline: &[Point]) -> Measures {
    let points = outline.iter().step_by(3).chain(outline.last());
    Measures::of(&points.copied().collect::<Vec<Point>>())
}

fn split(outline: &[Point], cut: Cut) -> (Vec<Point>, Vec<Point>) {
    let (first, last) = (cut.from.min(cut.to), cut.from.max(cut.to));
    let one = outline[first..=last].to_vec();
    let other = outline[last..].iter().chain(&outline[..=first]);
    (one, other.copied().collect())
}

/// Index of the outline's point next to where a ray from one of its points leaves it.
fn leaves_at(outline: &[Point], from: usize, direction: Point) -> Option<usize> {
    let start = outline[from];
    let count = outline.len();
    let mut first: Option<(f32, usize)> = None;
    for step in 2..count - 2 {
        let at = (from + step) % count;
        let (a, b) = (
            outline[at].minus(start),
            outline[(at + 1) % count].minus(start),
        );
        let (side_a, side_b) = (direction.cross(a), direction.cross(b));
        if (side_a <= 0.0) == (side_b <= 0.0) {
            continue;
        }
        let share = side_a / (side_a - side_b);
        let distance = a.plus(b.minus(a), share).dot(direction);
        if distance > 1.0 && first.is_none_or(|(nearest, _)| distance < nearest) {
            first = Some((distance, if share < 0.5 { at } else { (at + 1) % count }));
        }
    }
    let (_, to) = first?;
    is_cut(outline, Cut { from, to }).then_some(to)
}

/// Tells if a cut lies inside of the outline.
fn is_inside(outline: &[Point], cut: Cut) -> bool {
    let (from, to) = (outline[cut.from], outline[cut.to]);
    let along = to.minus(from);
    let near = 1.5 / along.length().max(1.5);
    !edges(outline).any(|(a, b)| {
        let edge = b.minus(a);
        let cross = along.cross(edge);
        if cross.abs() < 1e-6 {
            return false;
        }
        let on_cut = a.minus(from).cross(edge) / cross;
        let on_edge = a.minus(from).cross(along) / cross;
        (near..1.0 - near).contains(&on_cut) && (0.0..=1.0).contains(&on_edge)
    }) && contains(outline, from.plus(along, 0.5))
}

fn contains(outline: &[Point], point: Point) -> bool {
    let crossings = edges(outline).filter(|(a, b)| {
        (a.y <= point.y) != (b.y <= point.y)
            && a.x + (b.x - a.x) * (point.y - a.y) / (b.y - a.y) > point.x
    });
    crossings.count() % 2 == 1
}
