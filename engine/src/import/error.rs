use std::path::PathBuf;

/// What is wrong with an input file, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file, `-` for standard input.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A line that is not what the format asks for.
    #[error("{}, line {line}: expected {expected}, got {got}", path.display())]
    Line {
        /// The file, `-` for standard input.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What the format asks for.
        expected: &'static str,
        /// What the line has.
        got: String,
    },
    /// A `.npy` file that is damaged, or of a kind that Latewood does not read.
    #[error("{}: expected {expected}, got {got}", path.display())]
    Npy {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: String,
        /// What the file has.
        got: String,
    },
    /// A file of an index that is damaged, or not of a kind that Latewood reads.
    #[error("{}: expected {expected}, got {got}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: String,
        /// What the file has.
        got: String,
    },
    /// Two files that belong together do not agree.
    #[error("{} and {} do not belong together: {reason}", first.display(), second.display())]
    Disagree {
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// In what they differ, with both numbers.
        reason: String,
    },
}

impl ImportError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check the path and its permissions",
            Self::Line { .. } => "correct the line and run again",
            Self::Npy { .. } => {
                "save the array with numpy.save(path, numpy.ascontiguousarray(a, dtype=...)) as float16 or float32 \
                 (vectors) or int32 or int64 (lengths)"
            }
            Self::Index { .. } => {
                "copy the index again, whole, or write it with fast-plaid or next-plaid at 1, 2 or 4 bits"
            }
            Self::Disagree { .. } => "write both files from the same run over the same documents",
        }
    }
}

/// The end of a long or strange value, for messages.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let head: String = text.chars().take(LONGEST).collect();
    format!("{head}...")
}
