//! How well centroids fit tokens: the mean squared distance of a token to its centroid, the distortion of a vector
//! quantizer (Gray, "Vector quantization", IEEE ASSP Magazine 1(2), 1984).
//!
//! A codebook keeps that of the tokens held out when it was trained; tokens of which it is much greater come from elsewhere.

use latewood_codecs::ResidualCodec;

/// A sum of squared distances over so many tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Distortion {
    sum: f64,
    tokens: u64,
}

impl Distortion {
    /// Of tokens, rows of the codec's dimension, and the centroids that they were given.
    pub(crate) fn of(codec: &ResidualCodec, tokens: &[f32], codes: &[u32]) -> Self {
        let distance = |(token, &code): (&[f32], &u32)| -> f64 {
            let centroid = codec.centroid(code);
            let squares = token.iter().zip(centroid).map(|(x, c)| (x - c) * (x - c));
            f64::from(squares.sum::<f32>())
        };
        Self {
            sum: tokens.chunks_exact(codec.dim()).zip(codes).map(distance).sum(),
            tokens: codes.len() as u64,
        }
    }

    /// Of tokens whose centroids are yet to be found.
    pub(crate) fn measured(codec: &ResidualCodec, tokens: &[f32]) -> Self {
        let mut codes = Vec::with_capacity(tokens.len() / codec.dim());
        codec.assign(tokens, &mut codes);
        Self::of(codec, tokens, &codes)
    }

    /// Of `tokens` tokens whose mean is known.
    pub(crate) fn known(mean: f32, tokens: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let sum = f64::from(mean) * tokens as f64;
        Self { sum, tokens }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.tokens += other.tokens;
    }

    /// The mean; none without tokens.
    pub(crate) fn mean(self) -> Option<f32> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a mean, kept in single precision"
        )]
        (self.tokens > 0).then(|| (self.sum / self.tokens as f64) as f32)
    }
}

#[cfg(test)]
mod tests {
    use latewood_codecs::ResidualCodec;

    use super::Distortion;

    #[test]
    fn the_mean_is_over_tokens() {
        let mut centroids = vec![0.0; 16];
        (centroids[0], centroids[9]) = (1.0, 1.0);
        let codec = ResidualCodec::from_parts(8, 1, centroids, vec![0.0], vec![-0.5, 0.5]).unwrap();
        let mut tokens = vec![0.0; 24];
        (tokens[0], tokens[8], tokens[17]) = (1.0, 0.5, 3.0);
        let all = Distortion::measured(&codec, &tokens);
        assert_eq!(all, Distortion::of(&codec, &tokens, &[0, 0, 1]));
        assert_eq!(all.mean(), Some((0.0 + 0.25 + 4.0) / 3.0));
        let mut sum = Distortion::known(2.0, 3);
        sum.add(Distortion::known(5.0, 1));
        assert_eq!(sum.mean(), Some(2.75));
        assert_eq!(Distortion::default().mean(), None);
    }
}
