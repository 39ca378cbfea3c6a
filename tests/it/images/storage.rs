//! Storage of images: a bucket behind real HTTP, and a store that fails.

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use reqwest::Method;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use serde_json::json;
use spirit_beads::auth::Scope;
use spirit_beads::jobs::Job;
use spirit_beads::worker;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::process::Beside;
use crate::support::database::Database;
use crate::support::images::{decoded, jpeg};
use crate::support::{Leftover, Shop};

const DAY: Duration = Duration::from_secs(24 * 60 * 60 + 1);

/// An S3 server on this machine, with one bucket.
struct Bucket {
    folder: PathBuf,
    address: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Bucket {
    async fn open() -> Bucket {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("s3-{}", Uuid::new_v4().simple()));
        std::fs::create_dir_all(folder.join("beads")).expect("a bucket");
        let files = s3s_fs::FileSystem::new(&folder).expect("a file system");
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single("key", "secret"));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!(
            "http://{}",
            listener.local_addr().expect("a bound listener")
        );
        let serving = tokio::spawn(async move {
            while let Ok((line, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(line), service).await;
                });
            }
        });
        Bucket {
            folder,
            address,
            serving,
        }
    }

    async fn shop(&self) -> Shop {
        Shop::open_with(&[
            ("MEDIA_URL", "s3://beads/shop/one"),
            ("AWS_ENDPOINT_URL", &self.address),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "eu-north-1"),
        ])
        .await
    }

    /// The objects, below the prefix.
    fn objects(&self) -> Vec<String> {
        fn walk(folder: &std::path::Path, into: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    walk(&entry.path(), into);
                } else {
                    into.push(entry.path().display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.folder.join("beads/shop/one"), &mut found);
        found
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.serving.abort();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn a_bucket_does_all_that_a_folder_does() {
    let bucket = Bucket::open().await;
    let shop = bucket.shop().await;
    let id = shop.keeps(&jpeg(700, 500)).await;
    assert_eq!(bucket.objects().len(), 1);
    let path = format!("/media/images/{id}/640.webp");
    assert_eq!(
        shop.client.get(&path).await.header("cache-control"),
        "public, max-age=60"
    );
    shop.run_jobs().await;
    assert_eq!(
        bucket.objects().len(),
        7,
        "itself, and three widths in two kinds"
    );
    let served = shop.client.get(&path).await;
    assert_eq!(served.header("content-type"), "image/webp");
    assert_eq!(decoded(&served.bytes).width(), 640);
    let range = [("range", "bytes=2-5")];
    let part = shop
        .client
        .send(Method::GET, &path, &range, None::<String>)
        .await;
    assert_eq!((part.status, &part.bytes[..]), (206, &served.bytes[2..6]));
    let tag = [("if-none-match", served.header("etag"))];
    assert_eq!(
        shop.client
            .send(Method::GET, &path, &tag, None::<String>)
            .await
            .status,
        304
    );

    // What the old service left.
    let old = bucket.folder.join("beads/shop/one/products");
    std::fs::create_dir_all(&old).expect("a folder");
    std::fs::write(old.join("a.jpg"), jpeg(20, 10)).expect("a file");
    let served = shop.client.get("/media/products/a.jpg").await;
    assert_eq!(
        (served.status, served.header("content-type")),
        (200, "image/jpeg")
    );
    assert_eq!(served.header("cache-control"), "public, max-age=86400");
    for nothing in [
        "/media/products/b.jpg",
        "/media/../../beads/x",
        "/media/x%00",
    ] {
        assert_eq!(shop.client.get(nothing).await.status, 404, "{nothing}");
    }

    // Refused images leave nothing, swept ones are gone.
    let admin = shop.admin(&[Scope::Catalog]).await;
    assert_eq!(
        admin.uploads(&[&jpeg(30, 20), b"no image"]).await.status,
        400
    );
    assert_eq!(bucket.objects().len(), 8);
    shop.wait(DAY).await;
    assert_eq!(shop.sweep_images().await.images, 1);
    shop.run_jobs().await;
    assert_eq!(bucket.objects().len(), 1, "the old one");
    assert_eq!(shop.client.get(&path).await.status, 404);
}

#[tokio::test]
async fn a_bucket_out_of_reach_is_an_outage_and_nothing_is_half_done() {
    let bucket = Bucket::open().await;
    let shop = bucket.shop().await;
    shop.leaves(Leftover::FailedJobs);
    let id = shop.keeps(&jpeg(70, 50)).await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    // The key is no longer good.
    let other = Shop::open_with(&[
        ("MEDIA_URL", "s3://beads/shop/one"),
        ("AWS_ENDPOINT_URL", &bucket.address),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "another"),
    ])
    .await;
    let other_admin = other.admin(&[Scope::Catalog]).await;
    let answer = other_admin.uploads(&[&jpeg(71, 50)]).await;
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (503, &json!("media_unavailable"))
    );
    let rows: i64 = sqlx::query_scalar("select count(*) from images")
        .fetch_one(&other.db)
        .await
        .expect("the images");
    assert_eq!(rows, 0);
    assert_eq!(admin.uploads(&[&jpeg(70, 50)]).await.status, 201);
    assert_eq!(
        shop.client
            .get(&format!("/media/images/{id}/320.jpg"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_full_disk_is_an_outage_and_nothing_is_half_done() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let media = shop.media_folder();
    let uploads = shop.app.config.data_dir.join("uploads");
    // A file where a folder has to be: nothing can be written, as when the disk is full.
    for folder in [media.join("images"), uploads] {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::write(&folder, "").expect("a file");
        let answer = admin.uploads(&[&jpeg(70, 50)]).await;
        assert_eq!(
            (answer.status, &answer.json["code"]),
            (503, &json!("media_unavailable")),
            "{}",
            answer.text
        );
        assert!(!answer.header("retry-after").is_empty());
        std::fs::remove_file(&folder).expect("removed");
        std::fs::create_dir_all(&folder).expect("a folder");
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from images")
        .fetch_one(&shop.db)
        .await
        .expect("the images");
    assert_eq!(rows, 0);
    assert_eq!(
        std::fs::read_dir(media.join("images"))
            .expect("the store")
            .count(),
        0
    );
    assert_eq!(admin.uploads(&[&jpeg(70, 50)]).await.status, 201);
}

#[tokio::test]
async fn leftovers_of_a_crash_are_found() {
    let shop = Shop::open().await;
    shop.keeps(&jpeg(70, 50)).await;
    let store = shop.media_folder().join("images");
    let at = |seconds_ago: u64| {
        let now = chrono::Utc::now().timestamp() as u64;
        uuid::Uuid::new_v7(uuid::Timestamp::from_unix(
            uuid::NoContext,
            now - seconds_ago,
            0,
        ))
    };
    let id = "ab".repeat(32);
    let folder = |seconds_ago| store.join(format!("{id}-{}", at(seconds_ago).simple()));
    let (old, half, young) = (folder(2 * 86_400), folder(2 * 86_400 + 9), folder(3600));
    for (folder, file) in [
        (&old, "original.jpg"),
        (&half, "original.jpg#1"),
        (&young, "original.jpg"),
    ] {
        std::fs::create_dir_all(folder).expect("a folder");
        std::fs::write(folder.join(file), "x").expect("a file");
    }
    std::fs::create_dir_all(store.join("of-somebody-else")).expect("a folder");
    let swept = shop.sweep_images().await;
    assert_eq!((swept.images, swept.folders), (0, 2));
    assert!(!old.exists() && !half.exists() && young.exists());
    assert!(store.join("of-somebody-else").exists());
    assert_eq!(shop.sweep_images().await.folders, 0);
}

#[tokio::test]
async fn a_job_that_runs_again_or_too_late_harms_nothing() {
    let shop = Shop::open().await;
    let id = shop.keeps(&jpeg(700, 500)).await;
    let image = spirit_beads::types::ids::ImageId(id.clone());
    let render = || {
        worker::perform(
            &shop.app,
            Job::RenderImage {
                image: image.clone(),
            },
        )
    };
    // Killed after some renditions: it begins anew.
    shop.run_jobs().await;
    sqlx::query("update images set rendered_at = null")
        .execute(&shop.db)
        .await
        .expect("an image");
    render().await.expect("renditions");
    render().await.expect("nothing to do");
    assert_eq!(
        shop.client
            .get(&format!("/media/images/{id}/640.jpg"))
            .await
            .status,
        200
    );

    // Two workers, and two sweeps, at once.
    sqlx::query("update images set rendered_at = null")
        .execute(&shop.db)
        .await
        .expect("an image");
    let (one, other) = tokio::join!(render(), render());
    one.and(other).expect("renditions");
    shop.wait(DAY).await;
    let (one, other) = tokio::join!(shop.sweep_images(), shop.sweep_images());
    assert_eq!(one.images + other.images, 1);
    // Sent again before its objects are removed: the new ones are others.
    assert_eq!(shop.keeps(&jpeg(700, 500)).await, id);
    shop.run_jobs().await;
    assert_eq!(
        shop.client
            .get(&format!("/media/images/{id}/640.jpg"))
            .await
            .status,
        200
    );
    let folders = std::fs::read_dir(shop.media_folder().join("images"))
        .expect("the store")
        .count();
    assert_eq!(folders, 1);
}

#[tokio::test]
async fn a_backup_takes_its_images_from_a_bucket_and_puts_them_into_one() {
    let bucket = Bucket::open().await;
    let shop = bucket.shop().await;
    let id = shop.keeps(&jpeg(700, 500)).await;
    shop.stocks_with("Sunrise", 1, json!({"images": [id]}))
        .await;
    shop.run_jobs().await;
    let admin = shop.admin(&[Scope::Backup]).await;
    let file = admin.get("/api/admin/backup/").await;
    assert_eq!(file.status, 200);

    let database = Database::empty().await;
    let mut beside = Beside::new(&shop);
    for (name, value) in &mut beside.settings {
        if *name == "DATABASE_URL" {
            *value = value.replace(shop.database(), database.name());
        }
    }
    let bucket_settings = [
        ("MEDIA_URL", "s3://beads/shop/one/restored"),
        ("AWS_ENDPOINT_URL", bucket.address.as_str()),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "eu-north-1"),
    ];
    let bucket_settings = bucket_settings.map(|(name, value)| (name, value.to_owned()));
    beside.settings.extend(bucket_settings);
    let path = beside.home.dir.join("shop.tar");
    std::fs::write(&path, &file.bytes).expect("a file");
    let (code, said, told) = beside.run(&["restore", &path.display().to_string()]).await;
    assert_eq!(code, 0, "{said}{told}");
    let originals: Vec<Vec<u8>> = bucket
        .objects()
        .iter()
        .filter(|path| path.ends_with("original.jpg"))
        .map(|path| std::fs::read(path).expect("an object"))
        .collect();
    assert_eq!(originals.len(), 2, "the shop's own, and the restored one");
    assert!(originals[0] == originals[1]);
}
