//! Whether a cross-encoder's rerank pays, and to which depth.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use latewood_query::{RerankError, Reranker};

use super::Collection;
use super::advise::{AdviseOptions, Answer, Comparison, Figures};
use super::advise_settings::{Answered, Ranking, Settings, mean};
use crate::error::Error;
use crate::evaluation::{Halves, Judgments, Paired, Table, judge};

/// A rerank that gains nothing over so many candidates gains nothing over more.
const SHALLOW: usize = 10;

/// What the cross-encoder has said, by query and document.
struct Scores<'a> {
    collection: &'a Collection,
    reranker: Arc<dyn Reranker>,
    known: Vec<HashMap<u32, Option<f32>>>,
    pairs: usize,
    time: Duration,
}

pub(super) fn rerank_advice(
    collection: &Collection,
    settings: &Settings,
    judgments: &Judgments,
    options: &AdviseOptions,
) -> Result<Answer, Error> {
    let reranker = match &options.reranker {
        Some(source) => collection.shared.models.add_reranker(source)?,
        None if collection.schema().reranker.is_none() => {
            return Ok(Answer::not_measured(
                "the collection has no reranker: name one by --reranker or AdviseOptions::reranker",
            ));
        }
        None => collection.reranker()?,
    };
    let mut depths: Vec<usize> = options.depths.clone();
    depths.sort_unstable();
    depths.dedup();
    let mut scores = Scores {
        collection,
        reranker,
        known: vec![HashMap::new(); settings.answers.len()],
        pairs: 0,
        time: Duration::ZERO,
    };
    // What no half chooses is never reranked.
    let chosen = Halves::of(settings.answers.len(), options.seed).chosen(settings.table());
    let shallow: Vec<usize> = depths.iter().copied().filter(|&depth| depth <= SHALLOW).collect();
    let mut note = None;
    if !shallow.is_empty() && shallow.len() < depths.len() {
        let tables = scores.tables(settings, judgments, &chosen, &shallow)?;
        let judged = judge(settings.table(), |at| &tables[&at], options.worth, options.seed);
        let deepest = depths.last().copied().unwrap_or(SHALLOW);
        let longer = scores.milliseconds_a_pair() * (deepest * settings.answers.len()) as f64 / 1e3;
        if judged.gain.high < options.worth && longer > options.patience.as_secs_f64() {
            note = Some(format!(
                "nothing is gained over {SHALLOW} candidates, so deeper ones were not tried, which would have taken \
                 about {longer:.0} s"
            ));
            depths = shallow;
        }
    }
    let tables = scores.tables(settings, judgments, &chosen, &depths)?;
    let judged = judge(settings.table(), |at| &tables[&at], options.worth, options.seed);
    let baseline = settings.figures(judged.baseline, None, options.seed);
    let against = settings.row(judged.baseline);
    let rows = tables.get(&judged.baseline).map_or(&[][..], Vec::as_slice);
    let figures = depths.iter().zip(rows).map(|(&depth, row)| {
        let differences: Vec<f64> = row.iter().zip(against).map(|(a, b)| a - b).collect();
        Figures {
            plan: baseline.plan.with_rerank(),
            depth: Some(depth),
            ndcg_at_10: mean(row),
            gain: Paired::of(&differences, options.seed),
            milliseconds: baseline.milliseconds + scores.milliseconds_a_pair() * depth as f64,
            ..baseline.clone()
        }
    });
    let options = figures.collect();
    let deepest = depths.last().copied().unwrap_or(0);
    let oracle = settings.answers.iter().map(|answer| {
        let ranking = settings.ranking(judged.baseline, answer);
        answer.ndcg(judgments, &best_order(answer, judgments, ranking, deepest))
    });
    let oracle: Vec<f64> = oracle.collect();
    Ok(Answer::Measured(Box::new(Comparison {
        judged,
        oracle_gap: Some(mean(&oracle) - baseline.ndcg_at_10),
        baseline,
        options,
        bytes_per_document: 0.0,
        note,
    })))
}

impl Scores<'_> {
    /// For each setting that may be chosen the nDCG@10 of each query, a row a depth.
    fn tables(
        &mut self,
        settings: &Settings,
        judgments: &Judgments,
        chosen: &BTreeSet<usize>,
        depths: &[usize],
    ) -> Result<BTreeMap<usize, Table>, Error> {
        let deepest = depths.iter().copied().max().unwrap_or(0);
        let mut tables: BTreeMap<usize, Table> = BTreeMap::new();
        for &at in chosen {
            let mut table = vec![Vec::with_capacity(settings.answers.len()); depths.len()];
            for (number, answer) in settings.answers.iter().enumerate() {
                let ranking = settings.ranking(at, answer);
                self.score(number, answer, &ranking[..deepest.min(ranking.len())])?;
                for (row, &depth) in table.iter_mut().zip(depths) {
                    row.push(answer.ndcg(judgments, &reranked(&ranking, depth, &self.known[number])));
                }
            }
            tables.insert(at, table);
        }
        Ok(tables)
    }

    /// Has the cross-encoder read what it has not read yet.
    fn score(&mut self, number: usize, answer: &Answered, ranking: &[(u32, f32)]) -> Result<(), Error> {
        let known = &mut self.known[number];
        let (mut places, mut texts) = (Vec::new(), Vec::new());
        for &(document, _) in ranking {
            if known.contains_key(&document) {
                continue;
            }
            let id = answer.documents[document as usize].clone();
            match self.collection.get(id)?.and_then(|document| document.text) {
                Some(text) => {
                    places.push(document);
                    texts.push(text);
                }
                None => drop(known.insert(document, None)),
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let begun = Instant::now();
        let scores = self.reranker.score(&answer.text, &texts, None);
        let scores = scores.map_err(latewood_query::QueryError::from)?;
        self.time += begun.elapsed();
        self.pairs += places.len();
        RerankError::unless_one_each(&*self.reranker, places.len(), scores.len())
            .map_err(latewood_query::QueryError::from)?;
        known.extend(places.into_iter().zip(scores));
        Ok(())
    }

    fn milliseconds_a_pair(&self) -> f64 {
        self.time.as_secs_f64() * 1e3 / self.pairs.max(1) as f64
    }
}

/// The ranking once its first candidates were reranked: those that have a score first, the others in their order.
fn reranked(ranking: &[(u32, f32)], depth: usize, known: &HashMap<u32, Option<f32>>) -> Ranking {
    let (head, tail) = ranking.split_at(depth.min(ranking.len()));
    let score = |document: u32| known.get(&document).copied().flatten();
    let (mut scored, mut others) = (Ranking::new(), Ranking::new());
    for &(document, before) in head {
        match score(document) {
            Some(score) => scored.push((document, score)),
            None => others.push((document, before)),
        }
    }
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    scored
        .into_iter()
        .chain(others)
        .chain(tail.iter().copied())
        .collect()
}

/// The ranking with its first candidates in the order of their relevance: what no rerank can beat.
fn best_order(answer: &Answered, judgments: &Judgments, mut ranking: Ranking, depth: usize) -> Ranking {
    let judged = judgments.of(&answer.query);
    let relevance = |document: u32| {
        let id = answer.documents[document as usize].to_string();
        judged.and_then(|judged| judged.get(&id).copied()).unwrap_or(0)
    };
    let depth = depth.min(ranking.len());
    ranking[..depth].sort_by_key(|&(document, _)| std::cmp::Reverse(relevance(document)));
    ranking
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_reranked_and_the_rest_stays() {
        let ranking: Ranking = vec![(0, 9.0), (1, 8.0), (2, 7.0), (3, 6.0)];
        let known = HashMap::from([(0, Some(0.1)), (1, None), (2, Some(0.9)), (3, Some(5.0))]);
        let order = |depth| -> Vec<u32> {
            let reranked = reranked(&ranking, depth, &known);
            reranked.into_iter().map(|(document, _)| document).collect()
        };
        assert_eq!(order(3), [2, 0, 1, 3]);
        assert_eq!(order(1), [0, 1, 2, 3]);
        assert_eq!(order(9), [3, 2, 0, 1]);
    }
}
