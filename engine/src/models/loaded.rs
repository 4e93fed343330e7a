//! A model's parts, loaded: tokenizer, settings, graph. Encoders and rerankers are made of them.

use std::path::{Path, PathBuf};

use latewood_storage::ModelIdentity;

use super::batch::Batching;
use super::folder::{ModelFolder, read};
use super::graph::is_dynamically_quantized;
use super::identity::{folder_name, identity};
use super::runtime::runtime;
use super::session::{GraphSource, SessionPool};
use super::settings::{FolderSettings, Kind};
use super::tokenize::TextTokenizer;
use super::{ModelError, RuntimeInfo};

/// How a model is run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ModelOptions {
    /// The ONNX Runtime library. None takes the runtime that the process has, or tract if it has none yet.
    pub runtime: Option<PathBuf>,
    /// Threads that run the graph, each on a session of its own. 0, the default, means one a core.
    pub threads: usize,
}

impl ModelOptions {
    /// The defaults: the runtime that the process has, or tract; one thread a core.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs the model in the ONNX Runtime library at `path`, or leaves the choice to the process if None.
    #[must_use]
    pub fn runtime(mut self, path: Option<impl Into<PathBuf>>) -> Self {
        self.runtime = path.map(Into::into);
        self
    }

    /// Runs the model on so many threads; 0 means one a core.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

/// A model with its graph ready to run.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) identity: ModelIdentity,
    pub(crate) kind: Kind,
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) pool: SessionPool,
    pub(crate) runtime: RuntimeInfo,
    /// Whether the graph scales its activations by the batch.
    pub(crate) dynamic: bool,
}

/// The bytes of a model that is not in a folder.
#[cfg(feature = "builtin-models")]
pub(crate) struct ModelBytes {
    pub(crate) name: &'static str,
    pub(crate) graph: Vec<u8>,
    pub(crate) tokenizer: Vec<u8>,
    pub(crate) settings: &'static str,
}

impl Loaded {
    pub(crate) fn from_folder(path: &Path, options: &ModelOptions) -> Result<Self, ModelError> {
        let folder = ModelFolder::open(path)?;
        let name = folder_name(path);
        let settings = FolderSettings::read(&folder)?;
        let graph_path = folder.graph(settings.model_file())?;
        let tokenizer_path = folder.required("tokenizer.json", "tokenizer")?;
        let tokenizer_bytes = read(&tokenizer_path)?;
        let tokenizer = TextTokenizer::from_bytes(&name, &tokenizer_path, &tokenizer_bytes)?;
        let kind = settings.kind(&name, Some(&folder), &tokenizer)?;
        let graph = read(&graph_path)?;
        let weights = external_weights(&graph_path)?;
        let identity = identity(
            &name,
            &folder.path().to_string_lossy(),
            &[&graph[..], &weights[..]],
            &tokenizer_bytes,
            &kind,
        );
        let dynamic = is_dynamically_quantized(&graph);
        drop((graph, weights, tokenizer_bytes));
        let runtime = runtime(options.runtime.as_deref())?;
        let pool = SessionPool::open(
            &name,
            GraphSource::File(graph_path),
            runtime,
            options.thread_count(),
        )?;
        Ok(Self {
            name,
            identity,
            kind,
            tokenizer,
            pool,
            runtime: runtime.info.clone(),
            dynamic,
        })
    }

    #[cfg(feature = "builtin-models")]
    pub(crate) fn from_bytes(bytes: ModelBytes, options: &ModelOptions) -> Result<Self, ModelError> {
        let ModelBytes {
            name,
            graph,
            tokenizer: tokenizer_bytes,
            settings,
        } = bytes;
        let tokenizer = TextTokenizer::from_bytes(name, Path::new("tokenizer.json"), &tokenizer_bytes)?;
        let kind = FolderSettings::from_onnx_config(settings)
            .map_err(|e| ModelError::BuiltinDamaged {
                name,
                problem: e.to_string(),
            })?
            .kind(name, None, &tokenizer)?;
        let identity = identity(name, "builtin", &[&graph[..], &[]], &tokenizer_bytes, &kind);
        let dynamic = is_dynamically_quantized(&graph);
        let runtime = runtime(options.runtime.as_deref())?;
        let source = GraphSource::Memory(graph.into());
        let pool = SessionPool::open(name, source, runtime, options.thread_count())?;
        Ok(Self {
            name: name.into(),
            identity,
            kind,
            tokenizer,
            pool,
            runtime: runtime.info.clone(),
            dynamic,
        })
    }

    /// Batches of at most this size, or single inputs where the graph asks for them.
    pub(crate) fn batching(&self, tokens: usize, rows: usize) -> Batching {
        if self.dynamic {
            Batching::Single
        } else {
            Batching::Padded { tokens, rows }
        }
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.dynamic {
            notes.push(format!(
                "{} quantizes its activations while it runs, by what is in the batch: texts are encoded one at a time, \
                 so that a text always gets the same vector",
                self.name
            ));
        }
        notes
    }
}

/// The weights that a large graph keeps in a file beside it; empty if it has none.
fn external_weights(graph: &Path) -> Result<Vec<u8>, ModelError> {
    let name = graph
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    for suffix in ["_data", ".data"] {
        let path = graph.with_file_name(format!("{name}{suffix}"));
        if path.is_file() {
            return read(&path);
        }
    }
    Ok(Vec::new())
}
