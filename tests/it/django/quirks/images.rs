//! Images and their names.

use super::{product, request};
use crate::django::Takeover;

#[tokio::test]
async fn images_come_in_whatever_their_names() {
    let mut takeover = Takeover::begin().await;
    let media = takeover.beside.home.dir.join("media");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([&takeover.media, &media])
        .status();
    assert!(copied.expect("cp").success());
    takeover.media = media.clone();
    let photo = std::fs::read(media.join("orders/shipped/ready.jpg")).expect("an image");
    for name in ["a b.jpg", "50%.jpg", "#1.jpg", "ü.jpg", "x.png"] {
        std::fs::write(media.join("products").join(name), &photo).expect("a file");
    }
    let mut whole = photo.clone();
    whole.truncate(photo.len() / 2);
    std::fs::write(media.join("products/half.jpg"), &whole).expect("a file");
    std::fs::write(media.join("products/x.tiff"), b"II*\0 and more").expect("a file");
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic and more";
    std::fs::write(media.join("products/x.heic"), heic).expect("a file");
    // Two by two pixels of 24 bits.
    let mut bmp =
        b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x02\0\0\0\x02\0\0\0\x01\0\x18\0".to_vec();
    bmp.resize(70, 0);
    std::fs::write(media.join("products/x.bmp"), bmp).expect("a file");
    std::fs::write(
        media.join("products/x.svg"),
        "<svg xmlns='http://www.w3.org/2000/svg'/>",
    )
    .expect("a file");
    let data = {
        use base64::Engine;
        base64::prelude::BASE64_STANDARD.encode(&photo)
    };
    let list = format!(
        "'[\"data:image/jpeg;base64,{data}\", 7, {{\"url\": \"/media/products/x.png\"}}, null, [\"/media/products/%23%31.jpg\"]]'"
    );
    let image = |file: &str| format!("'products/{file}'");
    let (blank, percent, hash, umlaut) = (
        image("a b.jpg"),
        image("50%.jpg"),
        image("#1.jpg"),
        image("ü.jpg"),
    );
    let (half, tiff, svg, png) = (
        image("half.jpg"),
        image("x.tiff"),
        image("x.svg"),
        image("x.png"),
    );
    let changes = [
        product("blank", &[("primary_image", &blank)]),
        product(
            "percent",
            &[("primary_image", &percent), ("secondary_image", &hash)],
        ),
        product(
            "second-only",
            &[("primary_image", "''"), ("secondary_image", &umlaut)],
        ),
        product(
            "half",
            &[("primary_image", &half), ("secondary_image", &png)],
        ),
        product("tiff", &[("primary_image", &tiff)]),
        product("svg", &[("primary_image", &svg)]),
        product(
            "phone",
            &[
                ("primary_image", &image("x.heic")),
                ("secondary_image", &image("x.bmp")),
            ],
        ),
        request(1, &[("images", &list)]),
        request(2, &[("images", "'{\"a\": 1}'")]),
    ];
    takeover.change(&changes.concat()).await;
    let report = takeover.import(&[]).await;
    let count = async |product: &str| {
        takeover
            .one::<i64>(&format!(
                "select count(*) from product_images where product_id = '{product}'"
            ))
            .await
    };
    for (id, images) in [
        ("blank", 1),
        ("percent", 1),
        ("second-only", 1),
        ("half", 1),
        ("tiff", 0),
        ("svg", 0),
        ("phone", 0),
    ] {
        assert_eq!(count(id).await, images, "{id}");
    }
    assert!(takeover.product("second-only").await["primary_image"].is_string());
    assert_eq!(
        takeover.custom_order(1).await["images"],
        1,
        "three names of one image, and two that are none"
    );
    let reported = report["findings"]["images"].to_string();
    for name in [
        "half.jpg",
        "x.tiff",
        "x.svg",
        "x.heic",
        "x.bmp",
        "\"7\"",
        "custom order 00000000-0000-0000-0000-000000000002",
    ] {
        assert!(reported.contains(name), "{name}: {reported}");
    }
    // A file that arrives later comes in then.
    std::fs::write(
        media.join("products/half.jpg"),
        std::fs::read(media.join("custom_orders/wish.jpg")).expect("an image"),
    )
    .expect("a file");
    takeover.import(&[]).await;
    assert_eq!(count("half").await, 2);
}

#[tokio::test]
async fn nothing_of_a_photograph_but_its_pixels_is_kept() {
    let takeover = Takeover::begin().await;
    takeover.import(&[]).await;
    let image: String = takeover
        .one("select image_id from product_images where product_id = 'odd-turned'")
        .await;
    let answer = takeover
        .shop
        .client
        .get(&format!("/media/images/{image}/1024.jpg"))
        .await;
    assert_eq!(answer.status, 200);
    let key: String = takeover
        .one(&format!(
            "select storage_key from images where id = '{image}'"
        ))
        .await;
    let spirit_beads::config::MediaStore::Folder(folder) = &takeover.shop.app.config.storage.store
    else {
        unreachable!("tests use folders")
    };
    let stored =
        std::fs::read(folder.join("images").join(key).join("original.jpg")).expect("the original");
    for tag in [b"Exif".as_slice(), b"GPS"] {
        assert!(!stored.windows(tag.len()).any(|window| window == tag));
    }
}
