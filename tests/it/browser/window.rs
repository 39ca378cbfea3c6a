//! Actions and readings of a browser's window.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thirtyfour::cdp::Cdp;
use thirtyfour::prelude::*;
use thirtyfour::{Key, TypingData};

use super::{PATIENCE, Window};
use crate::admin::PASSWORD;

impl Window {
    /// Takes on the width of a phone or a laptop.
    pub(super) async fn is_wide(&self, width: u32) {
        let size = json!({
            "width": width, "height": if width < 600 { 740 } else { 900 },
            "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
    }

    pub(super) async fn is_dark(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        // Colours change at once, or half of a change is measured.
        let media = json!({"features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]});
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    pub(super) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let answer = Cdp::new(self.driver.clone())
            .send_raw(command, parameters)
            .await;
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Result of a script.
    pub(super) async fn asks(&self, script: &str) -> Value {
        let answer = self.driver.execute(script, Vec::new()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{script}: {error}"));
        answer.json().clone()
    }

    pub(super) async fn goes_to(&self, path: &str) {
        let address = format!("{}{path}", self.origin);
        let went = self.driver.goto(address).await;
        went.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// The address, without the host.
    pub(super) async fn path(&self) -> String {
        let url = self.driver.current_url().await.expect("an address");
        url.as_str()
            .strip_prefix(&self.origin)
            .unwrap_or(url.as_str())
            .to_owned()
    }

    /// Looks until there is one; what else there is says why not.
    pub(super) async fn waits_for<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> T {
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
    pub(super) async fn finds(&self, what: &str, by: By) -> WebElement {
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
    pub(super) async fn sees(&self, text: &str) {
        self.waits_for(&format!("“{text}”"), async || {
            let body = self.driver.find(By::Css("body")).await.ok()?;
            body.text().await.ok()?.contains(text).then_some(())
        })
        .await;
    }

    /// Reports whether this can be read on the page as it is.
    pub(super) async fn shows(&self, text: &str) -> bool {
        let body = self.driver.find(By::Css("body")).await.expect("a body");
        body.text().await.expect("its text").contains(text)
    }

    /// The button, link or summary that is called so.
    pub(super) async fn control(&self, name: &str) -> WebElement {
        let path = format!(
            "//*[self::button or self::a or self::summary]
               [normalize-space(.)={name:?} or @aria-label={name:?}]"
        );
        self.finds(name, By::XPath(path)).await
    }

    pub(super) async fn clicks(&self, name: &str) {
        self.clicks_on(&self.control(name).await).await;
    }

    /// As [`Window::clicks`], by a selector.
    pub(super) async fn clicks_at(&self, selector: &str) {
        let found = self.finds(selector, By::Css(selector)).await;
        self.clicks_on(&found).await;
    }

    pub(super) async fn clicks_on(&self, control: &WebElement) {
        // Out from under the bar at the thumb, as anybody would move it.
        control.scroll_into_view().await.expect("in view");
        let clicked = control.click().await;
        clicked.unwrap_or_else(|error| panic!("{control}: {error}"));
    }

    /// The field whose label begins so.
    pub(super) async fn field(&self, label: &str) -> WebElement {
        let path = format!("//*[@id = //label[starts-with(normalize-space(.), {label:?})]/@for]");
        self.finds(label, By::XPath(path)).await
    }

    /// Types into a field, over what was in it.
    pub(super) async fn fills(&self, label: &str, text: &str) {
        let field = self.field(label).await;
        field.clear().await.expect("an empty field");
        field.send_keys(text).await.expect("keys");
    }

    /// Chooses files for a field.
    pub(super) async fn attaches(&self, label: &str, files: &[&Path]) {
        let paths: Vec<String> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let field = self.field(label).await;
        field.send_keys(paths.join("\n")).await.expect("files");
    }

    /// Picks the radio button that is called so.
    pub(super) async fn picks(&self, name: &str) {
        let path = format!("//label[input[@type='radio']][normalize-space(.)={name:?}]");
        let label = self.finds(name, By::XPath(path)).await;
        self.clicks_on(&label).await;
    }

    /// Chooses the option that begins so.
    pub(super) async fn chooses(&self, label: &str, option: &str) {
        let field = self.field(label).await;
        let path = format!(".//option[starts-with(normalize-space(.), {option:?})]");
        let option = field.find(By::XPath(path)).await.expect("the option");
        option.click().await.expect("a choice");
    }

    pub(super) async fn value(&self, label: &str) -> String {
        let field = self.field(label).await;
        field
            .prop("value")
            .await
            .expect("a value")
            .unwrap_or_default()
    }

    pub(super) async fn presses(&self, keys: impl Into<TypingData>) {
        let chain = self.driver.action_chain();
        chain.send_keys(keys).perform().await.expect("keys");
    }

    /// Presses the tabulator until what has the focus is called so, and checks that the focus can be seen all along.
    pub(super) async fn tabs_to(&self, name: &str) {
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
    pub(super) async fn drops(&self, onto: &str, files: &[&Path]) {
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

    pub(super) async fn signs_in(&self, email: &str) {
        self.goes_to("/admin").await;
        self.fills("Email", email).await;
        self.fills("Password", PASSWORD).await;
        self.clicks("Sign in").await;
        self.sees("To do").await;
    }

    /// Messages and requests of the page since the last look.
    pub(super) async fn heard(&self) -> Heard {
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
    pub(super) async fn heard_nothing_bad(&self) {
        let heard = self.heard().await;
        assert_eq!(
            heard.bad(),
            [] as [String; 0],
            "on the way to {}",
            self.path().await
        );
    }

    /// Keeps an image of the whole page, where images are wanted.
    pub(super) async fn shot(&self, name: &str) {
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

/// Folder for images of the pages.
pub(super) fn shots() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("BROWSER_SHOTS")?);
    std::fs::create_dir_all(&folder).expect("a folder");
    Some(folder)
}

#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Warnings and errors.
    pub(super) console: Vec<String>,
    /// Every request, without our host.
    pub(super) asked: Vec<String>,
    /// Requests to other hosts.
    pub(super) elsewhere: Vec<String>,
    pub(super) failed: Vec<String>,
    /// The states of the pages themselves.
    pub(super) documents: Vec<i64>,
    pub(super) requests: u64,
    /// Bytes with heads, and what they are unpacked.
    pub(super) on_the_wire: u64,
    pub(super) decoded: u64,
}

impl Heard {
    pub(super) fn bad(&self) -> Vec<String> {
        let all = [&self.console, &self.elsewhere, &self.failed];
        all.into_iter().flatten().cloned().collect()
    }
}
