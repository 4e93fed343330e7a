//! Progress bars, on a terminal only.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use super::args::Global;

/// A bar over `total` things, or a counter when there is no telling how many; nothing where nobody looks.
pub(super) fn bar(global: &Global, what: &'static str, total: Option<u64>) -> ProgressBar {
    if global.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = if total.is_some() {
        "{prefix:>12} {bar:32} {human_pos}/{human_len} {msg} {eta}"
    } else {
        "{prefix:>12} {spinner} {human_pos} {msg} {elapsed}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    bar
}
