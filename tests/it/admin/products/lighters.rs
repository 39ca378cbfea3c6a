//! Products from photographs: chosen, looked over in a table, then made.

use std::io::{Cursor, Write};

use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::admin::{Browser, STAFF, signed_in, staffed};
use crate::support::forms::Form;
use crate::support::images::{Part, jpeg, plain_png};
use crate::support::{Answer, Shop};

const PAGE: &str = "/admin/import-lighters";

const MAKE: &str = "/admin/import-lighters/make";

/// Sends files under their names, with the type of those that lie in no folder.
async fn sends(staff: &Browser, lighter_type: &str, files: &[(&str, &[u8])]) -> Answer {
    let mut parts = vec![Part::text("type", lighter_type)];
    parts.extend(files.iter().map(|(name, content)| Part {
        name: "photos",
        file_name: Some(name),
        content,
    }));
    staff.submit_parts(PAGE, PAGE, &parts).await
}

/// A zip file with these entries.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        let options = SimpleFileOptions::default();
        zip.start_file(*name, options).expect("an entry");
        zip.write_all(content).expect("its content");
    }
    zip.finish().expect("a zip file").into_inner()
}

/// Name, type, price, category, number of images, stock and whether it is a draft, of each product by name.
async fn products(shop: &Shop) -> Value {
    let admin = shop.admin(&[Scope::Catalog]).await;
    let listed = admin.get("/api/admin/products/").await.json;
    let mut facts: Vec<Value> = listed["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|product| {
            json!([
                product["name"],
                product["lighter_type"],
                product["price"],
                product["category_name"],
                product["images"].as_array().map(Vec::len),
                product["on_hand"],
                product["is_draft"],
            ])
        })
        .collect();
    facts.sort_by_key(Value::to_string);
    json!(facts)
}

#[tokio::test]
async fn photographs_are_looked_over_and_completed_before_anything_is_made() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let files: [(&str, &[u8]); 4] = [
        ("Blue-Jay_Earths-Hue_47.5-1.png", &plain_png(90, 60)),
        ("Blue-Jay_Earths-Hue_47.50-2.jpg", &jpeg(91, 60)),
        ("IMG_0042.JPG", &jpeg(92, 60)),
        ("notes.txt", b"beads"),
    ];
    let looked = sends(&staff, "2", &files).await;
    assert_eq!(looked.status, 200, "{}", looked.text);
    for part in [
        "notes.txt: This is not an image",
        "value=\"Blue Jay\"",
        "value=\"Earths Hue\"",
        "value=\"47.50\"",
        "value=\"IMG 0042\"",
        "IMG_0042.JPG is not named as",
        "To be completed",
    ] {
        assert!(looked.text.contains(part), "{part}: {}", looked.text);
    }
    assert_eq!(products(&shop).await, json!([]));

    // As it is, it cannot be made: nothing is, and nothing that was typed is lost.
    let form = Form::to(&looked.text, MAKE).with(&[("name.0", "Azure Jay")]);
    let refused = form.send(&staff.client).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(
        refused.text.contains("Must be an amount, like 47.50"),
        "{}",
        refused.text
    );
    assert!(
        refused.text.contains("value=\"Azure Jay\""),
        "{}",
        refused.text
    );
    assert_eq!(products(&shop).await, json!([]));

    let typed = [
        ("name.1", "Owl"),
        ("category.1", "Birds"),
        ("price.1", "40"),
        ("lighter_type.1", "1"),
    ];
    let form = Form::to(&refused.text, MAKE).with(&typed);
    let made = form.send(&staff.client).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let page = staff.get(made.header("location")).await.text;
    assert!(page.contains("2 products are made as drafts."), "{page}");
    let expected = json!([
        ["Azure Jay", 2, 4750, "Earths Hue", 2, 1, true],
        ["Owl", 1, 4000, "Birds", 1, 1, true],
    ]);
    assert_eq!(products(&shop).await, expected);

    // The same photographs again: known by their images, whatever they are named by now.
    let again = sends(&staff, "2", &files[..2]).await;
    assert!(
        again.text.contains("In the catalog already"),
        "{}",
        again.text
    );
    let kept = Form::to(&again.text, MAKE).send(&staff.client).await;
    assert_eq!(kept.status, 303, "{}", kept.text);
    assert_eq!(products(&shop).await, expected);
}

#[tokio::test]
async fn a_zip_file_has_photographs_in_folders() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let archive = zip(&[
        (
            "photos/mini/Feather-Sun_Infinite-Path_8.95-1.png",
            &jpeg(90, 60),
        ),
        (
            "photos/Classic/Feather-Sun_Infinite-Path_19.99-1.png",
            &jpeg(91, 60),
        ),
        ("photos/Classic/Broken_Infinite-Path_19.99-1.png", b"<html>"),
        ("__MACOSX/photos/._Feather.png", b"litter"),
        ("photos/.DS_Store", b"litter"),
    ]);
    let looked = sends(&staff, "1", &[("photos.zip", &archive)]).await;
    assert_eq!(looked.status, 200, "{}", looked.text);
    assert!(
        looked.text.contains("Broken_Infinite-Path_19.99-1.png: "),
        "{}",
        looked.text
    );
    assert!(!looked.text.contains("litter") && !looked.text.contains("DS_Store"));
    let mut form = Form::to(&looked.text, MAKE);
    form.buttons = vec![Some(("sale".to_owned(), "now".to_owned()))];
    let made = form.send(&staff.client).await;
    assert_eq!(made.status, 303, "{}", made.text);
    assert_eq!(
        products(&shop).await,
        json!([
            ["Feather Sun", 1, 1999, "Infinite Path", 1, 1, false],
            ["Feather Sun", 2, 895, "Infinite Path", 1, 1, false],
        ])
    );

    for bad in [&b"no zip"[..], &archive[..archive.len() - 40]] {
        let refused = sends(&staff, "1", &[("photos.ZIP", bad)]).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert!(
            refused.text.contains("The zip file could not be read."),
            "{}",
            refused.text
        );
    }
    let none = sends(&staff, "1", &[]).await;
    assert_eq!(none.status, 400, "{}", none.text);
    assert!(none.text.contains("Choose photographs"), "{}", none.text);
}

#[tokio::test]
async fn a_row_may_be_left_out_and_known_products_be_replaced() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let first = sends(&staff, "1", &[("Owl_Birds_40-1.png", &jpeg(90, 60))]).await;
    let made = Form::to(&first.text, MAKE).send(&staff.client).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let files: [(&str, &[u8]); 2] = [
        ("Owl_Birds_45-1.png", &jpeg(91, 60)),
        ("Raven_Birds_50-1.png", &jpeg(92, 60)),
    ];
    let looked = sends(&staff, "1", &files).await;
    assert!(
        looked.text.contains("with other images, which stay"),
        "{}",
        looked.text
    );
    let form = Form::to(&looked.text, MAKE).with(&[("leave.1", "yes"), ("update", "yes")]);
    let mut look = form.clone();
    look.buttons = vec![Some(("do".to_owned(), "look".to_owned()))];
    let looked = look.send(&staff.client).await;
    assert_eq!(looked.status, 200, "{}", looked.text);
    for part in ["takes images and price", "Left out"] {
        assert!(looked.text.contains(part), "{part}: {}", looked.text);
    }
    let made = Form::to(&looked.text, MAKE).send(&staff.client).await;
    assert_eq!(made.status, 303, "{}", made.text);
    assert_eq!(
        products(&shop).await,
        json!([["Owl", 1, 4500, "Birds", 1, 1, true]])
    );
}

#[tokio::test]
async fn the_api_makes_the_same_products() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog, Scope::Stock]).await;
    let uploaded = admin
        .uploads(&[&jpeg(90, 60), &jpeg(91, 60), &jpeg(92, 60)])
        .await;
    let images: Vec<Value> = (0..3).map(|at| uploaded.json[at]["id"].clone()).collect();
    let path = "/api/admin/lighters/";
    let mut body = json!({
        "files": [
            {"name": "classic/Blue-Jay_Suns_47.5-1.png", "image": images[0]},
            {"name": "classic/Blue-Jay_Suns_47.50-2.png", "image": images[1]},
        ],
        "products": [
            {"name": "Owl", "category": "Suns", "lighter_type": 2, "price": 4000, "images": [images[2]]},
        ],
        "dry_run": true,
    });
    let tried = admin.post(path, &body).await;
    assert_eq!(tried.status, 200, "{}", tried.text);
    assert_eq!(
        (&tried.json["created"], &tried.json["dry_run"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(products(&shop).await, json!([]));
    body["dry_run"] = json!(false);
    for outcome in ["create", "keep"] {
        let made = admin.post(path, &body).await;
        assert_eq!(made.status, 200, "{}", made.text);
        assert_eq!(
            made.each("products", "outcome"),
            [json!(outcome), json!(outcome)]
        );
    }
    assert_eq!(
        products(&shop).await,
        json!([
            ["Blue Jay", 1, 4750, "Suns", 2, 1, false],
            ["Owl", 2, 4000, "Suns", 1, 1, false],
        ])
    );
    let faulty = json!({
        "files": [{"name": "Blue Jay.png", "image": images[0]}, {"name": "A_B_55-1.png", "image": "x"}],
        "lighter_type": 1,
    });
    let refused = admin.post(path, &faulty).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert_eq!(refused.field_errors(), ["files[0].name", "files[1].image"]);
    let unknown = json!({"products": [
        {"name": "Owl", "category": "", "lighter_type": 3, "price": 1, "images": ["ab".repeat(32)]},
    ]});
    let refused = admin.post(path, &unknown).await;
    assert_eq!(
        refused.field_errors(),
        [
            "products[0].category",
            "products[0].images",
            "products[0].lighter_type",
            "products[0].price",
        ]
    );
    let other = shop.admin(&[Scope::Catalog]).await;
    assert_eq!(other.post(path, &body).await.status, 403);
}
