//! A codebook: the centroids and buckets that residual codes refer to, a file of its own that segments share.

use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use latewood_codecs::ResidualCodec;

use super::component::CODEBOOK_KIND;
use super::reader::ComponentFile;
use super::writer::ComponentWriter;
use crate::backend::StorageBackend;
use crate::error::Result;

const CENTROIDS: u32 = 1;
const CUTOFFS: u32 = 2;
const WEIGHTS: u32 = 3;

/// Centroids, buckets, and how many tokens they were trained for.
#[derive(Debug)]
pub struct Codebook {
    /// Its number in the collection; segments name it.
    pub id: u64,
    /// The codec.
    pub codec: ResidualCodec,
    /// Tokens of the collection when it was trained: a collection of several times as many wants another.
    pub trained_on_tokens: u64,
}

impl Codebook {
    /// Writes and syncs a new file; the caller syncs its folder. Returns its length.
    ///
    /// # Errors
    /// What the backend says.
    pub fn write(&self, backend: &dyn StorageBackend, path: &Path) -> Result<u64> {
        let tags = [CENTROIDS, CUTOFFS, WEIGHTS];
        let mut writer = ComponentWriter::create(backend, path, CODEBOOK_KIND, &tags)?;
        let mut halves = vec![f16::ZERO; self.codec.centroids().len()];
        halves.convert_from_f32_slice(self.codec.centroids());
        writer.append(CENTROIDS, bytemuck::cast_slice(&halves))?;
        writer.append(CUTOFFS, bytemuck::cast_slice(self.codec.cutoffs()))?;
        writer.append(WEIGHTS, bytemuck::cast_slice(self.codec.weights()))?;
        let (dim, bits) = (self.codec.dim() as u64, u64::from(self.codec.bits()));
        let written = writer.finish([
            self.id,
            dim,
            bits,
            self.codec.len() as u64,
            self.trained_on_tokens,
            0,
        ])?;
        Ok(written.bytes)
    }

    /// Reads a codebook whole.
    ///
    /// # Errors
    /// [`crate::StorageError::Corruption`] when the file is damaged, [`crate::StorageError::VersionTooNew`].
    pub fn open(backend: &dyn StorageBackend, path: &Path) -> Result<Self> {
        let file = ComponentFile::open(backend, path, CODEBOOK_KIND)?;
        let [id, dim, bits, centroids, trained_on_tokens, _] = file.params();
        let wrong =
            |found: String| file.corruption(0, "a dimension, bits and centroids of a residual codec", found);
        let shape = || format!("{centroids} centroids of {dim} numbers at {bits} bits");
        let dim = usize::try_from(dim).map_err(|_| wrong(shape()))?;
        let count = usize::try_from(centroids)
            .ok()
            .and_then(|n| n.checked_mul(dim))
            .ok_or_else(|| wrong(shape()))?;
        let bits = u8::try_from(bits).map_err(|_| wrong(shape()))?;
        let halves: &[f16] = file.exactly(CENTROIDS, count)?;
        let (cutoffs, weights): (&[f32], &[f32]) = (file.numbers(CUTOFFS)?, file.numbers(WEIGHTS)?);
        let codec =
            ResidualCodec::from_parts(dim, bits, halves.to_f32_vec(), cutoffs.to_vec(), weights.to_vec());
        let codec = codec.map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            id,
            codec,
            trained_on_tokens,
        })
    }
}
