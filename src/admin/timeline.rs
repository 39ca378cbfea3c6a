//! Notes in the timelines of orders and custom orders: plain sentences, with the ids of Stripe apart.

/// Names of Stripe's objects in notes, with the prefix of their ids.
const OBJECTS: [(&str, &str); 3] = [("payment", "pi_"), ("session", "cs_"), ("link", "plink_")];

/// A note for the page.
#[derive(Debug, PartialEq, Eq)]
pub struct Note<'a> {
    pub text: String,
    /// Objects of Stripe and their ids, for the folded details.
    pub ids: Vec<(&'a str, &'a str)>,
}

/// Takes the ids of Stripe out of a note: `SB-1042, payment pi_1, session cs_1`.
pub fn note(note: &str) -> Note<'_> {
    let (mut text, mut ids) = (Vec::new(), Vec::new());
    for part in note.split(", ") {
        match id_of(part) {
            Some(found) => ids.push(found),
            None => text.push(part),
        }
    }
    let text = text.join(", ");
    Note { text, ids }
}

/// Reads the name of an object and its id, if the part has nothing else.
fn id_of(part: &str) -> Option<(&str, &str)> {
    let (object, id) = part.split_once(' ')?;
    let (_, prefix) = OBJECTS.into_iter().find(|(name, _)| *name == object)?;
    let rest = id.strip_prefix(prefix)?;
    let is_id = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!rest.is_empty() && rest.chars().all(is_id)).then_some((object, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_stripe_are_told_apart_and_a_sentence_stays_whole() {
        for (whole, text, ids) in [
            (
                "SB-1042, payment pi_3Q, session cs_test_a1",
                "SB-1042",
                vec![("payment", "pi_3Q"), ("session", "cs_test_a1")],
            ),
            ("payment pi_3Q", "", vec![("payment", "pi_3Q")]),
            ("link plink_1", "", vec![("link", "plink_1")]),
            (
                "Late, payment by card, session over.",
                "Late, payment by card, session over.",
                vec![],
            ),
            (
                "the link plink_1 is gone, payment pi_",
                "the link plink_1 is gone, payment pi_",
                vec![],
            ),
            ("", "", vec![]),
        ] {
            let text = text.to_owned();
            assert_eq!(note(whole), Note { text, ids }, "{whole}");
        }
    }
}
