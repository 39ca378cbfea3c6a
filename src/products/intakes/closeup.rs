//! A closer look at one piece: found in a part of the photograph, where the whole told nothing of it.

use image::RgbImage;
use image::imageops::crop_imm;
use table_photos::{Piece, Point, Table};

use super::Outline;
use super::finding::{bounds, middle, outline};

/// Margin around a drawn piece that shows the board, as a share of its longer side.
const MARGIN: f32 = 0.4;

/// A part of a photograph with what was found in it.
pub(super) struct Closeup {
    pub photo: RgbImage,
    pub table: Table,
    /// Place of its first pixel in the photograph.
    pub origin: Point,
}

impl Closeup {
    /// Looks for pieces around an outline. `None`: there are none.
    pub fn of(photo: &RgbImage, drawn: &Outline) -> Option<Closeup> {
        let (least, most) = bounds(drawn);
        let margin = MARGIN * (most[0] - least[0]).max(most[1] - least[1]);
        let from = |at: f32| (at - margin).max(0.0) as u32;
        let to = |at: f32, end: u32| ((at + margin).max(0.0) as u32).min(end);
        let (x, y) = (from(least[0]), from(least[1]));
        let width = to(most[0], photo.width()).checked_sub(x)?;
        let height = to(most[1], photo.height()).checked_sub(y)?;
        if width == 0 || height == 0 {
            return None;
        }
        let part = crop_imm(photo, x, y, width, height).to_image();
        let table = Table::find(&part).ok()?;
        Some(Closeup {
            photo: part,
            table,
            origin: Point {
                x: x as f32,
                y: y as f32,
            },
        })
    }

    /// The piece that lies where one was drawn, in pixels of this part.
    pub fn piece(&self, drawn: &Outline) -> Option<&Piece> {
        let [x, y] = middle(drawn);
        let place = [x - self.origin.x, y - self.origin.y];
        nearest(&self.table.pieces, place)
    }

    /// Outline of a piece in pixels of the whole photograph.
    pub fn outline_of(&self, piece: &Piece) -> Outline {
        moved(&outline(&piece.outline), self.origin.x, self.origin.y)
    }
}

/// An outline moved to the right and down.
pub(super) fn moved(outline: &Outline, right: f32, down: f32) -> Outline {
    let points = outline.iter();
    points.map(|[x, y]| [x + right, y + down]).collect()
}

/// The piece whose middle is nearest to a place, if the place is near enough to lie in it.
pub(super) fn nearest(pieces: &[Piece], [x, y]: [f32; 2]) -> Option<&Piece> {
    let distance = |piece: &Piece| {
        let [at_x, at_y] = middle(&outline(&piece.outline));
        (at_x - x).hypot(at_y - y)
    };
    let nearest = pieces
        .iter()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
    (distance(nearest) < nearest.height / 4.0).then_some(nearest)
}
