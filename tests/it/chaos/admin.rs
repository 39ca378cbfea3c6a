//! The owner, through the API with a token: prices, stock, shelves, shipments, refunds and quotes; often twice, and
//! often at the moment when somebody buys.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use super::rng::Chance;
use super::state::World;

pub const SCOPES: [&str; 6] = [
    "catalog",
    "stock",
    "orders:read",
    "orders:write",
    "custom_orders",
    "refunds",
];

/// Puts the first pieces on the shelf: half of them exist once.
pub async fn open_shop(world: &World, chance: &mut Chance) {
    for number in 0..16 {
        let count = if number % 2 == 0 { 1 } else { 3 + number };
        assert!(
            add_piece(world, chance, &format!("piece-{number}"), count).await,
            "a piece for the shelf"
        );
    }
}

async fn add_piece(world: &World, chance: &mut Chance, id: &str, count: u64) -> bool {
    let piece = json!({
        "id": id, "name": format!("Piece {id}"), "lighter_type": 1 + chance.below(2),
        "price": 1500 + chance.below(80) * 100, "inventory_count": count,
    });
    let answer = world
        .keep(chance, Method::POST, "/api/products/", Some(&piece))
        .await;
    answer.is_some_and(|answer| answer.status == 201)
}

pub async fn keep(world: Arc<World>, mut chance: Chance, name: String) {
    let mut made = 0;
    while !world.is_over() {
        match chance.below(17) {
            0 | 1 => ship(&world, &mut chance).await,
            2 => deliver(&world, &mut chance).await,
            3 => refund(&world, &mut chance).await,
            4 | 11 => change_shelf(&world, &mut chance).await,
            5 => change_piece(&world, &mut chance).await,
            6..=8 => change_stock(&world, &mut chance).await,
            9 => {
                made += 1;
                let id = format!("{name}-{made}");
                if add_piece(&world, &mut chance, &id, 1).await {
                    image_url(&world, &mut chance, &id).await;
                }
            }
            10 => sell_by_hand(&world, &mut chance).await,
            _ => custom_order(&world, &mut chance).await,
        }
        world.pause(chance.millis(50, 500)).await;
    }
}

async fn one_order(world: &World, chance: &mut Chance, status: &str) -> Option<Value> {
    let path = format!("/api/admin/orders/?status={status}&page_size=50");
    let answer = world.keep(chance, Method::GET, &path, None).await?;
    let orders = answer.json["results"].as_array()?;
    (!orders.is_empty()).then(|| chance.pick(orders).clone())
}

async fn ship(world: &World, chance: &mut Chance) {
    let Some(order) = one_order(world, chance, "paid").await else {
        return;
    };
    let path = format!("/api/admin/orders/{}/ship/", text(&order["number"]));
    let shipment = json!({
        "carrier": "USPS",
        "tracking_number": "9400 1000",
        "ship_anyway": chance.one_in(2),
    });
    twice_at_times(world, chance, &path, &shipment).await;
    world.tally.add("shipments");
}

async fn deliver(world: &World, chance: &mut Chance) {
    if let Some(order) = one_order(world, chance, "shipped").await {
        let path = format!("/api/admin/orders/{}/deliver/", text(&order["number"]));
        twice_at_times(world, chance, &path, &json!({})).await;
    }
}

async fn refund(world: &World, chance: &mut Chance) {
    let status = *chance.pick(&["paid", "shipped", "delivered", "refunded"]);
    let Some(order) = one_order(world, chance, status).await else {
        return;
    };
    let number = text(&order["number"]);
    if status == "refunded" {
        return restock(world, chance, number).await;
    }
    if chance.one_in(6) {
        return refund_at_stripe(world, chance, &order).await;
    }
    let mut body = json!({"id": chance.uuid(), "reason": "the storm"});
    if chance.one_in(2) {
        body["amount"] = json!(1 + chance.below(900));
    }
    if chance.one_in(2) {
        let path = format!("/api/admin/orders/{number}/");
        let Some(order) = world.keep(chance, Method::GET, &path, None).await else {
            return;
        };
        let line = &order.json["lines"][0];
        if line["product_id"].is_string() {
            body["restock"] = json!([{"product_id": line["product_id"], "quantity": 1}]);
        }
    }
    let path = format!("/api/admin/orders/{number}/refund/");
    twice_at_times(world, chance, &path, &body).await;
    world.tally.add("refunds asked for");
}

/// Puts a piece of a refunded order back into stock, without money.
async fn restock(world: &World, chance: &mut Chance, number: &str) {
    let path = format!("/api/admin/orders/{number}/");
    let Some(order) = world.keep(chance, Method::GET, &path, None).await else {
        return;
    };
    let product = &order.json["lines"][0]["product_id"];
    if product.is_string() {
        let body =
            json!({"id": chance.uuid(), "restock": [{"product_id": product, "quantity": 1}]});
        twice_at_times(world, chance, &format!("{path}restock/"), &body).await;
        world.tally.add("restocks");
    }
}

/// Money refunded in Stripe's own dashboard, behind the shop's back.
async fn refund_at_stripe(world: &World, chance: &mut Chance, order: &Value) {
    let found: Result<Option<String>, _> = sqlx::query_scalar(
        "select data ->> 'payment_intent'
         from stripe_sandbox.objects
         where object = 'checkout.session' and data ->> 'client_reference_id' = $1 and data ->> 'payment_status' = 'paid'",
    )
    .bind(order["id"].as_str())
    .fetch_optional(&world.stripe)
    .await;
    if let Ok(Some(payment)) = found {
        let body = json!({"payment_intent": payment, "amount": 1 + chance.below(300)});
        if world.switch("refund", &body).await.is_some() {
            world.tally.add("refunds at the dashboard");
        }
    }
}

/// Sends a call, and at times the same once more at the same moment or after it.
async fn twice_at_times(world: &World, chance: &mut Chance, path: &str, body: &Value) {
    let mut other = Chance::new(chance.next());
    match chance.below(4) {
        0 => {
            tokio::join!(
                world.keep(chance, Method::POST, path, Some(body)),
                world.keep(&mut other, Method::POST, path, Some(body))
            );
        }
        1 => {
            world.keep(chance, Method::POST, path, Some(body)).await;
            world.keep(chance, Method::POST, path, Some(body)).await;
        }
        _ => {
            world.keep(chance, Method::POST, path, Some(body)).await;
        }
    }
}

async fn one_piece(world: &World, chance: &mut Chance) -> Option<Value> {
    let path = "/api/admin/products/?page_size=100";
    let answer = world.keep(chance, Method::GET, path, None).await?;
    let pieces = answer.json["results"].as_array()?;
    // Of those off the shelf first, or the shop would soon be empty.
    let off = |piece: &&Value| piece["is_active"] == false || piece["is_sold_out"] == true;
    let off: Vec<&Value> = pieces.iter().filter(off).collect();
    match off[..] {
        [] if pieces.is_empty() => None,
        [_, _, _, ..] => Some((*chance.pick(&off)).clone()),
        _ => Some(chance.pick(pieces).clone()),
    }
}

async fn change_piece(world: &World, chance: &mut Chance) {
    if let Some(piece) = one_piece(world, chance).await {
        let path = format!("/api/products/{}/", text(&piece["id"]));
        let body = json!({"price": 1500 + chance.below(80) * 100});
        world.keep(chance, Method::PATCH, &path, Some(&body)).await;
        world.tally.add("prices changed");
    }
}

async fn change_shelf(world: &World, chance: &mut Chance) {
    if let Some(piece) = one_piece(world, chance).await {
        let id = text(&piece["id"]);
        let action = match (piece["is_active"] == true, chance.below(3)) {
            (true, 0) => "archive",
            (true, _) => "sync",
            (false, _) => "restore",
        };
        world.tally.add("shelves changed");
        let path = format!("/api/products/{id}/{action}/");
        world
            .keep(chance, Method::POST, &path, Some(&json!({})))
            .await;
        if piece["is_sold_out"] == true || chance.one_in(6) {
            let body = json!({"is_sold_out": piece["is_sold_out"] != true});
            let path = format!("/api/products/{id}/");
            world.keep(chance, Method::PATCH, &path, Some(&body)).await;
        }
    }
}

async fn change_stock(world: &World, chance: &mut Chance) {
    if let Some(piece) = one_piece(world, chance).await {
        let body = if chance.one_in(4) {
            json!({"delta": -1, "reason": "damaged"})
        } else {
            json!({"delta": 1 + chance.below(6), "reason": "made"})
        };
        let path = format!("/api/products/{}/stock/", text(&piece["id"]));
        world.keep(chance, Method::POST, &path, Some(&body)).await;
        world.tally.add("stock changed");
    }
}

/// Uploads an image, which the media store may have no room for, and hangs it at a piece.
async fn image_url(world: &World, chance: &mut Chance, piece: &str) {
    let mut form = Vec::new();
    form.extend_from_slice(
        b"--storm\r\ncontent-disposition: form-data; name=\"image\"; filename=\"photo.jpg\"\r\n\
          content-type: image/jpeg\r\n\r\n",
    );
    form.extend_from_slice(&world.image_url);
    form.extend_from_slice(b"\r\n--storm--\r\n");
    let headers = [
        (
            "content-type",
            "multipart/form-data; boundary=storm".to_owned(),
        ),
        ("authorization", format!("Bearer {}", world.token)),
    ];
    let path = "/api/admin/images/";
    let answer = world
        .call(chance, None, Method::POST, path, &headers, Some(form))
        .await;
    let Some(image) = answer.filter(|answer| answer.status == 201) else {
        return;
    };
    world.tally.add("images");
    let body = json!({"images": [image.json[0]["id"]]});
    let path = format!("/api/products/{piece}/");
    world.keep(chance, Method::PATCH, &path, Some(&body)).await;
}

/// A sale at the market stall, sent twice under one key, and at times undone.
async fn sell_by_hand(world: &World, chance: &mut Chance) {
    let Some(piece) = one_piece(world, chance).await else {
        return;
    };
    let body =
        json!({"lines": [{"product_id": piece["id"], "quantity": 1}], "note": "at the market"});
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("authorization", format!("Bearer {}", world.token)),
        ("idempotency-key", chance.uuid().to_string()),
    ];
    let path = "/api/admin/orders/";
    let mut number = None;
    for _ in 0..2 {
        let body = Some(body.to_string().into_bytes());
        let answer = world
            .call(chance, None, Method::POST, path, &headers, body)
            .await;
        if let Some(answer) = answer.filter(|answer| answer.status == 201) {
            number = answer.json["number"].as_str().map(str::to_owned);
        }
    }
    if let Some(number) = number {
        world.tally.add("sales by hand");
        if chance.one_in(3) {
            let path = format!("/api/admin/orders/{number}/undo/");
            twice_at_times(world, chance, &path, &json!({})).await;
        }
    }
}

/// Moves a custom order along, or another way.
async fn custom_order(world: &World, chance: &mut Chance) {
    let status = *chance.pick(&[
        "pending",
        "pending",
        "pending",
        "approved",
        "paid",
        "in_production",
        "shipped",
        "expired",
    ]);
    let path = format!("/api/admin/custom-orders/?status={status}&page_size=50");
    let Some(answer) = world.keep(chance, Method::GET, &path, None).await else {
        return;
    };
    let Some(requests) = answer.json["results"]
        .as_array()
        .filter(|all| !all.is_empty())
    else {
        return;
    };
    let request = chance.pick(requests);
    let base = format!("/api/admin/custom-orders/{}", text(&request["number"]));
    let quote = json!({
        "amount": 4000 + chance.below(200) * 50, "description": "A case, as you wished.", "valid_days": 1 + chance.below(3),
    });
    let reason = json!({"reason": "I cannot make it now."});
    let shipment = json!({
        "carrier": "UPS",
        "tracking_number": "1Z999",
        "ship_anyway": chance.one_in(2),
    });
    let nothing = json!({});
    let act = async |chance: &mut Chance, what: &str, body: &Value| {
        let path = format!("{base}/{what}/");
        twice_at_times(world, chance, &path, body).await;
    };
    match status {
        "pending" if chance.one_in(8) => act(chance, "reject", &reason).await,
        "pending" | "expired" => {
            let path = format!("{base}/quote/");
            world.keep(chance, Method::PUT, &path, Some(&quote)).await;
            act(chance, "approve", &nothing).await;
            world.tally.add("quotes");
        }
        "approved" if chance.one_in(4) => act(chance, "withdraw", &reason).await,
        "approved" if chance.one_in(2) => {
            act(chance, "requote", &quote).await;
            world.tally.add("quotes replaced");
        }
        "paid" if chance.one_in(3) => act(chance, "ship", &shipment).await,
        "paid" => act(chance, "start", &nothing).await,
        "in_production" => act(chance, "ship", &shipment).await,
        "shipped" => act(chance, "complete", &nothing).await,
        _ => {}
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
