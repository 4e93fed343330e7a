//! The lexical index of a segment: an inverted index of its texts for BM25, phrases and boolean queries. Derived: what is
//! damaged is made anew from the texts.

mod build;
mod dictionary;
mod encoded;
mod file;
mod merge;
mod postings;
mod texts;
mod varint;
mod view;

pub(crate) use build::IndexBuilder;
pub use dictionary::TermInfo;
pub use encoded::LexicalIndex;
pub(crate) use file::{open, verify, write};
pub(crate) use merge::{Source, merge};
pub use postings::{Positions, Postings, PostingsBlock};
pub(crate) use texts::index_texts;
pub use view::{Lengths, LexicalView};
