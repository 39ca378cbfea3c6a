//! The system pages: what stumbled is found and run again, by the owner alone.

use serde_json::Value;
use stripe_sandbox::Fault;

use crate::admin::{Browser, OWNER, STAFF, signed_in, staffed};
use crate::support::Shop;

const EVENTS: &str = "/admin/system/events";
const JOBS: &str = "/admin/system/jobs";
const EMAILS: &str = "/admin/system/emails";
const HOLDS: &str = "/admin/system/holds";

async fn system_pages() -> (Shop, Browser) {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    (shop, owner)
}

async fn audited(shop: &Shop) -> Vec<(String, String, Option<Value>)> {
    sqlx::query_as(
        "select action, object, before from audit_log where action not like 'user.%' and action not like 'token.%' and actor not like 'token:%' order by id",
    )
    .fetch_all(&shop.db)
    .await
    .expect("the log")
}

/// Sends a form that has to be taken, and returns the page that follows.
async fn does(owner: &Browser, on: &str, path: &str) -> String {
    let answer = owner.submit(on, path, &[]).await;
    assert_eq!(answer.status, 303, "{path}: {}", answer.text);
    let next = answer.header("location").to_owned();
    owner.get(&next).await.text
}

#[tokio::test]
async fn the_system_pages_are_the_owners_and_says_how_the_shop_is() {
    let (shop, owner) = system_pages().await;
    let staff = signed_in(&shop, STAFF).await;
    for path in ["/admin/system", EVENTS, JOBS, EMAILS, HOLDS] {
        assert_eq!(staff.get(path).await.status, 403, "{path}");
        assert_eq!(owner.get(path).await.status, 200, "{path}");
        for odd in [
            "state=none",
            "search=%00%FF",
            "page=x",
            "page=100000&state=failed",
        ] {
            assert_eq!(
                owner.get(&format!("{path}?{odd}")).await.status,
                200,
                "{path} {odd}"
            );
        }
    }
    assert!(!staff.get("/admin").await.text.contains("/admin/system"));
    let page = owner.get("/admin/system").await.text;
    for part in [
        env!("CARGO_PKG_VERSION"),
        "PostgreSQL ",
        "None has been heard of.",
        "wants a look",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    sqlx::query("insert into worker_heartbeats (worker) values (gen_random_uuid())")
        .execute(&shop.db)
        .await
        .expect("a heartbeat");
    let page = owner.get("/admin/system").await.text;
    assert!(
        page.contains(">alive</span>") && page.contains(">good</span>"),
        "{page}"
    );
    for path in [
        "/admin/system/events/evt_none",
        "/admin/system/events/%00",
        "/admin/system/emails/1",
    ] {
        assert_eq!(owner.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_failed_event_is_found_and_run_again() {
    let (shop, owner) = system_pages().await;
    sqlx::query(
        "insert into stripe_events (id, type, status, source, payload, attempts, last_error)
         values ('evt_odd/1', 'invoice.paid', 'failed', 'webhook',
                 '{\"id\": \"evt_odd/1\", \"type\": \"invoice.paid\", \"data\": {\"object\": {\"id\": \"<in>\"}}}', 1, 'the disk was full')",
    )
    .execute(&shop.db)
    .await
    .expect("an event");
    let today = owner.get("/admin").await.text;
    assert!(
        today.contains("href=\"/admin/system/events?state=failed\""),
        "{today}"
    );
    for query in [
        "state=failed",
        "search=ODD",
        "search=invoice",
        "search=invoice&state=failed",
    ] {
        let list = owner.get(&format!("{EVENTS}?{query}")).await.text;
        assert!(
            list.contains("/admin/system/events/evt_odd%2F1"),
            "{query}: {list}"
        );
    }
    assert!(
        owner
            .get(&format!("{EVENTS}?state=processed"))
            .await
            .text
            .contains("There are none.")
    );
    let path = format!("{EVENTS}/evt_odd%2F1");
    let page = owner.get(&path).await.text;
    for part in ["the disk was full", "&#60;in&#62;", "Run it again"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let next = does(&owner, &path, &format!("{path}/run")).await;
    assert!(next.contains("It runs again in a moment."), "{next}");
    shop.run_jobs().await;
    let page = owner.get(&path).await.text;
    assert!(
        page.contains(">ignored</span>") && !page.contains("Run it again"),
        "{page}"
    );
    // It takes effect once.
    let again = owner
        .submit("/admin/account", &format!("{path}/run"), &[])
        .await;
    assert_eq!(again.status, 409, "{}", again.text);
    assert_eq!(audited(&shop).await.len(), 1);
    assert_eq!(audited(&shop).await[0].1, "event:evt_odd/1");
}

#[tokio::test]
async fn a_failed_job_is_retried_and_another_deleted() {
    let (shop, owner) = system_pages().await;
    let piece = shop.stocks("Sunrise", 1).await;
    shop.stripe
        .fail_next("POST /v1/products", Fault::RateLimited, 9);
    shop.stripe
        .fail_next("POST /v1/products/{id}", Fault::RateLimited, 9);
    let left = shop.run_failing_jobs().await;
    assert_eq!(left.len(), 1, "{left:?}");
    let list = owner.get(&format!("{JOBS}?state=failed")).await.text;
    assert!(
        list.contains("sync product") && list.contains(&piece) && list.contains(">failed</span>"),
        "{list}"
    );
    for (search, found) in [
        ("Sync+Product", true),
        ("sunrise", true),
        ("email", false),
        ("100%25", false),
    ] {
        let list = owner
            .get(&format!("{JOBS}?search={search}&state=failed"))
            .await;
        assert_eq!(list.text.contains("sync product"), found, "{search}");
    }
    let id: i64 = sqlx::query_scalar("select id from graphile_worker._private_jobs")
        .fetch_one(&shop.db)
        .await
        .expect("a job");
    shop.stripe.clear_faults();
    let next = does(&owner, JOBS, &format!("{JOBS}/{id}/retry")).await;
    assert!(next.contains("tried again at once"), "{next}");
    shop.run_jobs().await;
    assert!(owner.get(JOBS).await.text.contains("The queue is empty"));

    shop.stripe
        .fail_next("POST /v1/products", Fault::RateLimited, 9);
    shop.stocks("Turtle", 1).await;
    let id: i64 = sqlx::query_scalar("select id from graphile_worker._private_jobs")
        .fetch_one(&shop.db)
        .await
        .expect("a job");
    // One that a worker is at is left alone.
    let locked =
        "update graphile_worker._private_jobs set locked_at = now(), locked_by = 'somebody'";
    sqlx::query(locked).execute(&shop.db).await.expect("a lock");
    for what in ["retry", "delete"] {
        let refused = owner
            .submit("/admin/account", &format!("{JOBS}/{id}/{what}"), &[])
            .await;
        assert_eq!(refused.status, 409, "{what}: {}", refused.text);
    }
    let freed = "update graphile_worker._private_jobs set locked_at = null, locked_by = null";
    sqlx::query(freed)
        .execute(&shop.db)
        .await
        .expect("free again");
    let next = does(&owner, JOBS, &format!("{JOBS}/{id}/delete")).await;
    assert!(next.contains("The queue is empty"), "{next}");
    let gone = owner
        .submit("/admin/account", &format!("{JOBS}/{id}/retry"), &[])
        .await;
    assert_eq!(gone.status, 404);
    let log = audited(&shop).await;
    let actions: Vec<&str> = log.iter().map(|entry| entry.0.as_str()).collect();
    assert_eq!(actions, ["job.retry", "job.delete"]);
    assert_eq!(
        log[1].2.as_ref().expect("the job")["job"]["job"],
        "sync_product"
    );
}

#[tokio::test]
async fn an_email_is_looked_at_and_sent_again() {
    let (shop, owner) = system_pages().await;
    shop.asks_for_a_piece("cy@example.com").await;
    shop.run_jobs().await;
    sqlx::query("update emails set state = 'failed', sent_at = null, last_error = 'no such box' where kind = 'custom_order_received'")
        .execute(&shop.db)
        .await
        .expect("an email");
    let today = owner.get("/admin").await.text;
    assert!(
        today.contains("<strong>1</strong> email not delivered"),
        "{today}"
    );
    for query in ["state=failed", "search=CY%40", "search=we+HAVE+your", ""] {
        let list = owner.get(&format!("{EMAILS}?{query}")).await.text;
        assert!(
            list.contains("cy@example.com") && list.contains("no such box"),
            "{query}: {list}"
        );
    }
    assert!(
        !owner
            .get(&format!("{EMAILS}?state=sent"))
            .await
            .text
            .contains("cy@example.com")
    );
    let id: uuid::Uuid =
        sqlx::query_scalar("select id from emails where kind = 'custom_order_received'")
            .fetch_one(&shop.db)
            .await
            .expect("an email");
    let path = format!("{EMAILS}/{id}");
    let page = owner.get(&path).await.text;
    assert!(
        page.contains("no such box") && page.contains(&format!("src=\"{path}/page\" sandbox")),
        "{page}"
    );
    let email = owner.get(&format!("{path}/page")).await;
    assert!(email.text.contains("<html"), "{}", email.text);
    assert!(email.header("content-security-policy").contains("sandbox"));
    let before = shop.mail().len();
    let next = does(&owner, &path, &format!("{path}/resend")).await;
    assert!(
        next.contains("The email is sent again.") && next.contains("It is on its way."),
        "{next}"
    );
    let twice = owner
        .submit("/admin/account", &format!("{path}/resend"), &[])
        .await;
    assert_eq!(twice.status, 409);
    shop.run_jobs().await;
    assert_eq!(shop.mail().len(), before + 1);
    assert!(owner.get(&path).await.text.contains(">sent</span>"));
    let log = audited(&shop).await;
    assert_eq!((log.len(), log[0].0.as_str()), (1, "email.resend"));
}

#[tokio::test]
async fn a_hold_is_released_and_its_payment_page_ended() {
    let (shop, owner) = system_pages().await;
    assert!(owner.get(HOLDS).await.text.contains("Nothing is reserved"));
    let piece = shop.stocks("Sunrise", 1).await;
    let answer = shop.shopper().check_out(&[(&piece, 1)]).await;
    let session = crate::support::session_of(&answer);
    assert_eq!(shop.stock(&piece).await, (1, 1));
    let list = owner.get(HOLDS).await.text;
    assert!(
        list.contains("SB-1001") && list.contains("1 × Sunrise"),
        "{list}"
    );
    let path = format!("{HOLDS}/SB-1001/release");

    // While Stripe is away the piece stays held: the page could still be paid.
    let expire = "POST /v1/checkout/sessions/{id}/expire";
    shop.stripe.fail_next(expire, Fault::RateLimited, 9);
    let next = does(&owner, HOLDS, &path).await;
    assert!(next.contains("Stripe could not be asked."), "{next}");
    assert_eq!(shop.stock(&piece).await, (1, 1));
    assert!(audited(&shop).await.is_empty());
    shop.stripe.clear_faults();

    let next = does(&owner, HOLDS, &path).await;
    assert!(
        next.contains("The pieces are free again.") && next.contains("Nothing is reserved"),
        "{next}"
    );
    assert_eq!(shop.stock(&piece).await, (1, 0));
    assert_eq!(shop.statuses().await, ["cancelled"]);
    assert_eq!(shop.session(&session).await["status"], "expired");
    let again = owner.submit("/admin/account", &path, &[]).await;
    assert_eq!(again.status, 409, "{}", again.text);
    let timeline = owner.get("/admin/orders/SB-1001").await.text;
    assert!(
        timeline.contains("hold released") && timeline.contains("user:ann@example.com"),
        "{timeline}"
    );
    let log = audited(&shop).await;
    assert_eq!((log.len(), log[0].1.as_str()), (1, "order:SB-1001"));
    shop.audit().await;
}
