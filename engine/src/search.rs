//! A query: text to vectors, planned, executed, and its documents read.

mod inputs;
pub(crate) mod tables;
mod worth;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use latewood_query::{
    Actuals, Fusion, GroupBy, OrderBy, Plan, PlanChoice, Profile, QueryError, QueryRequest, Reranker,
    Resources, StageName, StageProfile, StageSpan, explain, search,
};
use latewood_storage::{DocumentId, Payload, Snapshot};
use serde::Serialize;

use crate::collection::Collection;
use crate::collection::{payload_at, text_at};
use crate::error::Error;
use crate::model_source::RerankerSource;
use crate::named_vector::{NamedVector, into_values};
use crate::telemetry;
pub use inputs::{FilterInput, LexicalInput, PayloadSelection, PlanInput, QueryTokens};
use tables::Tables;

/// A query under construction.
///
/// It searches by text (which the collection's encoder encodes), by vectors of the caller's own, or by both. Without a
/// named plan the planner chooses one; [`Query::explain`] says which and why.
///
/// ```no_run
/// # fn main() -> Result<(), latewood::Error> {
/// # use latewood::Database;
/// # let collection = Database::open("db")?.collection("notes")?;
/// let hits = collection
///     .query()
///     .text("which birds hunt at night")
///     .filter("year >= 2020 and not lang = \"de\"")
///     .plan("dense+maxsim")
///     .limit(5)
///     .run()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a query does nothing before run(), explain() or analyze()"]
#[derive(Clone, Debug)]
pub struct Query<'a> {
    pub(crate) collection: &'a Collection,
    request: QueryRequest,
    tokens: Option<QueryTokens>,
    vectors: BTreeMap<String, NamedVector>,
    filter: Option<FilterInput>,
    lexical: Option<LexicalInput>,
    plan: Option<PlanInput>,
    reranker: Option<RerankerSource>,
    /// Reads in place of the reranker; its times are not what reading takes, and teach nothing.
    read_by: Option<ReadBy>,
    payload: PayloadSelection,
    text: bool,
    min_score: Option<f32>,
}

#[derive(Clone)]
struct ReadBy(Arc<dyn Reranker>);

impl std::fmt::Debug for ReadBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.identity().name)
    }
}

/// One document found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// The caller's id.
    pub id: DocumentId,
    /// Higher is better. Scores of different stages are on different scales.
    pub score: f32,
    /// The stage that gave the score.
    pub scored_by: StageName,
    /// The document's text, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The payload, as far as it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
}

/// What a query did, and what it found.
#[derive(Clone, Debug, Serialize)]
pub struct Analysis {
    /// The plan, with its estimates.
    pub plan: Plan,
    /// What each stage really did; the times add up to the whole.
    pub profile: Profile,
    /// What was given up for the budget, by the plan and while it ran.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<String>,
    /// The hits.
    pub hits: Vec<Hit>,
}

impl std::fmt::Display for Analysis {
    /// The plan beside what it took, as a tree.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { plan, profile, .. } = self;
        Actuals { plan, profile }.fmt(f)
    }
}

impl<'a> Query<'a> {
    pub(crate) fn new(collection: &'a Collection) -> Self {
        Self {
            collection,
            request: QueryRequest::default(),
            tokens: None,
            vectors: BTreeMap::new(),
            filter: None,
            lexical: None,
            plan: None,
            reranker: None,
            read_by: None,
            payload: PayloadSelection::All,
            text: false,
            min_score: None,
        }
    }

    /// Searches by a text. The collection's encoder makes the vectors that are not given, a reranker reads it as it is.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.request.text = Some(text.into());
        self
    }

    /// What BM25 looks for, where it is more than any word of the text: words, `"phrases"`, `+must`, `-not`, `AND`, `OR`,
    /// `NOT` and parentheses, as text or a [`LexicalQuery`](crate::LexicalQuery).
    pub fn lexical(mut self, query: impl Into<LexicalInput>) -> Self {
        self.lexical = Some(query.into());
        self
    }

    /// How the rankings of several searches become one. Default: reciprocal ranks, all counting the same.
    pub fn fusion(mut self, fusion: Fusion) -> Self {
        self.request.fusion = fusion;
        self
    }

    /// From 0 to 1: the less, the more hits differ from those before them, by maximal marginal relevance over dense
    /// vectors. Default: hits are in order of their scores.
    pub fn diversity(mut self, lambda: f64) -> Self {
        self.request.diversity = Some(lambda);
        self
    }

    /// At most `size` hits of each value of a payload field, the best of it; documents without the field are not gathered.
    pub fn group_by(mut self, field: impl Into<String>, size: usize) -> Self {
        let field = field.into();
        self.request.group_by = Some(GroupBy { field, size });
        self
    }

    /// Puts the hits in the order of a payload field instead of that of their scores: the hits are the same, those without
    /// the field come last. [`Collection::scan`] orders all documents that match.
    pub fn order_by(mut self, field: impl Into<String>, descending: bool) -> Self {
        let field = field.into();
        self.request.order_by = Some(OrderBy { field, descending });
        self
    }

    /// Searches by a dense vector.
    pub fn dense(mut self, vector: impl Into<Vec<f32>>) -> Self {
        self.request.dense = Some(vector.into());
        self
    }

    /// Searches by a token matrix: a `&[Vec<f32>]`, or numbers row after row as a `Vec<f32>`.
    pub fn tokens(mut self, rows: impl Into<QueryTokens>) -> Self {
        self.tokens = Some(rows.into());
        self
    }

    /// Searches a named field by a dense vector.
    pub fn vector(self, name: impl Into<String>, vector: impl Into<Vec<f32>>) -> Self {
        self.named_vector(name, NamedVector::Dense(vector.into()))
    }

    /// Searches a named field by a sparse vector: dimensions, in any order and each once, and the weight of each.
    pub fn sparse(
        self,
        name: impl Into<String>,
        indices: impl Into<Vec<u32>>,
        values: impl Into<Vec<f32>>,
    ) -> Self {
        let (indices, values) = (indices.into(), values.into());
        self.named_vector(name, NamedVector::Sparse { indices, values })
    }

    /// Searches a named field by a vector.
    pub fn named_vector(mut self, name: impl Into<String>, vector: NamedVector) -> Self {
        self.vectors.insert(name.into(), vector);
        self
    }

    /// Only documents that match: a [`Filter`](crate::Filter), or the text of one.
    pub fn filter(mut self, filter: impl Into<FilterInput>) -> Self {
        self.filter = Some(filter.into());
        self
    }

    /// How many hits. Default 10.
    pub fn limit(mut self, limit: usize) -> Self {
        self.request.limit = limit;
        self
    }

    /// How many hits to skip first. Default 0.
    pub fn offset(mut self, offset: usize) -> Self {
        self.request.offset = offset;
        self
    }

    /// Names the plan: `"auto"`, `"dense"`, `"maxsim"`, `"dense+maxsim"`, `"bm25"`, `"bm25+maxsim"`, of which the second
    /// scores the candidates of the first; `"bm25/dense"`, `"bm25/maxsim"` and `"bm25/dense+maxsim"`, whose first two are
    /// fused; and each of them with `"+rerank"`. `"dense:NAME"` and `"sparse:NAME"` search the vectors of a named field, alone or beside
    /// others, as in `"bm25/sparse:splade/dense"`.
    pub fn plan(mut self, plan: impl Into<PlanInput>) -> Self {
        self.plan = Some(plan.into());
        self
    }

    /// Searches exhaustively, over the best vectors stored. Default: no.
    pub fn exact(mut self, exact: bool) -> Self {
        self.request.exact = exact;
        self
    }

    /// Breadth of the graph search; more finds more and takes longer. Default: what [`Query::recall`] was measured to need.
    pub fn ef_search(mut self, ef_search: usize) -> Self {
        self.request.ef_search = Some(ef_search);
        self
    }

    /// The share of the exhaustive answer over the same codes that an index is to find: above 0, at most 1; 1
    /// scans everything. The token index opens as wide as it was measured to need for that (see
    /// [`Collection::tune`]), and the graph is walked as broadly ([`Collection::tune_dense`]); [`Query::n_probe`],
    /// [`Query::candidates`] and [`Query::ef_search`] win over it. Default: 0.99 in a collection that has been tuned, which
    /// `optimize` does.
    pub fn recall(mut self, recall: f64) -> Self {
        self.request.recall = Some(recall);
        self
    }

    /// Inverted lists read for each group of query tokens that point the same way (a token alone is one); more finds more and
    /// takes longer.
    pub fn n_probe(mut self, n_probe: usize) -> Self {
        self.request.n_probe = Some(n_probe);
        self
    }

    /// Candidates that the first stage hands to the next.
    pub fn candidates(mut self, candidates: usize) -> Self {
        self.request.candidates = Some(candidates);
        self
    }

    /// Candidates that the reranker reads. Default 20.
    pub fn rerank_depth(mut self, depth: usize) -> Self {
        self.request.rerank_depth = Some(depth);
        self
    }

    /// How long the rerank may take; the best candidates are read first, the rest keep their order behind them.
    pub fn rerank_deadline(mut self, deadline: Duration) -> Self {
        self.request.rerank_deadline = Some(deadline);
        self
    }

    /// How long the query may take, from the call to the hits; one query of twenty may take up to a tenth more. Where that is
    /// not enough for the best plan, quality is given up in this order: the rerank's depth, the rerank, candidates scored anew,
    /// recall, and then, unless a plan is named, the searches. Where the plans were judged ([`Collection::tune_plans`]), the one
    /// that ranks best of those that fit is taken instead. [`Analysis::cut`] says what was given up.
    pub fn budget(mut self, budget: Duration) -> Self {
        self.request.budget = Some(budget);
        self
    }

    /// Reranks with this model instead of the collection's own.
    pub fn reranker(mut self, reranker: impl Into<RerankerSource>) -> Self {
        self.reranker = Some(reranker.into());
        self
    }

    /// Has this read in place of the reranker, and learns nothing from how long the query takes.
    pub(crate) fn read_by(mut self, reranker: Arc<dyn Reranker>) -> Self {
        self.read_by = Some(ReadBy(reranker));
        self
    }

    /// Which part of the payload comes with the hits: `true`, `false`, or field names. Default: all of it.
    pub fn with_payload(mut self, payload: impl Into<PayloadSelection>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Whether the documents' texts come with the hits. Default: no.
    pub fn with_text(mut self, text: bool) -> Self {
        self.text = text;
        self
    }

    /// Leaves out hits of a lower score.
    pub fn min_score(mut self, score: f32) -> Self {
        self.min_score = Some(score);
        self
    }

    /// Runs the query: the hits, best first.
    pub fn run(self) -> Result<Vec<Hit>, Error> {
        Ok(self.analyze()?.hits)
    }

    /// The plan that would run, its estimates, its reasons, and the plans that were rejected.
    pub fn explain(self) -> Result<Plan, Error> {
        self.collection.calibrate_once();
        let begun = Instant::now();
        let Prepared {
            snapshot,
            request,
            reranker,
            cut,
            ..
        } = self.prepare()?;
        let tables = Tables::of(self.collection);
        let resources = Resources {
            reads_per_hit: self.reads_per_hit(),
            ..tables.resources(reranker.as_deref(), begun.elapsed())
        };
        let mut plan = explain(&snapshot, &request, &self.collection.cost_model(), resources)?;
        plan.cut.splice(0..0, cut);
        Ok(plan)
    }

    /// Runs the query and says what each stage did.
    pub fn analyze(self) -> Result<Analysis, Error> {
        if self.request.budget.is_some() {
            self.collection.calibrate_once();
        }
        let asked = telemetry::Asked::begin(self.collection.name());
        let answer = self.answer();
        asked.end(&answer);
        answer
    }

    fn answer(self) -> Result<Analysis, Error> {
        let (begun, mut preparing) = (Instant::now(), StageSpan::begin());
        let Prepared {
            snapshot,
            request,
            reranker,
            encoded,
            mut cut,
        } = self.prepare_in(&mut preparing)?;
        let pool = self.collection.shared.threads.pool()?;
        let tables = Tables::of(self.collection);
        let cost = self.collection.cost_model();
        let prepared = begun.elapsed();
        let resources = Resources {
            pool,
            reads_per_hit: self.reads_per_hit(),
            ..tables.resources(reranker.as_deref(), prepared)
        };
        let prepare = stage("prepare", prepared.saturating_sub(encoded.unwrap_or_default()), 0);
        preparing.end(&prepare);
        let (mut plan, outcome) = search(&snapshot, &request, &cost, resources)?;
        let (searched, reading) = (begun.elapsed(), StageSpan::begin());
        let hits = self.read_hits(&snapshot, outcome.hits)?;
        let read = stage("read hits", begun.elapsed() - searched, hits.len() as u64);
        reading.end(&read);
        let mut stages = Vec::with_capacity(outcome.profile.stages.len() + 3);
        stages.push(prepare);
        stages.extend(encoded.map(|time| stage("encode", time, 0)));
        stages.extend(outcome.profile.stages);
        stages.push(read);
        let profile = Profile {
            stages,
            total_microseconds: microseconds(begun.elapsed()),
        };
        if request.diversity.is_none() && request.group_by.is_none() && self.read_by.is_none() {
            let text = request.text.as_deref();
            let encoded = text.zip(encoded).map(|(text, time)| (text, microseconds(time)));
            self.collection.learn(&plan, &profile, encoded);
        }
        plan.cut.splice(0..0, cut.iter().cloned());
        cut.clone_from(&plan.cut);
        cut.extend(outcome.cut);
        Ok(Analysis {
            plan,
            profile,
            cut,
            hits,
        })
    }

    /// Blocks that are read for each hit.
    fn reads_per_hit(&self) -> u32 {
        u32::from(self.text) + u32::from(self.payload != PayloadSelection::None)
    }

    /// The request with its vectors made and its models loaded.
    pub(crate) fn prepare(&self) -> Result<Prepared, Error> {
        self.prepare_in(&mut StageSpan::none())
    }

    /// The same, within a stage; encoding is another.
    fn prepare_in(&self, stage: &mut StageSpan) -> Result<Prepared, Error> {
        let begun = Instant::now();
        let mut request = self.request.clone();
        request.filter = self.filter.clone().map(FilterInput::into_filter).transpose()?;
        if let Some(lexical) = self.lexical.clone() {
            request.lexical = Some(lexical.into_query()?);
        }
        request.plan = match self.plan.clone() {
            None => PlanChoice::Auto,
            Some(PlanInput::Choice(choice)) => choice,
            Some(PlanInput::Text(text)) => text.parse()?,
        };
        let snapshot = self.collection.snapshot()?;
        if let Some(QueryTokens { numbers, dim }) = self.tokens.clone() {
            let dim = dim
                .or_else(|| snapshot.schema().tokens.as_ref().map(|t| t.dim))
                .unwrap_or(0);
            request.tokens = Some((numbers, dim));
        }
        request.vectors =
            into_values(self.vectors.clone()).map_err(|(name, source)| QueryError::NamedVector {
                name,
                reason: source.to_string(),
            })?;
        let mut cut = Vec::new();
        let encoded = match self.not_worth_encoding(&request, &snapshot, begun) {
            Some(why) => {
                cut.push(why);
                None
            }
            None => self.encode(&mut request, &snapshot, stage)?,
        };
        let reranker = self.find_reranker(&request, &snapshot)?;
        Ok(Prepared {
            snapshot,
            request,
            reranker,
            encoded,
            cut,
        })
    }

    /// Makes the vectors that the schema has and the request has not.
    fn encode(
        &self,
        request: &mut QueryRequest,
        snapshot: &Snapshot,
        preparing: &mut StageSpan,
    ) -> Result<Option<Duration>, Error> {
        let Some(text) = &request.text else {
            return Ok(None);
        };
        if text.trim().is_empty() {
            return Err(QueryError::EmptyText.into());
        }
        let schema = snapshot.schema();
        let (plan_dense, plan_tokens) = match &request.plan {
            PlanChoice::Named(plan) => (plan.uses_dense(), plan.uses_tokens()),
            PlanChoice::Auto => (true, true),
        };
        let wants_dense = plan_dense && schema.dense.is_some() && request.dense.is_none();
        let wants_tokens = plan_tokens && schema.tokens.is_some() && request.tokens.is_none();
        let by_words =
            request.plan == PlanChoice::Auto && schema.encoder.is_none() && schema.lexical.is_some();
        let has_vectors = request.dense.is_some() || request.tokens.is_some() || !request.vectors.is_empty();
        if by_words || !(wants_dense || wants_tokens) || (schema.encoder.is_none() && has_vectors) {
            return Ok(None);
        }
        let encoder = self.collection.encoder()?;
        let (encoding, time) = preparing.aside(|span| {
            let begun = Instant::now();
            let encoding = encoder.encode_query(text)?;
            let time = begun.elapsed();
            span.end(&stage("encode", time, 0));
            Ok::<_, Error>((encoding, time))
        })?;
        if wants_dense {
            request.dense = encoding.dense;
        }
        if wants_tokens {
            request.tokens = encoding.tokens.zip(encoder.token_dim());
        }
        Ok(Some(time))
    }

    fn find_reranker(
        &self,
        request: &QueryRequest,
        snapshot: &Snapshot,
    ) -> Result<Option<Arc<dyn Reranker>>, Error> {
        if let Some(ReadBy(reranker)) = &self.read_by {
            return Ok(Some(reranker.clone()));
        }
        if let Some(source) = &self.reranker {
            return Ok(Some(self.collection.shared.models.add_reranker(source)?));
        }
        let wanted = match &request.plan {
            PlanChoice::Named(plan) => plan.reranks(),
            // The planner may add a rerank where there is a model and a text for it.
            PlanChoice::Auto => snapshot.schema().reranker.is_some() && request.text.is_some(),
        };
        if wanted {
            self.collection.reranker().map(Some)
        } else {
            Ok(None)
        }
    }

    fn read_hits(&self, snapshot: &Snapshot, found: Vec<latewood_query::Hit>) -> Result<Vec<Hit>, Error> {
        let mut hits = Vec::with_capacity(found.len());
        for hit in found {
            if self.min_score.is_some_and(|least| hit.score < least) {
                continue;
            }
            let text = if self.text {
                text_at(snapshot, hit.position)?
            } else {
                None
            };
            let payload = match &self.payload {
                PayloadSelection::None => None,
                PayloadSelection::All => Some(payload_at(snapshot, hit.position)?),
                PayloadSelection::Fields(fields) => {
                    let mut payload = payload_at(snapshot, hit.position)?;
                    payload.retain(|name, _| fields.contains(name));
                    Some(payload)
                }
            };
            hits.push(Hit {
                id: hit.id,
                score: hit.score,
                scored_by: hit.scored_by,
                text,
                payload,
            });
        }
        Ok(hits)
    }
}

pub(crate) struct Prepared {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) request: QueryRequest,
    pub(crate) reranker: Option<Arc<dyn Reranker>>,
    pub(crate) encoded: Option<Duration>,
    /// What the budget did not allow so far.
    pub(crate) cut: Vec<String>,
}

fn stage(name: &str, time: Duration, hits: u64) -> StageProfile {
    StageProfile {
        name: name.to_owned(),
        candidates_in: hits,
        candidates_out: hits,
        microseconds: microseconds(time),
        ..StageProfile::default()
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
