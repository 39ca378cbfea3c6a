//! A full disk, memory under long uploads, and a bucket behind TLS.

use std::io::Write;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::json;
use spirit_beads::auth::Scope;
use tokio::process::Command;

use super::{Beside, Home, peak_memory, until};
use crate::support::images::{FORM, Part, form, jpeg};
use crate::support::{Client, Shop, heavy};

/// Uses a disk up, but for some bytes.
fn fill(folder: &Path, left: u64) -> PathBuf {
    let filler = folder.join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    let mut size = 0;
    while let Ok(()) = std::io::Write::write_all(&mut file, &[0; 1024]) {
        size += 1024;
    }
    file.set_len(size - left).expect("a shorter file");
    filler
}

/// Every file below a folder, and its size.
fn files_in(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let about = entry.metadata().expect("its size");
        match about.is_dir() {
            true => files.extend(files_in(&entry.path())),
            false => files.push((entry.path(), about.len())),
        }
    }
    files.sort();
    files
}

/// Arguments with which `unshare` lets this user mount a disk: root as it is, others as root of a namespace of their
/// own. None where neither works and `SMALL_DISK_TESTS=skip` says that this is known.
async fn may_mount() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--mount", "--map-root-user"]];
    for way in ways {
        let trial = Command::new("unshare")
            .args(way)
            .args(["mount", "-t", "tmpfs", "none", "/mnt"])
            .output();
        if trial.await.is_ok_and(|output| output.status.success()) {
            return Some(way);
        }
    }
    let is_known = std::env::var("SMALL_DISK_TESTS").is_ok_and(|word| word == "skip");
    assert!(
        is_known,
        "no small disk may be mounted here: run the tests as root, allow user namespaces, or leave this one out with \
         SMALL_DISK_TESTS=skip"
    );
    None
}

#[tokio::test]
async fn a_disk_that_has_no_byte_left_is_an_outage_of_images_alone() {
    let Some(unshare) = may_mount().await else {
        // Past what the test runner keeps to itself of a test that passes.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED, as SMALL_DISK_TESTS=skip says: a disk that has no byte left"
        );
        return;
    };
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 9).await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let mut beside = Beside::new(&shop);
    beside.home.small_disk = Some(("2m", unshare));
    let program = beside.home.start_with(&beside.settings(), "Metrics ").await;
    let admin = Client::to(&program.address).with_token(&admin.token.expect("a token"));
    let pid = program.child.id().expect("it runs");
    let data = beside
        .home
        .dir
        .canonicalize()
        .expect("a folder")
        .join("data");
    let data = PathBuf::from(format!("/proc/{pid}/root{}", data.display()));
    assert_eq!(admin.uploads(&[&jpeg(70, 50)]).await.status, 201);
    let has_sizes = async || files_in(&data).len() == 3;
    until("both sizes of the image are made", has_sizes).await;
    let kept = files_in(&data);

    let image_url = jpeg(640, 480);
    let size = image_url.len() as u64;
    // Not a byte is left, or room for a part of the upload.
    for left in [0, size / 2] {
        let filler = fill(&data, left);
        for answer in [
            admin.uploads(&[&image_url]).await,
            admin.asks_with(&image_url).await,
        ] {
            let told = (answer.status, &answer.json["code"]);
            assert_eq!(
                told,
                (503, &json!("media_unavailable")),
                "{left} bytes left: {}",
                answer.text
            );
            assert!(!answer.header("retry-after").is_empty());
        }
        let bought = admin.check_out(&[("sunrise", 1)]).await;
        assert_eq!(bought.status, 200, "{}", bought.text);
        std::fs::remove_file(filler).expect("removed");
        assert_eq!(files_in(&data), kept, "{left} bytes left");
    }
    let rows: (i64, i64) = sqlx::query_as(
        "select (select count(*) from images), (select count(*) from custom_orders)",
    )
    .fetch_one(&shop.db)
    .await
    .expect("the rows");
    assert_eq!(rows, (1, 0));

    // Room for the upload, but not for all the sizes that a job makes of it: they are made when there is.
    let filler = fill(&data, size + 4096);
    assert_eq!(admin.uploads(&[&image_url]).await.status, 201);
    until("the job fails", async || {
        let failed = "select exists (select from graphile_worker._private_jobs where last_error is not null)";
        sqlx::query_scalar(failed).fetch_one(&shop.db).await.expect("the jobs")
    })
    .await;
    std::fs::remove_file(filler).expect("removed");
    until("all sizes are made", async || {
        shop.hurry_jobs().await;
        files_in(&data).len() == kept.len() + 5
    })
    .await;
    assert_eq!(admin.asks_with(&image_url).await.status, 201);
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));
}

/// As [`peak_memory`], of a process that runs.
fn peak(pid: u32) -> u64 {
    peak_memory(pid).expect("a process that runs")
}

#[tokio::test]
async fn memory_stays_flat_under_twenty_uploads_of_seventy_megabytes() {
    let _seat = heavy().await;
    let home = Home::new();
    let program = home.start().await;
    let making = ["token", "create", "--name", "k", "--scope", "catalog"];
    let (code, token, said) = home.run(&making, &[]).await;
    assert_eq!(code, 0, "{said}");
    let client = program.client().with_token(token.trim());
    let pid = program.child.id().expect("it runs");
    program.settles().await;
    // Ten files of seven megabytes that begin like images: each is stored, read and found to be none.
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    file.resize(7 * 1024 * 1024, 0x55);
    let parts: Vec<Part> = (0..10).map(|_| Part::file("image", &file)).collect();
    let body = bytes::Bytes::from(form(&parts));
    assert!(body.len() > 70 * 1024 * 1024);
    let before = peak(pid);
    let uploads: Vec<_> = (0..20)
        .map(|_| {
            let (client, body) = (client.clone(), body.clone());
            tokio::spawn(async move {
                let headers = [("content-type", FORM)];
                let path = "/api/admin/images/";
                client.send(Method::POST, path, &headers, Some(body)).await
            })
        })
        .collect();
    for upload in uploads {
        let answer = upload.await.expect("an upload");
        assert_eq!(answer.field_errors().len(), 10, "{}", answer.text);
    }
    let grown = peak(pid).saturating_sub(before);
    println!("20 uploads of 70 MiB: {} MiB more", grown >> 20);
    assert!(grown < 200 << 20, "{} MiB more", grown >> 20);
    let uploads = std::fs::read_dir(home.dir.join("data/uploads")).expect("the folder");
    assert_eq!(uploads.count(), 0);
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));
}

#[tokio::test]
async fn memory_stays_flat_whatever_is_long_in_a_custom_order() {
    let _seat = heavy().await;
    let home = Home::new();
    let program = home.start().await;
    let client = program.client();
    let pid = program.child.id().expect("it runs");
    program.settles().await;
    let fine =
        r#""name": "Ann", "email": "ann@example.com", "description": "Blue and gold, please""#;
    let long = "QUJD".repeat(22_500_000);
    for (body, sentence) in [
        (
            format!(r#"{{{fine}, "description": "{long}"}}"#),
            "Field description is too long",
        ),
        (
            format!(r#"{{{fine}, "images": ["data:image/png;base64,{long}"]}}"#),
            "Image 1 exceeds 7MB limit",
        ),
        (
            format!(r#"{{{fine}, "images": ["{long}"]}}"#),
            "Image 1 is not a valid image type. Allowed: jpeg, png, webp, gif",
        ),
        (format!(r#"{{{fine}, "{long}": 1}}"#), "Invalid JSON"),
        (
            format!(
                r#"{{{fine}, "other": {{"{long}": "{}"}}, "name": ""}}"#,
                "x".repeat(1 << 20)
            ),
            "Missing required field: name",
        ),
    ] {
        let before = peak(pid);
        let headers = [("content-type", "application/json")];
        let answer = client
            .send(Method::POST, "/api/custom-orders/", &headers, Some(body))
            .await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.json["error"], sentence);
        let grown = peak(pid).saturating_sub(before);
        println!("90 MB, {sentence}: {} MiB more", grown >> 20);
        assert!(grown < 24 << 20, "{} MiB more for {sentence}", grown >> 20);
    }
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));
}

#[tokio::test]
async fn a_bucket_behind_tls_is_opened_by_the_program_itself() {
    let shop = Shop::open().await;
    let beside = Beside::new(&shop);
    let mut settings = beside.settings();
    settings.push(("MEDIA_URL", "s3://beads/shop"));
    let (code, _, said) = beside.home.run(&["migrate"], &settings).await;
    assert_eq!(code, 2);
    assert!(
        said.contains("AWS_ACCESS_KEY_ID") && said.contains("AWS_SECRET_ACCESS_KEY"),
        "{said}"
    );
    settings.extend([
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    for endpoint in ["", "https://127.0.0.1:1", "http://127.0.0.1:1"] {
        let settings = [&settings[..], &[("AWS_ENDPOINT_URL", endpoint)]].concat();
        let (code, out, said) = beside.home.run(&["migrate"], &settings).await;
        assert_eq!(
            (code, out.as_str()),
            (0, "The schema is up to date.\n"),
            "{said}"
        );
    }
    settings.push(("AWS_ENDPOINT_URL", "http://bucket.example"));
    let (code, _, said) = beside.home.run(&["migrate"], &settings).await;
    assert_eq!(code, 2);
    assert!(said.contains("AWS_ENDPOINT_URL"), "{said}");
}
