//! Older forms of the tables, and copies by other tools.

use serde_json::json;

use super::expect;
use crate::django::Takeover;

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
