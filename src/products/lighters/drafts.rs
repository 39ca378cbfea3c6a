//! Drafts of lighters: what the names of uploaded files tell, for a person to complete and correct.

use super::names::{FileGroup, group, read_name};
use crate::types::ids::ImageId;
use crate::types::money::{Cents, Currency};

/// A lighter as far as the names of its files tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LighterDraft {
    pub name: String,
    /// Empty where no name tells.
    pub category: String,
    pub price: Option<Cents>,
    pub lighter_type: i16,
    pub images: Vec<ImageId>,
    /// Faults in the names, as sentences that begin with a file.
    pub notes: Vec<String>,
}

/// Sorts uploaded files into lighters. A file whose name tells none is one of its own, named after the file. `lighter_type`
/// is the type of what lies in no folder that tells it.
pub fn drafts(
    files: &[(String, ImageId)],
    lighter_type: i16,
    currency: Currency,
) -> Vec<LighterDraft> {
    let image_of = |file: &str| {
        let found = files.iter().find(|(name, _)| name == file);
        found.map(|(_, image)| image.clone())
    };
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for (file, image) in files {
        // The type of a folder stands, whatever was chosen for the rest.
        let read = read_name(file, None, currency)
            .or_else(|_| read_name(file, Some(lighter_type), currency));
        match read {
            Ok(read) => named.push(read),
            Err(why) => others.push(LighterDraft {
                name: stem(file),
                category: String::new(),
                price: None,
                lighter_type,
                images: vec![image.clone()],
                notes: vec![format!("{file} {why}.")],
            }),
        }
    }
    let draft = |group: FileGroup| {
        let first = group.files.first()?;
        let mut images: Vec<ImageId> = Vec::new();
        for image in group.files.iter().filter_map(|file| image_of(&file.file)) {
            if !images.contains(&image) {
                images.push(image);
            }
        }
        let notes = group.faults.iter();
        Some(LighterDraft {
            name: first.name.clone(),
            category: first.category.clone(),
            price: Some(first.price),
            lighter_type: first.lighter_type,
            images,
            notes: notes
                .map(|fault| format!("{} {}.", fault.file, fault.why))
                .collect(),
        })
    };
    let grouped = group(named).into_iter().filter_map(draft);
    grouped.chain(others).collect()
}

/// Name of a file without its folders and its ending, with blanks.
fn stem(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let blanks = stem.replace(['-', '_'], " ");
    blanks.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_does_not_tell_is_left_to_the_person() {
        let files: Vec<(String, ImageId)> = [
            ("Blue-Jay_Suns_55-1.png", "a"),
            ("Blue-Jay_Suns_55-2.png", "b"),
            ("mini/Owl_Suns_40-2.png", "c"),
            ("IMG_0042.JPG", "d"),
        ]
        .map(|(file, id)| (file.to_owned(), ImageId(id.repeat(64))))
        .into();
        let told: Vec<String> = drafts(&files, 1, Currency::USD)
            .into_iter()
            .map(|one| {
                let price = one.price.map_or(0, |price| price.0);
                let images: Vec<&str> = one.images.iter().map(|id| &id.0[..1]).collect();
                format!(
                    "{}|{}|{price}|{}|{}|{}",
                    one.name,
                    one.category,
                    one.lighter_type,
                    images.join(""),
                    one.notes.join(" ")
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "Blue Jay|Suns|5500|1|ab|",
                "Owl|Suns|4000|2|c|mini/Owl_Suns_40-2.png has no side 1 beside it.",
                "IMG 0042||0|1|d|IMG_0042.JPG is not named as Name_Category_Price-Side.",
            ]
        );
    }
}
