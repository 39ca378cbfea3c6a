//! The columns that reads show, held against the columns that the triggers watch.

use sqlx::Row;

use crate::support::Shop;

/// Columns that no shopper sees. A new column is sorted in here, or into the triggers.
const UNSEEN: [&str; 23] = [
    "products.peak_on_hand",
    "products.version",
    "products.price_version",
    "products.sync_key",
    "products.stripe_product_id",
    "products.stripe_price_id",
    "products.stripe_price_amount",
    "products.stripe_price_currency",
    "products.stripe_retired_prices",
    "products.stripe_status",
    "products.stripe_error",
    "products.search_words",
    "products.search_text",
    "categories.name_key",
    "categories.created_at",
    "categories.updated_at",
    "images.storage_key",
    "images.format",
    "images.size_bytes",
    "images.rendered_at",
    "images.last_used_at",
    "images.created_at",
    "products.stripe_paused",
];

#[tokio::test]
async fn every_column_is_watched_or_seen_by_nobody() {
    let shop = Shop::open().await;
    let columns = sqlx::query(
        "select table_name::text as of_table, column_name::text as name
         from information_schema.columns
         where table_schema = 'public'
           and table_name in ('products', 'categories', 'product_images', 'images')",
    )
    .fetch_all(&shop.db)
    .await
    .expect("columns");
    let texts = "select string_agg(pg_get_triggerdef(oid) || case when tgfoid = 'catalog_products_changed'::regproc
                                       then pg_get_functiondef(tgfoid) else '' end, ' ')
                 from pg_trigger
                 where tgname like 'catalog_changes_update%' and tgrelid = $1::regclass";
    for column in columns {
        let (table, name): (String, String) = (column.get("of_table"), column.get("name"));
        let text: String = sqlx::query_scalar(texts)
            .bind(&table)
            .fetch_one(&shop.db)
            .await
            .expect("triggers");
        let full = format!("{table}.{name}");
        let text = text.replace('"', "").to_lowercase();
        let names = |what: &str| {
            let mut rests = text
                .match_indices(what)
                .map(|(at, _)| &text[at + what.len()..]);
            rests.any(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
        };
        // Any change of a row of `product_images` counts.
        let is_watched = table == "product_images"
            || names(&format!("(o.{name}")) && names(&format!("(n.{name}"))
            || names(&format!(" o.{name}")) && names(&format!(" n.{name}"))
            || names(&format!("old.{name}")) && names(&format!("new.{name}"));
        let is_unseen = UNSEEN.contains(&full.as_str());
        assert!(is_watched != is_unseen, "{full}: {text}");
    }
}
