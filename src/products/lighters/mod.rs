//! Products from photographs of lighters. The name of a file tells the product: `Blue-Jay_Infinite-Path_55-1.png` is side 1 of
//! “Blue Jay” in the category “Infinite Path”, for 55 dollars.
//!
//! Nothing is kept between the steps: files are named and grouped, their images are stored, the result is compared with the
//! catalog, and then all products are made, or none.

mod drafts;
mod names;
mod plan;
mod routes;
mod store;

pub use drafts::{LighterDraft, drafts};
pub use names::{FileFault, FileGroup, NamedFile, group, read_name};
pub use plan::{Matching, PlannedLighter, Step, Summary, apply, plan};
pub(super) use routes::router;

use crate::types::ids::ImageId;
use crate::types::money::Cents;

/// A lighter case that becomes a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lighter {
    pub name: String,
    /// Name of its category, which need not exist.
    pub category: String,
    /// 1 for Classic, 2 for Mini.
    pub lighter_type: i16,
    pub price: Cents,
    /// Its images in the order of the sides.
    pub images: Vec<ImageId>,
}
