//! What can go wrong between a folder and a vector.

use std::path::PathBuf;

/// An error of a model: of its files, of the runtime that runs it, or of the text given to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A text has nothing to encode.
    #[error("text {index} has no tokens (it is empty, or white space only); give it words or leave it out")]
    EmptyText {
        /// Its position among the texts given; 0 for a query.
        index: usize,
    },
    /// The folder is not there, or is not a folder.
    #[error("no model folder at {}; give the folder that holds the .onnx file and tokenizer.json", path.display())]
    FolderMissing {
        /// The path given.
        path: PathBuf,
    },
    /// A file that the model needs is missing.
    #[error("{} has no {what}: looked for {looked_for}", folder.display())]
    FileMissing {
        /// The model's folder.
        folder: PathBuf,
        /// What the file is for.
        what: &'static str,
        /// The names tried, inside the folder.
        looked_for: String,
    },
    /// A file could not be read or does not hold what it should.
    #[error("{}: expected {expected}, but {problem}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What came.
        problem: String,
    },
    /// The folder holds a model of another kind than was asked for.
    #[error("{model} is a {found}, expected a {expected}; give {advice}")]
    WrongKind {
        /// The model.
        model: String,
        /// What it is.
        found: &'static str,
        /// What was asked for.
        expected: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The model needs something that is not offered.
    #[error("{model} cannot be used: {problem}; {advice}")]
    Unsupported {
        /// The model.
        model: String,
        /// What it needs.
        problem: String,
        /// What to do.
        advice: &'static str,
    },
    /// There is no built-in model of that name in this build.
    #[error("no built-in {kind} is called {name:?}; this build has {available}")]
    UnknownBuiltin {
        /// Encoder or reranker.
        kind: &'static str,
        /// The name given.
        name: String,
        /// Those there are.
        available: &'static str,
    },
    /// A built-in model does not unpack to what was packed.
    #[error(
        "the built-in model {name} does not unpack: {problem}; this build of the library is damaged, build it again"
    )]
    BuiltinDamaged {
        /// The model.
        name: &'static str,
        /// What was found.
        problem: String,
    },
    /// ONNX Runtime could not be loaded from the path given.
    #[error(
        "ONNX Runtime cannot be loaded from {}: {reason}; give the path of libonnxruntime.so (or .dylib, .dll), version 1.24 or later, or none to run in pure Rust",
        path.display()
    )]
    RuntimeUnavailable {
        /// The path given.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The process already runs models with another runtime.
    #[error(
        "this process already runs its models with {current}, and a process has one runtime: it cannot use {asked} as well; choose it before the first model is opened"
    )]
    RuntimeFixed {
        /// The runtime in use.
        current: String,
        /// The one asked for.
        asked: String,
    },
    /// The runtime does not accept the graph.
    #[error("{runtime} refuses the graph of {model}: {reason}; {advice}")]
    GraphRefused {
        /// The model.
        model: String,
        /// The runtime.
        runtime: String,
        /// What it said.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// The graph's inputs or outputs are not those of the kind of model that the folder describes.
    #[error("the graph of {model} does not fit its folder: expected {expected}, got {got}")]
    GraphMismatch {
        /// The model.
        model: String,
        /// What the folder says.
        expected: String,
        /// What the graph has.
        got: String,
    },
    /// The runtime failed on an input.
    #[error("{model} failed on an input of {rows} x {length} tokens: {reason}")]
    Run {
        /// The model.
        model: String,
        /// Texts in the batch.
        rows: usize,
        /// Tokens in the longest.
        length: usize,
        /// What the runtime said.
        reason: String,
    },
    /// The model gave a number that is not finite.
    #[error("{model} gave NaN or infinity for text {index}; its vectors cannot be stored")]
    NotFinite {
        /// The model.
        model: String,
        /// The position of the text among those given.
        index: usize,
    },
    /// The tokenizer failed on a text.
    #[error("the tokenizer of {model} failed on text {index}: {reason}")]
    Tokenize {
        /// The model.
        model: String,
        /// The position of the text among those given.
        index: usize,
        /// What it said.
        reason: String,
    },
}
