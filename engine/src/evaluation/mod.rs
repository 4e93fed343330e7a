//! Judging a ranking: judgments, the measures over them, whether what costs more pays, and run files as TREC has them.

mod halves;
mod judgments;
mod measures;
mod paired;
mod pareto;
mod run_file;
mod verdict;

pub use halves::{Halves, Table, best};
pub use judgments::Judgments;
pub use measures::{Measures, mean_measures};
pub use paired::Paired;
pub use pareto::pareto_front;
pub use run_file::RunFile;
pub use verdict::{FEWEST_QUERIES, Judged, Verdict, judge};
