//! Reasons for rejecting an image, in words for the uploader.

use crate::config::MediaLimits;
use crate::error::Error;

/// Limit of width and height, which is also WebP's limit.
pub const MAX_SIDE: u32 = 16_383;

/// Reasons for rejecting an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The file exceeds the size limit.
    TooLarge,
    /// The first bytes match no known image format.
    NotAImage,
    /// A known but unsupported format, by name.
    Unsupported(&'static str),
    /// A JPEG with a coding that hardly any program reads.
    UnusualJpeg(&'static str),
    /// The image exceeds the pixel limit.
    TooManyPixels,
    /// The file begins like an image, but cannot be read to its end.
    Damaged,
}

/// Errors of storing an image.
#[derive(Debug)]
pub enum UploadError {
    /// The file is no acceptable image.
    Refused(Refusal),
    /// The storage or the database failed.
    Failed(Error),
}

impl From<Refusal> for UploadError {
    fn from(refusal: Refusal) -> UploadError {
        UploadError::Refused(refusal)
    }
}

impl<E: Into<Error>> From<E> for UploadError {
    fn from(error: E) -> UploadError {
        UploadError::Failed(error.into())
    }
}

impl Refusal {
    /// A sentence for the uploader.
    pub fn sentence(self, limits: &MediaLimits) -> String {
        match self {
            Refusal::TooLarge => format!(
                "This file is larger than {} MB.",
                limits.file_bytes as f64 / f64::from(1 << 20)
            ),
            Refusal::NotAImage => {
                "This is not an image. Allowed: JPEG, PNG, WebP and GIF.".to_owned()
            }
            Refusal::Unsupported("HEIC") => "HEIC images cannot be read here. Save it as JPEG and send \
                it again. An iPhone takes JPEG from the start with Settings > Camera > Formats > Most Compatible."
                .to_owned(),
            Refusal::Unsupported(kind) => format!(
                "{kind} images cannot be read here. Save it as JPEG and send it again. In your phone's camera settings, \
                 choose JPEG as the image format."
            ),
            Refusal::UnusualJpeg(coding) => format!(
                "This JPEG uses {coding}, which cannot be read here. Save it again as an ordinary JPEG and send that."
            ),
            Refusal::TooManyPixels => format!(
                "This image is too large: up to {} megapixels and {MAX_SIDE} pixels a side are allowed.",
                limits.megapixels
            ),
            Refusal::Damaged => "This image is damaged and cannot be read.".to_owned(),
        }
    }
}
