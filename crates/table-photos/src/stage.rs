//! Staging: a piece upright on the shop's background, in true colors, with a soft shadow.

mod cutout;
mod placement;
mod shadow;

use image::{Rgb, RgbImage};

use crate::balance::{Balance, evened};
use crate::color::{Light, light, srgb};
use crate::find::{Piece, Table};
use crate::grid::Grid;
use crate::shape::Point;
use crate::sizes::Size;
use cutout::cut_out;
use placement::Placement;

/// Size of a staged image in pixels.
pub const STAGE: (u32, u32) = (1200, 1500);

/// Height of a Classic on the stage in pixels, and that of a Mini over it.
const CLASSIC_HEIGHT: f32 = 1080.0;
const MINI: f32 = 0.80;

/// Enlargement beyond which a staged image looks blurred.
const MOST_ENLARGED: f32 = 2.5;

/// Settings of staged images.
#[derive(Clone, Copy, Debug)]
pub struct StageOptions {
    /// Background in sRGB.
    pub background: [u8; 3],
}

impl Default for StageOptions {
    /// The warm white `#F4F1ED`.
    fn default() -> StageOptions {
        StageOptions {
            background: [0xf4, 0xf1, 0xed],
        }
    }
}

/// A staged image.
pub struct Staged {
    /// The image, of [`STAGE`] pixels.
    pub image: RgbImage,
    /// Pixels of the image per pixel of the photograph.
    pub enlargement: f32,
}

impl Staged {
    /// A remark for the photographer, if the photograph is too small for a sharp image.
    pub fn remark(&self) -> Option<String> {
        (self.enlargement > MOST_ENLARGED).then(|| {
            format!(
                "The photograph is too small: the piece is enlarged {:.1} times. Step closer.",
                self.enlargement
            )
        })
    }
}

/// Stages pieces of one photograph, all in the same light.
pub struct Stager<'a> {
    photo: &'a RgbImage,
    table: &'a Table,
    balance: Balance,
    options: StageOptions,
}

impl<'a> Stager<'a> {
    /// Measures the light of a photograph, which must be the one in which the table was found.
    pub fn new(photo: &'a RgbImage, table: &'a Table, options: StageOptions) -> Stager<'a> {
        let whole = table.pieces.iter().filter(|piece| piece.is_whole);
        let color = |point| evened(pixel(photo, point), &table.board, point, table.scale);
        Stager {
            balance: Balance::of(whole.map(Piece::lit), color),
            photo,
            table,
            options,
        }
    }

    /// Stages one piece. Its size decides how high it is; an unknown one counts as a Classic.
    pub fn stage(&self, piece: &Piece) -> Staged {
        let height = match piece.size {
            Some(Size::Mini) => CLASSIC_HEIGHT * MINI,
            Some(Size::Classic) | None => CLASSIC_HEIGHT,
        };
        let placement = Placement::of(piece, height);
        let (colors, alpha) = cut_out(self.photo, self.table, &placement, &self.balance);
        let shade = shadow::cast(&alpha);
        Staged {
            image: composed(&colors, &alpha, &shade, light(self.options.background)),
            enlargement: placement.enlargement(),
        }
    }
}

fn pixel(photo: &RgbImage, point: Point) -> Light {
    let x = (point.x.max(0.0) as u32).min(photo.width() - 1);
    let y = (point.y.max(0.0) as u32).min(photo.height() - 1);
    light(photo.get_pixel(x, y).0)
}

fn composed(
    colors: &Grid<Light>,
    alpha: &Grid<f32>,
    shade: &Grid<f32>,
    background: Light,
) -> RgbImage {
    RgbImage::from_fn(STAGE.0, STAGE.1, |x, y| {
        let (x, y) = (x as usize, y as usize);
        let (color, cover, lit) = (colors.at(x, y), alpha.at(x, y), 1.0 - shade.at(x, y));
        let mixed =
            |channel: usize| background[channel] * lit * (1.0 - cover) + color[channel] * cover;
        Rgb(srgb([mixed(0), mixed(1), mixed(2)]))
    })
}
