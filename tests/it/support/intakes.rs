//! Batches of table photographs as rows, for tests that are about their routes alone.

use super::Shop;

/// Id of an open batch, of its photograph, and of its front.
pub const OPEN: &str = "0193a000-0000-7000-8000-000000000010";

/// Id of a batch whose product is made, of its photograph, and of its front.
pub const DONE: &str = "0193a000-0000-7000-8000-000000000011";

/// Inserts an open batch, and one that is done. The shop has an image.
pub async fn lay_out(shop: &Shop) {
    let product = shop.stocks("Wren", 1).await;
    for (id, status) in [(OPEN, "open"), (DONE, "done")] {
        for sql in [
            "insert into intakes (id, status) values ($1::uuid, $2)",
            "insert into intake_photos (id, intake_id, position, side, file_name, image_id, width, height, status)
             select $1::uuid, $1::uuid, 1, 'front', $2 || '.jpg',
                    case when $2 = 'done' then (select id from images order by id limit 1) end, 400, 400, 'found'",
            "insert into intake_pieces (id, intake_id, photo_id, number, side, state, outline, head_degrees,
                                        is_head_doubtful, lighter_type, image_id)
             select $1::uuid, $1::uuid, $1::uuid, 1, 'front', 'used', '[[100, 50], [200, 50], [200, 350], [100, 350]]', 0,
                    $2 = 'open', 1, (select id from images order by id limit 1)",
            "insert into intake_items (piece_id, intake_id, name, price) values ($1::uuid, $1::uuid, 'Small bird ' || $2, 4500)",
        ] {
            let inserted = sqlx::query(sql).bind(id).bind(status);
            inserted.execute(&shop.db).await.expect(sql);
        }
    }
    sqlx::query(
        "update intake_items
         set product_id = $2, product_version = (select version from products where id = $2)
         where piece_id = $1::uuid",
    )
    .bind(DONE)
    .bind(&product)
    .execute(&shop.db)
    .await
    .expect("the product");
}
