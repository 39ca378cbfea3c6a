//! Older forms of the tables, and copies by other tools.

use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{Connection, SqliteConnection};

use super::{expect, order};
use crate::django::{Takeover, in_postgres};

#[tokio::test]
async fn older_forms_of_the_tables_are_read() {
    let takeover = Takeover::begin().await;
    takeover
        .change(
            "alter table products_product rename column primary_image to image;
             update products_product set lighter_type = 'mini' where id = 'odd-steady';
             update products_product set lighter_type = 'classic' where id = 'odd-emoji';
             alter table products_product add column pattern text;
             alter table products_product add column custom_pattern text;
             alter table products_product add column glitter text;
             create table products_productimage (id integer primary key, image text, alt_text text, is_primary bool,
                                                 \"order\" integer, product_id text);
             insert into products_productimage values (1, 'orders/shipped/ready.jpg', '', 0, 2, 'odd-steady'),
                                                      (2, 'custom_orders/wish.jpg', '', 1, 1, 'odd-steady');
             alter table orders_orderitem add column product_name text;
             alter table orders_orderitem add column lighter_type integer;
             insert into orders_orderitem (order_id, product_id, unit_price, quantity, product_name)
             values ('51bde378a1ef447fb53ec18657eb1379', 'gone', 0, 1, 'The old name');
             alter table orders_order drop column is_custom_order;
             alter table orders_order drop column shipped_at;
             alter table orders_order drop column shipping_carrier;
             alter table orders_order drop column tracking_number;
             alter table orders_order drop column product_image;
             alter table custom_orders_customorderrequest drop column completion_images;
             create table shop_newsletter (id integer);",
        )
        .await;
    let report = takeover.import(&[]).await;
    expect(
        &takeover.product("odd-steady").await,
        &json!({"lighter_type": 2}),
    );
    expect(
        &takeover.product("odd-emoji").await,
        &json!({"lighter_type": 1}),
    );
    assert!(takeover.product("1").await["primary_image"].is_string());
    let order = "select string_agg(f.file_sha256, ' ' order by i.position) from product_images i
                 join import_images f using (image_id) where product_id = 'odd-steady'";
    let files: String = takeover.one(order).await;
    let wish = std::fs::read(takeover.media.join("custom_orders/wish.jpg")).expect("an image");
    let wish = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(wish));
    assert!(
        files.starts_with(&wish) && files.len() == 129,
        "by their order: {files}"
    );
    let name =
        "select name from order_lines where product_id is null and unit_price = 0 and quantity = 1
                and order_id = '51bde378-a1ef-447f-b53e-c18657eb1379'";
    assert_eq!(takeover.one::<String>(name).await, "The old name");
    let unknown = &report["findings"]["unknown"];
    assert_eq!(
        unknown,
        &json!(["table shop_newsletter", "column products_product.glitter"])
    );
}

#[tokio::test]
async fn copies_with_other_types_come_to_the_same() {
    let takeover = Takeover::begin().await;
    // As text, with dashes and zones, and every constraint gone.
    let copy = |table: &str, columns: &str| {
        format!(
            "create table copy as select {columns} from {table}; drop table {table}; alter table copy rename to {table};"
        )
    };
    let dashed = "substr(id,1,8)||'-'||substr(id,9,4)||'-'||substr(id,13,4)||'-'||substr(id,17,4)||'-'||substr(id,21)";
    let orders = format!(
        "upper({dashed}) as id, stripe_session_id, stripe_payment_intent, cast(amount_total as text) as amount_total, currency,
         status, customer_email, shipping_address, replace(created_at, ' ', 'T') || '+00:00' as created_at,
         case is_custom_order when 1 then 'true' else 'false' end as is_custom_order, product_image, shipped_at,
         shipping_carrier, tracking_number"
    );
    let requests = format!(
        "{dashed} as id, name, email, description, colors, images, status, admin_notes,
         cast(quoted_price as text) as quoted_price, stripe_payment_link, stripe_payment_intent, created_at, updated_at,
         related_order_id, completion_images"
    );
    takeover.change(&copy("orders_order", &orders)).await;
    takeover
        .change(&copy("custom_orders_customorderrequest", &requests))
        .await;
    takeover
        .change(&copy("products_product", "*, 1.5 as extra"))
        .await;
    takeover.import(&[]).await;
    crate::django::expected::check(&takeover).await;
}

#[tokio::test]
async fn a_copy_is_read_with_the_log_beside_it() {
    let mut takeover = Takeover::begin().await;
    // What the old shop wrote last is in the log alone as long as somebody has the database open.
    let options = SqliteConnectOptions::new()
        .filename(&takeover.sqlite)
        .journal_mode(SqliteJournalMode::Wal);
    let mut conn = SqliteConnection::connect_with(&options)
        .await
        .expect("a file");
    sqlx::query("update products_product set name = 'Written last' where id = 'odd-steady'")
        .execute(&mut conn)
        .await
        .expect("a change");
    let folder = takeover.beside.home.dir.join("copied");
    std::fs::create_dir(&folder).expect("a folder");
    let copy = folder.join("old.sqlite3");
    std::fs::copy(&takeover.sqlite, &copy).expect("a copy");
    let log = takeover.sqlite.with_extension("sqlite3-wal");
    std::fs::copy(log, folder.join("old.sqlite3-wal")).expect("its log");
    conn.close().await.expect("an end");
    let before = std::fs::read(&copy).expect("the copy");
    takeover.sqlite = copy.clone();
    takeover.import(&[]).await;
    assert_eq!(takeover.product("odd-steady").await["name"], "Written last");
    assert_eq!(
        std::fs::read(copy).expect("the copy"),
        before,
        "it is only read"
    );
}

#[tokio::test]
async fn times_without_a_zone_are_utc() {
    let mut takeover = Takeover::begin().await;
    let (database, url) = in_postgres().await;
    takeover.beside.settings.push(("DJANGO_DATABASE_URL", url));
    let bare = |table: &str, columns: &[&str]| {
        let columns = columns.iter().map(|column| {
            format!(
                "alter table {table} alter column {column} type timestamp using {column} at time zone 'UTC';"
            )
        });
        columns.collect::<String>()
    };
    let name = database.name();
    let changes = [
        bare("products_product", &["created_at", "updated_at"]),
        bare("orders_order", &["created_at", "shipped_at"]),
        bare(
            "custom_orders_customorderrequest",
            &["created_at", "updated_at"],
        ),
        format!("alter database \"{name}\" set timezone = 'America/New_York';"),
    ];
    takeover.change(&changes.concat()).await;
    takeover.import(&[]).await;
    crate::django::expected::check(&takeover).await;
}

#[tokio::test]
async fn an_empty_text_in_place_of_a_value_is_none() {
    let takeover = Takeover::begin().await;
    let copies = [
        "products_product",
        "orders_order",
        "orders_orderitem",
        "custom_orders_customorderrequest",
    ]
    .map(|table| {
        format!(
            "create table copy as select * from {table}; drop table {table}; alter table copy rename to {table};"
        )
    });
    takeover.change(&copies.concat()).await;
    let line = |id: u32, order: &str, product: &str| {
        format!(
            "insert into orders_orderitem (id, order_id, product_id, unit_price, quantity)
             values ({id}, {order}, {product}, 4500, 1);"
        )
    };
    takeover
        .change(&format!(
            "update products_product set is_active = '1.0' where is_active = 1;
             update products_product set is_active = '0.0' where is_active = 0;
             update orders_order set is_custom_order = '' where is_custom_order = 0;
             update custom_orders_customorderrequest set quoted_price = '' where quoted_price is null;
             {}{}{}{}",
            order(1, &[("is_custom_order", "''"), ("created_at", "'2026-05-07'")]),
            line(9001, "''", "'odd-steady'"),
            line(9002, "null", "'odd-steady'"),
            line(9003, "'00000000000000000000000000000001'", "null"),
        ))
        .await;
    let report = takeover.import(&[]).await;
    let left_out = report["findings"]["left_out"].to_string();
    for line in ["orders_orderitem 9001", "orders_orderitem 9002"] {
        assert!(left_out.contains(line), "{left_out}");
    }
    let lines = json!([[null, "A product that the old shop has no more", 1, 4500]]);
    expect(
        &takeover.order(1).await,
        &json!({"lines": lines, "created_at": "2026-05-07T00:00:00+00:00", "channel": "storefront"}),
    );
}
