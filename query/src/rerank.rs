//! Rerank: a cross-encoder reads the best candidates.

use std::time::{Duration, Instant};

use latewood_storage::Snapshot;

use crate::error::QueryError;
use crate::hits::Position;
use crate::reranker::{RerankError, Reranker};
use crate::top_k::Scored;

/// The texts of the best candidates, in their order; `None` for those without one.
pub(crate) fn read_texts(
    snapshot: &Snapshot,
    candidates: &[Scored],
) -> Result<Vec<Option<String>>, QueryError> {
    candidates
        .iter()
        .map(|candidate| read_text(snapshot, candidate.position))
        .collect()
}

fn read_text(snapshot: &Snapshot, position: Position) -> Result<Option<String>, QueryError> {
    match snapshot.segments().get(position.segment as usize) {
        Some(view) => Ok(view.segment.text(position.ordinal)?),
        None => Ok(snapshot
            .memtable()
            .get(position.ordinal)
            .and_then(|record| record.text.clone())),
    }
}

/// Puts the candidates that the cross-encoder scored first, in its order; the others follow in the order they had.
/// Returns how many were scored.
pub(crate) fn rerank(
    reranker: &dyn Reranker,
    query: &str,
    texts: &[Option<String>],
    candidates: &mut [Scored],
    budget: Option<Duration>,
) -> Result<usize, QueryError> {
    let (places, documents): (Vec<usize>, Vec<&str>) = texts
        .iter()
        .enumerate()
        .filter_map(|(place, text)| Some((place, text.as_deref()?)))
        .unzip();
    let deadline = budget.and_then(|budget| Instant::now().checked_add(budget));
    let scores = reranker.score(query, &documents, deadline)?;
    check(reranker, documents.len(), &scores)?;

    let mut scored = Vec::with_capacity(scores.len());
    let mut taken = vec![false; candidates.len()];
    for (place, score) in places.into_iter().zip(scores) {
        if let (Some(score), Some(candidate)) = (score, candidates.get(place)) {
            scored.push(Scored {
                score,
                position: candidate.position,
            });
            taken[place] = true;
        }
    }
    scored.sort_unstable();
    let count = scored.len();
    let rest = candidates
        .iter()
        .zip(&taken)
        .filter(|(_, taken)| !**taken)
        .map(|(candidate, _)| *candidate);
    let ordered: Vec<Scored> = scored.into_iter().chain(rest).collect();
    candidates.copy_from_slice(&ordered);
    Ok(count)
}

fn check(reranker: &dyn Reranker, expected: usize, scores: &[Option<f32>]) -> Result<(), RerankError> {
    let model = || reranker.identity().name.clone();
    RerankError::unless_one_each(reranker, expected, scores.len())?;
    let strange = scores
        .iter()
        .enumerate()
        .find_map(|(at, score)| score.filter(|s| !s.is_finite()).map(|s| (at, s)));
    match strange {
        Some((at, score)) => Err(RerankError::NotFinite {
            model: model(),
            at,
            score,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use latewood_storage::ModelIdentity;

    use super::*;

    struct Canned(ModelIdentity, Vec<Option<f32>>);

    impl Reranker for Canned {
        fn identity(&self) -> &ModelIdentity {
            &self.0
        }

        fn score(&self, _: &str, _: &[&str], _: Option<Instant>) -> Result<Vec<Option<f32>>, RerankError> {
            Ok(self.1.clone())
        }
    }

    fn run(scores: &[Option<f32>], texts: &[bool]) -> Result<(Vec<u32>, usize), QueryError> {
        let identity = ModelIdentity {
            name: "canned".into(),
            fingerprint: String::new(),
            source: String::new(),
        };
        let reranker = Canned(identity, scores.to_vec());
        let texts: Vec<_> = texts.iter().map(|has| has.then(|| "text".to_owned())).collect();
        let mut candidates: Vec<Scored> = (0u8..6)
            .map(|n| Scored {
                score: -f32::from(n),
                position: Position {
                    segment: 0,
                    ordinal: n.into(),
                },
            })
            .collect();
        let count = rerank(&reranker, "query", &texts, &mut candidates, None)?;
        Ok((candidates.iter().map(|c| c.position.ordinal).collect(), count))
    }

    #[test]
    fn scored_first_then_the_rest_in_their_order() {
        let scores = [Some(0.1), Some(0.9), None, Some(0.5)];
        assert_eq!(run(&scores, &[true; 4]).unwrap(), (vec![1, 3, 0, 2, 4, 5], 3));
    }

    #[test]
    fn documents_without_a_text_are_not_read() {
        assert_eq!(
            run(&[Some(0.1), Some(0.2)], &[false, true, true]).unwrap(),
            (vec![2, 1, 0, 3, 4, 5], 2)
        );
    }

    #[test]
    fn equal_scores_keep_the_order_of_positions() {
        assert_eq!(
            run(&[Some(1.0); 3], &[true; 3]).unwrap(),
            (vec![0, 1, 2, 3, 4, 5], 3)
        );
    }

    #[test]
    fn a_reranker_that_miscounts_or_returns_nan_is_an_error() {
        let miscount = run(&[Some(1.0)], &[true; 2]).unwrap_err();
        assert!(matches!(
            miscount,
            QueryError::Rerank(RerankError::WrongCount {
                expected: 2,
                got: 1,
                ..
            })
        ));
        let nan = run(&[Some(1.0), Some(f32::NAN)], &[true; 2]).unwrap_err();
        assert!(matches!(
            nan,
            QueryError::Rerank(RerankError::NotFinite { at: 1, .. })
        ));
    }
}
