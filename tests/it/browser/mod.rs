//! The admin in a real browser: Chromium, driven as an owner would use it, with clicks, keys and dropped files.
//!
//! Without Chromium or its driver, these tests say so and pass; with `BROWSER_TESTS=required` they fail. With
//! `BROWSER_SHOTS=FOLDER` they leave an image of each page there, and what it weighs.

mod drafts;
mod menu;
mod pages;
mod shipping;
mod table_photos;
mod uploads;
mod walks;
mod window;
mod without_scripts;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::prelude::*;
use thirtyfour::session::handle::SessionHandle;
use thirtyfour::{ChromiumLikeCapabilities, LoggingPrefsLogLevel};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::SemaphorePermit;

use window::shots;

use crate::support::{Shop, heavy};

/// Time limit for something to be seen. Far more than it needs: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

const PHONE: u32 = 360;

const LAPTOP: u32 = 1280;

/// The programs, or what is missing of them.
static PROGRAMS: LazyLock<Result<(PathBuf, PathBuf), &str>> = LazyLock::new(|| {
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let browser = browsers.into_iter().find_map(program);
    match (browser, program("chromedriver")) {
        (Some(browser), Some(driver)) => Ok((browser, driver)),
        (None, Some(_)) => Err("chromium"),
        (Some(_), None) => Err("chromedriver"),
        (None, None) => Err("chromium and chromedriver"),
    }
});

fn program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let mut paths = std::env::split_paths(&folders).map(|folder| folder.join(name));
    paths.find(|path| path.is_file())
}

/// A driver of browsers, which ends with the test, and every browser with it.
struct Driver {
    address: String,
    sessions: Mutex<Vec<String>>,
    _process: Child,
    /// Traces that the browsers leave behind.
    _folder: TempDir,
    _seat: SemaphorePermit<'static>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A driver that is killed leaves its browsers behind.
        for session in self.sessions.lock().expect("the sessions").drain(..) {
            let host = self.address.trim_start_matches("http://");
            if let Ok(mut line) = std::net::TcpStream::connect(host) {
                let request = format!(
                    "DELETE /session/{session} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
                );
                let _ = line.set_read_timeout(Some(PATIENCE));
                let _ = line.write_all(request.as_bytes());
                // The answer comes when the browser has ended.
                let _ = line.read(&mut [0; 1]);
            }
        }
    }
}

impl Driver {
    /// None where the programs are missing, which is said.
    async fn start() -> Option<Driver> {
        let (_, driver) = match &*PROGRAMS {
            Ok(programs) => programs,
            Err(missing) => {
                let required = std::env::var("BROWSER_TESTS").is_ok_and(|word| word == "required");
                assert!(!required, "BROWSER_TESTS=required, and missing: {missing}");
                let thread = std::thread::current();
                let test = thread.name().unwrap_or("browser");
                // Past what the test runner keeps to itself of a test that passes.
                let _ = writeln!(
                    std::io::stderr(),
                    "SKIPPED {test}, for want of {missing} (apt-get install chromium chromium-driver)"
                );
                return None;
            }
        };
        let seat = heavy().await;
        let folder = TempDir::new().expect("a folder");
        let mut process = Command::new(driver)
            .arg("--port=0")
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("a driver");
        let mut said = BufReader::new(process.stdout.take().expect("its words")).lines();
        let port = loop {
            let line = said.next_line().await.expect("words");
            let line = line.expect("a driver that starts");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        // Read on, or the driver waits for who reads.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        Some(Driver {
            address: format!("http://127.0.0.1:{port}"),
            sessions: Mutex::default(),
            _process: process,
            _folder: folder,
            _seat: seat,
        })
    }

    /// A browser of its own, with no cookies yet, this many pixels wide.
    async fn opens(&self, shop: &Shop, width: u32) -> Window {
        self.opens_with(shop, width, json!({})).await
    }

    /// As [`Driver::opens`], in a browser that runs no scripts.
    async fn opens_without_scripts(&self, shop: &Shop, width: u32) -> Window {
        let off = json!({"profile.managed_default_content_settings.javascript": 2});
        self.opens_with(shop, width, off).await
    }

    async fn opens_with(&self, shop: &Shop, width: u32, preferences: Value) -> Window {
        let (browser, _) = PROGRAMS.as_ref().expect("checked at the start");
        let mut wanted = DesiredCapabilities::chrome();
        let arrange = || {
            wanted.set_binary(&browser.display().to_string())?;
            // Root has no sandbox, and the pages are ours.
            for flag in [
                "--headless=new",
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--lang=en-US",
                "--remote-debugging-pipe",
            ] {
                wanted.add_arg(flag)?;
            }
            wanted.add_experimental_option("prefs", preferences)?;
            wanted.set_browser_log_level(LoggingPrefsLogLevel::All)?;
            wanted.set_logging_prefs("performance", LoggingPrefsLogLevel::All)
        };
        arrange().expect("settings");
        let driver = WebDriver::new(&self.address, wanted).await;
        let driver = driver.expect("a browser");
        let session = driver.handle().clone();
        // It would end itself inside the test's own runtime, and wait for it.
        driver.leak().expect("a session that goes on");
        let id = session.session_id().to_string();
        self.sessions.lock().expect("the sessions").push(id);
        let window = Window {
            driver: session,
            origin: shop.address.clone(),
        };
        window.is_wide(width).await;
        window
    }
}

/// A browser's window in the admin.
struct Window {
    driver: Arc<SessionHandle>,
    origin: String,
}
