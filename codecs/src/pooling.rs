//! Token pooling: the tokens of a document that say nearly the same become one vector.
//!
//! Clavié, Chaffin and Adams, *Reducing the Footprint of Multi-Vector Retrieval with Minimal Performance Impact via Token
//! Pooling* (arXiv 2409.14683), hierarchical variant: agglomerative clustering of a document's tokens by Ward's criterion,
//! each cluster replaced by the mean of its tokens. Only documents are pooled, when they are written; queries never are.

use crate::error::CodecError;
use crate::kernel::exact_dot;
use crate::metric::normalize;
use crate::tokens::TokenMatrix;

/// The greatest pool factor.
pub const MAX_POOL_FACTOR: usize = 32;

/// Tokens that are clustered together: a longer document is clustered in windows of about so many, one after the other,
/// so that its distances take 4 MiB and not 256.
const WINDOW: usize = 1024;

impl TokenMatrix {
    /// This document in `ceil(len / factor)` vectors of unit length; a factor of 1 changes nothing. The vectors stand in the
    /// order of the first token of each.
    ///
    /// Clusters are those of Ward's criterion over the cosine (squared distances of unit vectors), found by the
    /// nearest-neighbour chain (Murtagh, *A survey of recent advances in hierarchical clustering algorithms*, The Computer
    /// Journal 26(4), 1983) in `O(n^2)` for `n` tokens, with their `n^2 / 2` products. Beyond 1,024 tokens each window of so
    /// many consecutive tokens is pooled by itself. The result is the same on every machine; but for ties, and beyond a
    /// window, it does not depend on the order of the tokens.
    ///
    /// # Errors
    /// [`CodecError::PoolFactor`] unless the factor is 1 to [`MAX_POOL_FACTOR`].
    pub fn pooled(&self, factor: usize) -> Result<Self, CodecError> {
        if !(1..=MAX_POOL_FACTOR).contains(&factor) {
            return Err(CodecError::PoolFactor {
                max: MAX_POOL_FACTOR,
                got: factor,
            });
        }
        if factor == 1 {
            return Ok(self.clone());
        }
        let dim = self.dim();
        let mut tokens = self.to_f32();
        // Every row has a direction; those within 1% of unit length come as they were written.
        for row in tokens.chunks_exact_mut(dim) {
            normalize(row);
        }
        let mut pooled = Vec::with_capacity(tokens.len() / factor + dim);
        for window in tokens.chunks((WINDOW - WINDOW % factor) * dim) {
            let wanted = (window.len() / dim).div_ceil(factor);
            means(window, dim, &clusters(window, dim, wanted), wanted, &mut pooled);
        }
        Self::from_f32(dim, &pooled)
    }
}

/// Appends the mean of each cluster, at unit length.
fn means(tokens: &[f32], dim: usize, clusters: &[usize], count: usize, out: &mut Vec<f32>) {
    let first = out.len();
    out.resize(first + count * dim, 0.0);
    let sums = &mut out[first..];
    for (token, cluster) in tokens.chunks_exact(dim).zip(clusters) {
        let sum = &mut sums[cluster * dim..][..dim];
        sum.iter_mut().zip(token).for_each(|(s, t)| *s += t);
    }
    for (cluster, sum) in sums.chunks_exact_mut(dim).enumerate() {
        // Opposite tokens can cancel out: their first stands for them then.
        let member = clusters.iter().position(|c| *c == cluster);
        if !normalize(sum)
            && let Some(member) = member
        {
            sum.copy_from_slice(&tokens[member * dim..][..dim]);
        }
    }
}

/// The cluster of each token, `wanted` of them, numbered in the order of their first tokens.
fn clusters(tokens: &[f32], dim: usize, wanted: usize) -> Vec<usize> {
    let count = tokens.len() / dim;
    let mut merges = Dendrogram::new(tokens, dim).merges();
    // Ward's criterion never merges closer later than farther, so the closest merges are the lowest of the tree.
    merges.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    let mut parents: Vec<usize> = (0..count).collect();
    for merge in merges.iter().take(count - wanted) {
        let (a, b) = (root(&mut parents, merge.into), root(&mut parents, merge.from));
        parents[a.max(b)] = a.min(b);
    }
    let mut numbers = vec![usize::MAX; count];
    let mut next = 0;
    (0..count)
        .map(|token| {
            let number = &mut numbers[root(&mut parents, token)];
            if *number == usize::MAX {
                *number = next;
                next += 1;
            }
            *number
        })
        .collect()
}

/// The representative of a token's set; halves the path to it.
fn root(parents: &mut [usize], mut at: usize) -> usize {
    while parents[at] != at {
        parents[at] = parents[parents[at]];
        at = parents[at];
    }
    at
}

/// Two clusters that become one, each named by a token of it.
#[derive(Clone, Copy, Debug)]
struct Merge {
    distance: f32,
    into: usize,
    from: usize,
}

/// Clusters on their way from tokens to one. A cluster has the number of one of its tokens.
struct Dendrogram {
    count: usize,
    /// Row-major; infinite to a cluster itself and to what has been merged away.
    distances: Vec<f32>,
    sizes: Vec<f32>,
    alive: Vec<bool>,
}

impl Dendrogram {
    fn new(tokens: &[f32], dim: usize) -> Self {
        let count = tokens.len() / dim;
        let mut distances = vec![f32::INFINITY; count * count];
        for (i, a) in tokens.chunks_exact(dim).enumerate() {
            for (j, b) in tokens.chunks_exact(dim).enumerate().take(i) {
                let distance = (2.0 - 2.0 * exact_dot(a, b)).max(0.0);
                distances[i * count + j] = distance;
                distances[j * count + i] = distance;
            }
        }
        Self {
            count,
            distances,
            sizes: vec![1.0; count],
            alive: vec![true; count],
        }
    }

    /// Every merge, in the order in which the chain finds them.
    fn merges(mut self) -> Vec<Merge> {
        let mut merges = Vec::with_capacity(self.count - 1);
        let mut chain: Vec<usize> = Vec::new();
        let mut first = 0;
        while merges.len() + 1 < self.count {
            let Some(&top) = chain.last() else {
                while !self.alive[first] {
                    first += 1;
                }
                chain.push(first);
                continue;
            };
            let previous = chain.len().checked_sub(2).map(|at| chain[at]);
            let (nearest, distance) = self.nearest(top, previous);
            if Some(nearest) == previous {
                chain.truncate(chain.len() - 2);
                merges.push(self.merge(top, nearest, distance));
            } else {
                chain.push(nearest);
            }
        }
        merges
    }

    /// The cluster nearest to one; of several, `preferred` if it is among them, else the lowest.
    fn nearest(&self, cluster: usize, preferred: Option<usize>) -> (usize, f32) {
        let row = &self.distances[cluster * self.count..][..self.count];
        // No distance is NaN; without that case a comparison takes several numbers at once.
        let least = row
            .iter()
            .fold(f32::INFINITY, |least, d| if *d < least { *d } else { least });
        match preferred.filter(|at| row[*at] <= least) {
            Some(at) => (at, least),
            None => (row.iter().position(|d| *d == least).unwrap_or(cluster), least),
        }
    }

    /// Makes two clusters one, with the distances of Lance and Williams (The Computer Journal 9(4), 1967) for Ward's
    /// criterion.
    fn merge(&mut self, a: usize, b: usize, distance: f32) -> Merge {
        let (into, from) = (a.min(b), a.max(b));
        let (size_into, size_from) = (self.sizes[into], self.sizes[from]);
        for other in 0..self.count {
            let size = self.sizes[other];
            let updated = ((size_into + size) * self.distances[into * self.count + other]
                + (size_from + size) * self.distances[from * self.count + other]
                - size * distance)
                / (size_into + size_from + size);
            // To itself and to what is gone it stays infinite: one of the two summands is.
            self.distances[into * self.count + other] = updated;
            self.distances[other * self.count + into] = updated;
            self.distances[other * self.count + from] = f32::INFINITY;
        }
        self.distances[from * self.count..][..self.count].fill(f32::INFINITY);
        self.distances[into * self.count + into] = f32::INFINITY;
        self.sizes[into] += size_from;
        self.alive[from] = false;
        Merge { distance, into, from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIM: usize = 8;

    fn matrix(rows: &[Vec<f32>]) -> TokenMatrix {
        TokenMatrix::from_f32(DIM, &rows.concat()).unwrap()
    }

    fn rows(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<f32>>> {
        let row = prop::collection::vec(-1.0f32..1.0, DIM);
        let row = row.prop_filter("a direction", |row| row.iter().any(|v| v.abs() > 0.1));
        prop::collection::vec(row, count)
    }

    /// Ward's clusters by their definition: the two whose union adds least to the squared distances from the means.
    fn by_definition(tokens: &[f32], wanted: usize) -> Vec<usize> {
        let mut clusters: Vec<Vec<usize>> = (0..tokens.len() / DIM).map(|i| vec![i]).collect();
        let spread = |members: &[usize]| -> f64 {
            let numbers = |i: usize| tokens[i * DIM..][..DIM].iter().map(|v| f64::from(*v));
            let mut mean = [0.0; DIM];
            for &i in members {
                mean.iter_mut()
                    .zip(numbers(i))
                    .for_each(|(m, v)| *m += v / members.len() as f64);
            }
            let from_mean = |i: &usize| numbers(*i).zip(mean).map(|(v, m)| (v - m).powi(2)).sum::<f64>();
            members.iter().map(from_mean).sum()
        };
        while clusters.len() > wanted {
            let mut best = (f64::INFINITY, 0, 0);
            for a in 0..clusters.len() {
                for b in a + 1..clusters.len() {
                    let both = [clusters[a].as_slice(), &clusters[b]].concat();
                    let added = spread(&both) - spread(&clusters[a]) - spread(&clusters[b]);
                    if added < best.0 {
                        best = (added, a, b);
                    }
                }
            }
            let moved = clusters.remove(best.2);
            clusters[best.1].extend(moved);
        }
        let mut out = vec![0; tokens.len() / DIM];
        clusters.sort_by_key(|members| members.iter().copied().min());
        for (number, members) in clusters.iter().enumerate() {
            members.iter().for_each(|i| out[*i] = number);
        }
        out
    }

    proptest! {
        #[test]
        fn there_are_as_many_vectors_as_the_factor_leaves_all_of_unit_length(rows in rows(1..60), factor in 2..=MAX_POOL_FACTOR) {
            let pooled = matrix(&rows).pooled(factor).unwrap();
            prop_assert_eq!(pooled.len(), rows.len().div_ceil(factor));
            for row in pooled.to_f32().chunks_exact(DIM) {
                let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
                prop_assert!((norm - 1.0).abs() < 2e-3, "{norm}");
            }
        }

        #[test]
        fn the_clusters_are_ward_s(rows in rows(2..14), factor in 2usize..5) {
            let mut tokens = rows.concat();
            for row in tokens.chunks_exact_mut(DIM) {
                prop_assert!(normalize(row));
            }
            let wanted = rows.len().div_ceil(factor);
            prop_assert_eq!(clusters(&tokens, DIM, wanted), by_definition(&tokens, wanted));
        }

        #[test]
        fn the_order_of_tokens_does_not_matter(rows in rows(2..40), turn in 0usize..40, factor in 2usize..5) {
            let mut turned = rows.clone();
            turned.rotate_left(turn % rows.len());
            let pooled = |rows: &[Vec<f32>]| matrix(rows).pooled(factor).unwrap().to_f32();
            let (own, other) = (pooled(&rows), pooled(&turned));
            prop_assert_eq!(own.len(), other.len());
            for a in own.chunks_exact(DIM) {
                let is_near = |b: &[f32]| a.iter().zip(b).all(|(x, y)| (x - y).abs() < 2e-3);
                prop_assert!(other.chunks_exact(DIM).any(is_near), "{a:?} is not in {other:?}");
            }
        }

        #[test]
        fn identical_tokens_collapse(rows in rows(1..20), factor in 2usize..5) {
            let mut unit = matrix(&rows).to_f32();
            for row in unit.chunks_exact_mut(DIM) {
                prop_assert!(normalize(row));
            }
            let repeated: Vec<Vec<f32>> = rows.iter().flat_map(|row| vec![row.clone(); factor]).collect();
            let pooled = matrix(&repeated).pooled(factor).unwrap();
            for (a, b) in pooled.to_f32().iter().zip(&unit) {
                prop_assert!((a - b).abs() < 2e-3, "{a} and {b}");
            }
        }
    }

    #[test]
    fn a_factor_of_one_changes_nothing_and_others_out_of_range_are_refused() {
        let two = matrix(&[
            vec![1.004, 0., 0., 0., 0., 0., 0., 0.],
            vec![0., 1., 0., 0., 0., 0., 0., 0.],
        ]);
        assert_eq!(two.pooled(1).unwrap(), two);
        assert_eq!(two.pooled(MAX_POOL_FACTOR).unwrap().len(), 1);
        for got in [0, MAX_POOL_FACTOR + 1, usize::MAX] {
            assert_eq!(
                two.pooled(got),
                Err(CodecError::PoolFactor {
                    max: MAX_POOL_FACTOR,
                    got
                })
            );
        }
    }

    #[test]
    fn opposite_tokens_leave_one_of_them() {
        let one = vec![1., 0., 0., 0., 0., 0., 0., 0.];
        let other: Vec<f32> = one.iter().map(|v| -v).collect();
        let pooled = matrix(&[one.clone(), other]).pooled(2).unwrap();
        assert_eq!(pooled.to_f32(), one);
    }

    #[test]
    fn a_document_of_the_greatest_length_is_pooled_in_windows() {
        let numbers: Vec<f32> = (0..8192u32 * 8)
            .map(|i| f32::from(u8::try_from(i * 7919 % 251).unwrap()) - 125.0)
            .collect();
        let long = TokenMatrix::from_f32(DIM, &numbers).unwrap();
        for factor in [2, 3, 7] {
            assert_eq!(long.pooled(factor).unwrap().len(), 8192usize.div_ceil(factor));
        }
    }
}
