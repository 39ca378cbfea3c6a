//! The catalog and its images as users of the crate see them.

use std::collections::BTreeSet;

use demo_catalog::{CATEGORIES, PRODUCTS, Product, Renderer, Size};

fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.collect::<BTreeSet<_>>().len()
}

/// All images: name and PNG.
fn images() -> Vec<(String, Vec<u8>)> {
    let renderer = Renderer::new();
    let both = |product: &Product| {
        let front = (format!("{} front", product.slug), renderer.front(product));
        let close_up = renderer.close_up(product);
        let close_up = close_up.map(|png| (format!("{} close-up", product.slug), png));
        [Some(front), close_up]
    };
    PRODUCTS.iter().flat_map(both).flatten().collect()
}

#[test]
fn the_catalog_holds_24_products_in_4_categories() {
    assert_eq!(distinct(PRODUCTS.iter().map(|product| product.slug)), 24);
    assert_eq!(distinct(PRODUCTS.iter().map(|product| product.name)), 24);
    assert_eq!(distinct(CATEGORIES.iter().map(|category| category.slug)), 4);
    assert_eq!(
        PRODUCTS
            .iter()
            .map(|product| product.category)
            .collect::<BTreeSet<_>>(),
        CATEGORIES.iter().map(|category| category.slug).collect()
    );
}

#[test]
fn the_catalog_shows_every_case_that_a_shop_has_to_show() {
    let some = |holds: fn(&Product) -> bool| PRODUCTS.iter().any(holds);
    assert!(some(|product| product.stock == 0 && !product.is_sold_out));
    assert!(some(|product| product.stock == 1));
    assert!(some(|product| product.stock > 9));
    assert!(some(|product| product.is_sold_out));
    assert!(some(|product| product.has_close_up));
    assert!(some(|product| !product.has_close_up));
    assert!(some(|product| product.size == Size::Classic));
    assert!(some(|product| product.size == Size::Mini));
    for product in &PRODUCTS {
        assert!(product.price_cents > 0, "{}", product.slug);
        let weight = product.weight_oz.split_once('.').expect("two decimals");
        assert_eq!(weight.1.len(), 2, "{}", product.slug);
    }
}

#[test]
fn every_image_is_a_whole_png_of_its_own() {
    let images = images();
    assert_eq!(images.len(), 41);
    for (name, bytes) in &images {
        let decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        let mut reader = decoder.read_info().expect("a PNG");
        let size = (reader.info().width, reader.info().height);
        assert_eq!(size, (480, 600), "{name}");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        reader.next_frame(&mut pixels).expect("all pixels");
        reader.finish().expect("an end");
    }
    let distinct: BTreeSet<_> = images.iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(distinct.len(), images.len());
}

#[test]
fn images_are_the_same_each_time() {
    assert!(images() == images());
}
