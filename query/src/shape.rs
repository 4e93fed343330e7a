//! What is done with a ranking once it is there: near repetitions moved down, documents of one value gathered.

use std::collections::HashMap;

use latewood_storage::{Snapshot, field_of};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::QueryError;
use crate::hits::{Hit, Position};

/// At most so many hits of each value of a payload field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupBy {
    /// The field; documents without it are a group each.
    pub field: String,
    /// The most hits of one value; at least 1.
    pub size: usize,
}

/// Orders hits by maximal marginal relevance (Carbonell and Goldstein, "The use of MMR, diversity-based reranking", 1998):
/// each next hit is the one of the largest `lambda * relevance - (1 - lambda) * similarity`, relevance being the score from 0
/// (the worst hit) to 1 (the best), similarity the cosine of its dense vector to the nearest one before it. Takes `count`;
/// scores stay as they are. Hits without a dense vector are like no other.
pub(crate) fn diversify(
    snapshot: &Snapshot,
    hits: Vec<Hit>,
    lambda: f64,
    count: usize,
) -> Result<Vec<Hit>, QueryError> {
    let vectors: Vec<Vec<f32>> = hits
        .iter()
        .map(|hit| direction(snapshot, hit.position))
        .collect::<Result<_, _>>()?;
    let scores = || hits.iter().map(|hit| f64::from(hit.score));
    let (least, most) = scores().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), s| {
        (a.min(s), b.max(s))
    });
    let width = if most > least { most - least } else { 1.0 };
    let relevance: Vec<f64> = scores().map(|score| (score - least) / width).collect();
    let mut nearest = vec![0.0f64; hits.len()];
    let mut left: Vec<usize> = (0..hits.len()).collect();
    let mut order = Vec::with_capacity(count.min(hits.len()));
    while order.len() < count && !left.is_empty() {
        let value = |at: usize| lambda * relevance[at] - (1.0 - lambda) * nearest[at];
        let mut best = 0;
        for (place, &at) in left.iter().enumerate() {
            if value(at) > value(left[best]) {
                best = place;
            }
        }
        let taken = left.remove(best);
        for &at in &left {
            let first = order.is_empty();
            let near = cosine(&vectors[at], &vectors[taken]);
            nearest[at] = if first { near } else { nearest[at].max(near) };
        }
        order.push(taken);
    }
    let mut hits: Vec<Option<Hit>> = hits.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|at| hits[at].take()).collect())
}

/// The dense vector of a document at length 1; empty when it has none.
fn direction(snapshot: &Snapshot, position: Position) -> Result<Vec<f32>, QueryError> {
    let mut vector = match snapshot.segments().get(position.segment as usize) {
        Some(view) => match view.segment.dense()? {
            Some(rows) => {
                let dim = snapshot.schema().dense.as_ref().map_or(0, |spec| spec.dim);
                let mut out = vec![0.0; dim];
                rows.decode(position.ordinal as usize, &mut out);
                out
            }
            None => Vec::new(),
        },
        None => {
            let record = snapshot.memtable().get(position.ordinal);
            record.and_then(|record| record.dense.clone()).unwrap_or_default()
        }
    };
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    Ok(vector)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    f64::from(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>())
}

/// Leaves out hits of a value that has `size` already.
pub(crate) fn group(snapshot: &Snapshot, hits: Vec<Hit>, by: &GroupBy) -> Result<Vec<Hit>, QueryError> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut kept = Vec::with_capacity(hits.len());
    for hit in hits {
        let payload = match snapshot.segments().get(hit.position.segment as usize) {
            Some(view) => view.segment.payload(hit.position.ordinal)?,
            None => match snapshot.memtable().get(hit.position.ordinal) {
                Some(record) => record.payload.clone(),
                None => return Err(QueryError::OtherSnapshot { what: "plan" }),
            },
        };
        match field_of(&payload, &by.field) {
            None | Some(Value::Null) => kept.push(hit),
            Some(value) => {
                let count = counts.entry(value.to_string()).or_insert(0);
                *count += 1;
                if *count <= by.size {
                    kept.push(hit);
                }
            }
        }
    }
    Ok(kept)
}
