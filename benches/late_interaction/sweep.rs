//! Which settings reach which recall at the least cost: a grid on a few queries, its best on half of all queries, and
//! what they give on the other half.

use std::collections::HashMap;

use latewood_benches::Failure;
use latewood_benches::recall::Recall;

use crate::measure::{Measured, Searched, Setting, halves};

/// Queries of the choosing half on which the whole grid is tried.
const GRID_QUERIES: usize = 50;
/// How far below a target a setting may be on the grid's queries and still be tried on the whole half.
const SLACK: f64 = 0.015;
/// Points of the frontier that are measured for the plot.
const FRONTIER_POINTS: usize = 10;

/// What was found.
pub(crate) struct Swept {
    pub(crate) targets: Vec<Target>,
    pub(crate) frontier: Vec<(Setting, Measured)>,
}

/// The cheapest setting for a recall.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) recall: f64,
    /// None when no setting of the grid reaches it on the choosing half.
    pub(crate) chosen: Option<(Setting, Measured)>,
}

/// A setting on the queries of the grid.
#[derive(Clone, Copy, Debug)]
struct Tried {
    setting: Setting,
    milliseconds: f64,
    recall: f64,
}

pub(crate) fn run(searched: &Searched<'_>, rankings: &[Vec<u32>], targets: &[f64]) -> Result<Swept, Failure> {
    let (choosing, reporting) = halves(searched.len());
    let few: Vec<usize> = choosing.iter().copied().take(GRID_QUERIES).collect();
    let mut tried = Vec::new();
    for setting in grid(searched.documents(), searched.default_setting()?) {
        let measured = measure(searched, rankings, setting, &few)?;
        tried.push(Tried {
            setting,
            milliseconds: measured.cost(),
            recall: measured.recall_codes.mean,
        });
    }
    tried.sort_by(|a, b| a.milliseconds.total_cmp(&b.milliseconds));
    let mut reported: HashMap<Setting, Measured> = HashMap::new();
    let mut report = |setting: Setting| -> Result<Measured, Failure> {
        if let Some(known) = reported.get(&setting) {
            return Ok(known.clone());
        }
        let measured = measure(searched, rankings, setting, &reporting)?;
        reported.insert(setting, measured.clone());
        Ok(measured)
    };
    let mut on_half: HashMap<Setting, f64> = HashMap::new();
    let mut rows = Vec::new();
    for &recall in targets {
        let mut chosen = None;
        for one in tried.iter().filter(|one| one.recall >= recall - SLACK) {
            let reached = match on_half.get(&one.setting) {
                Some(known) => *known,
                None => surely(measure(searched, rankings, one.setting, &choosing)?.recall_codes),
            };
            on_half.insert(one.setting, reached);
            if reached >= recall {
                chosen = Some((one.setting, report(one.setting)?));
                break;
            }
        }
        rows.push(Target { recall, chosen });
    }
    let mut frontier = Vec::new();
    for setting in thinned(&pareto(&tried)) {
        frontier.push((setting, report(setting)?));
    }
    Ok(Swept {
        targets: rows,
        frontier,
    })
}

/// The recall less its standard error: what is chosen by it is not lucky on the queries that chose it.
fn surely(recall: Recall) -> f64 {
    recall.mean - recall.margin / 1.96
}

fn measure(
    searched: &Searched<'_>,
    rankings: &[Vec<u32>],
    setting: Setting,
    numbers: &[usize],
) -> Result<Measured, Failure> {
    let runs = searched.run(Some(setting), numbers.to_vec())?;
    Ok(runs.condensed(searched, rankings, numbers.iter().copied()))
}

/// Margins that are tried, in quarters of a standard deviation.
const MARGINS: [u16; 9] = [6, 8, 10, 11, 12, 13, 14, 16, 20];

/// The settings that are tried, and the defaults.
fn grid(documents: usize, default: Option<Setting>) -> Vec<Setting> {
    let mut all: Vec<Setting> = default.into_iter().collect();
    let powers = (7..=13).map(|power| 1 << power);
    let candidates = powers.flat_map(|power| [power, power + power / 2]);
    for candidates in candidates.filter(|candidates| candidates / 2 < documents) {
        for n_probe in [4, 8, 16, 32, 64] {
            all.extend(MARGINS.map(|margin_quarters| Setting {
                n_probe,
                candidates,
                margin_quarters,
            }));
        }
    }
    all.dedup();
    all
}

/// The settings that no other beats in both time and recall, fastest first; `tried` is sorted by time.
fn pareto(tried: &[Tried]) -> Vec<Setting> {
    let mut best = f64::NEG_INFINITY;
    let mut out = Vec::new();
    for one in tried {
        if one.recall > best {
            best = one.recall;
            out.push(one.setting);
        }
    }
    out
}

/// At most [`FRONTIER_POINTS`] of them, the last always among them.
fn thinned(settings: &[Setting]) -> Vec<Setting> {
    let step = settings.len().div_ceil(FRONTIER_POINTS).max(1);
    let mut out: Vec<Setting> = settings.iter().rev().step_by(step).copied().collect();
    out.reverse();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(n_probe: usize, milliseconds: f64, recall: f64) -> Tried {
        Tried {
            setting: Setting {
                n_probe,
                candidates: 32,
                margin_quarters: 12,
            },
            milliseconds,
            recall,
        }
    }

    #[test]
    fn the_frontier_has_what_nothing_beats() {
        let all = [
            tried(1, 0.1, 0.5),
            tried(2, 0.2, 0.4),
            tried(3, 0.3, 0.9),
            tried(4, 0.4, 0.9),
            tried(5, 0.5, 1.0),
        ];
        let probes: Vec<usize> = pareto(&all).iter().map(|s| s.n_probe).collect();
        assert_eq!(probes, [1, 3, 5]);
    }

    #[test]
    fn thinning_keeps_the_last_and_few() {
        let many: Vec<Setting> = (1..=45).map(|n| tried(n, 0.0, 0.0).setting).collect();
        let thin = thinned(&many);
        assert!(thin.len() <= FRONTIER_POINTS && thin.last() == many.last());
        assert!(thin.windows(2).all(|pair| pair[0].n_probe < pair[1].n_probe));
        assert_eq!(thinned(&many[..3]), many[..3]);
    }

    #[test]
    fn the_grid_has_no_more_candidates_than_twice_the_documents() {
        assert!(grid(1_000, None).iter().all(|setting| setting.candidates < 2_000));
        assert!(grid(1_000_000, None).iter().any(|s| s.candidates == 8_192));
    }
}
