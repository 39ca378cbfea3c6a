//! Catalog files that are nearly right, and those that are none.

use proptest::prelude::*;
use serde_json::{Value, json};
use spirit_beads::audit::Actor;
use spirit_beads::products;
use spirit_beads::types::money::Currency;

use super::shop::Stage;
use super::{changed, spliced, try_inputs};
use crate::support::Shop;

async fn exported(shop: &Shop) -> Value {
    let mut conn = shop.db.acquire().await.expect("a connection");
    products::export(&mut conn).await.expect("an export")
}

#[test]
fn no_file_as_a_catalog_is_a_server_error() {
    try_inputs(
        400,
        async || {
            let stage = Stage::open().await;
            let catalog = exported(&stage.shop).await;
            (stage, catalog)
        },
        |(stage, catalog)| {
            let mut words = stage.names.clone();
            words.extend(
                [
                    "categories",
                    "products",
                    "images",
                    "slug",
                    "currency",
                    "usd",
                    "jpy",
                    "eur",
                ]
                .map(str::to_owned),
            );
            let row = json!({"id": "new", "name": "New", "lighter_type": 1, "price": 4700});
            let files = vec![
                catalog.clone(),
                json!({"products": [row.clone()]}),
                json!({"categories": [{"id": 50, "name": "Rain"}], "products": [row, catalog["products"][0]]}),
            ];
            let text = changed(files, words).prop_map(|file| file.to_string().into_bytes());
            prop_oneof![4 => text.clone(), 1 => spliced(text)]
                .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .boxed()
        },
        async |(stage, _), file: String| {
            products::named_images(&file);
            let mut tx = stage.shop.db.begin().await.expect("a transaction");
            match products::import(&mut tx, &Actor::system("test"), &file, None, Currency::USD)
                .await
            {
                Err(error) => {
                    prop_assert_eq!(error.status().as_u16(), 400, "{:?}", error);
                    Ok(400)
                }
                Ok(_) => {
                    tx.commit().await.expect("a commit");
                    // What came in goes out, and changes nothing when it comes in again.
                    let again = exported(&stage.shop).await;
                    let summary = match stage.shop.imports(&again).await {
                        Ok(summary) => summary,
                        Err(error) => {
                            return Err(TestCaseError::fail(format!("{error:?}: {again}")));
                        }
                    };
                    let rows = |name: &str| again[name].as_array().map_or(0, Vec::len);
                    prop_assert_eq!(summary.unchanged, rows("categories") + rows("products"));
                    Ok(200)
                }
            }
        },
        async |(stage, _)| stage.settles().await,
    );
}
