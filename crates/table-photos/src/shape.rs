//! Shapes: outlines as closed polygons, and what is measured on them.

use crate::grid::{Grid, median};
use crate::mask::Mask;

/// A point of a photograph or of its copy. (0, 0) is the outer corner of the first pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Downward.
    pub y: f32,
}

impl Point {
    pub(crate) fn new(x: f32, y: f32) -> Point {
        Point { x, y }
    }

    pub(crate) fn plus(self, other: Point, factor: f32) -> Point {
        Point::new(self.x + other.x * factor, self.y + other.y * factor)
    }

    pub(crate) fn minus(self, other: Point) -> Point {
        self.plus(other, -1.0)
    }

    pub(crate) fn dot(self, other: Point) -> f32 {
        self.x * other.x + self.y * other.y
    }

    pub(crate) fn cross(self, other: Point) -> f32 {
        self.x * other.y - self.y * other.x
    }

    pub(crate) fn length(self) -> f32 {
        self.x.hypot(self.y)
    }

    /// The same direction with length 1; no direction stays none.
    pub(crate) fn unit(self) -> Point {
        let length = self.length().max(1e-9);
        Point::new(self.x / length, self.y / length)
    }

    /// The direction turned by a quarter, from right to down.
    pub(crate) fn turned(self) -> Point {
        Point::new(-self.y, self.x)
    }
}

/// Area of a polygon.
pub(crate) fn area(polygon: &[Point]) -> f32 {
    let twice: f32 = edges(polygon).map(|(from, to)| from.cross(to)).sum();
    twice.abs() / 2.0
}

/// The edges of a polygon, the last one back to its first point.
pub(crate) fn edges(polygon: &[Point]) -> impl Iterator<Item = (Point, Point)> + '_ {
    let next = polygon.iter().cycle().skip(1);
    polygon.iter().copied().zip(next.copied())
}

/// The corners of the box around points: least and largest coordinates.
pub(crate) fn bounds(points: &[Point]) -> (Point, Point) {
    let infinite = Point::new(f32::INFINITY, f32::INFINITY);
    let start = (infinite, Point::new(f32::NEG_INFINITY, f32::NEG_INFINITY));
    points.iter().fold(start, |(least, most), point| {
        (
            Point::new(least.x.min(point.x), least.y.min(point.y)),
            Point::new(most.x.max(point.x), most.y.max(point.y)),
        )
    })
}

/// The convex hull, by Andrew's monotone chain.
pub(crate) fn hull(points: &[Point]) -> Vec<Point> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y)));
    let mut hull: Vec<Point> = Vec::new();
    let mut half = |points: &mut dyn Iterator<Item = Point>| {
        let start = hull.len();
        for point in points {
            while hull.len() >= start + 2 {
                let (a, b) = (hull[hull.len() - 2], hull[hull.len() - 1]);
                if b.minus(a).cross(point.minus(b)) > 0.0 {
                    break;
                }
                hull.pop();
            }
            hull.push(point);
        }
        hull.pop();
    };
    half(&mut sorted.iter().copied());
    half(&mut sorted.iter().rev().copied());
    hull
}

/// A rectangle at an angle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rectangle {
    pub center: Point,
    /// Direction of the longer side.
    pub axis: Point,
    pub length: f32,
    pub width: f32,
}

/// The smallest rectangle around points, by its area. One of its sides lies along a side of the hull.
pub(crate) fn smallest_rectangle(hull: &[Point]) -> Rectangle {
    let around = |axis: Point| {
        let side = axis.turned();
        let turned: Vec<Point> = hull
            .iter()
            .map(|point| Point::new(point.dot(axis), point.dot(side)))
            .collect();
        let (least, most) = bounds(&turned);
        let (length, width) = (most.x - least.x, most.y - least.y);
        let middle = Point::default()
            .plus(axis, (least.x + most.x) / 2.0)
            .plus(side, (least.y + most.y) / 2.0);
        Rectangle {
            center: middle,
            axis: if length >= width { axis } else { side },
            length: length.max(width),
            width: length.min(width),
        }
    };
    edges(hull)
        .map(|(from, to)| to.minus(from))
        .filter(|side| side.length() > 1e-3)
        .map(|side| around(side.unit()))
        .min_by(|a, b| (a.length * a.width).total_cmp(&(b.length * b.width)))
        .unwrap_or(Rectangle {
            center: hull.first().copied().unwrap_or_default(),
            axis: Point::new(0.0, 1.0),
            length: 0.0,
            width: 0.0,
        })
}

/// Measures of a shape that tell single pieces from others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measures {
    pub area: f32,
    pub rectangle: Rectangle,
    /// Area over the hull's.
    pub solidity: f32,
    /// Area over the smallest rectangle's.
    pub fill: f32,
}

impl Measures {
    pub fn of(polygon: &[Point]) -> Measures {
        let hull = hull(polygon);
        let rectangle = smallest_rectangle(&hull);
        let area = area(polygon);
        Measures {
            area,
            rectangle,
            solidity: area / self::area(&hull).max(1e-3),
            fill: area / (rectangle.length * rectangle.width).max(1e-3),
        }
    }

    /// Length over width.
    pub fn aspect(&self) -> f32 {
        self.rectangle.length / self.rectangle.width.max(1e-3)
    }
}

/// A line that is closer to the vertical than to the horizontal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// Column at row 0.
    start: f32,
    /// Columns to the right per row.
    pub slope: f32,
}

impl Line {
    /// The robust line through points of row and column: the median of the slopes between points half of the list
    /// apart, and the median offset. A few rows that stick out do not move it.
    pub fn through(points: &[(f32, f32)]) -> Line {
        let half = points.len() / 2;
        let slope =
            |(one, other): (&(f32, f32), &(f32, f32))| (other.1 - one.1) / (other.0 - one.0);
        let mut slopes: Vec<f32> = points.iter().zip(&points[half..]).map(slope).collect();
        slopes.retain(|slope| slope.is_finite());
        let slope = median(&mut slopes);
        let offsets = points.iter().map(|(row, column)| column - slope * row);
        Line {
            start: median(&mut offsets.collect::<Vec<f32>>()),
            slope,
        }
    }

    /// The column at a row.
    pub fn at(&self, row: f32) -> f32 {
        self.start + self.slope * row
    }
}

/// The outer outline of a mask's first region, along the cracks between pixels.
pub(crate) fn trace(mask: &Mask) -> Vec<Point> {
    let Some(start) = mask.values.iter().position(|&value| value) else {
        return Vec::new();
    };
    let is_in = |x: isize, y: isize| {
        (0..mask.width as isize).contains(&x)
            && (0..mask.height as isize).contains(&y)
            && mask.at(x as usize, y as usize)
    };
    let start = ((start % mask.width) as isize, (start / mask.width) as isize);
    // Clockwise on the screen, with the region at the right hand: to the right along the upper side of the first pixel.
    let ((mut x, mut y), mut direction) = (start, (1, 0));
    let mut outline = Vec::new();
    loop {
        outline.push(Point::new(x as f32, y as f32));
        x += direction.0;
        y += direction.1;
        if (x, y) == start {
            return outline;
        }
        // The pixels ahead, at the left and at the right hand.
        let (dx, dy) = direction;
        let left = is_in(x + (dx + dy - 1) / 2, y + (dy - dx - 1) / 2);
        let right = is_in(x + (dx - dy - 1) / 2, y + (dy + dx - 1) / 2);
        direction = match (left, right) {
            // Regions touch along sides only: at a corner between two of them this one is followed.
            (_, false) => (-dy, dx),
            (true, true) => (dy, -dx),
            (false, true) => direction,
        };
    }
}

/// Means of `2 * reach + 1` points along an outline: smooths the steps of pixels.
pub(crate) fn smoothed(outline: &[Point], reach: usize) -> Vec<Point> {
    let count = outline.len();
    if count < 2 * reach + 3 {
        return outline.to_vec();
    }
    let mean = |at: usize| {
        let around = (0..=2 * reach).map(|step| outline[(at + count + step - reach) % count]);
        around.fold(Point::default(), |sum, point| {
            sum.plus(point, 1.0 / (2 * reach + 1) as f32)
        })
    };
    (0..count).map(mean).collect()
}

/// Points of an outline at even distances of about `spacing`.
pub(crate) fn resampled(outline: &[Point], spacing: f32) -> Vec<Point> {
    let total: f32 = edges(outline)
        .map(|(from, to)| to.minus(from).length())
        .sum();
    let count = (total / spacing).round().max(8.0);
    let step = total / count;
    let mut points = Vec::with_capacity(count as usize);
    let (mut walked, mut due) = (0.0, 0.0);
    for (from, to) in edges(outline) {
        let length = to.minus(from).length();
        while due < walked + length && (points.len() as f32) < count {
            points.push(from.plus(to.minus(from), (due - walked) / length.max(1e-9)));
            due += step;
        }
        walked += length;
    }
    points
}

/// Leaves out points that lie within `tolerance` of the line between their neighbors (Douglas and Peucker).
pub(crate) fn simplified(outline: &[Point], tolerance: f32) -> Vec<Point> {
    if outline.len() < 8 {
        return outline.to_vec();
    }
    let mut keep = vec![false; outline.len()];
    let middle = outline.len() / 2;
    let mut spans = vec![(0, middle), (middle, outline.len())];
    keep[0] = true;
    keep[middle] = true;
    while let Some((from, to)) = spans.pop() {
        let start = outline[from];
        let direction = outline[to % outline.len()].minus(start);
        let side = direction.turned().unit();
        let distance = |at: &usize| {
            let apart = outline[*at].minus(start);
            if direction.length() < 1e-6 {
                apart.length()
            } else {
                apart.dot(side).abs()
            }
        };
        let farthest = (from + 1..to).max_by(|a, b| distance(a).total_cmp(&distance(b)));
        if let Some(at) = farthest.filter(|at| distance(at) > tolerance) {
            keep[at] = true;
            spans.extend([(from, at), (at, to)]);
        }
    }
    let kept = outline.iter().zip(keep).filter(|(_, keep)| *keep);
    kept.map(|(point, _)| *point).collect()
}

/// Spans of a row that lie inside a polygon, as ascending pairs of coordinates.
pub(crate) fn row_spans(polygon: &[Point], y: f32) -> Vec<(f32, f32)> {
    let mut crossings: Vec<f32> = edges(polygon)
        .filter(|(from, to)| (from.y <= y) != (to.y <= y))
        .map(|(from, to)| from.x + (to.x - from.x) * (y - from.y) / (to.y - from.y))
        .collect();
    crossings.sort_by(f32::total_cmp);
    let pairs = crossings.as_chunks::<2>().0;
    pairs.iter().map(|&[from, to]| (from, to)).collect()
}

/// Points in rows inside a polygon: 80 rows, or as many as there are pixels, with as much between points.
/// `inset` in steps is left out at both ends of a row.
pub(crate) fn points_inside(polygon: &[Point], inset: f32) -> impl Iterator<Item = Point> + '_ {
    const ROWS: f32 = 80.0;
    let (least, most) = bounds(polygon);
    let step = ((most.y - least.y) / ROWS).max(1.0);
    let steps = move |from: f32, to: f32| {
        let count = ((to - from) / step - 0.5).ceil().max(0.0) as usize;
        (0..count).map(move |index| from + (index as f32 + 0.5) * step)
    };
    steps(least.y, most.y).flat_map(move |y| {
        let spans = row_spans(polygon, y).into_iter();
        spans.flat_map(move |(from, to)| {
            steps(from + inset * step, to - inset * step).map(move |x| Point::new(x, y))
        })
    })
}

/// The pixels whose centers are inside a polygon.
pub(crate) fn rasterized(polygon: &[Point], width: usize, height: usize) -> Mask {
    let mut mask = Grid::new(width, height, false);
    for (y, row) in mask.rows_mut() {
        for (from, to) in row_spans(polygon, y as f32 + 0.5) {
            let from = (from - 0.5).ceil().max(0.0) as usize;
            let to = (to - 0.5).ceil().clamp(0.0, width as f32) as usize;
            if from < to {
                row[from..to].fill(true);
            }
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(list: &[(f32, f32)]) -> Vec<Point> {
        list.iter().map(|&(x, y)| Point::new(x, y)).collect()
    }

    #[test]
    fn the_outline_of_a_mask_encloses_its_pixels() {
        let mask = Grid::from_fn(6, 5, |x, y| {
            (1..4).contains(&x) && (1..4).contains(&y) && (x, y) != (3, 1)
        });
        let outline = trace(&mask);
        assert_eq!(area(&outline), 8.0);
        assert_eq!(rasterized(&outline, 6, 5), mask);
    }

    #[test]
    fn an_outline_goes_around_a_ring_and_past_a_corner() {
        let ring = Grid::from_fn(3, 3, |x, y| (x, y) != (1, 1));
        assert_eq!(area(&trace(&ring)), 9.0);
        let corner = Grid::from_fn(2, 2, |x, y| x == y);
        assert_eq!(area(&trace(&corner)), 1.0);
    }

    #[test]
    fn the_smallest_rectangle_lies_along_the_shape() {
        let turned = points(&[(0.0, 0.0), (30.0, 40.0), (22.0, 46.0), (-8.0, 6.0)]);
        let measures = Measures::of(&turned);
        assert!((measures.rectangle.length - 50.0).abs() < 0.01);
        assert!((measures.rectangle.width - 10.0).abs() < 0.01);
        assert!((measures.fill - 1.0).abs() < 0.01 && (measures.solidity - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_few_rows_that_stick_out_do_not_move_a_line() {
        let mut points: Vec<(f32, f32)> =
            (0..60).map(|y| (y as f32, 5.0 + 0.1 * y as f32)).collect();
        for point in &mut points[10..18] {
            point.1 -= 9.0;
        }
        let line = Line::through(&points);
        assert!((line.slope - 0.1).abs() < 0.01, "{line:?}");
        assert!((line.at(40.0) - 9.0).abs() < 0.1, "{line:?}");
        assert_eq!(Line::through(&[]).at(7.0), 0.0);
    }

    #[test]
    fn simplifying_keeps_corners() {
        let square = points(&[(0.0, 0.0), (50.0, 0.0), (50.0, 50.0), (0.0, 50.0)]);
        let dense = resampled(&square, 1.0);
        assert!(dense.len() > 190);
        assert_eq!(simplified(&dense, 0.2).len(), 4);
    }
}
