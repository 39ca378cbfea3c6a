//! The store behind the images: a folder, or a bucket that speaks S3. Everything in it has a path; ours begin with
//! `images/`, and the rest is what a shop brought along from the old service.

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
use crate::error::{Error, Result};

/// Under which our images lie, a folder each.
const IMAGES: &str = "images";

/// How long a bucket that fails is asked again: less than a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest path that may be asked for, in bytes: S3 allows 1024, with the prefix.
const MAX_PATH: usize = 800;

#[derive(Clone)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The folder, where it is one.
    folder: Option<PathBuf>,
}

impl Objects {
    pub fn in_folder(folder: &std::path::Path) -> anyhow::Result<Objects> {
        std::fs::create_dir_all(folder).with_context(|| {
            format!(
                "making the folder {} (MEDIA_URL says where)",
                folder.display()
            )
        })?;
        let store = LocalFileSystem::new_with_prefix(folder)
            .with_context(|| format!("opening the folder {}", folder.display()))?
            // A row may say that an image is there only once it would survive a power cut.
            .with_fsync(true);
        Ok(Objects {
            store: Arc::new(store),
            folder: Some(folder.to_owned()),
        })
    }

    pub fn in_bucket(settings: &BucketSettings) -> anyhow::Result<Objects> {
        // The client panics without a provider. Fails when there is one already, which is as well.
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
            // Without encryption only to ourselves, as the settings have seen to.
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

    /// Writes an object, whole or not at all. Safe to repeat.
    pub async fn put(&self, path: &Path, content: Vec<u8>) -> Result<()> {
        self.store
            .put(path, PutPayload::from(content))
            .await
            .map_err(|error| unavailable(error, "writing an image"))?;
        Ok(())
    }

    /// An object's size and times. None: it is not there.
    pub async fn head(&self, path: &Path) -> Result<Option<ObjectMeta>> {
        found(self.store.head(path).await)
    }

    /// An object, or the part of it that lies within. None: it is not there.
    pub async fn get(&self, path: &Path, range: Option<Range<u64>>) -> Result<Option<GetResult>> {
        let options = GetOptions {
            range: range.map(Into::into),
            ..GetOptions::default()
        };
        found(self.store.get_opts(path, options).await)
    }

    /// A whole object in memory. None: it is not there.
    pub async fn read(&self, path: &Path) -> Result<Option<Bytes>> {
        let Some(object) = self.get(path, None).await? else {
            return Ok(None);
        };
        let content = object.bytes().await;
        content
            .map(Some)
            .map_err(|error| unavailable(error, "reading an image"))
    }

    /// Removes an image's folder with all that lies in it. Safe to repeat.
    pub async fn remove(&self, storage_key: &str) -> Result<()> {
        let prefix = Path::from_iter([IMAGES, storage_key]);
        if let Some(folder) = &self.folder {
            // With what a process that was killed had not finished, which the store does not list.
            return match tokio::fs::remove_dir_all(folder.join(prefix.as_ref())).await {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::Unavailable(
                    "media_unavailable",
                    anyhow::Error::from(error).context("removing an image"),
                )),
                _ => Ok(()),
            };
        }
        let paths = self.store.list(Some(&prefix)).map_ok(|meta| meta.location);
        let gone: Result<Vec<Path>, _> =
            self.store.delete_stream(paths.boxed()).try_collect().await;
        match gone {
            // Somebody was faster.
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable(error, "removing an image")),
        }
    }

    /// The storage key of every image that has a folder, whole or not.
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

/// Where an object of an image lies.
pub(super) fn path_of(storage_key: &str, name: &str) -> Path {
    Path::from_iter([IMAGES, storage_key, name])
}

/// A path as a browser asks for it. None for what leads nowhere in the store: out of it, to hidden files, or to those
/// that are not finished.
pub(super) fn asked_path(text: &str) -> Option<Path> {
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

/// Tells apart what is not there from a store that fails.
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

/// Whether no file can have this path: through another file, say.
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

pub(super) fn unavailable(error: impl Into<anyhow::Error>, what: &'static str) -> Error {
    Error::Unavailable("media_unavailable", error.into().context(what))
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
