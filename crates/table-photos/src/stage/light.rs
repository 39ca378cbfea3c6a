//! The light of a photograph: its cast, by the metal of the heads, and its brightness.

use image::RgbImage;

use crate::board::Board;
use crate::color::{Lab, Light, light};
use crate::find::{Piece, Table};
use crate::grid::{median, percentile};
use crate::shape::{Point, points_inside};

/// Share of the cast that is taken off. Metal mirrors its surroundings, so it never says all.
const STRENGTH: f32 = 0.7;

/// Bounds of the balance of red and blue, and of the brightness.
const CAST: (f32, f32) = (0.75, 1.35);
const BRIGHTNESS: (f32, f32) = (0.6, 2.5);

/// Share of the pieces' pixels that may be brighter than [`BRIGHT`].
const BRIGHTEST: f32 = 0.985;
const BRIGHT: f32 = 0.80;

/// Lightness of the board at a place over its mean that is evened out.
const UNEVEN: (f32, f32) = (0.85, 1.2);

/// Least samples of metal that tell the cast.
const ENOUGH_METAL: usize = 60;

/// The correction of one photograph.
pub(super) struct Balance {
    gains: Light,
}

impl Balance {
    pub fn of(photo: &RgbImage, table: &Table) -> Balance {
        let (mut reds, mut blues) = (Vec::new(), Vec::new());
        let mut luminances = Vec::new();
        for piece in table.pieces.iter().filter(|piece| piece.is_whole) {
            for (point, share) in samples(piece) {
                let color = evened(pixel(photo, point), &table.board, point, table.scale);
                let lab = Lab::of(color);
                if share < 0.18 && lab.chroma() < 0.06 && lab.l > 0.45 && color[1] > 0.0 {
                    reds.push(color[0] / color[1]);
                    blues.push(color[2] / color[1]);
                }
                luminances.push(color);
            }
        }
        let mut gains = [1.0; 3];
        if reds.len() >= ENOUGH_METAL {
            let gain = |ratios: &mut [f32]| {
                median(ratios)
                    .max(1e-3)
                    .powf(-STRENGTH)
                    .clamp(CAST.0, CAST.1)
            };
            gains = [gain(&mut reds), 1.0, gain(&mut blues)];
        }
        let mut luminances: Vec<f32> = luminances
            .iter()
            .map(|color| {
                0.2126 * color[0] * gains[0]
                    + 0.7152 * color[1] * gains[1]
                    + 0.0722 * color[2] * gains[2]
            })
            .collect();
        let brightest = percentile(&mut luminances, BRIGHTEST);
        let brightness = match brightest > 0.0 {
            true => (BRIGHT / brightest).clamp(BRIGHTNESS.0, BRIGHTNESS.1),
            false => 1.0,
        };
        Balance {
            gains: gains.map(|gain| gain * brightness),
        }
    }

    /// The color of a point of the photograph in even, white light.
    pub fn corrected(&self, color: Light, board: &Board, point: Point, scale: f32) -> Light {
        let color = evened(color, board, point, scale);
        [0, 1, 2].map(|channel| color[channel] * self.gains[channel])
    }
}

fn evened(color: Light, board: &Board, point: Point, scale: f32) -> Light {
    let here = board.color(point.x * scale, point.y * scale).l;
    let uneven = (here / board.mean.l.max(1e-3))
        .clamp(UNEVEN.0, UNEVEN.1)
        .powi(3);
    color.map(|value| value / uneven)
}

fn pixel(photo: &RgbImage, point: Point) -> Light {
    let x = (point.x.max(0.0) as u32).min(photo.width() - 1);
    let y = (point.y.max(0.0) as u32).min(photo.height() - 1);
    light(photo.get_pixel(x, y).0)
}

/// Points inside of a piece, with their share of the way from its head to its foot.
fn samples(piece: &Piece) -> Vec<(Point, f32)> {
    let turn = piece.head_degrees.to_radians();
    let down = Point::new(-turn.sin(), turn.cos());
    let along = piece.outline.iter().map(|point| point.dot(down));
    let head = along.fold(f32::INFINITY, f32::min);
    // The outermost pixels are mixed with the board.
    points_inside(&piece.outline, 2.0)
        .map(|point| (point, (point.dot(down) - head) / piece.height.max(1.0)))
        .collect()
}
