//! The admin in a real browser: Chromium, driven as an owner would use it, with clicks, keys and dropped files.
//!
//! Where Chromium or its driver is missing these tests say so and pass; with `BROWSER_TESTS=required` they fail. With
//! `BROWSER_SHOTS=FOLDER` they leave an image of each page there, and what it weighs.

mod pages;
mod walks;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::cdp::Cdp;
use thirtyfour::prelude::*;
use thirtyfour::session::handle::SessionHandle;
use thirtyfour::{ChromiumLikeCapabilities, Key, LoggingPrefsLogLevel, TypingData};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::SemaphorePermit;

use crate::admin::PASSWORD;
use crate::support::{Shop, heavy};

/// How long something may take to be seen. Far more than it needs: the machine may be busy.
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
    /// What the browsers leave behind.
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

impl Window {
    /// Takes on the width of a phone or a laptop.
    async fn is_wide(&self, width: u32) {
        let size = json!({
            "width": width, "height": if width < 600 { 740 } else { 900 },
            "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
    }

    async fn is_dark(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        // Colours change at once, or half of a change is measured.
        let media = json!({"features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]});
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let answer = Cdp::new(self.driver.clone())
            .send_raw(command, parameters)
            .await;
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// What a script returns.
    async fn asks(&self, script: &str) -> Value {
        let answer = self.driver.execute(script, Vec::new()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{script}: {error}"));
        answer.json().clone()
    }

    async fn goes_to(&self, path: &str) {
        let address = format!("{}{path}", self.origin);
        let went = self.driver.goto(address).await;
        went.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// The address, without the host.
    async fn path(&self) -> String {
        let url = self.driver.current_url().await.expect("an address");
        url.as_str()
            .strip_prefix(&self.origin)
            .unwrap_or(url.as_str())
            .to_owned()
    }

    /// Looks until there is one; what else there is says why not.
    async fn waits_for<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if start.elapsed() > PATIENCE {
                let at = self.path().await;
                let body = self.driver.find(By::Css("body")).await;
                let text = match body {
                    Ok(body) => body.text().await.unwrap_or_default(),
                    Err(_) => String::new(),
                };
                panic!("no {what} on {at}:\n{text}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The first of these that can be seen.
    async fn finds(&self, what: &str, by: By) -> WebElement {
        self.waits_for(what, async || {
            for found in self.driver.find_all(by.clone()).await.ok()? {
                if found.is_displayed().await.unwrap_or(false) {
                    return Some(found);
                }
            }
            None
        })
        .await
    }

    /// Waits until this can be read on the page.
    async fn sees(&self, text: &str) {
        self.waits_for(&format!("“{text}”"), async || {
            let body = self.driver.find(By::Css("body")).await.ok()?;
            body.text().await.ok()?.contains(text).then_some(())
        })
        .await;
    }

    /// Whether this can be read on the page as it is.
    async fn shows(&self, text: &str) -> bool {
        let body = self.driver.find(By::Css("body")).await.expect("a body");
        body.text().await.expect("its text").contains(text)
    }

    /// The button, link or summary that is called so.
    async fn control(&self, name: &str) -> WebElement {
        let path = format!(
            "//*[self::button or self::a or self::summary]
               [normalize-space(.)={name:?} or @aria-label={name:?}]"
        );
        self.finds(name, By::XPath(path)).await
    }

    async fn clicks(&self, name: &str) {
        self.clicks_on(&self.control(name).await).await;
    }

    /// As [`Window::clicks`], by a selector.
    async fn clicks_at(&self, selector: &str) {
        let found = self.finds(selector, By::Css(selector)).await;
        self.clicks_on(&found).await;
    }

    async fn clicks_on(&self, control: &WebElement) {
        // Out from under the bar at the thumb, as anybody would move it.
        control.scroll_into_view().await.expect("in view");
        let clicked = control.click().await;
        clicked.unwrap_or_else(|error| panic!("{control}: {error}"));
    }

    /// The field whose label begins so.
    async fn field(&self, label: &str) -> WebElement {
        let path = format!("//*[@id = //label[starts-with(normalize-space(.), {label:?})]/@for]");
        self.finds(label, By::XPath(path)).await
    }

    /// Types into a field, over what was in it.
    async fn fills(&self, label: &str, text: &str) {
        let field = self.field(label).await;
        field.clear().await.expect("an empty field");
        field.send_keys(text).await.expect("keys");
    }

    /// Chooses files for a field.
    async fn attaches(&self, label: &str, files: &[&Path]) {
        let paths: Vec<String> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let field = self.field(label).await;
        field.send_keys(paths.join("\n")).await.expect("files");
    }

    /// Chooses the option that begins so.
    async fn chooses(&self, label: &str, option: &str) {
        let field = self.field(label).await;
        let path = format!(".//option[starts-with(normalize-space(.), {option:?})]");
        let option = field.find(By::XPath(path)).await.expect("the option");
        option.click().await.expect("a choice");
    }

    async fn value(&self, label: &str) -> String {
        let field = self.field(label).await;
        field
            .prop("value")
            .await
            .expect("a value")
            .unwrap_or_default()
    }

    async fn presses(&self, keys: impl Into<TypingData>) {
        let chain = self.driver.action_chain();
        chain.send_keys(keys).perform().await.expect("keys");
    }

    /// Presses the tabulator until what has the focus is called so, and checks that the focus can be seen all along.
    async fn tabs_to(&self, name: &str) {
        let mut met = Vec::new();
        for _ in 0..60 {
            self.presses(Key::Tab).await;
            let focus = self
                .asks(
                    "const at = document.activeElement;
                     const label = at.labels?.[0]?.innerText ?? at.getAttribute('aria-label') ?? at.innerText ?? '';
                     const style = getComputedStyle(at);
                     const box = at.getBoundingClientRect();
                     return [label.trim().replace(/\\s+/g, ' '),
                             style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
                             box.bottom > 0 && box.top < innerHeight && box.width > 1];",
                )
                .await;
            let label = focus[0].as_str().expect("a name").to_owned();
            assert_eq!(
                (&focus[1], &focus[2]),
                (&json!(true), &json!(true)),
                "the focus on “{label}” cannot be seen"
            );
            if label.starts_with(name) {
                return;
            }
            met.push(label);
        }
        panic!("the tabulator does not come to {name}: {met:?}");
    }

    /// Drags files from outside the browser over an element, and lets go.
    async fn drops(&self, onto: &str, files: &[&Path]) {
        let target = self.finds(onto, By::Css(onto)).await;
        target.scroll_into_view().await.expect("in view");
        let place = self
            .asks(&format!(
                "const box = document.querySelector({onto:?}).getBoundingClientRect();
                 return [box.left + box.width / 2, Math.max(box.top, 0) + 20];"
            ))
            .await;
        let files: Vec<String> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        for step in ["dragEnter", "dragOver", "drop"] {
            let event = json!({
                "type": step, "x": place[0], "y": place[1],
                "data": {"items": [], "files": files, "dragOperationsMask": 1},
            });
            self.devtools("Input.dispatchDragEvent", event).await;
        }
    }

    async fn signs_in(&self, email: &str) {
        self.goes_to("/admin").await;
        self.fills("Email", email).await;
        self.fills("Password", PASSWORD).await;
        self.clicks("Sign in").await;
        self.sees("What needs a hand").await;
    }

    /// What the page has said and asked for since the last look.
    async fn heard(&self) -> Heard {
        let mut heard = Heard::default();
        for entry in self.driver.get_log("browser").await.expect("its log") {
            if ["WARNING", "SEVERE"].contains(&entry.level.as_str()) {
                heard.console.push(entry.message);
            }
        }
        let mut named: HashMap<String, String> = HashMap::new();
        for entry in self.driver.get_log("performance").await.expect("its log") {
            let event: Value = serde_json::from_str(&entry.message).expect("an event");
            let (method, facts) = (&event["message"]["method"], &event["message"]["params"]);
            let id = facts["requestId"].as_str().unwrap_or_default().to_owned();
            match method.as_str().unwrap_or_default() {
                "Network.requestWillBeSent" => {
                    let url = facts["request"]["url"].as_str().unwrap_or_default();
                    if url.starts_with("data:") || url.starts_with("blob:") {
                        continue;
                    }
                    if !url.starts_with(&format!("{}/", self.origin)) {
                        heard.elsewhere.push(url.to_owned());
                    }
                    let path = url.strip_prefix(&self.origin).unwrap_or(url);
                    heard.asked.push(path.to_owned());
                    named.insert(id, url.to_owned());
                }
                "Network.responseReceived" => {
                    let status = facts["response"]["status"].as_i64().unwrap_or_default();
                    let url = facts["response"]["url"].as_str().unwrap_or_default();
                    let url = url.strip_prefix(&self.origin).unwrap_or(url);
                    if status >= 400 {
                        heard.failed.push(format!("{status} {url}"));
                    }
                    if facts["type"] == "Document" {
                        heard.documents.push(status);
                    }
                }
                "Network.loadingFailed" if named.contains_key(&id) => {
                    let why = facts["errorText"].as_str().unwrap_or_default();
                    heard.failed.push(format!("{why} {}", named[&id]));
                }
                "Network.dataReceived" if named.contains_key(&id) => {
                    heard.decoded += facts["dataLength"].as_u64().unwrap_or_default();
                }
                "Network.loadingFinished" if named.contains_key(&id) => {
                    let bytes = facts["encodedDataLength"].as_f64().unwrap_or_default();
                    heard.on_the_wire += bytes as u64;
                    heard.requests += 1;
                }
                _ => {}
            }
        }
        heard
    }

    /// Nothing was amiss on the way here.
    async fn heard_nothing_bad(&self) {
        let heard = self.heard().await;
        assert_eq!(
            heard.bad(),
            [] as [String; 0],
            "on the way to {}",
            self.path().await
        );
    }

    /// Keeps an image of the whole page, where images are wanted.
    async fn shot(&self, name: &str) {
        let Some(folder) = shots() else { return };
        let size = self
            .asks("return [innerWidth, Math.max(innerHeight, Math.min(document.documentElement.scrollHeight, 3000))];")
            .await;
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let image = self
            .devtools(
                "Page.captureScreenshot",
                json!({"captureBeyondViewport": true, "clip": clip}),
            )
            .await;
        let bytes = {
            use base64::Engine;
            let text = image["data"].as_str().expect("an image");
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .expect("base64")
        };
        std::fs::write(folder.join(format!("{name}.png")), bytes).expect("a file");
    }
}

/// Where images of the pages go.
fn shots() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("BROWSER_SHOTS")?);
    std::fs::create_dir_all(&folder).expect("a folder");
    Some(folder)
}

#[derive(Debug, Default)]
struct Heard {
    /// Warnings and errors.
    console: Vec<String>,
    /// Every request, without our host.
    asked: Vec<String>,
    /// What was asked of other hosts.
    elsewhere: Vec<String>,
    failed: Vec<String>,
    /// The states of the pages themselves.
    documents: Vec<i64>,
    requests: u64,
    /// Bytes with heads, and what they are unpacked.
    on_the_wire: u64,
    decoded: u64,
}

impl Heard {
    fn bad(&self) -> Vec<String> {
        let all = [&self.console, &self.elsewhere, &self.failed];
        all.into_iter().flatten().cloned().collect()
    }
}
