//! The demo catalog: 24 pieces to fill an empty shop, their images drawn here.
//!
//! `demo.json` says what is for sale; this file, what each piece looks like; `loom` draws it. The pictures depend on
//! nothing else, so none is kept in git. Putting either into the shop is left to the caller.
mod loom;

use anyhow::{Context, Result};
use loom::{Scene, noise};
use serde::Deserialize;
use serde_json::Value;

use crate::money::Currency;

/// The catalog file, its prices in cents.
const CATALOGUE: &str = include_str!("demo.json");

/// The catalog file with prices that can be charged in a currency: as many of its units as cents, or ten times as many
/// where that is too little.
pub fn catalog(currency: Currency) -> anyhow::Result<String> {
    let mut file: Value = serde_json::from_str(CATALOGUE).context("reading the demo catalog")?;
    for product in file["products"].as_array_mut().into_iter().flatten() {
        let cents = product["price"].as_i64().unwrap_or_default();
        if !currency.charges().contains(&cents) {
            product["price"] = Value::from(cents * 10);
        }
    }
    Ok(file.to_string())
}

/// The six colours of each piece: the ground, four more, and an accent for the borders. See [`motif`].
#[rustfmt::skip]
const COLOURS: [(&str, [u32; 6]); 24] = [
    ("long-road-home", [0x17395a, 0x1fa3a3, 0x8fd6cc, 0xe8664f, 0xf3ead7, 0xe0b050]),
    ("river-braid", [0x222c3c, 0x2f6fb0, 0x9cc9e8, 0xb5653a, 0xe9b78a, 0xe8dcc4]),
    ("tidewalk", [0xe6d3ad, 0x0f5a60, 0x2c8c84, 0x7cc4ac, 0xf4f1e4, 0xc9a063]),
    ("turning-seasons", [0x263860, 0xa5412a, 0xd9952f, 0xf2e6cb, 0x5e7f8c, 0xd9952f]),
    ("stairs-to-morning", [0x52225a, 0x94336c, 0xcf5474, 0xf09a86, 0xf9d9a8, 0xfbeedb]),
    ("switchback", [0x343338, 0xf1e7d3, 0xa83d2b, 0xd8b98a, 0x5a5658, 0xa83d2b]),
    ("grandmothers-window", [0x46202a, 0x8e2a3a, 0xd28c2f, 0xf3d48a, 0x2f7676, 0xefe2c8]),
    ("lantern-star", [0x172a60, 0xb23020, 0xe07028, 0xf3ac3c, 0xf9e3a6, 0x4f7fc0]),
    ("hourglass-song", [0xf1e6d2, 0xa8262e, 0x6a1826, 0xd98a3a, 0x2b404d, 0xa8262e]),
    ("seven-hills", [0xefe0c4, 0xb05732, 0xd39a3c, 0x1f7376, 0x54322a, 0x1f7376]),
    ("hearth-medallion", [0x332c2a, 0x9c281c, 0xdb5a22, 0xf2a53a, 0xf8e2b0, 0x85766a]),
    ("willow-basket", [0x48301f, 0x7f5230, 0xb98344, 0xdcb77a, 0xf0e2c6, 0x5d7050]),
    ("green-curtain", [0x14254a, 0x186464, 0x24a673, 0x7fe09a, 0x0d1424, 0xe4fbe0]),
    ("violet-hour", [0x221a50, 0x502c90, 0x9a48b4, 0xf08ab8, 0x120c2c, 0xffe3ea]),
    ("field-of-stars", [0x121c46, 0x1a3070, 0x25509c, 0x4a80c4, 0xa9c8e8, 0xf6f4ea]),
    ("moon-over-the-ridge", [0x202f58, 0x425886, 0x7f93ac, 0x50707c, 0x224448, 0xf6ecd0]),
    ("first-frost", [0x2e669e, 0x4f8cbf, 0x8fbfdf, 0xd3e8f3, 0x224878, 0xffffff]),
    ("spruce-line", [0x1d3560, 0x46709c, 0x9cc0d2, 0x175044, 0x3c7f78, 0xf2f6f4]),
    ("sunrise", [0xf6d9a4, 0xf0a04a, 0xe46a4a, 0xc43f52, 0x5d7d3c, 0xfbe27a]),
    ("wildflower-rows", [0xf4ebd6, 0x6a8a48, 0xd8577a, 0x7a62b4, 0x44663c, 0xf0b83c]),
    ("climbing-vine", [0xf5ecd8, 0x3c6a36, 0x78a04a, 0xb83448, 0xd8c49c, 0xe08a3c]),
    ("poppy-field", [0x284f35, 0x3f6f3c, 0xd8301f, 0xf26a3c, 0x241c1e, 0x86a44e]),
    ("tall-grass", [0xf5e6ba, 0xd8c070, 0x8fa244, 0x55783c, 0x2f5232, 0xa8652f]),
    ("honeycomb", [0x56321a, 0xf0b02e, 0xd88a1c, 0xf8d67a, 0x855022, 0xf6ead0]),
];

/// Draws every picture the catalog names: its path there, and the PNG.
///
/// # Errors
/// Fails if a piece has no colours here, which a test rules out.
pub fn images() -> Result<Vec<(String, Vec<u8>)>> {
    #[derive(Deserialize)]
    struct Catalogue {
        products: Vec<Product>,
    }
    #[derive(Deserialize)]
    struct Product {
        slug: String,
        lighter_type: u8,
        primary_image: Option<String>,
        secondary_image: Option<String>,
    }
    let catalog: Catalogue = serde_json::from_str(CATALOGUE).context("reading the demo catalog")?;
    let (classic, mini, close_up) = (Scene::case(36), Scene::case(27), Scene::close_up());
    let mut pictures = Vec::new();
    for Product {
        slug,
        lighter_type,
        primary_image,
        secondary_image,
    } in catalog.products
    {
        let colours = COLOURS.iter().find(|(of, _)| *of == slug);
        let (_, colours) = colours.with_context(|| format!("no colours for {slug}"))?;
        let salt = slug
            .bytes()
            .fold(0, |hash: u32, byte| hash.wrapping_mul(31) ^ u32::from(byte));
        let front = if lighter_type == 1 { &classic } else { &mini };
        for (path, scene) in [(primary_image, front), (secondary_image, &close_up)] {
            if let Some(path) = path {
                pictures.push((path, scene.draw(colours, |x, y| motif(&slug, x, y, salt))?));
            }
        }
    }
    Ok(pictures)
}

/// What a piece is beaded with: the colour (0 to 5) of the bead `x` columns and `y` rows from its middle.
///
/// Most motifs are a string of colours, read at a place that the bead's position leads to.
#[rustfmt::skip]
fn motif(slug: &str, x: i32, y: i32, salt: u32) -> usize {
    let read = |colours: &str, at: i32| usize::from(colours.as_bytes()[at as usize] - b'0');
    let cycle = |colours: &str, at: i32| read(colours, at.rem_euclid(colours.len() as i32));
    let clip = |colours: &str, at: i32| read(colours, at.clamp(0, colours.len() as i32 - 1));
    // Along a gradient, neighbouring colours mingle.
    let mingle = |colours: &str, at: f32| {
        clip(colours, (at + (noise(salt, x, y) % 100) as f32 / 125.0 - 0.4).round() as i32)
    };
    let sparse = |one_in: u32| noise(salt, x, y).is_multiple_of(one_in);
    // Folds a line into a zigzag: 0 in the middle, `half` at the farthest, and back.
    let fold = |at: i32, half: i32| ((at + half).rem_euclid(2 * half) - half).abs();
    let sway = |at: i32, rate: f32, reach: f32| {
        ((at as f32 * rate + (salt % 7) as f32).sin() * reach).round() as i32
    };
    // The place within the nearer of two cells laid like bricks, and whether it is the second.
    let brick = |w: i32, h: i32| match (fold(x, w), fold(y, h)) {
        (dx, dy) if dx * h + dy * w > w * h => (w - dx, h - dy, true),
        (dx, dy) => (dx, dy, false),
    };
    let (fx, fy) = (x as f32, y as f32);
    match slug {
        "long-road-home" => cycle("001122440335330", y - x.abs() + 1),
        "switchback" => cycle("00110002203300", y + fold(x, 4)),
        "tidewalk" => cycle("0041122334003321", y + sway(x, 0.55, 2.4)),
        "stairs-to-morning" => cycle("001122334455", y + x.div_euclid(3) * 3),
        "turning-seasons" => cycle("5310024413300221", fold(x, 8) + fold(y, 8)),
        "grandmothers-window" => clip("3321104022", (fold(x, 8) + 1) / 2 + (fold(y, 10) + 1) / 2),
        "river-braid" => {
            let swing = (fy * 0.36).sin() * 5.0;
            let strand = |centre: f32, colours| clip(colours, ((fx - centre).abs() + 0.2) as i32);
            let (one, two) = (strand(swing, "2119"), strand(-swing, "4339"));
            let (over, under) = if (fy * 0.36).cos() > 0.0 { (one, two) } else { (two, one) };
            let bank = if x.abs() == 8 && y % 2 == 0 { 5 } else { 0 };
            [over, under].into_iter().find(|&colour| colour != 9).unwrap_or(bank)
        }
        "lantern-star" => {
            let (far, near) = (x.abs().max(fold(y, 11)), x.abs().min(fold(y, 11)));
            match (far + near * 2).min(3 * far - 2 * near) {
                point @ 0..=8 => clip("443332211", point),
                _ if matches!(far + near, 15 | 17) => 5,
                _ => 0,
            }
        }
        "hourglass-song" => match fold(x, 6) - fold(y, 6) {
            0 => 4,
            ..0 => clip("32111222", fold(y, 6)),
            _ => clip("0003000", fold(x, 6)),
        },
        "seven-hills" => match y.rem_euclid(7) - fold(x + y.div_euclid(7) % 2 * 4, 4) {
            _ if y.rem_euclid(7) == 6 => 4,
            ..1 => 0,
            1 => 4,
            2 | 3 => cycle("132", y.div_euclid(7)),
            _ => 5,
        },
        "hearth-medallion" => {
            let down = fold(y, 9) as f32 * 0.9;
            clip("4332215110550", (fx.hypot(down) * 1.15 - (8.0 * down.atan2(fx)).cos() * 0.9).round() as i32)
        }
        "willow-basket" => match ((x + 2).div_euclid(4) + y.div_euclid(4)) % 2 {
            0 => cycle("0344", y),
            _ => cycle("0122", x + 2),
        },
        "green-curtain" | "violet-hour" => {
            let hem = |base: i32, rate| y - base - sway(x, rate, 2.6) - sway(x, rate * 2.3, 1.2);
            match (hem(-3, 0.5), hem(6, 0.34)) {
                _ if y >= 11 - sway(x, 0.4, 1.6) => 4,
                (up @ -9..=0, _) => mingle("53322110", up as f32 * -0.8),
                (_, up @ -8..=0) => mingle("5332110", up as f32 * -0.8),
                _ if sparse(19) => 5,
                _ => 0,
            }
        }
        "field-of-stars" => {
            let cell = noise(salt, x.div_euclid(6), y.div_euclid(7));
            let dx = x.rem_euclid(6) - 2 - (cell / 8 % 2) as i32;
            let dy = y.rem_euclid(7) - 2 - (cell / 16 % 3) as i32;
            match (dx.abs() + dy.abs(), cell % 3) {
                (0, 1..) => 5,
                (1, 1..) => 4,
                (2, 1) if dx * dy == 0 => 3,
                _ if sparse(21) => 5,
                _ => mingle("00112", (fy + 16.0) / 8.0),
            }
        }
        "moon-over-the-ridge" => {
            let below = |base: i32, half, shift| y - base - fold(x + shift, half) * 3 / 4;
            match (below(-2, 9, 5), below(3, 7, -3), below(7, 5, 3)) {
                _ if (x - 2).pow(2) + (y + 7).pow(2) < 12 => 5,
                (_, _, 0..) => 4,
                (_, 0.., _) => 3,
                (0, _, _) => 5,
                (1.., _, _) => 2,
                _ if y < -4 && sparse(24) => 5,
                _ => mingle("0011", (fy + 13.0) / 4.0),
            }
        }
        "first-frost" => match brick(8, 8) {
            (dx, dy, _) if dx.min(dy) == 0 && dx + dy < 6 || dx * dy == 4 && dx != dy => 5,
            (dx, dy, _) if dx == dy && dx < 4 => 3,
            (1, 2, _) | (2, 1, _) => 2,
            _ if sparse(17) => 2,
            _ => mingle("401", (fy + 18.0) / 14.0),
        },
        "spruce-line" => {
            for (down, side, leaf) in [(y + 10, x.abs(), 3), (y + 5, fold(x + 8, 8), 4)] {
                let reach = down / 6 + down % 6 / 2;
                if (0..24).contains(&down) && side <= reach {
                    return if down == 0 || down % 6 == 5 && side == reach { 5 } else { leaf };
                }
            }
            if y > 9 + x.abs() % 3 { mingle("25", (y % 2) as f32) } else { mingle("00112", (fy + 16.0) / 6.0) }
        }
        "sunrise" => {
            let up = 4.0 - fy;
            match fx.hypot(up) {
                _ if up < 0.0 => cycle("44144004", y - 4 + sway(x, 0.5, 1.0)),
                far @ 0.0..8.9 => clip("5551123", (far * 0.7) as i32),
                far if (up.atan2(fx) * 12.0).cos() > 0.0 => mingle("321100", (far - 9.0) / 3.0),
                _ => 0,
            }
        }
        "wildflower-rows" => {
            let (band, down) = (y.div_euclid(9), y.rem_euclid(9) - 3);
            let petal = cycle("235", band + 4);
            match (down, fold(x + band.rem_euclid(2) * 3, 3)) {
                (-3 | 5, _) => 4,
                (4, _) => cycle("14", x),
                (0, 0) => if petal == 5 { 2 } else { 5 },
                (-1..=1, 0) | (0, 1) => petal,
                (2, 0) | (3, 0..=1) => 1,
                _ => 0,
            }
        }
        "climbing-vine" => {
            let side = (x - sway(y, 0.3, 2.0)) * if y.div_euclid(7) % 2 == 0 { 1 } else { -1 };
            match (side, y.rem_euclid(7)) {
                (0, _) | (1, 5) | (2, 4) | (3, 3) => 1,
                (1, 4) | (2, 2..=3) | (3, 1..=2 | 4) | (4, 1..=3) | (5, 1..=2) => 2,
                (-1, 5) => 1,
                (-3, 4) => 5,
                (-4 | -2, 4) | (-3, 3 | 5) => 3,
                (-6, 1) => 4,
                _ => 0,
            }
        }
        "poppy-field" => match brick(4, 5) {
            (0, 0, _) => 4,
            (0..=1, 0..=1, _) => 2,
            (2, 0, _) | (0, 2, _) => 3,
            (0, _, _) => 5,
            _ => mingle("001", (fy + 14.0) / 14.0),
        },
        "tall-grass" => {
            let top = (noise(salt, x, 99) % 15) as i32 - 9 + fold(x, 3);
            match y - top {
                -2..=0 if !noise(salt, x, 7).is_multiple_of(3) => 5,
                ..=0 => mingle("001", (fy + 14.0) / 9.0),
                down => clip("22334", down / 4 + x.rem_euclid(2) * 2),
            }
        }
        "honeycomb" => match brick(4, 6) {
            (dx, dy, _) if dx > 3 || dx + 2 * dy > 7 => 0,
            (_, 0, _) if !sparse(3) => 3,
            (_, _, second) => {
                let (x, y) = if second { (x, y) } else { (x + 4, y + 6) };
                let cell = noise(salt, x.div_euclid(8) * 2 + i32::from(second), y.div_euclid(12));
                [1, 2, 1, 4][cell as usize % 4]
            }
        },
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn catalog() -> Value {
        serde_json::from_str(CATALOGUE).expect("the catalog is JSON")
    }

    fn all<'a>(rows: &'a Value, field: &str) -> BTreeSet<&'a str> {
        rows.as_array()
            .expect("rows are a list")
            .iter()
            .filter_map(|row| row[field].as_str())
            .collect()
    }

    #[test]
    fn the_catalogue_holds_24_pieces_in_4_categories() {
        let catalog = catalog();
        let (products, categories) = (&catalog["products"], &catalog["categories"]);
        assert_eq!(products.as_array().map(Vec::len), Some(24));
        assert_eq!(categories.as_array().map(Vec::len), Some(4));
        assert_eq!(all(products, "id").len(), 24);
        assert_eq!(all(products, "slug").len(), 24);
        assert_eq!(all(categories, "slug").len(), 4);
        assert_eq!(all(products, "slug"), COLOURS.map(|(slug, _)| slug).into());
    }

    #[test]
    fn every_picture_named_is_drawn_and_no_other() {
        let catalog = catalog();
        let mut named = all(&catalog["products"], "primary_image");
        named.append(&mut all(&catalog["products"], "secondary_image"));
        let drawn = images().unwrap();
        assert_eq!(named.len(), drawn.len());
        assert_eq!(named, drawn.iter().map(|(path, _)| path.as_str()).collect());
    }

    #[test]
    fn pictures_are_whole_and_drawn_the_same_twice() {
        let drawn = images().unwrap();
        assert!(drawn == images().unwrap());
        for (path, picture) in drawn {
            let picture = image::load_from_memory(&picture).unwrap();
            assert_eq!((picture.width(), picture.height()), (480, 600), "{path}");
        }
    }

    #[test]
    fn every_piece_has_its_own_motif() {
        let beads = |slug| -> Vec<_> {
            (0..400)
                .map(|i| motif(slug, i % 20 - 10, i / 20 - 10, 1))
                .collect()
        };
        let (green, violet) = ("green-curtain", "violet-hour");
        assert_eq!(
            beads(green),
            beads(violet),
            "the one motif that two pieces share"
        );
        assert_eq!(
            COLOURS
                .map(|(slug, _)| beads(slug))
                .into_iter()
                .collect::<BTreeSet<_>>()
                .len(),
            23
        );
    }
}
