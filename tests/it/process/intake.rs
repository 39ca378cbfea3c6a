//! `catalog intake`: photographs of a table become staged images, without a database.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Home;
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
async fn the_folder_for_results_has_to_be_named() {
    let home = Home::new();
    let (code, _, said) = home.run(&["catalog", "intake", "table"], &[]).await;
    assert_eq!(code, 2);
    assert!(said.contains("--out"), "{said}");
    let (code, _, said) = home
        .run(&["catalog", "intake", ".", "--out", "out"], &[])
        .await;
    assert_eq!(code, 1);
    assert!(said.contains("no photographs"), "{said}");
}
