//! Queries made of a collection's own documents, for measuring where there are no real ones.
//!
//! A document's own tokens are easy to find again, so what is measured with them promises more than real queries get.
//! These are made harder: runs of tokens from several documents stand side by side, so that no document answers the whole
//! query and the best lie close together, and each token is turned away from where it was. As in a ColBERT query, which is
//! filled up with masks, more than half of the tokens then repeat others. docs/query.md says how their recall compares
//! with that of real queries.

use latewood_query::{Matches, Position};
use latewood_storage::Snapshot;

use super::documents::{positions, record_at};
use crate::error::Error;
use crate::random::Random;

/// Neighbouring tokens that are taken from a document.
const RUN: usize = 4;
/// Documents that the runs of a query come from, one each.
const DOCUMENTS: usize = 3;
/// How often the tokens of the runs, in random order, are repeated: 20 more than the 12 there are.
const REPEATS: [usize; RUN * DOCUMENTS] = [5, 4, 3, 2, 2, 1, 1, 1, 1, 0, 0, 0];
/// The cosine of a token with the one that it was made of, on average.
const COSINE: f32 = 0.8;
/// The same of a repeated token.
const REPEATED_COSINE: f32 = 0.95;

/// Token matrices row by row, as many as asked for, or none in a collection without token matrices. The same seed makes
/// the same queries of the same snapshot.
pub(super) fn pseudo_queries(snapshot: &Snapshot, count: usize, seed: u64) -> Result<Vec<Vec<f32>>, Error> {
    let Some(spec) = &snapshot.schema().tokens else {
        return Ok(Vec::new());
    };
    let matches = Matches::evaluate(snapshot, None)?;
    let mut random = Random::new(seed);
    let sources = sample(&matches, count * DOCUMENTS, &mut random);
    let mut queries = Vec::with_capacity(count);
    for sources in sources.chunks(DOCUMENTS) {
        let mut documents = Vec::with_capacity(DOCUMENTS);
        for &at in sources {
            let tokens = record_at(snapshot, at)?.and_then(|record| record.tokens);
            documents.extend(tokens.map(|tokens| tokens.to_f32()));
        }
        if !documents.is_empty() {
            queries.push(query_of(&documents, spec.dim, &mut random));
        }
    }
    Ok(queries)
}

/// How far a dense query lies on the way from the document that it was made of to another one.
const TOWARDS_ANOTHER: f32 = 0.3;

/// The cosine of a dense query with that place, on average: queries are written otherwise than documents, and what encodes them
/// puts them beside what documents lie on.
const ASIDE: f32 = 0.8;

/// Dense vectors between those of two documents each, turned aside, as many as asked for, or none in a collection without them.
/// The same seed makes the same of the same snapshot.
pub(super) fn pseudo_vectors(snapshot: &Snapshot, count: usize, seed: u64) -> Result<Vec<Vec<f32>>, Error> {
    if snapshot.schema().dense.is_none() {
        return Ok(Vec::new());
    }
    let matches = Matches::evaluate(snapshot, None)?;
    let mut random = Random::new(seed);
    let sources = sample(&matches, count * 2, &mut random);
    let mut queries = Vec::with_capacity(count);
    for pair in sources.chunks(2) {
        let mut vectors = Vec::with_capacity(pair.len());
        for &at in pair {
            vectors.extend(record_at(snapshot, at)?.and_then(|record| record.dense));
        }
        let [near, far] = &vectors[..] else {
            continue;
        };
        let between = |(near, far): (&f32, &f32)| near + TOWARDS_ANOTHER * (far - near);
        let place: Vec<f32> = near.iter().zip(far).map(between).collect();
        // Opposite vectors meet in the middle of nowhere.
        if place.iter().any(|number| *number != 0.0) {
            queries.push(turned(&place, ASIDE, &mut random));
        }
    }
    Ok(queries)
}

/// Places drawn with repetition, in random order.
fn sample(matches: &Matches, count: usize, random: &mut Random) -> Vec<Position> {
    let total = usize::try_from(matches.count()).unwrap_or(usize::MAX);
    if total == 0 {
        return Vec::new();
    }
    let mut drawn: Vec<(usize, usize)> = (0..count).map(|order| (random.below(total), order)).collect();
    drawn.sort_unstable();
    let mut all = positions(matches).enumerate();
    let mut latest = None;
    let mut found: Vec<(usize, Position)> = Vec::with_capacity(count);
    for (wanted, order) in drawn {
        while latest.is_none_or(|(at, _)| at < wanted) {
            match all.next() {
                Some(next) => latest = Some(next),
                None => break,
            }
        }
        found.extend(latest.map(|(_, position)| (order, position)));
    }
    found.sort_unstable_by_key(|(order, _)| *order);
    found.into_iter().map(|(_, position)| position).collect()
}

/// A run of each document's tokens, each token turned away, and repetitions of some of them.
fn query_of(documents: &[Vec<f32>], dim: usize, random: &mut Random) -> Vec<f32> {
    let mut query = Vec::new();
    for document in documents {
        let tokens = document.len() / dim;
        let first = random.below(tokens.saturating_sub(RUN - 1).max(1));
        for token in document.chunks_exact(dim).skip(first).take(RUN) {
            query.extend(turned(token, COSINE, random));
        }
    }
    let mut order: Vec<usize> = (0..query.len() / dim).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last + 1));
    }
    for (at, times) in order.into_iter().zip(REPEATS) {
        for _ in 0..times {
            let again = turned(&query[at * dim..][..dim], REPEATED_COSINE, random);
            query.extend(again);
        }
    }
    query
}

/// A vector as long as a token whose cosine with it is about so great, in a random direction around it.
fn turned(token: &[f32], cosine: f32, random: &mut Random) -> Vec<f32> {
    let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    // A number of variance 1/3 in each of `dim` places has the norm sqrt(dim / 3) on average.
    let tangent = (1.0 / (cosine * cosine) - 1.0).sqrt();
    let before = norm(token);
    let scale = before * tangent / (token.len() as f32 / 3.0).sqrt();
    let mut out: Vec<f32> = token.iter().map(|x| x + scale * random.float()).collect();
    let longer = norm(&out) / before;
    out.iter_mut().for_each(|x| *x /= longer);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(at: usize, dim: usize) -> Vec<f32> {
        (0..dim).map(|i| if i == at { 1.0 } else { 0.0 }).collect()
    }

    #[test]
    fn tokens_are_turned_by_the_angle_that_is_meant() {
        let random = &mut Random::new(1);
        let token = unit(3, 128);
        for meant in [COSINE, REPEATED_COSINE] {
            let cosines: Vec<f32> = (0..200).map(|_| turned(&token, meant, random)[3]).collect();
            let mean = cosines.iter().sum::<f32>() / 200.0;
            assert!((mean - meant).abs() < 0.02, "{mean}");
        }
        let long: Vec<f32> = token.iter().map(|x| 7.0 * x).collect();
        let query = turned(&long, COSINE, random);
        let length = query.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((length - 7.0).abs() < 1e-3 && query[3] > 4.0, "{length}");
    }

    #[test]
    fn a_query_has_runs_of_every_document_and_repeats_some_of_their_tokens() {
        let documents: Vec<Vec<f32>> = (0..DOCUMENTS).map(|d| unit(d, 64).repeat(20)).collect();
        let query = query_of(&documents, 64, &mut Random::new(2));
        let tokens: Vec<&[f32]> = query.chunks_exact(64).collect();
        assert_eq!(tokens.len(), 32);
        let (runs, repeated) = tokens.split_at(RUN * DOCUMENTS);
        for (at, token) in runs.iter().enumerate() {
            assert!(token[at / RUN] > 0.5, "token {at}");
        }
        let alike = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() > 0.85;
        let times = |token: &[f32]| repeated.iter().filter(|other| alike(token, other)).count();
        let mut repeats: Vec<usize> = runs.iter().map(|token| times(token)).collect();
        repeats.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(repeats, REPEATS);
        let short = query_of(&[unit(0, 64)], 64, &mut Random::new(2));
        assert_eq!(
            short.len(),
            (1 + REPEATS[0]) * 64,
            "the token of a document of one token, and its repetitions"
        );
    }
}
