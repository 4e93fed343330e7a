//! A reranker that reads a pair of query and document once, however many plans ask for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use latewood_query::{RerankError, Reranker};
use latewood_storage::ModelIdentity;

/// What was read so far.
#[derive(Default)]
struct Read {
    /// By query, then by document.
    scores: HashMap<String, HashMap<String, f32>>,
    pairs: u32,
    time: Duration,
    /// Pairs that were known since this was last asked.
    known: u32,
}

/// Keeps the scores of the reranker within, and how long reading took.
pub(super) struct ReadOnce {
    reranker: Arc<dyn Reranker>,
    read: Mutex<Read>,
}

impl ReadOnce {
    pub(super) fn new(reranker: Arc<dyn Reranker>) -> Self {
        Self {
            reranker,
            read: Mutex::default(),
        }
    }

    /// What reading would have taken of the pairs that were known since this was last asked, at the mean of those that were read.
    pub(super) fn take_saved(&self) -> Duration {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let known = std::mem::take(&mut read.known);
        read.time.checked_div(read.pairs).unwrap_or_default() * known
    }
}

impl Reranker for ReadOnce {
    fn identity(&self) -> &ModelIdentity {
        self.reranker.identity()
    }

    fn score(
        &self,
        query: &str,
        documents: &[&str],
        deadline: Option<Instant>,
    ) -> Result<Vec<Option<f32>>, RerankError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let known = read.scores.entry(query.to_owned()).or_default();
        let mut new: Vec<&str> = documents
            .iter()
            .copied()
            .filter(|text| !known.contains_key(*text))
            .collect();
        new.sort_unstable();
        new.dedup();
        let begun = Instant::now();
        let scores = if new.is_empty() {
            Vec::new()
        } else {
            self.reranker.score(query, &new, deadline)?
        };
        RerankError::unless_one_each(self, new.len(), scores.len())?;
        let found = new.iter().zip(&scores);
        known.extend(found.filter_map(|(text, score)| Some(((*text).to_owned(), (*score)?))));
        let all = documents.iter().map(|text| known.get(*text).copied()).collect();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        read.time += begun.elapsed();
        read.pairs += count(new.len());
        read.known += count(documents.len() - new.len());
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Scores a document by its length, and counts what it reads.
    struct Lengths(ModelIdentity, AtomicUsize);

    impl Reranker for Lengths {
        fn identity(&self) -> &ModelIdentity {
            &self.0
        }

        fn score(
            &self,
            _: &str,
            documents: &[&str],
            _: Option<Instant>,
        ) -> Result<Vec<Option<f32>>, RerankError> {
            self.1.fetch_add(documents.len(), Ordering::Relaxed);
            Ok(documents.iter().map(|text| Some(text.len() as f32)).collect())
        }
    }

    #[test]
    fn a_pair_is_read_once_and_scores_keep_their_order() {
        let identity = ModelIdentity {
            name: "lengths".into(),
            fingerprint: String::new(),
            source: String::new(),
        };
        let lengths = Arc::new(Lengths(identity, AtomicUsize::new(0)));
        let once = ReadOnce::new(lengths.clone());
        let read = || lengths.1.load(Ordering::Relaxed);
        let scores = |query, texts: &[&str]| once.score(query, texts, None).unwrap();
        assert_eq!(
            scores("q", &["ccc", "a", "ccc"]),
            [Some(3.0), Some(1.0), Some(3.0)]
        );
        assert_eq!(read(), 2);
        assert_eq!(
            scores("q", &["a", "bb", "ccc"]),
            [Some(1.0), Some(2.0), Some(3.0)]
        );
        assert_eq!(read(), 3);
        assert_eq!(
            scores("other", &["a"]),
            [Some(1.0)],
            "another query is another pair"
        );
        assert_eq!(read(), 4);
        assert_eq!(scores("q", &[]), []);
        assert!(once.take_saved() > Duration::ZERO);
        assert_eq!(once.take_saved(), Duration::ZERO);
    }
}
