//! Demo data for a shop: 24 beaded lighter cases in four categories, with 41 images.
//!
//! The images are drawn, not stored: a motif says which color each bead has, and a [`Renderer`] turns
//! that into a PNG of 480 by 600 pixels. Nothing is read from disk, and everything is the same each
//! time.
//!
//! ```
//! use demo_catalog::{PRODUCTS, Renderer};
//!
//! let renderer = Renderer::new();
//! let product = &PRODUCTS[0];
//! assert_eq!((product.name, product.price_cents), ("Long Road Home", 5800));
//! let png: Vec<u8> = renderer.front(product);
//! assert!(png.starts_with(b"\x89PNG"));
//! ```
#![warn(missing_docs)]

mod motifs;
mod products;
mod scene;

pub use products::{CATEGORIES, PRODUCTS};

use motifs::Bead;
use scene::Scene;

/// A category of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Category {
    /// The name in addresses, unique among the categories.
    pub slug: &'static str,
    /// The name for people.
    pub name: &'static str,
    /// One sentence for people.
    pub description: &'static str,
}

/// The size of a lighter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The usual size: its case is 36 rows of beads tall.
    Classic,
    /// The small size: its case is 27 rows of beads tall.
    Mini,
}

/// A product: a lighter case made of glass beads.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// The name in addresses, unique among the products.
    pub slug: &'static str,
    /// The name for people.
    pub name: &'static str,
    /// The slug of its category.
    pub category: &'static str,
    /// A few sentences for people.
    pub description: &'static str,
    /// The size of the lighter.
    pub size: Size,
    /// The price in cents.
    pub price_cents: u32,
    /// The number of pieces in stock.
    pub stock: u32,
    /// True if the product is marked as sold out, whatever its stock.
    pub is_sold_out: bool,
    /// The weight in ounces, with two decimals: `2.10`.
    pub weight_oz: &'static str,
    /// True if the product has a second image, which shows the beads from near.
    pub has_close_up: bool,
    /// The ground, four more colors, and an accent for the borders: `0xRRGGBB`.
    colors: [u32; 6],
    /// Chooses one of the colors for each bead.
    motif: fn(Bead) -> usize,
}

/// Draws the images of products, and keeps the parts that all of them share.
pub struct Renderer {
    classic: Scene,
    mini: Scene,
    close_up: Scene,
}

impl Renderer {
    /// Draws the parts that all images share.
    #[allow(clippy::new_without_default, reason = "it is some work")]
    pub fn new() -> Renderer {
        Renderer {
            classic: Scene::case(36),
            mini: Scene::case(27),
            close_up: Scene::close_up(),
        }
    }

    /// Draws the product on its lighter, as a PNG.
    pub fn front(&self, product: &Product) -> Vec<u8> {
        let scene = match product.size {
            Size::Classic => &self.classic,
            Size::Mini => &self.mini,
        };
        draw(scene, product)
    }

    /// Draws the product's beads from near, as a PNG. None if it has no such image.
    pub fn close_up(&self, product: &Product) -> Option<Vec<u8>> {
        product.has_close_up.then(|| draw(&self.close_up, product))
    }
}

fn draw(scene: &Scene, product: &Product) -> Vec<u8> {
    // Irregularities differ from product to product, but never from time to time.
    let salt = product
        .slug
        .bytes()
        .fold(0, |hash: u32, byte| hash.wrapping_mul(31) ^ u32::from(byte));
    scene.draw(&product.colors, |x, y| (product.motif)(Bead { x, y, salt }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_product_has_its_own_motif() {
        let beads = |product: &Product| -> Vec<usize> {
            let bead = |i| Bead {
                x: i % 20 - 10,
                y: i / 20 - 10,
                salt: 1,
            };
            (0..400).map(|i| (product.motif)(bead(i))).collect()
        };
        let find = |slug| PRODUCTS.iter().find(|product| product.slug == slug);
        assert_eq!(
            find("green-curtain").map(beads),
            find("violet-hour").map(beads),
            "the one motif that two products share"
        );
        let motifs: BTreeSet<_> = PRODUCTS.iter().map(beads).collect();
        assert_eq!(motifs.len(), PRODUCTS.len() - 1);
    }

    #[test]
    fn every_motif_stays_within_the_six_colors_wherever_it_is_asked() {
        for product in &PRODUCTS {
            for (x, y) in (-40..40).flat_map(|x| (-40..40).map(move |y| (x, y))) {
                for salt in [0, 1, u32::MAX] {
                    let color = (product.motif)(Bead { x, y, salt });
                    assert!(color < 6, "{} at {x}, {y}: {color}", product.slug);
                }
            }
        }
    }
}
