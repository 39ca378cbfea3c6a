//! The images of a product.

mod routes;
mod service;

pub(super) use routes::router;
pub use service::{add_images, move_images};

use crate::types::ids::ImageId;

/// A change to the images of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageMove {
    Up(ImageId),
    Down(ImageId),
    Remove(ImageId),
    /// Undoes a removal: the image at this index again.
    PutBack(ImageId, usize),
    /// The named images come first, in this order.
    Order(Vec<ImageId>),
}
