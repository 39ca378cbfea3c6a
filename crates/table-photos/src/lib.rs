//! Finds beaded lighter cases in a photograph of a table, pairs fronts with backs, and stages each one as a product
//! image.
//!
//! Pixels in, outlines and images out: without input or output, without a model, and with the same result each time. No photograph
//! makes it panic.
//!
//! ```
//! use table_photos::{Problem, Table};
//!
//! let photo = image::RgbImage::from_pixel(400, 300, image::Rgb([60, 110, 190]));
//! match Table::find(&photo) {
//!     Ok(table) => println!("{} pieces", table.pieces.len()),
//!     // A sentence for the photographer.
//!     Err(problem) => assert_eq!(problem, Problem::NoPieces),
//! }
//! ```
//!
//! From the photograph to the outlines, a module a step:
//!
//! 1. `copy` reduces the photograph and converts it to OKLab.
//! 2. `board` grows the surface on which the pieces lie, and tells its color below them.
//! 3. `evidence` tells for each pixel that something lies there, and a shadow from that.
//! 4. `regions` makes outlines of it, and tells the usual size of one piece.
//! 5. `parting` cuts pieces apart that touch.
//! 6. `figure` tidies each outline in the piece's own frame; `hood` finds a gray head on a gray board.
//! 7. `upright`, `body` and `sizes` tell which end is the head, where the beadwork is, and which model it is.
//! 8. `look` and `pair` compare pieces; `facing` tells fronts from backs.
//! 9. `names` describes pieces in words, and proposes names.
//! 10. `stage` cuts a piece out of the full photograph and puts it on the shop's background.
//!
//! `balance` measures the light; `color`, `grid`, `mask`, `shape` and `frame` are what they work with. The README says more, and how it is scored.

mod balance;
mod board;
mod body;
mod color;
mod copy;
mod evidence;
mod facing;
mod figure;
mod find;
mod frame;
mod grid;
mod hood;
mod look;
mod mask;
pub mod names;
mod pair;
mod parting;
mod regions;
mod shape;
mod sizes;
mod stage;
mod upright;

pub use facing::{Facing, facing};
pub use find::{MOST_PIECES, Piece, Problem, Table};
pub use look::Look;
pub use pair::{Pair, duplicates, pair};
pub use shape::Point;
pub use sizes::Size;
pub use stage::{STAGE, StageOptions, Staged, Stager};
