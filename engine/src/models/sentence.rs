//! Sentence-transformers: one vector a text, pooled from the last hidden state.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ModelError;
use super::tokenize::{Input, TextTokenizer};

/// How a sentence-transformers model frames and pools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SentenceSettings {
    pub(crate) pooling: Pooling,
    pub(crate) normalize: bool,
    /// Tokens of a text, markers included.
    pub(crate) max_length: usize,
    /// Text put before a query and before a document.
    pub(crate) query_prompt: String,
    pub(crate) document_prompt: String,
}

impl SentenceSettings {
    /// `[CLS] prompt text [SEP]`.
    pub(crate) fn text(
        &self,
        tokenizer: &TextTokenizer,
        query: bool,
        text: &str,
        index: usize,
    ) -> Result<Input, ModelError> {
        let limit = self.max_length.saturating_sub(tokenizer.single_markers());
        let prompt = if query {
            &self.query_prompt
        } else {
            &self.document_prompt
        };
        let tokens = if prompt.is_empty() || text.trim().is_empty() {
            tokenizer.tokens(text, limit, index)?
        } else {
            tokenizer.tokens(&format!("{prompt}{text}"), limit, index)?
        };
        Ok(tokenizer.frame(tokens, None))
    }
}

/// How the vectors of the attended tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Pooling {
    /// The first token's vector.
    Cls,
    /// The mean.
    Mean,
    /// The maximum of each dimension.
    Max,
    /// The sum over the square root of the number of tokens.
    MeanSqrtLen,
}

impl Pooling {
    /// Reads `pooling_mode_*` of 1_Pooling/config.json; exactly one may be true.
    pub(crate) fn from_modes(modes: &BTreeMap<String, serde_json::Value>) -> Result<Self, String> {
        let on: Vec<_> = modes
            .iter()
            .filter(|(_, value)| value.as_bool() == Some(true))
            .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
            .collect();
        // Newer files name the mode instead: {"pooling_mode": "mean"}.
        let named = modes.get("pooling_mode").and_then(|v| v.as_str());
        match (on.as_slice(), named) {
            (["cls_token"], _) | ([], Some("cls")) => Ok(Self::Cls),
            (["mean_tokens"], _) | ([], Some("mean")) => Ok(Self::Mean),
            (["max_tokens"], _) | ([], Some("max")) => Ok(Self::Max),
            (["mean_sqrt_len_tokens"], _) | ([], Some("mean_sqrt_len_tokens")) => Ok(Self::MeanSqrtLen),
            (on, _) => Err(format!(
                "it has {}",
                if on.is_empty() {
                    "none".into()
                } else {
                    on.join(", ")
                }
            )),
        }
    }

    /// Pools `tokens` vectors of `dim` numbers.
    pub(crate) fn pool(self, hidden: &[f32], dim: usize) -> Vec<f32> {
        let rows = hidden.chunks_exact(dim);
        let tokens = rows.len().max(1);
        let mut out = vec![if self == Self::Max { f32::NEG_INFINITY } else { 0.0 }; dim];
        for row in rows.take(if self == Self::Cls { 1 } else { tokens }) {
            for (o, &x) in out.iter_mut().zip(row) {
                *o = if self == Self::Max { o.max(x) } else { *o + x };
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a text has far fewer than 2^24 tokens")]
        let divisor = match self {
            Self::Cls | Self::Max => 1.0,
            Self::Mean => tokens as f32,
            Self::MeanSqrtLen => (tokens as f32).sqrt(),
        };
        out.iter_mut().for_each(|x| *x /= divisor);
        out
    }
}

/// Scales a vector to unit length; a zero vector stays.
pub(crate) fn normalize(v: &mut [f32]) {
    let norm = v.iter().map(|x| x * x).sum::<f32>().sqrt();
    if norm > 0.0 {
        v.iter_mut().for_each(|x| *x /= norm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: [f32; 8] = [1.0, -2.0, 3.0, 4.0, -1.0, 0.0, 1.0, 2.0];

    #[test]
    fn each_mode_pools_its_way() {
        assert_eq!(Pooling::Cls.pool(&HIDDEN, 2), [1.0, -2.0]);
        assert_eq!(Pooling::Mean.pool(&HIDDEN, 2), [1.0, 1.0]);
        assert_eq!(Pooling::Max.pool(&HIDDEN, 2), [3.0, 4.0]);
        assert_eq!(Pooling::MeanSqrtLen.pool(&HIDDEN, 2), [2.0, 2.0]);
    }

    #[test]
    fn the_mode_is_read_and_two_at_once_are_refused() {
        let modes = |text: &str| Pooling::from_modes(&serde_json::from_str(text).unwrap());
        assert_eq!(
            modes(
                r#"{"word_embedding_dimension": 4, "pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}"#
            ),
            Ok(Pooling::Mean)
        );
        assert_eq!(modes(r#"{"pooling_mode": "cls"}"#), Ok(Pooling::Cls));
        let both = modes(r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}"#);
        assert_eq!(both, Err("it has cls_token, mean_tokens".into()));
        assert!(modes("{}").is_err());
    }

    #[test]
    fn normalizing_gives_unit_length_and_leaves_zero() {
        let mut v = [3.0, 4.0];
        normalize(&mut v);
        assert_eq!(v, [0.6, 0.8]);
        let mut zero = [0.0, 0.0];
        normalize(&mut zero);
        assert_eq!(zero, [0.0, 0.0]);
    }
}
