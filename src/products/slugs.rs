//! URL slugs of products and categories.

/// Maximum length of a slug in characters.
const MAX_SLUG: usize = 200;

/// Reports whether the text consists of lowercase letters, digits and single hyphens between them.
pub(super) fn is_slug(text: &str) -> bool {
    text.len() <= MAX_SLUG
        && text.split('-').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

/// Reports whether the text may be a slug that was copied from another shop. A catalog file may have such slugs, or an export
/// of them could not be imported; new ones are stricter.
pub(super) fn is_copied_slug(text: &str) -> bool {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    (1..=MAX_SLUG).contains(&text.chars().count()) && !text.contains(is_odd)
}

/// Makes a slug from a name. If it is in use, -2, -3 and so on is appended.
pub(super) fn free_slug(name: &str, fallback: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let stem = stem(name, fallback);
    let mut slug = stem.clone();
    let mut number = 2;
    while slug == "batch" || is_taken(&slug) {
        slug = format!("{stem}-{number}");
        number += 1;
    }
    slug
}

/// Returns the slug that [`free_slug`] tries first.
pub(super) fn stem(name: &str, fallback: &str) -> String {
    let mut stem = slug::slugify(name);
    // The slug is ASCII by now. Leave room for a number.
    stem.truncate(MAX_SLUG - 12);
    let stem = stem.trim_matches('-');
    match stem {
        "" => fallback.to_owned(),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => format!("{fallback}-{digits}"),
        stem => stem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_made_from_names() {
        assert_eq!(
            free_slug("Ámber  Arrow!", "product", |_| false),
            "amber-arrow"
        );
        assert_eq!(
            free_slug("Amber", "product", |slug| slug == "amber"),
            "amber-2"
        );
        assert_eq!(free_slug("✨", "product", |_| false), "sparkles");
        assert_eq!(free_slug("Batch", "product", |_| false), "batch-2");
        assert_eq!(free_slug("!!!", "product", |_| false), "product");
        assert_eq!(free_slug("2024", "category", |_| false), "category-2024");
        assert!(is_slug(&free_slug(
            &"北京 ".repeat(100),
            "product",
            |_| false
        )));
        assert!(
            is_slug("a-1") && !is_slug("a--1") && !is_slug("-a") && !is_slug("") && !is_slug("A")
        );
    }
}
