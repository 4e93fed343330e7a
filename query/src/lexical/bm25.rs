//! BM25: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with the inverse document
//! frequency that is never negative.

use latewood_storage::TermInfo;

use super::{BM25_B, BM25_K1};

/// The weights of a query's terms over all documents of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Weighting {
    /// ln(1 + (N - n + 0.5) / (n + 0.5)) of each term.
    idf: Vec<f64>,
    /// The share of the length norm that every document has.
    base: f64,
    /// What each term of a document adds to it.
    slope: f64,
}

#[expect(clippy::cast_precision_loss, reason = "counts become weights")]
impl Weighting {
    /// `documents` have `total` terms; each term of the query is in so many of them.
    pub(super) fn new(documents: u64, total: u64, with_term: &[u64]) -> Self {
        let all = documents as f64;
        let idf = |&n: &u64| (((all - n as f64).max(0.0) + 0.5) / (n as f64 + 0.5)).ln_1p();
        let average = if documents == 0 { 1.0 } else { total as f64 / all };
        Self {
            idf: with_term.iter().map(idf).collect(),
            base: BM25_K1 * (1.0 - BM25_B),
            slope: BM25_K1 * BM25_B / average.max(f64::MIN_POSITIVE),
        }
    }

    /// The weight of a term: the most that it can add to a score.
    pub(super) fn weight(&self, term: usize) -> f64 {
        self.idf.get(term).copied().unwrap_or(0.0) * (BM25_K1 + 1.0)
    }

    /// The share of the weight for a frequency in a document of a length.
    #[inline]
    pub(super) fn share(&self, frequency: u32, length: u32) -> f64 {
        let frequency = f64::from(frequency);
        frequency / (frequency + self.base + self.slope * f64::from(length))
    }

    /// The largest share that a term can have in a source.
    pub(super) fn bound(&self, info: &TermInfo) -> f64 {
        self.share(info.most, info.shortest)
    }
}
