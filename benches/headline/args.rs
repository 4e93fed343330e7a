//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::flops::Shape;

/// MaxSim, residual codes and retrieve-and-rerank against what they replace
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Folder of minilm, colbert-minilm and cross-minilm, instead of the built-in models
    #[arg(long, value_name = "FOLDER", requires = "onnxruntime")]
    pub(crate) models: Option<PathBuf>,
    /// Layers, width and inner width of the model of the token vectors, where its folder has no config.json
    #[arg(long, value_name = "6x384x1536")]
    pub(crate) late_shape: Option<Shape>,
    /// The ONNX Runtime library; default: pure Rust
    #[arg(long, value_name = "FILE")]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// Folder of corpus.jsonl.zst, queries.jsonl and qrels.tsv, instead of the 600 descriptions of the examples
    #[arg(long, value_name = "FOLDER")]
    pub(crate) packages: Option<PathBuf>,
    /// Documents at most: those that answer the queries, then the first others
    #[arg(long, default_value_t = 1_000)]
    pub(crate) limit: usize,
    /// Only the first so many queries
    #[arg(long, default_value_t = 60)]
    pub(crate) queries: usize,
    /// Candidates of a query
    #[arg(long, default_value_t = 50)]
    pub(crate) depth: usize,
    /// Rounds; each asks every query in every way
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Queries for which the cross-encoder reads every document
    #[arg(long, default_value_t = 5)]
    pub(crate) everything: usize,
    /// Pairs of sentences that the cross-encoder reads in a round
    #[arg(long, default_value_t = 200)]
    pub(crate) passes: usize,
}

impl Args {
    /// # Errors
    /// An option that leaves nothing to measure.
    pub(crate) fn check(&self) -> Result<(), String> {
        let counts = [
            ("limit", self.limit),
            ("queries", self.queries),
            ("depth", self.depth),
            ("rounds", self.rounds),
            ("everything", self.everything),
            ("passes", self.passes),
        ];
        match counts.iter().find(|(_, count)| *count == 0) {
            Some((name, _)) => Err(format!("--{name} 0 leaves nothing to measure: give 1 or more")),
            None => Ok(()),
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
        let args = Args::parse_from(["headline"]);
        assert!(args.check().is_ok());
        let none = Args::parse_from(["headline", "--rounds", "0"]);
        assert!(none.check().unwrap_err().contains("--rounds 0"));
        assert!(
            Args::try_parse_from(["headline", "--models", "M"]).is_err(),
            "no runtime"
        );
    }
}
