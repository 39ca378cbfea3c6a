//! Images: taken in over HTTP, served with their renditions, let go of.

mod forms;
mod unused;

use image::{ImageDecoder, ImageFormat, ImageReader};
use moxcms::{ColorProfile, Layout, TransformOptions};
use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::support::images::{
    animation, decoded, encoded, from_a_telephone, jpeg, plain_png, profiled, scene,
    transparent_png, webp,
};
use crate::support::{Answer, Shop};

const FOR_EVER: &str = "public, max-age=31536000, immutable";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// The first image of an upload that went well.
fn first(answer: &Answer) -> Value {
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json[0].clone()
}

/// Number of images in the database, and of folders in the store.
async fn kept(shop: &Shop) -> (i64, usize) {
    let rows = sqlx::query_scalar("select count(*) from images")
        .fetch_one(&shop.db)
        .await
        .expect("the images");
    let folders = std::fs::read_dir(shop.media_folder().join("images"));
    (rows, folders.map_or(0, Iterator::count))
}

#[tokio::test]
async fn a_image_is_taken_in_and_served_in_every_width() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let image = first(&admin.uploads(&[&jpeg(2000, 1500)]).await);
    let id = text(&image["id"]);
    assert_eq!(
        (&image["width"], &image["height"]),
        (&json!(2000), &json!(1500))
    );
    assert_eq!(image["url"], format!("/media/images/{id}/1024.jpg"));
    assert!(
        (20..60).contains(&text(&image["thumbhash"]).len()),
        "{image}"
    );

    // Until the renditions are made the image itself stands in, and nobody keeps it for long.
    let url = text(&image["url"]);
    let before = shop.client.get(url).await;
    assert_eq!(before.status, 200);
    assert_eq!(before.header("cache-control"), "public, max-age=60");
    assert_eq!(decoded(&before.bytes).width(), 2000);

    shop.run_jobs().await;
    let after = shop.client.get(url).await;
    assert_eq!(after.header("cache-control"), FOR_EVER);
    assert_eq!(after.header("content-type"), "image/jpeg");
    assert_eq!(after.header("x-content-type-options"), "nosniff");
    assert_ne!(after.header("etag"), before.header("etag"));
    let shown = decoded(&after.bytes);
    assert_eq!((shown.width(), shown.height()), (1024, 768));
    let (top, bottom) = (shown.to_rgb8()[(500, 100)].0, shown.to_rgb8()[(500, 700)].0);
    assert!(
        top[0] > 100 && top[2] < 60 && bottom[2] > 100 && bottom[0] < 60,
        "{top:?} {bottom:?}"
    );

    let sources: Vec<(&str, &str)> = text(&image["srcset"])
        .split(", ")
        .map(|source| source.split_once(' ').expect("a width"))
        .collect();
    assert_eq!(
        sources.iter().map(|source| source.1).collect::<Vec<_>>(),
        ["320w", "640w", "1024w", "1600w"]
    );
    for (url, width) in sources {
        let answer = shop.client.get(url).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "image/webp"),
            "{url}"
        );
        assert_eq!(format!("{}w", decoded(&answer.bytes).width()), width);
        assert!(answer.bytes.len() < before.bytes.len());
    }
    let original = shop
        .client
        .get(&format!("/media/images/{id}/original"))
        .await;
    assert_eq!(original.header("cache-control"), FOR_EVER);
    assert_eq!(original.bytes, before.bytes);
}

#[tokio::test]
async fn browsers_ask_for_parts_and_for_what_they_have() {
    let shop = Shop::open().await;
    let id = shop.keeps(&jpeg(400, 300)).await;
    shop.run_jobs().await;
    std::fs::create_dir_all(shop.media_folder().join("products")).expect("a folder");
    std::fs::write(shop.media_folder().join("products/old.jpg"), jpeg(40, 30)).expect("a file");
    for (path, caching) in [
        (format!("/media/images/{id}/320.webp"), FOR_EVER),
        (
            "/media/products/old.jpg".to_owned(),
            "public, max-age=86400",
        ),
    ] {
        let whole = shop.client.get(&path).await;
        assert_eq!(
            (whole.status, whole.header("cache-control")),
            (200, caching),
            "{path}"
        );
        let (tag, size) = (whole.header("etag").to_owned(), whole.bytes.len());
        assert!(tag.starts_with('"') && !whole.header("last-modified").is_empty());
        let ask = async |name: &'static str, value: &str| {
            let headers = [(name, value)];
            shop.client
                .send(Method::GET, &path, &headers, None::<String>)
                .await
        };
        for (name, value) in [
            ("if-none-match", tag.as_str()),
            ("if-none-match", "\"x\", *"),
            ("if-modified-since", whole.header("last-modified")),
        ] {
            // An image is known by its tag; its time is that of the object.
            let known = ask(name, value).await;
            assert_eq!((known.status, known.bytes.len()), (304, 0), "{path} {name}");
            assert_eq!(known.header("etag"), tag);
            assert_eq!(known.header("cache-control"), caching);
        }
        assert_eq!(ask("if-none-match", "\"other\"").await.status, 200);

        let part = ask("range", "bytes=10-19").await;
        assert_eq!(part.status, 206);
        assert_eq!(part.header("content-range"), format!("bytes 10-19/{size}"));
        assert_eq!(part.bytes, whole.bytes[10..20]);
        assert_eq!(
            ask("range", "bytes=-5").await.bytes,
            whole.bytes[size - 5..]
        );
        let beyond = ask("range", &format!("bytes={size}-")).await;
        assert_eq!(beyond.status, 416);
        assert_eq!(beyond.header("content-range"), format!("bytes */{size}"));
        assert_eq!(ask("range", "bytes=0-1,5-6").await.bytes, whole.bytes);
        let stale = [("range", "bytes=0-1"), ("if-range", "\"other\"")];
        let stale = shop
            .client
            .send(Method::GET, &path, &stale, None::<String>)
            .await;
        assert_eq!((stale.status, stale.bytes.len()), (200, size));

        let head = shop
            .client
            .send(Method::HEAD, &path, &[], None::<String>)
            .await;
        assert_eq!((head.status, head.bytes.len()), (200, 0));
        assert_eq!(head.header("content-length"), size.to_string());
    }
}

#[tokio::test]
async fn nothing_of_where_it_was_taken_is_left() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    // Lying on its right side, as a telephone held upright has it.
    let sent = from_a_telephone(&jpeg(80, 60), 6);
    let mut reader = ImageReader::with_format(std::io::Cursor::new(&sent), ImageFormat::Jpeg)
        .into_decoder()
        .expect("an image");
    assert!(
        reader
            .exif_metadata()
            .expect("readable")
            .is_some_and(|exif| exif.len() > 60)
    );
    let image = first(&admin.uploads(&[&sent]).await);
    assert_eq!(
        (&image["width"], &image["height"]),
        (&json!(60), &json!(80))
    );
    shop.run_jobs().await;
    let id = text(&image["id"]);
    for name in ["original", "320.jpg", "320.webp"] {
        let served = shop.client.get(&format!("/media/images/{id}/{name}")).await;
        assert_eq!(served.status, 200);
        for trace in ["Exif", "GPS", "ns.adobe", "Ann", "film"] {
            assert!(!served.text.contains(trace), "{name}: {trace}");
        }
        let format = image::guess_format(&served.bytes).expect("a format");
        let mut decoder = ImageReader::with_format(std::io::Cursor::new(&served.bytes), format)
            .into_decoder()
            .expect("an image");
        assert_eq!(decoder.exif_metadata().expect("readable"), None, "{name}");
        // What lay above, the red half, is on the right now.
        let shown = decoded(&served.bytes).to_rgb8();
        assert_eq!(shown.dimensions(), (60, 80));
        let (left, right) = (shown[(10, 40)].0, shown[(50, 40)].0);
        assert!(
            right[0] > 100 && left[2] > 100,
            "{name}: {left:?} {right:?}"
        );
    }
}

#[tokio::test]
async fn every_orientation_comes_out_upright() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    for orientation in 1..=8 {
        let sent = from_a_telephone(&jpeg(96, 64), orientation);
        let image = first(&admin.uploads(&[&sent]).await);
        let lies = orientation >= 5;
        let expected = if lies { (64, 96) } else { (96, 64) };
        assert_eq!(
            (&image["width"], &image["height"]),
            (&json!(expected.0), &json!(expected.1))
        );
        let shown = decoded(&shop.client.get(text(&image["url"])).await.bytes).to_rgb8();
        // Where the red half, the upper one in the file, has to be. Source: the EXIF standard, tag 0x0112.
        let red = match orientation {
            1 | 2 => (48, 8),
            3 | 4 => (48, 56),
            5 | 8 => (8, 48),
            _ => (56, 48),
        };
        assert!(shown[red].0[0] > 100, "{orientation}: {:?}", shown[red]);
    }
}

#[tokio::test]
async fn colours_come_out_as_they_were_meant() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let colour = [200, 100, 50];
    for profile in [
        ColorProfile::new_display_p3(),
        ColorProfile::new_adobe_rgb(),
        ColorProfile::new_srgb(),
    ] {
        let mut meant = [0; 3];
        profile
            .create_transform_8bit(
                Layout::Rgb,
                &ColorProfile::new_srgb(),
                Layout::Rgb,
                TransformOptions::default(),
            )
            .expect("a transform")
            .transform(&colour, &mut meant)
            .expect("a colour");
        let sent = profiled(colour, profile.encode().expect("a profile"));
        assert!(sent.windows(11).any(|at| at == b"ICC_PROFILE"));
        let image = first(&admin.uploads(&[&sent]).await);
        let served = shop.client.get(text(&image["url"])).await;
        assert!(!served.text.contains("ICC_PROFILE"));
        let shown = decoded(&served.bytes).to_rgb8()[(30, 30)].0;
        let is_near = shown.iter().zip(meant).all(|(a, b)| a.abs_diff(b) <= 3);
        assert!(is_near, "{shown:?} is not {meant:?}");
    }
    // A profile that nobody can read is no reason to refuse an image.
    let odd = profiled(colour, b"no profile at all".to_vec());
    let image = first(&admin.uploads(&[&odd]).await);
    let shown = decoded(&shop.client.get(text(&image["url"])).await.bytes).to_rgb8()[(30, 30)].0;
    assert!(
        shown.iter().zip(colour).all(|(a, b)| a.abs_diff(b) <= 3),
        "{shown:?}"
    );
}

#[tokio::test]
async fn every_kind_is_taken_and_only_what_is_transparent_stays_so() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let grey = image::DynamicImage::from(scene(50, 40)).into_luma16();
    for (what, sent, format) in [
        ("jpeg", jpeg(50, 40), "image/jpeg"),
        ("png", plain_png(50, 40), "image/jpeg"),
        ("webp", webp(50, 40), "image/jpeg"),
        ("gif", animation(50, 40), "image/jpeg"),
        (
            "grey, 16 bits",
            encoded(&grey.into(), ImageFormat::Png),
            "image/jpeg",
        ),
        ("transparent", transparent_png(60), "image/png"),
    ] {
        let image = first(&admin.uploads(&[&sent]).await);
        let original = format!("/media/images/{}/original", text(&image["id"]));
        let served = shop.client.get(&original).await;
        assert_eq!(
            (served.status, served.header("content-type")),
            (200, format),
            "{what}"
        );
        let shown = decoded(&served.bytes);
        assert_eq!(json!(shown.width()), image["width"], "{what}");
        match what {
            "gif" => assert!(shown.to_rgb8()[(9, 9)].0[0] > 150, "the first frame"),
            "transparent" => assert_eq!(shown.to_rgba8()[(0, 0)].0[3], 0),
            _ => {}
        }
    }
    shop.run_jobs().await;
    // A JPEG cannot be transparent, a WebP can.
    let id = shop.keeps(&transparent_png(60)).await;
    let jpeg = shop
        .client
        .get(&format!("/media/images/{id}/320.jpg"))
        .await;
    assert!(
        decoded(&jpeg.bytes).to_rgb8()[(0, 0)]
            .0
            .iter()
            .all(|channel| *channel > 250)
    );
    let webp = shop
        .client
        .get(&format!("/media/images/{id}/320.webp"))
        .await;
    assert_eq!(decoded(&webp.bytes).to_rgba8()[(0, 0)].0[3], 0);
}

#[tokio::test]
async fn a_small_image_is_never_made_larger() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let image = first(&admin.uploads(&[&jpeg(480, 600)]).await);
    shop.run_jobs().await;
    let id = text(&image["id"]);
    assert_eq!(
        image["srcset"],
        format!("/media/images/{id}/320.webp 320w, /media/images/{id}/640.webp 480w")
    );
    for (width, shown) in [(320, 320), (640, 480), (1024, 480), (1600, 480)] {
        let answer = shop
            .client
            .get(&format!("/media/images/{id}/{width}.jpg"))
            .await;
        assert_eq!(answer.header("cache-control"), FOR_EVER);
        assert_eq!(decoded(&answer.bytes).width(), shown, "{width}");
    }
}

#[tokio::test]
async fn the_same_image_is_kept_once() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::CustomOrders]).await;
    let (one, other) = (jpeg(90, 60), jpeg(60, 90));
    let answer = admin.uploads(&[&one, &other, &one]).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let ids: Vec<&Value> = answer
        .json
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| &p["id"])
        .collect();
    assert!(ids[0] == ids[2] && ids[0] != ids[1]);
    // With other metadata it is the same image still, and so it is when several send it at once.
    let again = from_a_telephone(&one, 1);
    let sent: [&[u8]; 1] = [&again];
    let answers = tokio::join!(
        admin.uploads(&sent),
        admin.uploads(&sent),
        admin.uploads(&sent)
    );
    for answer in [answers.0, answers.1, answers.2] {
        assert_eq!(&first(&answer)["id"], ids[0]);
    }
    assert_eq!(kept(&shop).await, (2, 2));
    shop.run_jobs().await;
    let queued: i64 = sqlx::query_scalar("select count(*) from images where rendered_at is null")
        .fetch_one(&shop.db)
        .await
        .expect("the images");
    assert_eq!(queued, 0);
}

#[tokio::test]
async fn emails_get_an_image_as_it_is_at_hand() {
    let shop = Shop::open().await;
    let id = spirit_beads::types::ids::ImageId(shop.keeps(&jpeg(900, 600)).await);
    let read = async |width| {
        let found = spirit_beads::images::read(&shop.app.storage, &shop.db, &id, width).await;
        let (bytes, kind) = found.expect("the store").expect("an image");
        (decoded(&bytes).width(), kind)
    };
    assert_eq!(read(640).await, (900, "image/jpeg"));
    shop.run_jobs().await;
    assert_eq!(read(640).await, (640, "image/jpeg"));
    assert_eq!(read(700).await, (640, "image/jpeg"));
    assert_eq!(read(5000).await, (900, "image/jpeg"));
    let none = spirit_beads::types::ids::ImageId("ab".repeat(32));
    let found = spirit_beads::images::read(&shop.app.storage, &shop.db, &none, 640).await;
    assert!(found.expect("the store").is_none());
}
