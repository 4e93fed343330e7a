//! A fixed orthonormal map that spreads every direction over all dimensions.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::kernel::Kernel;

/// Seed of the signs: part of the file format.
const SEED: u64 = 0x4c61_7465_776f_6f64;
const ROUNDS: u64 = 3;
/// The maps that were asked for, by dimension: a query would spend a thirtieth of its time on making its own.
static MADE: RwLock<BTreeMap<usize, &'static Rotation>> = RwLock::new(BTreeMap::new());

/// Three rounds of random signs and fast Walsh-Hadamard transforms, the map of Ailon and Chazelle (STOC 2006) made
/// orthonormal for dimensions that are no power of two: each round transforms the greatest power of two of numbers from
/// the front, then from the back.
///
/// It depends on the dimension alone, and takes `O(dim log dim)`.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    dim: usize,
    power: usize,
    /// `ROUNDS` rows of 1 and -1.
    signs: Vec<f32>,
    kernel: Kernel,
}

impl Rotation {
    pub(crate) fn new(dim: usize) -> Self {
        let mut state = SEED ^ dim as u64;
        let signs = (0..ROUNDS * dim as u64).map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            if (z ^ (z >> 31)) & 1 == 0 { 1.0 } else { -1.0 }
        });
        Self {
            dim,
            power: 1 << dim.max(1).ilog2(),
            signs: signs.collect(),
            kernel: Kernel::best(),
        }
    }

    /// The map of a dimension, made once and kept: 12 bytes a dimension.
    pub(crate) fn of(dim: usize) -> &'static Self {
        let made = MADE
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&dim)
            .copied();
        made.unwrap_or_else(|| {
            let mut all = MADE.write().unwrap_or_else(PoisonError::into_inner);
            all.entry(dim)
                .or_insert_with(|| Box::leak(Box::new(Self::new(dim))))
        })
    }

    /// A row of at most so many numbers, rotated; those that it lacks are zeros.
    pub(crate) fn turned(&self, row: &[f32]) -> Vec<f32> {
        let mut turned = vec![0.0; self.dim];
        turned[..row.len()].copy_from_slice(row);
        self.apply(&mut turned);
        turned
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Rotates a row in place.
    pub(crate) fn apply(&self, row: &mut [f32]) {
        debug_assert_eq!(row.len(), self.dim);
        for signs in self.signs.chunks_exact(self.dim) {
            row.iter_mut().zip(signs).for_each(|(v, s)| *v *= s);
            self.kernel.hadamard(&mut row[..self.power]);
            if self.power < self.dim {
                self.kernel.hadamard(&mut row[self.dim - self.power..]);
            }
        }
    }

    /// Takes [`apply`](Self::apply) back.
    pub(crate) fn invert(&self, row: &mut [f32]) {
        debug_assert_eq!(row.len(), self.dim);
        for signs in self.signs.chunks_exact(self.dim).rev() {
            if self.power < self.dim {
                self.kernel.hadamard(&mut row[self.dim - self.power..]);
            }
            self.kernel.hadamard(&mut row[..self.power]);
            row.iter_mut().zip(signs).for_each(|(v, s)| *v *= s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_lengths_spreads_directions_and_is_taken_back() {
        for dim in [8, 24, 96, 128, 1000, 1024] {
            let rotation = Rotation::new(dim);
            for axis in [0, dim / 2, dim - 1] {
                let mut row = vec![0.0; dim];
                row[axis] = 1.0;
                rotation.apply(&mut row);
                let norm: f32 = row.iter().map(|v| v * v).sum();
                assert!((norm - 1.0).abs() < 1e-5, "{dim}: {norm}");
                let most = row.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                assert!(most < 0.9, "{dim}: {most}");
                rotation.invert(&mut row);
                for (at, v) in row.iter().enumerate() {
                    let expected = if at == axis { 1.0 } else { 0.0 };
                    assert!((v - expected).abs() < 1e-5, "{dim}, {axis}: {v} at {at}");
                }
            }
        }
    }
}
