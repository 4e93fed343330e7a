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

use super::search::{GraphSearch, Scored, Upcoming};
use super::{GraphOptions, MAX_LEVEL};
use crate::segment::random::SplitMix64;

const MAX_BATCH: usize = 2048;
/// Rows that one task of the pool inserts.
const TASK: usize = 32;
/// Lists that are cut at a time.
const CUT_BLOCK: usize = 1 << 16;

/// A finished graph, before it is written.
#[derive(Debug)]
pub(crate) struct BuiltGraph {
    /// The row where searches begin; `None` when no row has a vector.
    pub(crate) entry: Option<u32>,
    /// The highest level of each row.
    pub(crate) levels: Vec<u8>,
    base: BaseLinks,
    /// `upper[row][level - 1]`; empty for the rows of level 0.
    upper: Vec<Vec<Vec<u32>>>,
}

impl BuiltGraph {
    pub(crate) fn neighbours(&self, level: u8, row: u32) -> &[u32] {
        let row = row as usize;
        match level {
            0 => self.base.of(row),
            _ => self
                .upper
                .get(row)
                .and_then(|u| u.get(usize::from(level) - 1))
                .map_or(&[], Vec::as_slice),
        }
    }

    fn set(&mut self, level: u8, row: u32, links: &[u32]) {
        let row = row as usize;
        if level == 0 {
            self.base.set(row, links);
        } else if let Some(list) = self
            .upper
            .get_mut(row)
            .and_then(|upper| upper.get_mut(usize::from(level) - 1))
        {
            list.clear();
            list.extend_from_slice(links);
        }
    }
}

/// The links of level 0, in places of one width: one read finds them.
#[derive(Debug)]
struct BaseLinks {
    width: usize,
    links: Vec<u32>,
    counts: Vec<u16>,
}

impl BaseLinks {
    fn new(rows: usize, width: usize) -> Self {
        Self {
            width,
            links: vec![0; rows * width],
            counts: vec![0; rows],
        }
    }

    #[inline]
    fn of(&self, row: usize) -> &[u32] {
        let count = self.counts.get(row).map_or(0, |count| usize::from(*count));
        self.links
            .get(row * self.width..row * self.width + count)
            .unwrap_or_default()
    }

    fn set(&mut self, row: usize, links: &[u32]) {
        let links = links.get(..self.width).unwrap_or(links);
        let place = self
            .links
            .get_mut(row * self.width..row * self.width + links.len());
        if let (Some(place), Some(count)) = (place, self.counts.get_mut(row)) {
            place.copy_from_slice(links);
            *count = u16::try_from(links.len()).unwrap_or(u16::MAX);
        }
    }
}

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

struct Builder<'a, S, R, F> {
    graph: BuiltGraph,
    options: GraphOptions,
    space: &'a Space<S, R, F>,
    searches: Mutex<Vec<GraphSearch>>,
}

/// Builds the graph over `rows` rows. `progress` hears how many rows are in, and may break off.
///
/// A list may grow to half as many links again as it is to have before it is cut to the best, and all are cut at the end: cutting
/// is most of the work, and this way each list is cut once for many rows that link to it.
pub(crate) fn build<S, R, F>(
    pool: &ThreadPool,
    rows: u32,
    options: GraphOptions,
    seed: u64,
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
    let levels: Vec<u8> = order.iter().map(|_| draw_level(&mut random, options.m)).collect();
    let upper = levels.iter().map(|&l| vec![Vec::new(); usize::from(l)]).collect();
    let base = BaseLinks::new(levels.len(), room(most_links(0, options.m)));
    let graph = BuiltGraph {
        entry: None,
        levels,
        base,
        upper,
    };
    let mut builder = Builder {
        graph,
        options,
        space,
        searches: Mutex::new(Vec::new()),
    };
    let mut inserted = 0;
    while inserted < order.len() {
        let batch = builder.next_batch(&order[inserted..], inserted);
        pool.install(|| builder.insert(batch));
        inserted += batch.len();
        progress(inserted)?;
    }
    pool.install(|| builder.cut_all());
    ControlFlow::Continue(builder.graph)
}

/// Links of a row on a level of a finished graph.
fn most_links(level: u8, m: usize) -> usize {
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

    fn level(&self, row: u32) -> u8 {
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
        let pool = || {
            self.searches
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        let mut search = pool().pop().unwrap_or_default();
        let chosen = rows.iter().map(|&row| self.choose(row, &mut search)).collect();
        pool().push(search);
        chosen
    }

    /// Descends from the entry and chooses the links of a new row on each of its levels.
    fn choose(&self, row: u32, search: &mut GraphSearch) -> Chosen {
        let own = self.level(row);
        let mut levels = vec![Vec::new(); usize::from(own) + 1];
        let Some(entry) = self.graph.entry else {
            return Chosen { row, levels };
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
                |r| self.graph.neighbours(level, r),
                |upcoming| match upcoming {
                    Upcoming::Row(row) => (self.space.fetch)(row),
                    Upcoming::Links(row) => prefetch(self.graph.neighbours(level, row)),
                },
                |r| self.score(row, r),
            );
            if level <= own {
                levels[usize::from(level)] = self.select(&entries, self.options.m);
            }
        }
        Chosen { row, levels }
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
        let rows = old.iter().copied().chain(backlinks.iter().map(|b| b.source.row));
        if old.len() + backlinks.len() <= room(most) {
            return rows.collect();
        }
        self.cut(target, rows, most)
    }

    /// The best of a row's links.
    fn cut(&self, row: u32, links: impl Iterator<Item = u32> + Clone, most: usize) -> Vec<u32> {
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
