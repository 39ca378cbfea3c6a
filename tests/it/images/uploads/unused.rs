//! Images that nothing uses are deleted, and no others.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use spirit_beads::auth::Scope;

use super::kept;
use crate::support::Shop;
use crate::support::images::jpeg;

const DAY: Duration = Duration::from_secs(24 * 60 * 60 + 1);

#[tokio::test]
async fn an_image_that_nobody_uses_is_gone_after_a_day() {
    let shop = Shop::open().await;
    let (orphan, used, renewed) = (jpeg(61, 40), jpeg(62, 40), jpeg(63, 40));
    let orphan_id = shop.keeps(&orphan).await;
    let used_id = shop.keeps(&used).await;
    shop.keeps(&renewed).await;
    shop.stocks_with("Sunrise", 2, json!({"images": [used_id]}))
        .await;
    shop.stocks_with("Sunset", 2, json!({"images": [used_id]}))
        .await;
    shop.run_jobs().await;
    assert_eq!(shop.sweep_images().await.images, 0, "it is too early");

    shop.wait(DAY).await;
    shop.keeps(&renewed).await;
    assert_eq!(shop.sweep_images().await.images, 1);
    shop.run_jobs().await;
    assert_eq!(kept(&shop).await, (2, 2));
    assert_eq!(
        shop.client
            .get(&format!("/media/images/{orphan_id}/320.jpg"))
            .await
            .status,
        404
    );
    assert_eq!(
        shop.client
            .get(&format!("/media/images/{used_id}/320.jpg"))
            .await
            .status,
        200
    );

    // Two products share it: it stays as long as one of them has it.
    let admin = shop.admin(&[Scope::Catalog]).await;
    let none = json!({"images": []});
    admin
        .send_json(Method::PATCH, "/api/products/sunrise/", &none)
        .await;
    shop.wait(DAY).await;
    assert_eq!(
        shop.sweep_images().await.images,
        1,
        "the one that was renewed"
    );
    admin
        .send_json(Method::PATCH, "/api/products/sunset/", &none)
        .await;
    assert_eq!(
        shop.sweep_images().await.images,
        0,
        "it was in use when it was last looked at"
    );
    shop.wait(DAY).await;
    assert_eq!(shop.sweep_images().await.images, 1);
    shop.run_jobs().await;
    assert_eq!(kept(&shop).await, (0, 0));
    // It may come again.
    assert_eq!(shop.keeps(&used).await, used_id);
    shop.run_jobs().await;
    assert_eq!(
        shop.client
            .get(&format!("/media/images/{used_id}/320.jpg"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_sold_product_keeps_its_image() {
    let shop = Shop::open().await;
    let id = shop.keeps(&jpeg(62, 40)).await;
    shop.stocks_with("Sunrise", 2, json!({"images": [id]}))
        .await;
    shop.run_jobs().await;
    shop.client.check_out(&[("sunrise", 1)]).await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let patched = admin
        .send_json(
            Method::PATCH,
            "/api/products/sunrise/",
            &json!({"images": []}),
        )
        .await;
    assert_eq!(patched.status, 200, "{}", patched.text);
    shop.wait(DAY).await;
    assert_eq!(shop.sweep_images().await.images, 0);
}

#[tokio::test]
async fn an_image_being_put_to_use_is_not_swept() {
    let shop = Shop::open().await;
    let id = shop.keeps(&jpeg(62, 40)).await;
    shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    shop.wait(DAY).await;
    // A writer has just looked at it and is about to refer to it.
    let mut writer = shop.db.begin().await.expect("a transaction");
    let ids = [spirit_beads::types::ids::ImageId(id.clone())];
    let held = spirit_beads::images::hold(&mut writer, &ids)
        .await
        .expect("an image");
    assert_eq!(held.len(), 1);
    assert_eq!(shop.sweep_images().await.images, 0);
    sqlx::query(
        "insert into product_images (product_id, position, image_id) values ('sunrise', 0, $1)",
    )
    .bind(&id)
    .execute(&mut *writer)
    .await
    .expect("a use");
    writer.commit().await.expect("a commit");
    assert_eq!(shop.sweep_images().await.images, 0);
    assert_eq!(kept(&shop).await, (1, 1));
}
