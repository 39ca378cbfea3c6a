//! The program itself, as a newcomer starts it: in an empty folder, with nothing set.

mod endurance;
mod load;
mod restore;
mod start;
mod stopping;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use spirit_beads::auth::Scope;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use uuid::Uuid;

use crate::support::images::{FORM, Part, form, jpeg};
use crate::support::logs::told;
use crate::support::{
    Client, Mail, SECRET_KEY, Shop, card, form_of, heavy, read_answer, session_of,
};

/// How long anything may take on a busy machine.
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

    /// Where the embedded PostgreSQL lives: in the data folder or, if its user cannot enter there, in the system's.
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

    /// Whether PostgreSQL says that it runs here.
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
        let told = log.lines().find_map(told);
        assert!(
            told.is_none() || std::thread::panicking(),
            "the log tells {told:?}"
        );
        let _ = std::fs::remove_dir_all(self.moved_cluster());
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Program {
    fn client(&self) -> Client {
        Client::to(&self.address)
    }

    /// Where it tells its figures.
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

/// The first piece of the demo catalog that can be bought.
async fn some_piece(client: &Client) -> (String, i64) {
    let list = client.get("/api/products/").await.json;
    let results = list["results"].as_array().expect("a list");
    let piece = results
        .iter()
        .find(|piece| piece["is_in_stock"] == true)
        .expect("a piece");
    (
        piece["id"].as_str().expect("an id").to_owned(),
        piece["inventory_count"].as_i64().expect("a number"),
    )
}

#[tokio::test]
async fn a_newcomer_sells_a_piece_and_the_order_outlives_a_kill() {
    let home = Home::new();
    let program = home.start().await;
    let client = program.client();
    let list = client.get("/api/products/").await.json;
    assert!(list["count"].as_i64().expect("a number") >= 20, "{list}");
    let image = client
        .get(
            list["results"][0]["primary_image"]
                .as_str()
                .expect("an image"),
        )
        .await;
    assert_eq!(image.status, 200);
    assert!(image.header("content-type").starts_with("image/"));
    for path in ["/api/docs/", "/sandbox/", "/healthz"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    until("the worker is alive", async || {
        client.get("/readyz").await.status == 200
    })
    .await;

    // Buys through the hosted page, as a browser without JavaScript does.
    let (piece, count) = some_piece(&client).await;
    let answer = client.check_out(&[(&piece, 1)]).await;
    let session = session_of(&answer);
    let url = answer.json["checkout_url"].as_str().expect("an address");
    let path = url.strip_prefix(&program.address).expect("a page of ours");
    let page = client.get(path).await.text;
    let (action, mut fields) = form_of(&page);
    fields.push(("how".to_owned(), "card".to_owned()));
    let paid = client.submit(&action, &fields).await;
    assert_eq!(paid.status, 303, "{}", paid.text);
    assert!(
        paid.header("location")
            .starts_with("http://localhost:8080/success")
    );
    let order = format!("/api/orders/by-session/{session}/");
    until("the order is paid", async || {
        client.get(&order).await.json["status"] == "paid"
    })
    .await;
    let detail = format!("/api/products/{piece}/");
    assert_eq!(client.get(&detail).await.json["inventory_count"], count - 1);
    let emails = home.dir.join("data/mail");
    until("the email is written", async || {
        !Mail::in_folder(&emails).is_empty()
    })
    .await;
    let email = Mail::in_folder(&emails).remove(0);
    assert_eq!(email.subject, "Order Confirmation - Spirit Beads");
    assert_eq!(email.inside.len(), 1, "with the piece's image");

    // The owner was made with the shop, and comes in with the password that was shown.
    let (_, line) = program.said.split_once("sign in as ").expect("an owner");
    let mut words = line.split_whitespace();
    let (admin, password) = (words.next().expect("a name"), words.nth(1).expect("one"));
    assert!(
        program
            .said
            .contains(&format!("Admin      {}/admin/", program.address))
    );
    let browser = client.with_cookies();
    let (action, mut fields) = form_of(&browser.get("/admin/sign-in/").await.text);
    for (name, value) in &mut fields {
        match name.as_str() {
            "email" => *value = admin.to_owned(),
            "password" => *value = password.to_owned(),
            _ => {}
        }
    }
    let answer = browser.submit_own(&action, &fields).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/admin"));
    let today = browser.get("/admin/").await.text;
    assert!(
        today.contains("<strong>1</strong> order to pack"),
        "{today}"
    );
    let password = password.to_owned();

    // A token for the owner's programs, made beside the running shop.
    let making = [
        "token",
        "create",
        "--name",
        "laptop",
        "--scope",
        "orders:read",
    ];
    let (code, token, _) = home.run(&making, &[]).await;
    assert_eq!(code, 0);
    let token = token.trim();
    let orders = client
        .with_token(token)
        .get("/api/admin/orders/")
        .await
        .json;
    assert_eq!(orders["results"][0]["status"], "paid");
    let email = orders["results"][0]["email"]
        .as_str()
        .expect("an address")
        .to_owned();

    // kill -9, and everything is there again on the same data.
    let mut killed = program;
    killed.child.kill().await.expect("killed");
    let program = home.start().await;
    assert!(!program.said.contains("demo"), "{}", program.said);
    assert!(!program.said.contains("sign in as"), "{}", program.said);
    let client = program.client();
    assert_eq!(client.get(&order).await.json["status"], "paid");
    assert_eq!(client.get(&detail).await.json["inventory_count"], count - 1);

    // SIGTERM in the middle of a request: it is answered, then everything is put away.
    let (piece, _) = some_piece(&client).await;
    let body = json!({"items": [{"product_id": piece, "quantity": 1}]}).to_string();
    let (first, second) = body.split_at(body.len() / 2);
    let host = program.address.trim_start_matches("http://").to_owned();
    // A browser that keeps a line ready does not hold us up.
    let _ready = TcpStream::connect(&host).await.expect("a connection");
    let mut line = TcpStream::connect(&host).await.expect("a connection");
    let head = format!(
        "POST /api/payments/create-checkout-session/ HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         expect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
        body.len()
    );
    line.write_all(head.as_bytes()).await.expect("sent");
    let mut go_on = [0; 25];
    line.read_exact(&mut go_on)
        .await
        .expect("a word that it waits for the body");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    program.terminate().await;
    until("no one new is let in", async || {
        TcpStream::connect(&host).await.is_err()
    })
    .await;
    line.write_all(second.as_bytes()).await.expect("sent");
    let (status, _, text) = read_answer(&mut line).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("checkout_url"), "{text}");
    let last: Value = serde_json::from_str(&text).expect("JSON");
    let stopping = Instant::now();
    assert_eq!(program.end().await, Some(0));
    assert!(
        stopping.elapsed() < Duration::from_secs(10),
        "it waited for nobody"
    );
    assert!(!home.has_server());

    // The log knows no one and gives nothing away.
    let log = std::fs::read_to_string(home.log()).expect("the log");
    assert!(log.contains("request") || log.contains("event"), "{log}");
    let kept =
        |name: &str| std::fs::read_to_string(home.dir.join("data").join(name)).expect("a secret");
    let url = last["checkout_url"].as_str().expect("an address");
    for (what, secret) in [
        ("the buyer", email.as_str()),
        ("the token", token),
        ("the owner's password", password.as_str()),
        ("a session", session.as_str()),
        ("the last session", url.rsplit('/').next().expect("an id")),
        ("the key", kept("secret_key").as_str()),
        (
            "the signing secret",
            kept("sandbox_webhook_secret").as_str(),
        ),
        ("Stripe's key", "sk_test_"),
        ("any token", "sbt_"),
        ("any secret", "whsec_"),
        ("any session", "cs_test_"),
    ] {
        assert!(!log.contains(secret), "{what} is in the log:\n{log}");
    }
}

#[tokio::test]
async fn copies_share_a_folder_or_keep_apart() {
    let (home, elsewhere) = (Home::new(), Home::new());
    let (first, other) = tokio::join!(home.start(), elsewhere.start());
    let second = home.start().await;
    let making = ["token", "create", "--name", "laptop", "--scope", "catalog"];
    let (code, token, said) = home.run(&making, &[]).await;
    assert_eq!(code, 0, "{said}");
    let product = json!({"id": "mine", "name": "Mine", "lighter_type": 1, "price": 4700});
    let made = first
        .client()
        .with_token(token.trim())
        .post("/api/products/", &product)
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(second.client().get("/api/products/mine/").await.status, 200);
    assert_eq!(other.client().get("/api/products/mine/").await.status, 404);

    let taken = first.address.trim_start_matches("http://");
    let (code, _, said) = elsewhere.run(&[], &[("BIND_ADDR", taken)]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("BIND_ADDR") && said.contains(taken), "{said}");
    assert!(said.contains("in use"), "{said}");

    // Whoever goes first leaves the database to the other.
    first.terminate().await;
    assert_eq!(first.end().await, Some(0));
    assert!(home.has_server());
    assert_eq!(second.client().get("/api/products/mine/").await.status, 200);
    second.terminate().await;
    other.terminate().await;
    assert_eq!((second.end().await, other.end().await), (Some(0), Some(0)));
    assert!(!home.has_server() && !elsewhere.has_server());
}

#[tokio::test]
async fn production_names_every_missing_setting_and_does_not_start() {
    let home = Home::new();
    let (code, out, said) = home.run(&[], &[("APP_ENV", "production")]).await;
    assert_eq!((code, out.as_str()), (2, ""));
    for name in [
        "DATABASE_URL",
        "SECRET_KEY",
        "PUBLIC_URL",
        "FRONTEND_URL",
        "STRIPE_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRET",
        "SMTP_URL",
        "MAIL_FROM",
        "SHOP_EMAIL",
    ] {
        assert!(said.contains(name), "{name}: {said}");
    }
    assert!(!home.dir.join("data").exists());
    let (code, _, said) = home
        .run(
            &["serve"],
            &[("REQUEST_TIMEOUT_SECONDS", "soon"), ("LOG_FORMAT", "xml")],
        )
        .await;
    assert_eq!(code, 2);
    assert!(
        said.contains("REQUEST_TIMEOUT_SECONDS") && said.contains("LOG_FORMAT"),
        "{said}"
    );
}

#[tokio::test]
async fn the_sandbox_is_served_alone_for_who_has_its_key_but_never_in_production() {
    let home = Home::new();
    let sandbox = ["sandbox", "--bind", "127.0.0.1:0"];
    let (code, out, said) = home.run(&sandbox, &[]).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(said.contains("STRIPE_SECRET_KEY"), "{said}");
    let (code, out, said) = home
        .run(
            &sandbox,
            &[
                ("APP_ENV", "production"),
                ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"),
                ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
                ("PUBLIC_URL", "https://api.shop.test"),
                ("FRONTEND_URL", "https://shop.test"),
                ("STRIPE_SECRET_KEY", "sk_live_0123456789abcdef"),
                ("STRIPE_WEBHOOK_SECRET", "whsec_0123456789abcdef"),
                ("SMTP_URL", "smtps://mail.shop.test"),
                ("MAIL_FROM", "shop@shop.test"),
                ("SHOP_EMAIL", "shop@shop.test"),
            ],
        )
        .await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(said.contains("never served in production"), "{said}");
    assert!(!home.dir.join("data").exists());
}

#[tokio::test]
async fn every_email_can_be_looked_at_without_a_database() {
    let home = Home::new();
    let (code, out, said) = home
        .run(
            &["emails", "preview", "--out", "emails"],
            &[("SHOP_NAME", "Bead & Thread")],
        )
        .await;
    assert_eq!(code, 0, "{said}");
    let preview = spirit_beads::emails::samples().len();
    assert!(out.starts_with(&format!("{preview} emails")), "{out}");
    assert!(!home.dir.join("data").exists());
    let mut emails = 0;
    for entry in std::fs::read_dir(home.dir.join("emails")).expect("a folder") {
        let path = entry.expect("a file").path();
        let bytes = std::fs::read(&path).expect("an email");
        match path.extension().and_then(|end| end.to_str()) {
            Some("eml") => {
                let mail = Mail::read(&bytes);
                for (id, _) in &mail.inside {
                    assert!(mail.html.contains(&format!("\"cid:{id}\"")), "{id}");
                }
                let shown = mail.html.matches("\"cid:").count();
                assert_eq!(shown, mail.inside.len(), "{}", path.display());
                emails += 1;
            }
            Some("html") => {
                let html = String::from_utf8(bytes).expect("UTF-8");
                assert!(!html.contains("cid:") && html.contains("Bead &#38; Thread"));
            }
            Some("txt") => assert!(bytes.starts_with(b"Bead & Thread\n")),
            end => panic!("{end:?}"),
        }
    }
    assert_eq!(emails, preview);
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

/// Uses a disk up, but for some bytes.
fn fill(folder: &Path, left: u64) -> PathBuf {
    let filler = folder.join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    let mut size = 0;
    while let Ok(()) = std::io::Write::write_all(&mut file, &[0; 1024]) {
        size += 1024;
    }
    file.set_len(size - left).expect("a shorter file");
    filler
}

/// Every file below a folder, and its size.
fn files_in(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let about = entry.metadata().expect("its size");
        match about.is_dir() {
            true => files.extend(files_in(&entry.path())),
            false => files.push((entry.path(), about.len())),
        }
    }
    files.sort();
    files
}

/// How `unshare` lets this user mount a disk: root as it is, others as root of a namespace of their own. None where
/// neither works and `SMALL_DISK_TESTS=skip` says that this is known.
async fn may_mount() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--mount", "--map-root-user"]];
    for way in ways {
        let trial = Command::new("unshare")
            .args(way)
            .args(["mount", "-t", "tmpfs", "none", "/mnt"])
            .output();
        if trial.await.is_ok_and(|output| output.status.success()) {
            return Some(way);
        }
    }
    let is_known = std::env::var("SMALL_DISK_TESTS").is_ok_and(|word| word == "skip");
    assert!(
        is_known,
        "no small disk may be mounted here: run the tests as root, allow user namespaces, or leave this one out with \
         SMALL_DISK_TESTS=skip"
    );
    None
}

#[tokio::test]
async fn a_disk_that_has_no_byte_left_is_an_outage_of_images_alone() {
    let Some(unshare) = may_mount().await else {
        // Past what the test runner keeps to itself of a test that passes.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED, as SMALL_DISK_TESTS=skip says: a disk that has no byte left"
        );
        return;
    };
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 9).await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let mut beside = Beside::new(&shop);
    beside.home.small_disk = Some(("2m", unshare));
    let program = beside.home.start_with(&beside.settings(), "Metrics ").await;
    let admin = Client::to(&program.address).with_token(&admin.token.expect("a token"));
    let pid = program.child.id().expect("it runs");
    let data = beside
        .home
        .dir
        .canonicalize()
        .expect("a folder")
        .join("data");
    let data = PathBuf::from(format!("/proc/{pid}/root{}", data.display()));
    assert_eq!(admin.uploads(&[&jpeg(70, 50)]).await.status, 201);
    let has_sizes = async || files_in(&data).len() == 3;
    until("both sizes of the image are made", has_sizes).await;
    let kept = files_in(&data);

    let image_url = jpeg(640, 480);
    let size = image_url.len() as u64;
    // Not a byte is left, or room for a part of the upload.
    for left in [0, size / 2] {
        let filler = fill(&data, left);
        for answer in [
            admin.uploads(&[&image_url]).await,
            admin.asks_with(&image_url).await,
        ] {
            let told = (answer.status, &answer.json["code"]);
            assert_eq!(
                told,
                (503, &json!("media_unavailable")),
                "{left} bytes left: {}",
                answer.text
            );
            assert!(!answer.header("retry-after").is_empty());
        }
        let bought = admin.check_out(&[("sunrise", 1)]).await;
        assert_eq!(bought.status, 200, "{}", bought.text);
        std::fs::remove_file(filler).expect("removed");
        assert_eq!(files_in(&data), kept, "{left} bytes left");
    }
    let rows: (i64, i64) = sqlx::query_as(
        "select (select count(*) from images), (select count(*) from custom_orders)",
    )
    .fetch_one(&shop.db)
    .await
    .expect("the rows");
    assert_eq!(rows, (1, 0));

    // Room for the upload, but not for all the sizes that a job makes of it: they are made when there is.
    let filler = fill(&data, size + 4096);
    assert_eq!(admin.uploads(&[&image_url]).await.status, 201);
    until("the job fails", async || {
        let failed = "select exists (select from graphile_worker._private_jobs where last_error is not null)";
        sqlx::query_scalar(failed).fetch_one(&shop.db).await.expect("the jobs")
    })
    .await;
    std::fs::remove_file(filler).expect("removed");
    until("all sizes are made", async || {
        shop.hurry_jobs().await;
        files_in(&data).len() == kept.len() + 5
    })
    .await;
    assert_eq!(admin.asks_with(&image_url).await.status, 201);
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));
}

#[tokio::test]
async fn a_token_is_shown_once_kept_as_a_hash_and_revoked() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let beside = Beside::new(&shop);
    let making = [
        "token",
        "create",
        "--name",
        "market",
        "--scope",
        "orders:write",
        "--scope",
        "stock",
    ];
    let (code, token, said) = beside.run(&making).await;
    assert_eq!((code, token.lines().count()), (0, 1), "{said}");
    let market = shop.client.with_token(token.trim());
    let sale = json!({"lines": [{"product_id": piece, "quantity": 1}]});
    assert_eq!(market.post("/api/admin/orders/", &sale).await.status, 201);
    assert_eq!(market.get("/api/admin/orders/").await.status, 403);
    let kept: String = sqlx::query_scalar("select string_agg(t::text, ' ') from api_tokens t")
        .fetch_one(&shop.db)
        .await
        .expect("the tokens");
    assert!(kept.contains("market") && !kept.contains(token.trim()));

    let id: i64 = sqlx::query_scalar("select id from api_tokens where name = 'market'")
        .fetch_one(&shop.db)
        .await
        .expect("the token");
    let (_, list, _) = beside.run(&["token", "list"]).await;
    let line = list
        .lines()
        .find(|line| line.contains("market"))
        .expect("the token");
    assert!(
        line.contains("active") && line.contains("orders:write stock"),
        "{line}"
    );
    assert!(line.contains(&id.to_string()) && !list.contains(token.trim()));
    let (code, said, _) = beside.run(&["token", "revoke", &id.to_string()]).await;
    assert_eq!(
        (code, said.trim()),
        (0, &*format!("Token {id} is revoked."))
    );
    assert_eq!(market.post("/api/admin/orders/", &sale).await.status, 401);
    let (_, list, _) = beside.run(&["token", "list"]).await;
    assert!(
        list.lines()
            .any(|line| line.contains("market") && line.contains("revoked"))
    );

    let (code, _, said) = beside.run(&["token", "revoke", "999999"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("there is no token 999999"), "{said}");
    for wrong in [
        vec!["token", "create", "--name", "x", "--scope", "everything"],
        vec!["token", "create", "--name", "x"],
        vec!["nothing"],
    ] {
        assert_eq!(beside.run(&wrong).await.0, 2, "{wrong:?}");
    }
    let (code, _, said) = beside
        .run(&["token", "create", "--name", "", "--scope", "stock"])
        .await;
    assert_eq!(code, 1);
    assert!(said.contains("name: "), "{said}");
}

#[tokio::test]
async fn users_are_made_and_shut_out_by_commands() {
    let shop = Shop::open().await;
    let beside = Beside::new(&shop);
    let (code, password, said) = beside
        .run(&["admin", "create", "--email", "ann@example.com"])
        .await;
    assert_eq!((code, password.lines().count()), (0, 1), "{said}");
    assert!(
        said.contains("ann@example.com may sign in as owner."),
        "{said}"
    );
    let password = password.trim();
    let sign_in = async |password: &str| {
        let browser = shop.shopper();
        let (action, mut fields) = form_of(&browser.get("/admin/sign-in").await.text);
        for (name, value) in &mut fields {
            match name.as_str() {
                "email" => *value = "ann@example.com".to_owned(),
                "password" => *value = password.to_owned(),
                _ => {}
            }
        }
        let status = browser.submit_own(&action, &fields).await.status;
        (status, browser)
    };
    let (status, browser) = sign_in(password).await;
    assert_eq!(
        (status, browser.get("/admin/users").await.status),
        (303, 200)
    );

    // From standard input, for who keeps passwords elsewhere; it is not repeated.
    let settings = beside.settings();
    let arguments = [
        "admin",
        "create",
        "--email",
        "ben@example.com",
        "--role",
        "staff",
        "--password-stdin",
    ];
    let mut child = beside
        .home
        .command(&arguments, &settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a program");
    let mut input = child.stdin.take().expect("piped above");
    input
        .write_all(b"correct horse battery\n")
        .await
        .expect("sent");
    drop(input);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("an end").expect("a program");
    assert!(output.status.success() && output.stdout.is_empty());
    let (_, list, _) = beside.run(&["admin", "list"]).await;
    assert_eq!(
        list,
        "active    owner  password only  ann@example.com\nactive    staff  password only  ben@example.com\n"
    );

    // A new password ends the sessions; being shut out does, too, and the last owner stays.
    let (code, new, _) = beside
        .run(&[
            "admin",
            "reset-password",
            "--email",
            "ANN@example.com",
            "--without-second-factor",
        ])
        .await;
    assert_eq!(code, 0);
    assert_eq!(browser.get("/admin").await.status, 303);
    assert_eq!(
        (sign_in(password).await.0, sign_in(new.trim()).await.0),
        (422, 303)
    );
    let (code, _, said) = beside
        .run(&["admin", "disable", "--email", "ann@example.com"])
        .await;
    assert_eq!(code, 1);
    assert!(said.contains("This is the only owner"), "{said}");
    let (code, said, _) = beside
        .run(&["admin", "disable", "--email", "ben@example.com"])
        .await;
    assert_eq!((code, said.as_str()), (0, "ben@example.com is shut out.\n"));
    assert!(
        beside
            .run(&["admin", "list"])
            .await
            .1
            .contains("disabled  staff")
    );
    assert_eq!(
        beside
            .run(&["admin", "enable", "--email", "ben@example.com"])
            .await
            .0,
        0
    );

    for (arguments, complaint) in [
        (
            &["admin", "disable", "--email", "nobody@example.com"][..],
            "there is no user nobody@example.com",
        ),
        (
            &["admin", "create", "--email", "ann@example.com"],
            "email: is a user's already",
        ),
        (
            &["admin", "create", "--email", "ann"],
            "email: is no email address",
        ),
        (
            &[
                "admin",
                "create",
                "--email",
                "c@example.com",
                "--password-stdin",
            ],
            "password: must have at least 12",
        ),
    ] {
        let (code, _, said) = beside.run(arguments).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(complaint), "{said}");
    }
    let log: Vec<String> =
        sqlx::query_scalar("select actor || ' ' || action from audit_log order by id")
            .fetch_all(&shop.db)
            .await
            .expect("the log");
    assert_eq!(
        log,
        [
            "console user.create",
            "console user.create",
            "console user.set_password",
            "console user.disable",
            "console user.enable",
        ]
    );
}

#[tokio::test]
async fn the_catalog_goes_out_and_in_unchanged_and_a_bad_file_changes_nothing() {
    let shop = Shop::open().await;
    let admin = shop.admin(&Scope::ALL).await;
    assert_eq!(
        admin
            .post("/api/categories/", &json!({"name": "Suns"}))
            .await
            .status,
        201
    );
    shop.stocks_with(
        "Sunrise",
        3,
        json!({"category": "suns", "primary_image": "/media/a.png"}),
    )
    .await;
    shop.stocks("Turtle", 1).await;
    let beside = Beside::new(&shop);
    let before = admin.get("/api/admin/products/").await.json;
    let (code, file, said) = beside.run(&["catalog", "export"]).await;
    assert_eq!(code, 0, "{said}");
    let path = beside.write("catalog.json", &file);
    let (code, said, _) = beside.run(&["catalog", "import", &path]).await;
    assert_eq!(code, 0);
    assert!(
        said.contains("0 created, 0 updated") && said.contains("Unchanged: 3."),
        "{said}"
    );
    assert_eq!(admin.get("/api/admin/products/").await.json, before);
    assert_eq!(beside.run(&["catalog", "export"]).await.1, file);

    let mut bad: Value = serde_json::from_str(&file).expect("JSON");
    bad["products"][0]["name"] = json!("Changed");
    bad["products"][1]["price"] = json!(-1);
    bad["products"][1]["colour"] = json!("red");
    bad["categories"][0]["name"] = json!("");
    let path = beside.write("bad.json", &bad.to_string());
    let (code, _, said) = beside.run(&["catalog", "import", &path]).await;
    assert_eq!(code, 1);
    for field in [
        "categories[0].name: ",
        "products[1].price: ",
        "products[1].colour: ",
    ] {
        assert!(said.contains(field), "{field}{said}");
    }
    let (code, _, said) = beside
        .run(&["catalog", "import", &beside.write("no.json", "{")])
        .await;
    assert_eq!(code, 1);
    assert!(said.contains("file: This is not JSON"), "{said}");
    let (code, _, said) = beside.run(&["catalog", "import", "nowhere.json"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("nowhere.json"), "{said}");
    let (code, _, said) = beside
        .run(&[
            "catalog",
            "import",
            &path.replace("bad", "catalog"),
            "--media",
            ".",
        ])
        .await;
    assert_eq!(code, 1);
    assert!(
        said.contains("products[0].primary_image: There is no file a.png"),
        "{said}"
    );
    assert_eq!(admin.get("/api/admin/products/").await.json, before);

    let (code, said, _) = beside.run(&["stock", "check"]).await;
    assert_eq!(code, 0, "{said}");
    sqlx::query("update products set on_hand = on_hand + 1 where id = 'turtle'")
        .execute(&shop.db)
        .await
        .expect("tampered with");
    let (code, said, _) = beside.run(&["stock", "check"]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("turtle: 2 on hand, the ledger says 1"),
        "{said}"
    );
    assert!(!said.contains("sunrise"), "{said}");
}

#[tokio::test]
async fn stripe_is_brought_in_line_and_asked_and_a_worker_works() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    shop.stocks("Turtle", 1).await;
    let beside = Beside::new(&shop);
    let (code, said, _) = beside.run(&["migrate"]).await;
    assert_eq!((code, said.as_str()), (0, "The schema is up to date.\n"));
    let (code, said, told) = beside.run(&["stripe", "sync"]).await;
    assert_eq!(
        (code, said.as_str()),
        (0, "2 of 2 products brought in line.\n"),
        "{told}"
    );
    let admin = shop.admin(&[Scope::Catalog]).await;
    let view = admin.get("/api/admin/products/sunrise/").await.json;
    assert_eq!(view["stripe"]["status"], "synced");
    assert_eq!(
        beside.run(&["stripe", "sync"]).await.1,
        "0 of 0 products brought in line.\n"
    );

    // Its webhooks never came; asking finds the payment.
    let session = session_of(&shop.shopper().check_out(&[(&piece, 2)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let (code, said, told) = beside.run(&["stripe", "reconcile"]).await;
    assert_eq!(code, 0, "{told}");
    assert!(said.contains("1 processed, 0 failed"), "{said}");
    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(shop.stock(&piece).await, (1, 0));

    // Ready is who has a worker.
    let ready = shop.client.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(
        ready.json,
        json!({"database": true, "writable": true, "migrations": true, "worker": false})
    );
    assert_eq!(shop.client.get("/healthz").await.status, 200);
    let settings = beside.settings();
    let mut worker = beside.home.command(&["worker"], &settings);
    let mut worker = worker
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a worker");
    until("the worker is alive", async || {
        shop.client.get("/readyz").await.status == 200
    })
    .await;
    until("its jobs are done", async || {
        let left: i64 = sqlx::query_scalar("select count(*) from graphile_worker._private_jobs where attempts = 0 and run_at <= now()")
            .fetch_one(&shop.db)
            .await
            .expect("the queue");
        left == 0
    })
    .await;

    // The database drops every line, as in a fail-over; the shop goes on, and so does the worker.
    sqlx::query(
        "select pg_terminate_backend(pid)
         from pg_stat_activity
         where datname = current_database()
           and pid <> pg_backend_pid()",
    )
    .execute(&shop.db)
    .await
    .expect("the lines cut");
    // A line that was used just now is not asked whether it lives: a request may find it dead, once each.
    until("every line is a new one", async || {
        let mut alive = 0;
        while alive < 32 && sqlx::query("select 1").execute(&shop.db).await.is_ok() {
            alive += 1;
        }
        alive == 32
    })
    .await;
    shop.stocks("Otter", 1).await;
    until("the worker goes on", async || {
        let view = admin.get("/api/admin/products/otter/").await.json;
        view["stripe"]["status"] == "synced"
    })
    .await;
    let pid = worker.id().expect("it runs").to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status().await;
    assert!(told.expect("kill").success());
    let ended = tokio::time::timeout(PATIENCE, worker.wait()).await;
    assert_eq!(
        ended.expect("an end in time").expect("a status").code(),
        Some(0)
    );
    assert_eq!(shop.client.get("/readyz").await.status, 503);
    shop.audit().await;
}

/// The most memory that a process has used so far, in bytes.
/// The most memory a process has held, in bytes. The kernel counts in batches on each core: a later answer may be a little less.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes
        .expect("its peak")
        .parse::<u64>()
        .expect("a number")
        * 1024
}

#[tokio::test]
async fn memory_stays_flat_under_twenty_uploads_of_seventy_megabytes() {
    let _seat = heavy().await;
    let home = Home::new();
    let program = home.start().await;
    let making = ["token", "create", "--name", "k", "--scope", "catalog"];
    let (code, token, said) = home.run(&making, &[]).await;
    assert_eq!(code, 0, "{said}");
    let client = program.client().with_token(token.trim());
    let pid = program.child.id().expect("it runs");
    program.settles().await;
    // Ten files of seven megabytes that begin like images: each is stored, read and found to be none.
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    file.resize(7 * 1024 * 1024, 0x55);
    let parts: Vec<Part> = (0..10).map(|_| Part::file("image", &file)).collect();
    let body = bytes::Bytes::from(form(&parts));
    assert!(body.len() > 70 * 1024 * 1024);
    let before = peak_memory(pid);
    let uploads: Vec<_> = (0..20)
        .map(|_| {
            let (client, body) = (client.clone(), body.clone());
            tokio::spawn(async move {
                let headers = [("content-type", FORM)];
                let path = "/api/admin/images/";
                client.send(Method::POST, path, &headers, Some(body)).await
            })
        })
        .collect();
    for upload in uploads {
        let answer = upload.await.expect("an upload");
        assert_eq!(answer.field_errors().len(), 10, "{}", answer.text);
    }
    let grown = peak_memory(pid).saturating_sub(before);
    println!("20 uploads of 70 MiB: {} MiB more", grown >> 20);
    assert!(grown < 200 << 20, "{} MiB more", grown >> 20);
    let uploads = std::fs::read_dir(home.dir.join("data/uploads")).expect("the folder");
    assert_eq!(uploads.count(), 0);
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));
}

#[tokio::test]
async fn memory_stays_flat_whatever_is_long_in_a_custom_order() {
    let _seat = heavy().await;
    let home = Home::new();
    let program = home.start().await;
    let client = program.client();
    let pid = program.child.id().expect("it runs");
    program.settles().await;
    let fine =
        r#""name": "Ann", "email": "ann@example.com", "description": "Blue and gold, please""#;
    let long = "QUJD".repeat(22_500_000);
    for (body, sentence) in [
        (
            format!(r#"{{{fine}, "description": "{long}"}}"#),
            "Field description is too long",
        ),
        (
            format!(r#"{{{fine}, "images": ["data:image/png;base64,{long}"]}}"#),
            "Image 1 exceeds 7MB limit",
        ),
        (
            format!(r#"{{{fine}, "images": ["{long}"]}}"#),
            "Image 1 is not a valid image type. Allowed: jpeg, png, webp, gif",
        ),
        (format!(r#"{{{fine}, "{long}": 1}}"#), "Invalid JSON"),
        (
            format!(
                r#"{{{fine}, "other": {{"{long}": "{}"}}, "name": ""}}"#,
                "x".repeat(1 << 20)
            ),
            "Missing required field: name",
        ),
    ] {
        let before = peak_memory(pid);
        let headers = [("content-type", "application/json")];
        let answer = client
            .send(Method::POST, "/api/custom-orders/", &headers, Some(body))
            .await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.json["error"], sentence);
        let grown = peak_memory(pid).saturating_sub(before);
        println!("90 MB, {sentence}: {} MiB more", grown >> 20);
        assert!(grown < 24 << 20, "{} MiB more for {sentence}", grown >> 20);
    }
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));
}

#[tokio::test]
async fn a_bucket_behind_tls_is_opened_by_the_program_itself() {
    let shop = Shop::open().await;
    let beside = Beside::new(&shop);
    let mut settings = beside.settings();
    settings.push(("MEDIA_URL", "s3://beads/shop"));
    let (code, _, said) = beside.home.run(&["migrate"], &settings).await;
    assert_eq!(code, 2);
    assert!(
        said.contains("AWS_ACCESS_KEY_ID") && said.contains("AWS_SECRET_ACCESS_KEY"),
        "{said}"
    );
    settings.extend([
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    for endpoint in ["", "https://127.0.0.1:1", "http://127.0.0.1:1"] {
        let settings = [&settings[..], &[("AWS_ENDPOINT_URL", endpoint)]].concat();
        let (code, out, said) = beside.home.run(&["migrate"], &settings).await;
        assert_eq!(
            (code, out.as_str()),
            (0, "The schema is up to date.\n"),
            "{said}"
        );
    }
    settings.push(("AWS_ENDPOINT_URL", "http://bucket.example"));
    let (code, _, said) = beside.home.run(&["migrate"], &settings).await;
    assert_eq!(code, 2);
    assert!(said.contains("AWS_ENDPOINT_URL"), "{said}");
}

#[tokio::test]
async fn a_catalog_moves_to_another_shop_with_its_images() {
    let (shop, other) = (Shop::open().await, Shop::open().await);
    let id = shop.keeps(&jpeg(700, 500)).await;
    shop.stocks_with("Sunrise", 3, json!({"images": [id]}))
        .await;
    shop.run_jobs().await;
    let (_, file, _) = Beside::new(&shop).run(&["catalog", "export"]).await;

    // With a copy of the media folder the image is the same, under the same id.
    let beside = Beside::new(&other);
    let path = beside.write("catalog.json", &file);
    let (code, _, said) = beside.run(&["catalog", "import", &path]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("products[0].images[0]: There is no such image."),
        "{said}"
    );
    let folder = shop.media_folder().display().to_string();
    let import = ["catalog", "import", &path, "--media", &folder];
    let (code, out, said) = beside.run(&import).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        out.contains("2 images taken in.") && out.contains("1 created"),
        "{out}"
    );
    assert_eq!(beside.run(&["catalog", "export"]).await.1, file);

    // With new files, named by their paths; an import that fails leaves none of them behind.
    std::fs::create_dir_all(beside.home.dir.join("new")).expect("a folder");
    std::fs::write(beside.home.dir.join("new/a.jpg"), jpeg(90, 60)).expect("a file");
    std::fs::write(beside.home.dir.join("new/b.jpg"), "<html>").expect("a file");
    let row = |images: Value, price: i64| json!({"products": [{"id": "moon", "name": "Moon", "lighter_type": 1, "price": price, "images": images}]});
    for (images, price, told) in [
        (
            json!(["new/a.jpg", "new/c.jpg"]),
            4700,
            "images[1]: There is no file new/c.jpg",
        ),
        (
            json!(["new/b.jpg"]),
            4700,
            "images[0]: new/b.jpg: This is not an image.",
        ),
        (json!(["new/a.jpg"]), 1, "products[0].price: "),
        (json!(["../log.txt"]), 4700, "images[0]: There is no file"),
    ] {
        let path = beside.write("new.json", &row(images, price).to_string());
        let home = beside.home.dir.display().to_string();
        let (code, _, said) = beside
            .run(&["catalog", "import", &path, "--media", &home])
            .await;
        assert_eq!(code, 1);
        assert!(said.contains(told), "{said}");
    }
    let kept: i64 = sqlx::query_scalar("select count(*) from images")
        .fetch_one(&other.db)
        .await
        .expect("the images");
    assert_eq!(kept, 1);
    let path = beside.write("new.json", &row(json!(["new/a.jpg"]), 4700).to_string());
    let home = beside.home.dir.display().to_string();
    for told in ["1 created", "Unchanged: 1"] {
        let (code, out, said) = beside
            .run(&["catalog", "import", &path, "--media", &home])
            .await;
        assert_eq!(code, 0, "{said}");
        assert!(out.contains(told), "{out}");
    }
    let moon = other.client.get("/api/products/moon/").await.json;
    assert_eq!(moon["images"][0]["width"], 90);
}
