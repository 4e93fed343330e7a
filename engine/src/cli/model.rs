//! `latewood model`

use std::path::PathBuf;

use serde::Serialize;

use super::args::{Global, ModelFolderArgs};
use super::output::{Failure, print, print_json};
use crate::models::verify::{Agreement, verify_encoder, verify_reranker};
use crate::models::{ModelError, ModelOptions, OnnxEncoder, OnnxReranker, TextEncoder};
use crate::{ModelIdentity, Reranker};

/// What a model is.
#[derive(Debug, Serialize)]
struct Description {
    kind: &'static str,
    #[serde(flatten)]
    identity: ModelIdentity,
    runtime: String,
    dense_dim: Option<usize>,
    token_dim: Option<usize>,
    /// Tokens of a document, or of a pair, that the model reads.
    max_tokens: usize,
    notes: Vec<String>,
    /// How far it agrees with the folder's reference.json, if there is one.
    reference: Option<Agreement>,
}

pub(super) fn run(global: &Global, args: &ModelFolderArgs) -> Result<(), Failure> {
    let options = ModelOptions::new()
        .runtime(global.onnxruntime())
        .threads(global.threads.unwrap_or(0));
    let description = describe(&args.folder, &options)?;
    if global.json {
        print_json(&description)?;
    } else {
        print(as_text(&description))?;
    }
    match &description.reference {
        Some(agreement) if !agreement.passed() => Err(Failure::Said(
            format!(
                "{} differs from its reference.json: {agreement}",
                description.identity.name
            ),
            "check that the files of the folder belong together, or try another runtime with --onnxruntime",
        )),
        _ => Ok(()),
    }
}

fn describe(folder: &str, options: &ModelOptions) -> Result<Description, Failure> {
    let reference = Some(PathBuf::from(folder).join("reference.json")).filter(|path| path.is_file());
    let opened = match folder {
        #[cfg(feature = "builtin-models")]
        "tiny" => OnnxEncoder::builtin(folder, options),
        #[cfg(feature = "builtin-models")]
        "tiny-cross" => return describe_reranker(&OnnxReranker::builtin(folder, options)?, None),
        _ => OnnxEncoder::open(folder, options),
    };
    match opened {
        Ok(encoder) => describe_encoder(&encoder, reference),
        Err(ModelError::WrongKind { .. }) => {
            describe_reranker(&OnnxReranker::open(folder, options)?, reference)
        }
        Err(e) => Err(e.into()),
    }
}

fn describe_encoder(encoder: &OnnxEncoder, reference: Option<PathBuf>) -> Result<Description, Failure> {
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
        max_tokens: encoder.max_document_tokens(),
        notes: encoder.notes(),
        reference: reference.map(|path| verify_encoder(encoder, &path)).transpose()?,
    })
}

fn describe_reranker(reranker: &OnnxReranker, reference: Option<PathBuf>) -> Result<Description, Failure> {
    Ok(Description {
        kind: "cross-encoder",
        identity: reranker.identity().clone(),
        runtime: reranker.runtime().to_string(),
        dense_dim: None,
        token_dim: None,
        max_tokens: reranker.max_pair_tokens(),
        notes: reranker.notes(),
        reference: reference
            .map(|path| verify_reranker(reranker, &path))
            .transpose()?,
    })
}

fn as_text(description: &Description) -> String {
    let Description {
        kind,
        identity,
        runtime,
        max_tokens,
        ..
    } = description;
    let mut text = format!(
        "{}: {kind}\n  run by {runtime}\n  fingerprint {}\n",
        identity.name, identity.fingerprint
    );
    if let Some(dim) = description.dense_dim {
        text += &format!("  dense vector of {dim} numbers\n");
    }
    if let Some(dim) = description.token_dim {
        text += &format!("  token vectors of {dim} numbers\n");
    }
    text += &format!("  reads up to {max_tokens} tokens\n");
    for note in &description.notes {
        text += &format!("  note: {note}\n");
    }
    if let Some(agreement) = &description.reference {
        text += &format!("  reference.json: {agreement}\n");
    }
    text
}
