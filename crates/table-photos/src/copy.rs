//! The working copy: the photograph reduced to at most 1600 pixels a side, in OKLab.

use image::RgbImage;

use crate::color::{Lab, linear_table};
use crate::grid::Grid;
use crate::shape::{Point, edges};

/// Longest side of the copy. Beads are still told apart, and 12 megapixels take a second at most.
const LONGEST: u32 = 1600;

/// Size of a copy to which lengths in pixels refer. Smaller copies have proportionally smaller ones.
const NOMINAL: f32 = 1400.0;

/// A reduced photograph.
pub(crate) struct WorkingCopy {
    pub lab: Grid<Lab>,
    /// Pixels of the copy per pixel of the photograph.
    pub scale: f32,
}

impl WorkingCopy {
    /// Reduces a photograph, which must not be empty, with a box filter in linear light.
    pub fn of(photo: &RgbImage) -> WorkingCopy {
        let longest = photo.width().max(photo.height());
        let scale = (LONGEST as f32 / longest as f32).min(1.0);
        let reduced = |side: u32| ((side as f32 * scale).round() as usize).max(1);
        let (width, height) = (reduced(photo.width()), reduced(photo.height()));
        let columns = spans(photo.width() as usize, width);
        let rows = spans(photo.height() as usize, height);
        let mut lab = Grid::new(width, height, Lab::default());
        for (y, row) in lab.rows_mut() {
            let light = reduced_row(photo, &rows[y], &columns);
            for (pixel, light) in row.iter_mut().zip(light) {
                *pixel = Lab::of(light);
            }
        }
        WorkingCopy { lab, scale }
    }

    /// Length of an outline along the border of the copy.
    pub fn border_length(&self, outline: &[Point]) -> f32 {
        let (width, height) = (self.lab.width as f32, self.lab.height as f32);
        let is_outside = |point: Point| {
            point.x < 1.5 || point.y < 1.5 || point.x > width - 1.5 || point.y > height - 1.5
        };
        edges(outline)
            .filter(|(from, to)| is_outside(*from) && is_outside(*to))
            .map(|(from, to)| to.minus(from).length())
            .sum()
    }

    /// Lightness at a point, linear between pixels.
    pub fn lightness_at(&self, point: Point) -> f32 {
        let (x, y) = (point.x - 0.5, point.y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let (fx, fy) = (x - left, y - top);
        let (left, top) = (left as isize, top as isize);
        let row = |y: isize| {
            let (from, to) = (self.lab.nearest(left, y).l, self.lab.nearest(left + 1, y).l);
            from + (to - from) * fx
        };
        row(top) + (row(top + 1) - row(top)) * fy
    }

    /// A length given for a copy of the usual size, in pixels of this one.
    pub fn length(&self, nominal: f32) -> f32 {
        let longest = self.lab.width.max(self.lab.height) as f32;
        nominal * (longest / NOMINAL).clamp(0.4, 1.2)
    }
}

/// Source pixels of a target pixel with their weights, which sum to one.
type Span = Vec<(usize, f32)>;

fn spans(from: usize, to: usize) -> Vec<Span> {
    let step = from as f64 / to as f64;
    let span = |index: usize| {
        let (start, end) = (index as f64 * step, (index + 1) as f64 * step);
        let last = (end.ceil() as usize).min(from);
        (start as usize..last)
            .map(|at| {
                let overlap = end.min((at + 1) as f64) - start.max(at as f64);
                (at, (overlap / step) as f32)
            })
            .filter(|&(_, weight)| weight > 1e-6)
            .collect()
    };
    (0..to).map(span).collect()
}

fn reduced_row(photo: &RgbImage, rows: &Span, columns: &[Span]) -> Vec<[f32; 3]> {
    let table = linear_table();
    let width = photo.width() as usize;
    let bytes = photo.as_raw();
    let mut light = vec![[0.0; 3]; columns.len()];
    for &(y, row_weight) in rows {
        let pixels = bytes[y * width * 3..][..width * 3].as_chunks::<3>().0;
        for (sum, span) in light.iter_mut().zip(columns) {
            for &(x, weight) in span {
                let weight = weight * row_weight;
                for (channel, &byte) in sum.iter_mut().zip(&pixels[x]) {
                    *channel += weight * table[usize::from(byte)];
                }
            }
        }
    }
    light
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn a_small_photograph_keeps_its_pixels() {
        let photo = RgbImage::from_fn(30, 20, |x, y| Rgb([(x * 8) as u8, (y * 12) as u8, 90]));
        let copy = WorkingCopy::of(&photo);
        assert_eq!((copy.lab.width, copy.lab.height, copy.scale), (30, 20, 1.0));
        assert_eq!(
            crate::color::srgb(copy.lab.at(7, 5).light()),
            photo.get_pixel(7, 5).0
        );
    }

    #[test]
    fn reducing_averages_light_and_not_bytes() {
        let checks = RgbImage::from_fn(3200, 2, |x, _| Rgb([(x % 2 * 255) as u8; 3]));
        let copy = WorkingCopy::of(&checks);
        assert_eq!((copy.lab.width, copy.lab.height), (1600, 1));
        assert_eq!(crate::color::srgb(copy.lab.at(800, 0).light()), [188; 3]);
    }

    #[test]
    fn a_line_of_pixels_is_not_lost() {
        let copy = WorkingCopy::of(&RgbImage::new(1, 9000));
        assert_eq!((copy.lab.width, copy.lab.height), (1, 1600));
    }
}
