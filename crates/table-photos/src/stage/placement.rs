//! The place of a piece on the stage: turned upright, scaled, its sides made parallel.

use super::STAGE;
use crate::find::Piece;
use crate::frame::Frame;
use crate::shape::{Line, Point, bounds, row_spans};

/// Convergence of the sides over the whole height up to which they are made parallel. More is the piece's own form.
const MOST_CONVERGENCE: f32 = 0.09;

/// Maps the stage to the photograph.
pub(super) struct Placement {
    frame: Frame,
    /// Pixels of the photograph per pixel of the stage.
    scale: f32,
    /// The middle of the piece in the frame.
    middle: Point,
    keystone: Keystone,
    /// The outline on the stage.
    pub outline: Vec<Point>,
}

/// Widths of the body over its mean width, along the axis of the frame.
#[derive(Clone, Copy)]
struct Keystone {
    /// Column of the body's middle, at the middle row.
    column: f32,
    /// Change of the width, as a share of it, per row.
    slope: f32,
    middle_row: f32,
}

impl Keystone {
    fn width_at(&self, y: f32) -> f32 {
        (1.0 + self.slope * (y - self.middle_row)).clamp(0.9, 1.1)
    }
}

impl Placement {
    /// Places a piece so that it is `height` pixels high on the stage.
    pub fn of(piece: &Piece, height: f32) -> Placement {
        let turn = piece.head_degrees.to_radians();
        let frame = Frame {
            origin: Point::default(),
            down: Point::new(-turn.sin(), turn.cos()),
        };
        let inner: Vec<Point> = piece
            .outline
            .iter()
            .map(|&point| frame.inner(point))
            .collect();
        let (least, most) = bounds(&inner);
        let middle = Point::new((least.x + most.x) / 2.0, (least.y + most.y) / 2.0);
        let mut placement = Placement {
            frame,
            scale: (most.y - least.y).max(1.0) / height,
            middle,
            keystone: keystone(&inner),
            outline: Vec::new(),
        };
        placement.outline = inner.iter().map(|&point| placement.staged(point)).collect();
        placement
    }

    /// Pixels of the stage per pixel of the photograph.
    pub fn enlargement(&self) -> f32 {
        1.0 / self.scale
    }

    fn staged(&self, inner: Point) -> Point {
        let width = self.keystone.width_at(inner.y);
        let x = self.keystone.column + (inner.x - self.keystone.column) / width;
        Point::new(
            (x - self.middle.x) / self.scale + STAGE.0 as f32 / 2.0,
            (inner.y - self.middle.y) / self.scale + STAGE.1 as f32 / 2.0,
        )
    }

    /// The point of the photograph that is shown at a point of the stage.
    pub fn photographed(&self, staged: Point) -> Point {
        let y = (staged.y - STAGE.1 as f32 / 2.0) * self.scale + self.middle.y;
        let x = (staged.x - STAGE.0 as f32 / 2.0) * self.scale + self.middle.x;
        let width = self.keystone.width_at(y);
        let column = self.keystone.column;
        self.frame
            .outer(Point::new(column + (x - column) * width, y))
    }
}

/// The keystone of an upright outline: lines along both sides of its body.
fn keystone(outline: &[Point]) -> Keystone {
    let (least, most) = bounds(outline);
    let height = most.y - least.y;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    // The rows of the body, without the head and the rounded foot.
    for step in 0..80 {
        let y = least.y + height * (0.32 + 0.6 * step as f32 / 79.0);
        let spans = row_spans(outline, y);
        if let (Some(first), Some(last)) = (spans.first(), spans.last()) {
            left.push((y, first.0));
            right.push((y, last.1));
        }
    }
    let middle_row = least.y + height * 0.62;
    let (left, right) = (Line::through(&left), Line::through(&right));
    let (first, last) = (left.at(middle_row), right.at(middle_row));
    let slope = (right.slope - left.slope) / (last - first).max(1.0);
    Keystone {
        column: (first + last) / 2.0,
        slope: if (slope * height).abs() < MOST_CONVERGENCE {
            slope
        } else {
            0.0
        },
        middle_row,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trapezoid(top: f32, bottom: f32) -> Vec<Point> {
        let corners = [(-top, 0.0), (top, 0.0), (bottom, 250.0), (-bottom, 250.0)];
        corners.map(|(x, y)| Point::new(x / 2.0, y)).to_vec()
    }

    #[test]
    fn sides_that_converge_a_little_are_made_parallel() {
        let little = keystone(&trapezoid(100.0, 105.0));
        let ratio = little.width_at(250.0) / little.width_at(0.0);
        assert!((ratio - 1.05).abs() < 0.01, "{ratio}");
        let much = keystone(&trapezoid(100.0, 140.0));
        assert_eq!(much.width_at(0.0), 1.0);
    }
}
