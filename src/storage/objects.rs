//! Object storage of images: a folder, or an S3-compatible bucket. Our own paths begin with `images/`; the others are
//! files from the old service.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
};

use crate::config::BucketSettings;
use crate::error::{Code, Error, Result};

/// Folder of our images, with a subfolder for each.
pub const IMAGES: &str = "images";

/// Time for which a failing bucket is retried: less than a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Limit of a requested path in bytes: S3 allows 1024, including the prefix.
const MAX_PATH: usize = 800;

/// A folder or a bucket.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The folder, for folder storage.
    folder: Option<PathBuf>,
}

impl Objects {
    /// Opens a folder, which is created if necessary.
    pub fn in_folder(folder: &std::path::Path) -> anyhow::Result<Objects> {
        std::fs::create_dir_all(folder).with_context(|| {
            format!(
                "making the folder {} (MEDIA_URL says where)",
                folder.display()
            )
        })?;
        let store = LocalFileSystem::new_with_prefix(folder)
            .with_context(|| format!("opening the folder {}", folder.display()))?
            // A row may reference an image only once it would survive a power failure.
            .with_fsync(true);
        Ok(Objects {
            store: Arc::new(store),
            folder: Some(folder.to_owned()),
        })
    }

    /// Opens a bucket.
    pub fn in_bucket(settings: &BucketSettings) -> anyhow::Result<Objects> {
        // The client panics without a TLS provider. Installing fails when there is already one, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.name)
            .with_region(&settings.region)
            .with_retry(RetryConfig {
                max_retries: 2,
                retry_timeout: PATIENCE,
                ..RetryConfig::default()
            })
            .with_access_key_id(settings.access_key_id.reveal())
            .with_secret_access_key(settings.secret_access_key.reveal());
        if let Some(endpoint) = &settings.endpoint {
            // Plain HTTP only to this machine, as the settings check.
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(endpoint.starts_with("http://"));
        }
        let store = builder
            .build()
            .with_context(|| format!("opening the bucket {} (MEDIA_URL)", settings.name))?;
        Ok(Objects {
            store: Arc::new(PrefixStore::new(store, settings.prefix.as_str())),
            folder: None,
        })
    }

    /// Writes an object atomically. Safe to repeat.
    pub async fn put(&self, path: &Path, content: Vec<u8>) -> Result<()> {
        self.store
            .put(path, PutPayload::from(content))
            .await
            .map_err(|error| unavailable(error, "writing an image"))?;
        Ok(())
    }

    /// Size and times of an object, or `None` when missing.
    pub async fn head(&self, path: &Path) -> Result<Option<ObjectMeta>> {
        found(self.store.head(path).await)
    }

    /// An object or a range of it, or `None` when missing.
    pub async fn get(&self, path: &Path, range: Option<Range<u64>>) -> Result<Option<GetResult>> {
        let options = GetOptions {
            range: range.map(Into::into),
            ..GetOptions::default()
        };
        found(self.store.get_opts(path, options).await)
    }

    /// A whole object in memory, or `None` when missing.
    pub async fn read(&self, path: &Path) -> Result<Option<Bytes>> {
        let Some(object) = self.get(path, None).await? else {
            return Ok(None);
        };
        let content = object.bytes().await;
        content
            .map(Some)
            .map_err(|error| unavailable(error, "reading an image"))
    }

    /// Deletes an image's folder with its contents. Safe to repeat.
    pub async fn remove(&self, storage_key: &str) -> Result<()> {
        let prefix = Path::from_iter([IMAGES, storage_key]);
        if let Some(folder) = &self.folder {
            // Includes unfinished files of a killed process, which the store does not list.
            return match tokio::fs::remove_dir_all(folder.join(prefix.as_ref())).await {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::Unavailable(
                    Code::MediaUnavailable,
                    anyhow::Error::from(error).context("removing an image"),
                )),
                _ => Ok(()),
            };
        }
        let paths = self.store.list(Some(&prefix)).map_ok(|meta| meta.location);
        let gone: Result<Vec<Path>, _> =
            self.store.delete_stream(paths.boxed()).try_collect().await;
        match gone {
            // Another process was faster.
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable(error, "removing an image")),
        }
    }

    /// Deletes an object. Safe to repeat.
    pub async fn delete(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable(error, "removing an image")),
        }
    }

    /// Paths of all objects that are not of our images: files from the old service.
    pub async fn foreign_paths(&self) -> Result<Vec<Path>> {
        let mut paths = Vec::new();
        let mut folders = vec![Path::default()];
        while let Some(folder) = folders.pop() {
            let prefix = (!folder.as_ref().is_empty()).then_some(&folder);
            let listed = found(self.store.list_with_delimiter(prefix).await)?;
            let Some(listed) = listed else { continue };
            let objects = listed.objects.into_iter().map(|meta| meta.location);
            // Nobody can ask for the others.
            paths.extend(objects.filter(|path| asked_path(path.as_ref()).is_some()));
            let inner = listed.common_prefixes.into_iter();
            folders.extend(inner.filter(|folder| folder.as_ref() != IMAGES));
        }
        paths.sort();
        Ok(paths)
    }

    /// Storage keys of all images with a folder, complete or not.
    pub async fn storage_keys(&self) -> Result<Vec<String>> {
        let listed = found(
            self.store
                .list_with_delimiter(Some(&Path::from(IMAGES)))
                .await,
        )?;
        let folders = listed
            .map(|listed| listed.common_prefixes)
            .unwrap_or_default();
        Ok(folders
            .iter()
            .filter_map(|folder| folder.filename().map(str::to_owned))
            .collect())
    }
}

/// Path of an object of an image.
pub fn path_of(storage_key: &str, name: &str) -> Path {
    Path::from_iter([IMAGES, storage_key, name])
}

/// Parses a path from a browser. Returns `None` for paths outside the store, hidden files, and unfinished files.
pub fn asked_path(text: &str) -> Option<Path> {
    let is_plain = |part: &str| {
        !part.is_empty()
            && part.len() <= 255
            && !part.starts_with('.')
            && !part.contains(['\\', '#', '\0'])
    };
    if text.len() > MAX_PATH || !text.split('/').all(is_plain) {
        return None;
    }
    Path::parse(text).ok()
}

/// Distinguishes a missing object from a storage failure.
fn found<T>(result: object_store::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. } | object_store::Error::InvalidPath { .. }) => {
            Ok(None)
        }
        Err(error) if names_nothing(&error) => Ok(None),
        Err(error) => Err(unavailable(error, "reading an image")),
    }
}

/// Returns true when no file can have this path, for example because a parent is a file.
fn names_nothing(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(
                error.kind(),
                ErrorKind::NotFound
                    | ErrorKind::NotADirectory
                    | ErrorKind::IsADirectory
                    | ErrorKind::InvalidFilename
            );
        }
        cause = error.source();
    }
    false
}

/// 503 `media_unavailable`. `what` says which operation failed, for the log.
pub fn unavailable(error: impl Into<anyhow::Error>, what: &'static str) -> Error {
    Error::Unavailable(Code::MediaUnavailable, error.into().context(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_or_to_what_is_hidden() {
        for good in ["products/a.jpg", "a.png", "a b/ä.webp", "%2e%2e/x"] {
            assert!(asked_path(good).is_some(), "{good}");
        }
        let (long, longer) = ("x".repeat(256), "x/".repeat(500) + "x");
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "a//b",
            "..",
            "../x",
            "a/../b",
            "./a",
            "a/.",
            ".env",
            "a/.git/b",
            "a\\b",
            "a\0b",
            "a#1",
            "a/",
            "a\nb",
            &long,
            &longer,
        ] {
            assert!(asked_path(bad).is_none(), "{bad:?}");
        }
    }
}
