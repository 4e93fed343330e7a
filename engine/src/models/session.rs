//! Sessions of one graph: as many as threads run it, each made when it is first needed.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;

use super::ModelError;
use super::runtime::Runtime;
use super::tokenize::Input;

/// Where a graph's bytes come from, again for each session.
#[derive(Clone, Debug)]
pub(crate) enum GraphSource {
    /// A file, which may refer to others beside it.
    File(PathBuf),
    /// A graph that is compiled in.
    #[cfg_attr(
        not(feature = "builtin-models"),
        expect(dead_code, reason = "only built-in models are in memory")
    )]
    Memory(Arc<[u8]>),
}

/// One output of a run: rows x ... numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Output {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f32>,
}

impl Output {
    /// The numbers of one row of the batch.
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        let length = self.shape.iter().skip(1).product::<usize>();
        self.data
            .get(row * length..(row + 1) * length)
            .unwrap_or_default()
    }

    /// The last dimension.
    pub(crate) fn dim(&self) -> usize {
        self.shape.last().copied().unwrap_or(0)
    }
}

/// A pool of sessions. `Session::run` needs the session for itself, so that each thread takes one and gives it back.
pub(crate) struct SessionPool {
    model: String,
    source: GraphSource,
    runtime: &'static Runtime,
    inputs: Vec<GraphInput>,
    outputs: Vec<String>,
    least_width: usize,
    limit: usize,
    idle: Mutex<Idle>,
    returned: Condvar,
}

struct Idle {
    sessions: Vec<Session>,
    made: usize,
}

/// The inputs that a text encoder's graph may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GraphInput {
    Ids,
    Mask,
    Types,
    Positions,
}

impl GraphInput {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "input_ids" => Some(Self::Ids),
            "attention_mask" => Some(Self::Mask),
            "token_type_ids" => Some(Self::Types),
            "position_ids" => Some(Self::Positions),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ids => "input_ids",
            Self::Mask => "attention_mask",
            Self::Types => "token_type_ids",
            Self::Positions => "position_ids",
        }
    }

    /// A batch of rows, padded to `width`. What stands in the padding does not matter: it is masked.
    fn fill(self, rows: &[&Input], width: usize) -> Vec<i64> {
        let mut out = Vec::with_capacity(rows.len() * width);
        for row in rows {
            let start = out.len();
            match self {
                Self::Ids => out.extend(&row.ids),
                Self::Mask => out.extend(std::iter::repeat_n(1, row.attended)),
                Self::Types => out.extend(&row.types),
                Self::Positions => out.extend((0i64..).take(row.ids.len())),
            }
            out.resize(start + width, 0);
        }
        out
    }
}

impl SessionPool {
    /// Makes the first session, which shows whether the runtime takes the graph.
    pub(crate) fn open(
        model: &str,
        source: GraphSource,
        runtime: &'static Runtime,
        threads: usize,
    ) -> Result<Self, ModelError> {
        let mut pool = Self {
            model: model.to_owned(),
            source,
            runtime,
            inputs: Vec::new(),
            outputs: Vec::new(),
            least_width: 1,
            limit: threads.max(1),
            idle: Mutex::new(Idle {
                sessions: Vec::new(),
                made: 0,
            }),
            returned: Condvar::new(),
        };
        let first = pool.session()?;
        for input in first.inputs() {
            pool.inputs
                .push(
                    GraphInput::from_name(input.name()).ok_or_else(|| ModelError::GraphMismatch {
                        model: model.to_owned(),
                        expected: "inputs among input_ids, attention_mask, token_type_ids, position_ids"
                            .into(),
                        got: format!("an input {:?}", input.name()),
                    })?,
                );
        }
        pool.outputs = first
            .outputs()
            .iter()
            .map(|output| output.name().to_owned())
            .collect();
        pool.idle = Mutex::new(Idle {
            sessions: vec![first],
            made: 1,
        });
        Ok(pool)
    }

    /// Pads every input to at least so many tokens.
    #[must_use]
    pub(crate) fn padded_to(mut self, least_width: usize) -> Self {
        self.least_width = least_width;
        self
    }

    /// The names of the graph's outputs, in its order.
    pub(crate) fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// Threads that may run the graph at once.
    pub(crate) fn threads(&self) -> usize {
        self.limit
    }

    /// Runs the graph on a batch and returns the outputs asked for.
    pub(crate) fn run(&self, rows: &[&Input], outputs: &[&str]) -> Result<Vec<Output>, ModelError> {
        let mut lease = self.take()?;
        match &mut lease.session {
            Some(session) => self.run_on(session, rows, outputs),
            None => Ok(Vec::new()),
        }
    }

    fn run_on(
        &self,
        session: &mut Session,
        rows: &[&Input],
        outputs: &[&str],
    ) -> Result<Vec<Output>, ModelError> {
        let width = rows
            .iter()
            .map(|row| row.ids.len())
            .max()
            .unwrap_or(0)
            .max(self.least_width);
        let failed = |reason: String| ModelError::Run {
            model: self.model.clone(),
            rows: rows.len(),
            length: width,
            reason,
        };
        let mut inputs: Vec<(&str, SessionInputValue)> = Vec::with_capacity(self.inputs.len());
        for &input in &self.inputs {
            let tensor = Tensor::from_array(([rows.len(), width], input.fill(rows, width)))
                .map_err(|e| failed(e.to_string()))?;
            inputs.push((input.name(), tensor.into()));
        }
        let results = session.run(inputs).map_err(|e| failed(e.to_string()))?;
        let mut out = Vec::with_capacity(outputs.len());
        for name in outputs {
            let value = results
                .get(name)
                .ok_or_else(|| failed(format!("no output {name:?} came")))?;
            let (shape, data) = value
                .try_extract_tensor::<f32>()
                .map_err(|e| failed(e.to_string()))?;
            let shape: Vec<_> = shape.iter().map(|&n| usize::try_from(n).unwrap_or(0)).collect();
            if shape.first() != Some(&rows.len()) {
                return Err(failed(format!("the output {name:?} has the shape {shape:?}")));
            }
            out.push(Output {
                shape,
                data: data.to_vec(),
            });
        }
        Ok(out)
    }

    /// An idle session, or a new one while fewer than `limit` are made, or the next that is given back.
    fn take(&self) -> Result<Lease<'_>, ModelError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(session) = idle.sessions.pop() {
                return Ok(Lease {
                    pool: self,
                    session: Some(session),
                });
            }
            if idle.made < self.limit {
                idle.made += 1;
                drop(idle);
                let mut lease = Lease {
                    pool: self,
                    session: None,
                };
                lease.session = Some(self.session()?);
                return Ok(lease);
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A session with one thread of its own: threads come from running several sessions.
    fn session(&self) -> Result<Session, ModelError> {
        let refused = |e: &dyn std::fmt::Display| self.refused(e);
        let builder = Session::builder(&self.runtime.environment).map_err(|e| refused(&e))?;
        let builder = builder
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|e| refused(&e))?;
        // tract has no threads of its own and knows no such option.
        let mut builder = match self.runtime.info.is_tract() {
            true => builder,
            false => builder.with_intra_threads(1).map_err(|e| refused(&e))?,
        };
        match &self.source {
            GraphSource::File(path) => builder.commit_from_file(path),
            GraphSource::Memory(bytes) => builder.commit_from_memory(bytes),
        }
        .map_err(|e| refused(&e))
    }

    fn refused(&self, reason: &dyn std::fmt::Display) -> ModelError {
        ModelError::GraphRefused {
            model: self.model.clone(),
            runtime: self.runtime.info.to_string(),
            reason: first_line(&reason.to_string()),
            advice: if self.runtime.info.is_tract() {
                "tract does not run every graph: give the path of ONNX Runtime (libonnxruntime.so), or check that the \
                 file is a whole ONNX graph"
            } else {
                "check that the file is a whole ONNX graph, of an opset that this ONNX Runtime knows"
            },
        }
    }
}

/// A session taken from the pool. It goes back however the run ends; if making it failed, the place is free again.
struct Lease<'a> {
    pool: &'a SessionPool,
    session: Option<Session>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match self.session.take() {
            Some(session) => idle.sessions.push(session),
            None => idle.made -= 1,
        }
        drop(idle);
        self.pool.returned.notify_one();
    }
}

/// tract's errors carry a chain of causes on many lines; the first says what failed.
fn first_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("no reason given")
        .to_owned()
}
