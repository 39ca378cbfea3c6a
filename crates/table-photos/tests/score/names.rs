//! Descriptions of drawn pieces, against what was drawn.

use table_photos::names::{Color, Pattern, WordLists, describe, propose, seed};

use crate::support::{self, Described};

/// The family of a color in the artist's words.
fn family(word: &str) -> Color {
    match word {
        "black" => Color::Black,
        "silver" | "grey" => Color::Gray,
        "white" => Color::White,
        "cream" => Color::Cream,
        "tan" => Color::Tan,
        "brown" => Color::Brown,
        "red" | "darkred" => Color::Red,
        "orange" | "coral" => Color::Orange,
        "gold" | "yellow" => Color::Yellow,
        "lime" | "green" | "darkgreen" => Color::Green,
        "teal" | "turquoise" => Color::Turquoise,
        "skyblue" => Color::Sky,
        "blue" | "royal" | "navy" => Color::Blue,
        "purple" | "lilac" => Color::Purple,
        "pink" | "magenta" => Color::Pink,
        other => panic!("the artist has no color {other}"),
    }
}

/// The pattern in our words.
fn kind(word: &str) -> Pattern {
    match word {
        "bands" | "ombre" => Pattern::Bands,
        "stripes" => Pattern::Stripes,
        "spiral" => Pattern::Spiral,
        "tweed" | "confetti" => Pattern::Speckled,
        _ => Pattern::Figured,
    }
}

#[test]
fn drawn_pieces_are_described_as_they_were_drawn() {
    let all: Vec<Described> = support::scenes()
        .iter()
        .flat_map(support::describe_all)
        .collect();
    assert!(all.len() > 200, "{} pieces", all.len());
    let share = |is_right: &dyn Fn(&Described) -> bool| {
        all.iter().filter(|piece| is_right(piece)).count() as f64 / all.len() as f64
    };
    let is_drawn =
        |piece: &Described, color: &Color| piece.palette.iter().any(|word| family(word) == *color);
    let first = share(&|piece| is_drawn(piece, &piece.description.colors[0]));
    let firsts = share(&|piece| {
        let mut colors = piece.description.colors.iter().take(2);
        colors.all(|color| is_drawn(piece, color))
    });
    let pattern = share(&|piece| piece.description.pattern == kind(&piece.pattern));
    println!("first color {first:.3}, both of the first two {firsts:.3}, pattern {pattern:.3}");
    assert!(first >= 0.95, "first color {first:.3}");
    assert!(firsts >= 0.85, "both of the first two {firsts:.3}");
    assert!(pattern >= 0.93, "pattern {pattern:.3}");
}

#[test]
fn pieces_of_a_batch_have_names_of_their_own() {
    let words = WordLists::default();
    let mut names: Vec<String> = Vec::new();
    for look in support::scenes().iter().take(4).flat_map(support::looks) {
        let description = describe(&look);
        let is_taken = |name: &str| names.iter().any(|taken| taken == name);
        let name = propose(&description, &words, seed(&look), is_taken);
        assert_eq!(name.split(' ').count(), 2, "{name}");
        assert!(!is_taken(&name), "{name} twice");
        names.push(name);
    }
    assert!(names.len() > 60, "{} names", names.len());
}
