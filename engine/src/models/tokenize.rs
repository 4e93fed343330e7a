//! Text to token ids, framed as a model wants them.
//!
//! A tokenizer.json often pins a truncation and a padding of its own; both are switched off, and texts are cut here, by
//! tokens. Which markers go around a text is asked of the tokenizer once, by framing a probe.

use std::panic::catch_unwind;
use std::path::Path;

use serde::de::IgnoredAny;
use tokenizers::{PostProcessor, Tokenizer};

use super::ModelError;

/// A word that every tokenizer turns into at least one token.
const PROBE: &str = "a";

/// One row of input to a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) ids: Vec<i64>,
    /// Token types; empty means all zero.
    pub(crate) types: Vec<i64>,
    /// The first so many ids are attended to.
    pub(crate) attended: usize,
    /// Whether some of the text was left out.
    pub(crate) truncated: bool,
}

/// Tokens of a text, without markers, cut to a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) ids: Vec<i64>,
    pub(crate) truncated: bool,
}

/// Markers with their token types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Markers {
    ids: Vec<i64>,
    types: Vec<i64>,
}

/// A tokenizer with the frames of one text and of a pair.
pub(crate) struct TextTokenizer {
    inner: Tokenizer,
    model: String,
    pinned_length: Option<usize>,
    single: [Markers; 2],
    pair: [Markers; 3],
    /// Token types of the first and second text of a pair.
    pair_types: [i64; 2],
}

impl TextTokenizer {
    /// Reads a tokenizer.json; `path` is for errors.
    pub(crate) fn from_bytes(model: &str, path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let bad = |problem: String| ModelError::BadFile {
            path: path.to_owned(),
            expected: "a tokenizer of the tokenizers library",
            problem,
        };
        // The library panics on some files that are cut short, or that no one has written who knows it.
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|e| bad(e.to_string()))?;
        let read = || Self::from_json(model, bytes);
        match catch_unwind(read) {
            Ok(read) => read.map_err(bad),
            Err(_) => Err(bad("the tokenizers library panicked on it".into())),
        }
    }

    fn from_json(model: &str, bytes: &[u8]) -> Result<Self, String> {
        let mut inner = Tokenizer::from_bytes(bytes).map_err(|e| e.to_string())?;
        let pinned_length = inner.get_truncation().map(|t| t.max_length);
        inner.with_truncation(None).map_err(|e| e.to_string())?;
        inner.with_padding(None);
        let single = probe(&inner, false)?;
        let pair = probe(&inner, true)?;
        let ([before, after], [first, between, last]) = match (
            <[Markers; 2]>::try_from(single.markers),
            <[Markers; 3]>::try_from(pair.markers),
        ) {
            (Ok(single), Ok(pair)) => (single, pair),
            _ => return Err("it frames texts in a way that is not known".into()),
        };
        let pair_types = [pair.types.first(), pair.types.get(1)].map(|t| t.copied().unwrap_or(0));
        Ok(Self {
            inner,
            model: model.to_owned(),
            pinned_length,
            single: [before, after],
            pair: [first, between, last],
            pair_types,
        })
    }

    /// The maximum length that tokenizer.json pins.
    pub(crate) fn pinned_length(&self) -> Option<usize> {
        self.pinned_length
    }

    /// The id of the first of these tokens that the vocabulary has.
    pub(crate) fn special(&self, names: &[&str]) -> Option<i64> {
        names
            .iter()
            .find_map(|name| self.inner.token_to_id(name))
            .map(i64::from)
    }

    /// The token of an id, as the vocabulary writes it; the id itself where it has none.
    pub(crate) fn name(&self, id: i64) -> String {
        let token = u32::try_from(id).ok().and_then(|id| self.inner.id_to_token(id));
        token.unwrap_or_else(|| id.to_string())
    }

    /// The ids of those words that are tokens, sorted.
    pub(crate) fn ids(&self, words: &[String]) -> Vec<i64> {
        let mut ids: Vec<_> = words
            .iter()
            .filter_map(|word| self.inner.token_to_id(word))
            .map(i64::from)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The id of a marker such as `[Q] ` or `[unused0]`; None for the empty marker.
    pub(crate) fn marker(&self, text: &str) -> Result<Option<i64>, ModelError> {
        if text.is_empty() {
            return Ok(None);
        }
        let id = self.special(&[text, text.trim()]);
        id.map(Some).ok_or_else(|| ModelError::Unsupported {
            model: self.model.clone(),
            problem: format!("its marker {text:?} is not in the vocabulary of tokenizer.json"),
            advice: "give the tokenizer.json that was saved with the model, which has it as an added token",
        })
    }

    /// Tokens of a text, at most `limit`. `index` is for errors.
    pub(crate) fn tokens(&self, text: &str, limit: usize, index: usize) -> Result<Tokens, ModelError> {
        // Some more than needed, so that the tokens kept do not depend on where the text was cut.
        let enough = limit + 8;
        let mut bytes = enough.saturating_mul(16);
        loop {
            let head = whole_words(text, bytes);
            let encoding = self
                .inner
                .encode_fast(head, false)
                .map_err(|e| ModelError::Tokenize {
                    model: self.model.clone(),
                    index,
                    reason: e.to_string(),
                })?;
            let ids = encoding.get_ids();
            if head.len() < text.len() && ids.len() < enough {
                bytes = bytes.saturating_mul(4);
                continue;
            }
            if ids.is_empty() {
                return Err(ModelError::EmptyText { index });
            }
            let truncated = ids.len() > limit;
            return Ok(Tokens {
                ids: ids.iter().take(limit).copied().map(i64::from).collect(),
                truncated,
            });
        }
    }

    /// Markers around one text.
    pub(crate) fn single_markers(&self) -> usize {
        self.single.iter().map(|m| m.ids.len()).sum()
    }

    /// Markers around and between two texts.
    pub(crate) fn pair_markers(&self) -> usize {
        self.pair.iter().map(|m| m.ids.len()).sum()
    }

    /// Frames one text: `[CLS] marker tokens [SEP]`, the marker at position 1 if there is one.
    pub(crate) fn frame(&self, tokens: Tokens, marker: Option<i64>) -> Input {
        let [before, after] = &self.single;
        let mut ids = Vec::with_capacity(self.single_markers() + 1 + tokens.ids.len());
        ids.extend(&before.ids);
        ids.extend(tokens.ids);
        ids.extend(&after.ids);
        if let Some(marker) = marker {
            ids.insert(1.min(ids.len()), marker);
        }
        Input {
            attended: ids.len(),
            ids,
            types: Vec::new(),
            truncated: tokens.truncated,
        }
    }

    /// Frames a pair: `[CLS] query [SEP] document [SEP]`, with token types.
    pub(crate) fn frame_pair(&self, query: &Tokens, document: &Tokens) -> Input {
        let [first, between, last] = &self.pair;
        let ids = [&first.ids, &query.ids, &between.ids, &document.ids, &last.ids]
            .map(Vec::as_slice)
            .concat();
        let [query_type, document_type] = self.pair_types;
        let query_types = vec![query_type; query.ids.len()];
        let document_types = vec![document_type; document.ids.len()];
        let types = [
            &first.types,
            &query_types,
            &between.types,
            &document_types,
            &last.types,
        ];
        Input {
            attended: ids.len(),
            types: types.map(Vec::as_slice).concat(),
            ids,
            truncated: query.truncated || document.truncated,
        }
    }
}

struct Probe {
    /// Before, between and after the texts.
    markers: Vec<Markers>,
    /// The token type of each text.
    types: Vec<i64>,
}

/// Frames the probe word once or twice and reads off the markers.
fn probe(tokenizer: &Tokenizer, pair: bool) -> Result<Probe, String> {
    let word = tokenizer.encode(PROBE, false).map_err(|e| e.to_string())?;
    let length = word.get_ids().len();
    if length == 0 {
        return Err("it gives no token for a letter".into());
    }
    let added = tokenizer.get_post_processor().map_or(0, |p| p.added_tokens(pair));
    let second = pair.then(|| word.clone());
    let framed = tokenizer
        .post_process(word, second, true)
        .map_err(|e| e.to_string())?;
    let texts = if pair { 2 } else { 1 };
    if framed.get_ids().len() != added + texts * length {
        return Err(format!(
            "it added {} tokens to a text, not {added}",
            framed.get_ids().len() - length
        ));
    }
    let mut found = Probe {
        markers: vec![Markers::default()],
        types: Vec::new(),
    };
    let rows = framed
        .get_ids()
        .iter()
        .zip(framed.get_type_ids())
        .zip(framed.get_special_tokens_mask());
    let mut left_of_text = 0;
    for ((&id, &kind), &special) in rows {
        if special == 0 {
            if left_of_text == 0 {
                left_of_text = length;
                found.types.push(i64::from(kind));
                found.markers.push(Markers::default());
            }
            left_of_text -= 1;
        } else if let Some(markers) = found.markers.last_mut() {
            markers.ids.push(i64::from(id));
            markers.types.push(i64::from(kind));
        }
    }
    Ok(found)
}

/// The start of a text up to the first white space at or after `bytes`.
fn whole_words(text: &str, bytes: usize) -> &str {
    let end = text
        .bytes()
        .enumerate()
        .skip(bytes)
        .find(|(_, b)| b.is_ascii_whitespace())
        .map(|(i, _)| i);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}
