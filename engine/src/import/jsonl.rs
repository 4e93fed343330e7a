//! Documents and queries as BEIR has them: one JSON object a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use latewood_storage::{DocumentId, Payload};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{ImportError, shorten};
use crate::document::{
    DENSE_KEY, Document, EXACT_TEXT_KEY, ID_KEY, PAYLOAD_KEY, TEXT_KEY, TITLE_KEY, TOKENS_KEY, VECTORS_KEY,
};

/// Documents from lines `{"_id": ..., "title": ..., "text": ..., ...payload}`, plain or compressed with zstd.
///
/// The document's text is title, space, text, trimmed, or `_text` as it is; every other key becomes payload, and so does
/// every key of the object `_payload`. An `_id` is a string or an unsigned integer; `_dense` and `_tokens` are vectors of
/// the document's own, `_vectors` an object of those of named fields, each an array of numbers or
/// `{"indices": [..], "values": [..]}`. Blank lines are passed over. After an error the reader goes on with the next line.
pub struct JsonLines {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    line: u64,
    buffer: String,
    failed: bool,
}

impl JsonLines {
    /// Opens a file; `-` is standard input. Compression is recognised by the first bytes, not by the name.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ImportError> {
        let path = path.into();
        let input: Box<dyn Read + Send> = if path == Path::new("-") {
            Box::new(std::io::stdin())
        } else {
            Box::new(File::open(&path).map_err(|source| ImportError::Io {
                path: path.clone(),
                source,
            })?)
        };
        Self::new(path, input)
    }

    /// Reads from `input`; `path` is for messages.
    pub fn new(path: impl Into<PathBuf>, input: impl Read + Send + 'static) -> Result<Self, ImportError> {
        const BUFFER_BYTES: usize = 1 << 18;
        let path = path.into();
        let io = |source| ImportError::Io {
            path: path.clone(),
            source,
        };
        let mut plain = BufReader::with_capacity(BUFFER_BYTES, input);
        let input: Box<dyn BufRead + Send> = if plain.fill_buf().map_err(io)?.starts_with(b"\x28\xb5\x2f\xfd")
        {
            let decoder = zstd::stream::read::Decoder::with_buffer(plain).map_err(io)?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        } else {
            Box::new(plain)
        };
        Ok(Self {
            path,
            input,
            line: 0,
            buffer: String::new(),
            failed: false,
        })
    }

    /// The line read last, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The next line that is not blank, into the buffer; false at the end.
    fn advance(&mut self) -> Result<bool, ImportError> {
        loop {
            self.buffer.clear();
            self.line += 1;
            match self.input.read_line(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(_) if self.buffer.trim().is_empty() => {}
                Ok(_) => return Ok(true),
                Err(source) if source.kind() == std::io::ErrorKind::InvalidData => {
                    return Err(self.wrong("a line of UTF-8", source.to_string()));
                }
                Err(source) => {
                    self.failed = true;
                    return Err(ImportError::Io {
                        path: self.path.clone(),
                        source,
                    });
                }
            }
        }
    }

    fn object(&self) -> Result<Payload, ImportError> {
        match serde_json::from_str(&self.buffer) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(self.wrong("a JSON object", shorten(self.buffer.trim()))),
            Err(e) => Err(self.wrong("a JSON object", format!("{e}: {}", shorten(self.buffer.trim())))),
        }
    }

    fn document(&self) -> Result<Document, ImportError> {
        let mut object = self.object()?;
        let id = match object.remove(ID_KEY) {
            Some(Value::String(id)) => DocumentId::Str(id),
            Some(Value::Number(id)) if id.is_u64() => DocumentId::U64(id.as_u64().unwrap_or_default()),
            other => {
                return Err(self.wrong(
                    "\"_id\": a string or an unsigned integer",
                    describe(other.as_ref()),
                ));
            }
        };
        let title = self.string(&mut object, TITLE_KEY, "\"title\": a string")?;
        let text = self.string(&mut object, TEXT_KEY, "\"text\": a string")?;
        let dense: Option<Vec<f32>> =
            self.numbers(&mut object, DENSE_KEY, "\"_dense\": an array of numbers")?;
        let tokens: Option<Vec<Vec<f32>>> = self.numbers(
            &mut object,
            TOKENS_KEY,
            "\"_tokens\": an array of arrays of numbers",
        )?;
        let vectors = self.numbers(
            &mut object,
            VECTORS_KEY,
            "\"_vectors\": an object of vectors by name, dense ones [..], sparse ones {\"indices\": [..], \"values\": [..]}",
        )?;
        let exact = self.string(&mut object, EXACT_TEXT_KEY, "\"_text\": a string")?;
        match object.remove(PAYLOAD_KEY) {
            None | Some(Value::Null) => {}
            Some(Value::Object(payload)) => object.extend(payload),
            other => return Err(self.wrong("\"_payload\": an object", describe(other.as_ref()))),
        }
        let mut document = Document::new(id).payload(Value::Object(object));
        document.dense = dense;
        document.tokens = tokens.map(Into::into);
        document.vectors = vectors.unwrap_or_default();
        let joined = format!("{title} {text}");
        if !exact.is_empty() {
            document = document.text(exact);
        } else if !joined.trim().is_empty() {
            document = document.text(joined.trim());
        }
        Ok(document)
    }

    fn string(&self, object: &mut Payload, key: &str, expected: &'static str) -> Result<String, ImportError> {
        match object.remove(key) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            other => Err(self.wrong(expected, describe(other.as_ref()))),
        }
    }

    fn numbers<T: DeserializeOwned>(
        &self,
        object: &mut Payload,
        key: &str,
        expected: &'static str,
    ) -> Result<Option<T>, ImportError> {
        match object.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(&value)
                .map(Some)
                .map_err(|_| self.wrong(expected, describe(Some(&value)))),
        }
    }

    fn wrong(&self, expected: &'static str, got: String) -> ImportError {
        ImportError::Line {
            path: self.path.clone(),
            line: self.line,
            expected,
            got,
        }
    }
}

fn describe(value: Option<&Value>) -> String {
    value.map_or_else(|| "none".to_owned(), |v| shorten(&v.to_string()))
}

impl Iterator for JsonLines {
    type Item = Result<Document, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.advance() {
            Ok(true) => Some(self.document()),
            Ok(false) => None,
            Err(e) => Some(Err(e)),
        }
    }

    /// Lines passed over are counted, not parsed.
    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        for _ in 0..n {
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => return Some(Err(e)),
            }
        }
        self.next()
    }
}

/// A query as BEIR has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextQuery {
    /// The query's id, as the judgments name it.
    pub id: String,
    /// What is asked.
    pub text: String,
}

/// Reads a file of queries whole; a query without text is an error.
pub fn read_queries(path: impl Into<PathBuf>) -> Result<Vec<TextQuery>, ImportError> {
    let mut lines = JsonLines::open(path)?;
    let mut queries = Vec::new();
    while let Some(document) = lines.next() {
        let document = document?;
        let text = document
            .text
            .ok_or_else(|| lines.wrong("\"text\": what is asked", "none".to_owned()))?;
        queries.push(TextQuery {
            id: document.id.to_string(),
            text,
        });
    }
    Ok(queries)
}

/// Reads a file of queries whole, each a text, vectors (`_dense`, `_tokens`, `_vectors`), or both; one of nothing is an error.
pub fn read_vector_queries(path: impl Into<PathBuf>) -> Result<Vec<Document>, ImportError> {
    let mut lines = JsonLines::open(path)?;
    let mut queries = Vec::new();
    while let Some(line) = lines.next() {
        let line = line?;
        let vectors = line.dense.is_some() || line.tokens.is_some() || !line.vectors.is_empty();
        if line.text.is_none() && !vectors {
            return Err(lines.wrong("\"text\" or vectors: what is asked", "none".to_owned()));
        }
        queries.push(line);
    }
    Ok(queries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<Result<Document, ImportError>> {
        JsonLines::new("test.jsonl", std::io::Cursor::new(text.to_vec()))
            .unwrap()
            .collect()
    }

    #[test]
    fn a_beir_line_becomes_a_document() {
        let all = lines(
            br#"{"_id": "a", "title": "The", "text": "owl ", "year": 2020, "metadata": {}}

{"_id": 7, "text": "x", "title": null}
{"_id": "empty", "title": "", "text": ""}"#,
        );
        let documents: Vec<Document> = all.into_iter().collect::<Result<_, _>>().unwrap();
        assert_eq!(documents[0].id, DocumentId::from("a"));
        assert_eq!(documents[0].text.as_deref(), Some("The owl"));
        assert_eq!(
            documents[0].payload,
            serde_json::json!({"year": 2020, "metadata": {}})
        );
        assert_eq!(documents[1].id, DocumentId::U64(7));
        assert_eq!(documents[1].text.as_deref(), Some("x"));
        assert_eq!(documents[2].text, None);
    }

    #[test]
    fn errors_name_the_line_and_the_rest_is_read() {
        let all = lines(b"{\"_id\": \"a\", \"text\": \"x\"}\n\nnot json\n{\"_id\": -1}\n{\"text\": \"y\"}\n{\"_id\": \"b\", \"text\": 3}\n[1]\n\xff\n{\"_id\": \"c\"}");
        let numbers: Vec<Option<u64>> = all
            .iter()
            .map(|r| match r {
                Err(ImportError::Line { line, .. }) => Some(*line),
                _ => None,
            })
            .collect();
        assert_eq!(
            numbers,
            [None, Some(3), Some(4), Some(5), Some(6), Some(7), Some(8), None]
        );
        assert!(all.last().unwrap().is_ok());
    }

    #[test]
    fn zstd_is_read_as_it_is() {
        let packed = zstd::encode_all(
            &b"{\"_id\": \"a\", \"text\": \"x\"}\n{\"_id\": \"b\", \"text\": \"y\"}"[..],
            3,
        )
        .unwrap();
        assert_eq!(lines(&packed).len(), 2);
    }

    #[test]
    fn skipped_lines_are_not_parsed() {
        let text = b"{\"_id\": \"a\"}\n\nbroken\n{\"_id\": \"b\"}\n".to_vec();
        let mut reader = JsonLines::new("t", std::io::Cursor::new(text)).unwrap();
        assert_eq!(reader.nth(2).unwrap().unwrap().id, DocumentId::from("b"));
        assert_eq!(reader.line(), 4);
        assert!(reader.nth(5).is_none());
    }
}
