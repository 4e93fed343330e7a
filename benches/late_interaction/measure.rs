//! Runs queries with explicit settings, and condenses what they found and took.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use latewood::Database;
use latewood_benches::Failure;
use latewood_benches::recall::Recall;
use latewood_benches::times::{Times, median, thread_cpu_ms};
use latewood_query::{
    CostModel, Hit, Plan, PlanChoice, PlanName, Profile, QueryRequest, Resources, Stage, execute, explain,
};
use latewood_storage::{DocumentId, Snapshot};

/// Hits of a query.
pub(crate) const K: usize = 10;
/// Queries that run before the first that is timed.
const WARM_UP: usize = 5;

/// How wide the token index opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Setting {
    pub(crate) n_probe: usize,
    pub(crate) candidates: usize,
    /// How far down candidates are scored from their codes, in quarters of a standard deviation.
    pub(crate) margin_quarters: u16,
}

impl Setting {
    pub(crate) fn margin(self) -> f32 {
        f32::from(self.margin_quarters) / 4.0
    }
}

/// A collection and the queries that it is asked.
pub(crate) struct Searched<'a> {
    snapshot: &'a Snapshot,
    requests: Vec<QueryRequest>,
    truth: Option<&'a [Vec<u32>]>,
}

/// What some of the queries found and took.
#[derive(Default)]
pub(crate) struct Runs {
    pub(crate) rankings: Vec<Vec<u32>>,
    milliseconds: Vec<f64>,
    profiles: Vec<Profile>,
    cpu: CpuMean,
}

/// Processor time of all queries after the warm-up.
#[derive(Default)]
struct CpuMean {
    begun: Option<f64>,
    ended: Option<f64>,
}

impl CpuMean {
    fn milliseconds(&self, queries: usize) -> Option<f64> {
        Some((self.ended? - self.begun?) / queries.max(1) as f64)
    }
}

/// Figures of some queries.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) times: Times,
    /// Mean milliseconds on a processor: what is left of the time when other processes are not counted.
    pub(crate) cpu_ms: Option<f64>,
    /// Against the exhaustive answer over the same codes.
    pub(crate) recall_codes: Recall,
    /// Against the exact ranking in single precision.
    pub(crate) recall_float32: Option<Recall>,
    pub(crate) stages: Vec<StageFigures>,
}

impl Measured {
    /// What settings are compared by: processor time, or the median where the system does not tell it.
    pub(crate) fn cost(&self) -> f64 {
        self.cpu_ms.unwrap_or_else(|| self.times.p50())
    }
}

/// Medians of one stage.
#[derive(Clone, Debug)]
pub(crate) struct StageFigures {
    pub(crate) name: String,
    pub(crate) microseconds: f64,
    pub(crate) candidates_in: f64,
    pub(crate) candidates_out: f64,
    pub(crate) work: f64,
    pub(crate) bytes: f64,
    pub(crate) gmacs_per_s: f64,
}

impl<'a> Searched<'a> {
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        queries: &[Vec<f32>],
        dim: usize,
        truth: Option<&'a [Vec<u32>]>,
    ) -> Result<Self, Failure> {
        let request = |query: &Vec<f32>| QueryRequest {
            tokens: Some((query.clone(), dim)),
            plan: PlanChoice::Named(PlanName::MAXSIM),
            limit: K,
            ..QueryRequest::default()
        };
        Ok(Self {
            snapshot,
            requests: queries.iter().map(request).collect(),
            truth,
        })
    }

    /// Queries.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn documents(&self) -> usize {
        self.snapshot.len() as usize
    }

    /// A plan whose first stage is the index, or the scan of all codes.
    fn plan(&self, setting: Option<Setting>) -> Result<Plan, Failure> {
        // Costs under which the planner takes the index whenever there is one.
        let cost = CostModel {
            maxsim_pair: 1e6,
            ..CostModel::default()
        };
        let mut plan = explain(self.snapshot, &self.requests[0], &cost, Resources::default())?;
        let first = plan.stages.first_mut().ok_or("a plan without stages")?;
        match (setting, &mut first.stage) {
            (None, stage) => *stage = Stage::MaxsimScan,
            (Some(setting), Stage::MaxsimIndex(probe)) => {
                probe.n_probe = setting.n_probe;
                probe.candidates = setting.candidates;
                probe.refine = setting.candidates;
                probe.margin = setting.margin();
            }
            (Some(_), _) => {
                return Err("the collection has no token index: expected one after optimize".into());
            }
        }
        Ok(plan)
    }

    /// The setting that the index has when the request names none.
    pub(crate) fn default_setting(&self) -> Result<Option<Setting>, Failure> {
        let plan = explain(
            self.snapshot,
            &self.requests[0],
            &CostModel::default(),
            Resources::default(),
        )?;
        Ok(plan.stages.first().and_then(|first| match &first.stage {
            Stage::MaxsimIndex(probe) => Some(Setting {
                n_probe: probe.n_probe,
                candidates: probe.candidates,
                margin_quarters: (probe.margin * 4.0).round() as u16,
            }),
            _ => None,
        }))
    }

    /// Scans all codes for every query: what it takes, and the answers that the index is compared with.
    pub(crate) fn scan(&self) -> Result<(Measured, Vec<Vec<u32>>), Failure> {
        let runs = self.run(None, (0..self.len()).collect())?;
        let measured = runs.condensed(self, &runs.rankings, 0..self.len());
        Ok((measured, runs.rankings))
    }

    /// Runs the queries of these numbers, one after the other on this thread.
    pub(crate) fn run(&self, setting: Option<Setting>, numbers: Vec<usize>) -> Result<Runs, Failure> {
        let plan = self.plan(setting)?;
        let mut runs = Runs::default();
        let warm_up = if setting.is_some() { WARM_UP } else { 1 };
        for (i, number) in numbers.iter().take(warm_up).chain(&numbers).enumerate() {
            if i == warm_up.min(numbers.len()) {
                runs.cpu.begun = thread_cpu_ms();
            }
            let request = &self.requests[*number];
            let begun = Instant::now();
            let outcome = execute(self.snapshot, request, &plan, Resources::default())?;
            let elapsed = begun.elapsed();
            if i < warm_up.min(numbers.len()) {
                continue;
            }
            runs.milliseconds.push(elapsed.as_secs_f64() * 1e3);
            runs.rankings.push(numbers_of(outcome.hits)?);
            runs.profiles.push(outcome.profile);
        }
        runs.cpu.ended = thread_cpu_ms();
        Ok(runs)
    }
}

fn numbers_of(hits: Vec<Hit>) -> Result<Vec<u32>, Failure> {
    hits.into_iter().map(|hit| number_of(&hit.id)).collect()
}

fn number_of(id: &DocumentId) -> Result<u32, Failure> {
    match id {
        DocumentId::U64(number) => Ok(u32::try_from(*number)?),
        DocumentId::Str(id) => {
            Err(format!("a document {id:?}: expected the numbers of a collection made here").into())
        }
    }
}

/// Every query through the API, on one thread, as `latewood run` does it: with the recall that is asked for, or the
/// defaults.
pub(crate) fn asked(
    db: &Path,
    name: &str,
    queries: &[Vec<f32>],
    dim: usize,
    recall: Option<f64>,
) -> Result<Runs, Failure> {
    let db = Database::options().threads(1).read_only(true).open(db)?;
    let collection = db.collection(name)?;
    let query = |tokens: &Vec<f32>| -> Vec<Vec<f32>> { tokens.chunks(dim).map(<[f32]>::to_vec).collect() };
    let queries: Vec<_> = queries.iter().map(query).collect();
    let mut runs = Runs::default();
    for (i, tokens) in queries.iter().take(WARM_UP).chain(&queries).enumerate() {
        if i == WARM_UP.min(queries.len()) {
            runs.cpu.begun = thread_cpu_ms();
        }
        let query = collection
            .query()
            .tokens(tokens)
            .plan(PlanName::MAXSIM)
            .limit(K)
            .with_payload(false);
        let query = match recall {
            Some(recall) => query.recall(recall),
            None => query,
        };
        let begun = Instant::now();
        let analysis = query.analyze()?;
        let elapsed = begun.elapsed();
        if i < WARM_UP.min(queries.len()) {
            continue;
        }
        runs.milliseconds.push(elapsed.as_secs_f64() * 1e3);
        let numbers: Result<_, Failure> = analysis.hits.iter().map(|hit| number_of(&hit.id)).collect();
        runs.rankings.push(numbers?);
        runs.profiles.push(analysis.profile);
    }
    runs.cpu.ended = thread_cpu_ms();
    drop(collection);
    db.close()?;
    Ok(runs)
}

impl Runs {
    /// Figures of the queries `numbers`, in the order in which they ran; `rankings` are the exhaustive answers of all.
    pub(crate) fn condensed(
        &self,
        searched: &Searched<'_>,
        rankings: &[Vec<u32>],
        numbers: impl IntoIterator<Item = usize> + Clone,
    ) -> Measured {
        let pick = |all: &[Vec<u32>]| -> Vec<Vec<u32>> {
            numbers.clone().into_iter().map(|n| all[n].clone()).collect()
        };
        Measured {
            times: Times::new(self.milliseconds.clone()),
            cpu_ms: self.cpu.milliseconds(self.milliseconds.len()),
            recall_codes: Recall::at(K, &self.rankings, &pick(rankings)),
            recall_float32: searched
                .truth
                .map(|truth| Recall::at(K, &self.rankings, &pick(truth))),
            stages: stages(&self.profiles),
        }
    }
}

/// Medians of every stage, in the order of their first appearance.
fn stages(profiles: &[Profile]) -> Vec<StageFigures> {
    let mut order: BTreeMap<&str, usize> = BTreeMap::new();
    for profile in profiles {
        for (at, stage) in profile.stages.iter().enumerate() {
            order.entry(&stage.name).or_insert(at);
        }
    }
    let mut names: Vec<(&str, usize)> = order.into_iter().collect();
    names.sort_by_key(|&(_, at)| at);
    let figures = names.into_iter().map(|(name, _)| {
        let all = || {
            profiles
                .iter()
                .flat_map(|p| &p.stages)
                .filter(|stage| stage.name == name)
        };
        StageFigures {
            name: name.to_owned(),
            microseconds: median(all().map(|s| s.microseconds)),
            candidates_in: median(all().map(|s| s.candidates_in as f64)),
            candidates_out: median(all().map(|s| s.candidates_out as f64)),
            work: median(all().map(|s| s.work as f64)),
            bytes: median(all().map(|s| s.bytes as f64)),
            gmacs_per_s: median(all().map(|s| s.flops as f64 / 2e3 / s.microseconds)),
        }
    });
    figures.collect()
}

/// Every other query: those of even number choose settings, those of odd number are reported.
pub(crate) fn halves(queries: usize) -> (Vec<usize>, Vec<usize>) {
    let half = |first: usize| -> Vec<usize> {
        Range {
            start: first,
            end: queries,
        }
        .step_by(2)
        .collect()
    };
    (half(0), half(1))
}

#[cfg(test)]
mod tests {
    use latewood_query::StageProfile;

    use super::*;

    #[test]
    fn the_halves_share_nothing_and_leave_nothing_out() {
        let (chosen, reported) = halves(7);
        assert_eq!(
            (chosen.as_slice(), reported.as_slice()),
            ([0, 2, 4, 6].as_slice(), [1, 3, 5].as_slice())
        );
    }

    #[test]
    fn stages_are_medians_in_the_order_of_the_plan() {
        let stage = |name: &str, microseconds: f64| StageProfile {
            name: name.to_owned(),
            microseconds,
            flops: 4_000,
            ..StageProfile::default()
        };
        let profile = |times: [f64; 2]| Profile {
            stages: vec![stage("postings", times[0]), stage("codes", times[1])],
            total_microseconds: 0.0,
        };
        let figures = stages(&[profile([1.0, 4.0]), profile([3.0, 2.0]), profile([2.0, 9.0])]);
        let short: Vec<_> = figures
            .iter()
            .map(|s| (s.name.as_str(), s.microseconds))
            .collect();
        assert_eq!(short, [("postings", 2.0), ("codes", 4.0)]);
        assert_eq!(figures[0].gmacs_per_s, 1.0);
    }
}
