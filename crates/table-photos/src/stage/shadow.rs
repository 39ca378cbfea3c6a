//! The shadow below a staged piece, as if it lay in soft light from above.

use super::STAGE;
use crate::grid::Grid;

/// Reduction at which shadows are made: nothing in them is sharp.
const REDUCED: usize = 4;

/// Layers of the piece's own form: distance downward and radius of the blur in pixels of the stage, and strength.
const LAYERS: [(usize, usize, f32); 2] = [(8, 10, 0.20), (20, 28, 0.20)];

/// The shadow at the foot, where the piece touches the ground: its half height in pixels, its share of the foot's width,
/// the radius of its blur and its strength.
const FOOT_HEIGHT: f32 = 13.0;
const FOOT_WIDTH: f32 = 0.94;
const FOOT_BLUR: usize = 8;
const FOOT_STRENGTH: f32 = 0.38;

/// The share of light that is missing at each pixel of the stage.
pub(super) fn cast(alpha: &Grid<f32>) -> Grid<f32> {
    let small = reduced(alpha);
    let mut lit = small.map(|_| 1.0_f32);
    for (down, radius, strength) in LAYERS {
        let layer = blurred(&moved(&small, down / REDUCED), radius / REDUCED);
        darken(&mut lit, &layer, strength);
    }
    let foot = blurred(&foot(&small), FOOT_BLUR / REDUCED);
    darken(&mut lit, &foot, FOOT_STRENGTH);
    let ratio = REDUCED as f32;
    Grid::from_fn(STAGE.0 as usize, STAGE.1 as usize, |x, y| {
        1.0 - lit.between((x as f32 + 0.5) / ratio, (y as f32 + 0.5) / ratio)
    })
}

fn darken(lit: &mut Grid<f32>, layer: &Grid<f32>, strength: f32) {
    for (value, shade) in lit.values.iter_mut().zip(&layer.values) {
        *value *= 1.0 - strength * shade;
    }
}

fn reduced(alpha: &Grid<f32>) -> Grid<f32> {
    Grid::from_fn(alpha.width / REDUCED, alpha.height / REDUCED, |x, y| {
        let mut sum = 0.0;
        for dy in 0..REDUCED {
            for dx in 0..REDUCED {
                sum += alpha.at(x * REDUCED + dx, y * REDUCED + dy);
            }
        }
        sum / (REDUCED * REDUCED) as f32
    })
}

fn moved(grid: &Grid<f32>, down: usize) -> Grid<f32> {
    Grid::from_fn(grid.width, grid.height, |x, y| {
        y.checked_sub(down).map_or(0.0, |from| grid.at(x, from))
    })
}

/// Three box blurs in a row, which are nearly a Gaussian one.
fn blurred(grid: &Grid<f32>, radius: usize) -> Grid<f32> {
    let radius = radius.max(1);
    grid.box_mean(radius).box_mean(radius).box_mean(radius)
}

/// An ellipse below the lowest rows.
fn foot(alpha: &Grid<f32>) -> Grid<f32> {
    let is_solid = |x: usize, y: usize| alpha.at(x, y) > 0.5;
    let columns_of = |y: usize| (0..alpha.width).filter(move |&x| is_solid(x, y));
    let mut foot = alpha.map(|_| 0.0);
    let Some(lowest) = (0..alpha.height)
        .rev()
        .find(|&y| columns_of(y).next().is_some())
    else {
        return foot;
    };
    // A little above the lowest row, where a rounded foot has its full width.
    let row = lowest.saturating_sub(3);
    let (Some(left), Some(right)) = (columns_of(row).next(), columns_of(row).next_back()) else {
        return foot;
    };
    let (middle, width) = ((left + right + 1) as f32 / 2.0, (right + 1 - left) as f32);
    let (rx, ry) = (width / 2.0 * FOOT_WIDTH, FOOT_HEIGHT / REDUCED as f32);
    for (y, row) in foot.rows_mut() {
        for (x, value) in row.iter_mut().enumerate() {
            let (dx, dy) = (
                x as f32 + 0.5 - middle,
                y as f32 + 0.5 - lowest as f32 - 1.0,
            );
            if (dx / rx).powi(2) + (dy / ry).powi(2) < 1.0 {
                *value = 1.0;
            }
        }
    }
    foot
}
