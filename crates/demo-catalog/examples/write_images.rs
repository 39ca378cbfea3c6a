//! Writes all images into a folder: `cargo run -p demo-catalog --example write_images -- /tmp/demo`

use std::fs;
use std::path::PathBuf;

use demo_catalog::{PRODUCTS, Renderer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("name a folder")?);
    fs::create_dir_all(&dir)?;
    let renderer = Renderer::new();
    for product in &PRODUCTS {
        fs::write(
            dir.join(format!("{}-a.png", product.slug)),
            renderer.front(product),
        )?;
        if let Some(close_up) = renderer.close_up(product) {
            fs::write(dir.join(format!("{}-b.png", product.slug)), close_up)?;
        }
    }
    println!("{} products in {}", PRODUCTS.len(), dir.display());
    Ok(())
}
