//! Subcommands. Each opens what it needs, does one thing, and reports the result.

mod catalog;
mod health;
mod progress;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{TimeDelta, Utc};
use clap::{Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use crate::app::App;
use crate::audit::Actor;
use crate::auth::{self, Role, Scope};
use crate::config::{Config, LogFormat, Secret};
use crate::error::{Error, FieldError};
use crate::server::startup::Shop;
use crate::{emails, payments, server, server::startup, worker};

/// Back end of the Spirit Beads shop. Without a subcommand: serve.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve requests and run background jobs (the default)
    Serve,
    /// Run the background worker only
    Worker,
    /// Check whether the server at BIND_ADDR is up; exits with 1 if not
    Health {
        /// Check that it is ready, too: database, migrations and a live worker
        #[arg(long)]
        ready: bool,
    },
    /// Bring the database schema up to date
    Migrate,
    /// Import or export the catalog
    #[command(subcommand)]
    Catalog(catalog::Catalog),
    /// Manage API tokens for programs
    #[command(subcommand)]
    Token(Token),
    /// Manage the users of the admin
    #[command(subcommand)]
    Admin(Admin),
    /// Check the stock
    #[command(subcommand)]
    Stock(Stock),
    /// Preview emails
    #[command(subcommand)]
    Emails(Emails),
    /// Sync and reconcile with Stripe
    #[command(subcommand)]
    Stripe(StripeCommand),
    /// Serve only the Stripe sandbox, for shops in other processes; never in production
    Sandbox {
        /// Address and port to listen on
        #[arg(long, default_value = "127.0.0.1:12111")]
        bind: SocketAddr,
        /// Webhook of the shop, which receives the sandbox's events
        #[arg(
            long,
            value_name = "URL",
            default_value = "http://127.0.0.1:8000/api/payments/webhook/"
        )]
        webhook_url: String,
    },
}

#[derive(Subcommand)]
enum Token {
    /// Create a token; it is shown only once
    Create {
        #[arg(long)]
        name: String,
        /// catalog, stock, orders:read, orders:write, custom_orders, refunds, users, tokens, audit, system or settings;
        /// may be repeated
        #[arg(long = "scope", required = true, value_parser = parse_scope)]
        scopes: Vec<Scope>,
        /// Days until the token expires; without it, the token does not expire
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
        expires_in_days: Option<u32>,
    },
    /// List tokens, including revoked ones
    List,
    /// Revoke a token
    Revoke { id: i64 },
}

#[derive(Subcommand)]
enum Admin {
    /// Create a user; without --password-stdin, a generated password is shown once
    Create {
        #[arg(long)]
        email: String,
        /// owner (full access), or staff (no users, tokens, settings, system pages or refunds)
        #[arg(long, default_value = "owner", value_parser = parse_role)]
        role: Role,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set a new password and end the user's sessions
    ResetPassword {
        #[arg(long)]
        email: String,
        #[arg(long)]
        password_stdin: bool,
        /// Turn off the second factor, too, for a user who has lost both the phone and the recovery codes
        #[arg(long)]
        without_second_factor: bool,
    },
    /// List users, including disabled ones
    List,
    /// Disable a user, end the user's sessions and list the tokens that the user created
    Disable {
        #[arg(long)]
        email: String,
        /// Revoke the tokens that the user created, too
        #[arg(long)]
        revoke_tokens: bool,
    },
    /// Enable a disabled user
    Enable {
        #[arg(long)]
        email: String,
    },
}

#[derive(Subcommand)]
enum Stock {
    /// Check that the ledger explains the stock, and that pending orders explain the holds
    Check,
}

#[derive(Subcommand)]
enum Emails {
    /// Write a sample of every email, as HTML, text and MIME message; needs no database
    Preview {
        /// Folder to write into
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Subcommand)]
enum StripeCommand {
    /// Sync products and prices to Stripe
    Sync,
    /// Fetch events that were not delivered, and settle unfinished payments
    Reconcile,
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        format!("one of {}", known.join(", "))
    })
}

fn parse_role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "owner or staff".to_owned())
}

/// Parses the command line and the configuration, and runs the command.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let config = match Config::from_environment() {
        Ok(config) => config,
        Err(field_errors) => {
            eprintln!("The configuration is invalid:");
            print_field_errors(&field_errors);
            eprintln!("See .env.example for all settings.");
            return ExitCode::from(2);
        }
    };
    start_logging(&config);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: starting the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime.block_on(dispatch(cli.command.unwrap_or(Command::Serve), config)) {
        Ok(code) => code,
        Err(error) => {
            match error.downcast_ref::<Error>() {
                Some(Error::Invalid(field_errors)) => print_field_errors(field_errors),
                _ => eprintln!("error: {error:#}"),
            }
            ExitCode::FAILURE
        }
    };
    runtime.shutdown_background();
    code
}

fn print_field_errors(field_errors: &[FieldError]) {
    for field_error in field_errors {
        eprintln!("  {}: {}", field_error.field, field_error.message);
    }
}

fn start_logging(config: &Config) {
    // These libraries log every job, query and attempt. The shop logs the relevant ones itself.
    let quiet = "graphile_worker=warn,graphile_worker_migrations_core=warn,sqlx=warn,stripe=error,reqwest_retry=error";
    let filter = EnvFilter::builder().parse_lossy(format!("{quiet},{}", config.log.filter));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Human => logs
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}

async fn dispatch(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve => serve(config).await?,
        Command::Worker => {
            let metrics = bind_metrics(&config).await?;
            let shop = Shop::open(config).await?;
            shop.check_currency().await?;
            shop.app.pools.try_all().await?;
            let told_to_stop = startup::interrupted();
            println!("Running background jobs.");
            let telling = tell_metrics(metrics, &shop.app);
            worker::run(shop.app.clone(), told_to_stop).await;
            telling.abort();
            shop.close().await?;
        }
        Command::Health { ready } => return Ok(health::check(&config, ready).await),
        Command::Migrate => {
            let shop = Shop::open(config).await?;
            println!("The schema is up to date.");
            shop.close().await?;
        }
        Command::Catalog(command) => catalog::run(command, config).await?,
        Command::Token(command) => token(command, config).await?,
        Command::Admin(command) => admin(command, config).await?,
        Command::Stock(Stock::Check) => return catalog::check_stock(config).await,
        Command::Emails(Emails::Preview { out }) => {
            let count = emails::write_samples(&config, &out).await?;
            println!("{count} emails are in {}.", out.display());
        }
        Command::Stripe(command) => return stripe(command, config).await,
        Command::Sandbox { bind, webhook_url } => {
            startup::serve_sandbox(config, bind, webhook_url).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(mut config: Config) -> anyhow::Result<()> {
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
    shop.app.pools.try_all().await?;
    if let Some(warning) = shop.country_warning().await? {
        tracing::warn!("{warning}");
    }
    if shop.add_demo_catalog().await? {
        println!("A demo catalog was added.");
    }
    let pages = shop.open_sandbox();
    let owner = shop.add_first_owner().await?;
    let told_to_stop = startup::interrupted();
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
    told_to_stop.await;
    tracing::info!("stopping: requests in flight are answered first");
    stop.send(())?;
    let (served, worked) = (serving.await, working.await);
    telling.abort();
    shop.close().await?;
    worked?;
    served?;
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

async fn token(command: Token, config: Config) -> anyhow::Result<()> {
    let shop = Shop::open(config).await?;
    let actor = Actor::console();
    let mut tx = shop.app.db.begin().await?;
    let mut shown = None;
    match command {
        Token::Create {
            name,
            scopes,
            expires_in_days,
        } => {
            let new = auth::NewToken {
                name: &name,
                scopes: &scopes,
                expires_at: expires_in_days.map(|days| Utc::now() + TimeDelta::days(days.into())),
            };
            let (_, token) = auth::create_token(&mut tx, &actor, &new).await?;
            shown = Some(token);
        }
        Token::List => {
            for token in auth::list_tokens(&mut tx).await? {
                let state = match () {
                    () if token.revoked_at.is_some() => "revoked",
                    () if token.is_expired() => "expired",
                    () => "active",
                };
                let by = token.created_by.as_deref().unwrap_or("unknown");
                let until = match token.expires_at {
                    Some(at) => format!("until {}", at.format("%Y-%m-%d %H:%M UTC")),
                    None => "for good".to_owned(),
                };
                let used = match token.last_used_at {
                    Some(at) => format!("last used {}", at.format("%Y-%m-%d %H:%M UTC")),
                    None => "never used".to_owned(),
                };
                println!(
                    "{:>4}  {:<8} {:<24} {}  {until}  made by {by}  {used}",
                    token.id,
                    state,
                    token.name,
                    token.scopes.join(" ")
                );
            }
        }
        Token::Revoke { id } => {
            if !auth::revoke_token(&mut tx, &actor, id).await? {
                bail!("there is no token {id}");
            }
            println!("Token {id} is revoked.");
        }
    }
    tx.commit().await?;
    if let Some(token) = shown {
        eprintln!("The token is shown this once; send it as `Authorization: Bearer TOKEN`.");
        println!("{token}");
    }
    shop.close().await
}

async fn admin(command: Admin, config: Config) -> anyhow::Result<()> {
    let shop = Shop::open(config).await?;
    let actor = Actor::console();
    let mut tx = shop.app.db.begin().await?;
    let mut shown = None;
    match command {
        Admin::Create {
            email,
            role,
            password_stdin,
        } => {
            let password = password(password_stdin)?;
            let holder = auth::Holder::new(&email, &shop.app.config.shop.name);
            let hashed = auth::hash_password(&password, "password", &holder).await?;
            let user = auth::create_user(&mut tx, &actor, &email, role, &hashed).await?;
            eprintln!("{} may sign in as {}.", user.email, user.role.as_str());
            shown = (!password_stdin).then_some(password);
        }
        Admin::ResetPassword {
            email,
            password_stdin,
            without_second_factor,
        } => {
            // Before a row is locked: a password may be typed, and hashing takes time.
            let password = password(password_stdin)?;
            let holder = auth::Holder::new(&email, &shop.app.config.shop.name);
            let hashed = auth::hash_password(&password, "password", &holder).await?;
            let user = user(&mut tx, &email).await?;
            auth::set_password(&mut tx, &actor, user.id, &hashed, None).await?;
            if without_second_factor {
                auth::turn_off_second_factor(&mut tx, &actor, user.id).await?;
            }
            eprintln!("{} has a new password; their sessions ended.", user.email);
            if user.disabled_at.is_some() {
                eprintln!("The account is still disabled: enable it with `admin enable`.");
            }
            shown = (!password_stdin).then_some(password);
        }
        Admin::List => {
            for user in auth::list_users(&mut tx).await? {
                let state = if user.disabled_at.is_some() {
                    "disabled"
                } else {
                    "active"
                };
                let factor = if user.has_second_factor {
                    "second factor"
                } else {
                    "password only"
                };
                println!(
                    "{state:<8}  {:<5}  {factor}  {}",
                    user.role.as_str(),
                    user.email
                );
            }
        }
        Admin::Disable {
            email,
            revoke_tokens,
        } => {
            let user = user(&mut tx, &email).await?;
            auth::disable_user(&mut tx, &actor, user.id).await?;
            println!("{} is shut out.", user.email);
            let (tokens, state) = match revoke_tokens {
                true => (
                    auth::revoke_tokens_of(&mut tx, &actor, user.id).await?,
                    "is revoked",
                ),
                false => (auth::list_tokens_of(&mut tx, user.id).await?, "works on"),
            };
            for token in tokens {
                println!("Their token {} ({}) {state}.", token.id, token.name);
            }
        }
        Admin::Enable { email } => {
            let user = user(&mut tx, &email).await?;
            auth::enable_user(&mut tx, &actor, user.id).await?;
            println!("{} may sign in again.", user.email);
        }
    }
    tx.commit().await?;
    if let Some(password) = shown {
        eprintln!("The password is shown this once:");
        println!("{}", password.reveal());
    }
    shop.close().await
}

async fn user(conn: &mut sqlx::PgConnection, email: &str) -> anyhow::Result<auth::User> {
    let found = auth::find_user_by_email(conn, email).await?;
    found.with_context(|| format!("there is no user {email}"))
}

/// Returns the first line of standard input, or a generated password.
fn password(from_stdin: bool) -> anyhow::Result<Secret> {
    if !from_stdin {
        return Ok(auth::generate_password()?);
    }
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("reading the password")?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
}

async fn stripe(command: StripeCommand, config: Config) -> anyhow::Result<ExitCode> {
    let shop = Shop::open(config).await?;
    let failed = match command {
        StripeCommand::Sync => catalog::sync(&shop.app).await?,
        StripeCommand::Reconcile => {
            let bar = progress::bar(0, "events");
            let done = payments::reconcile(&shop.app, &|at, all| {
                bar.set_length(all);
                bar.set_position(at);
            })
            .await?;
            bar.finish_and_clear();
            println!("{done}.");
            u64::from(done.failed + done.waiting) + done.unstored.len() as u64
        }
    };
    shop.close().await?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
