//! The button for a backup, and what the System page says of the last one.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::audit::Actor;
use spirit_beads::auth::Scope;
use spirit_beads::system::backup;

use crate::admin::{OWNER, STAFF, audited, signed_in, staffed};
use crate::support::Shop;
use crate::support::images::jpeg;

const BUTTON: &str = "/admin/system/backup";

#[tokio::test]
async fn owners_download_a_backup_and_see_how_old_it_is() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    shop.keeps(&jpeg(60, 40)).await;
    assert!(
        owner
            .get("/admin/system")
            .await
            .text
            .contains("There is none yet.")
    );
    assert_eq!(signed_in(&shop, STAFF).await.get(BUTTON).await.status, 403);
    let file = owner.get(BUTTON).await;
    assert_eq!(file.status, 200);
    assert_eq!(file.header("content-type"), "application/x-tar");
    assert_eq!(file.header("cache-control"), "no-store");
    let name = file.header("content-disposition");
    assert!(
        name.starts_with("attachment; filename=\"spirit-beads-20"),
        "{name}"
    );
    assert!(file.bytes.starts_with(b"spirit-beads.json"));
    let page = owner.get("/admin/system").await.text;
    assert!(page.contains("The last backup is a minute old"), "{page}");
    sqlx::query("update backups set finished_at = now() - interval '3 days', faulty_images = 2")
        .execute(&shop.db)
        .await
        .expect("time passes");
    let page = owner.get("/admin/system").await.text;
    assert!(page.contains("The last backup is 3 days old"), "{page}");
    assert!(
        page.contains("2 of the shop’s images are missing or damaged"),
        "{page}"
    );
    let log = audited(&shop).await;
    let entry = log
        .iter()
        .find(|entry| entry.1 == "backup.create" || entry.0 == "backup.create");
    assert!(format!("{entry:?}").contains(OWNER), "{log:?}");

    // A program gets it, too, and it is not compressed once more.
    let admin = shop.admin(&[Scope::Backup, Scope::System]).await;
    let gzip = [("accept-encoding", "gzip")];
    let answer = admin
        .send(Method::GET, "/api/admin/backup/", &gzip, None::<String>)
        .await;
    assert_eq!(
        (answer.status, answer.header("content-encoding")),
        (200, "")
    );
    let last = &admin.get("/api/admin/health/").await.json["last_backup"];
    assert_eq!(last["size_bytes"], json!(answer.bytes.len()), "{last}");
    assert_eq!(
        (&last["images"], &last["faulty_images"]),
        (&json!(1), &json!(0))
    );
}

#[tokio::test]
async fn a_second_backup_waits_its_turn_and_a_broken_off_one_counts_for_nothing() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Backup, Scope::System]).await;
    // One that reads the tables, as another process would.
    let mut conn = shop.db.acquire().await.expect("a connection");
    sqlx::query("select pg_advisory_lock(hashtext('spirit-beads backup'))")
        .execute(&mut *conn)
        .await
        .expect("a lock");
    let refused = admin.get("/api/admin/backup/").await;
    assert_eq!(
        (refused.status, &refused.json["code"]),
        (409, &json!("backup_running"))
    );
    conn.close_on_drop();
    drop(conn);
    let begun = loop {
        // The lock ends with its session, soon.
        match backup::begin(&shop.app, &Actor::console()).await {
            Ok(begun) => break begun,
            Err(error) => assert!(error.to_string().contains("backup_running"), "{error}"),
        }
    };
    drop(begun);
    let health = admin.get("/api/admin/health/").await.json;
    assert_eq!(health["last_backup"], Value::Null);
}

#[tokio::test]
async fn no_image_of_the_snapshot_is_swept_while_a_backup_goes_on() {
    let shop = Shop::open().await;
    let image = shop.keeps(&jpeg(60, 40)).await;
    let piece = shop
        .stocks_with("Sunrise", 1, json!({"images": [image]}))
        .await;
    shop.run_jobs().await;
    shop.wait(Duration::from_secs(23 * 3600)).await;
    let mut backup = backup::begin(&shop.app, &Actor::console())
        .await
        .expect("a backup");
    // Meanwhile the product loses its image, and hours pass: the image would be old enough.
    let admin = shop.admin(&[Scope::Catalog]).await;
    let changed = admin
        .send_json(
            Method::PATCH,
            &format!("/api/products/{piece}/"),
            &json!({"images": []}),
        )
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    shop.wait(Duration::from_secs(2 * 3600)).await;
    assert_eq!(shop.sweep_images().await.images, 0);
    while backup.next().await.is_some() {}
    let summary = backup.finish(&shop.app).await.expect("a backup");
    assert_eq!((summary.images, summary.faulty), (1, Vec::new()));
}

#[tokio::test]
async fn images_that_are_missing_or_damaged_are_named() {
    let shop = Shop::open().await;
    let (lost, hurt) = (
        shop.keeps(&jpeg(60, 40)).await,
        shop.keeps(&jpeg(90, 40)).await,
    );
    shop.stocks_with("Sunrise", 1, json!({"images": [lost, hurt]}))
        .await;
    shop.run_jobs().await;
    for folder in std::fs::read_dir(shop.media_folder().join("images")).expect("the images") {
        let folder = folder.expect("a folder");
        let name = folder.file_name().into_string().expect("UTF-8");
        let original = folder.path().join("original.jpg");
        if name.starts_with(&lost) {
            std::fs::remove_file(original).expect("its file");
        } else {
            let mut content = std::fs::read(&original).expect("its file");
            content[50] ^= 1;
            std::fs::write(original, content).expect("its file");
        }
    }
    let mut backup = backup::begin(&shop.app, &Actor::console())
        .await
        .expect("a backup");
    while backup.next().await.is_some() {}
    let summary = backup.finish(&shop.app).await.expect("a backup");
    let mut faulty: Vec<String> = summary.faulty.into_iter().map(|id| id.0).collect();
    let mut expected = vec![lost, hurt];
    faulty.sort();
    expected.sort();
    assert_eq!((summary.images, faulty), (1, expected));
}
