//! Lexical search: what a query's words are, which documents have them, and how well they match (BM25).

mod bm25;
mod boolean;
mod corpus;
mod parse;
mod search;
mod syntax;
mod term;

pub(crate) use search::{postings, search};
pub use syntax::LexicalQuery;

/// How soon further occurrences of a term stop to count.
pub const BM25_K1: f64 = 1.2;
/// How much a document's length counts.
pub const BM25_B: f64 = 0.75;
/// The most different terms in a query.
pub const MAX_QUERY_TERMS: usize = 1_024;
/// The deepest nesting of parentheses in a query.
pub const MAX_LEXICAL_DEPTH: usize = 64;
