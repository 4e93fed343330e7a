//! Which documents answer which queries.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::import::ImportError;

/// Relevance judgments (qrels): for each query, documents and how relevant they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgments {
    by_query: HashMap<String, HashMap<String, u32>>,
}

impl Judgments {
    /// Reads a file of BEIR's three columns (query, document, relevance; with or without a header) or TREC's four
    /// (query, 0, document, relevance), separated by tabs or spaces. A negative relevance counts as 0.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ImportError> {
        let path = path.as_ref();
        let io = |source| ImportError::Io {
            path: path.to_owned(),
            source,
        };
        let mut judgments = Self::default();
        for (index, line) in BufReader::new(File::open(path).map_err(io)?).lines().enumerate() {
            let line = line.map_err(io)?;
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (query, document, relevance) = match columns.as_slice() {
                [] => continue,
                [query, document, relevance] => (*query, *document, *relevance),
                [query, _, document, relevance] => (*query, *document, *relevance),
                _ => {
                    return Err(wrong(
                        path,
                        index,
                        "3 or 4 columns",
                        format!("{} columns", columns.len()),
                    ));
                }
            };
            match relevance.parse::<i64>() {
                Ok(relevance) => judgments.insert(
                    query,
                    document,
                    u32::try_from(relevance.max(0)).unwrap_or(u32::MAX),
                ),
                Err(_) if index == 0 => {}
                Err(_) => {
                    return Err(wrong(
                        path,
                        index,
                        "an integer in the last column",
                        relevance.to_owned(),
                    ));
                }
            }
        }
        Ok(judgments)
    }

    /// Adds a judgment.
    pub fn insert(&mut self, query: impl Into<String>, document: impl Into<String>, relevance: u32) {
        self.by_query
            .entry(query.into())
            .or_default()
            .insert(document.into(), relevance);
    }

    /// The judged documents of a query.
    pub fn of(&self, query: &str) -> Option<&HashMap<String, u32>> {
        self.by_query.get(query)
    }

    /// Whether a query has a relevant document: others cannot be measured.
    pub fn has_relevant(&self, query: &str) -> bool {
        self.of(query)
            .is_some_and(|documents| documents.values().any(|&relevance| relevance > 0))
    }

    /// Queries judged.
    pub fn len(&self) -> usize {
        self.by_query.len()
    }

    /// Whether nothing is judged.
    pub fn is_empty(&self) -> bool {
        self.by_query.is_empty()
    }
}

fn wrong(path: &Path, index: usize, expected: &'static str, got: String) -> ImportError {
    ImportError::Line {
        path: path.to_owned(),
        line: index as u64 + 1,
        expected,
        got,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Judgments, ImportError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Judgments::read(file.path())
    }

    #[test]
    fn both_layouts_give_the_same() {
        let beir = read("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td3\t1\n").unwrap();
        let bare = read("q1\td1\t2\nq1\td2\t0\n\nq2\td3\t1").unwrap();
        let trec = read("q1 0 d1 2\nq1 0 d2 -1\nq2 0 d3 1\n").unwrap();
        assert_eq!(beir, bare);
        assert_eq!(beir, trec);
        assert_eq!(beir.of("q1").unwrap()["d1"], 2);
        assert!(beir.has_relevant("q2") && !beir.has_relevant("q3"));
        assert_eq!(beir.len(), 2);
    }

    #[test]
    fn errors_name_the_line() {
        assert!(matches!(
            read("q1 d1 1\nq1 d1"),
            Err(ImportError::Line { line: 2, .. })
        ));
        assert!(matches!(
            read("q1 d1 1\nq1 d1 x"),
            Err(ImportError::Line { line: 2, .. })
        ));
    }
}
