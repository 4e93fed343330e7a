//! Plan x snapshot -> hits: the only place that knows all stages.

mod explain_hit;
mod late;
mod shaped;
mod units;
mod words;

use std::time::{Duration, Instant};

use latewood_codecs::DenseQuery;
use latewood_storage::{Snapshot, VectorValue};
use rayon::ThreadPool;

use crate::breadth::Effort;
use crate::candidates::dense_field::{DenseField, dense_spec};
use crate::candidates::{Scope, dense_scan, graph};
use crate::cost::CostModel;
use crate::error::QueryError;
use crate::field::sort_hits;
use crate::filter::Matches;
use crate::hits::{Hit, Outcome};
use crate::lexical;
use crate::plan::{Leg, Plan, PlanChoice, Stage, StageName};
use crate::planner::{last_vector_stage, plan};
use crate::profile::{Begun, StageProfile, Stopwatch};
use crate::quality::QualityTable;
use crate::request::QueryRequest;
use crate::rerank::{read_texts, rerank};
use crate::reranker::Reranker;
use crate::sparse;
use crate::statistics::{Statistics, first_text, statistics};
use crate::top_k::{Scored, TopK};
use crate::tuning::{BreadthTable, TunedTable};
pub use explain_hit::{HitPath, StageRank, explain_hit};

/// What a query may use beside the snapshot.
#[derive(Clone, Copy, Default)]
pub struct Resources<'a> {
    /// The cross-encoder, for plans that rerank.
    pub reranker: Option<&'a dyn Reranker>,
    /// What the token index was tuned to, for the recall that is asked.
    pub tuned: Option<&'a TunedTable>,
    /// What the graph walk was tuned to, for the same.
    pub breadths: Option<&'a BreadthTable>,
    /// How well each plan was measured to rank.
    pub qualities: Option<&'a QualityTable>,
    /// What the query has taken so far: its text encoded, its models loaded.
    pub spent: Duration,
    /// Blocks of texts or payloads that the caller reads for each hit.
    pub reads_per_hit: u32,
    /// Threads to score on; without a pool, or with one of a single thread, the query runs on the caller's thread.
    pub pool: Option<&'a ThreadPool>,
}

/// Plans a query and runs it.
///
/// # Errors
/// Everything that [`QueryRequest::validate`], [`Matches::evaluate`], [`plan`] and [`execute`] refuse.
pub fn search(
    snapshot: &Snapshot,
    request: &QueryRequest,
    cost: &CostModel,
    resources: Resources<'_>,
) -> Result<(Plan, Outcome), QueryError> {
    let (plan, mut outcome) = if request.diversity.is_some() || request.group_by.is_some() {
        shaped::shaped(snapshot, request, cost, resources)?
    } else {
        ranked(snapshot, request, cost, resources)?
    };
    if let Some(by) = &request.order_by {
        let (begun, hits) = (Begun::now(), outcome.hits.len() as u64);
        outcome.hits = sort_hits(snapshot, outcome.hits, by)?;
        let stage = StageProfile {
            name: "order".to_owned(),
            candidates_in: hits,
            candidates_out: hits,
            note: Some(format!("by `{}`", by.field)),
            ..StageProfile::default()
        };
        outcome.profile.add(begun, stage);
    }
    Ok((plan, outcome))
}

fn ranked(
    snapshot: &Snapshot,
    request: &QueryRequest,
    cost: &CostModel,
    resources: Resources<'_>,
) -> Result<(Plan, Outcome), QueryError> {
    let mut watch = Stopwatch::start();
    request.validate(snapshot.schema())?;
    let matches = filter_stage(snapshot, request, &mut watch)?;
    let spent = micros(resources.spent) + watch.elapsed();
    let plan = plan(
        request,
        &counted(snapshot, request, &matches, resources, spent)?,
        cost,
    )?;
    watch.stage(StageProfile {
        name: "plan".to_owned(),
        ..StageProfile::default()
    });
    let outcome = Run {
        snapshot,
        request,
        matches: &matches,
        resources,
        until: until(&plan, resources.spent, watch.begun()),
        watch,
    }
    .run(&plan, |_, _| ())?;
    Ok((plan, outcome))
}

/// The plan that [`search`] would run.
///
/// # Errors
/// As [`search`], but for what only running can show.
pub fn explain(
    snapshot: &Snapshot,
    request: &QueryRequest,
    cost: &CostModel,
    resources: Resources<'_>,
) -> Result<Plan, QueryError> {
    request.validate(snapshot.schema())?;
    let begun = Instant::now();
    let matches = Matches::evaluate(snapshot, request.filter.as_ref())?;
    let spent = micros(resources.spent + begun.elapsed());
    plan(
        request,
        &counted(snapshot, request, &matches, resources, spent)?,
        cost,
    )
}

/// Runs a plan made for this snapshot and request.
///
/// # Errors
/// A request that is not valid, a reranker that fails, a segment that cannot be read.
pub fn execute(
    snapshot: &Snapshot,
    request: &QueryRequest,
    plan: &Plan,
    resources: Resources<'_>,
) -> Result<Outcome, QueryError> {
    let mut watch = Stopwatch::start();
    request.validate(snapshot.schema())?;
    let matches = filter_stage(snapshot, request, &mut watch)?;
    Run {
        snapshot,
        request,
        matches: &matches,
        resources,
        until: until(plan, resources.spent, watch.begun()),
        watch,
    }
    .run(plan, |_, _| ())
}

fn counted(
    snapshot: &Snapshot,
    request: &QueryRequest,
    matches: &Matches,
    resources: Resources<'_>,
    spent_microseconds: f64,
) -> Result<Statistics, QueryError> {
    let mut counts = statistics(snapshot, matches)?;
    let wants_words = match &request.plan {
        PlanChoice::Named(name) => name.uses_words(),
        PlanChoice::Auto => request.budget.is_some() || request.dense.is_none() && request.tokens.is_none(),
    };
    if let (Some(lexical), Some(words), true) = (&mut counts.lexical, request.words(), wants_words) {
        lexical.postings = lexical::postings(snapshot, &words)?;
    }
    for (name, counts) in &mut counts.sparse {
        if let Some(VectorValue::Sparse(query)) = request.vectors.get(name) {
            (counts.postings, counts.others) = sparse::postings(snapshot, name, query);
        }
    }
    Ok(Statistics {
        text: request.text.is_some() && first_text(snapshot)?,
        reranker: resources.reranker.is_some(),
        spent_microseconds,
        reads_per_hit: resources.reads_per_hit,
        qualities: resources.qualities.cloned(),
        tuned: resources.tuned.cloned(),
        breadths: resources.breadths.cloned(),
        ..counts
    })
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// When a rerank must have begun its last pair for the budget to be kept: what comes after it, and the pair itself, take
/// time as well.
fn until(plan: &Plan, spent: Duration, begun: Instant) -> Option<Instant> {
    let budget = plan.budget?;
    let pair = plan.stages.iter().find_map(|stage| match stage.stage {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        Stage::Rerank { depth, .. } => Some(stage.estimate.microseconds / depth.max(1) as f64),
        _ => None,
    })?;
    let reserve = 1.5 * pair + plan.beside.microseconds - plan.spent_microseconds;
    let reserve = Duration::try_from_secs_f64(reserve / 1e6).unwrap_or(Duration::MAX);
    begun.checked_add(budget.saturating_sub(spent.saturating_add(reserve)))
}

fn filter_stage(
    snapshot: &Snapshot,
    request: &QueryRequest,
    watch: &mut Stopwatch,
) -> Result<Matches, QueryError> {
    let matches = Matches::evaluate(snapshot, request.filter.as_ref())?;
    watch.stage(StageProfile {
        name: "filter".to_owned(),
        candidates_in: snapshot.len(),
        candidates_out: matches.count(),
        work: if matches.is_filtered() { snapshot.len() } else { 0 },
        note: request.filter.as_ref().map(|filter| match matches.note() {
            Some(note) => format!("{filter}; {note}"),
            None => filter.to_string(),
        }),
        ..StageProfile::default()
    });
    Ok(matches)
}

struct Run<'a> {
    snapshot: &'a Snapshot,
    request: &'a QueryRequest,
    matches: &'a Matches,
    resources: Resources<'a>,
    /// When a rerank has to end, by the budget.
    until: Option<Instant>,
    watch: Stopwatch,
}

impl<'a> Run<'a> {
    fn scope(&self) -> Scope<'a> {
        Scope::new(self.snapshot, self.matches, self.resources.pool)
    }
}

impl Run<'_> {
    /// Runs the stages; `seen` is told the candidates that each of them left.
    fn run(mut self, plan: &Plan, mut seen: impl FnMut(&Stage, &[Scored])) -> Result<Outcome, QueryError> {
        let mut found = Vec::new();
        let mut legs = Vec::new();
        let mut reranked = 0;
        let mut cut = Vec::new();
        for (number, planned) in plan.stages.iter().enumerate() {
            let first = self.watch.ended();
            let ranked = match &planned.stage {
                Stage::Rerank { depth, deadline_ms } => {
                    let left = self
                        .until
                        .map(|until| until.saturating_duration_since(Instant::now()));
                    let asked = deadline_ms.map(Duration::from_millis);
                    let budget = asked.into_iter().chain(left).min();
                    let deepest = (*depth).min(found.len());
                    reranked = self.rerank(&mut found, *depth, budget)?;
                    if left.is_some() && left == budget && reranked < deepest {
                        cut.push(format!(
                            "the rerank had time for {reranked} of {deepest} candidates"
                        ));
                    }
                    None
                }
                stage => self.run_stage(stage, planned.candidates_out, &mut found, &legs)?,
            };
            if let Some((leg, candidates)) = ranked {
                found.clone_from(&candidates);
                legs.push((leg, candidates));
            }
            self.watch.belong(first, number);
            seen(&planned.stage, &found);
        }
        let before = last_vector_stage(&plan.stages).unwrap_or(StageName::DenseScan);
        let hits = self.hits(&found, reranked, before)?;
        let merge = StageProfile {
            name: "merge".to_owned(),
            candidates_in: found.len() as u64,
            candidates_out: hits.len() as u64,
            ..StageProfile::default()
        };
        Ok(Outcome {
            cut,
            hits,
            profile: self.watch.finish(merge),
        })
    }

    /// Runs a stage: the candidates of a search, or `None` where `found` was ranked anew.
    fn run_stage(
        &mut self,
        stage: &Stage,
        keep: usize,
        found: &mut Vec<Scored>,
        legs: &[(Leg, Vec<Scored>)],
    ) -> Result<Option<(Leg, Vec<Scored>)>, QueryError> {
        Ok(Some(match stage {
            Stage::Bm25 => (Leg::Bm25, self.bm25(keep)?),
            Stage::Sparse { field } => (Leg::Sparse(field.clone()), self.sparse(field, keep)?),
            Stage::DenseScan | Stage::DenseGraph { .. } => {
                (Leg::Dense, self.dense(None, stage.effort(), keep)?)
            }
            Stage::VectorScan { field } | Stage::VectorGraph { field, .. } => {
                let found = self.dense(Some(field), stage.effort(), keep)?;
                (Leg::Vector(field.clone()), found)
            }
            Stage::MaxsimScan => (Leg::MaxSim, self.maxsim_scan(keep)?),
            Stage::MaxsimIndex(settings) => (Leg::MaxSim, self.maxsim_index(*settings, keep)?),
            Stage::Fuse(fusion) => {
                *found = self.fuse(fusion, legs, keep);
                return Ok(None);
            }
            Stage::Rescore => {
                self.rescore(found, keep)?;
                return Ok(None);
            }
            Stage::Rerank { .. } => return Ok(None),
        }))
    }

    /// Dense candidates: through the graphs when a beam is given, the other segments and the memtable by a scan.
    fn dense(
        &mut self,
        field: Option<&str>,
        effort: Option<Effort>,
        keep: usize,
    ) -> Result<Vec<Scored>, QueryError> {
        let vector = match field {
            None => self.request.dense.as_deref(),
            Some(name) => self.request.vectors.get(name).and_then(VectorValue::dense),
        };
        let (Some(spec), Some(vector)) = (dense_spec(self.snapshot.schema(), field), vector) else {
            return Err(QueryError::OtherSnapshot { what: "plan" });
        };
        let rows = DenseField::open(&self.scope(), field)?;
        let named = |name: &str| field.map_or_else(|| name.to_owned(), |field| format!("{name}:{field}"));
        let query = DenseQuery::new(spec.metric, spec.dim, vector)?;
        let row_bytes = (spec.codec.row_bytes(spec.dim) + 4 * spec.codec.row_factors(spec.metric)) as u64;
        let profile = |name: &str, out: usize, rows: u64| StageProfile {
            name: named(name),
            candidates_in: self.matches.count(),
            candidates_out: out as u64,
            bytes: rows * row_bytes,
            flops: 2 * rows * spec.dim as u64,
            work: rows,
            ..StageProfile::default()
        };
        let mut searched = Vec::new();
        let mut top = TopK::new(keep);
        let mut graph_stage = None;
        if let Some(effort) = effort {
            let walked = graph::search(&self.scope(), &rows, &query, effort, keep, &mut searched);
            let mut stage = profile("dense graph", walked.top.len(), walked.hops);
            stage.note = walked.note();
            for number in walked.scan {
                searched[number] = false;
            }
            top = walked.top;
            graph_stage = Some(stage);
        }
        if let Some(stage) = graph_stage {
            self.watch.stage(stage);
        }
        let wanted = |segment: usize| !searched.get(segment).copied().unwrap_or(false);
        let scanned = dense_scan::scan(&self.scope(), &rows, &query, keep, wanted);
        top.merge(scanned.top);
        let stage =
            (scanned.rows > 0 || effort.is_none()).then(|| profile("dense scan", top.len(), scanned.rows));
        let found = top.into_sorted();
        if let Some(stage) = stage {
            self.watch.stage(stage);
        }
        Ok(found)
    }

    fn rerank(
        &mut self,
        found: &mut [Scored],
        depth: usize,
        budget: Option<Duration>,
    ) -> Result<usize, QueryError> {
        let (Some(reranker), Some(text)) = (self.resources.reranker, &self.request.text) else {
            return Err(QueryError::PlanNeeds {
                plan: "rerank".to_owned(),
                needs: "a reranker and the query's text",
                cure: "give both, or run a plan without rerank",
            });
        };
        let depth = depth.min(found.len());
        let texts = read_texts(self.snapshot, &found[..depth])?;
        let bytes = texts.iter().flatten().map(|text| text.len() as u64).sum();
        let read = texts.iter().flatten().count() as u64;
        let stage = |name: &str, candidates_in, candidates_out| StageProfile {
            name: name.to_owned(),
            candidates_in,
            candidates_out,
            bytes,
            ..StageProfile::default()
        };
        self.watch.stage(stage("texts", depth as u64, read));
        let scored = rerank(reranker, text, &texts, found, budget)?;
        let mut stage = stage("rerank", read, scored as u64);
        stage.work = scored as u64;
        stage.note = (scored < depth).then(|| {
            let without = depth as u64 - read;
            format!(
                "{scored} of {depth} scored: {without} have no text, the deadline left {}",
                read - scored as u64
            )
        });
        self.watch.stage(stage);
        Ok(scored)
    }

    fn hits(&self, found: &[Scored], reranked: usize, before: StageName) -> Result<Vec<Hit>, QueryError> {
        let mut hits = Vec::with_capacity(self.request.limit.min(found.len()));
        let window = found
            .iter()
            .enumerate()
            .skip(self.request.offset)
            .take(self.request.limit);
        for (view, number) in self.snapshot.segments().iter().zip(0u32..) {
            let here = window.clone().take(FETCHED).map(|(_, found)| found.position);
            let here = here.filter(|position| position.segment == number);
            view.segment.fetch_ids(here.map(|position| position.ordinal));
        }
        for (rank, &Scored { score, position }) in window {
            let id = match self.snapshot.segments().get(position.segment as usize) {
                Some(view) => view.segment.document_id(position.ordinal)?,
                None => match self.snapshot.memtable().get(position.ordinal) {
                    Some(record) => record.id.clone(),
                    None => return Err(QueryError::OtherSnapshot { what: "plan" }),
                },
            };
            let scored_by = if rank < reranked {
                StageName::Rerank
            } else {
                before
            };
            hits.push(Hit {
                id,
                score,
                scored_by,
                position,
            });
        }
        Ok(hits)
    }
}

/// Hits whose ids are fetched before they are read.
const FETCHED: usize = 64;

/// Documents scored exactly for `keep` results: the score from codes is within a few thousandths of the exact one, so
/// that only near ties at the edge can change places.
pub(crate) fn refined(keep: usize) -> usize {
    keep.saturating_add(keep / 8).saturating_add(2)
}
