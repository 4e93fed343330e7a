//! Queries made of a collection's own documents, for measuring where there are no real ones.
//!
//! A document's own tokens are easy to find again, so what is measured with them promises more than real queries get.
//! These are made harder: runs of tokens from several documents stand side by side, so that no document answers the whole
//! query and the best lie close together, and each token is turned away from where it was. docs/query.md says how their
//! recall compares with that of real queries.

use latewood_query::{Matches, Position};
use latewood_storage::Snapshot;

use super::documents::{positions, record_at};
use crate::error::Error;

/// Tokens of a query.
const TOKENS: usize = 32;
/// Neighbouring tokens that are taken from a document at once.
const RUN: usize = 4;
/// Documents that the runs of a query come from.
const DOCUMENTS: usize = 4;
/// The cosine of a token with the one that it was made of, on average.
const COSINE: f32 = 0.6;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`, as nearly as matters here; 0 when the bound is 0.
    fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// Between -1 and 1, of variance 1/3.
    fn float(&mut self) -> f32 {
        let bits = u16::try_from(self.next() >> 48).unwrap_or(0);
        f32::from(bits) / 32_768.0 - 1.0
    }
}

/// Token matrices row by row, as many as asked for, or none in a collection without token matrices. The same seed makes
/// the same queries of the same snapshot.
pub(super) fn pseudo_queries(snapshot: &Snapshot, count: usize, seed: u64) -> Result<Vec<Vec<f32>>, Error> {
    let Some(spec) = &snapshot.schema().tokens else {
        return Ok(Vec::new());
    };
    let matches = Matches::evaluate(snapshot, None)?;
    let mut random = Random(seed);
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

/// Runs of the documents' tokens in turn, each token turned away.
fn query_of(documents: &[Vec<f32>], dim: usize, random: &mut Random) -> Vec<f32> {
    let mut query = Vec::with_capacity(TOKENS * dim);
    for document in documents.iter().cycle().take(TOKENS.div_ceil(RUN)) {
        let tokens = document.len() / dim;
        let first = random.below(tokens.saturating_sub(RUN - 1).max(1));
        for token in document.chunks_exact(dim).skip(first).take(RUN) {
            query.extend(turned(token, random));
        }
    }
    query.truncate(TOKENS * dim);
    query
}

/// A unit vector whose cosine with a token is about [`COSINE`], in a random direction around it.
fn turned(token: &[f32], random: &mut Random) -> Vec<f32> {
    let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    // A number of variance 1/3 in each of `dim` places has the norm sqrt(dim / 3) on average.
    let tangent = (1.0 / (COSINE * COSINE) - 1.0).sqrt();
    let scale = norm(token) * tangent / (token.len() as f32 / 3.0).sqrt();
    let mut out: Vec<f32> = token.iter().map(|x| x + scale * random.float()).collect();
    let length = norm(&out);
    out.iter_mut().for_each(|x| *x /= length);
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
        let random = &mut Random(1);
        let token = unit(3, 128);
        let cosines: Vec<f32> = (0..200).map(|_| turned(&token, random)[3]).collect();
        let mean = cosines.iter().sum::<f32>() / 200.0;
        assert!((mean - COSINE).abs() < 0.03, "{mean}");
        let query = turned(&token, random);
        assert!((query.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-4);
    }

    #[test]
    fn a_query_has_runs_of_every_document() {
        let documents: Vec<Vec<f32>> = (0..DOCUMENTS).map(|d| unit(d, 64).repeat(20)).collect();
        let query = query_of(&documents, 64, &mut Random(2));
        assert_eq!(query.len(), TOKENS * 64);
        for (at, token) in query.chunks_exact(64).enumerate() {
            assert!(token[at / RUN % DOCUMENTS] > 0.2, "token {at}");
        }
        let short = query_of(&[unit(0, 64)], 64, &mut Random(2));
        assert_eq!(
            short.len(),
            TOKENS / RUN * 64,
            "a token of each run of a document of one token"
        );
    }
}
