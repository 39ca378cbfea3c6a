//! Money for what was copied from the shop that this one replaced: its open pages, its payment links, its orders that were
//! marked as paid by hand, and what Stripe told of them before they were here. Rows are written as an import writes them.

mod events;
mod links;
mod pages;

use serde_json::Value;
use spirit_beads::types::ids::OrderId;
use uuid::Uuid;

use crate::support::{Client, STRIPE_KEY, Shop};

/// Stripe's answer to a request of the old shop.
async fn asks_stripe(shop: &Shop, path: &str, params: &[(&str, &str)]) -> Value {
    let url = shop.app.config.stripe.api_url.as_deref();
    let client = Client::to(url.expect("the sandbox's address")).with_token(STRIPE_KEY);
    let fields: Vec<(String, String)> = params
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let answer = client.submit(&format!("/v1/{path}"), &fields).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json
}

/// A payment page as the old shop opens it: no reference, no metadata, a rate for shipping. Returns its session.
async fn page(shop: &Shop, amount: i64, shipping: i64, currency: &str) -> String {
    let (amount, shipping) = (amount.to_string(), shipping.to_string());
    let params = [
        ("mode", "payment"),
        ("success_url", "https://old.example.com/success"),
        ("line_items[0][quantity]", "1"),
        ("line_items[0][price_data][currency]", currency),
        ("line_items[0][price_data][unit_amount]", &amount),
        ("line_items[0][price_data][product_data][name]", "Sunrise"),
        ("shipping_address_collection[allowed_countries][0]", "US"),
        (
            "shipping_options[0][shipping_rate_data][display_name]",
            "Shipping",
        ),
        (
            "shipping_options[0][shipping_rate_data][type]",
            "fixed_amount",
        ),
        (
            "shipping_options[0][shipping_rate_data][fixed_amount][amount]",
            &shipping,
        ),
        (
            "shipping_options[0][shipping_rate_data][fixed_amount][currency]",
            currency,
        ),
    ];
    let session = asks_stripe(shop, "checkout/sessions", &params).await;
    session["id"].as_str().expect("an id").to_owned()
}

/// Kinds of copied orders.
#[derive(Clone, Copy, PartialEq)]
enum Copied {
    /// Its page is open, and its piece is held.
    Held,
    /// Its page may be open, and nothing is held any more.
    Expired,
    /// Shipped, and nobody knows its payment.
    Shipped,
}

/// Copies an order of one piece for 47 dollars, whose shipping nobody knows.
async fn copy_order(shop: &Shop, session: &str, piece: &str, how: Copied) -> OrderId {
    let id = OrderId(Uuid::now_v7());
    let (status, checkout) = match how {
        Copied::Held => ("pending", "open"),
        Copied::Expired => ("expired", "expired"),
        Copied::Shipped => ("shipped", "complete"),
    };
    let is_settled = how == Copied::Shipped;
    sqlx::query(
        "insert into orders (id, status, channel, currency, subtotal, shipping, total, paid_at, payment_unrecorded)
         values ($1, $2, 'storefront', 'usd', 4700, 0, 4700, case when $3 then now() end, $3)",
    )
    .bind(id)
    .bind(status)
    .bind(is_settled)
    .execute(&shop.db)
    .await
    .expect("the order");
    for (sql, is_to_run) in [
        (
            "insert into order_lines (order_id, position, product_id, name, unit_price, quantity)
             values ($1, 1, $2, 'Sunrise', 4700, 1)",
            true,
        ),
        (
            "update products set reserved = reserved + 1 where $1::uuid is not null and id = $2",
            how == Copied::Held,
        ),
        (
            "insert into shipments (order_id, carrier) select $1, 'USPS' where $2 <> ''",
            is_settled,
        ),
    ] {
        if is_to_run {
            let done = sqlx::query(sql)
                .bind(id)
                .bind(piece)
                .execute(&shop.db)
                .await;
            done.expect(sql);
        }
    }
    sqlx::query(
        "insert into checkouts (order_id, state, return_origin, session_id, expires_at, hold_until)
         values ($1, $2, '', $3, now() + interval '24 hours', now() + interval '41 minutes')",
    )
    .bind(id)
    .bind(checkout)
    .bind(session)
    .execute(&shop.db)
    .await
    .expect("the checkout");
    id
}

/// Kinds of the open review items, in their order.
async fn open_items(shop: &Shop) -> Vec<String> {
    sqlx::query_scalar("select kind from review_items where resolved_at is null order by kind")
        .fetch_all(&shop.db)
        .await
        .expect("the items")
}

/// Delivers what Stripe has, and works off what follows, until nothing does.
async fn settles(shop: &Shop) {
    for _ in 0..3 {
        shop.deliver().await;
        shop.run_jobs().await;
    }
}
