//! The most similar pairs of documents.

use latewood_query::{Filter, pairs};
use latewood_storage::DocumentId;
use serde::Serialize;

use super::Collection;
use super::documents::id_at;
use crate::error::Error;
use crate::search::FilterInput;

/// Two documents and how similar their dense vectors are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Higher is more similar, by the metric of the collection.
    pub score: f32,
    /// The one that is stored earlier.
    pub first: DocumentId,
    /// The other.
    pub second: DocumentId,
}

/// A search for the most similar pairs under construction.
///
/// ```no_run
/// # fn main() -> Result<(), latewood::Error> {
/// # let collection = latewood::Database::open("db")?.collection("notes")?;
/// for pair in collection.pairs(10).filter("lang = \"en\"").run()? {
///     println!("{} {} {}", pair.score, pair.first, pair.second);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is searched before run()"]
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    collection: &'a Collection,
    k: usize,
    filter: Option<FilterInput>,
    exact: bool,
}

impl Collection {
    /// The `k` most similar pairs of different documents, by their dense vectors: found through the graph, unless
    /// [`Pairs::exact`] asks for every pair to be scored.
    pub fn pairs(&self, k: usize) -> Pairs<'_> {
        Pairs {
            collection: self,
            k,
            filter: None,
            exact: false,
        }
    }
}

impl Pairs<'_> {
    /// Only documents that match: a [`Filter`], or the text of one.
    pub fn filter(mut self, filter: impl Into<FilterInput>) -> Self {
        self.filter = Some(filter.into());
        self
    }

    /// Whether every pair is scored. Default: no.
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    /// Finds the pairs, on the threads of the database; best first.
    pub fn run(self) -> Result<Vec<Pair>, Error> {
        let filter: Option<Filter> = self.filter.map(FilterInput::into_filter).transpose()?;
        let snapshot = self.collection.snapshot()?;
        let pool = self.collection.shared.threads.pool()?;
        let mut out = Vec::with_capacity(self.k.min(1 << 10));
        for pair in pairs(&snapshot, filter.as_ref(), (self.k, self.exact), pool)? {
            let first = id_at(&snapshot, pair.first)?;
            let second = id_at(&snapshot, pair.second)?;
            out.extend(first.zip(second).map(|(first, second)| Pair {
                score: pair.score,
                first,
                second,
            }));
        }
        Ok(out)
    }
}
