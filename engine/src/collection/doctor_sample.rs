//! What a sample of the documents says of the encoder, the vectors and the payload.

use std::collections::{BTreeMap, HashSet};

use latewood_codecs::{Metric, TokenMatrix};
use latewood_query::Matches;
use latewood_storage::{Record, VectorKind, VectorValue, field_of};
use serde_json::Value;

use super::Collection;
use super::doctor::{Finding, FindingCode, Severity};
use super::documents::{positions, record_at};
use crate::error::Error;
use crate::models::{Encoding, TextEncoder};

/// Documents in a sample.
const SAMPLE: usize = 1_024;
/// The cosine below which a dense vector was not made of its text. Stored without loss of
/// direction, 1.000 is measured.
const DENSE_COSINE: f32 = 0.95;
/// The same for tokens, on average over a document. The least of 63 Debian package descriptions with the built-in encoder: 0.938
/// at 1 bit, 0.985 at 2, 0.999 at 4.
const TOKEN_COSINE: f32 = 0.6;
/// The share of texts from which a finding is made of them.
const TEXTS: f64 = 0.05;
/// How many times as long as the short ones (5%) the long vectors (95%) may be.
const LENGTHS: f32 = 1.05;
/// Documents from which reading a field from payloads is worth a finding.
const FIELDS_FROM: u64 = 1_000;

/// Documents spread evenly over a collection.
pub(super) struct Sample<'c> {
    collection: &'c Collection,
    records: Vec<Record>,
    documents: u64,
}

impl<'c> Sample<'c> {
    pub(super) fn draw(collection: &'c Collection) -> Result<Self, Error> {
        let snapshot = collection.snapshot()?;
        let matches = Matches::evaluate(&snapshot, None)?;
        let total = usize::try_from(matches.count()).unwrap_or(usize::MAX);
        let mut records = Vec::new();
        for at in positions(&matches).step_by(total.div_ceil(SAMPLE).max(1)) {
            records.extend(record_at(&snapshot, at)?);
        }
        Ok(Self {
            collection,
            records,
            documents: matches.count(),
        })
    }

    /// Encodes texts again: whether the stored vectors are theirs, and how much of them was cut off.
    pub(super) fn encoder(&self, texts: usize, findings: &mut Vec<Finding>) -> Result<(), Error> {
        let name = self.collection.name();
        let encoder = match self.collection.encoder() {
            Ok(encoder) => encoder,
            Err(Error::NoModel { .. }) => return Ok(()),
            Err(error @ Error::ModelMismatch { .. }) => {
                let cure = format!(
                    "Collection::set_encoder(the model that made {name}), or ingest into a new collection"
                );
                findings.push(Finding::new(
                    FindingCode::OtherModel,
                    Severity::Error,
                    error.to_string(),
                    cure,
                ));
                return Ok(());
            }
            Err(error) => {
                let cure = "Collection::set_encoder(the folder where the model is now)";
                findings.push(Finding::new(
                    FindingCode::EncoderUnavailable,
                    Severity::Error,
                    error.to_string(),
                    cure,
                ));
                return Ok(());
            }
        };
        let with_text: Vec<&Record> = self
            .records
            .iter()
            .filter(|record| record.text.is_some())
            .collect();
        let step = with_text.len().div_ceil(texts.max(1)).max(1);
        let chosen: Vec<&Record> = with_text.into_iter().step_by(step).take(texts).collect();
        let texts: Vec<&str> = chosen
            .iter()
            .filter_map(|record| record.text.as_deref())
            .collect();
        if texts.is_empty() {
            return Ok(());
        }
        let encodings = encoder.encode_documents(&texts, None)?;
        self.compare(encoder.as_ref(), &chosen, &encodings, findings)?;
        cut(encoder.as_ref(), &texts, &encodings, findings)
    }

    fn compare(
        &self,
        encoder: &dyn TextEncoder,
        records: &[&Record],
        encodings: &[Encoding],
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        let schema = self.collection.schema();
        let factor = schema.tokens.as_ref().map_or(1, |tokens| tokens.pool_factor);
        let (mut dense, mut tokens) = (Vec::new(), Vec::new());
        for (record, encoding) in records.iter().zip(encodings) {
            if let (Some(stored), Some(made)) = (&record.dense, &encoding.dense) {
                dense.push(cosine(stored, made));
            }
            if let (Some(stored), Some(made), Some(dim)) =
                (&record.tokens, &encoding.tokens, encoder.token_dim())
            {
                tokens.extend(likeness(stored, made, dim, factor, &record.id)?);
            }
        }
        for (kind, mut cosines, least) in [
            ("dense vectors", dense, DENSE_COSINE),
            ("tokens", tokens, TOKEN_COSINE),
        ] {
            let other = cosines.iter().filter(|cosine| **cosine < least).count();
            if cosines.is_empty() || (other as f64) < TEXTS * cosines.len() as f64 {
                continue;
            }
            cosines.sort_by(f32::total_cmp);
            let what = format!(
                "the stored {kind} of {other} of {} texts are not those that {} makes of them: median cosine {:.3}",
                cosines.len(),
                encoder.identity().name,
                cosines[cosines.len() / 2]
            );
            let cure = "upsert the documents anew without vectors, or create the collection with the model that made them";
            findings.push(Finding::new(FindingCode::OtherModel, Severity::Error, what, cure));
        }
        Ok(())
    }

    /// Whether vectors that are compared by inner product are of one length.
    pub(super) fn lengths(&self, findings: &mut Vec<Finding>) {
        let schema = self.collection.schema();
        if schema
            .dense
            .as_ref()
            .is_some_and(|dense| dense.metric == Metric::InnerProduct)
        {
            let vectors = self.records.iter().filter_map(|record| record.dense.as_deref());
            findings.extend(uneven("dense vectors", vectors));
        }
        for spec in &schema.vectors {
            if matches!(&spec.kind, VectorKind::Dense(dense) if dense.metric == Metric::InnerProduct) {
                let vectors = self
                    .records
                    .iter()
                    .filter_map(|record| match record.vectors.get(&spec.name) {
                        Some(VectorValue::Dense(vector)) => Some(vector.as_slice()),
                        _ => None,
                    });
                findings.extend(uneven(&format!("vectors {}", spec.name), vectors));
            }
        }
    }

    /// Fields that payloads have and the schema does not, and the other way round.
    pub(super) fn fields(&self, findings: &mut Vec<Finding>) {
        let schema = self.collection.schema();
        if self.documents < FIELDS_FROM {
            return;
        }
        for field in &schema.fields {
            let has = |record: &Record| {
                field_of(&record.payload, &field.name).is_some_and(|value| !value.is_null())
            };
            if !self.records.iter().any(has) {
                let what = format!(
                    "the declared field {:?} is in none of {} payloads: a filter on it matches nothing",
                    field.name,
                    self.records.len()
                );
                let cure = format!(
                    "latewood facets DB {} {}, then create it with the name that payloads have",
                    self.collection.name(),
                    field.name
                );
                findings.push(Finding::new(
                    FindingCode::FieldWithoutValues,
                    Severity::Warning,
                    what,
                    cure,
                ));
            }
        }
        let mut values: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for record in &self.records {
            for (name, value) in &record.payload {
                values.entry(name).or_default().push(value);
            }
        }
        for (name, values) in values {
            let prefix = format!("{name}.");
            let declared = schema
                .fields
                .iter()
                .any(|field| field.name == name || field.name.starts_with(&prefix));
            if declared || values.len() * 2 < self.records.len() || !is_to_filter_by(&values) {
                continue;
            }
            let what = format!(
                "the field {name:?} is in {} of {} payloads and not declared: a filter on it reads payloads",
                values.len(),
                self.records.len()
            );
            let cure = format!("export, create a collection with `--field {name}:TYPE`, and ingest into it");
            findings.push(Finding::new(
                FindingCode::FieldNotDeclared,
                Severity::Notice,
                what,
                cure,
            ));
        }
    }
}

/// How alike the tokens of a text are to those stored, on average; none where nothing can be compared.
fn likeness(
    stored: &TokenMatrix,
    made: &[f32],
    dim: usize,
    factor: usize,
    id: &latewood_storage::DocumentId,
) -> Result<Option<f32>, Error> {
    if dim != stored.dim() {
        return Ok(None);
    }
    let vector = |source| Error::Vector {
        id: id.clone(),
        source,
    };
    let made = TokenMatrix::from_f32(dim, made)
        .and_then(|made| made.pooled(factor))
        .map_err(vector)?;
    let (stored, made) = (stored.to_f32(), made.to_f32());
    let nearest = |row: &[f32]| {
        stored
            .chunks_exact(dim)
            .map(|other| cosine(row, other))
            .fold(-1.0, f32::max)
    };
    let nearest: Vec<f32> = made.chunks_exact(dim).map(nearest).collect();
    Ok((!nearest.is_empty()).then(|| nearest.iter().sum::<f32>() / nearest.len() as f32))
}

fn cut(
    encoder: &dyn TextEncoder,
    texts: &[&str],
    encodings: &[Encoding],
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let truncated = encodings.iter().filter(|encoding| encoding.truncated).count();
    if (truncated as f64) < TEXTS * texts.len() as f64 || truncated == 0 {
        return Ok(());
    }
    let (mut read, mut all) = (0, Some(0));
    for (text, encoding) in texts.iter().zip(encodings) {
        read += encoding.input_tokens;
        let tokens = match encoding.truncated {
            true => encoder.count_document_tokens(text)?,
            false => Some(encoding.input_tokens),
        };
        all = all
            .zip(tokens)
            .map(|(all, tokens)| all + tokens.max(encoding.input_tokens));
    }
    let lost = all.map_or_else(String::new, |all| {
        format!(
            "; {} of {all} tokens ({:.0}%) are cut off",
            all - read,
            100.0 * (all - read) as f64 / all.max(1) as f64
        )
    });
    let what = format!(
        "{truncated} of {} texts ({:.0}%) are longer than the {} tokens that {} reads{lost}",
        texts.len(),
        100.0 * truncated as f64 / texts.len() as f64,
        encoder.max_document_tokens(),
        encoder.identity().name
    );
    let cure = "split texts into passages before ingest, or use an encoder with a longer window";
    findings.push(Finding::new(FindingCode::TextsCut, Severity::Warning, what, cure));
    Ok(())
}

fn uneven<'v>(what: &str, vectors: impl Iterator<Item = &'v [f32]>) -> Option<Finding> {
    let mut lengths: Vec<f32> = vectors.map(|vector| dot(vector, vector).sqrt()).collect();
    lengths.sort_by(f32::total_cmp);
    let at = |share: usize| {
        lengths
            .get(lengths.len().saturating_sub(1) * share / 100)
            .copied()
    };
    let (short, long) = (at(5)?, at(95)?);
    (long > short * LENGTHS).then(|| {
        let what = format!("{what} under inner product have lengths of {short:.3} (5%) to {long:.3} (95%): long ones rank high whatever is asked");
        let cure = "create the collection with `--metric cosine`, or normalise before ingest";
        Finding::new(FindingCode::Unnormalised, Severity::Warning, what, cure)
    })
}

/// Whether values look like those that filters name: numbers, truth, or strings that repeat.
fn is_to_filter_by(values: &[&Value]) -> bool {
    if values.iter().all(|value| value.is_number() || value.is_boolean()) {
        return true;
    }
    let strings: HashSet<&str> = values.iter().filter_map(|value| value.as_str()).collect();
    values.iter().all(|value| value.is_string()) && strings.len() * 4 <= values.len()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if a.len() == b.len() && lengths > 0.0 {
        dot(a, b) / lengths
    } else {
        0.0
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
