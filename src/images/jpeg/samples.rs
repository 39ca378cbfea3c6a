//! Small JPEG files, for tests.

use super::marker;

/// A segment with its marker and its length.
pub fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 2).expect("a short segment");
    [&[0xff, marker], &length.to_be_bytes()[..], content].concat()
}

/// A block of EXIF that names an orientation, behind the two bytes that follow the name.
pub fn exif(padding: [u8; 2], orientation: u8) -> Vec<u8> {
    let mut tiff = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0]);
    segment(marker::APP1, &[b"Exif", &padding[..], &tiff].concat())
}

/// One of the parts of a color profile.
pub fn profile_part(number: u8, of: u8, part: &[u8]) -> Vec<u8> {
    let content = [b"ICC_PROFILE\0", &[number, of][..], part].concat();
    segment(marker::APP2, &content)
}

/// The segment by which Adobe's programs name the transform of the colors.
pub fn adobe(transform: u8) -> Vec<u8> {
    let content = [b"Adobe\0\x64\0\0\0\0", &[transform][..]].concat();
    segment(marker::APP14, &content)
}

/// A file of 8 × 8 pixels in one color, with segments before the frame and between the scans. Each component has a scan
/// of its own.
pub fn one_color(components: &[u8], header: &[u8], between: &[u8]) -> Vec<u8> {
    let mut frame = vec![8, 0, 8, 0, 8, components.len() as u8];
    frame.extend((1..).zip(components).flat_map(|(id, _)| [id, 0x11, 0]));
    // Nine codes of four bits for the sizes of a difference; one bit for the end of a block.
    let differences = [0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let differences = [&differences[..], &[0, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
    let others = [0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let head = [
        &b"\xff\xd8"[..],
        header,
        &segment(marker::DQT, &[&[0][..], &[8; 64]].concat()),
        &segment(marker::SOF0, &frame),
        &segment(marker::DHT, &differences),
        &segment(marker::DHT, &others),
    ];
    let scans: Vec<Vec<u8>> = (1..)
        .zip(components)
        .map(|(id, sample)| {
            let header = segment(marker::SOS, &[1, id, 0, 0, 63, 0]);
            [header, block(*sample)].concat()
        })
        .collect();
    [head.concat(), scans.join(between), b"\xff\xd9".to_vec()].concat()
}

/// The entropy-coded data of a block in which all samples are the same.
fn block(sample: u8) -> Vec<u8> {
    let difference = i32::from(sample) - 128;
    let size = 32 - difference.unsigned_abs().leading_zeros();
    let value = difference - i32::from(difference < 0) + (i32::from(difference < 0) << size);
    let bits = ((size << size) | value as u32) << 1;
    let length = 4 + size + 1;
    let filling = 16 - length;
    let bytes = ((bits << filling) | ((1 << filling) - 1)).to_be_bytes();
    let used = 2..2 + length.div_ceil(8) as usize;
    let stuffed = |byte: &u8| match byte {
        0xff => vec![0xff, 0],
        byte => vec![*byte],
    };
    bytes[used].iter().flat_map(stuffed).collect()
}
