//! Names of files: what they tell of a product, and which files are of one.

use std::collections::BTreeMap;

use crate::products::categories::{self, name_key};
use crate::products::input::{MAX_IMAGES, NAME_CHARS};
use crate::types::money::{Cents, Currency};
use crate::types::unicode;

/// Endings of files that may be images. The content decides.
const ENDINGS: [&str; 5] = ["png", "jpg", "jpeg", "webp", "gif"];

/// A reason not to take a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileFault {
    /// The file as it was found or sent.
    pub file: String,
    /// A sentence without its period.
    pub why: String,
}

impl FileFault {
    /// Creates a fault of a file.
    pub fn new(file: impl Into<String>, why: impl Into<String>) -> FileFault {
        FileFault {
            file: file.into(),
            why: why.into(),
        }
    }
}

/// A file whose name tells a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The file as it was found or sent.
    pub file: String,
    pub name: String,
    pub category: String,
    pub price: Cents,
    /// From 1, the primary image, to 10.
    pub side: u8,
    /// 1 for Classic, 2 for Mini.
    pub lighter_type: i16,
}

/// Reads a path such as `mini/Blue-Jay_Infinite-Path_55-1.png`. A folder `classic` or `mini`, in any case, tells the type of
/// what is in it; elsewhere it is `lighter_type`.
///
/// # Errors
/// A sentence that tells what is wrong with the name.
pub fn read_name(
    path: &str,
    lighter_type: Option<i16>,
    currency: Currency,
) -> Result<NamedFile, String> {
    // Some systems decompose accented letters in names.
    let composed = unicode::nfc(path);
    let mut parts = composed.rsplit('/');
    let file_name = parts.next().unwrap_or_default();
    let of_folder = parts.find_map(type_of_folder);
    let lighter_type = match (of_folder, lighter_type) {
        (Some(of_folder), Some(told)) if of_folder != told => {
            return Err("lies in a folder of the other lighter type".to_owned());
        }
        (Some(found), _) | (None, Some(found)) => found,
        (None, None) => {
            return Err(
                "has no lighter type: it lies neither in a folder classic nor in a folder mini"
                    .to_owned(),
            );
        }
    };
    let (stem, ending) = file_name.rsplit_once('.').unwrap_or((file_name, ""));
    if !ENDINGS.contains(&ending.to_ascii_lowercase().as_str()) {
        return Err(format!("is no {}", ENDINGS.join(", ")));
    }
    let pattern = "is not named as Name_Category_Price-Side";
    let (name, rest) = stem.split_once('_').ok_or(pattern)?;
    let (category, last) = rest.rsplit_once('_').ok_or(pattern)?;
    let (price, side) = last.rsplit_once('-').ok_or(pattern)?;
    Ok(NamedFile {
        file: path.to_owned(),
        name: words("name", name, NAME_CHARS)?,
        category: words("category", category, categories::NAME_CHARS)?,
        price: read_price(price, currency)?,
        side: read_side(side)?,
        lighter_type,
    })
}

/// Lighter type of a folder's name.
fn type_of_folder(name: &str) -> Option<i16> {
    match name.to_lowercase().as_str() {
        "classic" => Some(1),
        "mini" => Some(2),
        _ => None,
    }
}

/// The words of a part in which hyphens stand for blanks.
fn words(what: &str, part: &str, most: usize) -> Result<String, String> {
    let blanks = part.replace('-', " ");
    let text = blanks.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.chars().count() {
        0 => Err(format!("has no {what}")),
        count if count > most => Err(format!("has a {what} of more than {most} characters")),
        _ if text.chars().any(char::is_control) => {
            Err(format!("has a {what} with control characters"))
        }
        _ => Ok(text),
    }
}

/// An amount in digits with a dot: nothing else may be part of a name.
fn read_price(text: &str, currency: Currency) -> Result<Cents, String> {
    let is_plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let price = is_plain
        .then(|| Cents::parse(text, currency.code()))
        .flatten();
    let price = price.ok_or_else(|| format!("has no price in {currency}: “{text}”"))?;
    match currency.charges().contains(&price.0) {
        true => Ok(price),
        false => Err(format!(
            "has a price that is not {}",
            currency.charges_in_words()
        )),
    }
}

fn read_side(text: &str) -> Result<u8, String> {
    let is_plain = text.chars().all(|c| c.is_ascii_digit());
    let side = is_plain.then(|| text.parse().ok()).flatten();
    side.filter(|side| (1..=MAX_IMAGES).contains(&usize::from(*side)))
        .ok_or_else(|| format!("has a side that is none from 1 to {MAX_IMAGES}: “{text}”"))
}

/// The files of one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileGroup {
    /// By their sides. There is at least one.
    pub files: Vec<NamedFile>,
    /// Reasons not to make the product as the names tell.
    pub faults: Vec<FileFault>,
}

/// Sorts files by the products that they show, and by their sides.
pub fn group(files: Vec<NamedFile>) -> Vec<FileGroup> {
    let mut groups: BTreeMap<(i16, String, String), Vec<NamedFile>> = BTreeMap::new();
    for file in files {
        let key = (
            file.lighter_type,
            name_key(&file.category),
            name_key(&file.name),
        );
        groups.entry(key).or_default().push(file);
    }
    let sorted = |mut files: Vec<NamedFile>| {
        files.sort_by(|a, b| (a.side, &a.file).cmp(&(b.side, &b.file)));
        let faults = faults_of(&files);
        FileGroup { files, faults }
    };
    groups.into_values().map(sorted).collect()
}

/// Faults of the files of one product, which are sorted by side.
fn faults_of(sides: &[NamedFile]) -> Vec<FileFault> {
    let mut faults = Vec::new();
    let Some(first) = sides.first() else {
        return faults;
    };
    if first.side != 1 {
        faults.push(FileFault::new(&first.file, "has no side 1 beside it"));
    }
    for (at, side) in sides.iter().enumerate() {
        let before = &sides[..at];
        if let Some(same) = before.iter().find(|other| other.side == side.side) {
            let why = format!("is the same side as {}", same.file);
            faults.push(FileFault::new(&side.file, why));
        }
        if side.price != first.price {
            let why = format!("has another price than {}", first.file);
            faults.push(FileFault::new(&side.file, why));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Result<(String, String, i64, u8, i16), String> {
        let file = read_name(path, Some(1), Currency::USD)?;
        Ok((
            file.name,
            file.category,
            file.price.0,
            file.side,
            file.lighter_type,
        ))
    }

    #[test]
    fn a_name_tells_the_product() {
        for (path, name, category, cents, side) in [
            (
                "Feather-Sun_Infinite-Path_55-1.png",
                "Feather Sun",
                "Infinite Path",
                5500,
                1,
            ),
            (
                "Blue-Jay_Earths-Hue_47.5-2.webp",
                "Blue Jay",
                "Earths Hue",
                4750,
                2,
            ),
            ("A_B_C_48-10.JPG", "A", "B_C", 4800, 10),
            ("A_B_19.99-1.jpeg", "A", "B", 1999, 1),
            ("A_B_8.95-1.gif", "A", "B", 895, 1),
            ("A_B_1.15-1.png", "A", "B", 115, 1),
            ("A_B_999999.99-1.png", "A", "B", 99_999_999, 1),
            ("U\u{308}ber-all_B_55.00-01.png", "Über all", "B", 5500, 1),
            ("Classic/A_B_55-1.png", "A", "B", 5500, 1),
        ] {
            let expected = (name.to_owned(), category.to_owned(), cents, side, 1);
            assert_eq!(read(path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn a_name_that_tells_no_product_is_told_why() {
        for (path, why) in [
            ("Blue Jay.png", "Name_Category"),
            ("A_B.png", "Name_Category"),
            ("A_B_55.png", "Name_Category"),
            ("A_B_55-1.tiff", "png, jpg"),
            ("A_B_55-1", "png, jpg"),
            ("_B_55-1.png", "no name"),
            ("--_B_55-1.png", "no name"),
            ("A__55-1.png", "no category"),
            ("A_B_1e3-1.png", "no price"),
            ("A_B_nan-1.png", "no price"),
            ("A_B_1,200-1.png", "no price"),
            ("A_B_$55-1.png", "no price"),
            ("A_B_-5-1.png", "no price"),
            ("A_B_5.555-1.png", "no price"),
            ("A_B_0-1.png", "a price that"),
            ("A_B_1000000-1.png", "a price that"),
            ("A_B_55-0.png", "a side"),
            ("A_B_55-11.png", "a side"),
            ("A_B_55-x.png", "a side"),
            ("A_B_55-300.png", "a side"),
            ("mini/A_B_55-1.png", "the other lighter type"),
        ] {
            let told = read(path).expect_err(path);
            assert!(told.contains(why), "{path}: {told}");
        }
        let long = format!("A_{}_55-1.png", "b".repeat(101));
        assert!(read(&long).is_err_and(|told| told.contains("100 characters")));
        let untold = read_name("A_B_55-1.png", None, Currency::USD);
        assert!(untold.is_err_and(|told| told.contains("no lighter type")));
        let mini = read_name("MINI/new/A_B_55-1.png", None, Currency::USD);
        assert_eq!(mini.map(|file| file.lighter_type), Ok(2));
    }

    #[test]
    fn files_of_one_product_are_sorted_by_side() {
        let files = |paths: &[&str]| -> Vec<NamedFile> {
            let read = |path: &&str| read_name(path, Some(1), Currency::USD).expect(path);
            paths.iter().map(read).collect()
        };
        let split = |groups: Vec<FileGroup>| {
            let (whole, faulty): (Vec<_>, Vec<_>) = groups
                .into_iter()
                .partition(|group| group.faults.is_empty());
            let whole: Vec<Vec<NamedFile>> = whole.into_iter().map(|group| group.files).collect();
            let faults: Vec<FileFault> =
                faulty.into_iter().flat_map(|group| group.faults).collect();
            (whole, faults)
        };
        let (groups, faults) = split(group(files(&[
            "B_C_55-1.png",
            "A_C_55.0-2.png",
            "a_c_55-3.png",
            "A_C_55.00-1.webp",
        ])));
        let sides: Vec<Vec<u8>> = groups
            .iter()
            .map(|group| group.iter().map(|file| file.side).collect())
            .collect();
        assert_eq!(sides, [vec![1, 2, 3], vec![1]]);
        assert_eq!(faults, []);

        let (groups, faults) = split(group(files(&[
            "A_C_55-1.png",
            "A_C_55-1.webp",
            "B_C_55-1.png",
            "B_C_60-2.png",
            "D_C_55-2.png",
            "E_C_55-1.png",
        ])));
        assert_eq!(groups.len(), 1);
        let told: Vec<String> = faults
            .iter()
            .map(|fault| format!("{} {}", fault.file, fault.why))
            .collect();
        assert_eq!(
            told,
            [
                "A_C_55-1.webp is the same side as A_C_55-1.png",
                "B_C_60-2.png has another price than B_C_55-1.png",
                "D_C_55-2.png has no side 1 beside it",
            ]
        );
    }
}
