//! How two dense vectors are compared, and the one conversion from a distance to a score.

use crate::error::{CodecError, all_finite};
use crate::kernel::Kernel;
use serde::{Deserialize, Serialize};

/// How two dense vectors are compared. A score is higher-better under every metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Metric {
    /// Dot product of vectors that are brought to unit length when they are written.
    Cosine = 0,
    /// Dot product of the vectors as they came.
    #[serde(rename = "ip")]
    InnerProduct = 1,
    /// Minus the squared Euclidean distance.
    L2 = 2,
}

impl Metric {
    /// Every metric, in the order of its number on disk.
    pub const ALL: [Self; 3] = [Self::Cosine, Self::InnerProduct, Self::L2];

    /// The name in schemas and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::InnerProduct => "ip",
            Self::L2 => "l2",
        }
    }

    /// The metric of a name.
    ///
    /// # Errors
    /// [`CodecError::UnknownName`].
    pub fn from_name(name: &str) -> Result<Self, CodecError> {
        Self::ALL
            .into_iter()
            .find(|m| m.name() == name)
            .ok_or_else(|| CodecError::UnknownName {
                what: "metric",
                got: name.to_owned(),
                known: "cosine, ip, l2",
            })
    }

    /// The score of two vectors of one dimension that [`prepare`](Self::prepare) has seen.
    #[must_use]
    pub fn score(self, a: &[f32], b: &[f32]) -> f32 {
        debug_assert_eq!(a.len(), b.len());
        let kernel = Kernel::best();
        match self {
            Self::Cosine | Self::InnerProduct => kernel.dot_f32(a, b),
            Self::L2 => -kernel.l2sq_f32(a, b),
        }
    }

    /// Makes a vector fit to be stored or compared: all numbers finite, and under cosine brought to unit length. What was
    /// prepared before stays as it is, to the bit.
    ///
    /// # Errors
    /// [`CodecError::NotFinite`]; under cosine [`CodecError::ZeroVector`].
    pub fn prepare(self, vector: &mut [f32]) -> Result<(), CodecError> {
        all_finite(vector, vector.len())?;
        if self != Self::Cosine {
            return Ok(());
        }
        let squared = squared_length(vector);
        if squared == 0.0 {
            return Err(CodecError::ZeroVector { row: 0 });
        }
        // Rounded to f32, each number of a unit vector is off by at most 2^-24 of itself, and the square of its length by
        // twice that.
        const ROUNDING: f64 = 1.5 / (1 << 23) as f64;
        if (squared - 1.0).abs() > ROUNDING {
            let inverse = 1.0 / squared.sqrt();
            #[expect(clippy::cast_possible_truncation, reason = "a number of a unit vector")]
            vector
                .iter_mut()
                .for_each(|v| *v = (f64::from(*v) * inverse) as f32);
        }
        Ok(())
    }
}

/// The sum of the squares, of which none under- or overflows in f64. In as many sums as a processor adds at once.
fn squared_length(vector: &[f32]) -> f64 {
    const LANES: usize = 16;
    let square = |v: f32| f64::from(v).powi(2);
    let (chunks, rest) = vector.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, v)| *sum += square(*v));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|v| square(*v)).sum::<f64>()
}

/// Brings a finite vector to unit length; false, and unchanged, where it is all zeros. Vectors of tiny or huge numbers
/// are scaled first, so that no square under- or overflows.
pub(crate) fn normalize(vector: &mut [f32]) -> bool {
    let greatest = vector.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    if greatest == 0.0 {
        return false;
    }
    if !(1e-15..=1e15).contains(&greatest) {
        // Twice by the root, because 1/greatest is infinite for a subnormal number.
        let half = 1.0 / greatest.sqrt();
        vector.iter_mut().for_each(|v| *v = *v * half * half);
    }
    let inverse = 1.0 / squared_norm(vector).sqrt();
    vector.iter_mut().for_each(|v| *v *= inverse);
    true
}

/// The squared Euclidean norm, in eight partial sums so that it can run in registers.
pub(crate) fn squared_norm(vector: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let chunks = vector.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().map(|v| v * v).sum();
    for chunk in chunks {
        for (sum, v) in sums.iter_mut().zip(chunk) {
            *sum += v * v;
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
        (1usize..200).prop_flat_map(|n| {
            (
                prop::collection::vec(-10.0f32..10.0, n),
                prop::collection::vec(-10.0f32..10.0, n),
            )
        })
    }

    proptest! {
        #[test]
        fn scores_are_symmetric((a, b) in pair()) {
            for metric in Metric::ALL {
                prop_assert_eq!(metric.score(&a, &b), metric.score(&b, &a));
            }
        }

        #[test]
        fn l2_is_the_expansion_of_dot_products((a, b) in pair()) {
            let expanded = squared_norm(&a) + squared_norm(&b) - 2.0 * Metric::InnerProduct.score(&a, &b);
            let tolerance = 1e-5 * (squared_norm(&a) + squared_norm(&b)) + 1e-6;
            prop_assert!((Metric::L2.score(&a, &b) + expanded).abs() <= tolerance);
            prop_assert!(Metric::L2.score(&a, &b) <= 0.0);
            prop_assert_eq!(Metric::L2.score(&a, &a), 0.0);
        }

        #[test]
        fn a_prepared_cosine_vector_scores_one_with_itself((mut a, _) in pair(), exponent in -42i32..37) {
            prop_assume!(a.iter().any(|v| v.abs() > 0.1));
            let factor = 10.0f32.powi(exponent);
            a.iter_mut().for_each(|v| *v *= factor);
            prop_assume!(a.iter().all(|v| v.is_finite()) && a.iter().any(|v| v.abs() > 1e-43));
            Metric::Cosine.prepare(&mut a).unwrap();
            prop_assert!((Metric::Cosine.score(&a, &a) - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn what_has_no_direction_or_no_value_is_refused() {
        assert_eq!(
            Metric::Cosine.prepare(&mut [0.0, 0.0]),
            Err(CodecError::ZeroVector { row: 0 })
        );
        assert_eq!(Metric::L2.prepare(&mut [0.0, 0.0]), Ok(()));
        let refused = Metric::InnerProduct.prepare(&mut [0.0, f32::NAN]);
        assert_eq!(
            refused,
            Err(CodecError::NotFinite {
                row: 0,
                dim: 1,
                value: "NaN".to_owned()
            })
        );
    }

    #[test]
    fn names_round_trip() {
        for metric in Metric::ALL {
            assert_eq!(Metric::from_name(metric.name()), Ok(metric));
        }
        assert!(Metric::from_name("euclid").is_err());
    }
}
