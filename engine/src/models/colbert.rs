//! ColBERT: a vector for each token of a text, with markers, query expansion and a skip list.

use serde::Serialize;

use super::sentence::normalize;
use super::tokenize::{Input, TextTokenizer};
use super::{ModelError, tokenize::Tokens};

/// How a ColBERT-style model frames queries and documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ColbertSettings {
    /// Marker tokens at position 1.
    pub(crate) query_prefix: Option<i64>,
    pub(crate) document_prefix: Option<i64>,
    /// Tokens of a query and of a document, markers included.
    pub(crate) query_length: usize,
    pub(crate) document_length: usize,
    /// The token that fills queries up to their length, if they are filled up.
    pub(crate) expansion: Option<i64>,
    /// Whether other tokens attend to those that fill up.
    pub(crate) attend_to_expansion: bool,
    /// Tokens whose vectors are left out of a document's matrix, sorted.
    pub(crate) skiplist: Vec<i64>,
}

impl ColbertSettings {
    /// `[CLS] marker tokens [SEP]`, filled up with the mask token where the model wants it.
    pub(crate) fn query(&self, tokenizer: &TextTokenizer, text: &str) -> Result<Input, ModelError> {
        let tokens = cut(tokenizer, text, self.query_length, self.query_prefix, 0)?;
        let mut input = tokenizer.frame(tokens, self.query_prefix);
        if let Some(mask) = self.expansion {
            input.ids.resize(self.query_length.max(input.ids.len()), mask);
            if self.attend_to_expansion {
                input.attended = input.ids.len();
            }
        }
        Ok(input)
    }

    /// `[CLS] marker tokens [SEP]`.
    pub(crate) fn document(
        &self,
        tokenizer: &TextTokenizer,
        text: &str,
        index: usize,
    ) -> Result<Input, ModelError> {
        let tokens = cut(tokenizer, text, self.document_length, self.document_prefix, index)?;
        Ok(tokenizer.frame(tokens, self.document_prefix))
    }

    /// The positions of a document whose vectors are kept.
    pub(crate) fn kept<'a>(&'a self, ids: &'a [i64]) -> impl Iterator<Item = usize> + 'a {
        let keep = |id: &i64| self.skiplist.binary_search(id).is_err();
        ids.iter()
            .enumerate()
            .filter(move |(_, id)| keep(id))
            .map(|(position, _)| position)
    }
}

fn cut(
    tokenizer: &TextTokenizer,
    text: &str,
    length: usize,
    marker: Option<i64>,
    index: usize,
) -> Result<Tokens, ModelError> {
    let markers = tokenizer.single_markers() + usize::from(marker.is_some());
    tokenizer.tokens(text, length.saturating_sub(markers), index)
}

/// Copies the rows at `positions` out of a token matrix. A graph that does not normalise its vectors has it done here;
/// rows within 1% of unit length are kept as they came.
pub(crate) fn gather(matrix: &[f32], dim: usize, positions: impl Iterator<Item = usize>) -> Vec<f32> {
    let mut out = Vec::new();
    for position in positions {
        let Some(row) = matrix.get(position * dim..(position + 1) * dim) else {
            continue;
        };
        let start = out.len();
        out.extend_from_slice(row);
        let square: f32 = row.iter().map(|x| x * x).sum();
        if (square.sqrt() - 1.0).abs() > 0.01
            && let Some(row) = out.get_mut(start..)
        {
            normalize(row);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_picked_and_those_off_unit_length_are_scaled() {
        let matrix = [0.6, 0.8, 9.0, 9.0, 3.0, 4.0];
        assert_eq!(gather(&matrix, 2, [0, 2].into_iter()), [0.6, 0.8, 0.6, 0.8]);
    }

    #[test]
    fn the_skip_list_drops_positions_by_token() {
        let settings = ColbertSettings {
            query_prefix: None,
            document_prefix: None,
            query_length: 32,
            document_length: 32,
            expansion: None,
            attend_to_expansion: false,
            skiplist: vec![5, 9],
        };
        assert_eq!(settings.kept(&[1, 5, 7, 9, 9, 2]).collect::<Vec<_>>(), [0, 2, 5]);
    }
}
