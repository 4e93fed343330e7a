//! `latewood model`

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::args::{Global, ModelFolderArgs};
use super::output::{Failure, print, print_json};
use crate::import::ImportError;
use crate::models::{ModelError, ModelOptions, OnnxEncoder, OnnxReranker, TextEncoder};
use crate::{ModelIdentity, Reranker};

/// What a float model's numbers may be off.
const FLOAT_TOLERANCE: f32 = 1e-3;
/// What a dynamic int8 model's may be off.
const INT8_TOLERANCE: f32 = 2e-2;

/// What a model folder is.
#[derive(Debug, Serialize)]
struct Description {
    kind: &'static str,
    #[serde(flatten)]
    identity: ModelIdentity,
    runtime: String,
    dense_dim: Option<usize>,
    token_dim: Option<usize>,
    max_document_tokens: Option<usize>,
    dynamic_int8: bool,
    notes: Vec<String>,
    reference: Option<Comparison>,
}

/// How far the model's outputs are from those in reference.json.
#[derive(Debug, Default, Serialize)]
struct Comparison {
    inputs: usize,
    greatest_difference: f32,
    tolerance: f32,
    agrees: bool,
}

/// One input of a reference.json with what Python gives for it.
#[derive(Debug, Deserialize)]
struct Reference {
    kind: Option<String>,
    text: Option<String>,
    query: Option<String>,
    document: Option<String>,
    sentence_embedding: Option<Vec<f32>>,
    token_embeddings: Option<Vec<Vec<f32>>>,
    logit: Option<f32>,
}

pub(super) fn run(global: &Global, args: &ModelFolderArgs) -> Result<(), Failure> {
    let options = ModelOptions::new().runtime(global.onnxruntime()).threads(global.threads.unwrap_or(0));
    let description = describe(&args.folder, &options)?;
    if global.json {
        print_json(&description)?;
    } else {
        print(as_text(&description))?;
    }
    match &description.reference {
        Some(comparison) if !comparison.agrees => Err(Failure::Said(
            format!(
                "the outputs differ from reference.json by up to {}, more than {}",
                comparison.greatest_difference, comparison.tolerance
            ),
            "check that the files of the folder belong together, or try another runtime with --onnxruntime",
        )),
        _ => Ok(()),
    }
}

fn describe(folder: &str, options: &ModelOptions) -> Result<Description, Failure> {
    match folder {
        "tiny" => describe_encoder(&OnnxEncoder::builtin("tiny", options)?, None),
        "tiny-cross" => describe_reranker(&OnnxReranker::builtin("tiny", options)?, None),
        _ => match OnnxEncoder::open(folder, options) {
            Ok(encoder) => describe_encoder(&encoder, Some(Path::new(folder))),
            Err(ModelError::WrongKind { .. }) => {
                describe_reranker(&OnnxReranker::open(folder, options)?, Some(Path::new(folder)))
            }
            Err(e) => Err(e.into()),
        },
    }
}

fn describe_encoder(encoder: &OnnxEncoder, folder: Option<&Path>) -> Result<Description, Failure> {
    let mut comparison = None;
    for reference in folder.map(read_references).transpose()?.flatten().unwrap_or_default() {
        let Some(text) = &reference.text else { continue };
        let encoding = match reference.kind.as_deref() {
            Some("query") => encoder.encode_query(text)?,
            _ => encoder.encode_documents(&[text], None)?.pop().unwrap_or_default(),
        };
        let wanted_tokens = reference.token_embeddings.map(|rows| rows.concat());
        let dense = difference(encoding.dense.as_deref(), reference.sentence_embedding.as_deref());
        let tokens = difference(encoding.tokens.as_deref(), wanted_tokens.as_deref());
        compare(&mut comparison, encoder.is_dynamically_quantized(), dense.max(tokens));
    }
    Ok(Description {
        kind: match (encoder.dense_dim(), encoder.token_dim()) {
            (Some(_), Some(_)) => "encoder of dense vectors and token matrices",
            (None, Some(_)) => "encoder of token matrices",
            _ => "encoder of dense vectors",
        },
        identity: encoder.identity().clone(),
        runtime: encoder.runtime().to_string(),
        dense_dim: encoder.dense_dim(),
        token_dim: encoder.token_dim(),
        max_document_tokens: Some(encoder.max_document_tokens()),
        dynamic_int8: encoder.is_dynamically_quantized(),
        notes: encoder.notes(),
        reference: comparison,
    })
}

fn describe_reranker(reranker: &OnnxReranker, folder: Option<&Path>) -> Result<Description, Failure> {
    let mut comparison = None;
    for reference in folder.map(read_references).transpose()?.flatten().unwrap_or_default() {
        let (Some(query), Some(document), Some(logit)) = (&reference.query, &reference.document, reference.logit)
        else {
            continue;
        };
        let scores = reranker
            .score(query, &[document], None)
            .map_err(|e| Failure::Said(e.to_string(), "check the model folder"))?;
        let score = scores.first().copied().flatten();
        compare(
            &mut comparison,
            reranker.is_dynamically_quantized(),
            difference(score.as_ref().map(std::slice::from_ref), Some(&[logit])),
        );
    }
    Ok(Description {
        kind: "cross-encoder",
        identity: reranker.identity().clone(),
        runtime: reranker.runtime().to_string(),
        dense_dim: None,
        token_dim: None,
        max_document_tokens: None,
        dynamic_int8: reranker.is_dynamically_quantized(),
        notes: reranker.notes(),
        reference: comparison,
    })
}

fn read_references(folder: &Path) -> Result<Option<Vec<Reference>>, Failure> {
    let path = folder.join("reference.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ImportError::Io { path, source }.into()),
    };
    serde_json::from_str(&text).map(Some).map_err(|e| {
        Failure::Said(format!("{}: {e}", path.display()), "the file must hold an array of inputs with their outputs")
    })
}

fn compare(comparison: &mut Option<Comparison>, dynamic: bool, difference: f32) {
    let tolerance = if dynamic { INT8_TOLERANCE } else { FLOAT_TOLERANCE };
    let comparison = comparison.get_or_insert_with(|| Comparison { tolerance, agrees: true, ..Comparison::default() });
    comparison.inputs += 1;
    comparison.greatest_difference = comparison.greatest_difference.max(difference);
    comparison.agrees = comparison.greatest_difference <= tolerance;
}

/// The greatest difference of two numbers; infinite where one side has other numbers than the other.
fn difference(got: Option<&[f32]>, wanted: Option<&[f32]>) -> f32 {
    match (got, wanted) {
        (_, None) => 0.0,
        (Some(got), Some(wanted)) if got.len() == wanted.len() => {
            got.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        }
        _ => f32::INFINITY,
    }
}

fn as_text(description: &Description) -> String {
    let mut text = format!(
        "{}: {}, run by {}\nfingerprint {}\n",
        description.identity.name, description.kind, description.runtime, description.identity.fingerprint
    );
    let dims = [
        ("dense vector", description.dense_dim),
        ("token vector", description.token_dim),
        ("tokens of a document at most", description.max_document_tokens),
    ];
    for (what, number) in dims {
        if let Some(number) = number {
            text += &format!("{what}: {number}\n");
        }
    }
    for note in &description.notes {
        text += &format!("note: {note}\n");
    }
    if let Some(comparison) = &description.reference {
        text += &format!(
            "reference.json: {} inputs, greatest difference {:.6}, {}\n",
            comparison.inputs,
            comparison.greatest_difference,
            if comparison.agrees { "agrees" } else { "differs" }
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_numbers_never_agree() {
        assert_eq!(difference(Some(&[1.0, 2.0]), Some(&[1.0, 2.5])), 0.5);
        assert_eq!(difference(Some(&[1.0]), None), 0.0);
        assert!(difference(None, Some(&[1.0])).is_infinite());
        assert!(difference(Some(&[1.0]), Some(&[1.0, 2.0])).is_infinite());
    }
}
