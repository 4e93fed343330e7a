//! Judging a ranking: judgments, the measures over them, and run files as TREC has them.

mod judgments;
mod measures;
mod run_file;

pub use judgments::Judgments;
pub use measures::{Measures, mean_measures};
pub use run_file::RunFile;
