//! Documents from arrays of vectors: tokens, their number in each document, dense vectors, ids.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use latewood_codecs::TokenMatrix;
use latewood_storage::DocumentId;

use super::error::ImportError;
use super::npy::{NpyReader, read_lengths};
use super::token_file::TokenFile;
use crate::{Document, Error};

/// Documents without text, read from `.npy` files a document at a time.
#[derive(Debug)]
pub struct VectorFiles {
    tokens: Option<(NpyReader, Vec<u64>)>,
    dense: Option<NpyReader>,
    ids: Option<Vec<String>>,
    documents: u64,
    next: u64,
}

impl VectorFiles {
    /// Opens the files and checks that they agree.
    ///
    /// `tokens` is tokens x dimensions with `lengths` beside it (tokens of each document), or documents x tokens x
    /// dimensions alone. `dense` is documents x dimensions. `ids` has one id a line; without it the ids are 0, 1, 2, ...
    pub fn open(
        tokens: Option<&Path>,
        lengths: Option<&Path>,
        dense: Option<&Path>,
        ids: Option<&Path>,
    ) -> Result<Self, ImportError> {
        let tokens = tokens.map(|path| open_tokens(path, lengths)).transpose()?;
        let dense = dense.map(open_dense).transpose()?;
        let ids = ids.map(read_ids).transpose()?;
        let counts = [
            tokens
                .as_ref()
                .map(|(reader, lengths)| (reader.path(), lengths.len() as u64)),
            dense.as_ref().map(|reader| (reader.path(), reader.rows())),
            ids.as_ref().map(|(path, ids)| (path.as_path(), ids.len() as u64)),
        ];
        let mut counts = counts.into_iter().flatten();
        let (first, documents) = counts.next().unwrap_or((Path::new(""), 0));
        for (second, other) in counts {
            if other != documents {
                return Err(ImportError::Disagree {
                    first: first.to_owned(),
                    second: second.to_owned(),
                    reason: format!("{documents} documents and {other}"),
                });
            }
        }
        Ok(Self {
            tokens,
            dense,
            ids: ids.map(|(_, ids)| ids),
            documents,
            next: 0,
        })
    }

    /// Documents of the whole input.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Tokens of the whole input.
    pub fn tokens(&self) -> u64 {
        self.tokens.as_ref().map_or(0, |(reader, _)| reader.rows())
    }

    /// Numbers in a token's vector.
    pub fn token_dim(&self) -> Option<usize> {
        self.tokens.as_ref().map(|(reader, _)| reader.row_len())
    }

    /// Numbers in a dense vector.
    pub fn dense_dim(&self) -> Option<usize> {
        self.dense.as_ref().map(NpyReader::row_len)
    }

    /// The tokens, for a codebook to be trained on before they are loaded.
    pub(crate) fn token_file(&self) -> Result<Option<TokenFile>, ImportError> {
        let open = |(reader, lengths): &(NpyReader, Vec<u64>)| TokenFile::open(reader, lengths);
        self.tokens.as_ref().map(open).transpose()
    }

    fn index(&self) -> usize {
        usize::try_from(self.next).unwrap_or(usize::MAX)
    }

    fn read(&mut self) -> Result<Document, Error> {
        let position = self.index();
        let id = match &self.ids {
            Some(ids) => DocumentId::Str(ids.get(position).cloned().unwrap_or_default()),
            None => DocumentId::U64(self.next),
        };
        self.next += 1;
        let mut document = Document::new(id);
        if let Some((reader, lengths)) = &mut self.tokens {
            let length = lengths
                .get(position)
                .and_then(|&n| usize::try_from(n).ok())
                .unwrap_or(0);
            let mut rows = Vec::with_capacity(length.saturating_mul(reader.row_len()));
            reader.read_f16(length, &mut rows)?;
            let matrix = TokenMatrix::new(reader.row_len(), rows).map_err(|source| Error::Vector {
                id: document.id.clone(),
                source,
            })?;
            document = document.tokens(matrix);
        }
        if let Some(reader) = &mut self.dense {
            let mut vector = Vec::with_capacity(reader.row_len());
            reader.read_f32(1, &mut vector)?;
            document = document.dense(vector);
        }
        Ok(document)
    }

    fn skip_documents(&mut self, n: u64) -> Result<(), Error> {
        let from = self.index();
        self.next = (self.next + n).min(self.documents);
        let to = self.index();
        if let Some((reader, lengths)) = &mut self.tokens {
            reader.skip(lengths.get(from..to).unwrap_or_default().iter().sum())?;
        }
        if let Some(reader) = &mut self.dense {
            reader.skip(n)?;
        }
        Ok(())
    }
}

impl Iterator for VectorFiles {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.next < self.documents).then(|| self.read())
    }

    /// Documents passed over are not read.
    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        match self.skip_documents(n as u64) {
            Ok(()) => self.next(),
            Err(e) => Some(Err(e)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.documents - self.next).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

fn open_tokens(path: &Path, lengths: Option<&Path>) -> Result<(NpyReader, Vec<u64>), ImportError> {
    let reader = NpyReader::open(path)?;
    check_float(&reader)?;
    match (reader.header().shape.as_slice(), lengths) {
        (&[documents, tokens, _], None) => {
            let documents = usize::try_from(documents).unwrap_or(usize::MAX);
            Ok((reader, vec![tokens; documents]))
        }
        (&[rows, _], Some(lengths_path)) => {
            let lengths = read_lengths(lengths_path)?;
            let sum: u64 = lengths.iter().sum();
            if sum != rows {
                return Err(ImportError::Disagree {
                    first: path.to_owned(),
                    second: lengths_path.to_owned(),
                    reason: format!("{rows} tokens and lengths that add up to {sum}"),
                });
            }
            Ok((reader, lengths))
        }
        (shape, _) => Err(ImportError::Npy {
            path: path.to_owned(),
            expected: "tokens x dimensions with a file of document lengths, or documents x tokens x dimensions alone"
                .to_owned(),
            got: format!("shape {shape:?} {} lengths", if lengths.is_some() { "with" } else { "without" }),
        }),
    }
}

fn open_dense(path: &Path) -> Result<NpyReader, ImportError> {
    let reader = NpyReader::open(path)?;
    check_float(&reader)?;
    if reader.header().shape.len() != 2 {
        return Err(ImportError::Npy {
            path: path.to_owned(),
            expected: "documents x dimensions".to_owned(),
            got: format!("shape {:?}", reader.header().shape),
        });
    }
    Ok(reader)
}

fn check_float(reader: &NpyReader) -> Result<(), ImportError> {
    if reader.header().dtype.is_float() {
        return Ok(());
    }
    Err(ImportError::Npy {
        path: reader.path().to_owned(),
        expected: "float16 or float32".to_owned(),
        got: format!("{:?}", reader.header().dtype),
    })
}

pub(super) fn read_ids(path: &Path) -> Result<(PathBuf, Vec<String>), ImportError> {
    let io = |source| ImportError::Io {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut ids = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(io)?;
        let id = line.trim_end_matches('\r');
        if id.is_empty() {
            return Err(ImportError::Line {
                path: path.to_owned(),
                line: ids.len() as u64 + 1,
                expected: "an id",
                got: "an empty line".to_owned(),
            });
        }
        ids.push(id.to_owned());
    }
    Ok((path.to_owned(), ids))
}

#[cfg(test)]
mod tests {
    use super::super::npy::tests::write_npy;
    use super::*;

    fn f32_bytes(numbers: &[f32]) -> Vec<u8> {
        numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    struct Files {
        folder: tempfile::TempDir,
    }

    impl Files {
        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }
    }

    /// Three documents of 1, 2 and 1 tokens of 8 numbers: token i is the unit vector of axis i.
    fn files() -> Files {
        let files = Files {
            folder: tempfile::tempdir().unwrap(),
        };
        let mut tokens = vec![0.0_f32; 32];
        for i in 0..4 {
            tokens[i * 8 + i] = 1.0;
        }
        write_npy(&files.path("tokens.npy"), "<f4", "(4, 8)", &f32_bytes(&tokens));
        let lengths: Vec<u8> = [1_i64, 2, 1].iter().flat_map(|n| n.to_le_bytes()).collect();
        write_npy(&files.path("lengths.npy"), "<i8", "(3,)", &lengths);
        write_npy(
            &files.path("dense.npy"),
            "<f4",
            "(3, 2)",
            &f32_bytes(&[1., 2., 3., 4., 5., 6.]),
        );
        std::fs::write(files.path("ids.txt"), "a\nb\nc\n").unwrap();
        files
    }

    fn open(files: &Files, ids: bool) -> VectorFiles {
        let ids = ids.then(|| files.path("ids.txt"));
        VectorFiles::open(
            Some(&files.path("tokens.npy")),
            Some(&files.path("lengths.npy")),
            Some(&files.path("dense.npy")),
            ids.as_deref(),
        )
        .unwrap()
    }

    #[test]
    fn documents_take_their_share_of_each_file() {
        let files = files();
        let documents: Vec<Document> = open(&files, true).collect::<Result<_, _>>().unwrap();
        assert_eq!(documents.len(), 3);
        assert_eq!(documents[1].id, DocumentId::from("b"));
        assert_eq!(documents[1].dense.as_deref(), Some(&[3.0, 4.0][..]));
        let by_number: Vec<Document> = open(&files, false).collect::<Result<_, _>>().unwrap();
        assert_eq!(by_number[2].id, DocumentId::U64(2));
    }

    #[test]
    fn skipping_gives_the_same_documents() {
        let files = files();
        let all: Vec<Document> = open(&files, true).collect::<Result<_, _>>().unwrap();
        let skipped = open(&files, true).nth(2).unwrap().unwrap();
        assert_eq!(skipped, all[2]);
        assert!(open(&files, true).nth(3).is_none());
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        let files = files();
        let lengths: Vec<u8> = [1_i64, 2].iter().flat_map(|n| n.to_le_bytes()).collect();
        write_npy(&files.path("short.npy"), "<i8", "(2,)", &lengths);
        let tokens = files.path("tokens.npy");
        let refused = |lengths: Option<&str>, dense: Option<&str>, ids: Option<&str>| {
            VectorFiles::open(
                Some(&tokens),
                lengths.map(|n| files.path(n)).as_deref(),
                dense.map(|n| files.path(n)).as_deref(),
                ids.map(|n| files.path(n)).as_deref(),
            )
            .unwrap_err()
        };
        assert!(matches!(
            refused(Some("short.npy"), None, None),
            ImportError::Disagree { .. }
        ));
        assert!(matches!(refused(None, None, None), ImportError::Npy { .. }));
        std::fs::write(files.path("two.txt"), "a\nb\n").unwrap();
        assert!(matches!(
            refused(Some("lengths.npy"), None, Some("two.txt")),
            ImportError::Disagree { .. }
        ));
        std::fs::write(files.path("blank.txt"), "a\n\nc\n").unwrap();
        assert!(matches!(
            refused(Some("lengths.npy"), None, Some("blank.txt")),
            ImportError::Line { line: 2, .. }
        ));
        assert!(matches!(
            refused(Some("lengths.npy"), Some("lengths.npy"), None),
            ImportError::Npy { .. }
        ));
    }
}
