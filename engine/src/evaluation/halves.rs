//! Chosen on one half of the queries, measured on the other, many times over.

use std::collections::BTreeSet;

use crate::random::Random;

/// Times that the queries are split into halves.
const SPLITS: usize = 200;

/// A measure of several settings over the same queries: a row a setting, a column a query.
pub type Table = Vec<Vec<f64>>;

/// The splits of so many queries: for each, whether a query belongs to the half that chooses.
#[derive(Clone, Debug)]
pub struct Halves {
    chooses: Vec<Vec<bool>>,
}

impl Halves {
    /// 200 random splits of `queries`, the choosing half being the lesser one of an odd number.
    #[must_use]
    pub fn of(queries: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut order: Vec<usize> = (0..queries).collect();
        let chooses = (0..SPLITS)
            .map(|_| {
                for at in (1..queries).rev() {
                    order.swap(at, random.below(at + 1));
                }
                let mut chooses = vec![false; queries];
                for &query in &order[..queries / 2] {
                    chooses[query] = true;
                }
                chooses
            })
            .collect();
        Self { chooses }
    }

    /// What each half chooses of a table, by [`best`].
    #[must_use]
    pub fn choices(&self, table: &Table) -> Vec<usize> {
        self.chooses
            .iter()
            .map(|half| best(table, takes(half), 0.0))
            .collect()
    }

    /// For each query the mean difference over the splits in which its half did not choose: the option that the other half
    /// chose less the baseline that it chose. `options` are those that stand beside a baseline; the first
    /// within `margin` of the best is chosen. The second value is the mean gain that the
    /// choosing halves saw, which is too high.
    #[must_use]
    pub fn held_out<'a>(
        &self,
        baselines: &Table,
        options: impl Fn(usize) -> &'a Table,
        margin: f64,
    ) -> (Vec<f64>, f64) {
        let queries = baselines.first().map_or(0, Vec::len);
        let (mut sums, mut counts) = (vec![0.0; queries], vec![0.0; queries]);
        let mut seen = (0.0, 0.0);
        for half in &self.chooses {
            let baseline = best(baselines, takes(half), 0.0);
            let table = options(baseline);
            let option = best(table, takes(half), margin);
            for query in 0..queries {
                let difference = at(table, option, query) - at(baselines, baseline, query);
                if half[query] {
                    seen = (seen.0 + difference, seen.1 + 1.0);
                } else {
                    sums[query] += difference;
                    counts[query] += 1.0;
                }
            }
        }
        let held_out = sums
            .iter()
            .zip(&counts)
            .map(|(sum, &count)| sum / f64::max(count, 1.0));
        (held_out.collect(), seen.0 / f64::max(seen.1, 1.0))
    }

    /// The settings that any half chooses, or all queries together.
    #[must_use]
    pub fn chosen(&self, table: &Table) -> BTreeSet<usize> {
        let mut chosen: BTreeSet<usize> = self.choices(table).into_iter().collect();
        chosen.insert(best(table, |_| true, 0.0));
        chosen
    }
}

/// The first setting whose mean over the queries that are `taken` is within `margin` of the largest; 0 for none.
#[must_use]
pub fn best(table: &Table, taken: impl Fn(usize) -> bool, margin: f64) -> usize {
    let mean = |row: &Vec<f64>| {
        let of = row.iter().enumerate().filter(|(query, _)| taken(*query));
        let (sum, count) = of.fold((0.0, 0.0), |(sum, count), (_, value)| (sum + value, count + 1.0));
        sum / f64::max(count, 1.0)
    };
    let means: Vec<f64> = table.iter().map(mean).collect();
    let most = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    means.iter().position(|&mean| mean >= most - margin).unwrap_or(0)
}

/// A query's measure under a setting; 0 where the table has none.
fn at(table: &Table, setting: usize, query: usize) -> f64 {
    table
        .get(setting)
        .and_then(|row| row.get(query))
        .copied()
        .unwrap_or(0.0)
}

/// Whether a query belongs to a half; one that was never split belongs to none.
fn takes(half: &[bool]) -> impl Fn(usize) -> bool {
    |query| half.get(query).copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_halves_and_differ() {
        let halves = Halves::of(9, 1);
        assert_eq!(halves.chooses.len(), SPLITS);
        assert!(
            halves
                .chooses
                .iter()
                .all(|half| half.iter().filter(|&&chooses| chooses).count() == 4)
        );
        let times = halves.chooses.iter().filter(|half| half[0]).count();
        assert!(
            (60..120).contains(&times),
            "each query chooses in some 89 of 200: {times}"
        );
    }

    #[test]
    fn what_is_chosen_by_chance_gains_nothing_on_the_other_half() {
        // Twenty options that differ from the baseline by noise alone.
        let mut random = Random::new(5);
        let baseline: Table = vec![vec![0.5; 40]];
        let options: Table = (0..20)
            .map(|_| (0..40).map(|_| 0.5 + 0.3 * f64::from(random.float())).collect())
            .collect();
        let (held_out, seen) = Halves::of(40, 2).held_out(&baseline, |_| &options, 0.0);
        let mean = held_out.iter().sum::<f64>() / 40.0;
        assert!(seen > 0.06, "the halves that choose see a gain: {seen}");
        assert!(mean < 0.5 * seen, "the others see less: {mean} of {seen}");
    }

    #[test]
    fn the_first_that_is_good_enough_is_taken() {
        let table: Table = vec![vec![0.2, 0.4], vec![0.5, 0.49], vec![0.5, 0.5]];
        assert_eq!(best(&table, |_| true, 0.0), 2);
        assert_eq!(best(&table, |_| true, 0.01), 1);
        assert_eq!(best(&table, |query| query == 0, 0.0), 1);
        assert_eq!(Halves::of(2, 1).chosen(&table), BTreeSet::from([1, 2]));
    }
}
