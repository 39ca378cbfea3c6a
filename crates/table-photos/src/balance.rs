//! The light of a photograph: its cast, by the metal of the heads, and its brightness.

use crate::board::Board;
use crate::color::{Lab, Light};
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

/// A piece whose light is measured: its outline in the photograph, the direction of its head, and its height.
pub(crate) struct LitPiece<'a> {
    pub outline: &'a [Point],
    pub head_degrees: f32,
    pub height: f32,
}

/// The correction of one photograph.
pub(crate) struct Balance {
    /// Factors of red, green and blue.
    pub gains: Light,
}

impl Balance {
    /// Measures the light of whole pieces, of which `color` gives the colors in even light.
    pub fn of<'a>(
        pieces: impl Iterator<Item = LitPiece<'a>>,
        color: impl Fn(Point) -> Light,
    ) -> Balance {
        let (mut reds, mut blues) = (Vec::new(), Vec::new());
        let mut luminances = Vec::new();
        for piece in pieces {
            for (point, share) in samples(&piece) {
                let color = color(point);
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

/// A color of the photograph in even light. `scale`: pixels of the copy per pixel of the photograph.
pub(crate) fn evened(color: Light, board: &Board, point: Point, scale: f32) -> Light {
    let here = board.color(point.x * scale, point.y * scale).l;
    let uneven = (here / board.mean.l.max(1e-3))
        .clamp(UNEVEN.0, UNEVEN.1)
        .powi(3);
    color.map(|value| value / uneven)
}

/// Points inside of a piece, with their share of the way from its head to its foot.
fn samples(piece: &LitPiece<'_>) -> Vec<(Point, f32)> {
    let turn = piece.head_degrees.to_radians();
    let down = Point::new(-turn.sin(), turn.cos());
    let along = piece.outline.iter().map(|point| point.dot(down));
    let head = along.fold(f32::INFINITY, f32::min);
    // The outermost pixels are mixed with the board.
    points_inside(piece.outline, 2.0)
        .map(|point| (point, (point.dot(down) - head) / piece.height.max(1.0)))
        .collect()
}
