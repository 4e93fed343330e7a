//! How a collection's texts are cut into terms.

use serde::{Deserialize, Serialize};

use super::language::Language;

/// The lexical index of a collection: how texts become terms. Fixed when the collection is created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LexicalSpec {
    /// What a word is.
    pub tokenizer: Tokenizer,
    /// Whether letters lose their accents: `café` is found as `cafe`.
    pub fold: bool,
    /// Words of this language are cut to their stems: `searching` is found as `search`.
    pub stemmer: Option<Language>,
}

/// What a word is. All of them make letters lower-case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Tokenizer {
    /// The longest runs of letters and digits, `node.js` being two; an ideograph or a kana is a word by itself.
    #[default]
    Words,
    /// Words by the rules of Unicode (UAX #29): `node.js` and `can't` are one.
    Unicode,
    /// What stands between white space.
    Whitespace,
}

impl Tokenizer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Words, Self::Unicode, Self::Whitespace];

    /// The name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Unicode => "unicode",
            Self::Whitespace => "whitespace",
        }
    }
}
