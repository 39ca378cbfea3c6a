//! Answers of the API about health, jobs, events, holds and emails, in full.

use serde_json::json;
use spirit_beads::auth::Scope;
use stripe_sandbox::Fault;

use crate::support::{Shop, Snapshots, card, session_of};

#[tokio::test]
async fn answers_about_the_system_are_as_they_were_reviewed() {
    let shop = Shop::open().await;
    let mut snapshots = Snapshots::of("system").hiding(&[
        "html",
        "text",
        "version",
        "database",
        "database_bytes",
        "migrations_applied",
        "migrations_known",
    ]);
    let admin = shop.admin(&[Scope::System, Scope::OrdersRead]).await;
    snapshots.get("up", &shop.client, "/healthz").await;
    let piece = shop.stocks("Sunrise", 5).await;
    shop.run_jobs().await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.shopper().check_out(&[(&piece, 2)]).await;
    snapshots.get("holds", &admin, "/api/admin/holds/").await;
    snapshots.get("jobs", &admin, "/api/admin/jobs/").await;
    shop.run_jobs().await;
    let emails = snapshots.get("emails", &admin, "/api/admin/emails/").await;
    let id = emails.json["results"][0]["id"].as_str().expect("an id");
    let path = format!("/api/admin/emails/{id}/");
    snapshots.get("email", &admin, &path).await;

    let event = json!({"id": "evt_1", "type": "invoice.paid", "data": {"object": {"id": "in_1"}}});
    assert_eq!(shop.webhook(&event).await.status, 200);
    shop.run_jobs().await;
    let path = "/api/admin/events/?search=invoice&page_size=5";
    snapshots.get("events", &admin, path).await;
    let path = "/api/admin/events/evt_1/";
    snapshots.get("event", &admin, path).await;
    let (name, path) = ("error_processed", format!("{path}run/"));
    snapshots.post(name, &admin, &path, &json!({})).await;

    shop.stripe
        .fail_next("POST /v1/products", Fault::RateLimited, 9);
    shop.stocks("Dusk", 1).await;
    assert_eq!(shop.run_failing_jobs().await.len(), 1);
    let failed = "/api/admin/jobs/?state=failed";
    let failed = snapshots.get("jobs_failed", &admin, failed).await;
    let path = format!("/api/admin/jobs/{}/", failed.json["results"][0]["id"]);
    snapshots.get("job", &admin, &path).await;
    sqlx::query("insert into worker_heartbeats (worker) values (gen_random_uuid())")
        .execute(&shop.db)
        .await
        .expect("a heartbeat");
    snapshots.get("health", &admin, "/api/admin/health/").await;
    shop.stripe.clear_faults();
}
