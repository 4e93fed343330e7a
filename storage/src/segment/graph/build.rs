//! Building: rows are inserted in batches, each batch searched in parallel against the graph as it stood before.
//!
//! Within a batch no row sees another, so the graph depends on the seed and not on the number of threads. A batch is at
//! most a sixteenth of what is already there, and rows are inserted in a shuffled order, so that what a row misses
//! by not seeing its batch is a random sixteenth at most.

use std::ops::ControlFlow;
use std::sync::Mutex;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::search::{GraphSearch, Scored};
use super::{GraphOptions, MAX_LEVEL};
use crate::segment::random::SplitMix64;

const MAX_BATCH: usize = 1024;
/// Rows that one task of the pool inserts.
const TASK: usize = 32;

/// A finished graph, before it is written.
#[derive(Debug)]
pub(crate) struct BuiltGraph {
    /// The row where searches begin; `None` when no row has a vector.
    pub(crate) entry: Option<u32>,
    /// The highest level of each row.
    pub(crate) levels: Vec<u8>,
    base: Vec<Vec<u32>>,
    /// `upper[row][level - 1]`; empty for the rows of level 0.
    upper: Vec<Vec<Vec<u32>>>,
}

impl BuiltGraph {
    pub(crate) fn neighbours(&self, level: u8, row: u32) -> &[u32] {
        let row = row as usize;
        match level {
            0 => self.base.get(row).map_or(&[], Vec::as_slice),
            _ => self
                .upper
                .get(row)
                .and_then(|u| u.get(usize::from(level) - 1))
                .map_or(&[], Vec::as_slice),
        }
    }

    fn neighbours_mut(&mut self, level: u8, row: u32) -> Option<&mut Vec<u32>> {
        match level {
            0 => self.base.get_mut(row as usize),
            _ => self.upper.get_mut(row as usize)?.get_mut(usize::from(level) - 1),
        }
    }
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

struct Builder<'a, S> {
    graph: BuiltGraph,
    options: GraphOptions,
    score: &'a S,
    searches: Mutex<Vec<GraphSearch>>,
}

/// Builds the graph over `rows` rows; `score` compares two of them. `progress` hears how many rows are in, and may break
/// off.
pub(crate) fn build<S: Fn(u32, u32) -> f32 + Sync>(
    pool: &ThreadPool,
    rows: u32,
    options: GraphOptions,
    seed: u64,
    score: &S,
    progress: &dyn Fn(usize) -> ControlFlow<()>,
) -> ControlFlow<(), BuiltGraph> {
    let options = GraphOptions {
        m: options.m.clamp(2, 128),
        ef_construction: options.ef_construction.max(8),
    };
    let mut random = SplitMix64::new(seed);
    let mut order: Vec<u32> = (0..rows).collect();
    random.shuffle(&mut order);
    let levels: Vec<u8> = order.iter().map(|_| draw_level(&mut random, options.m)).collect();
    let upper = levels.iter().map(|&l| vec![Vec::new(); usize::from(l)]).collect();
    let base = vec![Vec::new(); levels.len()];
    let graph = BuiltGraph {
        entry: None,
        levels,
        base,
        upper,
    };
    let mut builder = Builder {
        graph,
        options,
        score,
        searches: Mutex::new(Vec::new()),
    };
    let mut inserted = 0;
    while inserted < order.len() {
        let batch = builder.next_batch(&order[inserted..], inserted);
        pool.install(|| builder.insert(batch));
        inserted += batch.len();
        progress(inserted)?;
    }
    ControlFlow::Continue(builder.graph)
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

impl<S: Fn(u32, u32) -> f32 + Sync> Builder<'_, S> {
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
                if let Some(list) = self.graph.neighbours_mut(level, row) {
                    *list = links.iter().map(|l| l.row).collect();
                }
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
            if let Some(old) = group
                .first()
                .and_then(|b| self.graph.neighbours_mut(b.level, b.target))
            {
                *old = list;
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
            score: (self.score)(row, entry),
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
                |r| (self.score)(row, r),
            );
            if level <= own {
                levels[usize::from(level)] = self.select(&entries, self.options.m);
            }
        }
        Chosen { row, levels }
    }

    /// The paper's algorithm 4: the best candidates of which none is nearer to one already chosen than to the row.
    /// `candidates` come best first. Fewer than half of `most` are filled up with the best of those passed over.
    fn select(&self, candidates: &[Scored], most: usize) -> Vec<Scored> {
        let mut chosen: Vec<Scored> = Vec::with_capacity(most);
        let mut passed_over = Vec::new();
        for &candidate in candidates {
            if chosen.len() == most {
                break;
            }
            let hidden = chosen
                .iter()
                .any(|c| (self.score)(candidate.row, c.row) >= candidate.score);
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
        let most = if level == 0 {
            2 * self.options.m
        } else {
            self.options.m
        };
        let sources = backlinks.iter().map(|b| b.source);
        if old.len() + backlinks.len() <= most {
            return old.iter().copied().chain(sources.map(|s| s.row)).collect();
        }
        let mut candidates: Vec<Scored> = old
            .iter()
            .map(|&row| Scored {
                score: (self.score)(target, row),
                row,
            })
            .chain(sources)
            .collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        self.select(&candidates, most).iter().map(|s| s.row).collect()
    }
}
