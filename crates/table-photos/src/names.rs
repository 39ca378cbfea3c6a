//! Names for pieces, from their colors and their pattern: no model, no network, the same name each time.
//!
//! ```
//! use table_photos::names::{Color, Description, Pattern, WordLists, propose};
//!
//! let piece = Description { colors: vec![Color::Red, Color::Black], pattern: Pattern::Spiral };
//! assert_eq!(piece.to_string(), "red and black, spiral");
//! let words = WordLists::default();
//! let first = propose(&piece, &words, 7, |_| false);
//! let second = propose(&piece, &words, 7, |name| name == first);
//! assert_ne!(first, second);
//! ```

mod colors;
mod pattern;
mod words;

use std::fmt;

pub use colors::Color;
pub use pattern::Pattern;
pub use words::{WordLists, WordsProblem};

use crate::look::Look;

/// The description of a piece in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Colors of the beads, the most common first. At least one and at most four.
    pub colors: Vec<Color>,
    pub pattern: Pattern,
}

impl fmt::Display for Description {
    /// A line such as "red, black and cream, spiral".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, color) in self.colors.iter().enumerate() {
            let before = match at {
                0 => "",
                _ if at + 1 == self.colors.len() => " and ",
                _ => ", ",
            };
            write!(f, "{before}{color}")?;
        }
        write!(f, ", {}", self.pattern)
    }
}

/// Describes the beadwork of a piece. The front says more than the back, because hoods hide less of it.
pub fn describe(look: &Look) -> Description {
    let grid = look.grid(look.light);
    Description {
        colors: colors::of(&look.samples(look.light)),
        pattern: pattern::of(&grid),
    }
}

/// A number that is the same each time for a piece in one photograph, and differs between pieces.
pub fn seed(look: &Look) -> u64 {
    // FNV-1a over the beads in the steps of a byte.
    let bytes = look
        .beads
        .iter()
        .flat_map(|light| light.map(|value| (value.clamp(0.0, 1.0) * 255.0) as u8));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Proposes a name of two words: one of the list of the most common color, one of that of the pattern.
///
/// The seed says at which words to begin; the first name that is not taken is proposed. Once all names of the most common
/// color are taken, those of the next colors follow, then numbered ones.
pub fn propose(
    description: &Description,
    words: &WordLists,
    seed: u64,
    is_taken: impl Fn(&str) -> bool,
) -> String {
    let seconds = words.of_pattern(description.pattern);
    let names: Vec<String> = description
        .colors
        .iter()
        .flat_map(|&color| pairs(&words.of_color(color), &seconds, seed))
        .collect();
    if let Some(name) = names.iter().find(|name| !is_taken(name)) {
        return name.clone();
    }
    let first = names.first().map_or("Piece", String::as_str);
    let numbered = |number: u64| format!("{first} {number}");
    (2..u64::MAX)
        .map(numbered)
        .find(|name| !is_taken(name))
        .unwrap_or_else(|| first.to_owned())
}

/// All pairs of a first and a second word, from those at which the seed begins. Neighbors differ in both words, so that
/// the names in a batch do not repeat one of them.
fn pairs(firsts: &[String], seconds: &[String], seed: u64) -> Vec<String> {
    let (rows, columns) = (firsts.len(), seconds.len());
    let (row, column) = (
        (seed % rows.max(1) as u64) as usize,
        (seed / rows.max(1) as u64 % columns.max(1) as u64) as usize,
    );
    // Diagonals of the table of all pairs: each pair is on one.
    (0..columns)
        .flat_map(|diagonal| (0..rows).map(move |step| (step, diagonal)))
        .map(|(step, diagonal)| {
            let first = &firsts[(row + step) % rows];
            let second = &seconds[(column + diagonal + step) % columns];
            format!("{first} {second}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn piece() -> Description {
        Description {
            colors: vec![Color::Red, Color::Cream],
            pattern: Pattern::Bands,
        }
    }

    #[test]
    fn the_same_seed_has_the_same_name_and_others_have_others() {
        let words = WordLists::default();
        let name = |seed| propose(&piece(), &words, seed, |_| false);
        assert_eq!(name(42), name(42));
        let names: BTreeSet<String> = (0..100).map(name).collect();
        assert!(names.len() > 50, "{} names", names.len());
    }

    #[test]
    fn a_taken_name_is_never_proposed_and_names_never_run_out() {
        let words = WordLists::from_text("red: Ember, Rowan\nbands: Terrace").expect("lists");
        let mut taken = BTreeSet::new();
        for _ in 0..200 {
            let name = propose(&piece(), &words, 5, |name| taken.contains(name));
            assert!(taken.insert(name.clone()), "{name} twice");
        }
        assert!(taken.contains("Ember Terrace") && taken.contains("Rowan Terrace"));
    }

    #[test]
    fn every_pair_of_words_is_tried_once() {
        let list = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        for (rows, columns) in [(1, 1), (2, 4), (4, 2), (3, 3), (5, 3)] {
            let firsts = list(&["A", "B", "C", "D", "E"][..rows]);
            let seconds = list(&["v", "w", "x", "y", "z"][..columns]);
            let names: BTreeSet<String> = pairs(&firsts, &seconds, 9).into_iter().collect();
            assert_eq!(names.len(), rows * columns);
        }
        assert!(pairs(&[], &list(&["v"]), 9).is_empty());
    }

    #[test]
    fn a_description_is_a_line_of_words() {
        assert_eq!(piece().to_string(), "red and cream, bands");
        let colors = vec![Color::Red, Color::Black, Color::Cream];
        let pattern = Pattern::Figured;
        assert_eq!(
            Description { colors, pattern }.to_string(),
            "red, black and cream, figured"
        );
    }
}
