//! An index that fast-plaid or next-plaid wrote, read without loading it whole.
//!
//! Both write one folder of `.npy` files in the layout of ColBERTv2's reference: `centroids.npy`, `bucket_cutoffs.npy`,
//! `bucket_weights.npy`, `metadata.json`, and for chunk i `doclens.i.json`, `i.codes.npy` and `i.residuals.npy`. fast-plaid 1.7
//! moves the codes and residuals of all chunks into `merged_codes.npy` and `merged_residuals.npy`, and lists in
//! `merged_codes.manifest.json` how many rows each chunk has there; a chunk that has files of its own is newer than its part
//! of the merged ones.

mod blocks;
mod files;

use std::path::{Path, PathBuf};

use latewood_codecs::{CodecError, ResidualCodec};
use latewood_storage::DocumentId;

pub(crate) use blocks::Blocks;

use super::error::ImportError;
use super::vectors::read_ids;
use blocks::Chunk;
use files::Metadata;

/// An index of fast-plaid or next-plaid: residual codes of ColBERTv2 and what they are codes of.
///
/// ```no_run
/// # fn main() -> Result<(), latewood::Error> {
/// use latewood::{Database, SchemaBuilder, import::PlaidIndex};
/// let index = PlaidIndex::open("index")?.with_ids("ids.txt")?;
/// let db = Database::open("my.db")?;
/// let collection = db.import_plaid("papers", index, SchemaBuilder::new(), |_| std::ops::ControlFlow::Continue(()))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PlaidIndex {
    folder: PathBuf,
    codec: ResidualCodec,
    chunks: Vec<Chunk>,
    ids: Option<Vec<String>>,
}

impl PlaidIndex {
    /// Opens an index: reads its codebook and the lengths of its documents, and checks that the files are there and agree.
    /// The codes are read when they are imported.
    ///
    /// # Errors
    /// [`ImportError`], which names the file that is missing, damaged, or of another kind than is read here.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, ImportError> {
        let folder = folder.into();
        let metadata = Metadata::read(&folder)?;
        let codec = read_codec(&folder, metadata.bits)?;
        let chunks = blocks::chunks(&folder, &metadata, &codec)?;
        let documents: usize = chunks.iter().map(|chunk| chunk.lengths.len()).sum();
        if let Some(expected) = metadata.documents
            && expected != documents as u64
        {
            return Err(ImportError::Disagree {
                first: folder.join(files::METADATA),
                second: folder.join("doclens.0.json"),
                reason: format!("{expected} documents, and {documents} lengths in all doclens files"),
            });
        }
        Ok(Self {
            folder,
            codec,
            chunks,
            ids: None,
        })
    }

    /// Takes the documents' ids from a file of one id a line, in the index's order. Without it they are 0, 1, 2, ...
    ///
    /// # Errors
    /// A file that cannot be read, or that has another number of ids than the index documents.
    pub fn with_ids(mut self, path: impl AsRef<Path>) -> Result<Self, ImportError> {
        let (path, ids) = read_ids(path.as_ref())?;
        if ids.len() as u64 != self.documents() {
            return Err(ImportError::Disagree {
                first: path,
                reason: format!("{} ids, and {} documents", ids.len(), self.documents()),
                second: self.folder,
            });
        }
        self.ids = Some(ids);
        Ok(self)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Numbers in a token's vector.
    pub fn dim(&self) -> usize {
        self.codec.dim()
    }

    /// Bits of residual a number.
    pub fn bits(&self) -> u8 {
        self.codec.bits()
    }

    /// Centroids of its codebook.
    pub fn centroids(&self) -> usize {
        self.codec.len()
    }

    /// Documents.
    pub fn documents(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.lengths.len() as u64).sum()
    }

    /// Tokens of all documents.
    pub fn tokens(&self) -> u64 {
        self.chunks.iter().map(Chunk::tokens).sum()
    }

    /// Ids and numbers of tokens, in order.
    pub(crate) fn into_documents(self) -> (Vec<(DocumentId, u32)>, ResidualCodec, Blocks) {
        let lengths = self.chunks.iter().flat_map(|chunk| chunk.lengths.iter().copied());
        let documents = match self.ids {
            Some(ids) => ids.into_iter().map(DocumentId::Str).zip(lengths).collect(),
            None => (0..).map(DocumentId::U64).zip(lengths).collect(),
        };
        let blocks = Blocks::new(self.chunks, &self.codec);
        (documents, self.codec, blocks)
    }
}

/// Centroids, cutoffs and weights. Each is checked with its own file's name before the codec sees all of them.
fn read_codec(folder: &Path, bits: u8) -> Result<ResidualCodec, ImportError> {
    let buckets = 1_usize << bits;
    let centroids_path = folder.join(files::CENTROIDS);
    let (centroids, dim) = files::read_rows(&centroids_path)?;
    let cutoffs_path = folder.join(files::CUTOFFS);
    let cutoffs = files::read_numbers(&cutoffs_path, buckets - 1)?;
    let weights = files::read_numbers(&folder.join(files::WEIGHTS), buckets)?;
    ResidualCodec::from_parts(dim, bits, centroids, cutoffs, weights).map_err(|error| {
        let path = match error {
            CodecError::NotAscending { .. } => cutoffs_path,
            _ => centroids_path,
        };
        ImportError::Index {
            path,
            expected: "a codebook of the residual codec".to_owned(),
            got: error.to_string(),
        }
    })
}
