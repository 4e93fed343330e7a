//! Drawings: SVG 1.1, one file, no script and no font of its own.

use std::fmt::Write;
use std::path::Path;

use super::output::Failure;
use crate::error::Error;

const STYLE: &str = "text{font:13px sans-serif;fill:#222}.title{font-size:16px;font-weight:bold}.note{fill:#666;font-size:11px}\
.right{text-anchor:end}.middle{text-anchor:middle}.bar{fill:#2f6f9f}.pale{fill:#b9cfdf}.grey{fill:#999}.axis{stroke:#999}\
.line{stroke:#c2410c;fill:none;stroke-width:2}.dot{fill:#2f6f9f}.front{fill:#c2410c}";

/// A drawing, in pixels from the upper left corner.
#[derive(Debug)]
pub(super) struct Drawing {
    width: f64,
    height: f64,
    body: String,
}

// Writing to a string does not fail, so the results of `write!` are not looked at.
impl Drawing {
    pub(super) fn new(width: f64) -> Self {
        Self {
            width,
            height: 0.0,
            body: String::new(),
        }
    }

    /// A text whose base line begins (ends, with the class `right`) at a point.
    pub(super) fn text(&mut self, (x, y): (f64, f64), class: &str, text: &str) {
        self.reach(y + 8.0);
        let text = escaped(text);
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{text}</text>"#
        );
    }

    /// A rectangle, with a text that shows where the pointer rests on it.
    pub(super) fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str, tip: &str) {
        self.reach(y + height + 4.0);
        let tip = escaped(tip);
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" class="{class}"><title>{tip}</title></rect>"#
        );
    }

    /// The drawing as a document.
    pub(super) fn finish(self) -> String {
        let Self { width, height, body } = self;
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\">\n<style>{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
        )
    }

    fn reach(&mut self, y: f64) {
        self.height = self.height.max(y);
    }
}

/// A text for XML and HTML: markup is escaped, and what no XML document may hold (XML 1.0, 2.2) is U+FFFD.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(character),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out
}

/// Writes a file that a command was asked for.
pub(super) fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|source| {
        let path = path.to_owned();
        Error::Write { path, source }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        assert_eq!(
            escaped("<script>\"a\" & 'b'</script>"),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;"
        );
        assert_eq!(
            escaped("a\u{0}\u{1b}[1m\n\u{ffff}é"),
            "a\u{fffd}\u{fffd}[1m\n\u{fffd}é"
        );
    }
}
