//! Readers of the files that corpora and vectors come in: JSON lines as BEIR has them, numpy's `.npy`, both together as an
//! export writes them, and indexes of fast-plaid and next-plaid.

mod error;
mod fingerprint;
mod folder;
mod jsonl;
mod npy;
mod npy_header;
mod plaid;
mod token_file;
mod vectors;

pub use error::ImportError;
pub use fingerprint::fingerprint;
pub use folder::ExportedFolder;
pub use jsonl::{JsonLines, TextQuery, read_queries, read_vector_queries};
pub use npy::{NpyReader, read_lengths};
pub use npy_header::{NpyHeader, NpyType};
pub use plaid::PlaidIndex;
pub(crate) use token_file::TokenFile;
pub use vectors::VectorFiles;
