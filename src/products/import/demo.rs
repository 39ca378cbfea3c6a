//! The demo catalog, as a catalog file with images.

use demo_catalog::{CATEGORIES, PRODUCTS, Renderer, Size};
use serde_json::{Value, json};

use crate::types::money::Currency;

/// Returns the catalog file, with prices that can be charged in `currency`: each US cent becomes one smallest unit of
/// it, or ten where that is too little.
pub fn catalog(currency: Currency) -> String {
    let categories: Vec<Value> = CATEGORIES
        .iter()
        .zip(1..)
        .map(|(category, id)| {
            json!({
                "id": id,
                "slug": category.slug,
                "name": category.name,
                "description": category.description,
            })
        })
        .collect();
    let products: Vec<Value> = PRODUCTS
        .iter()
        .map(|product| {
            let cents = i64::from(product.price_cents);
            let is_chargeable = currency.charges().contains(&cents);
            let category = CATEGORIES.iter().zip(1..);
            let mut category = category.filter(|(category, _)| category.slug == product.category);
            json!({
                "id": format!("demo-{}", product.slug),
                "slug": product.slug,
                "name": product.name,
                "description": product.description,
                "lighter_type": match product.size {
                    Size::Classic => 1,
                    Size::Mini => 2,
                },
                "price": if is_chargeable { cents } else { cents * 10 },
                "category_id": category.next().map(|(_, id)| id),
                "primary_image": front_name(product.slug),
                "secondary_image": product.has_close_up.then(|| close_up_name(product.slug)),
                "is_sold_out": product.is_sold_out,
                "is_active": true,
                "inventory_count": product.stock,
                "weight_ounces": product.weight_oz,
            })
        })
        .collect();
    json!({"categories": categories, "products": products}).to_string()
}

/// Draws every image that the catalog file names. Returns each path and the PNG.
pub fn images() -> Vec<(String, Vec<u8>)> {
    let renderer = Renderer::new();
    let mut images = Vec::new();
    for product in &PRODUCTS {
        images.push((front_name(product.slug), renderer.front(product)));
        let close_up = renderer.close_up(product);
        images.extend(close_up.map(|png| (close_up_name(product.slug), png)));
    }
    images
}

fn front_name(slug: &str) -> String {
    format!("demo/{slug}-a.png")
}

fn close_up_name(slug: &str) -> String {
    format!("demo/{slug}-b.png")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::products::named_images;

    #[test]
    fn every_picture_named_is_drawn_and_no_other() {
        let catalog = catalog(Currency::USD);
        let drawn: BTreeSet<String> = images().into_iter().map(|(path, _)| path).collect();
        assert_eq!(named_images(&catalog), drawn);
        assert_eq!(drawn.len(), 41);
    }

    #[test]
    fn every_product_is_in_a_category_and_has_a_price_that_can_be_charged() {
        for currency in ["usd", "jpy"] {
            let currency: Currency = currency.parse().expect("a currency");
            let file: Value = serde_json::from_str(&catalog(currency)).expect("JSON");
            let products = file["products"].as_array().expect("a list");
            assert_eq!(products.len(), 24);
            for product in products {
                let price = product["price"].as_i64().expect("a price");
                assert!(currency.charges().contains(&price), "{product}");
                assert!((1..=4).contains(&product["category_id"].as_i64().expect("an id")));
            }
        }
    }
}
