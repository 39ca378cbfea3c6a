//! Answers of the API about users, tokens, settings and the audit log, in full.

use reqwest::Method;
use serde_json::json;
use spirit_beads::auth::Scope;

use super::{STAFF, staffed, user_id};
use crate::support::{Client, Snapshots};

#[tokio::test]
async fn answers_of_the_administration_are_as_they_were_reviewed() {
    let shop = staffed().await;
    let mut snapshots = Snapshots::of("admin").hiding(&["password"]);
    let admin = shop.admin(&Scope::ALL).await;
    let staff = format!("/api/admin/users/{}/", user_id(&shop, STAFF).await);
    users(&mut snapshots, &admin, &staff).await;

    let path = "/api/admin/tokens/";
    let laptop = json!({
        "name": "Laptop", "scopes": ["catalog", "orders:read"], "expires_at": "2099-01-01T00:00:00Z",
    });
    let wrong = json!({"name": "Laptop", "scopes": ["sky"]});
    for (name, body) in [("token_created", laptop), ("error_token", wrong)] {
        snapshots.post(name, &admin, path, &body).await;
    }
    snapshots.get("tokens", &admin, path).await;

    let path = "/api/admin/settings/";
    snapshots.get("settings", &admin, path).await;
    let chosen = json!({"chosen": {"shop_name": "Raven Works", "low_stock": 4}});
    let wrong = json!({"chosen": {"low_stock": -1, "shop_name": " "}});
    for (name, body) in [("settings_changed", chosen), ("error_settings", wrong)] {
        snapshots.send(name, &admin, Method::PUT, path, &body).await;
    }
    let log = "/api/admin/audit/";
    snapshots.get("audit_log", &admin, log).await;
}

async fn users(snapshots: &mut Snapshots, admin: &Client, staff: &str) {
    let path = "/api/admin/users/";
    for (name, body) in [
        (
            "user_created",
            json!({"email": "cy@example.com", "role": "staff"}),
        ),
        ("error_user", json!({"email": STAFF, "role": "king"})),
    ] {
        snapshots.post(name, admin, path, &body).await;
    }
    for (name, what) in [
        ("user_disabled", "disable"),
        ("user_enabled", "enable"),
        ("user_password", "password"),
    ] {
        let path = format!("{staff}{what}/");
        snapshots.post(name, admin, &path, &json!({})).await;
    }
    snapshots.get("users", admin, path).await;
    snapshots.get("user", admin, staff).await;
}
