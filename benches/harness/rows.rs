//! Dense vectors of a file.

use std::path::Path;

use latewood::import::NpyReader;

use crate::Failure;

/// Unit vectors, row after row.
pub struct Rows {
    /// Numbers of a vector.
    pub dim: usize,
    /// All of them.
    pub values: Vec<f32>,
}

impl Rows {
    /// The first `limit` rows of an array of float16 or float32, brought to unit length.
    ///
    /// # Errors
    /// What reading the file says.
    pub fn read(path: &Path, limit: Option<usize>) -> Result<Self, Failure> {
        let mut reader = NpyReader::open(path)?;
        let rows = usize::try_from(reader.rows())?.min(limit.unwrap_or(usize::MAX));
        let (dim, mut values) = (reader.row_len(), Vec::new());
        reader.read_f32(rows, &mut values)?;
        for row in values.chunks_exact_mut(dim) {
            let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-9);
            row.iter_mut().for_each(|v| *v /= norm);
        }
        Ok(Self { dim, values })
    }

    /// Number of vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The vectors in turn.
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim)
    }

    /// The vector of this number, which exists.
    #[must_use]
    pub fn row(&self, number: usize) -> &[f32] {
        &self.values[number * self.dim..][..self.dim]
    }
}
