//! The side of the pieces that a photograph shows: the hood is taller than the tab, and from the front it is on the left.

use crate::frame::Frame;
use crate::shape::{Point, bounds, row_spans};

/// Rows of the head, as a share of the height from the top.
const HEAD: f32 = 0.08;

/// Rows of the body, as shares of the height from the top.
const BODY: (f32, f32) = (0.35, 0.85);

/// Distance of the head's middle from that of the body, in widths of the body, from which it tells the side.
const TELLS: f32 = 0.05;

/// Fewest pieces that tell the side of a photograph.
const FEWEST: usize = 3;

/// Rows that are measured of head and body.
const ROWS: usize = 12;

/// A side of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facing {
    /// The tab is on the right.
    Front,
    /// The tab is on the left.
    Back,
}

/// Tells which side most of the pieces show, each given by its outline and the direction of its head in degrees. `None`:
/// there are few pieces, or most of them do not tell.
pub fn facing<'a>(pieces: impl IntoIterator<Item = (&'a [Point], f32)>) -> Option<Facing> {
    let told: Vec<Option<Facing>> = pieces
        .into_iter()
        .map(|(outline, head_degrees)| of_piece(outline, head_degrees))
        .collect();
    let is_most = |side: Facing| {
        let count = told.iter().filter(|told| **told == Some(side)).count();
        count >= FEWEST && 2 * count > told.len()
    };
    [Facing::Front, Facing::Back]
        .into_iter()
        .find(|side| is_most(*side))
}

fn of_piece(outline: &[Point], head_degrees: f32) -> Option<Facing> {
    let turn = head_degrees.to_radians();
    let frame = Frame {
        origin: Point::default(),
        down: Point::new(-turn.sin(), turn.cos()),
    };
    let upright: Vec<Point> = outline.iter().map(|&point| frame.inner(point)).collect();
    let (least, most) = bounds(&upright);
    let height = most.y - least.y;
    let rows = |from: f32, to: f32| -> Vec<(f32, f32)> {
        let share = |row: usize| from + (to - from) * (row as f32 + 0.5) / ROWS as f32;
        (0..ROWS)
            .filter_map(|row| {
                let spans = row_spans(&upright, least.y + height * share(row));
                Some((spans.first()?.0, spans.last()?.1))
            })
            .collect()
    };
    let mean = |rows: &[(f32, f32)], of: fn(&(f32, f32)) -> f32| {
        rows.iter().map(of).sum::<f32>() / rows.len() as f32
    };
    let (head, body) = (rows(0.0, HEAD), rows(BODY.0, BODY.1));
    let middle = |(left, right): &(f32, f32)| (left + right) / 2.0;
    let width = mean(&body, |(left, right)| right - left);
    // Without rows, the means are no numbers, and neither comparison holds.
    let offset = (mean(&head, middle) - mean(&body, middle)) / width;
    if offset < -TELLS {
        Some(Facing::Front)
    } else if offset > TELLS {
        Some(Facing::Back)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body with a hood on the left, turned clockwise.
    fn piece(degrees: f32) -> Vec<Point> {
        let corners = [
            (0.0, 40.0),
            (10.0, 40.0),
            (10.0, 0.0),
            (60.0, 0.0),
            (60.0, 30.0),
            (90.0, 30.0),
            (90.0, 40.0),
            (100.0, 40.0),
            (100.0, 240.0),
            (0.0, 240.0),
        ];
        let (sin, cos) = degrees.to_radians().sin_cos();
        corners
            .map(|(x, y): (f32, f32)| Point::new(x * cos - y * sin, x * sin + y * cos))
            .to_vec()
    }

    #[test]
    fn the_tab_tells_the_side_in_any_direction() {
        for degrees in [0.0, 30.0, 120.0, -90.0] {
            let front = piece(degrees);
            let back: Vec<Point> = piece(-degrees)
                .iter()
                .map(|point| Point::new(-point.x, point.y))
                .collect();
            assert_eq!(of_piece(&front, degrees), Some(Facing::Front), "{degrees}");
            assert_eq!(of_piece(&back, degrees), Some(Facing::Back), "{degrees}");
        }
        assert_eq!(of_piece(&[], 0.0), None);
        assert_eq!(of_piece(&[Point::default(); 3], f32::NAN), None);
    }

    #[test]
    fn most_pieces_decide_and_few_do_not() {
        let (front, none) = (piece(0.0), vec![]);
        let batch = |fronts: usize, others: usize| {
            let fronts = std::iter::repeat_n((front.as_slice(), 0.0), fronts);
            facing(fronts.chain(std::iter::repeat_n((none.as_slice(), 0.0), others)))
        };
        assert_eq!(batch(3, 2), Some(Facing::Front));
        assert_eq!((batch(3, 3), batch(2, 0)), (None, None));
    }
}
