//! A collection as plain files.

use std::path::Path;

use super::Collection;
use crate::error::Error;
use crate::export::folder::FolderWriter;

impl Collection {
    /// Writes all documents, as they are now, into a folder of files that any program reads, and
    /// [`ExportedFolder`](crate::import::ExportedFolder) reads back: `documents.jsonl` (ids, texts, payloads, vectors of named fields),
    /// `dense.npy` (f32, documents x dimensions), `tokens.npy` (f16, tokens x dimensions) and `doclens.npy` (tokens of each
    /// document). Ids, texts and payloads are exact. So are vectors that are kept as they came: dense ones of the codec
    /// [`F32`](crate::DenseCodec::F32), tokens that wait uncoded or have an original tier in f16. Of others there is what
    /// their codes decode to. How many documents there are; `progress` is told how many are written.
    ///
    /// # Errors
    /// [`Error::Export`] for a folder that is not empty, [`Error::Write`], [`Error::Storage`] for damage. A folder that was
    /// not finished has no `documents.jsonl`.
    pub fn export(&self, folder: impl AsRef<Path>, progress: impl Fn(u64)) -> Result<u64, Error> {
        let documents = self.documents()?;
        let mut writer = FolderWriter::create(folder.as_ref(), &self.schema())?;
        let mut written = 0;
        for document in documents {
            writer.push(&document?)?;
            written += 1;
            progress(written);
        }
        writer.finish()?;
        Ok(written)
    }
}
