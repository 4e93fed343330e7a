//! Compares a model, as it is loaded here, with the outputs that a reference.json in its folder says it should give.
//!
//! The file is an array of inputs. For an encoder each has `text`, `input_ids` and `sentence_embedding` and, for a model
//! with token vectors, `kind` (query or document), `kept` (positions of the tokens that are stored) and
//! `token_embeddings` (theirs); for a cross-encoder `query`, `document`, `input_ids`, `token_type_ids` and `logit`.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::folder::{ModelFolder, read};
use super::tokenize::Input;
use super::{ModelError, ModelOptions, OnnxEncoder, OnnxReranker, TextEncoder};

/// Largest difference of a number that is taken for agreement: of a float model, and of a dynamic int8 one.
pub const TOLERANCE: f32 = 1e-3;
/// See [`TOLERANCE`]; int8 kernels round differently from one processor to another.
pub const TOLERANCE_INT8: f32 = 2e-2;

/// How far a model agrees with its reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Agreement {
    /// Inputs compared.
    pub inputs: usize,
    /// Inputs whose token ids, token types and kept positions are all equal.
    pub ids_equal: usize,
    /// The largest absolute difference of an output's number.
    pub max_difference: f32,
    /// The largest difference that passes.
    pub tolerance: f32,
    /// What ran the graph.
    pub runtime: String,
}

impl Agreement {
    /// Whether all ids are equal and all numbers within the tolerance.
    pub fn passed(&self) -> bool {
        self.ids_equal == self.inputs && self.max_difference <= self.tolerance
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} inputs with equal token ids, largest difference {:.2e} (at most {:.0e} is agreement), run by {}",
            self.ids_equal, self.inputs, self.max_difference, self.tolerance, self.runtime
        )
    }
}

#[derive(Debug, Deserialize)]
struct Case {
    kind: Option<String>,
    text: Option<String>,
    query: Option<String>,
    document: Option<String>,
    input_ids: Vec<i64>,
    #[serde(default)]
    token_type_ids: Vec<i64>,
    kept: Option<Vec<usize>>,
    sentence_embedding: Option<Vec<f32>>,
    token_embeddings: Option<Vec<Vec<f32>>>,
    logit: Option<f32>,
}

/// Opens the model in a folder and compares it with the folder's reference.json.
///
/// # Errors
/// A missing or damaged reference.json, and whatever opening and running the model gives. A difference is no error: ask
/// [`Agreement::passed`].
pub fn verify_folder(folder: impl AsRef<Path>, options: &ModelOptions) -> Result<Agreement, ModelError> {
    let path = folder.as_ref();
    let reference = ModelFolder::open(path)?.required("reference.json", "reference outputs")?;
    match OnnxEncoder::open(path, options) {
        Ok(encoder) => verify_encoder(&encoder, &reference),
        Err(ModelError::WrongKind { .. }) => verify_reranker(&OnnxReranker::open(path, options)?, &reference),
        Err(error) => Err(error),
    }
}

/// Compares an open encoder with a reference.json, one input at a time.
pub fn verify_encoder(encoder: &OnnxEncoder, reference: &Path) -> Result<Agreement, ModelError> {
    let cases = cases(reference)?;
    let mut agreement = start(
        &cases,
        encoder.is_dynamically_quantized(),
        encoder.runtime().to_string(),
    );
    for case in &cases {
        let text = case
            .text
            .as_deref()
            .ok_or_else(|| bad(reference, "an input has no text"))?;
        let query = case.kind.as_deref() == Some("query");
        let input = if query {
            encoder.query_input(text)?
        } else {
            encoder.document_input(text)?
        };
        let kept = encoder.kept(query, &input);
        let equal = input.ids == case.input_ids && case.kept.as_ref().is_none_or(|k| *k == kept);
        agreement.ids_equal += usize::from(equal);
        let encoding = if query {
            Some(encoder.encode_query(text)?)
        } else {
            encoder.encode_documents(&[text], None)?.pop()
        };
        let encoding = encoding.unwrap_or_default();
        agreement.compare(case.sentence_embedding.as_deref(), encoding.dense.as_deref());
        let rows = case.token_embeddings.as_ref().map(|rows| rows.concat());
        agreement.compare(rows.as_deref(), encoding.tokens.as_deref());
    }
    Ok(agreement)
}

/// Compares an open reranker with a reference.json, one pair at a time.
pub fn verify_reranker(reranker: &OnnxReranker, reference: &Path) -> Result<Agreement, ModelError> {
    let cases = cases(reference)?;
    let mut agreement = start(
        &cases,
        reranker.is_dynamically_quantized(),
        reranker.runtime().to_string(),
    );
    for case in &cases {
        let (Some(query), Some(document)) = (case.query.as_deref(), case.document.as_deref()) else {
            return Err(bad(reference, "an input has no query or no document"));
        };
        let Input { ids, types, .. } = reranker.pair_input(query, document)?;
        agreement.ids_equal += usize::from(ids == case.input_ids && types == case.token_type_ids);
        let scores = reranker.rerank(query, &[document], 1, None)?.scores;
        let scores: Vec<_> = scores.into_iter().flatten().collect();
        agreement.compare(case.logit.as_ref().map(std::slice::from_ref), Some(&scores));
    }
    Ok(agreement)
}

impl Agreement {
    /// Takes in one output; what the reference has and the model does not give, or in another size, is infinitely far.
    fn compare(&mut self, reference: Option<&[f32]>, got: Option<&[f32]>) {
        let Some(reference) = reference else { return };
        let difference = match got {
            Some(got) if got.len() == reference.len() => reference
                .iter()
                .zip(got)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max),
            _ => f32::INFINITY,
        };
        self.max_difference = self.max_difference.max(difference);
    }
}

fn start(cases: &[Case], dynamic: bool, runtime: String) -> Agreement {
    let tolerance = if dynamic { TOLERANCE_INT8 } else { TOLERANCE };
    Agreement {
        inputs: cases.len(),
        ids_equal: 0,
        max_difference: 0.0,
        tolerance,
        runtime,
    }
}

fn cases(path: &Path) -> Result<Vec<Case>, ModelError> {
    serde_json::from_slice(&read(path)?).map_err(|e| bad(path, &e.to_string()))
}

fn bad(path: &Path, problem: &str) -> ModelError {
    ModelError::BadFile {
        path: path.to_owned(),
        expected: "an array of inputs with their outputs",
        problem: problem.to_owned(),
    }
}
