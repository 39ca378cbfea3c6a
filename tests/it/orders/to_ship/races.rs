//! A refund and a shipment at once.

use serde_json::{Value, json};

use super::{pieces, program, refund, ship};
use crate::admin::orders::two_sold;
use crate::support::at_once;

/// A refund with these pieces and a shipment, at the same moment: never is a piece in both.
async fn races(quantity: i64, body: impl Fn(&str) -> Value) {
    for _ in 0..6 {
        let (shop, piece, _) = two_sold().await;
        let admin = program(&shop).await;
        let body = body(&piece);
        let calls = [true, false].map(|is_refund| {
            let (admin, body) = (admin.clone(), body.clone());
            async move {
                match is_refund {
                    true => refund(&admin, &body).await.status,
                    false => ship(&admin).await.status,
                }
            }
        });
        let answers = at_once(calls).await;
        assert_eq!(answers[0], 202);
        let line = pieces(&admin).await[0];
        let [_, _, restocked, shipped, returned] = line;
        match (answers[1], restocked) {
            // The refund came first.
            (200, 1..) => assert_eq!((shipped, returned), (2 - quantity, 0), "{line:?}"),
            (409, _) => assert_eq!((shipped, restocked), (0, quantity), "{line:?}"),
            // The shipment came first, and its pieces came back.
            (200, _) => assert_eq!((shipped, returned), (2, quantity), "{line:?}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(shop.stock(&piece).await, (1 + quantity as i32, 0));
        shop.settles().await;
    }
}

#[tokio::test]
async fn a_refund_of_all_and_a_shipment_at_once_never_have_the_same_piece() {
    races(
        2,
        |piece| json!({"restock": [{"product_id": piece, "quantity": 2}]}),
    )
    .await;
}

#[tokio::test]
async fn a_refund_of_one_piece_and_a_shipment_at_once_never_have_the_same_piece() {
    races(
        1,
        |piece| json!({"amount": 4700, "restock": [{"product_id": piece, "quantity": 1}]}),
    )
    .await;
}
