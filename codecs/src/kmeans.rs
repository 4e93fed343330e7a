//! Spherical k-means: the centroids of the residual codec.

use crate::error::{CodecError, all_finite, length, whole_rows};
use crate::kernel::Kernel;
use crate::metric::normalize;
use crate::residual::CentroidSearch;
use crate::tokens::check_dim;
use std::sync::OnceLock;

/// Spherical k-means over a sample of tokens: centroids are unit vectors, and a token belongs to the one of greatest dot
/// product. The caller drives the iterations, so that it can spread the assignment over threads of its own:
///
/// ```
/// use latewood_codecs::kmeans::KMeans;
/// # fn main() -> Result<(), latewood_codecs::CodecError> {
/// let sample: Vec<f32> = (0..64 * 8).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
/// let mut kmeans = KMeans::new(8, 4, &sample, 42)?;
/// for _ in 0..4 {
///     let codes = kmeans.assign(&sample); // or block by block, in parallel
///     kmeans.update(&sample, &codes);
/// }
/// assert_eq!(kmeans.finish().len(), 4 * 8);
/// # Ok(())
/// # }
/// ```
///
/// A sample that is not in memory is read block by block: [`add`](Self::add) each, then [`finish_pass`](Self::finish_pass).
///
/// The same sample, seed and iterations give the same centroids on every machine of one instruction set.
#[derive(Clone, Debug)]
pub struct KMeans {
    dim: usize,
    centroids: Vec<f32>,
    /// Number and sum of the rows that were added to each cluster in this pass.
    counts: Vec<u32>,
    sums: Vec<f32>,
    /// Made on the first assignment: after the last update there is none.
    search: OnceLock<CentroidSearch>,
    random: u64,
}

impl KMeans {
    /// Starts from `k` different rows of the sample (rows of `dim` numbers), drawn by the seed.
    ///
    /// # Errors
    /// A dimension that no codec has, numbers that are not finite, a sample of fewer rows than `k`, `k` of 0.
    pub fn new(dim: usize, k: usize, sample: &[f32], seed: u64) -> Result<Self, CodecError> {
        check_dim(dim)?;
        let rows = whole_rows(sample.len(), dim)?;
        length("clusters", k.clamp(1, rows.max(1)), k)?;
        length("sample rows", rows.max(k), rows)?;
        all_finite(sample, dim)?;
        let mut random = seed;
        let mut order: Vec<usize> = (0..rows).collect();
        let mut centroids = Vec::with_capacity(k * dim);
        for chosen in 0..k {
            let other = chosen + below(&mut random, rows - chosen);
            order.swap(chosen, other);
            centroids.extend_from_slice(&sample[order[chosen] * dim..][..dim]);
        }
        Self::from_rows(dim, centroids, random)
    }

    /// Starts from given rows of `dim` numbers, one a cluster: different rows of the sample, drawn by chance.
    ///
    /// # Errors
    /// A dimension that no codec has, numbers that are not finite, no row.
    pub fn from_rows(dim: usize, mut rows: Vec<f32>, seed: u64) -> Result<Self, CodecError> {
        check_dim(dim)?;
        let k = whole_rows(rows.len(), dim)?;
        length("clusters", k.max(1), k)?;
        all_finite(&rows, dim)?;
        rows.chunks_exact_mut(dim).for_each(|c| {
            normalize(c);
        });
        Ok(Self {
            dim,
            centroids: rows,
            counts: Vec::new(),
            sums: Vec::new(),
            search: OnceLock::new(),
            random: seed,
        })
    }

    /// The nearest centroid of each row of a block; from 4,096 on a near one, found in two levels, in most cases the
    /// nearest.
    #[must_use]
    pub fn assign(&self, block: &[f32]) -> Vec<u32> {
        let mut codes = Vec::with_capacity(block.len() / self.dim);
        let search = self
            .search
            .get_or_init(|| CentroidSearch::new(self.dim, &self.centroids, Kernel::best()));
        search.assign(self.dim, &self.centroids, block, &mut codes);
        codes
    }

    /// Moves each centroid to the direction of the mean of its rows; an empty one starts again at a row of a cluster that
    /// has several. `codes` are those of all rows of the sample; the number of clusters that were empty is returned.
    pub fn update(&mut self, sample: &[f32], codes: &[u32]) -> usize {
        self.add(sample, codes);
        let dim = self.dim;
        self.finish_pass(codes, |row, out| out.copy_from_slice(&sample[row * dim..][..dim]))
    }

    /// Adds rows to their clusters: a pass is done when all rows have been. Sums depend on the order of rows, not on how
    /// they are cut into blocks.
    pub fn add(&mut self, block: &[f32], codes: &[u32]) {
        let dim = self.dim;
        debug_assert_eq!(block.len(), codes.len() * dim);
        self.counts.resize(self.centroids.len() / dim, 0);
        self.sums.resize(self.centroids.len(), 0.0);
        for (row, code) in block.chunks_exact(dim).zip(codes) {
            self.counts[*code as usize] += 1;
            for (sum, v) in self.sums[*code as usize * dim..][..dim].iter_mut().zip(row) {
                *sum += v;
            }
        }
    }

    /// As [`update`](Self::update), of the rows that have been added; `codes` are those of all of them in their order, and
    /// `row` reads one by its place in it. Without rows nothing moves.
    pub fn finish_pass(&mut self, codes: &[u32], mut row: impl FnMut(usize, &mut [f32])) -> usize {
        let dim = self.dim;
        if codes.is_empty() {
            return 0;
        }
        let (mut counts, mut sums) = (std::mem::take(&mut self.counts), std::mem::take(&mut self.sums));
        let mut reseeded = 0;
        for (cluster, sum) in sums.chunks_exact_mut(dim).enumerate() {
            // Rows that cancel out leave no direction either.
            if counts[cluster] == 0 || !normalize(sum) {
                let donor = self.donor(&mut counts, codes);
                row(donor, sum);
                normalize(sum);
                reseeded += 1;
            }
        }
        self.centroids = sums;
        self.search = OnceLock::new();
        reseeded
    }

    /// The centroids, unit vectors, row after row.
    #[must_use]
    pub fn finish(self) -> Vec<f32> {
        self.centroids
    }

    /// A row of a cluster that can spare one: large clusters are met most often.
    fn donor(&mut self, counts: &mut [u32], codes: &[u32]) -> usize {
        let mut row = below(&mut self.random, codes.len());
        for _ in 0..64 {
            if counts[codes[row] as usize] > 1 {
                break;
            }
            row = below(&mut self.random, codes.len());
        }
        let count = &mut counts[codes[row] as usize];
        *count = count.saturating_sub(1);
        row
    }
}

/// A number below `n` (splitmix64, by the multiply-shift of Lemire).
fn below(state: &mut u64, n: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    usize::try_from((u128::from(z) * n as u128) >> 64).unwrap_or(0)
}
