//! The look of a piece: what of its beadwork, its head and its size tells which back belongs to which front.

use crate::board::Board;
use crate::body::Body;
use crate::color::{Lab, Light};
use crate::copy::WorkingCopy;
use crate::figure::Figure;
use crate::grid::Grid;
use crate::shape::Point;

/// Rows and columns of the beadwork's grid.
pub(crate) const ROWS: usize = 48;
pub(crate) const COLUMNS: usize = 24;

/// Samples per place of the grid in each direction: finer than beads, so that histograms see their colors unmixed.
const FINER: usize = 2;

/// Share of the body's width at each side that is seen from too flat an angle.
const SIDE: f32 = 0.03;

/// The look of one piece in one photograph.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Samples of the beadwork from the collar down, each row from the left, in even light.
    pub(crate) beads: Vec<Light>,
    /// Colors of collar, tab and foot.
    pub(crate) trim: [Light; 3],
    /// Length and width of the body in pixels of the photograph.
    pub(crate) length: f32,
    pub(crate) width: f32,
    /// Mean color of the board in this photograph.
    pub(crate) board: Light,
    /// Factors that make the light of this photograph white.
    pub(crate) light: Light,
}

impl Look {
    pub(crate) fn of(figure: &Figure, body: &Body, copy: &WorkingCopy, board: &Board) -> Look {
        let mean = board.mean.light();
        let sample = |across: f32, along: f32| {
            let place = figure.frame.outer(body.point(across, along));
            let color = color_at(&copy.lab, place).light();
            let below = board.color(place.x, place.y).light();
            let evened = |channel: usize| {
                color[channel] * (mean[channel] / below[channel].max(1e-3)).clamp(0.5, 2.0)
            };
            [evened(0), evened(1), evened(2)]
        };
        let (rows, columns) = (ROWS * FINER, COLUMNS * FINER);
        let mut beads = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            for column in 0..columns {
                let across = (column as f32 + 0.5) / columns as f32 * (1.0 - 2.0 * SIDE) + SIDE;
                let along = (row as f32 + 0.5) / rows as f32 * 0.95 + 0.02;
                beads.push(sample(across, along));
            }
        }
        Look {
            beads,
            trim: trim(&sample, body),
            length: body.length() / copy.scale,
            width: body.width() / copy.scale,
            board: mean,
            light: [1.0; 3],
        }
    }

    /// Means of the samples in each place of the grid, in OKLab and in another light.
    pub(crate) fn grid(&self, light: Light) -> Grid<Lab> {
        Grid::from_fn(COLUMNS, ROWS, |x, y| {
            let mut sum = [0.0; 3];
            for dy in 0..FINER {
                for dx in 0..FINER {
                    let bead = self.beads[(y * FINER + dy) * COLUMNS * FINER + x * FINER + dx];
                    for channel in 0..3 {
                        sum[channel] += bead[channel] * light[channel];
                    }
                }
            }
            Lab::of(sum.map(|value| value / (FINER * FINER) as f32))
        })
    }

    /// All samples in OKLab and in another light.
    pub(crate) fn samples(&self, light: Light) -> Vec<Lab> {
        let lit = |bead: &Light| Lab::of([0, 1, 2].map(|channel| bead[channel] * light[channel]));
        self.beads.iter().map(lit).collect()
    }
}

/// Colors of the collar, the tab and the foot. The tab is the most colorful place beside the hood, or the darkest one.
fn trim(sample: &impl Fn(f32, f32) -> Light, body: &Body) -> [Light; 3] {
    // Lengths beyond the body's ends are those of lighters: parts of the body's width.
    let aspect = body.width() / body.length();
    let mean = |along: std::ops::Range<f32>| {
        let mut sum = [0.0; 3];
        let count = 24;
        for index in 0..count {
            let across = 0.2 + 0.6 * (index % 8) as f32 / 7.0;
            let share = (index / 8) as f32 / 2.0;
            let color = sample(across, along.start + share * (along.end - along.start));
            for channel in 0..3 {
                sum[channel] += color[channel] / count as f32;
            }
        }
        sum
    };
    let strength = |light: &Light| {
        let color = Lab::of(*light);
        color.chroma() + 0.2 * (0.4 - color.l).max(0.0)
    };
    let mut places = Vec::new();
    for column in 0..20 {
        for row in 0..6 {
            let across = 0.04 + 0.92 * column as f32 / 19.0;
            places.push(sample(across, -(0.06 + 0.04 * row as f32) * aspect));
        }
    }
    places.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
    let strongest = &places[..places.len() / 6];
    let tab = [0, 1, 2].map(|channel| {
        strongest.iter().map(|light| light[channel]).sum::<f32>() / strongest.len() as f32
    });
    [
        mean(-0.06 * aspect..-0.02 * aspect),
        tab,
        mean(1.0 - 0.06 * aspect..1.0 - 0.02 * aspect),
    ]
}

/// The color at a point, linear between pixels.
pub(crate) fn color_at(lab: &Grid<Lab>, point: Point) -> Lab {
    let (x, y) = (point.x - 0.5, point.y - 0.5);
    let (left, top) = (x.floor(), y.floor());
    let (fx, fy) = (x - left, y - top);
    let (left, top) = (left as isize, top as isize);
    let row = |y: isize| lab.nearest(left, y).toward(lab.nearest(left + 1, y), fx);
    row(top).toward(row(top + 1), fy)
}
