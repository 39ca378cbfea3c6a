//! Gaps between a front and a back: what of their look differs, each measure from 0 up.

use crate::color::{Lab, Light};
use crate::grid::Grid;
use crate::look::{COLUMNS, Look, ROWS};

/// Number of gaps.
pub(crate) const GAPS: usize = 8;

/// Bins of the histogram of colors: lightness, a and b.
const BINS: [usize; 3] = [6, 10, 10];

/// Largest a and b that the histogram tells apart, on either side of gray.
const WIDEST: f32 = 0.3;

/// Longest lag of repeats, in rows.
const LAGS: usize = 24;

/// Directions of edges.
const DIRECTIONS: usize = 8;

/// Most by which one photograph's light is changed to that of the other.
const LIGHT: (f32, f32) = (0.6, 1.7);

/// Distance of two boards' chroma from which they are two boards, and say nothing about the light.
const OTHER_BOARD: f32 = 0.06;

/// Measures of a look from which gaps are computed, in a light that both pieces share.
pub(crate) struct Features {
    grid: Grid<Lab>,
    histogram: Vec<f32>,
    rows: Vec<Lab>,
    repeats: [f32; LAGS],
    directions: [f32; DIRECTIONS],
    trim: [Lab; 3],
    length: f32,
    width: f32,
}

impl Features {
    /// Features of two looks, in the same light: that in which both boards have one color.
    pub fn of_both(one: &Look, other: &Look) -> (Features, Features) {
        let (a, b) = (Lab::of(one.board), Lab::of(other.board));
        let apart = Lab { l: 0.0, ..a }.distance(Lab { l: 0.0, ..b }, 0.0);
        let light = |look: &Look, other: &Look| -> Light {
            [0, 1, 2].map(|channel| match apart < OTHER_BOARD {
                true => {
                    let ratio = other.board[channel] / look.board[channel].max(1e-3);
                    ratio.max(1e-3).sqrt().clamp(LIGHT.0, LIGHT.1)
                }
                false => 1.0,
            })
        };
        (
            Features::of(one, light(one, other)),
            Features::of(other, light(other, one)),
        )
    }

    fn of(look: &Look, light: Light) -> Features {
        let grid = look.grid(light);
        let rows: Vec<Lab> = (0..ROWS).map(|y| mean(grid.row(y))).collect();
        Features {
            histogram: histogram(&look.samples(light)),
            repeats: repeats(&grid),
            directions: directions(&grid),
            trim: look
                .trim
                .map(|color| Lab::of([0, 1, 2].map(|channel| color[channel] * light[channel]))),
            length: look.length,
            width: look.width,
            rows,
            grid,
        }
    }
}

/// All gaps, in the order of their weights.
pub(crate) fn gaps(front: &Features, back: &Features) -> [f32; GAPS] {
    [
        colors(front, back),
        rows(front, back),
        edges(front, back),
        wrap(front, back),
        root_mean_square(&front.repeats, &back.repeats),
        hellinger(&front.directions, &back.directions),
        trim(front, back),
        size(front, back),
    ]
}

/// Difference of all colors, wherever they are.
pub(crate) fn colors(one: &Features, other: &Features) -> f32 {
    hellinger(&one.histogram, &other.histogram)
}

/// Difference of the beadwork place by place: small only for the same side of the same piece.
pub(crate) fn beads(one: &Features, other: &Features) -> f32 {
    let distance = |dx: isize, dy: isize| {
        let mut sum = 0.0;
        for y in 0..ROWS {
            for x in 0..COLUMNS {
                let shifted = other.grid.nearest(x as isize + dx, y as isize + dy);
                sum += one.grid.at(x, y).distance(shifted, 1.0);
            }
        }
        sum / (ROWS * COLUMNS) as f32
    };
    let shifts = (-1..=1).flat_map(|dx| (-2..=2).map(move |dy| (dx, dy)));
    shifts
        .map(|(dx, dy)| distance(dx, dy))
        .fold(f32::INFINITY, f32::min)
}

/// Difference of the mean colors along the axis.
fn rows(front: &Features, back: &Features) -> f32 {
    let value =
        |features: &Features, y: isize| features.rows[y.clamp(0, ROWS as isize - 1) as usize];
    least_over_shifts(2, |shift| {
        let distances =
            (0..ROWS as isize).map(|y| value(front, y).distance(value(back, y + shift), 1.0));
        distances.sum::<f32>() / ROWS as f32
    })
}

/// Difference where the sides meet: the front's right side goes on at the back's left one, and the other way round.
fn edges(front: &Features, back: &Features) -> f32 {
    let meet = |right: &Features, left: &Features| {
        least_over_shifts(2, |shift| columns_apart(right, COLUMNS - 1, left, 0, shift))
    };
    (meet(front, back) + meet(back, front)) / 2.0
}

/// Difference a little away from the sides, with one shift for both: a spiral climbs by as much on either side.
fn wrap(front: &Features, back: &Features) -> f32 {
    const INSET: usize = 3;
    least_over_shifts(5, |shift| {
        let right = COLUMNS - 1 - INSET;
        (columns_apart(front, right, back, INSET, shift)
            + columns_apart(back, right, front, INSET, shift))
            / 2.0
    })
}

/// Mean distance of a column and its neighbor to those of another piece, moved by `shift` rows.
fn columns_apart(one: &Features, at: usize, other: &Features, to: usize, shift: isize) -> f32 {
    let color = |features: &Features, column: usize, row: isize| {
        let next = if column < COLUMNS / 2 {
            column + 1
        } else {
            column - 1
        };
        let first = features.grid.nearest(column as isize, row);
        first.toward(features.grid.nearest(next as isize, row), 0.5)
    };
    let distances = (0..ROWS as isize)
        .map(|row| color(one, at, row).distance(color(other, to, row + shift), 1.0));
    distances.sum::<f32>() / ROWS as f32
}

fn trim(front: &Features, back: &Features) -> f32 {
    let distances = front
        .trim
        .iter()
        .zip(&back.trim)
        .map(|(a, b)| a.distance(*b, 0.5));
    distances.sum::<f32>() / 3.0
}

fn size(front: &Features, back: &Features) -> f32 {
    (front.length / back.length).ln().abs() + 0.5 * (front.width / back.width).ln().abs()
}

fn least_over_shifts(most: isize, gap: impl Fn(isize) -> f32) -> f32 {
    (-most..=most).map(gap).fold(f32::INFINITY, f32::min)
}

fn mean(colors: &[Lab]) -> Lab {
    let sum = colors
        .iter()
        .fold(Lab::default(), |sum, color| sum.plus(*color));
    sum.scaled(1.0 / colors.len().max(1) as f32)
}

/// A histogram in which each color counts for the bins around it.
fn histogram(samples: &[Lab]) -> Vec<f32> {
    let [lightness, a, b] = BINS;
    let mut bins = vec![0.0; lightness * a * b];
    let weight = 1.0 / samples.len().max(1) as f32;
    for sample in samples {
        let spread = |value: f32, count: usize| {
            let place = value.clamp(0.0, 1.0) * (count - 1) as f32;
            let low = (place.floor() as usize).min(count - 2);
            let share = place - low as f32;
            [(low, 1.0 - share), (low + 1, share)]
        };
        let along = |value: f32| (value / WIDEST + 1.0) / 2.0;
        for (x, wx) in spread(sample.l, lightness) {
            for (y, wy) in spread(along(sample.a), a) {
                for (z, wz) in spread(along(sample.b), b) {
                    bins[(x * a + y) * b + z] += weight * wx * wy * wz;
                }
            }
        }
    }
    bins
}

/// Distance of two distributions, from 0 to 1.
fn hellinger(one: &[f32], other: &[f32]) -> f32 {
    let common: f32 = one.iter().zip(other).map(|(a, b)| (a * b).sqrt()).sum();
    (1.0 - common.min(1.0)).sqrt()
}

fn root_mean_square(one: &[f32], other: &[f32]) -> f32 {
    let squares = one.iter().zip(other).map(|(a, b)| (a - b) * (a - b));
    (squares.sum::<f32>() / one.len() as f32).sqrt()
}

/// Likeness of the beadwork to itself further down, by lag.
fn repeats(grid: &Grid<Lab>) -> [f32; LAGS] {
    let middle = mean(&grid.values);
    let deviation = |x: usize, y: usize| grid.at(x, y).minus(middle);
    let product = |one: Lab, other: Lab| one.l * other.l + one.a * other.a + one.b * other.b;
    let total: f32 = grid
        .values
        .iter()
        .map(|color| {
            let apart = color.minus(middle);
            product(apart, apart)
        })
        .sum();
    let total = (total / grid.values.len() as f32).max(1e-5);
    std::array::from_fn(|lag| {
        let lag = lag + 1;
        let mut sum = 0.0;
        for y in 0..ROWS - lag {
            for x in 0..COLUMNS {
                sum += product(deviation(x, y), deviation(x, y + lag));
            }
        }
        sum / ((ROWS - lag) * COLUMNS) as f32 / total
    })
}

/// Shares of the edges' directions, by strength. The same beadwork seen from behind has the same ones.
fn directions(grid: &Grid<Lab>) -> [f32; DIRECTIONS] {
    let mut shares = [1e-4; DIRECTIONS];
    // A body is about twice as long as wide, and so is the grid: its places are about square.
    for y in 1..ROWS - 1 {
        for x in 1..COLUMNS - 1 {
            let right = grid.at(x + 1, y).minus(grid.at(x - 1, y));
            let down = grid.at(x, y + 1).minus(grid.at(x, y - 1));
            // The structure tensor of all three channels.
            let xx = right.l * right.l + right.a * right.a + right.b * right.b;
            let yy = down.l * down.l + down.a * down.a + down.b * down.b;
            let xy = right.l * down.l + right.a * down.a + right.b * down.b;
            let angle = (2.0 * xy).atan2(xx - yy) / 2.0;
            let turn = (angle / std::f32::consts::PI).rem_euclid(1.0) * DIRECTIONS as f32;
            let (low, share) = (turn.floor() as usize % DIRECTIONS, turn.fract());
            let strength = (xx + yy).sqrt();
            shares[low] += strength * (1.0 - share);
            shares[(low + 1) % DIRECTIONS] += strength * share;
        }
    }
    let total: f32 = shares.iter().sum();
    shares.map(|share| share / total)
}
