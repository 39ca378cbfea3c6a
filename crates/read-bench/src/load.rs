//! Load by wrk, and what processes use meanwhile.

use std::fs;
use std::ops::{Add, Sub};

use tokio::process::Command;

use crate::Result;

/// Outcome of a run.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub per_second: f64,
    /// In milliseconds.
    pub p50: f64,
    pub p99: f64,
}

impl Measured {
    /// The mean of some runs.
    pub fn mean(runs: &[Measured]) -> Measured {
        let mean =
            |field: fn(&Measured) -> f64| runs.iter().map(field).sum::<f64>() / runs.len() as f64;
        Measured {
            per_second: mean(|run| run.per_second),
            p50: mean(|run| run.p50),
            p99: mean(|run| run.p99),
        }
    }
}

/// Loads a server with reads.
pub async fn wrk(
    address: &str,
    path: &str,
    header: Option<(&str, &str)>,
    connections: u32,
    seconds: u32,
) -> Result<Measured> {
    let mut command = Command::new("wrk");
    let threads = connections.min(2);
    command.args([
        "--latency",
        &format!("-t{threads}"),
        &format!("-c{connections}"),
    ]);
    command.arg(format!("-d{seconds}s"));
    if let Some((name, value)) = header {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    let output = command
        .arg(format!("http://{address}{path}"))
        .output()
        .await?;
    let text = String::from_utf8(output.stdout)?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(text.into());
    }
    let after = |begin: &str| {
        let mut lines = text.lines().map(str::trim);
        lines.find_map(|line| line.strip_prefix(begin).map(str::trim))
    };
    let per_second = after("Requests/sec:").ok_or_else(|| text.clone())?;
    Ok(Measured {
        per_second: per_second.parse()?,
        p50: milliseconds(after("50%").ok_or("no median")?)?,
        p99: milliseconds(after("99%").ok_or("no 99th percentile")?)?,
    })
}

fn milliseconds(text: &str) -> Result<f64> {
    let at = text.find(|char: char| char.is_alphabetic());
    let (number, unit) = text.split_at(at.ok_or("no unit")?);
    let factor = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        _ => return Err(format!("{text} is no time").into()),
    };
    Ok(number.parse::<f64>()? * factor)
}

/// CPU time in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub server: f64,
    /// All PostgreSQL processes of the machine.
    pub postgres: f64,
}

impl Usage {
    /// What was used until now.
    pub fn now(pid: u32) -> Result<Usage> {
        let mut postgres = 0.0;
        for entry in fs::read_dir("/proc")?.flatten() {
            let folder = entry.path();
            let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
            if name.trim() == "postgres" {
                // It may have ended meanwhile.
                postgres += cpu(&folder.join("stat")).unwrap_or(0.0);
            }
        }
        Ok(Usage {
            server: cpu(format!("/proc/{pid}/stat").as_ref())?,
            postgres,
        })
    }
}

impl Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage {
            server: self.server + other.server,
            postgres: self.postgres + other.postgres,
        }
    }
}

impl Sub for Usage {
    type Output = Usage;

    fn sub(self, other: Usage) -> Usage {
        Usage {
            server: self.server - other.server,
            postgres: self.postgres - other.postgres,
        }
    }
}

fn cpu(stat: &std::path::Path) -> Result<f64> {
    let text = fs::read_to_string(stat)?;
    let (_, after) = text.rsplit_once(") ").ok_or("no name")?;
    let fields: Vec<&str> = after.split(' ').collect();
    // The 14th and 15th field, in hundredths of a second: proc(5).
    let ticks = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}

/// Memory of a process.
pub fn resident_megabytes(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.ok_or("no memory")?.parse::<u64>()? / 1024)
}
