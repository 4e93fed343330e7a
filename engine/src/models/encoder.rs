//! An encoder that runs an ONNX graph.

use std::path::Path;

use latewood_storage::ModelIdentity;

use super::batch::{batches, in_parallel};
use super::colbert::{ColbertSettings, gather};
use super::loaded::{Loaded, ModelOptions};
use super::sentence::{SentenceSettings, normalize};
use super::session::Output;
use super::settings::Kind;
use super::tokenize::Input;
use super::{Encoding, ModelError, RuntimeInfo, TextEncoder};

/// Padded tokens and rows in a run of the graph: enough to keep its loops busy, small enough to stay in the cache.
const BATCH_TOKENS: usize = 1024;
const BATCH_ROWS: usize = 32;

/// Names under which graphs give a text's vector and its tokens' vectors, in order of preference.
const SENTENCE_OUTPUT: &str = "sentence_embedding";
const TOKEN_OUTPUTS: [&str; 2] = ["token_embeddings", "last_hidden_state"];

/// A [`TextEncoder`] over an ONNX graph: a sentence-transformers model, a ColBERT-style one, or one that is both.
pub struct OnnxEncoder {
    model: Loaded,
    head: Head,
    dense: Option<GraphOutput>,
    tokens: Option<GraphOutput>,
}

/// What is done with a text before the graph and with its outputs after.
enum Head {
    Sentence(SentenceSettings),
    Colbert(ColbertSettings),
}

/// An output of the graph and the numbers in one of its vectors.
struct GraphOutput {
    name: String,
    dim: usize,
}

/// Which side of the search a text is on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Query,
    Document,
}

impl OnnxEncoder {
    /// Opens the model in a folder.
    ///
    /// # Errors
    /// A missing or damaged file, a cross-encoder, or a graph that the runtime refuses.
    pub fn open(folder: impl AsRef<Path>, options: &ModelOptions) -> Result<Self, ModelError> {
        Self::from_loaded(Loaded::from_folder(folder.as_ref(), options)?)
    }

    /// Opens a built-in model: `tiny`, a vector of 128 numbers for a text and one of 64 for each token.
    #[cfg(feature = "builtin-models")]
    pub fn builtin(name: &str, options: &ModelOptions) -> Result<Self, ModelError> {
        Self::from_loaded(Loaded::from_bytes(super::builtin::encoder(name)?, options)?)
    }

    /// What runs the graph.
    pub fn runtime(&self) -> &RuntimeInfo {
        &self.model.runtime
    }

    /// Whether the graph is a dynamic int8 one, whose numbers depend on the batch.
    pub fn is_dynamically_quantized(&self) -> bool {
        self.model.dynamic
    }

    fn from_loaded(model: Loaded) -> Result<Self, ModelError> {
        let head = match &model.kind {
            Kind::Sentence(settings) => Head::Sentence(settings.clone()),
            Kind::Colbert(settings) => Head::Colbert(settings.clone()),
            Kind::Cross(_) => {
                return Err(ModelError::WrongKind {
                    model: model.name,
                    found: "cross-encoder",
                    expected: "encoder",
                    advice: "it as the reranker, and a sentence-transformers or ColBERT folder as the encoder",
                });
            }
        };
        let mut encoder = Self {
            model,
            head,
            dense: None,
            tokens: None,
        };
        encoder.find_outputs()?;
        Ok(encoder)
    }

    /// Finds the outputs by name and their dimensions by running one short text.
    fn find_outputs(&mut self) -> Result<(), ModelError> {
        let names = self.model.pool.outputs().to_vec();
        let named = |wanted: &[&str]| wanted.iter().find_map(|w| names.iter().find(|n| n == w)).cloned();
        let sentence = named(&[SENTENCE_OUTPUT]);
        let tokens =
            named(&TOKEN_OUTPUTS).or_else(|| names.iter().find(|n| Some(*n) != sentence.as_ref()).cloned());
        let input = self.frame(Side::Document, "a", 0)?;
        let probe = |name: Option<String>, rank: usize| -> Result<Option<GraphOutput>, ModelError> {
            let Some(name) = name else { return Ok(None) };
            let output = self.model.pool.run(&[&input], &[&name])?.pop();
            let shape = output.map(|o| o.shape).unwrap_or_default();
            match shape.last() {
                Some(&dim) if shape.len() == rank && dim > 0 => Ok(Some(GraphOutput { name, dim })),
                _ => Err(self.mismatch(
                    format!("an output {name:?} of {rank} dimensions"),
                    format!("the shape {shape:?}"),
                )),
            }
        };
        let dense = probe(sentence, 2)?;
        // A sentence-transformers graph that pools for itself needs no token vectors.
        let wants_tokens = matches!(self.head, Head::Colbert(_)) || dense.is_none();
        let tokens = probe(tokens.filter(|_| wants_tokens), 3)?;
        if wants_tokens && tokens.is_none() {
            return Err(self.mismatch("an output with a vector for each token".into(), names.join(", ")));
        }
        (self.dense, self.tokens) = (dense, tokens);
        Ok(())
    }

    fn mismatch(&self, expected: String, got: String) -> ModelError {
        ModelError::GraphMismatch {
            model: self.model.name.clone(),
            expected,
            got,
        }
    }

    pub(crate) fn query_input(&self, text: &str) -> Result<Input, ModelError> {
        self.frame(Side::Query, text, 0)
    }

    pub(crate) fn document_input(&self, text: &str) -> Result<Input, ModelError> {
        self.frame(Side::Document, text, 0)
    }

    fn frame(&self, side: Side, text: &str, index: usize) -> Result<Input, ModelError> {
        let tokenizer = &self.model.tokenizer;
        match (&self.head, side) {
            (Head::Colbert(settings), Side::Query) => settings.query(tokenizer, text),
            (Head::Colbert(settings), Side::Document) => settings.document(tokenizer, text, index),
            (Head::Sentence(settings), side) => settings.text(tokenizer, side == Side::Query, text, index),
        }
    }

    /// Runs a batch; `indices` are the positions of its rows among the texts given, for errors.
    fn run(&self, side: Side, rows: &[&Input], indices: &[usize]) -> Result<Vec<Encoding>, ModelError> {
        let wanted: Vec<_> = [&self.dense, &self.tokens]
            .into_iter()
            .flatten()
            .map(|o| o.name.as_str())
            .collect();
        let mut outputs = self.model.pool.run(rows, &wanted)?.into_iter();
        let dense = self.dense.as_ref().and_then(|_| outputs.next());
        let tokens = self.tokens.as_ref().and_then(|_| outputs.next());
        let mut out = Vec::with_capacity(rows.len());
        for (row, (input, &index)) in rows.iter().zip(indices).enumerate() {
            let encoding = self.read(side, input, row, dense.as_ref(), tokens.as_ref());
            let numbers = encoding.dense.iter().chain(&encoding.tokens).flatten();
            if !numbers.into_iter().all(|x| x.is_finite()) {
                return Err(ModelError::NotFinite {
                    model: self.model.name.clone(),
                    index,
                });
            }
            out.push(encoding);
        }
        Ok(out)
    }

    /// One text's vectors out of a batch's outputs.
    fn read(
        &self,
        side: Side,
        input: &Input,
        row: usize,
        dense: Option<&Output>,
        tokens: Option<&Output>,
    ) -> Encoding {
        let mut encoding = Encoding {
            input_tokens: input.attended,
            truncated: input.truncated,
            ..Encoding::default()
        };
        encoding.dense = dense.map(|output| output.row(row).to_vec());
        match (&self.head, tokens) {
            (Head::Sentence(settings), tokens) => {
                if let Some(output) = tokens {
                    let dim = output.dim();
                    let hidden = output.row(row).get(..input.attended * dim).unwrap_or_default();
                    encoding.dense = Some(settings.pooling.pool(hidden, dim));
                }
                if settings.normalize {
                    encoding.dense.iter_mut().for_each(|v| normalize(v));
                }
            }
            (Head::Colbert(settings), Some(output)) => {
                let matrix = output.row(row);
                encoding.tokens = Some(match side {
                    Side::Query => gather(matrix, output.dim(), 0..input.ids.len()),
                    Side::Document => gather(matrix, output.dim(), settings.kept(&input.ids)),
                });
            }
            (Head::Colbert(_), None) => {}
        }
        encoding
    }

    /// The tokens whose vectors are given.
    fn names(&self, query: bool, input: &Input) -> Vec<String> {
        let kept = self.kept(query, input).into_iter();
        let ids = kept.filter_map(|at| input.ids.get(at));
        ids.map(|id| self.model.tokenizer.name(*id)).collect()
    }

    /// The positions of a query's or document's ids whose vectors are given, for comparison with a reference.
    pub(crate) fn kept(&self, query: bool, input: &Input) -> Vec<usize> {
        match &self.head {
            Head::Colbert(settings) if !query => settings.kept(&input.ids).collect(),
            _ => (0..input.ids.len()).collect(),
        }
    }
}

impl TextEncoder for OnnxEncoder {
    fn identity(&self) -> &ModelIdentity {
        &self.model.identity
    }

    fn dense_dim(&self) -> Option<usize> {
        match &self.head {
            Head::Sentence(_) => self.dense.as_ref().or(self.tokens.as_ref()).map(|o| o.dim),
            Head::Colbert(_) => self.dense.as_ref().map(|o| o.dim),
        }
    }

    fn token_dim(&self) -> Option<usize> {
        match &self.head {
            Head::Sentence(_) => None,
            Head::Colbert(_) => self.tokens.as_ref().map(|o| o.dim),
        }
    }

    fn encode_query(&self, text: &str) -> Result<Encoding, ModelError> {
        let input = self.query_input(text)?;
        let mut encodings = self.run(Side::Query, &[&input], &[0])?;
        encodings.pop().ok_or(ModelError::EmptyText { index: 0 })
    }

    fn encode_documents(
        &self,
        texts: &[&str],
        progress: Option<&dyn Fn(usize)>,
    ) -> Result<Vec<Encoding>, ModelError> {
        let threads = self.model.pool.threads();
        let inputs = self.frame_documents(texts, threads)?;
        let lengths: Vec<_> = inputs.iter().map(|input| input.ids.len()).collect();
        let jobs = batches(&lengths, self.model.batching(BATCH_TOKENS, BATCH_ROWS));
        let mut encodings = vec![Encoding::default(); inputs.len()];
        let mut finished = 0;
        let work = |job: &Vec<usize>| {
            let rows: Vec<_> = job.iter().filter_map(|&i| inputs.get(i)).collect();
            self.run(Side::Document, &rows, job)
        };
        in_parallel(&jobs, threads, work, |job, results| {
            finished += results.len();
            for (&i, encoding) in jobs.get(job).into_iter().flatten().zip(results) {
                if let Some(slot) = encodings.get_mut(i) {
                    *slot = encoding;
                }
            }
            if let Some(progress) = progress {
                progress(finished);
            }
        })?;
        Ok(encodings)
    }

    fn max_document_tokens(&self) -> usize {
        match &self.head {
            Head::Sentence(settings) => settings.max_length,
            Head::Colbert(settings) => settings.document_length,
        }
    }

    fn query_tokens(&self, text: &str) -> Option<Vec<String>> {
        let input = self.query_input(text).ok()?;
        Some(self.names(true, &input))
    }

    fn document_tokens(&self, text: &str) -> Option<Vec<String>> {
        let input = self.document_input(text).ok()?;
        Some(self.names(false, &input))
    }

    fn count_document_tokens(&self, text: &str) -> Result<Option<usize>, ModelError> {
        let tokenizer = &self.model.tokenizer;
        // A token has a byte at least.
        let tokens = tokenizer.tokens(text, text.len(), 0)?;
        Ok(Some(tokens.ids.len() + tokenizer.single_markers()))
    }

    fn notes(&self) -> Vec<String> {
        self.model.notes()
    }
}

impl OnnxEncoder {
    /// Tokenizes all texts, in blocks, on all threads; of several errors the first text's is returned.
    fn frame_documents(&self, texts: &[&str], threads: usize) -> Result<Vec<Input>, ModelError> {
        const BLOCK: usize = 64;
        let blocks: Vec<_> = texts.chunks(BLOCK).enumerate().collect();
        let mut framed = Vec::with_capacity(blocks.len());
        let frame_block = |&(block, texts): &(usize, &[&str])| {
            let frame = |(i, text): (usize, &&str)| self.frame(Side::Document, text, block * BLOCK + i);
            Ok::<_, ModelError>(texts.iter().enumerate().map(frame).collect::<Result<Vec<_>, _>>())
        };
        in_parallel(&blocks, threads, frame_block, |block, result| {
            framed.push((block, result))
        })?;
        framed.sort_by_key(|(block, _)| *block);
        let mut inputs = Vec::with_capacity(texts.len());
        for (_, block) in framed {
            inputs.extend(block?);
        }
        Ok(inputs)
    }
}
