//! Carts as the storefront sends them: reads the lines and reports every line that cannot be bought.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Error, LineCode, LineError, Result};
use crate::products;
use crate::types::ids::ProductId;
use crate::types::money::Currency;

/// Upper bounds of a cart. Stripe accepts 100 lines in one session.
const MOST_LINES: usize = 1000;
const MOST_PRODUCTS: usize = 100;
const MOST_PIECES: i64 = 999;

/// The lines of a cart in the order received.
#[derive(Debug)]
pub struct Cart {
    lines: Vec<CartLine>,
}

#[derive(Debug)]
struct CartLine {
    /// The id as received; the answer repeats it.
    sent_id: Value,
    wanted: std::result::Result<(ProductId, i32), LineError>,
}

impl Cart {
    /// Reads `{"items": [{"product_id": …, "quantity": …}, …]}`. A malformed line is kept, so that [`Cart::check`]
    /// reports it together with the lines that lack stock.
    ///
    /// # Errors
    /// `Cart` without lines when there are none; 400 naming `items` when it is not a list, or is too long.
    pub fn read(body: &Value) -> Result<Cart> {
        let items = match &body["items"] {
            Value::Array(items) => items,
            Value::Null => return Err(Error::Cart(Vec::new())),
            Value::Object(none) if none.is_empty() => return Err(Error::Cart(Vec::new())),
            _ => {
                return Err(Error::invalid(
                    "items",
                    "must be a list of lines with product_id and quantity",
                ));
            }
        };
        if items.is_empty() {
            return Err(Error::Cart(Vec::new()));
        }
        if items.len() > MOST_LINES {
            return Err(Error::invalid(
                "items",
                format!("must have at most {MOST_LINES} lines"),
            ));
        }
        let cart = Cart {
            lines: items.iter().map(read_line).collect(),
        };
        if cart.quantities().len() > MOST_PRODUCTS {
            return Err(Error::invalid(
                "items",
                format!("must name at most {MOST_PRODUCTS} different products"),
            ));
        }
        Ok(cart)
    }

    /// Quantity wanted of each product, in id order. Lines that name the same product are added up.
    pub fn quantities(&self) -> BTreeMap<ProductId, i32> {
        let mut wanted = BTreeMap::new();
        for (id, quantity) in self.lines.iter().flat_map(|line| &line.wanted) {
            *wanted.entry(id.clone()).or_insert(0) += quantity;
        }
        wanted
    }

    /// Returns every line that cannot be bought, in cart order, judged by the locked products.
    pub fn check(
        &self,
        locks: &BTreeMap<ProductId, products::LockedProduct>,
        currency: Currency,
    ) -> Vec<LineError> {
        let wanted = self.quantities();
        self.lines
            .iter()
            .filter_map(|line| {
                let (error, message) = match &line.wanted {
                    Err(field_error) => return Some(field_error.clone()),
                    Ok((id, _)) => judge(locks.get(id), wanted[id], currency)?,
                };
                Some(LineError {
                    product_id: line.sent_id.clone(),
                    error,
                    message,
                })
            })
            .collect()
    }
}

/// Returns the error for buying `quantity` pieces, if any. The storefront offers the first number in the sentence as
/// the adjusted quantity.
fn judge(
    lock: Option<&products::LockedProduct>,
    quantity: i32,
    currency: Currency,
) -> Option<(LineCode, String)> {
    const GONE: &str = "This product is no longer available";
    let field_error = match lock {
        None => (LineCode::ProductNotFound, GONE.to_owned()),
        Some(lock) if lock.is_deleted => (LineCode::ProductNotFound, GONE.to_owned()),
        Some(lock) if !lock.is_on_sale => (LineCode::ProductNotActive, GONE.to_owned()),
        Some(lock) if lock.is_sold_out || lock.available() <= 0 => (
            LineCode::ProductSoldOut,
            "This product is currently sold out".to_owned(),
        ),
        Some(lock) if lock.available() < quantity => (
            LineCode::InsufficientInventory,
            format!(
                "Only {} items available, but you requested {quantity}",
                lock.available()
            ),
        ),
        Some(lock) if lock.currency != currency.code() => (
            LineCode::CurrencyMismatch,
            "This product is priced in another currency than the shop's".to_owned(),
        ),
        Some(_) => return None,
    };
    Some(field_error)
}

fn read_line(item: &Value) -> CartLine {
    let id = &item["product_id"];
    let quantity = &item["quantity"];
    let missing = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    };
    let sent_id = match id {
        Value::String(text) if !text.is_empty() => id.clone(),
        Value::Number(_) if !missing(id) => id.clone(),
        _ => Value::from("unknown"),
    };
    let invalid = |message: &str| {
        Err(LineError {
            product_id: sent_id.clone(),
            error: LineCode::InvalidItemData,
            message: message.to_owned(),
        })
    };
    let wanted = if missing(id) || missing(quantity) {
        invalid("Missing product_id or quantity")
    } else {
        let text = match id {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        match (text, whole(quantity)) {
            (None, _) => invalid("The product_id must be a text"),
            (_, None) => invalid("The quantity must be a whole number from 1 to 999"),
            (Some(text), Some(quantity)) => match ProductId::parse(&text) {
                Some(id) => Ok((id, quantity)),
                // No product can have such an id.
                None => Err(LineError {
                    product_id: sent_id.clone(),
                    error: LineCode::ProductNotFound,
                    message: "This product is no longer available".to_owned(),
                }),
            },
        }
    };
    CartLine { sent_id, wanted }
}

/// Reads a whole number from 1 to 999. Numbers in strings are rejected.
fn whole(value: &Value) -> Option<i32> {
    let number = value.as_i64().or_else(|| {
        let float = value.as_f64()?;
        // 2.0 counts as whole. The range check below rejects out-of-range values, whatever the cast makes of them.
        (float.fract() == 0.0 && float.abs() < 1e9).then_some(float as i64)
    })?;
    (1..=MOST_PIECES)
        .contains(&number)
        .then(|| i32::try_from(number).expect("at most 999"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::money::Cents;
    use serde_json::json;

    fn locks(products: &[(&str, i32)]) -> BTreeMap<ProductId, products::LockedProduct> {
        let lock = |id: &str, on_hand| products::LockedProduct {
            id: ProductId(id.to_owned()),
            name: id.to_owned(),
            price: Cents(4700),
            currency: "usd".to_owned(),
            primary_image: None,
            is_sold_out: false,
            is_on_sale: true,
            is_deleted: false,
            on_hand,
            reserved: 0,
            current_stripe_price: None,
        };
        products
            .iter()
            .map(|(id, on_hand)| (ProductId((*id).to_owned()), lock(id, *on_hand)))
            .collect()
    }

    fn field_errors(items: Value, stock: &[(&str, i32)]) -> Vec<(Value, &'static str)> {
        let cart = Cart::read(&json!({ "items": items })).expect("a list");
        cart.check(&locks(stock), Currency::USD)
            .into_iter()
            .map(|field_error| (field_error.product_id, field_error.error.text()))
            .collect()
    }

    #[test]
    fn an_empty_cart_is_no_cart() {
        for body in [
            json!({}),
            json!({"items": null}),
            json!({"items": []}),
            json!({"items": {}}),
            json!([]),
            json!(1),
        ] {
            assert!(
                matches!(Cart::read(&body), Err(Error::Cart(field_errors)) if field_errors.is_empty()),
                "{body}"
            );
        }
        for body in [
            json!({"items": "x"}),
            json!({"items": 7}),
            json!({"items": {"a": 1}}),
            json!({"items": true}),
        ] {
            assert!(
                matches!(Cart::read(&body), Err(Error::Invalid(_))),
                "{body}"
            );
        }
        let many: Vec<Value> = (0..101)
            .map(|n| json!({"product_id": n + 1, "quantity": 1}))
            .collect();
        assert!(matches!(
            Cart::read(&json!({ "items": many })),
            Err(Error::Invalid(_))
        ));
    }

    #[test]
    fn quantities_are_whole_numbers_from_1_to_999() {
        for bad in [
            json!("2"),
            json!(-1),
            json!(1.5),
            json!(1000),
            json!(1e300),
            json!(true),
            json!([1]),
            json!({}),
        ] {
            let items = json!([{"product_id": "a", "quantity": bad}]);
            assert_eq!(
                field_errors(items, &[("a", 5)]),
                [(json!("a"), "invalid_item_data")],
                "{bad}"
            );
        }
        for missing in [
            json!({"product_id": "a"}),
            json!({"product_id": "a", "quantity": 0}),
        ] {
            assert_eq!(
                field_errors(json!([missing]), &[("a", 5)]),
                [(json!("a"), "invalid_item_data")]
            );
        }
        assert_eq!(
            field_errors(json!([{"product_id": "a", "quantity": 2.0}]), &[("a", 5)]),
            []
        );
    }

    #[test]
    fn every_wrong_line_is_reported_in_its_place() {
        let items = json!([
            {"product_id": "gone", "quantity": 1},
            {"product_id": "a", "quantity": 1},
            {"product_id": "", "quantity": 1},
            7,
            {"product_id": 42, "quantity": 1},
            {"product_id": "empty", "quantity": 1},
            {"product_id": "a\u{0}", "quantity": 1},
        ]);
        assert_eq!(
            field_errors(items, &[("a", 1), ("empty", 0)]),
            [
                (json!("gone"), "product_not_found"),
                (json!("unknown"), "invalid_item_data"),
                (json!("unknown"), "invalid_item_data"),
                (json!(42), "product_not_found"),
                (json!("empty"), "product_sold_out"),
                (json!("a\u{0}"), "product_not_found"),
            ]
        );
    }

    #[test]
    fn two_lines_of_one_product_count_together() {
        let items = json!([{"product_id": "a", "quantity": 2}, {"product_id": "a", "quantity": 2}]);
        let cart = Cart::read(&json!({ "items": items })).expect("a list");
        let field_errors = cart.check(&locks(&[("a", 3)]), Currency::USD);
        assert_eq!(field_errors.len(), 2);
        assert_eq!(field_errors[0].error, LineCode::InsufficientInventory);
        assert_eq!(
            field_errors[0].message,
            "Only 3 items available, but you requested 4"
        );
        assert!(cart.check(&locks(&[("a", 4)]), Currency::USD).is_empty());
    }
}
