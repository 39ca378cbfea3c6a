//! The end of a piece at which its head is.

use crate::color::Lab;
use crate::figure::Figure;
use crate::grid::Grid;
use crate::shape::Point;

/// Share of the rows at each end in which a head is looked for.
const END: f32 = 0.18;

/// Width of rows that are spikes, in widths of the body.
const SPIKE: f32 = 0.38;

/// Difference of both ends below which the head's end is doubtful.
const DOUBTFUL: f32 = 0.35;

/// Chroma below which a pixel is metal, or another gray.
const GRAY: f32 = 0.035;

/// The head of a piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// True if it is at the upper end of the figure's frame.
    pub is_up: bool,
    pub is_doubtful: bool,
}

/// Tells which end is the head: it is narrower than the body, and partly of gray metal.
pub(crate) fn find_head(figure: &Figure, lab: &Grid<Lab>) -> Head {
    let rows = figure.rows();
    let (left, right) = figure.body_sides();
    let body = (right - left).max(1.0);
    let count = ((rows.len() as f32 * END) as usize).max(1);
    let score = |rows: &[(usize, (usize, usize))]| {
        let (mut widths, mut grays, mut pixels) = (Vec::new(), 0, 0);
        for &(y, (first, last)) in rows {
            let width = (last - first) as f32;
            if width >= SPIKE * body {
                widths.push(width);
            }
            for x in (first..last).filter(|&x| figure.mask.at(x, y)) {
                let place = figure
                    .frame
                    .outer(Point::new(x as f32 + 0.5, y as f32 + 0.5));
                let color = lab.nearest(place.x as isize, place.y as isize);
                grays += usize::from(color.chroma() < GRAY && color.l > 0.35);
                pixels += 1;
            }
        }
        let mean = widths.iter().sum::<f32>() / (widths.len().max(1)) as f32;
        3.0 * (1.0 - mean / body) + 0.5 * grays as f32 / pixels.max(1) as f32
    };
    let last = rows.len().saturating_sub(count);
    let apart = score(&rows[..count.min(rows.len())]) - score(&rows[last..]);
    Head {
        is_up: apart >= 0.0,
        is_doubtful: apart.abs() < DOUBTFUL,
    }
}
