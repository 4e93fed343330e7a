//! Settings of the token index for a recall that is asked: found by measuring, kept in the catalog.

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use latewood_query::{QueryError, QuerySource, TokenStatistics, TuneOptions, Tuned, TunedTable, tune};
use latewood_storage::StorageError;

use super::Collection;
use super::maintain::OptimizeProgress;
use super::pseudo_queries::pseudo_queries;
use crate::error::Error;
use crate::search::QueryTokens;
use crate::telemetry;

/// Where the table is in the catalog.
const TUNED: &str = "tuned";
/// The depth of recall@k.
pub(super) const K: usize = 10;
/// Queries made of documents, if there is time for so many: four times as many make an interval half as wide.
pub(super) const QUERIES: usize = 400;
/// What their generator begins with.
pub(super) const SEED: u64 = 0x7475_6e65;
/// Time for taking more queries, unless an eighth of the optimize is more.
pub(super) const BUDGET: Duration = Duration::from_secs(5);
/// As much more for each token in the index: a query's exhaustive answer takes time in proportion to them.
const BUDGET_PER_TOKEN: Duration = Duration::from_micros(1);

impl Collection {
    /// Measures the token index and keeps, for each of seven recalls from 0.80 to 0.999, the cheapest settings that are
    /// sure to give it: those whose measured recall@10, against the exhaustive answer over the same codes, has a 95%
    /// interval that begins there or above. [`Query::recall`](crate::Query::recall) then chooses among them.
    ///
    /// Give token matrices of queries like those that will come; all of them are measured. With none, queries are made of
    /// documents of the collection, as many as five seconds and one more for each million tokens allow. `optimize` ends
    /// with that, so this is for queries of one's own; a table from such queries is kept until the collection has twice
    /// the tokens or another codebook.
    ///
    /// `None`: there is no token index, or scanning everything is as fast.
    ///
    /// # Errors
    /// A query of another dimension or not finite; [`StorageError::Cancelled`] when `progress` breaks it off.
    pub fn tune(
        &self,
        queries: Option<&[QueryTokens]>,
        progress: impl Fn(&OptimizeProgress) -> ControlFlow<()>,
    ) -> Result<Option<TunedTable>, Error> {
        match queries {
            Some(queries) => {
                let dim = self.schema().tokens.as_ref().map_or(0, |tokens| tokens.dim);
                let numbers = queries
                    .iter()
                    .map(|query| query.numbers_of(dim))
                    .collect::<Result<Vec<_>, _>>()?;
                if numbers.is_empty() {
                    return Err(QueryError::NothingToSearch.into());
                }
                self.tune_with(&numbers, QuerySource::Caller, Duration::MAX, &progress)
            }
            None => self.tune_on_documents(BUDGET, &progress),
        }
    }

    /// Tunes after an optimize that took so long, unless what is kept still holds.
    pub(super) fn tune_after(
        &self,
        optimize: Duration,
        progress: &dyn Fn(&OptimizeProgress) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if !self.holds_table()? {
            self.tune_on_documents(BUDGET.max(optimize / 8), progress)?;
        }
        Ok(())
    }

    fn holds_table(&self) -> Result<bool, Error> {
        let (Some(table), Some(now)) = (self.tuned_table(), self.token_statistics()?) else {
            return Ok(false);
        };
        let as_measured = table.tokens == now.indexed_tokens || table.source == QuerySource::Caller;
        Ok(as_measured && table.outdated(&now).is_none())
    }

    /// Whether the table that is kept speaks for another collection than this one has become.
    pub(super) fn is_outdated(&self) -> Result<bool, Error> {
        let (Some(table), Some(now)) = (self.tuned_table(), self.token_statistics()?) else {
            return Ok(false);
        };
        Ok(table.outdated(&now).is_some())
    }

    fn token_statistics(&self) -> Result<Option<TokenStatistics>, Error> {
        let snapshot = self.snapshot()?;
        let matches = latewood_query::Matches::evaluate(&snapshot, None)?;
        Ok(latewood_query::statistics(&snapshot, &matches)?.tokens)
    }

    fn tune_on_documents(
        &self,
        budget: Duration,
        progress: &dyn Fn(&OptimizeProgress) -> ControlFlow<()>,
    ) -> Result<Option<TunedTable>, Error> {
        let tokens = self.token_statistics()?.map_or(0, |now| now.indexed_tokens);
        let more = BUDGET_PER_TOKEN.saturating_mul(u32::try_from(tokens).unwrap_or(u32::MAX));
        let queries = pseudo_queries(&*self.snapshot()?, QUERIES, SEED)?;
        self.tune_with(&queries, QuerySource::Documents, budget + more, progress)
    }

    fn tune_with(
        &self,
        queries: &[Vec<f32>],
        source: QuerySource,
        budget: Duration,
        progress: &dyn Fn(&OptimizeProgress) -> ControlFlow<()>,
    ) -> Result<Option<TunedTable>, Error> {
        let _span = telemetry::Around::begin(telemetry::Work::Tune, self.name());
        let report = |done, total| {
            progress(&OptimizeProgress {
                step: "recall",
                done,
                total,
            })
        };
        let options = TuneOptions {
            k: K,
            source,
            budget,
            pool: self.shared.threads.pool()?,
            progress: &report,
        };
        match tune(&*self.snapshot()?, queries, &self.cost_model(), &options)? {
            Tuned::Table(table) => {
                self.keep_table(&table)?;
                Ok(Some(table))
            }
            Tuned::NotNeeded => Ok(None),
            Tuned::Cancelled => Err(StorageError::Cancelled.into()),
        }
    }

    pub(super) fn keep_table(&self, table: &TunedTable) -> Result<(), Error> {
        if !self.shared.read_only {
            self.catalog_put(TUNED, table)?;
        }
        self.shared
            .tuned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(self.name().to_owned(), Some(Arc::new(table.clone())));
        Ok(())
    }

    /// What the collection was tuned to, if it was and the catalog still has it.
    pub(crate) fn tuned_table(&self) -> Option<Arc<TunedTable>> {
        let mut tuned = self.shared.tuned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tuned.get(self.name()) {
            return table.clone();
        }
        let kept: Option<TunedTable> = self.catalog_get(TUNED).ok().flatten();
        let table = kept.filter(TunedTable::is_sound).map(Arc::new);
        tuned.insert(self.name().to_owned(), table.clone());
        table
    }
}
