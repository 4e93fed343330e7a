//! From a text to the terms that the lexical index holds.

mod analyzer;
mod language;
mod spec;

pub use analyzer::{Analyzer, MAX_TERM_BYTES};
pub use language::Language;
pub use spec::{LexicalSpec, Tokenizer};
