//! The exhaustive scan in single precision: what a caller with vectors in memory gets from the public kernels.

use std::hint::black_box;
use std::time::Instant;

use latewood_benches::Failure;
use latewood_benches::dataset::Dataset;
use latewood_benches::times::Times;
use latewood_codecs::{MaxSimQuery, maxsim};

/// Documents whose tokens take more memory than this are not scanned in single precision.
const MOST_BYTES: usize = 3 << 30;
/// Queries that are timed.
const QUERIES: usize = 20;

/// Milliseconds of a query against all documents.
#[derive(Clone, Debug)]
pub(crate) struct Float32 {
    /// One query prepared once, as `MaxSimQuery::score_f32`.
    pub(crate) prepared: Times,
    /// `maxsim`, which checks and prepares both sides at every call.
    pub(crate) checked: Times,
    /// 10^9 multiply-adds of a query.
    pub(crate) gmacs: f64,
}

pub(crate) fn float32(data: &Dataset, queries: &[Vec<f32>]) -> Result<Option<Float32>, Failure> {
    let dim = data.dim();
    if data.tokens() * dim * size_of::<f32>() > MOST_BYTES {
        return Ok(None);
    }
    let mut rows = Vec::with_capacity(data.tokens() * dim);
    data.rows()?.read_f32(data.tokens(), &mut rows)?;
    let mut documents = Vec::with_capacity(data.documents());
    let mut rest = rows.as_slice();
    for length in data.lengths() {
        let (document, after) = rest.split_at(length * dim);
        documents.push(document);
        rest = after;
    }
    let (mut prepared, mut checked) = (Vec::new(), Vec::new());
    for query in queries.iter().take(QUERIES) {
        let begun = Instant::now();
        let ready = MaxSimQuery::new(dim, query)?;
        black_box(best(
            documents
                .iter()
                .map(|document| ready.score_f32(document))
                .collect(),
        ));
        prepared.push(begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        let scores: Result<Vec<f32>, _> = documents
            .iter()
            .map(|document| maxsim(query, document, dim))
            .collect();
        black_box(best(scores?));
        checked.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Some(Float32 {
        prepared: Times::new(prepared),
        checked: Times::new(checked),
        gmacs: data.tokens() as f64 * queries[0].len() as f64 / 1e9,
    }))
}

/// The ten best, as a caller would take them.
fn best(scores: Vec<f32>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let k = 10.min(order.len());
    if k < order.len() {
        order.select_nth_unstable_by(k, |&a, &b| scores[b].total_cmp(&scores[a]));
    }
    order.truncate(k);
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

#[cfg(test)]
mod tests {
    use super::best;

    #[test]
    fn the_ten_best_come_best_first() {
        let scores = (0..40).map(|n| ((n * 7) % 40) as f32).collect();
        let found = best(scores);
        assert_eq!(found.len(), 10);
        assert_eq!(found[0], 17);
        assert!(found.iter().all(|n| (n * 7) % 40 >= 30));
        assert_eq!(best(vec![1.0, 2.0]), [1, 0]);
    }
}
