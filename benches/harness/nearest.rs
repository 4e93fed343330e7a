//! The exact nearest neighbours, by dot products in single precision.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Vectors that one task compares with all queries: few enough to stay in the second-level cache.
const TASK: usize = 512;

/// The `k` vectors, of `dim` numbers each, of the greatest dot product with each query, best first; of equals the first.
#[must_use]
pub fn nearest(vectors: &[f32], queries: &[f32], dim: usize, k: usize, threads: usize) -> Vec<Vec<u32>> {
    let tasks: Vec<&[f32]> = vectors.chunks(TASK * dim).collect();
    let next = AtomicUsize::new(0);
    let best = Mutex::new(vec![Vec::new(); queries.len() / dim]);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut own: Vec<Vec<(f32, u32)>> = vec![Vec::new(); queries.len() / dim];
                while let Some((at, task)) = take(&next, &tasks) {
                    for (query, best) in queries.chunks_exact(dim).zip(&mut own) {
                        for (row, id) in task.chunks_exact(dim).zip((at * TASK) as u32..) {
                            best.push((dot(query, row), id));
                        }
                        keep(best, k);
                    }
                }
                let mut all = best.lock().unwrap_or_else(PoisonError::into_inner);
                for (all, own) in all.iter_mut().zip(own) {
                    all.extend(own);
                    keep(all, k);
                }
            });
        }
    });
    let best = best.into_inner().unwrap_or_else(PoisonError::into_inner);
    let ids = |mut best: Vec<(f32, u32)>| {
        best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        best.into_iter().map(|(_, id)| id).collect()
    };
    best.into_iter().map(ids).collect()
}

fn take<'a>(next: &AtomicUsize, tasks: &[&'a [f32]]) -> Option<(usize, &'a [f32])> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    Some((at, *tasks.get(at)?))
}

fn keep(best: &mut Vec<(f32, u32)>, k: usize) {
    if best.len() > k {
        best.select_nth_unstable_by(k - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        best.truncate(k);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_are_those_of_a_sort() {
        let number = |at: usize| ((at * 7_919) % 1_000) as f32 / 1_000.0 - 0.5;
        let (dim, k) = (20, 5);
        let vectors: Vec<f32> = (0..1_300 * dim).map(number).collect();
        let queries: Vec<f32> = (0..3 * dim).map(|at| number(at + 13)).collect();
        for threads in [1, 3] {
            let found = nearest(&vectors, &queries, dim, k, threads);
            for (query, found) in queries.chunks_exact(dim).zip(found) {
                let score = |id: &u32| -> f32 {
                    let row = &vectors[*id as usize * dim..][..dim];
                    query.iter().zip(row).map(|(a, b)| a * b).sum()
                };
                let mut scores: Vec<f32> = (0..1_300).map(|id| score(&id)).collect();
                scores.sort_by(|a, b| b.total_cmp(a));
                let of_found: Vec<f32> = found.iter().map(score).collect();
                let near = of_found.iter().zip(&scores).all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(found.len() == k && near, "{of_found:?}");
            }
        }
    }
}
