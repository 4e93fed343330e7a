//! Sparse vectors: a few weighted dimensions of very many, as learned sparse encoders give them (SPLADE, Formal et al.,
//! SIGIR 2021). Two are compared by their inner product.

use crate::error::{CodecError, length};

/// The most dimensions that a sparse vector may name.
pub const MAX_SPARSE_ENTRIES: usize = 4_096;

/// A sparse vector: dimensions, ascending, each once, and the weight of each, finite and above 0. Every other dimension has
/// the weight 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseVector {
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl SparseVector {
    /// A vector of these dimensions, in any order, and their weights.
    ///
    /// # Errors
    /// [`CodecError::Length`] for another number of weights than of dimensions, [`CodecError::SparseEntries`] for more than
    /// [`MAX_SPARSE_ENTRIES`], [`CodecError::SparseWeight`] for a weight that is not finite and above 0,
    /// [`CodecError::SparseRepeated`] for a dimension that is named twice.
    pub fn new(indices: Vec<u32>, values: Vec<f32>) -> Result<Self, CodecError> {
        length("weights, one a dimension", indices.len(), values.len())?;
        if indices.len() > MAX_SPARSE_ENTRIES {
            return Err(CodecError::SparseEntries {
                max: MAX_SPARSE_ENTRIES,
                got: indices.len(),
            });
        }
        if let Some((index, value)) = indices.iter().zip(&values).find(|(_, w)| !sound(**w)) {
            return Err(CodecError::SparseWeight {
                index: *index,
                value: value.to_string(),
            });
        }
        let mut vector = Self { indices, values };
        if !vector.indices.is_sorted() {
            vector.sort();
        }
        match vector.indices.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(CodecError::SparseRepeated { index: pair[0] }),
            None => Ok(vector),
        }
    }

    fn sort(&mut self) {
        let pairs = self.indices.iter().copied().zip(self.values.iter().copied());
        let mut pairs: Vec<(u32, f32)> = pairs.collect();
        pairs.sort_unstable_by_key(|pair| pair.0);
        (self.indices, self.values) = pairs.into_iter().unzip();
    }

    /// The dimensions, ascending.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The weight of each.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// How many dimensions have a weight.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether no dimension has a weight.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// The inner product with another vector, given as ascending dimensions and their weights; `None` when they have no
    /// dimension in common. Products and their sum, in ascending order of dimensions, are of double precision, so that the
    /// score of a pair is the same wherever it is computed.
    pub fn dot(&self, indices: &[u32], values: &[f32]) -> Option<f32> {
        let mut own = self.indices.iter().zip(&self.values);
        let (mut at, mut sum, mut met) = (own.next(), 0.0f64, false);
        for (index, value) in indices.iter().zip(values) {
            while let Some((dimension, weight)) = at {
                if dimension > index {
                    break;
                }
                if dimension == index {
                    sum += f64::from(*weight) * f64::from(*value);
                    met = true;
                }
                at = own.next();
            }
            if at.is_none() {
                break;
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "scores are single")]
        met.then_some(sum as f32)
    }
}

/// Whether a weight is one that a sparse vector may have.
fn sound(weight: f32) -> bool {
    weight.is_finite() && weight > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_sorted_with_their_weights() {
        let vector = SparseVector::new(vec![u32::MAX, 0, 7], vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!(vector.indices(), [0, 7, u32::MAX]);
        assert_eq!(vector.values(), [1.0, 2.0, 3.0]);
        assert_eq!(vector.len(), 3);
        assert!(SparseVector::new(vec![], vec![]).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_sparse_vector_is_refused() {
        let new = |indices: &[u32], values: &[f32]| SparseVector::new(indices.to_vec(), values.to_vec());
        assert!(matches!(
            new(&[1, 2], &[1.0]),
            Err(CodecError::Length {
                expected: 2,
                got: 1,
                ..
            })
        ));
        assert!(matches!(
            new(&[5, 1, 5], &[1.0; 3]),
            Err(CodecError::SparseRepeated { index: 5 })
        ));
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = new(&[1, 9], &[1.0, bad]).unwrap_err();
            assert!(
                matches!(error, CodecError::SparseWeight { index: 9, .. }),
                "{bad}: {error}"
            );
        }
        let many: Vec<u32> = (0..4_097).collect();
        assert!(matches!(
            new(&many, &[1.0; 4_097]),
            Err(CodecError::SparseEntries { got: 4_097, .. })
        ));
        assert!(new(&many[..4_096], &[1.0; 4_096]).is_ok());
    }

    #[test]
    fn a_product_is_that_of_common_dimensions() {
        let query = SparseVector::new(vec![2, 5, 9], vec![1.0, 2.0, 4.0]).unwrap();
        assert_eq!(query.dot(&[1, 2, 9, 10], &[8.0, 0.5, 0.25, 8.0]), Some(1.5));
        assert_eq!(query.dot(&[5], &[3.0]), Some(6.0));
        assert_eq!(query.dot(&[0, 3, 11], &[1.0; 3]), None);
        assert_eq!(query.dot(&[], &[]), None);
    }
}
