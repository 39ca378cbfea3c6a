//! Progress of long commands.

use indicatif::{ProgressBar, ProgressStyle};

/// Shows a progress bar on the terminal. `what` names the things that are counted.
pub(super) fn bar(length: u64, what: &'static str) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:32} {pos}/{len} {msg} {eta}").expect("a valid template");
    ProgressBar::new(length)
        .with_style(style)
        .with_message(what)
}
