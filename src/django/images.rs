//! The old shop's images, taken into the media store before anything else is imported.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::findings::{ImageFinding, Verdict};
use super::media::{Located, MediaFolder, shown};
use super::old::OldShop;
use super::progress::{Progress, Step};
use crate::app::App;
use crate::config::MediaLimits;
use crate::images::{self, Judged, Kept, UploadError};
use crate::types::ids::ImageId;

/// Limits of the shop's own images, which no form checked: wider than those of visitors' uploads.
const LIMITS: MediaLimits = MediaLimits {
    file_bytes: 100 << 20,
    files: 1,
    megapixels: 144,
};

/// Images decoded at once.
const AT_ONCE: usize = 2;

/// Reason why an image did not come in.
pub type NotTaken = (Verdict, &'static str);

/// The images by their names in the old shop's rows.
#[derive(Default)]
pub struct Images {
    by_name: HashMap<String, Result<ImageId, NotTaken>>,
    /// Images by the hashes of their files, for the next import.
    pub by_file: BTreeMap<String, ImageId>,
    /// In a dry run, the images that are not stored.
    pub unstored: BTreeMap<ImageId, Judged>,
    /// Images that this import stored, to be discarded if it fails.
    pub stored: Vec<Kept>,
    /// Files that were decoded, because no earlier import did so.
    pub decoded: usize,
}

impl Images {
    /// The image of a name, or the reason why there is none.
    pub fn find(&self, name: &str) -> Result<ImageId, NotTaken> {
        let found = self.by_name.get(name).cloned();
        found.unwrap_or(Err((Verdict::Missing, "no such file")))
    }

    /// All taken images.
    pub fn ids(&self) -> Vec<ImageId> {
        let ids: HashSet<&ImageId> = self.by_name.values().flatten().collect();
        let mut ids: Vec<ImageId> = ids.into_iter().cloned().collect();
        ids.sort();
        ids
    }

    /// The images of a row in order, each once, and findings about those that did not come in.
    pub fn of<'a>(
        &self,
        owner: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> (Vec<ImageId>, Vec<ImageFinding>) {
        let (mut taken, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            match self.find(name) {
                Ok(id) if taken.contains(&id) => {}
                Ok(id) => taken.push(id),
                Err((verdict, why)) => missing.push(ImageFinding {
                    owner: owner.to_owned(),
                    name: shown(name),
                    verdict,
                    why: why.to_owned(),
                }),
            }
        }
        (taken, missing)
    }
}

/// The names in a JSON list of images, which may be any JSON: what is no text cannot be an image's name.
pub fn names(list: &Value) -> Vec<String> {
    match list {
        Value::Null => Vec::new(),
        Value::String(name) if name.trim().is_empty() => Vec::new(),
        Value::String(name) => vec![name.replace('\0', "")],
        Value::Array(entries) => entries.iter().flat_map(names).collect(),
        Value::Object(fields) => {
            let address = ["url", "src", "image", "path"]
                .iter()
                .find_map(|field| fields.get(*field));
            vec![match address {
                Some(Value::String(name)) => name.replace('\0', ""),
                _ => list.to_string(),
            }]
        }
        other => vec![other.to_string()],
    }
}

/// Takes in every image that a row of the old shop names. Safe to repeat: a file of an earlier import is not decoded
/// again. In a dry run, nothing is stored.
///
/// # Errors
/// When none of the files is in the folder, and when a file, the media store or the database fails.
pub async fn take(
    app: &App,
    shop: &OldShop,
    folder: &MediaFolder,
    is_dry_run: bool,
    progress: &Progress<'_>,
) -> anyhow::Result<Images> {
    let mut images = Images::default();
    let (mut files, mut contents): (BTreeMap<PathBuf, Vec<String>>, Vec<_>) = Default::default();
    let mut missing = 0;
    for name in all_names(shop) {
        match folder.locate(&name)? {
            Located::File(path) => files.entry(path).or_default().push(name),
            Located::Data(content) => contents.push((name, content)),
            Located::Nowhere(verdict, why) => {
                missing += usize::from(why == "no such file");
                images.by_name.insert(name, Err((verdict, why)));
            }
        }
    }
    ensure!(
        missing == 0 || !files.is_empty(),
        "none of the {missing} image files that the old shop names is in the media folder, so it is the wrong one: \
         nothing was imported"
    );
    let known = known_files(&mut *app.db.acquire().await?).await?;
    let (files_count, all) = (files.len(), files.len() + contents.len());
    let known = &known;
    let from_files = files
        .into_iter()
        .map(|(path, names)| (Some(path), Vec::new(), names));
    let from_names = contents
        .into_iter()
        .map(|(name, content)| (None, content, vec![name]));
    let mut taken = stream::iter(from_files.chain(from_names))
        .map(|(path, content, names)| async move {
            let content = match path {
                Some(path) => tokio::fs::read(&path)
                    .await
                    .with_context(|| format!("reading {}: nothing was imported", path.display()))?,
                None => content,
            };
            let taken = take_one(app, content, known, is_dry_run).await?;
            anyhow::Ok((names, taken))
        })
        .buffer_unordered(AT_ONCE);
    let mut done = 0;
    while let Some((names, one)) = taken.try_next().await? {
        images.add(names, one);
        done += 1;
        progress(Step::Images, done, all as u64);
    }
    drop(taken);
    tracing::debug!(
        files = files_count,
        decoded = images.decoded,
        "images taken"
    );
    Ok(images)
}

/// A file that was looked at.
struct TakenFile {
    sha256: String,
    result: Result<ImageId, NotTaken>,
    was_decoded: bool,
    unstored: Option<Judged>,
    stored: Option<Kept>,
}

impl Images {
    fn add(&mut self, names: Vec<String>, file: TakenFile) {
        for name in names {
            self.by_name.insert(name, file.result.clone());
        }
        self.decoded += usize::from(file.was_decoded);
        self.stored.extend(file.stored);
        if let Ok(id) = file.result {
            self.by_file.insert(file.sha256, id);
        }
        if let Some(judged) = file.unstored {
            self.unstored.insert(judged.id().clone(), judged);
        }
    }
}

async fn take_one(
    app: &App,
    content: Vec<u8>,
    known: &HashMap<String, ImageId>,
    is_dry_run: bool,
) -> anyhow::Result<TakenFile> {
    let sha256 = hex::encode(Sha256::digest(&content));
    let done = |result, was_decoded, unstored| TakenFile {
        sha256: sha256.clone(),
        result,
        was_decoded,
        unstored,
        stored: None,
    };
    if let Some(id) = known.get(&sha256) {
        return Ok(done(Ok(id.clone()), false, None));
    }
    let judged = match images::judge(&app.storage, content, LIMITS).await {
        Ok(judged) => judged,
        Err(UploadError::Refused(_)) => {
            let refused = Err((Verdict::Refused, "no image that we read"));
            return Ok(done(refused, true, None));
        }
        Err(UploadError::Failed(error)) => return Err(error.into()),
    };
    let id = judged.id().clone();
    if is_dry_run {
        let is_stored = !images::find(&mut *app.db.acquire().await?, std::slice::from_ref(&id))
            .await?
            .is_empty();
        let unstored = (!is_stored).then(|| judged.without_content());
        return Ok(done(Ok(id), true, unstored));
    }
    let kept = images::keep_judged(&app.storage, &app.db, judged).await?;
    Ok(TakenFile {
        stored: Some(kept),
        ..done(Ok(id), true, None)
    })
}

/// The names of all images that rows of the old shop have. An order that was not shipped has no place for one.
fn all_names(shop: &OldShop) -> HashSet<String> {
    let of_products = shop
        .products
        .iter()
        .flat_map(|product| product.images.clone());
    let of_orders = shop.orders.iter().filter(|order| order.was_shipped());
    let of_orders = of_orders.filter_map(|order| order.image.clone());
    let of_requests = shop.requests.iter().flat_map(|request| {
        let mut all = names(&request.images);
        all.extend(names(&request.completion_images));
        all
    });
    of_products.chain(of_orders).chain(of_requests).collect()
}

/// Images of earlier imports by the hashes of their files, as far as they are still stored.
async fn known_files(conn: &mut PgConnection) -> anyhow::Result<HashMap<String, ImageId>> {
    let known: Vec<(String, ImageId)> =
        sqlx::query_as("select file_sha256, image_id from import_images")
            .fetch_all(conn)
            .await?;
    Ok(known.into_iter().collect())
}
