//! Startup and shutdown: database, secrets, Stripe or its sandbox, the demo catalog.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use embedded_postgres::Cluster;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tower::Layer;
use tower_http::normalize_path::NormalizePathLayer;
use uuid::Uuid;

use crate::app::App;
use crate::audit::Actor;
use crate::auth;
use crate::config::{Config, Secret};
use crate::custom_orders;
use crate::db::{self, Pools};
use crate::payments;
use crate::products::{self, FileImages};
use crate::settings;
use crate::storage::Storage;
use crate::stripe::Stripe;
use crate::system::backup::{BackupFile, Restored};
use stripe_sandbox::Sandbox;

/// API key of the sandbox. It is valid nowhere else.
const SANDBOX_KEY: &str = "sk_test_spirit_beads_sandbox";

/// Time for database connections to close at shutdown.
const CLOSING: Duration = Duration::from_secs(5);

/// An open shop. Call [`Shop::close`], which stops everything that [`Shop::open`] started.
pub struct Shop {
    pub app: App,
    cluster: Option<Cluster>,
    sandbox: Option<RunningSandbox>,
}

/// The sandbox's API has a listener of its own, which stays open until the last request that needs it is answered.
struct RunningSandbox {
    sandbox: Sandbox,
    api: JoinHandle<()>,
    delivery: Option<JoinHandle<()>>,
}

impl Shop {
    /// Opens the shop as configured, and migrates its schema.
    ///
    /// # Errors
    /// Names what cannot be reached or written.
    pub async fn open(mut config: Config) -> anyhow::Result<Shop> {
        std::fs::create_dir_all(&config.data_dir).with_context(|| {
            format!(
                "creating the folder {} (DATA_DIR says where)",
                config.data_dir.display()
            )
        })?;
        let (pools, cluster) = open_database(&config).await?;
        check_time_zones(&pools, &config).await?;
        let secret = match config.server.secret_key.take() {
            Some(secret) => secret,
            None => kept_secret(&config.data_dir, "secret_key")?,
        };
        let mut sandbox = None;
        let stripe = match &config.stripe.secret_key {
            Some(key) => Stripe::new(key, config.stripe.api_url.as_deref(), config.stripe.timeout)?,
            None => {
                let webhook_secret = kept_secret(&config.data_dir, "sandbox_webhook_secret")?;
                config.stripe.webhook_secrets = vec![webhook_secret.clone()];
                let (running, address) = start_sandbox(&pools, &config, &webhook_secret).await?;
                sandbox = Some(running);
                let url = format!("http://{address}");
                Stripe::new(
                    &Secret::new(SANDBOX_KEY),
                    Some(config.stripe.api_url.as_deref().unwrap_or(&url)),
                    config.stripe.timeout,
                )?
            }
        };
        let app = App::new(pools, stripe, secret, config)?;
        Ok(Shop {
            app,
            cluster,
            sandbox,
        })
    }

    /// Checks that all prices are in the shop's one currency, because amounts are not converted.
    ///
    /// # Errors
    /// A message for the operator with the number of rows in other currencies and a remedy.
    pub async fn check_currency(&self) -> anyhow::Result<()> {
        let currency = self.app.config.shop.currency;
        let mut conn = self.app.db.acquire().await?;
        let mut found = products::foreign_prices(&mut conn, currency).await?;
        found.extend(custom_orders::foreign_quotes(&mut conn, currency).await?);
        found.extend(settings::foreign_shipping(&mut conn, currency).await?);
        if found.is_empty() {
            return Ok(());
        }
        anyhow::bail!(
            "SHOP_CURRENCY is {code}, but the database has {}. A shop has one currency, and amounts are not converted. \
             Either set SHOP_CURRENCY to what they are in; or change them first: write the products to a file (`catalog \
             export`), put \"{code}\" and new prices into it, and read it in with SHOP_CURRENCY={code} (`catalog import`); \
             withdraw open quotes and empty the shipping prices under Settings while the shop runs with its former currency",
            found.join(", "),
            code = currency.code(),
        )
    }

    /// Checks that the Stripe ids in the database are of the key's account, or that this is a rehearsal.
    ///
    /// # Errors
    /// A message for the operator.
    pub async fn check_stripe_account(&self) -> anyhow::Result<()> {
        products::check_stripe_account(&self.app).await
    }

    /// The warning that no proxy names the country of shoppers, where the latest checkouts tell.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn country_warning(&self) -> anyhow::Result<Option<String>> {
        let mut conn = self.app.db.acquire().await?;
        Ok(payments::country_warning(&mut conn, &self.app.config).await?)
    }

    /// Fills an empty shop in an embedded database with the demo catalog and its images. Returns false when there was
    /// nothing to do.
    ///
    /// # Errors
    /// When the images or rows cannot be written; no rows are written then.
    pub async fn add_demo_catalog(&self) -> anyhow::Result<bool> {
        if self.cluster.is_none() || !products::is_empty(&mut *self.app.db.acquire().await?).await?
        {
            return Ok(false);
        }
        let drawn = tokio::task::spawn_blocking(products::demo::images).await?;
        let images = FileImages::take_drawn(&self.app.storage, &self.app.db, &drawn).await?;
        let mut tx = self.app.db.begin().await?;
        let currency = self.app.config.shop.currency;
        let catalog = products::demo::catalog(currency);
        let actor = Actor::system("demo");
        products::import(&mut tx, &actor, &catalog, Some(&images), currency).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Creates the first owner in development if there is no user. Returns email and password, which is not shown
    /// again.
    ///
    /// # Errors
    /// Database errors.
    pub async fn add_first_owner(&self) -> anyhow::Result<Option<(String, Secret)>> {
        let config = &self.app.config;
        if config.is_production() || auth::any_user(&mut *self.app.db.acquire().await?).await? {
            return Ok(None);
        }
        let password = auth::generate_password()?;
        let hashed = auth::hash_generated(&password).await?;
        let mut tx = self.app.db.begin().await?;
        let made = auth::create_first_owner(&mut tx, &config.shop.email, &hashed).await?;
        tx.commit().await?;
        Ok(made.map(|user| (user.email, password)))
    }

    /// Directs the sandbox's webhooks to this server, and returns its pages. Returns `None` without a sandbox.
    pub fn open_sandbox(&mut self) -> Option<Router> {
        let running = self.sandbox.as_mut()?;
        let sandbox = running.sandbox.clone();
        running.delivery = Some(tokio::spawn(async move {
            sandbox.run(std::future::pending()).await
        }));
        Some(running.sandbox.pages())
    }

    /// Stops everything that this process started, the embedded PostgreSQL last.
    ///
    /// # Errors
    /// When PostgreSQL cannot be stopped.
    pub async fn close(self) -> anyhow::Result<()> {
        if let Some(running) = self.sandbox {
            running.api.abort();
            if let Some(delivery) = running.delivery {
                delivery.abort();
            }
        }
        // A connection still in use is closed by the end of the process.
        let _ = tokio::time::timeout(CLOSING, self.app.pools.close()).await;
        match self.cluster {
            Some(cluster) => Ok(cluster.stop().await?),
            None => Ok(()),
        }
    }
}

/// Restores a backup into the configured shop, which is empty, and brings its schema up to date.
///
/// # Errors
/// In words for the operator: a damaged or newer file, a shop that is not empty. Nothing is changed then.
pub async fn restore(config: Config, file: &Path) -> anyhow::Result<Restored> {
    // Before a database is started or made.
    let backup = BackupFile::open(file)?;
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("creating the folder {}", config.data_dir.display()))?;
    let storage = Storage::open(&config)?;
    let (cluster, pooled, direct) = find_database(&config).await?;
    let restoring = async {
        let db = db::open_unchanged(pooled, direct).await?;
        let restored = backup.restore(&db, &storage).await;
        db.close().await;
        restored
    };
    let restored = restoring.await;
    if let Some(cluster) = cluster {
        cluster.stop().await?;
    }
    let restored = restored?;
    let shop = Shop::open(config).await;
    let shop =
        shop.context("the backup is restored; its schema could not be brought up to date")?;
    shop.close().await?;
    Ok(restored)
}

/// Checks that PostgreSQL knows the configured time zone, and the one that the owner has chosen.
async fn check_time_zones(pools: &Pools, config: &Config) -> anyhow::Result<()> {
    let mut conn = pools.requests.acquire().await?;
    let chosen = settings::time_zone(&mut conn, config).await?;
    for zone in [config.shop.time_zone, chosen] {
        db::check_time_zone(&mut conn, zone.name()).await?;
    }
    Ok(())
}

/// Opens the configured database, or the embedded one.
async fn open_database(config: &Config) -> anyhow::Result<(Pools, Option<Cluster>)> {
    let (cluster, pooled, direct) = find_database(config).await?;
    let pools = db::open(pooled, direct, config.database.max_connections).await?;
    Ok((pools, cluster))
}

/// The embedded cluster, if started; the address of the database, and the address that bypasses the pooler.
async fn find_database(
    config: &Config,
) -> anyhow::Result<(Option<Cluster>, PgConnectOptions, Option<PgConnectOptions>)> {
    if let Some(url) = &config.database.url {
        let direct = config.database.direct_url.as_ref();
        let direct = direct.map(|url| db::parse_url(url.reveal(), "DATABASE_DIRECT_URL"));
        return Ok((
            None,
            db::parse_url(url.reveal(), "DATABASE_URL")?,
            direct.transpose()?,
        ));
    }
    let cluster = start_postgres(config.data_dir.join("postgres")).await?;
    let options = cluster.connect_options("postgres");
    Ok((Some(cluster), options, None))
}

/// Starts the embedded PostgreSQL, and logs its folder if it differs from the configured one.
async fn start_postgres(dir: PathBuf) -> anyhow::Result<Cluster> {
    let cluster = match Cluster::start(db::embedded_settings(dir.clone())).await {
        Ok(cluster) => cluster,
        Err(embedded_postgres::Error::ForeignOwner(data)) => anyhow::bail!(
            "{} belongs to another user: run as that user, or move DATA_DIR",
            data.display()
        ),
        Err(error) => return Err(error.into()),
    };
    let dir = dir.canonicalize()?;
    if cluster.dir() != dir {
        tracing::info!(
            "PostgreSQL does not run as root, and the user it runs as cannot enter {}: the \
             data is in {} instead (DATA_DIR moves it)",
            dir.display(),
            cluster.dir().display()
        );
    }
    Ok(cluster)
}

/// Starts the sandbox's API on a free port.
async fn start_sandbox(
    pools: &Pools,
    config: &Config,
    webhook_secret: &Secret,
) -> anyhow::Result<(RunningSandbox, SocketAddr)> {
    let door = match config.server.bind_addr {
        address if address.ip().is_unspecified() => {
            SocketAddr::from(([127, 0, 0, 1], address.port()))
        }
        address => address,
    };
    let settings = stripe_sandbox::Settings {
        business_name: "Spirit Beads".to_owned(),
        secret_key: SANDBOX_KEY.to_owned(),
        webhook_secret: webhook_secret.reveal().to_owned(),
        webhook_url: format!("http://{door}/api/payments/webhook/"),
        pages_url: format!("{}/sandbox", config.server.public_url),
    };
    db::check_sandbox(&pools.requests).await?;
    // A separate pool, because the real Stripe would not compete for our connections either.
    let sandbox = Sandbox::open(pools.beside(4), settings)
        .await
        .context("opening the Stripe sandbox")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("listening for the Stripe sandbox")?;
    let address = listener.local_addr()?;
    let router = sandbox.api();
    let api = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the Stripe sandbox stopped");
        }
    });
    Ok((
        RunningSandbox {
            sandbox,
            api,
            delivery: None,
        },
        address,
    ))
}

/// Serves the sandbox alone, for shops in other processes, until it is asked to stop. Its state is in the configured
/// database, which need not be a shop's.
///
/// # Errors
/// In production; without the API key and webhook secret of its shops; when the database or the address is unavailable.
pub async fn serve_sandbox(
    config: Config,
    bind: SocketAddr,
    webhook_url: String,
) -> anyhow::Result<()> {
    anyhow::ensure!(
        !config.is_production(),
        "the Stripe sandbox is never served in production"
    );
    let (Some(key), Some(webhook_secret)) = (
        &config.stripe.secret_key,
        config.stripe.webhook_secrets.first(),
    ) else {
        anyhow::bail!(
            "STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET are required: the key that the sandbox accepts and the secret that it signs with"
        );
    };
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("creating the folder {}", config.data_dir.display()))?;
    let listener = TcpListener::bind(bind)
        .await
        .with_context(|| format!("listening on {bind}"))?;
    let address = listener.local_addr()?;
    let (cluster, options, _) = find_database(&config).await?;
    let db = db::connect(options, config.database.max_connections).await?;
    db::check_sandbox(&db).await?;
    let settings = stripe_sandbox::Settings {
        business_name: "Spirit Beads".to_owned(),
        secret_key: key.reveal().to_owned(),
        webhook_secret: webhook_secret.reveal().to_owned(),
        webhook_url,
        pages_url: format!("http://{address}/sandbox"),
    };
    let sandbox = Sandbox::open(db.clone(), settings)
        .await
        .context("opening the Stripe sandbox")?;
    println!("Stripe API http://{address}   (for STRIPE_API_URL)");
    println!("Sandbox    http://{address}/sandbox/   (Stripe's stand-in: no real money)");
    std::io::stdout().flush()?;
    let pages = Router::new().nest("/sandbox", sandbox.pages());
    let pages = NormalizePathLayer::trim_trailing_slash().layer(pages);
    let router = sandbox.api().fallback_service(pages);
    tokio::select! {
        served = axum::serve(listener, router) => served?,
        () = sandbox.run(interrupted()) => {}
    }
    db.close().await;
    match cluster {
        Some(cluster) => Ok(cluster.stop().await?),
        None => Ok(()),
    }
}

/// A development secret: generated once at random and stored in the data folder, readable by this user alone.
fn kept_secret(data_dir: &Path, name: &str) -> anyhow::Result<Secret> {
    let path = data_dir.join(name);
    let made = format!(
        "whsec_{}{}",
        Uuid::new_v4().simple(),
        Uuid::new_v4().simple()
    );
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
    {
        Ok(mut file) => {
            file.write_all(made.as_bytes())
                .with_context(|| format!("writing {}", path.display()))?;
            Ok(Secret::new(made))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let kept = std::fs::read_to_string(&path)
                .with_context(|| format!("reading {}", path.display()))?;
            if kept.len() < made.len() {
                // A process was killed between creating and writing the file. Nothing was signed with the secret yet.
                std::fs::write(&path, &made)
                    .with_context(|| format!("writing {}", path.display()))?;
                return Ok(Secret::new(made));
            }
            Ok(Secret::new(kept))
        }
        Err(error) => Err(error).with_context(|| format!("making {}", path.display())),
    }
}

/// Completes when the process is asked to stop: Ctrl-C or SIGTERM.
pub fn interrupted() -> impl Future<Output = ()> {
    // Not in the future: a supervisor may send a signal as soon as the process reports that it is ready, before the
    // future is polled.
    let signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    async move {
        let [terminate, interrupt] = signals.map(|signal| async {
            match signal {
                Ok(mut signal) => {
                    signal.recv().await;
                }
                Err(_) => std::future::pending().await,
            }
        });
        tokio::select! {
            () = terminate => {}
            () = interrupt => {}
        }
    }
}
