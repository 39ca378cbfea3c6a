//! The Stripe account that the ids in the database belong to: a key of another one replaces none of them.

use std::process::Command;

use serde_json::json;
use spirit_beads::auth::Scope;
use spirit_beads::products;
use sqlx::PgPool;

use stripe_sandbox::Fault;

use crate::support::{Database, Shop, database, program, session_of};

const OTHER: &str = "acct_1OldShop";

async fn account(db: &PgPool) -> Option<String> {
    sqlx::query_scalar("select id from stripe_account")
        .fetch_optional(db)
        .await
        .expect("the account")
}

/// Lets the ids in the database belong to another account than the key.
async fn belong_to_another(db: &PgPool) {
    sqlx::query(
        "insert into stripe_account (id) values ($1) on conflict (singleton) do update set id = excluded.id",
    )
    .bind(OTHER)
    .execute(db)
    .await
    .expect("an account");
}

async fn ids(db: &PgPool) -> Vec<(Option<String>, Option<String>)> {
    sqlx::query_as("select stripe_product_id, stripe_price_id from products order by id")
        .fetch_all(db)
        .await
        .expect("the ids")
}

/// Runs a command on this database: its output, and whether it succeeded.
fn says(database: &Database, command: &[&str], is_rehearsal: bool) -> (bool, String) {
    let options = database::options(database.name());
    let socket = options.get_socket().expect("a socket");
    let socket = socket.display().to_string();
    let host: String = url::form_urlencoded::byte_serialize(socket.as_bytes()).collect();
    let url = format!(
        "postgres://{}@localhost:{}/{}?host={host}",
        options.get_username(),
        options.get_port(),
        database.name()
    );
    let output = Command::new(program())
        .args(command)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("DATABASE_URL", url)
        .env("DATA_DIR", database.data_folder())
        .env("BIND_ADDR", "127.0.0.1:0")
        .env("STRIPE_REHEARSAL", is_rehearsal.to_string())
        .current_dir(database.folder())
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + String::from_utf8_lossy(&output.stdout).as_ref();
    (output.status.success(), said)
}

#[tokio::test]
async fn the_first_sync_keeps_the_account() {
    let shop = Shop::open().await;
    assert_eq!(account(&shop.db).await, None);
    shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    let kept = account(&shop.db).await.expect("an account");
    assert!(kept.starts_with("acct_sandbox_"), "{kept}");
    shop.stocks("Sunset", 1).await;
    shop.run_jobs().await;
    assert_eq!(account(&shop.db).await, Some(kept));
    let asked = shop.stripe.requests();
    let asked = asked
        .iter()
        .filter(|call| call.operation == "GET /v1/account");
    assert_eq!(asked.count(), 1, "the account of a key never changes");
}

#[tokio::test]
async fn a_key_of_another_account_replaces_no_id_and_says_so() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    let before = ids(&shop.db).await;
    belong_to_another(&shop.db).await;
    let at_stripe = shop.at_stripe("price").await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let path = format!("/api/products/{piece}/");
    let changed = admin
        .send_json(reqwest::Method::PATCH, &path, &json!({"price": 5000}))
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    shop.run_jobs().await;
    assert_eq!(ids(&shop.db).await, before);
    assert_eq!(shop.at_stripe("price").await, at_stripe);
    let error: String = sqlx::query_scalar("select stripe_error from products")
        .fetch_one(&shop.db)
        .await
        .expect("an error");
    assert!(
        error.contains(OTHER) && error.contains("STRIPE_REHEARSAL"),
        "{error}"
    );
    let sold = shop.client.check_out(&[(&piece, 1)]).await;
    assert_eq!(sold.status, 200, "it is sold by its amount: {}", sold.text);
}

#[tokio::test]
async fn a_shop_with_a_key_of_another_account_does_not_start() {
    let database = Database::create().await;
    belong_to_another(&database.connect()).await;
    for command in [&["serve"][..], &["worker"], &["stripe", "sync"]] {
        let (is_fine, said) = says(&database, command, false);
        assert!(!is_fine, "{command:?}: {said}");
        assert!(
            said.contains(OTHER) && said.contains("STRIPE_REHEARSAL=true"),
            "{said}"
        );
    }
    let (is_fine, said) = says(&database, &["stripe", "sync"], true);
    assert!(is_fine, "{said}");
}

#[tokio::test]
async fn a_rehearsal_with_the_very_account_does_not_start() {
    let database = Database::create().await;
    let db = database.connect();
    let (is_fine, said) = says(&database, &["stripe", "sync"], false);
    assert!(is_fine, "{said}");
    // The sandbox names its account, and the shop keeps it as a sync does.
    sqlx::raw_sql(
        "insert into stripe_sandbox.objects (id, object, created, data)
         values ('acct_1OldShop', 'account', 1, '{\"id\": \"acct_1OldShop\", \"object\": \"account\"}');
         insert into stripe_account (id) values ('acct_1OldShop')",
    )
    .execute(&db)
    .await
    .expect("an account");
    assert!(says(&database, &["stripe", "sync"], false).0);
    let (is_fine, said) = says(&database, &["stripe", "sync"], true);
    assert!(
        !is_fine && said.contains("Take STRIPE_REHEARSAL out"),
        "{said}"
    );
}

#[tokio::test]
async fn a_rehearsal_sells_and_tells_stripe_nothing_of_the_catalog() {
    let shop = Shop::open_with(&[("STRIPE_REHEARSAL", "true")]).await;
    belong_to_another(&shop.db).await;
    let piece = shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    // A copy of a shop that was synced.
    sqlx::raw_sql(
        "update products
         set stripe_product_id = 'prod_1', stripe_price_id = 'price_1', stripe_price_amount = price,
             stripe_price_currency = currency, stripe_status = 'synced'",
    )
    .execute(&shop.db)
    .await
    .expect("ids");
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe
        .pay(&session, crate::support::card())
        .await
        .expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(account(&shop.db).await.as_deref(), Some(OTHER));
    let asked = shop.stripe.requests();
    let is_catalog =
        |operation: &str| operation.contains("/products") || operation.contains("/prices");
    assert!(
        !asked.iter().any(|call| is_catalog(&call.operation)),
        "{asked:#?}"
    );
    assert_eq!(ids(&shop.db).await[0].1.as_deref(), Some("price_1"));
}

#[tokio::test]
async fn a_key_that_may_not_read_its_account_replaces_no_id() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 1).await;
    sqlx::raw_sql("update products set stripe_product_id = 'prod_1', stripe_price_id = 'price_1'")
        .execute(&shop.db)
        .await
        .expect("ids");
    shop.stripe
        .fail_next("GET /v1/account", Fault::Forbidden, 3);
    shop.run_jobs().await;
    assert_eq!(account(&shop.db).await, None);
    let kept = (Some("prod_1".to_owned()), Some("price_1".to_owned()));
    assert_eq!(ids(&shop.db).await, [kept]);
    let error: String = sqlx::query_scalar("select stripe_error from products")
        .fetch_one(&shop.db)
        .await
        .expect("an error");
    assert!(error.contains("prod_1"), "{error}");
}

#[tokio::test]
async fn a_sandbox_gives_way_to_the_first_account_after_it() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 1).await;
    sqlx::query("insert into stripe_account (id) values ('acct_sandbox_another')")
        .execute(&shop.db)
        .await
        .expect("an account");
    shop.run_jobs().await;
    let kept = account(&shop.db).await.expect("an account");
    assert!(kept != "acct_sandbox_another", "{kept}");
    assert!(ids(&shop.db).await[0].0.is_some());
}

#[tokio::test]
async fn copied_products_are_released_only_with_a_key_that_knows_their_prices() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 1).await;
    shop.stocks("Sunset", 1).await;
    shop.run_jobs().await;
    let known = ids(&shop.db).await;
    let pause = "update products set stripe_paused = true, stripe_price_id = 'price_old_' || id where $1 or id = 'sunset'";
    let paused = sqlx::query(pause).bind(true).execute(&shop.db).await;
    paused.expect("paused");
    sqlx::query("delete from stripe_account")
        .execute(&shop.db)
        .await
        .expect("no account");
    let refused = products::claim_account(&shop.app)
        .await
        .expect_err("refused");
    assert!(
        refused.to_string().contains("it knows none of price_old_"),
        "{refused}"
    );
    assert_eq!(account(&shop.db).await, None);

    sqlx::query("update products set stripe_price_id = $1 where id = 'sunset'")
        .bind(&known[1].1)
        .execute(&shop.db)
        .await
        .expect("a known price");
    belong_to_another(&shop.db).await;
    let refused = products::claim_account(&shop.app)
        .await
        .expect_err("refused");
    assert!(refused.to_string().contains(OTHER), "{refused}");
    sqlx::query("delete from stripe_account")
        .execute(&shop.db)
        .await
        .expect("no account");
    for _ in 0..2 {
        let claimed = products::claim_account(&shop.app).await.expect("claimed");
        assert_eq!(claimed.map(|id| id.0), account(&shop.db).await);
    }
}
