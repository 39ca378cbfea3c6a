//! Slugs that were copied from another shop, and that today's rules would not allow anew.

use reqwest::Method;
use serde_json::{Value, json};

use super::shop_and_admin;
use crate::admin::{STAFF, signed_in, staffed};
use crate::support::Shop;
use crate::support::forms::Form;

/// Gives the product and the category slugs of the old shop.
async fn copy_slugs(shop: &Shop) {
    sqlx::raw_sql(
        "update products set slug = 'Blue_Jay'; update categories set slug = 'earth''s-hue'",
    )
    .execute(&shop.db)
    .await
    .expect("slugs");
}

async fn slugs(shop: &Shop) -> (String, String) {
    sqlx::query_as("select p.slug, c.slug from products p, categories c")
        .fetch_one(&shop.db)
        .await
        .expect("the slugs")
}

fn copied() -> (String, String) {
    ("Blue_Jay".to_owned(), "earth's-hue".to_owned())
}

#[tokio::test]
async fn what_is_sent_back_with_a_copied_slug_is_taken_and_another_like_it_is_not() {
    let (shop, admin) = shop_and_admin().await;
    shop.stocks("Sunrise", 1).await;
    let made = admin
        .post("/api/categories/", &json!({"name": "Earth's Hue"}))
        .await;
    copy_slugs(&shop).await;
    let product = admin.get("/api/products/sunrise/").await.json;
    let category = format!("/api/categories/{}/", made.json["id"]);
    for (path, mut body) in [
        ("/api/products/sunrise/", product),
        (category.as_str(), admin.get(&category).await.json),
    ] {
        body["description"] = json!("New");
        let put = admin.send_json(Method::PUT, path, &body).await;
        assert_eq!(put.status, 200, "{}", put.text);
        assert_eq!(put.json["description"], "New");
        let slug = json!({"slug": body["slug"], "description": "Newer"});
        let patched = admin.send_json(Method::PATCH, path, &slug).await;
        assert_eq!(patched.status, 200, "{}", patched.text);
        let other = json!({"slug": "Other_One"});
        let refused = admin.send_json(Method::PATCH, path, &other).await;
        assert_eq!(refused.field_errors(), ["slug"]);
    }
    assert_eq!(slugs(&shop).await, copied());
}

#[tokio::test]
async fn the_forms_of_the_admin_keep_a_copied_slug() {
    let shop = staffed().await;
    shop.stocks("Sunrise", 1).await;
    let admin = shop.admin(&spirit_beads::auth::Scope::ALL).await;
    let made = admin
        .post("/api/categories/", &json!({"name": "Earth's Hue"}))
        .await;
    copy_slugs(&shop).await;
    let staff = signed_in(&shop, STAFF).await;
    let category = format!("/admin/categories/{}", made.json["id"]);
    for (page, action) in [
        ("/admin/products/sunrise", "/admin/products/sunrise"),
        ("/admin/categories", category.as_str()),
    ] {
        let shown = staff.get(page).await.text;
        let form = Form::to(&shown, action).with(&[("description", "By hand")]);
        let saved = form.send(&staff.client).await;
        assert_eq!(saved.status, 303, "{page}: {}", saved.text);
    }
    assert_eq!(slugs(&shop).await, copied());
    let told: Value = admin.get("/api/products/sunrise/").await.json;
    assert_eq!(told["description"], "By hand");
}
