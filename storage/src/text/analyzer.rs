//! Cutting a text into terms: normalised, in lower case, folded and stemmed as the collection says.

use std::borrow::Cow;
use std::fmt;

use rust_stemmers::Stemmer;
use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_segmentation::UnicodeSegmentation;

use super::spec::{LexicalSpec, Tokenizer};

/// A longer term is cut to as many bytes, at a character's end, in documents and queries alike.
pub const MAX_TERM_BYTES: usize = 255;

/// Cuts texts into terms, as a [`LexicalSpec`] says.
pub struct Analyzer {
    tokenizer: Tokenizer,
    fold: bool,
    stemmer: Option<Stemmer>,
}

impl fmt::Debug for Analyzer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Analyzer")
            .field("tokenizer", &self.tokenizer)
            .field("fold", &self.fold)
            .finish_non_exhaustive()
    }
}

impl Analyzer {
    /// The analyzer of a collection.
    #[must_use]
    pub fn new(spec: &LexicalSpec) -> Self {
        Self {
            tokenizer: spec.tokenizer,
            fold: spec.fold,
            stemmer: spec.stemmer.map(|language| Stemmer::create(language.algorithm())),
        }
    }

    /// Calls `each` with the terms of a text, in order.
    pub fn each_term(&self, text: &str, mut each: impl FnMut(&str)) {
        let text = self.normalised(text);
        let mut buffer = String::new();
        match self.tokenizer {
            Tokenizer::Words => words(&text, |word| self.finish(word, &mut buffer, &mut each)),
            Tokenizer::Unicode => {
                let words = text.unicode_words();
                words.for_each(|word| self.finish(word, &mut buffer, &mut each));
            }
            Tokenizer::Whitespace => {
                let words = text.split_whitespace();
                words.for_each(|word| self.finish(word, &mut buffer, &mut each));
            }
        }
    }

    /// The terms of a text, in order.
    #[must_use]
    pub fn terms(&self, text: &str) -> Vec<String> {
        let mut terms = Vec::new();
        self.each_term(text, |term| terms.push(term.to_owned()));
        terms
    }

    /// Composed (NFC), or decomposed (NFKD) without the accents.
    fn normalised<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if text.is_ascii() {
            Cow::Borrowed(text)
        } else if self.fold {
            Cow::Owned(text.nfkd().filter(|c| !is_combining_mark(*c)).collect())
        } else if is_nfc_quick(text.chars()) == IsNormalized::Yes {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(text.nfc().collect())
        }
    }

    fn finish(&self, word: &str, buffer: &mut String, each: &mut impl FnMut(&str)) {
        buffer.clear();
        if word.is_ascii() {
            buffer.push_str(word);
            buffer.make_ascii_lowercase();
        } else {
            buffer.push_str(&word.to_lowercase());
        }
        let stem = match &self.stemmer {
            Some(stemmer) => stemmer.stem(buffer),
            None => Cow::Borrowed(buffer.as_str()),
        };
        if !stem.is_empty() {
            each(cut(&stem));
        }
    }
}

fn cut(term: &str) -> &str {
    &term[..term.floor_char_boundary(MAX_TERM_BYTES)]
}

/// Calls `each` with the runs of letters and digits, accents among them, and with each ideograph and kana.
fn words(text: &str, mut each: impl FnMut(&str)) {
    let mut start = None;
    for (at, c) in text.char_indices() {
        let alone = !c.is_ascii() && stands_alone(c);
        let inside = c.is_alphanumeric() || (!c.is_ascii() && start.is_some() && is_combining_mark(c));
        if let Some(from) = start.filter(|_| alone || !inside) {
            each(&text[from..at]);
            start = None;
        }
        if alone {
            each(&text[at..at + c.len_utf8()]);
        } else if inside && start.is_none() {
            start = Some(at);
        }
    }
    if let Some(from) = start {
        each(&text[from..]);
    }
}

/// Ideographs and kana, which are written without spaces.
fn stands_alone(c: char) -> bool {
    matches!(c,
        '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
        && c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::super::language::Language;
    use super::{Analyzer, LexicalSpec, MAX_TERM_BYTES, Tokenizer};
    use proptest::prelude::*;

    fn terms(spec: &LexicalSpec, text: &str) -> Vec<String> {
        Analyzer::new(spec).terms(text)
    }

    #[test]
    fn each_tokenizer_has_its_words() {
        let text = "Node.js can't read C++ (v3.14)";
        let cut = |tokenizer| {
            let spec = LexicalSpec {
                tokenizer,
                ..LexicalSpec::default()
            };
            terms(&spec, text)
        };
        assert_eq!(
            cut(Tokenizer::Words),
            ["node", "js", "can", "t", "read", "c", "v3", "14"]
        );
        assert_eq!(
            cut(Tokenizer::Unicode),
            ["node.js", "can't", "read", "c", "v3.14"]
        );
        assert_eq!(
            cut(Tokenizer::Whitespace),
            ["node.js", "can't", "read", "c++", "(v3.14)"]
        );
    }

    #[test]
    fn accents_are_kept_or_lost_however_they_are_written() {
        let plain = LexicalSpec::default();
        let folded = LexicalSpec {
            fold: true,
            ..LexicalSpec::default()
        };
        for text in ["Caf\u{e9}", "Cafe\u{301}"] {
            assert_eq!(terms(&plain, text), ["caf\u{e9}"]);
            assert_eq!(terms(&folded, text), ["cafe"]);
        }
    }

    #[test]
    fn an_ideograph_is_a_word() {
        assert_eq!(
            terms(&LexicalSpec::default(), "東京tower2。カナ"),
            ["東", "京", "tower2", "カ", "ナ"]
        );
    }

    #[test]
    fn every_language_has_its_stems() {
        for (language, name) in Language::ALL {
            assert_eq!(Language::named(name), Some(language));
            assert_eq!(
                serde_json::to_value(language).unwrap(),
                serde_json::Value::from(name)
            );
            let spec = LexicalSpec {
                stemmer: Some(language),
                ..LexicalSpec::default()
            };
            assert_eq!(terms(&spec, "x").len(), 1);
        }
        let english = LexicalSpec {
            stemmer: Some(Language::English),
            ..LexicalSpec::default()
        };
        assert_eq!(
            terms(&english, "Searching searches searched"),
            ["search", "search", "search"]
        );
    }

    proptest! {
        #[test]
        fn any_text_has_terms_of_bounded_length(text in "\\PC{0,300}", fold: bool, which in 0usize..3) {
            let spec = LexicalSpec { tokenizer: Tokenizer::ALL[which], fold, stemmer: Some(Language::English) };
            for term in terms(&spec, &text) {
                prop_assert!(term.len() <= MAX_TERM_BYTES);
            }
        }
    }
}
