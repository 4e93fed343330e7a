//! Readers of the files that corpora and vectors come in: JSON lines as BEIR has them, and numpy's `.npy`.

mod error;
mod fingerprint;
mod jsonl;
mod npy;
mod npy_header;
mod vectors;

pub use error::ImportError;
pub use fingerprint::fingerprint;
pub use jsonl::{JsonLines, TextQuery, read_queries};
pub use npy::{NpyReader, read_lengths};
pub use npy_header::{NpyHeader, NpyType};
pub use vectors::VectorFiles;
