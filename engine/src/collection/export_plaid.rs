//! A collection's residual codes as an index of fast-plaid.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use latewood_codecs::{CodecError, Quantizer, ResidualCodec, ResidualCodes, ResidualRows, TokenMatrix};
use latewood_storage::{Codebook, DocumentId, SegmentView, Snapshot, StorageError, TokenRows, TokensView};

use super::Collection;
use super::maintain::OptimizeProgress;
use crate::error::Error;
use crate::export::plaid::{CHUNK_DOCUMENTS, PlaidWriter};
use crate::export::write_file;

/// What [`Collection::export_plaid`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaidExport {
    /// Documents.
    pub documents: u64,
    /// Tokens of all documents.
    pub tokens: u64,
    /// Documents that were coded for this, because they are not stored in the newest codebook's buckets.
    pub encoded: u64,
}

impl Collection {
    /// Writes the token matrices as an index that fast-plaid and next-plaid load: codes and residual bytes as they are
    /// stored, with the newest codebook. Documents that it has not coded yet are coded as they are written. A codebook of the
    /// codec [`Trellis`](crate::TokenCodec::Trellis), which these engines do not know, gives its centroids, and all documents
    /// are coded in buckets, from their reconstructions unless the tokens are kept. `ids.txt` beside
    /// the index has the document's id for each of its numbers, one a line. `folder` must be empty or not exist.
    ///
    /// # Errors
    /// [`Error::Export`] for a collection without tokens or without a codebook, a folder that is not empty, or an id that
    /// has a line break; [`Error::Write`]; [`Error::Cancelled`] when `progress` breaks it off. What was written until then
    /// stays, without the `metadata.json` that would make it an index.
    pub fn export_plaid(
        &self,
        folder: impl AsRef<Path>,
        progress: impl Fn(&OptimizeProgress) -> ControlFlow<()>,
    ) -> Result<PlaidExport, Error> {
        let folder = folder.as_ref();
        let snapshot = self.snapshot()?;
        let codebook = self.codebook_to_export(&snapshot)?;
        let documents = documents(&snapshot)?;
        let fitted = in_buckets(codebook, &documents)?;
        let codec = fitted.as_ref().unwrap_or(&codebook.codec);
        let Quantizer::Buckets(buckets) = codec.quantizer() else {
            return Err(StorageError::from(CodecError::NotBuckets).into());
        };
        prepare_folder(folder)?;
        write_ids(&folder.join("ids.txt"), &documents)?;
        let mut writer = PlaidWriter::create(folder, codec, buckets)?;
        let mut report = PlaidExport {
            documents: 0,
            tokens: 0,
            encoded: 0,
        };
        for chunk in documents.chunks(CHUNK_DOCUMENTS) {
            writer.begin_chunk(chunk.iter().map(|document| document.tokens).collect())?;
            for document in chunk {
                // Codes of buckets are taken as they are.
                match document.stored(codebook).filter(|_| fitted.is_none()) {
                    Some(rows) => writer.push(rows)?,
                    None => {
                        writer.push(document.encode(codec)?.rows())?;
                        report.encoded += 1;
                    }
                }
                report.documents += 1;
                report.tokens += u64::from(document.tokens);
                let step = OptimizeProgress {
                    step: "documents",
                    done: report.documents,
                    total: documents.len() as u64,
                };
                if progress(&step).is_break() {
                    return Err(Error::Cancelled {
                        done: report.documents,
                    });
                }
            }
        }
        writer.finish()?;
        Ok(report)
    }

    fn codebook_to_export<'s>(&self, snapshot: &'s Snapshot) -> Result<&'s Arc<Codebook>, Error> {
        let refused = |reason: &str| Error::Export {
            reason: format!("the collection {} has {reason}", self.name()),
        };
        if snapshot.schema().tokens.is_none() {
            return Err(refused("no token matrices"));
        }
        snapshot
            .codebook()
            .ok_or_else(|| refused("no codebook: `optimize` trains one once there are 4,096 tokens"))
    }
}

fn prepare_folder(folder: &Path) -> Result<(), Error> {
    let failed = |source| Error::Write {
        path: folder.to_owned(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    if std::fs::read_dir(folder).map_err(failed)?.next().is_some() {
        return Err(Error::Export {
            reason: format!("{} is not empty; name a new folder", folder.display()),
        });
    }
    Ok(())
}

/// A live document, wherever it is.
struct Document<'s> {
    id: DocumentId,
    tokens: u32,
    place: Place<'s>,
}

enum Place<'s> {
    Segment {
        view: &'s SegmentView,
        tokens: TokensView<'s>,
        ordinal: u32,
    },
    Memtable(&'s TokenMatrix),
}

/// The live documents that have tokens, in order of position.
fn documents(snapshot: &Snapshot) -> Result<Vec<Document<'_>>, Error> {
    let mut documents = Vec::new();
    for view in snapshot.segments() {
        let Some(tokens) = view.segment.tokens()? else {
            continue;
        };
        for ordinal in view.live_runs().into_iter().flatten() {
            documents.push(Document {
                id: view.segment.document_id(ordinal)?,
                tokens: length(tokens.range(ordinal).len()),
                place: Place::Segment {
                    view,
                    tokens,
                    ordinal,
                },
            });
        }
    }
    for (_, record) in snapshot.memtable().iter() {
        if let Some(matrix) = &record.tokens {
            documents.push(Document {
                id: record.id.clone(),
                tokens: length(matrix.len()),
                place: Place::Memtable(matrix),
            });
        }
    }
    Ok(documents)
}

/// A document has at most 8,192 tokens.
fn length(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

impl<'s> Document<'s> {
    /// Its codes, if they are of this codebook.
    fn stored(&self, codebook: &Codebook) -> Option<ResidualRows<'s>> {
        let Place::Segment { tokens, ordinal, .. } = &self.place else {
            return None;
        };
        match tokens.rows {
            TokenRows::Residual { codebook: own, .. } if own.id == codebook.id => tokens.residual(*ordinal),
            _ => None,
        }
    }

    /// Its tokens, from the best tier that is stored.
    fn values(&self) -> Result<Vec<f32>, Error> {
        match &self.place {
            Place::Memtable(matrix) => Ok(matrix.to_f32()),
            Place::Segment { view, ordinal, .. } => {
                let matrix = view.segment.token_matrix(*ordinal)?;
                Ok(matrix.map(|matrix| matrix.to_f32()).unwrap_or_default())
            }
        }
    }

    fn encode(&self, codec: &ResidualCodec) -> Result<ResidualCodes, Error> {
        let mut codes = ResidualCodes::default();
        codec.encode(&self.values()?, &mut codes);
        Ok(codes)
    }
}

/// For a codebook that is not of buckets, one of its centroids that is, fitted to a sample of the documents.
fn in_buckets(codebook: &Codebook, documents: &[Document<'_>]) -> Result<Option<ResidualCodec>, Error> {
    const MOST_TOKENS: usize = 50_000;
    const MOST_DOCUMENTS: usize = 1_024;
    let codec = &codebook.codec;
    if let Quantizer::Buckets(_) = codec.quantizer() {
        return Ok(None);
    }
    let mut sample = Vec::new();
    let every = documents.len().div_ceil(MOST_DOCUMENTS).max(1);
    for document in documents.iter().step_by(every) {
        sample.extend(document.values()?);
    }
    sample.truncate(MOST_TOKENS * codec.dim());
    let centroids = codec.centroids().to_vec();
    let fitted = ResidualCodec::fit_buckets(codec.bits(), codec.dim(), centroids, &sample);
    Ok(Some(fitted.map_err(StorageError::from)?))
}

fn write_ids(path: &Path, documents: &[Document<'_>]) -> Result<(), Error> {
    let mut lines = String::new();
    for document in documents {
        let id = document.id.to_string();
        if id.contains(['\n', '\r']) {
            return Err(Error::Export {
                reason: format!("the id {id:?} has a line break, which a file of one id a line cannot hold"),
            });
        }
        lines.push_str(&id);
        lines.push('\n');
    }
    write_file(path, lines.as_bytes())
}
