//! Responses from memory: the same as those of the database, each made once.

use serde_json::json;

use super::{beside, by_hand, get_with};
use crate::support::{Shop, at_once};

/// Headers that differ from one response to the next, or that only a streamed body has.
const OWN: [&str; 4] = [
    "x-request-id",
    "date",
    "content-length",
    "transfer-encoding",
];

#[tokio::test]
async fn they_are_the_same_as_those_of_the_database() {
    let shop = Shop::open_with(&[("CATALOG_MEMORY_MB", "0")]).await;
    shop.stocks("Sunrise", 3).await;
    shop.stocks_with("Heron", 1, json!({"description": "A bird. ".repeat(40)}))
        .await;
    by_hand(
        &shop,
        "insert into categories (name, name_key, slug) values ('Birds', 'birds', 'birds')",
    )
    .await;
    // The same address in all URLs, with and without a memory.
    let mut app = shop.app.clone();
    let mut config = (*app.config).clone();
    config.server.catalog_memory = 1 << 20;
    app.config = config.into();
    let remembering = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let router = spirit_beads::server::router(app.clone(), None);
        tokio::spawn(async move {
            let never = std::future::pending();
            spirit_beads::server::serve(listener, &app, router, never).await;
        });
        crate::support::Client::to(&format!("http://{address}"))
    };
    let host = ("host", "shop.example.com:8000");
    for path in [
        "/api/products/",
        "/api/products",
        "/api/products/?page_size=1&page=2",
        "/api/products/?page=last&page_size=1",
        "/api/products/?lighter_type=1&ordering=-price&category__in=1%2C1",
        "/api/products/?is_sold_out=false&ordering=name,price",
        "/api/products/?page=7",
        "/api/products/?category=99",
        "/api/products/?search=heron",
        "/api/products/?_=1",
        "/api/products/batch/?ids=heron,sunrise,none",
        "/api/products/batch/",
        "/api/products/heron/",
        "/api/products/heron/?format=json",
        "/api/products/heron/?format=api",
        "/api/products/none/",
        "/api/products/heron/check_availability/",
        "/api/categories/",
        "/api/categories/birds/",
        "/api/categories/1/",
        "/api/categories/none/",
    ] {
        let plain = get_with(&shop.client, path, &[host]).await;
        let tag = plain.header("etag").to_owned();
        for extra in [
            vec![],
            vec![("accept-encoding", "gzip, deflate, br")],
            vec![("accept-encoding", "gzip;q=0")],
            vec![("origin", "http://localhost:8080")],
            vec![
                ("origin", "http://localhost:8000"),
                ("accept-encoding", "gzip"),
            ],
            vec![("origin", "https://elsewhere.example.com")],
            vec![("if-none-match", tag.as_str())],
            vec![
                ("if-none-match", "\"other\", *"),
                ("origin", "http://localhost:8080"),
            ],
            vec![("cookie", "theme=dark")],
            vec![("x-forwarded-proto", "https")],
            vec![("authorization", "Bearer x")],
        ] {
            let headers: Vec<(&str, &str)> = [host].into_iter().chain(extra).collect();
            let expected = get_with(&shop.client, path, &headers).await;
            // Made, and then from memory.
            for _ in 0..2 {
                let found = get_with(&remembering, path, &headers).await;
                let what = format!("{path} {headers:?}");
                assert_eq!(found.status, expected.status, "{what}");
                assert_eq!(found.bytes, expected.bytes, "{what}");
                let mut plain = [expected.headers.clone(), found.headers.clone()];
                for headers in &mut plain {
                    assert!(headers.contains_key("x-request-id"), "{what}");
                    for name in OWN {
                        headers.remove(name);
                    }
                    // A 304 from memory has all that its 200 varies by, as RFC 9110 (15.4.5) wants it.
                    if expected.status == 304 {
                        headers.remove("vary");
                    }
                }
                assert_eq!(plain[0], plain[1], "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_keeps_its_id_and_gets_one() {
    let shop = Shop::open().await;
    for _ in 0..2 {
        let named = get_with(
            &shop.client,
            "/api/products/",
            &[("x-request-id", "mine-1")],
        )
        .await;
        assert_eq!(named.header("x-request-id"), "mine-1");
        let other = get_with(
            &shop.client,
            "/api/products/",
            &[("x-request-id", "not mine")],
        )
        .await;
        assert_eq!(other.header("x-request-id").len(), 36);
    }
}

#[tokio::test]
async fn many_who_ask_at_once_are_all_answered_however_long_the_first_takes() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 3).await;
    // Until this ends, no query of the catalog does.
    let mut lock = shop.db.begin().await.expect("a transaction");
    let sql = "lock table product_images in access exclusive mode";
    sqlx::query(sql).execute(&mut *lock).await.expect("a lock");
    let client = shop.client.clone();
    let asking = tokio::spawn(at_once((0..40).map(move |_| {
        let client = client.clone();
        async move { client.get("/api/products/").await.status }
    })));
    while !shop.has_a_waiting_lock().await {
        tokio::task::yield_now().await;
    }
    lock.rollback().await.expect("the end");
    let statuses = asking.await.expect("no panic");
    assert_eq!(statuses, vec![200; 40]);
}

#[tokio::test]
async fn one_who_goes_away_leaves_no_place_behind() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 3).await;
    let mut lock = shop.db.begin().await.expect("a transaction");
    let sql = "lock table product_images in access exclusive mode";
    sqlx::query(sql).execute(&mut *lock).await.expect("a lock");
    let client = shop.client.clone();
    let first = tokio::spawn(async move { client.get("/api/products/").await });
    while !shop.has_a_waiting_lock().await {
        tokio::task::yield_now().await;
    }
    let client = shop.client.clone();
    let second = tokio::spawn(async move { client.get("/api/products/").await });
    first.abort();
    assert!(first.await.is_err());
    lock.rollback().await.expect("the end");
    assert_eq!(second.await.expect("no panic").status, 200);
    assert_eq!(shop.client.get("/api/products/").await.status, 200);
}

#[tokio::test]
async fn a_shopper_sees_their_own_hold_and_others_do_not() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 1).await;
    let shopper = shop.shopper();
    let stock = async |client: &crate::support::Client| {
        client.get("/api/products/sunrise/").await.json["inventory_count"].clone()
    };
    assert_eq!(stock(&shopper).await, 1);
    let answer = shopper.check_out(&[("sunrise", 1)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for _ in 0..2 {
        assert_eq!(
            (stock(&shopper).await, stock(&shop.client).await),
            (json!(1), json!(0))
        );
    }
}

#[tokio::test]
async fn without_its_triggers_or_its_connection_nothing_stale_is_given() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 3).await;
    let other = beside(&shop).await;
    let price = async || {
        let mut prices = Vec::new();
        for client in [&shop.client, &other] {
            let answer = client.get("/api/products/").await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            prices.push(answer.json["results"][0]["price"].clone());
        }
        prices
    };
    let mut now = 100;
    let mut change = async |how: &str| {
        price().await;
        now += 1;
        by_hand(
            &shop,
            &how.replace("$", &format!("update products set price = {now}")),
        )
        .await;
        for _ in 0..2 {
            assert_eq!(price().await, vec![json!(now); 2], "{how}");
        }
    };
    let end = "select pg_terminate_backend(pid)
               from pg_stat_activity
               where datname = current_database()
                 and query like 'select pg_current_snapshot()%'
                 and pid <> pg_backend_pid();";
    for how in [
        "$",
        "begin; $; commit",
        "begin; savepoint one; $; release savepoint one; commit",
        "begin; set local session_replication_role = replica; $; commit",
        &format!("{end} $"),
        &format!("$; {end}"),
        // A process that slept over a trim.
        "$; delete from catalog_changes; insert into catalog_horizon (xid, next_xid) values ((pg_current_xact_id()::text::bigint + 1)::text::xid8, '0')
            on conflict (singleton) do update set xid = excluded.xid",
        "delete from catalog_horizon; $",
        "alter table products disable trigger catalog_changes_update; $",
        "$",
        "alter table products enable always trigger catalog_changes_update",
        "$",
        "drop trigger catalog_changes_update on products; $;
         create trigger catalog_changes_update after update on products
             referencing old table as old_rows new table as new_rows
             for each statement execute function catalog_products_changed();
         alter table products enable always trigger catalog_changes_update",
        "$",
    ] {
        if how.contains('$') {
            change(how).await;
        } else {
            by_hand(&shop, how).await;
        }
    }
}

#[tokio::test]
async fn many_changes_at_once_and_their_trimming_are_seen() {
    let shop = Shop::open().await;
    let sql = "insert into products (id, name, slug, lighter_type, price)
               select 'p' || n, 'P' || n, 'p' || n, 1, 100 from generate_series(1, 300) n";
    by_hand(&shop, sql).await;
    let other = beside(&shop).await;
    for (sql, records) in [
        ("update products set price = price + 1", Some(1)),
        (
            "update products set price = price + 1 where id < 'p2'",
            None,
        ),
        ("update products set version = version + 1", Some(0)),
        (
            "insert into categories (name, name_key, slug) values ('A', 'a', 'a')",
            Some(1),
        ),
        ("update categories set position = 3", Some(1)),
        ("update categories set updated_at = now()", Some(0)),
    ] {
        by_hand(&shop, "delete from catalog_changes").await;
        by_hand(&shop, sql).await;
        let count = "select count(*) from catalog_changes";
        let count: i64 = sqlx::query_scalar(count)
            .fetch_one(&shop.db)
            .await
            .expect("a count");
        assert!(
            records.is_none_or(|records| records == count),
            "{sql}: {count}"
        );
        let price = "select price from products where id = 'p1'";
        let price: i64 = sqlx::query_scalar(price)
            .fetch_one(&shop.db)
            .await
            .expect("a price");
        for client in [&shop.client, &other] {
            let answer = client.get("/api/products/p1/").await;
            assert_eq!(answer.json["price"], price);
            // Trimming twice takes what the first could not.
            spirit_beads::products::trim_changes(&shop.db)
                .await
                .expect("trimmed");
            by_hand(
                &shop,
                "update catalog_horizon set next_at = now() - interval '1 hour'",
            )
            .await;
        }
    }
    let count = "select count(*) from catalog_changes";
    spirit_beads::products::trim_changes(&shop.db)
        .await
        .expect("trimmed");
    by_hand(
        &shop,
        "update catalog_horizon set next_at = now() - interval '1 hour'",
    )
    .await;
    spirit_beads::products::trim_changes(&shop.db)
        .await
        .expect("trimmed");
    let left: i64 = sqlx::query_scalar(count)
        .fetch_one(&shop.db)
        .await
        .expect("a count");
    assert_eq!(left, 0);
}
