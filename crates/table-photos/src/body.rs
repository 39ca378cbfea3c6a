//! The body of a piece: its beadwork, between the two sides and below the collar.

use crate::figure::Figure;
use crate::shape::{Line, Point};
use crate::upright::Head;

/// Width of a row, in widths of the body, from which it belongs to the body.
const FULL_WIDTH: f32 = 0.9;

/// Rows in a row that must be that wide, in widths of the body.
const RUN: f32 = 0.15;

/// The body in a figure's frame, as a field of which all four sides are straight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    /// First and last row.
    top: f32,
    bottom: f32,
    left: Line,
    right: Line,
    is_head_up: bool,
}

impl Body {
    pub fn of(figure: &Figure, head: Head) -> Body {
        let rows = figure.rows();
        let (left, right) = figure.body_sides();
        let width = (right - left).max(1.0);
        let is_full =
            |row: &(usize, (usize, usize))| (row.1.1 - row.1.0) as f32 >= FULL_WIDTH * width;
        let run = ((RUN * width) as usize).max(1);
        let first_full = |rows: &[(usize, (usize, usize))]| {
            let full = rows
                .windows(run)
                .position(|window| window.iter().all(is_full));
            full.unwrap_or(rows.len() / 5)
        };
        let (first, last) = match (rows.first(), rows.last()) {
            (Some(first), Some(last)) => (first.0, last.0),
            _ => (0, 0),
        };
        // The foot may be rounded: only the head's end is cut off.
        let (top, bottom) = match head.is_up {
            true => (first + first_full(&rows), last),
            false => {
                let reversed: Vec<_> = rows.iter().rev().copied().collect();
                (first, last.saturating_sub(first_full(&reversed)))
            }
        };
        let inner: Vec<_> = rows
            .iter()
            .filter(|row| row.0 >= top && row.0 <= bottom)
            .copied()
            .collect();
        let trimmed = &inner[inner.len() / 10..inner.len() - inner.len() / 10];
        let side = |column: fn(&(usize, (usize, usize))) -> usize| {
            let points = trimmed.iter().map(|row| (row.0 as f32, column(row) as f32));
            Line::through(&points.collect::<Vec<_>>())
        };
        Body {
            top: top as f32,
            bottom: bottom as f32 + 1.0,
            left: side(|row| row.1.0),
            right: side(|row| row.1.1),
            is_head_up: head.is_up,
        }
    }

    pub fn length(&self) -> f32 {
        (self.bottom - self.top).max(1.0)
    }

    pub fn width(&self) -> f32 {
        let middle = (self.top + self.bottom) / 2.0;
        (self.right.at(middle) - self.left.at(middle)).max(1.0)
    }

    /// Mean slope of both sides: places to the right per row.
    pub fn slope(&self) -> f32 {
        (self.left.slope + self.right.slope) / 2.0
    }

    /// A point of the figure's frame. `across` is 0 at the left side and 1 at the right one, `along` 0 at the collar and 1
    /// at the foot, as seen with the head up. Values beyond are beside the body.
    pub fn point(&self, across: f32, along: f32) -> Point {
        let (across, along) = match self.is_head_up {
            true => (across, along),
            false => (1.0 - across, 1.0 - along),
        };
        let y = self.top + along * (self.bottom - self.top);
        let (left, right) = (self.left.at(y), self.right.at(y));
        Point::new(left + across * (right - left), y)
    }
}
