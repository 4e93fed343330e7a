//! Vectors whose variance is spread over directions as that of real token embeddings.

use latewood_benches::random::Random;

/// The distribution of one token's direction: Gaussian along fixed axes with falling variance.
///
/// The axes are those of a rotation (random signs and a Hadamard transform, twice), so that no coordinate stands out, as
/// none does in real embeddings.
pub(crate) struct Spectrum {
    deviations: Vec<f32>,
    signs: [Vec<f32>; 2],
    /// The largest power of two that divides the dimension.
    block: usize,
}

impl Spectrum {
    /// The k-th of 128 variances is in proportion to exp(-k / 170) / (k + 1.5)^0.42: the sums of the first 8, 32 and 64 are
    /// 0.21, 0.51 and 0.74 of the whole; of real tokens they are 0.24, 0.55 and 0.77, of their residuals 0.17, 0.47 and 0.71.
    pub(crate) fn new(seed: u64, dim: usize) -> Self {
        const MEASURED_DIM: f64 = 128.0;
        let variance = |k: usize| {
            let k = k as f64 * MEASURED_DIM / dim as f64;
            (-k / 170.0).exp() / (k + 1.5).powf(0.42)
        };
        let total: f64 = (0..dim).map(variance).sum();
        let mut random = Random::new(seed, u64::MAX - 1);
        let mut signs = || {
            (0..dim)
                .map(|_| if random.below(2) == 0 { 1.0 } else { -1.0 })
                .collect()
        };
        Self {
            deviations: (0..dim).map(|k| (variance(k) / total).sqrt() as f32).collect(),
            signs: [signs(), signs()],
            block: 1 << dim.trailing_zeros(),
        }
    }

    /// A Gaussian vector of expected length 1, before the rotation.
    pub(crate) fn draw(&self, random: &mut Random) -> Vec<f32> {
        let mut out = vec![0.0; self.deviations.len()];
        self.add(random, 1.0, &mut out);
        out
    }

    /// Adds a Gaussian vector of expected squared length `energy` to `out`, before the rotation.
    pub(crate) fn add(&self, random: &mut Random, energy: f32, out: &mut [f32]) {
        let scale = energy.sqrt();
        for (out, deviation) in out.iter_mut().zip(&self.deviations) {
            *out += scale * deviation * gaussian(random);
        }
    }

    /// Rotates a vector and brings it to unit length.
    pub(crate) fn rotate(&self, vector: &mut [f32]) {
        for signs in &self.signs {
            for (value, sign) in vector.iter_mut().zip(signs) {
                *value *= sign;
            }
            vector.chunks_exact_mut(self.block).for_each(hadamard);
            // Blocks exchange their coordinates before the second round.
            let blocks = vector.len() / self.block;
            if blocks > 1 {
                let old = vector.to_vec();
                for (at, value) in old.into_iter().enumerate() {
                    vector[(at % self.block) * blocks + at / self.block] = value;
                }
            }
        }
        normalize(vector);
    }
}

/// The Walsh-Hadamard transform, without its scale.
fn hadamard(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

fn normalize(vector: &mut [f32]) {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    for value in vector {
        *value /= norm;
    }
}

/// Of mean 0 and variance 1, by the sum of four uniform numbers: cheap, and without tails beyond 3.5.
fn gaussian(random: &mut Random) -> f32 {
    const MEAN: f32 = 2.0 * 65_535.0;
    const DEVIATION: f32 = 37_837.2;
    let bits = random.next_u64();
    let sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    (sum as f32 - MEAN) / DEVIATION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_the_energy_and_the_spectrum() {
        let spectrum = Spectrum::new(1, 128);
        let mut random = Random::new(1, 0);
        let mut energies = vec![0.0; 128];
        for _ in 0..2_000 {
            let mut vector = vec![0.0; 128];
            spectrum.add(&mut random, 0.25, &mut vector);
            for (energy, value) in energies.iter_mut().zip(vector) {
                *energy += value * value / 2_000.0;
            }
        }
        let share = |k: usize| energies[..k].iter().sum::<f32>() / 0.25;
        for (k, expected) in [(8, 0.21), (32, 0.51), (64, 0.74), (128, 1.0)] {
            assert!((share(k) - expected).abs() < 0.03, "{k}: {}", share(k));
        }
    }

    #[test]
    fn a_rotation_keeps_angles_and_leaves_no_axis() {
        for dim in [8, 96, 128] {
            let spectrum = Spectrum::new(1, dim);
            let mut random = Random::new(2, 0);
            let (mut a, mut b) = (vec![0.0; dim], vec![0.0; dim]);
            spectrum.add(&mut random, 1.0, &mut a);
            spectrum.add(&mut random, 1.0, &mut b);
            normalize(&mut a);
            normalize(&mut b);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
            let before = dot(&a, &b);
            spectrum.rotate(&mut a);
            spectrum.rotate(&mut b);
            assert!((dot(&a, &a) - 1.0).abs() < 1e-4 && (dot(&a, &b) - before).abs() < 1e-4);
            let mut axis = vec![0.0; dim];
            axis[0] = 1.0;
            spectrum.rotate(&mut axis);
            assert!(axis.iter().all(|x| x.abs() < 0.8), "{dim}");
        }
    }
}
