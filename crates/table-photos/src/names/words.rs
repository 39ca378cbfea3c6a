//! Word lists: the shop owner's words for colors and patterns, and ours.

use std::collections::BTreeMap;
use std::fmt;

use super::{Color, Pattern};

/// Our words. Of nature and craft: none claims a people or a ceremony.
const WORDS: &str = "\
black: Raven, Obsidian, Midnight, Ink, Coal, Onyx, Jet, Nightfall, Basalt, Blackbird
gray: Slate, Pewter, Fog, Ash, Heron, Flint, Pebble, Dove, Graphite, Drizzle
white: Snow, Frost, Birch, Pearl, Milk, Salt, Moon, Feather, Chalk, Swan
cream: Ivory, Oat, Linen, Almond, Parchment, Wool, Barley, Shell, Buttermilk, Primrose
tan: Sand, Wheat, Fawn, Straw, Dune, Driftwood, Hazel, Willow, Reed, Acorn
brown: Chestnut, Walnut, Cedar, Bark, Umber, Cocoa, Otter, Clay, Bracken, Cinnamon
red: Ember, Rowan, Cardinal, Poppy, Cherry, Garnet, Currant, Maple, Brick, Robin
orange: Marigold, Amber, Copper, Apricot, Pumpkin, Tangerine, Coral, Lantern, Rosehip, Sunset
yellow: Honey, Sunflower, Goldenrod, Canary, Saffron, Buttercup, Citrine, Brass, Mustard, Daffodil
green: Moss, Fern, Pine, Meadow, Juniper, Clover, Sage, Ivy, Cypress, Lichen
turquoise: Lagoon, Teal, Kingfisher, Tide, Verdigris, Eucalyptus, Mallard, Spruce, Seafoam, Harbor
sky blue: Azure, Cornflower, Bluebell, Glacier, Jay, Breeze, Rainwater, Cloud, Icicle, Morning
blue: Indigo, Cobalt, Sapphire, River, Delft, Ocean, Denim, Larkspur, Twilight, Iris
purple: Plum, Violet, Lavender, Amethyst, Heather, Mulberry, Thistle, Lilac, Grape, Aster
pink: Rose, Peony, Blossom, Foxglove, Camellia, Clematis, Raspberry, Flamingo, Quartz, Mallow
bands: Terrace, Horizon, Strata, Layers, Ladder, Tide, Steps, Furrow, Shoreline, Ring
stripes: Reed, Rain, Pillar, Picket, Birchwood, Column, Beam, Fence, Cascade, Stem
spiral: Ribbon, Trail, Current, Eddy, Vine, Whirl, Tendril, Helix, Switchback, Twist
speckled: Tweed, Dapple, Drift, Confetti, Scatter, Granite, Wildflower, Spark, Starfield, Heath
figured: Mosaic, Quilt, Lattice, Garden, Tapestry, Diamond, Weave, Patchwork, Orchard, Compass";

/// Words longer than this make names that do not fit on a page.
const LONGEST_WORD: usize = 24;

/// Words by color and by pattern, which the shop owner edits as text: a line for each, `red: Ember, Rowan, Poppy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordLists {
    colors: BTreeMap<Color, Vec<String>>,
    patterns: BTreeMap<Pattern, Vec<String>>,
}

impl Default for WordLists {
    /// Our own words, ten for each color and each pattern.
    fn default() -> WordLists {
        WordLists::from_text(WORDS).expect("our words are read by a test")
    }
}

/// Reason for which word lists cannot be read, with the number of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WordsProblem {
    /// The line has no colon behind the name of a list.
    NoColon { line: usize },
    /// No color and no pattern has this name.
    UnknownList { line: usize, name: String },
    /// The list was given before.
    Twice { line: usize, name: String },
    /// A word is too long.
    LongWord { line: usize, word: String },
}

impl fmt::Display for WordsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WordsProblem::NoColon { line } => write!(
                f,
                "Line {line} has no colon. Write a list as \"red: Ember, Rowan\"."
            ),
            WordsProblem::UnknownList { line, name } => write!(
                f,
                "Line {line}: no color and no pattern is named \"{name}\"."
            ),
            WordsProblem::Twice { line, name } => {
                write!(f, "Line {line}: \"{name}\" has a list already.")
            }
            WordsProblem::LongWord { line, word } => write!(
                f,
                "Line {line}: \"{word}\" is longer than {LONGEST_WORD} letters."
            ),
        }
    }
}

impl std::error::Error for WordsProblem {}

impl WordLists {
    /// Reads lists from text. Empty lines, empty words and words given twice are left out.
    ///
    /// # Errors
    /// A [`WordsProblem`], which is a sentence for the shop owner.
    pub fn from_text(text: &str) -> Result<WordLists, WordsProblem> {
        let mut lists = WordLists {
            colors: BTreeMap::new(),
            patterns: BTreeMap::new(),
        };
        let lines = text.lines().enumerate();
        for (at, content) in lines.filter(|(_, content)| !content.trim().is_empty()) {
            let line = at + 1;
            let (name, words) = content
                .split_once(':')
                .ok_or(WordsProblem::NoColon { line })?;
            let name = name.trim().to_lowercase();
            let words = read_words(words).map_err(|word| WordsProblem::LongWord { line, word })?;
            let previous = match (Color::from_name(&name), Pattern::from_name(&name)) {
                (Some(color), _) => lists.colors.insert(color, words),
                (None, Some(pattern)) => lists.patterns.insert(pattern, words),
                (None, None) => return Err(WordsProblem::UnknownList { line, name }),
            };
            if previous.is_some() {
                return Err(WordsProblem::Twice { line, name });
            }
        }
        Ok(lists)
    }

    /// The words of a color; its plain name if it has none.
    pub fn of_color(&self, color: Color) -> Vec<String> {
        or_plain(self.colors.get(&color), color.name())
    }

    /// The words of a pattern; its plain name if it has none.
    pub fn of_pattern(&self, pattern: Pattern) -> Vec<String> {
        or_plain(self.patterns.get(&pattern), pattern.name())
    }
}

impl fmt::Display for WordLists {
    /// The text that [`WordLists::from_text`] reads, with a line for every color and every pattern.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words =
            |list: Option<&Vec<String>>| list.map(|list| list.join(", ")).unwrap_or_default();
        for color in Color::ALL {
            writeln!(f, "{color}: {}", words(self.colors.get(&color)))?;
        }
        for pattern in Pattern::ALL {
            writeln!(f, "{pattern}: {}", words(self.patterns.get(&pattern)))?;
        }
        Ok(())
    }
}

/// Words between commas. An error is a word that is too long.
fn read_words(list: &str) -> Result<Vec<String>, String> {
    let mut words: Vec<String> = Vec::new();
    for word in list.split(',').map(str::trim) {
        if word.chars().count() > LONGEST_WORD {
            return Err(word.to_owned());
        }
        if !word.is_empty() && !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    Ok(words)
}

fn or_plain(words: Option<&Vec<String>>, name: &str) -> Vec<String> {
    match words {
        Some(words) if !words.is_empty() => words.clone(),
        _ => {
            let mut letters = name.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            vec![first.into_iter().chain(letters).collect()]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_color_and_pattern_has_ten_words_of_ours() {
        let lists = WordLists::default();
        for color in Color::ALL {
            assert_eq!(lists.of_color(color).len(), 10, "{color}");
        }
        for pattern in Pattern::ALL {
            assert_eq!(lists.of_pattern(pattern).len(), 10, "{pattern}");
        }
    }

    #[test]
    fn lists_are_written_as_they_are_read() {
        let lists = WordLists::default();
        assert_eq!(WordLists::from_text(&lists.to_string()), Ok(lists));
        let one = WordLists::from_text("  RED :  Ember ,, Rowan, Ember\n\n").expect("a list");
        assert_eq!(one.of_color(Color::Red), ["Ember", "Rowan"]);
        assert_eq!(one.of_color(Color::Blue), ["Blue"]);
        assert_eq!(one.of_pattern(Pattern::Spiral), ["Spiral"]);
        assert_eq!(
            WordLists::from_text(&one.to_string())
                .expect("lists")
                .of_color(Color::Red),
            ["Ember", "Rowan"]
        );
    }

    #[test]
    fn a_list_that_cannot_be_read_is_named_in_a_sentence() {
        for (text, sentence) in [
            (
                "red Ember",
                "Line 1 has no colon. Write a list as \"red: Ember, Rowan\".",
            ),
            (
                "\nmauve: Dusk",
                "Line 2: no color and no pattern is named \"mauve\".",
            ),
            (
                "red: Ember\nRed: Rowan",
                "Line 2: \"red\" has a list already.",
            ),
            (
                "red: Emberemberemberemberember",
                "Line 1: \"Emberemberemberemberember\" is longer than 24 letters.",
            ),
        ] {
            let problem = WordLists::from_text(text).expect_err("a problem");
            assert_eq!(problem.to_string(), sentence);
        }
    }
}
