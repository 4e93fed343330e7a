//! Codes that another implementation of the ColBERTv2 codec made: taken as they are, and given away.

use super::buckets::Buckets;
use super::codec::{Quantizer, ResidualCodec};
use super::codes::ResidualCodes;
use super::pack;
use crate::error::{CodecError, length};
use crate::metric::squared_norm;

impl ResidualCodec {
    /// Codes and packed residuals of this codebook of buckets, whoever made them, with what the reference does not keep
    /// beside them: the reciprocal norm of each reconstruction, as [`encode`](Self::encode) computes it. `residuals` has
    /// [`residual_bytes`](Self::residual_bytes) a token.
    ///
    /// # Errors
    /// [`CodecError::NotBuckets`] for a trellis codec, [`CodecError::Length`] when the two do not fit together,
    /// [`CodecError::Code`] for a code without a centroid.
    pub fn adopt(&self, codes: Vec<u32>, residuals: Vec<u8>) -> Result<ResidualCodes, CodecError> {
        let Quantizer::Buckets(buckets) = self.quantizer() else {
            return Err(CodecError::NotBuckets);
        };
        let bytes = codes.len() * self.residual_bytes();
        length("bytes of residuals", bytes, residuals.len())?;
        if let Some(&got) = codes.iter().find(|code| **code as usize >= self.len()) {
            let centroids = self.len();
            return Err(CodecError::Code { centroids, got });
        }
        let mut weights = buckets.weights_of(&residuals);
        let mut row = vec![0.0f32; self.dim()];
        let mut factors = Vec::with_capacity(codes.len());
        for code in &codes {
            for ((sum, c), weight) in row.iter_mut().zip(self.centroid(*code)).zip(&mut weights) {
                *sum = c + weight;
            }
            factors.push(pack::inverse_norm_code(1.0 / squared_norm(&row).sqrt()));
        }
        drop(weights);
        Ok(ResidualCodes {
            codes,
            residuals,
            factors,
        })
    }
}

impl Buckets {
    /// What packed residuals stand for: the weight of each dimension of each token, row after row.
    pub fn weights_of<'a>(&'a self, residuals: &'a [u8]) -> impl Iterator<Item = f32> + 'a {
        pack::unpack(residuals, self.bits()).map(|value| self.weights()[usize::from(value)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec() -> ResidualCodec {
        let mut centroids = [0.0; 16];
        (centroids[0], centroids[9], centroids[10]) = (1.0, 0.6, 0.8);
        let (cutoffs, weights) = (vec![-0.1, 0.0, 0.1], vec![-0.2, -0.05, 0.05, 0.2]);
        ResidualCodec::from_parts(8, 2, centroids.to_vec(), cutoffs, weights).unwrap()
    }

    #[test]
    fn what_the_codec_encoded_is_adopted_whole() {
        let codec = codec();
        let tokens: Vec<f32> = (0u8..80).map(|i| f32::from(i % 17) / 16.0 - 0.4).collect();
        let mut own = ResidualCodes::default();
        codec.encode(&tokens, &mut own);
        let adopted = codec.adopt(own.codes.clone(), own.residuals.clone()).unwrap();
        assert_eq!(adopted, own);
    }

    #[test]
    fn weights_stand_in_the_order_of_dimensions() {
        let codec = codec();
        let mut own = ResidualCodes::default();
        codec.encode(&[1.15, -0.06, 0.06, 0.0, -0.3, 0.3, 0.02, 0.0], &mut own);
        let Quantizer::Buckets(buckets) = codec.quantizer() else {
            panic!("buckets were asked for")
        };
        let weights: Vec<f32> = buckets.weights_of(&own.residuals).collect();
        assert_eq!(weights, [0.2, -0.05, 0.05, -0.05, -0.2, 0.2, 0.05, -0.05]);
    }

    #[test]
    fn what_does_not_fit_the_codebook_is_refused() {
        assert!(matches!(
            codec().adopt(vec![0, 2], vec![0; 4]),
            Err(CodecError::Code { centroids: 2, got: 2 })
        ));
        assert!(matches!(
            codec().adopt(vec![0, 1], vec![0; 3]),
            Err(CodecError::Length {
                expected: 4,
                got: 3,
                ..
            })
        ));
        let tokens: Vec<f32> = (0u8..64).map(|i| f32::from(i % 13) / 8.0 - 0.7).collect();
        let trellis = ResidualCodec::fit_trellis(2, 8, &tokens[..16], &tokens).unwrap();
        assert!(matches!(
            trellis.adopt(vec![0], vec![0; 2]),
            Err(CodecError::NotBuckets)
        ));
    }
}
