//! The cost model of a collection: kept in memory, refined by every query, stored now and then.

use std::sync::{Arc, PoisonError};

use latewood_query::{CostModel, Plan, Profile};

use super::Collection;

/// Where the measured costs are in the catalog.
pub(super) const CALIBRATION: &str = "calibration";
/// Queries after which what they taught is stored; a process that ends before loses no more than this.
const STORED_EVERY: u32 = 1_024;

impl Collection {
    /// What a unit of work costs, as far as it was measured.
    pub(crate) fn cost_model(&self) -> Arc<CostModel> {
        let mut costs = self.shared.costs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cost) = costs.get(self.name()) {
            return cost.clone();
        }
        let cost = Arc::new(self.kept_costs().unwrap_or_default());
        costs.insert(self.name().to_owned(), cost.clone());
        cost
    }

    /// Calibrates a collection that never was, which `optimize` does otherwise.
    pub(crate) fn calibrate_once(&self) {
        let seen = self.cost_model().corrections.get(CostModel::BESIDE).is_some();
        if !seen && self.kept_costs().is_none() && self.snapshot().is_ok_and(|snapshot| !snapshot.is_empty())
        {
            // The estimates are worse without; the query itself will say what is wrong with the collection.
            let _ = self.calibrate();
        }
    }

    fn kept_costs(&self) -> Option<CostModel> {
        let kept: Option<CostModel> = self.catalog_get(CALIBRATION).ok().flatten();
        kept.filter(CostModel::is_sound)
    }

    pub(super) fn keep_costs(&self, cost: Arc<CostModel>) {
        self.shared
            .costs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(self.name().to_owned(), cost);
    }

    /// Refines the cost model by what a query took.
    pub(crate) fn learn(&self, plan: &Plan, profile: &Profile, encoded: Option<(&str, f64)>) {
        let due = {
            let mut costs = self.shared.costs.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(cost) = costs.get_mut(self.name()) else {
                return;
            };
            let cost = Arc::make_mut(cost);
            cost.observe(plan, profile);
            if let Some((text, microseconds)) = encoded {
                cost.observe_encoding(text, microseconds);
            }
            let seen = cost
                .corrections
                .get(CostModel::BESIDE)
                .map_or(0, |seen| seen.seen);
            (seen % STORED_EVERY == 0 && !self.shared.read_only).then(|| cost.clone())
        };
        if let Some(cost) = due {
            // What cannot be stored is measured again.
            let _ = self.catalog_put(CALIBRATION, &cost);
        }
    }
}
