//! Commands for the catalog, for Stripe and the worker.

use std::process::Stdio;

use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use tokio::process::Command;

use super::{Beside, PATIENCE, until};
use crate::support::images::jpeg;
use crate::support::{Leftover, Shop, card, session_of};

#[tokio::test]
async fn the_catalog_goes_out_and_in_unchanged_and_a_bad_file_changes_nothing() {
    let shop = Shop::open().await;
    shop.leaves(Leftover::WrongBooks);
    let admin = shop.admin(&Scope::ALL).await;
    assert_eq!(
        admin
            .post("/api/categories/", &json!({"name": "Suns"}))
            .await
            .status,
        201
    );
    shop.stocks_with(
        "Sunrise",
        3,
        json!({"category": "suns", "primary_image": "/media/a.png"}),
    )
    .await;
    shop.stocks("Turtle", 1).await;
    let beside = Beside::new(&shop);
    let before = admin.get("/api/admin/products/").await.json;
    let (code, file, said) = beside.run(&["catalog", "export"]).await;
    assert_eq!(code, 0, "{said}");
    let path = beside.write("catalog.json", &file);
    let (code, said, _) = beside.run(&["catalog", "import", &path]).await;
    assert_eq!(code, 0);
    assert!(
        said.contains("0 created, 0 updated") && said.contains("Unchanged: 3."),
        "{said}"
    );
    assert_eq!(admin.get("/api/admin/products/").await.json, before);
    assert_eq!(beside.run(&["catalog", "export"]).await.1, file);

    let mut bad: Value = serde_json::from_str(&file).expect("JSON");
    bad["products"][0]["name"] = json!("Changed");
    bad["products"][1]["price"] = json!(-1);
    bad["products"][1]["colour"] = json!("red");
    bad["categories"][0]["name"] = json!("");
    let path = beside.write("bad.json", &bad.to_string());
    let (code, _, said) = beside.run(&["catalog", "import", &path]).await;
    assert_eq!(code, 1);
    for field in [
        "categories[0].name: ",
        "products[1].price: ",
        "products[1].colour: ",
    ] {
        assert!(said.contains(field), "{field}{said}");
    }
    let (code, _, said) = beside
        .run(&["catalog", "import", &beside.write("no.json", "{")])
        .await;
    assert_eq!(code, 1);
    assert!(said.contains("file: This is not JSON"), "{said}");
    let (code, _, said) = beside.run(&["catalog", "import", "nowhere.json"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("nowhere.json"), "{said}");
    let (code, _, said) = beside
        .run(&[
            "catalog",
            "import",
            &path.replace("bad", "catalog"),
            "--media",
            ".",
        ])
        .await;
    assert_eq!(code, 1);
    assert!(
        said.contains("products[0].primary_image: There is no file a.png"),
        "{said}"
    );
    assert_eq!(admin.get("/api/admin/products/").await.json, before);

    let (code, said, _) = beside.run(&["stock", "check"]).await;
    assert_eq!(code, 0, "{said}");
    sqlx::query("update products set on_hand = on_hand + 1 where id = 'turtle'")
        .execute(&shop.db)
        .await
        .expect("tampered with");
    let (code, said, _) = beside.run(&["stock", "check"]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("turtle: 2 on hand, the ledger says 1"),
        "{said}"
    );
    assert!(!said.contains("sunrise"), "{said}");
}

#[tokio::test]
async fn stripe_is_brought_in_line_and_asked_and_a_worker_works() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    shop.stocks("Turtle", 1).await;
    let beside = Beside::new(&shop);
    let (code, said, _) = beside.run(&["migrate"]).await;
    assert_eq!((code, said.as_str()), (0, "The schema is up to date.\n"));
    let (code, said, told) = beside.run(&["stripe", "sync"]).await;
    assert_eq!(
        (code, said.as_str()),
        (0, "2 of 2 products brought in line.\n"),
        "{told}"
    );
    let admin = shop.admin(&[Scope::Catalog]).await;
    let view = admin.get("/api/admin/products/sunrise/").await.json;
    assert_eq!(view["stripe"]["status"], "synced");
    assert_eq!(
        beside.run(&["stripe", "sync"]).await.1,
        "0 of 0 products brought in line.\n"
    );

    // Its webhooks never came; asking finds the payment.
    let session = session_of(&shop.shopper().check_out(&[(&piece, 2)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let (code, said, told) = beside.run(&["stripe", "reconcile"]).await;
    assert_eq!(code, 0, "{told}");
    assert!(said.contains("1 processed, 0 failed"), "{said}");
    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(shop.stock(&piece).await, (1, 0));

    // Ready is who has a worker.
    let ready = shop.client.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(
        ready.json,
        json!({"database": true, "writable": true, "migrations": true, "worker": false})
    );
    assert_eq!(shop.client.get("/healthz").await.status, 200);
    let settings = beside.settings();
    let mut worker = beside.home.command(&["worker"], &settings);
    let mut worker = worker
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a worker");
    until("the worker is alive", async || {
        shop.client.get("/readyz").await.status == 200
    })
    .await;
    until("its jobs are done", async || {
        let left: i64 = sqlx::query_scalar("select count(*) from graphile_worker._private_jobs where attempts = 0 and run_at <= now()")
            .fetch_one(&shop.db)
            .await
            .expect("the queue");
        left == 0
    })
    .await;

    // The database drops every line, as in a fail-over; the shop goes on, and so does the worker.
    sqlx::query(
        "select pg_terminate_backend(pid)
         from pg_stat_activity
         where datname = current_database()
           and pid <> pg_backend_pid()",
    )
    .execute(&shop.db)
    .await
    .expect("the lines cut");
    // A line that was used just now is not asked whether it lives: a request may find it dead, once each.
    until("every line is a new one", async || {
        let mut alive = 0;
        while alive < 32 && sqlx::query("select 1").execute(&shop.db).await.is_ok() {
            alive += 1;
        }
        alive == 32
    })
    .await;
    shop.stocks("Otter", 1).await;
    until("the worker goes on", async || {
        let view = admin.get("/api/admin/products/otter/").await.json;
        view["stripe"]["status"] == "synced"
    })
    .await;
    let pid = worker.id().expect("it runs").to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status().await;
    assert!(told.expect("kill").success());
    let ended = tokio::time::timeout(PATIENCE, worker.wait()).await;
    assert_eq!(
        ended.expect("an end in time").expect("a status").code(),
        Some(0)
    );
    assert_eq!(shop.client.get("/readyz").await.status, 503);
    shop.audit().await;
}

#[tokio::test]
async fn a_catalog_moves_to_another_shop_with_its_images() {
    let (shop, other) = (Shop::open().await, Shop::open().await);
    // Its images lie in the folder of the program beside it.
    other.leaves(Leftover::FailedJobs);
    let id = shop.keeps(&jpeg(700, 500)).await;
    shop.stocks_with("Sunrise", 3, json!({"images": [id]}))
        .await;
    shop.run_jobs().await;
    let (_, file, _) = Beside::new(&shop).run(&["catalog", "export"]).await;

    // With a copy of the media folder the image is the same, under the same id.
    let beside = Beside::new(&other);
    let path = beside.write("catalog.json", &file);
    let (code, _, said) = beside.run(&["catalog", "import", &path]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("products[0].images[0]: There is no such image."),
        "{said}"
    );
    let folder = shop.media_folder().display().to_string();
    let import = ["catalog", "import", &path, "--media", &folder];
    let (code, out, said) = beside.run(&import).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        out.contains("2 images taken in.") && out.contains("1 created"),
        "{out}"
    );
    assert_eq!(beside.run(&["catalog", "export"]).await.1, file);

    // With new files, named by their paths; an import that fails leaves none of them behind.
    std::fs::create_dir_all(beside.home.dir.join("new")).expect("a folder");
    std::fs::write(beside.home.dir.join("new/a.jpg"), jpeg(90, 60)).expect("a file");
    std::fs::write(beside.home.dir.join("new/b.jpg"), "<html>").expect("a file");
    let row = |images: Value, price: i64| json!({"products": [{"id": "moon", "name": "Moon", "lighter_type": 1, "price": price, "images": images}]});
    for (images, price, told) in [
        (
            json!(["new/a.jpg", "new/c.jpg"]),
            4700,
            "images[1]: There is no file new/c.jpg",
        ),
        (
            json!(["new/b.jpg"]),
            4700,
            "images[0]: new/b.jpg: This is not an image.",
        ),
        (json!(["new/a.jpg"]), 1, "products[0].price: "),
        (json!(["../log.txt"]), 4700, "images[0]: There is no file"),
    ] {
        let path = beside.write("new.json", &row(images, price).to_string());
        let home = beside.home.dir.display().to_string();
        let (code, _, said) = beside
            .run(&["catalog", "import", &path, "--media", &home])
            .await;
        assert_eq!(code, 1);
        assert!(said.contains(told), "{said}");
    }
    let kept: i64 = sqlx::query_scalar("select count(*) from images")
        .fetch_one(&other.db)
        .await
        .expect("the images");
    assert_eq!(kept, 1);
    let path = beside.write("new.json", &row(json!(["new/a.jpg"]), 4700).to_string());
    let home = beside.home.dir.display().to_string();
    for told in ["1 created", "Unchanged: 1"] {
        let (code, out, said) = beside
            .run(&["catalog", "import", &path, "--media", &home])
            .await;
        assert_eq!(code, 0, "{said}");
        assert!(out.contains(told), "{out}");
    }
    let moon = other.client.get("/api/products/moon/").await.json;
    assert_eq!(moon["images"][0]["width"], 90);
}
