//! A caller over real HTTP, with or without cookies and a token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::images::{self, Part};

/// Sends these very bytes, which no client would, and returns the answer's status, head and body.
pub async fn send_raw(address: &str, request: &[u8]) -> (u16, String, String) {
    let host = address.trim_start_matches("http://");
    let mut line = TcpStream::connect(host).await.expect("a connection");
    line.write_all(request).await.expect("a line that takes it");
    read_answer(&mut line).await
}

/// Reads until the other side closes the line.
pub async fn read_answer(line: &mut TcpStream) -> (u16, String, String) {
    let mut answer = Vec::new();
    line.read_to_end(&mut answer).await.expect("an answer");
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    (
        status.unwrap_or_else(|| panic!("no HTTP: {head:?}")),
        head.to_ascii_lowercase(),
        body.to_owned(),
    )
}

/// A page's form as a browser sends it that runs no script: where to, and each field with what stands in it.
pub fn form_of(page: &str) -> (String, Vec<(String, String)>) {
    let value = |tag: &str, name: &str| -> Option<String> {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    let (_, form) = page.split_once("<form").expect("a form");
    let (form, _) = form.split_once("</form>").expect("its end");
    let mut fields = Vec::new();
    for tag in form.split('<').filter(|tag| tag.starts_with("input ")) {
        // Of several choices a browser sends the one that is chosen.
        if tag.contains("type=\"radio\"") && !tag.contains(" checked") {
            continue;
        }
        let name = value(tag, "name").expect("a name");
        fields.push((name, value(tag, "value").unwrap_or_default()));
    }
    for select in form.split("<select").skip(1) {
        let chosen = select.split('<').find(|tag| tag.contains(" selected"));
        let chosen = chosen
            .and_then(|tag| value(tag, "value"))
            .expect("a choice");
        fields.push((value(select, "name").expect("a name"), chosen));
    }
    (value(form, "action").expect("an action"), fields)
}

/// The session id in a payment page's address.
pub fn session_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let url = answer.json["checkout_url"].as_str().expect("an address");
    url.rsplit('/').next().expect("a session").to_owned()
}

/// A caller over real HTTP.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: String,
    pub token: Option<String>,
    cookies: Option<Arc<Mutex<HashMap<String, String>>>>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
    /// The same as a text; of what is no UTF-8, as much as can be read.
    pub text: String,
    /// Null where the body is no JSON.
    pub json: Value,
}

impl Answer {
    /// Error of each line of a refused cart.
    pub fn line_errors(&self) -> Vec<&str> {
        assert_eq!(self.status, 400, "{}", self.text);
        let details = self.json["details"].as_array().expect("faulty lines");
        details
            .iter()
            .map(|line| line["error"].as_str().expect("a word"))
            .collect()
    }

    /// The field of every entry in `results`, `products` or `categories`, in order.
    pub fn each(&self, list: &str, field: &str) -> Vec<Value> {
        let entries = self.json[list].as_array();
        let entries = entries.unwrap_or_else(|| panic!("no {list}: {}", self.text));
        entries.iter().map(|entry| entry[field].clone()).collect()
    }

    /// The ids of the products on a page.
    pub fn ids(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text);
        self.each("results", "id")
    }

    /// The fields that a refused write complains of, sorted.
    pub fn field_errors(&self) -> Vec<String> {
        assert_eq!(self.status, 400, "{}", self.text);
        assert_eq!(self.json["code"], "invalid", "{}", self.text);
        let mut fields: Vec<String> = self
            .each("details", "field")
            .iter()
            .map(|field| field.as_str().expect("a name").to_owned())
            .collect();
        fields.sort();
        fields
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl Client {
    /// A caller of the shop at this address, without a slash at its end.
    pub fn to(address: &str) -> Client {
        // Fails when another test has done it already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // Nobody here speaks TLS, and to read the machine's certificates takes longer than most calls.
            .tls_certs_only([])
            .build()
            .expect("a client");
        Client {
            http,
            address: address.to_owned(),
            token: None,
            cookies: None,
        }
    }

    /// Cookie of this name in the browser.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let jar = self.cookies.as_ref().expect("a browser").lock();
        jar.expect("the jar").get(name).cloned()
    }

    /// Puts a cookie into the browser, as somebody else might.
    pub fn set_cookie(&self, name: &str, value: &str) {
        let jar = self.cookies.as_ref().expect("a browser").lock();
        jar.expect("the jar")
            .insert(name.to_owned(), value.to_owned());
    }

    /// The same caller with a browser of its own, which keeps cookies.
    pub fn with_cookies(&self) -> Client {
        Client {
            cookies: Some(Arc::default()),
            ..self.clone()
        }
    }

    /// The same caller with this token.
    pub fn with_token(&self, token: &str) -> Client {
        Client {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None::<String>).await
    }

    /// Follows a link, as a browser says that somebody did.
    pub async fn follow(&self, path: &str) -> Answer {
        let headers = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-user", "?1"),
        ];
        self.send(Method::GET, path, &headers, None::<String>).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::POST, path, body).await
    }

    pub async fn send_json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send(
            method,
            path,
            &[("content-type", "application/json")],
            Some(body.to_string()),
        )
        .await
    }

    /// Checks out as the storefront does.
    pub async fn check_out(&self, lines: &[(&str, i32)]) -> Answer {
        self.check_out_with(lines, &[("origin", "http://localhost:8080")])
            .await
    }

    /// As [`Client::check_out`], under an `Idempotency-Key`.
    pub async fn check_out_once(&self, key: &str, lines: &[(&str, i32)]) -> Answer {
        self.check_out_with(lines, &[("idempotency-key", key)])
            .await
    }

    /// As [`Client::check_out`], with these headers only.
    pub async fn check_out_with(&self, lines: &[(&str, i32)], headers: &[(&str, &str)]) -> Answer {
        let items: Vec<Value> = lines
            .iter()
            .map(|(id, quantity)| json!({"product_id": id, "quantity": quantity}))
            .collect();
        let origin = "http://localhost:8080";
        let body = json!({
            "items": items,
            "success_url": format!("{origin}/checkout/success"),
            "cancel_url": format!("{origin}/checkout/cancel"),
        });
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        self.send(
            Method::POST,
            "/api/payments/create-checkout-session/",
            &headers,
            Some(body.to_string()),
        )
        .await
    }

    /// Uploads files as images, all in one form.
    pub async fn uploads(&self, files: &[&[u8]]) -> Answer {
        let parts: Vec<Part> = files.iter().map(|file| Part::file("image", file)).collect();
        self.send_form("/api/admin/images/", &parts).await
    }

    /// Asks for a piece, with an image of what it should be like.
    pub async fn asks_with(&self, image_url: &[u8]) -> Answer {
        let parts = [
            Part::text("name", "Ann"),
            Part::text("email", "ann@example.com"),
            Part::text("description", "A case in blue, please."),
            Part::file("images", image_url),
        ];
        self.send_form("/api/custom-orders/", &parts).await
    }

    /// Sends a form with files.
    pub async fn send_form(&self, path: &str, parts: &[Part<'_>]) -> Answer {
        let headers = [("content-type", images::FORM)];
        let body = Some(images::form(parts));
        self.send(Method::POST, path, &headers, body).await
    }

    /// The address that the caller talks to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Submits a form.
    pub async fn submit(&self, path: &str, fields: &[(String, String)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send(Method::POST, path, &headers, Some(body)).await
    }

    /// Submits a form of one of our pages, and says so as browsers do.
    pub async fn submit_own(&self, path: &str, fields: &[(String, String)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", self.address.as_str()),
        ];
        self.send(Method::POST, path, &headers, Some(body)).await
    }

    /// Any request at all. The path is sent as it is written.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<impl Into<reqwest::Body>>,
    ) -> Answer {
        let answer = self.try_send(method, path, headers, body).await;
        answer.expect("an answer")
    }

    /// As [`Client::send`], where the line may drop.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<impl Into<reqwest::Body>>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(cookies) = &self.cookies {
            let jar = cookies.lock().expect("the jar");
            if !jar.is_empty() {
                let pairs: Vec<String> = jar
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                request = request.header("cookie", pairs.join("; "));
            }
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        if let Some(cookies) = &self.cookies {
            let mut jar = cookies.lock().expect("the jar");
            for cookie in headers.get_all("set-cookie") {
                let text = cookie.to_str().expect("a cookie");
                let (name, value) = text
                    .split(';')
                    .next()
                    .and_then(|pair| pair.split_once('='))
                    .expect("a cookie");
                if text.contains("Max-Age=0") {
                    jar.remove(name);
                } else {
                    jar.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        let bytes = response.bytes().await?.to_vec();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer {
            status,
            headers,
            bytes,
            text,
            json,
        })
    }
}
