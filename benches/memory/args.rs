//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// What ingest, build and queries hold in memory, by budget; and queries of a collection that is larger than memory
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Folder with documents.npy, doclens.npy, queries.npy
    pub(crate) data: PathBuf,
    /// Only the first so many documents
    #[arg(long, value_name = "DOCUMENTS")]
    pub(crate) limit: Option<usize>,
    /// Budgets to try, in MiB
    #[arg(long, value_delimiter = ',', default_values_t = [128, 256, 512])]
    pub(crate) budgets: Vec<u64>,
    /// Bits of residual
    #[arg(long, default_value_t = 2)]
    pub(crate) bits: u8,
    /// Only the first so many queries
    #[arg(long, default_value_t = 200)]
    pub(crate) queries: usize,
    /// Only the first so many queries that scan everything
    #[arg(long, default_value_t = 10)]
    pub(crate) scans: usize,
    /// How often all queries are asked
    #[arg(long, default_value_t = 1)]
    pub(crate) rounds: usize,
    /// Where the databases are made, instead of the folder for temporary files
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// Run each step in a control group of what is allowed, page cache included (root, Linux)
    #[arg(long)]
    pub(crate) limited: bool,
    /// Instead, ask queries of this database in a control group of a share of its bytes, with a budget of as much, and with all
    /// memory, in turn
    #[arg(long, value_name = "DB")]
    pub(crate) larger: Option<PathBuf>,
    /// How many times larger than the group's memory, or the budget, it is
    #[arg(long, default_value_t = 4.0)]
    pub(crate) times: f64,
    /// The recall that queries ask for; default: the collection's own
    #[arg(long, value_name = "SHARE")]
    pub(crate) recall: Option<f64>,
    /// The budget of a step
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    pub(crate) budget: u64,
    /// Do one step and be watched
    #[arg(long, hide = true, requires = "folder")]
    pub(crate) step: Option<Step>,
    /// The control group that a step enters
    #[arg(long, hide = true)]
    pub(crate) group: Option<PathBuf>,
}

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    Ingest,
    Build,
    Query,
    Scan,
}

impl Step {
    pub(crate) const ALL: [Self; 4] = [Self::Ingest, Self::Build, Self::Query, Self::Scan];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Build => "build",
            Self::Query => "query",
            Self::Scan => "scan",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        let args = Args::parse_from(["memory", "DATA", "--budgets", "64,96"]);
        assert_eq!((args.budgets, args.step), (vec![64, 96], None));
        let step = ["memory", "DATA", "--step", "scan"];
        assert!(Args::try_parse_from(step).is_err(), "a step needs a folder");
    }
}
