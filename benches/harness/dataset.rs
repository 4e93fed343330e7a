//! A folder of token embeddings, as shared/bench/encode.py and `generate_tokens` write it.

use std::path::{Path, PathBuf};

use latewood::import::{ImportError, NpyReader, VectorFiles, read_lengths};

use crate::Failure;

/// Token matrices of documents and of queries:
///
/// | file | type | shape |
/// |---|---|---|
/// | documents.npy | float16 or float32 | tokens x dim |
/// | doclens.npy | int32 or int64 | documents |
/// | queries.npy | float32 or float16 | queries x tokens x dim |
pub struct Dataset {
    folder: PathBuf,
    lengths: Vec<usize>,
    whole: bool,
    dim: usize,
}

impl Dataset {
    /// Opens a folder; of its documents only the first `limit` count.
    ///
    /// # Errors
    /// Files that are missing, damaged, or do not belong together.
    pub fn open(folder: &Path, limit: Option<usize>) -> Result<Self, Failure> {
        let mut lengths: Vec<usize> = read_lengths(folder.join("doclens.npy"))?
            .into_iter()
            .map(usize::try_from)
            .collect::<Result<_, _>>()?;
        let tokens = NpyReader::open(folder.join("documents.npy"))?;
        let sum: usize = lengths.iter().sum();
        if tokens.rows() != sum as u64 {
            let message = format!(
                "documents.npy has {} tokens, the lengths in doclens.npy add up to {sum}: write both in one run",
                tokens.rows()
            );
            return Err(message.into());
        }
        let whole = limit.is_none_or(|limit| limit >= lengths.len());
        lengths.truncate(limit.unwrap_or(usize::MAX));
        if lengths.is_empty() {
            return Err(
                "no documents: expected at least one in doclens.npy, and a --limit of at least 1".into(),
            );
        }
        Ok(Self {
            folder: folder.to_owned(),
            lengths,
            whole,
            dim: tokens.row_len(),
        })
    }

    /// Documents.
    #[must_use]
    pub fn documents(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens of each document.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Tokens of all documents.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Numbers a token.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The documents as `latewood ingest` reads them. Their ids are their places in the files, so that rankings can be
    /// compared with those of others, and no document replaces another.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn documents_to_ingest(&self) -> Result<std::iter::Take<VectorFiles>, ImportError> {
        let path = |name: &str| self.folder.join(name);
        let files = VectorFiles::open(
            Some(&path("documents.npy")),
            Some(&path("doclens.npy")),
            None,
            None,
        )?;
        Ok(files.take(self.documents()))
    }

    /// The rows of documents.npy, from the first.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn rows(&self) -> Result<NpyReader, ImportError> {
        NpyReader::open(self.folder.join("documents.npy"))
    }

    /// The first queries, each row after row, and how many tokens each has.
    ///
    /// # Errors
    /// No queries, a file that is damaged, or another dimension than the documents'.
    pub fn queries(&self, most: usize) -> Result<(Vec<Vec<f32>>, usize), Failure> {
        let mut reader = NpyReader::open(self.folder.join("queries.npy"))?;
        let &[count, tokens, dim] = reader.header().shape.as_slice() else {
            let shape = &reader.header().shape;
            return Err(format!("queries.npy: expected queries x tokens x dim, got shape {shape:?}").into());
        };
        if dim != self.dim as u64 || count == 0 || tokens == 0 {
            let message = format!(
                "queries.npy: expected queries of {} dimensions, got shape {:?}",
                self.dim,
                reader.header().shape
            );
            return Err(message.into());
        }
        let tokens = usize::try_from(tokens)?;
        let count = usize::try_from(count)?.min(most);
        let mut queries = Vec::with_capacity(count);
        for _ in 0..count {
            let mut query = Vec::with_capacity(tokens * self.dim);
            reader.read_f32(tokens, &mut query)?;
            queries.push(query);
        }
        Ok((queries, tokens))
    }

    /// Where the exact ranking of these documents is kept: exact.npy, or exact-N.npy for the first N.
    #[must_use]
    pub fn exact_path(&self) -> PathBuf {
        let name = if self.whole {
            "exact.npy".to_owned()
        } else {
            format!("exact-{}.npy", self.documents())
        };
        self.folder.join(name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::npy::NpyWriter;

    /// A folder of documents of 2 and 3 tokens and a query of 2, of 8 dimensions.
    pub(crate) fn small() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let unit = |at: usize| -> Vec<f32> { (0..8).map(|d| f32::from(u8::from(d == at))).collect() };
        let mut documents = NpyWriter::create(&path("documents.npy"), "<f2", &[5, 8]).unwrap();
        for at in [0, 1, 1, 2, 3] {
            documents.f16(&unit(at)).unwrap();
        }
        documents.finish().unwrap();
        let mut lengths = NpyWriter::create(&path("doclens.npy"), "<i4", &[2]).unwrap();
        lengths.i32(&[2, 3]).unwrap();
        lengths.finish().unwrap();
        let mut queries = NpyWriter::create(&path("queries.npy"), "<f4", &[1, 2, 8]).unwrap();
        queries.f32(&[unit(1), unit(3)].concat()).unwrap();
        queries.finish().unwrap();
        folder
    }

    #[test]
    fn a_folder_is_read_whole_or_in_part() {
        let folder = small();
        let data = Dataset::open(folder.path(), None).unwrap();
        assert_eq!((data.documents(), data.tokens(), data.dim()), (2, 5, 8));
        assert!(data.exact_path().ends_with("exact.npy"));
        let (queries, tokens) = data.queries(9).unwrap();
        assert_eq!((queries.len(), tokens, queries[0].len()), (1, 2, 16));
        let part = Dataset::open(folder.path(), Some(1)).unwrap();
        assert_eq!((part.documents(), part.tokens()), (1, 2));
        assert!(part.exact_path().ends_with("exact-1.npy"));
        assert_eq!(part.documents_to_ingest().unwrap().count(), 1);
    }

    #[test]
    fn files_that_disagree_are_refused() {
        let folder = small();
        let mut lengths = NpyWriter::create(&folder.path().join("doclens.npy"), "<i4", &[2]).unwrap();
        lengths.i32(&[2, 4]).unwrap();
        lengths.finish().unwrap();
        let error = Dataset::open(folder.path(), None).err().unwrap().to_string();
        assert!(error.contains("5 tokens") && error.contains('6'), "{error}");
    }
}
