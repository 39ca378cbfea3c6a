//! Every photograph ends in pieces or in a sentence.

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};

use super::{Batch, list, photograph, text};
use crate::support::Shop;
use crate::support::images::encoded;

fn png(image: RgbImage) -> Vec<u8> {
    encoded(&DynamicImage::from(image), ImageFormat::Png)
}

/// Gray values that differ from pixel to pixel without order.
fn noise(width: u32, height: u32) -> RgbImage {
    let mut state = 1_u32;
    RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Rgb([(state >> 24) as u8; 3])
    })
}

/// A board with rows of small striped pieces.
fn crowd(columns: u32, rows: u32) -> RgbImage {
    let mut image = RgbImage::from_pixel(columns * 40, rows * 90, Rgb([60, 110, 190]));
    for column in 0..columns {
        for row in 0..rows {
            for x in 0..24 {
                for y in 0..64 {
                    let bead = (x / 3 + y / 4) % 3;
                    let color = [[200, 40, 30], [240, 220, 90], [20, 20, 20]][bead as usize];
                    image.put_pixel(column * 40 + 8 + x, row * 90 + 13 + y, Rgb(color));
                }
            }
        }
    }
    image
}

#[tokio::test]
async fn each_bad_photograph_gets_a_sentence_and_the_good_ones_go_on() {
    let shop = Shop::open().await;
    let batch = Batch::begin(&shop, &json!({})).await;
    let good = photograph("s210-kin-front.jpg");
    let files: Vec<(&str, Vec<u8>)> = vec![
        (
            "blank.png",
            png(RgbImage::from_pixel(900, 700, Rgb([250; 3]))),
        ),
        ("noise.png", png(noise(900, 700))),
        ("tiny.png", png(RgbImage::from_pixel(1, 1, Rgb([9; 3])))),
        ("crowd.png", png(crowd(20, 15))),
        ("zip.jpg", b"PK\x03\x04 not a photograph".to_vec()),
        ("empty.jpg", Vec::new()),
        ("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1".to_vec()),
        ("cut.jpg", good[..good.len() / 2].to_vec()),
        (
            "huge.png",
            png(RgbImage::from_pixel(9000, 6000, Rgb([60, 110, 190]))),
        ),
        ("table.jpg", good.clone()),
        ("again.jpg", good.clone()),
    ];
    let sent: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, content)| (*name, content.as_slice()))
        .collect();
    batch.sends("front", &sent).await;
    shop.run_jobs().await;
    let shown = batch.shows().await;
    let told: Vec<String> = list(&shown, "photos")
        .iter()
        .map(|photo| {
            let problem = photo["problem"].as_str().unwrap_or("none");
            format!("{}: {problem}", text(&photo["file_name"]))
        })
        .collect();
    for (name, part) in [
        ("blank.png", "Nothing here looks like a lighter."),
        ("tiny.png", "No plain background was found."),
        ("crowd.png", "More than 60 pieces are in this photograph."),
        ("zip.jpg", "This is not an image."),
        ("empty.jpg", "This is not an image."),
        ("phone.jpg", "HEIC images cannot be read here."),
        ("huge.png", "This image is too large: up to 50 megapixels"),
        ("table.jpg", "none"),
        ("again.jpg", "This photograph is in the batch already."),
    ] {
        let is_told = |line: &String| line.starts_with(&format!("{name}: {part}"));
        assert!(told.iter().any(is_told), "{name}: {told:#?}");
    }
    let of = |name: &str| -> Value {
        let mut photos = list(&shown, "photos").iter();
        let found = photos.find(|photo| photo["file_name"] == name);
        found.expect("a photograph").clone()
    };
    for name in ["noise.png", "cut.jpg"] {
        let photo = of(name);
        assert_ne!(photo["status"], "waiting", "{name}");
        let is_said = photo["problem"].is_string() || !list(&photo, "remarks").is_empty();
        assert!(is_said || name == "cut.jpg", "{photo}");
    }
    assert_eq!(shown["is_working"], false);
    assert!(list(&shown, "items").len() >= 8);
}

#[tokio::test]
async fn more_photographs_than_a_batch_may_have_are_refused() {
    let shop = Shop::open().await;
    let batch = Batch::begin(&shop, &json!({})).await;
    let photo = png(RgbImage::from_pixel(20, 20, Rgb([250; 3])));
    let files: Vec<(&str, &[u8])> = (0..21).map(|_| ("table.png", photo.as_slice())).collect();
    let refused = batch.tries_to_send("front", &files).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    for side in ["top", ""] {
        let refused = batch.tries_to_send(side, &files[..1]).await;
        assert_eq!(refused.field_errors(), ["side"], "{}", refused.text);
    }
    let none = batch.tries_to_send("back", &[]).await;
    assert_eq!(none.field_errors(), ["image"], "{}", none.text);
    assert_eq!(list(&batch.shows().await, "photos").len(), 0);
    let discarded = batch
        .admin
        .send_json(
            reqwest::Method::DELETE,
            &format!("{}/", batch.path),
            &Value::Null,
        )
        .await;
    assert_eq!(discarded.status, 204, "{}", discarded.text);
    let late = batch.tries_to_send("front", &files[..1]).await;
    assert_eq!(
        (late.status, &late.json["code"]),
        (409, &json!("intake_is_closed"))
    );
}
