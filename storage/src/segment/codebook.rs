//! A codebook: the centroids and the quantizer that residual codes refer to, a file of its own that segments share.

use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use latewood_codecs::{CentroidBytes, CodecError, Quantizer, ResidualCodec, TokenCodec};

use super::component::CODEBOOK_KIND;
use super::reader::ComponentFile;
use super::writer::ComponentWriter;
use crate::backend::StorageBackend;
use crate::error::{Result, StorageError};
use crate::wire::number_in_name;

const SPARE: &str = "spare";

const CENTROIDS: u32 = 1;
const CUTOFFS: u32 = 2;
const WEIGHTS: u32 = 3;
const CENTROID_BYTES: u32 = 4;
const CENTROID_SCALES: u32 = 5;
const SCALES: u32 = 6;
const INVERSE_NORMS: u32 = 7;
const DISTORTION: u32 = 8;

/// Centroids, a quantizer, and how many tokens they were trained for.
#[derive(Debug)]
pub struct Codebook {
    /// Its number in the collection; segments name it.
    pub id: u64,
    /// The codec.
    pub codec: ResidualCodec,
    /// Tokens of the collection when it was trained: a collection of several times as many wants another.
    pub trained_on_tokens: u64,
    /// The mean squared distance to their centroids of tokens that the training did not see; none where it is not known.
    pub distortion: Option<f32>,
}

impl Codebook {
    /// Writes and syncs a new file, and a spare beside it: without its codebook no code means anything. The caller syncs
    /// their folder. Returns the length of one.
    ///
    /// # Errors
    /// What the backend says.
    pub fn write(&self, backend: &dyn StorageBackend, path: &Path) -> Result<u64> {
        self.write_one(backend, path)?;
        self.write_one(backend, &spare_path(path))
    }

    /// Writes one of the two files.
    pub(crate) fn write_one(&self, backend: &dyn StorageBackend, path: &Path) -> Result<u64> {
        let create = |tags: &[u32]| {
            let known = self.distortion.map(|_| DISTORTION);
            let tags: Vec<u32> = tags.iter().copied().chain(known).collect();
            ComponentWriter::create(backend, path, CODEBOOK_KIND, &tags)
        };
        let (mut writer, kind) = match self.codec.quantizer() {
            Quantizer::Buckets(buckets) => {
                let mut writer = create(&[CENTROIDS, CUTOFFS, WEIGHTS])?;
                let mut halves = vec![f16::ZERO; self.codec.centroids().len()];
                halves.convert_from_f32_slice(self.codec.centroids());
                writer.append(CENTROIDS, bytemuck::cast_slice(&halves))?;
                writer.append(CUTOFFS, bytemuck::cast_slice(buckets.cutoffs()))?;
                writer.append(WEIGHTS, bytemuck::cast_slice(buckets.weights()))?;
                (writer, TokenCodec::Buckets)
            }
            Quantizer::Trellis(trellis) => {
                let mut writer = create(&[CENTROID_BYTES, CENTROID_SCALES, SCALES, INVERSE_NORMS])?;
                let centroids = self.codec.centroid_bytes();
                writer.append(CENTROID_BYTES, &centroids.values)?;
                writer.append(CENTROID_SCALES, bytemuck::cast_slice(&centroids.scales))?;
                writer.append(SCALES, bytemuck::cast_slice(trellis.scales()))?;
                writer.append(INVERSE_NORMS, bytemuck::cast_slice(trellis.inverse_norms()))?;
                (writer, TokenCodec::Trellis)
            }
        };
        if let Some(distortion) = self.distortion {
            writer.append(DISTORTION, bytemuck::bytes_of(&distortion))?;
        }
        let (dim, bits) = (self.codec.dim() as u64, u64::from(self.codec.bits()));
        let finished = writer.finish([
            self.id,
            dim,
            bits,
            self.codec.len() as u64,
            self.trained_on_tokens,
            kind as u64,
        ])?;
        Ok(finished.written.bytes)
    }

    /// Reads a codebook whole, or its spare where it is damaged or missing.
    ///
    /// # Errors
    /// [`crate::StorageError::Corruption`] when both are damaged, [`crate::StorageError::VersionTooNew`].
    pub fn open(backend: &dyn StorageBackend, path: &Path) -> Result<Self> {
        let error = match Self::open_one(backend, path) {
            Err(error) if !matches!(error, StorageError::VersionTooNew { .. }) => error,
            opened => return opened,
        };
        let spare = Self::open_one(backend, &spare_path(path)).map_err(|_| error.clone())?;
        tracing::warn!(%error, "a codebook cannot be read; its spare stands in for it");
        Ok(spare)
    }

    /// Which of a codebook's two files cannot be read, or are missing.
    pub(crate) fn damaged_files(backend: &dyn StorageBackend, path: &Path) -> Vec<PathBuf> {
        let mut files = vec![path.to_owned(), spare_path(path)];
        let verified = |file: &PathBuf| ComponentFile::open(backend, file, CODEBOOK_KIND)?.verify();
        files.retain(|file| Self::open_one(backend, file).is_err() || verified(file).is_err());
        files
    }

    /// What is wrong with a codebook's file and with its spare.
    pub(crate) fn damage(backend: &dyn StorageBackend, path: &Path) -> Vec<StorageError> {
        let files = [path.to_owned(), spare_path(path)];
        let damage = |file: &PathBuf| {
            let opened = Self::open_one(backend, file);
            opened
                .and_then(|_| ComponentFile::open(backend, file, CODEBOOK_KIND)?.verify())
                .err()
        };
        files.iter().filter_map(damage).collect()
    }

    /// Removes a codebook's files.
    pub(crate) fn remove(backend: &dyn StorageBackend, path: &Path) {
        let _ = backend.remove_file(path);
        let _ = backend.remove_file(&spare_path(path));
    }

    fn open_one(backend: &dyn StorageBackend, path: &Path) -> Result<Self> {
        let file = ComponentFile::open(backend, path, CODEBOOK_KIND)?;
        let [id, dim, bits, centroids, trained_on_tokens, kind] = file.params();
        let wrong =
            |found: String| file.corruption(0, "a dimension, bits and centroids of a residual codec", found);
        let shape = || format!("{centroids} centroids of {dim} numbers at {bits} bits");
        let dim = usize::try_from(dim).map_err(|_| wrong(shape()))?;
        let rows = usize::try_from(centroids).map_err(|_| wrong(shape()))?;
        let count = rows.checked_mul(dim).ok_or_else(|| wrong(shape()))?;
        let bits = u8::try_from(bits).map_err(|_| wrong(shape()))?;
        let codec = match TokenCodec::ALL.into_iter().find(|c| *c as u64 == kind) {
            Some(TokenCodec::Buckets) => buckets(&file, dim, bits, count)?,
            Some(TokenCodec::Trellis) => trellis(&file, dim, bits, rows, count)?,
            None => return Err(file.corruption(0, "buckets (0) or a trellis (1)", kind.to_string())),
        };
        let codec = codec.map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            id,
            codec,
            trained_on_tokens,
            distortion: known_distortion(&file, DISTORTION)?,
        })
    }
}

/// The second file of a codebook.
pub(crate) fn spare_path(path: &Path) -> PathBuf {
    path.with_extension(SPARE)
}

/// The number of a codebook, from the name of one of its files.
pub(crate) fn codebook_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".spare").unwrap_or(name);
    number_in_name(number)
}

/// A distortion that is kept in a section of its own; none in files of before.
pub(super) fn known_distortion(file: &ComponentFile, tag: u32) -> Result<Option<f32>> {
    if !file.has(tag) {
        return Ok(None);
    }
    let kept: &[f32] = file.exactly(tag, 1)?;
    match kept {
        [distortion] if distortion.is_finite() && *distortion >= 0.0 => Ok(Some(*distortion)),
        other => Err(file.corruption_in(tag, 0, "a mean of squares", format!("{other:?}"))),
    }
}

type Read = std::result::Result<ResidualCodec, CodecError>;

fn buckets(file: &ComponentFile, dim: usize, bits: u8, count: usize) -> Result<Read> {
    let halves: &[f16] = file.exactly(CENTROIDS, count)?;
    let (cutoffs, weights): (&[f32], &[f32]) = (file.numbers(CUTOFFS)?, file.numbers(WEIGHTS)?);
    let parts = (halves.to_f32_vec(), cutoffs.to_vec(), weights.to_vec());
    Ok(ResidualCodec::from_parts(dim, bits, parts.0, parts.1, parts.2))
}

fn trellis(file: &ComponentFile, dim: usize, bits: u8, rows: usize, count: usize) -> Result<Read> {
    let values: &[u8] = file.exactly(CENTROID_BYTES, count)?;
    let centroid_scales: &[f32] = file.exactly(CENTROID_SCALES, rows)?;
    let (scales, norms): (&[f32], &[f32]) = (file.numbers(SCALES)?, file.numbers(INVERSE_NORMS)?);
    let centroids = CentroidBytes {
        values: values.to_vec(),
        scales: centroid_scales.to_vec(),
    };
    Ok(ResidualCodec::from_trellis(
        dim,
        bits,
        centroids,
        scales.to_vec(),
        norms.to_vec(),
    ))
}
