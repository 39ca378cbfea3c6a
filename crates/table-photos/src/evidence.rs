//! Evidence per pixel that something lies on the board: a color that no light makes of the board's, or a texture rougher
//! than the board's. Above 1 a pixel belongs to something.

use crate::board::{Board, CELL, Surface};
use crate::color::Lab;
use crate::copy::WorkingCopy;
use crate::grid::{Grid, percentile};

/// Least tolerances of chroma and of lightness above the board's; boards with more noise have larger ones.
const CHROMA_TOLERANCE: f32 = 0.020;
const BRIGHTNESS_TOLERANCE: f32 = 0.055;

/// Tolerance below the deepest shadow.
const DARKNESS_TOLERANCE: f32 = 0.04;

/// Lightness of the deepest shadow over that of the board, on gray boards and on colorful ones, where the hue tells a
/// shadow from black beads.
const DEEPEST_SHADOW: (f32, f32) = (0.62, 0.40);

/// Chroma over lightness from which a board is colorful.
const COLORFUL: f32 = 0.22;

/// Largest lightness over that of the board that still is the board in more light.
const BRIGHTEST: f32 = 1.15;

/// Share by which roughness must exceed the board's roughest places.
const ROUGHER: f32 = 1.25;

/// Rows over which a profile is a mean, and the least bend that is an edge, in lightnesses of the
/// board: shadows have smaller ones.
pub(crate) const PROFILE_ROWS: usize = 20;
const LEAST_EDGE: f32 = 0.025;

/// Tolerances against one board.
pub(crate) struct Evidence {
    chroma: f32,
    brightness: f32,
}

impl Evidence {
    pub fn of(board: &Board) -> Evidence {
        Evidence {
            chroma: f32::max(CHROMA_TOLERANCE, 3.2 * board.sigma_chroma),
            brightness: f32::max(BRIGHTNESS_TOLERANCE, 3.5 * board.sigma_lightness),
        }
    }

    /// Evidence of a color against the board's color at the same place.
    pub fn color(&self, color: Lab, board: Lab) -> f32 {
        let lightness = board.l.max(0.02);
        let ratio = color.l / lightness;
        let colorful = (board.chroma() / lightness / COLORFUL).min(1.0);
        let deepest = DEEPEST_SHADOW.0 + (DEEPEST_SHADOW.1 - DEEPEST_SHADOW.0) * colorful;
        let light = ratio.clamp(deepest, BRIGHTEST);
        let (a, b) = (color.a - light * board.a, color.b - light * board.b);
        let tolerance = self.chroma * (1.0 + 0.6 * (1.0 - light).max(0.0));
        let hue = a.hypot(b) / tolerance;
        let brighter = (color.l - board.l) / self.brightness;
        let darker = (deepest * board.l - color.l) / DARKNESS_TOLERANCE;
        hue.max(brighter).max(darker)
    }
}

/// Evidence of a whole copy, with the roughness by which plain and bead-like surfaces differ.
pub(crate) struct EvidenceMap {
    /// By color and by roughness.
    pub total: Grid<f32>,
    /// By color alone.
    pub color: Grid<f32>,
    /// By roughness alone.
    pub rough: Grid<f32>,
    /// Roughness over the board's usual one.
    pub roughness: Grid<f32>,
    /// The board's usual roughness.
    pub usual: f32,
    /// [`bend`] above which a profile has an edge that is not the board's.
    pub edge: f32,
}

impl EvidenceMap {
    pub fn of(copy: &WorkingCopy, board: &Board) -> EvidenceMap {
        let color = color_evidence(copy, board);
        let mut roughness = slope_deviation(&copy.lab);
        let (usual, roughest) = board_roughness(&roughness, board);
        // Windows of the roughness reach out by two pixels, the camera's blur by one more.
        let limit = (roughest * ROUGHER).max(1e-4);
        let rough = roughness.box_min(3).map(|value| value / limit);
        let mut total = color.clone();
        for (total, rough) in total.values.iter_mut().zip(&rough.values) {
            *total = total.max(*rough);
        }
        for value in &mut roughness.values {
            *value /= usual.max(1e-4);
        }
        EvidenceMap {
            total,
            color,
            rough,
            roughness,
            usual: usual.max(1e-4),
            edge: (edge_limit(copy, board) * ROUGHER).max(LEAST_EDGE * board.mean.l),
        }
    }
}

fn color_evidence(copy: &WorkingCopy, board: &Board) -> Grid<f32> {
    let evidence = Evidence::of(board);
    let mut grid = copy.lab.map(|_| 0.0);
    for (y, row) in grid.rows_mut() {
        for (x, value) in row.iter_mut().enumerate() {
            let (cx, cy) = (x as f32 + 0.5, y as f32 + 0.5);
            if board.surface(cx, cy) != Surface::Around {
                *value = evidence.color(copy.lab.at(x, y), board.color(cx, cy));
            }
        }
    }
    grid
}

/// Deviation of the slope of lightness in windows of 5 by 5. The slope itself would be large in every soft shadow.
fn slope_deviation(lab: &Grid<Lab>) -> Grid<f32> {
    let slope = |dx: usize, dy: usize| {
        Grid::from_fn(lab.width, lab.height, |x, y| {
            let before = lab.at(x.saturating_sub(dx), y.saturating_sub(dy));
            let after = lab.at((x + dx).min(lab.width - 1), (y + dy).min(lab.height - 1));
            after.l - before.l
        })
    };
    let variance = |slope: Grid<f32>| {
        let mut squares = slope.map(|value| value * value).box_mean(2);
        let means = slope.box_mean(2);
        for (square, mean) in squares.values.iter_mut().zip(&means.values) {
            *square = (*square - mean * mean).max(0.0);
        }
        squares
    };
    let mut deviation = variance(slope(1, 0));
    let vertical = variance(slope(0, 1));
    for (value, other) in deviation.values.iter_mut().zip(&vertical.values) {
        *value = (*value + other).sqrt();
    }
    deviation
}

/// Bend of a profile of lightness at a place: an edge bends it, and the soft border of a shadow hardly does.
pub(crate) fn bend(profile: &[f32], at: usize) -> f32 {
    const REACH: usize = 2;
    let before = profile[at.saturating_sub(REACH)];
    let after = profile[(at + REACH).min(profile.len() - 1)];
    (before - 2.0 * profile[at] + after).abs()
}

/// The bend of profiles over [`PROFILE_ROWS`] rows that the board's own texture has, from samples all over it.
fn edge_limit(copy: &WorkingCopy, board: &Board) -> f32 {
    let mut bends = Vec::new();
    let (columns, rows) = (board.surfaces.width, board.surfaces.height);
    for index in (0..columns * rows).step_by(3) {
        let (x, y) = ((index % columns) as isize, (index / columns) as isize);
        let around = (-1..=1).flat_map(|dx| (-1..=1).map(move |dy| (x + dx, y + dy)));
        let is_board = |(x, y)| board.surfaces.nearest(x, y) == Surface::Board;
        if around.into_iter().all(is_board) {
            let corner = ((x - 1) * CELL as isize, (y - 1) * CELL as isize);
            // Wood has its lines in one direction only.
            let along_rows = |dx: isize, dy: isize| (corner.0 + dx, corner.1 + dy);
            let along_columns = |dx: isize, dy: isize| (corner.0 + dy, corner.1 + dx);
            let mut take = |place: &dyn Fn(isize, isize) -> (isize, isize)| {
                let mean = |at: isize| {
                    let lightness = (0..PROFILE_ROWS as isize).map(|row| {
                        let (x, y) = place(at, row);
                        copy.lab.nearest(x, y).l
                    });
                    lightness.sum::<f32>() / PROFILE_ROWS as f32
                };
                let profile: Vec<f32> = (0..3 * CELL as isize).map(mean).collect();
                bends.extend([6, 12, 18].map(|at| bend(&profile, at)));
            };
            take(&along_rows);
            take(&along_columns);
        }
    }
    percentile(&mut bends, 0.98)
}

/// The board's usual roughness and that of its roughest places.
fn board_roughness(roughness: &Grid<f32>, board: &Board) -> (f32, f32) {
    let inner = |x: usize, y: usize| {
        let surface = |dx: isize, dy: isize| {
            let (cx, cy) = ((x / CELL) as isize + dx, (y / CELL) as isize + dy);
            board.surfaces.nearest(cx, cy) == Surface::Board
        };
        surface(0, 0) && surface(1, 0) && surface(-1, 0) && surface(0, 1) && surface(0, -1)
    };
    let mut values = Vec::new();
    for y in (0..roughness.height).step_by(2) {
        for x in (0..roughness.width).step_by(2) {
            if inner(x, y) {
                values.push(roughness.at(x, y));
            }
        }
    }
    (percentile(&mut values, 0.5), percentile(&mut values, 0.995))
}
