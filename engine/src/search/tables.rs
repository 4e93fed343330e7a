//! What a collection has measured of its plans, as the planner takes it.

use std::sync::Arc;
use std::time::Duration;

use latewood_query::{BreadthTable, QualityTable, Reranker, Resources, TunedTable};

use crate::Collection;

/// The tables of a collection, held as long as a query is planned and run.
pub(crate) struct Tables {
    tuned: Option<Arc<TunedTable>>,
    breadths: Option<Arc<BreadthTable>>,
    qualities: Option<Arc<QualityTable>>,
}

impl Tables {
    pub(crate) fn of(collection: &Collection) -> Self {
        Self {
            tuned: collection.tuned_table(),
            breadths: collection.breadth_table(),
            qualities: collection.quality_table(),
        }
    }

    /// With a reranker, and time that has passed since the query began.
    pub(crate) fn resources<'a>(
        &'a self,
        reranker: Option<&'a dyn Reranker>,
        spent: Duration,
    ) -> Resources<'a> {
        Resources {
            reranker,
            tuned: self.tuned.as_deref(),
            breadths: self.breadths.as_deref(),
            qualities: self.qualities.as_deref(),
            spent,
            ..Resources::default()
        }
    }
}
