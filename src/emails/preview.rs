//! Writing the sample emails into a folder.

use std::path::Path;

use anyhow::Context;
use demo_catalog::{PRODUCTS, Renderer};

use super::images::{ImageRef, Images};
use super::render::{Addressed, render};
use super::samples;
use crate::config::Config;
use crate::mail::{Branding, ImageFile, parse_address};

/// Writes a sample of every email into a folder: `.html` for a browser, `.txt`, and `.eml` as sent. Returns their
/// number.
///
/// # Errors
/// When the folder cannot be written, or the configured logo cannot be read.
pub async fn write_samples(config: &Config, folder: &Path) -> anyhow::Result<usize> {
    let branding = Branding::new(config)?;
    let samples = samples::emails();
    let images = DemoImages(Renderer::new());
    std::fs::create_dir_all(folder)
        .with_context(|| format!("creating the folder {}", folder.display()))?;
    for (name, email) in &samples {
        let composed = render(email, &branding, &images, name).await?;
        let write = |end: &str, bytes: &[u8]| {
            let path = folder.join(format!("{name}.{end}"));
            std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
        };
        write("html", composed.standalone().as_bytes())?;
        write("txt", composed.text.as_bytes())?;
        let reply_to = email.answers_to().and_then(parse_address);
        let addressed = Addressed {
            to: branding.address.clone(),
            reply_to: Some(reply_to.unwrap_or_else(|| branding.address.clone())),
            message_id: &format!("<{name}.sample@{}>", branding.domain()),
        };
        write("eml", &composed.message(&branding, addressed)?)?;
    }
    Ok(samples.len())
}

/// The demo catalog's images, drawn when asked for. Its close-ups stand in for uploaded images.
struct DemoImages(Renderer);

impl Images for DemoImages {
    async fn read(&self, image: ImageRef<'_>, _width: u32) -> anyhow::Result<Option<ImageFile>> {
        let path = match image {
            ImageRef::Path(path) => path.trim_start_matches("/media/demo/"),
            ImageRef::Kept(id) if *id == samples::images()[0] => "tidewalk-b.png",
            ImageRef::Kept(_) => "river-braid-b.png",
        };
        let drawn = PRODUCTS
            .iter()
            .find_map(|product| match path.strip_prefix(product.slug)? {
                "-a.png" => Some(self.0.front(product)),
                "-b.png" => self.0.close_up(product),
                _ => None,
            });
        Ok(drawn.map(|bytes| ImageFile {
            bytes,
            mime: "image/png".to_owned(),
        }))
    }
}
