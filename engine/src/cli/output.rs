//! Results to standard output, failures to standard error.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::Error;

/// Why a command ended early.
#[derive(Debug)]
pub(super) enum Failure {
    /// An error of the library.
    Error(Box<Error>),
    /// Something that only the command line knows of, and what to do.
    Said(String, &'static str),
    /// The reader of standard output went away: nothing to report.
    BrokenPipe,
    /// What was looked for was found, and printed.
    Findings,
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(e: E) -> Self {
        Self::Error(Box::new(e.into()))
    }
}

pub(super) fn print_failure(failure: &Failure) {
    let (message, hint) = match failure {
        Failure::Error(e) => (e.to_string(), e.hint()),
        Failure::Said(message, hint) => (message.clone(), Some(*hint)),
        Failure::BrokenPipe | Failure::Findings => return,
    };
    let mut stderr = io::stderr().lock();
    // Nowhere is left to report to if this fails.
    let _ = writeln!(stderr, "error: {message}");
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}

/// Prints a text as it is.
pub(super) fn print(text: impl AsRef<str>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    written(
        stdout
            .write_all(text.as_ref().as_bytes())
            .and_then(|()| stdout.flush()),
    )
}

/// Prints one JSON value.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::Said(format!("cannot write JSON: {e}"), "leave out --json"))?;
    print(text + "\n")
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(Failure::BrokenPipe),
        Err(source) => Err(Error::Write {
            path: "-".into(),
            source,
        }
        .into()),
    }
}

/// `12,345,678`
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 MiB`
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{value:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
    }
}
