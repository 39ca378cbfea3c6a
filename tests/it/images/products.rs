//! Images of products: written by id, read with their renditions, carried in and out with the catalog.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::audit::Actor;
use spirit_beads::auth::Scope;
use spirit_beads::products::{self, FileImages, ImportSummary};
use spirit_beads::types::money::Currency;

use crate::support::images::{jpeg, transparent_png};
use crate::support::{Answer, Client, Shop};

/// A shop with a user and three images.
async fn shop_with_images() -> (Shop, Client, [String; 3]) {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog, Scope::Stock]).await;
    let ids = [
        shop.keeps(&jpeg(1200, 900)).await,
        shop.keeps(&jpeg(300, 200)).await,
        shop.keeps(&transparent_png(80)).await,
    ];
    (shop, admin, ids)
}

async fn patch(admin: &Client, body: Value) -> Answer {
    admin
        .send_json(Method::PATCH, "/api/products/sunrise/", &body)
        .await
}

fn card(id: &str) -> Value {
    json!(format!("/media/images/{id}/1024.jpg"))
}

/// Images in the list: primary, secondary, and the ids of all images.
async fn shown(shop: &Shop) -> (Value, Value, Vec<String>) {
    let entry = shop.client.get("/api/products/").await.json["results"][0].clone();
    let images = entry["images"].as_array().expect("a list").iter();
    let ids = images
        .map(|image| {
            let url = image["url"].as_str().expect("an address");
            url.split('/').nth(3).expect("an id").to_owned()
        })
        .collect();
    (
        entry["primary_image"].clone(),
        entry["secondary_image"].clone(),
        ids,
    )
}

#[tokio::test]
async fn a_product_shows_its_images_wherever_it_is_shown() {
    let (shop, admin, [a, b, c]) = shop_with_images().await;
    shop.stocks_with("Sunrise", 1, json!({"images": [a, b, c]}))
        .await;
    let list = shop.client.get("/api/products/").await.json["results"][0].clone();
    assert_eq!(
        (&list["primary_image"], &list["secondary_image"]),
        (&card(&a), &card(&b))
    );
    let images = list["images"].as_array().expect("a list");
    assert_eq!(images.len(), 3);
    assert_eq!(images[0]["url"], card(&a));
    assert_eq!(
        (&images[0]["width"], &images[0]["height"]),
        (&json!(1200), &json!(900))
    );
    let widths = ["320", "640", "1024"];
    let expected: Vec<String> = widths
        .iter()
        .map(|width| format!("/media/images/{a}/{width}.webp {width}w"))
        .chain([format!("/media/images/{a}/1600.webp 1200w")])
        .collect();
    assert_eq!(images[0]["srcset"], expected.join(", "));
    assert_eq!(
        images[1]["srcset"],
        format!("/media/images/{b}/320.webp 300w")
    );
    assert!(images.iter().all(|image| {
        image["thumbhash"]
            .as_str()
            .is_some_and(|hash| hash.len() > 20)
    }));
    let batch = shop
        .client
        .get("/api/products/batch/?ids=sunrise")
        .await
        .json;
    assert_eq!(batch["products"][0], list);

    // In the detail addresses are absolute.
    let detail = shop.client.get("/api/products/sunrise/").await.json;
    let absolute = |path: &Value| {
        json!(format!(
            "{}{}",
            shop.address,
            path.as_str().expect("a path")
        ))
    };
    assert_eq!(detail["primary_image"], absolute(&card(&a)));
    assert_eq!(detail["images"][1]["url"], absolute(&card(&b)));
    let srcset = detail["images"][0]["srcset"].as_str().expect("sources");
    assert!(
        srcset
            .split(", ")
            .all(|source| source.starts_with(&shop.address)),
        "{srcset}"
    );
    let admin = admin.get("/api/admin/products/sunrise/").await.json;
    assert_eq!(admin["images"], detail["images"]);
    let url = detail["images"][2]["url"].as_str().expect("an address");
    let path = url.trim_start_matches(&shop.address);
    assert_eq!(shop.client.get(path).await.status, 200);
    // Stripe gets the image that cards show.
    shop.run_jobs().await;
    let at_stripe = &shop.at_stripe("product").await[0];
    assert_eq!(at_stripe["images"], json!([absolute(&card(&a))]));
}

#[tokio::test]
async fn the_list_decides_and_the_two_addresses_follow() {
    let (shop, admin, [a, b, c]) = shop_with_images().await;
    let elsewhere = "https://cdn.test/x.png";
    shop.stocks_with("Sunrise", 1, json!({"primary_image": "/media/old/a.jpg"}))
        .await;
    for (change, primary, secondary, images) in [
        (
            json!({"images": []}),
            json!("/media/old/a.jpg"),
            Value::Null,
            vec![],
        ),
        (json!({"images": [b, a]}), card(&b), card(&a), vec![&b, &a]),
        (json!({"name": "Dawn"}), card(&b), card(&a), vec![&b, &a]),
        (json!({"images": [c]}), card(&c), Value::Null, vec![&c]),
        (
            json!({"secondary_image": elsewhere}),
            card(&c),
            json!(elsewhere),
            vec![&c],
        ),
        // The addresses of uploaded images, however they are written.
        (
            json!({"primary_image": format!("/media/images/{a}/320.webp")}),
            card(&a),
            json!(elsewhere),
            vec![&a],
        ),
        (
            json!({"secondary_image": format!("{}/media/images/{b}/original", shop.address)}),
            card(&a),
            card(&b),
            vec![&a, &b],
        ),
        (
            json!({"images": [a, b, c]}),
            card(&a),
            card(&b),
            vec![&a, &b, &c],
        ),
        (
            json!({"primary_image": card(&c)}),
            card(&c),
            card(&b),
            vec![&c, &b],
        ),
        (
            json!({"images": [a, b, c]}),
            card(&a),
            card(&b),
            vec![&a, &b, &c],
        ),
        (
            json!({"primary_image": null}),
            Value::Null,
            card(&b),
            vec![&b, &c],
        ),
        (
            json!({"primary_image": card(&a)}),
            card(&a),
            card(&b),
            vec![&a, &b, &c],
        ),
        (json!({"images": []}), Value::Null, Value::Null, vec![]),
    ] {
        let answer = patch(&admin, change.clone()).await;
        assert_eq!(answer.status, 200, "{change}: {}", answer.text);
        let images: Vec<String> = images.into_iter().cloned().collect();
        assert_eq!(shown(&shop).await, (primary, secondary, images), "{change}");
    }
    // PUT replaces all.
    let whole = json!({"name": "Sunrise", "lighter_type": 1, "price": 4700});
    let put = async |extra: Value| {
        let mut body = whole.clone();
        for (key, value) in extra.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let answer = admin
            .send_json(Method::PUT, "/api/products/sunrise/", &body)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    put(json!({"images": [a, b, c]})).await;
    put(json!({"primary_image": card(&b)})).await;
    assert_eq!(shown(&shop).await, (card(&b), Value::Null, vec![b.clone()]));
    put(json!({})).await;
    assert_eq!(shown(&shop).await, (Value::Null, Value::Null, vec![]));
}

#[tokio::test]
async fn images_may_be_sent_back_as_they_were_read() {
    let (shop, admin, [a, b, c]) = shop_with_images().await;
    shop.stocks_with("Sunrise", 1, json!({"images": [a, b, c]}))
        .await;
    let before = admin.get("/api/admin/products/sunrise/").await.json;
    let answer = admin
        .send_json(Method::PUT, "/api/products/sunrise/", &before)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json, before);
    let images = [&before["images"][1], &json!({"id": a}), &json!(card(&c))];
    let answer = patch(&admin, json!({"images": images})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(shown(&shop).await.2, [b, a, c]);
}

#[tokio::test]
async fn an_image_that_is_not_there_is_an_error_of_its_place() {
    let (shop, admin, [a, ..]) = shop_with_images().await;
    shop.stocks("Sunrise", 1).await;
    let unknown = "ab".repeat(32);
    let many: Vec<String> = (0..11).map(|n| format!("{n:064}")).collect();
    for (change, errors) in [
        (json!({"images": [a, unknown]}), vec!["images[1]"]),
        (
            json!({"images": [unknown, a, "x", 7, {}]}),
            vec!["images[0]", "images[2]", "images[3]", "images[4]"],
        ),
        (json!({"images": [a, a]}), vec!["images[1]"]),
        (json!({"images": many}), vec!["images"]),
        (json!({"images": "x"}), vec!["images"]),
        (json!({"images": null}), vec!["images"]),
        (
            json!({"primary_image": card(&unknown)}),
            vec!["primary_image"],
        ),
        (
            json!({"secondary_image": "/media/images/x.jpg"}),
            vec!["secondary_image"],
        ),
    ] {
        let answer = patch(&admin, change.clone()).await;
        assert_eq!(answer.field_errors(), errors, "{change}");
    }
    let new = json!({"name": "Moon", "lighter_type": 1, "price": 4700, "images": [unknown]});
    assert_eq!(
        admin.post("/api/products/", &new).await.field_errors(),
        ["images[0]"]
    );
    assert_eq!(shown(&shop).await, (Value::Null, Value::Null, vec![]));
}

#[tokio::test]
async fn the_catalog_takes_its_images_along() {
    let (shop, _, [a, b, c]) = shop_with_images().await;
    shop.stocks_with("Sunrise", 1, json!({"images": [a, b, c]}))
        .await;
    shop.stocks_with(
        "Sunset",
        1,
        json!({"images": [c], "secondary_image": "https://cdn.test/x.png"}),
    )
    .await;
    shop.run_jobs().await;
    let export = async |shop: &Shop| {
        let mut conn = shop.db.acquire().await.expect("a connection");
        products::export(&mut conn).await.expect("an export")
    };
    let file = export(&shop).await;
    assert_eq!(file["products"][0]["images"], json!([a, b, c]));
    let names = products::named_images(&file.to_string());
    let unchanged = ImportSummary {
        unchanged: 2,
        ..ImportSummary::default()
    };
    assert_eq!(shop.imports(&file).await.expect("an import"), unchanged);

    // Another shop: the images are as good as new, and no worse.
    let other = Shop::open().await;
    let Err(refused) = other.imports(&file).await else {
        panic!("images that are not there")
    };
    assert!(format!("{refused}").contains("images[2]"), "{refused}");
    let mut images = FileImages::default();
    for folder in std::fs::read_dir(shop.media_folder().join("images")).expect("the store") {
        let folder = folder.expect("a folder").path();
        let id = folder
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name")[..64]
            .to_owned();
        assert!(names.contains(&id));
        let content = ["jpg", "png"]
            .iter()
            .find_map(|kind| std::fs::read(folder.join(format!("original.{kind}"))).ok());
        let content = content.expect("the image itself");
        images
            .take(&other.app.storage, &other.db, &id, &content)
            .await
            .expect("a store");
    }
    assert_eq!(images.count(), 3);
    let mut tx = other.db.begin().await.expect("a transaction");
    let summary = products::import(
        &mut tx,
        &Actor::system("test"),
        &file.to_string(),
        Some(&images),
        Currency::USD,
    )
    .await;
    assert_eq!(summary.expect("an import").products_created, 2);
    tx.commit().await.expect("a commit");
    assert_eq!(export(&other).await, file);
    other.run_jobs().await;
    assert_eq!(
        other
            .client
            .get(card(&a).as_str().expect("a path"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_file_named_like_an_image_is_taken_in_like_any_other() {
    let shop = Shop::open().await;
    let taken = crate::support::images::from_a_telephone(&jpeg(80, 60), 6);
    let id = {
        use sha2::{Digest, Sha256};
        let hash = Sha256::digest(&taken);
        hash.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let mut images = FileImages::default();
    images
        .take(&shop.app.storage, &shop.db, &id, &taken)
        .await
        .expect("a store");
    let file = json!({"products": [{"id": "a", "name": "A", "lighter_type": 1, "price": 4700, "images": [id]}]});
    let mut tx = shop.db.begin().await.expect("a transaction");
    products::import(
        &mut tx,
        &Actor::system("test"),
        &file.to_string(),
        Some(&images),
        Currency::USD,
    )
    .await
    .expect("an import");
    tx.commit().await.expect("a commit");
    let (primary, ..) = shown(&shop).await;
    let served = shop.client.get(primary.as_str().expect("a path")).await;
    assert!(served.status == 200 && !served.text.contains("GPS") && !served.text.contains("Exif"));
}
