//! A keyed hash of a form's content, computed while the body streams.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use futures_util::StreamExt;
use memchr::memmem;
use sha2::{Digest, Sha256};

use crate::app::Signer;

/// Bytes after the last boundary of an upload: two hyphens and the end of the line.
const CLOSING: usize = 4;

/// A hash of a form that ignores the boundary of an upload: browsers choose a new one each time.
pub struct Fingerprint {
    signer: Signer,
    /// Path that the form is sent to.
    path: String,
    /// Separator between the parts of an upload; empty for a plain form.
    boundary: Vec<u8>,
    hash: Sha256,
    /// Last bytes received so far, in which a boundary may have begun.
    tail: Vec<u8>,
    /// Set while only the tail has arrived since the last boundary.
    is_at_boundary: bool,
}

impl Fingerprint {
    /// Starts the fingerprint of a form that is sent to `path`; an upload has a boundary.
    pub fn new(signer: &Signer, path: &str, boundary: Option<&str>) -> Fingerprint {
        Fingerprint {
            signer: signer.clone(),
            path: path.to_owned(),
            boundary: boundary.map_or(Vec::new(), |boundary| format!("--{boundary}").into_bytes()),
            hash: Sha256::new(),
            tail: Vec::new(),
            is_at_boundary: false,
        }
    }

    /// Adds the next part of the body.
    pub fn update(&mut self, part: &[u8]) {
        if self.boundary.is_empty() {
            self.hash.update(part);
            return;
        }
        let mut bytes = std::mem::take(&mut self.tail);
        bytes.extend_from_slice(part);
        let mut rest = bytes.as_slice();
        while let Some(at) = memmem::find(rest, &self.boundary) {
            self.hash.update(&rest[..at]);
            // Mark each boundary, so that moving content between parts changes the hash.
            self.hash.update(b"\0--\0");
            rest = &rest[at + self.boundary.len()..];
            self.is_at_boundary = true;
        }
        let kept = rest.len().min(self.boundary.len().max(CLOSING));
        let (sure, tail) = rest.split_at(rest.len() - kept);
        if !sure.is_empty() {
            self.hash.update(sure);
            self.is_at_boundary = false;
        }
        self.tail = tail.to_vec();
    }

    /// Returns the fingerprint; `None` for an upload that was not read to its end.
    pub fn finish(self) -> Option<Vec<u8>> {
        // Upload parsers stop at the last boundary and may leave the end of that line unread.
        let is_whole = self.is_at_boundary && self.tail.starts_with(b"--");
        if !self.boundary.is_empty() && !is_whole {
            return None;
        }
        let hash = self.hash.finalize();
        let hex = hex::encode(hash);
        let keyed = self.signer.derive("form", &format!("{} {hex}", self.path));
        Some(keyed.to_vec())
    }
}

/// The fingerprint of a body that another reader consumes.
pub struct Watched(Arc<Mutex<Option<Fingerprint>>>);

impl Watched {
    /// Wraps a body so that its fingerprint is computed as it is read.
    pub fn new(body: Body, fingerprint: Fingerprint) -> (Body, Watched) {
        let shared = Arc::new(Mutex::new(Some(fingerprint)));
        let watched = Watched(shared.clone());
        let body = body.into_data_stream().inspect(move |part| {
            let mut fingerprint = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Ok(part), Some(fingerprint)) = (part, fingerprint.as_mut()) {
                fingerprint.update(part);
            }
        });
        (Body::from_stream(body), watched)
    }

    /// Returns the fingerprint of the body; `None` if it was not read to its end.
    pub fn finish(self) -> Option<Vec<u8>> {
        let fingerprint = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        fingerprint.and_then(Fingerprint::finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn of(boundary: &str, body: &str, size: usize) -> Option<Vec<u8>> {
        let signer = Signer::new(Secret::new("a key"));
        let mut fingerprint = Fingerprint::new(&signer, "/admin", Some(boundary));
        for part in body.as_bytes().chunks(size) {
            fingerprint.update(part);
        }
        fingerprint.finish()
    }

    fn upload(boundary: &str, text: &str) -> String {
        format!(
            "--{boundary}\r\nname=\"a\"\r\n\r\n{text}\r\n--{boundary}\r\nname=\"b\"\r\n\r\n-\r\n--{boundary}--\r\n"
        )
    }

    #[test]
    fn an_upload_is_the_same_whatever_its_boundary_and_its_packets() {
        let first = of("x", &upload("x", "beads"), 1000);
        assert!(first.is_some());
        for size in [1, 2, 3, 7, 1000] {
            for boundary in ["x", "xx", "----WebKitFormBoundaryAbCdEf"] {
                let same = of(boundary, &upload(boundary, "beads"), size);
                assert_eq!(same, first, "{boundary} {size}");
            }
        }
        assert_ne!(of("x", &upload("x", "beads!"), 1000), first);
        assert_ne!(of("x", &upload("x", ""), 1000), first);
    }

    #[test]
    fn an_upload_is_known_once_its_last_boundary_was_read() {
        let body = upload("beads", "x");
        let whole = of("beads", &body, 1000);
        assert_eq!(of("beads", &body[..body.len() - 2], 5), whole);
        assert_eq!(of("beads", &body[..body.len() - 4], 5), None);
        assert_eq!(of("beads", &body[..body.len() - 20], 5), None);
        assert_eq!(of("beads", "", 5), None);
    }
}
