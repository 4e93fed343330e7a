//! The exact ranking: MaxSim in single precision over every document, as shared/bench/exact.py computes it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use latewood::import::NpyReader;
use latewood_codecs::MaxSimQuery;

use crate::Failure;
use crate::dataset::Dataset;
use crate::npy::NpyWriter;

/// Documents of a ranking that are kept.
pub const DEPTH: usize = 100;
/// Tokens that one task scores: few enough for its rows to stay in the second-level cache.
const TASK_TOKENS: usize = 2_048;

/// The exact ranking of the first [`DEPTH`] documents for each query: read from where the data folder keeps it, or
/// computed and kept there.
///
/// # Errors
/// Files that cannot be read; queries that cannot be scored.
pub fn load_or_compute(
    data: &Dataset,
    queries: &[Vec<f32>],
    threads: usize,
) -> Result<Vec<Vec<u32>>, Failure> {
    let path = data.exact_path();
    if let Some(kept) = load(&path, queries.len())? {
        return Ok(kept);
    }
    eprintln!("computing the exact ranking into {}", path.display());
    let rankings = compute(data, queries, threads)?;
    let depth = rankings.first().map_or(0, Vec::len);
    let mut writer = NpyWriter::create(&path, "<i4", &[rankings.len() as u64, depth as u64])?;
    for ranking in &rankings {
        writer.i32(ranking)?;
    }
    writer.finish()?;
    Ok(rankings)
}

/// The rankings that are kept, if they are of enough queries.
fn load(path: &Path, queries: usize) -> Result<Option<Vec<Vec<u32>>>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let reader = NpyReader::open(path)?;
    let &[rows, depth] = reader.header().shape.as_slice() else {
        return Err(format!("{}: expected queries x documents", path.display()).into());
    };
    if rows < queries as u64 {
        return Ok(None);
    }
    let offset = usize::try_from(reader.header().data_offset)?;
    let bytes = std::fs::read(path)?;
    let numbers = bytes.get(offset..).unwrap_or_default().as_chunks().0.iter();
    let numbers: Vec<u32> = numbers.map(|&n| u32::from_le_bytes(n)).collect();
    let rows = numbers.chunks_exact(usize::try_from(depth)?);
    Ok(Some(rows.take(queries).map(<[u32]>::to_vec).collect()))
}

/// Scores all documents for all queries on `threads` threads; the file is read once, a task at a time.
fn compute(data: &Dataset, queries: &[Vec<f32>], threads: usize) -> Result<Vec<Vec<u32>>, Failure> {
    let queries: Vec<MaxSimQuery> = queries
        .iter()
        .map(|query| MaxSimQuery::new(data.dim(), query))
        .collect::<Result<_, _>>()?;
    let source = Mutex::new(Source {
        rows: data.rows()?,
        lengths: data.lengths(),
        next: 0,
    });
    let work = || -> Result<Vec<Best>, Failure> {
        let mut best = vec![Best::default(); queries.len()];
        let mut rows = Vec::new();
        loop {
            let task = source
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(&mut rows)?;
            let Some((first, lengths)) = task else {
                return Ok(best);
            };
            for (query, best) in queries.iter().zip(&mut best) {
                let mut at = 0;
                for (document, length) in (first..).zip(lengths) {
                    let end = at + length * data.dim();
                    best.offer(query.score_f32(&rows[at..end]), document);
                    at = end;
                }
            }
        }
    };
    let parts: Vec<Vec<Best>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(part) => part,
            Err(_) => Err("a worker panicked".into()),
        });
        joined.collect::<Result<_, Failure>>()
    })?;
    Ok((0..queries.len())
        .map(|q| Best::merge(parts.iter().map(|part| &part[q])))
        .collect())
}

struct Source<'a> {
    rows: NpyReader,
    lengths: &'a [usize],
    next: usize,
}

impl<'a> Source<'a> {
    /// Reads the rows of the next documents; returns the number of the first and their lengths.
    fn take(&mut self, rows: &mut Vec<f32>) -> Result<Option<(u32, &'a [usize])>, Failure> {
        let rest = &self.lengths[self.next..];
        if rest.is_empty() {
            return Ok(None);
        }
        let mut tokens = 0;
        let fits = |length: &&usize| {
            tokens += **length;
            tokens <= TASK_TOKENS
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let taken = &rest[..count];
        rows.clear();
        self.rows.read_f32(taken.iter().sum(), rows)?;
        let first = u32::try_from(self.next)?;
        self.next += count;
        Ok(Some((first, taken)))
    }
}

/// The best documents so far: at most twice [`DEPTH`] of them.
#[derive(Clone, Default)]
struct Best {
    scored: Vec<(f32, u32)>,
}

impl Best {
    fn offer(&mut self, score: f32, document: u32) {
        self.scored.push((score, document));
        if self.scored.len() == 2 * DEPTH {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.scored
            .sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.scored.truncate(DEPTH);
    }

    fn merge<'a>(parts: impl Iterator<Item = &'a Self>) -> Vec<u32> {
        let mut all = Self {
            scored: parts.flat_map(|part| part.scored.iter().copied()).collect(),
        };
        all.cut();
        all.scored.into_iter().map(|(_, document)| document).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::small;

    #[test]
    fn the_ranking_is_by_score_and_is_kept() {
        let folder = small();
        let data = Dataset::open(folder.path(), None).unwrap();
        let (queries, _) = data.queries(1).unwrap();
        for _ in 0..2 {
            assert_eq!(load_or_compute(&data, &queries, 2).unwrap(), [[1, 0]]);
        }
        assert!(data.exact_path().exists());
        // What is kept is used, and only for as many queries as it has.
        let mut writer = NpyWriter::create(&data.exact_path(), "<i4", &[1, 2]).unwrap();
        writer.i32(&[0, 1]).unwrap();
        writer.finish().unwrap();
        assert_eq!(load_or_compute(&data, &queries, 1).unwrap(), [[0, 1]]);
        let twice = [queries[0].clone(), queries[0].clone()];
        assert_eq!(load_or_compute(&data, &twice, 1).unwrap(), [[1, 0], [1, 0]]);
    }

    #[test]
    fn the_best_survive_the_cuts_and_ties_go_to_the_first() {
        let mut best = Best::default();
        for document in 0..1_000u32 {
            best.offer((document % 300) as f32, document);
        }
        let ranking = Best::merge([&best].into_iter());
        assert_eq!(ranking.len(), DEPTH);
        assert_eq!(ranking[..6], [299, 599, 899, 298, 598, 898]);
    }
}
