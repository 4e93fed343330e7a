//! Whether a budget leaves time for encoding a query, and for what could be done with it.

use std::time::{Duration, Instant};

use latewood_query::{CostModel, Plan, PlanChoice, QueryRequest, Reranker, Resources, explain, keeps_budget};
use latewood_storage::Snapshot;

use super::tables::Tables;
use super::{Query, microseconds};

impl Query<'_> {
    /// Why the text is not encoded, where a budget leaves no time for it or for what could be done with it, and words can be looked
    /// up instead.
    pub(super) fn not_worth_encoding(
        &self,
        request: &QueryRequest,
        snapshot: &Snapshot,
        begun: Instant,
    ) -> Option<String> {
        /// A smaller part of the budget is not looked into.
        const SMALL: f64 = 0.1;
        let (budget, text) = (request.budget?, request.text.as_ref()?);
        let given = request.dense.is_some() || request.tokens.is_some() || !request.vectors.is_empty();
        let schema = snapshot.schema();
        if request.plan != PlanChoice::Auto || given || schema.encoder.is_none() || schema.lexical.is_none() {
            return None;
        }
        let cost = self.collection.cost_model();
        let takes = cost.encode(text) * cost.corrections.headroom(CostModel::ENCODE);
        let share = takes / microseconds(budget);
        let words_alone = |why: String| {
            let takes = takes / 1e3;
            Some(format!(
                "the query is not encoded, which would take up to {takes:.1} ms{why}: its words alone decide"
            ))
        };
        if share > 0.9 {
            return words_alone(String::new());
        }
        if share < SMALL || request.exact {
            return None;
        }
        let reranker = self.find_reranker(request, snapshot).ok().flatten();
        let would = |request: &QueryRequest, more| {
            // What cannot be a time was not taken.
            let more = Duration::try_from_secs_f64(more / 1e6).unwrap_or_default();
            let begun = begun.checked_sub(more).unwrap_or(begun);
            self.would_plan(request, snapshot, &cost, begun, reranker.as_deref())
        };
        let encoded = would(&as_if_encoded(request, snapshot), takes)?;
        if !encoded.name.uses_dense() && !encoded.name.uses_tokens() {
            return words_alone(", as nothing that needs it ranks better in what is left".to_owned());
        }
        let words = would(request, 0.0)?;
        let quicker = words.estimate().microseconds < encoded.estimate().microseconds;
        let (keeps, words_keep) = (keeps_budget(&encoded, &cost), keeps_budget(&words, &cost));
        match self.ranks_better(snapshot, &encoded, &words) {
            Some(false) if quicker || words_keep || !keeps => {
                words_alone(format!(", and {} would rank no better", encoded.name))
            }
            _ if !keeps && quicker => words_alone(", and leaves too little for a search".to_owned()),
            _ => None,
        }
    }

    /// Whether one plan was judged to rank better than another; none where they were not judged.
    fn ranks_better(&self, snapshot: &Snapshot, one: &Plan, other: &Plan) -> Option<bool> {
        let table = self.collection.quality_table()?;
        if table.outdated(snapshot.len()).is_some() {
            return None;
        }
        Some(table.ndcg_of(one)? > table.ndcg_of(other)? + table.alike())
    }

    /// The plan for a request that began then; its filter is left out, which nobody has evaluated yet.
    fn would_plan(
        &self,
        request: &QueryRequest,
        snapshot: &Snapshot,
        cost: &CostModel,
        begun: Instant,
        reranker: Option<&dyn Reranker>,
    ) -> Option<Plan> {
        let tables = Tables::of(self.collection);
        let resources = Resources {
            reads_per_hit: self.reads_per_hit(),
            ..tables.resources(reranker, begun.elapsed())
        };
        let request = QueryRequest {
            filter: None,
            ..request.clone()
        };
        explain(snapshot, &request, cost, resources).ok()
    }
}

/// A request with vectors that no model made, to be planned and not to be run.
fn as_if_encoded(request: &QueryRequest, snapshot: &Snapshot) -> QueryRequest {
    // A token of a query's text is about four letters.
    const MOST_TOKENS: usize = 32;
    let count = request
        .text
        .as_ref()
        .map_or(0, |text| 3 + text.len() / 4)
        .min(MOST_TOKENS);
    let row = |dim: usize| {
        let mut row = vec![0.0; dim];
        row.first_mut().into_iter().for_each(|first| *first = 1.0);
        row
    };
    let schema = snapshot.schema();
    QueryRequest {
        dense: schema.dense.as_ref().map(|dense| row(dense.dim)),
        tokens: schema
            .tokens
            .as_ref()
            .map(|tokens| (row(tokens.dim).repeat(count), tokens.dim)),
        ..request.clone()
    }
}
