//! JPEG and PNG files as cameras, editors and broken uploads leave them: kept as every browser shows them, or refused,
//! never kept as something else.
//!
//! The files in `tests/data/jpeg` were written by libjpeg 2.1.5 (`make.c` there), all from one image, which
//! [`drawn`] draws again.

use std::path::Path;

use image::RgbImage;
use serde_json::json;
use spirit_beads::auth::Scope;

use crate::support::images::{claiming_png, decoded, exif, jpeg, plain_png, scene, segment, tiff};
use crate::support::{Client, Shop};

/// Images in the files in `tests/data/jpeg`: in color, in gray, or printed with black besides.
fn drawn(name: &str) -> RgbImage {
    RgbImage::from_fn(49, 35, |x, y| {
        let square = if (x / 16 + y / 16) % 5 == 0 {
            40.0
        } else {
            0.0
        };
        let (x, y) = (f64::from(x), f64::from(y));
        let light = [
            128.0 + 100.0 * (x * 0.07 + y * 0.02).sin(),
            128.0 + 100.0 * (y * 0.05 - x * 0.01 + 1.0).sin(),
            128.0 + 100.0 * ((x + y) * 0.04 + 2.0).sin(),
        ];
        let light = match name {
            _ if name.starts_with("gray") => [(light[0] + light[1] + light[2]) / 3.0; 3],
            _ => light,
        };
        let black = match name {
            _ if name.starts_with("cmyk") || name.starts_with("ycck") => {
                (60.0 + 40.0 * (x * 0.1).sin()) / 255.0
            }
            _ => 1.0,
        };
        image::Rgb(light.map(|light| ((light - square).clamp(0.0, 255.0) * black) as u8))
    })
}

/// The mean difference of two images of one size, per sample.
fn difference(one: &RgbImage, other: &RgbImage) -> f64 {
    assert_eq!(one.dimensions(), other.dimensions());
    let pairs = one.as_raw().iter().zip(other.as_raw());
    let sum: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / one.as_raw().len() as f64
}

/// Uploads a file and reads what was kept of it. None: it was refused, with words.
async fn kept(shop: &Shop, admin: &Client, file: &[u8]) -> Option<RgbImage> {
    let answer = admin.uploads(&[file]).await;
    if answer.status != 201 {
        assert_eq!(answer.field_errors(), ["image[0]"], "{}", answer.text);
        return None;
    }
    let id = answer.json[0]["id"].as_str().expect("an id");
    let original = format!("/media/images/{id}/original");
    Some(decoded(&shop.client.get(&original).await.bytes).to_rgb8())
}

#[tokio::test]
async fn jpegs_of_every_make_look_as_they_were_drawn() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/jpeg");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the files") {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "jpg") {
            continue;
        }
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.expect("a name");
        let file = std::fs::read(&path).expect("a readable file");
        let shown = kept(&shop, &admin, &file).await;
        seen += 1;
        if name.starts_with("refused") {
            assert_eq!(shown, None, "{name}");
            continue;
        }
        let shown = shown.unwrap_or_else(|| panic!("{name} is refused"));
        let difference = difference(&shown, &drawn(name));
        assert!(difference < 5.0, "{name}: {difference}");
    }
    assert!(seen > 70, "{seen}");
}

#[tokio::test]
async fn pixels_that_did_not_arrive_are_never_made_up() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/jpeg");
    // It has a few zeros, whose end is in order, for three thousand pixels.
    let claim = claiming_png(64, 48, 8, 2);
    assert_eq!(kept(&shop, &admin, &claim).await, None);
    for name in ["420", "420-progressive", "420-scans-apart", "420-restarts"] {
        let file = std::fs::read(folder.join(name).with_extension("jpg")).expect("a file");
        for tenths in 3..=9 {
            // An upload that broke off, and one to which a program put an end all the same.
            let half = &file[..file.len() * tenths / 10];
            let ended = [half, &[0xff, 0xd9]].concat();
            for half in [half, &ended] {
                let shown = kept(&shop, &admin, half).await;
                assert_eq!(shown, None, "{name}, {tenths} tenths");
            }
        }
    }
}

#[tokio::test]
async fn the_first_exif_says_which_side_is_up() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let jpeg = jpeg(240, 160);
    let with = |segments: &[Vec<u8>]| [&jpeg[..2], &segments.concat(), &jpeg[2..]].concat();
    // A maker's note makes it longer than a segment may be.
    let long = [tiff(6), vec![7; 68_000]].concat();
    let (first, rest) = long.split_at(65_000);
    for (what, file) in [
        ("over two segments", with(&[exif(first), exif(rest)])),
        ("two blocks", with(&[exif(&tiff(6)), exif(&tiff(1))])),
        (
            "after another segment",
            with(&[
                segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
                exif(&tiff(6)),
            ]),
        ),
    ] {
        let answer = admin.uploads(&[&file]).await;
        assert_eq!(answer.status, 201, "{what}: {}", answer.text);
        let size = (&answer.json[0]["width"], &answer.json[0]["height"]);
        assert_eq!(size, (&json!(160), &json!(240)), "{what}");
    }
}

#[tokio::test]
async fn odd_data_around_the_pixels_is_accepted() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let (jpeg, png) = (jpeg(64, 48), plain_png(64, 48));
    let drawn = scene(64, 48);
    let scan = jpeg.windows(2).position(|pair| pair == [0xff, 0xda]);
    let (head, scan) = jpeg.split_at(scan.expect("a scan"));
    let profile = segment(0xe2, b"ICC_PROFILE\0\x01\x02half of a profile");
    for (what, file) in [
        ("no end marker", jpeg[..jpeg.len() - 2].to_vec()),
        ("half an end marker", jpeg[..jpeg.len() - 1].to_vec()),
        (
            "a comment cut off instead of the end",
            [&jpeg[..jpeg.len() - 2], b"\xff\xfe\x01\x00taken by"].concat(),
        ),
        (
            "stray bytes after the first segment",
            [&jpeg[..20], b"\0\0stray", &jpeg[20..]].concat(),
        ),
        (
            "stray bytes before the scan",
            [head, b"\0\0\0stray\0", scan].concat(),
        ),
        (
            "filling before a marker",
            [head, b"\xff\xff\xff", scan].concat(),
        ),
        (
            "stray bytes before the end",
            [&jpeg[..jpeg.len() - 2], b"stray bytes \0\0", b"\xff\xd9"].concat(),
        ),
        (
            "stray bytes after the end",
            [&jpeg[..], b"\xff\xd8\xff stray"].concat(),
        ),
        (
            "half a profile",
            [&jpeg[..2], &profile, &jpeg[2..]].concat(),
        ),
        (
            "an empty segment of metadata",
            [&jpeg[..2], b"\xff\xe1\0\x02\xff\xee\0\x02", &jpeg[2..]].concat(),
        ),
        ("a PNG without its end", png[..png.len() - 12].to_vec()),
        ("a PNG with half its end", png[..png.len() - 5].to_vec()),
        (
            "a PNG without its end and its last checksum",
            png[..png.len() - 15].to_vec(),
        ),
        (
            "stray bytes after a PNG",
            [&png[..], b"stray bytes"].concat(),
        ),
    ] {
        let shown = kept(&shop, &admin, &file).await;
        let shown = shown.unwrap_or_else(|| panic!("{what}: refused"));
        let difference = difference(&shown, &drawn);
        assert!(difference < 5.0, "{what}: {difference}");
    }
}

#[tokio::test]
async fn a_refused_kind_is_called_by_its_name_and_the_sentence_helps() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let brands = |major: &[u8; 4], others: &[u8]| {
        [b"\0\0\0\x20ftyp", &major[..], b"\0\0\0\0", others, &[0; 60]].concat()
    };
    for (file, name, helps) in [
        (
            brands(b"heic", b"mif1heic"),
            "HEIC",
            "Settings > Camera > Formats > Most Compatible",
        ),
        (brands(b"mif1", b"mif1heic"), "HEIC", "Most Compatible"),
        (brands(b"mif1", b"mif1avifmiaf"), "AVIF", "camera settings"),
        (brands(b"avif", b"mif1"), "AVIF", "choose JPEG"),
        (brands(b"mif1", b"miaf"), "HEIF", "choose JPEG"),
    ] {
        let answer = admin.uploads(&[&file]).await;
        assert_eq!(answer.field_errors(), ["image[0]"]);
        assert!(answer.text.contains(name), "{name}: {}", answer.text);
        assert!(answer.text.contains(helps), "{helps}: {}", answer.text);
        let other = if name == "HEIC" { "AVIF" } else { "HEIC" };
        assert!(!answer.text.contains(other), "{}", answer.text);
    }
}
