//! An index in the layout that fast-plaid and next-plaid load (see [`PlaidIndex`](crate::import::PlaidIndex)), one chunk
//! after the other.

use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use latewood_codecs::{Buckets, ResidualCodec, ResidualRows};
use serde_json::json;

use super::npy::{NpyWriter, write_array};
use super::write_file;
use crate::error::Error;

/// Documents of a chunk: what fast-plaid puts into one.
pub(crate) const CHUNK_DOCUMENTS: usize = 25_000;
/// Tokens that the threshold of new clusters is taken from.
const MOST_NORMS: usize = 50_000;

/// An index while it is written. `metadata.json`, without which no one loads it, comes last.
pub(crate) struct PlaidWriter<'a> {
    folder: &'a Path,
    codec: &'a ResidualCodec,
    buckets: &'a Buckets,
    chunk: Option<Chunk>,
    chunks: usize,
    documents: u64,
    tokens: u64,
    /// The documents of each centroid, ascending, each once.
    postings: Vec<Vec<u32>>,
    /// The sum of absolute residuals of each dimension, and the norms of the first residuals.
    residuals: Vec<f64>,
    norms: Vec<f32>,
}

/// The files of a chunk.
struct Chunk {
    lengths: Vec<u32>,
    codes: NpyWriter,
    residuals: NpyWriter,
    offset: u64,
}

impl<'a> PlaidWriter<'a> {
    /// Begins with the codebook, a codec of these buckets.
    pub(crate) fn create(
        folder: &'a Path,
        codec: &'a ResidualCodec,
        buckets: &'a Buckets,
    ) -> Result<Self, Error> {
        let writer = Self {
            folder,
            codec,
            buckets,
            chunk: None,
            chunks: 0,
            documents: 0,
            tokens: 0,
            postings: vec![Vec::new(); codec.len()],
            residuals: vec![0.0; codec.dim()],
            norms: Vec::new(),
        };
        let mut centroids = vec![f16::ZERO; codec.centroids().len()];
        centroids.convert_from_f32_slice(codec.centroids());
        let centroids: Vec<u8> = centroids.iter().flat_map(|c| c.to_le_bytes()).collect();
        let shape = [codec.len() as u64, codec.dim() as u64];
        write_array(&writer.path("centroids.npy"), "<f2", &shape, &centroids)?;
        writer.numbers("bucket_cutoffs.npy", buckets.cutoffs())?;
        writer.numbers("bucket_weights.npy", buckets.weights())?;
        Ok(writer)
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    fn numbers(&self, name: &str, numbers: &[f32]) -> Result<(), Error> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        write_array(&self.path(name), "<f4", &[numbers.len() as u64], &bytes)
    }

    /// Begins a chunk of documents of these numbers of tokens.
    pub(crate) fn begin_chunk(&mut self, lengths: Vec<u32>) -> Result<(), Error> {
        self.end_chunk()?;
        let tokens: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
        let i = self.chunks;
        let bytes = self.codec.residual_bytes() as u64;
        self.chunk = Some(Chunk {
            codes: NpyWriter::create(self.path(format!("{i}.codes.npy")), "<i8", &[tokens])?,
            residuals: NpyWriter::create(self.path(format!("{i}.residuals.npy")), "|u1", &[tokens, bytes])?,
            lengths,
            offset: self.tokens,
        });
        self.chunks += 1;
        Ok(())
    }

    /// Appends the next document of the chunk.
    pub(crate) fn push(&mut self, rows: ResidualRows<'_>) -> Result<(), Error> {
        let Some(chunk) = &mut self.chunk else {
            return Ok(());
        };
        let document = u32::try_from(self.documents).unwrap_or(u32::MAX);
        let mut codes = Vec::with_capacity(rows.len() * 8);
        for code in (0..rows.len()).map(|token| rows.codes.get(token)) {
            codes.extend(i64::from(code).to_le_bytes());
            if let Some(postings) = self.postings.get_mut(code as usize)
                && postings.last() != Some(&document)
            {
                postings.push(document);
            }
        }
        chunk.codes.write(&codes)?;
        chunk.residuals.write(rows.residuals)?;
        self.measure(rows.residuals);
        self.documents += 1;
        self.tokens += rows.len() as u64;
        Ok(())
    }

    /// Adds to the statistics of residuals, taken for what their buckets stand for.
    fn measure(&mut self, residuals: &[u8]) {
        let (dim, mut squared) = (self.codec.dim(), 0.0);
        for (at, weight) in self.buckets.weights_of(residuals).enumerate() {
            self.residuals[at % dim] += f64::from(weight.abs());
            squared += weight * weight;
            if at % dim + 1 == dim {
                if self.norms.len() < MOST_NORMS {
                    self.norms.push(squared.sqrt());
                }
                squared = 0.0;
            }
        }
    }

    fn end_chunk(&mut self) -> Result<(), Error> {
        let Some(chunk) = self.chunk.take() else {
            return Ok(());
        };
        chunk.codes.finish()?;
        chunk.residuals.finish()?;
        let i = self.chunks - 1;
        write_file(
            &self.path(format!("doclens.{i}.json")),
            json!(chunk.lengths).to_string().as_bytes(),
        )?;
        let metadata = json!({
            "num_documents": chunk.lengths.len(),
            "num_embeddings": self.tokens - chunk.offset,
            "embedding_offset": chunk.offset,
        });
        write_file(
            &self.path(format!("{i}.metadata.json")),
            metadata.to_string().as_bytes(),
        )
    }

    /// Ends with the inverted lists, the statistics and the metadata.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.end_chunk()?;
        let postings: u64 = self.postings.iter().map(|list| list.len() as u64).sum();
        let mut ivf = NpyWriter::create(self.path("ivf.npy"), "<i8", &[postings])?;
        let mut lengths = Vec::with_capacity(self.postings.len() * 4);
        for list in &self.postings {
            let bytes: Vec<u8> = list.iter().flat_map(|&d| i64::from(d).to_le_bytes()).collect();
            ivf.write(&bytes)?;
            lengths.extend(u32::try_from(list.len()).unwrap_or(u32::MAX).to_le_bytes());
        }
        ivf.finish()?;
        write_array(
            &self.path("ivf_lengths.npy"),
            "<i4",
            &[self.postings.len() as u64],
            &lengths,
        )?;
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let tokens = self.tokens.max(1) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a mean of single-precision numbers"
        )]
        let average: Vec<f32> = self.residuals.iter().map(|sum| (sum / tokens) as f32).collect();
        self.numbers("avg_residual.npy", &average)?;
        self.norms.sort_unstable_by(f32::total_cmp);
        let threshold = self.norms.get(self.norms.len() * 3 / 4).copied().unwrap_or(0.0);
        self.numbers("cluster_threshold.npy", &[threshold])?;
        let bits = self.codec.bits();
        let plan = json!({"nbits": bits, "num_chunks": self.chunks});
        write_file(&self.path("plan.json"), plan.to_string().as_bytes())?;
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let documents = self.documents.max(1) as f64;
        let metadata = json!({
            "nbits": bits,
            "num_chunks": self.chunks,
            "num_documents": self.documents,
            "num_embeddings": self.tokens,
            "num_partitions": self.codec.len(),
            "avg_doclen": tokens / documents,
            "compress_only": false,
        });
        write_file(&self.path("metadata.json"), metadata.to_string().as_bytes())
    }
}
