//! The old shop's media folder: finds the file that a row names, and never leaves the folder.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use url::Url;

use super::findings::Verdict;

/// Longest name in a report, in characters: an address may have a whole image in it.
const SHOWN: usize = 100;

/// A media folder.
pub struct MediaFolder {
    /// Without links, so that a path out of the folder is told from one inside.
    folder: PathBuf,
    /// Hosts under which the old shop serves the folder.
    hosts: Vec<String>,
}

/// Content or place of an image, or the reason why it has none.
#[derive(Debug, PartialEq, Eq)]
pub enum Located {
    File(PathBuf),
    Data(Vec<u8>),
    Nowhere(Verdict, &'static str),
}

impl MediaFolder {
    /// Opens a folder. `addresses` are those of the shop.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn open<'a>(
        folder: &Path,
        addresses: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<MediaFolder> {
        let shown = folder.display();
        let folder = folder
            .canonicalize()
            .with_context(|| format!("there is no media folder {shown}: nothing was imported"))?;
        ensure!(
            folder.is_dir(),
            "{shown} is no folder: nothing was imported"
        );
        let hosts =
            addresses.filter_map(|address| Some(Url::parse(address).ok()?.host()?.to_string()));
        Ok(MediaFolder {
            folder,
            hosts: hosts.collect(),
        })
    }

    /// Finds an image by its name in a row.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn locate(&self, name: &str) -> anyhow::Result<Located> {
        let name = name.trim();
        let lower = name
            .get(..name.len().min(8))
            .unwrap_or_default()
            .to_ascii_lowercase();
        if lower.starts_with("data:") {
            return Ok(match decode(&name[5..]) {
                Some(content) => Located::Data(content),
                None => Located::Nowhere(Verdict::Refused, "no image that we read"),
            });
        }
        if lower.starts_with("blob:") {
            return Ok(Located::Nowhere(Verdict::Missing, "never uploaded"));
        }
        if name.contains("://") || name.starts_with("//") {
            return self.locate_address(name);
        }
        self.locate_path(name)
    }

    fn locate_address(&self, address: &str) -> anyhow::Result<Located> {
        let whole = match address.strip_prefix("//") {
            Some(rest) => format!("https://{rest}"),
            None => address.to_owned(),
        };
        // The parser resolves `..`, which is judged as it is written instead.
        let path = whole
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'));
        let host = Url::parse(&whole)
            .ok()
            .and_then(|url| url.host().map(|host| host.to_string()));
        match (path, host) {
            (Some((_, path)), Some(host)) if self.hosts.contains(&host) => {
                self.locate_path(&format!("/{path}"))
            }
            _ => Ok(Located::Nowhere(Verdict::Elsewhere, "another host")),
        }
    }

    fn locate_path(&self, name: &str) -> anyhow::Result<Located> {
        let unescaped = percent_decode_str(name).decode_utf8().ok();
        let unescaped = unescaped.filter(|unescaped| unescaped != name);
        let mut found = self.locate_file(name)?;
        if let (Located::Nowhere(Verdict::Missing, _), Some(unescaped)) = (&found, unescaped) {
            found = self.locate_file(&unescaped)?;
        }
        Ok(found)
    }

    fn locate_file(&self, name: &str) -> anyhow::Result<Located> {
        const OUTSIDE: Located = Located::Nowhere(Verdict::Refused, "outside the folder");
        const MISSING: Located = Located::Nowhere(Verdict::Missing, "no such file");
        let inside = name.strip_prefix('/').map_or(Some(name), |rest| {
            rest.starts_with("media/").then_some(rest)
        });
        let Some(inside) = inside else {
            return Ok(OUTSIDE);
        };
        let inside = Path::new(inside.strip_prefix("media/").unwrap_or(inside));
        if !inside
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            return Ok(OUTSIDE);
        }
        let path = match self.folder.join(inside).canonicalize() {
            Ok(path) => path,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::PermissionDenied => Err(error)
                        .with_context(|| format!("reading {}", self.folder.join(inside).display())),
                    // No such file, a file in place of a folder, a name too long or with a NUL.
                    _ => Ok(MISSING),
                };
            }
        };
        // A link may lead out of the folder.
        if !path.starts_with(&self.folder) {
            return Ok(OUTSIDE);
        }
        Ok(if path.is_file() {
            Located::File(path)
        } else {
            MISSING
        })
    }
}

/// Decodes what follows `data:` in an address.
fn decode(address: &str) -> Option<Vec<u8>> {
    let (kind, content) = address.split_once(',')?;
    let content: Vec<u8> = percent_decode_str(content.trim()).collect();
    if !kind.to_ascii_lowercase().ends_with(";base64") {
        return Some(content);
    }
    let mut content = content;
    content.retain(|byte| !byte.is_ascii_whitespace());
    BASE64_STANDARD.decode(content).ok()
}

/// A name for reports: short, on one line, and without what a visitor wrote in place of a name.
pub fn shown(name: &str) -> String {
    if name.contains('@') {
        return format!("(a text of {} characters)", name.chars().count());
    }
    let name: String = name
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if name.chars().count() <= SHOWN {
        return name;
    }
    let start: String = name.chars().take(SHOWN / 2).collect();
    format!("{start}… ({} characters)", name.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, MediaFolder) {
        let dir = tempfile::tempdir().expect("a folder");
        let media = dir.path().join("media");
        std::fs::create_dir_all(media.join("products")).expect("a folder");
        std::fs::write(dir.path().join("secret.txt"), "x").expect("a file");
        for name in [
            "a.jpg",
            "b c.png",
            "50%.png",
            "ü#1.jpg",
            "x%20y.jpg",
            "x y.jpg",
        ] {
            std::fs::write(media.join("products").join(name), name).expect("a file");
        }
        std::os::unix::fs::symlink("../secret.txt", media.join("out.txt")).expect("a link");
        std::os::unix::fs::symlink("products", media.join("inside")).expect("a link");
        let shop = ["https://shop.example.com/x"].into_iter();
        let opened = MediaFolder::open(&media, shop).expect("a media folder");
        (dir, opened)
    }

    #[test]
    fn a_file_is_found_as_written_and_then_unescaped() {
        let (_dir, media) = folder();
        for (name, file) in [
            ("products/a.jpg", "a.jpg"),
            ("/media/products/a.jpg", "a.jpg"),
            ("media/products/a.jpg", "a.jpg"),
            ("https://shop.example.com/media/products/a.jpg", "a.jpg"),
            ("//shop.example.com/media/products/b%20c.png", "b c.png"),
            ("products/50%.png", "50%.png"),
            ("/media/products/50%25.png", "50%.png"),
            ("/media/products/%C3%BC%231.jpg", "ü#1.jpg"),
            ("products/ü#1.jpg", "ü#1.jpg"),
            ("products/x%20y.jpg", "x%20y.jpg"),
            ("inside/a.jpg", "a.jpg"),
        ] {
            let expected = media.folder.join("products").join(file);
            let found = media.locate(name).expect("a readable folder");
            assert_eq!(found, Located::File(expected), "{name}");
        }
    }

    #[test]
    fn nothing_outside_the_folder_is_found() {
        let (_dir, media) = folder();
        for (name, verdict) in [
            ("/media/../secret.txt", Verdict::Refused),
            ("../secret.txt", Verdict::Refused),
            ("/media/%2e%2e/secret.txt", Verdict::Refused),
            (
                "https://shop.example.com/media/../secret.txt",
                Verdict::Refused,
            ),
            ("/etc/passwd", Verdict::Refused),
            ("/media//etc/passwd", Verdict::Refused),
            ("out.txt", Verdict::Refused),
            ("products", Verdict::Missing),
            ("products/none.jpg", Verdict::Missing),
            ("products/a.jpg/b.jpg", Verdict::Missing),
            ("blob:https://shop.example.com/4f1c", Verdict::Missing),
            (
                "https://other.example/media/products/a.jpg",
                Verdict::Elsewhere,
            ),
            ("http://", Verdict::Elsewhere),
            ("data:image/png", Verdict::Refused),
            ("data:image/png;base64,?", Verdict::Refused),
        ] {
            match media.locate(name).expect("a readable folder") {
                Located::Nowhere(found, _) => assert_eq!(found, verdict, "{name}"),
                found => panic!("{name}: {found:?}"),
            }
        }
    }

    #[test]
    fn an_address_with_the_image_in_it_is_decoded() {
        let (_dir, media) = folder();
        for address in [
            "data:image/png;base64,YWI=",
            "DATA:;BASE64, YW\nI=",
            "data:,ab",
            "data:x,%61b",
        ] {
            let found = media.locate(address).expect("a readable folder");
            assert_eq!(found, Located::Data(b"ab".to_vec()), "{address}");
        }
        assert_eq!(shown("me@example.com, please"), "(a text of 22 characters)");
        let long = shown(&format!("data:{}", "x".repeat(5_000)));
        assert!(
            long.len() < 100 && long.ends_with("(5005 characters)"),
            "{long}"
        );
    }
}
