//! The program itself, as a newcomer starts it: in an empty folder, with nothing set.

mod accounts;
mod backup;
mod commands;
mod endurance;
mod intake;
mod lighters;
mod load;
mod newcomer;
mod resources;
mod restore;
mod start;
mod stopping;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use uuid::Uuid;

use crate::support::logs::leak;
use crate::support::{Client, SECRET_KEY, Shop};

/// Time limit for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder to start the program in; gone with the test, and what the program kept elsewhere, too.
pub struct Home {
    pub dir: PathBuf,
    /// A disk of this size for the data folder, and how to mount it.
    small_disk: Option<(&'static str, &'static [&'static str])>,
}

/// A program that serves.
pub struct Program {
    pub child: Child,
    pub address: String,
    said: String,
    // Held open: the program may still want to say something.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Home {
    pub fn new() -> Home {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("home-{}", Uuid::new_v4().simple()));
        std::fs::create_dir_all(&dir).expect("a folder");
        // Or that of the developer who runs the tests would be found, further up.
        std::fs::write(dir.join(".env"), "").expect("a file");
        Home {
            dir,
            small_disk: None,
        }
    }

    /// The program, with nothing of our environment.
    pub fn command(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
        let program = crate::support::program();
        let mut command = match self.small_disk {
            None => Command::new(program),
            Some((size, unshare)) => {
                // Mounted for this process alone: nothing is left behind.
                let script = format!(
                    "mkdir data && mount -t tmpfs -o size={size} none data && exec \"$0\" \"$@\""
                );
                let mut command = Command::new("unshare");
                command
                    .args(unshare)
                    .args(["sh", "-c", &script])
                    .arg(program);
                command
            }
        };
        command.args(arguments).current_dir(&self.dir).env_clear();
        for name in ["PATH", "HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command
            .env("BIND_ADDR", "127.0.0.1:0")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs the program to its end: exit code, standard output, standard error.
    pub async fn run(
        &self,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> (i32, String, String) {
        let output = self.command(arguments, settings).output();
        let output = tokio::time::timeout(PATIENCE, output)
            .await
            .expect("an end")
            .expect("a program");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let code = output.status.code().expect("an exit code");
        (code, text(output.stdout), text(output.stderr))
    }

    /// Starts the program and reads where it answers.
    pub async fn start(&self) -> Program {
        self.start_with(&[], "Sandbox ").await
    }

    /// As [`Home::start`], with settings; the line that begins like this is the last that it says. Figures are told, too.
    pub async fn start_with(&self, settings: &[(&str, &str)], last: &str) -> Program {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log());
        let mut child = self
            .command(&[], settings)
            .env("METRICS_ADDR", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("a program");
        let mut lines = BufReader::new(child.stdout.take().expect("piped above")).lines();
        let mut said = String::new();
        let reading = async {
            while let Some(line) = lines.next_line().await.expect("its output") {
                said.push_str(&line);
                said.push('\n');
                if line.starts_with(last) {
                    return;
                }
            }
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            panic!("it ended: {said}{log}");
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("a start in time");
        let address = said
            .lines()
            .find_map(|line| {
                line.strip_prefix("Shop API   ")?
                    .strip_suffix("/api/products/")
            })
            .expect("the shop's address")
            .to_owned();
        Program {
            child,
            address,
            said,
            _stdout: lines,
        }
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("log.txt")
    }

    /// Folder of the embedded PostgreSQL: in the data folder or, if its user cannot enter there, in the system's.
    fn cluster(&self) -> PathBuf {
        let dir = self.dir.join("data/postgres");
        let moved = self.moved_cluster();
        if moved.exists() { moved } else { dir }
    }

    fn moved_cluster(&self) -> PathBuf {
        let dir = self
            .dir
            .canonicalize()
            .expect("our folder")
            .join("data/postgres");
        let hash = Sha256::digest(dir.as_os_str().as_encoded_bytes());
        let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Path::new("/var/lib/spirit-beads").join(hash)
    }

    /// Reports whether PostgreSQL says that it runs here.
    fn has_server(&self) -> bool {
        let data = self.cluster().join("data");
        assert!(
            data.join("PG_VERSION").exists(),
            "no cluster in {}",
            data.display()
        );
        data.join("postmaster.pid").exists()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let leaked = log.lines().find_map(leak);
        assert!(
            leaked.is_none() || std::thread::panicking(),
            "the log tells {leaked:?}"
        );
        let _ = std::fs::remove_dir_all(self.moved_cluster());
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Program {
    fn client(&self) -> Client {
        Client::to(&self.address)
    }

    /// Address of its metrics.
    pub fn metrics_address(&self) -> String {
        let told = self
            .said
            .lines()
            .find_map(|line| line.strip_prefix("Metrics    ")?.strip_suffix("/metrics"));
        told.expect("an address").to_owned()
    }

    /// Waits until the worker has done every job, those of the start included: rendering the demo images takes memory.
    async fn settles(&self) {
        let metrics = Client::to(&self.metrics_address());
        let idle = [
            "shop_workers_alive 1",
            "shop_jobs{state=\"waiting\"} 0",
            "shop_jobs{state=\"running\"} 0",
        ];
        until("the worker has nothing to do", async || {
            let text = metrics.get("/metrics").await.text;
            idle.iter().all(|line| text.contains(line))
        })
        .await;
    }

    pub async fn terminate(&self) {
        let pid = self.child.id().expect("it runs").to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().await;
        assert!(told.expect("kill").success());
    }

    /// Its exit code, once it has ended.
    pub async fn end(mut self) -> Option<i32> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        status.expect("an end in time").expect("a status").code()
    }
}

/// Waits for what another process does.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The most memory that a process has held, in bytes; none once it has ended. The kernel counts in batches on each core, so a
/// later answer may be a little less.
pub fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// The program's settings on a shop's database and Stripe.
pub struct Beside {
    pub home: Home,
    pub settings: Vec<(&'static str, String)>,
}

impl Beside {
    pub fn new(shop: &Shop) -> Beside {
        let options = shop.db.connect_options();
        let socket = options
            .get_socket()
            .expect("a socket")
            .display()
            .to_string();
        let host: String = url::form_urlencoded::byte_serialize(socket.as_bytes()).collect();
        let url = format!(
            "postgres://{}@localhost:{}/{}?host={host}",
            options.get_username(),
            options.get_port(),
            options.get_database().expect("a database")
        );
        let config = &shop.app.config;
        let secret = |secret: &Option<spirit_beads::config::Secret>| {
            secret.as_ref().expect("set").reveal().to_owned()
        };
        Beside {
            home: Home::new(),
            settings: vec![
                ("DATABASE_URL", url),
                ("SECRET_KEY", SECRET_KEY.to_owned()),
                ("STRIPE_SECRET_KEY", secret(&config.stripe.secret_key)),
                (
                    "STRIPE_WEBHOOK_SECRET",
                    config.stripe.webhook_secrets[0].reveal().to_owned(),
                ),
                (
                    "STRIPE_API_URL",
                    config.stripe.api_url.clone().expect("set"),
                ),
            ],
        }
    }

    pub fn settings(&self) -> Vec<(&str, &str)> {
        self.settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }

    pub async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.home.run(arguments, &self.settings()).await
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.home.dir.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}
