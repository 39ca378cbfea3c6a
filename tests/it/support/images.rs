//! Images to upload: drawn here, with what cameras and villains put into them; and the forms they are sent in.

use std::io::Cursor;

use image::codecs::gif::GifEncoder;
use image::{
    DynamicImage, ExtendedColorType, Frame, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba,
    RgbaImage,
};

/// The type of the forms that [`form`] writes.
pub const FORM: &str = "multipart/form-data; boundary=beads";

/// A part of a form.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    pub name: &'a str,
    pub file_name: Option<&'a str>,
    pub content: &'a [u8],
}

impl<'a> Part<'a> {
    pub fn file(name: &'a str, content: &'a [u8]) -> Part<'a> {
        Part {
            name,
            file_name: Some("photo.jpg"),
            content,
        }
    }

    pub fn text(name: &'a str, content: &'a str) -> Part<'a> {
        Part {
            name,
            file_name: None,
            content: content.as_bytes(),
        }
    }
}

pub fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        let name = part.name;
        let file = part
            .file_name
            .map(|file| format!("; filename=\"{file}\"\r\ncontent-type: image/png"));
        let file = file.unwrap_or_default();
        let head =
            format!("--beads\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(part.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--beads--\r\n");
    body
}

/// A scene of soft colors with some grain, like an image: red above, blue below, lighter to the right.
pub fn scene(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let grain = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)) >> 7 & 7;
        let light = (x * 120 / width) as u8 + grain as u8;
        if y < height / 2 {
            Rgb([120 + light, 20, 20])
        } else {
            Rgb([20, 20, 120 + light])
        }
    })
}

pub fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("an image");
    bytes.into_inner()
}

pub fn jpeg(width: u32, height: u32) -> Vec<u8> {
    encoded(&scene(width, height).into(), ImageFormat::Jpeg)
}

pub fn plain_png(width: u32, height: u32) -> Vec<u8> {
    encoded(&scene(width, height).into(), ImageFormat::Png)
}

/// A green disc on nothing.
pub fn transparent_png(side: u32) -> Vec<u8> {
    let disc = RgbaImage::from_fn(side, side, |x, y| {
        let (dx, dy) = (x.abs_diff(side / 2), y.abs_diff(side / 2));
        Rgba(if dx * dx + dy * dy < side * side / 9 {
            [0, 160, 0, 255]
        } else {
            [0; 4]
        })
    });
    encoded(&disc.into(), ImageFormat::Png)
}

/// Two frames: the first red, the second blue.
pub fn animation(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for colour in [Rgba([200, 0, 0, 255]), Rgba([0, 0, 200, 255])] {
        let frame = Frame::new(RgbaImage::from_pixel(width, height, colour));
        encoder.encode_frame(frame).expect("a frame");
    }
    drop(encoder);
    bytes
}

pub fn webp(width: u32, height: u32) -> Vec<u8> {
    encoded(&scene(width, height).into(), ImageFormat::WebP)
}

/// A JPEG of one colour with a colour profile.
pub fn profiled(colour: [u8; 3], profile: Vec<u8>) -> Vec<u8> {
    let plain = RgbImage::from_pixel(64, 64, Rgb(colour));
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
    encoder.set_icc_profile(profile).expect("a profile");
    encoder
        .write_image(&plain, 64, 64, ExtendedColorType::Rgb8)
        .expect("an image");
    bytes
}

/// A PNG with a colour profile.
pub fn with_profile(image: &RgbImage, profile: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    encoder.set_icc_profile(profile).expect("a profile");
    encoder
        .write_image(
            image,
            image.width(),
            image.height(),
            ExtendedColorType::Rgb8,
        )
        .expect("an image");
    bytes
}

/// A segment of a JPEG.
pub fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 2).expect("a short segment");
    [&[0xff, marker], &length.to_be_bytes()[..], content].concat()
}

/// Contents of a block of EXIF: which side is up, and where the image was taken.
pub fn tiff(orientation: u16) -> Vec<u8> {
    // TIFF, most significant byte first: a directory of two entries, and one of the place.
    let mut tiff = b"MM\0\x2a\0\0\0\x08".to_vec();
    let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        [
            &tag.to_be_bytes()[..],
            &kind.to_be_bytes(),
            &count.to_be_bytes(),
            &value,
        ]
        .concat()
    };
    let [high, low] = orientation.to_be_bytes();
    let main = [
        entry(0x0112, 3, 1, [high, low, 0, 0]),
        entry(0x8825, 4, 1, 38_u32.to_be_bytes()),
    ];
    let place = [
        entry(1, 2, 2, *b"N\0\0\0"),
        entry(2, 5, 3, 68_u32.to_be_bytes()),
    ];
    for directory in [main, place] {
        tiff.extend_from_slice(&2_u16.to_be_bytes());
        tiff.extend(directory.concat());
        tiff.extend_from_slice(&[0; 4]);
    }
    for number in [45_u32, 1, 31, 1, 7, 1] {
        tiff.extend_from_slice(&number.to_be_bytes());
    }
    tiff
}

/// A segment of EXIF.
pub fn exif(tiff: &[u8]) -> Vec<u8> {
    segment(0xe1, &[b"Exif\0\0", tiff].concat())
}

/// EXIF as a phone adds it: where it was taken, which side is up, and some words.
pub fn from_a_telephone(jpeg: &[u8], orientation: u16) -> Vec<u8> {
    let exif = exif(&tiff(orientation));
    let xmp = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>GPSLatitude 45,31.1N</x:xmpmeta>";
    let words = b"taken at home by Ann";
    let added = [exif, segment(0xe1, xmp), segment(0xfe, words)].concat();
    [
        &jpeg[..2],
        &added,
        &jpeg[2..],
        b"a whole film after the end",
    ]
    .concat()
}

/// A chunk of a PNG.
pub fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a short chunk");
    let checked = [&kind[..], content].concat();
    let mut crc = u32::MAX;
    for byte in &checked {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    [&length.to_be_bytes()[..], &checked, &(!crc).to_be_bytes()].concat()
}

/// A PNG that says it is so large.
pub fn claiming_png(width: u32, height: u32, depth: u8, colour: u8) -> Vec<u8> {
    let header = [
        &width.to_be_bytes()[..],
        &height.to_be_bytes(),
        &[depth, colour, 0, 0, 0],
    ]
    .concat();
    let zeros = [0x78, 0x9c, 0x63, 0x00, 0x00, 0x00, 0x01, 0x00, 0x01];
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &header),
        chunk(b"IDAT", &zeros),
        chunk(b"IEND", b""),
    ]
    .concat()
}

/// A GIF that says it is so large.
pub fn claiming_gif(width: u16, height: u16) -> Vec<u8> {
    let (w, h) = (width.to_le_bytes(), height.to_le_bytes());
    let mut gif = b"GIF89a".to_vec();
    gif.extend([w[0], w[1], h[0], h[1], 0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    gif.extend([
        b',', 0, 0, 0, 0, w[0], w[1], h[0], h[1], 0, 2, 2, 0x44, 1, 0, b';',
    ]);
    gif
}

/// A lossless WebP that says it is so large.
pub fn claiming_webp(width: u32, height: u32) -> Vec<u8> {
    let size = (width - 1) | (height - 1) << 14;
    let mut stream = vec![0x2f];
    stream.extend(size.to_le_bytes());
    stream.extend([0x88; 27]);
    let length = stream.len() as u32;
    let inner = [b"WEBPVP8L", &length.to_le_bytes()[..], &stream].concat();
    [b"RIFF", &(inner.len() as u32).to_le_bytes()[..], &inner].concat()
}

/// Numbers that look like chance and are the same every time.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// The image that was served, as its pixels.
pub fn decoded(bytes: &[u8]) -> DynamicImage {
    image::load_from_memory(bytes).expect("an image")
}
