//! The board on which the pieces lie: where it is, and its color below the pieces.
//!
//! Works on cells of 8 by 8 pixels. The board grows from its most common color, cell by cell, and follows uneven light,
//! glare and wrinkles, because each cell is compared with its neighbor and not with the seeds.

use std::collections::VecDeque;

use crate::color::Lab;
use crate::copy::WorkingCopy;
use crate::grid::{Grid, median, percentile};

/// Side of a cell in pixels of the copy.
pub(crate) const CELL: usize = 8;

/// Least share of the photograph that a board holds.
const LEAST_SHARE: f32 = 0.08;

/// Share of the border's cells from which a second surface is the table around the board.
const AROUND_SHARE: f32 = 0.10;

/// Weight of lightness in the distance of neighboring cells: light varies more than color on one board.
const LIGHTNESS_WEIGHT: f32 = 0.7;

/// Least and largest distance of neighboring cells that still belong together.
const STEP_LIMITS: (f32, f32) = (0.012, 0.06);

/// Ratio of a 90th percentile to the standard deviation of a normal distribution, for absolute values.
const PERCENTILE_90: f32 = 1.645;

/// The surface to which a cell belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    Board,
    /// The table beside the board.
    Around,
    Other,
}

/// The board of one photograph.
#[derive(Clone)]
pub(crate) struct Board {
    pub surfaces: Grid<Surface>,
    /// Color below each cell, also where a piece lies.
    colors: Grid<Lab>,
    /// Standard deviation of lightness and of chroma around the local color.
    pub sigma_lightness: f32,
    pub sigma_chroma: f32,
    /// Share of the cells.
    pub share: f32,
    /// Mean color.
    pub mean: Lab,
}

/// Mean color and mean slope of a cell.
#[derive(Clone, Copy, Default)]
struct Cell {
    color: Lab,
    slope: f32,
}

impl Board {
    /// Finds the board. `None` if no surface is large enough.
    pub fn find(copy: &WorkingCopy) -> Option<Board> {
        let cells = cells(&copy.lab);
        let mut surfaces = cells.map(|_| Surface::Other);
        let seeds = common_cells(&cells, &calm_cells(&cells));
        let growth = Growth::from_seeds(&cells, &seeds);
        growth.grow(&cells, &mut surfaces, &seeds, Surface::Board);
        grow_around(&cells, &growth, &mut surfaces);
        let count = surfaces.values.iter().filter(|&&s| s == Surface::Board);
        let share = count.count() as f32 / surfaces.values.len() as f32;
        if share < LEAST_SHARE {
            return None;
        }
        let inner = inner_cells(&surfaces);
        let colors = colors_below(&cells, &inner);
        let mut board = Board {
            mean: mean_color(&cells, &inner),
            surfaces,
            colors,
            sigma_lightness: 0.0,
            sigma_chroma: 0.0,
            share,
        };
        board.measure_residuals(&copy.lab, &inner);
        Some(board)
    }

    /// The board's color at a point of the copy.
    pub fn color(&self, x: f32, y: f32) -> Lab {
        let (x, y) = (x / CELL as f32 - 0.5, y / CELL as f32 - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let (fx, fy) = (x - left, y - top);
        let (left, top) = (left as isize, top as isize);
        let upper = self.colors.nearest(left, top);
        let upper = upper.toward(self.colors.nearest(left + 1, top), fx);
        let lower = self.colors.nearest(left, top + 1);
        let lower = lower.toward(self.colors.nearest(left + 1, top + 1), fx);
        upper.toward(lower, fy)
    }

    /// The surface at a point of the copy.
    pub fn surface(&self, x: f32, y: f32) -> Surface {
        let cell = |at: f32| (at / CELL as f32).floor() as isize;
        self.surfaces.nearest(cell(x), cell(y))
    }

    fn measure_residuals(&mut self, lab: &Grid<Lab>, inner: &Grid<bool>) {
        let (mut lightness, mut chroma) = (Vec::new(), Vec::new());
        // Every third pixel says as much as all of them.
        for y in (0..lab.height).step_by(3) {
            for x in (0..lab.width).step_by(3) {
                if inner.at(x / CELL, y / CELL) {
                    let apart = lab
                        .at(x, y)
                        .minus(self.color(x as f32 + 0.5, y as f32 + 0.5));
                    lightness.push(apart.l.abs());
                    chroma.push(apart.chroma());
                }
            }
        }
        self.sigma_lightness = percentile(&mut lightness, 0.9) / PERCENTILE_90;
        self.sigma_chroma = percentile(&mut chroma, 0.9) / PERCENTILE_90;
    }
}

fn cells(lab: &Grid<Lab>) -> Grid<Cell> {
    let mut cells = Grid::new(
        lab.width.div_ceil(CELL),
        lab.height.div_ceil(CELL),
        Cell::default(),
    );
    let mut counts = cells.map(|_| 0.0_f32);
    for y in 0..lab.height {
        let below = lab.row((y + 1).min(lab.height - 1));
        let row = lab.row(y);
        for x in 0..lab.width {
            let (color, right) = (row[x], row[(x + 1).min(lab.width - 1)]);
            let cell = cells.at_mut(x / CELL, y / CELL);
            cell.color = cell.color.plus(color);
            cell.slope += color
                .distance(right, 1.0)
                .hypot(color.distance(below[x], 1.0));
            *counts.at_mut(x / CELL, y / CELL) += 1.0;
        }
    }
    for (cell, count) in cells.values.iter_mut().zip(&counts.values) {
        cell.color = cell.color.scaled(1.0 / count);
        cell.slope /= count;
    }
    cells
}

fn calm_cells(cells: &Grid<Cell>) -> Vec<usize> {
    let mut slopes: Vec<f32> = cells.values.iter().map(|cell| cell.slope).collect();
    let limit = percentile(&mut slopes, 0.4) * 1.5;
    let is_calm = |&index: &usize| cells.values[index].slope <= limit;
    (0..cells.values.len()).filter(is_calm).collect()
}

/// The cells of the most common chromaticity and, among them, of the most common lightness.
fn common_cells(cells: &Grid<Cell>, candidates: &[usize]) -> Vec<usize> {
    const CHROMATICITY_BIN: f32 = 0.02;
    const LIGHTNESS_BIN: f32 = 0.04;
    let chromaticity = |index: usize| {
        let color = cells.values[index].color;
        // Black has no hue: noise must not make one.
        let lightness = color.l.max(0.1);
        let bin = |value: f32| (value / lightness / CHROMATICITY_BIN).round() as i32;
        [bin(color.a), bin(color.b)]
    };
    let lightness = |index: usize| {
        [
            (cells.values[index].color.l / LIGHTNESS_BIN).round() as i32,
            0,
        ]
    };
    most_common(&most_common(candidates, chromaticity), lightness)
}

/// The items in the fullest bin and the bins beside it.
fn most_common(items: &[usize], bin: impl Fn(usize) -> [i32; 2]) -> Vec<usize> {
    let mut counts = std::collections::BTreeMap::<[i32; 2], usize>::new();
    for &item in items {
        *counts.entry(bin(item)).or_default() += 1;
    }
    let around = |[x, y]: [i32; 2]| -> usize {
        let bins = (-1..=1).flat_map(|dx| (-1..=1).map(move |dy| [x + dx, y + dy]));
        bins.filter_map(|bin| counts.get(&bin)).sum()
    };
    let Some(fullest) = counts.keys().copied().max_by_key(|&bin| around(bin)) else {
        return Vec::new();
    };
    let is_near = |&item: &usize| {
        let bin = bin(item);
        bin[0].abs_diff(fullest[0]) <= 1 && bin[1].abs_diff(fullest[1]) <= 1
    };
    items.iter().copied().filter(is_near).collect()
}

/// Limits up to which a surface goes on into the next cell.
struct Growth {
    slope: f32,
    step: f32,
}

impl Growth {
    fn from_seeds(cells: &Grid<Cell>, seeds: &[usize]) -> Growth {
        let mut slopes: Vec<f32> = seeds.iter().map(|&seed| cells.values[seed].slope).collect();
        let usual = median(&mut slopes);
        let mut deviations: Vec<f32> = slopes.iter().map(|slope| (slope - usual).abs()).collect();
        let spread = median(&mut deviations) * 1.4826;
        let mut is_seed = cells.map(|_| false);
        for &seed in seeds {
            is_seed.values[seed] = true;
        }
        let mut steps: Vec<f32> = seeds
            .iter()
            .flat_map(|&seed| cells.neighbors(seed).map(move |next| (seed, next)))
            .filter(|&(seed, next)| seed < next && is_seed.values[next])
            .map(|(seed, next)| {
                cells.values[seed]
                    .color
                    .distance(cells.values[next].color, LIGHTNESS_WEIGHT)
            })
            .collect();
        Growth {
            slope: usual + 3.5 * spread + usual * 0.1,
            step: (median(&mut steps) * 4.0).clamp(STEP_LIMITS.0, STEP_LIMITS.1),
        }
    }

    /// Gives the surface to the seeds, and to all cells that go on from them.
    fn grow(
        &self,
        cells: &Grid<Cell>,
        surfaces: &mut Grid<Surface>,
        seeds: &[usize],
        surface: Surface,
    ) {
        let mut running = cells.map(|cell| cell.color);
        let mut queue: VecDeque<usize> = seeds.iter().copied().collect();
        for &seed in seeds {
            surfaces.values[seed] = surface;
        }
        while let Some(from) = queue.pop_front() {
            for next in cells.neighbors(from) {
                let cell = cells.values[next];
                let step = running.values[from].distance(cell.color, LIGHTNESS_WEIGHT);
                if surfaces.values[next] == Surface::Other
                    && cell.slope <= self.slope
                    && step <= self.step
                {
                    surfaces.values[next] = surface;
                    running.values[next] = running.values[from].toward(cell.color, 0.5);
                    queue.push_back(next);
                }
            }
        }
    }
}

/// Finds the table beside the board: another calm surface that holds a part of the border.
fn grow_around(cells: &Grid<Cell>, growth: &Growth, surfaces: &mut Grid<Surface>) {
    let border = (0..cells.values.len()).filter(|&index| cells.is_border(index));
    let border: Vec<usize> = border.collect();
    loop {
        let is_calm_rest = |&index: &usize| {
            surfaces.values[index] == Surface::Other && cells.values[index].slope <= growth.slope
        };
        let rest: Vec<usize> = border.iter().copied().filter(is_calm_rest).collect();
        let seeds = common_cells(cells, &rest);
        if (seeds.len() as f32) < AROUND_SHARE * border.len() as f32 {
            return;
        }
        growth.grow(cells, surfaces, &seeds, Surface::Around);
    }
}

/// Cells of the board that have only cells of the board beside them: pieces and their shadows do not reach into them.
fn inner_cells(surfaces: &Grid<Surface>) -> Grid<bool> {
    let is_board = |index: usize| surfaces.values[index] == Surface::Board;
    let mut inner = surfaces.map(|surface| surface == Surface::Board);
    for index in 0..surfaces.values.len() {
        if !surfaces.neighbors(index).all(is_board) {
            inner.values[index] = false;
        }
    }
    // A board in strips too narrow for that is taken as it is.
    if inner.values.iter().any(|&is_inner| is_inner) {
        inner
    } else {
        surfaces.map(|surface| surface == Surface::Board)
    }
}

fn mean_color(cells: &Grid<Cell>, inner: &Grid<bool>) -> Lab {
    let mut sum = Lab::default();
    let mut count = 0.0;
    for (cell, _) in cells.values.iter().zip(&inner.values).filter(|(_, i)| **i) {
        sum = sum.plus(cell.color);
        count += 1.0;
    }
    sum.scaled(1.0 / f32::max(count, 1.0))
}

/// Means of the board's cells around each cell, over the smallest square that has enough of them.
fn colors_below(cells: &Grid<Cell>, inner: &Grid<bool>) -> Grid<Lab> {
    const ENOUGH: f32 = 5.0;
    let weights = inner.map(|is_inner| f32::from(u8::from(is_inner)));
    let channel = |value: fn(Lab) -> f32| {
        let mut weighted = cells.map(|cell| value(cell.color));
        for (value, weight) in weighted.values.iter_mut().zip(&weights.values) {
            *value *= weight;
        }
        weighted
    };
    let channels = [channel(|c| c.l), channel(|c| c.a), channel(|c| c.b)];
    let mut colors: Grid<Option<Lab>> = cells.map(|_| None);
    let mut radius = 2;
    loop {
        let counts = weights.box_mean(radius);
        let [l, a, b] = channels.each_ref().map(|channel| channel.box_mean(radius));
        let area = ((2 * radius + 1) * (2 * radius + 1)) as f32;
        let is_last = radius > cells.width.max(cells.height);
        for (index, color) in colors.values.iter_mut().enumerate() {
            let count = counts.values[index];
            if color.is_none() && (count * area >= ENOUGH || is_last) {
                let mean = |grid: &Grid<f32>| grid.values[index] / count.max(1e-9);
                *color = Some(Lab {
                    l: mean(&l),
                    a: mean(&a),
                    b: mean(&b),
                });
            }
        }
        if is_last || colors.values.iter().all(Option::is_some) {
            break;
        }
        radius *= 2;
    }
    smoothed(&colors.map(Option::unwrap_or_default))
}

/// Evens out the steps between squares of different sizes.
fn smoothed(colors: &Grid<Lab>) -> Grid<Lab> {
    let [l, a, b] = [
        colors.map(|c| c.l),
        colors.map(|c| c.a),
        colors.map(|c| c.b),
    ]
    .map(|c| c.box_mean(1));
    Grid::from_fn(colors.width, colors.height, |x, y| Lab {
        l: l.at(x, y),
        a: a.at(x, y),
        b: b.at(x, y),
    })
}
