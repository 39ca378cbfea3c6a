//! Each page of the admin has a call of the API.

use std::collections::BTreeMap;

use spirit_beads::admin;

use crate::support::Shop;

/// Each route of the admin, and the calls that do the same; or why there is none.
const TWINS: &[(&str, Result<&str, &str>)] = &[
    ("GET /admin", Ok("GET /api/admin/dashboard")),
    ("GET /admin/orders", Ok("GET /api/admin/orders")),
    ("GET /admin/orders.csv", Ok("GET /api/admin/orders.csv")),
    (
        "GET /admin/orders/labels.csv",
        Ok("GET /api/admin/orders/labels.csv"),
    ),
    ("GET /admin/orders/ship", Err(FORM)),
    ("POST /admin/orders/ship", Ok("POST /api/admin/orders/ship")),
    (
        "GET /admin/orders/{id}",
        Ok("GET /api/admin/orders/{id}, GET /api/admin/orders/{id}/payments"),
    ),
    (
        "GET /admin/orders/{id}/packing-slip",
        Ok("GET /api/admin/orders/{id}/packing-slip"),
    ),
    (
        "POST /admin/orders/{id}/ship",
        Ok("POST /api/admin/orders/{id}/ship"),
    ),
    (
        "POST /admin/orders/{id}/deliver",
        Ok("POST /api/admin/orders/{id}/deliver"),
    ),
    (
        "POST /admin/orders/{id}/customer",
        Ok("PATCH /api/admin/orders/{id}/customer"),
    ),
    (
        "POST /admin/custom-orders/{id}/customer",
        Ok("PATCH /api/admin/custom-orders/{id}/customer"),
    ),
    (
        "POST /admin/orders/{id}/unship",
        Ok("POST /api/admin/orders/{id}/unship"),
    ),
    (
        "POST /admin/custom-orders/{id}/unship",
        Ok("POST /api/admin/custom-orders/{id}/unship"),
    ),
    (
        "POST /admin/orders/{id}/shipment",
        Ok("PATCH /api/admin/orders/{id}/shipment"),
    ),
    (
        "POST /admin/custom-orders/{id}/shipment",
        Ok("PATCH /api/admin/custom-orders/{id}/shipment"),
    ),
    (
        "POST /admin/orders/{id}/note",
        Ok("POST /api/admin/orders/{id}/notes"),
    ),
    (
        "POST /admin/orders/{id}/resend",
        Ok("POST /api/admin/emails/{id}/resend"),
    ),
    (
        "POST /admin/orders/{id}/undo",
        Ok("POST /api/admin/orders/{id}/undo"),
    ),
    (
        "POST /admin/orders/{id}/refund",
        Ok("POST /api/admin/orders/{id}/refund"),
    ),
    (
        "POST /admin/orders/{id}/restock",
        Ok("POST /api/admin/orders/{id}/restock"),
    ),
    (
        "POST /admin/refunds/{id}/retry",
        Ok("POST /api/admin/refunds/{id}/retry"),
    ),
    (
        "POST /admin/custom-orders/{id}/refund",
        Ok("POST /api/admin/custom-orders/{id}/refund"),
    ),
    (
        "GET /admin/search",
        Ok(
            "GET /api/admin/orders, GET /api/admin/custom-orders, GET /api/admin/products, GET /api/admin/customers",
        ),
    ),
    (
        "GET /admin/customers/{id}",
        Ok("GET /api/admin/customers/{id}"),
    ),
    (
        "GET /admin/customers/{id}/export",
        Ok("GET /api/admin/customers/{id}"),
    ),
    (
        "POST /admin/customers/{id}/note",
        Ok("PUT /api/admin/customers/{id}/note"),
    ),
    (
        "POST /admin/customers/{id}/erase",
        Ok("DELETE /api/admin/customers/{id}"),
    ),
    ("GET /admin/sell", Ok("GET /api/admin/products")),
    ("POST /admin/sell", Ok("POST /api/admin/orders")),
    ("GET /admin/products", Ok("GET /api/admin/products")),
    ("POST /admin/products", Ok("PATCH /api/admin/products")),
    ("GET /admin/new-product", Err(FORM)),
    ("POST /admin/new-product", Ok("POST /api/products")),
    ("GET /admin/import-lighters", Err(FORM)),
    (
        "POST /admin/import-lighters",
        Ok("POST /api/admin/images, POST /api/admin/lighters"),
    ),
    (
        "POST /admin/import-lighters/make",
        Ok("POST /api/admin/lighters"),
    ),
    ("GET /admin/table-photos", Ok("GET /api/admin/intakes")),
    (
        "POST /admin/table-photos",
        Ok("POST /api/admin/intakes, POST /api/admin/intakes/{id}/photos"),
    ),
    ("GET /admin/table-photos/new", Err(FORM)),
    (
        "GET /admin/table-photos/{id}",
        Ok("GET /api/admin/intakes/{id}"),
    ),
    (
        "POST /admin/table-photos/{id}",
        Ok(
            "PATCH /api/admin/intakes/{id}/pieces/{piece}, PUT /api/admin/intakes/{id}/pairs, PATCH /api/admin/intakes/{id}/items/{front}, POST /api/admin/intakes/{id}/create",
        ),
    ),
    (
        "POST /admin/table-photos/{id}/photos",
        Ok("POST /api/admin/intakes/{id}/photos"),
    ),
    (
        "POST /admin/table-photos/{id}/take-back",
        Ok("POST /api/admin/intakes/{id}/take-back"),
    ),
    (
        "POST /admin/table-photos/{id}/discard",
        Ok("DELETE /api/admin/intakes/{id}"),
    ),
    (
        "GET /admin/table-photos/{id}/photos/{photo}",
        Ok("GET /api/admin/intakes/{id}"),
    ),
    (
        "POST /admin/table-photos/{id}/photos/{photo}",
        Ok(
            "POST /api/admin/intakes/{id}/pieces, POST /api/admin/intakes/{id}/pieces/{piece}/cut, PATCH /api/admin/intakes/{id}/photos/{photo}, DELETE /api/admin/intakes/{id}/photos/{photo}",
        ),
    ),
    (
        "GET /admin/products/{id}",
        Ok("GET /api/admin/products/{id}, GET /api/products/{id}/stock"),
    ),
    (
        "POST /admin/products/{id}",
        Ok("PATCH /api/products/{id}, PUT /api/products/{id}"),
    ),
    (
        "POST /admin/products/{id}/active",
        Ok("POST /api/products/{id}/archive, POST /api/products/{id}/restore"),
    ),
    (
        "POST /admin/products/{id}/schedule",
        Ok("PATCH /api/products/{id}"),
    ),
    (
        "POST /admin/products/{id}/delete",
        Ok("DELETE /api/products/{id}"),
    ),
    (
        "POST /admin/products/{id}/sync",
        Ok("POST /api/products/{id}/sync"),
    ),
    (
        "POST /admin/products/{id}/duplicate",
        Ok("POST /api/admin/products/{id}/duplicate"),
    ),
    (
        "POST /admin/products/{id}/stock",
        Ok("POST /api/products/{id}/stock"),
    ),
    (
        "POST /admin/products/{id}/images",
        Ok("POST /api/admin/images, POST /api/admin/products/{id}/images"),
    ),
    (
        "POST /admin/products/{id}/images/arrange",
        Ok(
            "PUT /api/admin/products/{id}/images, DELETE /api/admin/products/{id}/images/{image}, \
            POST /api/admin/products/{id}/images/{image}/up, POST /api/admin/products/{id}/images/{image}/down",
        ),
    ),
    ("GET /admin/categories", Ok("GET /api/admin/categories")),
    ("POST /admin/categories", Ok("POST /api/categories")),
    (
        "POST /admin/categories/{id}",
        Ok("PATCH /api/categories/{id}"),
    ),
    (
        "POST /admin/categories/{id}/up",
        Ok("POST /api/admin/categories/{id}/up, PUT /api/admin/categories"),
    ),
    (
        "POST /admin/categories/{id}/down",
        Ok("POST /api/admin/categories/{id}/down"),
    ),
    (
        "POST /admin/categories/{id}/delete",
        Ok("DELETE /api/categories/{id}"),
    ),
    (
        "GET /admin/custom-orders",
        Ok("GET /api/admin/custom-orders, GET /api/admin/custom-orders/board"),
    ),
    (
        "GET /admin/custom-orders/{id}",
        Ok("GET /api/admin/custom-orders/{id}"),
    ),
    (
        "POST /admin/custom-orders/{id}/quote",
        Ok("PUT /api/admin/custom-orders/{id}/quote"),
    ),
    (
        "POST /admin/custom-orders/{id}/quote/discard",
        Ok("DELETE /api/admin/custom-orders/{id}/quote"),
    ),
    (
        "GET /admin/custom-orders/{id}/approve",
        Ok("GET /api/admin/custom-orders/{id}/email"),
    ),
    (
        "POST /admin/custom-orders/{id}/approve",
        Ok(
            "POST /api/admin/custom-orders/{id}/approve, POST /api/admin/custom-orders/{id}/requote",
        ),
    ),
    (
        "GET /admin/custom-orders/{id}/email",
        Ok("GET /api/admin/custom-orders/{id}/email"),
    ),
    (
        "POST /admin/custom-orders/{id}/withdraw",
        Ok("POST /api/admin/custom-orders/{id}/withdraw"),
    ),
    (
        "POST /admin/custom-orders/{id}/reject",
        Ok("POST /api/admin/custom-orders/{id}/reject"),
    ),
    (
        "POST /admin/custom-orders/{id}/start",
        Ok("POST /api/admin/custom-orders/{id}/start"),
    ),
    (
        "POST /admin/custom-orders/{id}/ship",
        Ok("POST /api/admin/custom-orders/{id}/ship"),
    ),
    (
        "POST /admin/custom-orders/{id}/complete",
        Ok("POST /api/admin/custom-orders/{id}/complete"),
    ),
    (
        "GET /admin/review-items",
        Ok("GET /api/admin/review-items, GET /api/admin/review-items/{id}"),
    ),
    (
        "POST /admin/review-items/{id}/resolve",
        Ok(
            "POST /api/admin/review-items/{id}/resolve, POST /api/admin/orders/{id}/resolve, POST /api/admin/custom-orders/{id}/resolve",
        ),
    ),
    (
        "POST /admin/custom-orders/{id}/note",
        Ok("POST /api/admin/custom-orders/{id}/notes"),
    ),
    (
        "POST /admin/custom-orders/{id}/message",
        Ok("POST /api/admin/custom-orders/{id}/messages"),
    ),
    (
        "POST /admin/custom-orders/{id}/resend",
        Ok("POST /api/admin/emails/{id}/resend"),
    ),
    ("GET /admin/users", Ok("GET /api/admin/users")),
    ("POST /admin/users", Ok("POST /api/admin/users")),
    ("GET /admin/users/{id}", Ok("GET /api/admin/users/{id}")),
    (
        "POST /admin/users/{id}/role",
        Ok("POST /api/admin/users/{id}/role"),
    ),
    (
        "POST /admin/users/{id}/disable",
        Ok("POST /api/admin/users/{id}/disable"),
    ),
    (
        "POST /admin/users/{id}/enable",
        Ok("POST /api/admin/users/{id}/enable"),
    ),
    (
        "POST /admin/users/{id}/password",
        Ok("POST /api/admin/users/{id}/password"),
    ),
    (
        "POST /admin/users/{id}/second-factor/turn-off",
        Ok("POST /api/admin/users/{id}/second-factor/turn-off"),
    ),
    ("GET /admin/settings", Ok("GET /api/admin/settings")),
    ("POST /admin/settings", Ok("PUT /api/admin/settings")),
    (
        "GET /admin/settings/emails",
        Ok("GET /api/admin/email-samples"),
    ),
    (
        "GET /admin/settings/emails/{name}",
        Ok("GET /api/admin/email-samples/{name}"),
    ),
    ("GET /admin/tokens", Ok("GET /api/admin/tokens")),
    ("POST /admin/tokens", Ok("POST /api/admin/tokens")),
    (
        "POST /admin/tokens/{id}/revoke",
        Ok("POST /api/admin/tokens/{id}/revoke"),
    ),
    ("GET /admin/audit", Ok("GET /api/admin/audit")),
    ("GET /admin/system", Ok("GET /api/admin/health")),
    ("GET /admin/system/backup", Ok("GET /api/admin/backup")),
    ("GET /admin/system/events", Ok("GET /api/admin/events")),
    (
        "GET /admin/system/events/{id}",
        Ok("GET /api/admin/events/{id}"),
    ),
    (
        "POST /admin/system/events/{id}/run",
        Ok("POST /api/admin/events/{id}/run"),
    ),
    (
        "GET /admin/system/jobs",
        Ok("GET /api/admin/jobs, GET /api/admin/jobs/{id}"),
    ),
    (
        "POST /admin/system/jobs/{id}/retry",
        Ok("POST /api/admin/jobs/{id}/retry"),
    ),
    (
        "POST /admin/system/jobs/{id}/delete",
        Ok("DELETE /api/admin/jobs/{id}"),
    ),
    ("GET /admin/system/emails", Ok("GET /api/admin/emails")),
    (
        "GET /admin/system/emails/{id}",
        Ok("GET /api/admin/emails/{id}"),
    ),
    (
        "GET /admin/system/emails/{id}/page",
        Ok("GET /api/admin/emails/{id}"),
    ),
    (
        "POST /admin/system/emails/{id}/resend",
        Ok("POST /api/admin/emails/{id}/resend"),
    ),
    ("GET /admin/system/holds", Ok("GET /api/admin/holds")),
    (
        "POST /admin/system/holds/{id}/release",
        Ok("POST /api/admin/holds/{id}/release"),
    ),
];

const FORM: &str = "an empty form";

/// Whoever signs in looks after their own account; a program has a token instead.
fn is_personal(path: &str) -> bool {
    [
        "/admin/account",
        "/admin/sign-",
        "/admin/second-factor",
        "/admin/assets/",
    ]
    .iter()
    .any(|start| path.starts_with(start))
}

#[tokio::test]
async fn every_admin_page_has_a_call_of_the_api() {
    let shop = Shop::open().await;
    let document = shop.client.get("/api/openapi.json").await.json;
    let twins: BTreeMap<&str, Result<&str, &str>> = TWINS.iter().copied().collect();
    for route in admin::routes() {
        let name = format!("{} {}", route.method, route.path);
        if is_personal(route.path) {
            continue;
        }
        let twin = twins.get(name.as_str());
        let twin = twin.unwrap_or_else(|| panic!("{name} has no twin"));
        for call in twin.iter().flat_map(|calls| calls.split(", ")) {
            let (method, path) = call.trim().split_once(' ').expect("method and path");
            let described = &document["paths"][path][method.to_lowercase()];
            assert!(
                described["security"].is_array(),
                "{name}: there is no {call}"
            );
        }
    }
    assert_eq!(
        TWINS.len(),
        admin::routes()
            .iter()
            .filter(|route| !is_personal(route.path))
            .count(),
        "a twin of a door that is gone"
    );
}
