//! Serves the sandbox on 127.0.0.1:12111 until Ctrl-C.
//!
//! `DATABASE_URL` names the database; without it, a private PostgreSQL runs in the folder `stripe-sandbox` of the
//! system's temporary one. `WEBHOOK_URL` is where events go.

use std::env::var;
use std::error::Error;

use embedded_postgres::Cluster;
use sqlx::PgPool;
use stripe_sandbox::{Sandbox, Settings};
use tokio::net::TcpListener;

const ADDRESS: &str = "127.0.0.1:12111";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut cluster = None;
    let db = match var("DATABASE_URL") {
        Ok(url) => PgPool::connect(&url).await?,
        Err(_) => {
            let dir = std::env::temp_dir().join("stripe-sandbox");
            let started = Cluster::start(embedded_postgres::Settings {
                app_name: "stripe-sandbox".to_owned(),
                ..embedded_postgres::Settings::new(dir)
            })
            .await?;
            let options = started.connect_options("postgres");
            cluster = Some(started);
            PgPool::connect_with(options).await?
        }
    };
    let settings = Settings {
        business_name: "Example".to_owned(),
        secret_key: "sk_test_123".to_owned(),
        webhook_secret: "whsec_123".to_owned(),
        webhook_url: var("WEBHOOK_URL").unwrap_or_else(|_| "http://127.0.0.1:8000/webhook".into()),
        pages_url: format!("http://{ADDRESS}/sandbox"),
    };
    println!("API       http://{ADDRESS}   key {}", settings.secret_key);
    println!("Dashboard {}", settings.pages_url);
    println!(
        "Webhooks  {}   secret {}",
        settings.webhook_url, settings.webhook_secret
    );

    let sandbox = Sandbox::open(db.clone(), settings).await?;
    let router = sandbox.api().nest("/sandbox", sandbox.pages());
    let listener = TcpListener::bind(ADDRESS).await?;
    let interrupted = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    tokio::select! {
        served = axum::serve(listener, router) => served?,
        () = sandbox.run(interrupted) => {}
    }
    db.close().await;
    if let Some(cluster) = cluster {
        cluster.stop().await?;
    }
    Ok(())
}
