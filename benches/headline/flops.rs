//! Floating-point operations, counted from shapes: two for each multiply-add, whatever number type the machine computes in.

use std::path::Path;
use std::str::FromStr;

use latewood_benches::Failure;

/// The layers of a transformer encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) layers: u64,
    /// Numbers a token between layers.
    pub(crate) width: u64,
    /// Numbers a token inside the feed-forward part.
    pub(crate) inner: u64,
}

impl Shape {
    /// The built-in models (engine/models/README.md).
    pub(crate) const TINY: Self = Self {
        layers: 2,
        width: 128,
        inner: 512,
    };

    /// From a model folder's config.json; a missing intermediate_size is BERT's, four times the width.
    ///
    /// # Errors
    /// A file that cannot be read, or lacks the other two.
    pub(crate) fn of_folder(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("config.json");
        let bytes =
            std::fs::read(&path).map_err(|e| format!("{}: {e}: give the shape by option", path.display()))?;
        let config: serde_json::Value = serde_json::from_slice(&bytes)?;
        let number = |key: &str| config[key].as_u64();
        let missing = |key: &str| format!("{}: no {key}", path.display());
        let width = number("hidden_size").ok_or_else(|| missing("hidden_size"))?;
        Ok(Self {
            layers: number("num_hidden_layers").ok_or_else(|| missing("num_hidden_layers"))?,
            width,
            inner: number("intermediate_size").unwrap_or(4 * width),
        })
    }

    /// Of a pass over `n` tokens. A layer of width w and inner width f takes 4 n w^2 multiply-adds for queries, keys, values
    /// and the output of attention, 2 n^2 w for its scores and sums, 2 n w f for the feed-forward part (Vaswani et al.,
    /// "Attention is all you need", 2017). Embeddings, norms, softmax, padding and heads are left out: they would add to the
    /// model's side.
    pub(crate) fn pass(self, n: u64) -> u64 {
        let Self { layers, width, inner } = self;
        let attention = 4 * n * width * width + 2 * n * n * width;
        2 * layers * (attention + 2 * n * width * inner)
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<u64>> = text.split('x').map(|part| part.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[layers, width, inner]) => Ok(Self { layers, width, inner }),
            _ => Err(format!(
                "expected LAYERSxWIDTHxINNER such as 6x384x1536, got {text:?}"
            )),
        }
    }
}

/// Of MaxSim of `q` query tokens with `d` document tokens: a product of `dim` numbers and a comparison for each pair.
pub(crate) fn maxsim(q: u64, d: u64, dim: u64) -> u64 {
    q * d * (2 * dim + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_what_a_hand_counts() {
        // One layer of width 2, inner width 3, over 2 tokens, multiply-adds. Four 2 x 2 matrices by 2 tokens: 32. Each of 2 x 2
        // pairs of tokens a product of 2 numbers, and each token a sum of 2 rows of 2 numbers: 8 and 8. 2 x 3 and
        // 3 x 2 by 2 tokens: 12 and 12.
        let shape: Shape = "1x2x3".parse().unwrap();
        assert_eq!(shape.pass(2), 2 * (32 + 8 + 8 + 12 + 12));
        assert_eq!(Shape { layers: 6, ..shape }.pass(2), 6 * shape.pass(2));
        // The weights of MiniLM's layers, 10,616,832 multiply-adds a token, and attention over 128 tokens.
        let minilm = 128 * 10_616_832 + 6 * 2 * 128 * 128 * 384;
        assert_eq!("6x384x1536".parse::<Shape>().unwrap().pass(128), 2 * minilm);
        // 2 by 3 tokens of 4 numbers: 6 products of 8 operations, 6 comparisons.
        assert_eq!(maxsim(2, 3, 4), 54);
    }

    #[test]
    fn a_shape_is_read_from_a_folder_or_an_option() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Shape::of_folder(folder.path()).unwrap_err().to_string();
        assert!(missing.contains("config.json"), "{missing}");
        let config = r#"{"hidden_size": 384, "num_hidden_layers": 6}"#;
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let bert = Shape {
            layers: 6,
            width: 384,
            inner: 1536,
        };
        assert_eq!(Shape::of_folder(folder.path()).unwrap(), bert);
        assert!("6x384".parse::<Shape>().unwrap_err().contains("6x384x1536"));
    }
}
