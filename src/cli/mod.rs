//! Subcommands. Each opens what it needs, does one thing, and reports the result.

mod backup;
mod catalog;
mod health;
mod import_django;
mod intake;
mod lighters;
mod progress;
mod serve;
mod stripe;
mod tokens;
mod users;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};
use crate::emails;
use crate::error::{Error, FieldError};
use crate::server::startup::{self, Shop};

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
    /// Write the whole shop, with its images, into one file; the shop may be open
    Backup {
        /// File to write; it must not exist
        file: PathBuf,
    },
    /// Restore a backup into an empty shop, or change nothing
    Restore {
        /// File that `backup` or the admin's button made
        file: PathBuf,
    },
    /// Import or export the catalog
    #[command(subcommand)]
    Catalog(catalog::Catalog),
    /// Take over the Django shop that this one replaces; can be repeated until the switch
    ImportDjango(import_django::ImportDjango),
    /// Manage API tokens for programs
    #[command(subcommand)]
    Token(tokens::TokenCommand),
    /// Manage the users of the admin
    #[command(subcommand)]
    Admin(users::UserCommand),
    /// Check the stock
    #[command(subcommand)]
    Stock(Stock),
    /// Preview emails
    #[command(subcommand)]
    Emails(Emails),
    /// Sync and reconcile with Stripe
    #[command(subcommand)]
    Stripe(stripe::StripeCommand),
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
        Command::Serve => serve::serve(config).await?,
        Command::Worker => serve::work(config).await?,
        Command::Health { ready } => return Ok(health::check(&config, ready).await),
        Command::Migrate => {
            let shop = Shop::open(config).await?;
            println!("The schema is up to date.");
            shop.close().await?;
        }
        Command::Backup { file } => backup::backup(config, &file).await?,
        Command::Restore { file } => backup::restore(config, &file).await?,
        Command::Catalog(command) => return catalog::run(command, config).await,
        Command::ImportDjango(command) => return import_django::run(command, config).await,
        Command::Token(command) => tokens::run(command, config).await?,
        Command::Admin(command) => users::run(command, config).await?,
        Command::Stock(Stock::Check) => return catalog::check_stock(config).await,
        Command::Emails(Emails::Preview { out }) => {
            let count = emails::write_samples(&config, &out).await?;
            println!("{count} emails are in {}.", out.display());
        }
        Command::Stripe(command) => return stripe::run(command, config).await,
        Command::Sandbox { bind, webhook_url } => {
            startup::serve_sandbox(config, bind, webhook_url).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
