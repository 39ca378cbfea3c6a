//! P7: the public reads what is for sale and writes checkouts and custom orders, nothing else; all other routes need the owner. And
//! what every answer says to browsers.

mod headers;
mod tokens;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::{Role, Scope};

use crate::support::{Answer, Client, Leftover, Shop, intakes};

/// Every route that needs a token, the scope it asks for, and a body that would have an effect.
pub fn routes() -> Vec<(Method, &'static str, Scope, Value)> {
    let product = json!({"id": "new", "name": "New", "lighter_type": 1, "price": 4700});
    let replaced = json!({"name": "Other", "lighter_type": 2, "price": 9900});
    let sale = json!({"lines": [{"product_id": "sunrise", "quantity": 1}]});
    let category = json!({"name": "Other"});
    vec![
        (Method::POST, "/api/products", Scope::Catalog, product),
        (Method::PUT, "/api/products/{id}", Scope::Catalog, replaced),
        (
            Method::PATCH,
            "/api/products/{id}",
            Scope::Catalog,
            json!({"price": 100}),
        ),
        (
            Method::DELETE,
            "/api/products/{id}",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::POST,
            "/api/products/{id}/archive",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::POST,
            "/api/products/{id}/restore",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::POST,
            "/api/products/{id}/sync",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::GET,
            "/api/products/{id}/stock",
            Scope::Stock,
            Value::Null,
        ),
        (
            Method::POST,
            "/api/products/{id}/stock",
            Scope::Stock,
            json!({"delta": 1, "reason": "made"}),
        ),
        (
            Method::GET,
            "/api/admin/products",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::GET,
            "/api/admin/products/{id}",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::POST,
            "/api/categories",
            Scope::Catalog,
            json!({"name": "Another"}),
        ),
        (
            Method::PUT,
            "/api/categories/{id}",
            Scope::Catalog,
            category.clone(),
        ),
        (
            Method::PATCH,
            "/api/categories/{id}",
            Scope::Catalog,
            category,
        ),
        (
            Method::DELETE,
            "/api/categories/{id}",
            Scope::Catalog,
            Value::Null,
        ),
        (
            Method::GET,
            "/api/admin/orders",
            Scope::OrdersRead,
            Value::Null,
        ),
        (
            Method::GET,
            "/api/admin/orders/{id}",
            Scope::OrdersRead,
            Value::Null,
        ),
        (Method::POST, "/api/admin/orders", Scope::OrdersWrite, sale),
        (
            Method::GET,
            "/api/admin/emails",
            Scope::OrdersRead,
            Value::Null,
        ),
        (
            Method::GET,
            "/api/admin/emails/{id}",
            Scope::OrdersRead,
            Value::Null,
        ),
        (
            Method::POST,
            "/api/admin/emails/{id}/resend",
            Scope::OrdersWrite,
            Value::Null,
        ),
    ]
    .into_iter()
    .chain(later_routes())
    .chain(twins())
    .collect()
}

/// Calls on orders and requests once they are there.
fn later_routes() -> Vec<(Method, &'static str, Scope, Value)> {
    let (get, post) = (Method::GET, Method::POST);
    let write = Scope::OrdersWrite;
    let custom = Scope::CustomOrders;
    let shipment = json!({"carrier": "USPS"});
    let quote = json!({"amount": 9000, "description": "A case"});
    let reason = json!({"reason": "No beads"});
    vec![
        (
            post.clone(),
            "/api/admin/orders/{id}/ship",
            write,
            shipment.clone(),
        ),
        (
            post.clone(),
            "/api/admin/orders/{id}/deliver",
            write,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/orders/{id}/notes",
            write,
            json!({"text": "Seen"}),
        ),
        (
            post.clone(),
            "/api/admin/orders/{id}/refund",
            Scope::Refunds,
            json!({"reason": "Broken"}),
        ),
        (
            post.clone(),
            "/api/admin/refunds/{id}/retry",
            Scope::Refunds,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/orders/{id}/restock",
            write,
            json!({"restock": [{"product_id": "sunrise", "quantity": 1}]}),
        ),
        (
            post.clone(),
            "/api/admin/orders/{id}/undo",
            write,
            Value::Null,
        ),
        (get.clone(), "/api/admin/custom-orders", custom, Value::Null),
        (
            get.clone(),
            "/api/admin/custom-orders/board",
            custom,
            Value::Null,
        ),
        (
            get.clone(),
            "/api/admin/custom-orders/{id}",
            custom,
            Value::Null,
        ),
        (
            get.clone(),
            "/api/admin/custom-orders/{id}/payments",
            custom,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/refund",
            Scope::Refunds,
            json!({"reason": "Broken"}),
        ),
        (
            Method::PUT,
            "/api/admin/custom-orders/{id}/quote",
            custom,
            quote.clone(),
        ),
        (
            get.clone(),
            "/api/admin/custom-orders/{id}/email",
            custom,
            Value::Null,
        ),
        (
            Method::DELETE,
            "/api/admin/custom-orders/{id}/quote",
            custom,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/notes",
            custom,
            json!({"text": "Seen"}),
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/messages",
            custom,
            json!({"text": "Which blue?"}),
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/resolve",
            custom,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/orders/{id}/resolve",
            write,
            Value::Null,
        ),
        (
            get.clone(),
            "/api/admin/customers",
            Scope::OrdersRead,
            Value::Null,
        ),
        (
            get.clone(),
            "/api/admin/customers/{id}",
            Scope::OrdersRead,
            Value::Null,
        ),
        (
            Method::DELETE,
            "/api/admin/customers/{id}",
            Scope::OrdersRead,
            Value::Null,
        ),
        (
            Method::PUT,
            "/api/admin/customers/{id}/note",
            Scope::OrdersRead,
            json!({"text": "Likes red."}),
        ),
        (
            get.clone(),
            "/api/admin/review-items",
            Scope::OrdersRead,
            Value::Null,
        ),
        (
            get.clone(),
            "/api/admin/review-items/{id}",
            Scope::OrdersRead,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/review-items/{id}/resolve",
            write,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/requote",
            custom,
            quote,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/approve",
            custom,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/withdraw",
            custom,
            reason.clone(),
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/reject",
            custom,
            reason,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/start",
            custom,
            Value::Null,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/ship",
            custom,
            shipment,
        ),
        (
            post.clone(),
            "/api/admin/custom-orders/{id}/complete",
            custom,
            Value::Null,
        ),
    ]
}

/// Other calls of the admin.
#[rustfmt::skip]
fn twins() -> Vec<(Method, &'static str, Scope, Value)> {
    let (get, post) = (|| Method::GET, || Method::POST);
    let nothing = Value::Null;
    let images = json!({"images": [IMAGE]});
    vec![
        (get(), "/api/admin/dashboard", Scope::OrdersRead, nothing.clone()),
        (get(), "/api/admin/orders.csv", Scope::OrdersRead, nothing.clone()),
        (get(), "/api/admin/orders/labels.csv", Scope::OrdersRead, nothing.clone()),
        (get(), "/api/admin/orders/{id}/packing-slip", Scope::OrdersRead, nothing.clone()),
        (get(), "/api/admin/orders/{id}/payments", Scope::OrdersRead, nothing.clone()),
        (post(), "/api/admin/orders/ship", Scope::OrdersWrite,
            json!({"shipments": [{"order": "SB-1001", "carrier": "USPS"}]})),
        (Method::PATCH, "/api/admin/products", Scope::Catalog, json!({"action": "archive", "ids": ["sunrise"]})),
        (post(), "/api/admin/products/{id}/duplicate", Scope::Catalog, nothing.clone()),
        (post(), "/api/admin/lighters", Scope::Catalog,
            json!({"files": [{"name": "classic/A_B_55-1.png", "image": IMAGE}], "dry_run": true})),
        (get(), "/api/admin/intakes", Scope::Catalog, nothing.clone()),
        (post(), "/api/admin/intakes", Scope::Catalog, json!({"lighter_type": 2})),
        (get(), "/api/admin/intakes/{id}", Scope::Catalog, nothing.clone()),
        (Method::DELETE, "/api/admin/intakes/{id}", Scope::Catalog, nothing.clone()),
        (Method::PATCH, "/api/admin/intakes/{id}/photos/{photo}", Scope::Catalog, json!({"side": "front"})),
        (Method::DELETE, "/api/admin/intakes/{id}/photos/{photo}", Scope::Catalog, nothing.clone()),
        (post(), "/api/admin/intakes/{id}/pieces", Scope::Catalog,
            json!({"photo": intakes::OPEN, "outline": [[9, 9], [90, 9], [90, 200], [9, 200]]})),
        (Method::PATCH, "/api/admin/intakes/{id}/pieces/{piece}", Scope::Catalog, json!({"head_degrees": 12})),
        (post(), "/api/admin/intakes/{id}/pieces/{piece}/cut", Scope::Catalog, json!({"from": [0, 200], "to": [400, 200]})),
        (Method::PUT, "/api/admin/intakes/{id}/pairs", Scope::Catalog, json!({"pairs": []})),
        (Method::PATCH, "/api/admin/intakes/{id}/items/{front}", Scope::Catalog, json!({"name": "Wren"})),
        (post(), "/api/admin/intakes/{id}/create", Scope::Catalog, json!({})),
        (post(), "/api/admin/intakes/{id}/take-back", Scope::Catalog, nothing.clone()),
        (post(), "/api/admin/products/{id}/images", Scope::Catalog, images.clone()),
        (Method::PUT, "/api/admin/products/{id}/images", Scope::Catalog, images),
        (post(), "/api/admin/products/{id}/images/{image}/up", Scope::Catalog, nothing.clone()),
        (post(), "/api/admin/products/{id}/images/{image}/down", Scope::Catalog, nothing.clone()),
        (Method::DELETE, "/api/admin/products/{id}/images/{image}", Scope::Catalog, nothing.clone()),
        (get(), "/api/admin/categories", Scope::Catalog, nothing.clone()),
        (Method::PUT, "/api/admin/categories", Scope::Catalog, json!({"ids": [2, 1]})),
        (post(), "/api/admin/categories/{id}/up", Scope::Catalog, nothing.clone()),
        (post(), "/api/admin/categories/{id}/down", Scope::Catalog, nothing.clone()),
        (get(), "/api/admin/users", Scope::Users, nothing.clone()),
        (get(), "/api/admin/users/{id}", Scope::Users, nothing.clone()),
        (post(), "/api/admin/users", Scope::Users, json!({"email": "new@example.com", "role": "staff"})),
        (post(), "/api/admin/users/{id}/role", Scope::Users, json!({"role": "staff"})),
        (post(), "/api/admin/users/{id}/disable", Scope::Users, nothing.clone()),
        (post(), "/api/admin/users/{id}/enable", Scope::Users, nothing.clone()),
        (post(), "/api/admin/users/{id}/password", Scope::Users, nothing.clone()),
        (post(), "/api/admin/users/{id}/second-factor/turn-off", Scope::Users, nothing.clone()),
        (post(), "/api/admin/users/{id}/sessions/end", Scope::Users, nothing.clone()),
        (get(), "/api/admin/tokens", Scope::Tokens, nothing.clone()),
        (post(), "/api/admin/tokens", Scope::Tokens, json!({"name": "heir", "scopes": ["tokens"]})),
        (post(), "/api/admin/tokens/{id}/revoke", Scope::Tokens, nothing.clone()),
        (get(), "/api/admin/audit", Scope::Audit, nothing.clone()),
        (get(), "/api/admin/health", Scope::System, nothing.clone()),
        (get(), "/api/admin/backup", Scope::Backup, nothing.clone()),
        (get(), "/api/admin/events", Scope::System, nothing.clone()),
        (get(), "/api/admin/events/{id}", Scope::System, nothing.clone()),
        (post(), "/api/admin/events/{id}/run", Scope::System, nothing.clone()),
        (get(), "/api/admin/jobs", Scope::System, nothing.clone()),
        (get(), "/api/admin/jobs/{id}", Scope::System, nothing.clone()),
        (post(), "/api/admin/jobs/{id}/retry", Scope::System, nothing.clone()),
        (Method::DELETE, "/api/admin/jobs/{id}", Scope::System, nothing.clone()),
        (get(), "/api/admin/holds", Scope::System, nothing.clone()),
        (post(), "/api/admin/holds/{id}/release", Scope::System, nothing.clone()),
        (Method::PATCH, "/api/admin/orders/{id}/customer", Scope::OrdersWrite, json!({"phone": "1"})),
        (Method::PATCH, "/api/admin/custom-orders/{id}/customer", Scope::CustomOrders, json!({"customer_name": "Dora"})),
        (post(), "/api/admin/orders/{id}/unship", Scope::OrdersWrite, json!({})),
        (post(), "/api/admin/custom-orders/{id}/unship", Scope::CustomOrders, json!({})),
        (Method::PATCH, "/api/admin/orders/{id}/shipment", Scope::OrdersWrite, json!({"carrier": "UPS"})),
        (Method::PATCH, "/api/admin/custom-orders/{id}/shipment", Scope::CustomOrders, json!({"carrier": "UPS"})),
        (get(), "/api/admin/email-samples", Scope::Settings, nothing.clone()),
        (get(), "/api/admin/email-samples/{name}", Scope::Settings, nothing.clone()),
        (get(), "/api/admin/settings", Scope::Settings, nothing),
        (Method::PUT, "/api/admin/settings", Scope::Settings, json!({"chosen": {"shop_name": "Other"}})),
    ]
}

/// Scopes that open the routes of a scope: the scope itself; for users, all that the one they are about may do.
fn enough(scope: Scope) -> Vec<Scope> {
    match scope {
        Scope::Users => Role::Staff
            .scopes()
            .iter()
            .copied()
            .chain([Scope::Users])
            .collect(),
        scope => vec![scope],
    }
}

const USER: &str = "0193a000-0000-7000-8000-000000000002";

const IMAGE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const EMAIL: &str = "0193a000-0000-7000-8000-000000000001";

const REFUND: &str = "0193a000-0000-7000-8000-000000000003";

/// A shop with one of everything.
async fn furnished() -> Shop {
    let shop = Shop::open().await;
    // The rows below were written by hand: no job can finish what they promise.
    shop.leaves(Leftover::FailedJobs);
    let admin = shop.admin(&Scope::ALL).await;
    assert_eq!(
        admin
            .post("/api/categories/", &json!({"name": "Suns"}))
            .await
            .status,
        201
    );
    shop.stocks_with("Sunrise", 3, json!({"category": "suns"}))
        .await;
    let sale = json!({"lines": [{"product_id": "sunrise", "quantity": 1}]});
    assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
    shop.asks_for_a_piece("ann@example.com").await;
    sqlx::query(
        "insert into emails (id, dedup_key, kind, recipient, contents, state)
         values ($1::uuid, 'test', 'order_confirmation', 'nowhere', '{}', 'failed')",
    )
    .bind(EMAIL)
    .execute(&shop.db)
    .await
    .expect("an email");
    shop.run_jobs().await;
    shop.shopper().check_out(&[("sunrise", 1)]).await;
    for sql in [
        "insert into images (id, storage_key, format, size_bytes, width, height, thumbhash) values (repeat('0', 64), 'none', 'png', 1, 1, 1, '')",
        "insert into product_images (product_id, position, image_id) values ('sunrise', 0, repeat('0', 64))",
        "insert into categories (name, slug) values ('Moons', 'moons')",
        "insert into users (id, email, role, password_hash) values ('0193a000-0000-7000-8000-000000000002', 'ben@example.com', 'staff', '')",
        "insert into api_tokens (id, name, hash, scopes) overriding system value values (900, 'old', '', '{tokens}')",
        "insert into review_items (id, order_id, kind, cause, text)
         select '0193a000-0000-7000-8000-000000000001', id, 'other', 'test', 'Look' from orders where number = 1001",
        "insert into payments (id, order_id, outcome, amount) select 'pi_1', id, 'refused', 5200 from orders where number = 1001",
        "insert into refunds (id, payment_id, wanted_amount, amount, reason, actor, state)
         values ('0193a000-0000-7000-8000-000000000003', 'pi_1', 100, 100, '', 'test', 'planned')",
        "insert into stripe_events (id, type, status, source, payload) values ('evt_1', 'x', 'failed', 'webhook', '{}')",
        "alter table graphile_worker._private_jobs alter column id restart with 900",
        "select id from graphile_worker.add_job('clock', '{\"job\": \"sweep\"}'::json)",
    ] {
        sqlx::query(sql).execute(&shop.db).await.expect(sql);
    }
    intakes::lay_out(&shop).await;
    shop
}

fn path_of(route: &str) -> String {
    let id = match route {
        "/api/categories/{id}" => "1",
        route if route.starts_with("/api/admin/orders/") => "SB-1001",
        "/api/admin/customers/{id}" | "/api/admin/customers/{id}/note" => "CO-1001",
        route if route.starts_with("/api/admin/custom-orders/") => "CO-1001",
        "/api/admin/emails/{id}" | "/api/admin/emails/{id}/resend" => EMAIL,
        route if route.starts_with("/api/admin/review-items/") => EMAIL,
        route if route.starts_with("/api/admin/categories/") => "1",
        route if route.starts_with("/api/admin/users/") => USER,
        "/api/admin/intakes/{id}/take-back" => intakes::DONE,
        route if route.starts_with("/api/admin/intakes/") => intakes::OPEN,
        route if route.starts_with("/api/admin/tokens/") => "900",
        route if route.starts_with("/api/admin/jobs/") => "900",
        route if route.starts_with("/api/admin/events/") => "evt_1",
        route if route.starts_with("/api/admin/holds/") => "SB-1002",
        route if route.starts_with("/api/admin/refunds/") => REFUND,
        _ => "sunrise",
    };
    let route = route.replace("{id}", id).replace("{image}", IMAGE);
    let route = route.replace("{name}", "receipt") + "/";
    ["{photo}", "{piece}", "{front}"]
        .into_iter()
        .fold(route, |route, name| route.replace(name, intakes::OPEN))
}

async fn knock(
    client: &Client,
    route: &(Method, &str, Scope, Value),
    headers: &[(&str, &str)],
) -> Answer {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    let body = (!route.3.is_null()).then(|| route.3.to_string());
    client
        .send(route.0.clone(), &path_of(route.1), &all, body)
        .await
}

/// All that a route could change.
async fn state(shop: &Shop) -> Value {
    sqlx::query_scalar(
        "select jsonb_build_array(
             (select jsonb_agg(to_jsonb(p) order by id) from products p),
             (select jsonb_agg(to_jsonb(c) order by id) from categories c),
             (select jsonb_agg(to_jsonb(o) order by id) from orders o),
             (select jsonb_agg(to_jsonb(r) order by id) from custom_orders r),
             (select jsonb_agg(to_jsonb(q) order by id) from custom_order_quotes q),
             (select count(*) from order_events),
             (select count(*) from custom_order_events),
             (select jsonb_agg(to_jsonb(l) order by id) from emails l),
             (select jsonb_agg(to_jsonb(u) order by id) from users u),
             (select jsonb_agg(to_jsonb(t) - 'last_used_at' order by id) from api_tokens t where name not in ('test', 'spent')),
             (select jsonb_agg(to_jsonb(p)) from product_images p),
             (select jsonb_agg(to_jsonb(e)) from stripe_events e),
             (select to_jsonb(s) from settings s),
             (select count(*) from audit_log where actor like 'token:%'),
             (select count(*) from stock_movements),
             (select jsonb_agg(to_jsonb(i) order by id) from intakes i),
             (select jsonb_agg(to_jsonb(i) order by id) from intake_photos i),
             (select jsonb_agg(to_jsonb(i) order by id) from intake_pieces i),
             (select jsonb_agg(to_jsonb(i) order by piece_id) from intake_items i),
             (select count(*) from graphile_worker._private_jobs))",
    )
    .fetch_one(&shop.db)
    .await
    .expect("the state")
}
