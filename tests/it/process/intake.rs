//! `catalog intake`: photographs of a table become staged images, without a database, or a batch of the shop.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Beside, Home};
use crate::catalog::intakes::{program, without_renditions};
use crate::support::Shop;
use crate::support::images::jpeg;

fn photograph(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates/table-photos/tests/data")
        .join(name)
}

/// Copies photographs into a folder of the home.
fn lay_out(home: &Home, folder: &str, names: &[&str]) {
    let folder = home.dir.join(folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    for name in names {
        std::fs::copy(photograph(name), folder.join(name)).expect("a copy");
    }
}

fn report(home: &Home, out: &str) -> Value {
    let text = std::fs::read(home.dir.join(out).join("intake.json")).expect("the report");
    serde_json::from_slice(&text).expect("JSON")
}

#[tokio::test]
async fn photographs_of_fronts_and_backs_become_pairs_of_staged_images() {
    let home = Home::new();
    lay_out(&home, "table", &["s210-kin-front.jpg", "s210-kin-back.jpg"]);
    let (code, out, said) = home
        .run(&["catalog", "intake", "table", "--out", "out"], &[])
        .await;
    assert_eq!(code, 0, "{said}");
    assert!(out.starts_with("8 fronts and 8 backs: 8 pairs, "), "{out}");
    assert!(!home.dir.join("data").exists(), "no database is needed");

    let report = report(&home, "out");
    assert_eq!(report["format"], "spirit-beads-photo-intake/1");
    assert_eq!(report["pairs"].as_array().expect("pairs").len(), 8);
    for photo in report["photos"].as_array().expect("photographs") {
        // Stored on its side; its coordinates are those of the upright image.
        assert_eq!(
            (&photo["width"], &photo["height"]),
            (&900.into(), &1200.into())
        );
        assert_eq!(photo["pieces"].as_array().expect("pieces").len(), 8);
        assert_eq!(photo["pieces"][0]["size"], "classic");
        assert!(photo["problem"].is_null());
    }
    for number in 1..=8 {
        for side in 1..=2 {
            let path = home.dir.join(format!("out/{number}-{side}.png"));
            let image = image::open(&path).expect("a staged image").into_rgb8();
            assert_eq!(image.dimensions(), (1200, 1500));
            assert_eq!(image.get_pixel(5, 5).0, [0xf4, 0xf1, 0xed]);
            assert_ne!(image.get_pixel(600, 800).0, [0xf4, 0xf1, 0xed]);
        }
    }
}

#[tokio::test]
async fn a_faulty_file_gets_a_sentence_and_the_others_go_on() {
    let home = Home::new();
    lay_out(&home, "table", &["s202-mixed-front.jpg"]);
    let write = |name: &str, content: &[u8]| {
        std::fs::write(home.dir.join("table").join(name), content).expect("a file");
    };
    write("blank.jpg", &jpeg(640, 480));
    write("archive.jpg", b"PK\x03\x04 a ZIP file");
    write("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1");
    write("notes.txt", b"not looked at");
    let again = std::fs::read(photograph("s202-mixed-front.jpg")).expect("a photograph");
    write("t-again.jpg", &again);
    let (code, out, said) = home
        .run(
            &[
                "catalog",
                "intake",
                "table",
                "missing.jpg",
                "--out",
                "out",
                "--size",
                "mini",
            ],
            &[],
        )
        .await;
    assert_eq!(code, 1, "{said}");
    assert!(out.starts_with("10 fronts and 0 backs: 0 pairs"), "{out}");
    let sentences: Vec<&str> = said.lines().filter(|line| line.contains(": ")).collect();
    for (file, sentence) in [
        ("archive.jpg", "This is not an image."),
        ("phone.heic", "HEIC images cannot be read here."),
        ("t-again.jpg", "This photograph is in the batch already."),
        ("missing.jpg", "No such file"),
    ] {
        let is_said = |line: &&&str| line.contains(file) && line.contains(sentence);
        assert_eq!(
            sentences.iter().filter(is_said).count(),
            1,
            "{file}: {said}"
        );
    }
    assert!(said.contains("blank.jpg: "), "{said}");
    assert!(!said.contains("notes.txt"), "{said}");

    let report = report(&home, "out");
    let photos = report["photos"].as_array().expect("photographs");
    let of = |name: &str| photos.iter().find(|photo| photo["photo"] == name);
    assert!(of("blank.jpg").expect("it")["problem"].is_string());
    let mixed = of("s202-mixed-front.jpg").expect("it");
    for piece in mixed["pieces"].as_array().expect("pieces") {
        assert_eq!(piece["size"], "mini", "as it was asked for");
    }
    assert!(home.dir.join("out/10-1.png").exists());
    assert!(!home.dir.join("out/1-2.png").exists());
}

#[tokio::test]
async fn a_folder_without_photographs_is_refused() {
    let home = Home::new();
    for options in [&["--out", "out"][..], &[], &["--create"]] {
        let command = [&["catalog", "intake", "."][..], options].concat();
        let (code, _, said) = home.run(&command, &[]).await;
        assert_eq!(code, 1);
        assert!(said.contains("no photographs"), "{said}");
    }
    assert!(!home.dir.join("data").exists(), "no database is made");
    let both = ["catalog", "intake", ".", "--out", "out", "--create"];
    let (code, _, said) = home.run(&both, &[]).await;
    assert_eq!(code, 2, "{said}");
}

/// The program beside a shop, with its files.
fn beside(shop: &Shop) -> Beside {
    let mut beside = Beside::new(shop);
    let media = shop.media_folder().display().to_string();
    beside.settings.push(("MEDIA_URL", media));
    beside
}

/// The batch whose address was said, as the API shows it.
async fn batch(shop: &Shop, out: &str) -> Value {
    let id = out
        .split_once("/admin/table-photos/")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .expect("an address");
    let program = program(shop).await;
    program.get(&format!("/api/admin/intakes/{id}/")).await.json
}

#[tokio::test]
async fn a_batch_is_made_in_the_shop_and_its_address_said() {
    let shop = Shop::open().await;
    without_renditions(&shop).await;
    let beside = beside(&shop);
    lay_out(
        &beside.home,
        "table",
        &["s210-kin-front.jpg", "s210-kin-back.jpg"],
    );
    let zip = beside.home.dir.join("table/archive.jpg");
    std::fs::write(zip, b"PK\x03\x04 a ZIP file").expect("a file");
    let command = [
        "catalog",
        "intake",
        "table",
        "missing.jpg",
        "--size",
        "classic",
    ];
    let (code, out, said) = beside.run(&command).await;
    assert_eq!(code, 1, "{said}");
    assert!(out.starts_with("Batch 1: http"), "{out}");
    assert!(
        said.contains("archive.jpg: This is not an image."),
        "{said}"
    );
    assert!(said.contains("missing.jpg: No such file"), "{said}");
    let waiting = batch(&shop, &out).await;
    assert_eq!(waiting["is_working"], true);
    // The worker of the shop does the rest.
    shop.run_jobs().await;
    let found = batch(&shop, &out).await;
    assert_eq!(found["lighter_type"], 1);
    let count = |name: &str| found[name].as_array().expect("a list").len();
    assert_eq!((count("photos"), count("items")), (3, 8));
}

#[tokio::test]
async fn what_is_sure_becomes_drafts_and_the_rest_is_listed() {
    let shop = Shop::open().await;
    without_renditions(&shop).await;
    let beside = beside(&shop);
    lay_out(
        &beside.home,
        "table",
        &["s210-kin-front.jpg", "s210-kin-back.jpg"],
    );
    let command = ["catalog", "intake", "table", "--create"];
    // Nothing tells a price yet.
    let (code, out, said) = beside.run(&command).await;
    assert_eq!(code, 0, "{said}");
    assert!(out.contains("0 drafts are created."), "{out}");
    assert_eq!(out.matches("It has no price.").count(), 8, "{out}");
    assert_eq!(batch(&shop, &out).await["status"], "open");

    shop.stocks("Wren", 1).await;
    let (code, out, said) = beside.run(&command).await;
    assert_eq!(code, 0, "{said}");
    let made = batch(&shop, &out).await;
    let items = made["items"].as_array().expect("items").iter();
    let (done, left): (Vec<&Value>, Vec<&Value>) =
        items.partition(|item| item["product_id"].is_string());
    let count = match done.len() {
        1 => "1 draft is created.".to_owned(),
        many => format!("{many} drafts are created."),
    };
    assert!(!done.is_empty() && out.contains(&count), "{out}");
    assert_eq!(out.matches("Number ").count(), left.len(), "{out}");
    for item in &done {
        assert_eq!(item["pairing"], "sure");
        let path = format!(
            "/api/admin/products/{}/",
            item["product_id"].as_str().expect("an id")
        );
        let product = program(&shop).await.get(&path).await.json;
        assert_eq!(
            (&product["is_draft"], &product["on_hand"]),
            (&true.into(), &1.into())
        );
    }
    for item in &left {
        assert_ne!(item["pairing"], "sure");
    }
    let status = if left.is_empty() { "done" } else { "open" };
    assert_eq!(made["status"], status);
    assert_eq!(made["is_working"], false);
    // Its jobs find nothing left to do.
    shop.run_jobs().await;
    assert_eq!(batch(&shop, &out).await, made);
}
