//! Measures of a ranking, as trec_eval defines them.

use super::judgments::Judgments;

/// The measures of one ranking, or their means over many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
    /// Discounted cumulative gain of the first 10 (gain = relevance, discount = log2(rank + 1)) over that of the best
    /// possible order.
    pub ndcg_at_10: f64,
    /// One over the rank of the first relevant document among the first 10, else 0.
    pub mrr_at_10: f64,
    /// Share of the relevant documents that is among the first 10.
    pub recall_at_10: f64,
    /// Share of the relevant documents that is among the first 100.
    pub recall_at_100: f64,
}

impl Measures {
    /// Measures a ranking of document ids, best first. None if the query has no relevant document.
    pub fn of<S: AsRef<str>>(judgments: &Judgments, query: &str, ranking: &[S]) -> Option<Self> {
        let judged = judgments.of(query).filter(|_| judgments.has_relevant(query))?;
        let relevance = |document: &S| judged.get(document.as_ref()).copied().unwrap_or(0);
        let relevances: Vec<u32> = ranking.iter().take(100).map(relevance).collect();
        let mut ideal: Vec<u32> = judged.values().copied().collect();
        ideal.sort_unstable_by(|a, b| b.cmp(a));
        let relevant = count(&ideal, usize::MAX);
        let first = relevances.iter().take(10).position(|&r| r > 0);
        Some(Self {
            ndcg_at_10: discounted_gain(&relevances) / discounted_gain(&ideal),
            mrr_at_10: first.map_or(0.0, |at| 1.0 / (at as f64 + 1.0)),
            recall_at_10: count(&relevances, 10) / relevant,
            recall_at_100: count(&relevances, 100) / relevant,
        })
    }
}

/// The mean of each measure; zeros for none.
pub fn mean_measures(all: &[Measures]) -> Measures {
    let mean = |of: fn(&Measures) -> f64| {
        if all.is_empty() {
            0.0
        } else {
            all.iter().map(of).sum::<f64>() / all.len() as f64
        }
    };
    Measures {
        ndcg_at_10: mean(|m| m.ndcg_at_10),
        mrr_at_10: mean(|m| m.mrr_at_10),
        recall_at_10: mean(|m| m.recall_at_10),
        recall_at_100: mean(|m| m.recall_at_100),
    }
}

fn discounted_gain(relevances: &[u32]) -> f64 {
    relevances
        .iter()
        .take(10)
        .enumerate()
        .map(|(at, &r)| f64::from(r) / (at as f64 + 2.0).log2())
        .sum()
}

fn count(relevances: &[u32], depth: usize) -> f64 {
    relevances.iter().take(depth).filter(|&&r| r > 0).count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} and {b}");
    }

    #[test]
    fn measures_worked_out_by_hand() {
        let mut judgments = Judgments::default();
        judgments.insert("q", "a", 3);
        judgments.insert("q", "b", 2);
        judgments.insert("q", "c", 1);
        judgments.insert("q", "d", 0);
        // b first, d (not relevant) second, a third; c is not found.
        let m = Measures::of(&judgments, "q", &["b", "d", "a", "x"]).unwrap();
        let gain = 2.0 + 3.0 / 2.0;
        let ideal = 3.0 + 2.0 / 1.584_962_500_721_156 + 1.0 / 2.0;
        close(m.ndcg_at_10, gain / ideal);
        close(m.mrr_at_10, 1.0);
        close(m.recall_at_10, 2.0 / 3.0);
        close(m.recall_at_100, 2.0 / 3.0);
    }

    #[test]
    fn the_eleventh_counts_for_recall_at_100_alone() {
        let mut judgments = Judgments::default();
        judgments.insert("q", "a", 1);
        let ranking: Vec<String> = (0..10).map(|i| format!("x{i}")).chain(["a".to_owned()]).collect();
        let m = Measures::of(&judgments, "q", &ranking).unwrap();
        assert_eq!(
            (m.ndcg_at_10, m.mrr_at_10, m.recall_at_10, m.recall_at_100),
            (0.0, 0.0, 0.0, 1.0)
        );
        let second = Measures::of(&judgments, "q", &["x", "a"]).unwrap();
        close(second.ndcg_at_10, 1.0 / 1.584_962_500_721_156);
        close(second.mrr_at_10, 0.5);
        close(mean_measures(&[m, second]).recall_at_10, 0.5);
    }

    #[test]
    fn a_query_without_relevant_documents_is_not_measured() {
        let mut judgments = Judgments::default();
        judgments.insert("q", "a", 0);
        assert_eq!(Measures::of(&judgments, "q", &["a"]), None);
        assert_eq!(Measures::of(&judgments, "other", &["a"]), None);
    }
}
