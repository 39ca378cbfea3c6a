//! Serving requests, and the background worker.

use std::io::Write;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::config::Config;
use crate::server::startup::{self, Shop};
use crate::{server, worker};

/// Serves requests and runs background jobs until a signal stops the process.
pub async fn serve(mut config: Config) -> anyhow::Result<()> {
    let listener = TcpListener::bind(config.server.bind_addr)
        .await
        .with_context(|| {
            format!(
                "listening on {} (set by BIND_ADDR)",
                config.server.bind_addr
            )
        })?;
    // Port 0 stands for any free port; the actual one is known from here on.
    let address = listener.local_addr()?;
    let metrics = bind_metrics(&config).await?;
    config.server.public_url = config
        .server
        .public_url
        .replace(&config.server.bind_addr.to_string(), &address.to_string());
    config.server.bind_addr = address;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let mut shop = Shop::open(config).await?;
    shop.check_currency().await?;
    shop.check_stripe_account().await?;
    shop.app.pools.try_all().await?;
    if let Some(warning) = shop.country_warning().await? {
        tracing::warn!("{warning}");
    }
    if shop.add_demo_catalog().await? {
        println!("A demo catalog was added.");
    }
    let pages = shop.open_sandbox();
    let owner = shop.add_first_owner().await?;
    let stopping = startup::interrupted();
    let url = &shop.app.config.server.public_url;
    println!("Shop API   {url}/api/products/");
    println!("API docs   {url}/api/docs/");
    println!("Admin      {url}/admin/");
    if let Some((email, password)) = owner {
        println!(
            "           sign in as {email} with {} (shown this once)",
            password.reveal()
        );
    }
    if shop.app.config.mail.smtp.is_none() {
        let folder = shop.app.config.data_dir.join("mail");
        println!(
            "Emails     {}/   (files, because SMTP_URL is not set)",
            folder.display()
        );
    }
    if let Some(listener) = &metrics {
        println!("Metrics    http://{}/metrics", listener.local_addr()?);
    }
    if pages.is_some() {
        println!("Sandbox    {url}/sandbox/   (Stripe's stand-in: no real money)");
    }
    std::io::stdout().flush()?;
    let telling = tell_metrics(metrics, &shop.app);
    let (stop, stopped) = tokio::sync::watch::channel(());
    let wait = move || {
        let mut stopped = stopped.clone();
        async move {
            // An error means that the sender was dropped, which is a reason to stop as well.
            let _ = stopped.changed().await;
        }
    };
    let working = tokio::spawn(worker::run(shop.app.clone(), wait()));
    let (app, waiting) = (shop.app.clone(), wait());
    let router = server::router(app.clone(), pages);
    let serving = tokio::spawn(async move { server::serve(listener, &app, router, waiting).await });
    stopping.await;
    tracing::info!("stopping: requests in flight are answered first");
    stop.send(())?;
    let (served, worked) = (serving.await, working.await);
    telling.abort();
    shop.close().await?;
    worked?;
    served?;
    Ok(())
}

/// Runs the background worker only, until a signal stops the process.
pub async fn work(config: Config) -> anyhow::Result<()> {
    let metrics = bind_metrics(&config).await?;
    let shop = Shop::open(config).await?;
    shop.check_currency().await?;
    shop.check_stripe_account().await?;
    shop.app.pools.try_all().await?;
    let stopping = startup::interrupted();
    println!("Running background jobs.");
    let telling = tell_metrics(metrics, &shop.app);
    worker::run(shop.app.clone(), stopping).await;
    telling.abort();
    shop.close().await?;
    Ok(())
}

/// Binds the metrics listener, if one is configured.
async fn bind_metrics(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = config.server.metrics_addr else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address} (set by METRICS_ADDR)"))?;
    Ok(Some(listener))
}

/// Serves metrics until the task is aborted at the very end, so that the shutdown can be observed.
fn tell_metrics(listener: Option<TcpListener>, app: &App) -> JoinHandle<()> {
    let app = app.clone();
    tokio::spawn(async move {
        let Some(listener) = listener else { return };
        if let Err(error) = axum::serve(listener, server::metrics_router(app)).await {
            tracing::error!(%error, "the metrics listener failed");
        }
    })
}
