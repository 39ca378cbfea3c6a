//! The command `health`: queries a running server, so that a container needs no other program for its health check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::Config;

/// Time limit of the response.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum number of bytes read from the response.
const MAX_ANSWER: u64 = 64 * 1024;

/// Queries the server on this machine, prints the response and returns an exit code.
pub(super) async fn check(config: &Config, ready: bool) -> ExitCode {
    let path = if ready { "/readyz" } else { "/healthz" };
    let address = reachable(config.server.bind_addr);
    let asked = tokio::time::timeout(TIMEOUT, ask(address, path)).await;
    let answer = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time")));
    match answer {
        Ok((200, body)) => {
            println!("{body}");
            ExitCode::SUCCESS
        }
        Ok((status, body)) => {
            eprintln!("{address}{path} answers {status}: {body}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{address}{path}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the address at which this machine reaches a server that listens on `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Sends a GET. Returns the status and the body of the response.
async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut line = TcpStream::connect(address).await.context("connecting")?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    line.write_all(request.as_bytes()).await.context("asking")?;
    let mut answer = Vec::new();
    line.take(MAX_ANSWER)
        .read_to_end(&mut answer)
        .await
        .context("reading the answer")?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .context("this is no answer in HTTP")?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.trim().to_owned()))
}
