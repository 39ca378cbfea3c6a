//! The cut-out: a piece's pixels straight from the full photograph, with a clean edge.

use image::RgbImage;

use super::STAGE;
use super::placement::Placement;
use crate::balance::Balance;
use crate::board::Board;
use crate::color::{Lab, Light, linear_table};
use crate::evidence::Evidence;
use crate::find::Table;
use crate::grid::Grid;
use crate::mask::Mask;
use crate::shape::{Point, bounds, rasterized};

/// Half the width of the band along the outline in which the photograph decides, in pixels of the working copy.
const BAND: f32 = 2.2;

/// Evidence over that of the beads beside it between which the edge goes from clear to solid.
const EDGE: (f32, f32) = (0.30, 0.80);

/// Evidence of the beads beside an edge from which the photograph decides: below the first the outline does alone.
const DECIDES: (f32, f32) = (1.3, 3.0);

/// Most evidence that counts, so that a few glaring beads do not decide for their neighbors.
const ENOUGH: f32 = 12.0;

/// Cuts a piece out: colors in true light, and how much of each pixel it covers.
pub(super) fn cut_out(
    photo: &RgbImage,
    table: &Table,
    placement: &Placement,
    balance: &Balance,
) -> (Grid<Light>, Grid<f32>) {
    // Pixels of the stage per pixel of the copy.
    let pixel = placement.enlargement() / table.scale;
    let band = (BAND * pixel).clamp(1.0, 16.0);
    let window = Window::around(&placement.outline, band + 2.0);
    let outline: Vec<Point> = placement
        .outline
        .iter()
        .map(|&point| window.inner(point))
        .collect();
    let inside = rasterized(&outline, window.width, window.height);
    let outer = inside.dilated(band);
    let source = Source::of(photo, placement);
    let mut raw = inside.map(|_| [0.0_f32; 3]);
    let mut evidence = inside.map(|_| 0.0_f32);
    let tolerances = Evidence::of(&table.board);
    for y in 0..window.height {
        for x in (0..window.width).filter(|&x| outer.at(x, y)) {
            let point = placement.photographed(window.center(x, y));
            let color = source.color(point);
            let board = table
                .board
                .color(point.x * table.scale, point.y * table.scale);
            *raw.at_mut(x, y) = color;
            *evidence.at_mut(x, y) = tolerances.color(Lab::of(color), board).min(ENOUGH);
        }
    }
    let alpha = alpha(&inside, &outer, &inside.eroded(band), &evidence, pixel);
    let mut colors = clean_edge(&raw, &alpha, &table.board, pixel);
    for (y, row) in colors.rows_mut() {
        for (x, color) in row
            .iter_mut()
            .enumerate()
            .filter(|(x, _)| alpha.at(*x, y) > 0.0)
        {
            let point = placement.photographed(window.center(x, y));
            *color = balance.corrected(*color, &table.board, point, table.scale);
        }
    }
    (
        window.on_stage(&colors, [0.0; 3]),
        window.on_stage(&alpha, 0.0),
    )
}

/// The part of the stage on which a piece is worked at.
struct Window {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Window {
    fn around(outline: &[Point], margin: f32) -> Window {
        let (least, most) = bounds(outline);
        let range = |from: f32, to: f32, length: u32| {
            let clamped = |at: f32| at.clamp(0.0, length as f32) as usize;
            let from = clamped((from - margin).floor()).min(length as usize - 1);
            (from, clamped((to + margin).ceil()).max(from + 1) - from)
        };
        let (left, width) = range(least.x, most.x, STAGE.0);
        let (top, height) = range(least.y, most.y, STAGE.1);
        Window {
            left,
            top,
            width,
            height,
        }
    }

    fn inner(&self, point: Point) -> Point {
        Point::new(point.x - self.left as f32, point.y - self.top as f32)
    }

    /// The center of a pixel on the stage.
    fn center(&self, x: usize, y: usize) -> Point {
        Point::new((self.left + x) as f32 + 0.5, (self.top + y) as f32 + 0.5)
    }

    fn on_stage<T: Copy>(&self, grid: &Grid<T>, around: T) -> Grid<T> {
        let mut stage = Grid::new(STAGE.0 as usize, STAGE.1 as usize, around);
        for y in 0..self.height {
            let at = (self.top + y) * stage.width + self.left;
            stage.values[at..at + self.width].copy_from_slice(grid.row(y));
        }
        stage
    }
}

/// Share of each pixel that the piece covers.
fn alpha(inside: &Mask, outer: &Mask, inner: &Mask, evidence: &Grid<f32>, pixel: f32) -> Grid<f32> {
    let share = |value: bool| f32::from(u8::from(value));
    let soft = inside
        .map(share)
        .box_mean((0.6 * pixel).round().max(1.0) as usize);
    // The mean evidence of the beads beside each pixel, by those that are surely inside.
    let core = inside.eroded((0.8 * pixel).clamp(1.0, 6.0));
    let radius = (5.0 * pixel).round().clamp(3.0, 30.0) as usize;
    let weights = core.map(share);
    let mut values = evidence.clone();
    for (value, weight) in values.values.iter_mut().zip(&weights.values) {
        *value *= weight;
    }
    let (weights, values) = (weights.box_mean(radius), values.box_mean(radius));
    let mut alpha = soft.clone();
    for index in 0..alpha.values.len() {
        if inner.values[index] {
            alpha.values[index] = 1.0;
        } else if !outer.values[index] {
            alpha.values[index] = 0.0;
        } else {
            let beside = values.values[index] / weights.values[index].max(1e-6);
            // Leans toward the outline: what lies outside of it must be clearer.
            let lean = 0.55 + 0.9 * soft.values[index];
            let ratio = evidence.values[index] / beside.max(1e-3) * lean.min(1.0);
            let by_photo = smooth(ratio, EDGE.0, EDGE.1);
            let decides = smooth(beside, DECIDES.0, DECIDES.1);
            alpha.values[index] =
                decides * by_photo.min(1.0) + (1.0 - decides) * soft.values[index];
        }
    }
    // Specks beyond the edge, and holes in it, are noise.
    let solid = alpha.map(|value| value > 0.5);
    let kept = solid
        .closed((1.5 * pixel).max(1.0))
        .opened((1.2 * pixel).max(1.0))
        .filled()
        .largest_region();
    let reach = kept.dilated((0.8 * pixel).max(1.0));
    for (index, value) in alpha.values.iter_mut().enumerate() {
        if !reach.values[index] {
            *value = 0.0;
        } else if kept.values[index] {
            *value = value.max(0.9);
        }
    }
    alpha.box_mean(1)
}

/// Takes the board's color out of the edge.
fn clean_edge(raw: &Grid<Light>, alpha: &Grid<f32>, board: &Board, pixel: f32) -> Grid<Light> {
    // Colors run out over two pixels of the photograph, and are stored in blocks of two.
    let depth = (2.0 * pixel).clamp(2.0, 14.0);
    let solid = alpha.map(|value| value > 0.97).eroded(depth);
    let is_edge = |index: usize| alpha.values[index] > 0.0 && !solid.values[index];
    let near = (3.0 * pixel).round().clamp(4.0, 28.0) as usize;
    let means = mean_of(raw, &solid, near);
    // Sharp corners have no solid pixels near.
    let far = mean_of(raw, &solid, 4 * near);
    let tint = Point::new(board.mean.a, board.mean.b).unit();
    let mut colors = raw.clone();
    for (index, color) in colors.values.iter_mut().enumerate() {
        let Some(beside) = means[index].or(far[index]).filter(|_| is_edge(index)) else {
            continue;
        };
        let (own, beside) = (Lab::of(*color), Lab::of(beside));
        let along_tint = |color: Lab| Point::new(color.a, color.b).dot(tint);
        let excess = (along_tint(own) - along_tint(beside)).max(0.0);
        let cleaned = Lab {
            l: own.l,
            a: own.a - tint.x * excess,
            b: own.b - tint.y * excess,
        };
        // Nearly clear pixels are mostly board: they take the color beside them.
        let share = smooth(alpha.values[index], 0.55, 1.0);
        *color = beside
            .toward(cleaned, share)
            .light()
            .map(|value| value.max(0.0));
    }
    colors
}

/// Mean colors of the solid pixels in squares; `None` where there are none.
fn mean_of(colors: &Grid<Light>, solid: &Mask, radius: usize) -> Vec<Option<Light>> {
    let weights = solid.map(|value| f32::from(u8::from(value)));
    let channel = |at: usize| {
        let mut values = colors.map(|color| color[at]);
        for (value, weight) in values.values.iter_mut().zip(&weights.values) {
            *value *= weight;
        }
        values.box_mean(radius)
    };
    let [red, green, blue] = [channel(0), channel(1), channel(2)];
    let counts = weights.box_mean(radius);
    (0..counts.values.len())
        .map(|index| {
            let count = counts.values[index];
            let mean = |grid: &Grid<f32>| grid.values[index] / count;
            (count > 1e-4).then(|| [mean(&red), mean(&green), mean(&blue)])
        })
        .collect()
}

/// Smooth step from 0 at `from` to 1 at `to`.
fn smooth(value: f32, from: f32, to: f32) -> f32 {
    let share = ((value - from) / (to - from)).clamp(0.0, 1.0);
    share * share * (3.0 - 2.0 * share)
}

/// The photograph, sampled between its pixels.
struct Source<'a> {
    photo: &'a RgbImage,
    /// Samples in each direction, and their distance in the photograph: several where it is reduced.
    taps: usize,
    step: f32,
}

impl<'a> Source<'a> {
    fn of(photo: &'a RgbImage, placement: &Placement) -> Source<'a> {
        let reduction = 1.0 / placement.enlargement();
        let taps = (reduction.ceil() as usize).clamp(1, 6);
        Source {
            photo,
            taps,
            step: reduction / taps as f32,
        }
    }

    fn color(&self, point: Point) -> Light {
        if self.taps == 1 {
            return self.catmull_rom(point);
        }
        let mut sum = [0.0; 3];
        let middle = (self.taps - 1) as f32 / 2.0;
        for dy in 0..self.taps {
            for dx in 0..self.taps {
                let offset = Point::new(dx as f32 - middle, dy as f32 - middle);
                let color = self.catmull_rom(point.plus(offset, self.step));
                for (sum, value) in sum.iter_mut().zip(color) {
                    *sum += value / (self.taps * self.taps) as f32;
                }
            }
        }
        sum
    }

    /// Catmull and Rom's spline through the 16 pixels around a point, in linear light.
    fn catmull_rom(&self, point: Point) -> Light {
        let (x, y) = (point.x - 0.5, point.y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let (across, down) = (weights(x - left), weights(y - top));
        let table = linear_table();
        let (width, height) = (self.photo.width() as isize, self.photo.height() as isize);
        let bytes = self.photo.as_raw();
        let mut sum = [0.0; 3];
        for (row, weight_y) in down.iter().enumerate() {
            let y = (top as isize + row as isize - 1).clamp(0, height - 1);
            for (column, weight_x) in across.iter().enumerate() {
                let x = (left as isize + column as isize - 1).clamp(0, width - 1);
                let at = (y * width + x) as usize * 3;
                let weight = weight_x * weight_y;
                for channel in 0..3 {
                    sum[channel] += weight * table[usize::from(bytes[at + channel])];
                }
            }
        }
        sum.map(|value| value.max(0.0))
    }
}

/// Weights of four neighbors at a distance behind the second one.
fn weights(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [
        0.5 * (-t3 + 2.0 * t2 - t),
        0.5 * (3.0 * t3 - 5.0 * t2 + 2.0),
        0.5 * (-3.0 * t3 + 4.0 * t2 + t),
        0.5 * (t3 - t2),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_spline_sum_to_one_and_meet_the_pixels() {
        for step in 0..=10 {
            let sum: f32 = weights(step as f32 / 10.0).iter().sum();
            assert!((sum - 1.0).abs() < 1e-5);
        }
        assert_eq!(weights(0.0), [0.0, 1.0, 0.0, 0.0]);
    }
}
