//! Rankings of many queries in a file, as TREC has them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// Writes lines of query id, `Q0`, document id, rank from 1, score, tag, separated by spaces.
#[derive(Debug)]
pub struct RunFile {
    path: PathBuf,
    tag: String,
    output: BufWriter<File>,
}

impl RunFile {
    /// Creates the file; `tag` names the system in its last column.
    pub fn create(path: impl AsRef<Path>, tag: &str) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let file = File::create(&path).map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path,
            tag: column(tag),
            output: BufWriter::new(file),
        })
    }

    /// Writes one ranking, best first. White space inside an id becomes `_`: the columns are separated by it.
    pub fn write<I: std::fmt::Display>(
        &mut self,
        query: &str,
        ranking: impl IntoIterator<Item = (I, f32)>,
    ) -> Result<(), Error> {
        let query = column(query);
        for (at, (document, score)) in ranking.into_iter().enumerate() {
            let document = column(&document.to_string());
            writeln!(
                self.output,
                "{query} Q0 {document} {} {score} {}",
                at + 1,
                self.tag
            )
            .map_err(|source| Error::Write {
                path: self.path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Writes what is left in memory to the file.
    pub fn finish(mut self) -> Result<(), Error> {
        self.output.flush().map_err(|source| Error::Write {
            path: self.path.clone(),
            source,
        })
    }
}

fn column(text: &str) -> String {
    if text.is_empty() {
        return "_".to_owned();
    }
    text.chars()
        .map(|c| if c.is_whitespace() { '_' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_columns_whatever_the_ids_hold() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut run = RunFile::create(file.path(), "dense+maxsim").unwrap();
        run.write("q 1", [("a b", 1.5), ("c", -0.25)]).unwrap();
        run.finish().unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(
            text,
            "q_1 Q0 a_b 1 1.5 dense+maxsim\nq_1 Q0 c 2 -0.25 dense+maxsim\n"
        );
    }
}
