//! Whether what costs more is worth it: use it, skip it, or ask more queries.

use serde::Serialize;

use super::halves::{Halves, Table, best};
use super::paired::Paired;

/// Fewer judged queries than these settle nothing, whatever they say.
pub const FEWEST_QUERIES: usize = 20;

/// Fewer queries whose measure differs than these show no gain: by chance alone all of five point one way in 3 of 100 cases.
const FEWEST_CHANGED: usize = 6;
/// By how much a query may change that has not been seen to change.
const UNSEEN_CHANGE: f64 = 0.15;

/// What judged queries say of an option that costs more than the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
#[non_exhaustive]
pub enum Verdict {
    /// It gains, and enough.
    Use {
        /// Which of the options, from 0.
        option: usize,
    },
    /// It does not gain what is worth paying for.
    Skip,
    /// The queries are too few to tell.
    Inconclusive {
        /// How many judged queries would do, if the gain and its spread are what they look like; those that there are
        /// included.
        labels_needed: usize,
    },
}

/// A verdict and what it rests on. Gains are differences of the measure that the tables hold, such as nDCG@10.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// The answer.
    pub verdict: Verdict,
    /// The gain on queries that took no part in choosing baseline and option, and its 95% interval.
    pub gain: Paired,
    /// The gain that the queries saw which did the choosing: too high.
    pub fitted_gain: f64,
    /// The baseline that all queries together choose.
    pub baseline: usize,
    /// The option that they choose.
    pub option: usize,
}

/// Judges options against baselines. Each table has a row a setting and a column a query; `options` gives those that stand
/// beside a baseline, the cheapest first. In each of 200 splits one half of the queries chooses the best baseline and the
/// first option within half of `worth` of the best one, and the other half measures their difference; the differences of each
/// query are averaged, and the mean over queries has a bootstrap interval.
///
/// The first baseline says how many queries there are: what another row lacks of them counts as 0 where it is measured, and
/// what it has beyond them is left out.
///
/// `Use` if the interval begins above 0, the gain is `worth` at least, and six queries differ; `Skip` if the interval ends below
/// `worth`. Of fewer than six resamples know too little, and the gain may be larger by `3 + 2 sqrt(c)` changes like the `c`
/// that were seen, which for none is the rule of three (Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?",
/// JAMA 249, 1983).
///
/// ```
/// use latewood::evaluation::{Verdict, judge};
/// let baseline = vec![vec![0.5; 60]];
/// let reranked = vec![(0..60).map(|query| if query % 3 == 0 { 0.9 } else { 0.5 }).collect()];
/// assert_eq!(judge(&baseline, |_| &reranked, 0.01, 1).verdict, Verdict::Use { option: 0 });
/// ```
#[must_use]
pub fn judge<'a>(baselines: &Table, options: impl Fn(usize) -> &'a Table, worth: f64, seed: u64) -> Judged {
    let queries = baselines.first().map_or(0, Vec::len);
    let halves = Halves::of(queries, seed);
    let margin = worth / 2.0;
    let (differences, fitted_gain) = halves.held_out(baselines, &options, margin);
    let gain = Paired::of(&differences, seed);
    let baseline = best(baselines, |_| true, 0.0);
    let option = best(options(baseline), |_| true, margin);
    Judged {
        verdict: verdict(&gain, &Changes::of(&differences), worth, option),
        gain,
        fitted_gain,
        baseline,
        option,
    }
}

/// How many queries differ, and by how much on average.
struct Changes {
    count: usize,
    size: f64,
}

impl Changes {
    fn of(differences: &[f64]) -> Self {
        let sizes = differences.iter().map(|d| d.abs()).filter(|d| *d > 1e-9);
        let (count, sum) = sizes.fold((0, 0.0), |(count, sum), size| (count + 1, sum + size));
        Self {
            count,
            size: if count == 0 {
                UNSEEN_CHANGE
            } else {
                sum / count as f64
            },
        }
    }

    fn are_few(&self) -> bool {
        self.count < FEWEST_CHANGED
    }

    /// What a mean may be larger by where changes are few.
    fn unseen(&self, queries: usize) -> f64 {
        (3.0 + 2.0 * (self.count as f64).sqrt()) * self.size / queries.max(1) as f64
    }
}

fn verdict(gain: &Paired, changes: &Changes, worth: f64, option: usize) -> Verdict {
    let mut high = gain.high;
    if changes.are_few() {
        high = high.max(gain.mean + changes.unseen(gain.queries));
    }
    if gain.queries >= FEWEST_QUERIES {
        if gain.low > 0.0 && gain.mean >= worth && !changes.are_few() {
            return Verdict::Use { option };
        }
        if high < worth {
            return Verdict::Skip;
        }
    }
    let mut labels_needed = labels_needed(gain, worth);
    if changes.are_few() {
        // So many that six differ, or that none of them tells enough.
        let times = FEWEST_CHANGED.div_ceil(changes.count.max(1));
        labels_needed = labels_needed.max(gain.queries.saturating_mul(times.min(4)));
    }
    Verdict::Inconclusive { labels_needed }
}

/// So many queries that the half-width of the interval is less than what there is to be told: the gain from 0 where it looks
/// worth it, else from `worth`, and a quarter of `worth` where it is about that.
fn labels_needed(gain: &Paired, worth: f64) -> usize {
    let apart = if gain.mean >= worth {
        gain.mean
    } else {
        worth - gain.mean
    };
    let apart = apart.max(worth / 4.0).max(1e-3);
    #[expect(clippy::cast_possible_truncation, reason = "clamped to what a usize holds")]
    #[expect(clippy::cast_sign_loss, reason = "a square")]
    let needed = (1.96 * gain.deviation / apart).powi(2).min(1e9).ceil() as usize;
    needed.max(gain.queries + 1).max(FEWEST_QUERIES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mean: f64, half: f64, queries: usize) -> Verdict {
        let gain = Paired {
            queries,
            mean,
            deviation: half * (queries as f64).sqrt() / 1.96,
            low: mean - half,
            high: mean + half,
        };
        verdict(
            &gain,
            &Changes {
                count: queries,
                size: 0.3,
            },
            0.01,
            3,
        )
    }

    /// Of so many queries the first `changed` gain 0.4.
    fn few(changed: usize, queries: usize) -> Verdict {
        let options: Table = vec![
            (0..queries)
                .map(|at| if at < changed { 0.9 } else { 0.5 })
                .collect(),
        ];
        judge(&vec![vec![0.5; queries]], |_| &options, 0.01, 1).verdict
    }

    #[test]
    fn few_changes_settle_little() {
        // Of five that all gain the interval begins above 0, which chance alone may do.
        assert!(matches!(few(5, 30), Verdict::Inconclusive { .. }));
        assert_eq!(few(6, 30), Verdict::Use { option: 0 });
        // None of 30 may hide one in ten that gains; of 60 hardly one in twenty.
        assert_eq!(few(0, 30), Verdict::Inconclusive { labels_needed: 120 });
        assert_eq!(few(0, 60), Verdict::Skip);
        assert_eq!(few(1, 400), Verdict::Skip);
    }

    #[test]
    fn the_interval_decides() {
        assert_eq!(of(0.05, 0.02, 100), Verdict::Use { option: 3 });
        assert_eq!(of(-0.02, 0.02, 100), Verdict::Skip);
        assert_eq!(
            of(0.005, 0.002, 100),
            Verdict::Skip,
            "surely a gain, and surely not worth it"
        );
        // 0.05 with 0.06 to either side: (0.06 / 0.05)^2 times as many queries.
        assert_eq!(of(0.05, 0.06, 100), Verdict::Inconclusive { labels_needed: 144 });
        assert_eq!(of(-0.02, 0.06, 100), Verdict::Inconclusive { labels_needed: 400 });
        assert_eq!(
            of(0.5, 0.1, 12),
            Verdict::Inconclusive {
                labels_needed: FEWEST_QUERIES
            }
        );
    }

    #[test]
    fn the_baseline_is_the_best_that_there_is() {
        // An option that beats what runs untuned and loses to what is tuned.
        let untuned = vec![0.4; 60];
        let tuned: Vec<f64> = (0..60).map(|query| 0.5 + 0.01 * f64::from(query % 3)).collect();
        let option: Table = vec![(0..60).map(|query| 0.46 + 0.01 * f64::from(query % 2)).collect()];
        let alone = judge(&vec![untuned.clone()], |_| &option, 0.01, 1);
        assert_eq!(alone.verdict, Verdict::Use { option: 0 });
        let judged = judge(&vec![untuned, tuned], |_| &option, 0.01, 1);
        assert_eq!((judged.verdict, judged.baseline), (Verdict::Skip, 1));
    }

    #[test]
    fn tables_that_lack_what_they_should_have_count_as_zero() {
        let baseline: Table = vec![vec![0.5; 30]];
        for options in [Table::new(), vec![vec![]], vec![vec![0.5; 7]]] {
            let judged = judge(&baseline, |_| &options, 0.01, 1);
            assert_eq!(judged.verdict, Verdict::Skip, "{options:?}");
        }
        assert_eq!(judge(&Table::new(), |_| &baseline, 0.01, 1).gain.queries, 0);
    }
}
