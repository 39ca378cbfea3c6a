//! `health`: asks a running server how it is, so that a container needs no other program for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::Config;

/// The time that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What is read of an answer at most, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// Asks the server on this machine, says what it answers, and turns it into an exit code.
pub(super) async fn check(config: &Config, ready: bool) -> ExitCode {
    let path = if ready { "/readyz" } else { "/healthz" };
    let address = reachable(config.bind_addr);
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

/// The address by which this machine reaches a server that listens there.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Status and body of the answer to a GET.
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
