//! The documents whose tokens are looked at for advice on residual bits.

use std::collections::HashMap;

use latewood_query::PlanName;
use latewood_storage::{DocumentId, Snapshot};

use super::advise_settings::Settings;
use crate::error::Error;
use crate::evaluation::Judgments;

/// How many documents of a query's ranking are taken: the first of these with which no query is left out.
const DEPTHS: [usize; 3] = [100, 50, 30];

/// For each query the documents that its ranking may be made of. A document of several queries is there once.
pub(super) struct Pool {
    /// Documents of each ranking.
    pub(super) depth: usize,
    /// All documents.
    pub(super) documents: Vec<DocumentId>,
    /// The documents of each query by number, in the order of the ranking that they were taken from; those of the first
    /// queries, where not all have room.
    pub(super) queries: Vec<Vec<usize>>,
}

/// What one query may ask for.
struct Wanted {
    ranked: Vec<DocumentId>,
    relevant: Vec<DocumentId>,
}

impl Pool {
    /// Takes the first documents that late interaction found for each query, and the relevant ones wherever they are, `most`
    /// of all together. None where late interaction did not run.
    pub(super) fn draw(
        snapshot: &Snapshot,
        settings: &Settings,
        judgments: &Judgments,
        most: usize,
    ) -> Result<Option<Self>, Error> {
        let Some(maxsim) = settings.of_plan(&PlanName::MAXSIM) else {
            return Ok(None);
        };
        let mut wanted = Vec::with_capacity(settings.answers.len());
        for answer in &settings.answers {
            let ranking = settings.ranking(maxsim, answer);
            wanted.push(Wanted {
                ranked: ranking
                    .iter()
                    .map(|(number, _)| answer.documents[*number as usize].clone())
                    .collect(),
                relevant: relevant(snapshot, judgments, &answer.query)?,
            });
        }
        let mut pool = Self::gather(&wanted, DEPTHS[0], most);
        for depth in &DEPTHS[1..] {
            if pool.queries.len() < wanted.len() {
                pool = Self::gather(&wanted, *depth, most);
            }
        }
        Ok(Some(pool))
    }

    fn gather(wanted: &[Wanted], depth: usize, most: usize) -> Self {
        let mut pool = Self {
            depth,
            documents: Vec::new(),
            queries: Vec::with_capacity(wanted.len()),
        };
        let mut numbers: HashMap<&DocumentId, usize> = HashMap::new();
        for Wanted { ranked, relevant } in wanted {
            let first = ranked.iter().take(depth);
            let beyond = relevant
                .iter()
                .filter(|id| !ranked.iter().take(depth).any(|r| r == *id));
            let mut query = Vec::with_capacity(depth);
            let known = pool.documents.len();
            for id in first.chain(beyond) {
                let number = *numbers.entry(id).or_insert_with(|| {
                    pool.documents.push(id.clone());
                    pool.documents.len() - 1
                });
                query.push(number);
            }
            if pool.documents.len() > most {
                pool.documents.truncate(known);
                break;
            }
            pool.queries.push(query);
        }
        pool
    }

    /// For each document the queries that it may answer, and its place among the documents of each.
    pub(super) fn askers(&self) -> Vec<Vec<(usize, usize)>> {
        let mut askers = vec![Vec::new(); self.documents.len()];
        for (query, documents) in self.queries.iter().enumerate() {
            for (place, &document) in documents.iter().enumerate() {
                askers[document].push((query, place));
            }
        }
        askers
    }
}

/// The documents that are judged relevant and exist, in the order of their ids.
fn relevant(snapshot: &Snapshot, judgments: &Judgments, query: &str) -> Result<Vec<DocumentId>, Error> {
    let judged = judgments.of(query).into_iter().flatten();
    let mut names: Vec<&String> = judged
        .filter(|(_, relevance)| **relevance > 0)
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    let mut found = Vec::new();
    for name in names {
        let number = name
            .parse::<u64>()
            .ok()
            .filter(|number| number.to_string() == *name);
        for id in [Some(DocumentId::from(name.as_str())), number.map(DocumentId::U64)]
            .into_iter()
            .flatten()
        {
            if snapshot.find(&id)?.is_some() {
                found.push(id);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u64>) -> Vec<DocumentId> {
        range.map(DocumentId::U64).collect()
    }

    fn wanted() -> [Wanted; 2] {
        [
            Wanted {
                ranked: ids(0..60),
                relevant: ids(40..41),
            },
            Wanted {
                ranked: ids(30..90),
                relevant: ids(200..201),
            },
        ]
    }

    #[test]
    fn documents_are_shared_and_relevant_ones_are_there() {
        let pool = Pool::gather(&wanted(), 100, 1_000);
        assert_eq!(
            pool.documents.len(),
            91,
            "90 that were found, and one that was not"
        );
        assert_eq!(pool.queries[0], (0..60).collect::<Vec<_>>());
        assert_eq!(pool.queries[1].last(), Some(&90));
        let askers = pool.askers();
        assert_eq!(askers[35], [(0, 35), (1, 5)]);
        assert_eq!(askers[90], [(1, 60)]);
    }

    #[test]
    fn what_has_no_room_is_left_out_whole() {
        // Of 30 each the two have nothing in common but the relevant document of the first, which is the eleventh of the other.
        let pool = Pool::gather(&wanted(), 30, 61);
        assert_eq!((pool.queries.len(), pool.documents.len()), (2, 61));
        let pool = Pool::gather(&wanted(), 30, 60);
        assert_eq!((pool.queries.len(), pool.documents.len()), (1, 31));
        assert_eq!(pool.askers().len(), 31);
        assert!(Pool::gather(&wanted(), 30, 3).queries.is_empty());
    }
}
