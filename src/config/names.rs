//! Detection of unknown setting names. Most are misspelled, so that the default would silently apply.

use std::collections::BTreeSet;

use super::env_file::FileEntry;
use crate::error::FieldError;

/// Names in `.env` that libraries read.
const OF_OTHERS: [&str; 12] = [
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TOKIO_WORKER_THREADS",
    "TZ",
    "LANG",
    "LC_ALL",
];

/// Prefixes of our setting names that no other software uses.
const OURS: [&str; 10] = [
    "CORS_",
    "LIMIT_",
    "MEDIA_",
    "QUOTE_",
    "SHIPPING_",
    "SHOP_",
    "SMTP_",
    "STRIPE_",
    "TRUSTED_",
    "UPLOAD_",
];

/// Names of at least this many characters match with two differences.
const LONG_ENOUGH: usize = 7;

/// Reports every name that nothing reads: all such names in the file, and those in the environment that resemble ours.
pub(super) fn unknown<'a>(
    known: &BTreeSet<&'static str>,
    file: &[FileEntry],
    environment: impl Iterator<Item = &'a str>,
) -> Vec<FieldError> {
    let is_unknown = |name: &str| !known.contains(name);
    let in_file = file
        .iter()
        .filter(|entry| is_unknown(&entry.name))
        .filter(|entry| !OF_OTHERS.contains(&entry.name.to_ascii_uppercase().as_str()))
        .map(|entry| {
            let place = format!(" (line {} of .env)", entry.line);
            field_error(known, &entry.name, &place)
        });
    let in_environment = environment
        .filter(|name| is_unknown(name) && looks_like_ours(known, name))
        .filter(|name| file.iter().all(|entry| entry.name != **name))
        .map(|name| field_error(known, name, ""));
    in_file.chain(in_environment).collect()
}

fn field_error(known: &BTreeSet<&'static str>, name: &str, place: &str) -> FieldError {
    let meant = match nearest(known, name) {
        Some(meant) => format!("is not a setting; did you mean {meant}?"),
        None => "is not a setting".to_owned(),
    };
    FieldError::new(name, format!("{meant}{place}"))
}

fn looks_like_ours(known: &BTreeSet<&'static str>, name: &str) -> bool {
    !is_of_a_neighbor(name)
        && (OURS.iter().any(|prefix| name.starts_with(prefix)) || nearest(known, name).is_some())
}

/// Matches variables of Kubernetes and Docker for neighboring services: a service called `shop` has
/// `SHOP_SERVICE_HOST`.
fn is_of_a_neighbor(name: &str) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT", "_NAME"]
        .iter()
        .any(|end| name.ends_with(end))
        || ["_SERVICE_PORT_", "_PORT_", "_ENV_"]
            .iter()
            .any(|part| name.contains(part))
}

/// Finds the setting of which this name is an extension, or from which it differs by two letters at most.
fn nearest(known: &BTreeSet<&'static str>, name: &str) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    let continued = known
        .iter()
        .filter(|known| known.len() >= LONG_ENOUGH && upper.starts_with(*known))
        .max_by_key(|known| known.len());
    let misspelled = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, &upper), known))
        .filter(|(distance, known)| *distance <= 2 && known.len() >= LONG_ENOUGH)
        .min();
    continued.or(misspelled.map(|(_, known)| known)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_names_are_found_and_those_of_others_left_alone() {
        let known = BTreeSet::from([
            "APP_ENV",
            "BIND_ADDR",
            "DATABASE_URL",
            "SHOP_NAME",
            "STRIPE_WEBHOOK_SECRET",
        ]);
        let complaints = |names: &[&str]| -> Vec<String> {
            unknown(&known, &[], names.iter().copied())
                .into_iter()
                .map(|field_error| format!("{} {}", field_error.field, field_error.message))
                .collect()
        };
        assert_eq!(
            complaints(&[
                "STRIPE_WEBHOOK_SECRETS",
                "DATABSE_URL",
                "BIND_ADDRESS",
                "shop_name",
                "SHOP_COLOUR"
            ]),
            [
                "STRIPE_WEBHOOK_SECRETS is not a setting; did you mean STRIPE_WEBHOOK_SECRET?",
                "DATABSE_URL is not a setting; did you mean DATABASE_URL?",
                "BIND_ADDRESS is not a setting; did you mean BIND_ADDR?",
                "shop_name is not a setting; did you mean SHOP_NAME?",
                "SHOP_COLOUR is not a setting",
            ]
        );
        let of_others: [&str; 0] = [];
        assert_eq!(
            complaints(&[
                "PATH",
                "HOME",
                "HOSTNAME",
                "SHOP_SERVICE_HOST",
                "SHOP_PORT",
                "SHOP_PORT_8000_TCP_ADDR",
                "AWS_EXECUTION_ENV",
                "APP_ENV",
            ]),
            of_others
        );
    }
}
