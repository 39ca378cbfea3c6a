//! JPEG files as browsers read them: lenient about everything around the pixels, strict about the pixels themselves.
//!
//! Cameras, editors and interrupted uploads produce files that the standard forbids and every browser shows: stray
//! bytes between segments, duplicate metadata, no end marker. This module reads the segments itself, keeps those needed
//! for the pixels, and passes a plain file to the decoder. A file with missing pixels is rejected, because the decoder
//! would fill them with zeros and report success.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use jpeg_decoder::{ColorTransform, Decoder};
use memchr::memchr;

use self::metadata::Metadata;
use super::color::{Inks, Pixels};
use super::refusal::Refusal;

mod metadata;
#[cfg(test)]
pub(super) mod samples;

mod marker {
    pub const SOF0: u8 = 0xc0;
    pub const SOF1: u8 = 0xc1;
    pub const SOF2: u8 = 0xc2;
    pub const DHT: u8 = 0xc4;
    pub const DAC: u8 = 0xcc;
    pub const RST0: u8 = 0xd0;
    pub const RST7: u8 = 0xd7;
    pub const EOI: u8 = 0xd9;
    pub const SOS: u8 = 0xda;
    pub const DQT: u8 = 0xdb;
    pub const DNL: u8 = 0xdc;
    pub const DRI: u8 = 0xdd;
    pub const APP0: u8 = 0xe0;
    pub const APP1: u8 = 0xe1;
    pub const APP2: u8 = 0xe2;
    pub const APP14: u8 = 0xee;
    pub const APP15: u8 = 0xef;
    pub const COM: u8 = 0xfe;
}

/// Limit of scans, more than any encoder writes. A scan of a few bytes traverses the whole image, so the number of
/// scans determines the time.
const MAX_SCANS: usize = 100;

/// One bits, inserted before the marker that ends a run of entropy-coded data. No Huffman code consists of ones only,
/// so a decoder that needs more data than exists reports an error here, instead of continuing with zeros. The length
/// covers the rest of a code, the bits of a value and one more code, and is short enough for the decoder to find the
/// marker behind it.
const ONES: [u8; 12] = [0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0];

/// Head of the plain file. The AVI1 segment makes the decoder use the standard's tables when a file has none, as frames
/// of a video do.
const PLAIN_HEAD: [u8; 20] = *b"\xff\xd8\xff\xe0\x00\x10AVI1\0\0\0\0\0\0\0\0\0\0";

/// Mask of all coefficients of a block.
const ALL_COEFFICIENTS: u64 = u64::MAX;

/// A component of an image: luma, chroma, or an ink.
#[derive(Clone, Copy)]
struct Component {
    id: u8,
    horizontal: u8,
    vertical: u8,
    /// Coefficients whose bits are complete after the scans so far.
    complete: u64,
}

/// The frame header.
struct Frame {
    width: u16,
    height: u16,
    is_progressive: bool,
    components: Vec<Component>,
}

impl Frame {
    fn parse(marker: u8, segment: &[u8]) -> Result<Frame, Refusal> {
        let &[precision, h1, h0, w1, w0, count, ref rest @ ..] = segment else {
            return Err(Refusal::Damaged);
        };
        if precision != 8 {
            return Err(Refusal::UnusualJpeg("more than 8 bits a sample"));
        }
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        if width == 0 || height == 0 || rest.len() < usize::from(count) * 3 {
            return Err(Refusal::Damaged);
        }
        if ![1, 3, 4].contains(&count) {
            return Err(Refusal::UnusualJpeg("an unusual number of colors"));
        }
        let components: Vec<Component> = rest
            .as_chunks::<3>()
            .0
            .iter()
            .take(usize::from(count))
            .map(|&[id, sampling, _]| Component {
                id,
                horizontal: sampling >> 4,
                vertical: sampling & 15,
                complete: 0,
            })
            .collect();
        let is_sampling = |factor: u8| (1..=4).contains(&factor);
        if !components
            .iter()
            .all(|c| is_sampling(c.horizontal) && is_sampling(c.vertical))
        {
            return Err(Refusal::Damaged);
        }
        Ok(Frame {
            width,
            height,
            is_progressive: marker == marker::SOF2,
            components,
        })
    }

    /// Number of samples in all components.
    fn samples(&self) -> u64 {
        let most = |factor: fn(&Component) -> u8| {
            let factors = self.components.iter().map(factor);
            u64::from(factors.max().unwrap_or(1))
        };
        let (horizontal, vertical) = (most(|c| c.horizontal), most(|c| c.vertical));
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        let of = |c: &Component| {
            (width * u64::from(c.horizontal)).div_ceil(horizontal)
                * (height * u64::from(c.vertical)).div_ceil(vertical)
        };
        self.components.iter().map(of).sum()
    }

    /// Marks the coefficients that a scan completes. `header` is the segment that begins it.
    fn begin_scan(&mut self, header: &[u8]) -> Result<(), Refusal> {
        let (&count, rest) = header.split_first().ok_or(Refusal::Damaged)?;
        let (selectors, rest) = rest
            .split_at_checked(usize::from(count) * 2)
            .ok_or(Refusal::Damaged)?;
        let &[first, last, approximation, ..] = rest else {
            return Err(Refusal::Damaged);
        };
        let sent = match (self.is_progressive, approximation & 15) {
            (false, _) => ALL_COEFFICIENTS,
            (true, 0) if first <= last && last < 64 => {
                (first..=last).fold(0, |set, k| set | 1 << k)
            }
            (true, _) => 0,
        };
        for &[id, _] in selectors.as_chunks::<2>().0 {
            let mut components = self.components.iter_mut();
            let component = components.find(|component| component.id == id);
            component.ok_or(Refusal::Damaged)?.complete |= sent;
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        let mut components = self.components.iter();
        components.all(|component| component.complete == ALL_COEFFICIENTS)
    }
}

/// A parsed JPEG file, not yet decoded.
pub(super) struct Jpeg {
    frame: Frame,
    color_transform: ColorTransform,
    /// The plain file: only the parts needed for the pixels.
    plain: Vec<u8>,
    orientation: Orientation,
    profile: Option<Vec<u8>>,
    /// The file contains nothing but pixels.
    pub is_bare: bool,
}

impl Jpeg {
    /// Reads all segments of a file without decoding pixels.
    ///
    /// # Errors
    /// Files that are cut off, and codings that browsers do not show either.
    pub fn read(content: &[u8]) -> Result<Jpeg, Refusal> {
        let mut parser = Parser::new(content);
        parser.read_segments()?;
        parser.finish()
    }

    /// Coded width and height, before rotation.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.frame.width.into(), self.frame.height.into())
    }

    /// Size of the decoded pixels in bytes.
    pub fn output_bytes(&self) -> u64 {
        let (width, height) = self.dimensions();
        u64::from(width) * u64::from(height) * self.frame.components.len() as u64
    }

    /// Peak memory of decoding in bytes: the pixels, each component separately, and for progressive images all
    /// coefficients.
    pub fn working_bytes(&self) -> u64 {
        let samples = self.frame.samples();
        let coefficients = if self.frame.is_progressive { 2 } else { 0 };
        self.output_bytes() + samples + samples * coefficients
    }

    /// Orientation from the first EXIF block, as in browsers.
    pub fn orientation(&self) -> Orientation {
        self.orientation
    }

    pub fn profile(&self) -> Option<&[u8]> {
        self.profile.as_deref()
    }

    /// Decodes the pixels.
    ///
    /// # Errors
    /// An image of which not all pixels are there.
    pub fn decode(self) -> Result<Pixels, Refusal> {
        let (width, height) = self.dimensions();
        let mut decoder = Decoder::new(&self.plain[..]);
        decoder.set_color_transform(self.color_transform);
        let samples = decoder.decode().map_err(|error| match error {
            jpeg_decoder::Error::Unsupported(_) => Refusal::UnusualJpeg("an unusual coding"),
            _ => Refusal::Damaged,
        })?;
        drop(decoder);
        let image = match self.frame.components.len() {
            1 => GrayImage::from_raw(width, height, samples).map(DynamicImage::from),
            3 => RgbImage::from_raw(width, height, samples).map(DynamicImage::from),
            _ => {
                return Ok(Pixels::Inks(Inks {
                    width,
                    height,
                    samples,
                }));
            }
        };
        image.map(Pixels::Light).ok_or(Refusal::Damaged)
    }
}

/// Walks over the segments of a file and gathers what counts.
struct Parser<'a> {
    content: &'a [u8],
    at: usize,
    plain: Vec<u8>,
    frame: Option<Frame>,
    scans: usize,
    has_end: bool,
    metadata: Metadata<'a>,
    is_bare: bool,
}

impl<'a> Parser<'a> {
    fn new(content: &'a [u8]) -> Parser<'a> {
        Parser {
            content,
            at: 2,
            plain: PLAIN_HEAD.to_vec(),
            frame: None,
            scans: 0,
            has_end: false,
            metadata: Metadata::default(),
            is_bare: true,
        }
    }

    fn read_segments(&mut self) -> Result<(), Refusal> {
        while let Some(marker) = self.next_marker() {
            match marker {
                marker::EOI => {
                    self.has_end = true;
                    break;
                }
                // A stray marker without content.
                0x01 | marker::RST0..=marker::RST7 => self.is_bare = false,
                _ => {
                    let Some(segment) = self.segment() else {
                        // Cut off after its last scan, perhaps within a comment: nothing is lost.
                        break;
                    };
                    self.take_segment(marker, segment)?;
                }
            }
        }
        Ok(())
    }

    /// Finds the next marker, skipping everything before it. Returns `None` at the end of the file.
    fn next_marker(&mut self) -> Option<u8> {
        loop {
            let skipped = memchr(0xff, self.content.get(self.at..)?)?;
            self.is_bare &= skipped == 0;
            self.at += skipped + 1;
            while self.content.get(self.at) == Some(&0xff) {
                self.at += 1;
            }
            let marker = *self.content.get(self.at)?;
            self.at += 1;
            if marker != 0 {
                return Some(marker);
            }
        }
    }

    /// Content of the segment whose marker was just read. `None` when the file ends first.
    fn segment(&mut self) -> Option<&'a [u8]> {
        let rest = self.content.get(self.at..)?;
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        let segment = rest.get(2..length)?;
        self.at += length;
        Some(segment)
    }

    fn take_segment(&mut self, marker: u8, segment: &'a [u8]) -> Result<(), Refusal> {
        match marker {
            marker::SOF0 | marker::SOF1 | marker::SOF2 => self.take_frame(marker, segment),
            marker::DHT => {
                check_huffman_tables(segment)?;
                self.copy(marker, segment);
                Ok(())
            }
            marker::DQT | marker::DRI => {
                self.copy(marker, segment);
                Ok(())
            }
            marker::SOS => self.take_scan(segment),
            marker::APP0..=marker::APP15 => {
                self.is_bare &= marker == marker::APP0 && segment.starts_with(b"JFIF\0");
                // Browsers have read the header once the pixels begin, and ignore metadata behind it.
                if self.scans == 0 {
                    self.metadata.take(marker, segment);
                }
                Ok(())
            }
            marker::COM | marker::DNL => {
                self.is_bare = false;
                Ok(())
            }
            0xc3 | 0xc5..=0xc7 => Err(Refusal::UnusualJpeg("lossless or layered coding")),
            0xc8..=0xcb | marker::DAC | 0xcd..=0xcf => {
                Err(Refusal::UnusualJpeg("arithmetic coding"))
            }
            _ => Err(Refusal::Damaged),
        }
    }

    fn copy(&mut self, marker: u8, segment: &[u8]) {
        // The original length: its two bytes count, too.
        let length = u16::try_from(segment.len() + 2).expect("was read from two bytes");
        self.plain.extend([0xff, marker]);
        self.plain.extend(length.to_be_bytes());
        self.plain.extend(segment);
    }

    fn take_frame(&mut self, marker: u8, segment: &[u8]) -> Result<(), Refusal> {
        if self.frame.is_some() {
            return Err(Refusal::Damaged);
        }
        self.frame = Some(Frame::parse(marker, segment)?);
        // Baseline is the extended process with fewer tables, and some encoders exceed that number.
        self.copy(marker.max(marker::SOF1), segment);
        Ok(())
    }

    fn take_scan(&mut self, header: &[u8]) -> Result<(), Refusal> {
        let frame = self.frame.as_mut().ok_or(Refusal::Damaged)?;
        frame.begin_scan(header)?;
        // A scan has no more restarts than blocks.
        let blocks = usize::from(frame.width).div_ceil(8) * usize::from(frame.height).div_ceil(8);
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(Refusal::Damaged);
        }
        self.copy(marker::SOS, header);
        self.copy_entropy_coded(blocks)
    }

    /// Copies the data of a scan up to the next marker, with [`ONES`] at the end of each run.
    fn copy_entropy_coded(&mut self, max_restarts: usize) -> Result<(), Refusal> {
        let mut restarts = 0;
        loop {
            let rest = &self.content[self.at..];
            let Some(plain) = memchr(0xff, rest) else {
                self.plain.extend(rest);
                self.at = self.content.len();
                break;
            };
            self.plain.extend(&rest[..plain]);
            let filling = rest[plain..].iter().take_while(|byte| **byte == 0xff);
            let marker_at = plain + filling.count();
            match rest.get(marker_at) {
                // A byte of ones in the data.
                Some(0) => self.plain.extend([0xff, 0]),
                Some(&restart @ marker::RST0..=marker::RST7) => {
                    restarts += 1;
                    if restarts > max_restarts {
                        return Err(Refusal::Damaged);
                    }
                    self.plain.extend(ONES);
                    self.plain.extend([0xff, restart]);
                }
                _ => {
                    self.at += plain;
                    break;
                }
            }
            self.at += marker_at + 1;
        }
        self.plain.extend(ONES);
        Ok(())
    }

    fn finish(mut self) -> Result<Jpeg, Refusal> {
        let frame = self.frame.ok_or(Refusal::Damaged)?;
        if !frame.is_complete() {
            return Err(Refusal::Damaged);
        }
        let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
        self.plain.extend([0xff, marker::EOI]);
        Ok(Jpeg {
            frame,
            color_transform: self.metadata.color_transform(&ids),
            plain: self.plain,
            orientation: self.metadata.orientation(),
            profile: self.metadata.profile(),
            is_bare: self.is_bare && self.has_end && self.at == self.content.len(),
        })
    }
}

/// Rejects a table with a code of ones only: the standard forbids it, browsers reject it, and [`ONES`] relies on it.
fn check_huffman_tables(mut segment: &[u8]) -> Result<(), Refusal> {
    while let Some((_, rest)) = segment.split_first() {
        let (counts, rest) = rest.split_first_chunk::<16>().ok_or(Refusal::Damaged)?;
        let mut code = 0_u32;
        for (count, length) in counts.iter().zip(1..) {
            code += u32::from(*count);
            if code >= 1 << length {
                return Err(Refusal::Damaged);
            }
            code <<= 1;
        }
        let values = counts.iter().map(|count| usize::from(*count)).sum();
        segment = rest.get(values..).ok_or(Refusal::Damaged)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;

    use super::super::color::in_srgb;
    use super::*;

    fn written() -> Vec<u8> {
        let image = RgbImage::from_fn(40, 24, |x, y| {
            image::Rgb([(x * 6) as u8, (y * 9) as u8, 90])
        });
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 90)
            .encode_image(&image)
            .expect("an image");
        bytes
    }

    fn pixels(jpeg: &[u8]) -> Result<Vec<u8>, Refusal> {
        Ok(in_srgb(Jpeg::read(jpeg)?.decode()?, None).into_bytes())
    }

    #[test]
    fn every_missing_byte_of_the_pixels_is_noticed() {
        let jpeg = written();
        let whole = pixels(&jpeg).expect("an image");
        for cut in 0..jpeg.len() {
            let cut_off = &jpeg[..cut];
            let with_an_end = [cut_off, &[0xff, 0xd9]].concat();
            for file in [cut_off, &with_an_end] {
                // Without all or part of the end marker, nothing is missing.
                if let Ok(kept) = pixels(file) {
                    assert!(kept == whole && cut + 2 >= jpeg.len(), "{cut}");
                }
            }
        }
    }

    #[test]
    fn a_file_without_tables_has_those_of_the_standard() {
        let jpeg = written();
        let mut bare = jpeg.clone();
        while let Some(at) = bare.windows(2).position(|pair| pair == [0xff, marker::DHT]) {
            let length = usize::from(u16::from_be_bytes([bare[at + 2], bare[at + 3]]));
            bare.drain(at..at + 2 + length);
        }
        assert_ne!(bare, jpeg);
        assert_eq!(pixels(&bare), pixels(&jpeg));
    }

    #[test]
    fn thousands_of_scans_are_refused_before_they_cost_anything() {
        let jpeg = written();
        let scan = jpeg.windows(2).position(|pair| pair == [0xff, marker::SOS]);
        let scan = scan.expect("a scan");
        let (head, scan) = (&jpeg[..scan], &jpeg[scan..jpeg.len() - 2]);
        let many = |count: usize| [head, &scan.repeat(count)].concat();
        assert!(Jpeg::read(&many(MAX_SCANS)).is_ok());
        assert_eq!(
            Jpeg::read(&many(MAX_SCANS + 1)).err(),
            Some(Refusal::Damaged)
        );
    }

    #[test]
    fn a_table_with_a_code_of_ones_is_refused() {
        let mut counts = [0_u8; 16];
        counts[0] = 1;
        let table =
            |counts: [u8; 16], values: usize| [&[0][..], &counts, &vec![0; values]].concat();
        assert_eq!(check_huffman_tables(&table(counts, 1)), Ok(()));
        assert_eq!(
            check_huffman_tables(&table(counts, 0)),
            Err(Refusal::Damaged)
        );
        counts[0] = 2;
        assert_eq!(
            check_huffman_tables(&table(counts, 2)),
            Err(Refusal::Damaged)
        );
    }
}
