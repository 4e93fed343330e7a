//! Building: rows are inserted in batches, each batch searched in parallel against the graph as it stood before.
//!
//! Within a batch no row sees another, so the graph depends on the seed and not on the number of threads. A batch is at
//! most a sixteenth of what is already there, and rows are inserted in a shuffled order, so that what a row misses
//! by not seeing its batch is a random sixteenth at most.

use std::ops::ControlFlow;
use std::sync::Mutex;

use latewood_codecs::kernel::prefetch;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::inherit::heir;
use super::links::{BuiltGraph, Part};
use super::search::{GraphSearch, Scored, Upcoming};
use super::{GraphOptions, MAX_LEVEL};
use crate::segment::random::SplitMix64;

pub(super) const MAX_BATCH: usize = 2048;
/// Rows that one task of the pool inserts.
pub(super) const TASK: usize = 32;
/// Lists that are cut at a time.
pub(super) const CUT_BLOCK: usize = 1 << 16;

/// How rows are compared.
pub(crate) struct Space<S, R, F> {
    /// The score of two rows.
    pub(crate) score: S,
    /// From which score with it on a chosen row stands for one of this score.
    pub(crate) stands_for: R,
    /// Begins to fetch a row.
    pub(crate) fetch: F,
}

/// One link that a new row asks of an old one.
#[derive(Clone, Copy)]
struct Backlink {
    level: u8,
    target: u32,
    source: Scored,
}

/// The links that a new row has chosen, from level 0 upwards.
struct Chosen {
    row: u32,
    levels: Vec<Vec<Scored>>,
}

pub(super) struct Builder<'a, S, R, F> {
    pub(super) graph: BuiltGraph,
    pub(super) options: GraphOptions,
    space: &'a Space<S, R, F>,
    searches: Mutex<Vec<GraphSearch>>,
}

/// Builds the graph over `rows` rows, of which the first are those of `parts`. Where a part has a graph of most of them, it
/// is gone on from. `progress` hears how many rows are in, and may break off.
///
/// A list may grow to half as many links again as it is to have before it is cut to the best, and all are cut at the end: cutting
/// is most of the work, and this way each list is cut once for many rows that link to it.
pub(crate) fn build<S, R, F>(
    pool: &ThreadPool,
    rows: u32,
    parts: &[Part<'_>],
    (options, seed): (GraphOptions, u64),
    space: &Space<S, R, F>,
    progress: &dyn Fn(usize) -> ControlFlow<()>,
) -> ControlFlow<(), BuiltGraph>
where
    S: Fn(u32, u32) -> f32 + Sync,
    R: Fn(f32) -> f32 + Sync,
    F: Fn(u32) + Sync,
{
    let options = GraphOptions {
        m: options.m.clamp(2, 128),
        ef_construction: options.ef_construction.max(8),
    };
    let mut random = SplitMix64::new(seed);
    let mut order: Vec<u32> = (0..rows).collect();
    random.shuffle(&mut order);
    let mut levels: Vec<u8> = order.iter().map(|_| draw_level(&mut random, options.m)).collect();
    let heir = heir(parts, rows, options);
    if let Some(part) = heir {
        let taken = part.levels(rows);
        order.retain(|row| taken[*row as usize].is_none());
        for (level, taken) in levels.iter_mut().zip(taken) {
            *level = taken.unwrap_or(*level);
        }
    }
    let mut builder = Builder {
        graph: BuiltGraph::new(levels, room(most_links(0, options.m))),
        options,
        space,
        searches: Mutex::new(Vec::new()),
    };
    let inherited = heir.map_or(0, Part::live);
    if let Some(part) = heir {
        let short = pool.install(|| builder.inherit(part));
        for batch in short.chunks(MAX_BATCH) {
            progress(inherited)?;
            pool.install(|| builder.insert(batch));
        }
        progress(inherited)?;
    }
    let mut inserted = 0;
    while inserted < order.len() {
        // Those that are inherited do not count: new rows may be like each other and unlike the old ones, and a row that
        // does not see its batch should miss a sixteenth of these at most.
        let batch = builder.next_batch(&order[inserted..], inserted);
        pool.install(|| builder.insert(batch));
        inserted += batch.len();
        progress(inherited + inserted)?;
    }
    pool.install(|| {
        builder.cut_all();
        builder.connect();
    });
    ControlFlow::Continue(builder.graph)
}

/// Links of a row on a level of a finished graph.
pub(super) fn most_links(level: u8, m: usize) -> usize {
    if level == 0 { 2 * m } else { m }
}

/// Links that a list may have while the graph is built.
fn room(most: usize) -> usize {
    most + most / 2
}

/// `floor(-ln(u) / ln(m))`: the paper's choice of the level's distribution.
fn draw_level(random: &mut SplitMix64, m: usize) -> u8 {
    #[expect(clippy::cast_precision_loss, reason = "m is at most 128")]
    let level = -random.unit().ln() / (m as f64).ln();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=15 before the cast"
    )]
    let level = level.clamp(0.0, f64::from(MAX_LEVEL)) as u8;
    level
}

impl<S, R, F> Builder<'_, S, R, F>
where
    S: Fn(u32, u32) -> f32 + Sync,
    R: Fn(f32) -> f32 + Sync,
    F: Fn(u32) + Sync,
{
    fn score(&self, a: u32, b: u32) -> f32 {
        (self.space.score)(a, b)
    }

    /// The rows to insert next: few while the graph is small, and a row that rises above all others alone.
    fn next_batch<'p>(&self, waiting: &'p [u32], inserted: usize) -> &'p [u32] {
        let top = self.graph.entry.map(|e| self.level(e));
        let rises = |row: &u32| top.is_none_or(|top| self.level(*row) > top);
        let most = (inserted / 16).clamp(1, MAX_BATCH).min(waiting.len());
        let quiet = waiting[..most].iter().position(rises).unwrap_or(most);
        &waiting[..quiet.max(1)]
    }

    pub(super) fn level(&self, row: u32) -> u8 {
        self.graph.levels[row as usize]
    }

    fn insert(&mut self, batch: &[u32]) {
        let chosen: Vec<Chosen> = batch
            .par_chunks(TASK)
            .flat_map_iter(|rows| self.choose_all(rows))
            .collect();
        let mut backlinks = Vec::with_capacity(chosen.len() * self.options.m);
        for Chosen { row, levels } in chosen {
            for (level, links) in (0u8..).zip(&levels) {
                backlinks.extend(links.iter().map(|link| Backlink {
                    level,
                    target: link.row,
                    source: Scored {
                        score: link.score,
                        row,
                    },
                }));
                let links: Vec<u32> = links.iter().map(|link| link.row).collect();
                self.graph.set(level, row, &links);
            }
            if self.graph.entry.is_none_or(|e| self.level(row) > self.level(e)) {
                self.graph.entry = Some(row);
            }
        }
        backlinks.par_sort_unstable_by(|a, b| {
            (a.level, a.target)
                .cmp(&(b.level, b.target))
                .then_with(|| b.source.cmp(&a.source))
        });
        let groups: Vec<&[Backlink]> = backlinks
            .chunk_by(|a, b| a.level == b.level && a.target == b.target)
            .collect();
        let updates: Vec<Vec<u32>> = groups
            .par_iter()
            .with_min_len(TASK)
            .map(|g| self.relink(g))
            .collect();
        for (group, list) in groups.iter().zip(updates) {
            if let Some(Backlink { level, target, .. }) = group.first() {
                self.graph.set(*level, *target, &list);
            }
        }
    }

    fn choose_all(&self, rows: &[u32]) -> Vec<Chosen> {
        self.with_search(|search| rows.iter().map(|&row| self.choose(row, search)).collect())
    }

    fn with_search<T>(&self, work: impl FnOnce(&mut GraphSearch) -> T) -> T {
        let pool = || {
            self.searches
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        let mut search = pool().pop().unwrap_or_default();
        let done = work(&mut search);
        pool().push(search);
        done
    }

    /// Chooses the links of a new row on each of its levels.
    fn choose(&self, row: u32, search: &mut GraphSearch) -> Chosen {
        let own = self.level(row);
        let mut levels = vec![Vec::new(); usize::from(own) + 1];
        self.descend(row, own, search, |level, near| {
            levels[usize::from(level)] = self.select(near, self.options.m);
        });
        Chosen { row, levels }
    }

    /// For each row those that a search for it finds on level 0, nearest first.
    pub(super) fn nearest(&self, rows: &[u32]) -> Vec<Vec<u32>> {
        let search = |rows: &[u32]| {
            self.with_search(|search| {
                let near = |row: &u32| {
                    let mut found = Vec::new();
                    self.descend(*row, 0, search, |_, near| {
                        found = near.iter().map(|near| near.row).collect();
                    });
                    found
                };
                rows.iter().map(near).collect::<Vec<_>>()
            })
        };
        rows.par_chunks(TASK).flat_map_iter(search).collect()
    }

    /// Descends from the entry to a row, which need not be in the graph yet; `found` hears what is near it, best first, on the
    /// level `own` and those below.
    fn descend(&self, row: u32, own: u8, search: &mut GraphSearch, mut found: impl FnMut(u8, &[Scored])) {
        let Some(entry) = self.graph.entry else {
            return;
        };
        let mut entries = vec![Scored {
            score: self.score(row, entry),
            row: entry,
        }];
        for level in (0..=self.level(entry)).rev() {
            let ef = if level > own {
                1
            } else {
                self.options.ef_construction
            };
            entries = search.search(
                self.graph.levels.len(),
                &entries,
                ef,
                |r| self.graph.neighbours(level, r).iter().copied(),
                |upcoming| match upcoming {
                    Upcoming::Row(row) => (self.space.fetch)(row),
                    Upcoming::Place(_) => (),
                    Upcoming::Links(row) => prefetch(self.graph.neighbours(level, row)),
                },
                |rows, scores| {
                    for (score, other) in scores.iter_mut().zip(rows) {
                        *score = self.score(row, *other);
                    }
                },
            );
            if level <= own {
                let itself = entries.iter().position(|near| near.row == row);
                let itself = itself.map(|at| entries.remove(at));
                found(level, &entries);
                if entries.is_empty() {
                    entries.extend(itself);
                }
            }
        }
    }

    /// The paper's algorithm 4: the best candidates of which none is nearer to one already chosen than to the row, or hardly
    /// farther (the slack of Vamana, Subramanya et al., NeurIPS 2019). `candidates` come best first. Fewer than half of `most` are filled up with the best of those passed over.
    fn select(&self, candidates: &[Scored], most: usize) -> Vec<Scored> {
        let mut chosen: Vec<Scored> = Vec::with_capacity(most);
        let mut passed_over = Vec::new();
        for &candidate in candidates {
            if chosen.len() == most {
                break;
            }
            let least = (self.space.stands_for)(candidate.score);
            let hidden = chosen.iter().any(|c| self.score(candidate.row, c.row) >= least);
            let list = if hidden { &mut passed_over } else { &mut chosen };
            list.push(candidate);
        }
        let missing = (most / 2).saturating_sub(chosen.len());
        chosen.extend(passed_over.into_iter().take(missing));
        chosen
    }

    /// The new list of a row that others have linked to.
    fn relink(&self, backlinks: &[Backlink]) -> Vec<u32> {
        let Some(&Backlink { level, target, .. }) = backlinks.first() else {
            return Vec::new();
        };
        let old = self.graph.neighbours(level, target);
        let most = most_links(level, self.options.m);
        // A row that is linked anew may be there already.
        let new = backlinks
            .iter()
            .map(|b| b.source.row)
            .filter(|row| !old.contains(row));
        let rows = old.iter().copied().chain(new);
        if old.len() + backlinks.len() <= room(most) {
            return rows.collect();
        }
        self.cut(target, rows, most)
    }

    /// The best of a row's links.
    pub(super) fn cut(&self, row: u32, links: impl Iterator<Item = u32> + Clone, most: usize) -> Vec<u32> {
        links.clone().for_each(&self.space.fetch);
        let candidates = links.map(|other| Scored {
            score: self.score(row, other),
            row: other,
        });
        let mut candidates: Vec<Scored> = candidates.collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        self.select(&candidates, most).iter().map(|s| s.row).collect()
    }

    /// Cuts every list to what a finished graph has.
    fn cut_all(&mut self) {
        let rows = u32::try_from(self.graph.levels.len()).unwrap_or(u32::MAX);
        let too_long = (0..rows).flat_map(|row| (0..=self.level(row)).map(move |level| (level, row)));
        let most = |level| most_links(level, self.options.m);
        let too_long: Vec<(u8, u32)> = too_long
            .filter(|(level, row)| self.graph.neighbours(*level, *row).len() > most(*level))
            .collect();
        for block in too_long.chunks(CUT_BLOCK) {
            let cut: Vec<Vec<u32>> = block
                .par_iter()
                .with_min_len(TASK)
                .map(|(level, row)| {
                    let links = self.graph.neighbours(*level, *row);
                    self.cut(*row, links.iter().copied(), most_links(*level, self.options.m))
                })
                .collect();
            for ((level, row), links) in block.iter().zip(cut) {
                self.graph.set(*level, *row, &links);
            }
        }
    }
}
