//! Reads from memory: never stale, in any process, whatever goes wrong, and the same as those of the database.

mod columns;
mod linearizable;
mod responses;

use reqwest::Method;
use tokio::net::TcpListener;

use crate::support::{Answer, Client, Shop};

/// Another server on the database of a shop, with a memory of its own.
async fn beside(shop: &Shop) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    let app = shop.app.clone();
    let router = spirit_beads::server::router(app.clone(), None);
    tokio::spawn(async move {
        let never = std::future::pending();
        spirit_beads::server::serve(listener, &app, router, never).await;
    });
    Client::to(&format!("http://{address}"))
}

async fn get_with(client: &Client, path: &str, headers: &[(&str, &str)]) -> Answer {
    client
        .send(Method::GET, path, headers, None::<String>)
        .await
}

/// Runs statements as somebody does in psql.
async fn by_hand(shop: &Shop, sql: &str) {
    let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
    sql.execute(&shop.db).await.expect("a change");
}
