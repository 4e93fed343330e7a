//! The arguments of every command.

mod parse;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use latewood_codecs::{DenseCodec, Metric};
use latewood_query::{FusionWeights, PlanChoice};
use latewood_storage::{FieldType, Language};

pub(super) use parse::{NamedVectors, named_vectors, plan};
use parse::{field, language, milliseconds, order, positive, share, vector, weights};
pub(super) use values::{DenseCodecArg, FusionArg, MetricArg, OriginalArg, TokenCodecArg, TokenizerArg};

/// An embedded vector database with late interaction.
#[derive(Debug, Parser)]
#[command(name = "latewood", version, max_term_width = 100)]
pub(super) struct Latewood {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Global {
    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Run models with this ONNX Runtime library (libonnxruntime.so) instead of in pure Rust; default: ORT_DYLIB_PATH
    #[arg(long, global = true, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
    /// Load the models that collections name from this folder, or from folders in it; may be given more than once. Built-in
    /// models need none
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(super) models: Vec<PathBuf>,
    /// Threads; default: as many as the machine offers, and 1 for `run`
    #[arg(long, global = true, value_name = "N", value_parser = positive)]
    pub(super) threads: Option<usize>,
    /// Memory that writing may take, in MiB; default: 512
    #[arg(long, global = true, value_name = "MIB", value_parser = clap::value_parser!(u64).range(16..=1 << 24))]
    pub(super) memory_mib: Option<u64>,
}

impl Global {
    /// The ONNX Runtime to load, if any. The one place where the environment is read.
    pub(super) fn onnxruntime(&self) -> Option<PathBuf> {
        let from_environment = || std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
        self.onnxruntime
            .clone()
            .or_else(|| from_environment().map(PathBuf::from))
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a collection, and the database if there is none
    Create(CreateArgs),
    /// Add documents: JSON lines as BEIR has them, or arrays of vectors; run again to go on after an interruption
    Ingest(IngestArgs),
    /// Search a collection for a text
    Search(super::search::SearchArgs),
    /// Print the plan of a query: its stages, what each should take and why, and what was rejected
    Explain(super::explain::ExplainArgs),
    /// Run a query, and print what each stage of its plan took beside what was estimated; it runs once before, so that models are loaded
    Analyze(super::explain::ExplainArgs),
    /// Say why a document is where it is among the hits: its rank in each stage, and which token matched which
    ExplainHit(super::explain_hit::ExplainHitArgs),
    /// Run a file of queries into a TREC run file, and measure latency
    Run(RunArgs),
    /// Judge plans: nDCG@10, MRR@10, recall@10 and @100, latency, bytes and operations, and which are on the Pareto front
    Eval(EvalArgs),
    /// Measure how much of the exhaustive answer the token index finds, and how fast
    Recall(RecallArgs),
    /// Find the token index's settings for each recall, on queries like those that will come
    Tune(TuneArgs),
    /// Find how rankings are best fused, on judged queries, by cross-validation
    TuneFusion(TuneFusionArgs),
    /// Judge every plan on judged queries, so that queries with a budget get the plan that ranks best within it
    TunePlans(super::tune_plans::TunePlansArgs),
    /// Say whether a rerank and late interaction pay, and to which depth, by judged queries
    Advise(super::advise::AdviseArgs),
    /// Look for silent mistakes: another model, cut texts, missing indexes, lost recall; exit code 3 where there are any
    Doctor(super::doctor::DoctorArgs),
    /// Count the values of a payload field
    Facets(FacetsArgs),
    /// Find the most similar pairs of documents, by their dense vectors
    Pairs(PairsArgs),
    /// Print documents that match a filter, in the order of a payload field
    Scan(ScanArgs),
    /// Documents, tokens, and what each component takes on disk
    Stats(TargetArgs),
    /// Look for damage
    Check(CheckArgs),
    /// Make damaged collections whole again: keep every whole document, and say what is lost
    Repair(RepairArgs),
    /// Copy a database while it is in use; opening the copy restores it
    Backup(BackupArgs),
    /// Train the codebook, merge segments, build indexes, reclaim space
    Optimize(TargetArgs),
    /// Write documents as JSON lines, or with their vectors as a folder that `ingest` reads back
    Export(ExportArgs),
    /// Make a collection of an index of fast-plaid or next-plaid, without encoding anything
    ImportPlaid(ImportPlaidArgs),
    /// Write the token matrices as an index that fast-plaid and next-plaid load
    ExportPlaid(ExportPlaidArgs),
    /// Say what a model folder is, and compare its outputs with its reference.json
    Model(ModelFolderArgs),
}

#[derive(Debug, Args)]
pub(super) struct CollectionArgs {
    /// The database directory
    pub(super) db: PathBuf,
    /// The collection
    pub(super) collection: String,
}

#[derive(Debug, Args)]
pub(super) struct TargetArgs {
    /// The database directory
    pub(super) db: PathBuf,
    /// The collection; default: all
    pub(super) collection: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct FacetsArgs {
    #[command(flatten)]
    pub(super) target: CollectionArgs,
    /// The payload field, indexed or not
    pub(super) field: String,
    /// Only documents that match, for example: section = "python" and installed_kib >= 100
    #[arg(long, value_name = "EXPR")]
    pub(super) filter: Option<String>,
    /// How many values; default: all
    #[arg(short = 'k', long = "limit", value_name = "N", value_parser = positive)]
    pub(super) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(super) struct PairsArgs {
    #[command(flatten)]
    pub(super) target: CollectionArgs,
    /// How many pairs
    #[arg(short = 'k', long = "limit", default_value_t = 10)]
    pub(super) limit: usize,
    /// Score every pair, instead of the ten nearest of each document that the index finds
    #[arg(long)]
    pub(super) exact: bool,
    /// Only documents that match, for example: section = "python" and installed_kib >= 100
    #[arg(long, value_name = "EXPR")]
    pub(super) filter: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ScanArgs {
    #[command(flatten)]
    pub(super) target: CollectionArgs,
    /// Only documents that match, for example: section = "python" and installed_kib >= 100
    #[arg(long, value_name = "EXPR")]
    pub(super) filter: Option<String>,
    /// The payload field that they are ordered by, the least first, or with :desc the greatest; default: as they are stored
    #[arg(long, value_name = "FIELD[:desc]", value_parser = order)]
    pub(super) order_by: Option<(String, bool)>,
    /// How many documents
    #[arg(short = 'k', long = "limit", default_value_t = 10)]
    pub(super) limit: usize,
    /// How many documents to skip first
    #[arg(long, default_value_t = 0)]
    pub(super) offset: usize,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Read every byte of every file and compare every checksum; otherwise what an open reads
    #[arg(long)]
    pub(super) full: bool,
}

#[derive(Debug, Args)]
pub(super) struct RepairArgs {
    /// The database directory
    pub(super) db: PathBuf,
    /// The collection; default: all
    #[arg(long, value_name = "NAME")]
    pub(super) collection: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The database directory
    pub(super) db: PathBuf,
    /// A folder that does not exist, or is empty
    pub(super) to: PathBuf,
    /// Link files that never change instead of copying them: no room, but the same disk
    #[arg(long)]
    pub(super) link: bool,
}

#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    /// Where the collection's encoder is: its folder
    #[arg(long, value_name = "FOLDER")]
    pub(super) encoder: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    pub(super) target: CollectionArgs,
    /// Dimension of the dense vector (an encoder brings its own)
    #[arg(long, value_name = "DIM")]
    pub(super) dense: Option<usize>,
    /// How dense vectors are compared; default: cosine
    #[arg(long)]
    pub(super) metric: Option<MetricArg>,
    /// How dense vectors are stored; default: f16
    #[arg(long, value_name = "CODEC")]
    pub(super) dense_codec: Option<DenseCodecArg>,
    /// Dimension of a token's vector (an encoder brings its own)
    #[arg(long, value_name = "DIM")]
    pub(super) multi: Option<usize>,
    /// Bits of residual a number of a token: 1, 2 or 4; default: 2
    #[arg(long)]
    pub(super) bits: Option<u8>,
    /// How residuals are coded; default: trellis
    #[arg(long, value_name = "CODEC")]
    pub(super) token_codec: Option<TokenCodecArg>,
    /// Keep the tokens beside their codes, for exact rescoring
    #[arg(long, value_name = "CODEC")]
    pub(super) keep_original: Option<OriginalArg>,
    /// Store ceil(n / FACTOR) vectors for the n tokens of a document: means of those that say nearly the same
    #[arg(long, value_name = "FACTOR")]
    pub(super) pool_factor: Option<usize>,
    /// Do not store the encoder's dense vector
    #[arg(long, conflicts_with = "dense")]
    pub(super) no_dense: bool,
    /// Do not store the encoder's token matrix
    #[arg(long, conflicts_with = "multi")]
    pub(super) no_multi: bool,
    /// A named field of dense vectors: METRIC is cosine (default), ip or l2, CODEC f16 (default), f32, int8, rabitq8 or rabitq12; may be given several times
    #[arg(long, value_name = "NAME:DIM[:METRIC[:CODEC]]", value_parser = vector)]
    pub(super) vector: Vec<(String, usize, Metric, DenseCodec)>,
    /// A named field of sparse vectors (learned sparse encoders as SPLADE); may be given several times
    #[arg(long, value_name = "NAME")]
    pub(super) sparse: Vec<String>,
    /// Index the words of the texts, for BM25; with an encoder they are indexed unless --no-lexical is given
    #[arg(long, conflicts_with = "no_lexical")]
    pub(super) lexical: bool,
    /// Do not index the words of the texts
    #[arg(long)]
    pub(super) no_lexical: bool,
    /// What a word is: runs of letters and digits, words by the rules of Unicode, what is between white space
    #[arg(long, value_enum, conflicts_with = "no_lexical")]
    pub(super) tokenizer: Option<TokenizerArg>,
    /// Index words without their accents
    #[arg(long, conflicts_with = "no_lexical")]
    pub(super) fold: bool,
    /// Index the stems of the words of this language: english, german, ...
    #[arg(long, value_name = "LANGUAGE", value_parser = language, conflicts_with = "no_lexical")]
    pub(super) stemmer: Option<Language>,
    /// The encoder: `tiny` (built in), or a model folder
    #[arg(long, value_name = "FOLDER|tiny")]
    pub(super) encoder: Option<String>,
    /// The cross-encoder that reranks: `tiny` (built in), or a model folder
    #[arg(long, value_name = "FOLDER|tiny")]
    pub(super) reranker: Option<String>,
    /// A payload field to index, for filters, facets and orders; TYPE is keyword, int, float, bool, datetime or geo
    #[arg(long, value_name = "NAME:TYPE", value_parser = field)]
    pub(super) field: Vec<(String, FieldType)>,
}

#[derive(Debug, Args)]
pub(super) struct IngestArgs {
    #[command(flatten)]
    pub(super) target: CollectionArgs,
    /// Lines {"_id", "title", "text", ...payload}, plain or zstd, `-` for standard input; or a folder that `export` wrote
    #[arg(required_unless_present_any = ["multi", "dense"], conflicts_with_all = ["multi", "dense", "ids"])]
    pub(super) file: Option<PathBuf>,
    /// Tokens of all documents: tokens x dimensions with --doclens, or documents x tokens x dimensions
    #[arg(long, value_name = "FILE.npy")]
    pub(super) multi: Option<PathBuf>,
    /// How many tokens each document has
    #[arg(long, value_name = "FILE.npy", requires = "multi")]
    pub(super) doclens: Option<PathBuf>,
    /// Dense vectors: documents x dimensions
    #[arg(long, value_name = "FILE.npy")]
    pub(super) dense: Option<PathBuf>,
    /// One id a line; default: 0, 1, 2, ...
    #[arg(long, value_name = "FILE.txt")]
    pub(super) ids: Option<PathBuf>,
    /// Do not train the codebook and build the indexes at the end
    #[arg(long)]
    pub(super) no_optimize: bool,
    #[command(flatten)]
    pub(super) models: ModelArgs,
}

/// What tunes a query.
#[derive(Debug, Args)]
pub(super) struct TuningArgs {
    /// Search exhaustively, over the best vectors stored
    #[arg(long)]
    pub(super) exact: bool,
    /// Breadth of the graph search
    #[arg(long, value_name = "N")]
    pub(super) ef_search: Option<usize>,
    /// Share of the exhaustive answer that late interaction is to find: above 0, at most 1; default: 0.99 when tuned
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(super) recall: Option<f64>,
    /// Inverted lists read for each group of query tokens that point the same way
    #[arg(long, value_name = "N")]
    pub(super) n_probe: Option<usize>,
    /// Candidates that the first stage hands to the next
    #[arg(long, value_name = "N")]
    pub(super) candidates: Option<usize>,
    /// From 0 to 1: the less, the more hits differ from those before them (maximal marginal relevance)
    #[arg(long, value_name = "LAMBDA")]
    pub(super) diversity: Option<f64>,
    /// At most --group-size hits of each value of this payload field
    #[arg(long, value_name = "FIELD")]
    pub(super) group_by: Option<String>,
    /// Hits of each value
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 1)]
    pub(super) group_size: usize,
    /// Put the hits in the order of this payload field, the least first, or with :desc the greatest
    #[arg(long, value_name = "FIELD[:desc]", value_parser = order)]
    pub(super) order_by: Option<(String, bool)>,
    /// How the rankings of several searches become one; default: rrf
    #[arg(long, value_enum)]
    pub(super) fusion: Option<FusionArg>,
    /// The k of reciprocal ranks; default: 60
    #[arg(long, value_name = "K")]
    pub(super) rrf_k: Option<f64>,
    /// What each ranking counts, for example bm25=1,maxsim=2,sparse:splade=0.5; default: 1
    #[arg(long, value_name = "SEARCH=WEIGHT,...", value_parser = weights)]
    pub(super) weights: Option<FusionWeights>,
    /// Candidates that the reranker reads
    #[arg(long, value_name = "N", default_value_t = latewood_query::DEFAULT_RERANK_DEPTH)]
    pub(super) rerank_depth: usize,
    /// How long a rerank may take, in milliseconds
    #[arg(long, value_name = "MS")]
    pub(super) rerank_deadline: Option<u64>,
    /// How long a query may take in all, in milliseconds; quality is given up for it
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub(super) budget: Option<std::time::Duration>,
    /// Rerank with this model instead of the collection's own: `tiny` or a model folder
    #[arg(long, value_name = "FOLDER|tiny")]
    pub(super) reranker: Option<String>,
    /// Only documents that match, for example: section = "python" and installed_kib >= 100
    #[arg(long, value_name = "EXPR")]
    pub(super) filter: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) target: CollectionArgs,
    /// Lines {"_id", "text"}, with vectors of their own ("_dense", "_tokens", "_vectors") or of these alone
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["multi", "dense"], required_unless_present_any = ["multi", "dense"])]
    pub(super) queries: Option<PathBuf>,
    /// Token matrices: queries x tokens x dimensions, or tokens x dimensions with --querylens
    #[arg(long, value_name = "FILE.npy")]
    pub(super) multi: Option<PathBuf>,
    /// How many tokens each query has
    #[arg(long, value_name = "FILE.npy", requires = "multi")]
    pub(super) querylens: Option<PathBuf>,
    /// Dense vectors: queries x dimensions
    #[arg(long, value_name = "FILE.npy")]
    pub(super) dense: Option<PathBuf>,
    /// How many hits a query
    #[arg(short = 'k', long = "limit", default_value_t = 10)]
    pub(super) limit: usize,
    /// auto, dense, maxsim, dense+maxsim, bm25, bm25+maxsim; dense:NAME, sparse:NAME; fused: bm25/dense, bm25/maxsim, bm25/sparse:NAME, ...; each with +rerank
    #[arg(long, default_value = "auto", value_parser = plan)]
    pub(super) plan: PlanChoice,
    #[command(flatten)]
    pub(super) tuning: TuningArgs,
    /// The run file: query id, Q0, document id, rank, score, tag
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Only the first N queries
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(super) limit_queries: Option<usize>,
    /// Ask each query N times; the fastest counts, so that other load on the machine counts less
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 1)]
    pub(super) repeat: usize,
    /// Print where the time went: the stages, their median and their share of all time
    #[arg(long)]
    pub(super) analyze: bool,
    #[command(flatten)]
    pub(super) models: ModelArgs,
}

#[derive(Debug, Args)]
pub(super) struct EvalArgs {
    #[command(flatten)]
    pub(super) target: CollectionArgs,
    /// Lines {"_id", "text"}
    #[arg(long, value_name = "FILE.jsonl")]
    pub(super) queries: PathBuf,
    /// Judgments: query, document, relevance (BEIR), or query, 0, document, relevance (TREC). Without them plans are compared
    /// with their exact form and with the deepest plan: agreement, not quality
    #[arg(long, value_name = "FILE.tsv")]
    pub(super) qrels: Option<PathBuf>,
    /// Plans, separated by commas; default: all that the collection can do
    #[arg(long, value_name = "PLAN,...", value_delimiter = ',', value_parser = plan)]
    pub(super) plans: Vec<PlanChoice>,
    #[command(flatten)]
    pub(super) tuning: TuningArgs,
    /// Only the first N queries
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(super) limit_queries: Option<usize>,
    #[command(flatten)]
    pub(super) models: ModelArgs,
}

/// Queries that late interaction is measured with.
#[derive(Debug, Args)]
pub(super) struct MeasuredQueriesArgs {
    /// Token matrices (FILE.npy: queries x tokens x dimensions), or lines {"_id", "text"} (FILE.jsonl); default: queries
    /// made of the collection's documents
    #[arg(long, value_name = "FILE")]
    pub(super) queries: Option<PathBuf>,
    /// How many tokens each query of a two-dimensional FILE.npy has
    #[arg(long, value_name = "FILE.npy", requires = "queries")]
    pub(super) querylens: Option<PathBuf>,
    /// Only the first N queries; default: all, or 200 that are made
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(super) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(super) struct TuneArgs {
    #[command(flatten)]
    pub(super) target: CollectionArgs,
    #[command(flatten)]
    pub(super) queries: MeasuredQueriesArgs,
    /// Tune the graph over the dense vectors; a collection without token matrices needs no telling. Queries: an .npy file
    /// of queries x dimensions, or texts
    #[arg(long)]
    pub(super) dense: bool,
    #[command(flatten)]
    pub(super) models: ModelArgs,
}

#[derive(Debug, Args)]
pub(super) struct RecallArgs {
    #[command(flatten)]
    pub(super) target: CollectionArgs,
    #[command(flatten)]
    pub(super) queries: MeasuredQueriesArgs,
    /// Measure the graph over the dense vectors; a collection without token matrices needs no telling. Queries: an .npy file
    /// of queries x dimensions, or texts
    #[arg(long)]
    pub(super) dense: bool,
    /// The depth of recall@k
    #[arg(short = 'k', long = "k", default_value_t = 10, value_parser = positive)]
    pub(super) k: usize,
    /// Recalls to ask for, separated by commas; default: 0.8,0.9,0.95,0.98,0.99,0.995,0.999
    #[arg(long = "target", value_name = "SHARE,...", value_delimiter = ',', value_parser = share)]
    pub(super) targets: Vec<f64>,
    #[command(flatten)]
    pub(super) models: ModelArgs,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The database directory
    pub(super) db: PathBuf,
    /// The collection; may be left out when there is one
    pub(super) collection: Option<String>,
    /// A new folder for documents.jsonl, dense.npy, tokens.npy, doclens.npy; default: lines of JSON alone
    #[arg(conflicts_with_all = ["out", "vectors"])]
    pub(super) folder: Option<PathBuf>,
    /// Where to write the lines; `-`: standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(super) out: PathBuf,
    /// Write the vectors into the lines, as "_dense" and "_tokens"
    #[arg(long)]
    pub(super) vectors: bool,
}

#[derive(Debug, Args)]
pub(super) struct ImportPlaidArgs {
    /// The index: a folder with metadata.json, centroids.npy, ...
    pub(super) folder: PathBuf,
    #[command(flatten)]
    pub(super) target: CollectionArgs,
    /// One id a line, in the index's order; default: 0, 1, 2, ...
    #[arg(long, value_name = "FILE.txt")]
    pub(super) ids: Option<PathBuf>,
    /// The encoder that made the index, to ask with texts: `tiny` (built in), or a model folder
    #[arg(long, value_name = "FOLDER|tiny")]
    pub(super) encoder: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ExportPlaidArgs {
    #[command(flatten)]
    pub(super) target: CollectionArgs,
    /// Where to write the index, and ids.txt beside it: an empty folder, or one that does not exist
    pub(super) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ModelFolderArgs {
    /// A model folder, or `tiny` (the built-in encoder), or `tiny-cross` (the built-in reranker)
    pub(super) folder: String,
}

#[derive(Debug, Args)]
pub(super) struct TuneFusionArgs {
    #[command(flatten)]
    pub(super) target: CollectionArgs,
    /// Lines {"_id", "text"}
    #[arg(long, value_name = "FILE.jsonl")]
    pub(super) queries: PathBuf,
    /// Lines of query, document, relevance
    #[arg(long, value_name = "FILE.tsv")]
    pub(super) qrels: PathBuf,
    /// A plan that fuses: bm25/dense, bm25/maxsim
    #[arg(long, default_value = "bm25/maxsim", value_parser = plan)]
    pub(super) plan: PlanChoice,
    /// Parts of the queries, each of which is judged by what the others chose
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(super) folds: usize,
    /// Only the first N queries
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(super) limit_queries: Option<usize>,
    #[command(flatten)]
    pub(super) models: ModelArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Latewood::command().debug_assert();
    }

    #[test]
    fn documents_come_from_a_file_or_from_arrays() {
        let parse = |arguments: &[&str]| {
            Latewood::try_parse_from([&["latewood", "ingest", "db", "c"], arguments].concat())
        };
        assert!(parse(&["a.jsonl"]).is_ok());
        assert!(parse(&["--multi", "a.npy", "--doclens", "b.npy"]).is_ok());
        assert!(parse(&["--dense", "a.npy"]).is_ok());
        assert!(parse(&[]).is_err());
        assert!(parse(&["a.jsonl", "--multi", "a.npy"]).is_err());
        assert!(parse(&["--doclens", "b.npy"]).is_err());
    }
}
