//! Every ranking that a collection can give without a rerank, for judged queries.

use std::collections::HashMap;
use std::time::Instant;

use latewood_query::{Fusion, Leg, PlanName};
use latewood_storage::{DocumentId, Schema};

use super::Collection;
use super::advise::{Figures, refused};
use super::tune_fusion::{DEPTH, candidates};
use crate::error::Error;
use crate::evaluation::{Judgments, Measures, Paired, Table};

/// Documents of one query, by number, best first.
pub(super) type Ranking = Vec<(u32, f32)>;

/// A plan, and how it fuses if it does.
struct Setting {
    plan: PlanName,
    fusion: Option<Fusion>,
}

/// What every setting ranks, and how well.
pub(super) struct Settings {
    settings: Vec<Setting>,
    table: Table,
    pub(super) answers: Vec<Answered>,
    /// Mean milliseconds of each plan that ran.
    milliseconds: HashMap<PlanName, f64>,
}

/// One query, answered by each plan that ran.
pub(super) struct Answered {
    pub(super) query: String,
    pub(super) text: String,
    /// The documents that were found, which rankings number.
    pub(super) documents: Vec<DocumentId>,
    rankings: HashMap<PlanName, Ranking>,
}

impl Settings {
    /// Runs every search once for each query, 100 hits deep.
    pub(super) fn measure(
        collection: &Collection,
        queries: &[&(String, String)],
        judgments: &Judgments,
    ) -> Result<Self, Error> {
        let schema = collection.schema();
        let plans = plans(&schema);
        if plans.is_empty() {
            return Err(refused(
                "the collection cannot be searched by text: it has neither an encoder nor a lexical index"
                    .to_owned(),
            ));
        }
        let mut milliseconds: HashMap<PlanName, f64> = HashMap::new();
        let mut answers = Vec::with_capacity(queries.len());
        if let Some((id, text)) = queries.first() {
            // Loads the models and touches the files once: what is measured is a collection in use.
            Answered::of(collection, id, text, &plans, &mut HashMap::new())?;
        }
        for (id, text) in queries.iter().copied() {
            answers.push(Answered::of(collection, id, text, &plans, &mut milliseconds)?);
        }
        for sum in milliseconds.values_mut() {
            *sum /= queries.len() as f64;
        }
        let mut settings = Self {
            settings: settings(&plans),
            table: Table::new(),
            answers,
            milliseconds,
        };
        settings.table = (0..settings.len())
            .map(|at| {
                let rankings = settings
                    .answers
                    .iter()
                    .map(|answer| (answer, settings.ranking(at, answer)));
                rankings
                    .map(|(answer, ranking)| answer.ndcg(judgments, &ranking))
                    .collect()
            })
            .collect();
        Ok(settings)
    }

    pub(super) fn len(&self) -> usize {
        self.settings.len()
    }

    /// The setting that is this plan without a fusion.
    pub(super) fn of_plan(&self, plan: &PlanName) -> Option<usize> {
        let is = |setting: &Setting| setting.plan == *plan && setting.fusion.is_none();
        self.settings.iter().position(is)
    }

    pub(super) fn plan(&self, at: usize) -> &PlanName {
        &self.settings[at].plan
    }

    /// nDCG@10 of each query.
    pub(super) fn row(&self, at: usize) -> &Vec<f64> {
        &self.table[at]
    }

    /// A row a setting.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    pub(super) fn ranking(&self, at: usize, answer: &Answered) -> Ranking {
        let setting = &self.settings[at];
        match &setting.fusion {
            None => answer.rankings.get(&setting.plan).cloned().unwrap_or_default(),
            Some(fusion) => {
                let rankings: Vec<(Leg, Ranking)> = setting
                    .plan
                    .legs()
                    .iter()
                    .filter_map(|leg| Some((leg.clone(), answer.rankings.get(&alone(leg)?)?.clone())))
                    .collect();
                fusion.fuse(&rankings, DEPTH)
            }
        }
    }

    /// Mean milliseconds of a query; of a fusion those of its searches together.
    pub(super) fn milliseconds(&self, at: usize) -> f64 {
        let setting = &self.settings[at];
        let of = |plan: &PlanName| self.milliseconds.get(plan).copied().unwrap_or(0.0);
        match setting.fusion {
            None => of(&setting.plan),
            Some(_) => setting
                .plan
                .legs()
                .iter()
                .filter_map(alone)
                .map(|plan| of(&plan))
                .sum(),
        }
    }

    pub(super) fn figures(&self, at: usize, baseline: Option<usize>, seed: u64) -> Figures {
        let row = self.row(at);
        let against = self.row(baseline.unwrap_or(at));
        let differences: Vec<f64> = row.iter().zip(against).map(|(a, b)| a - b).collect();
        Figures {
            plan: self.plan(at).clone(),
            fusion: self.settings[at].fusion.clone(),
            depth: None,
            ndcg_at_10: mean(row),
            gain: Paired::of(&differences, seed),
            milliseconds: self.milliseconds(at),
        }
    }
}

impl Answered {
    fn of(
        collection: &Collection,
        id: &str,
        text: &str,
        plans: &[PlanName],
        milliseconds: &mut HashMap<PlanName, f64>,
    ) -> Result<Self, Error> {
        let (mut documents, mut numbers) = (Vec::new(), HashMap::new());
        let mut rankings = HashMap::new();
        for plan in plans {
            let begun = Instant::now();
            let query = collection.query().text(text).plan(plan.clone()).limit(DEPTH);
            let hits = query.with_payload(false).run()?;
            *milliseconds.entry(plan.clone()).or_default() += begun.elapsed().as_secs_f64() * 1e3;
            let mut ranking = Ranking::with_capacity(hits.len());
            for hit in hits {
                let number = *numbers.entry(hit.id.clone()).or_insert_with(|| {
                    documents.push(hit.id);
                    u32::try_from(documents.len() - 1).unwrap_or(u32::MAX)
                });
                ranking.push((number, hit.score));
            }
            rankings.insert(plan.clone(), ranking);
        }
        Ok(Self {
            query: id.to_owned(),
            text: text.to_owned(),
            documents,
            rankings,
        })
    }

    /// nDCG@10 of a ranking of its documents.
    pub(super) fn ndcg(&self, judgments: &Judgments, ranking: &[(u32, f32)]) -> f64 {
        let ids: Vec<String> = ranking
            .iter()
            .take(10)
            .map(|(number, _)| self.documents[*number as usize].to_string())
            .collect();
        Measures::of(judgments, &self.query, &ids).map_or(0.0, |measures| measures.ndcg_at_10)
    }
}

/// What runs: each search alone, and each whose candidates late interaction scores anew.
fn plans(schema: &Schema) -> Vec<PlanName> {
    let encodes = schema.encoder.is_some();
    let (words, dense) = (schema.lexical.is_some(), schema.dense.is_some() && encodes);
    let tokens = schema.tokens.is_some() && encodes;
    [
        (PlanName::BM25, words),
        (PlanName::DENSE, dense),
        (PlanName::MAXSIM, tokens),
        (PlanName::DENSE_MAXSIM, dense && tokens),
        (PlanName::BM25_MAXSIM, words && tokens),
        (PlanName::BM25_BESIDE_DENSE_MAXSIM, words && dense && tokens),
    ]
    .into_iter()
    .filter_map(|(plan, can)| can.then_some(plan))
    .collect()
}

/// What is ranked: the plans as they run, and every fusion of words with vectors.
fn settings(plans: &[PlanName]) -> Vec<Setting> {
    let mut all: Vec<Setting> = plans
        .iter()
        .map(|plan| Setting {
            plan: plan.clone(),
            fusion: None,
        })
        .collect();
    for fused in [PlanName::BM25_BESIDE_DENSE, PlanName::BM25_BESIDE_MAXSIM] {
        if fused
            .legs()
            .iter()
            .all(|leg| alone(leg).is_some_and(|plan| plans.contains(&plan)))
        {
            all.extend(candidates(fused.legs()).into_iter().map(|fusion| Setting {
                plan: fused.clone(),
                fusion: Some(fusion),
            }));
        }
    }
    all
}

fn alone(leg: &Leg) -> Option<PlanName> {
    PlanName::new(vec![leg.clone()], false, false)
}

pub(super) fn mean(row: &[f64]) -> f64 {
    row.iter().sum::<f64>() / (row.len().max(1)) as f64
}
