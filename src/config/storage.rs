//! Settings of image storage.

use std::path::{Path, PathBuf};

use super::Secret;
use super::reader::Reader;

/// Storage of images, and its limits.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    pub store: MediaStore,
    pub limits: MediaLimits,
}

/// Image storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaStore {
    Folder(PathBuf),
    Bucket(BucketSettings),
}

/// An S3-compatible bucket and its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    pub name: String,
    /// Prefix of all object names; may be empty.
    pub prefix: String,
    pub region: String,
    /// `None` means AWS.
    pub endpoint: Option<String>,
    pub access_key_id: Secret,
    pub secret_access_key: Secret,
}

/// Limits of uploaded images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaLimits {
    /// Largest file.
    pub file_bytes: u64,
    /// Number of files in one form.
    pub files: usize,
    /// Pixels of one image in millions. Concurrent decodes together stay within the same limit.
    pub megapixels: u32,
}

impl StorageConfig {
    pub(super) fn read(reader: &mut Reader<'_>, data_dir: &Path) -> StorageConfig {
        StorageConfig {
            store: media_store(reader, data_dir),
            limits: MediaLimits {
                file_bytes: reader.counted("UPLOAD_MAX_FILE_BYTES", 7 * 1024 * 1024, 1 << 30),
                files: reader.counted("UPLOAD_MAX_FILES", 10, 100) as usize,
                megapixels: reader.counted("UPLOAD_MAX_MEGAPIXELS", 50, 250) as u32,
            },
        }
    }
}

/// Reads a folder, or `s3://bucket/prefix` with the usual AWS settings.
fn media_store(reader: &mut Reader<'_>, data_dir: &Path) -> MediaStore {
    let location = reader.text("MEDIA_URL");
    let region = reader.text("AWS_REGION");
    let endpoint = reader.url("AWS_ENDPOINT_URL");
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name, reader.text(name)));
    let folder = match location.as_deref() {
        None => return MediaStore::Folder(data_dir.join("media")),
        Some(location) => match location.split_once("://") {
            None => return MediaStore::Folder(PathBuf::from(location)),
            Some(("s3", bucket)) => bucket,
            Some(_) => {
                reader.field_error("MEDIA_URL", "must be a folder or s3://bucket");
                return MediaStore::Folder(PathBuf::new());
            }
        },
    };
    let (name, prefix) = folder.split_once('/').unwrap_or((folder, ""));
    if name.is_empty() {
        reader.field_error("MEDIA_URL", "must name a bucket, as s3://bucket/prefix");
    }
    let is_exposed = |endpoint: &str| {
        endpoint.starts_with("http://")
            && !url::Url::parse(endpoint).is_ok_and(|url| match url.host() {
                Some(url::Host::Domain(name)) => name == "localhost",
                Some(url::Host::Ipv4(address)) => address.is_loopback(),
                Some(url::Host::Ipv6(address)) => address.is_loopback(),
                None => false,
            })
    };
    if endpoint.as_deref().is_some_and(is_exposed) {
        reader.field_error(
            "AWS_ENDPOINT_URL",
            "must begin with https://, except on this machine",
        );
    }
    let [access_key_id, secret_access_key] = keys.map(|(name, key)| {
        if key.is_none() {
            reader.field_error(name, "is required with a bucket in MEDIA_URL");
        }
        Secret::new(key.unwrap_or_default())
    });
    MediaStore::Bucket(BucketSettings {
        name: name.to_owned(),
        prefix: prefix.trim_matches('/').to_owned(),
        region: region.unwrap_or_else(|| "us-east-1".to_owned()),
        endpoint,
        access_key_id,
        secret_access_key,
    })
}
