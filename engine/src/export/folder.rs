//! A collection as a folder of plain files: `documents.jsonl`, `dense.npy`, `tokens.npy`, `doclens.npy`.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use latewood_storage::Schema;

use super::npy::{NpyRows, write_array};
use crate::document::{Document, TokenRows};
use crate::error::Error;

/// The files of such a folder.
pub(crate) const DOCUMENTS: &str = "documents.jsonl";
pub(crate) const DENSE: &str = "dense.npy";
pub(crate) const TOKENS: &str = "tokens.npy";
pub(crate) const LENGTHS: &str = "doclens.npy";

/// Writes a folder, document by document. `documents.jsonl` gets its name last: without it the folder is not one.
#[derive(Debug)]
pub(crate) struct FolderWriter {
    folder: PathBuf,
    lines: BufWriter<File>,
    dense: Option<NpyRows>,
    tokens: Option<(NpyRows, Vec<i64>)>,
}

impl FolderWriter {
    /// Begins a folder, which must be empty or not exist.
    pub(crate) fn create(folder: &Path, schema: &Schema) -> Result<Self, Error> {
        let failed = |source| Error::Write {
            path: folder.to_owned(),
            source,
        };
        fs::create_dir_all(folder).map_err(failed)?;
        if fs::read_dir(folder).map_err(failed)?.next().is_some() {
            return Err(Error::Export {
                reason: format!(
                    "there is something in {} already; give a folder that is empty or does not exist",
                    folder.display()
                ),
            });
        }
        let draft = folder.join(format!("{DOCUMENTS}.new"));
        let lines = File::create_new(&draft).map_err(|source| Error::Write { path: draft, source })?;
        let rows = |name: &str, descr, dim| NpyRows::create(folder.join(name), descr, dim);
        Ok(Self {
            folder: folder.to_owned(),
            lines: BufWriter::new(lines),
            dense: schema
                .dense
                .as_ref()
                .map(|spec| rows(DENSE, "<f4", spec.dim))
                .transpose()?,
            tokens: schema
                .tokens
                .as_ref()
                .map(|spec| rows(TOKENS, "<f2", spec.dim))
                .transpose()?
                .map(|rows| (rows, Vec::new())),
        })
    }

    /// Appends a document; it has the vectors that the schema declares.
    pub(crate) fn push(&mut self, document: &Document) -> Result<(), Error> {
        let mut line = document.to_json(false);
        if let Some(object) = line.as_object_mut() {
            document.put_vectors(object);
        }
        writeln!(self.lines, "{line}").map_err(|source| self.failed(source))?;
        if let (Some(rows), Some(vector)) = (&mut self.dense, &document.dense) {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            rows.write(1, &bytes)?;
        }
        if let (Some((rows, lengths)), Some(TokenRows::Matrix(matrix))) = (&mut self.tokens, &document.tokens)
        {
            let bytes: Vec<u8> = matrix.as_f16().iter().flat_map(|x| x.to_le_bytes()).collect();
            rows.write(matrix.len(), &bytes)?;
            lengths.push(i64::try_from(matrix.len()).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    /// Ends all files, and makes them durable.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if let Some(rows) = self.dense {
            rows.finish()?;
        }
        if let Some((rows, lengths)) = self.tokens {
            rows.finish()?;
            let bytes: Vec<u8> = lengths.iter().flat_map(|n| n.to_le_bytes()).collect();
            write_array(&self.folder.join(LENGTHS), "<i8", &[lengths.len() as u64], &bytes)?;
        }
        let (draft, path) = (
            self.folder.join(format!("{DOCUMENTS}.new")),
            self.folder.join(DOCUMENTS),
        );
        let ended = || {
            let file = self.lines.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        ended().map_err(|source| Error::Write { path, source })
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Write {
            path: self.folder.join(DOCUMENTS),
            source,
        }
    }
}
