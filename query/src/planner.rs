//! Request + statistics + cost model -> plan: a pure function, an ordered list of rules, each with its reason.
//!
//! Two questions are answered, each by the first rule that has an answer: which stages run (unless the caller named
//! them), and whether the first stage scans or searches an index. A third asks if a rerank is worth adding.

mod access;
mod needs;
mod rules;

use access::Access;
use rules::STAGE_RULES;

use crate::breadth::{Breadth, Effort, Walk};
use crate::budget::plan_within;
use crate::cost::CostModel;
use crate::error::QueryError;
use crate::estimate::Estimator;
use crate::explain::{Count, Duration};
use crate::opening::{self, Opening, opening};
use crate::plan::{
    Estimate, Leg, Plan, PlanChoice, PlanName, PlannedStage, ProbeSettings, Rejected, Stage, StageName,
};
use crate::request::QueryRequest;
use crate::statistics::{Statistics, TokenStatistics};

/// Chooses a plan.
///
/// # Errors
/// [`QueryError::PlanNeeds`] when a named plan lacks a vector, a field, a reranker or a text, or when nothing that the
/// query brings can be searched in this collection.
pub fn plan(request: &QueryRequest, statistics: &Statistics, cost: &CostModel) -> Result<Plan, QueryError> {
    match request.budget {
        Some(budget) => plan_within(request, statistics, cost, budget),
        None => unbounded(request, statistics, cost),
    }
}

/// Chooses a plan, however long it takes.
pub(crate) fn unbounded(
    request: &QueryRequest,
    statistics: &Statistics,
    cost: &CostModel,
) -> Result<Plan, QueryError> {
    Planner {
        case: Estimator {
            request,
            statistics,
            cost,
        },
        rejected: Vec::new(),
    }
    .plan()
}

struct Planner<'a> {
    case: Estimator<'a>,
    rejected: Vec<Rejected>,
}

impl Planner<'_> {
    fn plan(mut self) -> Result<Plan, QueryError> {
        let request = self.case.request;
        let (base, mut reason) = match &request.plan {
            PlanChoice::Named(name) => {
                self.check_needs(name)?;
                (name.clone(), format!("the caller named {name}"))
            }
            PlanChoice::Auto => self.choose_stages()?,
        };
        let automatic = request.plan == PlanChoice::Auto;
        let name = if automatic {
            self.consider_rerank(base, &mut reason)
        } else {
            base
        };
        let stages = self.stages(&name);
        Ok(Plan {
            name,
            automatic,
            reason,
            documents: self.case.statistics.documents,
            matching: self.case.statistics.matching,
            filter_note: self.case.statistics.filter_note.clone(),
            stages,
            beside: self.case.beside(),
            spent_microseconds: self.case.statistics.spent_microseconds,
            budget: None,
            cut: Vec::new(),
            rejected: self.rejected,
        })
    }

    fn dense_usable(&self) -> bool {
        self.case.request.dense.is_some() && self.case.statistics.dense.is_some()
    }

    fn tokens_usable(&self) -> bool {
        self.case.request.tokens.is_some() && self.case.statistics.tokens.is_some()
    }

    fn words_usable(&self) -> bool {
        let request = self.case.request;
        let words = request.lexical.is_some() || request.text.is_some();
        words && self.case.statistics.lexical.is_some()
    }

    /// The named fields that the query brings vectors for.
    fn fields(&self) -> Vec<Leg> {
        let statistics = self.case.statistics;
        let leg = |name: &String| {
            if statistics.vectors.contains_key(name) {
                Some(Leg::Vector(name.clone()))
            } else {
                let sparse = statistics.sparse.contains_key(name);
                sparse.then(|| Leg::Sparse(name.clone()))
            }
        };
        self.case.request.vectors.keys().filter_map(leg).collect()
    }

    fn choose_stages(&mut self) -> Result<(PlanName, String), QueryError> {
        let fields = self.fields();
        if fields.is_empty() {
            return self.choose_unnamed();
        }
        if !self.dense_usable()
            && !self.tokens_usable()
            && let Some(name) = PlanName::new(fields.clone(), false, false)
        {
            let reason = "the query's vectors are all of named fields";
            return Ok((name, reason.to_owned()));
        }
        let (base, reason) = self.choose_unnamed()?;
        let name = base.beside(&fields);
        self.rejected.push(Rejected {
            name: base.to_string(),
            estimate: Some(self.stages_estimate(&base)),
            reason: "the query brings vectors of named fields as well".to_owned(),
        });
        Ok((
            name,
            format!("{reason}; vectors of named fields are searched beside"),
        ))
    }

    /// What runs for the query's dense vector, token matrix or words.
    fn choose_unnamed(&mut self) -> Result<(PlanName, String), QueryError> {
        if !self.dense_usable() && !self.tokens_usable() && self.words_usable() {
            let reason = "the query brings no vector that the collection stores, so its words decide";
            return Ok((PlanName::BM25, reason.to_owned()));
        }
        if !self.dense_usable() && !self.tokens_usable() {
            let needs = "a query vector of a kind that the collection stores";
            let cure = match (&self.case.statistics.dense, &self.case.statistics.tokens) {
                (Some(_), Some(_)) => "give a dense vector or a token matrix",
                (Some(_), None) => "the collection stores dense vectors: give one",
                _ => "the collection stores token matrices: give one",
            };
            return Err(QueryError::PlanNeeds {
                plan: "auto".to_owned(),
                needs,
                cure,
            });
        }
        let chosen = STAGE_RULES.iter().find_map(|rule| rule(self));
        let (name, reason) =
            chosen.unwrap_or((PlanName::DENSE, "dense vectors are what there is".to_owned()));
        for other in [PlanName::DENSE, PlanName::MAXSIM, PlanName::DENSE_MAXSIM] {
            if other != name {
                let rejected = self.reject_stages(&other);
                self.rejected.push(rejected);
            }
        }
        Ok((name, reason))
    }

    fn reject_stages(&self, other: &PlanName) -> Rejected {
        let reject = |estimate, reason: &str| Rejected {
            name: other.to_string(),
            estimate,
            reason: reason.to_owned(),
        };
        if other.uses_dense() && !self.dense_usable() {
            return reject(None, self.why_no_dense());
        }
        if other.uses_tokens() && !self.tokens_usable() {
            return reject(None, self.why_no_tokens());
        }
        let estimate = Some(self.stages_estimate(other));
        let reason = match other {
            other if *other == PlanName::DENSE => "late interaction is affordable and ranks better",
            other if *other == PlanName::MAXSIM => {
                "late interaction over the whole collection would take longer than the cost model calls affordable"
            }
            _ => "late interaction over the whole collection is affordable and misses nothing",
        };
        reject(estimate, reason)
    }

    fn why_no_dense(&self) -> &'static str {
        if self.case.statistics.dense.is_none() {
            "the collection has no dense field"
        } else {
            "the query brings no dense vector"
        }
    }

    fn why_no_tokens(&self) -> &'static str {
        if self.case.statistics.tokens.is_none() {
            "the collection has no token-matrix field"
        } else {
            "the query brings no token matrix"
        }
    }

    fn stages_estimate(&self, name: &PlanName) -> Estimate {
        let scratch = Planner {
            case: self.case,
            rejected: Vec::new(),
        };
        let mut scratch = scratch;
        scratch
            .stages(name)
            .iter()
            .fold(Estimate::default(), |sum, stage| sum + stage.estimate)
    }

    /// The automatic plan reranks dense candidates, when it can; over late interaction a rerank brings next to nothing.
    fn consider_rerank(&mut self, base: PlanName, reason: &mut String) -> PlanName {
        let (request, statistics) = (self.case.request, self.case.statistics);
        let depth = request.rerank_depth();
        let name = base.with_rerank().to_string();
        let lacks = [
            (!statistics.reranker, "there is no reranker"),
            (
                request.text.is_none(),
                "the query brings no text for a cross-encoder to read",
            ),
            (
                !statistics.text,
                "the documents carry no text for a cross-encoder to read",
            ),
        ];
        if let Some((_, why)) = lacks.iter().find(|(lacking, _)| *lacking) {
            self.rejected.push(Rejected {
                name,
                estimate: None,
                reason: (*why).to_owned(),
            });
            return base;
        }
        let estimate = self.case.rerank(depth);
        if base.uses_tokens() {
            let why = format!(
                "a rerank to depth {depth} adds about {} and brings next to nothing over late interaction (MRR 0.686 -> \
                 0.691 on 55,685 package descriptions); name the plan to have it",
                Duration(estimate.microseconds)
            );
            let estimate = Some(self.stages_estimate(&base) + estimate);
            self.rejected.push(Rejected {
                name,
                estimate,
                reason: why,
            });
            return base;
        }
        let estimate = Some(self.stages_estimate(&base));
        let why = "a reranker and texts are there, and over words or dense vectors alone a rerank pays";
        self.rejected.push(Rejected {
            name: base.to_string(),
            estimate,
            reason: why.to_owned(),
        });
        reason.push_str(if base.uses_words() {
            "; a reranker and texts are there, and over words alone a rerank pays"
        } else {
            "; a reranker and texts are there, and over dense vectors alone a rerank pays a great deal (MRR 0.52 -> 0.65 \
             on 55,685 package descriptions)"
        });
        base.with_rerank()
    }

    /// Candidates that the stages before the rerank must leave.
    fn wanted(&self, name: &PlanName) -> usize {
        let window = self.case.request.window();
        if name.reranks() {
            window.max(self.case.request.rerank_depth())
        } else {
            window
        }
    }

    fn stages(&mut self, name: &PlanName) -> Vec<PlannedStage> {
        let request = self.case.request;
        let wanted = self.wanted(name);
        let rescored = name.rescores();
        let keep = if rescored {
            rescore_candidates(request, wanted)
        } else {
            wanted
        };
        let mut stages = Vec::new();
        let legs = name.legs();
        let each = if legs.len() > 1 {
            fused_candidates(request, keep)
        } else {
            keep
        };
        for leg in legs {
            stages.extend(match leg {
                Leg::Bm25 => self.bm25_stage(each),
                Leg::Dense => self.dense_stage(None, each),
                Leg::Vector(field) => self.dense_stage(Some(field), each),
                Leg::MaxSim => self.maxsim_stage(each),
                Leg::Sparse(field) => self.sparse_stage(field, each),
            });
        }
        if legs.len() > 1 {
            stages.push(self.fuse_stage(&stages, keep));
        }
        if rescored && let Some(tokens) = &self.case.statistics.tokens {
            stages.push(PlannedStage {
                stage: Stage::Rescore,
                candidates_in: self.cap(keep) as u64,
                candidates_out: self.cap(wanted),
                estimate: self.case.rescore(tokens, keep),
                reason: format!(
                    "MaxSim over the {} candidates costs less than over the collection",
                    Count(self.cap(keep) as u64)
                ),
            });
        }
        if name.reranks() {
            stages.push(self.rerank_stage(wanted));
        }
        stages
    }

    /// A count of candidates, cut to the documents there are.
    fn cap(&self, candidates: usize) -> usize {
        candidates.min(usize::try_from(self.case.statistics.matching).unwrap_or(usize::MAX))
    }

    fn rerank_stage(&self, wanted: usize) -> PlannedStage {
        let request = self.case.request;
        let depth = request.rerank_depth();
        PlannedStage {
            stage: Stage::Rerank {
                depth,
                deadline_ms: request
                    .rerank_deadline
                    .map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            },
            candidates_in: self.cap(wanted) as u64,
            candidates_out: self.cap(wanted),
            estimate: self.case.rerank(depth),
            reason: format!(
                "the cross-encoder orders the best {depth}; the rest follow in the order they had"
            ),
        }
    }

    fn bm25_stage(&self, keep: usize) -> Option<PlannedStage> {
        let lexical = self.case.statistics.lexical.as_ref()?;
        Some(PlannedStage {
            stage: Stage::Bm25,
            candidates_in: self.case.statistics.matching,
            candidates_out: self.cap(keep),
            estimate: self.case.bm25(lexical, keep),
            reason: format!(
                "the query's words stand {} times in posting lists; documents without any of them are no candidates",
                Count(lexical.postings)
            ),
        })
    }

    fn sparse_stage(&self, field: &str, keep: usize) -> Option<PlannedStage> {
        let sparse = self.case.statistics.sparse.get(field)?;
        Some(PlannedStage {
            stage: Stage::Sparse {
                field: field.to_owned(),
            },
            candidates_in: self.case.statistics.matching,
            candidates_out: self.cap(keep),
            estimate: self.case.sparse(sparse),
            reason: format!(
                "the dimensions of the query's vector stand {} times in posting lists; documents without any of them are no \
                 candidates",
                Count(sparse.postings)
            ),
        })
    }

    fn fuse_stage(&self, legs: &[PlannedStage], keep: usize) -> PlannedStage {
        PlannedStage {
            stage: Stage::Fuse(self.case.request.fusion.clone()),
            candidates_in: legs.iter().map(|leg| leg.candidates_out as u64).sum(),
            candidates_out: self.cap(keep),
            estimate: self
                .case
                .fuse(legs.iter().map(|leg| leg.candidates_out as u64).sum()),
            reason:
                "words and vectors find different documents, and what several of them find is likely right"
                    .to_owned(),
        }
    }

    fn dense_stage(&mut self, field: Option<&str>, keep: usize) -> Option<PlannedStage> {
        let (request, statistics) = (self.case.request, self.case.statistics);
        // Named fields are not tuned yet.
        let (dense, table) = match field {
            None => (statistics.dense.as_ref()?, statistics.breadths.as_ref()),
            Some(field) => (statistics.vectors.get(field)?, None),
        };
        let walk = Walk {
            request,
            dense,
            table,
        };
        let Breadth { effort, note } = walk.breadth(keep);
        let Effort { ef_search, cell_rows } = effort;
        let scan = self.case.dense_scan(dense);
        let index = (dense.graphs > 0).then(|| self.case.dense_graph(dense, ef_search));
        let access = Access {
            everything: walk.only_everything(),
            ..self.access(keep, scan, index, "graph")
        };
        let (scan, graph) = match field.map(str::to_owned) {
            None => (Stage::DenseScan, Stage::DenseGraph { ef_search, cell_rows }),
            Some(field) => {
                let scan = Stage::VectorScan { field: field.clone() };
                let graph = Stage::VectorGraph {
                    field,
                    ef_search,
                    cell_rows,
                };
                (scan, graph)
            }
        };
        let mut stage = self.first_stage(scan, graph, access, keep);
        let walks = matches!(stage.stage, Stage::DenseGraph { .. } | Stage::VectorGraph { .. });
        if let Some(note) = note.filter(|_| walks) {
            stage.reason = format!("{}; {note}", stage.reason);
        }
        Some(stage)
    }

    fn maxsim_stage(&mut self, keep: usize) -> Option<PlannedStage> {
        let tokens = self.case.statistics.tokens.as_ref()?;
        let Opening { settings, note } = opening(self.case.request, self.case.statistics, keep);
        let (settings, note) = self.all_matching_if_cheaper(tokens, settings, note);
        let scan = self.case.maxsim_scan(tokens);
        let index = (tokens.centroids > 0).then(|| self.case.maxsim_index(tokens, &settings));
        let everything = opening::only_everything(self.case.request, self.case.statistics);
        let access = Access {
            everything,
            ..self.access(keep, scan, index, "token index")
        };
        let mut stage = self.first_stage(Stage::MaxsimScan, Stage::MaxsimIndex(settings), access, keep);
        if let (Stage::MaxsimIndex(_), Some(note)) = (&stage.stage, note) {
            stage.reason = format!("{}; {note}", stage.reason);
        }
        Some(stage)
    }

    /// Under a filter it may cost less to take all matches as candidates than to find the best of them in lists that hold
    /// mostly others; and none is missed then.
    fn all_matching_if_cheaper(
        &self,
        tokens: &TokenStatistics,
        settings: ProbeSettings,
        note: Option<String>,
    ) -> (ProbeSettings, Option<String>) {
        let statistics = self.case.statistics;
        let matching = usize::try_from(statistics.matching).unwrap_or(usize::MAX);
        let all = ProbeSettings {
            candidates: matching,
            ..settings
        };
        let cost = |settings: &ProbeSettings| self.case.maxsim_index(tokens, settings).microseconds;
        let fixed = self.case.request.candidates.is_some() || statistics.matching >= statistics.documents;
        if fixed || settings.candidates >= matching || cost(&all) > cost(&settings) {
            return (settings, note);
        }
        let why = "all matches are candidates, which takes no longer than finding the best of them in lists";
        let note = note.map_or_else(|| why.to_owned(), |note| format!("{note}; {why}"));
        (all, Some(note))
    }

    fn access(&self, keep: usize, scan: Estimate, index: Option<Estimate>, kind: &'static str) -> Access {
        let statistics = self.case.statistics;
        Access {
            exact: self.case.request.exact,
            everything: None,
            matching: statistics.matching,
            documents: statistics.documents,
            wanted: keep as u64,
            scan,
            index,
            kind,
        }
    }

    /// Asks the rules whether to scan, and records the way that was not taken.
    fn first_stage(&mut self, scan: Stage, index: Stage, access: Access, keep: usize) -> PlannedStage {
        let (scans, reason) = access.decide();
        let (stage, estimate, other, other_estimate) = if scans {
            (scan, access.scan, index, access.index)
        } else {
            (index, access.index.unwrap_or_default(), scan, Some(access.scan))
        };
        let why = if scans {
            reason.clone()
        } else {
            "the index is estimated to be cheaper".to_owned()
        };
        self.rejected.push(Rejected {
            name: other.to_string(),
            estimate: other_estimate,
            reason: why,
        });
        PlannedStage {
            stage,
            candidates_in: access.matching,
            candidates_out: self.cap(keep),
            estimate,
            reason,
        }
    }
}

/// Dense candidates that MaxSim rescores.
fn rescore_candidates(request: &QueryRequest, wanted: usize) -> usize {
    request
        .candidates
        .unwrap_or_else(|| wanted.saturating_mul(10).max(200))
        .max(wanted)
}

/// Candidates of each search whose rankings are fused.
fn fused_candidates(request: &QueryRequest, keep: usize) -> usize {
    request.candidates.unwrap_or(100).max(keep)
}

/// The stage that gave a hit of a plan its score, for hits that no rerank reached.
pub(crate) fn last_vector_stage(stages: &[PlannedStage]) -> Option<StageName> {
    stages
        .iter()
        .map(|stage| stage.stage.name())
        .rfind(|name| *name != StageName::Rerank)
}
