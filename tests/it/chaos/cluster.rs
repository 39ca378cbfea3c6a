//! The stage of the storm: PostgreSQL, the shop's processes, Stripe as a process and database of its own, a mail server.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use tokio::time::Instant;

use super::admin;
use super::database::{Database, Lines};
use super::program::Program;
use super::rng::Chance;
use super::state::{Tally, World};
use super::webhooks::Webhooks;
use crate::support::database::{self as tests_database, Database as TestDatabase};
use crate::support::{MailServer, STRIPE_KEY, WEBHOOK_SECRET, images};

/// Time limit for a process to start.
const PATIENCE: Duration = Duration::from_secs(120);

const SERVERS: usize = 2;
const WORKERS: usize = 2;

pub struct Stage {
    pub world: Arc<World>,
    pub database: Database,
    pub lines: Lines,
    pub programs: Vec<Program>,
    pub webhooks: Webhooks,
    pub mail: MailServer,
    pub media: PathBuf,
    pub folder: PathBuf,
    /// Held while nothing is started again.
    pub rest: tokio::sync::Mutex<()>,
    stripe: Program,
    /// Stripe does not go down with our shop: its database is in another cluster.
    _stripe_database: TestDatabase,
}

impl Stage {
    pub async fn build(seed: u64) -> Stage {
        let name = format!("chaos-{}-{seed}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        // Or that of the developer who runs the tests would be found, further up.
        std::fs::write(folder.join(".env"), "").expect("a file");
        let media = folder.join("media");
        std::fs::create_dir_all(&media).expect("a folder");
        let tally = Arc::new(Tally::default());
        let database = Database::start(&folder.join("postgres")).await;
        let lines = Lines::open(database.socket()).await;
        let mail = MailServer::start().await;
        // Fails when another test has done it already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(20))
            // A server that was killed leaves its lines behind.
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client");

        let ports = free_ports(SERVERS + 1, seed);
        let addresses: Vec<String> = ports[1..]
            .iter()
            .map(|port| format!("http://127.0.0.1:{port}"))
            .collect();
        let webhooks = Webhooks::open(
            addresses.clone(),
            http.clone(),
            Chance::of(seed, "webhooks"),
            tally.clone(),
        )
        .await;

        let stripe_database = TestDatabase::create().await;
        let stripe_url = format!("http://127.0.0.1:{}", ports[0]);
        let stripe = stripe(&stripe_database, ports[0], &webhooks.address, &folder);
        stripe.keep_running().await;

        let settings = |address: &str| -> Vec<(String, String)> {
            [
                (
                    "DATABASE_URL",
                    format!(
                        "postgres://spirit_beads@127.0.0.1:{}/postgres?sslmode=disable",
                        lines.port
                    ),
                ),
                ("DATABASE_MAX_CONNECTIONS", "12".to_owned()),
                ("DATA_DIR", folder.join("data").display().to_string()),
                ("MEDIA_URL", media.display().to_string()),
                ("SECRET_KEY", "0123456789abcdef0123456789abcdef".to_owned()),
                (
                    "BIND_ADDR",
                    address.trim_start_matches("http://").to_owned(),
                ),
                ("PUBLIC_URL", "http://shop.test".to_owned()),
                ("STRIPE_SECRET_KEY", STRIPE_KEY.to_owned()),
                ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
                ("STRIPE_API_URL", stripe_url.clone()),
                ("STRIPE_TIMEOUT_SECONDS", "2".to_owned()),
                ("SMTP_URL", mail.url()),
                ("SMTP_TIMEOUT_SECONDS", "2".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
        };
        let mut programs = Vec::new();
        for (at, address) in addresses.iter().enumerate() {
            let name = format!("server-{at}");
            programs.push(Program::new(
                &name,
                &["serve"],
                settings(address),
                folder.clone(),
            ));
        }
        for at in 0..WORKERS {
            let name = format!("worker-{at}");
            programs.push(Program::new(
                &name,
                &["worker"],
                settings(&addresses[0]),
                folder.clone(),
            ));
        }
        programs[0].run(&["migrate"]).await;
        let mut arguments = vec!["token", "create", "--name", "storm"];
        arguments.extend(admin::SCOPES.iter().flat_map(|scope| ["--scope", scope]));
        let token = programs[0].run(&arguments).await.trim().to_owned();
        for program in &programs {
            program.keep_running().await;
        }

        let pool = || {
            PgPoolOptions::new()
                .max_connections(4)
                .acquire_timeout(Duration::from_secs(5))
        };
        let stripe_options = tests_database::options(stripe_database.name());
        let world = World {
            addresses,
            http,
            stripe_url,
            stripe_key: STRIPE_KEY.to_owned(),
            stripe: pool().connect_lazy_with(stripe_options),
            shop: pool().connect_lazy_with(database.options()),
            token,
            image_url: images::jpeg(96, 64),
            tally,
            over: false.into(),
        };
        let stage = Stage {
            world: Arc::new(world),
            database,
            lines,
            programs,
            rest: tokio::sync::Mutex::new(()),
            webhooks,
            mail,
            media,
            folder,
            stripe,
            _stripe_database: stripe_database,
        };
        stage.is_up().await;
        stage
    }

    /// Waits until all servers answer, and Stripe.
    pub async fn is_up(&self) {
        let world = &self.world;
        let began = Instant::now();
        let pages = world
            .addresses
            .iter()
            .map(|address| format!("{address}/readyz"));
        for page in pages.chain([format!("{}/sandbox/", world.stripe_url)]) {
            loop {
                let answer = world.http.get(&page).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    break;
                }
                assert!(began.elapsed() < PATIENCE, "never up: {page}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Reports whether all servers answer.
    pub async fn answers(&self) -> bool {
        for address in &self.world.addresses {
            let answer = self
                .world
                .http
                .get(format!("{address}/readyz"))
                .send()
                .await;
            if !answer.is_ok_and(|answer| answer.status().is_success()) {
                return false;
            }
        }
        true
    }

    /// The lines of the processes' logs that tell of a panic.
    pub fn panics(&self) -> Vec<String> {
        let programs = self.programs.iter().chain([&self.stripe]);
        let logs = programs.map(|program| std::fs::read(program.log()).unwrap_or_default());
        logs.flat_map(|log| {
            let log = String::from_utf8_lossy(&log).into_owned();
            let lines = log.lines().filter(|line| line.contains("panicked"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
    }

    /// Stops everything; the folder with the logs stays where the storm found something.
    pub async fn tear_down(&self, keeps_logs: bool) {
        for program in self.programs.iter().chain([&self.stripe]) {
            program.kill().await;
        }
        self.world.shop.close().await;
        self.world.stripe.close().await;
        self.database.stop().await;
        if !keeps_logs {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn stripe(database: &TestDatabase, port: u16, webhook: &str, folder: &Path) -> Program {
    let options = tests_database::options(database.name());
    let socket = options.get_socket().expect("a socket").display();
    let settings = [
        (
            "DATABASE_URL",
            format!(
                "postgres://{}@localhost/{}?host={socket}&sslmode=disable",
                options.get_username(),
                database.name()
            ),
        ),
        ("DATA_DIR", folder.join("stripe").display().to_string()),
        ("STRIPE_SECRET_KEY", STRIPE_KEY.to_owned()),
        ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    let bind = format!("127.0.0.1:{port}");
    let arguments = ["sandbox", "--bind", &bind, "--webhook-url", webhook];
    Program::new("stripe", &arguments, settings.into(), folder.to_owned())
}

/// Ports for processes that are killed and come back to theirs: below those that the system gives to others.
fn free_ports(count: usize, seed: u64) -> Vec<u16> {
    let mut chance = Chance::new(seed ^ u64::from(std::process::id()));
    let mut found = Vec::new();
    while found.len() < count {
        let port = 10_000 + chance.below(20_000) as u16;
        if !found.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            found.push(port);
        }
    }
    found
}
