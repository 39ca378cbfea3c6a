//! Stylesheet, scripts and icon. Each name contains a hash of the content, so browsers may cache the file indefinitely.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::http::Path;

/// A static file linked from pages.
pub struct Asset {
    /// Such as `admin.0123456789abcdef.css`.
    name: String,
    content_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(name: &str, ending: &str, content_type: &'static str, content: &'static str) -> Asset {
        let hash = hex::encode(&Sha256::digest(content)[..8]);
        Asset {
            name: format!("{name}.{hash}.{ending}"),
            content_type,
            content,
        }
    }

    /// Returns the path, which changes with the content.
    pub fn path(&self) -> String {
        format!("/admin/assets/{}", self.name)
    }
}

/// The style sheet.
pub static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("assets/admin.css");
    Asset::new("admin", "css", "text/css; charset=utf-8", content)
});

/// htmx, see `assets/NOTICE.md`.
pub static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("assets/htmx-2.0.11.min.js");
    Asset::new("htmx", "js", "text/javascript; charset=utf-8", content)
});

/// Product page script: image upload by drag and drop, and the slug suggested while the name is typed. Pages work
/// without it.
pub static PRODUCT: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("assets/product.js");
    Asset::new("product", "js", "text/javascript; charset=utf-8", content)
});

/// Shrinks photographs before they are sent with a form. Pages work without it.
pub static PHOTOS: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("assets/photos.js");
    Asset::new("photos", "js", "text/javascript; charset=utf-8", content)
});

/// Disables the buttons of a form while it is being sent. Pages work without it.
pub static FORMS: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("assets/forms.js");
    Asset::new("forms", "js", "text/javascript; charset=utf-8", content)
});

/// Script of the pages that ship: copies addresses, recognizes carriers, scans barcodes. Pages work without it.
pub static SHIP: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("assets/ship.js");
    Asset::new("ship", "js", "text/javascript; charset=utf-8", content)
});

/// Shows the total of an in-person sale while it is typed. The page works without it.
pub static SELL: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("assets/sell.js");
    Asset::new("sell", "js", "text/javascript; charset=utf-8", content)
});

/// Script of table photographs: upload with progress, drawing, and pairing by dragging. Pages work without it.
pub static TABLE: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("assets/table.js");
    Asset::new("table", "js", "text/javascript; charset=utf-8", content)
});

/// The icon of browser tabs.
pub static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("assets/icon.svg");
    Asset::new("icon", "svg", "image/svg+xml", content)
});

/// `GET /admin/assets/{name}`
pub async fn serve(Path(name): Path<String>) -> Result<Response> {
    let asset = [
        &STYLE, &SCRIPT, &PRODUCT, &PHOTOS, &FORMS, &SHIP, &SELL, &TABLE, &ICON,
    ]
    .into_iter()
    .find(|asset| asset.name == name)
    .ok_or(Error::NotFound(""))?;
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, asset.content).into_response())
}
