//! The exhaustive scan in single precision: what a caller with vectors in memory gets from the public kernels.

use std::hint::black_box;
use std::time::Instant;

use latewood_benches::Failure;
use latewood_benches::dataset::Dataset;
use latewood_benches::times::{Times, thread_cpu_ms};
use latewood_codecs::{CodecError, MaxSimQuery, maxsim};

/// Documents whose tokens take more memory than this are not scanned in single precision.
const MOST_BYTES: usize = 3 << 30;
/// Queries that are timed.
const QUERIES: usize = 20;

/// A query against all documents.
#[derive(Clone, Debug)]
pub(crate) struct Float32 {
    /// One query prepared once, as `MaxSimQuery::score_f32`.
    pub(crate) prepared: Scan,
    /// `maxsim`, which checks and prepares both sides at every call.
    pub(crate) checked: Scan,
    /// 10^9 multiply-adds of a query.
    pub(crate) gmacs: f64,
}

/// What scans take.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    pub(crate) times: Times,
    /// Mean milliseconds on a processor.
    pub(crate) cpu_ms: Option<f64>,
}

/// Runs `scan` for the first queries.
fn timed(
    queries: &[Vec<f32>],
    scan: impl Fn(&[f32]) -> Result<Vec<f32>, CodecError>,
) -> Result<Scan, Failure> {
    let mut milliseconds = Vec::new();
    let before = thread_cpu_ms();
    for query in queries.iter().take(QUERIES) {
        let begun = Instant::now();
        black_box(best(scan(query)?));
        milliseconds.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let cpu = thread_cpu_ms().zip(before).map(|(after, before)| after - before);
    Ok(Scan {
        cpu_ms: cpu.map(|cpu| cpu / milliseconds.len() as f64),
        times: Times::new(milliseconds),
    })
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
    Ok(Some(Float32 {
        prepared: timed(queries, |query| {
            let ready = MaxSimQuery::new(dim, query)?;
            Ok(documents
                .iter()
                .map(|document| ready.score_f32(document))
                .collect())
        })?,
        checked: timed(queries, |query| {
            documents
                .iter()
                .map(|document| maxsim(query, document, dim))
                .collect()
        })?,
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
