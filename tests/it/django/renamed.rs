//! Names and slugs that one row gives up and another takes, between two imports.

use serde_json::{Value, json};

use super::Takeover;
use super::quirks::product;

impl Takeover {
    async fn slugs(&self, ids: &str) -> Value {
        let sql = format!(
            "select jsonb_object_agg(id, case when deleted_at is null then slug end) from products where id in ({ids})"
        );
        self.one(&sql).await
    }

    /// Changes the new shop.
    async fn change_here(&self, sql: &'static str) {
        let changed = sqlx::raw_sql(sql).execute(&self.shop.db).await;
        changed.expect("a change");
    }
}

#[tokio::test]
async fn a_slug_that_a_product_gave_up_is_free_for_another() {
    let takeover = Takeover::begin().await;
    let first = [product("a", &[]), product("b", &[])];
    takeover.change(&first.concat()).await;
    takeover.import(&[]).await;
    // One is made anew after it was deleted, another is renamed and its slug used for a new one.
    takeover
        .change(&format!(
            "delete from products_product where id = 'a';
             update products_product set slug = 'renamed' where id = 'b';
             {}{}",
            product("c", &[("slug", "'slug-a'")]),
            product("d", &[("slug", "'slug-b'")]),
        ))
        .await;
    let report = takeover.import(&[]).await;
    assert_eq!(report["findings"]["mended"], json!([]));
    assert_eq!(
        takeover.slugs("'a', 'b', 'c', 'd'").await,
        json!({"a": null, "b": "renamed", "c": "slug-a", "d": "slug-b"})
    );
}

#[tokio::test]
async fn a_slug_of_a_product_that_stays_ours_is_taken() {
    let takeover = Takeover::begin().await;
    let first = [product("a", &[]), product("b", &[]), product("c", &[])];
    takeover.change(&first.concat()).await;
    takeover.import(&[]).await;
    takeover
        .change_here(
            "update products set name = 'Ours' where id in ('a', 'b');
             insert into products (id, name, slug, lighter_type, price) values ('e', 'Own', 'own', 1, 100);",
        )
        .await;
    takeover
        .change(&format!(
            "delete from products_product where id = 'a';
             update products_product set slug = 'renamed' where id = 'b';
             update products_product set slug = 'slug-b' where id = 'c';
             {}{}{}",
            product("d", &[("slug", "'slug-a'")]),
            product("e", &[("slug", "'theirs'")]),
            product("f", &[("slug", "'own'")]),
        ))
        .await;
    let report = takeover.import(&[]).await;
    let expected = json!({"a": "slug-a", "b": "slug-b", "c": "slug-b-c", "d": "slug-a-d", "e": "own", "f": "own-f"});
    let ids = "'a', 'b', 'c', 'd', 'e', 'f'";
    assert_eq!(takeover.slugs(ids).await, expected);
    let mended = report["findings"]["mended"].as_array().map(Vec::len);
    assert_eq!(mended, Some(3), "{report}");
    let before = takeover.everything().await;
    takeover.import(&[]).await;
    assert_eq!(takeover.everything().await, before);
}

#[tokio::test]
async fn a_category_may_have_the_name_of_one_that_stays() {
    let takeover = Takeover::begin().await;
    let category = |id: u32, name: &str| {
        format!(
            "insert into products_category (id, name, slug, description, created_at, updated_at)
             values ({id}, '{name}', lower('{name}'), '', '2026-05-06 12:00:00', '2026-05-06 12:00:00');"
        )
    };
    takeover
        .change(&[category(70, "Moon"), category(71, "Sun")].concat())
        .await;
    takeover.import(&[]).await;
    takeover
        .change_here("insert into categories (id, name, name_key, slug) values (900, 'Star', 'star', 'star')")
        .await;
    takeover
        .change(&format!(
            "delete from products_category where id = 70;
             update products_category set name = 'Dusk', slug = 'dusk' where id = 71;
             {}{}{}",
            category(80, "Moon"),
            category(81, "Sun"),
            category(82, "Star"),
        ))
        .await;
    takeover.import(&[]).await;
    let slugs = "select jsonb_object_agg(id, slug || ' ' || coalesce(name_key, '-')) from categories where id >= 70";
    assert_eq!(
        takeover.one::<Value>(slugs).await,
        json!({
            "70": "moon moon",
            "71": "dusk dusk",
            "80": "moon-80 -",
            "81": "sun sun",
            "82": "star-82 -",
            "900": "star star",
        })
    );
    let before = takeover.everything().await;
    takeover.import(&[]).await;
    assert_eq!(takeover.everything().await, before);
}

#[tokio::test]
async fn an_export_with_slugs_of_the_old_shop_comes_back() {
    let takeover = Takeover::begin().await;
    takeover
        .change(&format!(
            "update products_category set slug = 'Earth''s_Hue' where id = 1;
             {}",
            product("Odd", &[("slug", "'Blue_Jay-ü'")])
        ))
        .await;
    takeover.import(&[]).await;
    let before = takeover.everything().await;
    let (code, exported, complaint) = takeover.beside.run(&["catalog", "export"]).await;
    assert_eq!(code, 0, "{complaint}");
    let file = takeover.beside.home.dir.join("catalog.json");
    std::fs::write(&file, exported).expect("a file");
    let file = file.display().to_string();
    let (code, said, complaint) = takeover.beside.run(&["catalog", "import", &file]).await;
    assert_eq!(code, 0, "{said}{complaint}");
    assert_eq!(takeover.everything().await, before);
}
