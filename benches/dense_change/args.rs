//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Dense vectors that change, beside a collection that is built of what they have become
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Vectors, rows x dimensions
    pub(crate) vectors: PathBuf,
    /// Queries, rows x dimensions
    pub(crate) queries: PathBuf,
    /// Vectors in the end; as many more are read. Default: half of all
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Only the first so many queries
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub(crate) queries_limit: usize,
    /// Hits of a query
    #[arg(long, default_value_t = 10)]
    pub(crate) k: usize,
    /// Breadths of the walk
    #[arg(long, default_value = "32,64,128", value_delimiter = ',')]
    pub(crate) ef: Vec<usize>,
    /// In how many rounds nine tenths are replaced
    #[arg(long, default_value = "9", value_delimiter = ',')]
    pub(crate) rounds: Vec<usize>,
    /// Percents of the vectors that are added to the rest
    #[arg(long, default_value = "1,10,30,50", value_delimiter = ',')]
    pub(crate) shares: Vec<usize>,
    /// Leave out deleting half
    #[arg(long)]
    pub(crate) no_deletes: bool,
    /// Threads of builds and merges
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        let args = Args::parse_from(["dense_change", "V.npy", "Q.npy", "--shares", "5,50"]);
        assert_eq!((args.shares.len(), args.rounds), (2, vec![9]));
    }
}
