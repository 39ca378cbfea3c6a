//! A server that gives one answer: what this machine can do at best.

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Result;

/// An answer of the shop.
#[derive(Clone)]
pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    }
}

/// Asks a server over a connection of its own. The second answer counts: it may come from memory.
pub async fn fetch(address: &str, path: &str, header: Option<(&str, &str)>) -> Result<Answer> {
    ask(address, path, header).await?;
    ask(address, path, header).await
}

async fn ask(address: &str, path: &str, header: Option<(&str, &str)>) -> Result<Answer> {
    let extra = header.map_or(String::new(), |(name, value)| {
        format!("{name}: {value}\r\n")
    });
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{extra}\r\n");
    let mut line = TcpStream::connect(address).await?;
    line.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    line.read_to_end(&mut bytes).await?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or("no head")?;
    let head = std::str::from_utf8(&bytes[..end])?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status: StatusCode = status.ok_or("no status")?.parse()?;
    if status.as_u16() >= 400 {
        return Err(format!("{path}: {status}").into());
    }
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or("no header")?;
        if !["connection", "date", "transfer-encoding", "content-length"].contains(&name) {
            headers.append(hyper::header::HeaderName::try_from(name)?, value.parse()?);
        }
    }
    let body = Bytes::copy_from_slice(&bytes[end + 4..]);
    Ok(Answer {
        status,
        headers,
        body,
    })
}

/// Serves an answer until the process ends. Returns the address.
pub async fn serve(answer: Answer) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((line, _)) = listener.accept().await {
            let _ = line.set_nodelay(true);
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |_| {
                    let mut response = Response::new(Full::new(answer.body.clone()));
                    *response.status_mut() = answer.status;
                    *response.headers_mut() = answer.headers.clone();
                    async move { Ok::<_, Infallible>(response) }
                });
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(line), service)
                    .await;
            });
        }
    });
    Ok(address)
}
