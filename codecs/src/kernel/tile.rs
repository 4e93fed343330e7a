//! What the residual kernels read: unpacked weights of a few rows, and the tables that unpack them.

use super::{BytePanels, LANES};

/// How packed residual bits become biased bytes: each field's bucket weight in int8, plus 128.
#[derive(Clone, Debug)]
pub(crate) struct Unpack {
    /// Bits a field: 1, 2 or 4.
    pub(crate) bits: u8,
    /// The byte of each field, as it stands in the packed byte; with 2 bits also at 4 times the field.
    pub(crate) nibbles: [u8; 16],
    /// The `8 / bits` bytes of each packed byte.
    pub(crate) bytes: Vec<u8>,
}

impl Unpack {
    /// Tables for fields of `bits`, whose bytes are `fields`.
    pub(crate) fn new(bits: u8, fields: &[u8]) -> Self {
        let mask = u8::MAX >> (8 - bits);
        let each = 8 / bits;
        let of = |byte: u8, field: u8| fields[usize::from(byte >> (8 - bits * (field + 1)) & mask)];
        let bytes = (0..=u8::MAX)
            .flat_map(|byte| (0..each).map(move |field| of(byte, field)))
            .collect();
        let nibbles = std::array::from_fn(|at| match (bits, fields.get(at)) {
            (2, None) => fields[at / 4],
            (_, Some(byte)) => *byte,
            (_, None) => 0,
        });
        Self { bits, nibbles, bytes }
    }
}

/// Some tokens of a document, ready to be scored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResidualTile<'a> {
    /// `dim` biased bytes a token: its residual.
    pub(crate) weights: &'a [u8],
    /// What the weights of each token are multiplied by.
    pub(crate) weight_scales: &'a [f32],
    /// Where in `centroid_scores` each token's centroid starts.
    pub(crate) centroids: &'a [usize],
    /// Query tokens' scores with the centroids, followed by one panel of fill.
    pub(crate) centroid_scores: &'a [f32],
    /// The reciprocal norm of each token.
    pub(crate) inverse_norms: &'a [f32],
}

impl ResidualTile<'_> {
    /// The number of tokens, once it is sure that every column has them and that every lane's score can be read.
    pub(super) fn check(&self, query: &BytePanels, maxima: &[f32]) -> usize {
        let count = self.centroids.len();
        let lanes = query.panels() * LANES;
        assert!(self.weights.len() == count * query.dim && self.inverse_norms.len() == count);
        assert_eq!(self.weight_scales.len(), count);
        assert!(
            maxima.len() == lanes
                && self
                    .centroids
                    .iter()
                    .all(|at| at + lanes <= self.centroid_scores.len())
        );
        count
    }
}
