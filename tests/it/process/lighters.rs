//! `catalog import-lighters`: a folder of photographs becomes products, or nothing changes.

use std::path::PathBuf;

use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::Beside;
use crate::support::images::{jpeg, plain_png, webp};
use crate::support::{Client, Shop};

/// A shop, the program beside it, and a folder of photographs.
struct Folder {
    beside: Beside,
    dir: PathBuf,
    admin: Client,
    shop: Shop,
}

impl Folder {
    async fn open() -> Folder {
        let shop = Shop::open().await;
        let admin = shop.admin(&Scope::ALL).await;
        let mut beside = Beside::new(&shop);
        let media = shop.media_folder().display().to_string();
        beside.settings.push(("MEDIA_URL", media));
        let dir = beside.home.dir.join("photographs");
        std::fs::create_dir_all(&dir).expect("a folder");
        Folder {
            beside,
            dir,
            admin,
            shop,
        }
    }

    fn has(&self, path: &str, content: &[u8]) {
        let path = self.dir.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    async fn imports(&self, options: &[&str]) -> (i32, String, String) {
        let dir = self.dir.display().to_string();
        let command = [&["catalog", "import-lighters", &dir], options].concat();
        self.beside.run(&command).await
    }

    /// Products as the admin lists them, by name and type.
    async fn products(&self) -> Vec<Value> {
        let listed = self.admin.get("/api/admin/products/").await.json;
        let mut products = listed["results"].as_array().expect("a list").clone();
        products.sort_by_key(|product| {
            (
                product["name"].as_str().expect("a name").to_owned(),
                product["lighter_type"].as_i64(),
            )
        });
        products
    }

    async fn count(&self, table: &str) -> i64 {
        let sql = format!("select count(*) from {table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&self.shop.db)
            .await
            .expect("a count")
    }
}

/// Name, type, price, category, number of images, stock and whether it is a draft.
fn facts(product: &Value) -> Value {
    json!([
        product["name"],
        product["lighter_type"],
        product["price"],
        product["category_name"],
        product["images"].as_array().map(Vec::len),
        product["on_hand"],
        product["is_draft"],
    ])
}

#[tokio::test]
async fn a_folder_of_photographs_becomes_products_once() {
    let folder = Folder::open().await;
    let made = folder
        .admin
        .post("/api/categories/", &json!({"name": "Earth's Hue"}))
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    folder.has("Blue-Jay_Earths-Hue_47.5-1.webp", &webp(90, 60));
    folder.has("Blue-Jay_Earths-Hue_47.50-2.JPG", &jpeg(91, 60));
    folder.has("Feather-Sun_Infinite-Path_19.99-1.png", &plain_png(92, 60));
    folder.has("mini/Feather-Sun_Infinite-Path_8.95-1.png", &jpeg(93, 60));
    folder.has(".DS_Store", b"litter");
    folder.has("mini/Thumbs.db", b"litter");

    let (code, out, said) = folder.imports(&["--dry-run", "--lighter-type", "1"]).await;
    // What lies in the folder mini is no Classic.
    assert_eq!(code, 1, "{out}");
    assert!(said.contains("the other lighter type"), "{said}");
    std::fs::rename(folder.dir.join("mini"), folder.dir.join("small")).expect("renamed");
    let (code, _, said) = folder.imports(&["--dry-run"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("has no lighter type"), "{said}");
    std::fs::create_dir(folder.dir.join("Classic")).expect("a folder");
    for file in [
        "Blue-Jay_Earths-Hue_47.5-1.webp",
        "Blue-Jay_Earths-Hue_47.50-2.JPG",
        "Feather-Sun_Infinite-Path_19.99-1.png",
    ] {
        let to = folder.dir.join("Classic").join(file);
        std::fs::rename(folder.dir.join(file), to).expect("moved");
    }
    std::fs::rename(folder.dir.join("small"), folder.dir.join("MINI")).expect("renamed");

    let (code, out, said) = folder.imports(&["--dry-run"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        out.contains("Blue Jay · Earth's Hue · Classic BIC · $47.50 · 2 images"),
        "{out}"
    );
    assert!(
        out.contains("Infinite Path (new) · Mini BIC · $8.95 · 1 image"),
        "{out}"
    );
    assert!(folder.products().await.is_empty());
    assert_eq!(folder.count("images").await, 0);
    assert_eq!(folder.count("categories").await, 1);

    for told in [
        "3 created, 0 updated, 0 known",
        "0 created, 0 updated, 3 known",
    ] {
        let (code, out, said) = folder.imports(&[]).await;
        assert_eq!(code, 0, "{said}");
        assert!(out.contains(told), "{out}");
    }
    let products: Vec<Value> = folder.products().await.iter().map(facts).collect();
    assert_eq!(
        json!(products),
        json!([
            ["Blue Jay", 1, 4750, "Earth's Hue", 2, 1, false],
            ["Feather Sun", 1, 1999, "Infinite Path", 1, 1, false],
            ["Feather Sun", 2, 895, "Infinite Path", 1, 1, false],
        ])
    );
    let reasons: Vec<(String, i32)> =
        sqlx::query_as("select reason, delta from stock_movements order by id")
            .fetch_all(&folder.shop.db)
            .await
            .expect("the ledger");
    assert_eq!(reasons, vec![("made".to_owned(), 1); 3]);
    folder.shop.run_jobs().await;
    for product in folder.products().await {
        assert_eq!(product["stripe"]["status"], "synced", "{product:#}");
    }
}

#[tokio::test]
async fn every_fault_is_told_by_file_and_nothing_is_changed() {
    let folder = Folder::open().await;
    folder.has("Good_Suns_55-1.png", &jpeg(90, 60));
    folder.has("Broken_Suns_55-1.png", b"<html>");
    folder.has("Two_Suns_55-2.png", &jpeg(91, 60));
    folder.has("Free_Suns_0-1.png", &jpeg(92, 60));
    folder.has("notes.txt", b"beads");
    let (code, _, said) = folder.imports(&["--lighter-type", "2"]).await;
    assert_eq!(code, 1);
    for told in [
        "Broken_Suns_55-1.png: This is not an image",
        "Two_Suns_55-2.png: has no side 1 beside it",
        "Free_Suns_0-1.png: has a price that is not $0.50 to $999,999.99",
        "notes.txt: is no png",
        "Nothing was changed: 4 faults",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert!(folder.products().await.is_empty());
    assert_eq!(folder.count("images").await, 0);
    assert_eq!(folder.count("categories").await, 0);

    folder.has("Twin_Suns_55-1.png", &jpeg(90, 60));
    let options = ["--lighter-type", "2", "--category", "Suns=77"];
    let (_, _, said) = folder.imports(&options).await;
    assert!(
        said.contains("Twin_Suns_55-1.png: images: Are those of “Good”"),
        "{said}"
    );
    assert!(
        said.contains("Good_Suns_55-1.png: category: There is no category 77"),
        "{said}"
    );
    let nowhere = folder.dir.join("nowhere").display().to_string();
    let (code, _, said) = folder
        .beside
        .run(&["catalog", "import-lighters", &nowhere])
        .await;
    assert_eq!(code, 1);
    assert!(
        said.contains("reading the folder") && said.contains("nowhere"),
        "{said}"
    );
}

#[tokio::test]
async fn a_category_may_be_assigned_and_the_products_be_drafts() {
    let folder = Folder::open().await;
    let made = folder
        .admin
        .post("/api/categories/", &json!({"name": "Endless Trail"}))
        .await;
    let id = made.json["id"].as_i64().expect("an id");
    folder.has("Feather-Sun_Infinite-Path_55-1.png", &jpeg(90, 60));
    let assigned = format!("infinite path={id}");
    let options = ["--lighter-type", "2", "--draft", "--category", &assigned];
    let (code, out, said) = folder.imports(&options).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        out.contains("draft  Feather Sun · Endless Trail · Mini BIC"),
        "{out}"
    );
    let products: Vec<Value> = folder.products().await.iter().map(facts).collect();
    assert_eq!(
        json!(products),
        json!([["Feather Sun", 2, 5500, "Endless Trail", 1, 1, true]])
    );
}

#[tokio::test]
async fn a_known_product_takes_images_and_price_only_when_told() {
    let folder = Folder::open().await;
    folder.has("Blue-Jay_Suns_55-1.png", &jpeg(90, 60));
    let (code, _, said) = folder.imports(&["--lighter-type", "1"]).await;
    assert_eq!(code, 0, "{said}");
    let before = folder.products().await;

    // Another photograph: left as it is, and the exit code says so.
    folder.has("Blue-Jay_Suns_55-1.png", &jpeg(91, 60));
    let (code, out, _) = folder.imports(&["--lighter-type", "1"]).await;
    assert_eq!(code, 1);
    assert!(out.contains("--update replaces them"), "{out}");
    assert_eq!(folder.products().await, before);

    std::fs::remove_file(folder.dir.join("Blue-Jay_Suns_55-1.png")).expect("removed");
    folder.has("Blue-Jay_Suns_60-1.png", &jpeg(91, 60));
    let options = ["--lighter-type", "1", "--update"];
    let (code, out, said) = folder.imports(&options).await;
    assert_eq!(code, 0, "{said}");
    assert!(out.contains("images replaced, price was $55.00"), "{out}");
    let after = folder.products().await;
    assert_eq!(after.len(), 1);
    assert_eq!(after[0]["id"], before[0]["id"]);
    assert_eq!(after[0]["price"], 6000);
    assert_ne!(after[0]["images"], before[0]["images"]);
    assert_eq!(after[0]["on_hand"], 1, "no second piece");

    // Renamed since, it is known by its image.
    let path = format!("/api/products/{}/", after[0]["id"].as_str().expect("an id"));
    let renamed = folder
        .admin
        .send_json(reqwest::Method::PATCH, &path, &json!({"name": "Azure Jay"}))
        .await;
    assert_eq!(renamed.status, 200, "{}", renamed.text);
    let (code, out, said) = folder.imports(&options).await;
    assert_eq!(code, 0, "{said}");
    assert!(out.contains("0 created, 0 updated, 1 known"), "{out}");
}

#[tokio::test]
async fn two_imports_at_once_make_each_product_once() {
    let folder = Folder::open().await;
    for n in 0..6_u32 {
        let name = format!("Piece-{n}_Suns_5{n}-1.png");
        folder.has(&name, &jpeg(90 + n, 60));
    }
    let options = ["--lighter-type", "1"];
    let (one, two) = tokio::join!(folder.imports(&options), folder.imports(&options));
    assert_eq!((one.0, two.0), (0, 0), "{} {}", one.2, two.2);
    assert_eq!(folder.products().await.len(), 6);
    assert_eq!(folder.count("categories").await, 1);
    assert_eq!(folder.count("stock_movements").await, 6);
}
