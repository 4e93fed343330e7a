//! The answer that recall is measured against.

use latewood_storage::Snapshot;

use crate::candidates::{Scope, token_index};
use crate::cost::CostModel;
use crate::error::QueryError;
use crate::execute::{Resources, refined, search};
use crate::hits::Position;
use crate::plan::{PlanChoice, PlanName};
use crate::request::QueryRequest;
use crate::token_scorer::TokenScorer;
use crate::top_k::{Scored, TopK};

/// Documents that are scored from their codes for the answer by interaction, or the share below if that is more.
const DEPTH: u64 = 4_096;
const DEPTH_SHARE: u64 = 16;

/// How the answer is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    /// Every document is scored from its codes.
    Exhaustive,
    /// Every document gets its centroid interaction, and this many of the best are scored from their codes. Several times
    /// as fast in a large collection. It is used where it has given the exhaustive answer to some queries first.
    ByInteraction(usize),
}

impl Truth {
    /// The way by interaction, where the collection is large enough for it to be the faster one.
    pub(super) fn by_interaction(documents: u64) -> Option<Self> {
        let depth = DEPTH.max(documents / DEPTH_SHARE);
        let depth_fits = usize::try_from(depth).ok()?;
        (documents >= 2 * depth).then_some(Self::ByInteraction(depth_fits))
    }
}

/// The request for the exhaustive answer.
pub(super) fn request(query: &[f32], dim: usize, k: usize) -> QueryRequest {
    QueryRequest {
        tokens: Some((query.to_vec(), dim)),
        plan: PlanChoice::Named(PlanName::MAXSIM),
        limit: k,
        recall: Some(1.0),
        ..QueryRequest::default()
    }
}

/// The best `k` documents by a scan of everything.
pub(super) fn exhaustive(
    snapshot: &Snapshot,
    query: &[f32],
    dim: usize,
    k: usize,
) -> Result<Vec<Position>, QueryError> {
    let request = request(query, dim, k);
    let (_, outcome) = search(snapshot, &request, &CostModel::default(), Resources::default())?;
    Ok(outcome.hits.iter().map(|hit| hit.position).collect())
}

/// The best `k` of the `depth` documents with the best centroid interaction.
pub(crate) fn by_interaction(
    scope: &Scope<'_>,
    scorer: &TokenScorer<'_>,
    depth: usize,
    k: usize,
) -> Vec<Position> {
    let mut top = TopK::new(depth);
    let mut push = |position: Position| {
        let score = scorer.interaction(&scorer.centroids_of(position), position);
        if score >= top.threshold() {
            top.push(score, position);
        }
    };
    for (segment, matches) in (0_u32..).zip(scope.matches.segments()) {
        matches
            .iter()
            .for_each(|ordinal| push(Position { segment, ordinal }));
    }
    let segment = scope.memtable_number();
    for &ordinal in scope.matches.memtable() {
        push(Position { segment, ordinal });
    }
    let mut found = top.into_sorted();
    token_index::narrow(scope, &mut found, refined(k), |at| scorer.coded_alone(at));
    token_index::narrow(scope, &mut found, k, |at| scorer.exact_alone(at));
    found
        .into_iter()
        .map(|Scored { position, .. }| position)
        .collect()
}
