//! Judged queries of collections that never were, whose true gains are known.

use crate::random::Random;

/// nDCG@10 of a query with one relevant document, and how many queries have it: not found, at some rank, first.
const LEVELS: [(f64, f64); 6] = [
    (0.0, 0.28),
    (0.301, 0.08),
    (0.431, 0.12),
    (0.5, 0.10),
    (0.631, 0.17),
    (1.0, 0.25),
];
/// How much of the deepest gain each depth of a rerank gives.
const SHAPES: [[f64; 5]; 3] = [
    [0.4, 0.6, 0.8, 0.95, 1.0],
    [0.7, 0.9, 1.0, 1.0, 0.95],
    [0.9, 1.0, 0.9, 0.7, 0.4],
];
/// True differences of the baselines from the best of them.
const BASELINES: [f64; 6] = [0.0, -0.002, -0.005, -0.01, -0.02, -0.04];

/// How much of what whole tokens gain over 1 bit wider codes give: 2 bits, 4 bits, whole.
const WIDTHS: [f64; 3] = [0.8, 0.97, 1.0];

/// Measures of judged queries, and what they would be with endlessly many.
pub struct Simulated {
    /// A row a baseline, a column a query.
    pub baselines: Vec<Vec<f64>>,
    /// A row a depth, or a width.
    pub options: Vec<Vec<f64>>,
    /// The true gain of each option over the best baseline.
    pub gains: Vec<f64>,
}

/// What happens to a query under another ranking: nothing, better or worse, and how far.
#[derive(Clone, Copy)]
struct Fate([f64; 3]);

impl Fate {
    fn draw(random: &mut Random) -> Self {
        Self([random.unit(), random.unit(), random.unit()])
    }

    /// The measure after a change of mean `gain`: a share of the queries changes; of these a share moves up, uniformly to 1,
    /// and the others down, uniformly to 0. With mean m the change has the mean `share (up (1 - m) - (1 - up) m) / 2`.
    fn apply(self, before: f64, gain: f64, mean: f64) -> f64 {
        let Self([changes, direction, far]) = self;
        let share = (2.6 * gain.abs()).max(0.14);
        let up = mean + 2.0 * gain / share;
        match (changes < share, direction < up) {
            (false, _) => before,
            (true, true) => before + (1.0 - before) * far,
            (true, false) => before * far,
        }
    }
}

impl Simulated {
    /// `labels` queries of a collection whose best depth gains `gain`.
    pub fn draw(gain: f64, labels: usize, shape: usize, random: &mut Random) -> Self {
        let mean: f64 = LEVELS.iter().map(|(level, share)| level * share).sum();
        let gains: Vec<f64> = SHAPES[shape % SHAPES.len()]
            .iter()
            .map(|part| {
                if gain > 0.0 {
                    gain * part
                } else {
                    gain * (2.0 - part)
                }
            })
            .collect();
        let mut baselines = vec![Vec::with_capacity(labels); BASELINES.len()];
        let mut options = vec![Vec::with_capacity(labels); gains.len()];
        for _ in 0..labels {
            let before = level(random);
            for (row, &difference) in baselines.iter_mut().zip(&BASELINES) {
                let fate = Fate::draw(random);
                row.push(if difference == 0.0 {
                    before
                } else {
                    fate.apply(before, difference, mean)
                });
            }
            // What one depth does to a query the next does as well, four times of five.
            let mut fate = Fate::draw(random);
            for (row, &gain) in options.iter_mut().zip(&gains) {
                if random.unit() < 0.2 {
                    fate = Fate::draw(random);
                }
                row.push(fate.apply(before, gain, mean));
            }
        }
        Self {
            baselines,
            options,
            gains,
        }
    }
}

impl Simulated {
    /// `labels` queries of a collection whose whole tokens gain `gain` over codes of 1 bit, the only baseline. What a width does to
    /// a query the next does as well, nine times of ten.
    pub fn widths(gain: f64, labels: usize, random: &mut Random) -> Self {
        let mean: f64 = LEVELS.iter().map(|(level, share)| level * share).sum();
        let gains: Vec<f64> = WIDTHS.iter().map(|part| gain * part).collect();
        let mut simulated = Self {
            baselines: vec![Vec::with_capacity(labels)],
            options: vec![Vec::with_capacity(labels); gains.len()],
            gains,
        };
        for _ in 0..labels {
            let before = level(random);
            simulated.baselines[0].push(before);
            let mut fate = Fate::draw(random);
            for (row, &gain) in simulated.options.iter_mut().zip(&simulated.gains) {
                if random.unit() < 0.1 {
                    fate = Fate::draw(random);
                }
                row.push(fate.apply(before, gain, mean));
            }
        }
        simulated
    }
}

fn level(random: &mut Random) -> f64 {
    let mut left = random.unit();
    for (level, share) in LEVELS {
        if left < share {
            return level;
        }
        left -= share;
    }
    1.0
}
