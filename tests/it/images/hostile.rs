//! Attacks: files that are no images, and paths that lead elsewhere.

use serde_json::json;
use spirit_beads::auth::Scope;

use crate::support::images::{
    Chance, animation, chunk, claiming_gif, claiming_png, claiming_webp, decoded, encoded,
    from_a_telephone, jpeg, plain_png, scene, transparent_png, webp, with_profile,
};
use crate::support::{Shop, heavy};

#[tokio::test]
async fn a_bomb_is_refused_before_it_is_decoded() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    for (what, bomb) in [
        ("png", claiming_png(30_000, 30_000, 8, 2)),
        ("png, one bit", claiming_png(30_000, 30_000, 1, 0)),
        ("png, 16 bits", claiming_png(7000, 7000, 16, 6)),
        ("png, a line", claiming_png(u32::MAX >> 1, 1, 8, 0)),
        ("gif", claiming_gif(65_535, 65_535)),
        ("webp", claiming_webp(16_384, 16_384)),
    ] {
        let answer = admin.uploads(&[&bomb]).await;
        assert_eq!(answer.field_errors(), ["image[0]"], "{what}");
        let is_told = answer.text.contains("megapixels") || answer.text.contains("damaged");
        assert!(is_told, "{what}: {}", answer.text);
    }
    // A small image with a profile that unpacks to a thousand times its size.
    let bomb = with_profile(&scene(20, 20), vec![0; 100 << 20]);
    assert!(bomb.len() < 1 << 20);
    let answer = admin.uploads(&[&bomb]).await;
    assert!([201, 400].contains(&answer.status), "{}", answer.text);
}

#[tokio::test]
async fn a_file_that_is_no_image_is_refused_whatever_its_name() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let brand = |brand: &[u8; 4]| [b"\0\0\0\x18ftyp", &brand[..], b"\0\0\0\0mif1heic"].concat();
    for (file, told) in [
        (
            b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>".to_vec(),
            "not an image",
        ),
        (
            b"<!doctype html><script>alert(1)</script>".to_vec(),
            "not an image",
        ),
        (
            b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec(),
            "not an image",
        ),
        (b"%PDF-1.7".to_vec(), "not an image"),
        (
            b"\0\0\0\x18ftypisom\0\0\0\0isomavc1".to_vec(),
            "not an image",
        ),
        (brand(b"heic"), "HEIC"),
        (brand(b"mif1"), "HEIC"),
        (brand(b"avif"), "AVIF"),
        (b"GIF89a".to_vec(), "damaged"),
        (b"RIFF".to_vec(), "not an image"),
        (b"RIFF\0\0\0\0WEBP".to_vec(), "damaged"),
        (b"\xff\xd8\xff".to_vec(), "damaged"),
        (b"\x89PNG\r\n\x1a\n<html>".to_vec(), "damaged"),
        // Read as a size, a tag is a very large one.
        (b"GIF89a<script>alert(1)</script>".to_vec(), "megapixels"),
        (claiming_png(0, 10, 8, 2), "damaged"),
    ] {
        let answer = admin.uploads(&[&file]).await;
        assert_eq!(answer.field_errors(), ["image[0]"], "{told}");
        assert!(answer.text.contains(told), "{told}: {}", answer.text);
    }
}

#[tokio::test]
async fn data_hidden_in_an_image_does_not_come_out() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let script = b"<script>alert('beads')</script>";
    let (jpeg, png, gif) = (jpeg(40, 30), plain_png(41, 30), animation(42, 30));
    let comment = [&[0xff, 0xfe, 0, script.len() as u8 + 2], &script[..]].concat();
    for hidden in [
        [&jpeg[..], script].concat(),
        [&jpeg[..2], &comment, &jpeg[2..]].concat(),
        [&png[..], script].concat(),
        [
            &png[..33],
            &chunk(b"tEXt", &[b"Comment\0", &script[..]].concat()),
            &png[33..],
        ]
        .concat(),
        [&gif[..], script].concat(),
        // An archive at the end of an image is both.
        [&png[..], b"PK\x05\x06", &[0; 18], script].concat(),
    ] {
        let answer = admin.uploads(&[&hidden]).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let id = answer.json[0]["id"].as_str().expect("an id");
        shop.run_jobs().await;
        for name in ["original", "320.jpg", "320.webp"] {
            let served = shop.client.get(&format!("/media/images/{id}/{name}")).await;
            assert!(!served.text.contains("beads"), "{name}");
            assert!(served.header("content-type").starts_with("image/"));
            assert_eq!(served.header("x-content-type-options"), "nosniff");
        }
    }
}

#[tokio::test]
async fn half_an_image_is_none() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let with_thumbnail = from_a_telephone(&jpeg(200, 150), 6);
    for (what, whole) in [
        ("jpeg", jpeg(200, 150)),
        (
            "telephone",
            with_thumbnail[..with_thumbnail.len() - 30].to_vec(),
        ),
        ("png", plain_png(200, 150)),
        ("transparent", transparent_png(200)),
        ("webp", webp(200, 150)),
    ] {
        for tenths in [1, 3, 5, 7, 9] {
            let half = &whole[..whole.len() * tenths / 10];
            let answer = admin.uploads(&[half]).await;
            assert_eq!(answer.field_errors(), ["image[0]"], "{what} {tenths}");
        }
    }
    // Of an animation the first frame is all that counts.
    let gif = animation(200, 150);
    let answer = admin.uploads(&[&gif[..gif.len() / 10]]).await;
    assert_eq!(answer.field_errors(), ["image[0]"]);
}

#[tokio::test]
async fn flipped_bytes_are_an_image_or_an_error() {
    let _seat = heavy().await;
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let mut chance = Chance(1);
    let tiny = image::DynamicImage::new(8, 8, image::ColorType::Rgba8);
    let samples = [
        jpeg(24, 16),
        from_a_telephone(&jpeg(16, 16), 3),
        plain_png(12, 12),
        encoded(&tiny, image::ImageFormat::Png),
        webp(16, 16),
        animation(16, 16),
    ];
    // Thousands more, without the network, are flipped where the images are decoded: `media/intake.rs`.
    for _ in 0..60 {
        let flipped: Vec<Vec<u8>> = (0..10)
            .map(|_| {
                let mut bytes = samples[chance.below(samples.len())].clone();
                for _ in 0..=chance.below(3) {
                    let at = chance.below(bytes.len());
                    bytes[at] ^= 1 << chance.below(8);
                }
                bytes
            })
            .collect();
        let files: Vec<&[u8]> = flipped.iter().map(Vec::as_slice).collect();
        let answer = admin.uploads(&files).await;
        assert!([201, 400].contains(&answer.status), "{}", answer.text);
    }
    let left = shop.run_failing_jobs().await;
    assert!(left.is_empty(), "{left:#?}");
}

#[tokio::test]
async fn no_path_leaves_the_store() {
    let shop = Shop::open().await;
    let id = shop.keeps(&jpeg(20, 20)).await;
    shop.run_jobs().await;
    let folder = shop.media_folder();
    std::fs::write(folder.join("../secret.png"), "secret").expect("a file");
    std::fs::write(folder.join(".hidden.png"), "secret").expect("a file");
    std::fs::write(folder.join("half.png#1"), "secret").expect("a file");
    std::fs::write(folder.join("page.html"), "<script>secret</script>").expect("a file");
    std::fs::write(folder.join("drawing.svg"), "<svg>secret</svg>").expect("a file");
    let key = std::fs::read_dir(folder.join("images"))
        .expect("the store")
        .next()
        .expect("an image")
        .expect("a folder")
        .file_name();
    let key = key.to_str().expect("a name");
    let long = "a/".repeat(600);
    for path in [
        "../secret.png",
        "..%2fsecret.png",
        "%2e%2e/secret.png",
        "%2e%2e%2fsecret.png",
        "..%5csecret.png",
        "x/../../secret.png",
        "images/../../secret.png",
        "./../secret.png",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "//etc/passwd",
        ".hidden.png",
        "half.png%231",
        "images",
        "images/",
        "images//",
        "images/x",
        "page.html/x",
        "%00",
        "a%00.png",
        "%ff",
        &long,
        &format!("images/{key}"),
        &format!("images/{key}/original.jpg"),
        &format!("images/{id}"),
        &format!("images/{id}/"),
        &format!("images/{id}/321.jpg"),
        &format!("images/{id}/320.png"),
        &format!("images/{id}/0320.jpg"),
        &format!("images/{id}/original.jpg"),
        &format!("images/{id}/..%2foriginal"),
        &format!("images/{}/320.jpg", id.to_uppercase()),
        &format!("images/{}/320.jpg", "ab".repeat(32)),
        &format!("images/{id}%00/320.jpg"),
    ] {
        let answer = shop.client.get(&format!("/media/{path}")).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        assert!(!answer.text.contains("secret"), "{path}");
        assert_eq!(answer.json["code"], json!("not_found"), "{path}");
    }
    // A file of the old service that is no image is never a page.
    for name in ["page.html", "drawing.svg"] {
        let page = shop.client.get(&format!("/media/{name}")).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, "application/octet-stream")
        );
        assert_eq!(page.header("x-content-type-options"), "nosniff");
    }
    let served = shop
        .client
        .get(&format!("/media/images/{id}/320.jpg"))
        .await;
    assert_eq!(decoded(&served.bytes).width(), 20);
}
