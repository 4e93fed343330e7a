//! Cross-encoders: a query and a document in one input, a score out.

use serde::Serialize;

use super::ModelError;
use super::tokenize::{Input, TextTokenizer, Tokens};

/// Tokens of a document that are read however long the query is.
const LEAST_DOCUMENT: usize = 16;

/// How a cross-encoder frames a pair and what its logits mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CrossSettings {
    /// Tokens of a pair, markers included.
    pub(crate) max_length: usize,
    /// Tokens of a query, where the graph has a limit of its own.
    pub(crate) max_query_tokens: Option<usize>,
    /// Two logits (irrelevant, relevant) rather than one.
    pub(crate) two_labels: bool,
}

impl CrossSettings {
    /// Tokens of a query that are read.
    pub(crate) fn query_limit(&self, tokenizer: &TextTokenizer) -> usize {
        let room = self.max_length.saturating_sub(tokenizer.pair_markers());
        let least = LEAST_DOCUMENT.min(room / 2);
        room.saturating_sub(least)
            .min(self.max_query_tokens.unwrap_or(usize::MAX))
    }

    /// Tokens to which every pair is padded. A graph with a query limit of its own takes that many positions out of
    /// the input, markers included, and tract does not take them out of a shorter one.
    pub(crate) fn least_width(&self) -> usize {
        self.max_query_tokens
            .map_or(1, |tokens| (tokens + 2).min(self.max_length))
    }

    /// The query of many pairs, tokenized once.
    pub(crate) fn query(&self, tokenizer: &TextTokenizer, text: &str) -> Result<Tokens, ModelError> {
        tokenizer.tokens(text, self.query_limit(tokenizer), 0)
    }

    /// `[CLS] query [SEP] document [SEP]`; the document is cut to what the query leaves.
    pub(crate) fn pair(
        &self,
        tokenizer: &TextTokenizer,
        query: &Tokens,
        document: &str,
        index: usize,
    ) -> Result<Input, ModelError> {
        let room = self
            .max_length
            .saturating_sub(tokenizer.pair_markers() + query.ids.len());
        Ok(tokenizer.frame_pair(query, &tokenizer.tokens(document, room, index)?))
    }

    /// Numbers that the graph gives for a pair.
    pub(crate) fn logits(&self) -> usize {
        if self.two_labels { 2 } else { 1 }
    }

    /// One logit is the score. Of two, the score is the second less the first: the log-odds of "relevant", which orders
    /// documents as the softmax does, without its rounding to 0 and 1.
    pub(crate) fn score(&self, logits: &[f32]) -> Option<f32> {
        match (self.two_labels, logits) {
            (false, &[score]) => Some(score),
            (true, &[irrelevant, relevant]) => Some(relevant - irrelevant),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_logit_is_the_score_and_two_are_log_odds() {
        let one = CrossSettings {
            max_length: 128,
            max_query_tokens: None,
            two_labels: false,
        };
        let two = CrossSettings {
            two_labels: true,
            ..one.clone()
        };
        assert_eq!(one.score(&[-2.5]), Some(-2.5));
        assert_eq!(two.score(&[1.0, 4.0]), Some(3.0));
        assert_eq!(one.score(&[1.0, 4.0]), None);
        assert_eq!(two.score(&[1.0]), None);
    }
}
