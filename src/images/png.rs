//! PNG files as browsers read them: a file cut off after its pixels is complete.

use std::borrow::Cow;

const SIGNATURE_BYTES: usize = 8;

/// Length, kind and checksum.
const CHUNK_OVERHEAD: usize = 12;

/// The chunk that ends a file.
const END: [u8; CHUNK_OVERHEAD] = *b"\0\0\0\0IEND\xae\x42\x60\x82";

/// Adds a missing end to a file. Of an incomplete chunk only pixels are kept; the decoder then checks their
/// completeness.
pub(super) fn with_end(content: &[u8]) -> Cow<'_, [u8]> {
    let mut at = SIGNATURE_BYTES;
    while let Some((length, kind)) = chunk_at(content, at) {
        let end = at.saturating_add(CHUNK_OVERHEAD).saturating_add(length);
        if content.len() < end {
            let (whole, cut_off) = content.split_at(at);
            let pixels = cut_off.get(8..).filter(|_| kind == *b"IDAT");
            return Cow::Owned(mend(whole, pixels.unwrap_or_default(), length));
        }
        if kind == *b"IEND" {
            return Cow::Borrowed(content);
        }
        at = end;
    }
    let whole = &content[..at.min(content.len())];
    Cow::Owned([whole, &END].concat())
}

fn chunk_at(content: &[u8], at: usize) -> Option<(usize, [u8; 4])> {
    let rest = content.get(at..)?;
    let length = u32::from_be_bytes(*rest.first_chunk()?);
    let kind = *rest.get(4..)?.first_chunk()?;
    Some((usize::try_from(length).ok()?, kind))
}

/// Assembles the complete chunks of a file, the available pixels, and an end.
fn mend(whole: &[u8], pixels: &[u8], length: usize) -> Vec<u8> {
    let pixels = &pixels[..pixels.len().min(length)];
    let mut mended = whole.to_vec();
    // No longer than its declared length, which has four bytes.
    if let Ok(length) = u32::try_from(pixels.len())
        && length > 0
    {
        mended.extend(length.to_be_bytes());
        let checked = mended.len();
        mended.extend(b"IDAT");
        mended.extend(pixels);
        let checksum = crc32fast::hash(&mended[checked..]);
        mended.extend(checksum.to_be_bytes());
    }
    mended.extend(END);
    mended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let image =
            image::RgbImage::from_fn(20, 10, |x, y| image::Rgb([x as u8 * 9, y as u8 * 20, 7]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        image
            .write_to(&mut bytes, image::ImageFormat::Png)
            .expect("an image");
        bytes.into_inner()
    }

    fn pixels(png: &[u8]) -> Option<Vec<u8>> {
        let image = image::load_from_memory(&with_end(png)).ok()?;
        Some(image.into_rgb8().into_raw())
    }

    #[test]
    fn what_is_cut_off_behind_the_pixels_shows_all_of_them_and_nothing_else_is_taken() {
        let png = written();
        let whole = pixels(&png).expect("an image");
        let mut taken = 0;
        for cut in 0..png.len() {
            if let Some(kept) = pixels(&png[..cut]) {
                assert!(kept == whole, "{cut}");
                taken += 1;
            }
        }
        // The end, the checksum of the pixels, and that of their uncompressed data.
        assert!((16..=24).contains(&taken), "{taken}");
        let longer = [&png[..], b"stray"].concat();
        assert!(matches!(with_end(&longer), Cow::Borrowed(_)));
    }
}
