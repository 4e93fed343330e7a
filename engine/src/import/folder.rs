//! A collection that was exported as plain files.

use std::path::{Path, PathBuf};

use super::error::ImportError;
use super::jsonl::JsonLines;
use super::vectors::VectorFiles;
use crate::export::folder::{DENSE, DOCUMENTS, LENGTHS, TOKENS};
use crate::{Document, Error};

/// The documents of a folder that [`Collection::export`](crate::Collection::export) wrote.
pub struct ExportedFolder {
    lines: JsonLines,
    vectors: VectorFiles,
    folder: PathBuf,
    /// Documents read.
    read: u64,
    ended: bool,
}

impl ExportedFolder {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`ImportError`]: a file that is missing or damaged, or two that do not belong together.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, ImportError> {
        let folder = folder.into();
        let lines = JsonLines::open(folder.join(DOCUMENTS))?;
        let of = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        let vectors = VectorFiles::open(
            of(TOKENS).as_deref(),
            of(LENGTHS).as_deref(),
            of(DENSE).as_deref(),
            None,
        )?;
        Ok(Self {
            lines,
            vectors,
            folder,
            read: 0,
            ended: false,
        })
    }

    /// How many documents there are.
    pub fn documents(&self) -> u64 {
        self.vectors.documents()
    }

    /// The files of a folder that there are.
    pub fn files(folder: &Path) -> Vec<PathBuf> {
        let all = [DOCUMENTS, DENSE, TOKENS, LENGTHS].map(|name| folder.join(name));
        all.into_iter().filter(|path| path.exists()).collect()
    }

    fn disagree(&self, found: &str) -> Error {
        ImportError::Disagree {
            first: self.folder.join(DOCUMENTS),
            second: self.folder.join(if self.vectors.dense_dim().is_some() {
                DENSE
            } else {
                LENGTHS
            }),
            reason: format!("{found}, and vectors of {} documents", self.vectors.documents()),
        }
        .into()
    }

    fn joined(&mut self, line: Option<Result<Document, ImportError>>) -> Option<Result<Document, Error>> {
        let vectors = self.vectors.next();
        self.ended = line.is_none() || vectors.is_none();
        match (line, vectors) {
            (None, None) => None,
            (Some(Err(error)), _) => Some(Err(error.into())),
            (_, Some(Err(error))) => Some(Err(error)),
            (Some(Ok(document)), Some(Ok(vectors))) => {
                self.read += 1;
                Some(Ok(Document {
                    dense: vectors.dense,
                    tokens: vectors.tokens,
                    ..document
                }))
            }
            (Some(Ok(_)), None) => Some(Err(self.disagree("more lines"))),
            (None, Some(Ok(_))) => Some(Err(self.disagree(&format!("{} lines", self.read)))),
        }
    }
}

impl Iterator for ExportedFolder {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let line = self.lines.next();
        self.joined(line)
    }

    /// Documents passed over are not parsed.
    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        if n > 0 && !self.ended {
            match self.vectors.nth(n - 1) {
                Some(Ok(_)) => self.read += n as u64,
                other => return other,
            }
            let line = self.lines.nth(n);
            return self.joined(line);
        }
        self.next()
    }
}
