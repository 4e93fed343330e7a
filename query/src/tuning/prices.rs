//! What settings cost, by what the steps of the tuning queries took.

use super::Priced;
use super::trace::{Times, Trace};

/// Microseconds of each step, the median over the queries: a busy machine holds some of them up for long.
pub(super) struct Prices(Times);

impl Prices {
    /// Of queries that walked the same grid.
    pub(super) fn of(traces: &[Trace]) -> Self {
        let median = |of: &dyn Fn(&Times) -> f64| {
            let mut all: Vec<f64> = traces.iter().map(|trace| of(&trace.times)).collect();
            all.sort_unstable_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        let widths = traces.first().map_or(0, |trace| trace.times.gather.len());
        let gather = |at: usize| median(&|times| times.gather.get(at).copied().unwrap_or_default());
        Self(Times {
            gather: (0..widths).map(gather).collect(),
            interaction: median(&|times| times.interaction),
            codes: median(&|times| times.codes),
        })
    }

    /// What differs between settings; `scored` is how many documents each margin has scored, given candidates enough.
    pub(super) fn of_settings(&self, priced: &Priced, scored: &[f64], matching: u64) -> f64 {
        let candidates = priced.settings.candidates as f64;
        let gather = self.0.gather.get(priced.n_at).copied().unwrap_or_default();
        // Where no more match than are wanted, none has to be found first.
        let gather = if priced.settings.candidates as u64 >= matching {
            0.0
        } else {
            gather
        };
        let scored = scored.get(priced.margin_at).copied().unwrap_or_default();
        gather + candidates * self.0.interaction + scored.min(candidates) * self.0.codes
    }
}
